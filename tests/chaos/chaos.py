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

from load import Door
from local_stack import OWNER, ROOT, Failed, is_alive, run
from receiver import Receiver
from stack import DAEMONS, SLACK, Stack, is_ready, kind_of, wait_until
from under_load import PROBES, REPS, UnderLoad
from web import LIST, Caller, new_key

import machine
import mdp
from middle import Middle
from proxy import Proxy

WEBHOOKS = "daybook.gateway.v1.WebhookService/"
RECOVERY = 60     # seconds after which what does not work again is stuck
LAST_RETRY = int(os.environ.get('CHAOS_LAST', 420))  # a notice that failed twice is tried again after 5 min ± 20 %
CONNECTIONS = 250  # of PostgreSQL, where there are two of each daemon
BOTH = 0.2        # how often a fault is done to both of a kind
GROWTH = 1        # MiB an hour (operations 9, F69)


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
    """replicas: one or two of each daemon, buses too."""

    def __init__(self, folder, seed, rate, soon, companies, threads, disk=False, clock=False, replicas=1,
                 middle=False):
        super().__init__(folder, f"chaos{seed}", seed, rate, soon, companies, processes=1, threads=threads, web=True,
                         repeats=0.05)
        self.stack = ChaosStack(self.folder / "stack")
        self.proxy, self.receivers = Proxy(), []
        self.disk = machine.Disk() if disk else None
        self.clock = self.folder / "wall-clock" if clock else None
        self.replicas, self.probes = replicas, {}
        self.stands_between, self.middle = middle, None
        self.timeline, self.broken, self.ended, self.hit = [], [], set(), set()
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
        if self.replicas == 2:
            self.stack.allow_connections(CONNECTIONS)
            self.stack.add_seconds(DAYBOOK_WORKERS=4)
        if self.stands_between:
            self.middle = Middle(self.stack.keys("bus"), map(self.stack.keys, ("operator", *DAEMONS)),
                                 listener=self.stack.keys("gateway"))
        self.put_proxies()
        if self.middle:
            self.middle.start()
        for name in self.stack.daemons:
            self.stack.start(name)
        self.wait_until_ready()
        self.make_companies()
        self.stack.settle()
        self.wait_until_known()
        self.receivers = [Hook(self, company) for company in self.companies]

    def make_companies(self):
        super().make_companies()
        if self.middle:
            self.middle.know(keys for company in self.companies for keys in company.keys.values())

    def all_of(self, kind):
        """Names of the daemons of a kind."""
        return [name for name in self.stack.daemons if kind_of(name) == kind]

    def put_proxies(self):
        """Between each daemon and each of what it speaks to."""
        for name in self.stack.daemons:
            self.stack.write_settings(name, **self.behind_proxies(name))
        for bus in self.all_of("bus"):
            self.tcp(f"load - {bus}", self.before_bus(self.stack.env_of(bus)["DAYBOOK_BUS_LISTEN"]))
        for gateway in self.all_of("gateway"):
            self.tcp(f"load - {gateway}", self.stack.env_of(gateway)["DAYBOOK_HTTP_LISTEN"])

    def behind_proxies(self, name):
        """Settings by which it finds them."""
        env, changed = self.stack.env_of(name), {}
        sockets = self.stack.run_dir / f"proxy-{name}"
        sockets.mkdir()
        self.proxy.add(f"{name} - postgres", self.stack.sockets / ".s.PGSQL.5432", sockets / ".s.PGSQL.5432")
        changed["DAYBOOK_DB_URL"] = env["DAYBOOK_DB_URL"].replace(str(self.stack.sockets), str(sockets))
        if "DAYBOOK_REDIS_URL" in env:
            self.proxy.add(f"{name} - redis", self.stack.run_dir / "redis.sock", sockets / "redis.sock")
            changed["DAYBOOK_REDIS_URL"] = f"unix:{sockets}/redis.sock"
        if kind_of(name) != "bus":
            for link, key in (("bus", "DAYBOOK_BUS_ENDPOINT"), ("events", "DAYBOOK_BUS_EVENTS")):
                before = [self.before_bus(address, link == "events") for address in env[key].split(",")]
                changed[key] = ",".join(f"tcp://{self.tcp(f'{name} - {link}{which}', address)}"
                                        for which, address in zip(("", "-2"), before))
        if kind_of(name) == "reminders" and self.clock:
            changed.update(self.clock_settings(name))
        return changed

    def before_bus(self, address, events=False):
        return self.middle.before(address, events) if self.middle else address

    def tcp(self, name, address):
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        return "%s:%d" % self.proxy.add(name, (host, int(port)))

    def addresses(self):
        def behind(kind):
            return ["%s:%d" % self.proxy.links[f"load - {name}"].listen for name in self.all_of(kind)]
        return {"endpoint": ",".join(f"tcp://{address}" for address in behind("bus")),
                "gateway": ",".join(behind("gateway"))}

    def wait_until_known(self):
        """Everybody's keys, to each bus and each gateway: people are refused until then."""
        for bus in self.all_of("bus"):
            endpoint = self.stack.env_of(bus)["DAYBOOK_BUS_LISTEN"]
            self.probes[bus] = mdp.Client(endpoint, self.stack.keys(), principal=self.company.system.principal)
            for keys in (company.keys[who] for company in self.companies for who in (*REPS, "supervisor")):
                wait_until(lambda k=keys, e=endpoint: self.admits(e, k), RECOVERY * SLACK, f"{bus} knew everybody")
        for gateway in self.all_of("gateway"):
            door = Door(self.stack.env_of(gateway)["DAYBOOK_HTTP_LISTEN"])
            for key in (self.probe_key, *(k for company in self.companies for k in company.api_keys.values())):
                caller = Caller(door, key)
                wait_until(lambda c=caller: c.post(LIST).status != 401, RECOVERY * SLACK, f"{gateway} knew the key")
                caller.connection.close()

    def admits(self, endpoint, keys):
        """A connection that was refused does not try again."""
        with mdp.Client(endpoint, keys) as client:
            return self.works("customers", client)

    def clock_settings(self, name):
        """Waits for conditions by the monotonic clock end at once there (libfaketime 0.9.10 takes its own clock for
        that), which keeps a CPU busy, so they last 20 ms each."""
        self.set_clock(name, 0)
        return {"LD_PRELOAD": machine.faketime(), "FAKETIME_TIMESTAMP_FILE": self.clock_of(name),
                "FAKETIME_CACHE_DURATION": 1, "FAKETIME_DONT_FAKE_MONOTONIC": 1, "DONT_FAKE_MONOTONIC": 1,
                "FAKETIME_WAIT_MS": 20}

    def clock_of(self, name):
        return self.clock.with_name(f"wall-clock-{name}")

    def set_clock(self, name, seconds):
        fresh = self.clock_of(name).with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock_of(name))

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
        for client in self.probes.values():
            client.close()
        self.proxy.close()
        if self.middle:
            self.middle.close()
        if self.disk:
            self.disk.remove()

    # --- what faults need -------------------------------------------------------------------------

    def pick(self, kind=None):
        """A daemon; of two of its kind now and then both."""
        names = self.all_of(kind or self.rng.choice(DAEMONS))
        if len(names) > 1 and self.rng.random() > BOTH:
            names = [self.rng.choice(names)]
        self.hit.update(names)
        return names

    def pick_links(self):
        """A connection; now and then of both of its kind to both of the other one's."""
        name = self.rng.choice(sorted(self.proxy.links))
        names, kinds = [name], kinds_of(name)
        if self.replicas > 1 and self.rng.random() < BOTH:
            names = [n for n in sorted(self.proxy.links) if kinds_of(n) == kinds]
        self.hit.update(client if client != "load" else server for client, server in (n.split(" - ") for n in names))
        return names

    def end(self, names, number):
        self.ended.update(names)
        pids = [self.stack.send_signal(name, number) for name in names]
        wait_until(lambda: not any(map(is_alive, pids)), RECOVERY * SLACK, f"{' and '.join(names)} had ended")

    def start(self, names):
        for name in names:
            self.stack.start(name)

    def leads(self, bus):
        """By what it says."""
        return "\ndaybook_relay_leader 1" in self.stack.metrics(bus)

    def leader(self):
        return wait_until(lambda: [bus for bus in self.all_of("bus") if self.leads(bus)], RECOVERY * SLACK,
                          "a bus led the log")[0]

    def term(self):
        """How often the lead has changed hands."""
        return int(self.psql("select term from bus.head"))

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
        before = {name: self.stack.pid(name) for name in self.stack.daemons}
        self.ended, self.hit, began = set(), set(), time.monotonic()
        entry = {"at": round(began - self.load_began, 2), "fault": fault.name, "ids": fault.ids, "began": time.time()}
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
        entry["one_of_two"] = self.replicas == 2 and fault.picks and not any(
            self.hit.issuperset(self.all_of(kind)) for kind in DAEMONS)
        entry["ended"] = time.time()
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
            missing.update(self.idle())
            last[:] = sorted(missing) or last
            return not missing
        try:
            wait_until(all_work, RECOVERY * SLACK, "everything worked again")
        except Failed as failure:
            raise Failed(f"{failure}: {sorted(missing)}") from None
        return round(time.monotonic() - started, 2), last

    def idle(self):
        """Who is not ready; when all are, what does not answer by which bus."""
        return {n for n in self.stack.daemons if not is_ready(self.stack.env_of(n)["DAYBOOK_ADMIN_LISTEN"])} or {
            f"{n} by {bus}" for bus, client in self.probes.items() for n in PROBES if not self.works(n, client)} | {
            n for n in self.all_of("gateway") if not self.gateway_works(n)}

    def check_pids(self, before, entry):
        """No daemon ends because of what is done to another one."""
        for name in self.stack.daemons:
            now = self.stack.pid(name)
            if now != before[name] and name not in self.ended:
                self.break_(f"during {entry['fault']} {entry.get('what', '')}", f"{name} ended by itself")
            if not now:
                self.stack.start(name)

    def break_(self, when, what):
        self.broken.append(f"{when}: {what}")

    def look_at_memory(self):
        for name in self.stack.daemons:
            pid = self.stack.pid(name)
            if pid:
                with contextlib.suppress(OSError):
                    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
                    self.memory[name].append((pid, time.monotonic() - self.load_began, pages * resource_page()))

    # --- afterwards -------------------------------------------------------------------------------

    def wait_until_ready(self):
        wait_until(lambda: all(map(self.stack.healthy, self.stack.daemons)), 60 * SLACK, "all daemons were ready")

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
        return len(self.stack.daemons)

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
        if self.middle:
            self.middle.check()
        assert not self.broken, "\n".join(self.broken)
        return len(self.timeline)


def kinds_of(link):
    """Of the daemons, or other processes, between which it is."""
    return [kind_of(end) for end in link.split(" - ")]


def mib_an_hour(points):
    """The slope of the line that fits best; points: seconds, bytes."""
    at = statistics.fmean(x for x, _ in points)
    size = statistics.fmean(y for _, y in points)
    return (sum((x - at) * (y - size) for x, y in points) / sum((x - at) ** 2 for x, _ in points)) * 3600 / (1 << 20)


def resource_page():
    return os.sysconf("SC_PAGE_SIZE")


__all__ = ["OWNER", "REPS", "Chaos"]
