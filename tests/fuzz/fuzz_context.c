/*
 * fuzz_context.c - the CallContext frame, which every daemon reads before anything else.
 *
 * Under the limits of outside messages; each text that comes out is what the rest of the call
 * takes for granted: UTF-8, ended by NUL, not cut.
 */
#include <assert.h>

#include "common/base.h"
#include "common/schema.h"
#include "common/utf8.h"
#include "common/wire.h"
#include "daybook/common/v1/call.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_text(const char *text, size_t frame_len)
{
    assert(text);
    size_t n = strlen(text);
    assert(n <= frame_len && utf8_is_valid(text, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;
    ProtobufCMessage *m;
    struct wire_fault fault;

    if (!a) {
        schema_init();
        a = arena_new(16 * MIB);
    }
    arena_reset(a);
    enum err e = wire_unpack(&daybook__common__v1__call_context__descriptor, data, len,
                             &wire_limits_default, a, &m, &fault);
    assert(e == ERR_OK || e == ERR_INVALID_ARGUMENT || e == ERR_RESOURCE_EXHAUSTED);
    if (e)
        return 0;
    const Daybook__Common__V1__CallContext *context = (const Daybook__Common__V1__CallContext *)m;
    check_text(context->request_id, len);
    check_text(context->traceparent, len);
    check_text(context->tracestate, len);
    check_text(context->idempotency_key, len);
    check_text(context->service, len);
    (void)wire_time_us(context->received_at); /* whatever it holds */
    ProtobufCMessage *copy = wire_clone(m, a);
    assert(copy && wire_equal(m, copy, a));
    return 0;
}
