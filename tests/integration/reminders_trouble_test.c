/*
 * The timer engine in trouble: a duty that somebody holds, a fault of everything at once, a clock
 * that is not to be believed, events that nobody has heard yet.
 */
#include "tests/integration/reminders_fixture.h"

static PGconn *locker; /* of the owner, for locks that others run into */
static struct runner engine;

static int start(void **state)
{
    (void)state;
    fixture_start_with(false);
    locker = PQconnectdb(servers_conninfo(rig->servers));
    return PQstatus(locker) == CONNECTION_OK ? 0 : -1;
}

static int stop(void **state)
{
    PQfinish(locker);
    return fixture_stop(state);
}

static void lock(const char *sql)
{
    PGresult *res = PQexec(locker, sql);
    assert_true(PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK);
    PQclear(res);
}

static void admin(const char *sql)
{
    assert_int_equal(db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US), ERR_OK);
}

static void begin(void)
{
    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
}

static const char told[] = "SELECT count(DISTINCT obligation_id) FROM reminders.notification";
static const char parked[] = "SELECT count(*) FROM reminders.timer_parked";

/* --- one duty --------------------------------------------------------------------------------- */

static void a_duty_that_somebody_holds_delays_no_other(void **state)
{
    (void)state;
    begin();
    ask_questions(0x100, 600, "2026-11-16T02:00:00Z");
    runner_start(&engine, "engine");
    lock("BEGIN; SELECT FROM reminders.obligation WHERE subject = "
         "'questions/07000150-0000-7000-8000-000000000150' FOR UPDATE");
    int64_t from_us = clock_monotonic_us();
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for(told, "599");
    int64_t took_us = clock_monotonic_us() - from_us;
    if (took_us > 1500 * MSEC_US) /* a lock timeout of the role alone is 2 s */
        fail_msg("took %.1f s", (double)took_us / 1e6);
    lock("ROLLBACK");
    wait_for(told, "600");
    assert_string_equal(rig_value(rig, parked), "0");
    runner_stop(&engine);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void a_fault_of_everything_parks_nothing(void **state)
{
    (void)state;
    begin();
    ask_questions(0x400, 50, "2026-11-16T02:00:00Z");
    char failures[160];
    snprintf(failures, sizeof(failures),
             "SELECT (xact_rollback > %s + 60)::text FROM pg_stat_database WHERE datname = "
             "current_database()",
             rig_value(rig, "SELECT xact_rollback FROM pg_stat_database WHERE datname = "
                            "current_database()"));
    admin("REVOKE INSERT ON reminders.notification FROM daybook_reminders");
    runner_start(&engine, "engine");
    rig_time(rig, "2026-11-17T02:00:00Z");
    /* Both threads have tried several times. */
    wait_for(failures, "true");
    assert_string_equal(rig_value(rig, parked), "0");
    assert_string_equal(rig_value(rig, told), "0");
    admin("GRANT INSERT ON reminders.notification TO daybook_reminders");
    wait_for(told, "50");
    assert_string_equal(rig_value(rig, parked), "0");
    runner_stop(&engine);
}

/* --- the clock -------------------------------------------------------------------------------- */

static atomic_int asked;
static atomic_bool trusted;

static bool is_trusted(void *arg)
{
    (void)arg;
    atomic_fetch_add(&asked, 1);
    return atomic_load(&trusted);
}

static void a_clock_that_is_not_trusted_stops_the_engine_and_it_rests(void **state)
{
    (void)state;
    const struct engine_config config = { .conninfo = conninfo,
                                          .instance = "engine",
                                          .trusted = is_trusted };
    begin();
    ask_questions(0x500, 20, "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-17T01:59:50Z"); /* they are read ahead */
    atomic_store(&trusted, true);
    runner_start_with(&engine, &config);
    WAIT_UNTIL(engine_is_settled(engine.engine), WAIT_US);
    atomic_store(&trusted, false);
    rig_time(rig, "2026-11-17T02:00:00Z");
    int until = atomic_load(&asked) + 20;
    int64_t from_us = clock_monotonic_us();
    WAIT_UNTIL(atomic_load(&asked) >= until, WAIT_US);
    assert_true(clock_monotonic_us() - from_us > 500 * MSEC_US); /* ten turns of each thread */
    assert_string_equal(rig_value(rig, told), "0");
    atomic_store(&trusted, true);
    wait_for(told, "20");
    runner_stop(&engine);
}

static int64_t wall_offset_us;

static int64_t wrong_wall_us(void)
{
    return clock_wall_us() + wall_offset_us;
}

static void nobody_acts_while_the_clocks_are_apart_F41(void **state)
{
    (void)state;
    static const struct {
        int64_t offset_us;
        enum err want;
    } cases[] = { { 0, ERR_OK },
                  { 4 * SECOND_US, ERR_OK },
                  { 6 * SECOND_US, ERR_UNAVAILABLE },
                  { HOUR_US, ERR_UNAVAILABLE },
                  { -HOUR_US, ERR_UNAVAILABLE } };
    struct leases *l = leases_new(&reminders_lease_plan, "here", wrong_wall_us);
    CLEANUP(db_freep) struct db *db = db_new(conninfo, "test");
    const int list[] = { 7 };

    begin();
    admin("UPDATE reminders.shard_lease SET owner = NULL, expires_at = '-infinity'; "
          "DELETE FROM reminders.member");
    assert_int_equal(leases_tick(l, db, clock_monotonic_us() + WAIT_US), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        wall_offset_us = cases[i].offset_us;
        assert_int_equal(db_begin(db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
        assert_int_equal(leases_queue_fence(l, db, list, 1), ERR_OK);
        assert_int_equal(db_commit(db), cases[i].want);
    }
    leases_leave(l, db);
    leases_free(l);
}

/* --- events that nobody has heard ------------------------------------------------------------- */

static atomic_llong seq, head;

static bool has_heard(void *arg, int64_t *seq_out, int64_t *head_out)
{
    (void)arg;
    *seq_out = atomic_load(&seq);
    *head_out = atomic_load(&head);
    return *head_out >= 0;
}

/* The daemon was away; answers came meanwhile, and stand in the log when it starts. */
static void after_an_outage_what_was_answered_is_not_chased(void **state)
{
    (void)state;
    const struct engine_config config = { .conninfo = conninfo,
                                          .instance = "engine",
                                          .heard = has_heard };
    begin();
    ask_question(1, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    ask_question(2, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    rig_time(rig, "2026-11-17T03:00:00Z");
    atomic_store(&seq, 100);
    atomic_store(&head, -1); /* the log was not asked yet */
    runner_start_with(&engine, &config);
    WAIT_UNTIL(engine_is_settled(engine.engine), WAIT_US);           /* it has left them alone */
    ask_question(3, "2026-11-16T03:00:00Z", "2026-11-16T03:00:00Z"); /* due now: it fires */
    wait_for(told, "1");
    atomic_store(&head, 150);
    answer_question(1, "2026-11-17T01:00:00Z");
    atomic_store(&seq, 150);
    wait_for(told, "2");
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FROM reminders.notification n JOIN reminders.obligation o "
                       "ON o.id = n.obligation_id WHERE o.subject LIKE '%000000000001'"),
        "0");
    assert_string_equal(
        rig_value(rig, "SELECT bool_and(late)::text FROM reminders.notification n JOIN "
                       "reminders.obligation o ON o.id = n.obligation_id WHERE o.subject LIKE "
                       "'%000000000002'"),
        "true");
    runner_stop(&engine);
}

/* --- daily lists ------------------------------------------------------------------------------ */

/* What a firing shows in a list shows by the clock: no version is raised, no hot row locked. */
static void firing_leaves_the_versions_of_lists_alone(void **state)
{
    (void)state;
    char before[64];

    begin();
    ask_question(9, "2026-11-16T02:00:00Z", "2026-11-16T02:00:00Z");
    snprintf(before, sizeof(before), "%s",
             rig_value(rig, "SELECT max(version) FROM reminders.list_version"));
    runner_start(&engine, "engine");
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for(told, "1");
    assert_string_equal(rig_value(rig, "SELECT max(version) FROM reminders.list_version"), before);
    json_t *got = rig_ok(rig, "rep", TASKS, "GetDailyTasks", "{\"date\":\"2026-11-17\"}");
    assert_string_equal(rig_text(got, "list.tasks.0.overdue"), "true");
    json_decref(got);
    runner_stop(&engine);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duty_that_somebody_holds_delays_no_other),
        cmocka_unit_test(a_fault_of_everything_parks_nothing),
        cmocka_unit_test(a_clock_that_is_not_trusted_stops_the_engine_and_it_rests),
        cmocka_unit_test(nobody_acts_while_the_clocks_are_apart_F41),
        cmocka_unit_test(after_an_outage_what_was_answered_is_not_chased),
        cmocka_unit_test(firing_leaves_the_versions_of_lists_alone),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start, stop);
}
