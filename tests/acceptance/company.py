"""A company for a test: people in one reporting line, each with a CURVE key of his own, and short
ways to do what several tests need.

    gm (general manager)
      manager (sales manager)
        supervisor
          lead (team lead):  rep, rep2
          lead2 (team lead): rep3
"""

import datetime as dt
import itertools
import json
import uuid

import zmq

import mdp
from stack import ROOT, SLACK, UTC, stamp, wait_until

DIRECTORY = "daybook.directory.v1."
CUSTOMERS = "daybook.customers.v1."
VISITS = "daybook.visits.v1."
REMINDERS = "daybook.reminders.v1."
SCORING = "daybook.scoring.v1."
BUS = "daybook.bus.v1."

LINE = (  # who, staff number, role, superior, unit
    ("gm", "E001", "general_manager", None, "HQ"),
    ("manager", "E002", "sales_manager", "gm", "HQ"),
    ("supervisor", "E003", "supervisor", "manager", "EAST"),
    ("lead", "E004", "team_lead", "supervisor", "EAST"),
    ("lead2", "E005", "team_lead", "supervisor", "WEST"),
    ("rep", "E006", "rep", "lead", "EAST"),
    ("rep2", "E007", "rep", "lead", "EAST"),
    ("rep3", "E009", "rep", "lead2", "WEST"),
)
UNITS = (("HQ", None), ("EAST", "HQ"), ("WEST", "HQ"))
SECONDS = 20 * SLACK  # for whatever happens "at once"


def when(timestamp):
    """A Timestamp as datetime."""
    return timestamp.ToDatetime(tzinfo=UTC)


