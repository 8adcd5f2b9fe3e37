#!/bin/bash
# Installs what building, running and testing Daybook needs, from Debian's packages. Does nothing
# when all is there. As an ordinary user it needs sudo. --run-only leaves out what only tests need, --build-only
# what only running needs, too.
#
# The servers of these packages (PostgreSQL, Redis, PgBouncer) are not ours: of what is installed here, none starts or
# makes a cluster, now or at the next start of the machine. What was there before stays as it was.
set -euo pipefail

wanted=(build-essential pkg-config protobuf-compiler protobuf-c-compiler libprotobuf-dev
    libprotobuf-c-dev libzmq3-dev libsodium-dev libpq-dev libhiredis-dev libjansson-dev
    libcurl4-openssl-dev libssl-dev libmicrohttpd-dev zlib1g-dev tzdata gawk git)
[ "${1:-}" = "--build-only" ] || wanted+=(postgresql postgresql-client redis-server util-linux)
wanted+=(python3 ca-certificates)
if [ "${1:-}" != "--run-only" ] && [ "${1:-}" != "--build-only" ]; then
    wanted+=(libcmocka-dev clang clang-format clang-tidy libclang-rt-14-dev python3-venv zsh curl
        openssl iproute2 chromium-headless-shell groff-base cppcheck valgrind pgbouncer faketime)
    # Also there when Node comes from elsewhere, whose package clashes with Debian's npm.
    command -v npm >/dev/null || wanted+=(npm)
fi

missing=()
for p in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
is_missing() { case " ${missing[*]} " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
install() { "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null; }

policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.conf
made_policy='' kept_conf=''
put_back() {
    [ -z "$made_policy" ] || "${as_root[@]}" rm -f "$policy"
    [ -z "$kept_conf" ] || "${as_root[@]}" mv "$cluster_conf.before-daybook" "$cluster_conf"
}
trap put_back EXIT

"${apt[@]}" update
if [ ! -e "$policy" ]; then # now: no service starts while packages are set up
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
    made_policy=1
fi
if is_missing postgresql; then # the next time: no cluster "main" that would start with the machine
    install postgresql-common
    "${as_root[@]}" cp -p "$cluster_conf" "$cluster_conf.before-daybook"
    kept_conf=1
    echo 'create_main_cluster = false' | "${as_root[@]}" tee -a "$cluster_conf" >/dev/null
fi
install "${missing[@]}"
for server in redis-server pgbouncer; do
    is_missing "$server" || continue
    if command -v systemctl >/dev/null; then
        "${as_root[@]}" systemctl --quiet disable "$server" || true
    else
        "${as_root[@]}" update-rc.d "$server" disable || true
    fi
done
