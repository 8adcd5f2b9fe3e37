#!/bin/bash
# Every key of the rule book is read by the code: a setting without effect would deceive whoever sets it.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=$(git ls-files 'common/*.c' 'services/*.c' | grep -v '^common/policy_table\.c$')
status=0
for key in $(grep -oE '^    \{ "[a-z0-9_]+"' common/policy_table.c | cut -d'"' -f2); do
    grep -qF "\"$key\"" $sources || { echo "policy key $key is read by nobody" >&2; status=1; }
done
rules=$(grep -oE '"TMR-[0-9]+"' services/reminders/rules.c | tr -dc '0-9\n' | sort -u | tr '\n' ' ')
keys=$(grep -oE 'ENABLED\([0-9]+\)' common/policy_table.c | tr -dc '0-9\n' | sort -u | tr '\n' ' ')
[ "$rules" = "$keys" ] || { echo "switches of timers: $keys; rules: $rules" >&2; status=1; }
exit $status
