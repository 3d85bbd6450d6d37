#!/usr/bin/env bash
# Runs `go test` with the given flags and packages: its own lines, then the skipped and failed tests and a
# line that counts them. A run that holds no test at all fails: it proves nothing.
# With -race the RocketMQ client is built without races of its own (scripts/racemod.sh).
# With GRAYCHAIN_E2E_FULL=1 the tests' own lines too: the figures are in them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

events=$(mktemp)
trap 'rm -f "$events"' EXIT
format=standard-quiet
[ -z "${GRAYCHAIN_E2E_FULL:-}" ] || format=standard-verbose
modfile=()
case " $* " in *" -race "*) modfile=(-modfile "$(scripts/racemod.sh)") ;; esac
scripts/tool.sh gotestsum --format "$format" --jsonfile-timing-events "$events" -- ${modfile[@]+"${modfile[@]}"} "$@"
if ! grep -q '"Test":' "$events"; then
	echo "no test ran: go test $*" >&2
	exit 1
fi
