"""Row 4: the timer engine, beside graphile-worker and beside the plain inserts of what firing writes."""

import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import uuid

from rows_bus import TENANT
from stack import Failed, run, wait_until
from table import interleave, median

HERE = pathlib.Path(__file__).parent
UNIT = "00000000-0000-7000-a000-000000000001"
YEAR_US = 365 * 86400 * 10**6
FIRED = "daybook_timers_fired_total"
LOAD_BATCH = 250_000


# --- duties with timers, by SQL --------------------------------------------------------------------

class Loader:
    """Makes duties with one step each; ids rise as those of events would, the last byte is random."""

    def __init__(self, bench):
        self.bench, self.made = bench, 0

    def load(self, count, first_due_us, step_us=0):
        for at in range(0, count, LOAD_BATCH):
            self.batch(min(LOAD_BATCH, count - at), first_due_us + at * step_us, step_us)

    def batch(self, count, first_due_us, step_us):
        self.made += count
        self.bench.stack.sql(f"""
            begin;
            create temporary table made on commit drop as
            select (lpad(to_hex({self.made - count} + n), 12, '0') || substr(md5(random()::text), 1, 20))::uuid as id,
                   {first_due_us} + n * {step_us}::bigint as due_us,
                   ('00000000-0000-7000-8000-' || lpad((n % {self.bench.employees} + 1)::text, 12, '0'))::uuid
                       as assignee, n
              from generate_series(0, {count - 1}) n;
            insert into reminders.obligation (tenant_id, id, rule, subject, customer_id, assignee_id, unit_id, title,
                   starts_at, due_at, known_us, state, plan, tells, next_step, next_us, row_version)
            select '{TENANT}', id, 'TMR-01', 'questions/' || id, lpad((n % {self.bench.customers} + 1)::text, 32, '0')::uuid,
                   assignee, '{UNIT}', 'Answer a question of the customer', now(), reminders.at(due_us), 0, 'pending',
                   array[due_us], 'owner', 0, due_us, 1 from made order by id;
            insert into reminders.timer (tenant_id, obligation_id, shard, step, due_us)
            select '{TENANT}', id, get_byte(uuid_send(id), 15) & 63, 0, due_us from made order by id;
            commit""")


def tidy(bench):
    """Back to the pending timers alone: overdue duties would grow the daily lists from run to run."""
    bench.stack.sql(f"delete from reminders.obligation where tenant_id = '{TENANT}' and state <> 'pending'")
    bench.stack.sql("vacuum analyze reminders.timer, reminders.obligation, reminders.notification")
    bench.stack.settle()
    wait_until(lambda: bench.stack.metric("reminders", "daybook_task_lists_waiting") == 0, 120,
               "the lists are built anew", 0.1)


def cpu(bench):
    pids = [bench.stack.pid("reminders"), *bench.stack.backends("daybook_reminders")]
    total = 0.0
    for pid in pids:
        try:
            total += bench.stack.cpu_s(pid)
        except FileNotFoundError:
            pass
    return total


def stolen_s():
    """CPU seconds that the host has given to others while somebody here wanted them; proc(5), stat."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


# --- firing ----------------------------------------------------------------------------------------

def lateness(bench, from_us, until_us, want):
    """Of the ledger's rows due in that time, to the start of their firing and to their event in the log."""
    row = bench.stack.sql(f"""
        with fired as (
            select n.obligation_id, n.due_at, extract(epoch from n.fired_at - n.due_at) * 1000 as late,
                   extract(epoch from l.sequenced_at - n.due_at) * 1000 as logged
              from reminders.notification n
              left join bus.log l on l.aggregate = 'reminders/' || n.obligation_id
                                 and l.type = 'daybook.reminders.v1.ReminderFired'
             where n.tenant_id = '{TENANT}' and n.due_at between reminders.at({from_us}) and reminders.at({until_us}))
        select count(*), count(distinct obligation_id), count(logged),
               percentile_disc(array[0.5, 0.99]) within group (order by late),
               percentile_disc(array[0.5, 0.99]) within group (order by logged) from fired""")[0]
    if row[:3] != [str(want)] * 3:
        raise Failed(f"of {want} timers the ledger has {row[0]} notices of {row[1]} duties, the log {row[2]} events")
    late, logged = ([float(x) for x in text.strip("{}").split(",")] for text in row[3:])
    return {"late_p50_ms": late[0], "late_p99_ms": late[1], "logged_p50_ms": logged[0], "logged_p99_ms": logged[1]}


