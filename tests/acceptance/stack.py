"""A private local stack (deploy/local/stack) as the tests handle it: up, down, its clock, its data,
and, for the crash tests, its processes one by one.
"""

import contextlib
import datetime as dt
import http.client
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request

import mdp

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from local_stack import DAEMONS, ROOT, Failed, LocalStack, Replica, free_port, is_alive, run, wait_until  # noqa: E402

__all__ = ["DAEMONS", "ROOT", "SLACK", "UTC", "Clock", "Failed", "Replica", "Stack", "free_port", "is_alive",
           "is_ready", "kind_of", "stamp", "wait_until"]

UTC = dt.timezone.utc
# Sanitized daemons on a busy machine are several times slower; limits of time are stretched by this.
SLACK = float(os.environ.get("DAYBOOK_TEST_SLACK", "1"))
# What tells everybody of the buses, and what tells a bus where it is.
BUS_ADDRESSES = {"DAYBOOK_BUS_ENDPOINT": "DAYBOOK_BUS_LISTEN", "DAYBOOK_BUS_EVENTS": "DAYBOOK_BUS_EVENTS_LISTEN"}
SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")


def stamp(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def metrics_at(address):
    with urllib.request.urlopen(f"http://{address}/metrics") as page:
        return page.read().decode()


def is_ready(address):
    """What its admin listener says."""
    connection = http.client.HTTPConnection(address, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def kind_of(name):
    """Of a daemon by its name, "visits" or, where there are two, "visits-2"."""
    return name.removesuffix("-2")


def other_host(address):
    """The same port there: one that another program could get by chance is none to be started at again and again."""
    return address.replace("127.0.0.1", "127.0.0.2")


class Stack(LocalStack):
    """The stack of the tests: its clients, its command line, its data, its processes one by one."""

    def __init__(self, folder, **settings):
        # Tests ask with a new key until it is known, and by many connections, all from one address.
        super().__init__(folder, os.environ["DAYBOOK_BIN"], DAYBOOK_HTTP_AUTH_FAILURES="0",
                         DAYBOOK_HTTP_ADDRESS_CONNECTIONS="0", **settings)
        self.env = {}
        self.clients = []
        self.daemons = DAEMONS  # by name

    def use(self, binaries):
        """For what is started from now on."""
        self.bin = pathlib.Path(binaries)
        self.settings["DAYBOOK_STACK_BIN"] = str(self.bin)

    # --- up and down ------------------------------------------------------------------------------

    def control(self, *words):
        try:
            return super().control(*words)
        except Failed as failure:
            raise Failed(f"{failure}\n{self.log_tails()}") from None

    def up(self):
        super().up()
        self.env = self.env_of("operator")

    def down(self):
        for client in self.clients:
            client.close()
        self.control("down")

    def allow_connections(self, count):
        """PostgreSQL is started anew."""
        self.psql(f"alter system set max_connections = {count}")
        self.kill("postgres", signal.SIGINT)
        self.start("postgres")

    def two_buses(self):
        """Settings of everybody where there are two; what the first one has besides; and the second, which is on
        another host."""
        first = {key: self.env[key] for key in BUS_ADDRESSES}
        second = {key: other_host(address) for key, address in first.items()}
        return ({key: f"{first[key]},{second[key]}" for key in first},
                *({BUS_ADDRESSES[key]: address for key, address in bus.items()} for bus in (first, second)))

    def add_seconds(self, **settings):
        """A second one of each daemon, on another host; all of them get these settings with their next start."""
        both, *buses = self.two_buses()
        for name in DAEMONS:
            listens = {key: other_host(address) for key, address in self.env_of(name).items()
                       if key in ("DAYBOOK_ADMIN_LISTEN", "DAYBOOK_HTTP_LISTEN")}
            first, second = buses if name == "bus" else ({}, {})
            shutil.copy(self.env_file(name), self.env_file(f"{name}-2"))
            self.write_settings(name, **both, **first, **settings)
            self.write_settings(f"{name}-2", **both, **second, **listens, **settings)
        self.daemons = tuple(one for name in DAEMONS for one in (name, f"{name}-2"))
        self.env["DAYBOOK_STATUS"] = " ".join(f"{n}={self.env_of(n)['DAYBOOK_ADMIN_LISTEN']}" for n in self.daemons)

    def log_tails(self, lines=15):
        tails = []
        for log in sorted(self.folder.glob("log/*.log")):
            text = log.read_text(errors="replace").splitlines()[-lines:]
            tails.append(f"--- {log.name}\n" + "\n".join(text))
        return "\n".join(tails)

    def sanitizer_reports(self):
        """What a sanitizer said in any log; empty when all is well."""
        found = []
        for log in sorted(self.folder.glob("log/*.log")):
            text = log.read_text(errors="replace")
            at = min((text.find(m) for m in SANITIZER_MARKS if m in text), default=-1)
            if at >= 0:
                found.append(f"--- {log.name}\n{text[max(0, at - 200):at + 4000]}")
        return found

    # --- clients ----------------------------------------------------------------------------------

    def keys(self, name="operator"):
        public = (self.folder / f"keys/{name}.pub").read_text().splitlines()[0]
        secret = (self.folder / f"keys/{name}.key").read_text().splitlines()[0]
        return mdp.Keys(self.env["DAYBOOK_BUS_SERVER_KEY"], public, secret)

    def client(self, keys=None, **options):
        client = mdp.Client(self.env["DAYBOOK_BUS_ENDPOINT"], keys or self.keys(), **options)
        self.clients.append(client)
        return client

    def subscriber(self, keys, *prefixes):
        subscriber = mdp.Subscriber(self.env["DAYBOOK_BUS_EVENTS"], keys, *prefixes)
        self.clients.append(subscriber)
        return subscriber

    def daybook(self, *words, env=None, stdin=None, timeout=120):
        """The command-line tool; returns the finished process."""
        return subprocess.run([str(self.bin / "daybook"), *map(str, words)], text=True, input=stdin,
                              env={**os.environ, **self.env, **(env or {})},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)

    def daybook_json(self, *words, **options):
        done = self.daybook(*words, "--json", **options)
        assert done.returncode == 0, f"daybook {' '.join(map(str, words))}\n{done.stderr}"
        return json.loads(done.stdout)

    def status(self):
        return self.daybook_json("status")

    def settle(self, seconds=60 * SLACK):
        """Until every event is in the log, published, and taken by every consumer."""
        last = {}

        def settled():
            done = self.daybook("status", "--json", "--wait", "2s")
            last["status"] = done.stdout or done.stderr
            return done.returncode == 0 and json.loads(done.stdout)["settled"]
        try:
            wait_until(settled, seconds, "the services settled")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{last['status']}") from None

    # --- data -------------------------------------------------------------------------------------

    def sql(self, query):
        """Rows of a query as dicts."""
        return json.loads(self.psql(f"select coalesce(json_agg(q), '[]') from ({query}) q"))

    def value(self, query):
        rows = self.sql(query)
        assert len(rows) == 1 and len(rows[0]) == 1, rows
        return next(iter(rows[0].values()))

    def redis(self, *words):
        return run(["redis-cli", "-s", self.run_dir / "redis.sock", *words]).strip()

    def metrics(self, name):
        return metrics_at(self.env_of(name)["DAYBOOK_ADMIN_LISTEN"])

    # --- processes --------------------------------------------------------------------------------

    def pids(self):
        return {name: self.pid(name) for name in (*self.daemons, "postgres", "redis")}

    def send_signal(self, name, number):
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def start(self, name):
        self.control("start", name)

    def cut_power(self):
        """F07: everything is killed at once, PostgreSQL and Redis too, and gone when this returns."""
        pids = [self.pid(name) for name in (*self.daemons, "redis")]
        assert None not in pids, "not all of them ran before"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.kill("postgres")
        wait_until(lambda: not any(map(is_alive, pids)), 60, "all were gone")  # what still dies is not started anew

    def restore_power(self, order=DAEMONS):
        for name in ("redis", "postgres", *order):
            self.start(name)

    def healthy(self, name):
        env = {**os.environ, **self.env_of(name)}
        done = subprocess.run([self.bin / f"daybook-{kind_of(name)}", "--health"], env=env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    def write_settings(self, name, **settings):
        """For the daemon's next start; None takes one away. Returns the whole file as it was."""
        path = self.env_file(name)
        before = path.read_text()
        kept = [line for line in before.splitlines() if line.split("=")[0] not in settings]
        path.write_text("".join(f"{line}\n" for line in [*kept, *(
            f"{key}={shlex.quote(str(value))}" for key, value in settings.items() if value is not None)]))
        return before

    def change_settings(self, name, **settings):
        """The daemon is started again with these settings; None takes one away. Returns its settings of before."""
        before = self.write_settings(name, **settings)
        self.restart(name, self.env_file(name).read_text())
        return before

    def restart(self, name, settings):
        self.kill(name, signal.SIGTERM)
        self.env_file(name).write_text(settings)
        self.start(name)
        wait_until(lambda: self.healthy(name), 20 * SLACK, f"{name} was back")

    @contextlib.contextmanager
    def changed_settings(self, name, **settings):
        """The same within the block."""
        before = self.change_settings(name, **settings)
        try:
            yield
        finally:
            self.restart(name, before)

    @contextlib.contextmanager
    def stopped(self, name):
        """The process is frozen within the block (F08)."""
        self.send_signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.send_signal(name, signal.SIGCONT)


class Clock:
    """The steered domain clock of a stack: it stands still until it is turned, and only forward."""

    def __init__(self, stack, start):
        self.stack, self.zone = stack, start.tzinfo
        stack.folder.mkdir(parents=True, exist_ok=True)
        self.turn(start, first=True)

    def turn(self, moment, first=False):
        assert first or moment >= self.now, "the clock goes forward only"
        done = self.stack.daybook("clock", self.stack.folder / "clock", stamp(moment), "--rate", "0")
        assert done.returncode == 0, done.stderr
        self.now = moment.astimezone(self.zone)  # so that its day is the company's

    def add(self, **span):
        self.turn(self.now + dt.timedelta(**span))

    def next(self, weekday, clock, ahead=0):
        """The next moment with that weekday (0 = Monday) and local time, more than so many hours ahead."""
        hour, minute = map(int, clock.split(":"))
        moment = self.now.astimezone(self.zone).replace(hour=hour, minute=minute, second=0, microsecond=0)
        while moment <= self.now + dt.timedelta(hours=ahead) or moment.weekday() != weekday:
            moment += dt.timedelta(days=1)
        return moment
