"""Makes what the acceptance and the crash tests know of a stack and its clients known here too."""

import pathlib
import sys

for folder in ("crash", "acceptance"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))
import contract  # noqa: E402

contract.load()
