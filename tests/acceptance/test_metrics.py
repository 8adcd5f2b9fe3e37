"""What Prometheus itself thinks of the daemons' metrics: `promtool check metrics` knows names, units and types."""

import os
import pathlib
import subprocess
import urllib.request

import pytest

from stack import DAEMONS, ROOT

PROMTOOL = pathlib.Path(os.environ.get("DAYBOOK_DEBIAN", ROOT / "build/debian")) / "promtool"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_promtool_has_nothing_to_say(company, daemon):
    with urllib.request.urlopen(f"http://{company.stack.env_of(daemon)['DAYBOOK_ADMIN_LISTEN']}/metrics") as page:
        assert page.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        metrics = page.read()
    assert metrics.count(b"# TYPE ") > 10
    said = subprocess.run([PROMTOOL, "check", "metrics"], input=metrics, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert (said.returncode, said.stdout.decode()) == (0, "")
