/*
 * Commands that are run again, cut, or in doubt after a COMMIT: still one effect and one answer
 * (F01, F11, F17, F19, F23 of operations 9).
 */
#include "tests/integration/common_call_fixture.h"

static void lost_races_are_run_again_F19(void **state)
{
    (void)state;
    static const struct {
        const char *state;
        int failures;
        enum err want;
        int runs;
    } cases[] = {
        { "40001", 1, ERR_OK, 2 },          { "40P01", 3, ERR_OK, 4 },
        { "40001", 9, ERR_ABORTED, 4 },     { "23514", 1, ERR_FAILED_PRECONDITION, 1 },
        { "XX000", 1, ERR_INTERNAL, 1 },    { "53100", 1, ERR_UNAVAILABLE, 1 },
        { "55P03", 1, ERR_UNAVAILABLE, 1 }, { "22003", 1, ERR_INVALID_ARGUMENT, 1 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct asker a;
        char key[16];
        snprintf(key, sizeof key, "race%zu", i);
        asker_open(&a, key, "note");
        plan.run = fail_first;
        atomic_store(&plan.runs, 0);
        plan.failures = cases[i].failures;
        plan.state = cases[i].state;
        struct reply r = go(&a);
        if (r.code != cases[i].want || atomic_load(&plan.runs) != cases[i].runs)
            fail_msg("%s: %s after %d runs", cases[i].state, err_name(r.code),
                     atomic_load(&plan.runs));
        assert_null(strstr(r.text, "as asked")); /* what PostgreSQL said stays here */
        asker_close(&a);
    }
    assert_int_equal(items(), 2);
    assert_int_equal(records(), 2);
}

static void a_connection_lost_before_commit_is_run_again_F23(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "cut", "after");
    plan.run = lose_connection;
    plan.failures = 1;
    struct reply r = go(&a);
    reply_id(&r);
    assert_int_equal(atomic_load(&plan.runs), 2);
    assert_int_equal(items(), 2); /* "before" and "after", of the second run only */

    a.question.key = "cut twice";
    plan.failures = 2;
    r = go(&a);
    expect(&r, ERR_UNAVAILABLE, "UNAVAILABLE");
    assert_int_equal(items(), 2);
    asker_close(&a);
}

#define AT_COMMIT                                                                                  \
    "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = " COMMIT_LOCK      \
    " AND NOT granted"

static void hold_commits(void)
{
    script("SELECT pg_advisory_lock(" COMMIT_LOCK ")");
}

static void release_commits(void)
{
    script("SELECT pg_advisory_unlock(" COMMIT_LOCK ")");
}

/* The server rolls back, since its process is ended at the COMMIT: the command is run again. */
static void a_commit_in_doubt_that_failed_is_run_again_F01_F11(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "doubt1", "note");
    plan.run = commit_slowly;
    hold_commits();
    start(&a);
    wait_for(AT_COMMIT);
    script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
           " WHERE application_name LIKE 'call_test%'");
    release_commits();
    pthread_join(a.thread, NULL);
    reply_id(&a.reply);
    assert_int_equal(atomic_load(&plan.runs), 2);
    assert_int_equal(items(), 1);
    assert_int_equal(records(), 1);
    asker_close(&a);
}

/* The connection breaks under a COMMIT that the server then carries out: one effect, one answer,
 * whether the look-up comes before or after. */
static void a_commit_in_doubt_that_succeeded_is_found_F01_F11(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "warm up", "note");
    struct reply r = go(&a); /* connects */
    reply_id(&r);
    a.question.key = "doubt2";
    plan.run = commit_slowly;
    hold_commits();
    int fd = db_fd(a.db);
    start(&a);
    wait_for(AT_COMMIT);
    shutdown(fd, SHUT_RDWR);
    release_commits();
    pthread_join(a.thread, NULL);
    reply_id(&a.reply);
    assert_int_equal(number("SELECT count(*) AS n FROM calls.slow"), 1);
    assert_int_equal(items(), 2);
    assert_int_equal(records(), 2);
    asker_close(&a);
}

static void a_doubt_that_cannot_be_settled_is_told_F11(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "doubt3", "note");
    a.question.deadline_ms = 1000;
    plan.run = commit_slowly;
    hold_commits();
    start(&a);
    wait_for(AT_COMMIT);
    servers_stop_postgres(servers, SERVERS_KILL);
    pthread_join(a.thread, NULL);
    servers_start_postgres(servers);
    expect(&a.reply, ERR_UNAVAILABLE, "OUTCOME_UNKNOWN");
    assert_non_null(reply_detail(&a.reply, &google__rpc__retry_info__descriptor, a.arena));

    plan.run = note_it; /* the same key again: safe, and done once */
    a.question.deadline_ms = 5000;
    int64_t limit_us = clock_monotonic_us() + LIMIT_US;
    struct reply r;
    do
        r = go(&a); /* the connection's back-off may still run */
    while (r.code == ERR_UNAVAILABLE && clock_monotonic_us() < limit_us);
    reply_id(&r);
    must(db_ping(admin, clock_monotonic_us() + LIMIT_US));
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void the_deadline_ends_a_slow_statement_F17(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "slow", "note");
    a.question.deadline_ms = 200; /* before the lock timeout */
    must(db_begin(admin, NULL, clock_monotonic_us() + LIMIT_US));
    must(db_queue(admin, &(struct db_stmt){ "lock", "LOCK TABLE calls.item", 0, NULL }, NULL));
    must(db_flush(admin));
    int64_t begun_us = clock_monotonic_us();
    struct reply r = go(&a);
    assert_true(clock_monotonic_us() - begun_us < slack(2 * SECOND_US));
    db_rollback(admin);
    assert_int_equal(r.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(items(), 0);
    asker_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lost_races_are_run_again_F19, set_up),
        cmocka_unit_test_setup(a_connection_lost_before_commit_is_run_again_F23, set_up),
        cmocka_unit_test_setup(a_commit_in_doubt_that_failed_is_run_again_F01_F11, set_up),
        cmocka_unit_test_setup(a_commit_in_doubt_that_succeeded_is_found_F01_F11, set_up),
        cmocka_unit_test_setup(a_doubt_that_cannot_be_settled_is_told_F11, set_up),
        cmocka_unit_test_setup(the_deadline_ends_a_slow_statement_F17, set_up),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
