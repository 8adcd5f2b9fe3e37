#!/bin/bash
# Runs test binaries one after another, shows what each prints, and closes with a line of sums.
# Exits 1 when any failed.
set -u
passed=0 failed=0
for t in "$@"; do
    echo "== ${t##*/}"
    if "$t"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: ${t##*/}"; fi
done
echo "test programs: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
