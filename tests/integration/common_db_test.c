/*
 * common/db against a real PostgreSQL: round trips, checks, what each failure becomes, tenants,
 * rows (F18, F19, F20 of operations 9).
 */
#include "tests/integration/common_db_fixture.h"

#include <unistd.h>

#include "common/metrics.h"

/* A pooler gives the session to others between transactions, and refuses unknown start-up options.
 */
static void only_the_transactions_of_a_relaxed_connection_do_not_wait_for_the_disk(void **state)
{
    struct db *db = *state;
    static const char show[] = "SHOW synchronous_commit";

    db_set_relaxed(db, true);
    expect_setting(db, show, "off");
    expect_setting(db, "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'",
                   "local"); /* of the session */
    db_set_relaxed(db, false);
    expect_setting(db, show, "local");
    db_set_relaxed(db, true);
    expect_setting(db, show, "off"); /* in a session that was there already */
}

/* A tool's session may come with other settings, on which reading rows depends. */
static void a_session_reads_rows_whatever_its_role_is_set_to(void **state)
{
    (void)state;
    script("ALTER ROLE t_daemon SET timezone = 'Asia/Shanghai';"
           "ALTER ROLE t_daemon SET datestyle = 'German, DMY';"
           "ALTER ROLE t_daemon SET bytea_output = 'escape'");
    struct db *db = connect_as("t_daemon");

    expect_setting(db, "SHOW timezone", "UTC");
    expect_setting(db, "SELECT timestamptz 'epoch'", "1970-01-01 00:00:00+00");
    expect_setting(db, "SELECT '\\x00ff'::bytea", "\\x00ff");
    expect_setting(db,
                   "SELECT count(*) FROM pg_settings WHERE source = 'client'"
                   " AND name NOT IN ('application_name', 'client_encoding')",
                   "0"); /* which poolers would refuse */
    db_free(db);
    script("ALTER ROLE t_daemon RESET timezone; ALTER ROLE t_daemon RESET datestyle;"
           "ALTER ROLE t_daemon RESET bytea_output");
}

/* --- round trips --- */

static void a_command_that_only_writes_costs_one_round_trip(void **state)
{
    struct db *db = *state;
    struct id tenant;

    assert_true(id_parse(TENANT_A, &tenant));
    uint64_t before = db_round_trips(db);
    must(db_begin(db, &tenant, in_ms(5000)));
    insert(db, "1", "one");
    insert(db, "2", "two");
    must(db_commit(db));
    assert_int_equal(db_round_trips(db) - before, 1);
    assert_int_equal(items(), 2);
}

static void a_command_that_reads_then_writes_costs_two(void **state)
{
    struct db *db = *state;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[] = { "7" };

    uint64_t before = db_round_trips(db);
    begin(db);
    insert(db, "7", "seven");
    must(db_exec(db, &find_item, params, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), "seven");
    insert(db, "8", PQgetvalue(res, 0, 0));
    must(db_commit(db));
    assert_int_equal(db_round_trips(db) - before, 2);
}

static void a_transaction_without_statements_costs_none(void **state)
{
    struct db *db = *state;
    uint64_t before = db_round_trips(db);

    begin(db);
    must(db_commit(db));
    begin(db);
    db_rollback(db);
    assert_int_equal(db_round_trips(db) - before, 0);
    assert_true(db_is_connected(db));
}

static void statements_are_prepared_once(void **state)
{
    struct db *db = *state;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "count_prepared",
                            "SELECT count(*) AS n FROM pg_prepared_statements"
                            " WHERE statement LIKE 'INSERT INTO t.item%'",
                            0, NULL };
    begin(db);
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        insert(db, id, "x");
    }
    must(db_exec(db, &stmt, NULL, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), "1");
    must(db_commit(db));
}

