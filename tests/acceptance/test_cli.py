"""The command-line tool, run as people and scripts run it: outputs, exit codes, imports."""

import csv
import datetime as dt
import json
import os
import pty
import shlex
import subprocess
import uuid

import pytest
import mdp
from company import BUS, CUSTOMERS, REMINDERS, SECONDS
from stack import DAEMONS, ROOT, wait_until

FILES = ROOT / "tests/data/csv"
LIST = CUSTOMERS + "CustomerService/List"


@pytest.fixture(scope="module")
def company(stack, clock):
    """One of its own, since it counts customers."""
    from company import Company
    return Company(stack, clock)


@pytest.fixture
def run(company):
    def run(*words, env=None, **options):
        return company.stack.daybook(*words, env={"DAYBOOK_TENANT": company.tenant, **(env or {})}, **options)
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
    shown = run("tasks", "E006", "--date", day, env={"TZ": "America/New_York"})
    assert "Tasks Shop" in shown.stdout and "time zone" not in shown.stderr
    due = [t["dueAt"] for t in got["list"]["tasks"] if question.id in t["subject"]]
    local = dt.datetime.fromisoformat(due[0].replace("Z", "+00:00")).astimezone(company.clock.zone)
    assert local.strftime("%m-%d %H:%M +0800") in shown.stdout, "the company's time, wherever the terminal is"
    company.answer(question)


def test_tasks_are_shown_in_utc_when_the_zone_is_not_known(company, run):
    """The directory is away; the list is not."""
    question = company.ask(company.customer("rep", name="Zone Shop"))
    company.reminder("TMR-01", f"questions/{question.id}")
    with company.stack.stopped("directory"):
        shown = run("tasks", "E006", "--date", company.at(days=1)[:10], "--timeout", "1s")
    assert shown.returncode == 0 and "Zone Shop" in shown.stdout and "+0000" in shown.stdout
    assert "time zone is not known" in shown.stderr
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

def imported(run, tmp_path, kind, file, *options, **how):
    result = tmp_path / f"{uuid.uuid4()}.csv"
    done = run("import", kind, file, "--json", "--result", result, *options, **how)
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


SHOPS = "external_id,name,owner_no\n" + "".join(f"P-{i},Piped Shop {i},E006\n" for i in range(3))


def test_import_reads_stdin(company, run, tmp_path):
    report, rows = imported(run, tmp_path, "customers", "-", "--source", "piped", stdin=SHOPS)
    assert report["counts"]["inserted"] == 3 and [row["line"] for row in rows] == ["2", "3", "4"]
    assert run("import", "customers", "-", stdin="").returncode == 65
    assert run("import", "customers", "-", stdin="name\nx\n").returncode == 65


def test_progress_of_a_pipe_has_no_percentage(company, tmp_path):
    """Nobody knows how much is still to come."""
    (tmp_path / "shops.csv").write_text(SHOPS)
    for words, want, unwanted in ((("-",), "\r3 rows", "%"), ((tmp_path / "shops.csv",), "100 %", "\r3 rows")):
        ours, theirs = pty.openpty()
        process = subprocess.run([company.stack.bin / "daybook", "import", "customers", *words], input=SHOPS,
                                 text=True, stdout=subprocess.PIPE, stderr=theirs,
                                 env={**company.stack.env, "DAYBOOK_TENANT": company.tenant})
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        assert process.returncode == 0 and want in shown and unwanted not in shown, shown


@pytest.mark.parametrize("make", [lambda f: f, lambda f: f.parent / "." / f.name, "symlink_to", "hardlink_to"])
def test_the_file_that_is_read_is_not_overwritten(run, tmp_path, make):
    file = tmp_path / "shops.csv"
    file.write_text(SHOPS)
    result = tmp_path / "result.csv" if isinstance(make, str) else make(file)
    if isinstance(make, str):
        getattr(result, make)(file)
    done = run("import", "customers", file, "--result", result)
    assert done.returncode == 64 and "is the file that is read" in done.stderr
    assert file.read_text() == SHOPS


def test_faulty_rows_and_duplicates_are_told_with_what_to_do(company, run, tmp_path):
    first = run("call", "CustomerService/Create", '{"customer": {"name": "Known Shop", "cityCode": "310100"}}',
                "--as", "E006", "--json")
    known = json.loads(first.stdout)["customer"]["id"]
    file = tmp_path / "shops.csv"
    file.write_text("external_id,name,city_code,owner_no\nD-1,Known Shop,310100,E006\n"
                    + "".join(f"D-{i},,310100,E006\n" for i in range(2, 9)))
    told = run("import", "customers", file).stderr
    assert f"line 2: customer: looks the same as an existing customer (CUS-07) ({known})" in told
    assert told.count("line ") == 5 and "(further ones: use --result FILE)" in told
    result = tmp_path / "result.csv"
    assert "(further ones: see the result file)" in run("import", "customers", file, "--result", result).stderr
    report = json.loads(run("import", "customers", file, "--json").stdout)
    assert [f["line"] for f in report["faults"]] == [2, 3, 4, 5, 6] and report["faults"][0]["id"] == known


