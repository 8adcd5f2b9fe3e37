#!/usr/bin/env python3
"""Plays one working week of the sample company through the public messages, and prints what
happened, all of it read back from the running services.

The stack must be up with a steered clock and empty data (`make demo` sees to both). Time stands
still between the script's moments and is turned to each of them, and to each moment at which a
reminder is to act, so the outcome is the same to the minute on every run. At the end the clock goes on
from there, as fast as real time.
"""

import argparse
import datetime as dt
import json
import pathlib
import subprocess
import sys
import time

ZONE = dt.timezone(dt.timedelta(hours=8))  # the sample company's: Asia/Shanghai
CUSTOMERS = "daybook.customers.v1."
VISITS = "daybook.visits.v1."
REMINDERS = "daybook.reminders.v1."
DIRECTORY = "daybook.directory.v1."
SCORING = "daybook.scoring.v1."
BUS = "daybook.bus.v1."


def at(day, clock):
    """An instant of the played week, e.g. at(16, "09:12") for November 2026."""
    hour, minute = map(int, clock.split(":"))
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


def stamp(moment):
    return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(text):
    """A Timestamp of an answer as local text, to the minute, with seconds only where they count."""
    moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(ZONE)
    return moment.strftime("%a %d %b %H:%M:%S" if moment.second else "%a %d %b %H:%M")


def money(amount):
    return f"{amount['currencyCode']} {int(amount['minorUnits']) / 100:,.2f}"


class Failed(Exception):
    pass


class Company:
    """The sample company as seen by a client: calls, and a clock that can be turned."""

    def __init__(self, data, clock):
        self.data = data
        self.clock = clock
        company = json.loads((data / "company.json").read_text(encoding="utf-8"))
        self.tenant = company["tenant"]
        self.units = company["units"]
        self.employees = {e["employee_no"]: e for e in company["employees"]}
        self.now = None
        self.steps = 0

    def daybook(self, *args, capture=True):
        done = subprocess.run(["daybook", *args], stdout=subprocess.PIPE if capture else None,
                              stderr=subprocess.PIPE if capture else None, text=True)
        if done.returncode != 0:
            raise Failed(f"daybook {' '.join(args)}\n{done.stderr or ''}")
        return done.stdout

    def call(self, method, request, actor=None, key=None):
        args = ["call", method, json.dumps(request, ensure_ascii=False), "--json",
                "--tenant", self.tenant["id"]]
        if actor:
            args += ["--as", actor]
        if key is None:
            self.steps += 1
            key = f"demo-{self.steps}"
        return json.loads(self.daybook(*args, "--key", key) or "{}")

    def name(self, employee_id):
        for e in self.employees.values():
            if e["id"] == employee_id:
                return f"{e['employee_no']} {e['name']}"
        return employee_id

    def turn(self, moment, rate=0):
        self.daybook("clock", str(self.clock), stamp(moment), "--rate", str(rate))
        self.now = moment

    def all(self, method, field, request=None):
        """Every row of a List method, page by page."""
        rows, token = [], ""
        while True:
            got = self.call(method, {**(request or {}), "pageSize": 1000, "pageToken": token})
            rows += got.get(field, [])
            token = got.get("nextPageToken", "")
            if not token:
                return rows

    def events(self, **filters):
        return self.call(BUS + "EventService/ReadEvents", filters).get("events", [])

    def settle(self):
        """Waits until every event is published and every consumer has taken it."""
        until = time.monotonic() + 180  # a busy machine takes its time over the orders
        while True:
            status = json.loads(self.daybook("status", "--json"))
            if status["settled"]:
                return
            if time.monotonic() > until:
                raise Failed("the services did not settle:\n" + json.dumps(status, indent=2))
            time.sleep(0.02)

    def next_reminder(self):
        got = self.call(REMINDERS + "ReminderService/List", {"pageSize": 1, "openOnly": True})
        for reminder in got.get("reminders", []):
            if "nextAt" in reminder:
                return reminder
        return None

    def advance(self, moment):
        """Lets time pass until `moment`, stopping wherever a reminder is to act."""
        self.settle()
        until = time.monotonic() + 120
        while True:
            reminder = self.next_reminder()
            due = reminder and dt.datetime.fromisoformat(reminder["nextAt"].replace("Z", "+00:00"))
            if not reminder or due > moment:
                break
            if due > self.now:
                self.turn(due.astimezone(ZONE))
            else:
                time.sleep(0.01)
            if time.monotonic() > until:
                raise Failed(f"reminder {reminder['id']} does not act")
        self.turn(moment)
        self.settle()


