#!/bin/bash
# Base backups, the WAL between them, and the way back to any moment since the oldest: for one PostgreSQL and a folder,
# better on another machine. For more (several hosts, compression, object stores) take pgBackRest.
#
#     backup.sh archive FOLDER PATH NAME     as archive_command: 'backup.sh archive FOLDER %p %f'
#     backup.sh base FOLDER [KEEP]           a base backup, verified; keeps so many (7) and the WAL since the oldest
#     backup.sh restore FOLDER DATA [TIME]   into the empty folder DATA, up to TIME or to the end of the WAL
#
# Run by the user of PostgreSQL's server. Connections by PGHOST, PGUSER and so on; the user may replicate. `base` writes
# FOLDER/daybook_backup.prom for node_exporter's textfile collector (alert DaybookBackupOld). The master key and the keys of
# the daemons are not in the database: keep copies of them elsewhere.
#
# After a restore: start PostgreSQL, wait until it has ended recovery, then `daybook doctor --after-restore`.
set -euo pipefail

pgbin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 | sort -V | tail -n 1)
usage() { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 64; }
die() { echo "backup.sh: $*" >&2; exit 1; }

# There is no WAL file twice with another content; a copy cut short has another name.
archive() { # folder, path, name
    local to=$1/wal/$3
    mkdir -p "$1/wal"
    if [ -e "$to" ]; then
        cmp -s "$2" "$to" && exit 0
        die "$to is there, and another"
    fi
    cp "$2" "$to.new"
    sync "$to.new"
    mv "$to.new" "$to"
    sync "$1/wal"
}

base() { # folder, keep
    local name to
    [[ $2 =~ ^[1-9][0-9]*$ ]] || die "KEEP is how many base backups stay, 1 at least, not $2"
    name=$(date -u +%Y%m%dT%H%M%SZ)
    to=$1/base/$name
    mkdir -p "$1/base" "$1/wal"
    rm -rf "$1"/base/*.new
    "$pgbin/pg_basebackup" --pgdata="$to.new" --checkpoint=fast --wal-method=stream --manifest-checksums=SHA256 --no-password
    "$pgbin/pg_verifybackup" --quiet "$to.new"
    mv "$to.new" "$to"
    sync "$1/base"
    forget_old "$1" "$2"
    printf '# HELP daybook_backup_end_timestamp_seconds When the newest base backup was complete.\n%s\n%s %s\n' \
        '# TYPE daybook_backup_end_timestamp_seconds gauge' daybook_backup_end_timestamp_seconds "$(date +%s)" >"$1/daybook_backup.prom.new"
    mv "$1/daybook_backup.prom.new" "$1/daybook_backup.prom"
    echo "$to"
}

forget_old() { # folder, keep
    local all oldest first
    mapfile -t all < <(find "$1/base" -mindepth 1 -maxdepth 1 -type d | sort)
    while [ "${#all[@]}" -gt "$2" ]; do
        rm -rf "${all[0]}"
        all=("${all[@]:1}")
    done
    oldest=${all[0]}
    first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\)).*/\1/p' "$oldest/backup_label")
    "$pgbin/pg_archivecleanup" "$1/wal" "$first"
}

restore() { # folder, data, time
    local all from='' stamp until=''
    [ -z "$3" ] || until=$(date -d "$3" +%s) || die "TIME is like '2026-11-30 02:59:00+08', not $3"
    [ -z "$(ls -A "$2" 2>/dev/null)" ] || die "$2 is not empty"
    mapfile -t all < <(find "$1/base" -mindepth 1 -maxdepth 1 -type d ! -name '*.new' | sort)
    for base in "${all[@]}"; do # the newest that was complete before that time
        stamp=$(stat -c %Y "$base/backup_manifest")
        [ -n "$until" ] && [ "$stamp" -gt "$until" ] || from=$base
    done
    [ -n "$from" ] || die "no base backup is older than ${3:-now}"
    mkdir -p "$2"
    cp -a "$from/." "$2"
    chmod 700 "$2"
    {
        printf "restore_command = 'cp \"%s/wal/%%f\" \"%%p\"'\n" "$(realpath "$1")"
        printf "recovery_target_timeline = 'latest'\n"
        [ -z "$3" ] || printf "recovery_target_time = '%s'\nrecovery_target_action = 'promote'\n" "$3"
    } >>"$2/postgresql.auto.conf"
    touch "$2/recovery.signal"
    echo "restored from $from"
}

case ${1:-} in
    archive) [ $# -eq 4 ] || usage; archive "$2" "$3" "$4" ;;
    base) [ $# -eq 2 ] || [ $# -eq 3 ] || usage; base "$2" "${3:-7}" ;;
    restore) [ $# -eq 3 ] || [ $# -eq 4 ] || usage; restore "$2" "$3" "${4:-}" ;;
    *) usage ;;
esac
