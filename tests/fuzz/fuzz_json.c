/*
 * fuzz_json.c - texts from outside as messages; the first byte chooses type, strictness and whether
 * a NUL in a string is kept.
 *
 * What was read can be written, and what was written is read as the same message and written as the
 * same text; and so it is when it goes over the wire.
 */
#include <assert.h>

#include "common/base.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "testdata/testdata.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const ProtobufCMessageDescriptor *const types[] = {
    &daybook__testdata__v1__everything__descriptor,
    &google__protobuf__value__descriptor,
    &google__protobuf__any__descriptor,
    &google__protobuf__field_mask__descriptor,
};

static void is_written_as(const ProtobufCMessage *m, int flags, const struct sbuf *text)
{
    struct sbuf again;
    sbuf_init(&again, 4 * MIB);
    enum err e = protojson_write(m, flags, &again);
    assert(e == ERR_OK);
    assert(text->len == again.len && memcmp(text->data, again.data, text->len) == 0);
    sbuf_fini(&again);
}

static void goes_over_the_wire(const ProtobufCMessage *m, int flags, const struct sbuf *text,
                               struct arena *a)
{
    struct wire_limits limits = wire_limits_internal;
    struct wire_fault fault;
    ProtobufCMessage *back;
    uint8_t *packed;
    size_t packed_len;

    limits.keep_nul = flags & PROTOJSON_KEEP_NUL;
    enum err e = wire_pack(m, a, &packed, &packed_len);
    if (!e)
        e = wire_unpack(m->descriptor, packed, packed_len, &limits, a, &back, &fault);
    assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK)
        is_written_as(back, flags, text);
}

static void survive(const ProtobufCMessage *m, int flags, struct arena *a)
{
    const int writing = flags & (PROTOJSON_PRETTY | PROTOJSON_KEEP_NUL);
    struct sbuf text;
    ProtobufCMessage *again;
    struct wire_fault fault;

    sbuf_init(&text, 4 * MIB);
    enum err e = protojson_write(m, writing, &text);
    assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK) {
        goes_over_the_wire(m, writing, &text, a);
        e = protojson_read(m->descriptor, text.data, text.len, writing | PROTOJSON_STRICT, a,
                           &again, &fault);
        assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    }
    if (e == ERR_OK) {
        assert(wire_equal(m, again, a) || arena_used(a) > 32 * MIB);
        is_written_as(again, writing, &text);
    }
    sbuf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;
    ProtobufCMessage *m;
    struct wire_fault fault;

    if (len == 0)
        return 0;
    if (!a) {
        schema_init();
        a = arena_new(64 * MIB);
    }
    arena_reset(a);
    int flags = data[0] & (PROTOJSON_STRICT | PROTOJSON_PRETTY | PROTOJSON_KEEP_NUL);
    enum err e = protojson_read(types[(data[0] >> 2) % ARRAY_LEN(types)], (const char *)data + 1,
                                len - 1, flags, a, &m, &fault);
    assert(e == ERR_OK || e == ERR_INVALID_ARGUMENT || e == ERR_RESOURCE_EXHAUSTED);
    if (e) {
        assert(fault.reason[0]);
        return 0;
    }
    survive(m, flags, a);
    return 0;
}
