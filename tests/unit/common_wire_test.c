/* What is refused, what is merged, what unpacking costs at most, the normal form of messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/common/v1/call.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "testdata/testdata.pb-c.h"

typedef Daybook__Testdata__V1__Everything Everything;
#define EVERYTHING (&daybook__testdata__v1__everything__descriptor)

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    schema_init();
    arena = arena_new(128 * MIB);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    schema_fini();
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(arena);
    return 0;
}

/* Bytes with their length, NULs included. */
#define BYTES(literal) (literal), sizeof(literal) - 1

static void refuses_what_is_not_well_formed(void **state)
{
    (void)state;
    /* Tags: 0x08 int32_field, 0x72 string_field, 0x8a01 child, 0xaa01 int32_list,
     * 0xca01 string_list, 0xe201 child_list, 0xfa01 int32_map. */
    static const struct {
        const char *label, *data;
        size_t len;
        const char *field, *reason; /* NULL: well-formed */
    } cases[] = {
        { "empty", BYTES(""), NULL, NULL },
        { "one number", BYTES("\x08\x01"), NULL, NULL },
        { "varint of ten bytes", BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL,
          NULL },
        { "varint of eleven bytes", BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
          "int32_field", "cut short" },
        { "varint cut short", BYTES("\x08\xff"), "int32_field", "cut short" },
        { "tag alone", BYTES("\x08"), "int32_field", "cut short" },
        { "tag cut short", BYTES("\x8a"), "", "tag" },
        { "tag of six bytes", BYTES("\x88\x80\x80\x80\x80\x00\x01"), "", "tag" },
        { "tag past 32 bits", BYTES("\xff\xff\xff\xff\x7f\x01"), "", "tag" },
        { "field number 0", BYTES("\x00\x01"), "", "field number 0" },
        { "group", BYTES("\x0b\x0c"), "int32_field", "wire type" },
        { "unknown group", BYTES("\xc3\x3e\xc4\x3e"), "", "groups" },
        { "wire type 7", BYTES("\xc7\x3e"), "", "wire type 7" },
        { "unknown fields of all types",
          BYTES("\xc0\x3e\x01\xc1\x3e"
                "12345678"
                "\xc2\x3e\x02hi\xc5\x3e"
                "1234"),
          NULL, NULL },
        { "unknown field cut short", BYTES("\xc2\x3e\x05hi"), "", "cut short" },
        { "other wire type",
          BYTES("\x0d"
                "1234"),
          "int32_field", "wire type 5 instead of 0" },
        { "string", BYTES("\x72\x02hi"), NULL, NULL },
        { "string cut short", BYTES("\x72\x03hi"), "string_field", "cut short" },
        { "string not UTF-8", BYTES("\x72\x01\xff"), "string_field", "UTF-8" },
        { "string with NUL",
          BYTES("\x72\x03"
                "a\0b"),
          "string_field", "NUL" },
        { "second string not UTF-8",
          BYTES("\xca\x01\x01"
                "a\xca\x01\x01\xff"),
          "string_list[1]", "UTF-8" },
        { "child in a list", BYTES("\xe2\x01\x00\xe2\x01\x03\x72\x01\xff"),
          "child_list[1].string_field", "UTF-8" },
        { "child of a child", BYTES("\x8a\x01\x06\x8a\x01\x03\x72\x01\xff"),
          "child.child.string_field", "UTF-8" },
        { "scalar twice", BYTES("\x08\x01\x08\x02"), NULL, NULL },
        { "packed", BYTES("\xaa\x01\x03\x01\x02\x03"), NULL, NULL },
        { "packed and single mixed", BYTES("\xaa\x01\x01\x01\xa8\x01\x02"), NULL, NULL },
        { "packed cut short", BYTES("\xaa\x01\x02\x01\xff"), "int32_list[1]", "cut short" },
        { "packed doubles",
          BYTES("\xba\x01\x08"
                "12345678"),
          NULL, NULL },
        { "packed doubles cut short",
          BYTES("\xba\x01\x07"
                "1234567"),
          "double_list[0]", "cut short" },
        { "map entry", BYTES("\xfa\x01\x04\x08\x01\x10\x02"), NULL, NULL },
        { "map entry broken", BYTES("\xfa\x01\x02\x08\xff"), "int32_map[0].key", "cut short" },
        { "length past the end", BYTES("\x72\xff\xff\xff\xff\x0f"), "string_field", "cut short" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_fault fault = { "", "" };
        enum err want = cases[i].reason ? ERR_INVALID_ARGUMENT : ERR_OK;
        enum err e =
            wire_check(EVERYTHING, cases[i].data, cases[i].len, &wire_limits_default, &fault);
        if (e != want)
            fail_msg("%s: %s (%s: %s)", cases[i].label, err_name(e), fault.field, fault.reason);
        if (want && strcmp(fault.field, cases[i].field) != 0)
            fail_msg("%s: fault in '%s'", cases[i].label, fault.field);
        if (want && !strstr(fault.reason, cases[i].reason))
            fail_msg("%s: reason '%s'", cases[i].label, fault.reason);
        ProtobufCMessage *m = NULL; /* and what passes, protobuf-c can read */
        assert_int_equal(wire_unpack(EVERYTHING, cases[i].data, cases[i].len, &wire_limits_default,
                                     arena, &m, &fault),
                         want);
        assert_true((m != NULL) == (want == ERR_OK));
    }
}

/* n children inside each other, innermost empty, written from the inside out. */
static size_t nest(uint8_t *buf, size_t size, int n)
{
    size_t start = size;
    for (int i = 0; i < n; i++) {
        size_t len = size - start;
        if (len >= 128) {
            buf[--start] = (uint8_t)(len >> 7);
            buf[--start] = (uint8_t)(len | 0x80);
        } else {
            buf[--start] = (uint8_t)len;
        }
        buf[--start] = 0x01;
        buf[--start] = 0x8a;
    }
    memmove(buf, buf + start, size - start);
    return size - start;
}

static void depth_is_limited(void **state)
{
    (void)state;
    static const struct {
        int children, max_depth;
        enum err want;
    } cases[] = {
        { 0, 1, ERR_OK },     { 1, 1, ERR_INVALID_ARGUMENT },      { 31, 32, ERR_OK },
        { 63, 64, ERR_OK },   { 64, 64, ERR_INVALID_ARGUMENT },    { 32, 32, ERR_INVALID_ARGUMENT },
        { 99, 9999, ERR_OK }, { 100, 9999, ERR_INVALID_ARGUMENT }, /* whatever the limits say */
    };
    uint8_t buf[512];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_limits limits = wire_limits_internal;
        limits.max_depth = cases[i].max_depth;
        size_t len = nest(buf, sizeof(buf), cases[i].children);
        struct wire_fault fault;
        enum err e = wire_check(EVERYTHING, buf, len, &limits, &fault);
        if (e != cases[i].want)
            fail_msg("%d children, limit %d: %s", cases[i].children, cases[i].max_depth,
                     err_name(e));
        if (e)
            assert_non_null(strstr(fault.reason, "deep"));
    }
}

