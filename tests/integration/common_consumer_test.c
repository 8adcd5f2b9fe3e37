/*
 * Consumers against a real PostgreSQL and a bus that misbehaves to order: every event takes effect
 * exactly once and in order (F15, F23, F34, F36, F38, F58 of operations 9).
 */
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

static struct id tenant(int i)
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

static void script_of(struct db *db, const char *sql)
{
    must(db_script(db, sql, clock_monotonic_us() + LIMIT_US));
}

static void wait_until(const char *fmt, int64_t n)
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

static void hook(void *daemon_data, void *arg)
{
    assert_ptr_equal(daemon_data, &plan);
    assert_ptr_equal(arg, &plan.hooks);
    atomic_fetch_add(&plan.hooks, 1);
}

static enum err put_effect(struct reaction *r, const PbEvent *event, const char *reason)
{
    char seq[24];
    const char *params[] = { db_text_id(r->arena, r->tenant), seq, event->aggregate, reason };

    snprintf(seq, sizeof seq, "%" PRId64, event->seq);
    return db_queue(r->db, &insert_effect, params);
}

static enum err on_cancelled(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
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

static enum err on_checked_in(struct reaction *r, const PbEvent *event,
                              const ProtobufCMessage *data)
{
    (void)data;
    assert_false(r->replaying);
    return put_effect(r, event, "live only");
}

static enum err begin_batch(struct reaction *r)
{
    r->batch = &plan;
    atomic_fetch_add(&plan.begins, 1);
    return ERR_OK;
}

static enum err end_batch(struct reaction *r)
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

static bool is_stopping(void *arg)
{
    return atomic_load(&((struct runner *)arg)->stop);
}

static void on_wake(void *arg, const char *channel, const void *data, size_t len)
{
    (void)arg;
    (void)data;
    if (strcmp(channel, "relay") == 0)
        atomic_fetch_add(&plan.relay, 1);
    else if (strcmp(channel, "cons.timers") == 0 && len == 1)
        atomic_fetch_add(&plan.wakes, 1);
}

static void *run(void *arg)
{
    consumer_run(((struct runner *)arg)->consumer);
    return NULL;
}

static void open_runner(struct runner *r, void *ctx, const char *conninfo,
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

static void launch(struct runner *r)
{
    char *conninfo = servers_conninfo_of(servers, "daybook_cons");

    open_runner(r, zmq, conninfo, fake_bus_address(bus));
    free(conninfo);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

/* Returns when it hears what is published, so that tests of publishing mean what they say. */
static void start(struct runner *r)
{
    int before = fake_bus_subscriptions(bus);

    launch(r);
    WAIT_UNTIL(fake_bus_subscriptions(bus) >= before + 17, LIMIT_US);
}

static void wait_ready(struct runner *r)
{
    const struct waiting w = waiting_for(LIMIT_US);
    const char *reason;

    while (!consumer_ready(r->consumer, &reason))
        if (!waiting_goes_on(&w))
            fail_msg("not ready: %s", reason);
}

static void wait_halted(struct runner *r, const char *want)
{
    const struct waiting w = waiting_for(LIMIT_US);
    const char *reason;

    while (consumer_ready(r->consumer, &reason) || strcmp(reason, want) != 0)
        if (!waiting_goes_on(&w))
            fail_msg("not halted: %s", reason);
}

static void stop(struct runner *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    consumer_free(r->consumer);
    free(r->conninfo);
}

/* --- events --- */

static int64_t add(int company, const char *aggregate, const char *reason)
{
    Cancelled m = DAYBOOK__VISITS__V1__VISIT_CANCELLED__INIT;
    char text[64];

    snprintf(text, sizeof text, "%s", reason);
    m.reason = text;
    return fake_bus_add(bus, tenant(company), aggregate, 1, &m.base);
}

static int64_t add_foreign(void)
{
    Approved m = DAYBOOK__VISITS__V1__VISIT_APPROVED__INIT;
    return fake_bus_add(bus, tenant(0), "visits/7", 1, &m.base);
}

static int64_t add_live_only(void)
{
    Daybook__Visits__V1__VisitCheckedIn m = DAYBOOK__VISITS__V1__VISIT_CHECKED_IN__INIT;
    return fake_bus_add(bus, tenant(0), "visits/8", 1, &m.base);
}

static void expect_each_once_in_order(int64_t n)
{
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), n);
    assert_int_equal(number("SELECT count(DISTINCT seq) AS n FROM cons.effect"), n);
    assert_int_equal(number("SELECT count(*) AS n FROM (SELECT seq, lag(seq) OVER"
                            " (PARTITION BY tenant_id ORDER BY n) AS before FROM cons.effect) x"
                            " WHERE before > seq"),
                     0);
}

/* --- tests --- */

static void what_is_published_takes_effect_once(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    int reads = fake_bus_reads(bus);
    for (int i = 0; i < 2000; i++)
        fake_bus_publish(bus, i % 5 == 4 ? add_foreign() : add(i % TENANTS, "visits/1", "x"));
    wait_until(EFFECTS, 1600);
    stop(&r);
    expect_each_once_in_order(1600);
    assert_int_equal(number("SELECT seq AS n FROM cons.consumer_cursor"), 2000);
    assert_int_equal(fake_bus_reads(bus), reads); /* nothing was missed */
    assert_int_equal(atomic_load(&plan.begins), atomic_load(&plan.ends));
}

static void an_event_takes_effect_within_milliseconds(void **state)
{
    (void)state;
    struct runner r;
    int64_t total_us = 0;
    enum { ROUNDS = 50 };

    start(&r);
    wait_ready(&r);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t seq = add(0, "visits/1", "x");
        int64_t begun_us = clock_monotonic_us();
        fake_bus_publish(bus, seq);
        WAIT_UNTIL(consumer_seq(r.consumer) >= seq, LIMIT_US);
        total_us += clock_monotonic_us() - begun_us;
    }
    stop(&r);
    print_message("published to committed: %.2f ms on average\n", (double)total_us / ROUNDS / 1000);
    assert_true(total_us / ROUNDS < slack(100 * MSEC_US));
}

