/* Domain time in its four modes, and RFC 3339 texts. */
#include "common/base.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "tests/support/folder.h"

#define SLACK_US (30 * SECOND_US) /* how long a busy machine may hold us up between two lines */

static char folder[FOLDER_MAX], path[FOLDER_MAX + 8];
static const char *reason;

static bool init(const char *spec)
{
    reason = NULL;
    return clock_init(spec, &reason);
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder, "daybook-clock");
    (void)snprintf(path, sizeof(path), "%s/clock", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return init("real") ? 0 : -1;
}

static bool init_file(void)
{
    char spec[128];
    (void)snprintf(spec, sizeof(spec), "file:%s", path);
    return init(spec);
}

static void assert_about(int64_t got_us, int64_t want_us, double rate)
{
    int64_t most_us = want_us + (int64_t)(SLACK_US * rate);
    if (got_us < want_us || got_us > most_us)
        fail_msg("%" PRId64 " is not within %" PRId64 " and %" PRId64, got_us, want_us, most_us);
}

static void real_time_is_the_wall_clock(void **state)
{
    (void)state;
    assert_true(init("real"));
    assert_false(clock_is_steered());
    assert_about(clock_now_us(), clock_wall_us(), 1);
    assert_true(init(NULL));
    assert_true(init(""));
    int64_t in_an_hour = clock_now_us() + HOUR_US;
    assert_in_range(clock_until_us(in_an_hour), HOUR_US - SLACK_US, HOUR_US);
    assert_int_equal(clock_until_us(clock_now_us() - 1), 0);
}

static void what_is_left_of_a_time_is_never_less_than_nothing(void **state)
{
    (void)state;
    int64_t now_us = clock_monotonic_us(), left_us = clock_left_us(now_us + HOUR_US);

    assert_int_equal(clock_left_us(now_us), 0);
    assert_int_equal(clock_left_us(0), 0);
    assert_true(left_us <= HOUR_US && left_us > HOUR_US - SLACK_US);
}

static void an_offset_moves_it(void **state)
{
    (void)state;
    assert_true(init("offset:2d"));
    assert_about(clock_now_us(), clock_wall_us() + 2 * DAY_US, 1);
    assert_true(init("offset:-36h"));
    assert_about(clock_now_us(), clock_wall_us() - 36 * HOUR_US, 1);
}

static void scaled_time_runs_by_its_factor(void **state)
{
    (void)state;
    char real[TIME_TEXT_MAX], spec[128];
    int64_t now_us = clock_wall_us();
    (void)snprintf(spec, sizeof(spec), "scaled:2026-01-05T08:00:00Z@%sx3600",
                   time_format(now_us - 10 * SECOND_US, real));
    assert_true(init(spec));
    int64_t start_us;
    assert_true(time_parse("2026-01-05T08:00:00Z", &start_us));
    assert_about(clock_now_us(), start_us + 10 * HOUR_US, 3600);
    /* an hour of domain time is a second of real time */
    assert_in_range(clock_until_us(clock_now_us() + HOUR_US), 1, SECOND_US + 1);
}

static void a_stopped_clock_never_arrives(void **state)
{
    (void)state;
    assert_true(init("scaled:2026-01-05T08:00:00Z@2026-01-01T00:00:00Zx0"));
    int64_t now_us = clock_now_us();
    assert_int_equal(now_us, clock_now_us());
    assert_true(clock_until_us(now_us + 1) == INT64_MAX);
    assert_int_equal(clock_until_us(now_us), 0);
}

