#!/usr/bin/env bash
# Prints the path of a go.mod (go help modules: -modfile) in which rocketmq-client-go is a copy without two races with itself,
# for tests with the race detector alone: there every report fails a test, and no caller can prevent these. It closes while its
# own rebalance asks brokers (rmqClient.close), and a rebalance counts a subscription's version up while the heartbeat copies
# it. What is shipped has the client as it is. A version of the client in which a line isn't found fails here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=github.com/apache/rocketmq-client-go/v2
go mod download "$module" >&2
src=$(go list -m -f '{{.Dir}}' "$module")
key=$({
	echo "$src"
	cat go.mod go.sum scripts/racemod.sh
} | cksum | tr ' ' -)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/graychain
dir=$cache/racemod-$key
if [ -f "$dir/go.mod" ]; then
	echo "$dir/go.mod"
	exit
fi
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/.racemod.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cp -R "$src" "$tmp/client"
chmod -R u+w "$tmp/client"

# line FILE TIMES FROM TO: in FILE of the client the lines that are FROM, but for the space in them, become TO.
line() {
	local file="$tmp/client/$1"
	awk -v times="$2" -v from="$3" -v to="$4" '
		{ line = $0; gsub(/^[ \t]+|[ \t]+$/, "", line); gsub(/[ \t]+/, " ", line) }
		line == from { print to; n++; next }
		{ print }
		END { if (n != times) exit 1 }' "$file" >"$file.new" || {
		printf 'scripts/racemod.sh: %s/%s does not have this line %d times: %s\n' "$src" "$1" "$2" "$3" >&2
		exit 1
	}
	mv "$file.new" "$file"
}
line internal/client.go 1 'close bool' 'close atomic.Bool'
line internal/client.go 1 'c.close = true' 'c.close.Store(true)'
line internal/client.go 3 'if c.close {' 'if c.close.Load() {'
line internal/model.go 1 'import (' 'import ("sync/atomic"'
line internal/model.go 1 'SubVersion: sd.SubVersion,' 'SubVersion: atomic.LoadInt64(&sd.SubVersion),'
line consumer/push_consumer.go 1 'data.SubVersion = newVersion' 'atomic.StoreInt64(&data.SubVersion, newVersion)'
line consumer/push_consumer.go 1 'rlog.LogKeyValueChangedFrom: data.SubVersion,' 'rlog.LogKeyValueChangedFrom: atomic.LoadInt64(&data.SubVersion),'
line consumer/consumer.go 1 'pullRequest.SubVersion = data.SubVersion' 'pullRequest.SubVersion = atomic.LoadInt64(&data.SubVersion)'

cp go.sum "$tmp/go.sum"
{
	cat go.mod
	printf '\nreplace %s => "%s/client"\n' "$module" "$dir"
} >"$tmp/go.mod"
chmod 755 "$tmp"
if [ -e "$dir" ] || ! mv "$tmp" "$dir"; then # two at once: the other one's is the same
	rm -rf "$tmp"
fi
rm -rf "$dir/${tmp##*/}" # where the other one came between the look and the move, which then went into it
[ -f "$dir/go.mod" ] || {
	echo "scripts/racemod.sh: $dir could not be made" >&2
	exit 1
}
trap - EXIT
echo "$dir/go.mod"