static void doubled_reordered_and_lost_messages_do_no_harm_F34(void **state)
{
    (void)state;
    struct runner r;
    uint32_t seed = 34;
    int64_t held = 0;
    enum { EVENTS = 1500 };

    start(&r);
    for (int i = 0; i < EVENTS; i++) {
        int64_t seq = add(i % TENANTS, "visits/1", "x");
        seed = seed * 1664525 + 1013904223;
        unsigned dice = seed >> 24 & 63;
        if (dice < 6)
            continue; /* lost */
        if (dice < 12 && held == 0) {
            held = seq; /* later */
            continue;
        }
        fake_bus_publish(bus, seq);
        if (dice < 18)
            fake_bus_publish(bus, seq); /* doubled */
        if (dice < 22)
            fake_bus_publish_junk(bus, seq + 1);
        if (dice > 50 && held) {
            fake_bus_publish(bus, held);
            held = 0;
        }
    }
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, EVENTS);
    stop(&r);
    expect_each_once_in_order(EVENTS);
}

static void what_was_missed_is_read_F38(void **state)
{
    (void)state;
    struct runner r;
    int64_t wanted = 0;

    for (int i = 0; i < 6000; i++) {
        bool mine = i % 3 == 0;
        mine ? add(i % TENANTS, "visits/1", "x") : add_foreign();
        wanted += mine;
    }
    start(&r);
    wait_until(EFFECTS, wanted);
    wait_until(CURSOR, 6000);
    stop(&r);
    expect_each_once_in_order(wanted);
    assert_true(fake_bus_reads(bus) < 20);
    /* The event at the cursor is known, so that another incarnation can be judged. */
    assert_int_equal(number("SELECT (event_id IS NOT NULL)::int AS n FROM cons.consumer_cursor"),
                     1);
}

static void the_head_alone_tells_that_something_was_missed(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    add(0, "visits/1", "x");
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 1);
    stop(&r);
}

