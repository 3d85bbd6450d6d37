#!/usr/bin/env bash
# Takes one safeguard out of a copy of the code at a time (go's -overlay: the tree isn't touched) and runs the tests that are
# there for it: they must fail. Prints what failed. Needs the servers that tests share: make mutants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
survived=0

# mutant NAME FILE FROM TO PACKAGE TESTS: in FILE the line FROM, as it stands but for the space around it, becomes TO.
mutant() {
	local name=$1 file=$2 from=$3 to=$4 pkg=$5 tests=$6
	local copy="$work/$(basename "$file")" log="$work/log"
	awk -v from="$from" -v to="$to" '
		{ line = $0; gsub(/^[ \t]+|[ \t]+$/, "", line) }
		line == from { print to; n++; next }
		{ print }
		END { if (n != 1) exit 1 }' "$file" >"$copy" || {
		printf '%s: the line is not in %s, or more than once: %s\n' "$name" "$file" "$from" >&2
		exit 2
	}
	printf '{"Replace":{"%s":"%s"}}' "$PWD/$file" "$copy" >"$work/overlay.json"
	printf '\n==> %s\n    %s: %s\n' "$name" "$file" "$to"
	if go test -overlay "$work/overlay.json" -count=1 -timeout 5m -run "$tests" "$pkg" >"$log" 2>&1; then
		printf '    SURVIVED: %s passed\n' "$tests"
		survived=$((survived + 1))
		return
	fi
	if ! grep -q -- '--- FAIL' "$log"; then
		cat "$log" >&2 # it didn't compile, or no server is there
		exit 2
	fi
	grep -E -- '--- FAIL|broke G|lost|repeated|want|not within|interleaving' "$log" | cut -c1-220 | sed -n '1,8s/^/    /p' # not head: its end would end grep, and so the script
}

mq=pkg/graylib/grayrocketmq
mutant 'the drain is taken out: who gives a queue up commits and leaves at once' \
	$mq/ownership/machine.go 'if m.span.InFlight() == 0 || m.rules.noDrain {' 'if true {' \
	./$mq '^TestHandoffPlanned$'
mutant 'the same, in the search through all interleavings' \
	$mq/ownership/machine.go 'if m.span.InFlight() == 0 || m.rules.noDrain {' 'if true {' \
	./$mq/ownership '^TestEveryInterleavingKeepsThePromises$'
mutant 'the locks are taken out: each lock counts as granted, nobody asks the broker' \
	$mq/lanequeue.go 'locked, err = s.Lock(ctx, s.Addr(), group, q.m.id, queue)' 'locked = queue' \
	./$mq '^Test(HandoffPlanned|MembersAtRandom)$'
mutant 'strays do not wait: a tag that is not listed is the baseline'"'"'s at once' \
	$mq/decide.go 'case !listed && m.read.Before(m.stored.Add(strayWait)):' 'case false:' \
	./$mq '^Test(StraysWait|ListedWhileMessagesWait|ListedThenSentAtOnce)$'
mutant 'the boundary has no margin: what a quicker reader of the rules marked before the listing is not the lane'"'"'s' \
	$mq/decide.go 'func boundary(l graylib.Lane) time.Time { return l.Listed.Add(-boundaryMargin) }' \
	'func boundary(l graylib.Lane) time.Time { return l.Listed }' \
	./$mq '^TestListedWhileMessagesWait$'

printf '\n'
if [ "$survived" -gt 0 ]; then
	printf 'mutants: %d survived: a safeguard that no test misses\n' "$survived" >&2
	exit 1
fi
echo 'mutants: each was found by its tests'
