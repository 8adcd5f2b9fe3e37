"""The load of the crash and chaos tests: clients that command as people do, and write down what was
acknowledged.

Run as a process of its own, with its settings as JSON on standard input; it works until its standard
input is closed, then finishes what it has begun and ends. Each thread is one client with one file of
the ledger, a line for each acknowledged command, with the number of its tries. A command is repeated
with its key until it is known what became of it; one that nobody answered for PATIENCE is written
down as unknown: it was done once or not at all. Whatever is refused is written down too: the commands
are all such that none may be.
"""

import base64
import datetime as dt
import http.client
import json
import pathlib
import random
import sys
import threading
import time
import uuid

from google.protobuf import json_format

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "acceptance"))
import contract  # noqa: E402

contract.load()
import mdp  # noqa: E402
from web import Caller  # noqa: E402

CUSTOMERS = "daybook.customers.v1."
VISITS = "daybook.visits.v1."
UTC = dt.timezone.utc
PATIENCE = 180  # for one command, however often it must be repeated
REPORT = {"participants": ["owner"], "content": "Seen.", "needs": "None.", "feedback": "Good.",
          "outcome": "GOAL_OUTCOME_MET", "contactName": "Mx Li", "contactPosition": "Owner",
          "salesOutcome": "SALES_OUTCOME_NONE", "nextSteps": [{"text": "Call.", "date": "2100-01-01"}]}