static void replicas_share_the_work(void **state) /* architecture 6 */
{
    (void)state;
    struct runner r[2];
    enum { EVENTS = 1200 };

    start(&r[0]);
    start(&r[1]);
    for (int i = 0; i < EVENTS; i++)
        fake_bus_publish(bus, add(i % TENANTS, "visits/1", i % 100 ? "x" : "emit"));
    wait_until(EFFECTS, EVENTS);
    stop(&r[0]);
    stop(&r[1]);
    expect_each_once_in_order(EVENTS);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), EVENTS / 100);
}

static void lost_connections_neither_lose_nor_double_F11_F23(void **state)
{
    (void)state;
    struct runner r;
    enum { ROUNDS = 15, EACH = 40 };

    start(&r);
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < EACH; k++)
            fake_bus_publish(bus, add(k % TENANTS, "visits/1", "x"));
        script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE application_name LIKE 'cons_test%'");
    }
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, ROUNDS * EACH);
    stop(&r);
    expect_each_once_in_order(ROUNDS * EACH);
}

static void a_lost_race_is_run_again_F19(void **state)
{
    (void)state;
    struct runner r;
    atomic_store(&plan.aborts, 2);
    start(&r);
    fake_bus_publish(bus, add(0, "visits/1", "abort"));
    fake_bus_publish(bus, add(0, "visits/2", "x"));
    wait_until(EFFECTS, 2);
    stop(&r);
    expect_each_once_in_order(2);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event"), 0);
}

/* Published events do not come, heads neither: the log is asked all the same, and it is said. */
static void a_bus_that_is_not_heard_is_asked_F32(void **state)
{
    (void)state;
    struct runner r;
    const char *reason = "";

    start(&r);
    wait_ready(&r);
    add(0, "visits/1", "x"); /* and is not published */
    wait_until(EFFECTS, 1);
    WAIT_UNTIL(!consumer_ready(r.consumer, &reason) && strcmp(reason, "events") == 0, LIMIT_US);
    fake_bus_publish_head(bus); /* it is heard again */
    wait_ready(&r);
    stop(&r);
}

static void effects_go_out_with_the_commit(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    fake_bus_publish(bus, add(1, "visits/1", "emit"));
    wait_until(EFFECTS, 1);
    WAIT_UNTIL(atomic_load(&plan.relay) >= 1 && atomic_load(&plan.wakes) >= 1, LIMIT_US);
    stop(&r);
    assert_int_equal(atomic_load(&plan.hooks), 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'visits/9'"
                            " AND tenant_id = '01000000-0000-7000-8000-0000000000a1'"),
                     1);
}

#define PARKED(state) "(SELECT count(*) FROM cons.parked_event WHERE state = '" state "')"

static void a_poisonous_event_is_put_aside_with_what_builds_on_it_F36(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/1", "x");
    int64_t poison = add(0, "visits/2", "poison");
    add(0, "visits/2", "after");
    add(0, "visits/3", "sql poison");
    add(1, "visits/2", "another company's");
    add(0, "visits/1", "x");
    for (int64_t seq = 1; seq <= 6; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 6);
    fake_bus_publish(bus, add(0, "visits/2", "later"));
    wait_until(CURSOR, 7);
    /* What is tried again later holds nobody else up. */
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 3);
    assert_int_equal(
        number("SELECT " PARKED("replay") " AS n") + number("SELECT " PARKED("parked") " AS n"), 4);
    wait_until(PARKED("parked"), 4);
    assert_int_equal(number("SELECT attempts AS n FROM cons.parked_event WHERE seq = 2"), 5);
    assert_int_equal(number("SELECT (reason LIKE '%23514 in insert_effect allowed%')::int AS n"
                            " FROM cons.parked_event WHERE seq = 4"),
                     1);
    assert_int_equal(poison, 2);

    /* Put back without a cure: parked again, and what waits behind with it. */
    script("UPDATE cons.parked_event SET state = 'replay' WHERE aggregate = 'visits/2'");
    wait_for("SELECT count(*) AS n FROM cons.parked_event WHERE seq = 2 AND attempts = 6");
    wait_until(PARKED("parked"), 4);

    /* Cured: they run in their order, and later ones are no longer held. */
    atomic_store(&plan.poison_cured, true);
    script("UPDATE cons.parked_event SET state = 'replay' WHERE aggregate = 'visits/2'");
    wait_until(PARKED("done"), 3);
    fake_bus_publish(bus, add(0, "visits/2", "free again"));
    wait_until(EFFECTS, 7);
    stop(&r);
    assert_int_equal(number("SELECT (array_agg(seq ORDER BY n) = '{2,3,7,8}')::int AS n"
                            " FROM cons.effect WHERE aggregate = 'visits/2'"
                            " AND tenant_id = '01000000-0000-7000-8000-0000000000a0'"),
                     1);
}

