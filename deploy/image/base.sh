#!/bin/bash
# Makes the base in which the image is built from Debian's packages, where debian:bookworm-slim cannot be pulled. Needs
# root and debootstrap.
#
#     deploy/image/base.sh TAG        # then: make image BASE=TAG
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | awk 'NR == 1')
[ "$mirror" ] || { echo "base.sh: apt knows no mirror of Debian; apt-get update?" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase bookworm "$root" "$mirror" > /dev/null
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" --create . | "${DOCKER:-docker}" import - "$1"