class Company:
    numbers = itertools.count(1)

    def __init__(self, stack, clock=None, tenant=None, calendar=True):
        self.stack, self.clock = stack, clock
        self.system = stack.client()
        self.name = f"Test company {next(self.numbers)}"
        self.ids, self.keys, self.units, self.clients = {}, {}, {}, {}
        made = self.system.command(DIRECTORY + "DirectoryService/CreateTenant", {"tenant": {
            "id": tenant or "", "name": self.name, "timeZone": "Asia/Shanghai", "currencyCode": "CNY"}},
            principal={"kind": "ACTOR_KIND_SYSTEM"})
        self.tenant = made.tenant.id
        self.system.principal = {"tenantId": self.tenant, "kind": "ACTOR_KIND_SYSTEM"}
        self.make_people()
        if calendar:
            self.import_calendar(2026)
        self.wait_until_known()

    def make_people(self):
        service = DIRECTORY + "DirectoryService/"
        for code, parent in UNITS:
            unit = self.system.command(service + "CreateUnit", {"unit": {
                "code": code, "name": f"Unit {code}", "parentId": self.units.get(parent, "")}}).unit
            self.units[code] = unit.id
        for who, number, role, superior, unit in LINE:
            employee = self.system.command(service + "CreateEmployee", {"employee": {
                "employeeNo": number, "name": f"Mx {who}", "unitId": self.units[unit],
                "roles": [role], "superiorId": self.ids.get(superior, ""), "active": True}}).employee
            self.ids[who] = employee.id
            self.keys[who] = self.register_key(employeeId=employee.id, label=f"laptop of {who}")

    def register_key(self, **request):
        """A new CURVE pair, admitted to the bus."""
        public, secret = (key.decode() for key in zmq.curve_keypair())
        self.system.command(DIRECTORY + "CredentialService/RegisterCurveKey",
                            {"curvePublicKey": public, **request})
        return mdp.Keys(self.stack.env["DAYBOOK_BUS_SERVER_KEY"], public, secret)

    def import_calendar(self, year):
        days = json.loads((ROOT / f"tests/data/calendar/cn-{year}.json").read_text())["days"]
        self.system.command(DIRECTORY + "CalendarService/ImportDays", {"year": year, "days": [
            {"date": d["date"], "name": d["name"], "isOffDay": d["is_off_day"]} for d in days]})

    def wait_until_known(self):
        """Until all daemons know these people: each looks at the directory once a second at least."""
        def known(method, request, who):
            try:
                self.clients_of(who).call(method, request, timeout=1)
                return True
            except mdp.NoAnswer:
                return False
            except mdp.CallError as error:
                return error.code == "NOT_FOUND"
        last = LINE[-1][0]
        nobody = str(uuid.uuid4())
        for method, request in (
                (CUSTOMERS + "CustomerService/List", {"pageSize": 1}),
                (VISITS + "VisitService/List", {"pageSize": 1}),
                (REMINDERS + "TaskService/GetDailyTasks", {}),
                (SCORING + "CustomerScoreService/Get", {"customerId": nobody}),
                (DIRECTORY + "DirectoryService/GetEmployee", {"employeeNo": "E006"})):
            wait_until(lambda: known(method, request, last), SECONDS, f"{method} knew {last}")

    def clients_of(self, who):
        """The person's connection, with the person's own key."""
        if who not in self.clients:
            self.clients[who] = self.stack.client(self.keys[who])
        return self.clients[who]

    def __getattr__(self, who):
        """company.rep.call(...)"""
        if who not in self.ids:
            raise AttributeError(who)
        return self.clients_of(who)

    # --- what many tests do -----------------------------------------------------------------------

    def customer(self, who="rep", name=None, **fields):
        name = name or f"Shop {uuid.uuid4()}"
        made = getattr(self, who).command(CUSTOMERS + "CustomerService/Create",
                                          {"customer": {"name": name, **fields}}).customer
        # Visits, reminders and scoring hear of it by its event.
        self.seen(self.system, SCORING + "CustomerScoreService/Get", {"customerId": made.id})
        wait_until(lambda: self.stack.sql(
            f"select 1 from visits.customer where id = '{made.id}'") and self.stack.sql(
            f"select 1 from reminders.customer_ref where id = '{made.id}'"), SECONDS,
            "visits and reminders heard of the customer")
        return made

    def contact(self, customer, who="rep"):
        """A new person at that customer, known to visits."""
        made = getattr(self, who).command(CUSTOMERS + "ContactService/Create", {"contact": {
            "customerId": customer.id, "name": "Mx Li", "position": "Owner"}}).contact
        wait_until(lambda: self.stack.sql(f"select 1 from visits.contact where id = '{made.id}'"), SECONDS,
                   "visits heard of the contact")
        return made

    def seen(self, client, method, request):
        """The answer, as soon as there is one: what comes by event is not there at once."""
        def ask():
            try:
                return client.call(method, request)
            except mdp.CallError as error:
                if error.code != "NOT_FOUND":
                    raise
                return None
        return wait_until(ask, SECONDS, f"{method} found {request}")

    def ask(self, customer, who="rep", text="Can you deliver before ten?", **interaction):
        """A talk with an open question; returns the question."""
        made = getattr(self, who).command(CUSTOMERS + "InteractionService/RecordInteraction", {
            "interaction": {"customerId": customer.id, "channel": "CHANNEL_PHONE",
                            "direction": "DIRECTION_INBOUND", "content": "Talked.",
                            "questions": [{"text": text}], **interaction}})
        return made.interaction.questions[0]

    def answer(self, question, who="rep", final=True):
        promised = {} if final else {"finalPromisedAt": self.at(hours=72)}
        return getattr(self, who).command(CUSTOMERS + "InteractionService/AnswerQuestion", {
            "questionId": question.id, "answer": "Yes.", "final": final, **promised}).question

    def reminder(self, rule, subject, condition=lambda got: True, what="it was there"):
        """The duty as ReminderService/Get tells it, as soon as the condition holds."""
        def ask():
            got = self.seen(self.system, REMINDERS + "ReminderService/Get",
                            {"rule": rule, "subject": subject})
            return got if condition(got) else None
        return wait_until(ask, SECONDS, f"{rule} of {subject}: {what}")

    def told(self, rule, subject, count):
        """The notices of a duty once there are that many: [(kind, who, late)] in order."""
        names = {i: who for who, i in self.ids.items()}
        got = self.reminder(rule, subject, lambda g: len(g.deliveries) >= count, f"{count} notices")
        return [(kind_name(d.step_kind), names[d.recipient_id], d.late) for d in got.deliveries]

    def tasks(self, who="rep", **request):
        return getattr(self, who).call(REMINDERS + "TaskService/GetDailyTasks", request)

    def at(self, **span):
        """A moment relative to the clock, as JSON text."""
        return stamp(self.clock.now + dt.timedelta(**span))


def kind_name(number):
    return ("", "warning", "due", "escalation")[number]