static void a_deeply_nested_value_does_not_end_the_process(void **state)
{
    (void)state; /* protocols C.3: 5 000 times Value in ListValue kills plain protobuf-c */
    size_t size = 64 * KIB, start = size;
    uint8_t *buf = arena_alloc(arena, size);
    assert_non_null(buf);
    for (int i = 0; i < 10000 && start > 8; i++) {
        size_t len = size - start;
        buf[--start] = (uint8_t)(len >> 14);
        buf[--start] = (uint8_t)(len >> 7 | 0x80);
        buf[--start] = (uint8_t)(len | 0x80);
        buf[--start] = i % 2 ? 0x32 : 0x0a; /* Value.list_value, ListValue.values */
    }
    struct wire_fault fault;
    assert_int_equal(wire_check(&google__protobuf__value__descriptor, buf + start, size - start,
                                &wire_limits_internal, &fault),
                     ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(fault.reason, "deep"));
    assert_int_equal(fault.field[sizeof(fault.field) - 1], 0);
}

static void every_size_is_limited(void **state)
{
    (void)state;
    const struct wire_limits limits = {
        .max_bytes = 12, .max_depth = 2, .max_repeated = 3, .max_string = 4, .max_bytes_field = 5
    };
    static const struct {
        const char *label, *data;
        size_t len;
        const char *field; /* NULL: within the limits */
    } cases[] = {
        { "whole message",
          BYTES("\x72\x04"
                "1234\x72\x04"
                "1234"),
          NULL },
        { "whole message too long",
          BYTES("\x72\x04"
                "1234\x72\x04"
                "1234\x08"),
          "" },
        { "string",
          BYTES("\x72\x05"
                "12345"),
          "string_field" },
        { "bytes",
          BYTES("\x7a\x05"
                "12345"),
          NULL },
        { "bytes too long",
          BYTES("\x7a\x06"
                "123456"),
          "bytes_field" },
        { "packed elements", BYTES("\xaa\x01\x03\x01\x02\x03"), NULL },
        { "too many packed", BYTES("\xaa\x01\x04\x01\x02\x03\x04"), "int32_list[0]" },
        { "too many single", BYTES("\xa8\x01\x01\xa8\x01\x01\xa8\x01\x01\xa8\x01\x01"),
          "int32_list[3]" },
        { "too many unknown", BYTES("\xc0\x3e\x01\xc0\x3e\x01\xc0\x3e\x01\xc0\x3e\x01"), "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_fault fault = { "", "" };
        enum err e = wire_check(EVERYTHING, cases[i].data, cases[i].len, &limits, &fault);
        if ((e == ERR_OK) != !cases[i].field)
            fail_msg("%s: %s (%s: %s)", cases[i].label, err_name(e), fault.field, fault.reason);
        if (cases[i].field && strncmp(fault.field, cases[i].field, 10) != 0)
            fail_msg("%s: fault in %s", cases[i].label, fault.field);
    }
}

static void memory_of_one_unpack_is_bounded(void **state)
{
    (void)state; /* each two bytes "child_list {}" cost a whole struct */
    size_t n = 50000;
    uint8_t *buf = arena_alloc(arena, n * 3);
    assert_non_null(buf);
    for (size_t i = 0; i < n; i++)
        memcpy(buf + i * 3, "\xe2\x01", 3);
    size_t before = arena_used(arena);
    struct wire_fault fault;
    ProtobufCMessage *m;
    assert_int_equal(wire_unpack(EVERYTHING, buf, n * 3, &wire_limits_internal, arena, &m, &fault),
                     ERR_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(fault.reason, "memory"));
    assert_true(arena_used(arena) - before < 24 * n * 3 + 2 * MIB);
}

static void packs_and_unpacks_without_loss(void **state)
{
    (void)state;
    Everything *m = wire_new(EVERYTHING, arena);
    assert_non_null(m);
    m->int64_field = INT64_MIN;
    m->string_field = arena_strdup(arena, "\xe5\xbc\xa0");
    m->choice_case = DAYBOOK__TESTDATA__V1__EVERYTHING__CHOICE_CHOICE_NUMBER;
    m->child = wire_new(EVERYTHING, arena);
    m->child->double_field = 0.1;

    uint8_t *data;
    size_t len;
    assert_int_equal(wire_pack(&m->base, arena, &data, &len), ERR_OK);
    ProtobufCMessage *back;
    struct wire_fault fault;
    assert_int_equal(wire_unpack(EVERYTHING, data, len, &wire_limits_default, arena, &back, &fault),
                     ERR_OK);
    const Everything *b = (const Everything *)back;
    assert_true(b->int64_field == INT64_MIN);
    assert_string_equal(b->string_field, "\xe5\xbc\xa0");
    assert_int_equal(b->choice_case, DAYBOOK__TESTDATA__V1__EVERYTHING__CHOICE_CHOICE_NUMBER);
    assert_true(b->child->double_field == 0.1);
    assert_true(wire_equal(&m->base, back, arena));
    Everything *copy = wire_clone(back, arena);
    assert_non_null(copy);
    assert_ptr_not_equal(copy->child, b->child);
    assert_true(wire_equal(&copy->base, back, arena));
    copy->child->double_field = 0.2;
    assert_false(wire_equal(&copy->base, back, arena));
}

static void no_message_packs_to_nothing(void **state)
{
    (void)state;
    uint8_t *data = (uint8_t[]){ 1 };
    size_t len = 1;
    assert_int_equal(wire_pack(NULL, arena, &data, &len), ERR_OK);
    assert_null(data);
    assert_int_equal(len, 0);
}

static void a_full_arena_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    struct arena *small = arena_new(64);
    Everything *m = wire_new(EVERYTHING, arena);
    uint8_t *data, out[32];
    size_t len;
    struct wire_fault fault;
    ProtobufCMessage *back;
    m->string_field = arena_strdup(arena, "a text that does not fit into an arena of 64 bytes, "
                                          "however little else is in there");
    assert_null(wire_new(EVERYTHING, small));
    assert_int_equal(wire_pack(&m->base, small, &data, &len), ERR_RESOURCE_EXHAUSTED);
    assert_null(wire_clone(&m->base, small));
    assert_null(wire_any(small, &m->base));
    assert_int_equal(wire_fingerprint("s", "m", &m->base, small, out), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(
        wire_unpack(EVERYTHING, "\x08\x01", 2, &wire_limits_default, small, &back, &fault),
        ERR_RESOURCE_EXHAUSTED);
    arena_free(small);
}

static ProtobufCMessage *unpack(const char *data, size_t len)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    assert_int_equal(wire_unpack(EVERYTHING, data, len, &wire_limits_default, arena, &m, &fault),
                     ERR_OK);
    return m;
}

