"""Visits from the request to the reviewed report, and the promises made there (VIS, TMR-03, TMR-04,
TMR-05, TMR-42, TMR-43)."""

import datetime as dt
import threading
import uuid

import mdp
import pytest
from company import BUS, CUSTOMERS, SECONDS, VISITS, when
from stack import stamp, wait_until

HOUR = dt.timedelta(hours=1)
SERVICE = VISITS + "VisitService/"
PROMISE = VISITS + "CommitmentService/"
REQUESTED, APPROVED, CHECKED_IN, ENDED, REPORTED, RETURNED, CLOSED = 1, 2, 5, 6, 7, 8, 9
REPORT = {"participants": ["owner", "rep"], "content": "Showed the new line.", "needs": "Smaller packs.",
          "feedback": "Likes it.", "outcome": "GOAL_OUTCOME_PARTLY_MET", "outcomeReason": "No price yet.",
          "contactName": "Mx Li", "contactPosition": "Owner", "salesOutcome": "SALES_OUTCOME_QUOTE_REQUESTED",
          "nextSteps": [{"text": "Send an offer.", "date": "2030-01-01"}]}


def refused(client, method, request, key):
    with pytest.raises(mdp.CallError) as error:
        client.call(method, request, key=key)
    return error.value


def request_visit(company, shop, starts, who="rep", hours=1):
    return getattr(company, who).command(SERVICE + "Request", {"visit": {
        "customerId": shop.id, "contactId": company.contact(shop).id,
        "purposes": ["VISIT_PURPOSE_PROMOTE_NEW_PRODUCT"],
        "startsAt": stamp(starts), "endsAt": stamp(starts + hours * HOUR), "goal": "Agree on a trial.",
        "place": "海棠路12号"}}).visit


def visited(company, shop, day, clock="14:00"):
    """A visit that ended at 14:50 on the next such weekday; returns it and that moment."""
    starts = company.clock.next(day, clock, ahead=24)
    company.clock.turn(starts - 24 * HOUR)
    visit = request_visit(company, shop, starts)
    company.supervisor.command(SERVICE + "Review", {"visitId": visit.id, "approve": True})
    company.clock.turn(starts - dt.timedelta(minutes=8))
    company.rep.command(SERVICE + "CheckIn", {"visitId": visit.id})
    company.clock.turn(starts + dt.timedelta(minutes=50))
    return company.rep.command(SERVICE + "CheckOut", {"visitId": visit.id}).visit, company.clock.now


