"""The command-line tool, run as people and scripts run it: outputs, exit codes, imports."""

import csv
import json
import subprocess
import uuid

import pytest
from company import BUS, CUSTOMERS, REMINDERS
from stack import DAEMONS, ROOT

FILES = ROOT / "tests/data/csv"
LIST = CUSTOMERS + "CustomerService/List"


@pytest.fixture(scope="module")
def company(stack, clock):
    """One of its own, since it counts customers."""
    from company import Company
    return Company(stack, clock)


@pytest.fixture
def run(company):
    def run(*words, **options):
        return company.stack.daybook(*words, env={"DAYBOOK_TENANT": company.tenant}, **options)
    return run


def count(company, where="true"):
    return company.stack.value("select count(*) from customers.customer where tenant_id ="
                               f" '{company.tenant}' and {where}")


# --- call -------------------------------------------------------------------------------------------

def test_call_makes_and_finds_a_customer(company, run):
    made = run("call", CUSTOMERS + "CustomerService/Create", json.dumps({"customer": {"name": "CLI Shop"}}),
               "--as", "E006", "--json")
    assert made.returncode == 0, made.stderr
    customer = json.loads(made.stdout)["customer"]
    assert customer["ownerId"] == company.ids["rep"]
    got = run("call", CUSTOMERS + "CustomerService/Get", "-", "--json", stdin=json.dumps({"id": customer["id"]}))
    assert json.loads(got.stdout)["customer"]["name"] == "CLI Shop"


def test_call_with_a_key_takes_effect_once(company, run):
    key = str(uuid.uuid4())
    words = ("call", CUSTOMERS + "CustomerService/Create", json.dumps({"customer": {"name": f"K {key}"}}),
             "--as", "E006", "--key", key, "--json")
    assert run(*words).stdout == run(*words).stdout
    assert count(company, f"name = 'K {key}'") == 1


@pytest.mark.parametrize("words, status", [
    (("call", CUSTOMERS + "CustomerService/Get", json.dumps({"id": str(uuid.uuid4())})), 66),
    (("call", CUSTOMERS + "CustomerService/Get", '{"id": "x"}'), 64),
    (("call", CUSTOMERS + "CustomerService/Get", "{"), 64),
    (("call", CUSTOMERS + "CustomerService/Get", '{"nonsense": 1}'), 64),
    (("call", CUSTOMERS + "CustomerService/Create", '{"customer": {"name": "x"}}'), 64),  # whose?
    (("call", "daybook.directory.v1.DirectoryService/CreateTenant", '{"tenant": {"name": "x"}}',
      "--as", "E006"), 77),
    (("call", "no.such.Service/Method"), 64),
    (("frobnicate",), 64),
    (("call",), 64),
    (("tasks", "E999"), 66),
])
def test_exit_codes_tell_the_kind_of_error(run, words, status):
    done = run(*words)
    assert done.returncode == status, done.stderr
    assert done.stderr and not done.stdout.strip()


def test_an_error_names_field_and_remedy(run):
    done = run("call", CUSTOMERS + "CustomerService/Create", '{"customer": {"name": ""}}', "--as", "E006")
    assert done.returncode == 64 and "customer.name" in done.stderr


def test_without_a_bus_it_says_so(run, company):
    done = company.stack.daybook("call", BUS + "EventService/GetHead", "--timeout", "500ms",
                                 env={"DAYBOOK_BUS_ENDPOINT": "tcp://127.0.0.1:1"})
    assert done.returncode == 75 and "no bus answers" in done.stderr


def test_a_customer_that_is_there_already_has_a_code_of_its_own(run):
    words = ("call", CUSTOMERS + "CustomerService/Create", '{"customer": {"name": "Twin", "cityCode": "310100"}}',
             "--as", "E006")
    assert run(*words).returncode == 0
    assert run(*words).returncode == 73


def test_list_and_describe_need_no_manual(run):
    listed = run("call", "--list").stdout
    for service in ("CustomerService", "VisitService", "TaskService", "EventService", "PolicyService"):
        assert service in listed
    described = run("call", "--describe", CUSTOMERS + "CustomerService/Create").stdout
    assert "duplicate" in described and "CreateCustomerRequest" in described


@pytest.mark.parametrize("words", [(), ("call",), ("import",), ("tasks",), ("events",), ("status",),
                                   ("migrate",), ("rebuild",), ("keygen",)])