static void a_failed_first_use_is_prepared_again(void **state)
{
    struct db *db = *state;

    begin(db);
    insert(db, "1", "bad"); /* check constraint, after its PREPARE */
    assert_int_equal(db_flush(db), ERR_FAILED_PRECONDITION);
    db_rollback(db);
    begin(db);
    assert_int_equal(run_text(db, "SELECT nothing_of_the_kind"), ERR_INTERNAL);
    db_rollback(db);
    begin(db);
    must(db_queue(db, &(struct db_stmt){ "sleepless", "SELECT 1/0", 0, NULL }, NULL));
    insert(db, "2", "skipped");
    CLEANUP(db_result_clear) PGresult *res = NULL;
    assert_int_equal(db_exec(db, &count_items, NULL, &res), ERR_INVALID_ARGUMENT);
    assert_string_equal(db_last_error(db)->sqlstate, "22012");
    assert_string_equal(db_last_error(db)->statement, "sleepless");
    db_rollback(db);
    /* the PREPARE of count_items was skipped with it: it must come again */
    begin(db);
    insert(db, "3", "three");
    must(db_exec(db, &count_items, NULL, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), "1");
    must(db_commit(db));
}

static void without_preparing_it_works_too(void **state)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "count_prepared", "SELECT count(*) AS n FROM pg_prepared_statements", 0,
                            NULL };
    (void)state;

    db_set_prepare(false); /* DAYBOOK_DB_PREPARE=off */
    struct db *db = db_new(servers_conninfo(servers), "db_test_unprepared");
    db_set_prepare(true);
    assert_non_null(db);
    begin(db);
    insert(db, "1", "one");
    insert(db, "2", NULL);
    must(db_exec(db, &stmt, NULL, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), "0");
    must(db_commit(db));
    db_free(db);
    assert_int_equal(items(), 2);
    assert_int_equal(number("SELECT count(*) AS n FROM t.item WHERE note IS NULL"), 1);
}

static void a_large_batch_neither_blocks_nor_loses(void **state)
{
    struct db *db = *state;
    enum { N = 2500, SIZE = 8000 };
    char *note = malloc(SIZE + 1);
    struct db_stmt echo = { "echo", "SELECT repeat('y', 20000), $1::int, $2", 2, NULL };

    assert_non_null(note);
    memset(note, 'x', SIZE);
    note[SIZE] = '\0';
    must(db_begin(db, NULL, in_ms(60000)));
    for (int i = 0; i < N; i++) {
        char id[12];
        snprintf(id, sizeof id, "%d", i);
        insert(db, id, note);
        /* answers larger than all socket buffers, so that both sides write at once */
        must(db_queue(db, &echo, (const char *[]){ id, note }));
    }
    must(db_commit(db));
    assert_int_equal(items(), N);
    free(note);
}

/* --- checks --- */

struct seen {
    int calls;
    char order[8];
};

static enum err note_rows(void *ctx, const PGresult *res)
{
    struct seen *seen = ctx;

    seen->order[seen->calls++] = (char)('0' + PQntuples(res));
    return ERR_OK;
}

static enum err refuse(void *ctx, const PGresult *res)
{
    (void)ctx;
    return PQntuples(res) == 0 ? ERR_REPLAYED : ERR_OK;
}

static void checks_see_their_results_in_order(void **state)
{
    struct db *db = *state;
    struct seen seen = { 0 };
    const char *one[] = { "1" };

    begin(db);
    must(db_queue_check(db, &find_item, one, note_rows, &seen));
    insert(db, "1", "one");
    must(db_queue_check(db, &find_item, one, note_rows, &seen));
    assert_int_equal(seen.calls, 0);
    must(db_commit(db));
    assert_string_equal(seen.order, "01");
}

static void a_check_that_refuses_keeps_the_commit_from_happening(void **state)
{
    struct db *db = *state;
    const char *one[] = { "1" };

    begin(db);
    must(db_queue_check(db, &find_item, one, refuse, NULL)); /* nothing there: refuses */
    insert(db, "1", "one");
    uint64_t before = db_round_trips(db);
    assert_int_equal(db_commit(db), ERR_REPLAYED);
    assert_int_equal(items(), 0);
    assert_int_equal(db_round_trips(db) - before, 2); /* checks, rollback */
    assert_false(db_in_doubt(db));
    assert_false(db_in_transaction(db));
}