/* What wire_check() refuses: who reads raw bytes must not take one of two for the whole. */
static void sub_messages_that_occur_twice_are_merged(void **state)
{
    (void)state;
    /* Tags: 0x8a01 child, 0xaa01 int32_list, 0xfa01 int32_map, 0xb202 string_map; of choice:
     * 0x9803 choice_number, 0xaa03 choice_child. */
    static const struct {
        const char *label, *in;
        size_t nin;
        const char *merged;
        size_t nmerged;
    } cases[] = {
        { "both empty", BYTES("\x8a\x01\x00\x8a\x01\x00"), BYTES("\x8a\x01\x00") },
        { "scalars: the last", BYTES("\x8a\x01\x02\x08\x01\x8a\x01\x02\x08\x02"),
          BYTES("\x8a\x01\x02\x08\x02") },
        { "what the last lacks", BYTES("\x8a\x01\x02\x08\x01\x8a\x01\x02\x10\x02"),
          BYTES("\x8a\x01\x04\x08\x01\x10\x02") },
        { "the last is empty", BYTES("\x8a\x01\x02\x08\x01\x8a\x01\x00"),
          BYTES("\x8a\x01\x02\x08\x01") },
        { "three times, others between",
          BYTES("\x8a\x01\x02\x08\x01\x08\x05\x8a\x01\x00\x10\x06\x8a\x01\x02\x10\x02"),
          BYTES("\x08\x05\x10\x06\x8a\x01\x04\x08\x01\x10\x02") },
        { "lists: all elements", BYTES("\x8a\x01\x04\xaa\x01\x01\x01\x8a\x01\x04\xaa\x01\x01\x02"),
          BYTES("\x8a\x01\x05\xaa\x01\x02\x01\x02") },
        { "children of children",
          BYTES("\x8a\x01\x05\x8a\x01\x02\x08\x01\x8a\x01\x05\x8a\x01\x02\x10\x02"),
          BYTES("\x8a\x01\x07\x8a\x01\x04\x08\x01\x10\x02") },
        { "inside an element", BYTES("\xe2\x01\x0a\x8a\x01\x02\x08\x01\x8a\x01\x02\x10\x02"),
          BYTES("\xe2\x01\x07\x8a\x01\x04\x08\x01\x10\x02") },
        { "elements stay apart", BYTES("\xe2\x01\x02\x08\x01\xe2\x01\x00\x8a\x01\x00\x8a\x01\x00"),
          BYTES("\xe2\x01\x02\x08\x01\xe2\x01\x00\x8a\x01\x00") },
        { "value of a map entry", BYTES("\xb2\x02\x0b\x0a\x01k\x12\x02\x08\x01\x12\x02\x10\x02"),
          BYTES("\xb2\x02\x09\x0a\x01k\x12\x04\x08\x01\x10\x02") },
        { "member of a oneof", BYTES("\xaa\x03\x02\x08\x01\xaa\x03\x02\x10\x02"),
          BYTES("\xaa\x03\x04\x08\x01\x10\x02") },
        { "another member between", BYTES("\xaa\x03\x02\x08\x01\x98\x03\x07\xaa\x03\x02\x10\x02"),
          BYTES("\xaa\x03\x02\x10\x02") },
        { "another member last", BYTES("\xaa\x03\x02\x08\x01\xaa\x03\x02\x10\x02\x98\x03\x07"),
          BYTES("\x98\x03\x07") },
        { "a oneof inside", BYTES("\x8a\x01\x05\xaa\x03\x02\x08\x01\x8a\x01\x03\x98\x03\x07"),
          BYTES("\x8a\x01\x03\x98\x03\x07") },
        { "a oneof inside, set once", BYTES("\x8a\x01\x03\x98\x03\x07\x8a\x01\x02\x08\x01"),
          BYTES("\x8a\x01\x05\x08\x01\x98\x03\x07") },
        { "lengths longer than needed", BYTES("\x8a\x01\x82\x80\x00\x08\x01\x8a\x01\x80\x00"),
          BYTES("\x8a\x01\x02\x08\x01") },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_fault fault = { "", "" };
        if (wire_check(EVERYTHING, cases[i].in, cases[i].nin, &wire_limits_default, &fault) !=
                ERR_INVALID_ARGUMENT ||
            !strstr(fault.reason, "twice"))
            fail_msg("%s: wire_check: %s", cases[i].label, fault.reason);
        ProtobufCMessage *m = unpack(cases[i].in, cases[i].nin);
        if (!wire_equal(m, unpack(cases[i].merged, cases[i].nmerged), arena))
            fail_msg("%s: merged otherwise", cases[i].label);
    }

    /* Unknown fields of both stay. */
    uint8_t *data;
    size_t len;
    ProtobufCMessage *m = unpack(BYTES("\x8a\x01\x03\xc0\x3e\x01\x8a\x01\x03\xc0\x3e\x02"));
    assert_int_equal(wire_pack(m, arena, &data, &len), ERR_OK);
    assert_int_equal(len, 9);
    assert_memory_equal(data, "\x8a\x01\x06\xc0\x3e\x01\xc0\x3e\x02", 9);
}

