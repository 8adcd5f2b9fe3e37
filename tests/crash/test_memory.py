"""Memory that is not there: some of the allocations of each daemon's own code fail while clients command. What
was acknowledged is there once, no process ends, and afterwards all is well.

Commands that fail for want of memory are told so and repeated; libraries get what they ask for (see
tests/crash/failmalloc.c, which is preloaded).
"""

import os

import pytest
from scarcity import make_scarce
from stack import DAEMONS, wait_until
from wreck import Wreck

SEED = int(os.environ.get("CRASH_SEED", "20260302"))
EVERY = (31, 7, 2, 1)  # one of so many allocations fails
ENOUGH = 10  # of them, in each daemon and for each of these


@pytest.fixture(scope="module")
def wreck(tmp_path_factory):
    wreck = Wreck(tmp_path_factory.mktemp("memory"), SEED, rate=200, soon=10)
    try:
        wreck.up()
        wreck.scarcity = make_scarce(wreck.stack, wreck.folder / "scarce")
        wreck.start_load()
        yield wreck
        wreck.stack.down()
    finally:
        wreck.remove()


def test_no_daemon_ends_for_want_of_memory(wreck):
    stack = wreck.stack
    before = {name: stack.pid(name) for name in DAEMONS}
    for every in EVERY:
        for name in DAEMONS:
            scarce = wreck.scarcity[name]
            failed = scarce.failed
            scarce.set(every)
            wait_until(lambda: scarce.failed >= failed + ENOUGH or stack.pid(name) != before[name], 60,
                       f"allocations of {name} failed")
            scarce.set(0)
            assert stack.pid(name) == before[name], f"{name} ended, one of {every} allocations failing"
            wait_until(lambda: stack.healthy(name), 60, f"{name} is well again")


def test_nothing_acknowledged_is_missing_or_done_twice(wreck):
    wreck.judge_all(set_aside=True)
    assert all(scarce.failed >= ENOUGH * len(EVERY) for scarce in wreck.scarcity.values())
