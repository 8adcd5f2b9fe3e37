"""Rows 5 and 6: the daily list, and what the daemons weigh."""

import csv
import io

from rows_bus import TENANT, echo_daemon
from stack import DAEMONS, run
from table import interleave, median

TASKS = 20  # on a list


def fill_lists(bench):
    """Open duties of each rep, due today, so that a list has its usual length."""
    bench.stack.sql(f"""
        insert into reminders.obligation (tenant_id, id, rule, subject, customer_id, assignee_id, unit_id, title,
               starts_at, due_at, known_us, state, plan, tells, row_version)
        select '{TENANT}', gen_random_uuid(), 'TMR-01', 'questions/' || gen_random_uuid(),
               lpad((n % {bench.customers} + 1)::text, 32, '0')::uuid,
               ('00000000-0000-7000-8000-' || lpad((n % {bench.employees} + 1)::text, 12, '0'))::uuid,
               '00000000-0000-7000-a000-000000000001', 'Answer the question of customer ' || n,
               now() - interval '20 hours', now() - interval '1 minute', 0, 'overdue', '{{}}', '', 1
          from generate_series(1, {bench.employees * TASKS}) n;
        insert into reminders.list_version as v (tenant_id, employee_id, version)
        select distinct tenant_id, assignee_id, 1 from reminders.obligation
            on conflict (tenant_id, employee_id) do update set version = v.version + 1;
        analyze reminders.obligation, reminders.list_version""")


def redis_get(bench, size):
    """redis-benchmark's GET of a value of that size, one client, in microseconds."""
    out = run(["redis-benchmark", "-s", bench.stack.redis, "-t", "set,get", "-d", size, "-c", 1, "-n",
               5000 if bench.quick else 30000, "--csv"])
    row = next(r for r in csv.DictReader(io.StringIO(out)) if r["test"] == "GET")
    return {"rate": float(row["rps"]), "p50_us": float(row["p50_latency_ms"]) * 1000,
            "p99_us": float(row["p99_latency_ms"]) * 1000}


def daily_list(bench):
    """(5) GetDailyTasks from the cache and past it, beside GET and the echo."""
    bench.note("row 5: daily list")
    fill_lists(bench)
    bench.stack.settle()
    bench.load("list", seconds=1)
    size = bench.load("list", seconds=0.5)["answer_bytes"]
    with echo_daemon(bench):
        got = interleave(bench.runs, {
            "hit": lambda: bench.load("list", warmup=2),  # the misses before have emptied the cache
            "miss": lambda: bench.load("list", flush=bench.stack.redis),
            "get": lambda: redis_get(bench, size),
            "echo": lambda: bench.load("echo", service="test.EchoService", bytes=size),
        })
    bench.table.keep("5", got)
    limit = 2 * median(got["get"], "p50_us") + median(got["echo"], "p50_us")
    hits = sum(r["from_cache"] for r in got["hit"]) / sum(r["count"] for r in got["hit"])
    misses = sum(r["from_database"] for r in got["miss"]) / sum(r["count"] for r in got["miss"])
    value = median(got["hit"], "p50_us")
    what = f"daily list of {TASKS}, {size} bytes"
    bench.table.add("5", f"{what}, hit: p50", value, "us", limit, "2 x GET + echo by a daemon, p50",
                    "<= 2 x GET + echo", value <= limit and hits > 0.99)
    bench.table.add("5", f"{what}, hit: p99", median(got["hit"], "p99_us"), "us",
                    2 * median(got["get"], "p99_us") + median(got["echo"], "p99_us"), "2 x GET + echo by a daemon, p99")
    bench.table.add("5", f"{what}, hit: rate", median(got["hit"], "rate"), "/s", median(got["get"], "rate"),
                    "redis-benchmark GET, 1 client")
    bench.table.add("5", f"{what}, miss: p50", median(got["miss"], "p50_us"), "us", value, "hit")
    bench.table.add("5", f"{what}, miss: p99", median(got["miss"], "p99_us"), "us", median(got["hit"], "p99_us"),
                    "hit")
    bench.table.add("5", "lists from the cache / from PostgreSQL when asked so", 100 * hits, "%", 100 * misses,
                    "% of the misses", "both > 99 %", hits > 0.99 and misses > 0.99)


def daemons(bench):
    """(6) Resident memory, after the rows before and freshly started, and start to ready."""
    bench.note("row 6: daemons")
    used = {name: bench.stack.rss_mb(name) for name in DAEMONS}
    got = {name: [] for name in DAEMONS}
    for _ in range(bench.runs):
        for name in DAEMONS:
            bench.stack.end(name)
            ready_ms = bench.stack.start(name)
            got[name].append({"ready_ms": ready_ms, "rss_mb": bench.stack.rss_mb(name)})
    bench.table.keep("6", {"used_mb": used, "started": got})
    for name in DAEMONS:
        ready, rss = median(got[name], "ready_ms"), median(got[name], "rss_mb")
        bench.table.add("6", f"{name}: start to ready", ready, "ms", None, "", "<= 300 ms", ready <= 300)
        bench.table.add("6", f"{name}: RSS when ready", rss, "MB", None, "", "<= 20 MB", rss <= 20)
        bench.table.add("6", f"{name}: RSS after the load", used[name], "MB", None, "", "<= 20 MB", used[name] <= 20)
