/*
 * common/db when the server is slow, gone, or another one: deadlines, lost connections, commits in
 * doubt, and poolers that lose statements (F08, F11, F16, F17, F23, F24 of operations 9).
 */
#include "tests/integration/common_db_fixture.h"

/* --- deadlines --- */

static void a_slow_statement_ends_at_the_deadline_F17(void **state)
{
    struct db *db = *state;
    int64_t start_us = clock_monotonic_us();

    must(db_begin(db, NULL, in_ms(300)));
    assert_int_equal(run_text(db, "SELECT pg_sleep(20)"), ERR_DEADLINE_EXCEEDED);
    assert_true(clock_monotonic_us() - start_us < slack(SECOND_US));
    db_rollback(db);
    assert_true(clock_monotonic_us() - start_us < slack(2 * SECOND_US));
    begin(db); /* the server's own timeout ended it: the session is still there or replaced */
    must(run_text(db, "SELECT 1"));
    must(db_commit(db));
    wait_for("SELECT (count(*) = 0)::int AS n FROM pg_stat_activity"
             " WHERE query LIKE '%pg_sleep(20)%' AND state = 'active' AND pid <> pg_backend_pid()");
}

static void a_deadline_in_the_past_sends_nothing(void **state)
{
    struct db *db = *state;
    uint64_t before = db_round_trips(db);

    must(db_begin(db, NULL, in_ms(-1)));
    assert_int_equal(run_text(db, "SELECT 1"), ERR_DEADLINE_EXCEEDED);
    db_rollback(db);
    assert_int_equal(db_round_trips(db) - before, 0);
}

static void a_frozen_server_does_not_hold_us_F08_F26(void **state)
{
    struct db *db = *state;

    begin(db);
    must(run_text(db, "SELECT 1"));
    db_rollback(db);
    must(db_begin(db, NULL, in_ms(300)));
    insert(db, "1", "one");
    servers_pause_postgres(servers);
    int64_t start_us = clock_monotonic_us();
    assert_int_equal(db_flush(db), ERR_DEADLINE_EXCEEDED);
    assert_false(db_in_doubt(db));
    db_rollback(db);
    int64_t took_us = clock_monotonic_us() - start_us;
    servers_resume_postgres(servers);
    assert_true(took_us < slack(2 * SECOND_US));
    assert_false(db_is_connected(db));
    begin(db);
    insert(db, "2", "two");
    must(db_commit(db));
    wait_for("SELECT (count(*) = 1)::int AS n FROM t.item"); /* the first one was undone */
}

static void a_commit_that_does_not_answer_is_in_doubt(void **state)
{
    struct db *db = *state;

    must(db_begin(db, NULL, in_ms(400)));
    insert(db, "1", "one");
    must(db_flush(db));
    servers_pause_postgres(servers);
    enum err e = db_commit(db);
    servers_resume_postgres(servers);
    assert_int_equal(e, ERR_DEADLINE_EXCEEDED);
    assert_true(db_in_doubt(db));
    assert_false(db_in_transaction(db));
    begin(db);
    assert_false(db_in_doubt(db));
    db_rollback(db);
}

/* --- lost connections --- */

static void terminate_others(void)
{
    script("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
           " WHERE application_name = 'db_test' AND backend_type = 'client backend'");
}

static void an_idle_connection_that_died_is_replaced_unseen_F23(void **state)
{
    struct db *db = *state;

    begin(db);
    insert(db, "1", "one");
    must(db_commit(db));
    terminate_others();
    begin(db);
    insert(db, "2", "two"); /* and is prepared anew */
    must(db_commit(db));
    assert_int_equal(items(), 2);
}

