/*
 * What people ask of reminders, and who may: acknowledge, snooze, lists of reminders, of rules and
 * of the ledger (REM-13, REM-14).
 */
#include "tests/integration/reminders_lists_fixture.h"

/* --- acknowledge and snooze (REM-13) --------------------------------------------------------- */

static const char *id_of(int n)
{
    static char text[ID_TEXT_MAX];
    return id_text(obligation_id("TMR-01", question_subject(n), ""), text);
}

static void acknowledging_is_for_the_assignee_and_stops_no_clock(void **state)
{
    (void)state;
    reset();
    ask_question(0x21, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z");
    (void)rig_events(rig);
    rig_fails(rig, "lead", SERVICE, "Acknowledge", ERR_PERMISSION_DENIED, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    rig_fails(rig, "rep2", SERVICE, "Acknowledge", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    rig_fails(rig, "other", SERVICE, "Acknowledge", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    json_t *got = rig_ok(rig, "rep", SERVICE, "Acknowledge", "{\"id\":\"%s\",\"note\":\"seen\"}",
                         id_of(0x21));
    assert_string_equal(rig_text(got, "reminder.acknowledgedAt"), "2026-11-16T01:00:00Z");
    assert_string_equal(rig_text(got, "reminder.nextAt"), "2026-11-16T21:00:00Z");
    assert_string_equal(rig_text(got, "reminder.etag"), "2");
    json_decref(got);
    assert_string_equal(rig_events(rig), "AccessRecorded AccessRecorded ReminderAcknowledged");
    answer_question(0x21, "2026-11-16T02:00:00Z");
    rig_fails(rig, "rep", SERVICE, "Acknowledge", ERR_FAILED_PRECONDITION, "closed",
              "{\"id\":\"%s\"}", id_of(0x21));
}

static void snooze(int n, const char *until, enum err code, const char *words)
{
    if (code)
        rig_fails(rig, "rep", SERVICE, "Snooze", code, words,
                  "{\"id\":\"%s\",\"until\":\"%s\",\"reason\":\"at the customer's\"}", id_of(n),
                  until);
    else
        json_decref(rig_ok(rig, "rep", SERVICE, "Snooze",
                           "{\"id\":\"%s\",\"until\":\"%s\",\"reason\":\"at the customer's\"}",
                           id_of(n), until));
}

static const char *next_of(int n)
{
    static char sql[512];
    snprintf(sql, sizeof(sql),
             "SELECT to_char(reminders.at(t.due_us) AT TIME ZONE 'UTC', 'DD HH24:MI') || ' ' "
             "|| t.step || ' ' || (o.next_us = t.due_us AND o.next_step = t.step) || ' ' || "
             "to_char(o.due_at AT TIME ZONE 'UTC', 'DD HH24:MI') FROM reminders.timer t JOIN "
             "reminders.obligation o ON o.id = t.obligation_id WHERE t.obligation_id = '%s'",
             id_of(n));
    return rig_value(rig, sql);
}

static void snoozing_moves_the_next_notice_never_the_deadline(void **state)
{
    (void)state;
    reset();
    ask_question(0x22, "2026-11-16T01:00:00Z",
                 "2026-11-16T01:00:00Z"); /* 17th 01:00; warns 21:00, 00:00 */
    (void)rig_events(rig);
    assert_string_equal(next_of(0x22), "16 21:00 0 true 17 01:00");
    snooze(0x22, "2026-11-16T00:59:00Z", ERR_INVALID_ARGUMENT, "future");
    snooze(0x22, "2026-11-17T01:00:01Z", ERR_INVALID_ARGUMENT, "deadline");
    snooze(0x22, "2026-11-16T22:00:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x22), "16 22:00 0 true 17 01:00");
    snooze(0x22, "2026-11-17T00:30:00Z", ERR_OK, ""); /* past both warnings: one of them is left */
    assert_string_equal(next_of(0x22), "17 00:30 0 true 17 01:00");
    snooze(0x22, "2026-11-17T01:00:00Z", ERR_OK, ""); /* until the deadline itself */
    assert_string_equal(next_of(0x22), "17 01:00 0 true 17 01:00");
    snooze(0x22, "2026-11-17T00:45:00Z", ERR_FAILED_PRECONDITION, "3 times");
    assert_string_equal(rig_events(rig), "ReminderSnoozed ReminderSnoozed ReminderSnoozed");
    rig_time(rig, "2026-11-17T01:00:00Z");
    snooze(0x22, "2026-11-17T02:00:00Z", ERR_FAILED_PRECONDITION, "due time has passed");
}

static void snoozing_does_not_silence_the_superior_REM_13(void **state)
{
    (void)state;
    reset();
    rig_set_policy("escalation_esc_a", "-2h:superior,0:owner", "2026-01-01T00:00:00Z");
    ask_question(0x23, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z"); /* 21:00, 23:00, 00:00 */
    snooze(0x23, "2026-11-17T00:30:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x23), "16 23:00 0 true 17 01:00");
    assert_string_equal(
        rig_value(rig, "SELECT tells || ' ' || cardinality(plan) FROM reminders.obligation"),
        "superior;owner;owner 3");
}

/* Its timer could not be fired and was put aside; the duty is open all the same. */
static void snoozing_arms_a_parked_timer_again(void **state)
{
    (void)state;
    reset();
    ask_question(0x24, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z");
    enum err e = db_script(rig->admin,
                           "WITH p AS (DELETE FROM reminders.timer RETURNING *)"
                           " INSERT INTO reminders.timer_parked"
                           " SELECT tenant_id, obligation_id, step, due_us, 'x' FROM p",
                           clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
    snooze(0x24, "2026-11-16T22:00:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x24), "16 22:00 0 true 17 01:00");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer_parked"), "0");
    assert_string_equal(
        rig_value(rig, "SELECT bool_and(t.shard = get_byte(uuid_send(t.obligation_id), 15) & 63)"
                       "::text FROM reminders.timer t"),
        "true");
}

/* --- lists of reminders, rules and deliveries ------------------------------------------------ */

static size_t page(const char *actor, const char *filter, int size, char ids[][ID_TEXT_MAX],
                   size_t max)
{
    char token[2048] = "";
    size_t n = 0;

    do {
        json_t *got = rig_ok(rig, actor, SERVICE, "List",
                             "{\"pageSize\":%d,\"pageToken\":\"%s\"%s}", size, token, filter);
        json_t *list = json_object_get(got, "reminders");
        for (size_t i = 0; i < json_array_size(list); i++) {
            assert_true(n < max);
            snprintf(ids[n++], ID_TEXT_MAX, "%s", rig_text(json_array_get(list, i), "id"));
        }
        const json_t *next = json_object_get(got, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(got);
    } while (*token);
    return n;
}

static void reminders_are_listed_by_their_next_moment_then_the_rest(void **state)
{
    (void)state;
    static char ids[32][ID_TEXT_MAX];
    char at[32];

    reset();
    for (int i = 0; i < 12; i++) { /* asked in reverse */
        snprintf(at, sizeof(at), "2026-11-16T00:%02d:00Z", 50 - i);
        ask_question(0x30 + i, at, at);
    }
    for (int i = 0; i < 4; i++)
        answer_question(0x30 + i, "2026-11-16T01:00:00Z");
    for (int size = 1; size <= 13; size += 3) {
        static const char *const actors[] = { "rep", "system" }; /* by assignee, by company */
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(page(actors[k], "", size, ids, 32), 12);
            for (int i = 0; i < 8; i++)
                assert_string_equal(ids[i], id_of(0x30 + 11 - i));
            for (int i = 9; i < 12; i++)
                assert_true(strcmp(ids[i - 1], ids[i]) > 0);
            assert_int_equal(page(actors[k], ",\"openOnly\":true", size, ids, 32), 8);
        }
    }
    /* Two timers were parked; one of these duties was snoozed since. Some are overdue for good. */
    enum err e = db_script(
        rig->admin,
        "WITH p AS (DELETE FROM reminders.timer WHERE obligation_id IN (SELECT obligation_id FROM"
        "           reminders.timer ORDER BY due_us LIMIT 2) RETURNING *)"
        " INSERT INTO reminders.timer_parked SELECT tenant_id, obligation_id, step, due_us - 1, 'x'"
        "   FROM p;"
        "UPDATE reminders.obligation SET next_us = NULL, next_step = NULL, state = 'overdue',"
        " due_at = starts_at"
        " WHERE id = (SELECT obligation_id FROM reminders.timer ORDER BY due_us DESC LIMIT 1);"
        "DELETE FROM reminders.timer WHERE obligation_id = (SELECT obligation_id FROM"
        " reminders.timer ORDER BY due_us DESC LIMIT 1)",
        clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
    for (int size = 1; size <= 13; size += 3) {
        static const char *const actors[] = { "rep", "system" };
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(page(actors[k], "", size, ids, 32), 12);
            for (int i = 0; i < 7; i++)
                assert_string_equal(ids[i], id_of(0x30 + 11 - i));
            assert_int_equal(page(actors[k], ",\"openOnly\":true", size, ids, 32), 8);
            assert_string_equal(ids[7], id_of(0x34));
        }
    }
    assert_int_equal(page("rep2", "", 5, ids, 32), 0);
    assert_int_equal(page("lead", ",\"assigneeId\":\"" REP "\"", 5, ids, 32), 12);
    assert_int_equal(page("lead", ",\"assigneeId\":\"" EMPLOYEE(5) "\"", 5, ids, 32), 0);
    rig_fails(rig, "rep2", SERVICE, "List", ERR_NOT_FOUND, "", "{\"assigneeId\":\"" REP "\"}");
    rig_fails(rig, "rep", SERVICE, "List", ERR_INVALID_ARGUMENT, "", "{\"pageToken\":\"x\"}");
    rig_fails(rig, "rep", SERVICE, "Get", ERR_INVALID_ARGUMENT, "", "{\"rule\":\"TMR-01\"}");
    rig_fails(rig, "rep", SERVICE, "Get", ERR_NOT_FOUND, "",
              "{\"rule\":\"TMR-01\",\"subject\":\"questions/none\"}");
}

static void the_rules_in_force_are_listed(void **state)
{
    (void)state;
    reset();
    rig_set_policy("question_feedback_hours", "8", "2026-01-01T00:00:00Z");
    rig_set_policy("reminder_enabled_tmr_02", "false", "2026-01-01T00:00:00Z");
    json_t *got = rig_ok(rig, "rep", SERVICE, "ListRules", "{}");
    assert_int_equal(json_array_size(json_object_get(got, "rules")), 7);
    assert_string_equal(rig_text(got, "rules.0.id"), "TMR-01");
    assert_string_equal(rig_text(got, "rules.0.policyValue"), "8");
    assert_string_equal(rig_text(got, "rules.0.dueType"), "hours");
    assert_string_equal(rig_text(got, "rules.0.enabled"), "true");
    assert_string_equal(rig_text(got, "rules.0.fulfilledBy.1"),
                        "daybook.customers.v1.QuestionAnswered");
    assert_string_equal(rig_text(got, "rules.0.steps.2.kind"), "STEP_KIND_DUE");
    assert_string_equal(rig_text(got, "rules.0.steps.2.recipients.0"), "assignee");
    assert_string_equal(rig_text(got, "rules.0.steps.2.recipients.1"), "superior");
    assert_string_equal(rig_text(got, "rules.0.steps.3.offsetMinutes"), "1440");
    assert_string_equal(rig_text(got, "rules.1.enabled"), "");
    json_decref(got);
}

static void the_ledger_shows_everybody_his_own(void **state)
{
    (void)state;
    static struct runner engine;
    char token[2048], id[ID_TEXT_MAX];

    reset();
    runner_start(&engine, "engine");
    runner_adopt(&engine); /* it hears of timers that were due long ago */
    ask_question(0x41, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* due now: rep and lead */
    ask_question(0x42, "2026-11-15T00:59:00Z", "2026-11-15T00:59:00Z");
    wait_for_notices("TMR-01", 8); /* two warnings each are pointless, due tells two each */
    json_t *got =
        rig_ok(rig, "rep", CHANNELS, "ListDeliveries", "{\"pageSize\":1,\"unreadOnly\":true}");
    assert_string_equal(rig_text(got, "deliveries.0.recipientId"), REP);
    assert_string_equal(rig_text(got, "deliveries.0.state"), "DELIVERY_STATE_DELIVERED");
    snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(got, "nextPageToken")));
    snprintf(id, sizeof(id), "%s", rig_text(got, "deliveries.0.id"));
    json_decref(got);
    got = rig_ok(rig, "rep", CHANNELS, "ListDeliveries",
                 "{\"pageSize\":1,\"unreadOnly\":true,\"pageToken\":\"%s\"}", token);
    assert_int_equal(json_array_size(json_object_get(got, "deliveries")), 1);
    json_decref(got);

    rig_fails(rig, "lead", CHANNELS, "MarkRead", ERR_PERMISSION_DENIED, "",
              "{\"deliveryId\":\"%s\"}", id);
    rig_fails(rig, "rep2", CHANNELS, "MarkRead", ERR_NOT_FOUND, "", "{\"deliveryId\":\"%s\"}", id);
    rig_time(rig, "2026-11-16T01:02:03Z");
    got = rig_ok(rig, "rep", CHANNELS, "MarkRead", "{\"deliveryId\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "delivery.readAt"), "2026-11-16T01:02:03Z");
    json_decref(got);

    static const struct {
        const char *actor, *filter;
        size_t n;
    } cases[] = {
        { "rep", "", 6 },
        { "rep", "\"unreadOnly\":true", 1 },
        { "lead", "", 8 },
        { "system", "", 8 },
        { "lead", "\"recipientId\":\"" EMPLOYEE(3) "\"", 2 },
        { "rep2", "", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        got = rig_ok(rig, cases[i].actor, CHANNELS, "ListDeliveries", "{%s}", cases[i].filter);
        assert_int_equal(json_array_size(json_object_get(got, "deliveries")), cases[i].n);
        json_decref(got);
    }
    got = rig_ok(rig, "system", CHANNELS, "ListDeliveries", "{\"reminderId\":\"%s\"}", id_of(0x41));
    assert_int_equal(json_array_size(json_object_get(got, "deliveries")), 4);
    json_decref(got);
    runner_leave();
    runner_stop(&engine);
}

/* --- cost of lists --------------------------------------------------------------------------- */

/* What a statement of the daemon reads, as its role and without statistics: the most rows that a
 * node of its plan returned or threw away. */
static long most_rows(const struct db_stmt *stmt, const char *const *params)
{
    PGconn *conn = PQconnectdb(conninfo);
    char tenant[ID_TEXT_MAX], set[100];
    char *sql = NULL;
    long most = 0;

    snprintf(set, sizeof(set), "SET daybook.tenant = '%s'", id_text(rig_tenant, tenant));
    PQclear(PQexec(conn, set));
    assert_true(asprintf(&sql, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) %s", stmt->text) > 0);
    PGresult *res = PQexecParams(conn, sql, stmt->nparams, NULL, params, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    for (int i = 0; i < PQntuples(res); i++) {
        static const char *const marks[] = { "rows=", "Removed by Filter: " };
        const char *line = PQgetvalue(res, i, 0);
        for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
            const char *at = strstr(line, marks[m]);
            long n = at ? strtol(at + strlen(marks[m]), NULL, 10) : 0;
            most = n > most ? n : most;
        }
    }
    PQclear(res);
    PQfinish(conn);
    free(sql);
    return most;
}

#define TENANT "01000000-0000-7000-8000-00000000000a" /* rig_tenant */
#define MANY_DUTIES                                                                                \
    "INSERT INTO reminders.obligation (tenant_id, id, rule, subject, assignee_id, title, "         \
    "starts_at, due_at, known_us, state, plan, tells, closed_at, row_version) SELECT '" TENANT     \
    "', "                                                                                          \
    "gen_random_uuid(), 'TMR-01', 'questions/' || i, CASE WHEN i % 2 = 0 THEN '" REP               \
    "'::uuid ELSE '" EMPLOYEE(                                                                     \
        5) "' END, 't', now(), now(), 0, 'done', '{0}', 'owner', "                                 \
           "timestamptz '2026-01-01' + i * interval '1 s', 1 FROM generate_series(1, 100000) i"
#define MANY_NOTICES                                                                               \
    "INSERT INTO reminders.notification (tenant_id, id, obligation_id, rule, step_kind, step, "    \
    "recipient_id, channel, due_at, fired_at, late, state, text) SELECT '" TENANT "', "            \
    "gen_random_uuid(), gen_random_uuid(), 'TMR-01', 'due', 0, CASE WHEN i % 2 = 0 THEN '" REP     \
    "'::uuid ELSE '" EMPLOYEE(                                                                     \
        5) "' END, 'in_app', now(), timestamptz '2026-01-01' + i * "                               \
           "interval '1 s', false, 'delivered', 't' FROM generate_series(1, 100000) i"

static void fill(const char *sql)
{
    enum err e = db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
}

/* 10^5 rows that nobody has analyzed: a page costs what it shows. */
static void a_page_of_a_long_history_reads_no_more_than_it_shows(void **state)
{
    (void)state;
    char tenant[ID_TEXT_MAX];
    const char *const people[] = { NULL, "{" REP "," EMPLOYEE(5) "}" };

    reset();
    id_text(rig_tenant, tenant);
    fill(MANY_DUTIES);
    fill(MANY_NOTICES);
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        const char *first[] = { tenant, people[i], NULL, "f", NULL, NULL, "51" };
        const char *later[] = { tenant, people[i], NULL, "f", "2026-01-01T12:00:00Z", REP, "51" };
        assert_in_range(most_rows(&sql_notices_list, first), 51, 200);
        assert_in_range(most_rows(&sql_notices_list, later), 51, 200);
        const char *closed[] = { tenant, people[i], NULL, NULL, "51" };
        const char *before[] = { tenant, people[i], "2026-01-01T12:00:00Z", REP, "51" };
        const char *rest[] = { tenant, people[i], "2027-01-01T00:00:00Z", REP, "51" };
        assert_in_range(most_rows(&sql_duties_closed, closed), 51, 200);
        assert_in_range(most_rows(&sql_duties_closed, before), 51, 200);
        assert_in_range(most_rows(&sql_duties_rest, rest), 1, 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledging_is_for_the_assignee_and_stops_no_clock),
        cmocka_unit_test(snoozing_moves_the_next_notice_never_the_deadline),
        cmocka_unit_test(snoozing_does_not_silence_the_superior_REM_13),
        cmocka_unit_test(snoozing_arms_a_parked_timer_again),
        cmocka_unit_test(reminders_are_listed_by_their_next_moment_then_the_rest),
        cmocka_unit_test(the_rules_in_force_are_listed),
        cmocka_unit_test(the_ledger_shows_everybody_his_own),
        cmocka_unit_test(a_page_of_a_long_history_reads_no_more_than_it_shows),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
