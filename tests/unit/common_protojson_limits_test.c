/*
 * The JSON mapping at its bounds: faults and their words, depth, sizes, memory, what cannot be
 * said.
 */
#include "tests/unit/common_protojson_fixture.h"

static void faults_name_the_place_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *in, *field, *reason;
    } cases[] = {
        { "{\"childList\":[{},{\"int32Field\":\"x\"}]}", "child_list[1].int32_field", "a number" },
        { "{\"child\":{\"stringList\":[\"a\",\"b\",3]}}", "child.string_list[2]", "a string" },
        { "{\"stringMap\":{\"k\":{\"ts\":\"now\"}}}", "string_map[0].ts", "a time like" },
        { "{\"noSuch\":1}", "", "there is no field \"noSuch\"" },
        { "{\"child\":{\"noSuch\":1}}", "child", "there is no field \"noSuch\"" },
        { "{\"choiceNumber\":1,\"choiceText\":\"a\"}", "choice_text", "choice is set already" },
        { "{\"int32Field\":1,,}", "", "not JSON at byte 16" },
        { "{\"enumField\":\"NOPE\"}", "enum_field", "daybook.testdata.v1.Colour" },
        { "{\"any\":{\"@type\":\"x/no.such.Message\"}}", "any", "known message" },
        { "{\"any\":{\"@type\":\"x/daybook.testdata.v1.Everything\",\"boolField\":1}}",
          "any.bool_field", "true or false" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ProtobufCMessage *m;
        struct wire_fault fault;
        assert_int_equal(protojson_read(EVERYTHING, cases[i].in, strlen(cases[i].in),
                                        PROTOJSON_STRICT, arena, &m, &fault),
                         ERR_INVALID_ARGUMENT);
        assert_string_equal(fault.field, cases[i].field);
        if (!strstr(fault.reason, cases[i].reason))
            fail_msg("%s: %s", cases[i].in, fault.reason);
    }
}

static void a_long_unknown_key_is_shown_in_whole_characters(void **state)
{
    (void)state;
    char text[512] = "{\"", *p = text + 2;
    for (int i = 0; i < 50; i++, p += 3)
        memcpy(p, "\xe5\xbc\xa0", 3);
    memcpy(p, "\":1}", 5);
    ProtobufCMessage *m;
    struct wire_fault fault;
    assert_int_equal(
        protojson_read(EVERYTHING, text, strlen(text), PROTOJSON_STRICT, arena, &m, &fault),
        ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(fault.reason, "\xe5\xbc\xa0\"")); /* not cut inside a character */
}

/* prefix * n, then middle, then suffix * n */
static char *repeat(const char *prefix, const char *middle, const char *suffix, int n)
{
    struct sbuf b;
    sbuf_init(&b, 16 * MIB);
    for (int i = 0; i < n; i++)
        sbuf_add_text(&b, prefix);
    sbuf_add_text(&b, middle);
    for (int i = 0; i < n; i++)
        sbuf_add_text(&b, suffix);
    char *text = arena_strdup(arena, b.data);
    assert_non_null(text);
    sbuf_fini(&b);
    return text;
}

static void depth_is_that_of_the_wire(void **state)
{
    (void)state;
    static const struct {
        const char *label, *prefix, *middle, *suffix;
        int n;
        bool good;
    } cases[] = {
        { "63 children", "{\"child\":", "{}", "}", 63, true },
        { "64 children", "{\"child\":", "{}", "}", 64, false },
        { "a million children", "{\"child\":", "{}", "}", 400000, false },
        { "free lists", "[", "", "]", 30, true },
        { "too many free lists", "[", "", "]", 100000, false },
        { "skipped", "{\"x\":", "1", "}", 64, true },
        { "too deep to skip", "{\"x\":", "1", "}", 65, false },
        { "far too deep to skip", "{\"x\":[", "1", "]}", 300000, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool free_form = cases[i].prefix[0] == '[';
        const ProtobufCMessageDescriptor *type =
            free_form ? &google__protobuf__value__descriptor : EVERYTHING;
        struct vector v = { repeat(cases[i].prefix, cases[i].middle, cases[i].suffix, cases[i].n),
                            NULL };
        ProtobufCMessage *m;
        struct wire_fault fault = { "", "" };
        enum err e = protojson_read(type, v.in, strlen(v.in), 0, arena, &m, &fault);
        if (e != (cases[i].good ? ERR_OK : ERR_INVALID_ARGUMENT))
            fail_msg("%s: %s %s", cases[i].label, err_name(e), fault.reason);
        if (!cases[i].good && !strstr(fault.reason, "deep"))
            fail_msg("%s: %s", cases[i].label, fault.reason);
        uint8_t *data;
        size_t len;
        if (cases[i].good) {
            assert_int_equal(wire_pack(m, arena, &data, &len), ERR_OK);
            assert_int_equal(wire_check(type, data, len, &wire_limits_internal, &fault), ERR_OK);
        }
    }
}

static void sizes_are_limited(void **state)
{
    (void)state;
    ProtobufCMessage *m;
    struct wire_fault fault;
    char *text = repeat("   ", "{}", "", (int)(4 * MIB / 3) + 1);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault),
                     ERR_INVALID_ARGUMENT);
    text = repeat("x", "\"}", "", (int)MIB);
    memcpy(text, "{\"stringField\":\"", 16);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault), ERR_OK);
    text = repeat("x", "\"}", "", (int)MIB + 17);
    memcpy(text, "{\"stringField\":\"", 16);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault),
                     ERR_INVALID_ARGUMENT);
    assert_string_equal(fault.field, "string_field");

    text = repeat("1,", "1]}", "", 100001);
    memcpy(text, "{\"int32List\":[", 14);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault), ERR_OK);
    text = repeat("1,", "1]}", "", 100008);
    memcpy(text, "{\"int32List\":[", 14);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault),
                     ERR_INVALID_ARGUMENT);

    arena_reset(arena); /* three bytes of text cost a whole struct: the budget says no */
    text = repeat("{},", "{}]}", "", 90000);
    memcpy(text, "{\"childList\":[ ", 15);
    size_t before = arena_used(arena);
    assert_int_equal(protojson_read(EVERYTHING, text, strlen(text), 0, arena, &m, &fault),
                     ERR_RESOURCE_EXHAUSTED);
    assert_true(arena_used(arena) - before < 24 * 300000 + 2 * MIB);
}

