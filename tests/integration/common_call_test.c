/*
 * Commands against a real PostgreSQL: one effect and one answer a key, whatever is repeated, raced,
 * killed or cut on the way (F01, F11, F19, F20, F23, F60 of operations 9).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/call_state.h"
#include "common/clock.h"
#include "common/directory_build.h"
#include "common/migrate.h"
#include "common/schema.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "tests/support/admin_db.h"
#include "tests/support/asking.h"
#include "tests/support/bus_schema.h"
#include "tests/support/servers.h"
#include "tests/support/slack.h"

#define VISITS "daybook.visits.v1.VisitService"
#define LIMIT_US (20 * SECOND_US)
#define COMMIT_LOCK "77"

typedef Daybook__Visits__V1__CancelVisitRequest Request;
typedef Daybook__Visits__V1__CancelVisitResponse Response;
typedef Daybook__Visits__V1__Visit Visit;

static const struct id tenant_a = { { 1, [6] = 0x70, [8] = 0x80, [15] = 0xa } };
static const struct id tenant_b = { { 1, [6] = 0x70, [8] = 0x80, [15] = 0xb } };
static const struct id actor_1 = { { 2, [6] = 0x70, [8] = 0x80, [15] = 1 } };
static const struct id actor_2 = { { 2, [6] = 0x70, [8] = 0x80, [15] = 2 } };

static struct servers *servers;

static const char tables_sql[] =
    "CREATE TABLE calls.item (tenant_id uuid, id uuid, note text, PRIMARY KEY (tenant_id, id),"
    "                         CONSTRAINT item_note CHECK (note <> 'bad'));"
    "CREATE TABLE calls.single (tenant_id uuid, note text, PRIMARY KEY (tenant_id, note));"
    "CREATE TABLE calls.slow (id int);"
    "CREATE FUNCTION calls.wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS"
    "    'BEGIN PERFORM pg_advisory_xact_lock_shared(" COMMIT_LOCK "); RETURN NULL; END';"
    "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON calls.slow DEFERRABLE INITIALLY DEFERRED"
    "    FOR EACH ROW EXECUTE FUNCTION calls.wait_for_lock();"
    "CREATE FUNCTION calls.fail(state text) RETURNS int LANGUAGE plpgsql AS"
    "    'BEGIN RAISE EXCEPTION USING ERRCODE = state, MESSAGE = ''as asked''; END';"
    "GRANT USAGE ON SCHEMA calls TO daybook_calls;"
    "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA calls TO daybook_calls;"
    "ALTER ROLE daybook_calls SET lock_timeout = '300ms';"
    "ALTER ROLE daybook_calls SET statement_timeout = '20s';";

static const struct db_stmt insert_item = {
    "insert_item", "INSERT INTO calls.item VALUES ($1::uuid, $2::uuid, $3)", 3, NULL
};
static const struct db_stmt insert_single = { "insert_single",
                                              "INSERT INTO calls.single VALUES ($1::uuid, $2)", 2,
                                              NULL };
static const struct db_stmt insert_slow = { "insert_slow", "INSERT INTO calls.slow VALUES (1)", 0,
                                            NULL };
static const struct db_stmt fail_as = { "fail_as", "SELECT calls.fail($1)", 1, NULL };

static int64_t items(void)
{
    return number("SELECT count(*) AS n FROM calls.item");
}

static int64_t records(void)
{
    return number("SELECT count(*) AS n FROM calls.idempotency");
}

/* --- handlers --- */

static struct {
    call_handler *run;
    atomic_int runs;
    int failures;      /* as often a statement fails first */
    const char *state; /* with that SQLSTATE */
    size_t reply_size; /* of a text in the reply */
    int hooks;
    pthread_barrier_t *meet;
} plan;

static enum err run_planned(struct call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **reply_out)
{
    atomic_fetch_add(&plan.runs, 1);
    return plan.run(call, request, reply_out);
}

static enum err reply_with(struct call *call, struct id id, ProtobufCMessage **reply_out)
{
    Response *reply = call_new(call, &daybook__visits__v1__cancel_visit_response__descriptor);
    assert_non_null(reply);
    reply->visit = call_new(call, &daybook__visits__v1__visit__descriptor);
    reply->visit->id = db_text_id(call->arena, id);
    if (plan.reply_size) {
        reply->visit->goal = arena_alloc(call->arena, plan.reply_size + 1);
        memset(reply->visit->goal, 'g', plan.reply_size);
    }
    *reply_out = &reply->base;
    return ERR_OK;
}

