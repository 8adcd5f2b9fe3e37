/*
 * common_protojson_fixture.h - the vectors of the JSON mapping: `want` is what the message that was
 * read writes back; NULL means that reading must fail.
 */
#ifndef DAYBOOK_TESTS_COMMON_PROTOJSON_FIXTURE_H
#define DAYBOOK_TESTS_COMMON_PROTOJSON_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "testdata/testdata.pb-c.h"

typedef Daybook__Testdata__V1__Everything Everything;
#define EVERYTHING (&daybook__testdata__v1__everything__descriptor)

static struct arena *arena;
static struct sbuf out;

UNUSED static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(256 * MIB);
    sbuf_init(&out, 16 * MIB);
    return arena ? 0 : -1;
}

UNUSED static int tear_down(void **state)
{
    (void)state;
    sbuf_fini(&out);
    arena_free(arena);
    schema_fini();
    return 0;
}

UNUSED static int reset(void **state)
{
    (void)state;
    arena_reset(arena);
    sbuf_clear(&out);
    return 0;
}

struct vector {
    const char *in, *want;
};

UNUSED static void check_vector(const ProtobufCMessageDescriptor *type, const struct vector *v,
                                int flags)
{
    ProtobufCMessage *m = NULL;
    struct wire_limits limits = wire_limits_internal;
    struct wire_fault fault = { "", "" };
    limits.keep_nul = flags & PROTOJSON_KEEP_NUL;
    enum err e = protojson_read(type, v->in, strlen(v->in), flags, arena, &m, &fault);
    if (!v->want) {
        if (e != ERR_INVALID_ARGUMENT)
            fail_msg("%s: must fail, gave %s", v->in, err_name(e));
        if (!fault.reason[0])
            fail_msg("%s: no reason", v->in);
        return;
    }
    if (e)
        fail_msg("%s: %s: %s", v->in, fault.field, fault.reason);
    sbuf_clear(&out);
    e = protojson_write(m, flags, &out);
    if (e)
        fail_msg("%s: cannot be written: %s", v->in, err_name(e));
    if (strcmp(out.data, v->want) != 0)
        fail_msg("%s: gave %s, want %s", v->in, out.data, v->want);

    /* What was read passes the check of the wire, and comes back from there as it was. */
    uint8_t *data;
    size_t len;
    ProtobufCMessage *back;
    assert_int_equal(wire_pack(m, arena, &data, &len), ERR_OK);
    e = wire_unpack(type, data, len, &limits, arena, &back, &fault);
    if (e)
        fail_msg("%s: wire: %s: %s", v->in, fault.field, fault.reason);
    assert_true(wire_equal(m, back, arena));
}

UNUSED static void check_vectors(const struct vector *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_vector(EVERYTHING, &v[i], PROTOJSON_STRICT);
}

#define CHECK(...)                                                                                 \
    do {                                                                                           \
        static const struct vector vectors[] = { __VA_ARGS__ };                                    \
        check_vectors(vectors, ARRAY_LEN(vectors));                                                \
    } while (0)

#endif
