"""Each daemon is killed at each step of a command: before and after everything that it sends (killat.c) to
PostgreSQL, to the bus, to whoever asked, by HTTP (F01 to F06). It is started again, the command is repeated with its
key, and what comes of it is what comes of it undisturbed: one answer, one effect, each event once and in order.

A sweep goes over the steps of the daemon's threads of one name, up to the one that the command does not come to.
What these do anyway (heartbeats, polls) is counted when it falls into the command's time, so that a sweep may be
longer than the command, and come to a step twice.
"""

import datetime as dt
import http.client
import socket
import types

import pytest
from company import CUSTOMERS, DIRECTORY, REMINDERS, SCORING, VISITS
from judge import Judge
from stack import UTC, Replica, stamp, wait_until
from steps import LONGEST, FirstTryOverHttp, Scene, Stage, WebScene, sweep
from web import new_key

SOON = dt.timedelta(seconds=0.3)
ORDER = 60_000_000  # makes a customer of the highest potential B
TRIES = 60  # until one of two replicas has a command


def now():
    return dt.datetime.now(UTC)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("steps"))
    try:
        stage.up()
        yield stage
        stage.stack.down()
        assert not stage.stack.sanitizer_reports(), "\n".join(stage.stack.sanitizer_reports())
    finally:
        stage.remove()


class Talk(Scene):
    """A talk that leaves a question, whose clock begins to run."""

    daemon = "customers"
    events = {"customers": ["InteractionRecorded", "QuestionOpened"], "reminders": ["ReminderOpened"]}
    rows = ("select id from customers.interaction where content = %(token)s union all select id from"
            " customers.question where text = %(token)s || '?'")

    def command(self, token):
        return CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
            "customerId": self.stage.shop.id, "channel": "CHANNEL_PHONE", "content": token,
            "questions": [{"text": f"{token}?"}]}}

    def ids(self, answer):
        return [answer.interaction.id, *(q.id for q in answer.interaction.questions)]


class TalkByBus(Talk):
    """F02, F03: the request, the answer, and the relay of the events."""

    daemon = "bus"
    threads = {"relay": 2, "ZMQbg": 10}


class Visit(Scene):
    daemon = "visits"
    events = {"visits": ["VisitRequested"]}
    rows = "select id from visits.visit where goal = %(token)s"

    def __init__(self, stage):
        super().__init__(stage)
        self.contact = stage.company.contact(stage.shop)

    def command(self, token):
        starts = now() + dt.timedelta(minutes=30)
        return VISITS + "VisitService/Request", {"visit": {
            "customerId": self.stage.shop.id, "contactId": self.contact.id, "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"],
            "goal": token, "place": "At the shop.", "startsAt": stamp(starts),
            "endsAt": stamp(starts + dt.timedelta(milliseconds=1))}}

    def ids(self, answer):
        return [answer.visit.id]


class Employee(Scene):
    """The directory's consumer writes the audit trail."""

    daemon = "directory"
    events = {"directory": ["EmployeeCreated"]}
    rows = "select id from directory.employee where employee_no = %(token)s"

    def client(self):
        return self.stage.stack.client(principal=self.stage.company.system.principal)

    def command(self, token):
        company = self.stage.company
        return DIRECTORY + "DirectoryService/CreateEmployee", {"employee": {
            "employeeNo": token, "name": "Mx New", "unitId": company.units["EAST"], "roles": ["rep"],
            "superiorId": company.ids["lead"], "active": True}}

    def ids(self, answer):
        return [answer.employee.id]


class Promise(Scene):
    """F04: falls due at once, and is posted to a web server."""

    daemon = "reminders"
    threads = {"consumer": 4, "timers": 2, "delivery": 6, "ZMQbg": 1}
    has_leases, on_its_way = True, False
    events = {"visits": ["CommitmentMade"], "reminders": ["ReminderOpened", "ReminderFired"]}
    rows = "select id from visits.commitment where text = %(token)s"
    told = ("select n.channel, n.state, n.id from reminders.notification n join reminders.obligation o on o.id ="
            " n.obligation_id join visits.commitment c on o.subject = 'commitments/' || c.id"
            " where c.text = %(token)s order by 1")

    def __init__(self, stage):
        super().__init__(stage)
        stage.company.rep.command(REMINDERS + "ChannelService/Set", {
            "employeeId": stage.company.ids["rep"], "url": stage.receiver.url})

    def command(self, token):
        return VISITS + "CommitmentService/Add", {"commitment": {
            "customerId": self.stage.shop.id, "text": token, "promisedAt": stamp(now() - dt.timedelta(minutes=1)),
            "dueAt": stamp(now() + SOON)}}

    def ids(self, answer):
        return [answer.commitment.id]

    def is_done(self, token):
        return all(state == "delivered" for _, state, _ in self.stage.rows(self.told, token=token))

    def check(self, token, answer):
        super().check(token, answer)
        told = self.stage.rows(self.told, token=token)
        assert [channel for channel, *_ in told] == ["http", "in_app", "in_app"], told
        check_posts(self.stage.receiver, answer.commitment.id, str(told[0][2]))


