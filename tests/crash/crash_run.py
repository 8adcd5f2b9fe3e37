#!/usr/bin/env python3
"""The full crash run: kill -9 of each daemon at many random moments under load, PostgreSQL restarted,
Redis killed and flushed, power cut, all in one run; then the ledger is judged. Prints what it did.

    make crash            20 kills of each daemon
    crash_run.py --kills 3 --seed 7
"""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import time

from wreck import DAEMONS, Wreck

CHECKS = (
    ("acknowledged, not missing, not twice (F01, F02, F07, F11)", "check_nothing_missing_nothing_twice"),
    ("log contiguous, aggregates in order, outbox empty (F03)", "check_log"),
    ("rows and events tell the same (F01, F03)", "check_events_complete"),
    ("no timer twice or never (F04)", "check_timers"),
    ("daily lists equal the database (F27, F29)", "check_lists"),
    ("consumers at the head, nothing parked (F06, F36)", "check_consumers"),
    ("read models equal a rebuild (F06)", "check_rebuilds"),
)


def plan(rng, kills):
    """All faults in a random order; the power cut comes now and then."""
    faults = [("kill_daemon", name) for name in DAEMONS for _ in range(kills)]
    faults += [("restart_postgres", how) for how in ("fast", "immediate", "kill")] * max(1, kills // 10)
    faults += [("kill_redis",), ("flush_redis",), ("cut_power",)] * max(1, kills // 10)
    rng.shuffle(faults)
    return faults


def show(wreck):
    times = {}
    for fault, took in wreck.faults:
        times.setdefault(fault, []).append(took)
    print(f"{'fault':24} {'times':>5}  working again after: median, worst")
    for fault, took in sorted(times.items()):
        print(f"{fault:24} {len(took):5}  {sorted(took)[len(took) // 2]:6.2f} s {max(took):6.2f} s")


def run(wreck, kills):
    wreck.up()
    wreck.start_load()
    for fault, *arguments in plan(random.Random(wreck.seed), kills):
        getattr(wreck, fault)(*arguments)
    wreck.stop_load()
    show(wreck)
    print(f"{wreck.acknowledged()} commands acknowledged in {wreck.loaded_s:.0f} s under faults: "
          f"{wreck.rate_reached():.0f} a second")
    wreck.settle()
    good = wreck.rate_reached() >= 200
    for what, check in CHECKS:
        try:
            found = getattr(wreck, check)()
            print(f"ok      {what}{f': {found}' if found else ''}", flush=True)
        except AssertionError as failure:
            good = False
            print(f"FAILED  {what}: {failure}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each daemon (20)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run's choices")
    parser.add_argument("--rate", type=int, default=500, help="commands a second that are offered (500)")
    parser.add_argument("--keep", action="store_true", help="leave stack and ledger for inspection")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-crash-"))
    print(f"seed {args.seed}, {args.kills} kills of each of {len(DAEMONS)} daemons, in {folder}", flush=True)
    wreck = Wreck(folder, args.seed, args.rate, soon=40)
    try:
        return 0 if run(wreck, args.kills) else 1
    finally:
        if not args.keep:
            wreck.remove()
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
