#!/usr/bin/env bash
# Runs make targets one after another: scripts/check.sh NAME STEP...
# Prints each step's name and duration, stops at the first that fails, and ends with what ran, what was
# skipped and, as its last line, the test runner's counts added up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=${1:?usage: scripts/check.sh NAME STEP...}
shift
total=$#
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# A step runs as a person runs it: unaffected by flags and narrowings meant for a target by hand.
unset MAKEFLAGS MFLAGS MAKELEVEL PKG RUN

# counts LOG: "tests skipped seconds", added up over the runner's closing lines
# ("DONE 12 tests, 1 skipped in 3.456s") in LOG.
counts() {
	awk '/^DONE [0-9]+ tests/ {
		t += $2
		for (i = 3; i < NF; i++) if ($i ~ /^skipped/) s += $(i - 1)
		d = $NF; sub(/s$/, "", d); sec += d
	} END { printf "%d %d %.3f\n", t, s, sec }' "$1"
}

# skips LOG: each skipped test with its reason, once.
skips() {
	awk '/^=== Skipped$/ { on = 1; next }
	/^(=== Failed|=== Errors|DONE )/ { on = 0 }
	on && NF { sub(/^=== SKIP: /, "  skipped: "); sub(/^    /, "           "); print }' "$1"
}

start=$SECONDS
n=0
table=
for step in "$@"; do
	n=$((n + 1))
	shift
	printf '\n==> [%d/%d] %s\n' "$n" "$total" "$step"
	began=$SECONDS
	if ! make --no-print-directory "$step" 2>&1 </dev/null | tee "$logs/$step"; then
		printf '\n%s: FAILED at step %d of %d, %s, after %ds (alone: make %s)\n' \
			"$name" "$n" "$total" "$step" $((SECONDS - began)) "$step" >&2
		[ $# -eq 0 ] || printf '%s: not run: %s\n' "$name" "$*" >&2
		exit 1
	fi
	took=$((SECONDS - began))
	read -r tests skipped _ < <(counts "$logs/$step")
	verdict=ok
	if [ "$tests" -gt 0 ]; then
		verdict="ok, $tests tests"
		if [ "$skipped" -eq "$tests" ]; then
			verdict="SKIPPED, all $tests tests"
		elif [ "$skipped" -gt 0 ]; then
			verdict="ok, $tests tests, $skipped of them SKIPPED"
		fi
	fi
	printf '    %s: %s in %ds\n' "$step" "$verdict" "$took"
	table+=$(printf '  %-18s %5ds  %s' "$step" "$took" "$verdict")$'\n'
done

printf '\n%s: passed, %d of %d steps in %ds\n%s' "$name" "$n" "$total" $((SECONDS - start)) "$table"
cat "$logs"/* >"$logs/.all"
skips "$logs/.all"
read -r tests skipped seconds < <(counts "$logs/.all")
[ "$skipped" -gt 0 ] || echo "  nothing was skipped"
if [ "$tests" -gt 0 ]; then
	note=
	[ "$skipped" -eq 0 ] || note=", $skipped skipped"
	printf '\nDONE %d tests%s in %ss\n' "$tests" "$note" "$seconds"
fi
