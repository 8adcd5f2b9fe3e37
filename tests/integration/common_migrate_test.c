/*
 * common/migrate: fresh, again, two at once, killed half-way (F55); what roles may do afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/migrate.h"
#include "common/sql.h"
#include "tests/support/admin_db.h"
#include "tests/support/servers.h"

#define TENANT_A "01900000-0000-7000-8000-00000000000a"
#define TENANT_B "01900000-0000-7000-8000-00000000000b"
#define LIMIT_US (20 * SECOND_US)

static struct servers *servers;

/* The second one waits for a lock of the test's, so that it can be caught half-way. */
static const struct migration shop[] = {
    { "0001_shop",
      "CREATE TABLE ${schema}.item (tenant_id uuid, id int, PRIMARY KEY (tenant_id, id));\n"
      "GRANT SELECT, INSERT ON ${schema}.item TO ${role};\n" },
    { "0002_price", "ALTER TABLE ${schema}.item ADD COLUMN price bigint;\n"
                    "SELECT pg_advisory_xact_lock(99);\n"
                    "CREATE TABLE ${schema}.price_list (id int PRIMARY KEY);\n" },
    { "0003_index", "CREATE INDEX item_by_price ON ${schema}.item (tenant_id, price);\n" },
};

static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_us() + ms * MSEC_US;
}

static struct db *connect_as(const char *role)
{
    char *conninfo = servers_conninfo_of(servers, role);
    struct db *db = db_new(conninfo, "migrate_test");

    free(conninfo);
    assert_non_null(db);
    return db;
}

static int set_up(void **state)
{
    (void)state;
    script("DROP SCHEMA IF EXISTS shop CASCADE; DROP SCHEMA IF EXISTS broken CASCADE");
    return 0;
}

#define APPLIED "SELECT count(*) AS n FROM shop.schema_version"
#define WAITING                                                                                    \
    "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = 99 AND NOT "       \
    "granted"

static void a_fresh_schema_gets_everything_once(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres");
    int applied = -1, version = -1;

    assert_int_equal(migrate_check(db, "shop", 3, in_ms(2000), &version), ERR_FAILED_PRECONDITION);
    assert_int_equal(version, 0);
    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_int_equal(applied, 3 + (int)common_migrations_len);
    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_int_equal(applied, 0);
    must(migrate_check(db, "shop", 3, in_ms(2000), &version));
    assert_int_equal(version, 3);
    db_free(db);
}

static void a_newer_schema_serves_an_older_program_F54_F55(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres");
    int applied = 0, version = 0;

    must(migrate_run(db, "shop", shop, 2, &applied));
    must(migrate_check(db, "shop", 1, in_ms(2000), &version));
    assert_int_equal(version, 2);
    assert_int_equal(migrate_check(db, "shop", 3, in_ms(2000), &version), ERR_FAILED_PRECONDITION);
    must(migrate_run(db, "shop", shop, 1, &applied)); /* an older migrator does nothing */
    assert_int_equal(applied, 0);
    db_free(db);
}

struct migrator {
    pthread_t thread;
    enum err e;
    int applied;
};

static void *migrate_thread(void *arg)
{
    struct migrator *m = arg;
    struct db *db = connect_as("postgres");

    m->e = migrate_run(db, "shop", shop, ARRAY_LEN(shop), &m->applied);
    db_free(db);
    return NULL;
}

static void two_migrators_at_once_do_it_once_F55(void **state)
{
    (void)state;
    struct migrator m[3] = { 0 };
    struct db *holder = connect_as("postgres");
    int sum = 0;

    must(db_begin(holder, NULL, in_ms(20000)));
    must(db_queue(holder, &(struct db_stmt){ "hold", "SELECT pg_advisory_xact_lock(99)", 0, NULL },
                  NULL));
    must(db_flush(holder));
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        assert_int_equal(pthread_create(&m[i].thread, NULL, migrate_thread, &m[i]), 0);
    wait_for(WAITING); /* one is inside the second migration, the others wait or have yet to come */
    db_rollback(holder);
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        pthread_join(m[i].thread, NULL);
        must(m[i].e);
        sum += m[i].applied;
    }
    assert_int_equal(sum, 3 + (int)common_migrations_len);
    db_free(holder);
}

/* Nothing of the second migration may be seen. */
static void half_of_it_is_not_there(void)
{
    assert_int_equal(number("SELECT count(*) AS n FROM shop.schema_version"
                            " WHERE component = 'shop'"),
                     1);
    assert_int_equal(number("SELECT count(*) AS n FROM information_schema.columns"
                            " WHERE table_schema = 'shop' AND column_name = 'price'"),
                     0);
}

