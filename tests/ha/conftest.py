"""Makes clients, company, load and checks of the other tests known here too."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "acceptance"), str(TESTS / "support")]
import contract  # noqa: E402

contract.load()
