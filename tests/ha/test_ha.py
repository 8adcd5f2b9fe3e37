"""Fail-over of everything that stands behind or between the daemons, under load (operations 9: F02, F12 to F14, F27,
F67). `make ha`, as root; see README.md.

The tests are one story in their order. What became of the commands meanwhile stands in the ledger of the load
(tests/support/load.py); build/ha.md gets the figures. "Outage" is the longest time without an acknowledged command.
"""

import os
import pathlib
import shutil
import signal
import tempfile
import time

import pytest
from cluster import HaStack
from local_stack import ROOT, wait_until
from stack import SLACK
from under_load import Seen, UnderLoad

SEED = int(os.environ.get("HA_SEED", "20260302"))
RATE = int(os.environ.get("HA_RATE", "100"))
CALM = 4  # seconds of load before and after each fault
# Longest time without an acknowledged command, in seconds; of a fail-over after another leads, which takes
# Patroni's ttl (20) and up to some rounds of its loop (3).
LIMITS = {"switch-over": 5, "leader killed": 5, "leader hung": 5, "etcd member killed": 2, "etcd without quorum": 2,
          "bus killed": 7, "Redis master killed": 2}


class Story:
    def __init__(self, folder):
        self.stack = HaStack(folder / "stack")
        self.load = UnderLoad(folder, f"ha{SEED}", SEED, RATE, soon=10, processes=1, threads=24, stack=self.stack)
        self.rows, self.failover = [], {}

    def fail_over(self, name, old, began):
        """Waits until another leads."""
        wait_until(lambda: self.stack.leader() not in (None, old), 40, "another led", 0.1)
        self.failover[name] = time.monotonic() - began
        return f"another leads after {self.failover[name]:.1f} s"

    def calm(self, seconds=CALM):
        time.sleep(seconds)  # the load goes on: this is how long, not what for

    def settled(self):
        """Before the next fault all members are there again, and commands come through."""
        wait_until(self.stack.is_whole, 120, "all members of PostgreSQL were back", 0.2)
        before = self.load.acknowledged()
        wait_until(lambda: self.load.acknowledged() > before + 20, 30, "commands came through")
        self.calm()

    def fault(self, name, act, new_log):
        """Does it, and notes from the ledger what the clients saw from then until all had settled."""
        log_id, began = self.stack.log_id(), time.time()
        note = act() or ""
        self.settled()
        changed = self.stack.log_id() != log_id
        self.rows.append((name, began, time.time(), note, changed))
        assert changed == new_log, f"{name}: log_id changed: {changed}"

    # --- figures ----------------------------------------------------------------------------------

    def seen(self):
        """What the clients saw of each."""
        entries = list(self.load.entries())
        given_up = [e for e in entries if "error" in e]
        assert not given_up, given_up[:3]
        return Seen(entries).during([(began, ended) for _, began, ended, *_ in self.rows])

    def report(self):
        lines = ["| fault | outage | acknowledged | refused, to be repeated | unknown, to be repeated | new log_id | |",
                 "| --- | --- | --- | --- | --- | --- | --- |"]
        for (name, _, _, note, changed), (gap, n, failed) in zip(self.rows, self.seen()):
            unknown = Seen.unknown(failed)
            lines.append(f"| {name} | {gap:.1f} s | {n} | {failed.total() - unknown} | {unknown} |"
                         f" {'yes' if changed else 'no'} | {note} |")
        return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def story():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-ha-"))
    folder.chmod(0o755)  # PostgreSQL's user goes through it
    story = Story(folder)
    try:
        story.load.up()
        story.load.start_load()
        story.settled()
        yield story
    finally:
        story.load.remove()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def after(story):
    story.load.stop_load()
    story.load.settle()
    return story


# --- faults ---------------------------------------------------------------------------------------

def test_f12_switch_over(story):
    def act():
        old = story.stack.leader()
        story.stack.switch_over()
        wait_until(lambda: story.stack.leader() not in (None, old), 60, "another led", 0.1)
    story.fault("switch-over", act, new_log=True)


def test_f13_leader_killed(story):
    stack = story.stack

    def act():
        old, began = stack.leader(), time.monotonic()
        stack.kill_member(old)
        note = story.fail_over("leader killed", old, began)
        stack.processes[old].start()
        return note
    story.fault("leader killed", act, new_log=True)