static void a_session_ended_in_a_transaction_is_unavailable_F23(void **state)
{
    struct db *db = *state;

    begin(db);
    insert(db, "1", "one");
    must(db_flush(db));
    terminate_others();
    insert(db, "2", "two");
    assert_int_equal(db_flush(db), ERR_UNAVAILABLE);
    assert_int_equal(db_commit(db), ERR_UNAVAILABLE);
    assert_false(db_in_doubt(db)); /* no COMMIT was sent */
    assert_int_equal(items(), 0);
    begin(db);
    insert(db, "3", "three");
    must(db_commit(db));
    assert_int_equal(items(), 1);
}

static void a_restart_under_a_transaction_is_survived_F11(void **state)
{
    struct db *db = *state;
    static const enum servers_stop_mode modes[] = { SERVERS_FAST, SERVERS_IMMEDIATE, SERVERS_KILL };

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        begin(db);
        insert(db, "1", "lost");
        must(db_flush(db));
        servers_stop_postgres(servers, modes[i]);
        int64_t start_us = clock_monotonic_us();
        insert(db, "2", "lost too");
        assert_int_equal(db_flush(db), ERR_UNAVAILABLE);
        db_rollback(db);
        assert_int_equal(db_begin(db, NULL, in_ms(2000)), ERR_UNAVAILABLE);
        assert_true(clock_monotonic_us() - start_us < slack(SECOND_US));

        servers_start_postgres(servers);
        start_us = clock_monotonic_us();
        while (db_begin(db, NULL, in_ms(2000)) != ERR_OK)
            assert_true(clock_monotonic_us() - start_us < 5 * SECOND_US);
        insert(db, "3", "kept");
        must(db_commit(db));
        while (db_ping(admin, in_ms(2000)) != ERR_OK)
            assert_true(clock_monotonic_us() - start_us < 10 * SECOND_US);
        assert_int_equal(items(), 1);
        script("DELETE FROM t.item");
    }
}

struct breaker {
    const char *when; /* true once the COMMIT is where it should be hit */
    const char *hit;
};

static void *break_it(void *arg)
{
    const struct breaker *b = arg;

    wait_for(b->when);
    script(b->hit);
    return NULL;
}

static void a_connection_lost_in_commit_is_in_doubt_F11_F23(void **state)
{
    struct db *db = *state, *holder = connect_as("postgres");
    struct breaker b = {
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'db_test'"
        " AND query = 'COMMIT' AND wait_event = 'advisory'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'db_test' AND query = 'COMMIT'",
    };
    pthread_t thread;

    begin(holder);
    must(run_text(holder, "SELECT pg_advisory_xact_lock(77)"));
    begin(db);
    must(db_queue(db, &(struct db_stmt){ "slow", "INSERT INTO t.slow VALUES (1)", 0, NULL }, NULL));
    assert_int_equal(pthread_create(&thread, NULL, break_it, &b), 0);
    assert_int_equal(db_commit(db), ERR_UNAVAILABLE);
    pthread_join(thread, NULL);
    assert_true(db_in_doubt(db));
    db_rollback(holder);
    db_free(holder);
}

static void a_commit_whose_replication_was_cancelled_is_in_doubt(void **state)
{
    struct db *db = *state;
    struct breaker b = {
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'db_test'"
        " AND wait_event = 'SyncRep'",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'db_test' AND wait_event = 'SyncRep'",
    };
    pthread_t thread;

    begin(db);
    must(run_text(db, "SET LOCAL synchronous_commit = on"));
    insert(db, "1", "one");
    assert_int_equal(pthread_create(&thread, NULL, break_it, &b), 0);
    enum err e = db_commit(db); /* the server says COMMIT, with a warning */
    pthread_join(thread, NULL);
    assert_int_equal(e, ERR_UNAVAILABLE);
    assert_true(db_in_doubt(db));
    assert_int_equal(items(), 1);
}

