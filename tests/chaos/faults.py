"""What is done to the stack. Each fault is a context manager that is entered, left alone for a while, and
left; it gives what exactly it does. Fault ids are those of the catalogue.

A fault takes the run (chaos.py) and draws by its random numbers, so that a seed repeats it.
"""

import contextlib
import dataclasses
import os
import resource
import signal
import socket
import struct
import time
import typing

import mdp
from local_stack import Failed, children_of
from redis_bytes import RawRedis
from stack import SLACK, wait_until
from web import Caller

import machine

STREAM = "daybook.bus.v1.EventService/StreamEvents"


@dataclasses.dataclass
class Fault:
    name: str
    ids: str
    enter: typing.Callable
    seconds: tuple  # how long it lasts, at least and at most
    weight: int     # how often it is in the deck
    needs: typing.Callable  # of the machine; None: nothing
    picks: bool     # one of two daemons, or connections of one, where there are two; no other process
    replicas: int   # that there must be
    middle: bool    # somebody stands in the middle for it, all the time: only if it is asked for by name


FAULTS = {}


def fault(ids, seconds=(0.5, 3), weight=1, needs=None, picks=False, replicas=1, middle=False):
    def keep(function):
        FAULTS[function.__name__] = Fault(function.__name__, ids, contextlib.contextmanager(function), seconds,
                                          weight, needs, picks, replicas, middle)
        return function
    return keep


@contextlib.contextmanager
def all_of(managers):
    with contextlib.ExitStack() as entered:
        for manager in managers:
            entered.enter_context(manager)
        yield


# --- processes ----------------------------------------------------------------------------------------


@fault("F01 F02 F03 F04 F05 F06", seconds=(0, 0.5), weight=4, picks=True)
def kill(run):
    names = run.pick()
    run.end(names, signal.SIGKILL)
    yield " ".join(names)
    run.start(names)


@fault("F08", seconds=(1, 6), weight=3, picks=True)
def stop(run):
    names = run.pick()
    with all_of(map(run.stack.stopped, names)):
        yield " ".join(names)


@fault("F09", seconds=(0, 0.5), picks=True)
def terminate(run):
    """Drains: it ends by itself, in time."""
    names = run.pick()
    run.end(names, signal.SIGTERM)
    yield " ".join(names)
    run.start(names)


@fault("F07 F10", seconds=(0, 1))
def power(run):
    run.ended.update(run.stack.daemons)
    run.stack.cut_power()
    yield "all"
    names = ("redis", "postgres", *run.stack.daemons)
    run.start(run.rng.sample(names, len(names)))


@fault("F48", seconds=(2, 5), picks=True)
def descriptors(run):
    """No more than it has open."""
    names = run.pick()
    with all_of(no_more_descriptors(run.stack.pid(name)) for name in names):
        yield " ".join(names)


@contextlib.contextmanager
def no_more_descriptors(pid):
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@fault("F68", seconds=(2, 5), needs=lambda: machine.Group.there_are("cpu"), picks=True)
def throttle(run):
    names = run.pick()
    with machine.Group("cpu") as group:
        group.limit_cpu(5 * len(names))
        with all_of(group.holding(run.stack.pid(name)) for name in names):
            yield f"{' '.join(names)} to 5 % of a CPU"


@fault("F47 F68", seconds=(1, 3), needs=lambda: machine.Group.there_are("memory"), picks=True)
def memory(run):
    """They start with too little memory, and are killed for it, at once or under load."""
    names = run.pick()
    run.end(names, signal.SIGKILL)
    with machine.Group("memory") as group:
        group.limit_memory(run.rng.choice((6, 12)) * len(names) << 20)
        for name in names:
            with contextlib.suppress(Failed):  # it may not even get so far
                run.stack.control_within(group.enter_words(), "start", name)
        yield " ".join(names)
        for name in filter(run.stack.pid, names):
            run.stack.kill(name)
    run.start(names)


# --- who leads the log --------------------------------------------------------------------------------


@fault("F02 F03", seconds=(0, 0.5), weight=2, picks=True, replicas=2)
def kill_leader(run):
    """The other bus leads within 5 s."""
    old = run.leader()
    other, = set(run.all_of("bus")) - {old}
    run.hit.add(old)
    run.end([old], signal.SIGKILL)
    try:
        took = seconds_until(lambda: run.leads(other), 5 * SLACK, "the other bus led the log")
        yield f"{old}, {other} leads after {took:.2f} s"
    finally:
        run.stack.start(old)


@fault("F03 F32 F59", seconds=(0, 4), weight=2, picks=True, replicas=2)
def part_leader(run):
    """The bus that leads the log and PostgreSQL do not hear each other, or one of them thinks so. The lead is taken
    anew, by the other bus or by itself, and what the old one believes does no harm."""
    old, term = run.leader(), run.term()
    how = run.rng.choice(("hole", "cut", "half_open_client", "half_open_server"))
    run.hit.add(old)
    with run.proxy.faulty(f"{old} - postgres", how):
        took = seconds_until(lambda: run.term() > term, 20 * SLACK, "the lead of the log was taken anew")
        leading = [bus for bus in run.all_of("bus") if run.leads(bus)]
        yield f"{old}, {how}; taken anew after {took:.2f} s, claimed by {' and by '.join(leading) or 'nobody'}"


