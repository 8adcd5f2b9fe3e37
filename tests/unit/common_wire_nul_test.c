/* NUL inside strings: bytes to messages to JSON and back; and what stays refused. */
#include "common/utf8.h"
#include "common/wire_nul.h"
#include "common_protojson_fixture.h"

/* Bytes with their length, NULs included. */
#define BYTES(literal) (literal), sizeof(literal) - 1
#define KEEP (PROTOJSON_STRICT | PROTOJSON_KEEP_NUL)

static struct wire_limits keeping(void)
{
    struct wire_limits limits = wire_limits_internal;
    limits.keep_nul = true;
    return limits;
}

static ProtobufCMessage *unpack(const char *data, size_t len)
{
    const struct wire_limits limits = keeping();
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m = NULL;
    if (wire_unpack(EVERYTHING, data, len, &limits, arena, &m, &fault))
        fail_msg("%s: %s", fault.field, fault.reason);
    return m;
}

static ProtobufCMessage *read_text(const char *text)
{
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m = NULL;
    if (protojson_read(EVERYTHING, text, strlen(text), KEEP, arena, &m, &fault))
        fail_msg("%s: %s: %s", text, fault.field, fault.reason);
    return m;
}

static void assert_packs_to(const char *label, const ProtobufCMessage *m, const char *want,
                            size_t len)
{
    uint8_t *data;
    size_t n;
    assert_int_equal(wire_pack(m, arena, &data, &n), ERR_OK);
    if (n != len || memcmp(data, want, n) != 0)
        fail_msg("%s: packed otherwise", label);
}

static void assert_refused(enum err e, const struct wire_fault *fault, const char *field,
                           const char *reason)
{
    assert_int_equal(e, ERR_INVALID_ARGUMENT);
    assert_string_equal(fault->field, field);
    if (!strstr(fault->reason, reason))
        fail_msg("%s: %s", fault->field, fault->reason);
    assert_true(utf8_is_valid(fault->reason, strlen(fault->reason)));
}

