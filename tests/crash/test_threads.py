"""A limit of threads that is reached at the start (F49): the daemon says so and ends with 70, which whoever
started it takes for "again", and never with 78 or half of what it needs.

Each daemon is started with one thread more than the time before (fewthreads.c, which is preloaded), until it is ready.
"""

import os

import pytest
from stack import DAEMONS, SLACK, Replica, Stack, wait_until

MOST = 60  # threads; none needs as many
AGAIN = 70


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    private = Stack(tmp_path_factory.mktemp("threads"))
    try:
        private.up()
        yield private
        private.down()
    finally:
        private.remove()


def starts_with(stack, name, log, few):
    """Whether the daemon is ready with so many threads; else it has ended as it should."""
    log.write_text("")
    replica = Replica(stack, name, log, variables={"LD_PRELOAD": os.environ["DAYBOOK_FEWTHREADS"],
                                                   "FEWTHREADS": str(few)}, **own_ports(name))
    ended = replica.process.poll
    try:
        wait_until(lambda: ended() is not None or replica.is_ready(), 30 * SLACK, f"{name} was ready or ended")
        if ended() is None:
            assert replica.drain() == 0
            return True
    finally:
        replica.end()
    assert ended() == AGAIN, (name, few, log.read_text())
    assert "thread.start_failed" in log.read_text(), (name, few, log.read_text())
    return False


def own_ports(name):
    """The bus of the stack goes on."""
    return {"BUS_LISTEN": "tcp://127.0.0.1:*", "BUS_EVENTS_LISTEN": "tcp://127.0.0.1:*"} if name == "bus" else {}


@pytest.mark.parametrize("name", DAEMONS)
def test_f49_with_too_few_threads_it_says_so_and_ends(stack, name, tmp_path):
    needed = next(few for few in range(MOST) if starts_with(stack, name, tmp_path / "log", few))
    assert needed > 5


def test_f49_nobody_else_was_harmed(stack):
    assert all(stack.healthy(name) for name in DAEMONS)
    stack.settle()
