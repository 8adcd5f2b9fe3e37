#!/bin/bash
# Runs a program in a network of its own, so that programs side by side never take each other's ports: one that a
# test lets go for a moment would be anybody's. Only loopback is there. Where that is not allowed (it takes root) the
# program runs as it would without this.
set -euo pipefail
if [ "$(id -u)" -eq 0 ] && unshare --net ip link set lo up 2>/dev/null; then
    exec unshare --net sh -c 'ip link set lo up && exec "$0" "$@"' "$@"
fi
exec "$@"