static void merging_keeps_the_limits(void **state)
{
    (void)state;
    struct wire_limits limits = wire_limits_default;
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m;
    limits.max_repeated = 3; /* two elements each */
    assert_int_equal(wire_unpack(EVERYTHING,
                                 BYTES("\x8a\x01\x05\xaa\x01\x02\x01\x02\x8a\x01\x05\xaa"
                                       "\x01\x02\x01\x02"),
                                 &limits, arena, &m, &fault),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(fault.field, "child.int32_list[2]");

    /* 32 children inside each other, a megabyte in the innermost, each followed by an empty twin:
     * gathering it on each level would take 32 MiB. */
    size_t size = MIB + 512, start = size - MIB;
    uint8_t *buf = arena_alloc(arena, size);
    assert_non_null(buf);
    memset(buf + start, 0, MIB);
    memcpy(buf + start, "\x7a\xfb\xff\x3f", 4); /* bytes_field */
    static const uint8_t twin[] = { 0x8a, 0x01, 0x00 };
    limits = wire_limits_internal;
    size_t end = start + 4 + 0xffffb;
    for (int i = 0; i < 32; i++) {
        size_t n = end - start;
        buf[--start] = (uint8_t)(n >> 14);
        buf[--start] = (uint8_t)(n >> 7 | 0x80);
        buf[--start] = (uint8_t)(n | 0x80);
        memcpy(buf + (start -= 2), twin, 2);
        memcpy(buf + (start -= 3), twin, 3);
    }
    size_t before = arena_used(arena);
    assert_int_equal(wire_unpack(EVERYTHING, buf + start, end - start, &limits, arena, &m, &fault),
                     ERR_RESOURCE_EXHAUSTED);
    assert_true(arena_used(arena) - before <= 24 * (end - start) + 2 * MIB);
}

static void a_child_a_hundred_thousand_times_is_one(void **state)
{
    (void)state;
    size_t n = 100000;
    uint8_t *buf = arena_alloc(arena, n * 5);
    assert_non_null(buf);
    for (size_t i = 0; i < n; i++)
        memcpy(buf + i * 5, "\x8a\x01\x02\x08\x07", 5);
    struct wire_fault fault;
    ProtobufCMessage *m;
    assert_int_equal(wire_unpack(EVERYTHING, buf, n * 5, &wire_limits_default, arena, &m, &fault),
                     ERR_OK);
    assert_int_equal(((Everything *)m)->child->int32_field, 7);
}

static void the_normal_form_ignores_what_means_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *label, *x;
        size_t nx;
        const char *y;
        size_t ny;
        bool same;
    } cases[] = {
        { "order of map entries", BYTES("\xfa\x01\x04\x08\x01\x10\x02\xfa\x01\x04\x08\x02\x10\x03"),
          BYTES("\xfa\x01\x04\x08\x02\x10\x03\xfa\x01\x04\x08\x01\x10\x02"), true },
        { "the last of equal keys",
          BYTES("\xfa\x01\x04\x08\x01\x10\x02\xfa\x01\x04\x08\x01\x10\x03"),
          BYTES("\xfa\x01\x04\x08\x01\x10\x03"), true },
        { "not the first of equal keys",
          BYTES("\xfa\x01\x04\x08\x01\x10\x02\xfa\x01\x04\x08\x01\x10\x03"),
          BYTES("\xfa\x01\x04\x08\x01\x10\x02"), false },
        { "unknown fields", BYTES("\x08\x01\xc0\x3e\x01"), BYTES("\x08\x01"), true },
        { "unknown fields of a child", BYTES("\x8a\x01\x03\xc0\x3e\x01"), BYTES("\x8a\x01\x00"),
          true },
        { "zero written out", BYTES("\x08\x00"), BYTES(""), true },
        { "zero in a oneof", BYTES("\x98\x03\x00"), BYTES(""), false },
        { "empty child", BYTES("\x8a\x01\x00"), BYTES(""), false },
        { "order in a list", BYTES("\xaa\x01\x02\x01\x02"), BYTES("\xaa\x01\x02\x02\x01"), false },
        { "packed or not", BYTES("\xaa\x01\x02\x01\x02"), BYTES("\xa8\x01\x01\xa8\x01\x02"), true },
        { "map value left out", BYTES("\xb2\x02\x03\x0a\x01k"),
          BYTES("\xb2\x02\x05\x0a\x01k\x12\x00"), true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ProtobufCMessage *x = unpack(cases[i].x, cases[i].nx);
        ProtobufCMessage *y = unpack(cases[i].y, cases[i].ny);
        uint8_t fx[32], fy[32];
        assert_int_equal(wire_fingerprint("s", "m", x, arena, fx), ERR_OK);
        assert_int_equal(wire_fingerprint("s", "m", y, arena, fy), ERR_OK);
        if (wire_equal(x, y, arena) != cases[i].same)
            fail_msg("%s: wire_equal, want %d", cases[i].label, cases[i].same);
        if ((memcmp(fx, fy, 32) == 0) != cases[i].same)
            fail_msg("%s: fingerprints, want %d", cases[i].label, cases[i].same);
    }
}

