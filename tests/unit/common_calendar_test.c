/*
 * Working days against the published Chinese calendars of 2025 and 2026 (tests/data/calendar).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "common/calendar.h"
#include "common/clock.h"

static struct arena *arena;
static struct calendar_day days[200];
static size_t ndays;
static const int16_t years[] = { 2025, 2026 };

static void load_year(int year)
{
    char path[64];
    json_error_t fault;
    snprintf(path, sizeof(path), "tests/data/calendar/cn-%d.json", year);
    json_t *root = json_load_file(path, 0, &fault);
    if (!root)
        fail_msg("%s: %s (run from the project's root)", path, fault.text);
    size_t i;
    json_t *day;
    json_array_foreach(json_object_get(root, "days"), i, day)
    {
        struct calendar_day *d = &days[ndays++];
        assert_true(date_parse(json_string_value(json_object_get(day, "date")), &d->date));
        d->is_off_day = json_is_true(json_object_get(day, "is_off_day"));
        d->name = arena_strdup(arena, json_string_value(json_object_get(day, "name")));
    }
    json_decref(root);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(1 * MIB);
    load_year(2025);
    load_year(2026);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct calendar china(void)
{
    return (struct calendar){ .tz = tz_find("Asia/Shanghai"),
                              .workday_start_minute = 540,
                              .workday_end_minute = 1080,
                              .week_mask = 0x1f,
                              .days = days,
                              .ndays = ndays,
                              .years = years,
                              .nyears = ARRAY_LEN(years) };
}

static int64_t at(const char *text)
{
    int64_t us;
    if (!time_parse(text, &us))
        fail_msg("not a time: %s", text);
    return us;
}

static void expect_time(const char *label, int64_t got_us, const char *want)
{
    char text[TIME_TEXT_MAX];
    if (got_us != at(want))
        fail_msg("%s: want %s, got %s", label, want, time_format(got_us, text));
}

/* The vectors of the conventions' table; the day of receipt is not counted. */
static void adds_working_days_over_holidays_and_make_up_days(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        int n;
        const char *want;
    } cases[] = {
        { "2026-02-13T10:00:00+08:00", 3, "2026-02-25T18:00:00+08:00" },
        { "2026-05-06T10:00:00+08:00", 5, "2026-05-12T18:00:00+08:00" },
        { "2026-05-08T10:00:00+08:00", 1, "2026-05-09T18:00:00+08:00" },
        { "2026-09-30T10:00:00+08:00", 3, "2026-10-10T18:00:00+08:00" },
        { "2025-12-31T10:00:00+08:00", 5, "2026-01-08T18:00:00+08:00" },
        /* H-1.3a: confirmed on Friday, due on Monday */
        { "2026-03-06T23:59:59+08:00", 1, "2026-03-09T18:00:00+08:00" },
        /* received on a day off: its day does not count either */
        { "2026-03-07T12:00:00+08:00", 1, "2026-03-09T18:00:00+08:00" },
        /* midnight belongs to the new day, here and not in UTC */
        { "2026-03-09T00:00:00+08:00", 1, "2026-03-10T18:00:00+08:00" },
        { "2026-03-08T15:59:59Z", 1, "2026-03-09T18:00:00+08:00" },
    };
    struct calendar c = china();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_time(cases[i].from, calendar_add_workdays(&c, at(cases[i].from), cases[i].n, NULL),
                    cases[i].want);
}

/* the latest moment is the end of the working day that lies n working days before. */
static void subtracts_working_days(void **state)
{
    (void)state;
    static const struct {
        const char *event;
        int n;
        const char *want;
    } cases[] = {
        { "2026-03-12T14:00:00+08:00", 3, "2026-03-09T18:00:00+08:00" }, /* Thursday -> Monday */
        { "2026-05-11T09:00:00+08:00", 1, "2026-05-09T18:00:00+08:00" }, /* a worked Saturday */
        { "2026-10-08T09:00:00+08:00", 1, "2026-09-30T18:00:00+08:00" },
        { "2026-02-25T09:00:00+08:00", 3, "2026-02-13T18:00:00+08:00" }, /* 24, 14 (Sat), 13 */
        { "2026-03-14T09:00:00+08:00", 0, "2026-03-13T18:00:00+08:00" },
        { "2026-03-13T09:00:00+08:00", 0, "2026-03-13T18:00:00+08:00" },
    };
    struct calendar c = china();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_time(cases[i].event,
                    calendar_subtract_workdays(&c, at(cases[i].event), cases[i].n, NULL),
                    cases[i].want);
}

