/*
 * Duties from event to ledger on a real PostgreSQL: opened, chased, closed, late, after an outage
 * (REM-01 to REM-08, TMR-01 to TMR-05, TMR-42, TMR-43).
 */
#include "tests/integration/reminders_duty_fixture.h"

/* --- one question, minute by minute ---------------------------------------------------------- */

static void a_question_is_chased_up_the_line_and_closed_as_late(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(1, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    json_t *got = get("TMR-01", question_subject(1));
    assert_string_equal(rig_text(got, "reminder.state"), "REMINDER_STATE_PENDING");
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-17T02:00:00Z");
    assert_string_equal(rig_text(got, "reminder.nextAt"), "2026-11-16T22:00:00Z");
    assert_string_equal(rig_text(got, "reminder.title"), "答复客户问题：Is it frost-proof?");
    assert_string_equal(rig_text(got, "reminder.policies.0.key"), "question_feedback_hours");
    assert_string_equal(rig_text(got, "reminder.explanation.2"), "due 2026-11-17 10:00");
    json_decref(got);

    rig_time(rig, "2026-11-16T21:59:59Z"); /* not a second early */
    rig_time(rig, "2026-11-16T22:00:00Z");
    wait_for_notices("TMR-01", 1);
    assert_string_equal(ledger("TMR-01"), "warning 4 delivered");
    rig_time(rig, "2026-11-17T01:00:00Z");
    wait_for_notices("TMR-01", 2);
    rig_time(rig, "2026-11-17T02:00:00Z"); /* due: the assignee and the direct superior */
    wait_for_notices("TMR-01", 4);
    expect_state("TMR-01", question_subject(1), "REMINDER_STATE_OVERDUE", "");
    rig_time(rig, "2026-11-18T02:00:00Z"); /* the supervisor */
    wait_for_notices("TMR-01", 5);
    rig_time(rig, "2026-11-19T02:00:00Z"); /* no sales manager: the general manager */
    wait_for_notices("TMR-01", 6);
    assert_string_equal(
        ledger("TMR-01"),
        "warning 4 delivered; warning 4 delivered; due 3 delivered; due 4 delivered; "
        "escalation 2 delivered; escalation 1 delivered");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer"), "0");

    answer_question(1, "2026-11-19T05:00:00.5Z");
    expect_state("TMR-01", question_subject(1), "REMINDER_STATE_DONE_LATE", "183601");
    assert_string_equal(rig_events(rig), "ReminderOpened ReminderFired ReminderFired ReminderFired "
                                         "ReminderFired ReminderFired ReminderClosed");
    got = get("TMR-01", question_subject(1));
    assert_string_equal(rig_text(got, "reminder.stepsFired"), "5");
    assert_string_equal(rig_text(got, "reminder.etag"), "7");
    assert_string_equal(rig_text(got, "deliveries.0.stepKind"), "STEP_KIND_WARNING");
    assert_string_equal(rig_text(got, "deliveries.0.firedAt"), "2026-11-16T22:00:00Z");
    assert_int_equal(json_array_size(json_object_get(got, "deliveries")), 6);
    json_decref(got);
    without_engine();
}

static void an_answer_in_time_ends_it_in_silence(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(2, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(3, "2026-11-16T02:00:01Z",
                 "2026-11-16T02:00:01Z"); /* marks when time has passed */
    answer_question(2, "2026-11-16T12:00:00Z");
    expect_state("TMR-01", question_subject(2), "REMINDER_STATE_DONE", "");
    rig_time(rig, "2026-11-19T03:00:00Z");
    wait_for_notices("TMR-01", 6);
    assert_string_equal(
        rig_value(rig, "SELECT count(DISTINCT obligation_id) FROM reminders.notification"), "1");
    without_engine();
}

/* The step fired while a clock jumps far is not "late": nobody could have fired it before. */
static void a_turned_clock_makes_nothing_late_but_past_warnings_pointless(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(4, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for_notices("TMR-01", 4);
    assert_string_equal(ledger("TMR-01"),
                        "warning 4 skipped; warning 4 skipped; due 3 delivered; due 4 delivered");
    without_engine();
}

/* --- closing first, twice, in one batch ------------------------------------------------------ */

static void a_closing_event_that_comes_first_leaves_a_tombstone_REM_06(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    answer_question(5, "2026-11-16T03:00:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.tombstone"), "1");
    assert_string_equal(rig_events(rig), "");
    ask_question(5, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    expect_state("TMR-01", question_subject(5), "REMINDER_STATE_DONE", "");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer"), "0");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.tombstone"), "0");
    assert_string_equal(rig_events(rig), "ReminderOpened ReminderClosed");
}

static int purge_tombstones(void)
{
    char tenant[ID_TEXT_MAX];
    const char *const params[] = { id_text(rig_tenant, tenant), "100" };
    PGresult *res = NULL;

    assert_int_equal(db_begin(rig->db, &rig_tenant, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_exec(rig->db, &sql_tombstones_purge, params, &res), ERR_OK);
    assert_int_equal(db_commit(rig->db), ERR_OK);
    int n = PQntuples(res);
    db_result_clear(&res);
    return n;
}

/* The opening event may be among the parked ones, for longer than tombstones are kept. */
static void tombstones_wait_for_parked_events_REM_06(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    answer_question(40, "2026-11-16T02:00:00Z");
    admin(
        "UPDATE reminders.tombstone SET made_at = now() - interval '8 days';"
        "INSERT INTO reminders.parked_event (consumer, seq, tenant_id, type, aggregate, event, "
        "attempts, reason, parked_at, state) SELECT 'reminders', 1, tenant_id, 'x', 'questions/1', "
        "'', 5, 'test', now(), 'parked' FROM reminders.tombstone");
    assert_int_equal(purge_tombstones(), 0);
    ask_question(40, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* replayed */
    assert_string_equal(rig_value(rig, "SELECT state FROM reminders.obligation"), "done_late");
    answer_question(41, "2026-11-16T02:00:00Z");
    admin("UPDATE reminders.tombstone SET made_at = now() - interval '8 days';"
          "UPDATE reminders.parked_event SET state = 'done'");
    assert_int_equal(purge_tombstones(), 1);
}

static void repeated_events_do_nothing_twice_REM_07(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    ask_question(6, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(6, "2026-11-16T02:00:00Z", "2026-11-16T02:05:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.obligation"), "1");
    answer_question(6, "2026-11-16T03:00:00Z");
    answer_question(6, "2026-11-18T03:00:00Z"); /* the first one counts */
    expect_state("TMR-01", question_subject(6), "REMINDER_STATE_DONE", "");
    ask_question(6, "2026-11-16T02:00:00Z", "2026-11-18T04:00:00Z"); /* stays closed */
    expect_state("TMR-01", question_subject(6), "REMINDER_STATE_DONE", "");
    assert_string_equal(rig_events(rig), "ReminderOpened ReminderClosed");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.tombstone"), "0");
}

struct heard {
    const char *type, *at, *json, *aggregate;
    int64_t version;
};

/* Several events in one batch. */
static void hear_together(const struct heard *events, size_t n)
{
    struct consumer c = { .def = &reminders_consumer,
                          .db = rig->db,
                          .work = arena_new(16 * MIB),
                          .env.daemon_data = &self };
    struct arena *feed = arena_new(16 * MIB);
    struct consumer_item items[8] = { 0 }, *list[8];
    struct reaction reaction;
    static struct reaction_state state;

    for (size_t i = 0; i < n; i++) {
        const struct schema_message *m = schema_find_message(events[i].type);
        PbEvent *event = wire_new(&daybook__bus__v1__event__descriptor, feed);
        struct wire_fault fault;
        ProtobufCMessage *data;
        int64_t at;
        assert_true(time_parse(events[i].at, &at));
        assert_int_equal(protojson_read(m->type, events[i].json, strlen(events[i].json),
                                        PROTOJSON_STRICT, feed, &data, &fault),
                         ERR_OK);
        event->type = arena_strdup(feed, events[i].type);
        event->aggregate = arena_strdup(feed, events[i].aggregate ? events[i].aggregate : "");
        event->aggregate_version = events[i].version;
        event->occurred_at = wire_time(feed, at);
        event->data = wire_any(feed, data);
        items[i] = (struct consumer_item){ .event = event,
                                           .tenant = rig_tenant,
                                           .def = consumer_find_def(&c, event->type) };
        list[i] = &items[i];
    }
    consumer_react_open(&c, &reaction, &state, false);
    assert_int_equal(db_begin(rig->db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(consumer_react_tenant(&c, &reaction, list, n), ERR_OK);
    assert_int_equal(db_commit(rig->db), ERR_OK);
    consumer_react_tell(&c, &reaction);
    consumer_react_close(&reaction);
    arena_free(c.work);
    arena_free(feed);
}

#define Q7                                                                                         \
    "{\"question\":{\"id\":\"07000007-0000-7000-8000-000000000007\",\"text\":\"?\","               \
    "\"assigneeId\":\"" REP "\",\"askedAt\":\"2026-11-16T02:00:00Z\"}}"
#define A7                                                                                         \
    "{\"question\":{\"id\":\"07000007-0000-7000-8000-000000000007\","                              \
    "\"preliminaryAnsweredAt\":\"2026-11-17T03:00:00Z\"}}"

static void opened_and_closed_in_one_batch_make_one_closed_duty(void **state)
{
    (void)state;
    static const struct heard orders[2][2] = {
        { { CUSTOMERS "QuestionOpened", "2026-11-16T02:00:00Z", Q7, NULL, 1 },
          { CUSTOMERS "QuestionPreliminaryAnswered", "2026-11-17T03:00:00Z", A7, NULL, 2 } },
        { { CUSTOMERS "QuestionPreliminaryAnswered", "2026-11-17T03:00:00Z", A7, NULL, 2 },
          { CUSTOMERS "QuestionOpened", "2026-11-16T02:00:00Z", Q7, NULL, 1 } },
    };
    for (size_t i = 0; i < 2; i++) {
        fresh("2026-11-16T02:00:00Z");
        hear_together(orders[i], 2);
        expect_state("TMR-01", question_subject(7), "REMINDER_STATE_DONE_LATE", "3600");
        assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer"), "0");
        assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.tombstone"), "0");
        assert_string_equal(rig_events(rig), "ReminderOpened ReminderClosed");
    }
}

/* Nothing can open any more what a record without a talk before it closes, nor the sibling of a
 * promise that is known: no tombstone is kept for them. */
static void no_tombstone_where_no_opening_event_can_come(void **state)
{
    (void)state;
#define TALK "0a000000-0000-7000-8000-000000000001"
    static const char recorded[] =
        "{\"interaction\":{\"id\":\"" TALK "\",\"recordedAt\":\"2026-11-16T02:00:00Z\"}}";
    static const char made[] =
        "{\"commitment\":{\"id\":\"09000000-0000-7000-8000-000000000001\",\"ownerId\":\"" REP
        "\",\"text\":\"x\",\"promisedAt\":\"2026-11-16T02:00:00Z\","
        "\"dueAt\":\"2026-11-19T07:00:00Z\"}}";
    static const char fulfilled[] =
        "{\"commitment\":{\"id\":\"09000000-0000-7000-8000-000000000001\","
        "\"fulfilledAt\":\"2026-11-16T03:00:00Z\"}}";
    static const char at[] = "2026-11-16T03:00:00Z",
                      tombstones[] = "SELECT count(*) FROM reminders.tombstone";
    const struct heard record = { CUSTOMERS "InteractionRecorded", at, recorded,
                                  "interactions/" TALK, 1 };
    struct heard after_a_talk = record;
    const struct heard make = { VISITS "CommitmentMade", at, made, NULL, 1 };
    const struct heard fulfil = { VISITS "CommitmentFulfilled", at, fulfilled, NULL, 2 };
    const struct heard both[] = { make, fulfil };

    fresh("2026-11-16T02:00:00Z");
    hear_together(&record, 1);
    assert_string_equal(rig_value(rig, tombstones), "0");
    after_a_talk.version = 3;
    hear_together(&after_a_talk, 1);
    assert_string_equal(rig_value(rig, tombstones), "1");

    fresh("2026-11-16T02:00:00Z");
    hear_together(&make, 1);
    hear_together(&fulfil, 1);
    assert_string_equal(rig_value(rig, "SELECT state FROM reminders.obligation"), "done");
    assert_string_equal(rig_value(rig, tombstones), "0");
    fresh("2026-11-16T02:00:00Z");
    hear_together(both, 2);
    assert_string_equal(rig_value(rig, "SELECT state FROM reminders.obligation"), "done");
    assert_string_equal(rig_value(rig, tombstones), "0");
    fresh("2026-11-16T02:00:00Z");
    hear_together(&fulfil, 1);
    assert_string_equal(rig_value(rig, tombstones), "2"); /* which of the two is not known yet */
}

/* --- the other rules ------------------------------------------------------------------------- */

static void a_visit_has_its_three_marks_and_one_report_fulfils_them_CON_01(void **state)
{
    (void)state;
    fresh("2026-11-16T07:00:00Z");
    visit_event(VISITS "VisitEnded", "2026-11-16T07:00:00Z", "ENDED",
                ",\"checkedOutAt\":\"2026-11-16T07:00:00Z\"");
    assert_string_equal(
        rig_value(rig, "SELECT string_agg(rule || ' ' || (due_at AT TIME ZONE 'UTC')::text, "
                       "'; ' ORDER BY rule) FROM reminders.obligation"),
        "TMR-03 2026-11-17 07:00:00; TMR-04 2026-11-16 10:00:00; "
        "TMR-05 2026-11-18 07:00:00");
    visit_event(VISITS "VisitReported", "2026-11-17T08:00:00Z", "REPORTED",
                ",\"report\":{\"submittedAt\":\"2026-11-17T08:00:00Z\"}");
    /* Later marks never excuse the earlier ones. */
    expect_state("TMR-04", "visits/" VISIT_ID, "REMINDER_STATE_DONE_LATE", "79200");
    expect_state("TMR-03", "visits/" VISIT_ID, "REMINDER_STATE_DONE_LATE", "3600");
    expect_state("TMR-05", "visits/" VISIT_ID, "REMINDER_STATE_DONE", "");
}

/* Requirements 4.1: list, no single message; two days, two hours, then a working day. */
static void the_last_step_of_ESC_B_goes_into_a_list_without_a_message(void **state)
{
    (void)state;
    fresh("2026-11-16T07:00:00Z");
    with_engine();
    visit_event(VISITS "VisitEnded", "2026-11-16T07:00:00Z", "ENDED",
                ",\"checkedOutAt\":\"2026-11-16T07:00:00Z\"");
    rig_time(rig, "2026-11-18T09:00:00Z");
    wait_for("SELECT steps_fired FROM reminders.obligation WHERE rule = 'TMR-05'", "4");
    rig_time(rig, "2026-11-20T09:00:00Z");
    wait_for("SELECT steps_fired FROM reminders.obligation WHERE rule = 'TMR-05'", "5");
    assert_string_equal(ledger("TMR-05"), "warning 4 skipped; warning 4 skipped; due 4 delivered; "
                                          "escalation 3 delivered");
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FROM bus.outbox WHERE type LIKE '%ReminderFired' AND "
                       "position('TMR-05'::bytea IN payload) > 0 AND "
                       "position('" EMPLOYEE(2) "'::bytea IN payload) > 0"),
        "1"); /* the supervisor, listed */
    json_t *listed = rig_ok(rig, "sup", SERVICE, "ListRules", "{}");
    assert_string_equal(rig_text(listed, "rules.4.steps.4.listed.0"), "supervisor");
    assert_string_equal(rig_text(listed, "rules.4.steps.4.recipients.0"), "");
    json_decref(listed);
    without_engine();
}

static void a_cancelled_visit_owes_nothing(void **state)
{
    (void)state;
    fresh("2026-11-16T07:00:00Z");
    visit_event(VISITS "VisitEnded", "2026-11-16T07:00:00Z", "ENDED",
                ",\"checkedOutAt\":\"2026-11-16T07:00:00Z\"");
    visit_event(VISITS "VisitCancelled", "2026-11-16T08:00:00Z", "CANCELLED", "");
    expect_state("TMR-03", "visits/" VISIT_ID, "REMINDER_STATE_CANCELLED", "");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer"), "0");
}

#define PROMISE_ID "09000000-0000-7000-8000-000000000001"

static void promises_are_due_as_promised_or_in_a_day_TMR_42_43(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    rig_hear(
        rig, &reminders_consumer, false, VISITS "CommitmentMade", "2026-11-16T02:00:00Z",
        "{\"commitment\":{\"id\":\"" PROMISE_ID "\",\"ownerId\":\"" REP "\",\"text\":\"Send "
        "samples\",\"promisedAt\":\"2026-11-16T02:00:00Z\",\"dueAt\":\"2026-11-19T07:00:00Z\"}}");
    rig_hear(rig, &reminders_consumer, false, VISITS "CommitmentMade", "2026-11-16T02:00:00Z",
             "{\"commitment\":{\"id\":\"09000000-0000-7000-8000-000000000002\",\"ownerId\":\"" REP
             "\",\"text\":\"Call back\",\"promisedAt\":\"2026-11-16T02:00:00Z\",\"dueAt\":"
             "\"2026-11-17T02:00:00Z\",\"undated\":true}}");
    json_t *got = get("TMR-42", "commitments/" PROMISE_ID);
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-19T07:00:00Z");
    assert_string_equal(rig_text(got, "reminder.nextAt"), "2026-11-18T07:00:00Z");
    json_decref(got);
    got = get("TMR-43", "commitments/09000000-0000-7000-8000-000000000002");
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-17T02:00:00Z");
    json_decref(got);
    rig_hear(rig, &reminders_consumer, false, VISITS "CommitmentFulfilled", "2026-11-19T07:00:00Z",
             "{\"commitment\":{\"id\":\"" PROMISE_ID
             "\",\"fulfilledAt\":\"2026-11-19T07:00:00Z\"}}");
    expect_state("TMR-42", "commitments/" PROMISE_ID, "REMINDER_STATE_DONE", "");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.obligation"), "2");
}

static void a_rule_that_is_switched_off_opens_nothing_REM_20(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("reminder_enabled_tmr_01", "false", "2026-01-01T00:00:00Z");
    ask_question(8, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.obligation"), "0");
}

/* --- outage (REM-08) ------------------------------------------------------------------------- */

static void after_an_outage_each_missed_step_fires_once_and_is_marked_late(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    ask_question(9, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-18T03:00:00Z"); /* nobody is there */
    with_engine();
    wait_for_notices("TMR-01", 5);
    assert_string_equal(ledger("TMR-01"),
                        "warning 4 skipped late; warning 4 skipped late; due 3 delivered late; "
                        "due 4 delivered late; escalation 2 delivered late");
    without_engine();
    with_engine(); /* and not again */
    rig_time(rig, "2026-11-19T02:00:00Z");
    wait_for_notices("TMR-01", 6);
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FILTER (WHERE late) FROM reminders.notification"), "5");
    assert_string_equal(rig_events(rig),
                        "ReminderOpened ReminderFired ReminderFired ReminderFired");
    without_engine();
}

static void a_backlog_of_thousands_is_worked_off_in_order_and_once(void **state)
{
    (void)state;
    enum { N = 6000 };
    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    ask_questions(1000, N, "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-17T02:00:00Z");
    with_engine();
    wait_for("SELECT count(*) FROM reminders.notification", "12000"); /* assignee and superior */
    wait_for("SELECT count(*) FROM reminders.timer WHERE step = 1", "6000");
    assert_string_equal(
        rig_value(rig, "SELECT count(DISTINCT obligation_id) FROM reminders.notification"), "6000");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM bus.outbox WHERE type LIKE '%Fired'"),
                        "6000");
    without_engine();
}

/* --- poison ---------------------------------------------------------------------------------- */

static void a_timer_that_cannot_fire_is_parked_and_the_others_do_fire(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    ask_questions(100, 40, "2026-11-16T02:00:00Z");
    assert_int_equal(
        db_script(rig->admin,
                  "UPDATE reminders.obligation SET tells = '' WHERE subject = "
                  "'questions/07000070-0000-7000-8000-000000000070';"
                  "UPDATE reminders.obligation SET plan = array_fill(1, ARRAY[17]) || plan,"
                  " next_step = 17 WHERE subject = "
                  "'questions/07000070-0000-7000-8000-000000000070';"
                  "UPDATE reminders.timer t SET step = 17 FROM reminders.obligation o "
                  "WHERE o.id = t.obligation_id AND o.next_step = 17",
                  clock_monotonic_us() + WAIT_US),
        ERR_OK);
    rig_time(rig, "2026-11-17T02:00:00Z");
    with_engine();
    wait_for("SELECT count(DISTINCT obligation_id) FROM reminders.notification", "39");
    wait_for("SELECT count(*) || ' ' || min(reason) FROM reminders.timer_parked", "1 internal");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer WHERE step <> 1"),
                        "0");
    without_engine();
}

/* --- armed for now ---------------------------------------------------------------------------- */

static void a_duty_that_is_due_when_it_becomes_known_is_told_at_once(void **state)
{
    (void)state;
    fresh("2026-11-17T05:00:00Z");
    with_engine();
    int64_t asked_us = clock_monotonic_us();
    ask_question(14, "2026-11-16T02:00:00Z", "2026-11-17T05:00:00Z");
    wait_for_notices("TMR-01", 2);
    assert_true(clock_monotonic_us() - asked_us < 5 * SECOND_US);
    assert_string_equal(ledger("TMR-01"),
                        "due 3 delivered; due 4 delivered"); /* not late: just known */
    without_engine();
}

/* REM-08: an event that is heard days late (parked, imported, after an outage) may find all steps
 * behind it: they are told as one, so nobody is told twice of it. */
static void a_duty_that_is_known_days_late_is_told_to_each_once_REM_08(void **state)
{
    (void)state;
    fresh("2026-11-23T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "-4h,-1h,0,1h,2h", "2026-01-01T00:00:00Z");
    with_engine();
    ask_question(42, "2026-11-16T02:00:00Z", "2026-11-23T02:00:00Z"); /* known late: now */
    wait_for("SELECT count(*) FROM reminders.obligation WHERE next_us IS NULL", "1");
    assert_string_equal(ledger("TMR-01"),
                        "due 1 delivered; due 2 delivered; due 3 delivered; due 4 delivered");
    without_engine();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_chased_up_the_line_and_closed_as_late),
        cmocka_unit_test(an_answer_in_time_ends_it_in_silence),
        cmocka_unit_test(a_turned_clock_makes_nothing_late_but_past_warnings_pointless),
        cmocka_unit_test(a_closing_event_that_comes_first_leaves_a_tombstone_REM_06),
        cmocka_unit_test(tombstones_wait_for_parked_events_REM_06),
        cmocka_unit_test(repeated_events_do_nothing_twice_REM_07),
        cmocka_unit_test(opened_and_closed_in_one_batch_make_one_closed_duty),
        cmocka_unit_test(no_tombstone_where_no_opening_event_can_come),
        cmocka_unit_test(a_visit_has_its_three_marks_and_one_report_fulfils_them_CON_01),
        cmocka_unit_test(the_last_step_of_ESC_B_goes_into_a_list_without_a_message),
        cmocka_unit_test(a_cancelled_visit_owes_nothing),
        cmocka_unit_test(promises_are_due_as_promised_or_in_a_day_TMR_42_43),
        cmocka_unit_test(a_rule_that_is_switched_off_opens_nothing_REM_20),
        cmocka_unit_test(after_an_outage_each_missed_step_fires_once_and_is_marked_late),
        cmocka_unit_test(a_backlog_of_thousands_is_worked_off_in_order_and_once),
        cmocka_unit_test(a_timer_that_cannot_fire_is_parked_and_the_others_do_fire),
        cmocka_unit_test(a_duty_that_is_due_when_it_becomes_known_is_told_at_once),
        cmocka_unit_test(a_duty_that_is_known_days_late_is_told_to_each_once_REM_08),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
