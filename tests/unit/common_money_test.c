/*
 * Amounts as text: each currency has its own digits, and no amount is too large.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/money.h"

static void an_amount_has_the_digits_of_its_currency(void **state)
{
    (void)state;
    static const struct {
        const char *currency;
        int64_t minor;
        const char *want;
    } cases[] = {
        { "CNY", 123450, "CNY 1234.50" },
        { "CNY", 5, "CNY 0.05" },
        { "CNY", -5, "CNY -0.05" },
        { "CNY", 0, "CNY 0.00" },
        { "JPY", 500, "JPY 500" },
        { "JPY", -500, "JPY -500" },
        { "KWD", 1234, "KWD 1.234" },
        { "CLF", 12345, "CLF 1.2345" },
        { "XYZ", 100, "XYZ 1.00" },
        { "CNY", INT64_MIN, "CNY -92233720368547758.08" },
        { "CNY", INT64_MAX, "CNY 92233720368547758.07" },
    };
    struct arena *a = arena_new(64 * KIB);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(money_text(a, cases[i].currency, cases[i].minor), cases[i].want);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_amount_has_the_digits_of_its_currency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
