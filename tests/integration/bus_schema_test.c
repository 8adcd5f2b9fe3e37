/*
 * The schema of the bus: who may do what, and that the drain of protocols F.3 keeps its promises on
 * these tables, with two sequencers at once (F03, F59, F61).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/migrate.h"
#include "services/bus/sql.h"
#include "tests/support/admin_db.h"
#include "tests/support/servers.h"

#define TENANT_A "01900000-0000-7000-8000-00000000000a"
#define TENANT_B "01900000-0000-7000-8000-00000000000b"
#define WRITERS 4
#define EVENTS_EACH 150

static struct servers *servers;

static const struct db_stmt hand_in = {
    "hand_in",
    "INSERT INTO bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at,"
    " payload) VALUES (gen_random_uuid(), $1::uuid, 'test.Happened', $2::text, $3::bigint,"
    " '2026-01-01', '')",
    3, NULL
};
static const struct db_stmt lock_head = { "lock_head",
                                          "SELECT last_seq FROM bus.head WHERE one FOR UPDATE", 0,
                                          NULL };
static const struct db_stmt drain = {
    "drain",
    "WITH batch AS (SELECT id FROM bus.outbox ORDER BY id LIMIT 20 FOR UPDATE),"
    " moved AS (DELETE FROM bus.outbox o USING batch b WHERE o.id = b.id RETURNING o.*),"
    " num AS (SELECT m.*, row_number() OVER (ORDER BY m.id) AS n FROM moved m),"
    " ins AS (INSERT INTO bus.log SELECT h.last_seq + n, 0, event_id, tenant_id, type, aggregate,"
    "   aggregate_version, occurred_at, actor_id, request_id, traceparent, payload,"
    "   clock_timestamp() FROM num, bus.head h WHERE h.one RETURNING seq)"
    " UPDATE bus.head SET last_seq = last_seq + (SELECT count(*) FROM ins)"
    " WHERE (SELECT count(*) FROM ins) > 0 RETURNING last_seq",
    0, NULL
};

static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_us() + ms * MSEC_US;
}

static struct db *connect_as(const char *role)
{
    char *conninfo = servers_conninfo_of(servers, role);
    struct db *db = db_new(conninfo, "bus_schema_test");

    free(conninfo);
    assert_non_null(db);
    return db;
}

static void tenant(struct id *out, const char *text)
{
    assert_true(id_parse(text, out));
}

static enum err refused(struct db *db, const char *sql)
{
    struct id a;

    tenant(&a, TENANT_A);
    must(db_begin(db, &a, in_ms(2000)));
    must(db_queue(db, &(struct db_stmt){ "refused", sql, 0, NULL }, NULL));
    enum err e = db_commit(db);
    return e && strcmp(db_last_error(db)->sqlstate, "42501") == 0 ? ERR_OK : ERR_INTERNAL;
}

static void a_daemon_hands_in_for_its_tenant_only_F61(void **state)
{
    (void)state;
    struct db *daemon = connect_as("daybook_shop");
    struct id a;

    tenant(&a, TENANT_A);
    must(db_begin(daemon, &a, in_ms(2000)));
    must(db_queue(daemon, &hand_in, (const char *[]){ TENANT_A, "shops/1", "1" }));
    must(db_commit(daemon));
    must(db_begin(daemon, &a, in_ms(2000)));
    must(db_queue(daemon, &hand_in, (const char *[]){ TENANT_B, "shops/1", "1" }));
    assert_int_equal(db_commit(daemon), ERR_INTERNAL);
    assert_string_equal(db_last_error(daemon)->sqlstate, "42501");
    must(db_begin(daemon, NULL, in_ms(2000)));
    must(db_queue(daemon, &hand_in, (const char *[]){ TENANT_A, "shops/1", "1" }));
    assert_int_equal(db_commit(daemon), ERR_INTERNAL);
    db_free(daemon);
}

static void a_daemon_reads_the_log_and_changes_nothing(void **state)
{
    (void)state;
    struct db *daemon = connect_as("daybook_shop");
    static const char *const forbidden[] = {
        "SELECT * FROM bus.outbox",      "DELETE FROM bus.outbox",
        "DELETE FROM bus.log",           "UPDATE bus.head SET term = 1",
        "SELECT * FROM bus.tenant_head", "UPDATE bus.log SET type = ''",
    };

    assert_int_equal(
        number_in(daemon, "SELECT count(*) AS n FROM bus.head WHERE log_id IS NOT NULL"), 1);
    (void)number_in(daemon, "SELECT count(*) AS n FROM bus.log");
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        if (refused(daemon, forbidden[i]) != ERR_OK)
            fail_msg("allowed: %s", forbidden[i]);
    db_free(daemon);
}

static void the_bus_sees_all_and_does_not_rewrite_the_log(void **state)
{
    (void)state;
    struct db *bus = connect_as("daybook_bus");

    assert_true(number_in(bus, "SELECT count(*) AS n FROM bus.outbox") > 0);
    assert_int_equal(refused(bus, "UPDATE bus.log SET type = ''"), ERR_OK);
    assert_int_equal(refused(bus, "DELETE FROM bus.head"), ERR_OK);
    /* With which the relay learns that history went back (F15). */
    assert_true(number_in(bus, "SELECT timeline_id AS n FROM pg_control_checkpoint()") > 0);
    db_free(bus);
}

