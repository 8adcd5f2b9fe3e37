"""What Prometheus itself thinks of the daemons' metrics: `promtool check metrics` knows names, units and types."""

import datetime as dt
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from company import SECONDS
from stack import DAEMONS, ROOT, wait_until

PROMTOOL = pathlib.Path(os.environ.get("DAYBOOK_DEBIAN", ROOT / "build/debian")) / "promtool"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_promtool_has_nothing_to_say(company, daemon):
    metrics = company.stack.metrics(daemon)
    assert metrics.count("# TYPE ") > 10
    said = subprocess.run([PROMTOOL, "check", "metrics"], input=metrics, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert (said.returncode, said.stdout) == (0, "")


def counted(page, name, **labels):
    [value] = [float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
               if line.startswith(name + "{") and all(f'{key}="{text}"' in line for key, text in labels.items())] or [0.0]
    return value


def test_steps_are_counted_by_kind(company):
    """What a question in want of an answer brings (TMR-01): dashboards show what was escalated."""
    kinds = {"warning": 2, "due": 1, "escalation": 1}

    def steps():
        page = company.stack.metrics("reminders")
        return {kind: counted(page, "daybook_timer_steps_total", kind=kind) for kind in kinds}

    company.clock.turn(company.clock.next(0, "10:00"))
    question = company.ask(company.customer("rep", name="Counted"))
    subject, asked, before = f"questions/{question.id}", company.clock.now, steps()
    company.reminder("TMR-01", subject)
    for hours, notices in ((20, 1), (23, 2), (24, 4), (48, 5)):  # when it is due, two people are told
        company.clock.turn(asked + dt.timedelta(hours=hours))
        company.told("TMR-01", subject, notices)
    # Other companies of the stack may have theirs meanwhile.
    wait_until(lambda: all(steps()[kind] >= before[kind] + n for kind, n in kinds.items()), SECONDS, "all are counted")


PROMETHEUS, GRAFANA = ROOT / "deploy/prometheus", ROOT / "deploy/grafana"


def promtool(*words):
    said = subprocess.run([PROMTOOL, *words], cwd=PROMETHEUS, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert said.returncode == 0, said.stdout
    return said.stdout


def test_alerts_are_quiet_in_an_ordinary_hour_and_fire_for_what_they_are_about():
    promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_every_alert_has_its_test_and_its_section_in_the_runbook():
    rules = "".join((PROMETHEUS / name).read_text() for name in ("alerts.yml", "alerts-backup.yml"))
    named = re.findall(r"- alert: (\w+)", rules)
    cases = re.findall(r"- name: (\w+)$", (PROMETHEUS / "alerts_test.yml").read_text(), re.M)
    runbook = (ROOT / "docs/runbook.md").read_text()
    assert len(named) > 20 and cases == named
    assert re.findall(r"^## (\w+)$", runbook, re.M) == named
    for name in named:
        assert f"runbook: docs/runbook.md#{name.lower()}" in rules


def test_dashboards_are_what_their_program_writes_and_can_be_asked(tmp_path):
    subprocess.run([sys.executable, GRAFANA / "dashboards.py", "--check"], check=True)
    asked = [target["expr"].replace("$__rate_interval", "5m") for file in sorted(GRAFANA.glob("dashboards/*.json"))
             for panel in json.loads(file.read_text())["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 40
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize("where", ["prometheus/alerts.yml", "prometheus/alerts-backup.yml", *(f"grafana/dashboards/daybook-{name}.json" for name in (
    "overview", "calls", "events", "business"))])
def test_alerts_and_dashboards_look_at_metrics_that_there_are(company, where):
    """Said by a daemon, or by the sources: a family is shown from its first count on."""
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", "".join(map(company.stack.metrics, DAEMONS)), re.M))
    families.update(re.findall(r"TYPE (daybook_\w+) (\w+)", (ROOT / "deploy/backup/backup.sh").read_text()))
    for source in [*ROOT.glob("common/*.c"), *ROOT.glob("services/**/*.c")]:
        families.update((name, kind.lower()) for name, kind in re.findall(
            r'\.name = "(daybook_\w+)",\s+\.type = METRIC_(\w+)', source.read_text()))
    for name in set(re.findall(r"\b(?:daybook|process)_[a-z_]+", (ROOT / "deploy" / where).read_text())):
        assert name in families or families.get(re.sub("_(bucket|sum|count)$", "", name)) == "histogram", name
