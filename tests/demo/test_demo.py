"""What a newcomer does: the demo, twice; the lines that it and the documents give to paste; down, up.

The tests of this file are one story and run in their order, on a private stack of the demo's kind.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
from stack import DAEMONS, ROOT, Stack, wait_until
from web import free_port

TENANT = "01933a00-0000-7000-8000-000000000001"
ACTOR = "01933a00-0000-7000-8002-000000000006"  # E006
# What the demo promises to show, each as a piece of its output (promised list, in its order).
PROMISED = (
    r"3 units .*24 employees",
    r"customers: 2,100 rows .*2,100 inserted",
    r"orders: 20,160 rows .*20,160 inserted",
    r"on Tuesday 08:00: \d tasks \(read again: from the cache\)",
    r"on Tuesday 17:00: \d tasks \(read again: from the cache\)",
    r"A question answered late\n.*\n  Can you deliver .*\n.*09:12  QuestionOpened .*\n.*10:05  QuestionAnswered ",
    r"started Mon 16 Nov 09:12, due Tue 17 Nov 09:12\n.*05:12  warning .*\n.*08:12  warning ",
    r"Tue 17 Nov 09:12  due  .*\n(.*\n)?.*Wed 18 Nov 09:12  escalation told E003 .*\n.*-> done_late at Wed 18 Nov "
    r"10:05, 24 h 53 min late",
    r"A question answered in time\n(.*\n)+?    -> done at Mon 16 Nov 15:20",
    r"VisitRequested .*\n.*VisitApproved .*\n.*VisitCheckedIn .*\n.*VisitEnded .*\n.*VisitReported .*\n"
    r".*VisitReportReviewed ",
    r'"Send samples." due Wed 18 Nov 18:00: fulfilled \(kept, ',
    r'"Send a price offer." due Thu 19 Nov 12:00: open \(broken\)',
    r"before:\n  tier B, value score .*\n(.*\n)+?after an order of CNY 800,000.00:\n  tier A, value score ",
    r"moved from tier B",
    r"flagged as absence",
    r"2,100  daybook.customers.v1.CustomerCreated",
    r"head seq \d+",
    r"daybook status\n",
)


def play(stack):
    done = subprocess.run([ROOT / "deploy/demo/run.sh"], env=stack.settings, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{done.stdout}\n{stack.log_tails()}"
    return done.stdout


def without_chance(text):
    """Less what may differ: what is made on the first run, seconds, ids that the services make."""
    text = text[text.index("\nThe company"):]
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    return re.sub(r"in [0-9.]+ s\b", "in N s", text)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("demo") / "var")
    for ours in ("DAYBOOK_BIN", "DAYBOOK_GEN"):  # no settings of daemons, which would say so
        stack.settings.pop(ours, None)
    try:
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def shown(stack):
    return play(stack)


@pytest.fixture(scope="module")
def shown_again(stack, shown):
    return play(stack)


def pids(stack):
    return [int(n) for n in re.findall(r"pid (\d+)", stack.control("status"))]


def shell(stack, lines, **env):
    """Lines as somebody pastes them, with the stack's folder for var/."""
    text = lines.replace("var/", f"{stack.folder}/")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env={**stack.settings, **env}, cwd=ROOT,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0, f"{text}\n{done.stdout}"
    return done.stdout


def examples(language, page="docs/connect.md"):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.mark.parametrize("pattern", PROMISED, ids=[p[:30] for p in PROMISED])
def test_the_demo_shows(shown, pattern):
    assert re.search(pattern, shown), shown


def test_its_second_run_shows_the_same(shown, shown_again):
    assert without_chance(shown_again) == without_chance(shown)


def test_its_lines_can_be_pasted_and_the_question_falls_due(stack, shown_again):
    closing = shown_again[shown_again.index("\nTo look further"):]
    lines = re.sub(r"^(?!  ).*\n?", "", closing, flags=re.M)
    pasted = re.sub(str(stack.folder) + "/", "var/", lines)
    said = shell(stack, pasted)
    assert '"state": "QUESTION_STATE_OPEN"' in said
    assert re.search(r"OVERDUE.*When does the new price list come", said), said


def test_down_stops_all_and_up_goes_on_with_the_same_clock(stack, tmp_path):
    running = pids(stack)
    assert len(running) == 2 + len(DAEMONS)
    # Another TMPDIR, and the settings of another stack left in the shell.
    stack.settings.update(TMPDIR=str(tmp_path), DAYBOOK_CLOCK="file:/nowhere/clock")
    stack.control("down")
    assert not pids(stack) and not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in running)
    stack.up()
    assert len(pids(stack)) == len(running)
    said = shell(stack, f". var/env/operator.env; daybook tasks E006 --date 2026-11-23 --tenant {TENANT}")
    assert "OVERDUE" in said


