"""Acceptance tests: what the whole system does, seen from outside by clients that share no code with
it. `make acceptance` sets DAYBOOK_BIN (the daemons) and DAYBOOK_GEN (where classes are generated).
"""

import datetime as dt
import json
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


import contract  # noqa: E402

contract.load()

import stack as stack_module  # noqa: E402 (needs the generated classes)
from company import Company  # noqa: E402

ZONE = dt.timezone(dt.timedelta(hours=8))
START = dt.datetime(2026, 3, 2, 8, 0, tzinfo=ZONE)  # a Monday
SPECIAL = {day["date"] for day in
           json.loads((HERE.parent / "data/calendar/cn-2026.json").read_text())["days"]}
PLAIN_TENANT = "01933a00-0000-7000-8000-0000000000aa"
PLAIN_ACTOR = "01933a00-0000-7000-8000-0000000000ab"


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One private stack for all tests of a worker; time stands still in it until a test turns the clock."""
    private = stack_module.Stack(tmp_path_factory.mktemp("stack"), DAYBOOK_STACK_CLOCK="steered",
                                 DAYBOOK_STACK_PLAIN=f"{PLAIN_TENANT} {PLAIN_ACTOR} "
                                 "tenant.all,customers.read,customers.write")
    private.clock = stack_module.Clock(private, START)
    try:
        private.up()
        yield private
        private.down()
        assert not private.sanitizer_reports(), "\n".join(private.sanitizer_reports())
    finally:
        private.remove()


def is_ordinary(monday):
    """No day of its two weeks is a holiday or made up for one."""
    fortnight = {(monday + dt.timedelta(days=n)).strftime("%Y-%m-%d") for n in range(14)}
    return not fortnight & SPECIAL


@pytest.fixture(scope="module")
def clock(stack):
    """Each file begins on a Monday like the first one, whatever the files before it have done with the clock."""
    if stack.clock.now != START:
        monday = stack.clock.next(0, f"{START:%H:%M}")
        while not is_ordinary(monday):
            monday += dt.timedelta(days=7)
        stack.clock.turn(monday)
    return stack.clock


@pytest.fixture(scope="module")
def company(stack, clock):
    return Company(stack, clock)


@pytest.fixture(scope="module")
def other(stack, clock):
    """Another company, which must notice nothing."""
    return Company(stack, clock, calendar=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what the daemons said last."""
    outcome = yield
    report = outcome.get_result()
    stack = item.funcargs.get("stack") if hasattr(item, "funcargs") else None
    if report.failed and stack:
        report.sections.append(("logs of the stack", stack.log_tails()))