/* Kills a migrator inside the second migration. Its session may go on without it. */
static void kill_half_way(bool with_session)
{
    struct db *holder = connect_as("postgres");

    must(db_begin(holder, NULL, in_ms(20000)));
    must(db_queue(holder, &(struct db_stmt){ "hold", "SELECT pg_advisory_xact_lock(99)", 0, NULL },
                  NULL));
    must(db_flush(holder));
    pid_t pid = fork();
    if (pid == 0) {
        struct db *db = connect_as("postgres");
        int applied = 0;
        _exit(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied) == ERR_OK ? 0 : 1);
    }
    wait_for(WAITING);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    if (with_session) {
        script("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
               " WHERE locktype = 'advisory' AND objid = 99 AND NOT granted");
        half_of_it_is_not_there();
    }
    db_rollback(holder);
    db_free(holder);
}

static void a_migrator_killed_half_way_leaves_nothing_half_done_F55(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres");
    int applied = 0;

    kill_half_way(true);
    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_int_equal(applied, 2);
    db_free(db);
}

static void the_session_of_a_killed_migrator_may_finish_its_step_F55(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres");
    int applied = 0, version = 0;

    kill_half_way(false);
    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_in_range(applied, 1, 2);
    must(migrate_check(db, "shop", 3, in_ms(2000), &version));
    db_free(db);
}

static void a_server_that_dies_under_a_migration_is_waited_for_F11_F55(void **state)
{
    (void)state;
    struct migrator m = { 0 };
    struct db *holder = connect_as("postgres");

    must(db_begin(holder, NULL, in_ms(20000)));
    must(db_queue(holder, &(struct db_stmt){ "hold", "SELECT pg_advisory_xact_lock(99)", 0, NULL },
                  NULL));
    must(db_flush(holder));
    assert_int_equal(pthread_create(&m.thread, NULL, migrate_thread, &m), 0);
    wait_for(WAITING);
    servers_stop_postgres(servers, SERVERS_KILL);
    servers_start_postgres(servers);
    pthread_join(m.thread, NULL);
    must(m.e);
    int64_t limit_us = clock_monotonic_us() + LIMIT_US;
    while (db_ping(admin, in_ms(2000)) != ERR_OK)
        assert_true(clock_monotonic_us() < limit_us);
    assert_int_equal(number(APPLIED), 3 + (int64_t)common_migrations_len);
    db_rollback(holder);
    db_free(holder);
}

#define OF_ITEM "SELECT count(*) AS n FROM pg_locks WHERE relation = 'shop.item'::regclass AND "

/* Others go on with the table in between; now and then it waits as long as an autovacuum needs to make way. */
static void a_table_in_use_is_waited_for_in_short_tries_and_a_long_one_F55(void **state)
{
    (void)state;
    struct migrator m = { 0 };
    struct db *db = connect_as("postgres"), *holder = connect_as("postgres");
    struct db_stmt read = { "read", "SELECT count(*) AS n FROM shop.item", 0, NULL };
    int applied = 0;

    must(migrate_run(db, "shop", shop, 1, &applied));
    must(db_begin(holder, NULL, in_ms(40000)));
    must(db_queue(holder, &read, NULL));
    must(db_flush(holder));
    wait_for(OF_ITEM "granted");
    assert_int_equal(pthread_create(&m.thread, NULL, migrate_thread, &m), 0);
    for (int i = 0; i < 3; i++) {
        wait_for(OF_ITEM "NOT granted");
        script("SET lock_timeout = '1500ms'; SELECT count(*) FROM shop.item; RESET lock_timeout");
    }
    wait_for(OF_ITEM "NOT granted AND clock_timestamp() - waitstart > interval '1 s'");
    db_rollback(holder);
    pthread_join(m.thread, NULL);
    must(m.e);
    assert_int_equal(m.applied, 2);
    db_free(holder);
    db_free(db);
}

static void a_faulty_migration_keeps_what_came_before(void **state)
{
    (void)state;
    static const struct migration list[] = {
        { "0001_good", "CREATE TABLE ${schema}.good (id int)" },
        { "0002_bad", "CREATE TABLE ${schema}.bad (id int); SELECT no_such_thing" },
    };
    static const struct migration misnumbered[] = { { "0001_a", "" }, { "0003_b", "" } };
    static const struct migration unknown[] = { { "0001_a", "SELECT '${table}'" } };
    struct db *db = connect_as("postgres");
    int applied = -1;

    assert_int_equal(migrate_run(db, "broken", list, 2, &applied), ERR_INTERNAL);
    assert_int_equal(applied, -1);
    assert_int_equal(number("SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'broken'"
                            " AND tablename IN ('good', 'bad')"),
                     1);
    assert_int_equal(migrate_run(db, "broken2", misnumbered, 2, &applied), ERR_INTERNAL);
    assert_int_equal(migrate_run(db, "broken3", unknown, 1, &applied), ERR_INTERNAL);
    assert_int_equal(migrate_run(db, "x'; DROP", list, 1, &applied),
                     ERR_INVALID_ARGUMENT); /* F62 */
    db_free(db);
}

