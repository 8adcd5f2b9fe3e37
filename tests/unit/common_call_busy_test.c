/* A request that stood behind another one of its worker (two buses): protocols A. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/call.h"
#include "common/schema.h"
#include "google/rpc/error_details.pb-c.h"

static enum err never(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    (void)call;
    (void)request;
    (void)reply_out;
    fail_msg("the handler ran");
    return ERR_INTERNAL;
}

static void it_is_refused_when_half_its_time_is_gone(void **state)
{
    (void)state;
    static const struct method methods[] = {
        { .service = "daybook.bus.v1.EventService", .name = "GetHead", .handler = never },
    };
    static const struct {
        int64_t waited_us;
        uint32_t deadline_ms;
        enum err want;
        const char *reason;
    } cases[] = {
        { 2501 * MSEC_US, 5000, ERR_UNAVAILABLE, "WORKER_BUSY" },
        { 2501 * MSEC_US, 0, ERR_UNAVAILABLE, "WORKER_BUSY" }, /* the default of 5 s */
        { 20 * SECOND_US, 5000, ERR_UNAVAILABLE, "WORKER_BUSY" },
        /* Goes on, and falls at the next gate: the caller is not proven. */
        { 2500 * MSEC_US, 5000, ERR_UNAUTHENTICATED, "UNAUTHENTICATED" },
        { 0, 5000, ERR_UNAUTHENTICATED, "UNAUTHENTICATED" },
    };
    struct arena *a = arena_new(8 * MIB);
    schema_init();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PbCallContext context;
        uint8_t packed[256], *result_data = NULL, *reply = NULL;
        size_t result_len = 0, reply_len = 0;
        char id[] = "req-1", service[] = "daybook.bus.v1.EventService";
        daybook__common__v1__call_context__init(&context);
        context.request_id = id;
        context.service = service;
        context.deadline_ms = cases[i].deadline_ms;
        struct call_env env = { .arena = a,
                                .methods = methods,
                                .nmethods = ARRAY_LEN(methods),
                                .waited_us = cases[i].waited_us };
        struct call_frames in = { .method = "GetHead",
                                  .method_len = 7,
                                  .context = packed,
                                  .context_len = protobuf_c_message_pack(&context.base, packed) };
        call_answer(&env, &in, &result_data, &result_len, &reply, &reply_len);
        PbCallResult *result =
            daybook__common__v1__call_result__unpack(NULL, result_len, result_data);
        assert_non_null(result);
        assert_string_equal(result->request_id, "req-1");
        assert_int_equal(result->status->code, cases[i].want);
        assert_true(result->status->n_details > 0);
        Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(
            NULL, result->status->details[0]->value.len, result->status->details[0]->value.data);
        assert_non_null(info);
        assert_string_equal(info->reason, cases[i].reason);
        google__rpc__error_info__free_unpacked(info, NULL);
        daybook__common__v1__call_result__free_unpacked(result, NULL);
        arena_reset(a);
    }
    arena_free(a);
    schema_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(
        it_is_refused_when_half_its_time_is_gone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