static void the_normal_form_reaches_into_an_any(void **state)
{
    (void)state;
    Everything *x = wire_new(EVERYTHING, arena), *y = wire_new(EVERYTHING, arena);
    Google__Protobuf__Any *any = wire_any(arena, unpack(BYTES("\x08\x01")));
    assert_string_equal(any->type_url, "type.googleapis.com/daybook.testdata.v1.Everything");
    x->any = any;
    y->any = wire_clone(&any->base, arena);
    static char with_unknown[] = "\x08\x01\xc0\x3e\x01";
    y->any->value.data = (uint8_t *)with_unknown;
    y->any->value.len = 5;
    assert_true(wire_equal(&x->base, &y->base, arena));
    y->any->value.data = (uint8_t *)&with_unknown[3]; /* cannot be read: compared as it is */
    y->any->value.len = 1;
    assert_false(wire_equal(&x->base, &y->base, arena));
    assert_true(wire_equal(&y->base, &y->base, arena));
}

static void an_any_in_an_any_in_an_any_ends(void **state)
{
    (void)state;
    ProtobufCMessage *m = wire_new(EVERYTHING, arena);
    for (int i = 0; i < 2000; i++) {
        m = wire_any(arena, m);
        assert_non_null(m);
    }
    uint8_t out[32];
    assert_int_equal(wire_fingerprint("s", "m", m, arena, out), ERR_OK);
}

