"""Acceptance tests: what the whole system does, seen from outside by clients that share no code with
it. `make acceptance` sets DAYBOOK_BIN (the daemons) and DAYBOOK_GEN (where classes are generated).
"""

import datetime as dt
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
PLAIN_TENANT = "01933a00-0000-7000-8000-0000000000aa"
PLAIN_ACTOR = "01933a00-0000-7000-8000-0000000000ab"


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One private stack for all tests; time stands still in it until a test turns the clock."""
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


@pytest.fixture(scope="session")
def clock(stack):
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
