/* The timers in memory: order, bound, fairness, losing shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/reminders/schedule.h"

static struct timer timer(uint8_t tenant, uint32_t n, int64_t due_us)
{
    struct timer t = { .due_us = due_us, .shard = (int16_t)(n % 64) };

    t.tenant.b[0] = tenant;
    memcpy(t.obligation.b, &n, sizeof(n));
    t.obligation.b[15] = tenant;
    return t;
}

static void gives_each_timer_once_and_in_order(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct schedule *s = schedule_new(N);
    static struct timer out[N];
    uint32_t x = 12345;

    for (uint32_t i = 0; i < N; i++) {
        x = x * 1664525 + 1013904223;
        struct timer t = timer(1, i, x % 100000);
        assert_true(schedule_put(s, &t));
        assert_true(schedule_put(s, &t)); /* held already */
    }
    assert_int_equal(schedule_size(s), N);
    assert_int_equal(schedule_room(s), 0);
    struct timer extra = timer(1, N, 5);
    assert_false(schedule_put(s, &extra)); /* full */

    size_t half = schedule_take(s, 50000, out, N);
    assert_true(half > 0 && half < N);
    assert_true(schedule_next_us(s) > 50000);
    for (size_t i = 0; i < half; i++) {
        assert_true(out[i].due_us <= 50000);
        assert_true(i == 0 || out[i - 1].due_us <= out[i].due_us);
    }
    assert_int_equal(schedule_take(s, 50000, out, N), 0);
    assert_int_equal(schedule_take(s, 100000, out, N), N - half);
    assert_int_equal(schedule_next_us(s), INT64_MAX);
    assert_int_equal(schedule_size(s), 0);
    schedule_free(s);
}

static void one_timer_of_a_duty_may_stand_beside_another(void **state)
{
    (void)state;
    struct schedule *s = schedule_new(16);
    struct timer out[4], old = timer(1, 7, 100), moved = timer(1, 7, 200), next = timer(1, 7, 200);

    next.step = 1;
    assert_true(schedule_put(s, &old));
    assert_true(schedule_put(s, &moved));
    assert_true(schedule_put(s, &next));
    assert_int_equal(schedule_size(s), 3);
    assert_int_equal(schedule_take(s, 100, out, 4), 1);
    assert_int_equal(schedule_take(s, 200, out, 4), 2);
    schedule_free(s);
}

/* F39, F52: a flood of one tenant lets the others through at once. */
static void a_flood_of_one_tenant_does_not_delay_the_others_F39(void **state)
{
    (void)state;
    struct schedule *s = schedule_new(20000);
    static struct timer out[1000];

    for (uint32_t i = 0; i < 10000; i++) {
        struct timer t = timer(1, i, 10);
        assert_true(schedule_put(s, &t));
    }
    for (uint8_t tenant = 2; tenant < 7; tenant++) {
        struct timer t = timer(tenant, 1, 20); /* due later than the whole flood */
        assert_true(schedule_put(s, &t));
    }
    assert_int_equal(schedule_take(s, 100, out, 1000), 1000);
    int others = 0;
    for (size_t i = 0; i < 1000; i++)
        others += out[i].tenant.b[0] != 1;
    assert_int_equal(others, 5);
    assert_int_equal(schedule_ready(s), 9005);

    /* A latecomer of another tenant is in the next batch. */
    struct timer late = timer(9, 1, 50);
    assert_true(schedule_put(s, &late));
    assert_int_equal(schedule_take(s, 100, out, 1000), 1000);
    others = 0;
    for (size_t i = 0; i < 1000; i++)
        others += out[i].tenant.b[0] == 9;
    assert_int_equal(others, 1);
    schedule_free(s);
}

static void many_tenants_are_all_served(void **state)
{
    (void)state;
    enum { TENANTS = 6000 }; /* more than there are queues */
    struct schedule *s = schedule_new(2 * TENANTS);
    static struct timer out[2 * TENANTS];

    for (uint32_t i = 0; i < TENANTS; i++)
        for (uint32_t k = 0; k < 2; k++) {
            struct timer t = timer(1, k, 1);
            memcpy(t.tenant.b, &i, sizeof(i));
            t.tenant.b[8] = 1;
            assert_true(schedule_put(s, &t));
        }
    size_t n = 0, got;
    while ((got = schedule_take(s, 1, out + n, 500)) > 0)
        n += got;
    assert_int_equal(n, 2 * TENANTS);
    assert_int_equal(schedule_size(s), 0);
    schedule_free(s);
}

static void forgets_the_shards_that_are_no_longer_its_own(void **state)
{
    (void)state;
    struct schedule *s = schedule_new(1000);
    static struct timer out[1000];

    for (uint32_t i = 0; i < 640; i++) {
        struct timer t = timer(1, i, i < 320 ? 1 : 1000);
        assert_true(schedule_put(s, &t));
    }
    assert_int_equal(schedule_take(s, 1, out, 64), 64); /* the rest of the 320 is ready */
    schedule_keep(s, UINT64_C(0xffffffff), INT64_MIN);
    assert_int_equal(schedule_size(s), 96 + 160);
    size_t n = schedule_take(s, 1000, out, 1000);
    assert_int_equal(n, 256);
    for (size_t i = 0; i < n; i++)
        assert_in_range(out[i].shard, 0, 31);
    schedule_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_each_timer_once_and_in_order),
        cmocka_unit_test(one_timer_of_a_duty_may_stand_beside_another),
        cmocka_unit_test(a_flood_of_one_tenant_does_not_delay_the_others_F39),
        cmocka_unit_test(many_tenants_are_all_served),
        cmocka_unit_test(forgets_the_shards_that_are_no_longer_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
