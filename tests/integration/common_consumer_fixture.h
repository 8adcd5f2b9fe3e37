/*
 * common_consumer_fixture.h - what the tests of consumers share: a consumer on a real PostgreSQL,
 * and a bus that misbehaves to order.
 */
#ifndef DAYBOOK_TESTS_COMMON_CONSUMER_FIXTURE_H
#define DAYBOOK_TESTS_COMMON_CONSUMER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/consumer.h"
#include "common/migrate.h"
#include "common/schema.h"
#include "common/sql.h"
#include "common/sql_schema.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "tests/support/admin_db.h"
#include "tests/support/bus_schema.h"
#include "tests/support/fake_bus.h"
#include "tests/support/servers.h"
#include "tests/support/waiting.h"

#define LIMIT_US (30 * SECOND_US)
#define TENANTS 3
#define CHILD_DIED 86

typedef Daybook__Visits__V1__VisitCancelled Cancelled;
typedef Daybook__Visits__V1__VisitApproved Approved;
typedef Daybook__Visits__V1__VisitRejected Rejected;

static struct servers *servers;
static void *zmq;
static struct fake_bus *bus;

UNUSED static struct id tenant(int i)
{
    return (struct id){ .b = { 1, [6] = 0x70, [8] = 0x80, [15] = (uint8_t)(0xa0 + i) } };
}

/* n: order of arrival; run: which transaction wrote it. */
static const char tables_sql[] =
    "CREATE TABLE cons.effect (n bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid, seq bigint,"
    "    aggregate text, reason text, CONSTRAINT allowed CHECK (reason <> 'sql poison'));"
    "CREATE TABLE cons.fixed (reason text PRIMARY KEY);"
    "ALTER TABLE cons.effect ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY wall ON cons.effect"
    "    USING (tenant_id = (SELECT nullif(current_setting('daybook.tenant', true), '')::uuid));"
    "GRANT SELECT, INSERT ON cons.effect, cons.fixed TO daybook_cons;"
    "CREATE FUNCTION cons.refuse_busy() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN RAISE 'somebody has it' USING ERRCODE = '55P03'; END$$;"
    "CREATE TRIGGER busy BEFORE INSERT ON cons.effect FOR EACH ROW"
    "    WHEN (NEW.reason = 'busy') EXECUTE FUNCTION cons.refuse_busy();"
    "ALTER ROLE daybook_cons SET lock_timeout = '10s'";

static const struct db_stmt insert_effect = {
    "insert_effect",
    "INSERT INTO cons.effect (tenant_id, seq, aggregate, reason)"
    " VALUES ($1::uuid, $2::bigint, $3, $4)",
    4, NULL
};

UNUSED static void script_of(struct db *db, const char *sql)
{
    must(db_script(db, sql, clock_monotonic_us() + LIMIT_US));
}

UNUSED static void wait_until(const char *fmt, int64_t n)
{
    char sql[512];
    int len = snprintf(sql, sizeof sql, "SELECT (");
    len += snprintf(sql + len, sizeof sql - (size_t)len, "%s", fmt);
    snprintf(sql + len, sizeof sql - (size_t)len, " = %" PRId64 ")::int AS n", n);
    wait_for(sql);
}

#define EFFECTS "(SELECT count(*) FROM cons.effect)"
#define CURSOR "(SELECT coalesce(max(seq), -1) FROM cons.consumer_cursor)"

/* --- the consumer under test --- */

static struct {
    atomic_int aborts; /* as often "abort" loses a race */
    atomic_int relay, wakes, hooks;
    atomic_int replayed;
    atomic_int begins, ends;
    atomic_bool poison_cured;
    int64_t busy_us[64]; /* when "busy" was tried; the consumer's thread */
    atomic_size_t nbusy;
    int64_t patience_us;
    struct db *rival; /* the consumer's thread, as another replica */
} plan;

