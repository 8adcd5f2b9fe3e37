#!/bin/bash
# Makes the secrets that are missing, brings all of deploy/compose.yaml up and waits until all of it is healthy.
#
#     deploy/compose/up.sh [WORD...]            # words for `up`, such as --scale visits=3
#     deploy/compose/up.sh --down [WORD...]     # stops it; with --volumes its data go
#
# COMPOSE: its command, "docker compose" or docker-compose, whichever there is. COMPOSE_PROJECT_NAME: daybook.
# WAIT: seconds until it gives up (120).
set -euo pipefail

case ${1:-} in -h | --help) sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64 ;; esac
here=$(realpath "$(dirname "$0")")
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-daybook}
if docker compose version >/dev/null 2>&1; then compose="docker compose"; else compose=docker-compose; fi
compose="${COMPOSE:-$compose} -f $here/../compose.yaml"

if [ "${1:-}" = --down ]; then
    shift
    # shellcheck disable=SC2086
    exec $compose down --remove-orphans --timeout 45 "$@"
fi
"$here/secrets.sh" ${DAYBOOK_SECRETS:+"$DAYBOOK_SECRETS"}

# 75: the database is not there yet, or somebody else migrates.
migrate() { # seconds of this script until which it is tried
    local status
    while :; do
        status=0
        $compose run --rm --no-deps migrate || status=$?
        [ "$status" -eq 75 ] && [ "$SECONDS" -lt "$1" ] || break
        sleep 1
    done
    [ "$status" -eq 0 ] || { printf 'up.sh: the migration ended with %d; no daemon was replaced\n' "$status" >&2; exit "$status"; }
}

# Where daemons run already, this is perhaps an upgrade: migrations come first, then the bus, then the others. `up` by
# itself would not keep that order: Compose v2 ends all that depend on what it makes anew before it makes it.
if [ -n "$($compose ps --quiet bus)" ]; then
    others=(directory customers visits reminders scoring gateway nginx prometheus)
    case ",${COMPOSE_PROFILES:-}," in *,grafana,*) others+=(grafana) ;; esac
    $compose up --detach --no-deps postgres redis
    migrate "$((SECONDS + ${WAIT:-120}))"
    $compose up --detach --no-deps bus
    $compose up --detach --no-deps --remove-orphans "$@" "${others[@]}"
else
    $compose up --detach --remove-orphans "$@"
fi

# One line a container: name, and its health or, where it has none or has ended, its state.
states() {
    $compose ps --quiet | xargs --no-run-if-empty docker inspect --format \
        '{{.Name}} {{if and .State.Running .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}} {{.State.ExitCode}}{{end}}'
}
until=$((SECONDS + ${WAIT:-120}))
while waiting=$(states | grep -v -e ' healthy$' -e ' exited 0$'); do
    if [ "$SECONDS" -ge "$until" ]; then
        printf 'up.sh: not healthy; see docker logs of\n%s\n' "$waiting" >&2
        exit 1
    fi
    sleep 0.2
done
states