def test_a_visit_from_request_to_closed_report(company):
    shop = company.customer("rep", location={"latitude": 31.23, "longitude": 121.47}, address="海棠路12号")
    starts = company.clock.next(2, "14:00", ahead=27)
    company.clock.turn(starts - 27 * HOUR)
    visit = request_visit(company, shop, starts)
    assert visit.state == REQUESTED and visit.place == "海棠路12号" and visit.visitor_id == company.ids["rep"]

    assert refused(company.rep, SERVICE + "Review", {"visitId": visit.id, "approve": True}, "own").code \
        == "PERMISSION_DENIED", "nobody approves his own (ORG-05)"
    assert refused(company.lead2, SERVICE + "Review", {"visitId": visit.id, "approve": True},
                   "stranger").code == "NOT_FOUND"
    approved = company.supervisor.command(SERVICE + "Review", {"visitId": visit.id, "approve": True}).visit
    assert approved.state == APPROVED and approved.reviewed_by == company.ids["supervisor"]

    company.clock.turn(starts - dt.timedelta(minutes=8))
    arrived = company.rep.command(SERVICE + "CheckIn", {
        "visitId": visit.id, "position": {"latitude": 31.2301, "longitude": 121.4701}, "accuracyM": 20,
        "deviceAt": company.at()}).visit
    assert arrived.state == CHECKED_IN and not arrived.unregistered and not arrived.late_arrival
    assert 0 < arrived.check_in.distance_m < 50 and not arrived.check_in.far

    company.clock.turn(starts + dt.timedelta(minutes=50))
    assert company.rep.command(SERVICE + "CheckOut", {"visitId": visit.id}).visit.state == ENDED
    ended = company.clock.now
    duties = {rule: company.reminder(rule, f"visits/{visit.id}").reminder
              for rule in ("TMR-03", "TMR-04", "TMR-05")}
    assert when(duties["TMR-03"].due_at) == ended + 24 * HOUR
    assert when(duties["TMR-04"].due_at) == starts.replace(hour=18, minute=0)
    assert when(duties["TMR-05"].due_at) == ended + 48 * HOUR

    company.clock.add(hours=2)
    reported = company.rep.command(SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": REPORT, "commitments": [
            {"text": "Send samples.", "dueAt": company.at(hours=28)}, {"text": "Send an offer."}]})
    assert reported.visit.state == REPORTED and not reported.visit.report.late
    assert [c.undated for c in reported.commitments] == [False, True]
    for rule in duties:
        company.reminder(rule, f"visits/{visit.id}", lambda g: g.reminder.state == 2, "it was done")

    returned = company.supervisor.command(SERVICE + "ReviewReport", {
        "visitId": visit.id, "accept": False, "comment": "Which trial?"}).visit
    assert returned.state == RETURNED
    company.rep.command(SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": {**REPORT, "noCommitments": True}})
    closed = company.supervisor.command(SERVICE + "ReviewReport", {"visitId": visit.id, "accept": True}).visit
    assert closed.state == CLOSED

    company.stack.settle()
    log = company.system.call(BUS + "EventService/ReadEvents", {"aggregate": f"visits/{visit.id}"}).events
    assert [e.type.rsplit(".", 1)[1] for e in log] == [
        "VisitRequested", "VisitApproved", "VisitCheckedIn", "VisitEnded", "VisitReported",
        "VisitReportReviewed", "VisitReported", "VisitReportReviewed"]
    assert [e.aggregate_version for e in log] == list(range(1, 9))


def test_the_state_machine_says_what_would_be_needed(company):
    visit = request_visit(company, company.customer("rep"), company.clock.next(0, "10:00"))
    error = refused(company.rep, SERVICE + "CheckOut", {"visitId": visit.id}, "too early")
    assert error.code == "FAILED_PRECONDITION"
    assert "requested" in error.message and "checked_in" in error.message


def test_two_visits_in_one_slot(company):
    shop = company.customer("rep")
    starts = company.clock.next(4, "15:00")
    visit = request_visit(company, shop, starts)
    error = refused(company.rep, SERVICE + "Request", {"visit": {
        "customerId": shop.id, "contactId": visit.contact_id, "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"], "goal": "Again.",
        "startsAt": stamp(starts + HOUR / 2), "endsAt": stamp(starts + 2 * HOUR)}}, "overlap")
    assert error.code == "ALREADY_EXISTS"


def test_vis22_an_unregistered_visit_is_taken_and_flagged(company, stack):
    shop = company.customer("rep")
    before = company.system.call(BUS + "EventService/GetHead").head_seq
    visit = company.rep.command(SERVICE + "CheckIn", {"customerId": shop.id}).visit
    assert visit.state == CHECKED_IN and visit.unregistered

    def events():
        got = company.system.call(BUS + "EventService/ReadEvents",
                                  {"aggregate": f"visits/{visit.id}", "afterSeq": str(before)}).events
        return got if len(got) == 2 else None
    first, second = wait_until(events, SECONDS, "both events were in the log")
    assert first.type == VISITS + "VisitCheckedIn"
    assert second.type == VISITS + "UnregisteredVisitFlagged"
    assert second.aggregate_version > first.aggregate_version


