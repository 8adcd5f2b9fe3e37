/* What call_answer() refuses before it needs a database, and how it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/call_state.h"
#include "common/directory_build.h"
#include "common/schema.h"
#include "daybook/visits/v1/visits.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "tests/support/asking.h"

#define VISITS "daybook.visits.v1.VisitService"
#define EMPLOYEE DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE
#define SERVICE DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE

static struct arena *arena;
static struct call_env env;
static bool draining;
static const struct id tenant = { { 1, [15] = 1 } }, rep = { { 1, [15] = 2 } },
                       gone = { { 1, [15] = 3 } };

static enum err must_not_run(struct call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **reply_out)
{
    (void)call;
    (void)request;
    (void)reply_out;
    fail_msg("the handler was run");
    return ERR_INTERNAL;
}

static const struct check cancel_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "reason", CHECK_LENGTH, 1, 10 },
    { NULL, 0, 0, 0 },
};

static const struct method methods[] = {
    { .service = VISITS,
      .name = "Cancel",
      .handler = must_not_run,
      .scope = "visits.write",
      .checks = cancel_checks },
    { .service = VISITS, .name = "Get", .handler = must_not_run },
};

static bool is_draining(void *arg)
{
    (void)arg;
    return draining;
}

static int set_up(void **state)
{
    (void)state;
    schema_init();
    struct directory_builder *b = directory_builder_new();
    directory_builder_add_tenant(b, tenant, "Shop", NULL, NULL);
    directory_builder_add_employee(
        b, tenant,
        &(struct directory_employee_in){
            .id = rep, .employee_no = "1", .name = "R", .roles = "rep" });
    directory_builder_add_employee(
        b, tenant,
        &(struct directory_employee_in){
            .id = gone, .employee_no = "2", .name = "G", .roles = "rep", .inactive = true });
    directory_set_for_tests(directory_builder_finish(b));
    arena = arena_new(8 * MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    directory_set_for_tests(NULL);
    arena_free(arena);
    schema_fini();
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    arena_reset(arena);
    draining = false;
    env = (struct call_env){ .arena = arena,
                             .methods = methods,
                             .nmethods = ARRAY_LEN(methods),
                             .schema = "visits",
                             .draining = is_draining };
    return 0;
}

static const struct question cancel = {
    .service = VISITS,
    .method = "Cancel",
    .tenant = tenant,
    .actor = rep,
    .kind = EMPLOYEE,
};

static void expect(const struct question *q, enum err code, const char *reason)
{
    struct reply r = ask(&env, q);
    if (r.code != code || strcmp(r.reason, reason) != 0)
        fail_msg("%s %s: %s", err_name(r.code), r.reason, r.text);
    assert_int_equal(r.frame_len, 0);
}

static void refuses_unknown_methods(void **state)
{
    (void)state;
    static const struct {
        const char *service, *method;
    } cases[] = {
        { VISITS, "Explode" },
        { VISITS, "" },
        { VISITS, "Cancel+xml" },
        { VISITS, "Can cel" },
        { "daybook.visits.v1.PlanService", "Cancel" },
        { "", "Cancel" },
        { VISITS, "CancelCancelCancelCancelCancelCancelCancelCancelCancelCancelCancelCancelCancel"
                  "CancelCancelCancelCancelCancel" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct question q = cancel;
        q.service = cases[i].service;
        q.method = cases[i].method;
        expect(&q, ERR_UNIMPLEMENTED, "UNIMPLEMENTED");
    }
}

static void refuses_unproven_callers_F61(void **state)
{
    (void)state;
    struct question q = cancel;
    q.no_principal = true;
    expect(&q, ERR_UNAUTHENTICATED, "UNAUTHENTICATED");

    q = (struct question){ .service = VISITS, .method = "Cancel" }; /* system, without a company */
    expect(&q, ERR_PERMISSION_DENIED, "TENANT_REQUIRED");

    q = cancel;
    q.actor = gone;
    expect(&q, ERR_PERMISSION_DENIED, "ACTOR_INACTIVE");
}

static void refuses_keys_without_the_scope(void **state)
{
    (void)state;
    static const char *const read[] = { "visits.read", "tenant.all", NULL };
    struct question q = cancel;
    q.kind = SERVICE;
    q.scopes = read;

    struct reply r = ask(&env, &q);
    assert_int_equal(r.code, ERR_PERMISSION_DENIED);
    assert_string_equal(r.reason, "SCOPE_REQUIRED");
    const Google__Rpc__ErrorInfo *info =
        reply_detail(&r, &google__rpc__error_info__descriptor, arena);
    assert_int_equal(info->n_metadata, 1);
    assert_string_equal(info->metadata[0]->key, "scope");
    assert_string_equal(info->metadata[0]->value, "visits.write");
}

