/*
 * Jobs in the background: duties are counted anew when the rule book or the calendar changes
 * (REM-09, REM-20, F43), whatever fails, in turns and by one replica each; and old rows end.
 */
#include "tests/integration/reminders_duty_fixture.h"

/* --- recalculation ---------------------------------------------------------------------------- */

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

/* What was parked was the plan of before; what stays as it is stays parked (REM-09). */
static void a_parked_timer_is_armed_again_by_a_new_plan_REM_09(void **state)
{
    (void)state;
    fresh("2026-11-16T02:00:00Z");
    ask_question(35, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    park_timer("23");
    change_calendar(); /* hours run on */
    start_recalculations();
    work_off();
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer_parked"), "1");
    set_policy("question_feedback_hours", "8", "2026-11-16T02:00:00Z");
    work_off();
    assert_string_equal(rig_value(rig, DUES), "11-16 10:00");
    assert_string_equal(rig_value(rig, "SELECT count(*) || ' ' || (SELECT count(*) FROM "
                                       "reminders.timer_parked) FROM reminders.timer t JOIN "
                                       "reminders.obligation o ON o.id = t.obligation_id AND "
                                       "o.next_us = t.due_us AND o.next_step = t.step AND "
                                       "t.shard = get_byte(uuid_send(o.id), 15) & 63"),
                        "1 0");
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
    park_timer("12");
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

/* The reaction began before the change was in force and wrote when its recalculation was over. */
static void a_duty_that_a_recalculation_could_not_see_yet_follows_it_REM_09(void **state)
{
    (void)state;
    fresh("2026-11-16T02:59:59Z");
    rig_set_policy("question_feedback_hours", "8", "2026-11-16T03:00:00Z");
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.PolicySet",
             "2026-11-16T02:00:00Z",
             "{\"setting\":{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"effectiveFrom\":"
             "\"2026-11-16T03:00:00Z\"}}");
    ask_question(25, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z");
    rig_time(rig, "2026-11-16T03:00:00Z");
    start_recalculations();
    work_off();
    rig_time(rig, "2026-11-16T02:59:59Z"); /* as the reaction saw it */
    ask_question(26, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z");
    rig_time(rig, "2026-11-16T03:00:01Z");
    assert_string_equal(rig_value(rig, DUES), "11-16 10:30; 11-17 02:30");
    work_off();
    assert_string_equal(rig_value(rig, DUES), "11-16 10:30; 11-16 10:30");
    ask_question(27, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z"); /* knows the change */
    assert_string_equal(rig_value(rig, "SELECT (done_at IS NOT NULL)::text || changed FROM "
                                       "reminders.recalculation"),
                        "true2");
}

/* The same by a replica whose snapshot is older than the change. */
static void a_duty_by_an_older_snapshot_is_counted_anew_REM_09(void **state)
{
    (void)state;
    fresh("2026-11-16T03:00:00Z");
    char tenant[ID_TEXT_MAX];
    put_job(id_text(rig_tenant, tenant), 1);
    admin("UPDATE reminders.recalculation SET done_at = 'epoch', overdue = true, after_id = id, "
          "revision = 1000000");
    ask_question(28, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z");
    assert_string_equal(rig_value(rig, "SELECT concat_ws(' ', done_at, overdue, after_id) FROM "
                                       "reminders.recalculation"),
                        "f 00000000-0000-0000-0000-000000000000");
    admin("UPDATE reminders.recalculation SET done_at = 'epoch', revision = 0");
    ask_question(29, "2026-11-16T02:30:00Z", "2026-11-16T02:30:00Z");
    assert_string_equal(rig_value(rig, "SELECT count(done_at) FROM reminders.recalculation"), "1");
}

/* --- jobs that fail, and turns ---------------------------------------------------------------- */

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

/* --- the end of old rows ---------------------------------------------------------------------- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_of_the_rule_book_moves_pending_duties_and_says_so),
        cmocka_unit_test(a_warning_that_was_given_is_given_again_for_a_later_deadline),
        cmocka_unit_test(a_change_that_changes_nothing_for_a_duty_leaves_it_alone),
        cmocka_unit_test(a_rule_that_is_switched_off_tells_nobody_any_more_REM_20),
        cmocka_unit_test(a_recalculation_waits_until_every_replica_knows_the_change),
        cmocka_unit_test(a_duty_that_is_opened_late_follows_the_rules_that_changed_meanwhile),
        cmocka_unit_test(a_recalculation_is_not_done_by_an_older_snapshot),
        cmocka_unit_test(a_duty_that_a_recalculation_could_not_see_yet_follows_it_REM_09),
        cmocka_unit_test(a_duty_by_an_older_snapshot_is_counted_anew_REM_09),
        cmocka_unit_test(a_parked_timer_is_armed_again_by_a_new_plan_REM_09),
        cmocka_unit_test(jobs_that_fail_hold_up_no_other),
        cmocka_unit_test(a_job_that_met_a_deadlock_is_done_again_at_once),
        cmocka_unit_test(companies_take_turns_with_their_jobs),
        cmocka_unit_test(a_replica_leaves_out_the_job_that_another_has_in_hand),
        cmocka_unit_test(a_purge_goes_on_at_once_while_there_is_more),
        cmocka_unit_test(a_purge_does_not_wait_for_the_end_of_all_jobs),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