static void after_a_failure_only_rollback_is_left(void **state)
{
    struct db *db = *state;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    begin(db);
    insert(db, "1", "one");
    assert_int_equal(run_text(db, "SELECT 1/0"), ERR_INVALID_ARGUMENT);
    assert_int_equal(db_exec(db, &count_items, NULL, &res), ERR_INVALID_ARGUMENT);
    assert_null(res);
    assert_int_equal(db_commit(db), ERR_INVALID_ARGUMENT);
    assert_false(db_in_doubt(db));
    assert_int_equal(items(), 0);
    begin(db); /* the connection is as good as before */
    insert(db, "2", "two");
    must(db_commit(db));
    assert_int_equal(items(), 1);
}

static void rollback_undoes_what_was_queued_and_sent(void **state)
{
    struct db *db = *state;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    begin(db);
    insert(db, "1", "sent");
    must(db_exec(db, &count_items, NULL, &res));
    insert(db, "2", "queued");
    db_rollback(db);
    assert_true(db_is_connected(db));
    assert_int_equal(items(), 0);
}

/* What the page of metrics says of a series; 0 where it says nothing. */
static int64_t shown(const char *series)
{
    struct sbuf page;
    sbuf_init(&page, 4 * MIB);
    metrics_write(&page);
    assert_false(page.bad);
    const char *at = strstr(page.data, series);
    int64_t value = at ? strtoll(at + strlen(series), NULL, 10) : 0;
    sbuf_fini(&page);
    return value;
}

/* --- what failures become --- */

static void each_sqlstate_has_its_code(void **state)
{
    struct db *db = *state;
    static const struct {
        const char *sqlstate;
        enum err want;
        bool keeps_connection;
    } cases[] = {
        { "40001", ERR_ABORTED, true },
        { "40P01", ERR_ABORTED, true },
        { "08006", ERR_UNAVAILABLE, false },
        { "57P01", ERR_UNAVAILABLE, false },
        { "57P05", ERR_UNAVAILABLE, false },
        { "25006", ERR_UNAVAILABLE, false },
        { "53100", ERR_UNAVAILABLE, true },
        { "53200", ERR_UNAVAILABLE, true },
        { "53300", ERR_UNAVAILABLE, true },
        { "55P03", ERR_UNAVAILABLE, true },
        { "57014", ERR_DEADLINE_EXCEEDED, true },
        { "23505", ERR_ALREADY_EXISTS, true },
        { "23P01", ERR_ALREADY_EXISTS, true },
        { "23503", ERR_FAILED_PRECONDITION, true },
        { "23514", ERR_FAILED_PRECONDITION, true },
        { "23502", ERR_FAILED_PRECONDITION, true },
        { "22003", ERR_INVALID_ARGUMENT, true },
        { "42P01", ERR_INTERNAL, true },
        { "P0001", ERR_INTERNAL, true },
        { "58030", ERR_UNAVAILABLE, false },
        { "XX000", ERR_INTERNAL, true },
        { "26000", ERR_ABORTED, true }, /* last: BEGIN too is prepared anew after it */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '%s'; END $$",
                 cases[i].sqlstate);
        begin(db);
        enum err e = run_text(db, sql);
        if (e != cases[i].want)
            fail_msg("%s: %s", cases[i].sqlstate, err_name(e));
        assert_string_equal(db_last_error(db)->sqlstate, cases[i].sqlstate);
        db_rollback(db);
        assert_string_equal(db_last_error(db)->sqlstate, cases[i].sqlstate);
        if (db_is_connected(db) != cases[i].keeps_connection)
            fail_msg("%s: connected %d", cases[i].sqlstate, db_is_connected(db));
    }
}

