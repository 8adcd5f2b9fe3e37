"""F09: one of two replicas of each daemon is asked to stop while calls come in over the bus and over HTTP. No call
fails, what is under way is answered, and the process ends with 0 within 30 s."""

import pytest
from stack import DAEMONS, SLACK, wait_until
from steady import handled

TOOK = {}


@pytest.fixture(scope="module")
def load(pair):
    load = pair.start_load()
    yield load
    load.stop()


@pytest.mark.parametrize("name", DAEMONS)
def test_f09_a_replica_that_stops_fails_nobody(pair, load, name):
    for _ in range(2):
        before = handled(pair.replicas[name].env)
        load.goes_on(200)
        assert name == "bus" or handled(pair.replicas[name].env) > before, "it has had its part of the load"
        TOOK[name] = max(TOOK.get(name, 0), pair.drain_second(name))
        load.goes_on(200)
        pair.start_second(name).until_ready()
        load.goes_on(100)
        load.check()
    assert TOOK[name] <= 30


def test_f09_both_buses_are_replaced_one_right_after_the_other(pair, load):
    """Who has just been told to leave the first one must not stay with the second one."""
    pair.drain_second("bus")
    pair.start_second("bus").until_ready()
    load.goes_on(50)
    pair.drain_first("bus")
    pair.stack.start("bus")
    wait_until(lambda: pair.stack.healthy("bus"), 20 * SLACK, "the bus was ready")
    load.goes_on(200)
    load.check()


def test_f09_what_was_acknowledged_is_there_once(pair, load, tell):
    load.stop()
    load.check()
    pair.stack.settle()
    commands = load.check_ledger()
    tell(f"{load.summary()}, {commands} commands acknowledged; drained in at most "
         + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in TOOK.items()))
