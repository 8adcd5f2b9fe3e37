"""F54: from the version before (N-1, see previous.sh) to this one and back, under load, with both mixed for a while.

The order is that of the operator: schemas first, then the buses, then the others in any order, process after process,
a new one being ready before an old one stops; on the way back the buses come last. (A bus moves events with the
columns that it knows: one of the version before would drop what daemons of this one write into new ones.) Everything is done while calls come in, of which none may fail; at the end nothing that was acknowledged is
missing or there twice, and the log has no hole.
"""

import http.client
import os
import random
import subprocess
import time

import pytest
from pair import Pair
from stack import DAEMONS, wait_until
from steady import TIMEOUT, handled
from test_migration import migrator, program, until_done

PREVIOUS = os.environ.get("DAYBOOK_PREVIOUS")
CURRENT = os.environ.get("DAYBOOK_BIN")
MIXED = float(os.environ.get("LIFECYCLE_MIXED", "20"))  # seconds that both versions stand side by side
SEED = int(os.environ.get("LIFECYCLE_SEED", "54"))

pytestmark = pytest.mark.skipif(not PREVIOUS, reason="needs the version before: make lifecycle")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    yield from pair_of(tmp_path_factory.mktemp("upgrade"), PREVIOUS)


def pair_of(folder, previous, excused=True):
    """Of the version before, under load. excused: calls that its buses lose when they stop; see check()."""
    pair = Pair(folder, binaries=previous)
    pair.took, pair.bus_stops, pair.known, pair.excused = {}, [], 0, excused
    try:
        pair.up()
        pair.start_load()
        yield pair
        pair.load.stop()
        pair.stack.down()
    finally:
        pair.remove()


def version_of(binaries):
    return subprocess.run([f"{binaries}/daybook-bus", "--version"], text=True, capture_output=True, check=True).stdout


def check(pair):
    """No call has failed, but for those that a stopping bus has refused or lost while gateways or buses of the version
    before were there: those gateways do not ask the other bus, and those buses end their connections at once. It is
    told or in doubt, never acknowledged; and those buses refuse people in their first moment. Of a version that has
    test_drain.py nothing is excused: test_upgrade_strict.py."""
    began = pair.load.began
    windows = [(a - began - 6.5, b - began + 0.5) for a, b in pair.bus_stops if pair.excused]
    known = [f for f in pair.load.faults() if any(a <= f[0] <= b for a, b in windows)
             and ("DRAINING" in f[3] or "NO_WORKER" in f[3] or "no answer" in f[3] or "not known yet" in f[3] or f[3].startswith("504"))]
    pair.known += len(known)
    pair.load.check(known)


def mix(pair):
    """Both versions stand side by side for a while."""
    until = time.monotonic() + MIXED
    while time.monotonic() < until:  # the load itself is what is waited for
        pair.load.goes_on(100)
    check(pair)


def replace(pair, name, binaries):
    """Both replicas, one after the other. Buses have addresses of their own: there the old one goes first."""
    began = time.monotonic()
    if name != "bus":
        pair.stack.use(binaries)
        pair.start_second(name, place="third").until_ready()
        pair.load.goes_on(50)
    pair.drain_second(name)
    pair.stack.use(binaries)
    pair.start_second(name).until_ready()
    if name == "bus":
        pair.bus_stops.append((began, time.monotonic()))
    pair.load.goes_on(50)
    at = time.monotonic()
    pair.drain_first(name)
    pair.stack.start(name)
    wait_until(lambda: pair.stack.healthy(name), 20, f"{name} was ready")
    if name == "bus":
        pair.bus_stops.append((at, time.monotonic()))
    if name != "bus":
        pair.load.goes_on(50)
        pair.drop(name, "third")
    pair.took[name] = max(pair.took.get(name, 0), time.monotonic() - began)
    check(pair)


def test_f54_the_versions_differ(pair):
    assert version_of(PREVIOUS) != version_of(CURRENT)
    pair.load.goes_on(200)
    check(pair)