static void constraints_are_named(void **state)
{
    struct db *db = *state;
    static const struct {
        const char *sql;
        enum err want;
        const char *constraint;
    } cases[] = {
        { "INSERT INTO t.item VALUES (1, 'again')", ERR_ALREADY_EXISTS, "item_pkey" },
        { "INSERT INTO t.item VALUES (9, 'bad')", ERR_FAILED_PRECONDITION, "item_note_check" },
        { "INSERT INTO t.child VALUES (99)", ERR_FAILED_PRECONDITION, "child_id_fkey" },
        { "INSERT INTO t.slot VALUES ('[2026-01-01,2026-01-03)'), ('[2026-01-02,2026-01-04)')",
          ERR_ALREADY_EXISTS, "slot_during_excl" },
    };

    script("INSERT INTO t.item VALUES (1, 'one')");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(db);
        assert_int_equal(run_text(db, cases[i].sql), cases[i].want);
        assert_string_equal(db_last_error(db)->constraint, cases[i].constraint);
        db_rollback(db);
    }
}

static void a_refused_commit_is_not_in_doubt(void **state)
{
    struct db *db = *state;

    script("INSERT INTO t.item VALUES (1, 'a'), (2, 'b'); INSERT INTO t.child VALUES (1, 5)");
    begin(db);
    must(db_queue(db, &(struct db_stmt){ "deferred", "INSERT INTO t.child VALUES (2, 5)", 0, NULL },
                  NULL));
    assert_int_equal(db_commit(db), ERR_ALREADY_EXISTS);
    assert_string_equal(db_last_error(db)->constraint, "child_later_key");
    assert_false(db_in_doubt(db));
    assert_true(db_is_connected(db));
    assert_int_equal(number("SELECT count(*) AS n FROM t.child"), 1);
}

static void a_lock_held_by_another_is_unavailable_F20(void **state)
{
    struct db *db = *state, *daemon = connect_as("t_daemon");

    begin(db);
    must(run_text(db, "LOCK TABLE t.item IN ACCESS EXCLUSIVE MODE"));
    begin(daemon);
    assert_int_equal(run_text(daemon, "SELECT note FROM t.item"), ERR_UNAVAILABLE);
    assert_string_equal(db_last_error(daemon)->sqlstate, "55P03");
    db_rollback(daemon);
    db_rollback(db);
    db_free(daemon);
}

static void too_many_connections_is_unavailable_and_backs_off_F18(void **state)
{
    (void)state;
    char *conninfo = servers_conninfo_of(servers, "t_daemon");
    struct db *db = db_new(conninfo, "db_test");

    script("ALTER ROLE t_daemon CONNECTION LIMIT 0");
    assert_int_equal(db_ping(db, in_ms(3000)), ERR_UNAVAILABLE);
    assert_false(db_is_connected(db));
    script("ALTER ROLE t_daemon CONNECTION LIMIT -1");
    int64_t limit_us = clock_monotonic_us() + WAIT_LIMIT_US;
    while (db_ping(db, in_ms(3000)) != ERR_OK)
        assert_true(clock_monotonic_us() < limit_us);
    db_free(db);
    free(conninfo);
}

/* What is left to others than a superuser, by somebody who does nothing with it. */
static size_t hold_connections(const char *conninfo, PGconn **held, size_t most)
{
    for (size_t n = 0; n < most; n++) {
        held[n] = PQconnectdb(conninfo);
        if (PQstatus(held[n]) != CONNECTION_OK)
            return n + 1;
    }
    fail_msg("there is no end of connections");
    return 0;
}

/* The log, which goes to stderr until it is started, between these two. */
struct overheard {
    FILE *file;
    int saved;
    char text[4096];
};

static void overhear(struct overheard *o)
{
    *o = (struct overheard){ .file = tmpfile(), .saved = dup(STDERR_FILENO) };
    assert_true(o->file && o->saved >= 0 && dup2(fileno(o->file), STDERR_FILENO) >= 0);
}

static void overhear_no_more(struct overheard *o)
{
    assert_true(dup2(o->saved, STDERR_FILENO) >= 0);
    close(o->saved);
    rewind(o->file);
    o->text[fread(o->text, 1, sizeof o->text - 1, o->file)] = '\0';
    fclose(o->file);
}