static void bad_settings_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "fast",
        "offset:",
        "offset:5",
        "offset:--5s",
        "offset:5y",
        "scaled:",
        "scaled:2026-01-01T00:00:00Z",
        "scaled:2026-01-01T00:00:00Z@2026-01-01T00:00:00Z",
        "scaled:2026-01-01T00:00:00Z@2026-01-01T00:00:00Zx",
        "scaled:2026-01-01T00:00:00Z@2026-01-01T00:00:00Zx-1",
        "scaled:2026-01-01T00:00:00Z@2026-01-01T00:00:00Zx1e9",
        "scaled:x2@2026-01-01T00:00:00Z",
        "scaled:yesterday@2026-01-01T00:00:00Zx2",
        "file:",
        "file:/nonexistent/folder/clock",
        "file:/tmp",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (init(bad[i]))
            fail_msg("%s is taken", bad[i]);
        assert_non_null(reason);
    }
}

static void a_steered_clock_can_be_turned_at_any_time(void **state)
{
    (void)state;
    assert_true(init_file()); /* made by whoever comes first, at wall time */
    assert_true(clock_is_steered());
    assert_about(clock_now_us(), clock_wall_us() - SLACK_US, 2);

    int64_t monday_us;
    assert_true(time_parse("2026-01-05T00:00:00Z", &monday_us));
    assert_true(clock_steer(path, monday_us, 0));
    assert_int_equal(clock_now_us(), monday_us);
    assert_int_equal(clock_now_us(), monday_us);
    assert_true(clock_until_us(monday_us + 1) == INT64_MAX);

    assert_true(clock_steer(path, monday_us + DAY_US, 1000));
    assert_about(clock_now_us(), monday_us + DAY_US, 1000);
    assert_in_range(clock_until_us(clock_now_us() + 1000 * SECOND_US), 1, SECOND_US + 1);

    assert_true(clock_steer(path, monday_us - 7 * DAY_US, 0)); /* back as well */
    assert_int_equal(clock_now_us(), monday_us - 7 * DAY_US);
}

static void who_starts_later_changes_nothing(void **state)
{
    (void)state;
    assert_true(clock_steer(path, 12345, 0));
    assert_true(init_file());
    assert_int_equal(clock_now_us(), 12345);
    assert_true(init_file());
    assert_int_equal(clock_now_us(), 12345);
}

static void a_writer_killed_half_way_leaves_the_old_time(void **state)
{
    (void)state;
    assert_true(clock_steer(path, 1000, 0)); /* version 1: slot 1 holds, slot 0 is filled next */
    assert_true(init_file());
    int fd = open(path, O_WRONLY);
    int64_t half_written = 999999;
    assert_int_equal(pwrite(fd, &half_written, sizeof(half_written), 16), sizeof(half_written));
    close(fd);
    assert_int_equal(clock_now_us(), 1000);
    assert_true(clock_steer(path, 2000, 0));
    assert_int_equal(clock_now_us(), 2000);
}

static void a_file_of_another_boot_or_kind_is_refused(void **state)
{
    (void)state;
    assert_true(clock_steer(path, 1000, 0));
    int fd = open(path, O_WRONLY);
    uint32_t other_boot = 0x12345678;
    assert_int_equal(pwrite(fd, &other_boot, sizeof(other_boot), 0), sizeof(other_boot));
    close(fd);
    assert_false(init_file());
    assert_non_null(reason);
    assert_true(clock_steer(path, 1000, 0)); /* steering mends it */
    assert_true(init_file());
}

static void impossible_rates_are_refused(void **state)
{
    (void)state;
    static const double bad[] = { -1, 1e9, NAN, INFINITY };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        errno = 0;
        assert_false(clock_steer(path, 0, bad[i]));
        assert_int_equal(errno, EINVAL);
    }
    assert_false(clock_steer("/nonexistent/folder/clock", 0, 1));
}

static atomic_bool steering;

/* Each state it writes stands still at a multiple of a second, so a mix of two would show. */
static void *steer_much(void *arg)
{
    (void)arg;
    for (int64_t i = 1; i <= 3000; i++)
        if (!clock_steer(path, i * SECOND_US, 0))
            abort();
    atomic_store(&steering, false);
    return NULL;
}

