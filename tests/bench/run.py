#!/usr/bin/env python3
"""Measures Daybook beside its limits on a private stack; see README.md here.

Prints one table of medians and writes everything to build/bench.json. BENCH_QUICK=1 shortens the runs,
BENCH_ROWS=1,4 chooses rows, BENCH_BIG=1 adds 10 million pending timers.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

import rows_bus
import rows_files
import rows_house
import rows_http
import rows_overload
import rows_timers
from stack import ROOT, Failed, Stack
from table import Table

ROWS = {
    "1": rows_bus.echo,
    "2": rows_bus.record,
    "3": rows_bus.events,
    "4": rows_timers.timers,
    "5": rows_house.daily_list,
    "6": rows_house.daemons,
    "7": rows_http.unary,
    "8": rows_http.streams,
    "9": rows_http.webhooks,
    "10": rows_files.files,
    "11": rows_overload.overload,
    "12": rows_overload.neighbours,
    "13": rows_overload.idle,
}


class Bench:
    """What every row needs."""

    def __init__(self, stack, build):
        self.stack, self.build = stack, build
        self.tools = build / "release/bench"
        self.quick = bool(os.environ.get("BENCH_QUICK"))
        self.big = bool(os.environ.get("BENCH_BIG"))
        self.runs = 3
        self.seconds = 1 if self.quick else 4
        self.employees, self.customers = 500, 2000
        self.table = Table()

    @contextlib.contextmanager
    def peer(self, *args, env, **more):
        log = open(self.stack.folder / "log/peer.log", "ab")
        p = subprocess.Popen([self.tools / "peer", *map(str, args)], stdout=log, stderr=log,
                             env=env | more)
        try:
            yield p
            if p.poll() is not None:
                raise Failed(f"peer {args} ended; see {log.name}\n" + pathlib.Path(log.name).read_text()[-500:])
        finally:
            p.terminate()
            p.wait()

    def load(self, kind, **options):
        """Runs the load; what it prints, with the errors judged."""
        args = [self.tools / "load", "--kind", kind, "--employees", self.employees, "--customers", self.customers]
        options.setdefault("seconds", self.seconds)
        for name, value in options.items():
            args += [f"--{name}", value]
        p = subprocess.run([str(a) for a in args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=self.stack.env_of("operator"))
        if p.returncode not in (0, 2) or not p.stdout:
            raise Failed(f"load {kind} {options}: {p.stderr}")
        got = json.loads(p.stdout)
        if got["errors"] or got["unanswered"] or got["count"] == 0:
            raise Failed(f"load {kind} {options}: {got} {p.stderr}")
        return got

    def found_company(self, tenant, employees, customers):
        """The company by messages; its customers by SQL, since pgbench must know their ids."""
        subprocess.run([self.tools / "load", "--kind", "company", "--employees", str(employees), "--tenant", tenant],
                       check=True, env=self.stack.env_of("operator"))
        self.stack.sql(f"""
            insert into customers.customer (tenant_id, id, name, name_key, relation_type, key_account, owner_id,
                   industry, address, city_code, credit_code, status, potential_rating, created_at, row_version)
            select '{tenant}', lpad(n::text, 32, '0')::uuid, 'Customer ' || n, 'customer' || n, 'prospect',
                   false, ('00000000-0000-7000-8000-' || lpad((n % {employees} + 1)::text, 12, '0'))::uuid,
                   'trade', 'somewhere ' || n, '310000', '', 'contacted', 50, now(), 1
              from generate_series(1, {customers}) n;
            analyze customers.customer""")

    def note(self, text):
        print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main():
    build = ROOT / os.environ.get("BENCH_BUILD", "build")
    chosen = os.environ.get("BENCH_ROWS", "1,2,3,4,5,7,8,9,10,11,12,13,6").replace(" ", "").split(",")
    if unknown := [c for c in chosen if c not in ROWS]:
        sys.exit(f"bench: no rows {unknown}")
    stack = Stack(build / "release/bin")
    began = time.monotonic()
    bench = Bench(stack, build)
    faults = []
    try:
        bench.note("starting a private stack")
        stack.up()
        bench.found_company(rows_bus.TENANT, bench.employees, bench.customers)
        stack.settle()
        for row in chosen:
            try:
                ROWS[row](bench)
            except Failed as e:
                faults.append(f"row {row}: {e}")
                bench.note(f"row {row} FAILED: {e}")
        about = {"cpus": os.cpu_count(), "postgresql": stack.value("show server_version"),
                 "fsync": stack.value("show fsync"), "synchronous_commit": stack.value("show synchronous_commit"),
                 "commit": subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True,
                                          stdout=subprocess.PIPE).stdout.strip(),
                 "runs": bench.runs, "quick": bench.quick, "load_average": os.getloadavg(),
                 "seconds": round(time.monotonic() - began)}
    finally:
        if os.environ.get("BENCH_KEEP_LOGS"):
            subprocess.run(["cp", "-r", stack.folder / "log", os.environ["BENCH_KEEP_LOGS"]])
        stack.remove()
    bench.table.show(about)
    bench.table.write(build / "bench.json", about, faults)
    if faults:
        sys.exit("bench: " + "\n".join(faults))


if __name__ == "__main__":
    main()
