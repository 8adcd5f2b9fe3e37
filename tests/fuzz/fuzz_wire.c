/*
 * fuzz_wire.c - bytes from outside as messages of several types; the first byte chooses the type,
 * its highest bit whether a NUL in a string is kept.
 *
 * What wire_check() lets pass, protobuf-c must read, and the message must survive being packed, read
 * again, packed to the same bytes and brought into its normal form. Writing it as JSON must not fail
 * in other ways than those of its contract, and what was written must be read again.
 */
#include <assert.h>

#include "common/base.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "daybook/common/v1/call.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "testdata/testdata.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const ProtobufCMessageDescriptor *const types[] = {
    &daybook__testdata__v1__everything__descriptor,
    &google__protobuf__value__descriptor,
    &daybook__common__v1__call_context__descriptor,
    &daybook__common__v1__call_result__descriptor,
    &daybook__bus__v1__event__descriptor,
    &google__rpc__status__descriptor,
    &google__protobuf__file_descriptor_set__descriptor, /* proto2 */
};

static bool is_proto2(const ProtobufCMessageDescriptor *type)
{
    return type == &google__protobuf__file_descriptor_set__descriptor;
}

static void json_and_back(const ProtobufCMessage *m, int flags, struct arena *a)
{
    struct sbuf text;
    sbuf_init(&text, 4 * MIB);
    enum err e = protojson_write(m, flags, &text);
    assert(e == ERR_OK || e == ERR_INVALID_ARGUMENT || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK && !is_proto2(m->descriptor)) {
        ProtobufCMessage *back;
        struct wire_fault fault;
        e = protojson_read(m->descriptor, text.data, text.len, flags | PROTOJSON_STRICT, a, &back,
                           &fault);
        if (e == ERR_INVALID_ARGUMENT) /* content of an Any counts its depth from outside here */
            assert(strstr(fault.reason, "deep"));
    }
    sbuf_fini(&text);
}

static void packs_to(const ProtobufCMessage *m, const uint8_t *want, size_t len, struct arena *a)
{
    uint8_t *packed;
    size_t packed_len;
    if (wire_pack(m, a, &packed, &packed_len))
        return; /* the arena is full */
    assert(packed_len == len && memcmp(packed, want, len) == 0);
}

static void survive(const ProtobufCMessage *m, bool keep_nul, struct arena *a)
{
    struct wire_limits limits = wire_limits_internal;
    uint8_t *packed;
    size_t packed_len;
    ProtobufCMessage *again;
    struct wire_fault fault;
    uint8_t print[32];

    enum err e = wire_pack(m, a, &packed, &packed_len);
    if (e)
        return; /* the arena is full */
    limits.keep_nul = keep_nul;
    e = wire_unpack(m->descriptor, packed, packed_len, &limits, a, &again, &fault);
    assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK)
        packs_to(again, packed, packed_len, a);
    if (e == ERR_OK && wire_fingerprint("s", "m", m, a, print) == ERR_OK)
        assert(wire_equal(m, again, a) || arena_used(a) > 32 * MIB);
    json_and_back(m, keep_nul ? PROTOJSON_KEEP_NUL : 0, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;
    struct wire_limits limits = wire_limits_default;
    ProtobufCMessage *m;
    struct wire_fault fault;

    if (len == 0)
        return 0;
    if (!a) {
        schema_init();
        a = arena_new(64 * MIB);
    }
    arena_reset(a);
    const ProtobufCMessageDescriptor *type = types[data[0] % ARRAY_LEN(types)];
    limits.keep_nul = data[0] & 0x80;
    enum err e = wire_unpack(type, data + 1, len - 1, &limits, a, &m, &fault);
    assert(e == ERR_OK || e == ERR_INVALID_ARGUMENT || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK)
        survive(m, limits.keep_nul, a);
    else
        assert(fault.reason[0]);
    if (e && !is_proto2(type)) /* said where protobuf-c cannot read what has passed */
        assert(!strstr(fault.reason, "required"));
    return 0;
}