# What may be repeated with the same key, as its answer says (operations 4).
AGAIN = ("UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
HTTP_TIMEOUT = 8


def stamp(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Door:
    """Where a gateway is, for Caller."""

    def __init__(self, address):
        self.address = address

    def env_of(self, _name):
        return {"DAYBOOK_HTTP_LISTEN": self.address}


class WebClient:
    """Commands over HTTP, as mdp.Client gives them over the bus; to one of several gateways (address "a,b"), and to
    the next one when that does not answer or can do nothing."""

    def __init__(self, address, api_key):
        self.doors, self.api_key, self.calls = [Door(one) for one in address.split(",")], api_key, 0
        random.shuffle(self.doors)
        self.metadata = {}
        self.open()

    def open(self):
        self.caller = Caller(self.doors[0], self.api_key, timeout=HTTP_TIMEOUT)

    def go_on(self):
        self.caller.connection.close()
        self.doors.append(self.doors.pop(0))
        self.open()

    def call(self, method, request, key):
        """Raises what mdp.Client raises."""
        self.calls += 1
        try:
            answer = self.caller.post(method, request, Idempotency_Key=key, Connect_Timeout_Ms="5000")
            body = answer.json
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: cut short
            self.go_on()
            raise mdp.NoAnswer(repr(error)) from None
        if answer.status != 200:
            if answer.status == 503:
                self.go_on()
            raise mdp.CallError(body["code"].upper(), body.get("message", ""), details_of(body))
        self.metadata = {name.lower(): value for name, value in answer.headers.items()}
        return json_format.ParseDict(body, mdp.method_classes(method)[1]())

    def command(self, method, request, key, patience):
        self.failed = []
        return mdp.repeat(self.call, patience, method, request, failed=self.failed, key=key)


def details_of(body):
    """Of a Connect error, as mdp.error_of() gives them."""
    found = {}
    for detail in body.get("details", []):
        name = detail["type"].rsplit(".", 1)[1]
        value = detail["value"] + "=" * (-len(detail["value"]) % 4)
        found[name] = mdp.message_class(detail["type"]).FromString(base64.b64decode(value))
    return found


class Worker(threading.Thread):
    """One rep at work. tokens are unique for ever, so whatever is done twice shows."""

    def __init__(self, number, settings, stopping):
        super().__init__(daemon=True)
        self.settings, self.stopping, self.number = settings, stopping, number
        self.rng = random.Random(f"{settings['seed']}/{number}")
        rep = settings["reps"][number % len(settings["reps"])]
        self.rep, self.boss = self.client(rep), self.client(settings["boss"])
        self.shops = rep["customers"]
        self.name = f"{settings['run']}-{number}"
        self.made = 0
        self.slot = 0
        self.questions, self.promises, self.visits, self.own = [], [], [], []
        self.ledger = open(pathlib.Path(settings["ledger"]) / f"{self.name}.jsonl", "a", buffering=1)

    def client(self, who):
        """Every third one comes over HTTP, where there is a gateway."""
        if self.settings.get("gateway") and self.number % 3 == 2:
            return WebClient(self.settings["gateway"], who["api_key"])
        return mdp.Client(self.settings["endpoint"], mdp.Keys(self.settings["server_key"], who["public"],
                                                              who["secret"]), timeout=5)

    def run(self):
        pause = self.settings["threads"] / self.settings["rate"]
        next_at = time.monotonic() + self.rng.uniform(0, pause)
        actions = [(self.talk, 30), (self.answer, 20), (self.order, 20), (self.pay, 5), (self.visit, 15),
                   (self.promise, 6), (self.keep, 4), (self.found, 3), (self.move, 5)]
        while not self.stopping.is_set():
            time.sleep(max(0, next_at - time.monotonic()))
            next_at = max(next_at + pause, time.monotonic())  # what an outage cost is not made up for
            self.rng.choices([a for a, _ in actions], [w for _, w in actions])[0]()
        self.ledger.close()

    def token(self):
        self.made += 1
        return f"{self.name}-{self.made}"

    def command(self, client, kind, token, method, request, also=()):
        """Until it is acknowledged; None and an entry of its own when it is refused or nobody knows.
        also: tokens of what it makes besides."""
        key = str(uuid.uuid4())
        started, calls = time.time(), client.calls
        try:
            answer = client.command(method, request, key=key, patience=PATIENCE)
        except (mdp.CallError, mdp.NoAnswer) as error:
            unknown = isinstance(error, mdp.NoAnswer) or error.code in AGAIN
            self.write(kind="unknown" if unknown else "refused", what=kind, token=token, also=list(also), key=key,
                       began=started, at=time.time(), tries=client.calls - calls, error=repr(error))
            return None
        self.at = {"began": started, "at": time.time(), "key": key, "tries": client.calls - calls,
                   "failed": client.failed, "replayed": "idempotent-replayed" in client.metadata}
        if self.rng.random() < self.settings.get("repeats", 0):
            self.repeat(client, kind, token, method, request, key, answer)
        return answer

    def repeat(self, client, kind, token, method, request, key, answer):
        """As who has not heard the answer: it must be the same one (F34, F60)."""
        calls = client.calls
        try:
            again = client.command(method, request, key=key, patience=PATIENCE)
        except (mdp.CallError, mdp.NoAnswer) as error:
            if isinstance(error, mdp.NoAnswer) or error.code in AGAIN:
                return  # it was acknowledged before
            again = error
        self.at["tries"] += client.calls - calls
        if again != answer:
            self.write(kind="differs", what=kind, token=token, key=key, first=str(answer), then=str(again))

    def write(self, **entry):
        self.ledger.write(json.dumps(entry) + "\n")

    # --- what people do ---------------------------------------------------------------------------

    def talk(self):
        """Every second one leaves a question, of which some fall due within seconds (TMR-01)."""
        token, ended = self.token(), dt.datetime.now(UTC) - dt.timedelta(hours=30)
        asked = dt.datetime.now(UTC) - dt.timedelta(hours=24) + self.soon()
        questions = [{"text": f"{token}?", "askedAt": stamp(asked)}] if self.rng.random() < 0.5 else []
        done = self.command(self.rep, "talk", token, CUSTOMERS + "InteractionService/RecordInteraction", {
            "interaction": {"customerId": self.rng.choice(self.shops), "channel": "CHANNEL_PHONE",
                            "endedAt": stamp(ended), "content": token, "questions": questions}})
        if done:
            ids = [q.id for q in done.interaction.questions]
            self.questions += ids
            self.write(kind="talk", token=token, id=done.interaction.id, questions=ids, **self.at)

    def answer(self):
        """Every third question stays open, so that its clock runs out."""
        if not self.questions:
            return
        question = self.questions.pop(self.rng.randrange(len(self.questions)))
        if self.rng.random() < 0.33:
            return
        if self.command(self.rep, "answer", question, CUSTOMERS + "InteractionService/AnswerQuestion",
                        {"questionId": question, "answer": "Yes.", "final": True}):
            self.write(kind="answer", token=question, id=question, **self.at)

    def order(self):
        token = self.amount()
        done = self.command(self.rep, "order", token, CUSTOMERS + "DealService/RecordOrder", {"order": {
            "customerId": self.rng.choice(self.shops), "kind": "ORDER_KIND_ORDER",
            "orderedAt": stamp(dt.datetime.now(UTC) - dt.timedelta(days=self.rng.randrange(300))),
            "amount": {"currencyCode": "CNY", "minorUnits": token}}})
        if done:
            self.write(kind="order", token=token, id=done.order.id, **self.at)

    def pay(self):
        token = self.amount()
        done = self.command(self.rep, "payment", token, CUSTOMERS + "DealService/RecordPayment", {"payment": {
            "customerId": self.rng.choice(self.shops), "paidAt": stamp(dt.datetime.now(UTC) - dt.timedelta(hours=1)),
            "amount": {"currencyCode": "CNY", "minorUnits": token}}})
        if done:
            self.write(kind="payment", token=token, id=done.payment.id, **self.at)

    def soon(self):
        """So long until a clock runs out, in this run."""
        return dt.timedelta(seconds=self.rng.uniform(1, self.settings["soon"]))

    def amount(self):
        """Unique, and thus the token of a row that has no text."""
        return str(uuid.uuid4().int % 10**15 + 1)

    def visit(self):
        """One step of one visit: there are always some at every step."""
        if len(self.visits) < 4:
            return self.begin_visit()
        visit = self.visits.pop(0)
        step = visit["step"]
        service = VISITS + "VisitService/"
        promise = self.token()
        client, method, request = {
            "requested": (self.boss, "Review", {"approve": True}),
            "approved": (self.rep, "CheckIn", {}),
            "checked_in": (self.rep, "CheckOut", {}),
            "ended": (self.rep, "SubmitReport", {"report": REPORT, "commitments": [{"text": promise}]}),
            "reported": (self.boss, "ReviewReport", {"accept": True}),
        }[step]
        done = self.command(client, "visit", visit["token"], service + method,
                            {"visitId": visit["id"], **request}, also=[promise] if step == "ended" else [])
        if not done:
            return
        visit["step"] = {"requested": "approved", "approved": "checked_in", "checked_in": "ended",
                         "ended": "reported", "reported": "closed"}[step]
        self.write(kind="visit", token=visit["token"], id=visit["id"], step=visit["step"], **self.at)
        if step == "ended":
            self.write(kind="promise", token=promise, id=done.commitments[0].id, **{**self.at, "tries": 0})
        if visit["step"] != "closed":
            self.visits.append(visit)

    def begin_visit(self):
        token, starts, shop = self.token(), self.next_slot(), self.rng.choice(self.shops)
        done = self.command(self.rep, "visit", token, VISITS + "VisitService/Request", {"visit": {
            "customerId": shop, "contactId": self.settings["contacts"][shop],
            "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"], "goal": token, "place": "At the shop.",
            "startsAt": stamp(starts), "endsAt": stamp(starts + dt.timedelta(milliseconds=1))}})
        if done:
            self.visits.append({"token": token, "id": done.visit.id, "step": "requested"})
            self.write(kind="visit", token=token, id=done.visit.id, step="requested", **self.at)

    def next_slot(self):
        """A millisecond of this worker's own, half an hour ahead: the check-in comes before it and within the
        window of three hours (CON-23), at midnight too, so that no visit is unregistered."""
        grid = self.settings["threads"]  # milliseconds, one for each worker
        self.slot = max(self.slot + 1, int((time.time() + 1800) * 1000) // grid + 1)
        return dt.datetime.fromtimestamp((self.slot * grid + self.number) / 1000, UTC)

    def promise(self):
        """Due within seconds (TMR-42)."""
        token = self.token()
        due = dt.datetime.now(UTC) + self.soon()
        promised = dt.datetime.now(UTC) - dt.timedelta(minutes=1)
        done = self.command(self.rep, "promise", token, VISITS + "CommitmentService/Add", {"commitment": {
            "customerId": self.rng.choice(self.shops), "text": token, "promisedAt": stamp(promised),
            "dueAt": stamp(due)}})
        if done:
            self.promises.append(done.commitment.id)
            self.write(kind="promise", token=token, id=done.commitment.id, **self.at)

    def keep(self):
        if len(self.promises) < 2:
            return
        promise = self.promises.pop(self.rng.randrange(len(self.promises)))
        if self.command(self.rep, "keep", promise, VISITS + "CommitmentService/Complete",
                        {"commitmentId": promise, "result": "Kept."}):
            self.write(kind="keep", token=promise, id=promise, **self.at)

    def found(self):
        token = self.token()
        done = self.command(self.rep, "customer", token, CUSTOMERS + "CustomerService/Create", {
            "customer": {"name": token, "industry": "bakery"}, "allowDuplicate": True})
        if done:
            self.own.append(done.customer.id)
            self.write(kind="customer", token=token, id=done.customer.id, **self.at)

    def move(self):
        """A customer that nobody else changes, so that the last address is known."""
        if not self.own:
            return
        token, customer = self.token(), self.rng.choice(self.own)
        if self.command(self.rep, "move", customer, CUSTOMERS + "CustomerService/Update", {
                "customer": {"id": customer, "address": token}, "updateMask": "address"}):
            self.write(kind="move", token=customer, id=customer, address=token, **self.at)
        else:
            self.own.remove(customer)


def main():
    settings = json.loads(sys.stdin.readline())
    stopping = threading.Event()
    workers = [Worker(n, settings, stopping) for n in range(settings["first"], settings["first"] + settings["own"])]
    for worker in workers:
        worker.start()
    print("ready", flush=True)
    sys.stdin.read()  # until it is closed
    stopping.set()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
