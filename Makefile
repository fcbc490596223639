# Tools are pinned, each in a module of its own, and built on first use.
GOLANGCI_LINT = go tool -modfile=tools/golangci-lint/go.mod golangci-lint
GOFUMPT       = go tool -modfile=tools/gofumpt/go.mod gofumpt
WORKFLOWCHECK = go tool -modfile=tools/workflowcheck/go.mod workflowcheck

# All targets use these flags, so that everything is compiled once: static, without the paths of this machine, without debug information, and without
# the part of Google's storage client (which Temporal's archival uses) that is for Google's own network. A plain `go build` gives the same programs,
# and compiles everything again.
PLAIN_GOFLAGS     := $(shell go env GOFLAGS)
export GOFLAGS     = -trimpath -tags=disable_grpc_modules -gcflags=all=-dwarf=false $(PLAIN_GOFLAGS)
export CGO_ENABLED = 0
# The race detector needs C, and so everything is compiled again for it. Its flags are those of a plain `go test -race`, plus the tag, so that the two
# share all but 100 compiled packages.
GO_TEST_RACE = CGO_ENABLED=1 GOFLAGS='$(PLAIN_GOFLAGS)' go test -race -tags=disable_grpc_modules

LDFLAGS  = -s -X storekeeper/internal/build.Version=$(VERSION) # -s leaves out the symbols, which stack traces do not need
GO_BUILD = $(dir $(firstword $(MAKEFILE_LIST)))tools/gobuild bin/ '$(strip $(LDFLAGS))'

VERSION    ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)
TESTFLAGS  ?=
BENCHFLAGS ?=
CRASHFLAGS ?=
FUZZTIME   ?= 1m
COMPOSE    ?= docker-compose

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run everything in one process with a demo Auth Worker (the first build takes some minutes)
	@$(GO_BUILD) ./cmd/standalone ./cmd/starter
	@exec bin/standalone --demo # not by go run, which reports each Ctrl-C as a failure

.PHONY: build
build: ## Build all commands into bin/, static, VERSION= stamped into them
	@$(GO_BUILD) ./cmd/...

.PHONY: test
test: ## Run all tests with the race detector (POSTGRES=1: also those that skip without PostgreSQL); TESTFLAGS='-run Name -v' narrows them
	$(GO_TEST_RACE) -timeout 30m $(TESTFLAGS) ./...

.PHONY: test-crash
test-crash: ## Kill everything at random for long: 1,500 events, 60 kills in each layout (10 to 20 minutes); CRASHFLAGS='-seed 7' repeats
	$(GO_TEST_RACE) ./tests/crash -count=1 -v -timeout 60m -args -long $(CRASHFLAGS)

.PHONY: test-interop
test-interop: ## Test the sync client against the genuine @livestore/sync-cf (Node.js 20.11, npm; installs 390 MB)
	for d in . dev22 v040; do npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefix tests/interop/$$d || exit; done
	INTEROP=1 $(GO_TEST_RACE) ./tests/interop -count=1 -timeout 5m

.PHONY: test-notifier
test-notifier: ## Test the TypeScript notifier (Node.js 20.11, npm)
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefix integrations/cloudflare-worker
	npm test --prefix integrations/cloudflare-worker

.PHONY: fuzz
fuzz: ## Fuzz what strangers can send to the edge; FUZZTIME=10m each, a minute by default
	for target in SignatureHeader Timestamp Body ID; do \
		go test -run '^$$' -fuzz "^Fuzz$$target$$" -fuzztime $(FUZZTIME) ./internal/webhookauth || exit; done
	go test -run '^$$' -fuzz '^FuzzEvent$$' -fuzztime $(FUZZTIME) ./internal/edge/intake

.PHONY: bench-stores
bench-stores: ## Measure what 1,000 and 10,000 monitored stores cost (Linux, 4 minutes); BENCHFLAGS='--stores 1000' narrows it
	go run ./tests/bench/stores $(BENCHFLAGS)

.PHONY: bench-reconcile
bench-reconcile: ## Measure reconcile runs of 1,000 to 1,000,000 workspaces (Linux, 4 minutes); BENCHFLAGS='--workspaces 10000' narrows it
	go run ./tests/bench/reconcile $(BENCHFLAGS)

.PHONY: bench-webhook
bench-webhook: ## Measure the edge: creations, repeats, garbage and crowds (Linux, 32 minutes); BENCHFLAGS='--creations 0 --engines 0' are crowds alone
	go run ./tests/bench/webhook $(BENCHFLAGS)

.PHONY: bench-soak
bench-soak: ## Watch memory and files while five events a second come for half an hour (Linux, 32 minutes)
	go run ./tests/bench/webhook --creations 0 --congestion 0 --engines 0 --soak 30m

.PHONY: lint
lint: ## Check formatting, vet, workflow determinism and .golangci.yml
	@unformatted=$$($(GOFUMPT) -l .) || exit; \
	if [ -n "$$unformatted" ]; then printf '%s\n' 'run make fmt, these are not formatted:' "$$unformatted" >&2; exit 1; fi
	go vet ./...
	$(WORKFLOWCHECK) ./workflows/...
	$(GOLANGCI_LINT) run

.PHONY: fmt
fmt: ## Format all Go files (gofumpt, and imports in their groups)
	$(GOLANGCI_LINT) fmt

.PHONY: check-compose
check-compose: ## Check docker-compose.temporal.yml; COMPOSE='docker compose' uses version 2
	@command -v $(firstword $(COMPOSE)) >/dev/null || \
		{ echo '$(COMPOSE) is missing: apt-get install docker-compose' >&2; exit 1; }
	WEBHOOK_SECRET=x SERVER_BYPASS_TOKEN=x AUTH_WORKER_INTERNAL_URL=http://x \
		$(COMPOSE) -f docker-compose.temporal.yml config --quiet

.PHONY: docs
docs: ## Make docs/settings.md of what internal/config says
	UPDATE_DOCS=1 go test ./internal/config -count=1 -run '^TestTheSettingsPageIsUpToDate$$'

.PHONY: golden
golden: ## Record new golden histories for the replay test, after a workflow has changed on purpose
	go test ./tests/replay -count=1 -run '^TestRecordGoldenHistories$$' -record

.PHONY: ci
ci: ## Do all that a submission must pass
	.ci/run

.PHONY: clean
clean: ## Remove bin/; data/ stays
	rm -rf bin
