"""A load that forgives nothing: each call is made once, over the bus or over HTTP, and whatever is not answered
well is written down. Commands carry tokens, so that it can be counted afterwards what became of them.

One thing only is asked again, and counted: what a bus that stops refuses with DRAINING. The bus can say no more to
its clients than "nothing was done, ask the other one". HTTP's never see it: the gateway asks the other one.
"""

import collections
import http.client
import itertools
import json
import select
import threading
import time
import uuid

import mdp
from company import CUSTOMERS, DIRECTORY, REMINDERS, SCORING, VISITS
from load import stamp
from stack import UTC, dt, is_ready, metrics_at, wait_until

TIMEOUT = 5
READS = (
    ("daybook.bus.v1.EventService/GetHead", {}),
    (DIRECTORY + "DirectoryService/ListUnits", {}),
    (CUSTOMERS + "CustomerService/List", {"pageSize": 1}),
    (VISITS + "VisitService/List", {"pageSize": 1}),
    (REMINDERS + "ReminderService/List", {"pageSize": 1}),
    (SCORING + "CustomerScoreService/List", {"pageSize": 1}),
)
SCOPES = ["tenant.all", "customers.read", "customers.write", "visits.read", "visits.write", "events.read",
          "directory.read", "reminders.read", "scoring.read"]


class Balancer:
    """What stands in front of the gateways: looks at /readyz five times a second, and sends to those that say yes."""

    def __init__(self):
        self.doors, self.ready = {}, frozenset()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def add(self, name, env):
        """A gateway of that name, at the addresses of its settings."""
        self.doors = {**self.doors, name: (env["DAYBOOK_HTTP_LISTEN"], env["DAYBOOK_ADMIN_LISTEN"])}

    def remove(self, name):
        self.doors = {n: door for n, door in self.doors.items() if n != name}

    def run(self):
        while not self.ending.wait(0.2):
            self.look()

    def look(self):
        self.ready = frozenset(http_at for http_at, admin in self.doors.values() if is_ready(admin))


def was_ended(connection):
    """By the other side while nothing was asked: a proxy takes such a connection out of its pool."""
    return connection.sock and select.select([connection.sock], [], [], 0)[0]


class Worker(threading.Thread):
    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number, self.made = load, number, itertools.count(1)
        self.calls, self.asked_again, self.slowest = 0, 0, (0.0, "", 0)
        self.faults, self.told, self.acknowledged = [], [], []
        self.error = None

    def run(self):
        try:
            # Each begins with another one, so that the calls of all services are under way at any time.
            for turn in itertools.count(self.number):
                if self.load.ending.is_set():
                    break
                self.turn(turn)
                time.sleep(self.load.pause)
        except Exception as error:  # told by check()
            self.error = error
        finally:
            self.close()

    def turn(self, turn):
        token = f"{self.load.name}-{self.number}-{next(self.made)}"
        kind = turn % (len(READS) + 2)
        shop = self.load.shops[turn % len(self.load.shops)]
        if kind == len(READS):
            method, request = CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
                "customerId": shop, "channel": "CHANNEL_PHONE", "content": token, "endedAt": ago(minutes=5)}}
        elif kind > len(READS):
            method, request = VISITS + "CommitmentService/Add", {"commitment": {
                "customerId": shop, "text": token, "promisedAt": ago(minutes=1), "dueAt": ago(days=-30)}}
        else:
            (method, request), token = READS[kind], None
        began = time.monotonic()
        fault = self.ask(method, request, str(uuid.uuid4()) if token else "")
        took = time.monotonic() - began
        self.calls += 1
        self.slowest = max(self.slowest, (round(took, 2), method, round(began - self.load.began, 1)))
        if fault:
            self.faults.append((round(began - self.load.began, 2), round(took, 2), method, fault))
        elif token:
            self.acknowledged.append((method, token))


class BusWorker(Worker):
    def __init__(self, load, number):
        super().__init__(load, number)
        keys = load.company.keys["rep"]
        self.rep = mdp.Client(load.endpoint, keys, timeout=TIMEOUT)
        self.system = mdp.Client(load.endpoint, load.company.stack.keys(), principal=load.company.system.principal,
                                 timeout=TIMEOUT)

    def ask(self, method, request, key):
        for _ in range(4):
            try:
                (self.rep if key else self.system).call(method, request, key=key)
                return None
            except mdp.NoAnswer:
                return "no answer"
            except mdp.CallError as error:
                if error.reason != "DRAINING":
                    return f"{error.code} {error.reason} {error.message}"
                self.asked_again += 1
        return "all buses drain"

    def close(self):
        self.rep.close()
        self.system.close()


