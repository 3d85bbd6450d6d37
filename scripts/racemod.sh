#!/usr/bin/env bash
# Prints the path of a go.mod (go help modules: -modfile) in which rocketmq-client-go and Kitex are copies without races with
# themselves, for tests with the race detector alone: there every report fails a test, and no caller can prevent these. The client
# closes while its own rebalance asks brokers (rmqClient.close), and a rebalance counts a subscription's version up while the heartbeat
# copies it. Kitex notes whom to tell of a stream's end when the stream is on its way already, and a server that ends it at once is
# quicker. What is shipped has both as they are. A version in which a line isn't found fails here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

client=github.com/apache/rocketmq-client-go/v2
kitex=github.com/cloudwego/kitex
go mod download "$client" "$kitex" >&2
src=$(go list -m -f '{{.Dir}}' "$client" "$kitex")
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
cp -R "${src%%$'\n'*}" "$tmp/client"
cp -R "${src##*$'\n'}" "$tmp/kitex"
chmod -R u+w "$tmp/client" "$tmp/kitex"

# line FILE TIMES FROM TO: in FILE of the copies the lines that are FROM, but for the space in them, become TO.
line() {
	local file="$tmp/$1"
	awk -v times="$2" -v from="$3" -v to="$4" '
		{ line = $0; gsub(/^[ \t]+|[ \t]+$/, "", line); gsub(/[ \t]+/, " ", line) }
		line == from { print to; n++; next }
		{ print }
		END { if (n != times) exit 1 }' "$file" >"$file.new" || {
		printf 'scripts/racemod.sh: %s does not have this line %d times: %s\n' "$1" "$2" "$3" >&2
		exit 1
	}
	mv "$file.new" "$file"
}
line client/internal/client.go 1 'close bool' 'close atomic.Bool'
line client/internal/client.go 1 'c.close = true' 'c.close.Store(true)'
line client/internal/client.go 3 'if c.close {' 'if c.close.Load() {'
line client/internal/model.go 1 'import (' 'import ("sync/atomic"'
line client/internal/model.go 1 'SubVersion: sd.SubVersion,' 'SubVersion: atomic.LoadInt64(&sd.SubVersion),'
line client/consumer/push_consumer.go 1 'data.SubVersion = newVersion' 'atomic.StoreInt64(&data.SubVersion, newVersion)'
line client/consumer/push_consumer.go 1 'rlog.LogKeyValueChangedFrom: data.SubVersion,' 'rlog.LogKeyValueChangedFrom: atomic.LoadInt64(&data.SubVersion),'
line client/consumer/consumer.go 1 'pullRequest.SubVersion = data.SubVersion' 'pullRequest.SubVersion = atomic.LoadInt64(&data.SubVersion)'
stream=kitex/pkg/remote/trans/ttstream/stream.go
line $stream 1 'import (' 'import ("sync"'
line $stream 1 'closeCallback []func(error)' 'closeCallback []func(error); telling sync.Mutex'
line $stream 1 's.closeCallback = append(s.closeCallback, cb)' 's.telling.Lock(); defer s.telling.Unlock(); s.closeCallback = append(s.closeCallback, cb)'
line $stream 1 'if len(s.closeCallback) > 0 {' 's.telling.Lock(); tell := s.closeCallback; s.telling.Unlock(); if len(tell) > 0 {'
line $stream 1 'for _, cb := range s.closeCallback {' 'for _, cb := range tell {'

cp go.sum "$tmp/go.sum"
{
	cat go.mod
	printf '\nreplace %s => "%s/client"\n\nreplace %s => "%s/kitex"\n' "$client" "$dir" "$kitex" "$dir"
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
