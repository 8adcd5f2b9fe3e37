#!/bin/bash
# Builds the version before (N-1), from which the rolling upgrade starts.
#
#   previous.sh FOLDER            the last commit without the audit trail and the imports over HTTP, which have brought
#                                 three migrations and new events; FOLDER/bin is then what was built
#   previous.sh FOLDER strict     a newer one, whose gateways and buses fail no call when a bus stops
set -euo pipefail
cd "$(dirname "$0")/../.."
commit=4061037
[ "${2:-}" != strict ] || commit=7f0431e
out=$(realpath -m "${1:?where to?}")

[ "$(cat "$out/commit" 2>/dev/null)" != "$commit" ] || exit 0
git merge-base --is-ancestor "$commit" HEAD 2>/dev/null || {
    echo "the rolling upgrade (F54) starts from commit $commit, which is not in this history (a shallow clone?);" \
        "run: git fetch --unshallow" >&2
    exit 1
}
rm -rf "$out"
mkdir -p "$out/src"
git archive "$commit" | tar -x -C "$out/src"
# Its make has options of its own; what this one was called with is not for it.
env -u MAKEFLAGS -u MAKELEVEL -u WERROR -u SAN make -C "$out/src" -j"$(nproc)" COMMIT="$commit" all \
    >"$out/build.log" 2>&1 || {
    echo "commit $commit does not build; see $out/build.log" >&2
    exit 1
}
ln -s src/build/release/bin "$out/bin"
echo "$commit" >"$out/commit"
