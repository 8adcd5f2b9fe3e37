#!/bin/bash
# Runs test programs, JOBS (default 1) at a time, shows what each prints when it has ended, and closes with a line of
# sums. Exits 1 when any failed. A program that hangs is ended after 15 minutes; all are when this is.
set -u
jobs=${JOBS:-1}
tools=$(dirname "$0")
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 143' TERM INT

one() { # program
    local name=${1##*/}
    # A shell's own child, which the signal reaches: what `timeout` starts is in a group of its own.
    "$tools/own-network.sh" timeout --signal=ABRT --kill-after=10 900 "$1" >"$said/$name" 2>&1 &
    trap 'kill $!; wait; exit 143' TERM
    wait $! || { echo "FAILED: $name" >>"$said/$name"; touch "$said/failed-$name"; }
    flock "$said" sh -c 'echo "== $1" && cat "$0/$1"' "$said" "$name"
}

for t in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
    one "$t" &
done
wait
failed=$(find "$said" -name 'failed-*' | wc -l)
echo "test programs: $(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
