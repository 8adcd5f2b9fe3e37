/* Requests of a key: a steady rate, a burst, an honest time to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/identity/limit.h"

static void a_burst_passes_and_then_the_steady_rate(void **state)
{
    (void)state;
    struct limit *l = limit_new(10, SECOND_US, 5);
    struct id key = id_new();
    int64_t now_us = 1000 * SECOND_US;

    for (int i = 0; i < 5; i++)
        assert_int_equal(limit_take(l, key, now_us), 0);
    assert_int_equal(limit_take(l, key, now_us), 100 * MSEC_US);
    assert_int_equal(limit_take(l, key, now_us), 100 * MSEC_US); /* a refusal costs nothing */
    assert_int_equal(limit_take(l, key, now_us + 40 * MSEC_US), 60 * MSEC_US);
    assert_int_equal(limit_take(l, key, now_us + 100 * MSEC_US), 0);
    assert_true(limit_take(l, key, now_us + 100 * MSEC_US) > 0);
    now_us += 60 * SECOND_US;
    for (int i = 0; i < 5; i++)
        assert_int_equal(limit_take(l, key, now_us), 0);
    assert_true(limit_take(l, key, now_us) > 0); /* a rest gives one burst, not ten */
    limit_free(l);
}

static void keys_have_nothing_to_do_with_each_other_F52(void **state)
{
    (void)state;
    struct limit *l = limit_new(1, SECOND_US, 1);
    struct id flood = id_new();
    int64_t now_us = 1000 * SECOND_US;

    assert_int_equal(limit_take(l, flood, now_us), 0);
    assert_true(limit_take(l, flood, now_us) > 0);
    for (int i = 0; i < 1000; i++) {
        struct id other = id_new();
        assert_int_equal(limit_take(l, other, now_us), 0);
        assert_int_equal(limit_take(l, other, now_us), SECOND_US);
    }
    limit_free(l);
}

static void more_keys_than_there_is_room_for_all_pass(void **state)
{
    (void)state;
    struct limit *l = limit_new(1, SECOND_US, 1);
    for (int i = 0; i < 30000; i++)
        assert_int_equal(limit_take(l, id_new(), 1000 * SECOND_US), 0);
    limit_free(l);
}

static void without_a_rate_there_is_no_limit(void **state)
{
    (void)state;
    struct limit *l = limit_new(0, SECOND_US, 0);
    struct id key = id_new();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(limit_take(l, key, 1000 * SECOND_US), 0);
    limit_free(l);
}

static void who_waits_is_told_for_what(void **state)
{
    (void)state;
    struct limit *l = limit_new(100, SECOND_US, 200), *rare = limit_new(10, MINUTE_US, 10);
    char policy[LIMIT_TEXT_MAX], told[LIMIT_TEXT_MAX];

    limit_tell(l, 10 * MSEC_US, policy, told);
    assert_string_equal(policy, "\"requests\";q=200;w=2");
    assert_string_equal(told, "\"requests\";r=0;t=1");
    limit_tell(rare, 6 * SECOND_US + 1, policy, told);
    assert_string_equal(policy, "\"requests\";q=10;w=60");
    assert_string_equal(told, "\"requests\";r=0;t=7");
    limit_free(l);
    limit_free(rare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_and_then_the_steady_rate),
        cmocka_unit_test(keys_have_nothing_to_do_with_each_other_F52),
        cmocka_unit_test(more_keys_than_there_is_room_for_all_pass),
        cmocka_unit_test(without_a_rate_there_is_no_limit),
        cmocka_unit_test(who_waits_is_told_for_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