def test_con10_a_talk_was_a_visit_when_its_visitor_was_there(company):
    """A visit that was only asked for has no report to come, so the talk keeps its 24 hours."""
    shop = company.customer("rep")
    visit = request_visit(company, shop, company.clock.next(4, "10:00", ahead=24))
    talk = {"interaction": {"customerId": shop.id, "channel": "CHANNEL_IN_PERSON", "content": "talked",
                            "visitId": visit.id}}
    company.stack.settle()
    error = refused(company.rep, CUSTOMERS + "InteractionService/RecordInteraction", talk, uuid.uuid4().hex)
    assert error.code == "INVALID_ARGUMENT" and "check in first" in error.message
    company.rep.command(SERVICE + "CheckIn", {"visitId": visit.id})
    company.stack.settle()
    before = {"interaction": {**talk["interaction"], "endedAt": stamp(company.clock.now - HOUR)}}
    error = refused(company.rep, CUSTOMERS + "InteractionService/RecordInteraction", before, uuid.uuid4().hex)
    assert error.code == "INVALID_ARGUMENT" and "began after the talk" in error.message
    done = company.rep.command(CUSTOMERS + "InteractionService/RecordInteraction", talk).interaction
    assert done.visit_id == visit.id and not done.late


def test_vis22_an_outing_that_was_applied_for_must_be_named(company):
    """Else the approved visit would stay behind, and of two taps each would make a visit."""
    shop = company.customer("rep")
    starts = company.clock.next(3, "11:00", ahead=24)
    company.clock.turn(starts - 24 * HOUR)
    visit = request_visit(company, shop, starts)
    company.supervisor.command(SERVICE + "Review", {"visitId": visit.id, "approve": True})
    company.clock.turn(starts)
    error = refused(company.rep, SERVICE + "CheckIn", {"customerId": shop.id}, "not named")
    assert error.code == "FAILED_PRECONDITION" and visit.id in error.message
    assert not company.rep.command(SERVICE + "CheckIn", {"visitId": visit.id}).visit.unregistered


def test_vis22_of_two_taps_at_once_one_counts(company, stack):
    taps = [stack.client(company.keys["rep2"]) for _ in range(2)]
    for n in range(5):
        shop = company.customer("rep")
        at_once, codes = threading.Barrier(2), []

        def tap(client):
            at_once.wait()
            try:
                codes.append(client.call(SERVICE + "CheckIn", {"customerId": shop.id}, key=str(uuid.uuid4())).visit.state)
            except mdp.CallError as error:
                codes.append(error.code)
        threads = [threading.Thread(target=tap, args=(client,)) for client in taps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, codes)) == [str(CHECKED_IN), "FAILED_PRECONDITION"], n


def test_con04_on_another_day_the_approved_visit_is_unregistered(company):
    shop = company.customer("rep")
    starts = company.clock.next(1, "11:00", ahead=48)
    company.clock.turn(starts - 48 * HOUR)
    visit = request_visit(company, shop, starts)
    company.supervisor.command(SERVICE + "Review", {"visitId": visit.id, "approve": True})
    company.clock.turn(starts - 24 * HOUR)
    assert company.rep.command(SERVICE + "CheckIn", {"visitId": visit.id}).visit.unregistered


def test_vis40_a_check_in_far_away_is_flagged_never_refused(company):
    shop = company.customer("rep", location={"latitude": 31.23, "longitude": 121.47})
    visit = company.rep.command(SERVICE + "CheckIn", {
        "customerId": shop.id, "position": {"latitude": 39.9, "longitude": 116.4}, "accuracyM": 10}).visit
    assert visit.check_in.far and visit.check_in.distance_m > 1_000_000


