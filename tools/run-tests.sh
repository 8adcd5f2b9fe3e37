#!/bin/bash
# Runs test binaries one after another, shows what each prints, and closes with a line of sums.
# Exits 1 when any failed. A program that hangs is ended after 15 minutes.
set -u
passed=0 failed=0
for t in "$@"; do
    echo "== ${t##*/}"
    if timeout --signal=ABRT --kill-after=10 900 "$t"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: ${t##*/}"; fi
done
echo "test programs: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
