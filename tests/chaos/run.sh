#!/bin/bash
# A chaos run (run.py) by the given Python; as root in a mount namespace of its own.
set -euo pipefail
own=()
if [ "$(id -u)" -eq 0 ] && unshare --mount --propagation private true 2>/dev/null; then
    own=(unshare --mount --propagation private)
    export CHAOS_OWN_MOUNTS=1
fi
exec "${own[@]}" "$1" "$(dirname "$0")/run.py"
