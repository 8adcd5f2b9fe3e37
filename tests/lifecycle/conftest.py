"""Makes what the acceptance and the crash tests know of a stack and its clients known here too."""

import pathlib
import sys

import pytest

for folder in ("crash", "acceptance"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))
import contract  # noqa: E402

contract.load()

from pair import Pair  # noqa: E402 (needs the generated classes)


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """One stack of two of each for all tests but the upgrade's."""
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        pair.up()
        yield pair
        pair.stack.down()
        assert not pair.stack.sanitizer_reports(), "\n".join(pair.stack.sanitizer_reports())
    finally:
        pair.remove()
