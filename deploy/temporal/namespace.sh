#!/bin/sh
# Creates the namespace and the search attributes that contract/names.go names. It leaves existing ones alone.
# The CLI itself reads the address of the server from TEMPORAL_ADDRESS.
set -eu

namespace=default
attempts=60

# retry COMMAND... tries about once a second until COMMAND succeeds: the server takes a while to start, and to notice a new namespace.
retry() {
	until output=$("$@" 2>&1); do
		attempts=$((attempts - 1))
		if [ "$attempts" -le 0 ]; then
			printf '%s\n' "giving up: $*" "$output" >&2
			exit 1
		fi
		sleep 1
	done
}

ensure_namespace() {
	temporal operator namespace describe --namespace "$namespace" ||
		temporal operator namespace create --namespace "$namespace" --retention 168h
}

retry temporal operator cluster health
retry ensure_namespace
retry temporal operator search-attribute create --namespace "$namespace" \
	--name WorkspaceState --type Keyword --name DeleteAt --type Datetime
echo "namespace $namespace is ready"
