#!/bin/bash
# Runs a program in a network of its own, so that programs side by side never take each other's ports: one that a
# test lets go for a moment would be anybody's. Only loopback is there. Who is not root needs a user namespace for it.
# Where the kernel or a container allows neither, the program runs as it would without this.
set -euo pipefail
own=(unshare --net) plain=()
if [ "$(id -u)" -ne 0 ]; then
    own=(unshare --user --map-current-user --keep-caps --net)
    plain=(setpriv --inh-caps=-all --ambient-caps=-all) # what it may do is what it might before
fi
if "${own[@]}" ip link set lo up 2>/dev/null; then
    exec "${own[@]}" sh -c 'ip link set lo up && exec "$0" "$@"' "${plain[@]}" "$@"
fi
exec "$@"