static const struct {
    const char *label, *bytes;
    size_t len;
    const char *json;
    const char *field, *json_field; /* where it is refused as a rule; NULL: nowhere */
} both_ways[] = {
    { "in the middle",
      BYTES("\x72\x03"
            "a\0b"),
      "{\"stringField\":\"a\\u0000b\"}", "string_field", "string_field" },
    { "alone", BYTES("\x72\x01\0"), "{\"stringField\":\"\\u0000\"}", "string_field",
      "string_field" },
    { "several, at both ends", BYTES("\x72\x06\0\0\xc3\xa9\0\0"),
      "{\"stringField\":\"\\u0000\\u0000\xc3\xa9\\u0000\\u0000\"}", "string_field",
      "string_field" },
    { "in one of a list",
      BYTES("\xca\x01\x01"
            "a\xca\x01\x02\0b\xca\x01\x00"),
      "{\"stringList\":[\"a\",\"\\u0000b\",\"\"]}", "string_list[1]", "string_list[1]" },
    { "in a child's child", BYTES("\x8a\x01\x07\x8a\x01\x04\x72\x02\0x"),
      "{\"child\":{\"child\":{\"stringField\":\"\\u0000x\"}}}", "child.child.string_field",
      "child.child.string_field" },
    { "in children", BYTES("\xe2\x01\x03\x72\x01\0\xe2\x01\x00\xe2\x01\x03\x72\x01\0"),
      "{\"childList\":[{\"stringField\":\"\\u0000\"},{},{\"stringField\":\"\\u0000\"}]}",
      "child_list[0].string_field", "child_list[0].string_field" },
    { "in a map's value", BYTES("\x82\x02\x05\x08\x01\x12\x01\0"),
      "{\"int64Map\":{\"1\":\"\\u0000\"}}", "int64_map[0].value", "int64_map[0]" },
    /* A key is read before its place is known, so its fault names the message around. */
    { "in a map's key",
      BYTES("\xb2\x02\x0b\x0a\x02k\0\x12\x05\x72\x03"
            "a\0b"),
      "{\"stringMap\":{\"k\\u0000\":{\"stringField\":\"a\\u0000b\"}}}", "string_map[0].key", "" },
    { "in a oneof", BYTES("\xa2\x03\x02\0\0"), "{\"choiceText\":\"\\u0000\\u0000\"}", "choice_text",
      "choice_text" },
    { "in a wrapper", BYTES("\xa2\x04\x03\x0a\x01\0"), "{\"stringValue\":\"\\u0000\"}",
      "string_value.value", "string_value" },
    { "in a path", BYTES("\x9a\x05\x06\x0a\x01\0\x0a\x01x"), "{\"mask\":\"\\u0000,x\"}",
      "mask.paths[0]", "mask" },
    { "in a free object", BYTES("\xa2\x05\x0a\x0a\x08\x0a\x01\0\x12\x03\x1a\x01\0"),
      "{\"struct\":{\"\\u0000\":\"\\u0000\"}}", "struct.fields[0].key", "struct" },
    { "in a free list", BYTES("\xaa\x05\x07\x32\x05\x0a\x03\x1a\x01\0"),
      "{\"value\":[\"\\u0000\"]}", "value.list_value.values[0].string_value", "value.values[0]" },
    { "in the content of an Any, which nobody looks into",
      BYTES("\xba\x05\x2c\x0a\x25"
            "x/daybook.testdata.v1.Everything\0\0\0\0\0"
            "\x12\x03\x72\x01\0"),
      NULL, "any.type_url", NULL },
    { "bytes that hold both forms", BYTES("\x7a\x05\xc0\x80\0\xc0\x80\xc2\x03\x02\xc0\x80"),
      "{\"bytesField\":\"wIAAwIA=\",\"choiceBytes\":\"wIA=\"}", NULL, NULL },
    { "bytes beside a string", BYTES("\x72\x01\0\x7a\x02\xc0\x80"),
      "{\"stringField\":\"\\u0000\",\"bytesField\":\"wIA=\"}", "string_field", "string_field" },
    { "bytes in a map", BYTES("\x92\x02\x06\x08\x01\x12\x02\xc0\x80"),
      "{\"uint64Map\":{\"1\":\"wIA=\"}}", NULL, NULL },
    { "numbers beside a string", BYTES("\x08\xc0\x80\x01\x72\x01\0\xaa\x01\x04\xc0\x80\x01\0"),
      "{\"int32Field\":16448,\"stringField\":\"\\u0000\",\"int32List\":[16448,0]}", "string_field",
      "string_field" },
    { "unknown fields beside a string", BYTES("\x72\x01\0\xc2\x3e\x03\xc0\x80\0\xc0\x3e\xc0\x80\0"),
      NULL, "string_field", NULL },
    { "unknown fields of a child",
      BYTES("\x8a\x01\x0a\x72\x01\0\xc2\x3e\x04\x72\x02\xc0\x80\x8a\x06\x02\xc0\x80"), NULL,
      "child.string_field", NULL },
};

static void bytes_come_back_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(both_ways); i++) {
        const char *bytes = both_ways[i].bytes;
        ProtobufCMessage *m = unpack(bytes, both_ways[i].len);
        assert_packs_to(both_ways[i].label, m, bytes, both_ways[i].len);
        ProtobufCMessage *copy = wire_clone(m, arena);
        assert_non_null(copy);
        assert_packs_to(both_ways[i].label, copy, bytes, both_ways[i].len);
        assert_true(wire_equal(m, copy, arena));
    }
}

static void json_comes_back_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(both_ways); i++) {
        if (!both_ways[i].json)
            continue;
        const struct vector v = { both_ways[i].json, both_ways[i].json };
        check_vector(EVERYTHING, &v, KEEP);
        ProtobufCMessage *m = read_text(both_ways[i].json);
        assert_packs_to(both_ways[i].label, m, both_ways[i].bytes, both_ways[i].len);
        uint8_t text[32], bytes[32];
        ProtobufCMessage *other = unpack(both_ways[i].bytes, both_ways[i].len);
        assert_int_equal(wire_fingerprint("s", "m", m, arena, text), ERR_OK);
        assert_int_equal(wire_fingerprint("s", "m", other, arena, bytes), ERR_OK);
        assert_memory_equal(text, bytes, 32);
    }
}

