"""The command-line tool for programs: every command gives JSON, and every failure of it too."""

import json
import re
import subprocess

import pytest
from company import CUSTOMERS, Company
from stack import ROOT

NOBODY = "01933a00-0000-7000-8000-00000000dead"
NO_BUS = {"DAYBOOK_BUS_ENDPOINT": "tcp://127.0.0.1:1"}
NO_DB = {"DAYBOOK_MIGRATE_URL": "host=/nowhere dbname=daybook"}
UNSET_DB = {"DAYBOOK_MIGRATE_URL": "", "DAYBOOK_DB_URL": ""}
LINES = ("events tail", "events read")  # one event a line: they have no end

# What is run, and a key of its answer. {tmp}: a folder; {shops}: a file of customers.
ANSWERS = [
    ("call EventService/GetHead", "headSeq"),
    ("call --list", 0),
    ("call --list CustomerService", 0),
    ("call --describe CustomerService", "definition"),
    ("call --describe CustomerService/Create", "definition"),
    ("import customers {shops}", "counts"),
    ("import customers {shops} --dry-run --result {tmp}/result.csv", "faults"),
    ("tasks E006", "list"),
    ("events read --limit 2", "seq"),
    ("events tail --after 0 --limit 2", "seq"),
    ("events parked", "parked"),
    ("events parked reminders", "parked"),
    ("events replay reminders", "events"),
    ("timers parked", "parked"),
    ("timers replay", "timers"),
    ("status", "timersParked"),
    ("status --wait 60s", "settled"),
    ("top --count 1", "daemons"),
    ("migrate", "schemas"),
    ("migrate customers", "schemas"),
    ("audit verify", "intact"),
    ("doctor", "checks"),
    ("rebuild scoring --no-wait", "until"),
    ("rebuild scoring", "seconds"),
    ("keygen {tmp}/partner", "register"),
    ("keygen {tmp}/daemon --kind daemon", "publicFile"),
    ("clock {tmp}/clock 2026-01-01T00:00:00Z --rate 2", "rate"),
    ("webhook listen --listen 127.0.0.1:0 --for 1ms", "listening"),
    ("version", "commit"),
    ("--version", "commit"),
    ("help", "exitCodes"),
    ("help status", "options"),
    ("help settings", "settings"),
    ("status --help", "usage"),
    ("--help", "commands"),
]