def seconds_until(condition, seconds, what):
    began = time.monotonic()
    wait_until(condition, seconds, what)
    return time.monotonic() - began


# --- PostgreSQL ---------------------------------------------------------------------------------------


@fault("F11", seconds=(0, 1), weight=2)
def postgres_restart(run):
    how = run.rng.choice(("SIGINT", "SIGQUIT", "SIGKILL"))
    run.stack.kill("postgres", getattr(signal, how))
    yield how
    run.stack.start("postgres")


@fault("F23")
def postgres_backends(run):
    """In whatever they were doing."""
    for _ in range(3):
        run.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename like 'daybook\\_%'"
                 " and usename <> 'daybook_owner' and random() < 0.7")
    yield "most of them, three times"


@fault("F14 F17", seconds=(1, 5))
def postgres_hangs(run):
    """All of it, as a host that does not answer."""
    pid = run.stack.pid("postgres")
    family = [pid, *children_of(pid)]
    signal_all(family, signal.SIGSTOP)
    try:
        yield f"{len(family)} processes"
    finally:
        signal_all(family, signal.SIGCONT)


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@fault("F20", seconds=(1, 5))
def postgres_lock(run):
    table = run.rng.choice(("customers.interaction", "visits.visit", "bus.outbox", "reminders.obligation",
                            "customers.sales_order", "bus.head"))
    with run.session() as psql:
        psql(f"begin; lock table {table} in access exclusive mode;")
        yield table
        psql("rollback;")


def take_connections(stack, held, count):
    """Idle ones, of somebody who may have the last ones too."""
    startup = b"user\0daybook_owner\0database\0postgres\0\0"
    for _ in range(count):
        s = socket.socket(socket.AF_UNIX)
        held.append(s)
        s.connect(str(stack.sockets / ".s.PGSQL.5432"))
        s.sendall(struct.pack("!II", 8 + len(startup), 196608) + startup)


@fault("F18", seconds=(1, 4))
def postgres_connections(run):
    """All that are left, by somebody who does nothing with them."""
    held, there_are = [], int(run.psql("show max_connections"))
    try:
        take_connections(run.stack, held, there_are - 40)
        with contextlib.suppress(Failed):  # there may be none left
            run.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename like 'daybook\\_%'"
                     " and usename <> 'daybook_owner'")
        take_connections(run.stack, held, 60)  # before those that had them have them again
        yield f"{len(held)} held"
    finally:
        for s in held:
            s.close()


def disk_is_ours():
    return machine.own_mounts()


@fault("F21", seconds=(2, 5), needs=disk_is_ours)
def disk_data(run):
    with run.disk.full("data"):
        yield "data"


@fault("F21", seconds=(2, 5), needs=disk_is_ours)
def disk_wal(run):
    """PostgreSQL stops, and is started again when there is space (operations 6)."""
    with run.disk.full("wal"):
        with contextlib.suppress(Failed):
            for _ in range(4):  # a segment that is begun would last for a while
                run.psql("select pg_switch_wal(); create temp table t as select generate_series(1, 1000)")
        yield "wal"
    run.postgres_again()


# --- Redis --------------------------------------------------------------------------------------------


@fault("F27", seconds=(0, 2))
def redis_kill(run):
    run.stack.kill("redis")
    yield "redis"
    run.stack.start("redis")


@fault("F28", seconds=(1, 4))
def redis_hangs(run):
    with run.stack.stopped("redis"):
        yield "redis"


@fault("F29", seconds=(0, 0.2))
def redis_flush(run):
    run.stack.redis("flushall")
    yield "redis"


@fault("F29", seconds=(1, 3))
def redis_full(run):
    run.stack.redis("config", "set", "maxmemory-policy", "noeviction")
    run.stack.redis("config", "set", "maxmemory", "1")
    try:
        yield "noeviction"
    finally:
        run.stack.redis("config", "set", "maxmemory", "64mb")
        run.stack.redis("config", "set", "maxmemory-policy", "allkeys-lru")