def test_help_needs_no_settings(company, words):
    done = subprocess.run([company.stack.bin / "daybook", *words, "--help"], env={}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and len(done.stdout) > 200, done.stderr


def test_completion_is_a_script_that_bash_takes(run):
    done = run("completion", "bash")
    assert done.returncode == 0
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0


# --- status, tasks, events --------------------------------------------------------------------------

def test_status_shows_every_daemon(company, run):
    company.stack.settle()
    status = json.loads(run("status", "--json").stdout)
    assert status["settled"] is True
    text = run("status").stdout
    for name in DAEMONS:
        assert name in text


def test_tasks_shows_the_list(company, run):
    question = company.ask(company.customer("rep", name="Tasks Shop"))
    company.reminder("TMR-01", f"questions/{question.id}")
    company.stack.settle()
    day = company.at(days=1)[:10]
    got = json.loads(run("tasks", "E006", "--date", day, "--json").stdout)
    assert question.id in json.dumps(got)
    assert "Tasks Shop" in run("tasks", "E006", "--date", day).stdout
    company.answer(question)


def test_events_are_read_one_a_line(company, run):
    shop = company.customer("rep")
    company.stack.settle()
    done = run("events", "read", "--aggregate", f"customers/{shop.id}", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["type"] for e in lines] == [CUSTOMERS + "CustomerCreated"]
    assert lines[0]["tenantId"] == company.tenant
    first = [json.loads(x) for x in run("events", "read", "--after", "0", "--limit", "5", "--json").stdout.splitlines()]
    assert 1 <= len(first) <= 5


# --- import -----------------------------------------------------------------------------------------

def imported(run, tmp_path, kind, file, *options):
    result = tmp_path / f"{uuid.uuid4()}.csv"
    done = run("import", kind, file, "--json", "--result", result, *options)
    assert done.returncode == 0, done.stderr
    with open(result, encoding="utf-8-sig", newline="") as f:
        return json.loads(done.stdout), list(csv.DictReader(f))


def test_f63_import_takes_bom_and_crlf_and_repeats_without_effect(company, run, tmp_path):
    before = count(company)
    report, rows = imported(run, tmp_path, "customers", FILES / "bom.csv", "--dry-run")
    assert report["rows"] == 3 and count(company) == before, "a dry run changes nothing"
    report, rows = imported(run, tmp_path, "customers", FILES / "bom.csv")
    assert report["counts"]["inserted"] == 3 and len(rows) == 3 and count(company) == before + 3
    report, rows = imported(run, tmp_path, "customers", FILES / "bom.csv")
    assert report["counts"]["unchanged"] == 3 and count(company) == before + 3
    report, rows = imported(run, tmp_path, "customers", FILES / "crlf.csv")
    assert report["rows"] == 3 and report["counts"].get("invalid", 0) == 0


def test_f63_faulty_rows_are_told_and_the_others_taken(company, run, tmp_path):
    report, rows = imported(run, tmp_path, "customers", FILES / "bad_quotes.csv")
    assert report["counts"]["invalid"] >= 2
    assert any(row for row in rows if "quote" in json.dumps(row)), rows
    assert run("import", "customers", FILES / "bad_quotes.csv", "--strict").returncode == 65


def test_f63_duplicate_rows(company, run, tmp_path):
    before = count(company)
    report, rows = imported(run, tmp_path, "customers", FILES / "duplicate_rows.csv", "--source", "dup")
    assert report["rows"] == 6
    again, _ = imported(run, tmp_path, "customers", FILES / "duplicate_rows.csv", "--source", "dup")
    assert again["counts"].get("inserted", 0) == 0
    assert count(company) - before == report["counts"].get("inserted", 0)


def test_f63_a_file_without_a_column_is_refused(company, run):
    before = count(company)
    done = run("import", "customers", FILES / "missing_column.csv")
    assert done.returncode in (64, 65) and "name" in done.stderr
    assert count(company) == before


def test_f63_rows_in_another_encoding_are_refused_with_a_reason(company, run, tmp_path):
    before = count(company)
    report, rows = imported(run, tmp_path, "customers", FILES / "latin1.csv")
    assert report["counts"]["invalid"] == 2 and count(company) == before
    assert all("UTF-8" in json.dumps(row) for row in rows)


def test_f62_formulas_stay_text(company, run, tmp_path):
    """Kept as written, and harmless in the result file that somebody opens in a spreadsheet."""
    _, rows = imported(run, tmp_path, "customers", FILES / "formula.csv", "--source", "formula")
    for row in rows:
        for value in row.values():
            assert not str(value or "").startswith(("=", "+", "-", "@", "\t")), row
    assert count(company, "name like '=HYPERLINK%'") == 1


def test_orders_are_imported_and_scored(company, run, tmp_path):
    file = tmp_path / "orders.csv"
    shop = tmp_path / "shop.csv"
    shop.write_text("external_id,name,owner_no\nX-1,Order Shop,E006\n")
    imported(run, tmp_path, "customers", shop, "--source", "own")
    file.write_text("external_id,customer_external_id,ordered_at,amount_minor,currency,kind\n"
                    "O-1,X-1,2026-01-05T09:00:00+08:00,120000,CNY,order\n"
                    "O-2,X-1,2026-01-06T09:00:00+08:00,-20000,CNY,cancellation\n"
                    "O-3,X-9,2026-01-06T09:00:00+08:00,1,CNY,order\n"
                    "O-4,X-1,yesterday,1,CNY,order\n")
    report, rows = imported(run, tmp_path, "orders", file, "--source", "own")
    assert report["counts"]["inserted"] == 2 and report["counts"]["invalid"] == 2
    report, _ = imported(run, tmp_path, "orders", file, "--source", "own")
    assert report["counts"]["unchanged"] == 2
    company.stack.settle()
    assert company.stack.value("select amount_minor from scoring.score s join customers.customer c on c.id ="
                               f" s.customer_id where c.tenant_id = '{company.tenant}' and ref_id = 'X-1'") == 100000


# --- keys -------------------------------------------------------------------------------------------

def test_keygen_makes_a_pair_and_never_overwrites(run, tmp_path):
    done = run("keygen", tmp_path / "partner")
    assert done.returncode == 0
    assert len((tmp_path / "partner.pub").read_text().splitlines()[0]) == 40
    assert (tmp_path / "partner.key").stat().st_mode & 0o077 == 0
    assert run("keygen", tmp_path / "partner").returncode != 0


def test_rules_can_be_read_without_a_company(company, run):
    done = run("call", REMINDERS + "ReminderService/ListRules", "--json")
    assert done.returncode == 0 and "TMR-01" in done.stdout
    assert run("call", LIST, "--as", "E006", "--json").returncode == 0
