"""A customer's question and its 24 hours: warned, due, chased up the line, closed, on time or late
(TMR-01, TMR-02, REM-01 to REM-14)."""

import datetime as dt

import mdp
import pytest
from company import CUSTOMERS, REMINDERS, SECONDS, when
from google.protobuf import json_format
from stack import SLACK, wait_until

HOUR = dt.timedelta(hours=1)
PENDING, DONE, DONE_LATE, OVERDUE, CANCELLED = 1, 2, 3, 4, 5


def subject(question):
    return f"questions/{question.id}"


def chase(company, asked, question, hours):
    """Turns the clock to each full step of the ladder and waits for it to be told."""
    told = []
    for n, h in enumerate(hours, start=1):
        company.clock.turn(asked + h * HOUR)
        told = company.told("TMR-01", subject(question), n)
    return told


def test_tmr01_a_question_answered_in_time(company):
    company.clock.turn(company.clock.next(1, "09:12"))
    asked = company.clock.now
    shop = company.customer("rep", name="In Time")
    question = company.ask(shop)
    got = company.reminder("TMR-01", subject(question))
    assert when(got.reminder.due_at) == asked + 24 * HOUR
    assert got.reminder.state == PENDING and got.reminder.assignee_id == company.ids["rep"]
    assert any(p.key == "question_feedback_hours" and p.value == "24" for p in got.reminder.policies)
    assert got.reminder.explanation

    company.clock.turn(asked + 20 * HOUR)
    assert company.told("TMR-01", subject(question), 1) == [("warning", "rep", False)]
    company.answer(question)
    done = company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == DONE, "it was done")
    assert done.reminder.late_by_s == 0 and when(done.reminder.closed_at) == asked + 20 * HOUR
    assert not done.reminder.HasField("next_at")

    company.clock.turn(asked + 26 * HOUR)
    company.stack.settle()
    assert company.told("TMR-01", subject(question), 1) == [("warning", "rep", False)], "it was met: silence"


def test_rem04_rem05_a_question_is_chased_up_the_line_and_stays_late(company):
    company.clock.turn(company.clock.next(0, "10:00"))
    asked = company.clock.now
    question = company.ask(company.customer("rep", name="Up The Line"))
    company.reminder("TMR-01", subject(question))

    told = chase(company, asked, question, [20, 23])
    assert told == [("warning", "rep", False)] * 2
    company.clock.turn(asked + 24 * HOUR)
    told = company.told("TMR-01", subject(question), 4)
    assert sorted(told[2:]) == [("due", "lead", False), ("due", "rep", False)]
    overdue = company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == OVERDUE, "overdue")
    assert overdue.reminder.steps_fired == 3

    company.clock.turn(asked + 48 * HOUR)
    assert company.told("TMR-01", subject(question), 5)[4:] == [("escalation", "supervisor", False)]
    company.clock.turn(asked + 72 * HOUR)
    assert company.told("TMR-01", subject(question), 6)[5:] == [("escalation", "manager", False)]

    company.clock.add(minutes=30)
    answered = company.answer(question)
    assert answered.late, "late is decided once (REM-06)"
    closed = company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == DONE_LATE, "done late")
    assert closed.reminder.late_by_s == 48 * 3600 + 1800
    assert not closed.reminder.HasField("next_at")


def test_a_preliminary_answer_stops_the_clock(company):
    question = company.ask(company.customer("rep"))
    company.reminder("TMR-01", subject(question))
    company.answer(question, final=False)
    company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == DONE, "done")
    final = company.answer(question, final=True)
    assert final.HasField("preliminary_answered_at") and final.HasField("answered_at")
    assert final.preliminary_answer and final.HasField("final_promised_at"), "both stay (INT-04)"
    with pytest.raises(mdp.CallError) as error:
        company.rep.call(CUSTOMERS + "InteractionService/AnswerQuestion",
                         {"questionId": question.id, "answer": "Again", "final": True}, key="thrice")
    assert error.value.code == "FAILED_PRECONDITION"


def test_rem06_a_closing_event_that_came_first_leaves_nothing_open(company, stack):
    """Reminders is frozen while question and answer happen, and then takes both at once."""
    shop = company.customer("rep")
    with stack.stopped("reminders"):
        question = company.ask(shop)
        company.answer(question)
    got = company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == DONE, "done")
    assert not got.reminder.HasField("next_at") and not got.deliveries


def test_an_outage_fires_each_step_once_and_marks_it_late(company, stack):
    """Warnings that are pointless by then are recorded, not sent; what is due is told once, late."""
    company.clock.turn(company.clock.next(2, "09:00"))
    question = company.ask(company.customer("rep"))
    company.reminder("TMR-01", subject(question))
    stack.settle()
    stack.kill("reminders")
    company.clock.add(hours=25)
    stack.start("reminders")
    got = company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == OVERDUE, "overdue")
    due = [d for d in got.deliveries if d.step_kind == 2]
    assert sorted(d.recipient_id for d in due) == sorted([company.ids["rep"], company.ids["lead"]])
    assert all(d.late for d in due)
    skipped = [d for d in got.deliveries if d.step_kind == 1]
    assert skipped and all(d.state == 4 for d in skipped), "a warning after the due time is recorded, not sent"
    company.answer(question)


