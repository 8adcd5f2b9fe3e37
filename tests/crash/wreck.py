"""A stack under load whose processes are killed.

Used by test_crash.py, which says in what order things happen.
"""

import collections
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from under_load import PROBES, REPS, UnderLoad  # noqa: E402
from stack import DAEMONS, SLACK, wait_until  # noqa: E402

# Seconds until it must work again after the process was started (operations 9).
RECOVERY = {"bus": 3, "postgres": 5, "power": 5}
RECOVERY_DAEMON = 2
CACHE = 1  # where a list came from


class Wreck(UnderLoad):
    def __init__(self, folder, seed, rate, soon):
        super().__init__(folder, f"crash{seed}", seed, rate, soon)
        self.faults = []

    def remove(self):
        if os.environ.get("CRASH_KEEP_LOGS"):
            shutil.copytree(self.stack.folder / "log", os.environ["CRASH_KEEP_LOGS"], dirs_exist_ok=True)
        super().remove()

    # --- faults -----------------------------------------------------------------------------------

    def recovered(self, fault, names, limit):
        started = time.monotonic()
        wait_until(lambda: all(map(self.works, names)), limit * SLACK + 1, f"{fault}: {names} worked again")
        self.faults.append((fault, time.monotonic() - started))
        return time.monotonic() - started

    def kill_daemon(self, name):
        """F01 to F04, F06: kill -9 at a random moment, start again a little later."""
        self.at_random()
        self.stack.kill(name)
        time.sleep(self.rng.uniform(0, 0.3))  # part of the fault: how long it is away
        self.stack.start(name)
        return self.recovered(f"kill {name}", [name], RECOVERY.get(name, RECOVERY_DAEMON))

    def cut_power(self):
        """F07: all daemons at once, and PostgreSQL and Redis too."""
        self.at_random()
        self.stack.cut_power()
        self.stack.restore_power(self.rng.sample(DAEMONS, len(DAEMONS)))  # in any order (F10)
        return self.recovered("power cut", [*PROBES, "gateway"], RECOVERY["power"])

    def restart_postgres(self, how):
        """F11: fast, immediate, or kill -9."""
        self.at_random()
        pids = {name: self.stack.pid(name) for name in DAEMONS}
        self.stack.kill("postgres", {"fast": signal.SIGINT, "immediate": signal.SIGQUIT,
                                     "kill": signal.SIGKILL}[how])
        self.stack.start("postgres")
        took = self.recovered(f"postgres {how}", list(PROBES), RECOVERY["postgres"])
        assert {name: self.stack.pid(name) for name in DAEMONS} == pids, "a daemon ended because of it"
        return took

    def kill_redis(self):
        """F27: lists come from PostgreSQL meanwhile."""
        self.at_random()
        self.stack.kill("redis")
        try:
            sources = {who: self.company.tasks(who).source for who in REPS}
        finally:
            self.stack.start("redis")
        assert CACHE not in sources.values(), "a list came from Redis while that was away"

    def flush_redis(self):
        self.at_random()
        self.stack.redis("flushall")
        for who in REPS:
            self.company.tasks(who)

    def judge_all(self, set_aside=False):
        """What must hold whatever was done, when the load has ended; the judge."""
        self.stop_load()
        self.settle()
        judge = self.judge()
        judge.check_nothing_missing_nothing_twice()
        judge.check_log()
        judge.check_events_complete()
        judge.check_timers()
        judge.check_lists()
        judge.check_consumers(set_aside=set_aside)
        assert self.acknowledged() > 300
        return judge

    def summary(self):
        times = collections.defaultdict(list)
        for fault, took in self.faults:
            times[fault].append(took)
        lines = [f"seed {self.seed}: {self.acknowledged()} commands acknowledged in {self.loaded_s:.0f} s under "
                 f"faults, {self.rate_reached():.0f} a second",
                 f"{'fault':24} {'times':>5}  working again after: median, worst"]
        lines += [f"{fault:24} {len(took):5}  {sorted(took)[len(took) // 2]:6.2f} s {max(took):6.2f} s"
                  for fault, took in sorted(times.items())]
        return "\n".join(lines)