def fire_all(bench, loader, count, house=True):
    """`count` timers due at one moment: how fast they are fired, and what that costs.

    house False: while nobody moves or hears the events, which else share the CPUs with the firing.
    """
    due_us = int((time.time() + 4 + count / 15000) * 1e6)
    loader.load(count, due_us)
    bench.stack.sql("vacuum analyze reminders.timer, reminders.obligation")
    left = due_us / 1e6 - time.time()
    if left < 0.5:
        raise Failed(f"loading {count} timers took too long")
    if not house:
        bench.stack.end("bus")
    before, cpu_before = bench.stack.metric("reminders", FIRED), cpu(bench)
    time.sleep(max(0, due_us / 1e6 - time.time()))
    wait_until(lambda: bench.stack.metric("reminders", FIRED) - before >= count, 120, "all timers fire", 0.01)
    seconds, cpu_s = time.time() - due_us / 1e6, cpu(bench) - cpu_before
    if not house:
        bench.stack.start("bus")
    bench.stack.settle()
    to_log_s, late = time.time() - due_us / 1e6, lateness(bench, due_us, due_us, count)
    tidy(bench)
    return {"rate": count / seconds, "cpu_us": cpu_s / count * 1e6, "to_log_seconds": to_log_s, **late}


def fire_paced(bench, loader, rate, seconds):
    due_us = int((time.time() + 5) * 1e6)
    count, step = rate * seconds, 10**6 // rate
    loader.load(count, due_us, step)
    bench.stack.sql("vacuum analyze reminders.timer, reminders.obligation")
    time.sleep(max(0, due_us / 1e6 - time.time()))
    stolen_before = stolen_s()
    time.sleep(seconds)
    stolen = (stolen_s() - stolen_before) / seconds / os.cpu_count() * 100
    bench.stack.settle()
    late = lateness(bench, due_us, due_us + count * step, count)
    tidy(bench)
    return {"stolen_percent": stolen, **late}


def idle(bench, seconds):
    before = cpu(bench)
    time.sleep(seconds)
    return (cpu(bench) - before) * 60 / seconds


# --- the limits ------------------------------------------------------------------------------------

class Graphile:
    def __init__(self, bench):
        self.bench, self.root = bench, bench.build / "node"
        if not (self.root / "node_modules/graphile-worker").exists():
            raise Failed("graphile-worker is not installed; use: make bench")
        bench.stack.sql("create database graphile")
        self.url = f"postgres://daybook_owner@/graphile?host={bench.stack.sockets}"
        self.node("install")
        bench.stack.sql("insert into graphile_worker._private_tasks (identifier) values ('bench') "
                        "on conflict do nothing", "graphile")

    def node(self, mode):
        return run(["node", HERE / "graphile.mjs", mode, self.url],
                   env=dict(os.environ, NODE_ROOT=str(self.root), NO_LOG_SUCCESS="1"))

    def drain(self, count, processes):
        self.bench.stack.sql(f"""
            insert into graphile_worker._private_jobs (task_id, payload)
            select (select id from graphile_worker._private_tasks where identifier = 'bench'), '{{}}'::json
              from generate_series(1, {count});
            vacuum analyze graphile_worker._private_jobs""", "graphile")
        with concurrent.futures.ThreadPoolExecutor(processes) as pool:
            ends = [json.loads(x) for x in pool.map(lambda _: self.node("drain"), range(processes))]
        ran = sum(e["ran"] for e in ends)
        if ran != count:
            raise Failed(f"graphile-worker ran {ran} of {count} jobs")
        return {"rate": count * 1000 / (max(e["ended"] for e in ends) - min(e["began"] for e in ends))}


def make_insert_tables(bench):
    bench.stack.sql("""
        create schema bench;
        create table bench.notification (like reminders.notification including all);
        create table bench.outbox (like bus.outbox including all);
        create table bench.paced (at timestamptz not null);
        create sequence bench.batch""")


def insert_limit(bench, clients):
    """What firing writes, a ledger row and an event each, 1,000 a statement, and nothing else."""
    payload = bench.stack.sql("select payload from bus.log where type = 'daybook.reminders.v1.ReminderFired' limit 1")
    bench.stack.sql("truncate bench.notification, bench.outbox")
    script = bench.stack.folder / "insert.pgbench"
    made = "('00000000-0000-7000-8000-' || lpad(to_hex(:b * 1000 + n), 12, '0'))::uuid"
    script.write_text(f"""
        select nextval('bench.batch') as b \\gset
        \\startpipeline
        begin;
        insert into bench.notification (tenant_id, id, obligation_id, rule, step_kind, step, recipient_id, channel,
               due_at, fired_at, late, state, delivered_at, text)
        select '{TENANT}', {made}, {made}, 'TMR-01', 'due', 0, '{UNIT}', 'in_app', now(), now(), false, 'delivered',
               now(), 'Answer a question of the customer' from generate_series(1, 1000) n;
        insert into bench.outbox (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, actor_id,
               request_id, traceparent, payload)
        select {made}, '{TENANT}', 'daybook.reminders.v1.ReminderFired', 'reminders/' || {made}, 2, now(), null, '', '',
               '{payload[0][0] if payload else ""}'::bytea from generate_series(1, 1000) n;
        commit;
        \\endpipeline
        """.replace("        \\", "\\"))
    out = run(["pgbench", "-n", "-M", "extended", "-f", script, "-c", clients, "-j", clients, "-T",
               1 if bench.quick else 3, bench.stack.conninfo()])
    return {"rate": 1000 * float(out.split("tps = ")[1].split()[0])}