def check_posts(receiver, subject, id_):
    """Once, or again with the same id and body."""
    posts = [(headers["webhook-id"], body) for headers, body in receiver.got if subject in body.decode()]
    assert set(posts) == {(id_, posts[0][1])}, posts


class Customer(WebScene):
    """F05: over HTTP, and its event is posted to another system."""

    daemon = "gateway"
    threads = {"http": 1, "consumer": 3, "webhooks": 5, "ZMQbg": 1}
    has_leases = True
    events = {"customers": ["CustomerCreated"], "scoring": ["CustomerTierChanged"]}
    rows = "select id from customers.customer where name = %(token)s"
    delivery = ("select d.state, d.event_id from gateway.delivery d join bus.log l on l.event_id = d.event_id join"
                " customers.customer c on l.aggregate = 'customers/' || c.id where c.name = %(token)s")

    def __init__(self, stage):
        scopes = ["webhooks.read", "webhooks.write", "events.read", "customers.read", "customers.write", "tenant.all"]
        super().__init__(stage, new_key(stage.company, scopes=scopes).api_key)
        self.second.command("daybook.gateway.v1.WebhookService/CreateEndpoint", {"endpoint": {
            "url": stage.receiver.url, "types": [CUSTOMERS + "CustomerCreated"]}}, "endpoint", LONGEST)

    def command(self, token):
        return CUSTOMERS + "CustomerService/Create", {"customer": {
            "name": token, "ownerId": self.stage.company.ids["rep"]}}

    def ids(self, answer):
        return [answer.customer.id]

    def is_done(self, token):
        return [state for state, _ in self.stage.rows(self.delivery, token=token)] == ["delivered"]

    def check(self, token, answer):
        super().check(token, answer)
        (_, event), = self.stage.rows(self.delivery, token=token)
        check_posts(self.stage.receiver, answer.customer.id, str(event))


class Order(Scene):
    """F06: an order lifts a customer's tier."""

    daemon = "scoring"
    threads = {"consumer": 3, "ZMQbg": 1}
    on_its_way = False
    events = {"customers": ["OrderRecorded"], "scoring": ["CustomerTierChanged"]}
    rows = ("select o.id from customers.sales_order o join customers.customer c on c.id = o.customer_id"
            " where c.name = %(token)s")
    figures = ("select s.value_score, s.tier, s.orders_12m, s.amount_minor, s.tier_version, (select count(*) from"
               " scoring.tier_change t where t.customer_id = s.customer_id), (select count(*) from scoring.order_fact f"
               " where f.customer_id = s.customer_id) from scoring.score s join customers.customer c on c.id ="
               " s.customer_id where c.name = %(token)s")

    def command(self, token):
        shop = self.stage.company.customer("rep", name=token, potentialRating=100)
        self.stage.stack.settle(LONGEST)  # that was another command, and brings a tier of its own
        self.stage.expected_head = None
        return CUSTOMERS + "DealService/RecordOrder", {"order": {
            "customerId": shop.id, "kind": "ORDER_KIND_ORDER", "orderedAt": stamp(now()),
            "amount": {"currencyCode": "CNY", "minorUnits": str(ORDER)}}}

    def ids(self, answer):
        return [answer.order.id]

    def check(self, token, answer):
        super().check(token, answer)
        # 0.30 F of one order of 12, 0.40 M in full, 0.30 P in full
        assert self.stage.rows(self.figures, token=token) == [(pytest.approx(72.5), "b", 1, ORDER, 2, 2, 1)]