static void ping_in_vain(const char *conninfo, const char *sqlstate, struct overheard *log_out)
{
    struct db *db = db_new(conninfo, "db_test");

    overhear(log_out);
    enum err e = db_ping(db, in_ms(3000));
    overhear_no_more(log_out);
    assert_int_equal(e, ERR_UNAVAILABLE);
    assert_string_equal(db_last_error(db)->sqlstate, sqlstate);
    if (!strstr(log_out->text, "db.connect_failed") || !strstr(log_out->text, sqlstate) ||
        strstr(log_out->text, "LOCATION") || strstr(log_out->text, "hush"))
        fail_msg("%s", log_out->text);
    db_free(db);
}

static void no_connection_left_is_told_by_its_code_F18(void **state)
{
    (void)state;
    PGconn *held[100];
    char *one = servers_conninfo_of(servers, "t_daemon");
    char forms[4][512];
    struct overheard log;
    int64_t full = shown("daybook_db_errors_total{sqlstate_class=\"53\"}");
    int64_t refused = shown("daybook_db_errors_total{sqlstate_class=\"08\"}");

    size_t nheld = hold_connections(one, held, ARRAY_LEN(held));
    const char *dir = servers_dir(servers);
    snprintf(forms[0], sizeof forms[0], "%s password=hush", one);
    snprintf(forms[1], sizeof forms[1],
             "host=/nobody/here,%s user=t_daemon dbname=daybook password=hush", dir);
    snprintf(forms[2], sizeof forms[2],
             "host=%s,/nobody/here user=t_daemon dbname=daybook password=hush", dir);
    snprintf(forms[3], sizeof forms[3], "host=/nobody/here user=t_daemon password=hush");
    for (size_t i = 0; i < 3; i++) {
        ping_in_vain(forms[i], "53300", &log);
        assert_non_null(strstr(log.text, "FATAL:  ")); /* what else it says is kept */
    }
    ping_in_vain(forms[3], "08001", &log);
    for (size_t i = 0; i < nheld; i++)
        PQfinish(held[i]);
    free(one);
    assert_int_equal(shown("daybook_db_errors_total{sqlstate_class=\"53\"}"), full + 3);
    assert_int_equal(shown("daybook_db_errors_total{sqlstate_class=\"08\"}"), refused + 1);
}