def readiness(env):
    connection = http.client.HTTPConnection(env["DAYBOOK_ADMIN_LISTEN"], timeout=5)
    connection.request("GET", "/readyz?verbose")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_f55_new_daemons_on_the_old_schema_wait_for_the_new_one(pair):
    """They say why they are not ready and take no requests; all by itself they serve once it is there."""
    pair.stack.use(CURRENT)
    pair.waiting = {name: pair.start_second(name, place="early") for name in ("directory", "gateway")}
    for replica in pair.waiting.values():
        wait_until(lambda r=replica: is_told(r, '"database"') and readiness(r.env)[0] == 503, 20, "it was up, not ready")
        assert "the schema is older than this program" in readiness(replica.env)[1]
    pair.load.goes_on(200)
    assert all(handled(replica.env) == 0 for replica in pair.waiting.values())
    check(pair)


def is_told(replica, word):
    try:
        return word in readiness(replica.env)[1]
    except OSError:
        return False


def test_f54_f55_old_daemons_go_on_while_the_schema_is_brought_up_to_date(pair):
    """A migrator waits for a lock and is killed; of two that come after it, both end well."""
    before = pair.stack.value("select count(*) from directory.schema_version")
    holder = subprocess.Popen([program("psql"), "-X", "-q", "-d", pair.stack.conninfo()], stdin=subprocess.PIPE,
                              text=True)
    holder.stdin.write("begin; lock table bus.log in access share mode;\n")
    holder.stdin.flush()
    waits = ("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%ALTER TABLE%'")
    wait_until(lambda: pair.stack.value("select count(*) from pg_locks where relation = 'bus.log'::regclass and"
                                        " mode = 'AccessShareLock'"), 10, "the lock was held")
    one = migrator(pair.stack, "daybook")
    wait_until(lambda: pair.stack.value(waits), 20, "the migrator waited")
    one.kill()
    one.communicate()
    two = [migrator(pair.stack, "daybook") for _ in range(2)]
    wait_until(lambda: pair.stack.value(waits), 20, "another one waited")
    pair.load.goes_on(200)
    holder.communicate()  # the end of its session: the lock is free
    for process in two:
        until_done(process)
    assert pair.stack.value("select count(*) from directory.schema_version") > before
    for name, replica in pair.waiting.items():
        replica.until_ready()
        pair.drop(name, "early")
    pair.load.goes_on(400)
    check(pair)
    assert max(worker.slowest for worker in pair.load.workers)[0] <= TIMEOUT + 1


def order():
    names = [name for name in DAEMONS if name != "bus"]
    random.Random(SEED).shuffle(names)
    return names


def new_fields(pair):
    """What only this version writes into events: whence a change came."""
    return pair.stack.value("select count(*) from bus.log where remote_address is not null and method is not null")



@pytest.mark.parametrize("name", ["bus", *order()])
def test_f54_forward(pair, name):
    replace(pair, name, CURRENT)
    if name == order()[len(DAEMONS) // 2]:
        mix(pair)


def test_f54_buses_of_this_version_stop_among_their_like(pair):
    """Nothing is excused."""
    pair.drain_second("bus")
    pair.start_second("bus").until_ready()
    pair.load.goes_on(200)
    pair.load.check()


def test_f54_new_fields_go_through(pair):
    before = new_fields(pair)
    pair.load.goes_on(200)
    wait_until(lambda: new_fields(pair) >= before + 10, 20, "events tell whence they come")


@pytest.mark.parametrize("name", [*order(), "bus"])
def test_f54_back(pair, name):
    replace(pair, name, PREVIOUS)


def test_f54_nothing_lost_nothing_twice(pair, tell):
    judge(pair, tell)
    assert pair.known < 0.02 * sum(worker.calls for worker in pair.load.workers)


def judge(pair, tell):
    pair.load.stop()
    check(pair)
    pair.stack.settle()
    commands = pair.load.check_ledger()
    holes = pair.stack.sql("select seq from (select seq, lag(seq) over (order by seq) as before from bus.log) s"
                           " where seq <> before + 1 limit 3")
    assert not holes
    for daemon in ("customers", "visits", "scoring", "reminders", "directory"):
        assert not pair.stack.sql(f"select * from {daemon}.parked_event limit 3"), daemon
    tell(f"{pair.load.summary()}; of the failed, {pair.known} met a stopping bus of the version before;"
         f" {commands} commands acknowledged; both replicas replaced in at most "
         + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in pair.took.items()))