static void readers_never_see_half_a_change(void **state)
{
    (void)state;
    assert_true(clock_steer(path, 0, 0));
    assert_true(init_file());
    atomic_store(&steering, true);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, steer_much, NULL), 0);
    int64_t last_us = 0;
    while (atomic_load(&steering)) {
        int64_t now_us = clock_now_us();
        if (now_us % SECOND_US != 0 || now_us < last_us)
            fail_msg("%" PRId64 " after %" PRId64, now_us, last_us);
        last_us = now_us;
    }
    pthread_join(thread, NULL);
    assert_int_equal(clock_now_us(), 3000 * SECOND_US);
}

static void texts_have_the_digits_they_need(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *want;
    } cases[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { 1, "1970-01-01T00:00:00.000001Z" },
        { 120000, "1970-01-01T00:00:00.120Z" },
        { -1, "1969-12-31T23:59:59.999999Z" },
        { INT64_C(1767323045123000), "2026-01-02T03:04:05.123Z" },
        { INT64_C(951782400000000), "2000-02-29T00:00:00Z" },
        { INT64_C(-62135596800000000), "0001-01-01T00:00:00Z" },
        { INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[TIME_TEXT_MAX];
        int64_t back;
        assert_string_equal(time_format(cases[i].us, buf), cases[i].want);
        assert_true(time_parse(buf, &back));
        assert_true(back == cases[i].us);
    }
    char buf[TIME_TEXT_MAX]; /* out of the years, but never out of the buffer */
    assert_true(strlen(time_format(INT64_MIN, buf)) < TIME_TEXT_MAX);
    assert_true(strlen(time_format(INT64_MAX, buf)) < TIME_TEXT_MAX);
}

static void any_offset_and_fraction_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *same;
    } cases[] = {
        { "2026-01-02T11:04:05+08:00", "2026-01-02T03:04:05Z" },
        { "2026-01-01T22:04:05-05:00", "2026-01-02T03:04:05Z" },
        { "2026-01-02T08:49:05+05:45", "2026-01-02T03:04:05Z" },
        { "2026-01-02t03:04:05z", "2026-01-02T03:04:05Z" },
        { "2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05Z" },
        { "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100Z" },
        { "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z" },
        { "1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z" },
        { "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[TIME_TEXT_MAX];
        int64_t us;
        if (!time_parse(cases[i].text, &us))
            fail_msg("%s is refused", cases[i].text);
        assert_string_equal(time_format(us, buf), cases[i].same);
    }
}

static void what_is_no_moment_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-1-02T03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2025-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-01-00T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05+8:00",
        "2026-01-02T03:04:05+0800",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+08:60",
        "2026-01-02T03:04:05Zx",
        " 2026-01-02T03:04:05Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "-026-01-02T03:04:05Z",
        "2026-01--2T03:04:05Z",
        "+2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05,5Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t us = 4711;
        if (time_parse(bad[i], &us) || us != 4711)
            fail_msg("'%s' is taken", bad[i]);
    }
    int64_t us;
    assert_false(time_parse(NULL, &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_time_is_the_wall_clock),
        cmocka_unit_test(what_is_left_of_a_time_is_never_less_than_nothing),
        cmocka_unit_test(an_offset_moves_it),
        cmocka_unit_test(scaled_time_runs_by_its_factor),
        cmocka_unit_test(a_stopped_clock_never_arrives),
        cmocka_unit_test(bad_settings_are_refused_with_a_reason),
        cmocka_unit_test_setup_teardown(a_steered_clock_can_be_turned_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(who_starts_later_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_writer_killed_half_way_leaves_the_old_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_of_another_boot_or_kind_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_rates_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_never_see_half_a_change, setup, teardown),
        cmocka_unit_test(texts_have_the_digits_they_need),
        cmocka_unit_test(any_offset_and_fraction_is_read),
        cmocka_unit_test(what_is_no_moment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
