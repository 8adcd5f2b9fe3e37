#!/bin/bash
# Starts the local stack with empty data and a clock that can be turned, and plays the sample week.
set -euo pipefail
cd "$(dirname "$0")/../.."
export DAYBOOK_STACK_CLOCK=steered
var=$(realpath -m "${DAYBOOK_STACK_DIR:-var}")
bin=$(realpath -m "${DAYBOOK_STACK_BIN:-build/release/bin}")

deploy/local/stack down
deploy/local/stack wipe
"$bin/daybook" clock "$var/clock" 2026-11-15T04:00:00Z --rate 0 >/dev/null
deploy/local/stack up
. "$var/env/operator.env"
exec python3 deploy/demo/play.py --data tests/data/sample --clock "$var/clock" --results "$var/results"