# --- keys -------------------------------------------------------------------------------------------

def test_keygen_makes_a_pair_and_never_overwrites(run, tmp_path):
    done = run("keygen", tmp_path / "partner")
    assert done.returncode == 0
    assert len((tmp_path / "partner.pub").read_text().splitlines()[0]) == 40
    assert (tmp_path / "partner.key").stat().st_mode & 0o077 == 0
    assert run("keygen", tmp_path / "partner").returncode == 73


def test_a_public_key_is_made_again_from_its_secret(run, tmp_path):
    assert run("keygen", tmp_path / "visits", "--kind", "daemon").returncode == 0
    public = tmp_path / "visits.pub"
    before = public.read_text()
    words = ("keygen", tmp_path / "visits", "--kind", "daemon", "--public")
    done = run(*words)
    assert done.returncode == 73 and public.read_text() == before, "it is there"
    assert "visits.pub is there already; move it away to make it again from" in done.stderr
    public.unlink()
    done = run(*words[:2], "--public")
    assert done.returncode == 64 and "--kind" in done.stderr and not public.exists(), "which is not in the secret"
    done = run(*words)
    assert done.returncode == 0 and before.split()[0] in done.stdout and public.read_text() == before
    public.unlink()
    assert json.loads(run(*words, "--json").stdout)["publicKey"] == before.split()[0]
    (tmp_path / "other.key").write_text("not a key\n")
    for name in ("other", "none"):
        done = run("keygen", tmp_path / name, "--kind", "partner", "--public")
        assert done.returncode == 65 and f"{name}.key" in done.stderr and not (tmp_path / f"{name}.pub").exists()


def test_a_partners_key_is_registered_by_the_line_that_keygen_prints(company, run, tmp_path):
    """Pasted into a shell as it stands but for the company; whatever the file is called."""
    made = run("keygen", tmp_path / "erp's \"box\"").stdout
    line = next(text for text in made.splitlines() if text.startswith("daybook call"))
    assert "DAYBOOK_BUS_KEYS" not in made and line.endswith(" --tenant ID")
    pasted = line.removesuffix("ID") + shlex.quote(company.tenant) + " --json"
    done = subprocess.run(["bash", "-c", pasted], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, **company.stack.env, "PATH": f"{company.stack.bin}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stderr
    credential = json.loads(done.stdout)["credential"]
    assert credential["label"] == "erp's \"box\"" and credential["scopes"] == ["customers.read"]

    public = (tmp_path / "erp's \"box\".pub").read_text().splitlines()[0]
    secret = (tmp_path / "erp's \"box\".key").read_text().strip()
    client = company.stack.client(mdp.Keys(company.stack.env["DAYBOOK_BUS_SERVER_KEY"], public, secret))

    def admitted():
        try:
            return client.call(LIST, {"pageSize": 1}, timeout=1) is not None
        except mdp.NoAnswer:
            return False
        except mdp.CallError as error:
            return error.code == "PERMISSION_DENIED"  # let in, as what it is
    wait_until(admitted, SECONDS, "the bus knew the key")


def test_a_partners_file_does_not_make_a_daemon(company, run, tmp_path):
    """Somebody copies it among the daemons' keys after all: the bus skips it, and says so."""
    assert run("keygen", tmp_path / "friend").returncode == 0
    copy = company.stack.folder / "keys/admitted/friend.pub"
    copy.write_text((tmp_path / "friend.pub").read_text())
    try:
        log = company.stack.folder / "log/bus.log"
        wait_until(lambda: any("bus.key_file_bad" in line and "friend.pub" in line
                               for line in log.read_text().splitlines()), SECONDS, "the bus refused the file")
    finally:
        copy.unlink()


def test_keys_of_the_installation_are_asked_for_by_name(run, tmp_path):
    for kind in ("daemon", "edge", "system"):
        done = run("keygen", tmp_path / kind, "--kind", kind)
        assert "DAYBOOK_BUS_KEYS" in done.stdout and "RegisterCurveKey" not in done.stdout
        assert (tmp_path / f"{kind}.pub").read_text().splitlines()[1] == f"kind={kind}"


def test_rules_can_be_read_without_a_company(company, run):
    done = run("call", REMINDERS + "ReminderService/ListRules", "--json")
    assert done.returncode == 0 and "TMR-01" in done.stdout
    assert run("call", LIST, "--as", "E006", "--json").returncode == 0
