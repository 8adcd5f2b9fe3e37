/*
 * fuzz_json.c - texts from outside as messages; the first byte chooses type and strictness.
 *
 * What was read passes the check of the wire, can be written, and what was written is read as the
 * same message and written as the same text.
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

static void fits_the_wire(const ProtobufCMessage *m, struct arena *a)
{
    uint8_t *packed;
    size_t packed_len;
    struct wire_fault fault;
    if (wire_pack(m, a, &packed, &packed_len))
        return; /* the arena is full */
    assert(wire_check(m->descriptor, packed, packed_len, &wire_limits_internal, &fault) == ERR_OK);
}

static void survive(const ProtobufCMessage *m, int flags, struct arena *a)
{
    struct sbuf first, second;
    ProtobufCMessage *again;
    struct wire_fault fault;

    sbuf_init(&first, 4 * MIB);
    sbuf_init(&second, 4 * MIB);
    enum err e = protojson_write(m, flags & PROTOJSON_PRETTY, &first);
    assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    if (e == ERR_OK) {
        e = protojson_read(m->descriptor, first.data, first.len, PROTOJSON_STRICT, a, &again,
                           &fault);
        assert(e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED);
    }
    if (e == ERR_OK) {
        assert(wire_equal(m, again, a) || arena_used(a) > 32 * MIB);
        e = protojson_write(again, flags & PROTOJSON_PRETTY, &second);
        assert(e == ERR_OK);
        assert(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    }
    sbuf_fini(&first);
    sbuf_fini(&second);
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
    int flags = data[0] & (PROTOJSON_STRICT | PROTOJSON_PRETTY);
    enum err e = protojson_read(types[(data[0] >> 2) % ARRAY_LEN(types)], (const char *)data + 1,
                                len - 1, flags, a, &m, &fault);
    assert(e == ERR_OK || e == ERR_INVALID_ARGUMENT || e == ERR_RESOURCE_EXHAUSTED);
    if (e) {
        assert(fault.reason[0]);
        return 0;
    }
    fits_the_wire(m, a);
    survive(m, flags, a);
    return 0;
}
