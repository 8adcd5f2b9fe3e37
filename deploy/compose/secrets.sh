#!/bin/bash
# Makes what a new installation needs to keep secret, once: CURVE keys of the daemons and of the operator, the master
# key, passwords of the database's roles and of Redis, and a certificate of its own for the proxy (lay fullchain.pem and
# key.pem there before to use yours). What is there already stays as it is. Keep a copy of master.key elsewhere: who loses
# it loses all sealed fields.
#
#     deploy/compose/secrets.sh [FOLDER]           # var/compose
#
# DAYBOOK_DB_AT: where PostgreSQL is, in the words of libpq (host=postgres dbname=daybook); a certificate's name is
# DAYBOOK_NAME (localhost). The files can be read by all, since Compose shows them to other users' processes as they are; the
# folder by its owner alone.
set -euo pipefail

case ${1:-} in -*) sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64 ;; esac
root=$(realpath "$(dirname "$0")/../..")
out=$(realpath -m "${1:-$root/var/compose}")
image=${DAYBOOK_IMAGE:-daybook:$(cat "$root/VERSION")}
at=${DAYBOOK_DB_AT:-host=postgres dbname=daybook}
daemons=(bus directory customers visits reminders scoring gateway)
umask 077
mkdir -p "$out/admitted"

random() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
once() { # file, command that prints it...
    local file=$out/$1
    shift
    [ -s "$file" ] || { "$@" >"$file.new" && mv "$file.new" "$file"; }
}

# The command, as it is at hand: built here, installed, or in the image.
keygen() { # prefix, kind
    local program=$root/build/release/bin/daybook
    [ -x "$program" ] || program=$(command -v daybook || true)
    if [ "$program" ]; then
        "$program" keygen "$out/$1" --kind "$2"
    else
        "${DOCKER:-docker}" run --rm --network none --user "$(id -u):$(id -g)" --volume "$out:/keys" \
            "$image" daybook keygen "/keys/$1" --kind "$2"
    fi >/dev/null
}
curve_key() { # name, kind
    [ -s "$out/$1.key" ] || keygen "$1" "$2"
    once "$1.z85" head -n 1 "$out/$1.pub"
    cp "$out/$1.pub" "$out/admitted/"
}

conninfo() { printf '%s user=%s password=%s\n' "$at" "$1" "$(random 24)"; }
password_of() { sed 's/.*password=//' "$out/$1.db"; }
passwords() {
    local name
    echo '\set QUIET on'
    printf "ALTER ROLE daybook_owner PASSWORD '%s';\n" "$(password_of migrate)"
    for name in "${daemons[@]}"; do
        printf "SELECT 'CREATE ROLE daybook_%s LOGIN' WHERE to_regrole('daybook_%s') IS NULL \\gexec\n" "$name" "$name"
        printf "ALTER ROLE daybook_%s PASSWORD '%s';\n" "$name" "$(password_of "$name")"
        # From PostgreSQL 16 on, who may create roles needs this to alter one that he did not create.
        printf 'GRANT daybook_%s TO daybook_owner WITH ADMIN OPTION;\n' "$name"
    done
}
redis_conf() {
    printf 'bind * -::*\nrequirepass %s\nsave ""\nappendonly no\ndir /data\n' "$(cat "$out/redis.password")"
    printf 'maxmemory 64mb\nmaxmemory-policy allkeys-lru\n'
}
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj "/CN=${DAYBOOK_NAME:-localhost}" \
        -addext "subjectAltName=DNS:${DAYBOOK_NAME:-localhost}" -keyout "$out/key.pem" 2>/dev/null
}

once master.key random 32
for name in "${daemons[@]}"; do
    case $name in gateway) kind=edge ;; *) kind=daemon ;; esac
    curve_key "$name" "$kind"
    once "$name.db" conninfo "daybook_$name"
done
curve_key operator system
once migrate.db conninfo daybook_owner
once postgres.password random 24
once redis.password random 24
once grafana.password random 24
once passwords.sql passwords
once redis.conf redis_conf
once fullchain.pem certificate
chmod -R a+rX "$out"
chmod 0700 "$out"
echo "secrets are in $out"
