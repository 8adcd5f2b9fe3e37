"""Events and timers that were put aside, and how far consumers are, over HTTP: by calls and by the command-line tool
with --url, for who has no access to the installation's database. A company sees and mends what is its own.
"""

import json
import uuid

import pytest

from company import CUSTOMERS, REMINDERS, SECONDS, Company
from poison import poison_timer, poisoned
from stack import wait_until
from web import Caller, elsewhere, new_key

AREAS = ("directory", "customers", "visits", "reminders", "scoring", "gateway")
TIMERS = REMINDERS + "TimerService/"
SCOPES = {"repairer": ["consumers.read", "consumers.write", "timers.read", "timers.write", "events.read", "bus.read"],
          "reader": ["consumers.read", "timers.read", "events.read"],
          "stranger": ["customers.read", "reminders.read", "reminders.write"]}


def consumer(area, method):
    return f"daybook.{area}.v1.ConsumerService/{method}"


@pytest.fixture(scope="module")
def company(stack, clock):
    company = Company(stack, clock)
    company.clock.turn(company.clock.next(1, "09:00"))
    yield company
    stack.settle()


def make_keys(company):
    keys = {name: new_key(company, scopes=scopes).api_key for name, scopes in SCOPES.items()}
    return {**keys, "gm": new_key(company, employeeId=company.ids["gm"]).api_key,
            "manager": new_key(company, employeeId=company.ids["manager"]).api_key}


@pytest.fixture(scope="module")
def keys(company):
    return make_keys(company)


@pytest.fixture(scope="module")
def others_key(other):
    return make_keys(other)["repairer"]


@pytest.fixture(scope="module")
def call(company, keys):
    """An answer in JSON, or (status, code, message) of a refusal."""
    callers = {}

    def call(method, request=None, who="repairer", **headers):
        caller = callers.setdefault(who, Caller(company.stack, keys.get(who, who)))
        answer = caller.post(method, request, **headers)
        return answer.json if answer.status == 200 else (answer.status, answer.json["code"], answer.json["message"])
    return call


@pytest.fixture(scope="module")
def run(company, keys):
    url = "http://" + company.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"]

    def run(*words, who="repairer", **options):
        return elsewhere(company, *words, "--url", url, "--key", keys.get(who, who), **options)
    return run