def heading(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}\n{'-' * len(text)}")


def found(company):
    """Makes the company: units, people, calendar."""
    company.turn(at(15, "12:00"))
    company.call(DIRECTORY + "DirectoryService/CreateTenant", {"tenant": {
        "id": company.tenant["id"], "name": company.tenant["name"],
        "timeZone": company.tenant["time_zone"], "currencyCode": company.tenant["currency"]}})
    by_code = {u["code"]: u["id"] for u in company.units}
    for u in company.units:
        company.call(DIRECTORY + "DirectoryService/CreateUnit", {"unit": {
            "id": u["id"], "code": u["code"], "name": u["name"],
            "parentId": by_code.get(u.get("parent_code"), ""), "cityCode": u.get("city_code", "")}})
    waiting = dict(company.employees)
    done = set()
    while waiting:  # superiors first
        for no, e in list(waiting.items()):
            superior = e.get("superior_no")
            if superior and superior not in done:
                continue
            company.call(DIRECTORY + "DirectoryService/CreateEmployee", {"employee": {
                "id": e["id"], "employeeNo": no, "name": e["name"],
                "unitId": by_code[e["unit_code"]], "roles": e["roles"],
                "superiorId": company.employees[superior]["id"] if superior else "",
                "homeCityCode": e.get("home_city_code", ""), "active": True}})
            done.add(no)
            del waiting[no]
    for year in (2024, 2025, 2026):
        text = (company.data.parent / "calendar" / f"cn-{year}.json").read_text(encoding="utf-8")
        days = [{"date": d["date"], "name": d["name"], "isOffDay": d["is_off_day"]}
                for d in json.loads(text)["days"]]
        company.call(DIRECTORY + "CalendarService/ImportDays", {"year": year, "days": days})
    company.settle()
    show_company(company)


def show_company(company):
    heading("The company")
    units = company.call(DIRECTORY + "DirectoryService/ListUnits", {})["units"]
    top = [u for u in units if not u.get("parentId")]
    people = company.all(DIRECTORY + "DirectoryService/ListEmployees", "employees")
    reps = sum("rep" in e["roles"] for e in people)
    print(f"{company.tenant['name']}: {', '.join(u['name'] for u in top)} and {len(units) - len(top)} units "
          f"({', '.join(u['name'] for u in units if u not in top)}), {len(people)} employees, {reps} of them reps")
    days = company.call(DIRECTORY + "CalendarService/ListDays", {"from": "2026-01-01", "to": "2026-12-31"})["days"]
    moved = sum(d["reason"].startswith("make-up day") for d in days)
    print(f"calendar of 2026: {sum(d.get('isWorkingDay', False) for d in days)} working days of {len(days)}, "
          f"{moved} of them made up for on weekends")


def bring_in(company, results):
    heading("The import")
    take_in(company, "customers", [company.data / "customers.csv"], results)
    # In pieces, one after the other: the command sends four batches at once, and with their order in the
    # log the tiers on the way would differ from run to run.
    take_in(company, "orders", pieces(company.data / "orders.csv", results, 1000), results)
    company.settle()


def pieces(file, folder, rows):
    head, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for n in range(0, len(lines), rows):
        piece = folder / f"{file.stem}-{n // rows + 1:02}.csv"
        piece.write_text(head + "".join(lines[n:n + rows]), encoding="utf-8")
        yield piece


def take_in(company, kind, files, results):
    counts, seconds, rows = {}, 0.0, 0
    for file in files:
        out = company.daybook("import", kind, str(file), "--tenant", company.tenant["id"], "--json",
                              "--result", str(results / f"{file.stem}-result.csv"))
        report = json.loads(out)
        rows, seconds = rows + report["rows"], seconds + report["seconds"]
        for what, n in report["counts"].items():
            counts[what] = counts.get(what, 0) + n
    told = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    print(f"{kind}: {rows:,} rows in {seconds:.1f} s: {told}")


def customers_of(company, employee_no):
    """In the order of the file: their ids are made anew on every run."""
    mine = company.all(CUSTOMERS + "CustomerService/List", "customers",
                       {"ownerId": company.employees[employee_no]["id"]})
    return sorted(mine, key=lambda c: c["externalRef"]["id"])