/* Here a COMMIT that waits does so for ever: there is no standby. */
static void a_relaxed_commit_waits_for_nobody(void **state)
{
    struct db *db = *state;

    db_set_relaxed(db, true);
    begin(db);
    must(run_text(db, "SELECT 1 / (current_setting('synchronous_commit') = 'off')::int"));
    insert(db, "1", "one");
    must(db_commit(db));
    db_set_relaxed(db, false);
    assert_int_equal(items(), 1);
    begin(db);
    must(run_text(db, "SELECT 1 / (current_setting('synchronous_commit') <> 'off')::int"));
    db_rollback(db);
}

static void a_demoted_session_is_replaced_F16(void **state)
{
    struct db *db = *state;
    PGconn *raw = db_raw(db);

    PQclear(PQexec(raw, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"));
    begin(db);
    insert(db, "1", "one");
    assert_int_equal(db_commit(db), ERR_UNAVAILABLE);
    assert_string_equal(db_last_error(db)->sqlstate, "25006");
    assert_false(db_in_doubt(db));
    begin(db);
    insert(db, "1", "one");
    must(db_commit(db));
    assert_int_equal(items(), 1);
}

/* --- names of statements, as a pooler plays with them (F24) --- */

static void lost_names_are_prepared_again(void **state)
{
    struct db *db = *state;

    begin(db);
    insert(db, "1", "one");
    must(db_commit(db));
    PQclear(PQexec(db_raw(db), "DEALLOCATE ALL"));
    begin(db);
    insert(db, "2", "two");
    assert_int_equal(db_commit(db), ERR_ABORTED);
    assert_false(db_in_doubt(db));
    begin(db);
    insert(db, "2", "two");
    must(db_commit(db));
    assert_int_equal(items(), 2);
}

static void a_name_that_is_taken_is_used(void **state)
{
    struct db *db = *state, *other = connect_as("postgres");
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt own = { "own_name",
                           "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT "
                           "count%'",
                           0, NULL };
    char sql[256];

    begin(other);
    must(db_exec(other, &count_items, NULL, &res));
    db_result_clear(&res);
    must(db_exec(other, &own, NULL, &res));
    assert_int_equal(PQntuples(res), 1);
    snprintf(sql, sizeof sql, "PREPARE %s AS SELECT count(*) AS n FROM t.item",
             PQgetvalue(res, 0, 0));
    db_rollback(other);
    db_free(other);

    PQclear(PQexec(db_raw(db), sql));
    db_result_clear(&res);
    begin(db);
    assert_int_equal(db_exec(db, &count_items, NULL, &res), ERR_ABORTED);
    db_rollback(db);
    begin(db);
    must(db_exec(db, &count_items, NULL, &res));
    must(db_commit(db));
}

static void names_that_keep_getting_lost_are_given_up(void **state)
{
    struct db *db = *state;
    int faults = 0;

    for (int i = 0; i < 6; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        PQclear(PQexec(db_raw(db), "DEALLOCATE ALL"));
        enum err e;
        do {
            begin(db);
            insert(db, id, "x");
            e = db_commit(db);
            faults += e == ERR_ABORTED;
        } while (e == ERR_ABORTED && faults < 10);
        must(e);
    }
    assert_int_equal(faults, 3);
    assert_int_equal(items(), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_slow_statement_ends_at_the_deadline_F17),
        T(a_deadline_in_the_past_sends_nothing),
        T(a_frozen_server_does_not_hold_us_F08_F26),
        T(a_commit_that_does_not_answer_is_in_doubt),
        T(an_idle_connection_that_died_is_replaced_unseen_F23),
        T(a_session_ended_in_a_transaction_is_unavailable_F23),
        T(a_restart_under_a_transaction_is_survived_F11),
        T(a_connection_lost_in_commit_is_in_doubt_F11_F23),
        T(a_commit_whose_replication_was_cancelled_is_in_doubt),
        T(a_relaxed_commit_waits_for_nobody),
        T(a_demoted_session_is_replaced_F16),
        T(lost_names_are_prepared_again),
        T(a_name_that_is_taken_is_used),
        T(names_that_keep_getting_lost_are_given_up),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