def commit_limit(bench, rate, seconds):
    """One row committed at each of as many moments by two connections, and nothing else: how late it begins."""
    script = bench.stack.folder / "paced.pgbench"
    script.write_text("insert into bench.paced (at) values (clock_timestamp());\n")
    stolen_before = stolen_s()
    with tempfile.TemporaryDirectory(dir=bench.stack.folder) as where:
        run(["pgbench", "-n", "-M", "prepared", "-f", script, "-c", 2, "-j", 2, "-R", rate, "-T", seconds,
             "-l", "--log-prefix", f"{where}/t", bench.stack.conninfo()])
        lags = sorted(int(line.split()[6]) / 1000 for file in pathlib.Path(where).glob("t.*")
                      for line in file.read_text().splitlines())
    return {"late_p50_ms": lags[len(lags) // 2], "late_p99_ms": lags[len(lags) * 99 // 100],
            "stolen_percent": (stolen_s() - stolen_before) / seconds / os.cpu_count() * 100}


# --- arming and closing ----------------------------------------------------------------------------

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def question(bench, n, question_id, now_s, answered):
    q = (field(1, question_id) + field(2, f"00000000-0000-0000-0000-{n % bench.customers + 1:012}")
         + field(3, question_id) + field(4, "Can it be had in blue?") + field(5, field(1, now_s))
         + field(6, f"00000000-0000-7000-8000-{n % bench.employees + 1:012}") + field(7, 3 if answered else 1))
    if answered:
        return field(1, q + field(9, field(1, now_s)) + field(10, "Yes"))
    return field(1, q) + field(2, UNIT)


def put_events(bench, ids, answered):
    """Questions opened, or answered, into the outbox, as the customers daemon does; waits for the log."""
    now_s = int(time.time()) - 60
    kind = "QuestionAnswered" if answered else "QuestionOpened"
    rows = "".join(
        f"{uuid.uuid4()}\t{TENANT}\tdaybook.customers.v1.{kind}\tquestions/{q}\t{2 if answered else 1}\tnow\t"
        f"\\\\x{question(bench, n, q, now_s, answered).hex()}\n" for n, q in enumerate(ids))
    bench.stack.sql("copy bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, payload) "
                    f"from stdin;\n{rows}\\.\n")
    wait_until(lambda: bench.stack.value("select count(*) from bus.outbox") == "0", 120, "the relay moves the events")


def catch_up(bench):
    """Seconds that the consumer of reminders needs from its first batch to the head of the log."""
    seq = "select c.seq, h.last_seq from reminders.consumer_cursor c, bus.head h where c.consumer = 'reminders'"
    first, head = map(int, bench.stack.sql(seq)[0])
    bench.stack.start("reminders")
    script = f"""
        do $$ declare at bigint; began timestamptz; first bigint; begin
            loop
                select seq into at from reminders.consumer_cursor where consumer = 'reminders';
                if began is null and at > {first} then began := clock_timestamp(); first := at; end if;
                exit when at >= {head};
                commit;
                perform pg_sleep(0.005);
            end loop;
            raise notice 'took % % ', extract(epoch from clock_timestamp() - began), at - first;
        end $$"""
    p = subprocess.run(["psql", "-X", "-q", "-d", bench.stack.conninfo()], input=script, text=True, timeout=300,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    took = p.stderr.split("took ")[1].split()
    return int(took[1]) / max(float(took[0]), 1e-3)


def arm_and_close(bench, count):
    """Events a second by the consumer in batches, first all that open, then all that close."""
    ids = [str(uuid.UUID(int=(int(time.time() * 1000) << 80) | 7 << 76 | 2 << 62 | n)) for n in range(count)]
    rates = []
    for answered in (False, True):
        bench.stack.end("reminders")
        put_events(bench, ids, answered)
        rates.append(catch_up(bench))
        bench.stack.settle()
    states = bench.stack.sql("select state, count(*) from reminders.obligation where subject = any (array["
                             + ",".join(f"'questions/{q}'" for q in ids[:200]) + "]) group by 1")
    if states != [["done", "200"]]:
        raise Failed(f"the duties of the first 200 questions are {states}")
    return {"armed": rates[0], "closed": rates[1], "pairs": 1 / (1 / rates[0] + 1 / rates[1])}


# --- the row ---------------------------------------------------------------------------------------

def at_level(bench, loader, graphile, pending, count):
    tidy(bench)
    variants = {
        "idle": lambda: {"cpu_s": idle(bench, 3 if bench.quick else 10)},
        "paced": lambda: fire_paced(bench, loader, 500, 4 if bench.quick else 10),
        "paced_limit": lambda: commit_limit(bench, 500, 4 if bench.quick else 10),
        "fired": lambda: fire_all(bench, loader, count),
        "fired_alone": lambda: fire_all(bench, loader, count, house=False),
        "insert_1": lambda: insert_limit(bench, 1),
        "insert_2": lambda: insert_limit(bench, 2),
        "burst": lambda: fire_all(bench, loader, 10_000),
    }
    for n in (1, 2):
        variants[f"graphile_{n}"] = lambda n=n: graphile.drain(count, n)
    got = interleave(bench.runs, variants)
    bench.table.keep("4", {f"{pending}_pending": got})
    return got


def level_rows(bench, pending, got):
    add, at = bench.table.add, f"{pending:,} pending"
    inserts = max(median(got["insert_1"], "rate"), median(got["insert_2"], "rate"))
    best = max(median(got["graphile_1"], "rate"), median(got["graphile_2"], "rate"))
    for variant, words in (("fired", "fired, events moved and heard"), ("fired_alone", "fired, bus stopped")):
        rate = median(got[variant], "rate")
        add("4", f"{at}: {words}", rate, "/s", best, "graphile-worker, empty jobs", ">= 2 x graphile-worker",
            rate >= 2 * best)
        add("4", f"{at}: {words}", rate, "/s", inserts, "inserts of the same rows", ">= 60 % of the inserts",
            rate >= 0.6 * inserts)
    for p, most_ms in (("p50", 1), ("p99", 5)):
        late = median(got["paced"], f"late_{p}_ms")
        add("4", f"{at}: lateness at 500/s, {p}", late, "ms", median(got["paced_limit"], f"late_{p}_ms"),
            "a commit of one row at 500/s", f"<= {most_ms} ms", late <= most_ms)
    add("4", f"{at}: until their events are in the log, p99", median(got["paced"], "logged_p99_ms"), "ms")
    add("4", f"{at}: CPU that the host took meanwhile", median(got["paced"], "stolen_percent"), "%",
        median(got["paced_limit"], "stolen_percent"), "during these commits")
    add("4", f"{at}: lateness of 10,000 due at once, p99", median(got["burst"], "late_p99_ms"), "ms",
        median(got["burst"], "logged_p99_ms"), "until its event is in the log", "<= 300 ms",
        median(got["burst"], "late_p99_ms") <= 300)
    add("4", f"{at}: CPU of reminders while idle", median(got["idle"], "cpu_s"), "s/min", None, "", "<= 1 s/min",
        median(got["idle"], "cpu_s") <= 1)


def timers(bench):
    """(4) See README.md."""
    loader, graphile = Loader(bench), Graphile(bench)
    make_insert_tables(bench)
    count = 20_000 if bench.quick else 50_000
    levels = [10_000, 1_000_000] + ([10_000_000] if bench.big else [])
    results, loaded = {}, 0
    bench.note("row 4: arming and closing by events")
    got = interleave(bench.runs, {"arm": lambda: arm_and_close(bench, count // 2)})
    bench.table.keep("4", got)
    for field_name, unit in (("armed", "/s"), ("closed", "/s"), ("pairs", "pairs/s")):
        value = statistics.median(r[field_name] for r in got["arm"])
        judged = field_name == "pairs"
        bench.table.add("4", "armed and closed by events" if judged else f"{field_name} by events", value, unit, None, "",
                        ">= 20,000 pairs/s" if judged else "", value >= 20_000 if judged else None)
    for pending in levels:
        bench.note(f"row 4: {pending:,} pending timers: loading")
        loader.load(pending - loaded, int(time.time() * 1e6) + YEAR_US, 1000)
        loaded = pending
        bench.note(f"row 4: {pending:,} pending timers: measuring")
        results[pending] = at_level(bench, loader, graphile, pending, count)
        level_rows(bench, pending, results[pending])
    few, many = median(results[levels[0]]["fired"], "cpu_us"), median(results[levels[-1]]["fired"], "cpu_us")
    bench.table.add("4", f"CPU a fired timer at {levels[-1]:,} pending", many, "us", few, f"at {levels[0]:,} pending",
                    "<= 1.2 x", many <= 1.2 * few)