static void names_all_faulty_fields(void **state)
{
    (void)state;
    static char x[] = "x", long_reason[] = "一二三四五六七八九十一";
    Daybook__Visits__V1__CancelVisitRequest m = DAYBOOK__VISITS__V1__CANCEL_VISIT_REQUEST__INIT;
    m.visit_id = x;
    m.reason = long_reason;
    struct question q = cancel;
    q.message = &m.base;

    for (int json = 0; json <= 1; json++) {
        q.json = json;
        struct reply r = ask(&env, &q);
        assert_int_equal(r.code, ERR_INVALID_ARGUMENT);
        assert_string_equal(reply_violations(&r, arena), "visit_id=MALFORMED reason=TOO_LONG");
    }
}

static void refuses_malformed_messages_F35(void **state)
{
    (void)state;
    static const struct {
        bool json;
        const char *raw;
        size_t len;
    } cases[] = {
        { false,
          "\x0a\x05"
          "ab",
          4 },
        { false, "\x0a\x01\xff", 3 },
        { false, "\x0b\x0c", 2 },
        { false, "\xff\xff\xff\xff\xff", 5 },
        { true, "{\"visitId\":", 11 },
        { true, "[]", 2 },
        { true, "{\"visitId\":{}}", 14 },
        { true, "\x00", 1 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct question q = cancel;
        q.json = cases[i].json;
        q.raw = cases[i].raw;
        q.raw_len = cases[i].len;
        expect(&q, ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT");
    }
}

static void refuses_a_malformed_context_F35(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        size_t len;
    } cases[] = {
        { "\x0a\x7f", 2 },
        { "{\"requestId\":7", 14 },
        { "{", 1 },
        { "\xff\xff\xff\xff", 4 },
        { "\x0a\x01\x7f", 3 },
        { "{\"requestId\":\"a\\tb\"}", 20 },
        { "{\"requestId\":\"\\u00e9\"}", 22 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call_frames in = { .method = "Cancel",
                                  .method_len = 6,
                                  .context = cases[i].raw,
                                  .context_len = cases[i].len };
        uint8_t *result, *reply;
        size_t result_len, reply_len;
        call_answer(&env, &in, &result, &result_len, &reply, &reply_len);
        PbCallResult *r = daybook__common__v1__call_result__unpack(NULL, result_len, result);
        assert_non_null(r);
        assert_int_equal(r->status->code, ERR_INVALID_ARGUMENT);
        assert_string_equal(r->request_id, "");
        daybook__common__v1__call_result__free_unpacked(r, NULL);
    }
}

static void refuses_unusable_keys(void **state)
{
    (void)state;
    char long_key[257];
    struct question q = cancel;

    memset(long_key, 'k', 256);
    long_key[256] = '\0';
    q.key = long_key;
    expect(&q, ERR_INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID");
    q.key = "tab\t";
    expect(&q, ERR_INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID");
    q = cancel;
    q.request_id = "01234567890123456789012345678901234567890123456789012345678901234";
    expect(&q, ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT");
}

static void does_not_start_late_or_while_draining_F09(void **state)
{
    (void)state;
    struct question q = cancel;
    q.deadline_ms = 4;
    expect(&q, ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");

    draining = true;
    struct reply r = ask(&env, &cancel);
    assert_int_equal(r.code, ERR_UNAVAILABLE);
    assert_string_equal(r.reason, "DRAINING");
    const Google__Rpc__RetryInfo *retry =
        reply_detail(&r, &google__rpc__retry_info__descriptor, arena);
    assert_int_equal(retry->retry_delay->nanos, 100000000);
}

/* Whatever little memory there is, the caller is told, under his request id (F47). */
static void answers_when_the_arena_is_full(void **state)
{
    (void)state;
    static char body[60000];
    memset(body, 'x', sizeof body - 1);
    Daybook__Visits__V1__CancelVisitRequest m = DAYBOOK__VISITS__V1__CANCEL_VISIT_REQUEST__INIT;
    m.reason = body;
    uint8_t packed[61000];
    size_t len = protobuf_c_message_pack(&m.base, packed);
    struct call_frames in = {
        .method = "Cancel",
        .method_len = 6,
        .message = packed,
        .message_len = len,
        .context = "{\"requestId\":\"r1\",\"service\":\"" VISITS "\"}",
    };
    in.context_len = strlen(in.context);
    unsigned exhausted = 0;

    for (size_t budget = 2048; budget < 24 * KIB; budget += 256) {
        struct arena *small = arena_new(budget);
        struct call_env tight = env;
        uint8_t *result, *reply;
        size_t result_len, reply_len;
        tight.arena = small;
        call_answer(&tight, &in, &result, &result_len, &reply, &reply_len);
        PbCallResult *r = daybook__common__v1__call_result__unpack(NULL, result_len, result);
        assert_non_null(r);
        assert_non_null(r->status);
        assert_int_equal(r->status->n_details >= 1, 1);
        exhausted += r->status->code == ERR_RESOURCE_EXHAUSTED;
        daybook__common__v1__call_result__free_unpacked(r, NULL);
        arena_free(small);
    }
    assert_true(exhausted > 0);
}

/* --- what handlers say --- */

static struct call open_call(void)
{
    struct call call = { 0 };
    assert_int_equal(call_open(&call, arena), ERR_OK);
    return call;
}

static const Google__Rpc__Status *status_of(struct call *call, enum err e)
{
    const Google__Rpc__Status *s = call_status(call, e);
    assert_non_null(s);
    assert_int_equal(s->code, e);
    return s;
}

static struct reply as_reply(const Google__Rpc__Status *s)
{
    static PbCallResult result;
    union {
        const Google__Rpc__Status *in;
        Google__Rpc__Status *out;
    } u = { .in = s };
    result = (PbCallResult)DAYBOOK__COMMON__V1__CALL_RESULT__INIT;
    result.status = u.out;
    return (struct reply){ .result = &result };
}

static void a_failed_rule_names_the_subject(void **state)
{
    (void)state;
    struct call call = open_call();
    enum err e =
        call_fail(&call, ERR_FAILED_PRECONDITION, "state", "is %s, must be %s", "open", "closed");
    call_reason(&call, e, "STATE");
    call_resource(&call, "daybook.visits.v1.Visit", "visits/1", "");
    struct reply r = as_reply(status_of(&call, e));

    const Google__Rpc__PreconditionFailure *p =
        reply_detail(&r, &google__rpc__precondition_failure__descriptor, arena);
    assert_int_equal(p->n_violations, 1);
    assert_string_equal(p->violations[0]->type, "STATE");
    assert_string_equal(p->violations[0]->subject, "visits/1");
    assert_string_equal(p->violations[0]->description, "is open, must be closed");
    const Google__Rpc__ResourceInfo *res =
        reply_detail(&r, &google__rpc__resource_info__descriptor, arena);
    assert_string_equal(res->resource_type, "daybook.visits.v1.Visit");
    assert_null(reply_detail(&r, &google__rpc__bad_request__descriptor, arena));
}

static void a_duplicate_names_the_resource(void **state)
{
    (void)state;
    struct call call = open_call();
    enum err e = call_fail(&call, ERR_ALREADY_EXISTS, "credit_code", "another customer has it");
    struct reply r = as_reply(status_of(&call, e));
    const Google__Rpc__ResourceInfo *res =
        reply_detail(&r, &google__rpc__resource_info__descriptor, arena);
    assert_non_null(res);
    assert_string_equal(res->description, "another customer has it");
}

/* Words for one code must not be put to another that came after them. */
static void a_code_without_words_gets_the_general_ones(void **state)
{
    (void)state;
    struct call call = open_call();
    enum err ignored = call_fail(&call, ERR_NOT_FOUND, "", "no such visit");
    assert_int_equal(ignored, ERR_NOT_FOUND);
    const Google__Rpc__Status *s = status_of(&call, ERR_UNAVAILABLE);
    assert_null(strstr(s->message, "no such visit"));

    call.state->failure = (struct call_failure){ 0 };
    snprintf(call.state->db_error.sqlstate, sizeof call.state->db_error.sqlstate, "53100");
    assert_string_equal(call_failure_reason(&call, ERR_UNAVAILABLE), "STORAGE_FULL"); /* F21 */
}

static void a_rerun_starts_clean(void **state)
{
    (void)state;
    struct call call = open_call();
    call_violation(&call, "a", "is %d", 1);
    call_metadata(&call, "cache", "hit");
    call_wake(&call, "x", "y", 1);
    assert_int_equal(call_violations(&call), ERR_INVALID_ARGUMENT);
    call_forget(&call);
    assert_int_equal(call_violations(&call), ERR_OK);
    assert_null(call.state->metadata);
    assert_null(call.state->wakes);
    assert_int_equal(call.state->failure.code, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(refuses_unknown_methods, fresh),
        cmocka_unit_test_setup(refuses_unproven_callers_F61, fresh),
        cmocka_unit_test_setup(refuses_keys_without_the_scope, fresh),
        cmocka_unit_test_setup(names_all_faulty_fields, fresh),
        cmocka_unit_test_setup(refuses_malformed_messages_F35, fresh),
        cmocka_unit_test_setup(refuses_a_malformed_context_F35, fresh),
        cmocka_unit_test_setup(refuses_unusable_keys, fresh),
        cmocka_unit_test_setup(does_not_start_late_or_while_draining_F09, fresh),
        cmocka_unit_test_setup(answers_when_the_arena_is_full, fresh),
        cmocka_unit_test_setup(a_failed_rule_names_the_subject, fresh),
        cmocka_unit_test_setup(a_duplicate_names_the_resource, fresh),
        cmocka_unit_test_setup(a_code_without_words_gets_the_general_ones, fresh),
        cmocka_unit_test_setup(a_rerun_starts_clean, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