static void a_full_arena_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    static const char *const texts_of[] = {
        "{\"int32Field\":1,\"stringField\":\"\\u0061b\",\"int32List\":[1,2,3,4,5,6]}",
        "{\"stringMap\":{\"a\":{},\"b\":{}},\"struct\":{\"x\":[1,{}]},\"mask\":\"a,b\"}",
        "{\"any\":{\"@type\":\"x/"
        "google.protobuf.Duration\",\"value\":\"1s\"},\"bytesField\":\"AQID\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts_of); i++) {
        enum err e = ERR_RESOURCE_EXHAUSTED;
        size_t budget = 0;
        for (; e == ERR_RESOURCE_EXHAUSTED && budget < 64 * KIB; budget += 16) {
            struct arena *small = arena_new(budget);
            ProtobufCMessage *m;
            struct wire_fault fault;
            e = protojson_read(EVERYTHING, texts_of[i], strlen(texts_of[i]), 0, small, &m, &fault);
            arena_free(small);
        }
        assert_int_equal(e, ERR_OK);
        assert_true(budget > 512);
    }
}

static void writing_stops_at_the_bound(void **state)
{
    (void)state;
    char mem[8];
    struct sbuf small;
    Everything *m = wire_new(EVERYTHING, arena);
    m->int32_field = 12345678;
    sbuf_init_fixed(&small, mem, sizeof(mem));
    assert_int_equal(protojson_write(&m->base, 0, &small), ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(protojson_write(&m->base, 0, &out), ERR_OK);
    assert_int_equal(protojson_write(&m->base, 0, &out), ERR_OK); /* appends */
    assert_string_equal(out.data, "{\"int32Field\":12345678}{\"int32Field\":12345678}");
}

static void what_json_cannot_say_is_not_written(void **state)
{
    (void)state;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    t.seconds = 253402300800;
    assert_int_equal(protojson_write(&t.base, 0, &out), ERR_INVALID_ARGUMENT);
    t.seconds = -62135596801;
    assert_int_equal(protojson_write(&t.base, 0, &out), ERR_INVALID_ARGUMENT);
    t.seconds = 0;
    t.nanos = -1;
    assert_int_equal(protojson_write(&t.base, 0, &out), ERR_INVALID_ARGUMENT);
    t.nanos = 1000000000;
    assert_int_equal(protojson_write(&t.base, 0, &out), ERR_INVALID_ARGUMENT);

    Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
    d.seconds = 1;
    d.nanos = -1;
    assert_int_equal(protojson_write(&d.base, 0, &out), ERR_INVALID_ARGUMENT);
    d.seconds = 315576000001;
    d.nanos = 0;
    assert_int_equal(protojson_write(&d.base, 0, &out), ERR_INVALID_ARGUMENT);

    Google__Protobuf__Value v = GOOGLE__PROTOBUF__VALUE__INIT;
    assert_int_equal(protojson_write(&v.base, 0, &out), ERR_INVALID_ARGUMENT); /* no kind */
    v.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    v.number_value = (double)__builtin_nanf("");
    assert_int_equal(protojson_write(&v.base, 0, &out), ERR_INVALID_ARGUMENT);
    v.number_value = (double)__builtin_inff();
    assert_int_equal(protojson_write(&v.base, 0, &out), ERR_INVALID_ARGUMENT);

    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = arena_strdup(arena, "type.googleapis.com/no.such.Message");
    assert_int_equal(protojson_write(&any.base, 0, &out), ERR_INVALID_ARGUMENT);
    any.type_url = arena_strdup(arena, "type.googleapis.com/google.protobuf.Duration");
    any.value = (ProtobufCBinaryData){ 1, (uint8_t[]){ 0xff } };
    assert_int_equal(protojson_write(&any.base, 0, &out), ERR_INVALID_ARGUMENT);

    Everything *m = wire_new(EVERYTHING, arena);
    m->string_field = arena_strdup(arena, "\xff");
    assert_int_equal(protojson_write(&m->base, 0, &out), ERR_INVALID_ARGUMENT);
}

static void endless_anys_are_refused(void **state)
{
    (void)state;
    ProtobufCMessage *m = wire_new(EVERYTHING, arena);
    for (int i = 0; i < 1000; i++)
        assert_non_null(m = wire_any(arena, m));
    assert_int_equal(protojson_write(m, 0, &out), ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(faults_name_the_place_and_the_reason, reset),
        cmocka_unit_test_setup(a_long_unknown_key_is_shown_in_whole_characters, reset),
        cmocka_unit_test_setup(depth_is_that_of_the_wire, reset),
        cmocka_unit_test_setup(sizes_are_limited, reset),
        cmocka_unit_test_setup(a_full_arena_is_an_error_and_not_a_crash, reset),
        cmocka_unit_test_setup(writing_stops_at_the_bound, reset),
        cmocka_unit_test_setup(what_json_cannot_say_is_not_written, reset),
        cmocka_unit_test_setup(endless_anys_are_refused, reset),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