def test_f14_leader_hung(story):
    """All of its processes stand still, its connections stay; it wakes when another leads."""
    stack = story.stack

    def act():
        old, began = stack.leader(), time.monotonic()
        stack.signal_member(old, signal.SIGSTOP)
        try:
            note = story.fail_over("leader hung", old, began)
            story.calm(5)
        finally:
            stack.signal_member(old, signal.SIGCONT)
        return note
    story.fault("leader hung", act, new_log=True)


def test_etcd_member_killed(story):
    """The one that leads etcd."""
    def act():
        member = story.stack.processes[f"etcd-{story.stack.etcd_leader()}"]
        member.end()
        story.calm(10)
        member.start()
    story.fault("etcd member killed", act, new_log=False)


def test_f67_etcd_without_quorum(story):
    """Longer than Patroni's ttl: in failsafe mode the leader stays."""
    def act():
        members = [story.stack.processes[f"etcd-db{n}"] for n in (1, 2)]
        for member in members:
            member.end()
        story.calm(30)
        for member in members:
            member.start()
    story.fault("etcd without quorum", act, new_log=False)


def test_f02_f03_bus_killed(story):
    """The one whose relay leads; the other goes on."""
    stack = story.stack

    def leads(bus):
        try:
            return "\ndaybook_relay_leader 1" in stack.metrics(bus)
        except OSError:
            return False

    def act():
        bus, = [b for b in ("bus1", "bus2") if leads(b)]
        other = {"bus1": "bus2", "bus2": "bus1"}[bus]
        began = time.monotonic()
        stack.processes[bus].end()
        wait_until(lambda: leads(other), 30 * SLACK, "the other relay led", 0.05)
        took = time.monotonic() - began
        story.calm(8)
        stack.processes[bus].start()
        wait_until(lambda: stack.is_ready(bus), 10 * SLACK, "the bus was back", 0.05)
        assert took <= 5 * SLACK
        return f"the other relay leads after {took:.1f} s"
    story.fault("bus killed", act, new_log=False)


def test_f27_redis_master_killed(story):
    """Lists come from PostgreSQL until Sentinel has made the other one master."""
    stack, company = story.stack, story.load.company

    def cached():
        return company.tasks("rep").source == 1

    def act():
        wait_until(cached, 10, "the list came from Redis")
        old, = stack.redis_masters()
        began = time.monotonic()
        stack.processes[old].end()
        assert not cached(), "a list came from Redis while that was away"
        wait_until(cached, 30, "the list came from Redis again", 0.1)
        took = time.monotonic() - began
        stack.processes[old].start()
        wait_until(lambda: stack.sentinels_agree() and len(stack.redis_masters()) == 1, 60,
                   "the old master followed the new one", 0.1)
        return f"lists from Redis again after {took:.1f} s"
    story.fault("Redis master killed", act, new_log=False)


# --- afterwards -----------------------------------------------------------------------------------

def test_outages_are_within_their_limits(after, tell):
    report = after.report()
    build = ROOT / "build/ha.md"
    build.write_text(report)
    tell(f"{report}{after.load.acknowledged()} commands acknowledged at {RATE}/s offered")
    over = {name: gap for (name, *_), (gap, *_) in zip(after.rows, after.seen())
            if gap > LIMITS[name] * SLACK + after.failover.get(name, 0)}
    assert not over


def test_nothing_acknowledged_is_missing_or_done_twice(after):
    after.load.judge().check_nothing_missing_nothing_twice()


def test_the_log_is_contiguous_and_each_aggregate_in_order(after):
    after.load.judge().check_log()
    after.load.judge().check_events_complete()


def test_no_timer_fired_twice_or_never(after):
    after.load.judge().check_timers()


def test_lists_equal_the_database(after):
    after.load.judge().check_lists()


def test_consumers_are_at_the_head_and_parked_nothing(after):
    after.load.judge().check_consumers()


def test_doctor_and_status_find_nothing(after):
    done = after.stack.daybook("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert after.stack.status()["settled"]


def test_read_models_equal_a_rebuild(after):
    after.load.judge().check_rebuilds()
