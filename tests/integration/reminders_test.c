/*
 * Duties from event to ledger on a real PostgreSQL: opened, chased, closed, late, recalculated,
 * after an outage (REM-01 to REM-09, TMR-01 to TMR-05, TMR-42, TMR-43).
 */
#include "tests/integration/reminders_fixture.h"

static struct runner main_runner;

static int start(void **state)
{
    (void)state;
    return fixture_start_with(false);
}

static void with_engine(void)
{
    runner_start(&main_runner, "main");
    runner_adopt(&main_runner);
}

static void without_engine(void)
{
    runner_leave();
    runner_stop(&main_runner);
}

static json_t *get(const char *rule, const char *subject)
{
    return rig_ok(rig, "rep", SERVICE, "Get", "{\"rule\":\"%s\",\"subject\":\"%s\"}", rule,
                  subject);
}

static void expect_state(const char *rule, const char *subject, const char *state, const char *late)
{
    json_t *got = get(rule, subject);
    assert_string_equal(rig_text(got, "reminder.state"), state);
    assert_string_equal(rig_text(got, "reminder.lateByS"), late);
    json_decref(got);
}

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

static void admin(const char *sql)
{
    assert_int_equal(db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US), ERR_OK);
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

#define VISIT_ID "08000000-0000-7000-8000-000000000001"

static void visit_event(const char *type, const char *at, const char *state, const char *more)
{
    rig_hear(rig, &reminders_consumer, false, type, at,
             "{\"visit\":{\"id\":\"" VISIT_ID "\",\"customerId\":\"" CUSTOMER
             "\",\"visitorId\":\"" REP "\",\"mode\":\"VISIT_MODE_IN_PERSON\",\"startsAt\":\"2026-"
             "11-16T06:00:00Z\",\"goal\":\"Show "
             "samples\",\"state\":\"VISIT_STATE_%s\"%s}}",
             state, more);
}

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

/* --- recalculation (REM-09, F43) ------------------------------------------------------------- */

/* As if the time in which replicas read the rule book anew had passed. */
static void start_recalculations(void)
{
    admin("UPDATE reminders.recalculation SET start_at = '-infinity'");
}

static void work_off(void)
{
    bool more;

    do
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    while (more);
}

/* That of the snapshot, as in the transaction of a change. */
static void set_revision(void)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    char sql[100];

    snprintf(sql, sizeof(sql), "UPDATE directory_api.revision SET revision = %" PRId64,
             directory_revision(dir));
    admin(sql);
}

static void set_policy(const char *key, const char *value, const char *at)
{
    rig_set_policy(key, value, at);
    set_revision(); /* else a step that began before would be done on the rule book of before */
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.PolicySet", at,
             "{\"setting\":{\"key\":\"%s\",\"value\":\"%s\",\"effectiveFrom\":\"%s\"}}", key, value,
             at);
    start_recalculations();
}

