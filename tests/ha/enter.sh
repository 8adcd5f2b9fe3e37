#!/bin/bash
# Runs a command in a network of its own, where the machines of the cluster are loopback addresses under the names
# that deploy/ha uses. Nothing in it meets the services of this machine. As root.
#
#     enter.sh PATRONI COMMAND...    (a Python environment with Patroni, which is /mnt inside)
set -euo pipefail

[ "$(id -u)" -eq 0 ] || { echo "make ha: as root, for network and mount namespaces" >&2; exit 1; }
missing=()
for p in etcd-server haproxy redis-server redis-sentinel postgresql iproute2 python3-venv; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "make ha needs Debian's packages: ${missing[*]}" >&2
    echo "Their services are not needed and should not start: apt-get install after" >&2
    echo "printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d (remove it afterwards)" >&2
    exit 1
fi

hosts=$(mktemp)
trap 'rm -f "$hosts"' EXIT
chmod 644 "$hosts" # also for the user of PostgreSQL
cat >"$hosts" <<HOSTS
127.0.0.1 localhost
127.0.1.1 db1
127.0.1.2 db2
127.0.1.3 db3
127.0.2.1 redis1
127.0.2.2 redis2
127.0.3.1 bus1
127.0.3.2 bus2
HOSTS
HOSTS=$hosts unshare --net --mount --pid --fork --kill-child --mount-proc bash -c '
    ip link set lo up
    mount --bind "$HOSTS" /etc/hosts
    mount --bind "$1" /mnt
    shift
    # Not exec: this shell is the first process there, to which falls whatever is left behind, and it must be waited for.
    "$@"
    exit $?' enter "$@"
