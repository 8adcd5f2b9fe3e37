#!/bin/bash
# Do two builds of the commit that is checked out give the same bytes? Compiles it twice, in folders of different names, one with a space, and
# under another time zone and language, and compares the programs and the image's files with all that a layer holds of them.
#
#     tools/check-reproducible.sh [-jN]
set -euo pipefail

case "${1:--j2}" in -j*) ;; *) sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64 ;; esac
jobs=${1:--j2}
unset MAKEFLAGS MAKELEVEL MFLAGS # of a make that runs this
cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "what is not committed is not looked at" >&2
commit=$(git rev-parse --short=12 HEAD) epoch=$(git log -1 --format=%ct) source=$PWD
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

build() { # name, environment...
    local folder=$root/$1
    shift
    git clone --quiet "$source" "$folder"
    git -C "$folder" checkout --quiet "$commit"
    env "$@" make -C "$folder" --no-print-directory "$jobs" all daybookd COMMIT="$commit" >"$folder.log" 2>&1 ||
        { tail -20 "$folder.log" >&2; exit 1; }
    (cd "$folder" && env "$@" deploy/image/gather.sh build/release/bin "$folder.image" "$epoch")
    (cd "$folder/build/release/bin" && sha256sum -- *) >"$folder.programs"
    # Owners are those of who builds; in an image all is root's.
    tar -C "$folder.image" --sort=name --owner=0 --group=0 --numeric-owner --create . | sha256sum >"$folder.layer"
}

build one TZ=UTC LC_ALL=C
build "another place" TZ=Asia/Shanghai LC_ALL=C.UTF-8
bad=0
diff "$root/one.programs" "$root/another place.programs" || bad=1
diff "$root/one.layer" "$root/another place.layer" || bad=1
[ "$bad" -eq 0 ] && echo "reproducible: $(wc -l <"$root/one.programs") programs and the image's layer of $commit"
exit "$bad"
