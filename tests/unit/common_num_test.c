/* Strict parsing: the whole text, in range, or nothing. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/num.h"

static void whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max;
        bool ok;
        int64_t want;
    } cases[] = {
        { "0", INT64_MIN, INT64_MAX, true, 0 },
        { "-0", INT64_MIN, INT64_MAX, true, 0 },
        { "007", INT64_MIN, INT64_MAX, true, 7 },
        { "9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX },
        { "-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN },
        { "9223372036854775808", INT64_MIN, INT64_MAX, false, 0 },
        { "-9223372036854775809", INT64_MIN, INT64_MAX, false, 0 },
        { "99999999999999999999999", INT64_MIN, INT64_MAX, false, 0 },
        { "5", 5, 5, true, 5 },
        { "4", 5, 9, false, 0 },
        { "10", 5, 9, false, 0 },
        { "", INT64_MIN, INT64_MAX, false, 0 },
        { "-", INT64_MIN, INT64_MAX, false, 0 },
        { "+1", INT64_MIN, INT64_MAX, false, 0 },
        { " 1", INT64_MIN, INT64_MAX, false, 0 },
        { "1 ", INT64_MIN, INT64_MAX, false, 0 },
        { "1x", INT64_MIN, INT64_MAX, false, 0 },
        { "0x10", INT64_MIN, INT64_MAX, false, 0 },
        { "1.0", INT64_MIN, INT64_MAX, false, 0 },
        { "--1", INT64_MIN, INT64_MAX, false, 0 },
        { "\xef\xbc\x91", INT64_MIN, INT64_MAX, false, 0 }, /* a full-width 1 */
        { NULL, INT64_MIN, INT64_MAX, false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = 4711;
        bool ok = num_i64(cases[i].text, cases[i].min, cases[i].max, &got);
        if (ok != cases[i].ok || got != (ok ? cases[i].want : 4711))
            fail_msg("%s: %d %" PRId64, cases[i].text ? cases[i].text : "NULL", ok, got);
    }
}

static void a_part_of_a_text(void **state)
{
    (void)state;
    int64_t got;
    assert_true(num_i64_n("12345", 3, 0, 1000, &got));
    assert_int_equal(got, 123);
    assert_false(num_i64_n("12345", 0, 0, 1000, &got));
    assert_false(num_i64_n("12\0"
                           "45",
                           5, 0, 100000, &got));
}

static void unsigned_numbers(void **state)
{
    (void)state;
    uint64_t got = 1;
    assert_true(num_u64("18446744073709551615", UINT64_MAX, &got));
    assert_true(got == UINT64_MAX);
    assert_false(num_u64("18446744073709551616", UINT64_MAX, &got));
    assert_false(num_u64("-1", UINT64_MAX, &got));
    assert_false(num_u64("", UINT64_MAX, &got));
    assert_false(num_u64("8", 7, &got));
    assert_false(num_u64(NULL, 7, &got));
}

static void decimal_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        double want;
    } cases[] = {
        { "0", true, 0 },       { "-1.5", true, -1.5 }, { "2e3", true, 2000 },
        { "2E-1", true, 0.2 },  { "1e+2", true, 100 },  { "1e400", false, 0 },
        { "-1e400", false, 0 }, { "inf", false, 0 },    { "nan", false, 0 },
        { "0x1p3", false, 0 },  { ".5", false, 0 },     { "5.", false, 0 },
        { "1e", false, 0 },     { "1,5", false, 0 },    { " 1", false, 0 },
        { "1 ", false, 0 },     { "", false, 0 },       { "+1", false, 0 },
        { NULL, false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double got = -4711;
        bool ok = num_double(cases[i].text, &got);
        double want = cases[i].ok ? cases[i].want : -4711;
        if (ok != cases[i].ok || got < want || got > want)
            fail_msg("%s: %d %g", cases[i].text ? cases[i].text : "NULL", ok, got);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        { "0", 0 },
        { "0s", 0 },
        { "250ms", 250 * MSEC_US },
        { "5s", 5 * SECOND_US },
        { "10m", 10 * MINUTE_US },
        { "24h", DAY_US },
        { "2d", 2 * DAY_US },
        { "106751991d", 106751991 * DAY_US },
        { "106751992d", -1 }, /* past INT64_MAX microseconds */
        { "99999999999999999999d", -1 },
        { "5", -1 },
        { "-5s", -1 },
        { "5 s", -1 },
        { "1h30m", -1 },
        { "1.5h", -1 },
        { "5S", -1 },
        { "s", -1 },
        { "", -1 },
        { NULL, -1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = -1;
        bool ok = num_duration_us(cases[i].text, &got);
        if (got != cases[i].want || ok != (cases[i].want >= 0))
            fail_msg("%s: %d %" PRId64, cases[i].text ? cases[i].text : "NULL", ok, got);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        uint64_t want;
    } cases[] = {
        { "0", true, 0 },
        { "512", true, 512 },
        { "64KiB", true, 65536 },
        { "1MiB", true, 1048576 },
        { "2GiB", true, UINT64_C(2147483648) },
        { "17179869183GiB", true, UINT64_C(17179869183) << 30 },
        { "17179869184GiB", false, 0 },
        { "1KB", false, 0 },
        { "1kib", false, 0 },
        { "1 KiB", false, 0 },
        { "-1", false, 0 },
        { "KiB", false, 0 },
        { "", false, 0 },
        { NULL, false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t got = 4711;
        bool ok = num_size(cases[i].text, &got);
        if (ok != cases[i].ok || got != (ok ? cases[i].want : 4711))
            fail_msg("%s: %d %" PRIu64, cases[i].text ? cases[i].text : "NULL", ok, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),    cmocka_unit_test(a_part_of_a_text),
        cmocka_unit_test(unsigned_numbers), cmocka_unit_test(decimal_numbers),
        cmocka_unit_test(durations),        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