class HttpWorker(Worker):
    def __init__(self, load, number):
        super().__init__(load, number)
        self.connections = {}

    def ask(self, method, request, key):
        doors = sorted(self.load.balancer.ready)
        if not doors:
            return "no gateway is ready"
        address = doors[next(self.load.turns) % len(doors)]
        connection = self.connections.get(address)
        if not connection or was_ended(connection):
            connection = self.connections[address] = http.client.HTTPConnection(address, timeout=TIMEOUT + 2)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.load.api_key}",
                   "Connect-Timeout-Ms": str(TIMEOUT * 1000)}
        if key:
            headers["Idempotency-Key"] = key
        try:
            connection.request("POST", f"/{method}", json.dumps(request), headers)
            answer = connection.getresponse()
            body = answer.read()
            return None if answer.status == 200 else f"{answer.status} {body.decode()[:300]}"
        except (OSError, http.client.HTTPException) as error:
            self.connections.pop(address).close()
            return repr(error)

    def close(self):
        for connection in self.connections.values():
            connection.close()


def ago(**span):
    return stamp(dt.datetime.now(UTC) - dt.timedelta(**span))


class Steady:
    """The load: so many threads over the bus, so many over HTTP."""

    def __init__(self, company, shops, api_key, endpoint, bus=8, http=8, pause=0.01):
        self.company, self.shops, self.api_key, self.endpoint = company, shops, api_key, endpoint
        self.pause, self.turns = pause, itertools.count()
        self.name = f"steady{uuid.uuid4().hex[:8]}"
        self.balancer, self.ending = Balancer(), threading.Event()
        self.workers = [BusWorker(self, n) for n in range(bus)] + [HttpWorker(self, bus + n) for n in range(http)]

    def start(self):
        self.began = time.monotonic()
        self.balancer.look()
        self.balancer.thread.start()
        for worker in self.workers:
            worker.start()
        self.goes_on(200)

    def stop(self):
        self.ending.set()
        for worker in self.workers:
            worker.join(60)
        self.balancer.ending.set()
        self.balancer.thread.join(10)

    def sum(self, what):
        return sum(getattr(worker, what) for worker in self.workers)

    def calls(self, kind):
        return sum(worker.calls for worker in self.workers if isinstance(worker, kind))

    def goes_on(self, calls, seconds=60):
        """Until so many more calls were made, over the bus and over HTTP."""
        before = {kind: self.calls(kind) for kind in (BusWorker, HttpWorker)}
        wait_until(lambda: all(self.calls(kind) >= n + calls // 2 for kind, n in before.items()), seconds,
                   f"{calls} more calls were made")

    def faults(self):
        return [fault for worker in self.workers for fault in worker.faults]

    def failed(self):
        return sum(len(worker.faults) + len(worker.told) for worker in self.workers)

    def check(self, known=()):
        """No call has failed, but for the known ones."""
        errors = [worker.error for worker in self.workers if worker.error]
        assert not errors, errors
        faults = [fault for fault in self.faults() if fault not in known]
        for worker in self.workers:
            worker.told, worker.faults = worker.told + worker.faults, []  # each fails one test
        by_kind = collections.Counter((method, fault[:120]) for _, _, method, fault in faults)
        assert not faults, f"{len(faults)} of {self.sum('calls')} calls failed: {by_kind}, e.g. {faults[:5]}"

    def check_ledger(self):
        """What was acknowledged is there once; what is there was acknowledged, or has failed."""
        acknowledged = [entry for worker in self.workers for entry in worker.acknowledged]
        failed = self.failed()
        for method, table, column in ((CUSTOMERS + "InteractionService/RecordInteraction", "customers.interaction",
                                       "content"),
                                      (VISITS + "CommitmentService/Add", "visits.commitment", "text")):
            tokens = {token for m, token in acknowledged if m == method}
            rows = [r["token"] for r in self.company.stack.sql(
                f"select {column} as token from {table} where {column} like '{self.name}-%'")]
            assert len(rows) == len(set(rows)), "a command took effect twice"
            assert tokens <= set(rows), f"acknowledged, but not there: {list(tokens - set(rows))[:5]}"
            assert len(set(rows) - tokens) <= failed, "there, but never acknowledged"
        return len(acknowledged)

    def summary(self):
        seconds = time.monotonic() - self.began
        return (f"{self.sum('calls')} calls in {seconds:.0f} s ({self.calls(BusWorker)} over the bus, "
                f"{self.calls(HttpWorker)} over HTTP), {self.failed()} failed, {self.sum('asked_again')} asked "
                f"again since a bus stopped; slowest {max(w.slowest for w in self.workers)}")


def handled(env):
    """How many calls a daemon has answered, by its metrics."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics_at(env["DAYBOOK_ADMIN_LISTEN"]).splitlines()
               if line.startswith(("daybook_rpc_server_handled_total{", "daybook_gateway_requests_total{")))
