#!/bin/bash
# Runs test programs, JOBS (default 1) at a time, shows what each prints when it has ended, and closes with a line of
# sums. Exits 1 when any failed. A program that hangs is ended after 15 minutes; all are when this is.
set -u
jobs=${JOBS:-1}
[ "$jobs" -ge 1 ] || exit 2
tools=$(dirname "$0")
said=$(mktemp -d) || exit 1
trap 'rm -rf "$said"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 143' TERM INT HUP

one() { # number, program
    local running=''
    # What `timeout` starts is in a group of its own, which the terminal's signals do not reach.
    trap '[ -z "$running" ] || kill "$running"; wait; exit 143' TERM INT HUP
    "$tools/own-network.sh" timeout --signal=ABRT --kill-after=10 900 "$2" >"$said/$1" 2>&1 &
    running=$!
    if wait "$running"; then touch "$said/$1.passed"; else echo "FAILED: ${2##*/}" >>"$said/$1"; fi
    flock "$said" sh -c 'echo "== $1" && cat "$0"' "$said/$1" "${2##*/}"
}

number=0
for t in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
    number=$((number + 1))
    one "$number" "$t" &
done
wait
passed=$(find "$said" -name '*.passed' | wc -l)
echo "test programs: $passed passed, $(($# - passed)) failed"
[ "$passed" -eq "$#" ]