def test_rem14_the_daily_list_shows_it_from_the_cache(company, stack):
    company.clock.turn(company.clock.next(3, "09:00"))
    shop = company.customer("rep2", name="List Shop")
    question = company.ask(shop, who="rep2", text="Opening hours?")
    company.reminder("TMR-01", subject(question))

    def listed(date):
        got = company.tasks("rep2", date=date)
        mine = [t for t in got.list.tasks if t.subject == subject(question)]
        return (mine[0], got) if mine else None
    tomorrow = (company.clock.now + dt.timedelta(days=1)).strftime("%Y-%m-%d")
    task, got = wait_until(lambda: listed(tomorrow), SECONDS, "the question was on tomorrow's list")
    assert task.customer_name == "List Shop" and task.rule == "TMR-01" and not task.done
    stack.settle()
    company.tasks("rep2", date=tomorrow)
    again = company.tasks("rep2", date=tomorrow)
    assert again.source == 1, "the second read comes from the cache"
    assert json_format.MessageToDict(again.list) == json_format.MessageToDict(listed(tomorrow)[1].list)

    company.clock.turn(company.clock.next(4, "08:00"))
    company.answer(question, who="rep2")
    wait_until(lambda: listed(tomorrow)[0].done, 1 * SECONDS, "the list showed it as done")


def test_rem14_a_list_is_right_within_a_second_of_the_commit(company):
    """The budget is a second; what is measured includes this client, so it is given its slack."""
    shop = company.customer("rep2")
    today = (company.clock.now + dt.timedelta(days=1)).strftime("%Y-%m-%d")
    company.tasks("rep2", date=today)
    for _ in range(3):
        question = company.ask(shop, who="rep2")
        wait_until(lambda: any(t.subject == subject(question) for t in
                               company.tasks("rep2", date=today).list.tasks), 1.0 * SLACK,
                   "the list had the question")


def test_rem13_acknowledged_and_snoozed_but_never_postponed(company):
    company.clock.turn(company.clock.next(0, "09:00"))
    asked = company.clock.now
    question = company.ask(company.customer("rep"))
    duty = company.reminder("TMR-01", subject(question)).reminder
    seen = company.rep.command(REMINDERS + "ReminderService/Acknowledge", {"id": duty.id, "note": "On it"})
    assert seen.reminder.HasField("acknowledged_at")
    snoozed = company.rep.command(REMINDERS + "ReminderService/Snooze", {
        "id": duty.id, "until": company.at(hours=21), "reason": "In a meeting until then"}).reminder
    assert snoozed.HasField("snoozed_until") and when(snoozed.due_at) == asked + 24 * HOUR
    with pytest.raises(mdp.CallError) as error:
        company.rep.call(REMINDERS + "ReminderService/Snooze", {
            "id": duty.id, "until": company.at(hours=25), "reason": "Later"}, key="too-late")
    assert error.value.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
    company.clock.turn(asked + 24 * HOUR)
    company.reminder("TMR-01", subject(question), lambda g: g.reminder.state == OVERDUE, "overdue at its time")
    company.answer(question)


def test_tmr02_a_talk_whose_record_is_missing(company):
    company.clock.turn(company.clock.next(1, "11:00"))
    shop = company.customer("rep")
    ended = company.system.command(CUSTOMERS + "InteractionService/RegisterEnded", {
        "customerId": shop.id, "employeeId": company.ids["rep"], "channel": "CHANNEL_PHONE",
        "externalRef": {"source": "pbx", "id": f"call-{shop.id}"}}).interaction
    duty = company.reminder("TMR-02", f"interactions/{ended.id}").reminder
    assert when(duty.due_at) == company.clock.now + 24 * HOUR

    company.clock.add(hours=25)
    company.reminder("TMR-02", f"interactions/{ended.id}", lambda g: g.reminder.state == OVERDUE, "overdue")
    recorded = company.rep.command(CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
        "externalRef": {"source": "pbx", "id": f"call-{shop.id}"}, "content": "Wants a catalogue."}})
    assert recorded.interaction.id == ended.id and recorded.interaction.late
    company.reminder("TMR-02", f"interactions/{ended.id}", lambda g: g.reminder.state == DONE_LATE, "done late")


def test_con10_only_a_visit_has_other_clocks_than_a_talk(company, stack):
    shop = company.customer("rep")
    visit = company.rep.command("daybook.visits.v1.VisitService/CheckIn", {"customerId": shop.id}).visit

    def ended(**which):
        return company.rep.command(CUSTOMERS + "InteractionService/RegisterEnded", {
            "customerId": shop.id, "channel": "CHANNEL_IN_PERSON", **which}).interaction.id
    stack.settle()
    visited, talked = ended(visitId=visit.id), ended()
    company.reminder("TMR-02", f"interactions/{talked}")
    stack.settle()
    with pytest.raises(mdp.CallError) as error:
        company.system.call(REMINDERS + "ReminderService/Get",
                            {"rule": "TMR-02", "subject": f"interactions/{visited}"})
    assert error.value.code == "NOT_FOUND"