UNUSED static void hook(void *daemon_data, void *arg)
{
    assert_ptr_equal(daemon_data, &plan);
    assert_ptr_equal(arg, &plan.hooks);
    atomic_fetch_add(&plan.hooks, 1);
}

UNUSED static enum err put_effect(struct reaction *r, const PbEvent *event, const char *reason)
{
    char seq[24];
    const char *params[] = { db_text_id(r->arena, r->tenant), seq, event->aggregate, reason };

    snprintf(seq, sizeof seq, "%" PRId64, event->seq);
    return db_queue(r->db, &insert_effect, params);
}

UNUSED static enum err on_cancelled(struct reaction *r, const PbEvent *event,
                                    const ProtobufCMessage *data)
{
    const Cancelled *m = (const Cancelled *)data;

    enum err e = put_effect(r, event, m->reason);
    if (e)
        return e;
    if (strcmp(m->reason, "busy") == 0 && atomic_load(&plan.nbusy) < ARRAY_LEN(plan.busy_us))
        plan.busy_us[atomic_fetch_add(&plan.nbusy, 1)] = clock_monotonic_us();
    if (strcmp(m->reason, "abort") == 0 && atomic_fetch_sub(&plan.aborts, 1) > 0)
        return ERR_ABORTED;
    if (strcmp(m->reason, "poison") == 0 && !atomic_load(&plan.poison_cured))
        return ERR_FAILED_PRECONDITION;
    if (strcmp(m->reason, "rival") == 0) {
        script_of(plan.rival, "UPDATE cons.parked_event SET state = 'done' WHERE attempts = 4");
        return ERR_FAILED_PRECONDITION;
    }
    if (strcmp(m->reason, "die") == 0)
        _exit(CHILD_DIED);
    if (strcmp(m->reason, "emit") == 0) {
        Rejected out = DAYBOOK__VISITS__V1__VISIT_REJECTED__INIT;
        e = reaction_emit(r, "visits", "9", event->seq, &out.base);
        reaction_wake(r, "cons.timers", "w", 1);
        reaction_after_commit(r, hook, &plan.hooks);
    }
    return e;
}

UNUSED static enum err on_checked_in(struct reaction *r, const PbEvent *event,
                                     const ProtobufCMessage *data)
{
    (void)data;
    assert_false(r->replaying);
    return put_effect(r, event, "live only");
}

UNUSED static enum err begin_batch(struct reaction *r)
{
    r->batch = &plan;
    atomic_fetch_add(&plan.begins, 1);
    return ERR_OK;
}

UNUSED static enum err end_batch(struct reaction *r)
{
    assert_ptr_equal(r->batch, &plan);
    atomic_fetch_add(&plan.ends, 1);
    return ERR_OK;
}

static const struct reaction_def reactions[] = {
    { "daybook.visits.v1.VisitCancelled", on_cancelled, REACTION_LIVE | REACTION_REPLAY },
    { "daybook.visits.v1.VisitCheckedIn", on_checked_in, REACTION_LIVE },
};

static const struct consumer_def def = {
    .name = "cons",
    .schema = "cons",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .batch_begin = begin_batch,
    .batch_end = end_batch,
};

struct runner {
    struct consumer *consumer;
    char *conninfo;
    struct consumer_env env;
    atomic_bool stop;
    pthread_t thread;
};

UNUSED static bool is_stopping(void *arg)
{
    return atomic_load(&((struct runner *)arg)->stop);
}

UNUSED static void on_wake(void *arg, const char *channel, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    if (strcmp(channel, "relay") == 0)
        atomic_fetch_add(&plan.relay, 1);
    else if (strcmp(channel, "cons.timers") == 0 && len == 1)
        atomic_fetch_add(&plan.wakes, 1);
}

UNUSED static void *run(void *arg)
{
    consumer_run(((struct runner *)arg)->consumer);
    return NULL;
}

