"""What stands in deploy/: checked as it is, without a Docker daemon or a cluster. check_compose.py needs the former and is run
by `make compose-check` alone."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