/* A statement that is cancelled or a lock that is never given, over and over, while the database
 * answers: it holds up nobody else and is given up in the end, but not by the number of tries. */
static void an_event_that_is_never_let_in_holds_nobody_up_F36(void **state)
{
    (void)state;
    struct runner r;

    plan.patience_us = 3 * SECOND_US;
    start(&r);
    add(0, "visits/1", "busy");
    add(1, "visits/2", "poison");
    fake_bus_publish(bus, 1);
    fake_bus_publish(bus, 2);
    wait_until(CURSOR, 2);
    assert_int_equal(number("SELECT " PARKED("replay") " AS n"), 2);
    atomic_store(&plan.poison_cured, true);
    wait_until(EFFECTS, 1);
    wait_until(PARKED("parked"), 1);
    stop(&r);
    assert_int_equal(number("SELECT attempts AS n FROM cons.parked_event WHERE seq = 1"), 1);
    assert_int_equal(number("SELECT (reason LIKE '%55P03%')::int AS n"
                            " FROM cons.parked_event WHERE seq = 1"),
                     1);
}

/* Each of them may cost the consumer's thread a whole lock_timeout. */
static void of_events_that_are_not_let_in_a_tick_tries_one(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/1", "busy");
    add(0, "visits/2", "busy");
    add(0, "visits/3", "busy");
    for (int seq = 1; seq <= 3; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 3);
    size_t from = atomic_load(&plan.nbusy);
    WAIT_UNTIL(atomic_load(&plan.nbusy) >= from + 6, LIMIT_US);
    stop(&r);
    for (size_t i = from + 1; i < from + 6; i++)
        assert_true(plan.busy_us[i] - plan.busy_us[i - 1] > 500 * MSEC_US);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event"
                            " WHERE state = 'replay' AND attempts = 1"),
                     3);
}

/* Tried for the last time in vain, while another replica's try went well. */
static void what_another_replica_made_good_is_not_given_up_F36(void **state)
{
    (void)state;
    struct runner r;

    plan.rival = db_new(servers_conninfo(servers), "cons_rival");
    assert_non_null(plan.rival);
    start(&r);
    add(0, "visits/1", "rival");
    add(0, "visits/1", "after");
    fake_bus_publish(bus, 1);
    fake_bus_publish(bus, 2);
    wait_until(CURSOR, 2);
    wait_until(PARKED("done") " + " PARKED("parked"), 2);
    stop(&r);
    db_free(plan.rival);
    assert_int_equal(number("SELECT " PARKED("done") " AS n"), 2);
    expect_each_once_in_order(1);
}

/* The program itself as a daemon that dies of an event. */
static int run_child(char **argv)
{
    struct runner r;
    struct bus_address address = { .endpoint = argv[3], .events = argv[4], .server_key = "" };
    void *ctx = zmq_ctx_new();

    schema_init();
    open_runner(&r, ctx, argv[2], &address);
    consumer_run(r.consumer);
    return 0;
}

static int spawn_and_wait(const char *conninfo)
{
    const struct bus_address *a = fake_bus_address(bus);
    int status = 0;

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "common_consumer_test", "child", conninfo, a->endpoint, a->events,
              (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void an_event_that_ends_the_process_is_put_aside_F36(void **state)
{
    (void)state;
    char *conninfo = servers_conninfo_of(servers, "daybook_cons");
    struct runner r;

    add(0, "visits/1", "x");
    add(0, "visits/2", "die");
    add(0, "visits/1", "x");
    /* A few deaths make it careful, five more with the event named put that aside: then another
     * program may go on. Each child dies of it, or the next one would not end. */
    while (number("SELECT (coalesce(max(tries), 0) >= 5)::int AS n FROM cons.consumer_cursor") == 0)
        assert_int_equal(spawn_and_wait(conninfo), CHILD_DIED);
    free(conninfo);
    launch(&r);
    wait_until(CURSOR, 3);
    stop(&r);
    expect_each_once_in_order(2);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event WHERE seq = 2"
                            " AND state = 'parked' AND reason LIKE 'the process ended%'"),
                     1);
}