UNUSED static void open_runner(struct runner *r, void *ctx, const char *conninfo,
                               const struct bus_address *address)
{
    *r = (struct runner){ .conninfo = strdup(conninfo) };
    r->env = (struct consumer_env){ .conninfo = r->conninfo,
                                    .application_name = "cons_test",
                                    .zmq_context = ctx,
                                    .bus = address,
                                    .daemon_data = &plan,
                                    .stopping = is_stopping,
                                    .wake = on_wake,
                                    .arg = r,
                                    .no_directory = true,
                                    .patience_us = plan.patience_us };
    r->consumer = consumer_new(&def, &r->env);
    assert_non_null(r->consumer);
}

UNUSED static void launch(struct runner *r)
{
    char *conninfo = servers_conninfo_of(servers, "daybook_cons");

    open_runner(r, zmq, conninfo, fake_bus_address(bus));
    free(conninfo);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

/* Returns when it hears what is published, so that tests of publishing mean what they say. */
UNUSED static void start(struct runner *r)
{
    int before = fake_bus_subscriptions(bus);

    launch(r);
    WAIT_UNTIL(fake_bus_subscriptions(bus) >= before + 17, LIMIT_US);
}

UNUSED static void wait_ready(struct runner *r)
{
    const struct waiting w = waiting_for(LIMIT_US);
    const char *reason;

    while (!consumer_ready(r->consumer, &reason))
        if (!waiting_goes_on(&w))
            fail_msg("not ready: %s", reason);
}

UNUSED static void wait_halted(struct runner *r, const char *want)
{
    const struct waiting w = waiting_for(LIMIT_US);
    const char *reason;

    while (consumer_ready(r->consumer, &reason) || strcmp(reason, want) != 0)
        if (!waiting_goes_on(&w))
            fail_msg("not halted: %s", reason);
}

UNUSED static void stop(struct runner *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    consumer_free(r->consumer);
    free(r->conninfo);
}

/* --- events --- */

UNUSED static int64_t add(int company, const char *aggregate, const char *reason)
{
    Cancelled m = DAYBOOK__VISITS__V1__VISIT_CANCELLED__INIT;
    char text[64];

    snprintf(text, sizeof text, "%s", reason);
    m.reason = text;
    return fake_bus_add(bus, tenant(company), aggregate, 1, &m.base);
}

UNUSED static int64_t add_foreign(void)
{
    Approved m = DAYBOOK__VISITS__V1__VISIT_APPROVED__INIT;
    return fake_bus_add(bus, tenant(0), "visits/7", 1, &m.base);
}

UNUSED static int64_t add_live_only(void)
{
    Daybook__Visits__V1__VisitCheckedIn m = DAYBOOK__VISITS__V1__VISIT_CHECKED_IN__INIT;
    return fake_bus_add(bus, tenant(0), "visits/8", 1, &m.base);
}

UNUSED static void expect_each_once_in_order(int64_t n)
{
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), n);
    assert_int_equal(number("SELECT count(DISTINCT seq) AS n FROM cons.effect"), n);
    assert_int_equal(number("SELECT count(*) AS n FROM (SELECT seq, lag(seq) OVER"
                            " (PARTITION BY tenant_id ORDER BY n) AS before FROM cons.effect) x"
                            " WHERE before > seq"),
                     0);
}

UNUSED static int set_up(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof plan);
    script("TRUNCATE cons.effect, cons.consumer_cursor, cons.parked_event, bus.outbox"
           " RESTART IDENTITY");
    bus = fake_bus_start(zmq);
    return 0;
}

UNUSED static int tear_down(void **state)
{
    (void)state;
    fake_bus_stop(bus);
    return 0;
}

UNUSED static int start_servers(void **state)
{
    (void)state;
    int applied;

    schema_init();
    zmq = zmq_ctx_new();
    servers = servers_start_with(&(struct servers_options){ .durable = false });
    admin_open(servers_conninfo(servers));
    must(migrate_run(admin, "cons", NULL, 0, &applied));
    bus_schema_make(admin);
    script(tables_sql);
    return 0;
}

UNUSED static int stop_servers(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    zmq_ctx_term(zmq);
    schema_fini();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
