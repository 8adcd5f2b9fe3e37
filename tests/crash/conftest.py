"""Makes what the acceptance tests know of a stack and its clients known here too."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "acceptance"))
import contract  # noqa: E402

contract.load()
