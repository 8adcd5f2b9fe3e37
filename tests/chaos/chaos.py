"""A stack under load whose every connection goes through the fault proxy, and to which faults are done.

run.py says in what order; faults.py has the faults.
"""

import collections
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import time

from local_stack import OWNER, ROOT, Failed, run
from receiver import Receiver
from stack import DAEMONS, SLACK, Stack, wait_until
from under_load import PROBES, REPS, UnderLoad
from web import Caller, new_key

import machine
from proxy import Proxy

WEBHOOKS = "daybook.gateway.v1.WebhookService/"
RECOVERY = 60     # seconds after which what does not work again is stuck
LAST_RETRY = int(os.environ.get('CHAOS_LAST', 420))  # a notice that failed twice is tried again after 5 min ± 20 %


GROWTH = 1  # MiB an hour (operations 9, F69)


class Seen(list):
    """What a receiver got, without the bodies: a long run brings gigabytes."""

    def append(self, item):
        headers, body = item
        super().append((headers["webhook-id"], json.loads(body)["subject"]))


class Hook:
    """Another system that hears all of one company's events, at one port for ever."""

    def __init__(self, run, company):
        self.company, self.got, self.answers, self.port = company, Seen(), [], 0
        self.server = None
        self.open()
        caller = Caller(run.stack, new_key(company, scopes=["webhooks.read", "webhooks.write", "events.read"]).api_key)
        made = caller.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": self.server.url}})
        assert made.status == 200, made.body
        # It gets what happens from now on; what the company did before is all taken.
        self.since = run.stack.value("select last_seq from bus.head")

    def open(self):
        self.server = Receiver(port=self.port)
        self.port = self.server.server.server_port
        self.server.got, self.server.answers = self.got, self.answers
        self.server.paths, self.server.answered = Nothing(), Nothing()

    def close(self):
        self.server.close()

    @property
    def delay(self):
        return self.server.delay

    @delay.setter
    def delay(self, seconds):
        self.server.delay = seconds


class Nothing(list):
    """Of what nobody looks at."""

    def append(self, _):
        pass


class ChaosStack(Stack):
    def control_within(self, enter, *words):
        """As control(), from a shell that has run something before."""
        return run(["sh", "-c", f'{enter} && exec "$@"', "sh", ROOT / "deploy/local/stack", *words], env=self.settings)