def show_list(company, employee_no, title):
    answer = company.call(REMINDERS + "TaskService/GetDailyTasks", {"employee": employee_no},
                          actor=employee_no)
    again = company.call(REMINDERS + "TaskService/GetDailyTasks", {"employee": employee_no},
                         actor=employee_no)
    tasks = answer["list"].get("tasks", [])
    source = again["source"].removeprefix("LIST_SOURCE_").lower()
    print(f"{title}: {len(tasks)} tasks (read again: from the {source})")
    for t in tasks:
        mark = "x" if t.get("done") else "!" if t.get("overdue") else " "
        print(f"  [{mark}] {local(t['dueAt'])}  {t.get('rule', 'visit') or 'visit':7} {t['title']}")


def show_events(company, aggregate):
    for e in company.events(aggregate=aggregate):
        print(f"  {local(e['occurredAt'])}  {e['type'].rsplit('.', 1)[1]:22} by {company.name(e['actorId'])}")


def show_question(company, title, question_id):
    heading(title)
    opened = company.events(aggregate=f"questions/{question_id}")[0]["data"]["question"]
    print(f"  {opened['text']}")
    show_events(company, f"questions/{question_id}")
    show_reminder(company, "TMR-01", f"questions/{question_id}")


def show_commitments(company, visit_id):
    print("its commitments:")
    for c in company.all(VISITS + "CommitmentService/List", "commitments", {"visitId": visit_id}):
        state = c["state"].removeprefix("COMMITMENT_STATE_").lower()
        if "fulfilledAt" in c:
            outcome = f"kept, {local(c['fulfilledAt'])}: {c['result']}"
        else:
            outcome = "broken" if dt.datetime.fromisoformat(c["dueAt"].replace("Z", "+00:00")) < company.now else "-"
        print(f"  \"{c['text']}\" due {local(c['dueAt'])}: {state} ({outcome})")
        show_reminder(company, "TMR-42", f"commitments/{c['id']}")


def show_reminder(company, rule, subject):
    got = company.call(REMINDERS + "ReminderService/Get", {"rule": rule, "subject": subject})
    reminder = got["reminder"]
    print(f"  {rule} for {company.name(reminder['assigneeId'])}: started {local(reminder['startsAt'])}, "
          f"due {local(reminder['dueAt'])}")
    for d in got.get("deliveries", []):
        kind = d["stepKind"].removeprefix("STEP_KIND_").lower()
        late = " (late)" if d.get("late") else ""
        print(f"    {local(d['firedAt'])}  {kind:10} told {company.name(d['recipientId'])}{late}")
    state = reminder["state"].removeprefix("REMINDER_STATE_").lower()
    closed = f" at {local(reminder['closedAt'])}" if "closedAt" in reminder else ""
    late = int(reminder.get("lateByS", 0))
    print(f"    -> {state}{closed}" + (f", {late // 3600} h {late % 3600 // 60} min late" if late else ""))


def show_score(company, customer_id):
    score = company.call(SCORING + "CustomerScoreService/Get", {"customerId": customer_id})["score"]
    print(f"  tier {score['tier'].removeprefix('TIER_')}, value score {score.get('valueScore', 0):.1f}: "
          f"{score.get('orders12m', 0)} orders, {money(score['amount12m'])} in 12 months")
    for part in score["parts"]:
        print(f"    {part['name']:10} {part.get('rating', 0):5.1f} x {part.get('weight', 0):.2f} = "
              f"{part.get('points', 0):5.1f}  {part.get('explanation', '')}")
    for reason in score.get("reasons", []):
        print(f"    {reason}")


def near_the_next_tier(company, owner_no):
    """A B customer of that rep whom one large order lifts to A: the one with the highest score."""
    mine = {c["id"]: c for c in customers_of(company, owner_no)}
    for s in company.all(SCORING + "CustomerScoreService/List", "scores", {"tier": "TIER_B"}):
        money_part = next(p for p in s["parts"] if p["name"] == "money")
        room = 100 - money_part.get("rating", 0)
        if s["customerId"] in mine and s.get("valueScore", 0) + room * money_part["weight"] >= 85:
            return mine[s["customerId"]]
    raise Failed("no customer of the sample fits the story of the large order")


