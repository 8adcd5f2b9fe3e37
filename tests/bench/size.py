"""What a rep's day costs: rows, bytes, events, WAL, duties, by the commands of the crash tests' load (tests/crash)
on a private stack. `make size` prints it per rep and day, and as a year of 1,000 reps: build/size.md.

How many of each a rep does in a day is an assumption, stated in DAY: the documents only name a quota of 20 visits a
month (VIS-07), which is one a working day.
"""

import os
import pathlib
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "acceptance"), str(TESTS / "crash"), str(TESTS / "support")]
import contract  # noqa: E402

contract.load()
from load import Worker  # noqa: E402
from local_stack import DAEMONS, ROOT, wait_until  # noqa: E402
from under_load import UnderLoad  # noqa: E402

DAY = (("talk", 10), ("answer", 5), ("visit", 6), ("order", 1), ("promise", 1), ("keep", 1), ("pay", 0.5))
REP_DAYS = int(os.environ.get("SIZE_REP_DAYS", "200"))
WORKING_DAYS, HOURS = 250, 8
REPS = 1000
GIB, MIB = 2**30, 2**20


def figures(stack):
    """Bytes with indexes and rows by table, and other counters."""
    stack.psql("vacuum analyze")
    tables = {r["name"]: r for r in stack.sql(
        "select n.nspname || '.' || c.relname as name, pg_total_relation_size(c.oid) as bytes, c.reltuples::bigint as"
        " rows from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname !~"
        " '^pg_|^information_schema$'")}
    return tables, {
        "events": stack.value("select last_seq from bus.head"),
        "duties": stack.value("select count(*) from reminders.obligation"),
        "notices": stack.value("select count(*) from reminders.notification"),
        "WAL": stack.value("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"),
    }


def work(worker):
    """So many days of a rep, one after the other; returns how many commands were acknowledged."""
    for name, count in DAY:
        for n in range(round(count * REP_DAYS)):
            getattr(worker, name)()


def measure(wreck):
    stack = wreck.stack
    worker = Worker(0, wreck.load_settings(), None)
    for _ in range(24):
        worker.visit()  # some are under way at every step, as in the middle of a week
    stack.settle()
    tables_before, before = figures(stack)
    acknowledged = wreck.acknowledged()
    work(worker)
    acknowledged = wreck.acknowledged() - acknowledged
    stack.settle(120)
    wait_until(lambda: not wreck.overdue_timers(), 60, "timers that were due had fired")
    tables, after = figures(stack)
    grown = {name: (t["bytes"] - tables_before[name]["bytes"], t["rows"] - tables_before[name]["rows"])
             for name, t in tables.items()}
    return acknowledged, {k: after[k] - before[k] for k in after}, grown


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


def report(wreck, acknowledged, counted, grown):
    year = REPS * WORKING_DAYS
    kept = {n: g for n, g in grown.items() if g[0] > 0 and not n.endswith(".idempotency") and n != "bus.outbox"}
    short = sum(g[0] for n, g in grown.items() if n.endswith(".idempotency"))
    total, rows = sum(g[0] for g in kept.values()), sum(g[1] for g in kept.values())
    log, audit = kept["bus.log"][0], kept["directory.audit_entry"][0]
    lines = [f"Assumed of a rep and day: {', '.join(f'{c} {n}' for n, c in DAY)} (6 visit steps are one visit, "
             f"3 of them its rep's report and the superior's two decisions); {WORKING_DAYS} days of {HOURS} h. Measured over {REP_DAYS} rep-days.",
             "", f"| | a rep and day | {REPS} reps |", "| --- | --- | --- |"]

    def line(what, n, unit, scaled):
        lines.append(f"| {what} | {n:,.1f} {unit} | {scaled} |")
    per = {k: v / REP_DAYS for k, v in counted.items()}
    second = REPS / (HOURS * 3600)
    commands = acknowledged / REP_DAYS
    line("commands", commands, "", f"{commands * second:.2f}/s on average")
    line("events", per["events"], "", f"{per['events'] * second:.2f}/s on average")
    line("duties (timers) opened", per["duties"], "", f"{per['duties'] * year / 1e6:.1f} million a year")
    line("notices", per["notices"], "", f"{per['notices'] * year / 1e6:.1f} million a year")
    line("rows kept", rows / REP_DAYS, "", f"{rows / REP_DAYS * year / 1e6:.0f} million a year")
    line("kept, with indexes", total / REP_DAYS / 1024, "KiB", f"{total / REP_DAYS * year / GIB:.0f} GiB a year")
    line("of these the log", log / REP_DAYS / 1024, "KiB", f"{log / REP_DAYS * year / GIB:.0f} GiB a year")
    line("of these the audit trail", audit / REP_DAYS / 1024, "KiB", f"{audit / REP_DAYS * year / GIB:.0f} GiB a year")
    line("kept for 48 h (idempotency)", short / REP_DAYS / 1024, "KiB", f"{short / REP_DAYS * REPS * 2 / MIB:.0f} MiB")
    line("WAL", per["WAL"] / 1024, "KiB", f"{per['WAL'] * REPS / GIB:.1f} GiB a day")
    lines += ["", "| table | KiB a rep and day | rows |", "| --- | --- | --- |"]
    for name, (size, n) in sorted(kept.items(), key=lambda k: -k[1][0])[:14]:
        lines.append(f"| {name} | {size / REP_DAYS / 1024:.1f} | {n / REP_DAYS:.1f} |")
    stack = wreck.stack
    connections = stack.value("select count(*) from pg_stat_activity where application_name like 'daybook-%'")
    memory = {d: resident(stack.pid(d)) for d in DAEMONS}
    lines += ["", f"Connections to PostgreSQL of the seven daemons: {connections}. Resident memory: "
              + ", ".join(f"{d} {b / MIB:.0f}" for d, b in memory.items())
              + f" MiB, together {sum(memory.values()) / MIB:.0f} MiB; Redis "
              + f"{int(stack.redis('info', 'memory').split('used_memory:')[1].split()[0]) / MIB:.1f} MiB."]
    return "\n".join(lines) + "\n"


def main():
    with tempfile.TemporaryDirectory(prefix="daybook-size-") as folder:
        wreck = UnderLoad(folder, "size", 1, rate=1, soon=10, processes=1, threads=1)
        try:
            wreck.up()
            text = report(wreck, *measure(wreck))
        finally:
            wreck.remove()
    (ROOT / "build/size.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
