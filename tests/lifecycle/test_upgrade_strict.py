"""F54 once more, from the newest version before whose buses stop as this one's do: of all calls none fails, while every
process is replaced, forward and back. (test_upgrade.py starts from an older one, with more between the schemas.)
"""

import os

import pytest
from stack import DAEMONS
from test_migration import migrator, until_done
from test_upgrade import CURRENT, check, judge, mix, order, pair_of, replace, version_of

PREVIOUS = os.environ.get("DAYBOOK_PREVIOUS_STRICT")

pytestmark = pytest.mark.skipif(not PREVIOUS, reason="needs the version before: make lifecycle")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    yield from pair_of(tmp_path_factory.mktemp("strict"), PREVIOUS, excused=False)


def test_f55_schemas_come_first(pair):
    assert version_of(PREVIOUS) != version_of(CURRENT)
    pair.load.goes_on(200)
    pair.stack.use(CURRENT)
    until_done(migrator(pair.stack, "daybook"))
    pair.load.goes_on(200)
    check(pair)


@pytest.mark.parametrize("name", ["bus", *order()])
def test_f54_forward_without_a_failed_call(pair, name):
    replace(pair, name, CURRENT)
    if name == order()[len(DAEMONS) // 2]:
        mix(pair)


@pytest.mark.parametrize("name", [*order(), "bus"])
def test_f54_back_without_a_failed_call(pair, name):
    replace(pair, name, PREVIOUS)


def test_f54_nothing_lost_nothing_twice(pair, tell):
    judge(pair, tell)
    assert pair.known == 0
