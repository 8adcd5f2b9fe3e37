/*
 * common_db_fixture.h - what the tests of common/db share: a PostgreSQL with one table, and a
 * connection.
 */
#ifndef DAYBOOK_TESTS_COMMON_DB_FIXTURE_H
#define DAYBOOK_TESTS_COMMON_DB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/db.h"
#include "tests/support/admin_db.h"
#include "tests/support/servers.h"
#include "tests/support/slack.h"

#define TENANT_A "01900000-0000-7000-8000-00000000000a"
#define TENANT_B "01900000-0000-7000-8000-00000000000b"
#define WAIT_LIMIT_US (10 * SECOND_US)

static struct servers *servers;

static const struct db_stmt insert_item = { "insert_item",
                                            "INSERT INTO t.item(id, note) VALUES ($1::int, $2)", 2,
                                            NULL };
static const struct db_stmt find_item = { "find_item", "SELECT note FROM t.item WHERE id = $1::int",
                                          1, NULL };
static const struct db_stmt count_items = { "count_items", "SELECT count(*) AS n FROM t.item", 0,
                                            NULL };

static const char schema_sql[] =
    "DROP SCHEMA IF EXISTS t CASCADE; CREATE SCHEMA t;"
    "CREATE TABLE t.item(id int PRIMARY KEY, note text CHECK (note <> 'bad'));"
    "CREATE TABLE t.child(id int PRIMARY KEY REFERENCES t.item(id),"
    "    later int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE t.slot(during tstzrange, EXCLUDE USING gist (during WITH &&));"
    "CREATE TABLE t.slow(id int);"
    "CREATE FUNCTION t.wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS"
    "    'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END';"
    "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t.slow DEFERRABLE INITIALLY DEFERRED"
    "    FOR EACH ROW EXECUTE FUNCTION t.wait_for_lock();"
    "CREATE TABLE t.secret(tenant_id uuid, note text);"
    "ALTER TABLE t.secret ENABLE ROW LEVEL SECURITY;"
    "ALTER TABLE t.secret FORCE ROW LEVEL SECURITY;"
    "CREATE POLICY wall ON t.secret"
    "    USING (tenant_id = nullif(current_setting('daybook.tenant', true), '')::uuid);"
    "DO $$ BEGIN CREATE ROLE t_daemon LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;"
    "ALTER ROLE t_daemon SET lock_timeout = '100ms'; ALTER ROLE t_daemon CONNECTION LIMIT -1;"
    "GRANT USAGE ON SCHEMA t TO t_daemon; GRANT ALL ON ALL TABLES IN SCHEMA t TO t_daemon;";

UNUSED static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_us() + ms * MSEC_US;
}

UNUSED static void begin(struct db *db)
{
    must(db_begin(db, NULL, in_ms(5000)));
}

UNUSED static enum err run_text(struct db *db, const char *sql)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "test_text", sql, 0, NULL };

    return db_exec(db, &stmt, NULL, &res);
}

UNUSED static int64_t items(void)
{
    return number("SELECT count(*) AS n FROM t.item");
}

UNUSED static struct db *connect_as(const char *role)
{
    char *conninfo = servers_conninfo_of(servers, role);
    struct db *db = db_new(conninfo, "db_test");

    free(conninfo);
    assert_non_null(db);
    must(db_ping(db, in_ms(5000)));
    return db;
}

UNUSED static void insert(struct db *db, const char *id, const char *note)
{
    const char *params[] = { id, note };

    must(db_queue(db, &insert_item, params));
}

UNUSED static void expect_setting(struct db *db, const char *sql, const char *want)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "setting", sql, 0, NULL };

    begin(db);
    must(db_exec(db, &stmt, NULL, &res));
    assert_string_equal(PQgetvalue(res, 0, 0), want);
    must(db_commit(db));
}

UNUSED static int set_up(void **state)
{
    script(schema_sql);
    *state = connect_as("postgres");
    return 0;
}

UNUSED static int tear_down(void **state)
{
    db_free(*state);
    return 0;
}

UNUSED static int start(void **state)
{
    (void)state;
    /* A standby that never comes: who asks to be replicated waits for ever, nobody else does. (Set
     * at the start: by a reload, sessions would see it before the checkpointer does, and not wait.)
     */
    servers = servers_start_with(&(struct servers_options){
        .postgres_extra = "synchronous_standby_names = 'nobody'\nsynchronous_commit = local\n" });
    admin_open(servers_conninfo(servers));
    return 0;
}

UNUSED static int stop(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
