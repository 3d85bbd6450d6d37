#!/usr/bin/env bash
# Runs a tool of the tools module: scripts/tool.sh golangci-lint run ./...
# It is built once, outside the tree; another version, module graph or Go release is another file.
set -euo pipefail

name=${1:?usage: scripts/tool.sh TOOL [ARGUMENT]...}
shift
case $name in
golangci-lint) pkg=github.com/golangci/golangci-lint/v2/cmd/golangci-lint ;;
gotestsum) pkg=gotest.tools/gotestsum ;;
*)
	echo "scripts/tool.sh: no tool \"$name\"; there are golangci-lint and gotestsum" >&2
	exit 2
	;;
esac

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tools" && pwd)
# GOWORK=off: somebody's go.work above must not decide what is built here.
key=$({
	cat "$tools/go.mod" "$tools/go.sum"
	go env GOVERSION GOHOSTOS GOHOSTARCH
} | cksum | tr ' ' -)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/graychain/tools
bin=$dir/$name-$key

if [ ! -x "$bin" ]; then
	echo "building $name (once; golangci-lint takes about a minute)" >&2
	mkdir -p "$dir"
	tmp=$(mktemp "$dir/.$name.XXXXXX")
	trap 'rm -f "$tmp"' EXIT
	(cd "$tools" && GOWORK=off GOOS='' GOARCH='' go build -o "$tmp" "$pkg")
	chmod 755 "$tmp"
	mv -f "$tmp" "$bin" # Atomic: two builds at once end with one whole file.
	trap - EXIT
fi
exec "$bin" "$@"