static void without_the_flags_it_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(both_ways); i++) {
        struct wire_fault fault = { "", "" };
        ProtobufCMessage *m;
        enum err e = wire_unpack(EVERYTHING, both_ways[i].bytes, both_ways[i].len,
                                 &wire_limits_internal, arena, &m, &fault);
        if (both_ways[i].field)
            assert_refused(e, &fault, both_ways[i].field, "NUL");
        else
            assert_int_equal(e, ERR_OK);
        if (!both_ways[i].json)
            continue;
        const char *json = both_ways[i].json;
        e = protojson_read(EVERYTHING, json, strlen(json), PROTOJSON_STRICT, arena, &m, &fault);
        if (both_ways[i].json_field)
            assert_refused(e, &fault, both_ways[i].json_field, "NUL");
        else
            assert_int_equal(e, ERR_OK);
    }
}

static void in_memory_it_is_two_bytes(void **state)
{
    (void)state;
    const Everything *m = (const Everything *)unpack(BYTES("\x72\x03"
                                                           "a\0b"));
    assert_string_equal(m->string_field, "a\xc0\x80"
                                         "b");
    m = (const Everything *)read_text("{\"stringField\":\"a\\u0000b\"}");
    assert_string_equal(m->string_field, "a\xc0\x80"
                                         "b");
    assert_false(wire_equal(&m->base,
                            unpack(BYTES("\x72\x01"
                                         "a")),
                            arena));
}

/* Nobody but us writes it in two bytes. */
static void the_form_in_memory_is_refused_from_outside(void **state)
{
    (void)state;
    static const char text[] = "{\"stringField\":\"\xc0\x80\"}", raw[] = "{\"stringField\":\"\0\"}";
    const struct wire_limits limits = keeping();
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m;
    enum err e = wire_unpack(EVERYTHING, "\x72\x02\xc0\x80", 4, &limits, arena, &m, &fault);
    assert_refused(e, &fault, "string_field", "UTF-8");
    e = protojson_read(EVERYTHING, text, sizeof(text) - 1, KEEP, arena, &m, &fault);
    assert_refused(e, &fault, "", "UTF-8");
    e = protojson_read(EVERYTHING, raw, sizeof(raw) - 1, KEEP, arena, &m, &fault);
    assert_refused(e, &fault, "string_field", "control character");
}

static void an_any_is_packed_with_real_nuls(void **state)
{
    (void)state;
    const char *text =
        "{\"any\":{\"@type\":\"x/google.protobuf.StringValue\",\"value\":\"a\\u0000\"},"
        "\"anyList\":[{\"@type\":\"\\u0000/daybook.testdata.v1.Everything\","
        "\"stringMap\":{\"\\u0000\":{}}}]}";
    const struct vector v = { text, text };
    check_vector(EVERYTHING, &v, KEEP);
    Everything *m = (Everything *)read_text(text);
    assert_int_equal(m->any->value.len, 4);
    assert_memory_equal(m->any->value.data,
                        "\x0a\x02"
                        "a\0",
                        4);
    /* The normal form goes into it: the unknown field is left out. */
    assert_true(wire_equal(read_text("{\"any\":{\"@type\":\"x/daybook.testdata.v1.Everything\","
                                     "\"stringField\":\"\\u0000\"}}"),
                           unpack(BYTES("\xba\x05\x2a\x0a\x20x/daybook.testdata.v1.Everything"
                                        "\x12\x06\x72\x01\0\xc0\x3e\x01")),
                           arena));
    /* Content that holds one is no message to those who do not set the flag. */
    m->n_any_list = 0;
    assert_int_equal(protojson_write(&m->base, 0, &out), ERR_INVALID_ARGUMENT);
}