def test_the_next_steps_of_the_readme_work(stack):
    [steps] = [block for block in examples("bash", "README.md") if "daybook tasks" in block]
    said = shell(stack, steps)
    assert "RecordInteraction" in said
    assert re.search(r"TMR-01\b.*\bTMR-05\b", said, re.S), said


def test_the_documents_examples_work(stack, tmp_path):
    shell(stack, examples("bash")[0])
    ask, listen = examples("python")
    (tmp_path / "ask.py").write_text(ask)
    (tmp_path / "listen.py").write_text(listen)
    env = {**os.environ, **stack.env, "DAYBOOK_TENANT": TENANT}  # with DAYBOOK_GEN, where classes are
    asked = subprocess.run([sys.executable, tmp_path / "ask.py", stack.folder / "keys/crm"], env=env, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    interaction = asked.stdout.split()[-1]
    # All from the beginning: seq rises, and what was asked before is there.
    listening = subprocess.Popen([sys.executable, tmp_path / "listen.py", stack.folder / "keys/crm", "0"],
                                 env=env, text=True, stdout=subprocess.PIPE)
    try:
        seqs, until = [], time.monotonic() + 60
        for line in listening.stdout:
            seqs.append(int(line.split()[0]))
            if f"interactions/{interaction}" in line:
                break
            assert time.monotonic() < until
        assert len(seqs) > 4000 and seqs == sorted(set(seqs))
        assert subprocess.run([sys.executable, tmp_path / "ask.py", stack.folder / "keys/crm"], env=env).returncode == 0
        while "QuestionOpened" not in (line := listening.stdout.readline()):  # published while it listens
            assert line and time.monotonic() < until
    finally:
        listening.kill()
        listening.wait()


def test_the_http_examples_work(stack):
    listen = f"127.0.0.1:{free_port()}"  # in place of one that others may have
    text = "".join(examples("bash", "docs/integration.md")).replace("127.0.0.1:9090", listen)
    said = shell(stack, text.replace("webhook listen", f"webhook listen --listen {listen}"))
    assert '"customers":[{' in said and '"employeeNo":"E008"' in said
    made = re.findall(r'\{"customer":\{"id":"([^"]+)"', said)
    assert len(made) == 2 and made[0] == made[1]
    assert said.lower().count("idempotent-replayed: true") == 1
    assert '"code":"invalid_argument"' in said and '"field":"customer.name"' in said
    assert '"position":{"logId":"' in said
    assert re.search(r"^2,F-1,inserted,", said, re.M) and "3,F-2,invalid,,name,is empty" in said
    assert re.search(r"^external_id,name,tier,owner_id,export_id\r?$", said, re.M)
    assert '"customers": [' in said and re.search(r"^customers: 1 rows in .*\n  inserted +1$", said, re.M), said
    assert re.search(r"^ +1  \d{4}-.*\n +2  \d{4}-", said, re.M), said
    assert re.search(r"^20\S+ .*EndpointPinged", said, re.M), said  # as the listener shows it
    [delivery] = re.findall(r'"deliveries": \[(.*?)\n  \]', said, re.S)
    assert '"type": "daybook.gateway.v1.EndpointPinged"' in delivery
    [calendar] = re.findall(r"^BEGIN:VCALENDAR\r?$.*?^END:VCALENDAR\r?$", said, re.S | re.M)
    assert "BEGIN:VEVENT" in calendar and "STATUS:CONFIRMED" in calendar
    assert said.rpartition("END:VCALENDAR")[2].count('"revokedAt": "') == 1


def test_the_plain_endpoint_can_be_opened(stack):
    from mdp import PlainClient
    stack.control("down")
    stack.settings["DAYBOOK_STACK_PLAIN"] = f"{TENANT} {ACTOR} customers.read,customers.write"
    stack.up()
    client = PlainClient(stack.env["DAYBOOK_BUS_PLAIN_ENDPOINT"])
    try:
        wait_until(lambda: "status" not in client.call("daybook.customers.v1.CustomerService/List", {})[0], 10,
                   "the account was known")
        _, answer = client.call("daybook.customers.v1.CustomerService/List", {"pageSize": 3})
        assert len(answer["customers"]) == 3
    finally:
        client.close()


def test_nothing_is_left(stack):
    running, run = pids(stack), stack.run_dir
    stack.remove()
    assert not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in running)
    assert not run.exists() and not stack.folder.exists()