FAILURES = [  # what is run, with which settings, exit status, code
    ("", {}, 64, "invalid_argument"),
    ("frobnicate", {}, 64, "invalid_argument"),
    ("--frobnicate call", {}, 64, "invalid_argument"),
    ("--timeout", {}, 64, "invalid_argument"),
    ("status --timeout 1h", {}, 64, "invalid_argument"),
    ("status --tenant x", {}, 64, "invalid_argument"),
    ("status", {"DAYBOOK_BUS_SECRET_KEY": "x"}, 78, "failed_precondition"),
    ("call", {}, 64, "invalid_argument"),
    ("call --describe Nothing", {}, 64, "invalid_argument"),
    ("call --list Nothing", {}, 64, "invalid_argument"),
    ("call EventService/Nothing", {}, 64, "invalid_argument"),
    ("call EventService/GetHead {{", {}, 64, "invalid_argument"),
    ("call EventService/GetHead @{tmp}/none", {}, 64, "invalid_argument"),
    ("call EventService/GetHead --timeout 300ms", NO_BUS, 75, "unavailable"),
    ("call EventService/GetHead", {"DAYBOOK_BUS_SERVER_KEY": "short"}, 78, "failed_precondition"),
    (f"call CustomerService/Get {{{{\"id\":\"{NOBODY}\"}}}}", {}, 66, "not_found"),
    ("call CustomerService/Get --as E999", {}, 66, "not_found"),
    ("import orders", {}, 64, "invalid_argument"),
    ("import payments x", {}, 64, "invalid_argument"),
    ("import customers {tmp}/none.csv", {}, 66, "not_found"),
    ("import customers {shops} --result {shops}", {}, 64, "invalid_argument"),
    ("import customers {shops} --batch 0", {}, 64, "invalid_argument"),
    ("import customers {twice} --strict", {}, 65, "failed_precondition"),
    ("import customers {shops} --timeout 300ms", NO_BUS, 75, "unavailable"),
    ("tasks", {}, 64, "invalid_argument"),
    ("tasks E006 --date tomorrow", {}, 64, "invalid_argument"),
    ("tasks E999", {}, 66, "not_found"),
    ("events", {}, 64, "invalid_argument"),
    ("events look", {}, 64, "invalid_argument"),
    ("events read --limit -1", {}, 64, "invalid_argument"),
    ("events read --timeout 300ms", NO_BUS, 75, "unavailable"),
    ("events tail --limit 0", {}, 64, "invalid_argument"),
    ("events tail --timeout 300ms", NO_BUS, 75, "unavailable"),
    ("events parked nobody", {}, 64, "invalid_argument"),
    ("events parked", NO_DB, 75, "unavailable"),
    ("events replay", {}, 64, "invalid_argument"),
    ("events replay bus", {}, 64, "invalid_argument"),
    ("events replay reminders --seq x", {}, 64, "invalid_argument"),
    ("events replay reminders --seq 1", {}, 66, "not_found"),
    ("events replay reminders", UNSET_DB, 78, "failed_precondition"),
    ("timers", {}, 64, "invalid_argument"),
    ("timers parked x", {}, 64, "invalid_argument"),
    ("timers replay x", {}, 64, "invalid_argument"),
    (f"timers replay {NOBODY}", {}, 66, "not_found"),
    ("timers parked", NO_DB, 75, "unavailable"),
    ("status", {"DAYBOOK_STATUS": ""}, 78, "failed_precondition"),
    ("status", {"DAYBOOK_STATUS": "bus"}, 78, "failed_precondition"),
    ("status --wait soon", {}, 64, "invalid_argument"),
    ("status --wait 100ms", {"DAYBOOK_STATUS": "bus=127.0.0.1:1"}, 75, "unavailable"),
    ("top", {"DAYBOOK_STATUS": ""}, 78, "failed_precondition"),
    ("top", {"DAYBOOK_STATUS": "bus"}, 78, "failed_precondition"),
    ("top --every 1ms", {}, 64, "invalid_argument"),
    ("top --count 0", {}, 64, "invalid_argument"),
    ("migrate nothing", {}, 64, "invalid_argument"),
    ("migrate", NO_DB, 75, "unavailable"),
    ("migrate", UNSET_DB, 78, "failed_precondition"),
    ("rebuild directory", {}, 64, "invalid_argument"),
    ("doctor now", {}, 64, "invalid_argument"),
    ("doctor", NO_DB, 75, "unavailable"),
    ("audit", {}, 64, "invalid_argument"),
    ("audit list", {}, 64, "invalid_argument"),
    ("audit verify --after 12", {}, 64, "invalid_argument"),
    ("rebuild scoring", NO_DB, 75, "unavailable"),
    ("keygen", {}, 64, "invalid_argument"),
    ("keygen {tmp}/k --kind friend", {}, 64, "invalid_argument"),
    ("keygen {tmp}/none/k", {}, 65, "failed_precondition"),
    ("keygen {tmp}/there", {}, 73, "already_exists"),
    ("clock {tmp}/clock yesterday", {}, 64, "invalid_argument"),
    ("clock {tmp}/none/clock 2026-01-01T00:00:00Z", {}, 65, "failed_precondition"),
    ("call EventService/GetHead --url nowhere", {}, 64, "invalid_argument"),
    ("call EventService/GetHead --url http://127.0.0.1:1", {"DAYBOOK_TENANT": ""}, 78, "failed_precondition"),
    ("migrate --url http://127.0.0.1:1", {}, 64, "invalid_argument"),
    ("webhook", {}, 64, "invalid_argument"),
    ("webhook listen --secret x", {}, 64, "invalid_argument"),
    ("webhook listen --listen 127.0.0.1:0 --for 1ms --count 1", {}, 1, "canceled"),
    ("version now", {}, 64, "invalid_argument"),
    ("completion fish", {}, 64, "invalid_argument"),
    ("help nothing", {}, 64, "invalid_argument"),
]


