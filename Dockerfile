# One target per command: docker build --target webhook|worker|storemanager|starter|standalone .
# Each image also holds the starter, for a health check without a shell:
#   starter healthcheck http://127.0.0.1:3003/readyz    exits 0 if the answer is 200
FROM golang:1.26.8-bookworm AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
# As the Makefile builds.
ENV CGO_ENABLED=0 \
    GOFLAGS="-trimpath -tags=disable_grpc_modules -gcflags=all=-dwarf=false '-ldflags=-s -X=storekeeper/internal/build.Version=${VERSION}'"
RUN mkdir /data

FROM source AS build
RUN go build -o /out/ ./cmd/webhook ./cmd/worker ./cmd/storemanager ./cmd/starter

# A stage of its own: it compiles a whole Temporal server, which the other images need not wait for.
FROM source AS build-standalone
RUN go build -o /out/ ./cmd/standalone

# No shell, no package manager; CA certificates and a user "nonroot", 65532.
FROM gcr.io/distroless/static-debian12:nonroot AS base
COPY --from=build /out/starter /usr/local/bin/
USER 65532:65532

FROM base AS webhook
COPY --from=build /out/webhook /usr/local/bin/
# Within a container, loopback could be reached by nobody.
ENV LISTEN=0.0.0.0:3003
EXPOSE 3003
ENTRYPOINT ["/usr/local/bin/webhook"]

FROM base AS worker
COPY --from=build /out/worker /usr/local/bin/
ENV METRICS_LISTEN=0.0.0.0:9090
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/worker"]

FROM base AS storemanager
COPY --from=build /out/storemanager /usr/local/bin/
# A new volume mounted here takes over the owner.
COPY --from=source --chown=65532:65532 /data /data
ENV STORE_MANAGER_LISTEN=0.0.0.0:3005 STORE_DATA_PATH=/data
EXPOSE 3005
ENTRYPOINT ["/usr/local/bin/storemanager"]

FROM base AS starter
ENTRYPOINT ["/usr/local/bin/starter"]

# Last, so that a build without --target makes what runs on its own.
FROM base AS standalone
COPY --from=build-standalone /out/standalone /usr/local/bin/
COPY --from=source --chown=65532:65532 /data /data
EXPOSE 3003 8233
ENTRYPOINT ["/usr/local/bin/standalone"]
CMD ["--data-dir=/data", "--listen=0.0.0.0:3003", "--ui-listen=0.0.0.0:8233"]