def test_tmr03_tmr05_a_report_that_does_not_come(company):
    """24 hours: overdue; 2 days: counts as missing; and the report that comes then stays late."""
    visit, ended = visited(company, company.customer("rep"), 1)
    soft = company.reminder("TMR-04", f"visits/{visit.id}").reminder
    company.clock.turn(when(soft.due_at))
    assert company.told("TMR-04", f"visits/{visit.id}", 1) == [("due", "rep", False)]
    company.clock.turn(ended + 24 * HOUR)
    company.reminder("TMR-03", f"visits/{visit.id}", lambda g: g.reminder.state == 4, "overdue")
    company.clock.turn(ended + 48 * HOUR)
    company.reminder("TMR-05", f"visits/{visit.id}", lambda g: g.reminder.state == 4, "overdue")
    company.clock.turn(ended + 50 * HOUR)
    assert company.told("TMR-05", f"visits/{visit.id}", 4) == [
        ("warning", "rep", False), ("warning", "rep", False), ("due", "rep", False),
        ("escalation", "lead", False)], "ESC-B: two hours later the superior"

    report = company.rep.command(SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": {**REPORT, "noCommitments": True}}).visit.report
    assert report.late and report.missed_final
    for rule in ("TMR-03", "TMR-04", "TMR-05"):
        got = company.reminder(rule, f"visits/{visit.id}", lambda g: g.reminder.state == 3, "done late")
        assert got.reminder.late_by_s > 0


def test_a_report_must_say_what_the_form_asks(company):
    """All faults at once, by field (form F2, VIS-45, VIS-46)."""
    visit, _ = visited(company, company.customer("rep"), 3)
    error = refused(company.rep, SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": {"participants": ["owner"], "content": "x", "needs": "x",
                                        "outcome": "GOAL_OUTCOME_MET"}}, "empty report")
    assert error.code == "INVALID_ARGUMENT"
    assert set(error.fields) == {"report.feedback", "report.next_steps", "report.contact_name",
                                 "report.contact_position", "report.sales_outcome"}
    error = refused(company.rep, SERVICE + "SubmitReport", {
        "visitId": visit.id, "report": {**REPORT, "outcomeReason": ""}}, "no reason")
    assert set(error.fields) == {"report.outcome_reason", "report.no_commitments"}
    company.rep.command(SERVICE + "SubmitReport", {"visitId": visit.id,
                                                   "report": {**REPORT, "noCommitments": True}})


def test_tmr42_a_promise_with_a_date_is_kept_or_broken(company):
    shop = company.customer("rep")
    company.clock.turn(company.clock.next(0, "10:00"))
    made = company.clock.now
    due = made + 54 * HOUR  # Wednesday 16:00
    kept, broken = (company.rep.command(PROMISE + "Add", {"commitment": {
        "customerId": shop.id, "text": text, "dueAt": stamp(due)}}).commitment for text in ("Keep.", "Break."))
    for c in (kept, broken):
        assert when(company.reminder("TMR-42", f"commitments/{c.id}").reminder.due_at) == due

    company.clock.turn(due - 24 * HOUR)
    assert company.told("TMR-42", f"commitments/{kept.id}", 1) == [("warning", "rep", False)]
    company.clock.turn(due.replace(hour=9))
    company.told("TMR-42", f"commitments/{broken.id}", 2)
    done = company.rep.command(PROMISE + "Complete", {"commitmentId": kept.id, "result": "Done."}).commitment
    assert done.state == 2
    company.clock.turn(due)
    told = company.told("TMR-42", f"commitments/{broken.id}", 4)
    assert sorted(told[2:]) == [("due", "lead", False), ("due", "rep", False)]
    assert len(company.told("TMR-42", f"commitments/{kept.id}", 2)) == 2, "the kept one is silent"

    company.clock.add(hours=1)
    late = company.rep.command(PROMISE + "Complete", {"commitmentId": broken.id, "result": "At last."})
    assert late.commitment.state == 3
    company.reminder("TMR-42", f"commitments/{broken.id}", lambda g: g.reminder.state == 3, "done late")
    assert refused(company.rep, PROMISE + "Complete", {"commitmentId": broken.id, "result": "x"},
                   "twice").code == "FAILED_PRECONDITION"


def test_tmr43_an_undated_promise_has_24_hours(company):
    made = company.rep.command(PROMISE + "Add", {"commitment": {
        "customerId": company.customer("rep").id, "text": "Call back."}}).commitment
    assert made.undated and when(made.due_at) == company.clock.now + 24 * HOUR
    assert when(company.reminder("TMR-43", f"commitments/{made.id}").reminder.due_at) == when(made.due_at)
    company.rep.command(PROMISE + "Cancel", {"commitmentId": made.id, "reason": "He called himself."})
    company.reminder("TMR-43", f"commitments/{made.id}", lambda g: g.reminder.state == 5, "cancelled")
