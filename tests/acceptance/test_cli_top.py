"""`daybook top`: what happens now."""

import json
import subprocess
import threading

import pytest
from company import CUSTOMERS, SECONDS
from stack import wait_until


@pytest.fixture
def frames(company):
    """Looks while calls are made; each the JSON of one."""
    def frames(count, load):
        done = threading.Event()

        def call():
            while not done.is_set():
                load()
        caller = threading.Thread(target=call)
        caller.start()
        try:
            run = company.stack.daybook("top", "--every", "500ms", "--count", count, "--json")
        finally:
            done.set()
            caller.join()
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]
    return frames


def of(frame, kind, name):
    return next(one for one in frame[kind] if one["name"] == name)


def test_calls_are_shown_as_they_are_made(company, frames):
    service = CUSTOMERS + "CustomerService"
    _, *looks = frames(4, lambda: company.rep.call(service + "/List", {"pageSize": 1}))
    assert len(looks) == 3
    for look in looks:
        daemon = of(look, "daemons", "customers")
        assert daemon["ready"] and daemon["callsPerSecond"] > 1 and daemon["memoryBytes"] > 1e6
        assert 0 < daemon["p50Ms"] <= daemon["p99Ms"] and daemon["faultsPerSecond"] == 0
        assert look["busAnswers"] and of(look, "services", service)["callsPerSecond"] > 1
    assert looks[-1]["log"]["headSeq"] > 0


def test_one_that_is_away_is_shown_and_the_others_too(company):
    stack = company.stack
    stack.kill("scoring")
    try:
        run = stack.daybook("top", "--count", "1")
        assert run.returncode == 0, run.stderr
        assert "\x1b" not in run.stdout, "no terminal"
        states = {words[0]: words[1] for words in map(str.split, run.stdout.splitlines()) if len(words) > 5}
        assert states["scoring"] == "AWAY" and states["visits"] == "ready"
        assert "webhooks" in run.stdout and "events/s" in run.stdout
    finally:
        stack.start("scoring")
        wait_until(lambda: stack.healthy("scoring"), SECONDS, "it is back")


def test_it_runs_until_it_is_interrupted(company):
    stack = company.stack
    top = subprocess.Popen([stack.bin / "daybook", "top", "--every", "100ms", "--json"], text=True,
                           env=stack.env | {"PATH": "/usr/bin"}, stdout=subprocess.PIPE)
    try:
        assert all(json.loads(top.stdout.readline())["daemons"] for _ in range(3))
    finally:
        top.terminate()
        top.wait(10)
        top.stdout.close()
