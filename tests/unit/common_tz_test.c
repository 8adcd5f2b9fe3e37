/* Zones and civil days; the C library's own reading of the zone files is the second opinion. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/tz.h"

static int64_t at(const char *text)
{
    int64_t us;
    if (!time_parse(text, &us))
        fail_msg("%s is no moment", text);
    return us;
}

static const struct tz *zone(const char *name)
{
    const struct tz *tz = tz_find(name);
    if (!tz)
        fail_msg("there is no zone %s", name);
    return tz;
}

static void shanghai_is_right_from_1990_to_2040(void **state)
{
    (void)state;
    /* Summer time was kept up to 1991: from a Sunday in April to one in September, 02:00 each. */
    const int64_t summers[2][2] = {
        { at("1990-04-14T18:00:00Z"), at("1990-09-15T17:00:00Z") },
        { at("1991-04-13T18:00:00Z"), at("1991-09-14T17:00:00Z") },
    };
    const struct tz *tz = zone("Asia/Shanghai");
    int64_t end = at("2041-01-01T00:00:00Z");
    for (int64_t us = at("1990-01-01T00:00:00Z"); us < end; us += HOUR_US / 2) {
        bool summer = (us >= summers[0][0] && us < summers[0][1]) ||
                      (us >= summers[1][0] && us < summers[1][1]);
        if (tz_offset_s(tz, us) != (summer ? 9 : 8) * 3600)
            fail_msg("%" PRId64 ": %d", us, (int)tz_offset_s(tz, us));
    }
}

static void a_shanghai_day_runs_from_16_to_16_utc(void **state)
{
    (void)state;
    const struct tz *tz = zone("Asia/Shanghai");
    struct date d = { 2026, 1, 5 };
    assert_true(tz_instant(tz, d, 0) == at("2026-01-04T16:00:00Z"));
    assert_true(tz_instant(tz, d, 9 * 60) == at("2026-01-05T01:00:00Z"));
    assert_true(tz_instant(tz, d, 1440) == at("2026-01-05T16:00:00Z"));
    char text[DATE_TEXT_MAX];
    assert_string_equal(date_format(tz_date(tz, at("2026-01-04T15:59:59.999999Z")), text),
                        "2026-01-04");
    assert_string_equal(date_format(tz_date(tz, at("2026-01-04T16:00:00Z")), text), "2026-01-05");
    assert_int_equal(tz_minute_of_day(tz, at("2026-01-05T01:30:59Z")), 570);
    assert_int_equal(tz_minute_of_day(tz, at("2026-01-04T15:59:59.9Z")), 1439);
}

static void the_c_library_agrees(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Asia/Shanghai",     "Asia/Kolkata",        "Asia/Tehran",      "Europe/Berlin",
        "Europe/Dublin",     "Europe/London",       "America/New_York", "America/St_Johns",
        "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia",     "Pacific/Chatham",
        "Africa/Casablanca", "Antarctica/Troll",    "America/Nuuk",     "Asia/Gaza",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct tz *tz = zone(names[i]);
        assert_int_equal(setenv("TZ", names[i], 1), 0);
        tzset();
        /* odd steps through 1950 to 2110: the table's part and the rule's */
        for (int64_t s = -631152000; s < INT64_C(4417977600); s += 86400 * 2 / 3 + 1741) {
            time_t t = (time_t)s;
            struct tm tm;
            assert_non_null(localtime_r(&t, &tm));
            if (tz_offset_s(tz, s * SECOND_US) != tm.tm_gmtoff)
                fail_msg("%s at %" PRId64 ": %d, not %ld", names[i], s,
                         (int)tz_offset_s(tz, s * SECOND_US), tm.tm_gmtoff);
            struct date d = tz_date(tz, s * SECOND_US);
            if (d.year != tm.tm_year + 1900 || d.month != tm.tm_mon + 1 || d.day != tm.tm_mday)
                fail_msg("%s at %" PRId64 ": another day", names[i], s);
            assert_int_equal(tz_minute_of_day(tz, s * SECOND_US), tm.tm_hour * 60 + tm.tm_min);
        }
    }
    (void)unsetenv("TZ");
    tzset();
}