static void without_the_flag_it_is_not_written(void **state)
{
    (void)state;
    ProtobufCMessage *m = read_text("{\"stringField\":\"\\u0000\"}");
    assert_int_equal(protojson_write(m, 0, &out), ERR_INVALID_ARGUMENT);
    Everything *broken = (Everything *)read_text("{\"stringField\":\"a\\u0000b\"}");
    broken->string_field[3] = '\xff'; /* what is around it must be UTF-8 all the same */
    assert_int_equal(protojson_write(&broken->base, KEEP, &out), ERR_INVALID_ARGUMENT);
    broken->string_field[0] = '\xff';
    broken->string_field[3] = 'b';
    assert_int_equal(protojson_write(&broken->base, KEEP, &out), ERR_INVALID_ARGUMENT);
}

static void no_name_holds_one(void **state)
{
    (void)state;
    static const struct vector vectors[] = {
        { "{\"enumField\":\"COLOUR_RED\\u0000\"}", NULL },
        { "{\"ts\":\"2026-01-02T03:04:05Z\\u0000\"}", NULL },
        { "{\"bytesField\":\"AQID\\u0000\"}", NULL },
        { "{\"int32Field\":\"1\\u0000\"}", NULL },
        { "{\"int32Map\":{\"1\\u0000\":1}}", NULL },
        { "{\"boolMap\":{\"true\\u0000\":1}}", NULL },
        { "{\"doubleField\":\"NaN\\u0000\"}", NULL },
        { "{\"any\":{\"@type\\u0000\":\"x/google.protobuf.Empty\"}}", NULL },
        { "{\"any\":{\"@type\":\"x/google.protobuf.Empty\\u0000\"}}", NULL },
        { "{\"stringMap\":{\"\\u0000\":{},\"\\u0000\":{}}}", NULL },
        { "{\"stringMap\":{\"\\u0000\":{},\"\":{}}}", "{\"stringMap\":{\"\\u0000\":{},\"\":{}}}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        check_vector(EVERYTHING, &vectors[i], KEEP);

    const char *text = "{\"stringField\\u0000\":1}";
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m;
    enum err e = protojson_read(EVERYTHING, text, strlen(text), KEEP, arena, &m, &fault);
    assert_refused(e, &fault, "", "there is no field \"stringField\"");
    assert_int_equal(
        protojson_read(EVERYTHING, text, strlen(text), PROTOJSON_KEEP_NUL, arena, &m, &fault),
        ERR_OK);
}

static void sub_messages_that_occur_twice_are_merged_first(void **state)
{
    (void)state;
    ProtobufCMessage *m = unpack(BYTES("\x8a\x01\x06\xca\x01\x03\0x\0\x8a\x01\x04\xca\x01\x01\0"));
    assert_packs_to("merged", m, BYTES("\x8a\x01\x0a\xca\x01\x03\0x\0\xca\x01\x01\0"));
}

/* Lengths that take another number of bytes in the other form, on several levels. */
static void lengths_change_with_their_content(void **state)
{
    (void)state;
    for (size_t n = 0; n < 20000; n += n < 300 ? 1 : 97) {
        struct sbuf text;
        sbuf_init(&text, MIB);
        sbuf_add_text(&text, "{\"child\":{\"child\":{\"stringField\":\"x");
        for (size_t i = 0; i < n; i++)
            sbuf_add_text(&text, i % 3 == 2 ? "y" : "\\u0000");
        sbuf_add_text(&text, "\"},\"int32List\":[1,2]}}");
        const struct vector v = { text.data, text.data };
        check_vector(EVERYTHING, &v, KEEP);
        sbuf_fini(&text);
        arena_reset(arena);
    }
}

/* A NUL counts as what it is outside: one byte. */
static void limits_count_bytes_of_the_wire(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct wire_limits limits = wire_limits_default;
        struct wire_fault fault = { "", "" };
        struct sbuf text;
        size_t n = limits.max_string + over;
        ProtobufCMessage *m;
        limits.keep_nul = true;
        char *bytes = arena_alloc(arena, n + 4);
        memcpy(bytes, "\x72\x80\x80\x04", 4);
        bytes[1] = (char)(bytes[1] + (char)over);
        sbuf_init(&text, MIB);
        sbuf_add_text(&text, "{\"stringField\":\"");
        for (size_t i = 0; i < n; i++)
            sbuf_add_text(&text, "\\u0000");
        sbuf_add_text(&text, "\"}");
        enum err e = wire_unpack(EVERYTHING, bytes, n + 4, &limits, arena, &m, &fault);
        assert_int_equal(e, over ? ERR_INVALID_ARGUMENT : ERR_OK);
        e = protojson_read(EVERYTHING, text.data, text.len, KEEP | PROTOJSON_REQUEST, arena, &m,
                           &fault);
        assert_int_equal(e, over ? ERR_INVALID_ARGUMENT : ERR_OK);
        assert_true(over || ((Everything *)m)->string_field[2 * n - 1] == '\x80');
        sbuf_fini(&text);
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    uint8_t *data;
    size_t len;
    for (int depth = 1; depth <= 102; depth++) {
        Everything *m = wire_new(EVERYTHING, arena);
        m->string_field = arena_strdup(arena, WIRE_NUL);
        for (int i = 1; i < depth; i++) {
            Everything *up = wire_new(EVERYTHING, arena);
            up->child = m;
            m = up;
        }
        assert_int_equal(wire_pack(&m->base, arena, &data, &len),
                         depth <= 100 ? ERR_OK : ERR_INVALID_ARGUMENT);
    }
}

static void a_full_arena_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    const char *text =
        "{\"stringField\":\"\\u0000\",\"stringMap\":{\"\\u0000\":{}},\"any\":{\"@type\":"
        "\"x/google.protobuf.StringValue\",\"value\":\"\\u0000\"}}";
    ProtobufCMessage *whole = read_text(text), *m;
    const struct wire_limits limits = keeping();
    struct wire_fault fault;
    uint8_t *data, *again;
    size_t len, n;
    assert_int_equal(wire_pack(whole, arena, &data, &len), ERR_OK);
    enum err done[4] = { ERR_OK };
    for (size_t budget = 0; budget < 8 * KIB; budget += 16) {
        struct arena *small[4];
        for (size_t i = 0; i < ARRAY_LEN(small); i++)
            small[i] = arena_new(budget);
        done[0] = protojson_read(EVERYTHING, text, strlen(text), KEEP, small[0], &m, &fault);
        done[1] = wire_unpack(EVERYTHING, data, len, &limits, small[1], &m, &fault);
        done[2] = wire_pack(whole, small[2], &again, &n);
        done[3] = wire_clone(whole, small[3]) ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
        for (size_t i = 0; i < ARRAY_LEN(small); i++) {
            assert_true(done[i] == ERR_OK || done[i] == ERR_RESOURCE_EXHAUSTED);
            assert_true(budget >= 64 || done[i] != ERR_OK);
            arena_free(small[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(done); i++)
        assert_int_equal(done[i], ERR_OK);
}

static void the_pair_is_found(void **state)
{
    (void)state;
    static const char text[] = "\xc0\xc0\x80 \xc0 \xc0\x80\xc0";
    assert_ptr_equal(wire_nul_find(text, sizeof(text) - 1), text + 1);
    assert_ptr_equal(wire_nul_find(text + 2, sizeof(text) - 3), text + 6);
    assert_null(wire_nul_find(text + 7, sizeof(text) - 8));
    assert_null(wire_nul_find(text + 6, 1)); /* cut in two */
    assert_null(wire_nul_find("", 0));
    assert_int_equal(wire_nul_length(text, sizeof(text) - 1), sizeof(text) - 3);
}

#define TEST(f) cmocka_unit_test_teardown(f, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_back_as_they_were),
        TEST(json_comes_back_as_it_was),
        TEST(without_the_flags_it_is_refused_by_name),
        TEST(in_memory_it_is_two_bytes),
        TEST(the_form_in_memory_is_refused_from_outside),
        TEST(an_any_is_packed_with_real_nuls),
        TEST(without_the_flag_it_is_not_written),
        TEST(no_name_holds_one),
        TEST(sub_messages_that_occur_twice_are_merged_first),
        TEST(lengths_change_with_their_content),
        TEST(limits_count_bytes_of_the_wire),
        TEST(depth_is_bounded),
        TEST(a_full_arena_is_an_error_and_not_a_crash),
        TEST(the_pair_is_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
