#!/bin/bash
# One program out of a Debian package, without installing the package: no service is set up, and no root
# is needed. Its libraries must be there. As new as the mirror has it; the package is checked by apt.
#
#     tools/debian-program.sh PACKAGE PATH/IN/PACKAGE FILE
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
package=$1 path=$2 file=$(realpath -m "$3")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# Where apt knows no packages (an image without lists), it reads them into a folder of this run.
download() { apt-get -qq -o APT::Sandbox::User="$(id -un)" "$@" download "$package" >/dev/null; }
if ! download 2>/dev/null; then
    mkdir -p state/lists/partial cache/archives/partial
    own=(-o "Dir::State=$tmp/state" -o "Dir::Cache=$tmp/cache" -o Dir::State::status=/var/lib/dpkg/status)
    apt-get -qq -o APT::Sandbox::User="$(id -un)" "${own[@]}" update
    download "${own[@]}"
fi
dpkg-deb --fsys-tarfile ./*.deb | tar -x "./$path"
mkdir -p "$(dirname "$file")"
mv "$path" "$file"
