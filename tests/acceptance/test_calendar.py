"""Visits as a calendar to subscribe to (protocols E; EXT-03, VIS-30, TMR-08), read by others' programs: Python's
icalendar, ical.js, and vdirsyncer with khal as a subscriber."""

import datetime as dt
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid

import icalendar
import pytest

from company import BUS, DIRECTORY, SECONDS, VISITS
from stack import ROOT, SLACK, UTC, stamp, wait_until
from web import LIST, Caller, gateway, new_key

HERE = pathlib.Path(__file__).resolve().parent
NODE = pathlib.Path(os.environ.get("DAYBOOK_NODE", ROOT / "build/interop/node"))
VENV = pathlib.Path(sys.executable).parent
CREDENTIAL = DIRECTORY + "CredentialService/"
SERVICE = VISITS + "VisitService/"
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
REPORT = {"participants": ["owner"], "content": "Talked.", "needs": "None.", "feedback": "Good.",
          "outcome": "GOAL_OUTCOME_MET", "contactName": "Mx Li", "contactPosition": "Owner",
          "salesOutcome": "SALES_OUTCOME_NONE", "noCommitments": True,
          "nextSteps": [{"text": "Call.", "date": "2030-01-01"}]}


class Feed:
    """Somebody's calendar, as a program that subscribes has it."""

    def __init__(self, company, who, client=None, **request):
        made = (client or getattr(company, who)).command(CREDENTIAL + "CreateCalendarFeed",
                                                         {"label": "phone", **request})
        self.id, self.path, self.replaced = made.credential.id, made.path, made.replaced.id
        self.caller = Caller(company.stack)
        self.url = "http://{}:{}{}".format(*self.caller.address, self.path)
        self.wait(200)

    def get(self, verb="GET", **headers):
        return self.caller.send(verb, self.path, **headers)

    def wait(self, status):
        wait_until(lambda: self.get("HEAD").status == status, SECONDS, f"the feed was {status}")

    def events(self):
        """By id of the visit; as both libraries read them."""
        answer = self.get()
        assert answer.status == 200, answer.body
        return events_of(answer.body)


def by_ical_js(text):
    done = subprocess.run(["node", HERE / "ics_check.mjs"], input=text, capture_output=True,
                          env={**os.environ, "NODE_MODULES": str(NODE / "node_modules")})
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def check_form(text):
    """What RFC 5545 says of lines, whatever libraries let pass."""
    assert text.endswith(b"\r\n") and not text.startswith(b"\xef\xbb\xbf")
    lines = text.split(b"\r\n")[:-1]
    for line in lines:
        assert 0 < len(line) <= 75 and b"\r" not in line and b"\n" not in line, line
        line.decode()  # no character is parted
    return lines


def seconds(moment):
    return moment.astimezone(UTC).replace(microsecond=0)


def events_of(text):
    check_form(text)
    [calendar] = icalendar.Calendar.from_ical(text.decode(), multiple=True)
    other = {event["uid"]: event for event in by_ical_js(text)["events"]}
    events = {}
    assert str(calendar["version"]) == "2.0" and calendar["prodid"] and "method" not in calendar
    for component in calendar.walk():
        assert not component.errors, component.errors
    for event in calendar.walk("VEVENT"):
        uid = str(event["uid"])
        twin = other.pop(uid)
        assert (twin["sequence"], twin["status"], twin["summary"]) == \
            (event["sequence"], event["status"], event["summary"])
        assert twin["location"] == event.get("location", "") and twin["description"] == event["description"]
        for mine, name in ((event["dtstart"], "start"), (event["dtend"], "end"), (event["dtstamp"], "stamp")):
            assert dt.datetime.fromisoformat(twin[name].replace("Z", "+00:00")) == mine.dt
        assert event["dtstamp"].dt == event["last-modified"].dt and event["transp"] == "OPAQUE"
        visit, _, host = uid.removeprefix("visit-").partition("@")
        assert host == "127.0.0.1" and str(uuid.UUID(visit)) == visit
        events[visit] = event
    assert not other
    return events


def request_visit(company, shop, starts, who="rep", **fields):
    return getattr(company, who).command(SERVICE + "Request", {"visit": {
        "customerId": shop.id, "contactId": company.contact(shop, who).id,
        "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"], "goal": "Agree on a trial.", "place": "海棠路12号",
        "startsAt": stamp(starts), "endsAt": stamp(starts + HOUR), **fields}}).visit