static enum err emit(struct call *call, struct id id, int64_t version)
{
    char text[ID_TEXT_MAX];
    Daybook__Visits__V1__VisitCancelled event = DAYBOOK__VISITS__V1__VISIT_CANCELLED__INIT;
    return call_emit(call, "visits", id_text(id, text), version, &event.base);
}

static enum err insert_new(struct call *call, const char *note, struct id *id_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    *id_out = id_new();
    const char *params[] = { call_tenant_text(call), db_text_id(call->arena, *id_out), note };
    return db_exec(call->db, &insert_item, params, &res);
}

static void count_hook(struct call *call, void *arg)
{
    (void)call;
    ++*(int *)arg;
}

/* A command: reads nothing, writes a row, tells of it. */
static enum err note_it(struct call *call, const ProtobufCMessage *request,
                        ProtobufCMessage **reply_out)
{
    bool cancel = request->descriptor == &daybook__visits__v1__cancel_visit_request__descriptor;
    struct id id;

    enum err e = insert_new(call, cancel ? ((const Request *)request)->reason : "got", &id);
    if (e == ERR_FAILED_PRECONDITION)
        return call_fail(call, e, "reason", "this reason is not allowed");
    if (e)
        return e;
    call_after_commit(call, count_hook, &plan.hooks);
    call_wake(call, "visits.changed", "x", 1);
    e = emit(call, id, 1);
    return e ? e : reply_with(call, id, reply_out);
}

static enum err fail_first(struct call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **reply_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[] = { plan.state };

    if (plan.failures > 0) {
        plan.failures--;
        enum err e = db_exec(call->db, &fail_as, params, &res);
        assert_int_not_equal(e, ERR_OK);
        return e;
    }
    return note_it(call, request, reply_out);
}

/* Loses the connection in the middle, on its first run. */
static enum err lose_connection(struct call *call, const ProtobufCMessage *request,
                                ProtobufCMessage **reply_out)
{
    struct id id;
    enum err e = insert_new(call, "before", &id);
    if (e)
        return e;
    if (plan.failures-- > 0) {
        script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE application_name LIKE 'call_test%'");
        wait_for("SELECT (count(*) = 0)::int AS n FROM pg_stat_activity"
                 " WHERE application_name LIKE 'call_test%'");
    }
    return note_it(call, request, reply_out);
}

/* Twins meet here once both have looked for the key and found nothing. */
static enum err meet_then_note(struct call *call, const ProtobufCMessage *request,
                               ProtobufCMessage **reply_out)
{
    enum err e = db_flush(call->db);
    if (e)
        return e;
    if (atomic_load(&plan.runs) <= 2)
        pthread_barrier_wait(plan.meet);
    return note_it(call, request, reply_out);
}

/* The same, but what the first one did stands in the second one's way. */
static enum err meet_then_take(struct call *call, const ProtobufCMessage *request,
                               ProtobufCMessage **reply_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const Request *req = (const Request *)request;
    const char *params[] = { call_tenant_text(call), req->reason };

    enum err e = db_flush(call->db);
    if (e)
        return e;
    if (atomic_load(&plan.runs) <= 2)
        pthread_barrier_wait(plan.meet);
    e = db_exec(call->db, &insert_single, params, &res);
    if (e == ERR_ALREADY_EXISTS)
        return call_fail(call, e, "reason", "somebody took it");
    return e ? e : reply_with(call, id_new(), reply_out);
}

static enum err commit_slowly(struct call *call, const ProtobufCMessage *request,
                              ProtobufCMessage **reply_out)
{
    enum err e = db_queue(call->db, &insert_slow, NULL);
    return e ? e : note_it(call, request, reply_out);
}

static enum err refuse_early(struct call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **reply_out)
{
    (void)request;
    (void)reply_out;
    return call_fail(call, ERR_FAILED_PRECONDITION, "", "too late for that");
}

static enum err refuse_as_invalid(struct call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage **reply_out)
{
    (void)request;
    (void)reply_out;
    return call_fail(call, ERR_INVALID_ARGUMENT, "reason", "that day has passed");
}

/* A system call that makes something for another company, and is stopped there at first. */
static enum err act_for_another(struct call *call, const ProtobufCMessage *request,
                                ProtobufCMessage **reply_out)
{
    struct id own = call->tenant, id = id_new();

    (void)request;
    call->tenant = tenant_b;
    if (plan.failures-- > 0)
        return ERR_ABORTED;
    enum err e = db_set_tenant(call->db, tenant_b);
    if (e == ERR_OK)
        e = emit(call, id, 1);
    call->tenant = own;
    if (e == ERR_OK)
        e = db_set_tenant(call->db, own);
    if (e == ERR_OK)
        e = emit(call, id, 2);
    return e ? e : reply_with(call, id, reply_out);
}

