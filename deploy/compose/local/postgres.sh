#!/bin/bash
# Makes the cluster in $PGDATA when there is none, as the public image of PostgreSQL does it, and runs the command. One that
# is there, whoever made it, is taken as it is.
set -euo pipefail

making=$PGDATA/daybook-making # what ended half-way begins again
if [ -e "$making" ]; then find "$PGDATA" -mindepth 1 -delete; fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-instructions > /dev/null
    touch "$making"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait --silent start
    psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres -c "CREATE DATABASE $POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql -X -q -v ON_ERROR_STOP=1 -U postgres -d "$POSTGRES_DB" -f "$file"
    done
    pg_ctl --pgdata="$PGDATA" --wait --silent --mode=fast stop
    rm "$making"
fi
exec "$@" -c listen_addresses='*'