@pytest.fixture(scope="module")
def feed(company):
    return Feed(company, "rep")


# --- what a visit looks like --------------------------------------------------------------------------


def test_a_visit_from_request_to_cancellation(company, feed):
    shop = company.customer("rep", name="海棠路商行; Wang, Li & Co", address="海棠路12号",
                            location={"latitude": 31.23, "longitude": 121.47})
    starts = company.clock.next(0, "14:00", ahead=24)
    goal = "Trial, 50; cases\r\nBEGIN:VEVENT\nx\u2028END:VCALENDAR " + "很长的目标" * 60
    visit = request_visit(company, shop, starts, goal=goal)
    [event] = [e for v, e in feed.events().items() if v == visit.id]
    assert event["status"] == "TENTATIVE" and event["summary"] == "海棠路商行; Wang, Li & Co"
    assert event["location"] == "海棠路12号" and event["geo"].to_ical() == "31.23;121.47"
    assert event["dtstart"].dt == seconds(starts) and event["dtend"].dt == seconds(starts + HOUR)
    assert event["dtstamp"].dt == seconds(company.clock.now)
    assert event["description"] == "Goal: {}\nContact: Owner\nState: requested, not approved yet".format(
        goal.replace("\r\n", "\n").replace("\u2028", "\n"))
    assert event["url"].startswith("http://127.0.0.1:") and visit.id in event["url"]
    [alarm] = event.walk("VALARM")
    assert alarm["action"] == "DISPLAY" and alarm["trigger"].dt == -3 * DAY, "a Monday's is on Friday (A-12)"
    assert "leave 30 minutes early" in alarm["description"]

    company.clock.add(minutes=1)
    company.supervisor.command(SERVICE + "Review", {"visitId": visit.id, "approve": True})
    approved = feed.events()[visit.id]
    assert (approved["status"], approved["uid"]) == ("CONFIRMED", event["uid"])
    assert approved["sequence"] > event["sequence"] and approved["dtstamp"].dt == seconds(company.clock.now)
    company.clock.add(minutes=1)
    company.rep.command(SERVICE + "Cancel", {"visitId": visit.id, "reason": "ill"})
    cancelled = feed.events()[visit.id]
    assert (cancelled["status"], cancelled["uid"]) == ("CANCELLED", event["uid"])
    assert cancelled["sequence"] > approved["sequence"] and not cancelled.walk("VALARM")


def test_the_url_of_a_visit_is_its_record(company, feed):
    visit = request_visit(company, company.customer("rep"), company.clock.next(2, "09:00", ahead=24))
    url = feed.events()[visit.id]["url"]
    key = new_key(company, employeeId=company.ids["rep"]).api_key
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})) as answer:
        assert json.load(answer)["visit"]["id"] == visit.id


def test_another_place_is_told_under_the_same_uid(company, feed):
    """The report of an outing that nobody applied for says where it was."""
    shop = company.customer("rep")
    visit = company.rep.command(SERVICE + "CheckIn", {"customerId": shop.id}).visit
    company.clock.add(minutes=40)
    company.rep.command(SERVICE + "CheckOut", {"visitId": visit.id})
    before = feed.events()[visit.id]
    assert before["status"] == "CONFIRMED" and "location" not in before and not before.walk("VALARM")
    company.rep.command(SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": REPORT, "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"], "goal": "See them.",
        "place": "玉兰街7号"})
    after = feed.events()[visit.id]
    assert (after["uid"], after["location"]) == (before["uid"], "玉兰街7号")
    assert after["sequence"] > before["sequence"]


def test_nobody_elses_visits(company, other, feed):
    shop = company.customer("rep2")
    theirs = request_visit(company, shop, company.clock.next(1, "10:00", ahead=24), "rep2")
    assert theirs.id not in feed.events()
    lead = Feed(company, "lead")
    assert lead.events() == {}, "he sees them, but they are not his"
    assert theirs.id in Feed(company, "rep2").events()
    assert Feed(other, "rep").events() == {}
    # Of a customer whom one does not see there is neither name nor address.
    unseen = company.customer("rep3", name="Secret Shop", address="Hidden Street 1")
    contact = company.contact(unseen, "rep3").id
    visit = request_visit(company, shop, company.clock.next(3, "10:00", ahead=24), "rep2", customerId=unseen.id,
                          contactId=contact, place="")
    event = Feed(company, "rep2").events()[visit.id]
    assert event["summary"] == "Visit" and "location" not in event and "Contact" not in event["description"]


