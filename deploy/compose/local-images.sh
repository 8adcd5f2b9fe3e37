#!/bin/bash
# Makes images of PostgreSQL, Redis, nginx and Prometheus from Debian's packages, where the public ones cannot be pulled,
# and prints the settings by which deploy/compose.yaml takes them.
#
#     deploy/compose/local-images.sh [BASE] > images.env      # BASE: daybook-base:bookworm, of `make base-image`
set -euo pipefail
cd "$(dirname "$0")/local"

base=${1:-daybook-base:bookworm}
for target in postgres redis nginx prometheus; do
    "${DOCKER:-docker}" build --network host --build-arg BASE="$base" --target "$target" --tag "daybook-$target:bookworm" . >&2
    echo "${target^^}_IMAGE=daybook-$target:bookworm"
done
