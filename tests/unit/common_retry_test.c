/* The budget for repeated calls: a tenth of the calls, and one a second. */
#include "common/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/retry.h"
#include "common/sbuf.h"

#define NOW (100 * SECOND_US)

/* Takes what there is, the free one too. */
static int empty(struct retry_budget *b, int64_t now_us)
{
    int n = 0;
    while (retry_budget_take(b, now_us))
        n++;
    return n;
}

static void it_begins_full_and_one_a_second_is_free(void **state)
{
    (void)state;
    struct retry_budget b = { 0 };

    assert_int_equal(empty(&b, NOW), RETRY_BUDGET_MOST + 1);
    assert_false(retry_budget_take(&b, NOW + SECOND_US - 1));
    assert_true(retry_budget_take(&b, NOW + SECOND_US));
    assert_false(retry_budget_take(&b, NOW + SECOND_US));
    assert_true(retry_budget_take(&b, NOW + 60 * SECOND_US)); /* they are not saved up */
    assert_false(retry_budget_take(&b, NOW + 60 * SECOND_US));
}

static void ten_calls_that_succeed_pay_for_one_repeat(void **state)
{
    (void)state;
    struct retry_budget b = { 0 };

    (void)empty(&b, NOW);
    for (int i = 0; i < 9; i++)
        retry_budget_earn(&b);
    assert_false(retry_budget_take(&b, NOW));
    retry_budget_earn(&b);
    assert_true(retry_budget_take(&b, NOW));
    assert_false(retry_budget_take(&b, NOW));
    for (int i = 0; i < 1000; i++)
        retry_budget_earn(&b);
    assert_int_equal(empty(&b, NOW), RETRY_BUDGET_MOST);
}

static void when_half_of_them_fail_repeats_end_at_a_tenth(void **state)
{
    (void)state;
    struct retry_budget b = { 0 };
    int repeats = 0;

    for (int i = 0; i < 10000; i++) /* of which every other one succeeds */
        if (i % 2)
            retry_budget_earn(&b);
        else
            repeats += retry_budget_take(&b, NOW);
    assert_in_range(repeats, 500, 500 + RETRY_BUDGET_MOST + 1);
}

#define THREADS 4
#define EACH 100000

static _Atomic int taken;

static void *earn_and_take(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        retry_budget_earn(arg);
        taken += retry_budget_take(arg, NOW);
    }
    return NULL;
}

static void threads_take_no_more_than_there_is(void **state)
{
    (void)state;
    struct retry_budget b = { 0 };
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, earn_and_take, &b), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(taken, 1, THREADS * EACH / 10 + RETRY_BUDGET_MOST + 1);
}

static void repeats_are_counted_by_their_reason(void **state)
{
    (void)state;
    struct sbuf page;

    retry_count(RETRY_DRAINING);
    retry_count(RETRY_DRAINING);
    retry_count("unavailable");
    sbuf_init(&page, MIB);
    metrics_write(&page);
    assert_non_null(
        strstr(page.data, "\ndaybook_rpc_client_retries_total{reason=\"draining\"} 2\n"));
    assert_non_null(
        strstr(page.data, "\ndaybook_rpc_client_retries_total{reason=\"unavailable\"} 1\n"));
    sbuf_fini(&page);
    metrics_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_full_and_one_a_second_is_free),
        cmocka_unit_test(ten_calls_that_succeed_pay_for_one_repeat),
        cmocka_unit_test(when_half_of_them_fail_repeats_end_at_a_tenth),
        cmocka_unit_test(threads_take_no_more_than_there_is),
        cmocka_unit_test(repeats_are_counted_by_their_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