static const struct method methods[] = {
    { .service = VISITS, .name = "Cancel", .handler = run_planned },
    { .service = VISITS, .name = "Get", .handler = run_planned },
};

/* --- asking --- */

struct asker {
    struct arena *arena;
    struct db *db;
    struct call_env env;
    struct question question;
    Request request;
    char reason[64];
    struct reply reply;
    pthread_t thread;
};

static void asker_open(struct asker *a, const char *key, const char *reason)
{
    char *conninfo = servers_conninfo_of(servers, "daybook_calls");

    *a = (struct asker){ .arena = arena_new(16 * MIB), .db = db_new(conninfo, "call_test") };
    free(conninfo);
    assert_non_null(a->arena);
    assert_non_null(a->db);
    snprintf(a->reason, sizeof a->reason, "%s", reason);
    a->request = (Request)DAYBOOK__VISITS__V1__CANCEL_VISIT_REQUEST__INIT;
    a->request.reason = a->reason;
    a->env = (struct call_env){ .arena = a->arena,
                                .db = a->db,
                                .methods = methods,
                                .nmethods = ARRAY_LEN(methods),
                                .schema = "calls" };
    a->question = (struct question){ .service = VISITS,
                                     .method = "Cancel",
                                     .tenant = tenant_a,
                                     .actor = actor_1,
                                     .key = key,
                                     .message = &a->request.base };
}

static void asker_close(struct asker *a)
{
    db_free(a->db);
    arena_free(a->arena);
}

static struct reply go(struct asker *a)
{
    arena_reset(a->arena);
    a->reply = ask(&a->env, &a->question);
    return a->reply;
}

static void *go_in_thread(void *arg)
{
    go(arg);
    return NULL;
}

static void start(struct asker *a)
{
    assert_int_equal(pthread_create(&a->thread, NULL, go_in_thread, a), 0);
}

static const char *reply_id(const struct reply *r)
{
    if (r->code)
        fail_msg("%s %s: %s", err_name(r->code), r->reason, r->text);
    return ((const Response *)r->message)->visit->id;
}

static bool is_replayed(const struct reply *r)
{
    const char *value = reply_metadata(r, "idempotent-replayed");
    return value && strcmp(value, "true") == 0;
}

static void expect(const struct reply *r, enum err code, const char *reason)
{
    if (r->code != code || strcmp(r->reason, reason) != 0)
        fail_msg("%s %s: %s", err_name(r->code), r->reason, r->text);
}

/* --- tests --- */

static void a_simple_command_costs_two_round_trips(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "k1", "first");
    struct reply r = go(&a); /* connects */
    reply_id(&r);

    a.question.key = "k2";
    uint64_t before = db_round_trips(a.db);
    r = go(&a);
    reply_id(&r);
    assert_int_equal(db_round_trips(a.db) - before, 2);
    assert_false(is_replayed(&r));
    assert_true(a.env.wake_relay);
    assert_string_equal(a.env.wakes->channel, "visits.changed");
    assert_int_equal(plan.hooks, 2);
    assert_int_equal(items(), 2);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE"
                            " type = 'daybook.visits.v1.VisitCancelled' AND aggregate ~ '^visits/'"
                            " AND aggregate_version = 1 AND request_id <> ''"),
                     2);

    a.question.method = "Get";
    before = db_round_trips(a.db);
    go(&a); /* the same handler, as a method without side effects: no look-up, no record */
    assert_int_equal(records(), 2);
    assert_int_equal(db_round_trips(a.db) - before, 2);
    asker_close(&a);
}

static void a_repeated_command_gets_the_first_answer(void **state)
{
    (void)state;
    struct asker a;
    char first[ID_TEXT_MAX];

    asker_open(&a, "again", "note");
    struct reply r = go(&a);
    snprintf(first, sizeof first, "%s", reply_id(&r));
    for (int json = 0; json <= 1; json++) { /* both forms are the same request */
        a.question.json = json;
        r = go(&a);
        assert_string_equal(reply_id(&r), first);
        assert_true(is_replayed(&r));
        assert_false(a.env.wake_relay);
    }
    assert_int_equal(items(), 1);
    assert_int_equal(plan.hooks, 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 1);
    asker_close(&a);
}

