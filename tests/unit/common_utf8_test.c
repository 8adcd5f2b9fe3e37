/* The examples of the Unicode standard (table 3-7) and what lies just beyond each range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "common/utf8.h"

static void tells_valid_from_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *label, *text;
        bool want;
    } cases[] = {
        { "empty", "", true },
        { "ASCII", "plain text, longer than eight bytes", true },
        { "last of one byte", "\x7f", true },
        { "first of two bytes", "\xc2\x80", true },
        { "last of two bytes", "\xdf\xbf", true },
        { "first of three bytes", "\xe0\xa0\x80", true },
        { "before the surrogates", "\xed\x9f\xbf", true },
        { "after the surrogates", "\xee\x80\x80", true },
        { "first of four bytes", "\xf0\x90\x80\x80", true },
        { "U+10FFFF", "\xf4\x8f\xbf\xbf", true },
        { "Chinese among ASCII", "visit \xe5\xbc\xa0\xe4\xb8\x89 at nine", true },
        { "lone continuation", "\x80", false },
        { "overlong slash", "\xc0\xaf", false },
        { "overlong DEL", "\xc1\xbf", false },
        { "overlong of three", "\xe0\x9f\xbf", false },
        { "overlong of four", "\xf0\x8f\xbf\xbf", false },
        { "first surrogate", "\xed\xa0\x80", false },
        { "last surrogate", "\xed\xbf\xbf", false },
        { "U+110000", "\xf4\x90\x80\x80", false },
        { "five-byte form", "\xf8\x88\x80\x80\x80", false },
        { "0xff", "abcdefgh\xff", false },
        { "cut after the first byte", "abc\xe5", false },
        { "cut after the second byte", "abcdefghij\xe5\xbc", false },
        { "continuation missing",
          "\xe5\xbc"
          "a",
          false },
        { "bad second byte after eight good bytes", "abcdefgh\xc3(", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (utf8_is_valid(cases[i].text, strlen(cases[i].text)) != cases[i].want)
            fail_msg("%s: want %d", cases[i].label, cases[i].want);
}

static void finds_one_bad_byte_anywhere(void **state)
{
    (void)state;
    char text[40];
    for (size_t i = 0; i < sizeof(text); i++) {
        memset(text, 'x', sizeof(text));
        assert_true(utf8_is_valid(text, sizeof(text)));
        text[i] = (char)0xff;
        assert_false(utf8_is_valid(text, sizeof(text)));
    }
}

static void a_nul_is_a_code_point(void **state)
{
    (void)state;
    assert_true(utf8_is_valid("a\0b", 3));
}

static void counts_code_points(void **state)
{
    (void)state;
    assert_int_equal(utf8_length(""), 0);
    assert_int_equal(utf8_length("abc"), 3);
    assert_int_equal(utf8_length("\xe5\xbc\xa0\xe4\xb8\x89"), 2);
    assert_int_equal(utf8_length("\xf0\x9f\x98\x80!"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_valid_from_malformed),
        cmocka_unit_test(finds_one_bad_byte_anywhere),
        cmocka_unit_test(a_nul_is_a_code_point),
        cmocka_unit_test(counts_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