static void rebuild(int64_t head)
{
    char text[24];
    const char *params[] = { "cons" };

    snprintf(text, sizeof text, "%" PRId64, head);
    must(db_begin(admin, NULL, clock_monotonic_us() + LIMIT_US));
    must(db_queue(admin,
                  &(struct db_stmt){ "head",
                                     "UPDATE bus.head SET last_seq = $1::bigint,"
                                     " log_id = (SELECT log_id FROM cons.consumer_cursor)",
                                     1, NULL },
                  (const char *const[]){ text }));
    must(db_queue(admin, sql_for_schema(&sql_consumer_lock, "cons"), params));
    must(db_queue(admin, &(struct db_stmt){ "empty", "TRUNCATE cons.effect", 0, NULL }, NULL));
    must(db_queue(admin, sql_for_schema(&sql_consumer_rebuild, "cons"), params));
    must(db_commit(admin));
}

static void a_rebuild_repeats_only_what_makes_the_read_model(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    for (int i = 0; i < 30; i++)
        fake_bus_publish(bus, i % 3 == 2 ? add_live_only() : add(0, "visits/1", "emit"));
    wait_until(CURSOR, 30);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 30);
    int relay = atomic_load(&plan.relay);
    int64_t emitted = number("SELECT count(*) AS n FROM bus.outbox");

    rebuild(30);
    wait_until(CURSOR, 30);
    wait_until("(SELECT replay_until FROM cons.consumer_cursor)", 0);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 20);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), emitted);
    assert_int_equal(atomic_load(&plan.relay), relay);

    fake_bus_publish(bus, add_live_only()); /* and then goes on as before */
    wait_until(EFFECTS, 21);
    stop(&r);
    expect_each_once_in_order(21);

    add_live_only(); /* not heard before the rebuild: its live effect is still due */
    rebuild(32);
    launch(&r);
    wait_until(CURSOR, 32);
    stop(&r);
    expect_each_once_in_order(21);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect WHERE seq = 32"), 1);
}

/* The live model lacks what was put aside, so the rebuilt one does; put back, it runs once. */
static void a_rebuild_leaves_aside_what_was_put_aside_F36(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/2", "before");
    add(0, "visits/2", "poison");
    add(0, "visits/2", "after");
    add(0, "visits/1", "x");
    for (int64_t seq = 1; seq <= 4; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 4);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 2);
    stop(&r);

    atomic_store(&plan.poison_cured, true);
    rebuild(4);
    script(
        "UPDATE cons.parked_event SET state = 'replay'"); /* while the rebuild is still to come */
    launch(&r);
    wait_until(PARKED("done"), 2);
    wait_until(EFFECTS, 4);
    stop(&r);
    assert_int_equal(number("SELECT (array_agg(seq ORDER BY n) = '{1,4,2,3}')::int AS n"
                            " FROM cons.effect"),
                     1);
}

static void an_idle_position_is_written(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add_foreign());
    wait_until(CURSOR, 5);
    stop(&r);
    assert_int_equal(atomic_load(&plan.begins), 0);
}

static void another_incarnation_with_our_event_is_adopted_F15_F58(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(CURSOR, 5);
    add(0, "visits/1", "unpublished");
    fake_bus_new_log(bus, 6);
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 6);
    fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(EFFECTS, 7);
    stop(&r);
    expect_each_once_in_order(7);
}

