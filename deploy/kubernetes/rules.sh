#!/bin/bash
# Prints deploy/prometheus/alerts.yml as a PrometheusRule: `make kubernetes-rules`.
set -euo pipefail
cd "$(dirname "$0")/.."

cat <<'HEAD'
# Made of deploy/prometheus/alerts.yml by `make kubernetes-rules`; change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: daybook
spec:
HEAD
sed -e '/^#/d' -e 's/^\(.\)/  \1/' prometheus/alerts.yml
