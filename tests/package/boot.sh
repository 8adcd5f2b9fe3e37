#!/bin/bash
# The package on a machine of its own: a Debian made by debootstrap is booted in namespaces, with systemd, PostgreSQL and
# Redis; there the package is installed and set up as docs/operate.md says. Then a daemon is killed, one hangs,
# PostgreSQL comes last, all are stopped. Needs root and debootstrap, some 3 minutes and 700 MB; by hand:
#
#     make package-boot
#
# FOLDER keeps the Debian for the next time.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
deb=$1 root=$2
here=$(cd "$(dirname "$0")" && pwd)
all='daybook@bus daybook@directory daybook@customers daybook@visits daybook@reminders daybook@scoring daybook@gateway'

# --- the Debian ---------------------------------------------------------------------------------------------------

if [ ! -e "$root/made" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | awk 'NR == 1')
    depends=$(dpkg-deb --field "$deb" Depends | sed 's/([^)]*)//g; s/[ |]//g')
    debootstrap --variant=minbase --include="systemd,systemd-sysv,dbus,postgresql,redis-server,curl,iproute2,$depends" \
        bookworm "$root" "$mirror" >"$root.log" 2>&1 || { tail -5 "$root.log" >&2; exit 1; }
    touch "$root/made"
fi
cp "$deb" "$root/root/daybook.deb"

# --- its start ----------------------------------------------------------------------------------------------------

# In namespaces of its own: what systemd expects to be mounted, then systemd.
inside_boot() {
    mount --make-rprivate /
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys -o ro
    mount -t tmpfs tmpfs sys/fs/cgroup -o mode=755
    if grep -q ' cgroup2 .*unified\| - cgroup ' /proc/self/mountinfo; then
        mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
        mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
        mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    else
        mount -t cgroup2 cgroup2 sys/fs/cgroup
    fi
    mount -t tmpfs tmpfs dev -o mode=755,dev
    for d in null zero full random urandom tty; do
        mknod -m 666 "dev/$d" c "$((0x$(stat -c %t "/dev/$d")))" "$((0x$(stat -c %T "/dev/$d")))"
    done
    mkdir dev/pts dev/shm
    mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
    mount -t tmpfs tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    : >dev/console
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    ip link set lo up
    mkdir -p old
    pivot_root . old
    umount -l /old
    mount --make-rshared /
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init >/tmp/console 2>&1 </dev/null
}
export -f inside_boot
export root
unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child bash -euc inside_boot &
boot=$!
trap 'kill -9 $boot 2>/dev/null || true' EXIT
init=
until [ -n "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ]; do
    kill -0 "$boot" || { echo "boot.sh: it did not boot" >&2; exit 1; }
    init=$(cat "/proc/$boot/task/$boot/children")
    init=${init%% *}
    sleep 0.1
done

within() { # statements of a shell
    nsenter -t "$init" -m -p -u -i -n -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -euc "$1"
}
step() { printf -- '--- %s\n' "$*"; }
until_true() { # seconds, statements
    local until=$((SECONDS + $1))
    until within "$2" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || { echo "boot.sh: not in $1 s: $2" >&2; within "journalctl --no-pager -n 40" >&2; exit 1; }
        sleep 0.2
    done
}
settled='set -a; . /etc/daybook/operator.env; daybook status --wait 60s | tail -1 | grep "all ready, settled"'

until_true 60 'systemctl is-active postgresql@15-main redis-server'
until_true 60 'cd /; runuser -u postgres -- psql -c "SELECT 1"'
# of the time before
within 'dpkg --purge daybook; rm -rf /etc/daybook; cd /; runuser -u postgres -- dropdb --if-exists daybook' >/dev/null 2>&1
step "install, set up, start"
within 'dpkg -i /root/daybook.deb >/dev/null; daybook-setup; daybook-setup | tail -1'
within "systemctl enable --now daybook.target $all 2>/dev/null; $settled"
within "systemd-analyze security --no-pager daybook@visits | tail -1"
step "one is killed, one hangs"
within 'kill -9 $(systemctl show -P MainPID daybook@visits); kill -STOP $(systemctl show -P MainPID daybook@scoring)'
until_true 60 'journalctl -u daybook@scoring --no-pager | grep "Watchdog timeout"'
until_true 30 "$settled"
step "all are stopped, in order"
within "systemctl stop $all"
for d in $all; do [ "$(within "systemctl show -P Result $d")" = success ] || { echo "boot.sh: $d failed" >&2; exit 1; }; done
step "PostgreSQL comes last"
within "systemctl stop postgresql@15-main; systemctl start --no-block $all"
until_true 20 'journalctl -u daybook@visits --no-pager | tail -5 | grep "admin listener is up"'
within "systemctl start postgresql@15-main; $settled"
step "migrations of an upgrade, beside running daemons"
within "systemctl start daybook-migrate; systemctl show -P Result daybook-migrate | grep success; $settled"
step "done: $(basename "$here")/boot.sh"