@pytest.fixture(scope="module")
def told(run):
    def told(*words, **options):
        done = run(*words, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return told


# --- parked events ----------------------------------------------------------------------------------

class Poisoned:
    """A customer of whom reminders cannot hear, so that two events are put aside; until it is healed."""

    def __init__(self, company):
        name = f"Poison {uuid.uuid4()}"
        self.stack = company.stack
        self.poison = poisoned(company.stack, "reminders.customer_ref", f"name not like '{name}%'")
        self.poison.__enter__()
        shop = company.rep.command(CUSTOMERS + "CustomerService/Create", {"customer": {"name": name}}).customer
        company.rep.command(CUSTOMERS + "CustomerService/Update", {
            "customer": {"id": shop.id, "name": name + " Ltd"}, "updateMask": "name"})
        self.id, self.about, self.name = shop.id, f"customers/{shop.id}", name
        wait_until(lambda: [r["state"] for r in self.rows()] == ["parked"] * 2, SECONDS, "both events were parked")

    def rows(self):
        return self.stack.sql("select seq, state from reminders.parked_event "
                              f"where aggregate = '{self.about}' and state <> 'done' order by seq")

    def heal(self):
        self.poison.__exit__(None, None, None)

    def is_heard(self):
        return self.stack.sql(f"select 1 from reminders.customer_ref where id = '{self.id}' and name like '% Ltd'")


@pytest.fixture
def shop(company):
    shop = Poisoned(company)
    yield shop
    if shop.rows():
        company.stack.daybook("events", "replay", "reminders")
        wait_until(lambda: not shop.rows(), SECONDS, "nothing was left behind")


def test_parked_events_are_seen_and_replayed_by_calls(company, call, others_key, shop):
    state = call(consumer("reminders", "Get"))["consumer"]
    assert state["name"] == "reminders" and state["started"] and state["parked"] == "2"
    assert 0 < int(state["seq"]) <= int(state["headSeq"]) and "replayUntilSeq" not in state
    assert [call(consumer(area, "Get"))["consumer"]["name"] for area in AREAS] == list(AREAS)

    first, second = call(consumer("reminders", "ListParked"))["events"]
    assert first["aggregate"] == second["aggregate"] == shop.about and first["type"] == CUSTOMERS + "CustomerCreated"
    assert first["state"] == "PARKED_STATE_PARKED" and first["attempts"] == 5 and first["parkedAt"]
    assert "failed_precondition" in first["reason"] and first["consumer"] == "reminders"
    page = call(consumer("reminders", "ListParked"), {"limit": 1})
    assert page == {"events": [first], "more": True}
    assert call(consumer("reminders", "ListParked"), {"limit": 1, "afterSeq": first["seq"]}) == {"events": [second]}
    assert call(consumer("scoring", "ListParked")) == {}

    stranger = dict(who=others_key)
    assert call(consumer("reminders", "ListParked"), **stranger) == {}
    assert call(consumer("reminders", "Get"), **stranger)["consumer"].get("parked") is None
    assert call(consumer("reminders", "ReplayParked"), {"all": True}, **stranger) == {}
    assert call(consumer("reminders", "ReplayParked"), {"seq": first["seq"]}, **stranger)[:2] == (404, "not_found")
    shop.heal()
    assert [row["state"] for row in shop.rows()] == ["parked", "parked"], "the stranger changed nothing"

    key = str(uuid.uuid4())
    marked = call(consumer("reminders", "ReplayParked"), {"all": True}, Idempotency_Key=key)["events"]
    assert [e["seq"] for e in marked] == [first["seq"], second["seq"]]
    assert {e["state"] for e in marked} == {"PARKED_STATE_REPLAY"}
    wait_until(shop.is_heard, SECONDS, "both events took effect, in their order")
    assert call(consumer("reminders", "ReplayParked"), {"all": True}, Idempotency_Key=key)["events"] == marked
    assert call(consumer("reminders", "ListParked")) == {}
    assert call(consumer("reminders", "ReplayParked"), {"all": True}) == {}


def test_parked_events_are_seen_and_replayed_by_the_tool(company, run, told, others_key, shop):
    local = company.stack.daybook_json("events", "parked", "reminders", "--tenant", company.tenant)["parked"]
    rows = told("events", "parked")["parked"]
    assert [{k: v for k, v in row.items() if k != "tenantId"} for row in local] == rows and len(rows) == 2
    assert told("events", "parked", "reminders", who="gm")["parked"] == rows
    assert told("events", "parked", "scoring")["parked"] == []
    text = run("events", "parked").stdout
    assert shop.about in text and rows[0]["reason"] in text
    assert told("events", "parked", who=others_key)["parked"] == []
    assert told("events", "replay", "reminders", who=others_key)["marked"] == 0
    shop.heal()

    done = run("events", "replay", "reminders", "--seq", str(rows[1]["seq"] + 1000000))
    assert done.returncode == 66 and "is not parked there" in done.stderr
    marked = told("events", "replay", "reminders", "--seq", str(rows[0]["seq"]))
    assert marked["marked"] == 1 and marked["events"][0]["state"] == "replay"
    assert told("events", "replay", "reminders")["events"][-1]["seq"] == rows[1]["seq"]
    wait_until(shop.is_heard, SECONDS, "both events took effect")
    assert told("events", "parked")["parked"] == []
    assert "nothing is parked" in run("events", "replay", "reminders").stdout


def test_many_parked_events_are_replayed_by_several_calls(company, call, told):
    """Rows of events that nobody reacts to, which are through at once."""
    tenant = company.tenant
    company.stack.psql(
        "insert into scoring.parked_event (consumer, seq, tenant_id, type, aggregate, event, attempts, reason, "
        "parked_at, state) select 'scoring', 9000000 + n, '{0}', 'daybook.test.v1.Nothing', 'things/' || n, "
        r"convert_to(E'\x12$' || '{0}' || E'\x1a\x17daybook.test.v1.Nothing', 'UTF8'), 5, 'made up', now(), 'parked' "
        "from generate_series(1, 310) n".format(tenant))
    page = call(consumer("scoring", "ReplayParked"), {"all": True, "afterSeq": 9000300})
    assert len(page["events"]) == 10 and "more" not in page
    page = call(consumer("scoring", "ReplayParked"), {"all": True})
    assert len(page["events"]) == 150 and page["more"]
    marked = told("events", "replay", "scoring")
    assert marked["marked"] == 150 and marked["events"][0]["seq"] == 9000151
    wait_until(lambda: call(consumer("scoring", "ListParked")) == {}, SECONDS, "all were through")
    company.stack.psql("delete from scoring.parked_event where seq > 9000000")


@pytest.mark.parametrize("request_, field", [
    ({}, "seq"), ({"seq": 1, "all": True}, "seq"), ({"seq": 1, "afterSeq": 1}, "after_seq"),
    ({"seq": -1}, "seq"), ({"all": True, "afterSeq": -1}, "after_seq")])
def test_a_replay_says_which(call, request_, field):
    status, code, message = call(consumer("visits", "ReplayParked"), request_)
    assert (status, code) == (400, "invalid_argument") and field in message


# --- who may ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("area", AREAS)
def test_a_scope_that_is_missing_is_named(call, area):
    for method, request, who, scope in (("Get", {}, "stranger", "consumers.read"),
                                        ("ListParked", {}, "stranger", "consumers.read"),
                                        ("ReplayParked", {"all": True}, "stranger", "consumers.write"),
                                        ("ReplayParked", {"all": True}, "reader", "consumers.write")):
        status, code, message = call(consumer(area, method), request, who)
        assert (status, code) == (403, "permission_denied") and scope in message
    assert call(consumer(area, "Get"), {}, "manager")[:2] == (403, "permission_denied")
    assert "general_manager" in call(consumer(area, "ListParked"), {}, "manager")[2]
    assert call(consumer(area, "ListParked"), {}, "gm") == {}


def test_a_scope_for_timers_that_is_missing_is_named(call):
    for method, who, said in (("ListParked", "stranger", "timers.read"), ("Replay", "stranger", "timers.write"),
                              ("Replay", "reader", "timers.write"), ("ListParked", "manager", "general_manager"),
                              ("Replay", "manager", "general_manager")):
        status, code, message = call(TIMERS + method, {}, who)
        assert (status, code) == (403, "permission_denied") and said in message
    assert call(TIMERS + "ListParked", {}, "gm") == {}


@pytest.mark.parametrize("words, scope", [(("events", "parked"), "consumers.read"),
                                          (("events", "replay", "visits"), "consumers.write"),
                                          (("timers", "parked"), "timers.read"), (("timers", "replay"), "timers.write"),
                                          (("status",), "consumers.read")])
def test_the_tool_names_the_scope_too(run, words, scope):
    done = run(*words, who="stranger")
    assert done.returncode == 77 and scope in done.stderr, done.stderr


# --- parked timers ----------------------------------------------------------------------------------

def test_parked_timers_are_seen_and_armed_again(company, call, run, told, others_key):
    question, duty, row = poison_timer(company, "Will it fire by HTTP?")
    timer, = call(TIMERS + "ListParked")["timers"]
    assert timer["reminderId"] == duty.id and timer["rule"] == "TMR-01" and timer["waits"]
    assert timer["subject"] == f"questions/{question.id}" and timer["reason"] == "failed_precondition"
    assert timer["dueAt"] == row["dueAt"] and call(TIMERS + "ListParked")["waiting"] == "1"
    local = company.stack.daybook_json("timers", "parked", "--tenant", company.tenant)["parked"]
    assert [{k: v for k, v in row.items() if k != "tenantId"} for row in local] == told("timers", "parked")["parked"]
    assert told("status")["timersParked"] == 1 and "timers parked: 1" in run("status").stdout

    assert call(TIMERS + "ListParked", who=others_key) == call(TIMERS + "Replay", who=others_key) == {}
    assert call(TIMERS + "Replay", {"reminderIds": [duty.id]}, others_key) == {}
    assert told("status", who=others_key)["timersParked"] == 0
    assert run("timers", "replay", uuid.uuid4()).returncode == 66
    assert call(TIMERS + "Replay", {"reminderIds": ["x"]})[:2] == (400, "invalid_argument")
    assert call(TIMERS + "ListParked")["timers"] == [timer], "nobody has changed anything"

    armed = told("timers", "replay", duty.id)["timers"]
    assert [(t["id"], t["armed"], t["reason"]) for t in armed] == [(duty.id, True, "failed_precondition")]
    assert company.told("TMR-01", f"questions/{question.id}", 1)
    assert call(TIMERS + "ListParked") == call(TIMERS + "Replay") == {}
    assert "no timer is parked" in run("timers", "replay").stdout
    company.answer(question)


def test_many_parked_timers_come_in_pages_and_are_armed_by_several_calls(company, call, told):
    """Of duties that are no more: they are only taken off the list."""
    company.stack.psql("insert into reminders.timer_parked (tenant_id, obligation_id, step, due_us, reason) "
                       f"select '{company.tenant}', gen_random_uuid(), 0, n, 'made up' from generate_series(1, 250) n")
    seen, token = [], ""
    while True:
        page = call(TIMERS + "ListParked", {"pageSize": 60, "pageToken": token})
        seen += [t["reminderId"] for t in page["timers"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert len(seen) == len(set(seen)) == 250
    first = call(TIMERS + "Replay")
    assert [t["reminderId"] for t in first["timers"]] == seen[:100] and first["more"]
    rest = told("timers", "replay")["timers"]
    assert [t["id"] for t in rest] == seen[100:] and not any(t["armed"] for t in rest)
    assert call(TIMERS + "ListParked") == {}


# --- status -----------------------------------------------------------------------------------------

def test_status_tells_what_services_know(company, told, run):
    company.stack.settle()
    status, local = told("status"), company.stack.daybook_json("status")
    assert status["settled"] and status["ready"] and status["outbox"] == 0 and "daemons" not in status
    assert 0 < status["headSeq"] <= local["headSeq"]
    assert [k["name"] for k in status["consumers"]] == [k["name"] for k in local["consumers"]] == list(AREAS)
    assert {frozenset(k) for k in status["consumers"]} == {frozenset(k) for k in local["consumers"]}
    assert {k["lag"] for k in status["consumers"]} == {0}
    names = {s["name"] for s in status["services"]}
    assert names == {s["name"] for s in local["services"]} and "daybook.visits.v1.ConsumerService" in names
    text = run("status").stdout
    assert "all ready, settled" in text and "DAEMON" not in text and "reminders" in text


def test_status_without_the_scope_for_the_bus_shows_the_rest(told, run):
    for who in ("gm", "reader"):
        status = told("status", who=who)
        assert status["ready"] and status["services"] == [] and "bus.read" in status["busFault"]
        assert len(status["consumers"]) == len(AREAS) and status["timersParked"] == 0
        assert "bus.read" in run("status", who=who).stdout


def test_status_waits_until_settled_or_says_that_it_is_not(company, run):
    assert run("status", "--wait", "30s").returncode == 0
    with company.stack.stopped("scoring"):
        company.rep.command(CUSTOMERS + "CustomerService/Create", {"customer": {"name": f"Unheard {uuid.uuid4()}"}})
        done = run("status", "--wait", "100ms", "--json", "--timeout", "300ms")
        assert done.returncode == 75, done.stderr
        state = json.loads(done.stdout)
        assert not state["settled"] and not state["ready"]
        assert [k["name"] for k in state["consumers"] if "fault" in k] == ["scoring"]
    assert run("status", "--wait", "60s").returncode == 0


def test_status_shows_who_is_behind(company, told, run):
    """It is ready, and not settled; and waits at most so long."""
    company.stack.settle()
    company.stack.psql("update scoring.consumer_cursor set replay_until = seq + 1000000")
    try:
        done = run("status", "--wait", "300ms", "--json")
        assert done.returncode == 75 and "not settled within" in done.stderr
        assert "rebuilding up to" in run("status").stdout and not told("status")["settled"]
    finally:
        company.stack.psql("update scoring.consumer_cursor set replay_until = 0")


def test_the_help_says_what_is_not_shown(company):
    text = elsewhere(company, "status", "--help").stdout
    assert "It does not show" in text and "memory" in text and "consumers.read" in text
