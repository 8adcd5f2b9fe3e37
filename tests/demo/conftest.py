"""The demo's stack is one as the acceptance tests have it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "acceptance"))
import contract  # noqa: E402

contract.load()
