#!/bin/bash
# Installs what building, running and testing Daybook needs, from Debian's packages. Does nothing
# when all is there. As an ordinary user it needs sudo.
set -euo pipefail

build=(build-essential pkg-config protobuf-compiler protobuf-c-compiler libprotobuf-dev
    libprotobuf-c-dev libzmq3-dev libsodium-dev libpq-dev libhiredis-dev libjansson-dev
    libcurl4-openssl-dev tzdata gawk git)
run=(postgresql postgresql-client redis-server util-linux python3)
test=(libcmocka-dev clang libclang-rt-14-dev python3-venv)

wanted=("${build[@]}" "${run[@]}")
[ "${1:-}" = "--run-only" ] || wanted+=("${test[@]}")

missing=()
for p in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
# The packages' own servers are not ours: they must not start or make a cluster.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod +x $policy
    made_policy=1
fi
trap '[ -z "$made_policy" ] || "${as_root[@]}" rm -f $policy' EXIT
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