def test_a_feed_without_visits_is_a_calendar(company, tmp_path):
    feed = Feed(company, "manager")
    told = by_ical_js(feed.get().body)
    assert (told["components"], told["events"]) == (["vtimezone"], [])
    assert events_of(feed.get().body) == {}
    assert "Last-Modified" not in feed.get().headers
    subscriber = Subscriber(feed, tmp_path)
    subscriber.sync()
    assert subscriber.items() == []


def test_of_very_many_visits_two_thousand(company, stack):
    first = seconds(company.clock.now) - 20 * DAY
    customer = company.customer("rep3").id
    stack.psql(f"""
        insert into visits.visit (tenant_id, id, customer_id, visitor_id, purposes, mode, starts_at, ends_at, place,
               goal, state, changed_at, row_version)
        select '{company.tenant}', gen_random_uuid(), '{customer}', '{company.ids["rep3"]}', '{{}}', 'in_person', at,
               at + interval '1 hour', 'somewhere', repeat('目', 1000), 'closed', '{stamp(first)}', 1
          from generate_series(1, 2105) n, lateral (select '{stamp(first)}'::timestamptz + n * interval '2 hours') t(at)
        """)
    answer = Feed(company, "rep3").get(Accept_Encoding="gzip")
    check_form(answer.body)
    starts = [e["dtstart"].dt for e in icalendar.Calendar.from_ical(answer.body.decode()).walk("VEVENT")]
    assert starts == [first + n * 2 * HOUR for n in range(1, 2001)]


def test_the_window_is_from_a_month_ago_on(company, stack):
    company.customer("lead2")
    now = company.clock.now
    for moment in (now - 31 * DAY, now - 29 * DAY, now + 179 * DAY, now + 181 * DAY):
        stack.psql(f"""
            insert into visits.visit (tenant_id, id, customer_id, visitor_id, purposes, mode, starts_at, ends_at,
                   place, goal, state, row_version)
            values ('{company.tenant}', gen_random_uuid(), gen_random_uuid(), '{company.ids["lead2"]}', '{{}}',
                    'in_person', '{stamp(moment)}', '{stamp(moment + HOUR)}', '', '', 'closed', 1)""")
    shown = sorted(e["dtstart"].dt for e in Feed(company, "lead2").events().values())
    assert shown == [seconds(now - 29 * DAY), seconds(now + 179 * DAY)]


# --- how it is served ---------------------------------------------------------------------------------