class Chaos(UnderLoad):
    def __init__(self, folder, seed, rate, soon, companies, threads, disk=False, clock=False):
        super().__init__(folder, f"chaos{seed}", seed, rate, soon, companies, processes=1, threads=threads, web=True,
                         repeats=0.05)
        self.stack = ChaosStack(self.folder / "stack")
        self.proxy, self.receivers = Proxy(), []
        self.disk = machine.Disk() if disk else None
        self.clock = self.folder / "wall-clock" if clock else None
        self.timeline, self.broken, self.ended = [], [], set()
        self.memory = collections.defaultdict(list)  # by daemon: (pid, second, bytes)

    # --- up and down ------------------------------------------------------------------------------

    def up(self):
        if self.disk:
            self.disk.put_data(self.stack.folder)
        self.stack.up()
        for name in reversed(DAEMONS):
            self.stack.kill(name, signal.SIGTERM)
        if self.disk:
            self.stack.kill("postgres", signal.SIGINT)
            self.disk.put_wal()
            self.stack.start("postgres")
        self.put_proxies()
        for name in DAEMONS:
            self.stack.start(name)
        self.wait_until_ready()
        self.make_companies()
        self.stack.settle()
        self.receivers = [Hook(self, company) for company in self.companies]

    def put_proxies(self):
        """Between each daemon and each of what it speaks to."""
        for name in DAEMONS:
            env, changed = self.stack.env_of(name), {}
            sockets = self.stack.run_dir / f"proxy-{name}"
            sockets.mkdir()
            self.proxy.add(f"{name} - postgres", self.stack.sockets / ".s.PGSQL.5432", sockets / ".s.PGSQL.5432")
            changed["DAYBOOK_DB_URL"] = env["DAYBOOK_DB_URL"].replace(str(self.stack.sockets), str(sockets))
            if "DAYBOOK_REDIS_URL" in env:
                self.proxy.add(f"{name} - redis", self.stack.run_dir / "redis.sock", sockets / "redis.sock")
                changed["DAYBOOK_REDIS_URL"] = f"unix:{sockets}/redis.sock"
            if name != "bus":
                for link, key in (("bus", "DAYBOOK_BUS_ENDPOINT"), ("events", "DAYBOOK_BUS_EVENTS")):
                    changed[key] = self.tcp(f"{name} - {link}", env[key])
            if name == "reminders" and self.clock:
                changed.update(self.clock_settings())
            self.stack.write_settings(name, **changed)
        self.tcp("load - bus", self.stack.env["DAYBOOK_BUS_ENDPOINT"])
        self.tcp("load - gateway", f"tcp://{self.stack.env_of('gateway')['DAYBOOK_HTTP_LISTEN']}")

    def tcp(self, name, endpoint):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        return "tcp://%s:%d" % self.proxy.add(name, (host, int(port)))

    def addresses(self):
        return {"endpoint": "tcp://%s:%d" % self.proxy.links["load - bus"].listen,
                "gateway": "%s:%d" % self.proxy.links["load - gateway"].listen}

    def clock_settings(self):
        """Waits for conditions by the monotonic clock end at once there (libfaketime 0.9.10 takes its own clock for
        that), which keeps a CPU busy, so they last 20 ms each."""
        self.set_clock(0)
        return {"LD_PRELOAD": machine.faketime(), "FAKETIME_TIMESTAMP_FILE": self.clock, "FAKETIME_CACHE_DURATION": 1,
                "FAKETIME_DONT_FAKE_MONOTONIC": 1, "DONT_FAKE_MONOTONIC": 1, "FAKETIME_WAIT_MS": 20}

    def set_clock(self, seconds):
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock)

    def remove(self):
        for process in self.load:  # or it would go on for minutes without a stack
            process.kill()
        with contextlib.suppress(Failed):
            for pid in self.stack.pids().values():
                if pid:
                    os.kill(pid, signal.SIGCONT)
        super().remove()
        for receiver in self.receivers:
            receiver.close()
        self.proxy.close()
        if self.disk:
            self.disk.remove()

    # --- what faults need -------------------------------------------------------------------------

    def end(self, name, number):
        self.ended.add(name)
        self.stack.kill(name, number)

    def psql(self, text):
        return self.stack.psql(f"set statement_timeout = '5s'; {text}", database="daybook")

    @contextlib.contextmanager
    def session(self):
        """A psql that stays; gives what sends it a line. What it says and whether it hears is its own affair."""
        process = subprocess.Popen(["psql", "-X", "-q", "-d", self.stack.conninfo()], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def say(line):
            with contextlib.suppress(OSError):
                process.stdin.write(line + "\n")
                process.stdin.flush()
        try:
            yield say
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait(timeout=60)

    def postgres_again(self):
        """It may have ended, or be about to."""
        def answers():
            if not self.stack.pid("postgres"):
                self.stack.start("postgres")
            with contextlib.suppress(Failed):
                return self.psql("select 1") == "1\n"
            return False
        wait_until(answers, RECOVERY * SLACK, "PostgreSQL answered again")

    # --- faults -----------------------------------------------------------------------------------

    def do(self, fault, beside=None):
        """One fault, maybe with another one in its midst; then all must work again."""
        before = {name: self.stack.pid(name) for name in DAEMONS}
        self.ended, began = set(), time.monotonic()
        entry = {"at": round(began - self.load_began, 2), "fault": fault.name, "ids": fault.ids}
        self.timeline.append(entry)
        try:
            with fault.enter(self) as what:
                entry["what"] = what
                self.last(fault)
                if beside:
                    self.do_beside(beside, entry)
            entry["seconds"] = round(time.monotonic() - began, 2)
            entry["recovery"], entry["last"] = self.recovered()
        except AssertionError as failure:
            self.break_(f"after {fault.name} {entry.get('what', '')}", failure)
        self.check_pids(before, entry)
        return entry

    def do_beside(self, fault, entry):
        with fault.enter(self) as what:
            entry["beside"] = f"{fault.name} {what}"
            self.last(fault)

    def last(self, fault):
        time.sleep(self.rng.uniform(*fault.seconds))  # the fault is there meanwhile

    def recovered(self):
        """Seconds, and who was the last to work."""
        started, missing, last = time.monotonic(), set(), []

        def all_work():
            missing.clear()
            missing.update(n for n in (*PROBES, "gateway") if not self.works(n))
            last[:] = sorted(missing) or last
            return not missing
        try:
            wait_until(all_work, RECOVERY * SLACK, "everything worked again")
        except Failed as failure:
            raise Failed(f"{failure}: {sorted(missing)}") from None
        return round(time.monotonic() - started, 2), last

    def check_pids(self, before, entry):
        """No daemon ends because of what is done to another one."""
        for name in DAEMONS:
            now = self.stack.pid(name)
            if now != before[name] and name not in self.ended:
                self.break_(f"during {entry['fault']} {entry.get('what', '')}", f"{name} ended by itself")
            if not now:
                self.stack.start(name)

    def break_(self, when, what):
        self.broken.append(f"{when}: {what}")

    def look_at_memory(self):
        for name in DAEMONS:
            pid = self.stack.pid(name)
            if pid:
                with contextlib.suppress(OSError):
                    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
                    self.memory[name].append((pid, time.monotonic() - self.load_began, pages * resource_page()))

    # --- afterwards -------------------------------------------------------------------------------

    def wait_until_ready(self):
        wait_until(lambda: all(map(self.stack.healthy, DAEMONS)), 60 * SLACK, "all daemons were ready")

    def settle(self):
        self.wait_until_ready()
        super().settle()

    def expected_posts(self, hook):
        """The events of a company in the order of the log, as (id, aggregate); who looked at what is told to those
        only that name it."""
        return [(r["event_id"], r["aggregate"]) for r in self.stack.sql(
            f"select event_id, aggregate from bus.log where tenant_id = '{hook.company.tenant}' and seq >"
            f" {hook.since} and type <> 'daybook.directory.v1.AccessRecorded' order by seq")]

    def check_webhooks(self):
        """Each event at least once, those about the same thing in their order."""
        for hook in self.receivers:
            expected = self.expected_posts(hook)

            def missing():
                got = {i for i, _ in hook.got}
                return [i for i, _ in expected if i not in got]
            try:
                wait_until(lambda: not missing(), LAST_RETRY * SLACK, "all notices came", pause=1)
            except Failed as failure:
                raise Failed(f"{failure}: {self.told_of(missing()[:5])}") from None
            self.compare_posts(expected, list(dict.fromkeys(hook.got)))
        return sum(len(self.expected_posts(hook)) for hook in self.receivers)

    def told_of(self, events):
        ids = ", ".join(f"'{i}'" for i in events)
        return self.stack.sql(f"select seq, event_id, type, aggregate from bus.log where event_id in ({ids})")

    @staticmethod
    def compare_posts(expected, got):
        """got: (id, aggregate), each at its first arrival."""
        by_key = collections.defaultdict(list)
        for event, aggregate in expected:
            by_key[aggregate].append(event)
        arrived = collections.defaultdict(list)
        for event, aggregate in got:
            arrived[aggregate].append(event)
        wrong = [(k, events, arrived[k]) for k, events in by_key.items() if arrived[k] != events]
        assert not wrong, f"notices: not in order, or missing: {wrong[:3]}"

    def check_audit(self):
        """Each company's trail is as it was written."""
        for company in self.companies:
            done = self.stack.daybook("audit", "verify", "--tenant", company.tenant)
            assert done.returncode == 0, done.stdout + done.stderr
        return len(self.companies)

    def check_ready(self):
        self.wait_until_ready()
        return len(DAEMONS)

    def check_logs(self):
        reports = self.stack.sanitizer_reports()
        assert not reports, "\n".join(reports)
        return sum(log.stat().st_size for log in self.stack.folder.glob("log/*.log"))

    def check_memory(self):
        """Under the limit of a daemon (operations 5); a sanitizer's own does not count."""
        most = max(size for samples in self.memory.values() for _, _, size in samples)
        assert most <= (256 << 20) * SLACK, f"a daemon took {most >> 20} MiB"
        return most

    def check_growth(self):
        """F69: of processes that nothing was done to, once they have what they need to work."""
        grown = {name: round(mib_an_hour([(at, size) for _, at, size in samples if at > self.loaded_s / 3]), 2)
                 for name, samples in self.memory.items()}
        assert max(grown.values()) <= GROWTH, f"MiB an hour: {grown}"
        return grown

    def check_broken(self):
        assert not self.broken, "\n".join(self.broken)
        return len(self.timeline)


def mib_an_hour(points):
    """The slope of the line that fits best; points: seconds, bytes."""
    at = statistics.fmean(x for x, _ in points)
    size = statistics.fmean(y for _, y in points)
    return (sum((x - at) * (y - size) for x, y in points) / sum((x - at) ** 2 for x, _ in points)) * 3600 / (1 << 20)


def resource_page():
    return os.sysconf("SC_PAGE_SIZE")


__all__ = ["OWNER", "REPS", "Chaos"]
