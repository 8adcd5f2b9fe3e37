#!/bin/bash
# Man pages out of what the programs say of themselves, so that there is one truth: daybook(1) from `daybook help`, one
# daybook-NAME(8) a daemon from --help and --help-settings.
#
#     tools/man.sh BINARIES FOLDER     BINARIES: where the programs are; FOLDER: gets man1/ and man8/
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
bin=$1 out=$2
version=$("$bin/daybook" version | awk '{ print $2; exit }')
date=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%d)
daemons=(bus directory customers visits reminders scoring gateway)
mkdir -p "$out/man1" "$out/man8"

declare -A about=(
    [bus]="takes requests to services, publishes events and keeps their log"
    [directory]="companies, units, people, calendars, policies, keys and the audit trail"
    [customers]="customer files, contacts, communications, complaints and deals"
    [visits]="visit plans, applications, check-ins, reports, reviews and commitments"
    [reminders]="deadlines, escalation and each rep's tasks of the day"
    [scoring]="tiers, lead scores, lifetime value and the monthly appraisal"
    [gateway]="HTTP: the Connect protocol, webhooks, calendar feeds, imports and exports"
)

head_of() { # name, section, words about it
    printf '.TH %s %s %s "Daybook %s" Daybook\n.SH NAME\n%s \\- %s\n' "${1^^}" "$2" "$date" "$version" "$1" "$3"
}

# Tables of options become tagged paragraphs, "Words:" at the margin a heading, all else stays as it stands.
as_roff() { # heading macro
    awk -v heading="$1" '
        function plain(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.\x27]/, "\\\\\\&&", s); return s }
        function mode(to) { if (to != now) { if (now == "text") print ".fi"; if (to == "text") print ".nf"; now = to } }
        /^[A-Z][^.]*:$/ { mode("none"); sub(/:$/, ""); print heading " " plain($0); blank = 0; next }
        /^$/ { blank = 1; next }
        now == "table" && /^ {5,}[^ ]/ { sub(/^ +/, ""); print plain($0); next }
        /^  (-|[a-z0-9.]| [0-9])/ && match($0, /[^ ]  +[^ ]/) {
            mode("table"); blank = 0
            tag = substr($0, 1, RSTART); text = substr($0, RSTART + RLENGTH - 1)
            sub(/^ +/, "", tag); print ".TP\n.B " plain(tag); print plain(text); next
        }
        /^  -/ { mode("table"); blank = 0; sub(/^ +/, ""); print ".TP\n.B " plain($0); next }
        { if (blank && now == "text") print ""; blank = 0
          if (now != "text" && started) print ".PP"; started = 1; mode("text"); print plain($0) }
        END { mode("none") }'
}

# "NAME (what, default)" and, deeper, what it is for; what stands before the first name are words about all.
settings_as_roff() {
    awk 'function plain(s) { sub(/^ +/, "", s); gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s }
        /^ *[A-Z][A-Z0-9_]+( \(|$)/ { name = $1; sub(/^ *[^ ]+ ?/, ""); print ".TP\n.B " plain(name); if (/./) print plain($0) "\n.br"; next }
        /^ *\. </ { print ".PP\n.nf"; print "  " plain($0); print ".fi"; next }
        /./ { print plain($0) }'
}

page_of_daemon() { # name
    local program=daybook-$1
    head_of "$program" 8 "${about[$1]}"
    printf '.SH SYNOPSIS\n.nf\n%s\n.fi\n.SH DESCRIPTION\n' "$("$bin/$program" --help | head -n 1 | sed 's/-/\\-/g')"
    "$bin/$program" --help | sed '1d; /^Settings come/,$d' | as_roff .SH
    printf '.SH SETTINGS\nFrom the environment; those of names in \\fB_FILE\\fR are files that hold the value.\n'
    "$bin/$program" --help-settings | settings_as_roff
    printf '.SH FILES\n.TP\n.I /etc/daybook/daybook.env\nsettings of all daemons of this host\n'
    printf '.TP\n.I /etc/daybook/%s.env\nsettings of this one\n' "$1"
    printf '.TP\n.I /usr/share/doc/daybook\nhow to run it, what each alert means\n'
    printf '.SH SEE ALSO\n.BR daybook (1), '
    printf '.BR daybook-setup (8)'
    for other in "${daemons[@]}"; do [ "$other" = "$1" ] || printf ',\n.BR daybook-%s (8)' "$other"; done
    printf '\n'
}

page_of_cli() {
    local command
    head_of daybook 1 "operate and use a Daybook installation"
    printf '.SH SYNOPSIS\n.nf\ndaybook [OPTION...] COMMAND [WORD...] [OPTION...]\n.fi\n.SH DESCRIPTION\n'
    "$bin/daybook" help | tail -n +5 | as_roff .SH
    printf '.SH COMMANDS IN FULL\n'
    for command in $("$bin/daybook" help | awk '/^Commands:/ { on = 1; next } on && /^$/ { exit } on { print $1 }'); do
        [ "$command" != help ] || continue
        printf '.SS %s\n' "$command"
        "$bin/daybook" help "$command" | sed '/^Options of all commands:/,$d' | as_roff .PP
    done
    printf '.SH SETTINGS\n'
    "$bin/daybook" help settings | settings_as_roff
    printf '.SH SEE ALSO\n.BR daybook-setup (8)'
    for other in "${daemons[@]}"; do printf ',\n.BR daybook-%s (8)' "$other"; done
    printf '\n'
}

page_of_cli >"$out/man1/daybook.1"
for name in "${daemons[@]}"; do page_of_daemon "$name" >"$out/man8/daybook-$name.8"; done
