#!/usr/bin/env python3
"""Writes dashboards/*.json. A dashboard is rows of panels, a panel a title, a unit and queries with their legends; all
else is the same everywhere and stands here once.

    deploy/grafana/dashboards.py            # writes them
    deploy/grafana/dashboards.py --check    # fails when the files are others
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
RATE = "[$__rate_interval]"
OURS = 'code=~"unavailable|deadline_exceeded|internal|unknown|data_loss"'


def quantile(q, metric, by, where=""):
    return f"histogram_quantile({q}, sum by ({by}le) (rate({metric}_bucket{{{where}}}{RATE})))"


def busy_workers():
    """Of a daemon: its services share its workers, and each bus knows all of them."""
    workers = ("max by (job) (group by (job, service) (daybook_rpc_server_duration_seconds_count) "
               "* on (service) group_left () max by (service) (daybook_bus_workers))")
    return f"sum by (job) (rate(daybook_rpc_server_duration_seconds_sum{RATE})) / {workers}"


def panel(title, unit, *queries, stat=False, stack=False, y_max=None):
    return dict(title=title, unit=unit, queries=queries, stat=stat, stack=stack, max=y_max)


OVERVIEW = ("daybook-overview", "Daybook: overview", [
    ("Is it well?", [
        panel("Replicas ready", "short", ("sum by (job) (daybook_ready)", "{{job}}"), stat=True),
        panel("PostgreSQL reached by", "short", ("sum by (job) (daybook_db_up)", "{{job}}"), stat=True),
        panel("Outbox: oldest event", "s", ("max(daybook_outbox_oldest_seconds)", "oldest"), stat=True),
        panel("Consumers: furthest behind", "s", ("max(daybook_consumer_lag_seconds)", "lag"), stat=True),
        panel("Reminders late, p99", "s",
              (quantile(0.99, "daybook_timer_lateness_seconds", ""), "p99"), stat=True),
        panel("Webhooks that wait", "short", ("sum(daybook_webhook_pending)", "pending"), stat=True),
    ]),
    ("What comes in", [
        panel("Calls over HTTP", "reqps",
              (f"sum by (service) (rate(daybook_gateway_requests_total{RATE}))", "{{service}}"), stack=True),
        panel("Calls of daemons", "reqps",
              (f"sum by (job) (rate(daybook_rpc_server_handled_total{RATE}))", "{{job}}"), stack=True),
        panel("Events into the log", "eps", (f"rate(daybook_log_head_seq{RATE})", "events")),
    ]),
    ("Hosts and processes", [
        panel("CPU", "percentunit", (f"sum by (job) (rate(process_cpu_seconds_total{RATE}))", "{{job}}")),
        panel("Memory", "bytes", ("max by (job) (process_resident_memory_bytes)", "{{job}}")),
        panel("File descriptors", "percentunit",
              ("max by (job) (process_open_fds / process_max_fds)", "{{job}}"), y_max=1),
        panel("Clock against the database", "s", ("daybook_clock_skew_seconds", "{{job}} {{instance}}")),
    ]),
])

CALLS = ("daybook-calls", "Daybook: calls", [
    ("Rate, errors, duration, by daemon", [
        panel("Rate", "reqps", (f"sum by (job) (rate(daybook_rpc_server_handled_total{RATE}))", "{{job}}")),
        panel("Errors of ours", "percentunit",
              (f"sum by (job) (rate(daybook_rpc_server_handled_total{{{OURS}}}{RATE})) / "
               f"sum by (job) (rate(daybook_rpc_server_handled_total{RATE}))", "{{job}}"), y_max=1),
        panel("Duration, p50 and p99", "s",
              (quantile(0.5, "daybook_rpc_server_duration_seconds", "job, "), "{{job}} p50"),
              (quantile(0.99, "daybook_rpc_server_duration_seconds", "job, "), "{{job}} p99")),
    ]),
    ("By method", [
        panel("Most called", "reqps",
              (f"topk(10, sum by (service, method) (rate(daybook_rpc_server_handled_total{RATE})))",
               "{{service}}/{{method}}")),
        panel("Slowest, p99", "s",
              (f"topk(10, {quantile(0.99, 'daybook_rpc_server_duration_seconds', 'service, method, ')})",
               "{{service}}/{{method}}")),
        panel("Refused and failed", "reqps",
              (f'sum by (code) (rate(daybook_rpc_server_handled_total{{code!="ok"}}{RATE}))', "{{code}}"), stack=True),
    ]),
    ("Use", [
        panel("Workers that are busy", "percentunit", (busy_workers(), "{{job}}"), y_max=1),
        panel("Requests that wait for one", "short", ("sum by (service) (daybook_bus_queue_depth)", "{{service}}")),
        panel("Connections that wait for PostgreSQL", "percentunit",
              (f"sum by (job) (rate(daybook_db_query_seconds_sum{RATE})) / sum by (job) (daybook_db_connections{{state=\"open\"}})",
               "{{job}}"), y_max=1),
    ]),
    ("Over HTTP", [
        panel("Duration, p99", "s",
              (f"topk(10, {quantile(0.99, 'daybook_gateway_request_duration_seconds', 'service, ')})",
               "{{service}}")),
        panel("Codes", "reqps", (f"sum by (code) (rate(daybook_gateway_requests_total{RATE}))", "{{code}}"), stack=True),
        panel("Proofs of identity", "reqps",
              (f"sum by (kind, code) (rate(daybook_gateway_authentications_total{RATE}))", "{{kind}} {{code}}")),
        panel("Streams open", "short", ("sum(daybook_gateway_streams)", "streams")),
    ]),
    ("PostgreSQL", [
        panel("Slowest statements, p99", "s",
              (f"topk(10, {quantile(0.99, 'daybook_db_query_seconds', 'statement, ')})", "{{statement}}")),
        panel("Round trips", "ops", (f"sum by (job) (rate(daybook_db_round_trips_total{RATE}))", "{{job}}")),
        panel("Failures by SQLSTATE class", "ops",
              (f"sum by (sqlstate_class) (rate(daybook_db_errors_total{RATE}))", "{{sqlstate_class}}")),
        panel("Connections", "short", ("sum by (job, state) (daybook_db_connections)", "{{job}} {{state}}")),
    ]),
])

EVENTS = ("daybook-events", "Daybook: bus, log and consumers", [
    ("Bus", [
        panel("Requests that wait", "short", ("sum by (service) (daybook_bus_queue_depth)", "{{service}}")),
        panel("Workers", "short", ("sum by (service) (daybook_bus_workers)", "{{service}}")),
        panel("Refused by the bus", "reqps",
              (f"sum by (reason) (rate(daybook_bus_rejected_total{RATE}))", "{{reason}}")),
        panel("Links lost", "ops", (f"sum by (job, reason) (rate(daybook_bus_link_lost_total{RATE}))", "{{job}} {{reason}}")),
    ]),
    ("Outbox and log", [
        panel("Events in the outbox", "short", ("max(daybook_outbox_rows)", "rows")),
        panel("Oldest in the outbox", "s", ("max(daybook_outbox_oldest_seconds)", "oldest")),
        panel("Relay leaders", "short", ("sum(daybook_relay_leader)", "leaders")),
    ]),
    ("Consumers", [
        panel("Behind the log", "s", ("max by (consumer) (daybook_consumer_lag_seconds)", "{{consumer}}")),
        panel("Behind the log", "short", ("max by (consumer) (daybook_consumer_lag_events)", "{{consumer}}")),
        panel("Parked", "short", ("sum by (consumer) (increase(daybook_consumer_parked_total[1h]))", "{{consumer}}")),
    ]),
    ("Webhooks", [
        panel("Posts", "ops", (f"sum by (outcome) (rate(daybook_webhook_attempts_total{RATE}))", "{{outcome}}")),
        panel("That wait", "short", ("sum(daybook_webhook_pending)", "pending")),
        panel("Oldest that waits", "s", ("max(daybook_webhook_oldest_seconds)", "oldest")),
        panel("Imports and exports ended", "short",
              ("sum by (kind, result) (increase(daybook_gateway_transfers_total[1h]))", "{{kind}} {{result}}")),
    ]),
])

BUSINESS = ("daybook-business", "Daybook: reminders and the working day", [
    ("Reminders", [
        panel("Fired, by rule", "ops", (f"sum by (rule) (rate(daybook_timers_fired_total{RATE}))", "{{rule}}"), stack=True),
        panel("Outcomes", "ops", (f"sum by (outcome) (rate(daybook_timers_fired_total{RATE}))", "{{outcome}}")),
        panel("Lateness, p50 and p99", "s",
              (quantile(0.5, "daybook_timer_lateness_seconds", ""), "p50"),
              (quantile(0.99, "daybook_timer_lateness_seconds", ""), "p99")),
        panel("Due now", "short", ("sum(daybook_timers_due)", "due")),
    ]),
    ("Steps and notices", [
        panel("Warned, due, escalated", "ops",
              (f"sum by (kind) (rate(daybook_timer_steps_total{RATE}))", "{{kind}}"), stack=True),
        panel("Escalated in an hour", "short",
              ('sum(increase(daybook_timer_steps_total{kind="escalation"}[1h]))', "escalated")),
        panel("By channel", "ops",
              (f"sum by (channel, outcome) (rate(daybook_channel_sends_total{RATE}))", "{{channel}} {{outcome}}")),
    ]),
    ("Daily lists", [
        panel("Read", "ops", (f"sum by (outcome) (rate(daybook_task_list_reads_total{RATE}))", "{{outcome}}"), stack=True),
        panel("Changed, to be built", "short", ("sum(daybook_task_lists_waiting)", "lists")),
        panel("Cache", "ops", (f"sum by (op, outcome) (rate(daybook_cache_ops_total{RATE}))", "{{op}} {{outcome}}")),
    ]),
    ("What people ask for", [
        panel("Visits, customers, deals", "reqps",
              (f'topk(12, sum by (service, method) (rate(daybook_rpc_server_handled_total{{code="ok", '
               f'service=~"daybook.(customers|visits).*"}}{RATE})))', "{{service}}/{{method}}")),
        panel("Refused for want of authority", "reqps", (f"sum by (job) (rate(daybook_authz_denied_total{RATE}))", "{{job}}")),
        panel("Audit trail", "ops", (f"sum by (outcome) (rate(daybook_audit_entries_total{RATE}))", "{{outcome}}")),
    ]),
])


def of_panel(number, p, place):
    fields = {"unit": p["unit"], "min": None if p["unit"] == "s" else 0, "max": p["max"]}
    if p["stack"]:
        fields["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 30}
    return {"id": number, "title": p["title"], "type": "stat" if p["stat"] else "timeseries", "datasource": SOURCE,
            "gridPos": place, "fieldConfig": {"defaults": fields, "overrides": []},
            "options": {} if p["stat"] else {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}},
            "targets": [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend,
                         "exemplar": "_bucket" in expr} for i, (expr, legend) in enumerate(p["queries"])]}


def of_dashboard(uid, title, rows):
    panels, y, number = [], 0, 0
    for heading, row in rows:
        number += 1
        panels.append({"id": number, "title": heading, "type": "row", "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y += 1
        width, height = 24 // len(row), 4 if row[0]["stat"] else 8
        for i, p in enumerate(row):
            number += 1
            panels.append(of_panel(number, p, {"h": height, "w": width, "x": i * width, "y": y}))
        y += height
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {"uid": uid, "title": title, "tags": ["daybook"], "timezone": "browser", "schemaVersion": 38, "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"}, "templating": {"list": [source]}, "panels": panels}


def main():
    wrong = []
    for uid, title, rows in (OVERVIEW, CALLS, EVENTS, BUSINESS):
        file, text = HERE / f"{uid}.json", json.dumps(of_dashboard(uid, title, rows), indent=1) + "\n"
        if "--check" not in sys.argv:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            wrong.append(file.name)
    if wrong:
        sys.exit(f"not what dashboards.py writes: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