/* eod (requirements 4.1). */
static void ends_the_day_or_the_next_working_day(void **state)
{
    (void)state;
    static const struct {
        const char *label, *from, *want;
    } cases[] = {
        { "in hours", "2026-03-12T15:00:00+08:00", "2026-03-12T18:00:00+08:00" },
        { "at the end", "2026-03-12T18:00:00+08:00", "2026-03-12T18:00:00+08:00" },
        { "just after", "2026-03-12T18:00:00.000001+08:00", "2026-03-13T18:00:00+08:00" },
        { "Friday night", "2026-03-13T22:00:00+08:00", "2026-03-16T18:00:00+08:00" },
        { "Saturday", "2026-03-14T10:00:00+08:00", "2026-03-16T18:00:00+08:00" },
        { "worked Saturday", "2026-02-14T10:00:00+08:00", "2026-02-14T18:00:00+08:00" },
        { "before the feast", "2026-02-14T19:00:00+08:00", "2026-02-24T18:00:00+08:00" },
    };
    struct calendar c = china();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_time(cases[i].label, calendar_end_of_day(&c, at(cases[i].from), NULL),
                    cases[i].want);
}

static void finds_the_next_start(void **state)
{
    (void)state;
    static const struct {
        const char *from, *want;
    } cases[] = {
        { "2026-03-12T07:00:00+08:00", "2026-03-12T09:00:00+08:00" },
        { "2026-03-12T09:00:00+08:00", "2026-03-12T09:00:00+08:00" },
        { "2026-03-12T09:00:01+08:00", "2026-03-13T09:00:00+08:00" },
        { "2026-09-30T09:00:01+08:00", "2026-10-08T09:00:00+08:00" },
    };
    struct calendar c = china();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_time(cases[i].from, calendar_next_workday_start(&c, at(cases[i].from)),
                    cases[i].want);
    expect_time("at", calendar_at(&c, at("2026-03-11T20:00:00Z"), 420),
                "2026-03-12T07:00:00+08:00");
}

/* tests/data/calendar/README.md counts 248 working days for each of both years. */
static void counts_the_working_days_of_a_year(void **state)
{
    (void)state;
    struct calendar c = china();
    for (size_t y = 0; y < ARRAY_LEN(years); y++) {
        int n = 0;
        struct date d = { years[y], 1, 1 };
        for (; d.year == years[y]; d = date_add(d, 1))
            n += calendar_is_working(&c, d);
        assert_int_equal(n, 248);
    }
}

static void says_why_a_day_is_worked_or_not(void **state)
{
    (void)state;
    static const struct {
        struct date date;
        const char *want;
    } cases[] = {
        { { 2026, 3, 12 }, "weekday" },
        { { 2026, 3, 14 }, "weekend" },
        { { 2026, 2, 17 }, "春节" },
        { { 2026, 2, 14 }, "make-up day: 春节" },
        { { 2027, 2, 17 }, "weekday (calendar of that year not loaded)" },
        { { 2027, 2, 20 }, "weekend (calendar of that year not loaded)" },
    };
    struct calendar c = china();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(calendar_reason(&c, cases[i].date, arena), cases[i].want);
}

static void counts_plain_weeks_in_a_year_that_is_not_loaded(void **state)
{
    (void)state;
    struct calendar c = china();
    struct explain x = { .arena = arena };
    int64_t due = calendar_add_workdays(&c, at("2026-12-31T10:00:00+08:00"), 2, &x);
    expect_time("into 2027", due, "2027-01-04T18:00:00+08:00");
    bool told = false;
    for (size_t i = 0; i < x.n; i++)
        told |= strstr(x.lines[i], "not loaded") != NULL;
    assert_true(told);
}

