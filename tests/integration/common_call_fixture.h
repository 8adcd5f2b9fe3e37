/*
 * common_call_fixture.h - what the tests of calls share: methods that do as planned, on a real
 * PostgreSQL.
 */
#ifndef DAYBOOK_TESTS_COMMON_CALL_FIXTURE_H
#define DAYBOOK_TESTS_COMMON_CALL_FIXTURE_H

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

UNUSED static int64_t items(void)
{
    return number("SELECT count(*) AS n FROM calls.item");
}

UNUSED static int64_t records(void)
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

UNUSED static enum err run_planned(struct call *call, const ProtobufCMessage *request,
                                   ProtobufCMessage **reply_out)
{
    atomic_fetch_add(&plan.runs, 1);
    return plan.run(call, request, reply_out);
}

UNUSED static enum err reply_with(struct call *call, struct id id, ProtobufCMessage **reply_out)
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

UNUSED static enum err emit(struct call *call, struct id id, int64_t version)
{
    char text[ID_TEXT_MAX];
    Daybook__Visits__V1__VisitCancelled event = DAYBOOK__VISITS__V1__VISIT_CANCELLED__INIT;
    return call_emit(call, "visits", id_text(id, text), version, &event.base);
}

UNUSED static enum err insert_new(struct call *call, const char *note, struct id *id_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    *id_out = id_new();
    const char *params[] = { call_tenant_text(call), db_text_id(call->arena, *id_out), note };
    return db_exec(call->db, &insert_item, params, &res);
}

UNUSED static void count_hook(struct call *call, void *arg)
{
    (void)call;
    ++*(int *)arg;
}

/* A command: reads nothing, writes a row, tells of it. */
UNUSED static enum err note_it(struct call *call, const ProtobufCMessage *request,
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

UNUSED static enum err fail_first(struct call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage **reply_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[] = { plan.state };

    if (!arena_alloc(call->arena, 6 * MIB)) /* as a large import does, each time */
        return ERR_RESOURCE_EXHAUSTED;
    if (plan.failures > 0) {
        plan.failures--;
        enum err e = db_exec(call->db, &fail_as, params, &res);
        assert_int_not_equal(e, ERR_OK);
        return e;
    }
    return note_it(call, request, reply_out);
}

/* Loses the connection in the middle, on its first run. */
UNUSED static enum err lose_connection(struct call *call, const ProtobufCMessage *request,
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
UNUSED static enum err meet_then_note(struct call *call, const ProtobufCMessage *request,
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
UNUSED static enum err meet_then_take(struct call *call, const ProtobufCMessage *request,
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

UNUSED static enum err commit_slowly(struct call *call, const ProtobufCMessage *request,
                                     ProtobufCMessage **reply_out)
{
    enum err e = db_queue(call->db, &insert_slow, NULL);
    return e ? e : note_it(call, request, reply_out);
}

UNUSED static enum err refuse_early(struct call *call, const ProtobufCMessage *request,
                                    ProtobufCMessage **reply_out)
{
    (void)request;
    (void)reply_out;
    return call_fail(call, ERR_FAILED_PRECONDITION, "", "too late for that");
}

UNUSED static enum err refuse_as_invalid(struct call *call, const ProtobufCMessage *request,
                                         ProtobufCMessage **reply_out)
{
    (void)request;
    (void)reply_out;
    return call_fail(call, ERR_INVALID_ARGUMENT, "reason", "that day has passed");
}

/* A system call that makes something for another company, and is stopped there at first. */
UNUSED static enum err act_for_another(struct call *call, const ProtobufCMessage *request,
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

UNUSED static void asker_open(struct asker *a, const char *key, const char *reason)
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

UNUSED static void asker_close(struct asker *a)
{
    db_free(a->db);
    arena_free(a->arena);
}

UNUSED static struct reply go(struct asker *a)
{
    arena_reset(a->arena);
    a->reply = ask(&a->env, &a->question);
    return a->reply;
}

UNUSED static void *go_in_thread(void *arg)
{
    go(arg);
    return NULL;
}

UNUSED static void start(struct asker *a)
{
    assert_int_equal(pthread_create(&a->thread, NULL, go_in_thread, a), 0);
}

UNUSED static const char *reply_id(const struct reply *r)
{
    if (r->code)
        fail_msg("%s %s: %s", err_name(r->code), r->reason, r->text);
    return ((const Response *)r->message)->visit->id;
}

UNUSED static bool is_replayed(const struct reply *r)
{
    const char *value = reply_metadata(r, "idempotent-replayed");
    return value && strcmp(value, "true") == 0;
}

UNUSED static void expect(const struct reply *r, enum err code, const char *reason)
{
    if (r->code != code || strcmp(r->reason, reason) != 0)
        fail_msg("%s %s: %s", err_name(r->code), r->reason, r->text);
}

UNUSED static int set_up(void **state)
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

UNUSED static int start_servers(void **state)
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

UNUSED static int stop_servers(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    schema_fini();
    return 0;
}

#endif
