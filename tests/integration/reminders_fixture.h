/*
 * reminders_fixture.h - what the tests of reminders share: the rig with their tables, engines on
 * threads or in processes of their own, and the events that open and close duties.
 *
 * The domain clock stands still and is turned by the tests; engines see a turn within 10 ms.
 */
#ifndef DAYBOOK_TESTS_REMINDERS_FIXTURE_H
#define DAYBOOK_TESTS_REMINDERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/consumer_internal.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "services/reminders/chores.h"
#include "services/reminders/engine.h"
#include "services/reminders/methods.h"
#include "services/reminders/obligation.h"
#include "services/reminders/reactions.h"
#include "services/reminders/sql.h"
#include "services/reminders/task_list.h"
#include "tests/support/rig.h"
#include "tests/support/waiting.h"

#define WAIT_US (20 * SECOND_US)
#define SERVICE "daybook.reminders.v1.ReminderService"
#define TASKS "daybook.reminders.v1.TaskService"
#define CHANNELS "daybook.reminders.v1.ChannelService"
#define CUSTOMERS "daybook.customers.v1."
#define VISITS "daybook.visits.v1."
#define CUSTOMER "05000000-0000-7000-8000-000000000001"
#define EAST "03000000-0000-7000-8000-000000000002"

static struct rig *rig;
static struct reminders self;
static char *conninfo;

/* --- engines --------------------------------------------------------------------------------- */

struct runner {
    struct engine *engine;
    struct chores *chores;
    atomic_bool stopping;
    pthread_t threads[ENGINE_THREADS + 3];
    struct runner_thread {
        struct runner *runner;
        int index;
    } args[ENGINE_THREADS + 3];
};

static bool runner_is_stopping(void *arg)
{
    return atomic_load(&((struct runner *)arg)->stopping);
}

static void *runner_main(void *arg)
{
    struct runner_thread *t = arg;
    struct engine_host host = { .stopping = runner_is_stopping, .arg = t->runner };

    if (t->index < ENGINE_THREADS)
        engine_run(t->runner->engine, t->index, &host);
    else if (t->index == ENGINE_THREADS)
        engine_run_leases(t->runner->engine, &host);
    else if (t->index == ENGINE_THREADS + 1)
        engine_run_reader(t->runner->engine, &host);
    else
        chores_run(t->runner->chores, &host);
    return NULL;
}

UNUSED static void runner_start_with(struct runner *r, const struct engine_config *config)
{
    r->engine = engine_new(config);
    assert_non_null(r->engine);
    r->chores = chores_new(r->engine, self.lists, conninfo);
    assert_non_null(r->chores);
    atomic_store(&r->stopping, false);
    for (int i = 0; i < ENGINE_THREADS + 3; i++) {
        r->args[i] = (struct runner_thread){ r, i };
        assert_int_equal(pthread_create(&r->threads[i], NULL, runner_main, &r->args[i]), 0);
    }
}

/* Starts an engine under that name and waits until it watches its shards. */
UNUSED static void runner_start(struct runner *r, const char *instance)
{
    const struct engine_config config = { .conninfo = conninfo, .instance = instance };

    runner_start_with(r, &config);
    WAIT_UNTIL(engine_is_settled(r->engine), WAIT_US);
}

UNUSED static void runner_stop(struct runner *r)
{
    atomic_store(&r->stopping, true);
    engine_ring(r->engine);
    chores_ring(r->chores);
    for (int i = 0; i < ENGINE_THREADS + 3; i++)
        pthread_join(r->threads[i], NULL);
    chores_free(r->chores);
    engine_free(r->engine);
    r->engine = NULL;
}

/* Lets the process's reactions and handlers speak to that engine. */
UNUSED static void runner_adopt(struct runner *r)
{
    self.engine = r->engine;
    self.chores = r->chores;
}

/* --- the rig --------------------------------------------------------------------------------- */