static void a_statement_that_finds_no_room_is_logged_with_its_code_F21(void **state)
{
    struct db *db = *state;
    struct overheard log;

    begin(db);
    overhear(&log);
    enum err e = run_text(db, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53200'; END $$");
    overhear_no_more(&log);
    db_rollback(db);
    assert_int_equal(e, ERR_UNAVAILABLE);
    assert_true(strstr(log.text, "db.server_in_trouble") && strstr(log.text, "53200"));
}

/* --- how much of the connections is used --- */

static void connections_are_busy_in_a_transaction_and_else_idle(void **state)
{
    (void)state;
    static const char all[] = "daybook_db_connections{state=\"open\"}";
    static const char busy[] = "daybook_db_connections{state=\"busy\"}";
    static const char idle[] = "daybook_db_connections{state=\"idle\"}";
    int64_t were = shown(all), were_busy = shown(busy), were_idle = shown(idle);

    struct db *db = connect_as("t_daemon");
    assert_int_equal(shown(all), were + 1);
    assert_int_equal(shown(idle), were_idle + 1);
    begin(db);
    assert_int_equal(shown(busy), were_busy + 1);
    assert_int_equal(shown(idle), were_idle);
    must(run_text(db, "SELECT 1"));
    must(db_commit(db));
    assert_int_equal(shown(busy), were_busy);
    assert_int_equal(shown(idle), were_idle + 1);

    begin(db);
    db_rollback(db);
    assert_int_equal(shown(busy), were_busy);

    begin(db); /* the connection ends in between */
    assert_int_equal(run_text(db, "SELECT pg_terminate_backend(pg_backend_pid())"),
                     ERR_UNAVAILABLE);
    assert_false(db_is_connected(db));
    assert_int_equal(shown(all), were);
    assert_int_equal(shown(busy), were_busy);
    db_rollback(db);
    assert_int_equal(shown(busy), were_busy);
    assert_int_equal(shown(idle), were_idle);

    int64_t limit_us = clock_monotonic_us() + WAIT_LIMIT_US;
    while (db_begin(db, NULL, in_ms(3000)) != ERR_OK)
        assert_true(clock_monotonic_us() < limit_us);
    assert_int_equal(shown(busy), were_busy + 1);
    db_free(db); /* in the middle of it */
    assert_int_equal(shown(all), were);
    assert_int_equal(shown(busy), were_busy);
    assert_int_equal(shown(idle), were_idle);
}

/* --- tenants, scripts, rows --- */

static void the_wall_between_tenants_holds(void **state)
{
    (void)state;
    struct db *db = connect_as("t_daemon");
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt all = { "all_secrets", "SELECT note FROM t.secret ORDER BY note", 0, NULL };
    struct db_stmt put = { "put_secret", "INSERT INTO t.secret VALUES ($1::uuid, $2)", 2, NULL };
    struct id a, b;

    assert_true(id_parse(TENANT_A, &a) && id_parse(TENANT_B, &b));
    must(db_begin(db, &a, in_ms(5000)));
    must(db_queue(db, &put, (const char *[]){ TENANT_A, "of a" }));
    must(db_set_tenant(db, b));
    must(db_queue(db, &put, (const char *[]){ TENANT_B, "of b" }));
    must(db_commit(db));

    const struct id turns[] = { a, b, b, a }; /* within one transaction */
    must(db_begin(db, &a, in_ms(5000)));
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        must(db_set_tenant(db, turns[i]));
        must(db_exec(db, &all, NULL, &res));
        assert_int_equal(PQntuples(res), 1);
        assert_string_equal(PQgetvalue(res, 0, 0), id_equal(turns[i], a) ? "of a" : "of b");
        db_result_clear(&res);
    }
    must(db_commit(db));

    must(db_begin(db, &b, in_ms(5000)));
    must(db_exec(db, &all, NULL, &res));
    assert_int_equal(PQntuples(res), 1);
    assert_string_equal(PQgetvalue(res, 0, 0), "of b");
    must(db_queue(db, &put, (const char *[]){ TENANT_A, "forged" }));
    assert_int_equal(db_commit(db), ERR_INTERNAL); /* F61 */
    assert_string_equal(db_last_error(db)->sqlstate, "42501");

    db_result_clear(&res);
    must(db_begin(db, NULL, in_ms(5000))); /* the setting ended with its transaction */
    must(db_exec(db, &all, NULL, &res));
    assert_int_equal(PQntuples(res), 0);
    db_rollback(db);
    db_free(db);
}

static void take_number(void *ctx, const PGresult *res)
{
    struct db_row row = { .res = res };
    *(int32_t *)ctx = db_row_i32(&row, "n");
}

/* db_queue_take(): the result comes with that of COMMIT, which did not wait for it. */
static void a_result_that_decides_nothing_holds_back_no_commit(void **state)
{
    struct db *db = *state;
    struct db_stmt one = { "one", "SELECT 41 + 1 AS n", 0, NULL };
    int32_t n = 0;

    must(db_ping(db, in_ms(5000)));
    uint64_t before = db_round_trips(db);
    begin(db);
    insert(db, "1", "one");
    must(db_queue_take(db, &one, NULL, take_number, &n));
    must(db_commit(db));
    assert_int_equal(db_round_trips(db) - before, 1);
    assert_int_equal(n, 42);
    assert_int_equal(items(), 1);

    n = 0;
    begin(db);
    insert(db, "1", "again"); /* fails, and so what follows is not run */
    must(db_queue_take(db, &one, NULL, take_number, &n));
    assert_int_equal(db_commit(db), ERR_ALREADY_EXISTS);
    assert_int_equal(n, 0);
    assert_int_equal(items(), 1);
}