static void a_request_id_serves_as_key(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, NULL, "note");
    a.question.request_id = "req-7";
    struct reply r = go(&a);
    reply_id(&r);
    r = go(&a);
    assert_true(is_replayed(&r));
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void a_key_with_another_body_is_refused_F60(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "reused", "one");
    struct reply r = go(&a);
    reply_id(&r);
    snprintf(a.reason, sizeof a.reason, "two");
    r = go(&a);
    expect(&r, ERR_INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED");
    assert_string_equal(reply_violations(&r, a.arena), "idempotency_key=IDEMPOTENCY_KEY_REUSED");
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void a_key_belongs_to_tenant_and_actor_F61(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "mine", "note");
    struct reply r = go(&a);
    reply_id(&r);
    a.question.actor = actor_2;
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    a.question.tenant = tenant_b;
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    assert_int_equal(items(), 3);
    asker_close(&a);
}

static void ask_twins(call_handler *handler, struct asker pair[2])
{
    pthread_barrier_t meet;

    pthread_barrier_init(&meet, NULL, 2);
    plan.run = handler;
    plan.meet = &meet;
    for (int i = 0; i < 2; i++)
        asker_open(&pair[i], "twin", "note");
    for (int i = 0; i < 2; i++)
        start(&pair[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(pair[i].thread, NULL);
    pthread_barrier_destroy(&meet);
    char first[ID_TEXT_MAX];
    snprintf(first, sizeof first, "%s", reply_id(&pair[0].reply));
    assert_string_equal(reply_id(&pair[1].reply), first);
    assert_int_equal(is_replayed(&pair[0].reply) + is_replayed(&pair[1].reply), 1);
    assert_int_equal(records(), 1);
    for (int i = 0; i < 2; i++)
        asker_close(&pair[i]);
}

static void twins_have_one_effect_and_one_answer_F60(void **state)
{
    (void)state;
    struct asker pair[2];
    ask_twins(meet_then_note, pair);
    assert_int_equal(items(), 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 1);
}

static void a_twin_is_not_refused_for_what_the_other_did_F60(void **state)
{
    (void)state;
    struct asker pair[2];
    ask_twins(meet_then_take, pair);
    assert_int_equal(number("SELECT count(*) AS n FROM calls.single"), 1);
}

static void a_key_in_work_is_aborted(void **state) /* H.1 */
{
    (void)state;
    struct asker a, other;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    asker_open(&other, "busy", "note");
    struct reply r = go(&other);
    reply_id(&r);
    /* A record whose transaction is open, under the key that is asked for next. */
    must(db_begin(admin, NULL, clock_monotonic_us() + LIMIT_US));
    must(db_exec(admin,
                 &(struct db_stmt){ "busy",
                                    "INSERT INTO calls.idempotency SELECT tenant_id,"
                                    " actor_id, method, 'busy2', fingerprint, reply_type,"
                                    " reply, created_at FROM calls.idempotency",
                                    0, NULL },
                 NULL, &res));
    asker_open(&a, "busy2", "note");
    r = go(&a);
    db_rollback(admin);
    expect(&r, ERR_ABORTED, "IDEMPOTENCY_KEY_IN_USE");
    assert_non_null(reply_detail(&r, &google__rpc__retry_info__descriptor, a.arena));
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    asker_close(&a);
    asker_close(&other);
}

static void events_go_out_for_the_company_they_are_of_F61(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "other", "note");
    plan.run = act_for_another;
    plan.failures = 1;
    struct reply r = go(&a);
    reply_id(&r);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000b' AND aggregate_version = 1"),
                     1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000a' AND aggregate_version = 2"),
                     1);
    assert_int_equal(number("SELECT count(*) AS n FROM calls.idempotency WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000a'"),
                     1);
    r = go(&a);
    assert_true(is_replayed(&r));
    asker_close(&a);
}

static void failures_are_not_remembered(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "fails", "bad");
    struct reply r = go(&a);
    expect(&r, ERR_FAILED_PRECONDITION, "FAILED_PRECONDITION");
    assert_int_equal(records(), 0);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 0);
    assert_int_equal(plan.hooks, 0);
    assert_null(a.env.wakes);
    assert_false(a.env.wake_relay);

    snprintf(a.reason, sizeof a.reason, "good"); /* the key is still free */
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    asker_close(&a);
}

