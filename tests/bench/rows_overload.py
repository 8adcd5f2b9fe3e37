"""Rows 11 to 13: more is asked than can be done, by all (F51), by one company (F52), or by connections that ask
nothing (F50)."""

import contextlib
import json
import re
import resource
import selectors
import socket
import subprocess
import threading
import time

from rows_bus import TENANT
from rows_http import call
from stack import Failed, Replica
from table import interleave, median

NEIGHBOUR = "00000000-0000-7000-9000-000000000002"
CLIENTS = 128  # each has an allowance of its own at the bus, as so many keys would have
KEYS = 64
DEADLINE_MS = 5000
CALM = 50  # requests a second of who asks in peace
LEGITIMATE = "127.0.9."  # addresses of his fresh connections
AGAIN = 5  # seconds after which a connection of a crowd comes again
RECORD = "daybook.customers.v1.InteractionService/RecordInteraction"


def say(bench, program, **options):
    """What a program of the bench prints, refusals and all."""
    with started(bench, program, **options) as p:
        return json.loads(said(p))


@contextlib.contextmanager
def started(bench, program, **options):
    args = [bench.tools / program, *(w for name, value in options.items() for w in (f"--{name}", value))]
    p = subprocess.Popen([str(a) for a in args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=bench.stack.env_of("operator"))
    try:
        yield p
    finally:
        p.kill()
        p.communicate()


def said(p):
    out, errors = p.communicate()
    if p.returncode not in (0, 2) or not out:
        raise Failed(f"{' '.join(p.args)}: {errors}")
    return out


@contextlib.contextmanager
def gateway(bench, **settings):
    """One of its own, with the limits that it comes with; its port."""
    limits = {"HTTP_RATE": 200, "HTTP_CONNECTIONS": 4096, "HTTP_ADDRESS_CONNECTIONS": 256, **settings}
    one = Replica(bench.stack, "gateway", bench.stack.folder / "log/gateway-overload.log", **limits)
    try:
        one.until_ready()
        yield int(one.env["DAYBOOK_HTTP_LISTEN"].rsplit(":", 1)[1])
        if one.process.poll() is not None:
            raise Failed(f"the gateway ended; see {one.log}")
    finally:
        one.end()


def keys_of(bench, tenant, n):
    """A file of keys, one of each of so many reps."""
    path = bench.stack.folder / f"keys-of-{tenant}"
    if not path.exists():
        made = []
        for rep in range(1, n + 1):
            request = {"label": f"bench {rep}", "employeeId": f"00000000-0000-7000-8000-{rep:012d}"}
            answer = call(bench, "daybook.directory.v1.CredentialService/CreateApiKey", request, tenant)
            made.append(f"{answer['apiKey']} {rep}\n")
        path.write_text("".join(made))
    return path


def until_known(port, keys):
    """The last of them is the last that the gateway hears of."""
    key = keys.read_text().splitlines()[-1].split()[0]
    until = time.monotonic() + 10
    while ask_once(port, key, "127.0.0.1") != 200:
        if time.monotonic() > until:
            raise Failed("the gateway does not know the keys")
        time.sleep(0.05)


def ask_once(port, key, source):
    """The status of one request by a fresh connection; 0: it was ended without one."""
    body = b'{"page_size":1}'
    with contextlib.suppress(OSError), \
            socket.create_connection(("127.0.0.1", port), timeout=2, source_address=(source, 0)) as s:
        s.sendall(f"POST /daybook.customers.v1.CustomerService/List HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}"
                  f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = s.recv(12)
        return int(head[9:]) if len(head) == 12 else 0
    return 0


# --- F51 --------------------------------------------------------------------------------------------------


def refusals(bench):
    """{reason: how many} of the bus so far."""
    _, page = bench.stack.get(bench.stack.admin("bus"), "/metrics")
    found = {}
    for reason, n in re.findall(r'^daybook_bus_rejected_total\{.*reason="(\w+)".*\} (\S+)$', page, re.M):
        found[reason] = found.get(reason, 0) + float(n)
    return found


def seconds_to_normal(seconds, rate, limit_us):
    """After the overload, until the first of three seconds that are as before; None: there were none. What the load
    could not even send, since it waits for answers, was not sent well."""
    good = [s["good"] == s["sent"] >= 0.9 * rate and s["p99_us"] <= limit_us for s in seconds]
    return next((i for i in range(len(good) - 2) if all(good[i:i + 3])), None)


def overloaded(bench, closed, paced):
    """closed(seconds): goodput of a closed loop; paced(phases): what became of them."""
    bench.stack.settle()
    peak = closed()
    bench.stack.settle()
    calm, long = (4, 12) if bench.quick else (8, 60)
    told = refusals(bench)
    got = paced(f"{peak / 2:.0f}:{calm},{3 * peak:.0f}:{long},{peak / 2:.0f}:{2 * calm}")
    before, over, _ = got["phases"]
    return {"peak": peak, "goodput": over["goodput"], "ratio": over["goodput"] / peak,
            "before_p99_us": before["p99_us"], "ok_p50_us": over["p50_us"], "ok_p99_us": over["p99_us"],
            "refused": over["refused"] / over["sent"] / long,
            "refusal_p50_us": over["refusal_p50_us"], "refusal_p99_us": over["refusal_p99_us"],
            "spoilt": (over["late"] + over["failed"]) / over["sent"] / long, "sent": over["sent"],
            "to_normal": seconds_to_normal(got["seconds"][calm + long:], peak / 2, 2 * before["p99_us"]),
            "reasons": {reason: n - told.get(reason, 0) for reason, n in refusals(bench).items()},
            "all": got}


def by_bus(bench):
    common = {"kind": "record", "employees": bench.employees, "customers": bench.customers, "deadline": DEADLINE_MS}

    def closed():
        return max(bench.load("record", clients=n, deadline=DEADLINE_MS)["rate"] for n in (16, 64))
    return overloaded(bench, closed, lambda phases: say(bench, "load", phases=phases, clients=CLIENTS, **common))


def by_http(bench, port, keys):
    common = {"port": port, "keys": keys, "employees": bench.employees, "customers": bench.customers,
              "deadline": DEADLINE_MS, "addresses": 8}

    def closed():
        runs = [say(bench, "http_load", phases=f"0:1,0:{bench.seconds}", connections=n, **common) for n in (16, 64)]
        return max(r["phases"][1]["goodput"] for r in runs)
    return overloaded(bench, closed, lambda phases: say(bench, "http_load", phases=phases, connections=1500, **common))


def overload(bench):
    """(11) Three times what can be done, for a minute."""
    bench.load("record", seconds=0.5)
    keys = keys_of(bench, TENANT, KEYS)
    with gateway(bench) as port:
        until_known(port, keys)
        bench.note("row 11: 3 x capacity, by the bus and by HTTP")
        got = interleave(bench.runs, {"bus": lambda: by_bus(bench), "HTTP": lambda: by_http(bench, port, keys)})
    bench.table.keep("11", got)
    for way, runs in got.items():
        overload_rows(bench, f"3 x capacity, by {'the ' if way == 'bus' else ''}{way}", runs)


def overload_rows(bench, what, runs):
    add = bench.table.add
    ratio, refusal = median(runs, "ratio"), median(runs, "refusal_p99_us") / 1000
    add("11", f"{what}: goodput", median(runs, "goodput"), "/s", median(runs, "peak"), "peak of a closed loop",
        ">= 80 % of the peak", ratio >= 0.8)
    add("11", f"{what}: told to come again, p99", refusal, "ms", None, "", "<= 50 ms", refusal <= 50)
    add("11", f"{what}: done, p99", median(runs, "ok_p99_us") / 1000, "ms", median(runs, "before_p99_us") / 1000,
        "at 50 % before")
    add("11", f"{what}: late, or not answered in time", 100 * median(runs, "spoilt"), "% of all")
    normal = [r["to_normal"] for r in runs]
    worst = None if None in normal else max(normal)
    add("11", f"{what}: at 50 % again, p99 <= 2 x before after (worst run)", worst, "s", None, "", "<= 10 s",
        worst is not None and worst <= 10)


# --- F52 --------------------------------------------------------------------------------------------------


def found_neighbour(bench):
    if bench.stack.value(f"select count(*) from customers.customer where tenant_id = '{NEIGHBOUR}'") == "0":
        bench.found_company(NEIGHBOUR, 20, 200)


@contextlib.contextmanager
def flood(bench, program, **options):
    """Runs until it is ended; nothing of what it sees counts."""
    with started(bench, program, **options) as p:
        time.sleep(1.5)  # only the bench may simply wait
        if p.poll() is not None:
            raise Failed(f"the flood ended: {said(p)}")
        yield


def neighbours(bench):
    """(12) One company asks as much as it can, another one in peace."""
    found_neighbour(bench)
    bench.load("record", seconds=0.5)
    seconds = 4 if bench.quick else 12
    own = {"employees": 20, "customers": 200, "deadline": DEADLINE_MS}
    loud = {"employees": bench.employees, "customers": bench.customers, "deadline": DEADLINE_MS}
    with gateway(bench) as port:
        keys, calm_keys = keys_of(bench, TENANT, KEYS), keys_of(bench, NEIGHBOUR, 4)
        until_known(port, keys)
        until_known(port, calm_keys)
        calm = {"bus": lambda: say(bench, "load", kind="record", tenant=NEIGHBOUR, phases=f"{CALM}:{seconds}", **own),
                "HTTP": lambda: say(bench, "http_load", port=port, keys=calm_keys, connections=4,
                                    phases=f"{CALM}:{seconds}", **own)}
        floods = {
            "bus": lambda: flood(bench, "load", kind="record", clients=CLIENTS, window=64, seconds=60, **loud),
            "HTTP": lambda: flood(bench, "http_load", port=port, keys=keys, connections=512, addresses=8, phases="0:60",
                                  **loud)}

        def alone(way):
            bench.stack.settle()
            return judged(calm[way]())

        def beside(way, other):
            bench.stack.settle()
            with floods[other]():
                return judged(calm[way]())
        for way in calm:
            bench.note(f"row 12: beside a flood, by {way}")
            got = interleave(bench.runs, {"alone": lambda: alone(way), **{
                other: lambda other=other: beside(way, other) for other in floods}})
            bench.table.keep("12", {way: got})
            for other in floods:
                neighbour_rows(bench, way, other, got)


def judged(got):
    [phase] = got["phases"]
    return phase


def neighbour_rows(bench, way, other, got):
    what = f"{CALM}/s by {way}, beside another company's flood by {other}"
    p99, alone = median(got[other], "p99_us") / 1000, median(got["alone"], "p99_us") / 1000
    bench.table.add("12", f"{what}: p99", p99, "ms", alone, "alone", "<= 2 x alone", p99 <= 2 * alone)
    bench.table.add("12", f"{what}: p50", median(got[other], "p50_us") / 1000, "ms",
                    median(got["alone"], "p50_us") / 1000, "alone")
    lost = sum(r["refused"] + r["failed"] + r["late"] for r in got[other])
    bench.table.add("12", f"{what}: refused, late or failed", lost, "in all runs", None, "", "none", lost == 0)


# --- F50 --------------------------------------------------------------------------------------------------


class Crowd:
    """Connections that hold a place and ask nothing, or never end what they ask; who is let go comes again."""

    def __init__(self, port, size, begin=b"", drip=b""):
        self.port, self.size, self.begin, self.drip = port, size, begin, drip
        self.selector, self.gone, self.standing = selectors.DefaultSelector(), [], 0
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.keep)

    def __enter__(self):
        for place in range(self.size):
            self.open(place)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def open(self, place):
        s = socket.socket()
        s.setblocking(False)
        s.bind((f"127.0.{1 + place % 50}.1", 0))
        with contextlib.suppress(BlockingIOError):
            s.connect(("127.0.0.1", self.port))
        self.selector.register(s, selectors.EVENT_READ, place)
        with contextlib.suppress(OSError):
            s.send(self.begin)

    def keep(self):
        at = time.monotonic() + 1
        while not self.stop.is_set():
            for key, _ in self.selector.select(0.05):
                self.let_go(key)
            now = time.monotonic()
            while self.gone and self.gone[0][0] <= now:
                self.open(self.gone.pop(0)[1])
            if now >= at:
                at = now + 1
                self.drip_all()

    def let_go(self, key):
        with contextlib.suppress(OSError):
            if key.fileobj.recv(4096):
                return
        self.selector.unregister(key.fileobj)
        key.fileobj.close()
        self.gone.append((time.monotonic() + AGAIN, key.data))

    def drip_all(self):
        """A byte a second is not idle, and never done."""
        there = list(self.selector.get_map().values())
        self.standing = len(there)
        for key in there if self.drip else []:
            with contextlib.suppress(OSError):
                key.fileobj.send(self.drip)


def crowds(port, key):
    head = f"POST /{RECORD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/proto\r\n"
    return {
        "alone": contextlib.nullcontext,
        "10,000 idle connections": lambda: Crowd(port, 10000),
        "4,000 slow headers": lambda: Crowd(port, 4000, b"GET / HTTP/1.1\r\nX-Slow: ", b"x"),
        "4,000 slow bodies": lambda: Crowd(port, 4000, (head + "Content-Length: 100000\r\n\r\n").encode(), b"x"),
    }


def with_crowd(bench, port, keys, crowd):
    """A legitimate client whose connections stand, and fresh ones, while the crowd is there."""
    bench.stack.settle()
    seconds, key = 4 if bench.quick else 10, keys.read_text().split()[0]
    options = {"port": port, "keys": keys, "connections": 4, "phases": f"{CALM}:8,{CALM}:{seconds}", "employees": 20,
               "customers": 200, "deadline": DEADLINE_MS}
    with started(bench, "http_load", **options) as client:
        time.sleep(0.5)  # its connections stand
        with crowd() as there:
            time.sleep(8)
            standing = there.standing if there else 0
            fresh = [ask_once(port, key, f"{LEGITIMATE}{n + 1}") for n in range(20)]
            got = json.loads(said(client))["phases"][1]
    return {**got, "standing": standing, "fresh": fresh.count(200) / len(fresh), "fresh_status": fresh}


def idle(bench):
    """(13) Places that are taken, beside a client who asks."""
    found_neighbour(bench)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 12000:
        raise Failed(f"{most} descriptors are too few; raise the limit")
    keys = keys_of(bench, NEIGHBOUR, 4)
    with gateway(bench) as port:
        until_known(port, keys)
        key = keys.read_text().split()[0]
        bench.note("row 13: idle and slow connections")
        got = interleave(bench.runs, {name: lambda crowd=crowd: with_crowd(bench, port, keys, crowd)
                                      for name, crowd in crowds(port, key).items()})
    bench.table.keep("13", got)
    for name in list(got)[1:]:
        idle_rows(bench, name, got)


def idle_rows(bench, name, got):
    p99, alone = median(got[name], "p99_us") / 1000, median(got["alone"], "p99_us") / 1000
    bench.table.add("13", f"{CALM}/s over HTTP beside {name}: p99", p99, "ms", alone, "alone", "<= 2 x alone",
                    p99 <= 2 * alone)
    lost = sum(r["refused"] + r["failed"] + r["late"] for r in got[name])
    bench.table.add("13", f"{CALM}/s over HTTP beside {name}: refused, late or failed", lost, "in all runs", None, "",
                    "none", lost == 0)
    bench.table.add("13", f"{name}: let stand", median(got[name], "standing"), "connections")
    bench.table.add("13", f"{name}: fresh connections that were served", 100 * median(got[name], "fresh"), "%")