static void gaps_move_forward_and_doubles_mean_the_first_F42(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        struct date d;
        int minute;
        const char *want;
    } cases[] = {
        { "Europe/Berlin", { 2026, 3, 29 }, 119, "2026-03-29T00:59:00Z" },
        { "Europe/Berlin", { 2026, 3, 29 }, 120, "2026-03-29T01:00:00Z" }, /* = 03:00 */
        { "Europe/Berlin", { 2026, 3, 29 }, 150, "2026-03-29T01:30:00Z" }, /* = 03:30 */
        { "Europe/Berlin", { 2026, 3, 29 }, 180, "2026-03-29T01:00:00Z" },
        { "Europe/Berlin", { 2026, 10, 25 }, 119, "2026-10-24T23:59:00Z" },
        { "Europe/Berlin", { 2026, 10, 25 }, 150, "2026-10-25T00:30:00Z" }, /* the first 02:30 */
        { "Europe/Berlin", { 2026, 10, 25 }, 180, "2026-10-25T02:00:00Z" },
        { "Europe/Berlin", { 2060, 7, 1 }, 720, "2060-07-01T10:00:00Z" }, /* by the rule */
        { "Europe/Berlin", { 2060, 1, 1 }, 720, "2060-01-01T11:00:00Z" },
        { "America/New_York", { 2026, 3, 8 }, 150, "2026-03-08T07:30:00Z" },
        { "America/New_York", { 2026, 11, 1 }, 90, "2026-11-01T05:30:00Z" },
        { "Pacific/Apia", { 2011, 12, 30 }, 0, "2011-12-30T10:00:00Z" }, /* a day that never was */
        { "Asia/Shanghai", { 1991, 4, 14 }, 150, "1991-04-13T18:30:00Z" },
        { "UTC", { 2026, 2, 28 }, 1440, "2026-03-01T00:00:00Z" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char got[TIME_TEXT_MAX];
        int64_t us = tz_instant(zone(cases[i].zone), cases[i].d, cases[i].minute);
        if (strcmp(time_format(us, got), cases[i].want) != 0)
            fail_msg("%s %d-%d-%d %d: %s, not %s", cases[i].zone, cases[i].d.year, cases[i].d.month,
                     cases[i].d.day, cases[i].minute, got, cases[i].want);
    }
}

static void every_day_begins_within_itself(void **state)
{
    (void)state;
    static const char *const names[] = { "Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo" };
    for (size_t z = 0; z < ARRAY_LEN(names); z++) {
        const struct tz *tz = zone(names[z]);
        struct date d = { 1990, 1, 1 };
        for (int i = 0; i < 18600; i++, d = date_add(d, 1)) {
            int64_t start = tz_instant(tz, d, 0);
            assert_int_equal(date_number(tz_date(tz, start)), date_number(d));
            assert_int_equal(date_number(tz_date(tz, start - 1)), date_number(d) - 1);
        }
    }
}

static void bad_names_find_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "Mars/Olympus",
        "/etc/passwd",
        "../../../etc/passwd",
        "Asia/../Asia/Shanghai",
        "Asia",
        ".",
        "zone.tab",
        "tzdata.zi",
        "Asia/Shanghai\n",
        "Asia Shanghai",
        "leapseconds",
        "right/UTC",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (tz_find(bad[i]))
            fail_msg("'%s' is a zone", bad[i]);
    assert_null(tz_find(NULL));
    assert_ptr_equal(tz_find("Asia/Shanghai"), tz_find("Asia/Shanghai"));
    assert_int_equal(tz_offset_s(zone("UTC"), at("2026-01-01T00:00:00Z")), 0);
}

static void days_are_numbered_from_1970(void **state)
{
    (void)state;
    static const struct {
        struct date d;
        int32_t number;
        int weekday;
    } cases[] = {
        { { 1970, 1, 1 }, 0, 4 },         { { 1969, 12, 31 }, -1, 3 },
        { { 2000, 2, 29 }, 11016, 2 },    { { 2026, 1, 5 }, 20458, 1 },
        { { 2026, 1, 4 }, 20457, 7 },     { { 1, 1, 1 }, -719162, 1 },
        { { 9999, 12, 31 }, 2932896, 5 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(date_number(cases[i].d), cases[i].number);
        assert_int_equal(date_weekday(cases[i].d), cases[i].weekday);
    }
    for (int32_t n = -800000; n < 3000000; n += 13)
        assert_int_equal(date_number(date_from_number(n)), n);
    struct date d = date_add((struct date){ 2026, 2, 28 }, 1);
    assert_true(d.month == 3 && d.day == 1);
    assert_int_equal(date_from_number(INT32_MAX).year, INT16_MAX);
    assert_int_equal(date_add((struct date){ 2026, 1, 1 }, INT32_MIN).year, INT16_MIN);
}

static void dates_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "2026",       "2026-1-1",    "2026-02-29",  "2026-13-01",  "2026-00-01",
        "2026-01-00", "2026-01-32", "2026-04-31",  "2026/01/01",  "2026-01-01 ", " 2026-01-01",
        "20260101",   "0000-01-01", "02026-01-01", "2026-01-01T", "-026-01-01",
    };
    struct date d;
    char text[DATE_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (date_parse(bad[i], &d))
            fail_msg("'%s' is a day", bad[i]);
    assert_false(date_parse(NULL, &d));
    assert_true(date_parse("2024-02-29", &d));
    assert_string_equal(date_format(d, text), "2024-02-29");
    assert_true(date_parse("0001-01-01", &d));
    assert_string_equal(date_format(d, text), "0001-01-01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shanghai_is_right_from_1990_to_2040),
        cmocka_unit_test(a_shanghai_day_runs_from_16_to_16_utc),
        cmocka_unit_test(the_c_library_agrees),
        cmocka_unit_test(gaps_move_forward_and_doubles_mean_the_first_F42),
        cmocka_unit_test(every_day_begins_within_itself),
        cmocka_unit_test(bad_names_find_nothing),
        cmocka_unit_test(days_are_numbered_from_1970),
        cmocka_unit_test(dates_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
