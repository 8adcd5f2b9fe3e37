"""The command-line tool for operators: what could not be done is seen, told with its reason, and done
once the cause is mended; the log is followed; schemas are brought up to date; states are waited for.
"""

import contextlib
import datetime as dt
import json
import signal
import subprocess
import uuid

import pytest
from company import CUSTOMERS, REMINDERS, SECONDS, Company, when
from poison import poison_timer, poisoned
from stack import DAEMONS, stamp, wait_until


@pytest.fixture(scope="module")
def company(stack, clock):
    company = Company(stack, clock)
    company.clock.turn(company.clock.next(1, "09:00"))
    yield company
    stack.settle()


@pytest.fixture
def run(company):
    def run(*words, env=None, **options):
        return company.stack.daybook(*words, env={"DAYBOOK_TENANT": company.tenant, **(env or {})},
                                     **options)
    return run


@pytest.fixture
def answer(run):
    def answer(*words, **options):
        done = run(*words, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return answer


# --- parked events ----------------------------------------------------------------------------------

def test_f36_a_poisonous_event_is_shown_with_its_reason_and_replayed(company, run, answer):
    """Five tries, then it is parked; what builds on it waits behind it, and both run when put back."""
    name = f"Poison {uuid.uuid4()}"
    with poisoned(company.stack, "reminders.customer_ref", f"name <> '{name}'"):
        shop = company.rep.command(CUSTOMERS + "CustomerService/Create", {"customer": {"name": name}}).customer
        about = f"customers/{shop.id}"
        def given_up():
            rows = answer("events", "parked", "reminders")["parked"]
            return rows if all(row["state"] == "parked" for row in rows) else []
        parked = wait_until(given_up, SECONDS, "the event was parked")
        assert [(p["consumer"], p["aggregate"], p["tries"], p["state"]) for p in parked] \
            == [("reminders", about, 5, "parked")]
        assert parked[0]["type"] == CUSTOMERS + "CustomerCreated" and parked[0]["tenantId"] == company.tenant
        assert "failed_precondition" in parked[0]["reason"] or "23514" in parked[0]["reason"]
        assert abs(dt.datetime.fromisoformat(parked[0]["since"].replace("Z", "+00:00")) - company.clock.now) \
            < dt.timedelta(days=1000)

        states = {k["name"]: k["parked"] for k in answer("status")["consumers"]}
        assert states["reminders"] == 1 and "daybook events parked" in run("status").stdout
        text = run("events", "parked").stdout
        assert about in text and str(parked[0]["seq"]) in text and parked[0]["reason"] in text
        assert answer("events", "parked", "scoring")["parked"] == []
        other = str(uuid.uuid4())
        assert answer("events", "parked", "--tenant", other)["parked"] == []
        assert answer("events", "replay", "reminders", "--tenant", other)["marked"] == 0

    marked = answer("events", "replay", "reminders", "--seq", str(parked[0]["seq"]))
    assert marked["marked"] == 1 and marked["events"][0]["aggregate"] == about
    wait_until(lambda: company.stack.sql(f"select 1 from reminders.customer_ref where id = '{shop.id}'"),
               SECONDS, "the event took effect")
    wait_until(lambda: answer("events", "parked")["parked"] == [], SECONDS, "nothing was parked")
    assert "nothing is parked" in run("events", "replay", "reminders").stdout


@pytest.fixture(scope="module")
def walled(company):
    """The owner of a real installation: no superuser, so the walls between companies hold for it too."""
    company.stack.psql("create role walled_owner login; grant daybook_owner to walled_owner")
    return {"DAYBOOK_MIGRATE_URL": company.stack.env["DAYBOOK_MIGRATE_URL"].replace(
        "user=daybook_owner", "user=walled_owner")}


# --- parked timers ----------------------------------------------------------------------------------

def test_a_parked_timer_is_shown_with_its_reason_and_armed_again(company, run, answer, walled):
    question, duty, row = poison_timer(company, "Will it fire?")
    assert row["rule"] == "TMR-01" and row["subject"] == f"questions/{question.id}" and row["waits"]
    assert row["reason"] == "failed_precondition" and row["dueAt"] == stamp_of(duty.next_at)
    status = run("status")
    assert "timers parked: 1" in status.stdout and answer("status")["timersParked"] == 1
    text = run("timers", "parked").stdout
    assert duty.id in text and "failed_precondition" in text
    assert answer("timers", "replay", "--tenant", str(uuid.uuid4()))["timers"] == []
    assert run("timers", "replay", uuid.uuid4()).returncode == 66

    everywhere = {**walled, "DAYBOOK_TENANT": ""}
    assert answer("status", env=everywhere)["timersParked"] == 1
    assert [t["id"] for t in answer("timers", "parked", env=everywhere)["parked"]] == [duty.id]
    armed = answer("timers", "replay", duty.id, env=everywhere)["timers"]
    assert [(t["id"], t["armed"]) for t in armed] == [(duty.id, True)]
    assert company.told("TMR-01", f"questions/{question.id}", 1)
    assert answer("timers", "parked")["parked"] == [] and answer("status")["timersParked"] == 0
    assert "no timer is parked" in run("timers", "replay").stdout
    company.answer(question)


def test_a_parked_timer_of_a_duty_that_was_snoozed_is_armed_for_the_new_time(company, answer):
    """By the snooze itself: nobody need see to it."""
    question, duty, _ = poison_timer(company, "Can it wait?")
    until = company.at(hours=3)
    company.rep.command(REMINDERS + "ReminderService/Snooze", {"id": duty.id, "until": until, "reason": "Later."})
    expected = company.reminder("TMR-01", f"questions/{question.id}").reminder.next_at
    assert company.stack.sql(f"select 1 from reminders.timer where obligation_id = '{duty.id}'")
    assert answer("timers", "parked")["parked"] == [] and answer("timers", "replay")["timers"] == []
    company.clock.turn(when(expected) + dt.timedelta(seconds=1))
    assert company.told("TMR-01", f"questions/{question.id}", 1)
    company.answer(question)


def test_a_parked_timer_of_a_duty_that_was_done_is_only_taken_off_the_list(company, run, answer):
    question, duty, _ = poison_timer(company, "Is it done?")
    company.answer(question)
    company.reminder("TMR-01", f"questions/{question.id}", lambda g: g.reminder.HasField("closed_at"), "closed")
    assert answer("status")["timersParked"] == 0, "nobody waits for it"
    row, = answer("timers", "parked")["parked"]
    assert row["id"] == duty.id and not row["waits"]
    armed, = answer("timers", "replay")["timers"]
    assert armed["id"] == duty.id and not armed["armed"]
    assert not company.stack.sql(f"select 1 from reminders.timer where obligation_id = '{duty.id}'")
    assert answer("timers", "parked")["parked"] == []


def stamp_of(timestamp):
    """As the command writes it: no fraction where there is none."""
    return stamp(when(timestamp)).replace(".000000Z", "Z")


# --- following the log ------------------------------------------------------------------------------

@contextlib.contextmanager
def tail(company, *words):
    process = subprocess.Popen([company.stack.bin / "daybook", "events", "tail", *words], text=True,
                               env={**company.stack.env, "DAYBOOK_TENANT": company.tenant},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_tail_shows_what_happens_and_nothing_else(company):
    """It begins at the newest event, so customers are made until one was seen."""
    words = ("--types", CUSTOMERS + "CustomerCreated", "--limit", "1", "--json")
    made = []
    with tail(company, *words) as process:
        def ended():
            made.append(company.rep.command(CUSTOMERS + "CustomerService/Create",
                                            {"customer": {"name": f"Tail {uuid.uuid4()}"}}).customer.id)
            return process.poll() is not None
        wait_until(ended, SECONDS, "the tail had its event")
        event, = map(json.loads, process.stdout)
    assert process.returncode == 0 and event["aggregate"].removeprefix("customers/") in made


def test_tail_goes_on_from_a_position_without_a_gap(company, run):
    head = json.loads(run("call", "EventService/GetHead", "--json").stdout)["headSeq"]
    shops = [company.customer("rep").id for _ in range(3)]
    done = run("events", "tail", "--after", head, "--types", CUSTOMERS, "--limit", "3", "--json")
    assert [json.loads(line)["aggregate"] for line in done.stdout.splitlines()] \
        == [f"customers/{i}" for i in shops]
    assert shops[0] in run("events", "tail", "--after", head, "--types", CUSTOMERS, "--limit", "1").stdout


def test_tail_ends_well_when_it_is_interrupted(company):
    head = json.loads(company.stack.daybook("call", "EventService/GetHead", "--json").stdout)["headSeq"]
    company.customer("rep")
    with tail(company, "--after", str(head)) as process:
        assert "CustomerCreated" in process.stdout.readline(), "it follows by now"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=SECONDS) == 0 and "daybook events" not in process.stderr.read()


def test_tail_goes_on_when_the_bus_was_away(company):
    """It says so once, and misses nothing."""
    head = json.loads(company.stack.daybook("call", "EventService/GetHead", "--json").stdout)["headSeq"]
    first = company.customer("rep").id
    with tail(company, "--after", str(head), "--types", CUSTOMERS, "--limit", "2", "--timeout", "500ms") as process:
        assert first in process.stdout.readline()
        company.stack.kill("bus")
        try:
            said = next(line for line in process.stderr if line.startswith("daybook events"))
        finally:
            company.stack.start("bus")
            wait_until(lambda: company.stack.healthy("bus"), SECONDS, "the bus was back")
        assert "ReadEvents" in said
        second = company.customer("rep").id
        assert second in process.stdout.readline()
        assert process.wait(timeout=SECONDS) == 0


# --- schemas, states --------------------------------------------------------------------------------

def test_migrate_repeats_without_effect(run, answer):
    schemas = answer("migrate")["schemas"]
    assert [s["schema"] for s in schemas[:2]] == ["bus", "directory"] and len(schemas) == len(DAEMONS)
    assert all(s["applied"] == 0 and s["version"] >= 1 for s in schemas)
    done = run("migrate", "visits", "customers")
    assert done.returncode == 0 and done.stdout.count("0 migrations applied") == 2


def test_migrate_tells_what_a_role_may_not_do(company, run):
    """The wrong role in DAYBOOK_MIGRATE_URL: nothing is changed, the schema is named."""
    url = company.stack.env["DAYBOOK_MIGRATE_URL"].replace("user=daybook_owner", "user=daybook_visits")
    done = run("migrate", "customers", "--json", env={"DAYBOOK_MIGRATE_URL": url})
    failure = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode not in (0, 1) and done.stdout == ""
    assert "customers" in failure["message"] and "42501" in failure["message"]


def test_status_waits_until_settled_or_says_that_it_is_not(company, run):
    company.stack.settle()
    assert run("status", "--wait", "30s").returncode == 0
    with company.stack.stopped("scoring"):
        done = run("status", "--wait", "50ms", "--json")
        assert done.returncode == 75 and json.loads(done.stderr)["code"] == "unavailable"
        state = {d["name"]: d for d in json.loads(done.stdout)["daemons"]}
        assert not state["scoring"]["ready"] and state["scoring"]["why"] and state["visits"]["ready"]
        assert "NOT all ready" in run("status").stdout
    assert run("status", "--wait", "60s").returncode == 0