def test_it_is_known_by_its_etag(company, feed):
    visit = request_visit(company, company.customer("rep"), company.clock.next(4, "16:00", ahead=24))
    plain, zipped = feed.get(), feed.get(Accept_Encoding="gzip")
    assert (plain.status, plain.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert plain.headers["Cache-Control"] == "private, max-age=900" and plain.headers["Vary"] == "Accept-Encoding"
    changed = max(e["last-modified"].dt for e in events_of(plain.body).values())
    assert plain.headers["Last-Modified"] == changed.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert zipped.headers["Content-Encoding"] == "gzip" and zipped.body == plain.body
    assert int(zipped.headers["Content-Length"]) < len(plain.body)
    company.clock.add(minutes=5)  # by itself nothing changes
    for answer, encoding in ((plain, "identity"), (zipped, "gzip")):
        known = feed.get(If_None_Match=answer.headers["ETag"], Accept_Encoding=encoding)
        assert (known.status, known.body, known.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    head = feed.get("HEAD")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", plain.headers["ETag"])
    assert int(head.headers["Content-Length"]) == len(plain.body)
    refused = feed.get("POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    company.rep.command(SERVICE + "Cancel", {"visitId": visit.id, "reason": "ill"})
    again = feed.get(If_None_Match=plain.headers["ETag"])
    assert again.status == 200 and again.headers["ETag"] != plain.headers["ETag"]


def test_what_was_ended_is_not_there(company):
    feed = Feed(company, "supervisor")
    for path in ("/calendars/", "/calendars/.ics", "/calendars/x.ics", feed.path.removesuffix(".ics"),
                 feed.path + "x", feed.path.replace(feed.id, str(uuid.uuid4())),
                 feed.path[:-5] + ("A" if feed.path[-5] != "A" else "B") + ".ics", "/calendars/" + "x" * 5000 + ".ics"):
        assert feed.caller.send("GET", path).status == 404, path
    newer = Feed(company, "supervisor")
    assert newer.replaced == feed.id
    feed.wait(404)
    assert newer.get().status == 200
    company.supervisor.command(CREDENTIAL + "RevokeCalendarFeed", {"id": newer.id})
    newer.wait(404)
    listed = company.supervisor.call(CREDENTIAL + "List").credentials
    assert {feed.id, newer.id} <= {c.id for c in listed if c.revoked_at.seconds}


def test_sec17_who_leaves_has_no_feed(company):
    made = company.system.command(DIRECTORY + "DirectoryService/CreateEmployee", {"employee": {
        "employeeNo": "E099", "name": "Mx Gone", "unitId": company.units["EAST"], "roles": ["rep"],
        "superiorId": company.ids["lead"], "active": True}}).employee
    feed = Feed(company, None, company.system, employeeId=made.id)
    company.system.command(DIRECTORY + "DirectoryService/UpdateEmployee", {
        "employee": {"id": made.id, "active": False}, "updateMask": "active"})
    feed.wait(404)


def test_a_feed_that_expires_is_gone(company):
    ends = dt.datetime.now(UTC) + dt.timedelta(seconds=5 * SLACK)  # by the wall clock, as API keys do
    feed = Feed(company, "lead", expiresAt=stamp(ends))
    feed.wait(404)
    assert dt.datetime.now(UTC) >= ends


def test_a_feed_is_no_api_key(company, feed):
    secret = feed.path.removeprefix("/calendars/").removesuffix(".ics")
    assert Caller(company.stack, f"dbk_{secret}").post(LIST).status == 401
    key = new_key(company, employeeId=company.ids["rep"]).api_key.removeprefix("dbk_")
    assert feed.caller.send("GET", f"/calendars/{key}.ics").status == 404


def test_f08_it_waits_for_the_visits_and_nobody_for_it(company, feed):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(Feed.get(feed)))
    others = [Caller(company.stack, new_key(company, employeeId=company.ids["rep"]).api_key) for _ in range(4)]
    with company.stack.stopped("visits"):
        waiting.start()
        for caller in others:
            assert caller.post(LIST).status == 200
        assert not answers
        with socket.create_connection(feed.caller.address) as gone:  # who does not wait
            gone.sendall(f"GET {feed.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    waiting.join()
    assert answers[0].status == 200


def first(caller, feed, status):
    """The first answer with that status."""
    def asked():
        answer = caller.send("GET", feed.path)
        return answer if answer.status == status else None
    return wait_until(asked, SECONDS, f"it was {status}")


def test_f52_it_is_not_asked_without_end(company):
    """More at once than a key may: a feed's requests count as a key's."""
    feed = Feed(company, "manager")
    with gateway(company, HTTP_RATE=1) as door:
        refused = first(Caller(door), feed, 429)
        assert int(refused.headers["Retry-After"]) >= 1
        first(Caller(door), feed, 200)


def test_an_address_that_guesses_is_told_to_wait(company, feed):
    with gateway(company, HTTP_TRUSTED_PROXIES="127.0.0.1", HTTP_AUTH_FAILURES=3) as door:
        caller, mine = Caller(door), {"X_Forwarded_For": "203.0.113.7"}
        wait_until(lambda: caller.send("GET", feed.path).status == 200, SECONDS, "the feed is known")
        for _ in range(3):
            guess = f"/calendars/{feed.id}_{uuid.uuid4()}.ics"
            assert caller.send("GET", guess, **mine).status == 404
        refused = caller.send("GET", guess, **mine)
        assert refused.status == 429 and 1 <= int(refused.headers["Retry-After"]) <= 20
        assert caller.send("GET", feed.path, **mine).status == 200, "his neighbours notice nothing"
        assert caller.send("GET", guess, X_Forwarded_For="203.0.113.8").status == 404, "nor do others"


def test_it_tells_when_it_was_last_used(company, feed):
    assert feed.get().status == 200
    wait_until(lambda: [c for c in company.rep.call(CREDENTIAL + "List").credentials
                        if c.id == feed.id and c.HasField("last_used_at")], SECONDS, "its use was told")


def test_no_address_in_logs_and_metrics(company, stack, feed):
    secret = feed.path.removeprefix(f"/calendars/{feed.id}_").removesuffix(".ics")
    assert len(secret) == 43
    assert feed.get().status == 200 and feed.caller.send("GET", feed.path + "x").status == 404
    admin = stack.env_of("gateway")["DAYBOOK_ADMIN_LISTEN"]
    with urllib.request.urlopen(f"http://{admin}/metrics") as answer:
        metrics = answer.read().decode()
    assert 'daybook_gateway_calendar_feeds_total{status="200"}' in metrics and secret not in metrics
    for log in stack.folder.glob("log/*"):
        assert secret not in log.read_text(errors="replace"), log
    events = company.system.call(BUS + "EventService/ReadEvents", {"limit": 1000, "aggregate": f"credentials/{feed.id}"})
    assert events.events and secret.encode() not in events.SerializeToString()


def test_a_wrong_public_url_is_said_at_the_start(stack):
    env = {**os.environ, **stack.env_of("gateway"), "DAYBOOK_HTTP_LISTEN": "127.0.0.1:0",
           "DAYBOOK_ADMIN_LISTEN": "127.0.0.1:0", "DAYBOOK_HTTP_PUBLIC_URL": "daybook.example.com/x"}
    done = subprocess.run([stack.bin / "daybook-gateway"], env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 78 and "DAYBOOK_HTTP_PUBLIC_URL: http:// or https://" in done.stdout + done.stderr


# --- a subscriber -------------------------------------------------------------------------------------


class Subscriber:
    """vdirsyncer takes the feed into a folder, of which khal shows the events."""

    def __init__(self, feed, folder):
        self.folder, self.config = folder, folder / "vdirsyncer"
        (folder / "calendar").mkdir()
        self.config.write_text(f"""
[general]
status_path = "{folder}/status"
[pair visits]
a = "daybook"
b = "folder"
collections = null
conflict_resolution = "a wins"
[storage daybook]
type = "http"
url = "{feed.url}"
[storage folder]
type = "filesystem"
path = "{folder}/calendar"
fileext = ".ics"
""")
        (folder / "khal").write_text(f"""
[calendars]
[[visits]]
path = {folder}/calendar
[sqlite]
path = {folder}/khal.db
[locale]
local_timezone = Asia/Shanghai
default_timezone = Asia/Shanghai
timeformat = %H:%M
dateformat = %Y-%m-%d
longdateformat = %Y-%m-%d
datetimeformat = %Y-%m-%d %H:%M
longdatetimeformat = %Y-%m-%d %H:%M
""")
        self.run("vdirsyncer", "-c", self.config, "discover")

    def run(self, program, *words):
        env = {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder),
               "XDG_CACHE_HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        done = subprocess.run([VENV / program, *map(str, words)], env=env, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0 and "error" not in done.stderr.lower(), done.stdout + done.stderr
        return done.stdout

    def sync(self):
        self.run("vdirsyncer", "-c", self.config, "sync")

    def items(self):
        return sorted((self.folder / "calendar").iterdir())

    def list(self, day):
        return self.run("khal", "-c", self.folder / "khal", "list", "--format",
                        "{start-time} {end-time} {title}|{location}|{status}", f"{day:%Y-%m-%d}", "1d").splitlines()


def test_vdirsyncer_and_khal_subscribe(company, tmp_path):
    shop = company.customer("gm", name="Magnolia 玉兰 & Sons")
    starts = company.clock.next(2, "14:00", ahead=24)
    visit = request_visit(company, shop, starts, "gm", place="Magnolia Road 7, 2nd floor")
    subscriber = Subscriber(Feed(company, "gm"), tmp_path)
    subscriber.sync()
    line = "14:00 15:00 Magnolia 玉兰 & Sons|Magnolia Road 7, 2nd floor|"
    assert line + "CONFIRMED" in [text.strip() for text in subscriber.list(starts)]
    company.clock.add(minutes=1)
    company.gm.command(SERVICE + "Cancel", {"visitId": visit.id, "reason": "ill"})
    subscriber.sync()
    assert len(subscriber.items()) == 1
    assert line + "CANCELLED" in [text.strip() for text in subscriber.list(starts)]
