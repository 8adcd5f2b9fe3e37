#!/bin/bash
# Prints rules of deploy/prometheus as a PrometheusRule.
#
#     deploy/kubernetes/rules.sh              # alerts.yml: `make kubernetes-rules`
#     deploy/kubernetes/rules.sh backup       # alerts-backup.yml, for who has its metric: | kubectl -n daybook apply -f -
set -euo pipefail

case ${1:-} in
    '') name=daybook file=alerts.yml ;;
    backup) name=daybook-backup file=alerts-backup.yml ;;
    *) sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 64 ;;
esac
cd "$(dirname "$0")/.."

cat <<HEAD
# Made of deploy/prometheus/$file by deploy/kubernetes/rules.sh; change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: $name
spec:
HEAD
sed -e '/^#/d' -e 's/^\(.\)/  \1/' "prometheus/$file"