static void a_change_of_the_rule_book_moves_pending_duties_and_says_so(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(10, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(11, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* overdue by then: stays */
    wait_for_notices("TMR-01", 4);
    (void)rig_events(rig);
    set_policy("question_feedback_hours", "8", "2026-11-16T03:00:00Z");
    rig_time(rig, "2026-11-16T03:00:00Z");
    wait_for("SELECT changed || ' ' || (done_at IS NOT NULL) FROM reminders.recalculation",
             "1 true");
    json_t *got = get("TMR-01", question_subject(10));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-16T10:00:00Z");
    assert_string_equal(rig_text(got, "reminder.nextAt"), "2026-11-16T06:00:00Z");
    assert_string_equal(rig_text(got, "reminder.policies.0.value"), "8");
    json_decref(got);
    got = get("TMR-01", question_subject(11));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-16T01:00:00Z");
    json_decref(got);
    assert_string_equal(rig_events(rig), "ReminderRescheduled");
    rig_time(rig, "2026-11-16T06:00:00Z"); /* the new warning */
    wait_for_notices("TMR-01", 5);
    without_engine();
}

static void a_warning_that_was_given_is_given_again_for_a_later_deadline(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(12, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-16T22:00:00Z");
    wait_for_notices("TMR-01", 1);
    set_policy("question_feedback_hours", "48", "2026-11-16T22:00:00Z");
    wait_for("SELECT (done_at IS NOT NULL)::text FROM reminders.recalculation", "true");
    rig_time(rig, "2026-11-17T22:00:00Z");
    wait_for_notices("TMR-01", 2);
    assert_string_equal(ledger("TMR-01"), "warning 4 delivered; warning 4 delivered");
    without_engine();
}

static void a_change_that_changes_nothing_for_a_duty_leaves_it_alone(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(13, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    (void)rig_events(rig);
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.CalendarImported",
             "2026-11-16T02:00:00Z", "{\"year\":2026,\"changedDates\":[\"2026-11-18\"]}");
    start_recalculations();
    wait_for("SELECT changed || ' ' || (done_at IS NOT NULL) FROM reminders.recalculation",
             "0 true");
    assert_string_equal(rig_events(rig), "");
    set_policy("reminder_enabled_tmr_01", "false", "2026-11-16T02:00:00Z");
    wait_for("SELECT count(*) FROM reminders.obligation WHERE state = 'cancelled'", "1");
    assert_string_equal(rig_events(rig), "ReminderClosed");
    without_engine();
}

/* REM-20: pending and overdue, with a timer, without one any more, and with one that was parked. */
static void a_rule_that_is_switched_off_tells_nobody_any_more_REM_20(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    with_engine();
    ask_question(15, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z"); /* pending */
    ask_question(16, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* overdue, to be escalated */
    ask_question(17, "2026-11-10T01:00:00Z", "2026-11-10T01:00:00Z"); /* escalated to the top */
    ask_question(18, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z"); /* parked */
    wait_for("SELECT count(*) FROM reminders.obligation WHERE state = 'overdue'", "2");
    wait_for("SELECT count(*) FROM reminders.timer", "3");
    admin("WITH t AS (DELETE FROM reminders.timer WHERE obligation_id = (SELECT id FROM "
          "reminders.obligation WHERE subject LIKE '%12') RETURNING *) INSERT INTO "
          "reminders.timer_parked SELECT tenant_id, obligation_id, step, due_us, 'test' FROM t");
    char *told = strdup(rig_value(rig, "SELECT count(*) FROM reminders.notification"));
    (void)rig_events(rig);
    set_policy("reminder_enabled_tmr_01", "false", "2026-11-16T02:00:00Z");
    wait_for("SELECT changed || ' ' || (done_at IS NOT NULL) FROM reminders.recalculation",
             "4 true");
    assert_string_equal(rig_value(rig, "SELECT string_agg(DISTINCT state, ' ') FROM "
                                       "reminders.obligation"),
                        "cancelled");
    assert_string_equal(rig_value(rig, "SELECT (SELECT count(*) FROM reminders.timer) || ' ' || "
                                       "(SELECT count(*) FROM reminders.timer_parked)"),
                        "0 0");
    assert_string_equal(rig_events(rig),
                        "ReminderClosed ReminderClosed ReminderClosed ReminderClosed");
    json_t *got = get("TMR-01", question_subject(16));
    assert_string_equal(rig_text(got, "reminder.explanation.3"),
                        "cancelled by policy reminder_enabled_tmr_01");
    json_decref(got);
    rig_time(rig, "2026-11-20T02:00:00Z");
    ask_question(19, "2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"); /* nor is it opened */
    without_engine();
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.notification"), told);
    free(told);
}

/* REM-09: another replica may yet open a duty by the rule book of before, behind the cursor. */
static void a_recalculation_waits_until_every_replica_knows_the_change(void **state)
{
    (void)state;
    bool more;

    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("question_feedback_hours", "8", "2026-11-16T02:00:00Z");
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.PolicySet",
             "2026-11-16T02:00:00Z",
             "{\"setting\":{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"effectiveFrom\":"
             "\"2026-11-16T02:00:00Z\"}}");
    assert_string_equal(
        rig_value(rig, "SELECT start_at BETWEEN clock_timestamp() - interval '1 minute' + interval "
                       "'2.5 s' AND clock_timestamp() + interval '2.5 s' FROM "
                       "reminders.recalculation"),
        "t");
    admin("UPDATE reminders.recalculation SET start_at = clock_timestamp() + interval '1 hour'");
    assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    rig_clear_policies(); /* a replica that has not read it anew */
    ask_question(20, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_set_policy("question_feedback_hours", "8", "2026-11-16T02:00:00Z");
    start_recalculations();
    do
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    while (more);
    json_t *got = get("TMR-01", question_subject(20));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-16T10:00:00Z");
    json_decref(got);
}

/* The recalculation of the change has run, so nothing else would count it anew (REM-09); the record
 * is judged likewise (deadline_of()). */
static void a_duty_that_is_opened_late_follows_the_rules_that_changed_meanwhile(void **state)
{
    (void)state;
    fresh("2026-11-16T02:10:00Z");
    rig_set_policy("question_feedback_hours", "8", "2026-11-16T02:05:00Z");
    ask_question(21, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    json_t *got = get("TMR-01", question_subject(21));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-16T10:00:00Z");
    assert_string_equal(rig_text(got, "reminder.policies.0.value"), "8");
    assert_string_equal(rig_text(got, "reminder.explanation.2"), "due 2026-11-16 18:00");
    assert_string_equal(rig_text(got, "reminder.explanation.3"), "");
    json_decref(got);

    /* What a rule has made late no later one excuses. */
    rig_time(rig, "2026-11-18T02:00:00Z");
    rig_set_policy("question_feedback_hours", "72", "2026-11-17T12:00:00Z");
    ask_question(22, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    got = get("TMR-01", question_subject(22));
    assert_string_equal(rig_text(got, "reminder.dueAt"), "2026-11-16T10:00:00Z");
    json_decref(got);

    rig_set_policy("reminder_enabled_tmr_01", "false", "2026-11-18T01:00:00Z");
    ask_question(23, "2026-11-18T00:00:00Z", "2026-11-18T00:00:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.obligation"), "2");
}

static void change_calendar(void)
{
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.CalendarImported",
             "2026-11-16T02:00:00Z", "{\"year\":2026,\"changedDates\":[\"2026-11-18\"]}");
}

/* A replica whose directory could not be read for a while knows nothing of the change. */
static void a_recalculation_is_not_done_by_an_older_snapshot(void **state)
{
#define REVISED "SELECT count(done_at) || ', ' || sum(changed) FROM reminders.recalculation"
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    ask_question(24, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    admin("UPDATE directory_api.revision SET revision = 2"); /* the snapshot has 1 */
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.PolicySet",
             "2026-11-16T02:00:00Z",
             "{\"setting\":{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"effectiveFrom\":"
             "\"2026-11-16T02:00:00Z\"}}");
    admin("UPDATE directory_api.revision SET revision = 1");
    start_recalculations();
    work_off();
    assert_string_equal(rig_value(rig, REVISED), "0, 0");
    change_calendar(); /* of a revision that it has: does not let the other one in */
    start_recalculations();
    work_off();
    assert_string_equal(rig_value(rig, REVISED), "1, 0");
    rig_set_policy("question_feedback_hours", "8", "2026-11-16T02:00:00Z");
    work_off();
    assert_string_equal(rig_value(rig, REVISED), "2, 1");
}

/* --- jobs that fail ---------------------------------------------------------------------------- */

/* Jobs with that mark fail so while the sequence is below the number. */
static void fail_jobs(const char *sqlstate, int times)
{
    admin(
        "DROP TRIGGER IF EXISTS fail ON reminders.recalculation; "
        "CREATE SEQUENCE IF NOT EXISTS reminders.failures; GRANT USAGE ON SEQUENCE "
        "reminders.failures TO PUBLIC; ALTER SEQUENCE reminders.failures RESTART; "
        "CREATE OR REPLACE FUNCTION reminders.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.reason = 'fails' AND NEW.start_at = OLD.start_at AND "
        "nextval('reminders.failures') <= TG_ARGV[1]::int THEN "
        "RAISE EXCEPTION 'test' USING ERRCODE = TG_ARGV[0]; END IF; RETURN NEW; END $$");
    char sql[256];
    snprintf(sql, sizeof(sql),
             "CREATE TRIGGER fail BEFORE UPDATE ON reminders.recalculation FOR EACH ROW EXECUTE "
             "FUNCTION reminders.fail('%s', '%d')",
             sqlstate, times);
    admin(sql);
}

#define DONE_BY_REASON                                                                             \
    "SELECT string_agg(reason || ' ' || (done_at IS NOT NULL), '; ' ORDER BY reason) FROM "        \
    "reminders.recalculation"

static void jobs_that_fail_hold_up_no_other(void **state)
{
    static const char *const sqlstates[] = { "55P03", "57014", "22012", "40001" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sqlstates); i++) {
        fresh("2026-11-16T02:00:00Z");
        change_calendar();
        change_calendar();
        admin("UPDATE reminders.recalculation SET reason = 'fails', effective_us = 1");
        change_calendar();
        start_recalculations();
        fail_jobs(sqlstates[i], 1000);
        work_off();
        admin("DROP TRIGGER fail ON reminders.recalculation");
        assert_string_equal(rig_value(rig, DONE_BY_REASON),
                            "calendar true; fails false; fails false");
        work_off(); /* later */
        start_recalculations();
        work_off();
        assert_string_equal(rig_value(rig, DONE_BY_REASON),
                            "calendar true; fails true; fails true");
    }
}

static void a_job_that_met_a_deadlock_is_done_again_at_once(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    change_calendar();
    admin("UPDATE reminders.recalculation SET reason = 'fails'");
    start_recalculations();
    fail_jobs("40P01", 2);
    work_off();
    admin("DROP TRIGGER fail ON reminders.recalculation");
    assert_string_equal(rig_value(rig, DONE_BY_REASON), "fails true");
}

/* A job of the calendar, as a company of that number has it. */
static void put_job(const char *tenant, int id)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "INSERT INTO reminders.recalculation (tenant_id, id, policy_key, reason, "
             "effective_us, asked_at, start_at) VALUES ('%s', '%08d-0000-7000-8000-000000000000', "
             "'', '%d', 1, 'epoch', '-infinity')",
             tenant, id, id);
    admin(sql);
}

static void companies_take_turns_with_their_jobs(void **state)
{
    char one[ID_TEXT_MAX], other[ID_TEXT_MAX];
    bool more;

    (void)state;
    fresh("2026-11-16T02:00:00Z");
    id_text(rig_tenant, one);
    id_text(rig_other_tenant, other);
    for (int i = 1; i <= 3; i++)
        put_job(one, i);
    for (int i = 4; i <= 6; i++)
        put_job(other, i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    assert_string_equal(rig_value(rig, "SELECT string_agg(reason, ' ' ORDER BY reason) FROM "
                                       "reminders.recalculation WHERE done_at IS NOT NULL"),
                        "1 2 4 5");
    work_off();
}

static void a_replica_leaves_out_the_job_that_another_has_in_hand(void **state)
{
    struct db *db = db_new(conninfo, "other replica");
    char one[ID_TEXT_MAX];
    const char *const params[] = { id_text(rig_tenant, one), "2000000000000000", "1" };
    PGresult *res;

    (void)state;
    fresh("2026-11-16T02:00:00Z");
    put_job(one, 1);
    put_job(one, 2);
    assert_int_equal(db_begin(db, &rig_tenant, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_exec(db, &sql_recalculation_take, params, &res), ERR_OK);
    PQclear(res);
    int64_t begun_us = clock_monotonic_us();
    work_off();
    assert_true(clock_monotonic_us() - begun_us < 5 * SECOND_US);
    assert_string_equal(rig_value(rig, DONE_BY_REASON), "1 false; 2 true");
    db_rollback(db);
    db_free(db);
    work_off();
    assert_string_equal(rig_value(rig, DONE_BY_REASON), "1 true; 2 true");
}

/* --- handing over (REM-18) ------------------------------------------------------------------- */

static void customer_event(const char *type, const char *at, const char *owner, const char *more)
{
    char full[80];

    snprintf(full, sizeof(full), CUSTOMERS "%s", type);
    rig_hear(rig, &reminders_consumer, false, full, at,
             "{\"customer\":{\"id\":\"" CUSTOMER "\",\"name\":\"Shop\",\"ownerId\":\"%s\"}%s}",
             rig_employee_text(owner), more);
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
    admin("WITH t AS (DELETE FROM reminders.timer WHERE obligation_id = (SELECT id FROM "
          "reminders.obligation WHERE subject LIKE '%28') RETURNING *) INSERT INTO "
          "reminders.timer_parked SELECT tenant_id, obligation_id, step, due_us, 'test' FROM t");
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

/* Old tombstones, and as many done hand-overs, of a company. */
static void put_old_rows(int n)
{
    char tenant[ID_TEXT_MAX], sql[1024];

    id_text(rig_tenant, tenant);
    snprintf(sql, sizeof(sql),
             "INSERT INTO reminders.tombstone (tenant_id, obligation_id, cancelled, closed_at, "
             "made_at) SELECT '%s', gen_random_uuid(), false, 'epoch', now() - interval '8 days' "
             "FROM generate_series(1, %d)",
             tenant, n);
    admin(sql);
    snprintf(sql, sizeof(sql),
             "INSERT INTO reminders.recalculation (tenant_id, id, policy_key, customer_id, "
             "from_id, to_id, reason, effective_us, asked_at, start_at, done_at) SELECT '%s', "
             "gen_random_uuid(), '', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), "
             "'customer', 1, 'epoch', '-infinity', now() - interval '8 days' "
             "FROM generate_series(1, %d)",
             tenant, n);
    admin(sql);
}

#define OLD_ROWS                                                                                   \
    "SELECT (SELECT count(*) FROM reminders.tombstone) || ' ' || (SELECT count(*) FROM "           \
    "reminders.recalculation WHERE customer_id IS NOT NULL)"

/* A purge takes 1000 rows at once and looks once a minute, which is longer than this waits. */
static void a_purge_goes_on_at_once_while_there_is_more(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    put_old_rows(2500);
    with_engine();
    wait_for(OLD_ROWS, "0 0");
    without_engine();
}

/* Jobs may follow upon each other for hours. */
static void a_purge_does_not_wait_for_the_end_of_all_jobs(void **state)
{
    char tenant[ID_TEXT_MAX];

    (void)state;
    fresh("2026-11-16T02:00:00Z");
    id_text(rig_tenant, tenant);
    for (int i = 1; i <= 100; i++)
        put_job(tenant, i);
    put_old_rows(1);
    admin("CREATE TABLE reminders.seen (open_jobs bigint); "
          "CREATE FUNCTION reminders.look() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
          "$$ BEGIN INSERT INTO reminders.seen SELECT count(*) FROM reminders.recalculation WHERE "
          "done_at IS NULL; RETURN NULL; END $$; "
          "CREATE TRIGGER look AFTER DELETE ON reminders.tombstone EXECUTE FUNCTION "
          "reminders.look()");
    with_engine();
    wait_for(OLD_ROWS, "0 0");
    without_engine();
    assert_string_equal(rig_value(rig, "SELECT max(open_jobs) > 0 FROM reminders.seen"), "t");
    admin("DROP TRIGGER look ON reminders.tombstone; DROP FUNCTION reminders.look(); "
          "DROP TABLE reminders.seen");
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
        cmocka_unit_test(a_change_of_the_rule_book_moves_pending_duties_and_says_so),
        cmocka_unit_test(a_warning_that_was_given_is_given_again_for_a_later_deadline),
        cmocka_unit_test(a_change_that_changes_nothing_for_a_duty_leaves_it_alone),
        cmocka_unit_test(a_rule_that_is_switched_off_tells_nobody_any_more_REM_20),
        cmocka_unit_test(a_recalculation_waits_until_every_replica_knows_the_change),
        cmocka_unit_test(a_duty_that_is_opened_late_follows_the_rules_that_changed_meanwhile),
        cmocka_unit_test(a_recalculation_is_not_done_by_an_older_snapshot),
        cmocka_unit_test(jobs_that_fail_hold_up_no_other),
        cmocka_unit_test(a_job_that_met_a_deadlock_is_done_again_at_once),
        cmocka_unit_test(companies_take_turns_with_their_jobs),
        cmocka_unit_test(a_replica_leaves_out_the_job_that_another_has_in_hand),
        cmocka_unit_test(a_parked_timer_is_armed_again_for_the_new_owner_REM_18),
        cmocka_unit_test(a_duty_that_is_heard_of_after_the_hand_over_goes_with_it_REM_18),
        cmocka_unit_test(a_hand_over_waits_for_the_end_of_a_rebuild_REM_18),
        cmocka_unit_test(hand_overs_are_forgotten_a_week_after_and_changes_of_rules_are_not),
        cmocka_unit_test(a_purge_goes_on_at_once_while_there_is_more),
        cmocka_unit_test(a_purge_does_not_wait_for_the_end_of_all_jobs),
        cmocka_unit_test(open_duties_follow_the_owner_of_their_customer_REM_18),
        cmocka_unit_test(a_customer_who_comes_back_moves_nothing_REM_18),
        cmocka_unit_test(a_handed_over_duty_is_counted_as_its_record_CON_10),
        cmocka_unit_test(a_duty_that_is_due_when_it_becomes_known_is_told_at_once),
        cmocka_unit_test(a_duty_that_is_known_days_late_is_told_to_each_once_REM_08),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