static void ids_of_the_outbox_are_not_cached(void **state)
{
    (void)state;
    struct db *bus = connect_as("daybook_bus");

    assert_int_equal(number_in(bus, "SELECT cache_size AS n FROM pg_sequences"
                                    " WHERE schemaname = 'bus' AND sequencename = 'outbox_id_seq'"),
                     1);
    db_free(bus);
}

/* --- the drain --- */

static atomic_int writers_left;

/* All writers change one aggregate: its row lock orders them, and the log must keep that order. */
static void *write_events(void *arg)
{
    struct db *db = connect_as("daybook_shop");
    struct db_stmt bump = { "bump",
                            "UPDATE shop.counter SET version = version + 1"
                            " WHERE tenant_id = $1::uuid RETURNING version",
                            1, NULL };
    const char *tenant_text = arg;
    struct id id;

    tenant(&id, tenant_text);
    for (int i = 0; i < EVENTS_EACH; i++) {
        CLEANUP(db_result_clear) PGresult *res = NULL;
        must(db_begin(db, &id, in_ms(20000)));
        must(db_exec(db, &bump, &tenant_text, &res));
        must(db_queue(db, &hand_in,
                      (const char *[]){ tenant_text, tenant_text, PQgetvalue(res, 0, 0) }));
        if (i % 7 == 6)
            db_rollback(db);
        else
            must(db_commit(db));
    }
    db_free(db);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

static void *sequence_events(void *arg)
{
    struct db *db = connect_as("daybook_bus");
    bool empty = false;

    (void)arg;
    /* Once more after the last writer: what it committed is seen. */
    while (!empty) {
        CLEANUP(db_result_clear) PGresult *head = NULL, *res = NULL;
        bool last = atomic_load(&writers_left) == 0;
        must(db_begin(db, NULL, in_ms(20000)));
        must(db_exec(db, &lock_head, NULL, &head));
        must(db_exec(db, &drain, NULL, &res));
        must(db_commit(db));
        empty = last && PQntuples(res) == 0;
    }
    db_free(db);
    return NULL;
}

static void two_sequencers_lose_and_reorder_nothing_F03_F59(void **state)
{
    (void)state;
    pthread_t writers[WRITERS], sequencers[2];
    struct db *bus = connect_as("daybook_bus");
    int64_t before = number_in(bus, "SELECT last_seq AS n FROM bus.head");
    int64_t waiting = number_in(bus, "SELECT count(*) AS n FROM bus.outbox");

    atomic_store(&writers_left, WRITERS);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_events,
                                        (void *)(uintptr_t)(i % 2 ? TENANT_A : TENANT_B)),
                         0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&sequencers[i], NULL, sequence_events, NULL), 0);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    for (size_t i = 0; i < 2; i++)
        pthread_join(sequencers[i], NULL);

    int64_t want = before + waiting + WRITERS * (EVENTS_EACH - EVENTS_EACH / 7);
    assert_int_equal(number_in(bus, "SELECT last_seq AS n FROM bus.head"), want);
    assert_int_equal(number_in(bus, "SELECT count(*) AS n FROM bus.log"), want);
    assert_int_equal(number_in(bus, "SELECT max(seq) AS n FROM bus.log"), want);
    assert_int_equal(number_in(bus, "SELECT count(*) AS n FROM bus.outbox"), 0);
    assert_int_equal(number_in(bus,
                               "SELECT count(*) AS n FROM (SELECT aggregate_version <="
                               " lag(aggregate_version) OVER (PARTITION BY aggregate ORDER BY seq)"
                               " AS wrong FROM bus.log) x WHERE wrong"),
                     0);
    db_free(bus);
}

static int start(void **state)
{
    static const struct migration shop[] = {
        { "0001_shop",
          "CREATE TABLE ${schema}.counter (tenant_id uuid PRIMARY KEY, version bigint NOT NULL);\n"
          "INSERT INTO ${schema}.counter VALUES ('" TENANT_A "', 1), ('" TENANT_B "', 1);\n"
          "GRANT SELECT, UPDATE ON ${schema}.counter TO ${role};\n" },
    };
    int applied = 0;

    (void)state;
    servers = servers_start_with(&(struct servers_options){ .durable = false });
    struct db *db = connect_as("postgres");
    enum err e = migrate_run(db, "shop", shop, 1, &applied); /* before the bus: any order will do */
    if (e == ERR_OK)
        e = migrate_run(db, "bus", bus_migrations, bus_migrations_len, &applied);
    db_free(db);
    return e == ERR_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    servers_stop(servers);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_hands_in_for_its_tenant_only_F61),
        cmocka_unit_test(a_daemon_reads_the_log_and_changes_nothing),
        cmocka_unit_test(the_bus_sees_all_and_does_not_rewrite_the_log),
        cmocka_unit_test(ids_of_the_outbox_are_not_cached),
        cmocka_unit_test(two_sequencers_lose_and_reorder_nothing_F03_F59),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