/* Nothing of ours far and wide: the position moves by pieces, which tell no event. */
static void a_position_far_behind_can_be_told_from_another_historys_F15_F58(void **state)
{
    (void)state;
    struct runner r;

    for (int i = 0; i < 3000; i++)
        add_foreign();
    fake_bus_end_reads(bus, 2999);
    start(&r);
    wait_until(CURSOR, 2999);
    fake_bus_new_log(bus, 3000); /* a standby took over */
    fake_bus_end_reads(bus, 0);
    add(0, "visits/1", "x");
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 1);
    stop(&r);
}

static void a_rewound_log_stops_the_consumer_F15_F58(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(CURSOR, 5);

    fake_bus_new_log(bus, 3); /* behind us */
    fake_bus_publish_head(bus);
    wait_halted(&r, "log_rewound");
    add(0, "visits/1", "other history"); /* and its numbers are given out again */
    add(0, "visits/1", "other history");
    add(0, "visits/1", "other history");
    fake_bus_publish(bus, 6);
    fake_bus_publish_head(bus);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 5);

    /* An operator rebuilds: it goes on with the log that is. */
    script("BEGIN; TRUNCATE cons.effect; UPDATE cons.consumer_cursor SET seq = 0, event_id = NULL,"
           " replay_until = 6; COMMIT");
    wait_until(EFFECTS, 6);
    wait_ready(&r);
    stop(&r);
    expect_each_once_in_order(6);
}

static void a_log_without_our_next_event_stops_the_consumer_F38(void **state)
{
    (void)state;
    struct runner r;
    for (int i = 0; i < 10; i++)
        add(0, "visits/1", "x");
    fake_bus_forget(bus, 4);
    start(&r);
    wait_halted(&r, "log_truncated");
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 0);
    script("UPDATE cons.consumer_cursor SET seq = 4"); /* an operator accepts the loss */
    script("UPDATE cons.consumer_cursor SET replay_until = 5");
    wait_until(EFFECTS, 6);
    stop(&r);
}

static void waits_for_the_bus_F10(void **state)
{
    (void)state;
    struct runner r;
    add(0, "visits/1", "x");
    fake_bus_refuse(bus, true);
    start(&r);
    wait_halted(&r, "bus");
    fake_bus_refuse(bus, false);
    wait_until(EFFECTS, 1);
    wait_ready(&r);
    stop(&r);
}

static int set_up(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof plan);
    script("TRUNCATE cons.effect, cons.consumer_cursor, cons.parked_event, bus.outbox"
           " RESTART IDENTITY");
    bus = fake_bus_start(zmq);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_bus_stop(bus);
    return 0;
}

static int start_servers(void **state)
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

static int stop_servers(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    zmq_ctx_term(zmq);
    schema_fini();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "child") == 0)
        return run_child(argv);
    const struct CMUnitTest tests[] = {
        TEST(what_is_published_takes_effect_once),
        TEST(an_event_takes_effect_within_milliseconds),
        TEST(doubled_reordered_and_lost_messages_do_no_harm_F34),
        TEST(what_was_missed_is_read_F38),
        TEST(the_head_alone_tells_that_something_was_missed),
        TEST(replicas_share_the_work),
        TEST(lost_connections_neither_lose_nor_double_F11_F23),
        TEST(a_lost_race_is_run_again_F19),
        TEST(a_bus_that_is_not_heard_is_asked_F32),
        TEST(effects_go_out_with_the_commit),
        TEST(a_poisonous_event_is_put_aside_with_what_builds_on_it_F36),
        TEST(an_event_that_is_never_let_in_holds_nobody_up_F36),
        TEST(of_events_that_are_not_let_in_a_tick_tries_one),
        TEST(what_another_replica_made_good_is_not_given_up_F36),
        TEST(an_event_that_ends_the_process_is_put_aside_F36),
        TEST(a_rebuild_repeats_only_what_makes_the_read_model),
        TEST(a_rebuild_leaves_aside_what_was_put_aside_F36),
        TEST(an_idle_position_is_written),
        TEST(another_incarnation_with_our_event_is_adopted_F15_F58),
        TEST(a_position_far_behind_can_be_told_from_another_historys_F15_F58),
        TEST(a_rewound_log_stops_the_consumer_F15_F58),
        TEST(a_log_without_our_next_event_stops_the_consumer_F38),
        TEST(waits_for_the_bus_F10),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
