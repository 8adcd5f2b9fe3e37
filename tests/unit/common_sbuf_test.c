/* Bounded text: what does not fit leaves the content as it was. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/sbuf.h"

static void it_grows_up_to_its_limit(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 1000);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 100; i++)
        sbuf_add_text(&b, "0123456789");
    assert_false(b.bad);
    assert_int_equal(b.len, 1000);
    assert_int_equal(strlen(b.data), 1000);
    sbuf_add_char(&b, 'x');
    assert_true(b.bad);
    assert_int_equal(b.len, 1000);
    assert_null(sbuf_take(&b));
    sbuf_fini(&b);
    sbuf_fini(&b);
}

static void a_failure_sticks_until_clear(void **state)
{
    (void)state;
    char mem[8];
    struct sbuf b;
    sbuf_init_fixed(&b, mem, sizeof(mem));
    sbuf_add_text(&b, "abc");
    sbuf_add_text(&b, "defgh"); /* one too many: none of it */
    assert_true(b.bad);
    assert_string_equal(b.data, "abc");
    sbuf_add_char(&b, 'x'); /* would fit, but would leave a hole */
    assert_string_equal(b.data, "abc");
    sbuf_clear(&b);
    assert_false(b.bad);
    sbuf_add_text(&b, "abcdefg");
    assert_false(b.bad);
    assert_string_equal(mem, "abcdefg");
    sbuf_fini(&b);
}

static void taking_moves_the_text_out(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 100);
    char *none = sbuf_take(&b);
    assert_string_equal(none, "");
    free(none);
    sbuf_addf(&b, "%s=%d", "n", 5);
    char *text = sbuf_take(&b);
    assert_string_equal(text, "n=5");
    free(text);
    sbuf_add_text(&b, "again");
    assert_string_equal(b.data, "again");
    sbuf_fini(&b);
}

static void formats_of_any_length(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 10000);
    sbuf_addf(&b, "%s", "");
    sbuf_addf(&b, "%5000d|", 7);
    assert_int_equal(b.len, 5001);
    sbuf_addf(&b, "%6000d", 7);
    assert_true(b.bad);
    assert_int_equal(b.len, 5001);
    assert_int_equal(b.data[5001], 0);
    sbuf_fini(&b);
}

static void numbers(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, 200);
    sbuf_add_i64(&b, INT64_MIN);
    sbuf_add_char(&b, ' ');
    sbuf_add_i64(&b, INT64_MAX);
    sbuf_add_char(&b, ' ');
    sbuf_add_i64(&b, 0);
    assert_string_equal(b.data, "-9223372036854775808 9223372036854775807 0");
    sbuf_fini(&b);
}

static void json_strings_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
    } cases[] = {
        { "", "\"\"" },
        { NULL, "null" },
        { "plain 客户", "\"plain 客户\"" },
        { "a\"b\\c", "\"a\\\"b\\\\c\"" },
        { "\n\r\t\b\f", "\"\\n\\r\\t\\b\\f\"" },
        { "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\"" },
        { "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"" },
        { "a\xff", "\"a\xef\xbf\xbd\"" },
        { "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                   /* overlong */
        { "\xed\xa0\x80x", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"" }, /* surrogate */
        { "\xe5\xae", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                   /* ends early */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf b;
        sbuf_init(&b, 200);
        sbuf_add_json(&b, cases[i].in);
        assert_string_equal(b.data, cases[i].want);
        sbuf_fini(&b);
    }
}

static void array_elements_are_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
    } cases[] = {
        { NULL, "NULL" },     { "", "\"\"" },           { "NULL", "\"NULL\"" },
        { "a,b", "\"a,b\"" }, { "a\"b", "\"a\\\"b\"" }, { "a\\", "\"a\\\\\"" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf b;
        sbuf_init(&b, 200);
        sbuf_add_pg_element(&b, cases[i].in);
        assert_string_equal(b.data, cases[i].want);
        sbuf_fini(&b);
    }
}

static void half_an_element_is_never_left(void **state)
{
    (void)state;
    char mem[8];
    struct sbuf b;
    sbuf_init_fixed(&b, mem, sizeof(mem));
    sbuf_add_text(&b, "[");
    sbuf_add_json(&b, "too\nlong");
    assert_true(b.bad);
    assert_string_equal(b.data, "[");
    sbuf_clear(&b);
    sbuf_add_text(&b, "{");
    sbuf_add_pg_element(&b, "too\"long");
    assert_string_equal(b.data, "{");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_up_to_its_limit),
        cmocka_unit_test(a_failure_sticks_until_clear),
        cmocka_unit_test(taking_moves_the_text_out),
        cmocka_unit_test(formats_of_any_length),
        cmocka_unit_test(numbers),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(array_elements_are_quoted),
        cmocka_unit_test(half_an_element_is_never_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
