"""PostgreSQL's disk is slow, or answers fsync with an I/O error, while clients command (F17, F22): PostgreSQL panics
and recovers, by itself or when it is started again, and what was acknowledged is there once.

The disk is the library badsync.c, which is preloaded into PostgreSQL.
"""

import os
import re
import shutil
import signal

import pytest
from preloaded import Control
from stack import DAEMONS, SLACK, wait_until
from under_load import PROBES
from wreck import Wreck

SEED = int(os.environ.get("CRASH_SEED", "20260302"))
FAILS, DELAY, DELAYED = 0, 8, 16  # where they stand in the file
FOR_EVER = 1 << 40
SLOW_US = 200_000
RECOVERY = 15  # seconds; it is a disk of which all has to be read again


class Disk(Control):
    """The library and its control file, in a folder that PostgreSQL's user may enter."""

    def __init__(self, folder):
        super().__init__(folder / "disk", 24)
        self.library = folder / "badsync.so"
        shutil.copyfile(os.environ["DAYBOOK_BADSYNC"], self.library)
        self.library.chmod(0o755)
        self.path.chmod(0o666)


def start_postgres(stack, disk):
    before = stack.settings
    stack.settings = {**before, "LD_PRELOAD": str(disk.library), "BADSYNC_FILE": str(disk.path)}
    try:
        stack.start("postgres")
    finally:
        stack.settings = before


@pytest.fixture(scope="module")
def wreck(tmp_path_factory):
    wreck = Wreck(tmp_path_factory.mktemp("disk"), SEED, rate=200, soon=10)
    try:
        wreck.up()
        wreck.disk = Disk(wreck.stack.run_dir)
        wreck.stack.kill("postgres", signal.SIGINT)
        start_postgres(wreck.stack, wreck.disk)
        wreck.start_load()
        wreck.pids = {name: wreck.stack.pid(name) for name in (*DAEMONS, "postgres")}
        yield wreck
        wreck.stack.down()
        assert not wreck.stack.sanitizer_reports(), "\n".join(wreck.stack.sanitizer_reports())
    finally:
        wreck.remove()


def get_over(wreck, fault):
    wreck.recovered(fault, list(PROBES), RECOVERY)
    assert {name: wreck.stack.pid(name) for name in DAEMONS} == {name: wreck.pids[name] for name in DAEMONS}


def panics(wreck):
    log = (wreck.stack.folder / "log/postgres.log").read_text(errors="replace")
    return len(re.findall("PANIC: +could not f(?:data)?sync", log))


def test_f17_each_sync_takes_longer(wreck):
    wreck.at_random()
    wreck.disk.put(DELAY, SLOW_US)
    before = wreck.acknowledged()
    wait_until(lambda: wreck.acknowledged() > before + 50 and wreck.disk.get(DELAYED) > 20, 60 * SLACK,
               "commands were acknowledged all the same")
    assert all(wreck.stack.healthy(name) for name in DAEMONS)
    wreck.disk.put(DELAY, 0)
    get_over(wreck, "slow syncs")


def test_f22_one_sync_fails(wreck):
    wreck.at_random()
    before = panics(wreck)
    wreck.disk.put(FAILS, 1)
    wait_until(lambda: panics(wreck) > before, 20 * SLACK, "PostgreSQL panicked")
    get_over(wreck, "one sync fails")
    assert wreck.stack.pid("postgres") == wreck.pids["postgres"], "it comes back by itself"


def test_f22_syncs_fail_until_the_disk_is_changed(wreck):
    wreck.at_random()
    wreck.disk.put(FAILS, FOR_EVER)
    wait_until(lambda: not wreck.stack.pid("postgres"), 60 * SLACK, "PostgreSQL gave up")
    assert not any(map(wreck.works, PROBES))
    wreck.disk.put(FAILS, 0)
    start_postgres(wreck.stack, wreck.disk)
    get_over(wreck, "syncs fail")


def test_f22_nothing_acknowledged_is_missing_or_done_twice(wreck):
    wreck.judge_all().check_rebuilds()