static void the_role_has_its_timeouts_and_nothing_more(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres"), *daemon = connect_as("daybook_shop");
    int applied = 0, version = 0;

    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    must(migrate_check(daemon, "shop", 3, in_ms(2000), &version));
    static const char *const settings[] = {
        "statement_timeout' AND setting = '5000",
        "lock_timeout' AND setting = '2000",
        "idle_in_transaction_session_timeout' AND setting = '10000",
        "TimeZone' AND setting = 'UTC",
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "SELECT count(*) AS n FROM pg_settings WHERE name = '%s'",
                 settings[i]);
        if (number_in(daemon, sql) != 1)
            fail_msg("not so: %s", settings[i]);
    }
    assert_int_equal(number_in(daemon, "SELECT pg_has_role('daybook_daemon', 'MEMBER')::int AS n"),
                     1);
    assert_int_equal(db_script(daemon, "CREATE TABLE shop.own (id int)", in_ms(2000)),
                     ERR_INTERNAL);
    assert_string_equal(db_last_error(daemon)->sqlstate, "42501");
    assert_int_equal(db_script(daemon, "DELETE FROM shop.item", in_ms(2000)), ERR_INTERNAL);
    must(db_script(daemon, "SELECT * FROM shop.item", in_ms(2000)));
    db_free(daemon);
    db_free(db);
}

static void an_operators_own_setting_is_left_alone(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres"), *daemon = connect_as("daybook_shop");
    int applied = 0;

    script("ALTER ROLE daybook_shop SET statement_timeout = '9s'");
    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_int_equal(number_in(daemon, "SELECT setting::int AS n FROM pg_settings"
                                       " WHERE name = 'statement_timeout'"),
                     9000);
    script("ALTER ROLE daybook_shop SET statement_timeout = '5s'");
    db_free(daemon);
    db_free(db);
}

static void remembered_answers_stay_within_their_tenant_F61(void **state)
{
    (void)state;
    struct db *db = connect_as("postgres"), *daemon = connect_as("daybook_shop");
    struct db_stmt put = {
        "put", "INSERT INTO shop.idempotency VALUES ($1::uuid, $1::uuid, 'm', 'k', '', '', '', $2)",
        2, NULL
    };
    struct db_stmt count = { "count", "SELECT count(*) AS n FROM shop.idempotency", 0, NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct id a, b;
    int applied = 0;

    must(migrate_run(db, "shop", shop, ARRAY_LEN(shop), &applied));
    assert_true(id_parse(TENANT_A, &a) && id_parse(TENANT_B, &b));
    must(db_begin(daemon, &a, in_ms(2000)));
    must(db_queue(daemon, &put, (const char *[]){ TENANT_A, "2026-01-01T00:00:00Z" }));
    must(db_commit(daemon));
    must(db_begin(daemon, &b, in_ms(2000)));
    must(db_exec(daemon, &count, NULL, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), "0");
    must(db_queue(daemon, &put, (const char *[]){ TENANT_A, "2026-01-01T00:00:00Z" }));
    assert_int_equal(db_commit(daemon), ERR_INTERNAL);
    assert_string_equal(db_last_error(daemon)->sqlstate, "42501");
    db_free(daemon);
    db_free(db);
}

static int start(void **state)
{
    (void)state;
    servers = servers_start_with(&(struct servers_options){ .durable = true });
    admin = connect_as("postgres");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_fresh_schema_gets_everything_once, set_up),
        cmocka_unit_test_setup(a_newer_schema_serves_an_older_program_F54_F55, set_up),
        cmocka_unit_test_setup(two_migrators_at_once_do_it_once_F55, set_up),
        cmocka_unit_test_setup(a_migrator_killed_half_way_leaves_nothing_half_done_F55, set_up),
        cmocka_unit_test_setup(the_session_of_a_killed_migrator_may_finish_its_step_F55, set_up),
        cmocka_unit_test_setup(a_server_that_dies_under_a_migration_is_waited_for_F11_F55, set_up),
        cmocka_unit_test_setup(a_table_in_use_is_waited_for_in_short_tries_and_a_long_one_F55,
                               set_up),
        cmocka_unit_test_setup(a_faulty_migration_keeps_what_came_before, set_up),
        cmocka_unit_test_setup(the_role_has_its_timeouts_and_nothing_more, set_up),
        cmocka_unit_test_setup(an_operators_own_setting_is_left_alone, set_up),
        cmocka_unit_test_setup(remembered_answers_stay_within_their_tenant_F61, set_up),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
