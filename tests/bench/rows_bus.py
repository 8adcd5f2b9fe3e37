"""Rows 1 to 3: the way through the bus, a command, and an event."""

import contextlib
import subprocess

from pgbench import Record
from stack import wait_until
from table import interleave, median

TENANT = "00000000-0000-7000-9000-000000000001"
SLOTS = 32  # workers at the bus and behind the raw proxy: about those of seven daemons
INTERACTION = "daybook.customers.v1.InteractionRecorded"


@contextlib.contextmanager
def echo_daemon(bench):
    """tests/support/echo as a daemon of the house: loop, worker threads, the bus."""
    env = bench.stack.env_of("visits") | {"DAYBOOK_ADMIN_LISTEN": f"unix:{bench.stack.run_dir}/echo",
                                          "DAYBOOK_WORKERS": "8"}
    log = open(bench.stack.folder / "log/echo.log", "ab")
    binary = bench.build / "release/bin/test-echo"
    p = subprocess.Popen([binary], env=env, stdout=log, stderr=log)
    try:
        wait_until(lambda: subprocess.run([binary, "--health"], env=env, stdout=log, stderr=log).returncode == 0, 10,
                   "the echo daemon is ready")
        yield
    finally:
        p.terminate()
        p.wait()


def echo(bench):
    """(1) There and back through the bus, beside zmq_proxy between the same ends."""
    base = int(bench.stack.env_of("operator")["DAYBOOK_BUS_ENDPOINT"].rsplit(":", 1)[1]) + 9
    front, back, back_one, front_one = (f"tcp://127.0.0.1:{base + i}" for i in range(4))
    secret = {"DAYBOOK_BENCH_SERVER_SECRET_FILE": str(bench.stack.folder / "keys/bus.key")}
    env = bench.stack.env_of("visits")
    with contextlib.ExitStack() as ends:
        ends.enter_context(bench.peer("proxy", front, back, env=env, **secret))
        ends.enter_context(bench.peer("raw", back, SLOTS, env=env))
        ends.enter_context(bench.peer("proxy", front_one, back_one, env=env, **secret))
        ends.enter_context(bench.peer("raw", back_one, 1, env=env))
        ends.enter_context(bench.peer("mdp", "bench.Echo", SLOTS, env=env))
        ends.enter_context(echo_daemon(bench))
        for window in (1, 64):
            bench.note(f"row 1: echo, {window} outstanding")
            got = interleave(bench.runs, {
                "raw": lambda: bench.load("echo", window=window, endpoint=front),
                "raw_one_worker": lambda: bench.load("echo", window=window, endpoint=front_one),
                "bus": lambda: bench.load("echo", window=window),
                "daemon": lambda: bench.load("echo", window=window, service="test.EchoService"),
            })
            bench.table.keep("1", {f"{window}_outstanding": got})
            echo_rows(bench, window, got)


def echo_rows(bench, window, got):
    raw, bus = got["raw"], got["bus"]
    at = f"echo, {window} outstanding"
    for field, unit in (("rate", "/s"), ("p50_us", "us"), ("p99_us", "us")):
        value, limit = median(bus, field), median(raw, field)
        target, met = "", None
        if field == "rate":
            target, met = ">= 50 % of raw", value >= 0.5 * limit
        elif field == "p50_us" and window == 1:
            target, met = "<= raw + 60 us", value <= limit + 60
        bench.table.add("1", f"{at}: {field.removesuffix('_us')}", value, unit, limit,
                        f"raw proxy, {SLOTS} workers", target, met)
    bench.table.add("1", f"{at}: rate", median(bus, "rate"), "/s", median(got["raw_one_worker"], "rate"),
                    "raw proxy, 1 worker connection")
    bench.table.add("1", f"{at}: rate by a daemon", median(got["daemon"], "rate"), "/s", median(raw, "rate"),
                    f"raw proxy, {SLOTS} workers")
    bench.table.add("1", f"{at}: p50 by a daemon", median(got["daemon"], "p50_us"), "us", median(raw, "p50_us"),
                    f"raw proxy, {SLOTS} workers")


def record(bench):
    """(2) RecordInteraction beside pgbench with the same statements."""
    bench.load("record", seconds=0.5)
    pgbench = Record(bench.stack, TENANT, bench.customers)
    for clients in (1, 16, 64):
        bench.note(f"row 2: commands, {clients} clients")

        def command():
            bench.stack.settle()
            return bench.load("record", clients=clients)

        def same_sql():
            bench.stack.settle()
            return pgbench(clients, bench.seconds if bench.quick else bench.seconds + 1)

        got = interleave(bench.runs, {"command": command, "pgbench": same_sql})
        bench.table.keep("2", {f"{clients}_clients": got})
        rate, limit = median(got["command"], "rate"), median(got["pgbench"], "rate")
        at = f"RecordInteraction, {clients} client{'s' if clients > 1 else ''}"
        bench.table.add("2", f"{at}: rate", rate, "/s", limit, "pgbench, same SQL", ">= 80 % of pgbench",
                        rate >= 0.8 * limit)
        for field in ("p50_us", "p99_us"):
            bench.table.add("2", f"{at}: {field.removesuffix('_us')}", median(got["command"], field) / 1000, "ms",
                            median(got["pgbench"], field) / 1000, "pgbench, same SQL")


def events(bench):
    """(3) From the answer of a command, which follows its commit, to the event at a subscriber."""
    bench.note("row 3: events at 500/s, and at 20/s, when the house is idle between them")
    bench.stack.settle()
    got = interleave(bench.runs, {
        f"events_{rate}": lambda rate=rate: bench.load("record", rate=rate, clients=16, events=INTERACTION,
                                                       seconds=2 if bench.quick else 8)
        for rate in (500, 20)})
    bench.table.keep("3", got)
    for rate, judged_field, most in ((500, "p99_us", 10), (20, "p50_us", 5)):
        runs = got[f"events_{rate}"]
        lost = sum(r["unheard"] for r in runs)
        for name, prefix in (("commit -> subscriber", "answer_to_event_"), ("request -> subscriber", "ask_to_event_")):
            for field in ("p50_us", "p99_us"):
                value = median(runs, prefix + field) / 1000
                judged = prefix == "answer_to_event_" and field == judged_field
                bench.table.add("3", f"{name} at {rate}/s: {field.removesuffix('_us')}", value, "ms",
                                median(runs, field) / 1000, f"the command itself, {field.removesuffix('_us')}",
                                f"<= {most} ms" if judged else "", value <= most and lost == 0 if judged else None)
