/* What waits is told how long, by what was taken while something waited, and soon by what holds now (F51). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/bus/pace.h"

/* n are taken, one in each `every_us`; the time afterwards. */
static int64_t take(struct pace *p, int64_t now_us, int n, int64_t every_us)
{
    for (int i = 0; i < n; i++)
        pace_takes(p, now_us += every_us);
    return now_us;
}

static void assert_about(int64_t got, int64_t want)
{
    if (got < want * 9 / 10 || got > want * 11 / 10)
        fail_msg("want about %lld, got %lld", (long long)want, (long long)got);
}

static void nothing_is_foretold_from_too_little(void **state)
{
    (void)state;
    struct pace p = { 0 };
    pace_waits(&p, 0);
    take(&p, 0, 7, SECOND_US / 100);
    assert_int_equal(pace_wait_us(&p, 1000), 0);
    take(&p, SECOND_US / 10, 1, SECOND_US / 100);
    assert_true(pace_wait_us(&p, 1000) > 0);
}

static void one_waits_for_all_before_him(void **state)
{
    (void)state;
    struct pace p = { 0 };
    pace_waits(&p, 0);
    take(&p, 0, 5000, 1 * MSEC_US);
    assert_about(pace_wait_us(&p, 1), 1 * MSEC_US);
    assert_about(pace_wait_us(&p, 2500), 2500 * MSEC_US);
    assert_int_equal(pace_wait_us(&p, 0), 0);
}

static void time_in_which_nobody_waits_does_not_count(void **state)
{
    (void)state;
    struct pace p = { 0 };
    int64_t now_us = 0;
    for (int i = 0; i < 100; i++) {
        now_us += MINUTE_US;
        pace_waits(&p, now_us);
        now_us = take(&p, now_us, 10, 2 * MSEC_US);
    }
    assert_about(pace_wait_us(&p, 1), 2 * MSEC_US);
}

static void a_standstill_counts_for_what_it_is_and_is_soon_forgotten(void **state)
{
    (void)state;
    struct pace p = { 0 };
    pace_waits(&p, 0);
    int64_t now_us = take(&p, 0, 3000, 1 * MSEC_US);
    now_us = take(&p, now_us, 1, SECOND_US);
    assert_true(pace_wait_us(&p, 100) < 500 * MSEC_US);
    now_us = take(&p, now_us, 3000, 1 * MSEC_US);
    assert_about(pace_wait_us(&p, 100), 100 * MSEC_US);
    now_us = take(&p, now_us, 1, 60 * SECOND_US);
    take(&p, now_us, 4000, 1 * MSEC_US);
    assert_about(pace_wait_us(&p, 100), 100 * MSEC_US);
}

static void a_service_that_has_become_slow_is_known_to_be(void **state)
{
    (void)state;
    struct pace p = { 0 };
    pace_waits(&p, 0);
    int64_t now_us = take(&p, 0, 5000, 1 * MSEC_US);
    now_us = take(&p, now_us, 50, 100 * MSEC_US);
    assert_about(pace_wait_us(&p, 10), SECOND_US);
    take(&p, now_us, 20, 3 * SECOND_US);
    assert_about(pace_wait_us(&p, 10), 30 * SECOND_US);
}

static void what_an_answer_takes_is_the_mean_of_the_last_ones(void **state)
{
    (void)state;
    struct pace p = { 0 };
    pace_answers(&p, 100);
    assert_true(p.handling_us == 100);
    for (int i = 0; i < 200; i++)
        pace_answers(&p, i % 2 ? 1000 : 3000);
    assert_about((int64_t)p.handling_us, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_foretold_from_too_little),
        cmocka_unit_test(one_waits_for_all_before_him),
        cmocka_unit_test(time_in_which_nobody_waits_does_not_count),
        cmocka_unit_test(a_standstill_counts_for_what_it_is_and_is_soon_forgotten),
        cmocka_unit_test(a_service_that_has_become_slow_is_known_to_be),
        cmocka_unit_test(what_an_answer_takes_is_the_mean_of_the_last_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