/* The first answer stands, even where the handler now refuses before it asks the database. */
static void an_answered_command_is_answered_again_in_another_state(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "state", "note");
    struct reply r = go(&a);
    reply_id(&r);
    plan.run = refuse_early;
    r = go(&a);
    reply_id(&r);
    assert_true(is_replayed(&r));
    plan.run = refuse_as_invalid;
    r = go(&a);
    reply_id(&r);
    assert_true(is_replayed(&r));
    a.question.key = "fresh";
    r = go(&a);
    expect(&r, ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT");
    plan.run = refuse_early;
    r = go(&a);
    expect(&r, ERR_FAILED_PRECONDITION, "FAILED_PRECONDITION");
    asker_close(&a);
}

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

static void a_large_answer_is_not_kept(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "large", "note");
    plan.reply_size = 65 * KIB;
    struct reply r = go(&a);
    reply_id(&r);
    for (int json = 0; json <= 1; json++) {
        a.question.json = json;
        r = go(&a);
        assert_int_equal(r.code, ERR_OK);
        assert_true(is_replayed(&r));
        assert_string_equal(reply_metadata(&r, "idempotent-reply"), "too_large");
        assert_null(((const Response *)r.message)->visit);
    }
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void old_records_are_swept(void **state)
{
    (void)state;
    struct asker a;
    int64_t deleted = -1;

    struct directory_builder *b = directory_builder_new();
    directory_builder_add_tenant(b, tenant_a, "A", NULL, NULL);
    directory_builder_add_tenant(b, tenant_b, "B", NULL, NULL);
    directory_set_for_tests(directory_builder_finish(b));
    asker_open(&a, "young", "note");
    struct reply r = go(&a);
    reply_id(&r);
    script("INSERT INTO calls.idempotency SELECT t, '00000000-0000-0000-0000-000000000000', 'm',"
           " n::text, '', '', '', now() - interval '49 hours' FROM generate_series(1, 1500) n,"
           " unnest('{01000000-0000-7000-8000-00000000000a,01000000-0000-7000-8000-00000000000b,"
           "00000000-0000-0000-0000-000000000000}'::uuid[]) t");
    must(call_sweep_idempotency(a.db, "calls", clock_monotonic_us() + LIMIT_US, &deleted));
    directory_set_for_tests(NULL);
    assert_int_equal(deleted, 4500);
    assert_int_equal(records(), 1);
    asker_close(&a);
}

static int set_up(void **state)
{
    (void)state;
    plan.run = note_it;
    atomic_store(&plan.runs, 0);
    plan.failures = 0;
    plan.reply_size = 0;
    plan.hooks = 0;
    script("TRUNCATE calls.item, calls.single, calls.slow, calls.idempotency, bus.outbox");
    return 0;
}

static int start_servers(void **state)
{
    (void)state;
    int applied;

    schema_init();
    servers = servers_start_with(&(struct servers_options){ .durable = false });
    admin_open(servers_conninfo(servers));
    must(migrate_run(admin, "calls", NULL, 0, &applied));
    bus_schema_make(admin);
    script(tables_sql);
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    schema_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_simple_command_costs_two_round_trips, set_up),
        cmocka_unit_test_setup(a_repeated_command_gets_the_first_answer, set_up),
        cmocka_unit_test_setup(a_request_id_serves_as_key, set_up),
        cmocka_unit_test_setup(a_key_with_another_body_is_refused_F60, set_up),
        cmocka_unit_test_setup(a_key_belongs_to_tenant_and_actor_F61, set_up),
        cmocka_unit_test_setup(twins_have_one_effect_and_one_answer_F60, set_up),
        cmocka_unit_test_setup(a_twin_is_not_refused_for_what_the_other_did_F60, set_up),
        cmocka_unit_test_setup(a_key_in_work_is_aborted, set_up),
        cmocka_unit_test_setup(events_go_out_for_the_company_they_are_of_F61, set_up),
        cmocka_unit_test_setup(failures_are_not_remembered, set_up),
        cmocka_unit_test_setup(an_answered_command_is_answered_again_in_another_state, set_up),
        cmocka_unit_test_setup(lost_races_are_run_again_F19, set_up),
        cmocka_unit_test_setup(a_connection_lost_before_commit_is_run_again_F23, set_up),
        cmocka_unit_test_setup(a_commit_in_doubt_that_failed_is_run_again_F01_F11, set_up),
        cmocka_unit_test_setup(a_commit_in_doubt_that_succeeded_is_found_F01_F11, set_up),
        cmocka_unit_test_setup(a_doubt_that_cannot_be_settled_is_told_F11, set_up),
        cmocka_unit_test_setup(the_deadline_ends_a_slow_statement_F17, set_up),
        cmocka_unit_test_setup(a_large_answer_is_not_kept, set_up),
        cmocka_unit_test_setup(old_records_are_swept, set_up),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