/* An engine that no thread runs: for reactions when nobody listens. */
static struct engine *idle_engine;
static struct chores *idle_chores;

UNUSED static void runner_leave(void)
{
    self.engine = idle_engine;
    self.chores = idle_chores;
}

UNUSED static int fixture_start_with(bool redis)
{
    const struct servers_options options = { .redis = redis };

    rig = rig_start_with(&options, "reminders", reminders_migrations, reminders_migrations_len,
                         reminders_methods, reminders_methods_len);
    conninfo = servers_conninfo_of(rig->servers, "daybook_reminders");
    /* The rig has no directory but its snapshot. */
    assert_int_equal(db_script(rig->admin,
                               "CREATE SCHEMA directory_api; CREATE TABLE directory_api.revision "
                               "AS SELECT 1::bigint AS revision; GRANT USAGE ON SCHEMA "
                               "directory_api TO PUBLIC; GRANT SELECT ON directory_api.revision "
                               "TO PUBLIC",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    self.lists = task_lists_new(redis);
    const struct engine_config config = { .conninfo = conninfo, .instance = "idle" };
    idle_engine = engine_new(&config);
    idle_chores = chores_new(idle_engine, self.lists, conninfo);
    assert_true(self.lists && idle_engine && idle_chores);
    self.post_allow = "127.0.0.0/8";
    self.post_plain = true;
    runner_leave();
    rig->daemon_data = &self;
    if (redis) {
        char address[256];
        snprintf(address, sizeof(address), "unix:%s", servers_redis_path(rig->servers));
        rig->cache = cache_new(address, NULL);
        assert_non_null(rig->cache);
    }
    return 0;
}

UNUSED static int fixture_stop(void **state)
{
    (void)state;
    chores_free(idle_chores);
    engine_free(idle_engine);
    cache_free(rig->cache);
    task_lists_free(self.lists);
    free(conninfo);
    rig_stop(rig);
    return 0;
}

/* Empties what the test before left; the clock stands at the given moment. */
UNUSED static void fresh(const char *now)
{
    rig_clear_policies();
    rig_time(rig, now);
    enum err e = db_script(rig->admin,
                           "TRUNCATE reminders.obligation, reminders.timer, reminders.timer_parked,"
                           " reminders.tombstone, reminders.notification, reminders.channel,"
                           " reminders.outgoing, reminders.list_version, reminders.recalculation,"
                           " reminders.customer_ref, reminders.former_owner, reminders.visit_ref,"
                           " bus.outbox; UPDATE directory_api.revision SET revision = 1; "
                           "UPDATE reminders.consumer_cursor SET replay_until = 0",
                           clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Until the query gives that text. */
UNUSED static void wait_for(const char *sql, const char *wanted)
{
    const struct waiting w = waiting_for(WAIT_US);
    const char *got;

    while (strcmp(got = rig_value(rig, sql), wanted) != 0)
        if (!waiting_goes_on(&w))
            fail_msg("%s\n got: %s\nwant: %s", sql, got, wanted);
}

/* The ledger of a rule as "kind recipient state[ late]" in the order of telling. */
UNUSED static const char *ledger(const char *rule)
{
    static char out[4096];
    char sql[512];

    snprintf(
        sql, sizeof(sql),
        "SELECT string_agg(step_kind || ' ' || right(recipient_id::text, 1) || ' ' || state || "
        "CASE WHEN late THEN ' late' ELSE '' END, '; ' ORDER BY due_at, step, recipient_id) "
        "FROM reminders.notification WHERE rule = '%s' AND channel = 'in_app'",
        rule);
    snprintf(out, sizeof(out), "%s", rig_value(rig, sql));
    return out;
}

UNUSED static void wait_for_notices(const char *rule, int n)
{
    char sql[256], wanted[16];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM reminders.notification WHERE rule = '%s'",
             rule);
    snprintf(wanted, sizeof(wanted), "%d", n);
    wait_for(sql, wanted);
}

/* --- events ---------------------------------------------------------------------------------- */

#define EMPLOYEE(n) "02000000-0000-7000-8000-00000000000" #n
#define REP EMPLOYEE(4)

UNUSED static const char *question_id(int n)
{
    static char texts[4][ID_TEXT_MAX];
    static unsigned next;
    char *text = texts[next++ % ARRAY_LEN(texts)];

    snprintf(text, ID_TEXT_MAX, "0700%04x-0000-7000-8000-%012x", (unsigned)n & 0xffff, (unsigned)n);
    return text;
}

UNUSED static const char *question_subject(int n)
{
    static char text[64];
    snprintf(text, sizeof(text), "questions/%s", question_id(n));
    return text;
}

#define QUESTION_JSON                                                                              \
    "{\"question\":{\"id\":\"%s\",\"customerId\":\"" CUSTOMER                                      \
    "\",\"text\":\"Is it frost-proof?\","                                                          \
    "\"assigneeId\":\"" REP "\",\"askedAt\":\"%s\"},\"unitId\":\"" EAST "\"}"

UNUSED static void ask_question(int n, const char *asked_at, const char *known_at)
{
    rig_hear(rig, &reminders_consumer, false, CUSTOMERS "QuestionOpened", known_at, QUESTION_JSON,
             question_id(n), asked_at);
}

UNUSED static void answer_question(int n, const char *answered_at)
{
    rig_hear(rig, &reminders_consumer, false, CUSTOMERS "QuestionPreliminaryAnswered", answered_at,
             "{\"question\":{\"id\":\"%s\",\"customerId\":\"" CUSTOMER "\",\"assigneeId\":\"" REP
             "\",\"preliminaryAnsweredAt\":\"%s\"}}",
             question_id(n), answered_at);
}

/* Questions first to first + n - 1, all asked at that moment, by one batch each 500. */
UNUSED static void ask_questions(int first, int n, const char *asked_at)
{
    for (int done = 0; done < n;) {
        int batch = MIN(500, n - done);
        struct consumer c = { .def = &reminders_consumer,
                              .db = rig->db,
                              .work = arena_new(64 * MIB),
                              .env.daemon_data = &self };
        struct arena *feed = arena_new(64 * MIB);
        struct consumer_item *items = calloc((size_t)batch, sizeof(*items));
        struct consumer_item **list = calloc((size_t)batch, sizeof(*list));
        struct reaction_state *state = calloc(1, sizeof(*state));
        const struct schema_message *m = schema_find_message(CUSTOMERS "QuestionOpened");
        struct reaction reaction;
        int64_t at;

        assert_true(time_parse(asked_at, &at));
        for (int i = 0; i < batch; i++) {
            struct wire_fault fault;
            ProtobufCMessage *data;
            PbEvent *event = wire_new(&daybook__bus__v1__event__descriptor, feed);
            char *text = arena_printf(feed, QUESTION_JSON, question_id(first + done + i), asked_at);
            assert_int_equal(
                protojson_read(m->type, text, strlen(text), PROTOJSON_STRICT, feed, &data, &fault),
                ERR_OK);
            event->type = arena_strdup(feed, CUSTOMERS "QuestionOpened");
            event->occurred_at = wire_time(feed, at);
            event->data = wire_any(feed, data);
            items[i] = (struct consumer_item){ .event = event, .tenant = rig_tenant };
            items[i].def = consumer_find_def(&c, event->type);
            list[i] = &items[i];
        }
        consumer_react_open(&c, &reaction, state, false);
        assert_int_equal(db_begin(rig->db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
        assert_int_equal(consumer_react_tenant(&c, &reaction, list, (size_t)batch), ERR_OK);
        assert_int_equal(db_commit(rig->db), ERR_OK);
        consumer_react_tell(&c, &reaction);
        consumer_react_close(&reaction);
        arena_free(c.work);
        arena_free(feed);
        free(items);
        free(list);
        free(state);
        done += batch;
    }
}

#endif
