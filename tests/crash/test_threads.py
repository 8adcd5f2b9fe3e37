"""A limit of threads that is reached at the start (F49): the daemon says so and ends with 70, which whoever
started it takes for "again", and never with 78 or half of what it needs.

Each daemon is started with one thread more than the time before (fewthreads.c, which is preloaded), until it is ready.
"""

import os
import shutil
import subprocess

import pytest
from stack import DAEMONS, SLACK, Replica, Stack, wait_until

MOST = 60  # threads; none needs as many
START_AGAIN = 70  # the exit status


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    private = Stack(tmp_path_factory.mktemp("threads"))
    try:
        private.up()
        # A path with a space or colon would be taken for several.
        private.library = shutil.copy(os.environ["DAYBOOK_FEWTHREADS"], private.run_dir)
        yield private
        private.down()
        assert not private.sanitizer_reports(), "\n".join(private.sanitizer_reports())
    finally:
        private.remove()


def starts_with(stack, name, log, few):
    """Whether the daemon is ready with so many threads; else it has ended as it should."""
    log.write_text("")
    replica = Replica(stack, name, log, variables={"LD_PRELOAD": stack.library, "FEWTHREADS": str(few)}, **own_ports(name))
    ended = replica.process.poll
    try:
        wait_until(lambda: is_ready(replica) or ended() is not None, 30 * SLACK, f"{name} was ready or ended")
        if ended() is None:
            assert replica.drain(40 * SLACK) == 0
            return True
    finally:
        replica.end()
    assert ended() == START_AGAIN, (name, few, log.read_text())
    assert "thread.start_failed" in log.read_text(), (name, few, log.read_text())
    return False


def is_ready(replica):
    """Whether or not it still runs."""
    return subprocess.run([replica.program, "--health"], env=replica.env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def own_ports(name):
    """The bus of the stack goes on."""
    return {"BUS_LISTEN": "tcp://127.0.0.1:*", "BUS_EVENTS_LISTEN": "tcp://127.0.0.1:*"} if name == "bus" else {}


@pytest.mark.parametrize("name", DAEMONS)
def test_f49_with_too_few_threads_it_says_so_and_ends(stack, name, tmp_path):
    needed = next(few for few in range(MOST) if starts_with(stack, name, tmp_path / "log", few))
    assert needed > 5


def test_f49_nobody_else_was_harmed(stack):
    assert all(stack.healthy(name) for name in DAEMONS)
    stack.settle(60 * SLACK)
