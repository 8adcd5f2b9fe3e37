"""Short chaos runs by a fixed seed, with one of each daemon and with two, and what they say (run.py); `make chaos` is
the long one.

Each test is one thing that must hold after all those faults under load, named after those that it is about.
"""

import pytest

import machine
from reports import report_of


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "two"])
def report(request, tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("report"), CHAOS_REPLICAS=request.param)


def holds(report, words):
    found = [c for c in report["checks"] if words in c["name"]]
    assert len(found) == 1, report["output"]
    assert found[0]["ok"], f"{found[0]['detail']}\n{report['output']}"
    assert found[0]["looked_at"] is None or found[0]["looked_at"] > 0, "there was nothing to look at"


def test_f08_f11_f17_f26_f27_f32_f64_everything_works_again_and_comes_to_rest(report):
    holds(report, "comes to rest")
    holds(report, "every fault is got over")
    holds(report, "all daemons are ready")


def test_f01_f02_f14_f21_f23_f34_nothing_acknowledged_is_missing_or_done_twice(report):
    holds(report, "nothing acknowledged is missing")
    figures = report["figures"]
    assert figures["commands_acknowledged"] > 0
    assert figures["commands_refused"] == figures["commands_unknown"] == figures["commands_differs"] == 0


def test_f03_the_log_is_whole(report):
    holds(report, "rows and events tell the same")
    holds(report, "the log is contiguous")
    holds(report, "consumers are at the head")


def test_f04_f40_f41_timers_fired_exactly_once(report):
    holds(report, "timers fired")


def test_f05_f44_webhooks_came(report):
    holds(report, "webhooks came")


def test_f06_read_models_equal_a_rebuild(report):
    holds(report, "read models")


def test_f28_f29_f30_f31_daily_lists_equal_the_database(report):
    holds(report, "daily lists")


def test_f70_audit_chains_are_intact(report):
    holds(report, "audit chains")


def test_f47_f69_no_memory_is_lost_and_no_sanitizer_has_anything_to_say(report):
    holds(report, "no sanitizer")
    holds(report, "memory")


def test_the_judge_finds_what_is_wrong(report):
    assert len(report["tampering"]) > 15, report["output"]
    assert not [t["name"] for t in report["tampering"] if not t["found"]]


def test_there_were_faults(report):
    assert report["status"] == 0, report["output"]
    assert report["figures"]["faults"] >= 5


def test_no_fault_is_left_out_but_for_a_reason(report, tell):
    """Control groups are the machine's; a missing package, or root without its disks, is a gap in the test."""
    excuses = machine.excuses()
    left_out = report["figures"]["not_possible_here"]
    for name in left_out:
        tell(f"chaos: without {name}: {excuses.get(name, 'no reason')}")
    assert not [name for name in left_out if name not in excuses], \
        "deploy/local/deps.sh installs what clock_step needs (faketime); disk_* need the mounts of run.sh"