@fault("F30 F31", seconds=(0.2, 1), weight=2)
def redis_poison(run):
    """Wrong types, noise, pieces, other people's lists and old ones."""
    how = run.rng.choice(("type", "noise", "cut", "exchange", "old"))
    with RawRedis(run.stack.run_dir / "redis.sock") as redis:
        values = {key: redis("GET", key) for key in redis("KEYS", "*")}
        values = {key: value for key, value in values.items() if isinstance(value, bytes) and value}
        wrong = dict(zip(values, [*values.values()][1:] + [*values.values()][:1]))
        if how == "old":
            time.sleep(0.5)  # while newer ones are written
        for key, value in values.items():
            if how == "type":
                redis("DEL", key)
                redis("LPUSH", key, "surprise")
            else:
                redis("SET", key, {"noise": run.rng.randbytes(len(value)), "cut": value[:len(value) // 2],
                                   "exchange": wrong[key], "old": value}[how])
    yield f"{how}, {len(values)} keys"


# --- network ------------------------------------------------------------------------------------------


def on_a_link(run, kind, amount=0.0, text=""):
    names = run.pick_links()
    with all_of(run.proxy.faulty(name, kind, amount) for name in names):
        yield f"{', '.join(names)}{text}"


@fault("F64", seconds=(1, 5), picks=True)
def net_delay(run):
    ms = run.rng.choice((20, 100, 500))
    yield from on_a_link(run, "delay", ms / 1000, f" by {ms} ms")


@fault("F64", seconds=(1, 5), picks=True)
def net_slow(run):
    rate = run.rng.choice((20_000, 125_000))
    yield from on_a_link(run, "slow", rate, f", {rate} bytes/s")


@fault("F26 F32", seconds=(1, 6), weight=2, picks=True)
def net_hole(run):
    yield from on_a_link(run, "hole")


@fault("F26 F32", seconds=(0.2, 3), picks=True)
def net_cut(run):
    yield from on_a_link(run, "cut")


@fault("F26 F32 F64", seconds=(0, 0.5), picks=True)
def net_reset(run):
    yield from on_a_link(run, "reset")


@fault("F26 F32", seconds=(1, 6), weight=2, picks=True)
def net_half_open(run):
    kind = run.rng.choice(("half_open_client", "half_open_server"))
    yield from on_a_link(run, kind, text=f", {kind[10:]} is not told")


@fault("F32 F59", seconds=(2, 8), weight=2, picks=True, replicas=2)
def net_parted(run):
    """Two hosts with one of each daemon, buses too, that do not hear each other. Whoever commands hears both;
    PostgreSQL and Redis stand apart from both, or beside the first one."""
    how, beside = run.rng.choice(("hole", "cut")), run.rng.random() < 0.5
    parted = [name for name in run.proxy.links if is_between_hosts(*name.split(" - "), beside)]
    run.hit.update(name for name in run.stack.daemons if name.endswith("-2"))
    with all_of(run.proxy.faulty(name, how) for name in parted):
        yield f"{how} between the hosts, {'one' if beside else 'both'} with PostgreSQL"


@fault("F34", seconds=(3, 6), middle=True)
def messages(run):
    """Of all between everybody and the buses, one in two is lost, doubled, played again, late or out of turn."""
    with run.middle.at_it(run.rng.getrandbits(32)):
        yield "all ways"


def is_between_hosts(client, server, beside_first):
    if client == "load":
        return False
    if server in ("postgres", "redis"):
        return beside_first and client.endswith("-2")
    return client.endswith("-2") != server.endswith("-2")


# --- who listens --------------------------------------------------------------------------------------


@fault("F33", seconds=(3, 8))
def subscribers(run):
    """One by each bus and one by HTTP that ask for everything and never read."""
    company = run.rng.choice(run.companies)
    heard = [mdp.Subscriber(run.stack.env_of(bus)["DAYBOOK_BUS_EVENTS_LISTEN"], company.keys["gm"], "")
             for bus in run.all_of("bus")]
    stream = Caller(run.stack, run.probe_key).stream(STREAM, {}) if run.gateway_works() else None
    try:
        yield "do not read"
    finally:
        for subscriber in heard:
            subscriber.close()
        if stream:
            stream.close()


@fault("F44", seconds=(1, 4))
def receiver_hangs(run):
    receiver = run.rng.choice(run.receivers)
    receiver.delay = 3
    try:
        yield "3 s an answer"
    finally:
        receiver.delay = 0


@fault("F44", seconds=(0.2, 1))
def receiver_refuses(run):
    """So few that nothing is put off for minutes."""
    run.rng.choice(run.receivers).answers[:] = [500, 503, 500]
    yield "500, 503, 500"


@fault("F44", seconds=(0.5, 3))
def receiver_gone(run):
    number = run.rng.randrange(len(run.receivers))
    run.receivers[number].close()
    try:
        yield "nobody there"
    finally:
        run.receivers[number].open()


# --- time ---------------------------------------------------------------------------------------------


@fault("F40 F41", seconds=(2, 6), needs=machine.faketime, picks=True)
def clock_step(run):
    """The wall clock of reminders is another one for a while."""
    names, seconds = run.pick("reminders"), run.rng.choice((-86400, -3600, -7, 3, 7, 3600, 86400))
    for name in names:
        run.set_clock(name, seconds)
    try:
        yield f"{' '.join(names)} {seconds:+d} s"
    finally:
        for name in names:
            run.set_clock(name, 0)
        wait_until(lambda: all(map(run.stack.healthy, names)), 30 * SLACK, "reminders believed its clock again")