static void a_script_that_fails_leaves_nothing_open(void **state)
{
    struct db *db = *state;

    assert_int_equal(db_script(db, "BEGIN; INSERT INTO t.item VALUES (1, 'a'); SELECT 1/0; COMMIT;",
                               in_ms(5000)),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(db_last_error(db)->sqlstate, "22012");
    assert_int_equal(items(), 0);
    must(db_script(db, "INSERT INTO t.item VALUES (1, 'a'); INSERT INTO t.item VALUES (2, 'b')",
                   in_ms(5000)));
    begin(db);
    insert(db, "3", "c");
    must(db_commit(db));
    assert_int_equal(items(), 3);
    assert_int_equal(db_script(db, "SELECT pg_sleep(20)", in_ms(200)), ERR_DEADLINE_EXCEEDED);
    must(db_script(db, "SELECT 1", in_ms(5000)));
}

static void rows_come_as_values(void **state)
{
    struct db *db = *state;
    struct arena *a = arena_new(MIB);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = {
        "values",
        "SELECT -9223372036854775808 AS small, 42 AS n, 1.25::float8 AS d, true AS t, false AS f,"
        " $1::uuid AS id, $2::timestamptz AS at, $3::bytea AS bytes, NULL::text AS none,"
        " 'infinity'::timestamptz AS never, '2026-03-29 02:30:00.25+08'::timestamptz AS cn",
        3, NULL
    };
    struct id id = id_new();
    int64_t at_us = INT64_C(1767225600123456);
    const char *params[] = { db_text_id(a, id), db_text_time(a, at_us),
                             db_text_bytes(a, "\0\xff\n", 3) };
    uint8_t *bytes = NULL;
    size_t len = 0;

    must(db_exec(db, &stmt, params, &res)); /* works outside a transaction too */
    struct db_row row = { .res = res };
    assert_true(db_row_i64(&row, "small") == INT64_MIN);
    assert_int_equal(db_row_i32(&row, "n"), 42);
    assert_true(db_row_double(&row, "d") == 1.25);
    assert_true(db_row_bool(&row, "t"));
    assert_false(db_row_bool(&row, "f"));
    assert_true(id_equal(db_row_id(&row, "id"), id));
    assert_true(db_row_time(&row, "at") == at_us);
    assert_true(db_row_time(&row, "cn") == INT64_C(1774722600250000));
    assert_int_equal(db_row_bytes(&row, "bytes", a, &bytes, &len), ERR_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "\0\xff\n", 3);
    assert_true(db_row_is_null(&row, "none"));
    assert_null(db_row_text(&row, "none"));
    assert_false(row.bad);

    static const char *const bad[] = { "none", "never", "missing" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        row.bad = false;
        (void)db_row_time(&row, bad[i]);
        if (!row.bad)
            fail_msg("%s was taken", bad[i]);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_session_reads_rows_whatever_its_role_is_set_to),
        T(only_the_transactions_of_a_relaxed_connection_do_not_wait_for_the_disk),
        T(a_command_that_only_writes_costs_one_round_trip),
        T(a_command_that_reads_then_writes_costs_two),
        T(a_transaction_without_statements_costs_none),
        T(statements_are_prepared_once),
        T(a_failed_first_use_is_prepared_again),
        T(without_preparing_it_works_too),
        T(a_large_batch_neither_blocks_nor_loses),
        T(checks_see_their_results_in_order),
        T(a_check_that_refuses_keeps_the_commit_from_happening),
        T(after_a_failure_only_rollback_is_left),
        T(rollback_undoes_what_was_queued_and_sent),
        T(each_sqlstate_has_its_code),
        T(constraints_are_named),
        T(a_refused_commit_is_not_in_doubt),
        T(a_lock_held_by_another_is_unavailable_F20),
        T(too_many_connections_is_unavailable_and_backs_off_F18),
        T(no_connection_left_is_told_by_its_code_F18),
        T(a_statement_that_finds_no_room_is_logged_with_its_code_F21),
        T(connections_are_busy_in_a_transaction_and_else_idle),
        T(the_wall_between_tenants_holds),
        T(a_result_that_decides_nothing_holds_back_no_commit),
        T(a_script_that_fails_leaves_nothing_open),
        T(rows_come_as_values),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
