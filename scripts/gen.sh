#!/usr/bin/env bash
# Generates kitex_gen from every file of idl: `write` puts it in place, `check` compares and changes nothing,
# so it tells the truth in a tree with uncommitted changes too. The generator is the one pinned in go.mod and
# needs nothing installed: thriftgo is compiled into it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=${1:-}
if [ "$mode" != write ] && [ "$mode" != check ]; then
	echo "usage: scripts/gen.sh write|check" >&2
	exit 2
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/kitex" github.com/cloudwego/kitex/tool/cmd/kitex

# A tree of its own: what idl no longer asks for disappears, and the generator can touch no other file.
mkdir "$tmp/tree"
cp -R go.mod go.sum idl "$tmp/tree"
module=$(go list -m)
shopt -s nullglob
idls=(idl/*.thrift)
if [ ${#idls[@]} -eq 0 ]; then
	echo "gen: no idl/*.thrift" >&2
	exit 1
fi
for idl in "${idls[@]}"; do
	(cd "$tmp/tree" && "$tmp/kitex" -streamx -module "$module" "$idl") >"$tmp/log" 2>&1 || {
		cat "$tmp/log" >&2
		echo "gen: kitex failed on $idl" >&2
		exit 1
	}
done

if [ "$mode" = write ]; then
	rm -rf kitex_gen
	mv "$tmp/tree/kitex_gen" kitex_gen
	echo "kitex_gen written from ${idls[*]}"
elif ! diff -ru kitex_gen "$tmp/tree/kitex_gen" >"$tmp/diff" 2>&1; then
	head -n 40 "$tmp/diff" >&2
	echo "kitex_gen is not what ${idls[*]} generates: run make gen" >&2
	exit 1
fi
