"""What Prometheus itself thinks of the daemons' metrics: `promtool check metrics` knows names, units and types."""

import os
import pathlib
import subprocess

import pytest

from stack import DAEMONS, ROOT

PROMTOOL = pathlib.Path(os.environ.get("DAYBOOK_DEBIAN", ROOT / "build/debian")) / "promtool"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_promtool_has_nothing_to_say(company, daemon):
    metrics = company.stack.metrics(daemon)
    assert metrics.count("# TYPE ") > 10
    said = subprocess.run([PROMTOOL, "check", "metrics"], input=metrics, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert (said.returncode, said.stdout) == (0, "")
