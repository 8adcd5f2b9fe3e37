/*
 * Duties go with their customer to his new owner (REM-18, CON-10).
 */
#include "tests/integration/reminders_duty_fixture.h"

static void customer_event(const char *type, const char *at, const char *owner, const char *more)
{
    char full[80];

    snprintf(full, sizeof(full), CUSTOMERS "%s", type);
    rig_hear(rig, &reminders_consumer, false, full, at,
             "{\"customer\":{\"id\":\"" CUSTOMER "\",\"name\":\"Shop\",\"ownerId\":\"%s\"}%s}",
             owner ? rig_employee_text(owner) : "", more);
}

static void give_customer(const char *owner, const char *at)
{
    customer_event("CustomerUpdated", at, owner, ",\"changedFields\":[\"owner_id\"]");
}

static void open_duties_follow_the_owner_of_their_customer_REM_18(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    ask_question(30, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z"); /* pending */
    ask_question(31, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* overdue */
    visit_event(VISITS "VisitEnded", "2026-11-16T02:00:00Z", "ENDED",
                ",\"checkedOutAt\":\"2026-11-16T02:00:00Z\"");
    wait_for("SELECT count(*) FROM reminders.obligation WHERE state = 'overdue'", "1");
    (void)rig_events(rig);

    rig_time(rig, "2026-11-16T03:30:00Z");
    give_customer("rep2", "2026-11-16T03:30:00Z");
    wait_for("SELECT changed || ' ' || (done_at IS NOT NULL) FROM reminders.recalculation",
             "2 true");
    assert_string_equal(rig_events(rig), "ReminderReassigned ReminderReassigned");
    assert_string_equal(
        rig_value(rig,
                  "SELECT string_agg(right(assignee_id::text, 1) || rule || state, ' ' ORDER BY "
                  "rule, state) FROM reminders.obligation"),
        "5TMR-01overdue 5TMR-01pending 4TMR-03pending 4TMR-04pending 4TMR-05pending");
    assert_string_equal(
        rig_value(rig,
                  "SELECT string_agg(right(recipient_id::text, 1) || ' ' || text, '; ' ORDER BY "
                  "text) FROM reminders.notification WHERE step_kind = 'handover'"),
        "5 转交给您：答复客户问题：Is it frost-proof?，期限 11月16日 09:00，已逾期 2 小时 30 分; "
        "5 转交给您：答复客户问题：Is it frost-proof?，期限 11月17日 10:00，还剩 22 小时 30 分");
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FROM reminders.list_version WHERE employee_id IN ('" REP
                       "', '" EMPLOYEE(5) "')"),
        "2");

    /* From here on the new one is told, the one before no more; up the line as ever. */
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for("SELECT string_agg(DISTINCT right(recipient_id::text, 1), '') FROM "
             "reminders.notification WHERE rule = 'TMR-01' AND step_kind <> 'handover' AND "
             "fired_at > '2026-11-16T03:30:00Z' AND state = 'delivered'",
             "235");
    without_engine();
}

/* While nobody owns the customer, whoever did answers for him; then all goes to the next, once. */
static void duties_wait_with_the_owner_of_before_for_the_next_REM_18(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    ask_question(33, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    give_customer(NULL, "2026-11-16T02:10:00Z");
    ask_question(34, "2026-11-16T02:20:00Z", "2026-11-16T02:20:00Z");
    rig_time(rig, "2026-11-16T02:30:00Z");
    work_off();
    assert_string_equal(rig_value(rig, "SELECT count(*) || ' ' || (SELECT count(*) FROM "
                                       "reminders.recalculation) FROM reminders.obligation WHERE "
                                       "assignee_id = '" REP "'"),
                        "2 0");
    rig_time(rig, "2026-11-16T04:00:00Z");
    give_customer("rep2", "2026-11-16T04:00:00Z");
    give_customer(NULL, "2026-11-16T04:00:01Z");
    give_customer("rep2", "2026-11-16T04:00:02Z");
    work_off();
    assert_string_equal(rig_value(rig, "SELECT string_agg(right(recipient_id::text, 1) || ' ' || "
                                       "substring(text from '还剩.*'), "
                                       "'; ' ORDER BY text) FROM reminders.notification"),
                        "5 还剩 22 小时 0 分; 5 还剩 22 小时 20 分");
    assert_string_equal(
        rig_value(rig, "SELECT string_agg(DISTINCT right(assignee_id::text, 1) || ' ' || "
                       "row_version, ', ') FROM reminders.obligation"),
        "5 2");
}

/* What goes back and forth, and what is another's, stays where it is. */
static void a_customer_who_comes_back_moves_nothing_REM_18(void **state)
{
    (void)state;
    bool more;

    fresh("2026-11-16T02:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "lead", "");
    ask_question(32, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z"); /* of rep, not of lead */
    give_customer("rep2", "2026-11-16T02:00:00Z");
    give_customer("rep", "2026-11-16T02:01:00Z");
    rig_time(rig, "2026-11-16T02:05:00Z");
    give_customer("rep2", "2026-11-16T02:02:00Z");
    give_customer("rep", "2026-11-16T02:03:00Z");
    do
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    while (more);
    assert_string_equal(rig_value(rig, "SELECT count(*) || ' ' || sum(changed) FROM "
                                       "reminders.recalculation WHERE done_at IS NOT NULL"),
                        "2 0"); /* none while who was the owner owed nothing */
    assert_string_equal(
        rig_value(rig, "SELECT right(assignee_id::text, 1) FROM reminders.obligation"), "4");
}

static void a_parked_timer_is_armed_again_for_the_new_owner_REM_18(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    ask_question(40, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(41, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    park_timer("28");
    give_customer("rep2", "2026-11-16T02:00:00Z");
    work_off();
    assert_string_equal(
        rig_value(rig, "SELECT count(*) || ' ' || (SELECT count(*) FROM reminders.timer_parked) "
                       "FROM reminders.timer t JOIN reminders.obligation o ON o.id = "
                       "t.obligation_id AND o.next_us = t.due_us AND o.next_step = t.step AND "
                       "t.shard = get_byte(uuid_send(o.id), 15) & 63"),
        "2 0");
}

/* The opening event was set aside, or committed late. */
static void a_duty_that_is_heard_of_after_the_hand_over_goes_with_it_REM_18(void **state)
{
    (void)state;
    fresh("2026-11-16T04:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    give_customer("rep2", "2026-11-16T03:00:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.recalculation"), "0");
    ask_question(35, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(36, "2026-11-16T02:00:00Z", "2026-11-16T03:30:00Z"); /* his own will: stays */
    rig_hear(rig, &reminders_consumer, false, CUSTOMERS "QuestionOpened", "2026-11-16T02:00:00Z",
             "{\"question\":{\"id\":\"%s\",\"customerId\":\"" CUSTOMER
             "\",\"text\":\"?\",\"assigneeId\":\"%s\",\"askedAt\":\"2026-11-16T02:00:00Z\"},"
             "\"unitId\":\"" EAST "\"}",
             question_id(37), rig_employee_text("lead")); /* never was the owner */
    visit_event(VISITS "VisitEnded", "2026-11-16T02:00:00Z", "ENDED",
                ",\"checkedOutAt\":\"2026-11-16T02:00:00Z\""); /* personal */
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.recalculation"), "1");
    work_off();
    assert_string_equal(
        rig_value(rig, "SELECT string_agg(right(subject, 2) || ' ' || right(assignee_id::text, 1), "
                       "'; ' ORDER BY subject) FROM reminders.obligation WHERE rule = 'TMR-01'"),
        "23 5; 24 4; 25 3");
    assert_string_equal(rig_value(rig, "SELECT string_agg(DISTINCT right(assignee_id::text, 1), "
                                       "'') FROM reminders.obligation WHERE rule <> 'TMR-01'"),
                        "4");

    /* And to whom he belongs to now, not to whom he went first. */
    give_customer("lead", "2026-11-16T03:10:00Z");
    work_off();
    ask_question(38, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z");
    work_off();
    assert_string_equal(rig_value(rig, "SELECT string_agg(right(assignee_id::text, 1), ' ' ORDER "
                                       "BY subject) FROM reminders.obligation WHERE rule = "
                                       "'TMR-01'"),
                        "3 4 3 3");
}

/* The read model goes through its history again: what it says is no longer, or not yet, true. */
static void a_hand_over_waits_for_the_end_of_a_rebuild_REM_18(void **state)
{
    static const char assignee[] = "SELECT right(assignee_id::text, 1) FROM reminders.obligation";

    (void)state;
    fresh("2026-11-16T02:00:00Z");
    admin("INSERT INTO reminders.consumer_cursor (consumer, seq) VALUES ('reminders', 0) "
          "ON CONFLICT DO NOTHING");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "lead", "");
    give_customer("rep", "2026-11-15T01:00:00Z");
    ask_question(39, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    give_customer("rep2", "2026-11-16T02:00:00Z");
    admin("UPDATE reminders.consumer_cursor SET replay_until = 9");
    change_calendar(); /* a job that may be done does not let the other one in */
    start_recalculations();
    work_off();
    assert_string_equal(rig_value(rig, assignee), "4");
    admin("UPDATE reminders.consumer_cursor SET replay_until = 0; "
          "CREATE TABLE reminders.kept AS SELECT * FROM reminders.customer_ref; "
          "TRUNCATE reminders.customer_ref"); /* as seen by who began before it did */
    work_off();
    assert_string_equal(rig_value(rig, assignee), "4");
    admin("INSERT INTO reminders.customer_ref SELECT * FROM reminders.kept; "
          "DROP TABLE reminders.kept");
    work_off();
    assert_string_equal(rig_value(rig, assignee), "5");
}

static void hand_overs_are_forgotten_a_week_after_and_changes_of_rules_are_not(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    ask_question(34, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    give_customer("rep2", "2026-11-16T02:00:00Z");
    change_calendar();
    start_recalculations();
    work_off();
    admin("UPDATE reminders.recalculation SET done_at = clock_timestamp() - interval '8 days'");
    with_engine();
    wait_for("SELECT string_agg(reason, ' ') FROM reminders.recalculation", "calendar");
    without_engine();
}

/* The unit of the new owner has rules of its own, but those of the old one judge the record. */
static void a_handed_over_duty_is_counted_as_its_record_CON_10(void **state)
{
    (void)state;
    bool more;

    fresh("2026-11-16T02:00:00Z");
    customer_event("CustomerCreated", "2026-11-15T00:00:00Z", "rep", "");
    ask_question(33, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_set_unit_policy("HQ", "question_feedback_hours", "8", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("HQ", "reminder_enabled_tmr_01", "false", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("EAST", "question_feedback_hours", "30", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("EAST", "reminder_enabled_tmr_01", "true", "2026-11-01T00:00:00Z");
    give_customer("gm", "2026-11-16T02:00:00Z");
    do
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    while (more);
    json_t *got = rig_ok(rig, "gm", SERVICE, "Get", "{\"rule\":\"TMR-01\",\"subject\":\"%s\"}",
                         question_subject(33));
    assert_string_equal(rig_text(got, "reminder.state"), "REMINDER_STATE_PENDING");
    assert_string_equal(rig_text(got, "reminder.assigneeId"), rig_employee_text("gm"));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-17T08:00:00Z");
    assert_string_equal(rig_text(got, "reminder.policies.0.value"), "30");
    assert_string_equal(rig_text(got, "reminder.unitId"), EAST);
    assert_string_equal(rig_text(got, "deliveries.0.stepKind"), "STEP_KIND_HANDOVER");
    json_decref(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parked_timer_is_armed_again_for_the_new_owner_REM_18),
        cmocka_unit_test(a_duty_that_is_heard_of_after_the_hand_over_goes_with_it_REM_18),
        cmocka_unit_test(a_hand_over_waits_for_the_end_of_a_rebuild_REM_18),
        cmocka_unit_test(hand_overs_are_forgotten_a_week_after_and_changes_of_rules_are_not),
        cmocka_unit_test(open_duties_follow_the_owner_of_their_customer_REM_18),
        cmocka_unit_test(duties_wait_with_the_owner_of_before_for_the_next_REM_18),
        cmocka_unit_test(a_customer_who_comes_back_moves_nothing_REM_18),
        cmocka_unit_test(a_handed_over_duty_is_counted_as_its_record_CON_10),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