class Recompute(Scene):
    daemon = "scoring"
    who = "manager"
    events = {"scoring": ["RecomputeRequested"]}
    figures = "select * from scoring.score where customer_id = %s"

    def command(self, token):
        self.before = self.score()
        return SCORING + "CustomerScoreService/Recompute", {"customerId": self.stage.shop.id}

    def score(self):
        cursor = self.stage.db.execute(self.figures, [self.stage.shop.id])
        score = dict(zip((column.name for column in cursor.description), cursor.fetchone()))
        return score.pop("scored_at"), score

    def check(self, token, answer):
        (before, figures), (after, again) = self.before, self.score()
        assert again == figures and after > before


def sweeps(*scenes):
    return pytest.mark.parametrize(("scene", "thread", "after"), [
        pytest.param(scene, thread, after, id=f"{scene.__name__}-{thread}-{'after' if after else 'before'}")
        for scene in scenes for thread in scene.threads for after in (False, True)])


@sweeps(Talk, Visit, Employee)
def test_f01_a_domain_daemon(stage, scene, thread, after):
    run(stage, scene, thread, after)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, Talk.threads["worker"] + 1))
def test_f01_another_replica_answers(stage, replica, step, after):
    """The killed one's session may still be at work when the other one has the command."""
    scene = stage.scene(Talk)
    assert any(stage.play(scene, "worker", step, after) for _ in range(TRIES)), "the other one always had it"


@pytest.fixture
def replica(stage, tmp_path):
    stage.replica = Replica(stage.stack, "customers", tmp_path / "log", variables={"LD_PRELOAD": ""})
    try:
        yield stage.replica.until_ready(LONGEST)
        assert stage.replica.drain(LONGEST) == 0
    finally:
        stage.replica.end()
        stage.replica = None


@sweeps(TalkByBus)
def test_f02_f03_the_bus(stage, scene, thread, after):
    run(stage, scene, thread, after)


@sweeps(Promise)
def test_f04_reminders(stage, scene, thread, after):
    run(stage, scene, thread, after)


@sweeps(Customer)
def test_f05_the_gateway(stage, scene, thread, after):
    run(stage, scene, thread, after)


@sweeps(Order, Recompute)
def test_f06_scoring(stage, scene, thread, after):
    run(stage, scene, thread, after)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"])
def test_f05_an_answer_that_was_cut_short_is_none(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = types.SimpleNamespace(connection=http.client.HTTPConnection(*listener.getsockname(), timeout=LONGEST),
                                       headers=lambda more: more)
        first = FirstTryOverHttp(types.SimpleNamespace(caller=caller), CUSTOMERS + "CustomerService/Create", {}, "key")
        gateway, _ = listener.accept()
        with gateway, gateway.makefile("rb") as request:
            while request.readline().strip():
                pass
            assert request.read(2) == b"{}", "all of it is read, or the end would be a reset"
            gateway.sendall(answer)
    wait_until(lambda: first.is_answered() or first.ended, LONGEST, "the end was seen")
    assert first.answer is None


def run(stage, scene, thread, after):
    steps = sweep(stage, stage.scene(scene), thread, after)
    assert steps >= scene.threads[thread], "too few: the sweep passed over the command"
    stage.swept.append(f"{scene.__name__:9} {thread:8} {'after' if after else 'before':6} {steps:3} steps")


def test_f01_what_was_killed_had_done_the_command_or_not(stage, tell):
    """Else no kill fell between its begin and its end."""
    tell("\n".join(stage.swept))
    for scene, played in stage.scenes.items():
        assert not scene.on_its_way or played.left_done == {True, False}, scene


def test_f01_f03_f04_f06_all_of_it_tells_the_same(stage):
    stage.stack.settle(LONGEST)
    judge = Judge(stage.stack, "step-", [], [stage.company])
    judge.check_log()
    judge.check_events_complete()
    judge.check_timers()
    judge.check_lists()
    judge.check_consumers()
    judge.check_rebuilds()


def test_f01_the_audit_trail_is_whole(stage):
    done = stage.stack.daybook("audit", "verify", "--tenant", stage.company.tenant)
    assert done.returncode == 0, done.stdout + done.stderr
    for one, other in (("bus.log", "directory.audit_entry"), ("directory.audit_entry", "bus.log")):
        missing = stage.rows(f"select event_id from {one} except all select event_id from {other} limit 5")
        assert not missing, f"in {one}, but not in {other}: {missing}"