static void the_fingerprint_covers_the_method(void **state)
{
    (void)state;
    ProtobufCMessage *m = unpack(BYTES("\x08\x01"));
    uint8_t a[32], b[32], c[32];
    assert_int_equal(wire_fingerprint("ab", "c", m, arena, a), ERR_OK);
    assert_int_equal(wire_fingerprint("a", "bc", m, arena, b), ERR_OK);
    assert_int_equal(wire_fingerprint("ab", "d", m, arena, c), ERR_OK);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a, c, 32);
}

static void times_go_both_ways(void **state)
{
    (void)state;
    static const int64_t cases[] = {
        0, 1, -1, 999999, -999999, -1000000, 1000000, -62135596800000000, 1767225600123456, -1500000
    };
    assert_true(wire_time_us(NULL) == 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const Google__Protobuf__Timestamp *t = wire_time(arena, cases[i]);
        assert_non_null(t);
        assert_true(t->nanos >= 0 && t->nanos <= 999999999);
        assert_true(wire_time_us(t) == cases[i]);
    }
    Google__Protobuf__Timestamp far = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    far.seconds = INT64_MAX;
    assert_true(wire_time_us(&far) == INT64_MAX);
    far.seconds = INT64_MIN;
    assert_true(wire_time_us(&far) == INT64_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(refuses_what_is_not_well_formed, reset),
        cmocka_unit_test_setup(depth_is_limited, reset),
        cmocka_unit_test_setup(a_deeply_nested_value_does_not_end_the_process, reset),
        cmocka_unit_test_setup(every_size_is_limited, reset),
        cmocka_unit_test_setup(memory_of_one_unpack_is_bounded, reset),
        cmocka_unit_test_setup(packs_and_unpacks_without_loss, reset),
        cmocka_unit_test_setup(no_message_packs_to_nothing, reset),
        cmocka_unit_test_setup(a_full_arena_is_an_error_and_not_a_crash, reset),
        cmocka_unit_test_setup(sub_messages_that_occur_twice_are_merged, reset),
        cmocka_unit_test_setup(merging_keeps_the_limits, reset),
        cmocka_unit_test_setup(a_child_a_hundred_thousand_times_is_one, reset),
        cmocka_unit_test_setup(the_normal_form_ignores_what_means_the_same, reset),
        cmocka_unit_test_setup(the_normal_form_reaches_into_an_any, reset),
        cmocka_unit_test_setup(an_any_in_an_any_in_an_any_ends, reset),
        cmocka_unit_test_setup(the_fingerprint_covers_the_method, reset),
        cmocka_unit_test_setup(times_go_both_ways, reset),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