@pytest.fixture(scope="module")
def company(stack, clock):
    company = Company(stack, clock)
    company.customer("rep")
    yield company
    stack.settle()  # the rebuilds above


@pytest.fixture
def run(company, tmp_path):
    (tmp_path / "shops.csv").write_text("external_id,name,owner_no\nJ-1,JSON Shop,E006\n")
    (tmp_path / "twice.csv").write_text("external_id,name,owner_no\nJ-1,JSON Shop,E006\nJ-2,,\n")
    (tmp_path / "there.pub").write_text("")

    def run(line, env=None):
        words = [word.format(tmp=tmp_path, shops=tmp_path / "shops.csv", twice=tmp_path / "twice.csv")
                 for word in line.split()]
        return company.stack.daybook(*words, "--json",
                                     env={"DAYBOOK_TENANT": company.tenant, **(env or {})})
    return run


@pytest.mark.parametrize("line, key", ANSWERS)
def test_every_answer_is_json(run, line, key):
    done = run(line)
    assert done.returncode == 0, done.stderr
    if line.startswith(LINES):
        documents = [json.loads(text) for text in done.stdout.splitlines()]
        assert len(documents) == 2 and all(key in d for d in documents)
    else:
        document = json.loads(done.stdout)
        assert document[key] is not None
    assert done.stderr == ""


@pytest.mark.parametrize("line, env, status, code", FAILURES)
def test_every_failure_is_json(run, line, env, status, code):
    done = run(line, env)
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    failure = json.loads(done.stderr)
    assert failure["code"] == code and failure["message"]
    assert not done.stdout or json.loads(done.stdout)


def test_the_tables_leave_out_no_command(company):
    known = {c["name"] for c in company.stack.daybook_json("help")["commands"]}
    assert known - {"completion"} == {line.split()[0] for line, _ in ANSWERS} - {"--help", "--version"}
    assert known <= {line.split()[0] for line, *_ in FAILURES if line}


def test_a_failed_call_keeps_its_details(run):
    """A program finds the faulty fields in the status, as a client on the bus does."""
    done = run('call CustomerService/Create {{"customer":{{"name":""}}}} --as E006')
    failure = json.loads(done.stderr)
    assert failure["what"] == CUSTOMERS + "CustomerService/Create" and failure["requestId"]
    assert failure["message"] == failure["status"]["message"]
    assert "customer.name" in json.dumps(failure["status"]["details"])


# --- help -------------------------------------------------------------------------------------------

def help_of(company, *words):
    done = subprocess.run([company.stack.bin / "daybook", "help", *words], env={}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_fits_a_terminal_and_has_examples(company):
    names = [c["name"] for c in company.stack.daybook_json("help")["commands"]]
    for words in ((), ("settings",), *((name,) for name in names)):
        text = help_of(company, *words)
        assert max(map(len, text.splitlines())) <= 80, text
    for name in names:
        assert re.search(rf"^  .*daybook (help )?{name}", help_of(company, name), re.M), name


def test_help_explains_the_settings(company):
    text = help_of(company, "settings")
    for name in ("BUS_ENDPOINT", "BUS_SECRET_KEY_FILE", "TENANT", "AS", "MIGRATE_URL", "STATUS"):
        assert re.search(rf"^  DAYBOOK_{name}( \(.*\))?\n      \S", text, re.M), name
    assert "Begin here" in help_of(company) and "help settings" in help_of(company)


def test_the_readme_has_the_same_exit_codes(company):
    """All canonical codes stand in both tables, under the same number."""
    readme = dict(re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M))
    told = {str(e["status"]): e["means"] for e in company.stack.daybook_json("help")["exitCodes"]}
    assert readme.keys() == told.keys()
    codes = re.compile(r"[a-z]+_[a-z_]+|canceled|unknown|internal|unimplemented|unavailable|aborted"
                       "|unauthenticated")
    for status, means in told.items():
        assert set(codes.findall(means)) <= set(codes.findall(readme[status])), status
    assert sum(len(codes.findall(text)) for text in told.values()) == 16