def week(company):
    rep, rep2, visitor, stray = "E006", "E007", "E008", "E009"
    supervisor = "E003"
    ids = {no: e["id"] for no, e in company.employees.items()}
    first, second = customers_of(company, rep)[:2]
    third = customers_of(company, rep2)[0]
    host = next(c for c in customers_of(company, visitor) if "location" in c)
    fourth = customers_of(company, stray)[0]

    company.advance(at(16, "09:12"))
    asked = company.call(CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
        "customerId": first["id"], "channel": "CHANNEL_PHONE", "direction": "DIRECTION_INBOUND",
        "endedAt": stamp(company.now), "content": "Asked whether deliveries can come before ten.",
        "questions": [{"text": "Can you deliver before 10 o'clock?"}]}}, actor=rep)
    late_question = asked["interaction"]["questions"][0]["id"]

    company.advance(at(16, "10:30"))
    asked = company.call(CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
        "customerId": third["id"], "channel": "CHANNEL_EMAIL", "direction": "DIRECTION_INBOUND",
        "endedAt": stamp(company.now), "content": "Wants to know the smallest order.",
        "questions": [{"text": "What is the smallest order?"}]}}, actor=rep2)
    kept_question = asked["interaction"]["questions"][0]["id"]

    company.advance(at(16, "11:00"))
    owner = company.call(CUSTOMERS + "ContactService/Create", {"contact": {
        "customerId": host["id"], "name": "张女士", "position": "店主"}}, actor=visitor)["contact"]
    company.settle()
    visit = company.call(VISITS + "VisitService/Request", {"visit": {
        "customerId": host["id"], "contactId": owner["id"],
        "purposes": ["VISIT_PURPOSE_PROMOTE_NEW_PRODUCT"],
        "startsAt": stamp(at(17, "14:00")), "endsAt": stamp(at(17, "15:00")),
        "goal": "Agree on a trial of the new line."}}, actor=visitor)["visit"]

    company.advance(at(16, "15:20"))
    company.call(CUSTOMERS + "InteractionService/AnswerQuestion", {
        "questionId": kept_question, "answer": "One case.", "final": True}, actor=rep2)

    company.advance(at(16, "16:00"))
    company.call(VISITS + "VisitService/Review", {"visitId": visit["id"], "approve": True},
                 actor=supervisor)

    company.advance(at(17, "08:00"))
    heading(f"The daily list of {company.name(ids[rep])} and of {company.name(ids[visitor])}")
    show_list(company, rep, f"{rep} on Tuesday 08:00")
    show_list(company, visitor, f"{visitor} on Tuesday 08:00")

    company.advance(at(17, "13:52"))
    company.call(VISITS + "VisitService/CheckIn", {
        "visitId": visit["id"], "position": host["location"], "accuracyM": 20,
        "deviceAt": stamp(company.now)}, actor=visitor)
    company.advance(at(17, "14:50"))
    company.call(VISITS + "VisitService/CheckOut", {"visitId": visit["id"]}, actor=visitor)

    company.advance(at(17, "17:00"))
    show_list(company, rep, f"{rep} on Tuesday 17:00")
    show_list(company, visitor, f"{visitor} on Tuesday 17:00")

    company.advance(at(17, "17:10"))
    company.call(VISITS + "VisitService/SubmitReport", {
        "visitId": visit["id"],
        "report": {"participants": ["owner", "sales representative"],
                   "content": "Showed the new line; the owner wants samples and an offer.",
                   "needs": "Smaller packs.", "feedback": "Likes the range, finds it dear.",
                   "outcome": "GOAL_OUTCOME_PARTLY_MET", "outcomeReason": "Price not agreed.",
                   "contactName": "张女士", "contactPosition": "店主",
                   "salesOutcome": "SALES_OUTCOME_QUOTE_REQUESTED",
                   "nextSteps": [{"text": "Send samples.", "date": "2026-11-18"},
                                 {"text": "Send an offer.", "date": "2026-11-19"}]},
        "commitments": [
            {"text": "Send samples.", "dueAt": stamp(at(18, "18:00"))},
            {"text": "Send a price offer.", "dueAt": stamp(at(19, "12:00"))}]}, actor=visitor)
    promised = company.all(VISITS + "CommitmentService/List", "commitments", {"visitId": visit["id"]})
    samples = next(c["id"] for c in promised if "samples" in c["text"])

    company.advance(at(18, "09:30"))
    company.call(VISITS + "VisitService/ReviewReport", {
        "visitId": visit["id"], "accept": True, "comment": "Good. Mind the offer."}, actor=supervisor)
    company.advance(at(18, "10:05"))
    company.call(CUSTOMERS + "InteractionService/AnswerQuestion", {
        "questionId": late_question, "answer": "Yes, from next Monday on.", "final": True}, actor=rep)
    company.advance(at(18, "16:30"))
    company.call(VISITS + "CommitmentService/Complete", {
        "commitmentId": samples, "result": "Samples handed over."}, actor=visitor)

    company.advance(at(19, "10:00"))
    company.call(VISITS + "VisitService/CheckIn", {"customerId": fourth["id"]}, actor=stray)
    ended = company.call(CUSTOMERS + "InteractionService/RegisterEnded", {
        "customerId": second["id"], "employeeId": ids[rep], "channel": "CHANNEL_PHONE",
        "direction": "DIRECTION_OUTBOUND", "externalRef": {"source": "pbx", "id": "call-1"}})
    company.advance(at(19, "11:00"))
    company.call(CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
        "id": ended["interaction"]["id"], "content": "Offered the autumn range.",
        "result": "Will think about it."}}, actor=rep)

    company.advance(at(20, "09:00"))
    riser = near_the_next_tier(company, rep2)
    heading(f"A large order: {riser['name']}")
    print("before:")
    show_score(company, riser["id"])
    order = company.call(CUSTOMERS + "DealService/RecordOrder", {"order": {
        "customerId": riser["id"], "kind": "ORDER_KIND_ORDER", "orderedAt": stamp(company.now),
        "externalRef": {"source": "erp", "id": "SO-2026-1120"},
        "amount": {"currencyCode": "CNY", "minorUnits": "80000000"}}})["order"]
    company.settle()
    told = company.events(aggregate=f"orders/{order['id']}")[0]["data"]["order"]
    print(f"after an order of {money(told['amount'])}:")
    show_score(company, riser["id"])

    company.advance(at(22, "18:00"))
    return late_question, kept_question, visit["id"], first, riser


