"""The rule book decides the numbers, and a change of it changes running clocks, once and on record
(GOV-01, REM-09, F43)."""

import datetime as dt

import mdp
import pytest
from company import BUS, DIRECTORY, REMINDERS, SECONDS, when
from stack import wait_until

HOUR = dt.timedelta(hours=1)
POLICY = DIRECTORY + "PolicyService/"


@pytest.fixture(scope="module")
def company(stack, clock):
    """One of its own, since it changes the rules."""
    from company import Company
    return Company(stack, clock)


def set_policy(company, key, value, **more):
    return company.system.command(POLICY + "Set", {"key": key, "value": value, "reason": "test", **more})


def in_force(company, key, **more):
    return company.system.call(POLICY + "Get", {"key": key, **more}).policy


def test_every_key_tells_type_default_and_source(company):
    keys = {p.key: p for p in company.system.call(POLICY + "List").policies}
    assert keys["question_feedback_hours"].type == "hours"
    assert keys["question_feedback_hours"].default_value == "24"
    assert keys["question_feedback_hours"].provenance == "default"
    rules = {r.id: r for r in company.system.call(REMINDERS + "ReminderService/ListRules").rules}
    assert set(rules) == {"TMR-01", "TMR-02", "TMR-03", "TMR-04", "TMR-05", "TMR-42", "TMR-43"}
    assert rules["TMR-01"].escalation_profile == "ESC-A" and rules["TMR-01"].enabled
    offsets = [s.offset_minutes for s in rules["TMR-01"].steps]
    assert offsets == [-240, -60, 0, 24 * 60, 48 * 60]


@pytest.mark.parametrize("key, value", [("question_feedback_hours", "soon"),
                                        ("question_feedback_hours", "-1"), ("no_such_key", "1")])
def test_a_value_that_does_not_fit_is_refused(company, key, value):
    with pytest.raises(mdp.CallError) as error:
        company.system.call(POLICY + "Set", {"key": key, "value": value, "reason": "x"}, key=key + value)
    assert error.value.code in ("INVALID_ARGUMENT", "NOT_FOUND")


def test_f43_rem09_a_changed_rule_reschedules_running_clocks(company, stack):
    company.clock.turn(company.clock.next(0, "09:00"))
    asked = company.clock.now
    question = company.ask(company.customer("rep"))
    subject = f"questions/{question.id}"
    assert when(company.reminder("TMR-01", subject).reminder.due_at) == asked + 24 * HOUR

    company.clock.add(minutes=10)
    set_policy(company, "question_feedback_hours", "6")
    got = company.reminder("TMR-01", subject, lambda g: when(g.reminder.due_at) == asked + 6 * HOUR,
                           "it was counted anew")
    assert any(p.value == "6" and p.provenance == "company" for p in got.reminder.policies)
    stack.settle()
    events = [e for e in company.system.call(BUS + "EventService/ReadEvents", {
        "aggregate": f"reminders/{got.reminder.id}"}).events if e.type.endswith("ReminderRescheduled")]
    assert len(events) == 1, "once, and on record"

    company.clock.turn(asked + 6 * HOUR)
    company.reminder("TMR-01", subject, lambda g: g.reminder.state == 4, "overdue by the new rule")
    company.answer(question)
    set_policy(company, "question_feedback_hours", "24")


def test_f43_a_recalculation_tells_nobody_twice(company, stack):
    """Also at the very moment of a step: here time stands still on it."""
    company.clock.turn(company.clock.next(1, "09:00"))
    asked = company.clock.now
    question = company.ask(company.customer("rep"))
    subject = f"questions/{question.id}"
    company.reminder("TMR-01", subject)
    company.clock.turn(asked + 20 * HOUR)
    assert company.told("TMR-01", subject, 1) == [("warning", "rep", False)]

    recalculated = "select count(*) from reminders.recalculation where done_at is not null"
    before = stack.value(recalculated)
    company.import_calendar(2025)
    set_policy(company, "workday_end", "17:30")
    wait_until(lambda: stack.value(recalculated) >= before + 2, SECONDS, "both changes were worked through")
    stack.settle()
    assert company.told("TMR-01", subject, 1) == [("warning", "rep", False)]

    set_policy(company, "lead_offsets_24h", "-4h,-2h,0")
    company.clock.turn(asked + 22 * HOUR)
    assert company.told("TMR-01", subject, 2) == [("warning", "rep", False)] * 2, "the new one, and no old one"
    company.answer(question)


def test_a_unit_may_have_a_rule_of_its_own(company):
    set_policy(company, "question_feedback_hours", "48", unitId=company.units["WEST"])
    assert in_force(company, "question_feedback_hours", unitId=company.units["WEST"]).value == "48"
    assert in_force(company, "question_feedback_hours", unitId=company.units["EAST"]).value == "24"

    def due(who):
        question = company.ask(company.customer(who), who=who)
        reminder = company.reminder("TMR-01", f"questions/{question.id}").reminder
        company.answer(question, who=who)
        return when(reminder.due_at) - company.clock.now
    wait_until(lambda: due("rep3") == 48 * HOUR, SECONDS, "the unit's rule held")
    assert due("rep") == 24 * HOUR


def test_a_setting_holds_from_its_date_on(company):
    later = company.clock.now + 100 * HOUR
    set_policy(company, "commitment_default_due_hours", "12", effectiveFrom=company.at(hours=100))
    assert in_force(company, "commitment_default_due_hours").value == "24"
    assert in_force(company, "commitment_default_due_hours", at=company.at(hours=101)).value == "12"
    history = company.system.call(POLICY + "History", {"key": "commitment_default_due_hours"}).settings
    assert [when(s.effective_from) for s in history] == [later]


def test_rem20_a_rule_that_is_switched_off_opens_nothing(company, stack):
    set_policy(company, "reminder_enabled_tmr_01", "false")
    company.wait_until_known()

    def silent():
        question = company.ask(company.customer("rep"))
        stack.settle()
        try:
            company.system.call(REMINDERS + "ReminderService/Get",
                                {"rule": "TMR-01", "subject": f"questions/{question.id}"})
            return False
        except mdp.CallError as error:
            return error.code == "NOT_FOUND"
    wait_until(silent, SECONDS, "the rule was off")
    set_policy(company, "reminder_enabled_tmr_01", "true")