static void explains_every_day_counted(void **state)
{
    (void)state;
    static const char *const want[] = {
        "2026-05-08: first day, not counted",
        "2026-05-09 make-up day: 劳动节: working day 1 of 2",
        "2026-05-10 weekend: not counted",
        "2026-05-11 weekday: working day 2 of 2",
        "end of the working day 2026-05-11 18:00",
    };
    struct calendar c = china();
    struct explain x = { .arena = arena };
    calendar_add_workdays(&c, at("2026-05-08T10:00:00+08:00"), 2, &x);
    assert_int_equal(x.n, ARRAY_LEN(want));
    for (size_t i = 0; i < x.n; i++)
        assert_string_equal(x.lines[i], want[i]);
}

static void an_explanation_is_bounded_and_says_what_it_dropped(void **state)
{
    (void)state;
    struct calendar c = china();
    struct explain x = { .arena = arena };
    int64_t due = calendar_add_workdays(&c, at("2026-05-08T10:00:00+08:00"), 100, &x);
    /* One line a day, the start's day included, and one for the hour. */
    size_t lines =
        (size_t)(date_number(tz_date(c.tz, due)) - date_number((struct date){ 2026, 5, 8 })) + 2;
    assert_int_equal(x.n, ARRAY_LEN(x.lines));
    char last[64];
    snprintf(last, sizeof(last), "and %zu more lines", x.dropped);
    assert_string_equal(x.lines[63], last);
    assert_int_equal(x.dropped, lines - 63);
    explain_add(NULL, "nobody asks %d", 1);
}

/* Where clocks change the due time stays at the local hour. */
static void keeps_local_hours_over_a_change_of_clocks_F42(void **state)
{
    (void)state;
    struct calendar c = { .tz = tz_find("Europe/Berlin"),
                          .workday_start_minute = 540,
                          .workday_end_minute = 1080,
                          .week_mask = 0x1f };
    assert_non_null(c.tz);
    expect_time("spring", calendar_add_workdays(&c, at("2026-03-27T12:00:00+01:00"), 1, NULL),
                "2026-03-30T18:00:00+02:00");
    expect_time("autumn", calendar_add_workdays(&c, at("2026-10-23T12:00:00+02:00"), 1, NULL),
                "2026-10-26T18:00:00+01:00");
    expect_time("back", calendar_subtract_workdays(&c, at("2026-03-30T12:00:00+02:00"), 1, NULL),
                "2026-03-27T18:00:00+01:00");
    /* 02:30 does not exist on 29 March: a day that begins then begins after the gap. */
    c.workday_start_minute = 150;
    c.week_mask = 0x7f;
    expect_time("gap", calendar_next_workday_start(&c, at("2026-03-28T22:00:00Z")),
                "2026-03-29T03:30:00+02:00");
}

static void a_week_may_have_other_days(void **state)
{
    (void)state;
    struct calendar c = china();
    c.week_mask = 0x3f; /* Saturdays too */
    expect_time("Saturday", calendar_add_workdays(&c, at("2026-03-13T10:00:00+08:00"), 1, NULL),
                "2026-03-14T18:00:00+08:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_working_days_over_holidays_and_make_up_days),
        cmocka_unit_test(subtracts_working_days),
        cmocka_unit_test(ends_the_day_or_the_next_working_day),
        cmocka_unit_test(finds_the_next_start),
        cmocka_unit_test(counts_the_working_days_of_a_year),
        cmocka_unit_test(says_why_a_day_is_worked_or_not),
        cmocka_unit_test(counts_plain_weeks_in_a_year_that_is_not_loaded),
        cmocka_unit_test(explains_every_day_counted),
        cmocka_unit_test(an_explanation_is_bounded_and_says_what_it_dropped),
        cmocka_unit_test(keeps_local_hours_over_a_change_of_clocks_F42),
        cmocka_unit_test(a_week_may_have_other_days),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