def report(company, story):
    late_question, kept_question, visit_id, customer, riser = story
    show_question(company, "A question answered late", late_question)
    show_question(company, "A question answered in time", kept_question)

    heading("A visit from request to approved report")
    show_events(company, f"visits/{visit_id}")
    for rule in ("TMR-04", "TMR-03", "TMR-05"):
        show_reminder(company, rule, f"visits/{visit_id}")
    show_commitments(company, visit_id)
    for e in company.events(types=[VISITS + "UnregisteredVisitFlagged"]):
        print(f"unregistered visit of {company.name(e['data']['visit']['visitorId'])} "
              f"at {local(e['occurredAt'])}: flagged as absence (VIS-22)")

    heading("The log")
    head = company.call(BUS + "EventService/GetHead", {})
    for t in head["types"]:
        print(f"  {int(t['count']):6,}  {t['type']}")
    print(f"  head seq {head['headSeq']}")

    heading("To look further")
    print(f"""  . {short(company.clock.parent / 'env/operator.env')}; export DAYBOOK_TENANT={company.tenant['id']} TZ=Asia/Shanghai
  daybook status
  daybook tasks E008 --date 2026-11-19
  daybook call {REMINDERS}ReminderService/Get '{{"rule":"TMR-01","subject":"questions/{late_question}"}}'
  daybook call {SCORING}CustomerScoreService/Get '{{"customerId":"{riser['id']}"}}'
  daybook events read --after 0 --limit 5
  daybook call --list

Over HTTP: docs/integration.md; the reference of the API is at http://{http_address(company)}/docs""")


def let_it_run(company, story):
    """From here on the company's time goes on, and what is recorded falls due."""
    _, _, _, customer, _ = story
    heading("To go on")
    start, later = company.now, company.now + dt.timedelta(days=1, minutes=10)
    company.turn(start, rate=1)
    file = short(company.clock)
    print(f"""The company's clock runs on from {local(stamp(start))} 2026, as fast as real time; a moment after its
now is refused as future. A customer asks something, and a day later nobody has answered:

  daybook call {CUSTOMERS}InteractionService/RecordInteraction --as E006 '{{"interaction":{{
      "customerId":"{customer['id']}","channel":"CHANNEL_PHONE","direction":"DIRECTION_INBOUND",
      "content":"Asked for the new price list.","questions":[{{"text":"When does the new price list come?"}}]}}}}'
  daybook tasks E006 --date {later:%Y-%m-%d}
  daybook clock {file} {later.isoformat()} --rate 1
  daybook tasks E006 --date {later:%Y-%m-%d}

make down stops the stack, make up starts it again with its data, make demo plays afresh (and wipes).""")


def http_address(company):
    """Where the stack's gateway listens."""
    lines = (company.clock.parent / "env/gateway.env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("DAYBOOK_HTTP_LISTEN="))


def short(path):
    """Relative to here where that is shorter."""
    here = pathlib.Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of the sample company")
    parser.add_argument("--clock", type=pathlib.Path, required=True, help="the stack's clock file")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="where result files go")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    company = Company(args.data, args.clock)
    started = time.monotonic()
    try:
        found(company)
        bring_in(company, args.results)
        story = week(company)
        report(company, story)
        let_it_run(company, story)
    except Failed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    print(f"\nplayed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
