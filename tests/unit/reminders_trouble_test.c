/*
 * What the timer engine makes of trouble, without a server: what is late after an outage, which
 * timers are set aside and when that counts against them, and what waits for unheard events.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "services/reminders/aside.h"
#include "services/reminders/endpoints.h"
#include "services/reminders/hearing.h"
#include "services/reminders/lateness.h"

/* --- lateness -------------------------------------------------------------------------------- */

#define T0 (1000 * DAY_US)
#define START_US (2 * SECOND_US)

static void run_for(struct lateness *l, int64_t *real_us, int64_t *domain_us, int64_t us)
{
    for (int64_t end_us = *real_us + us; *real_us < end_us;
         *real_us += 10 * MSEC_US, *domain_us += 10 * MSEC_US)
        assert_false(lateness_note(l, *real_us, *domain_us) && l->nsamples > 1);
}

static void late_is_what_was_due_two_seconds_ago(void **state)
{
    (void)state;
    struct lateness l = { 0 };
    int64_t real_us = 5 * DAY_US, domain_us = T0;

    assert_true(lateness_note(&l, real_us, domain_us)); /* nobody was there before */
    assert_int_equal(lateness_before(&l, START_US), T0 - START_US);
    run_for(&l, &real_us, &domain_us, SECOND_US);
    assert_int_equal(lateness_before(&l, START_US), T0 - START_US);
    run_for(&l, &real_us, &domain_us, MINUTE_US);
    assert_in_range(l.now.domain_us - lateness_before(&l, START_US), LATE_AFTER_US - 1,
                    LATE_AFTER_US + 1);
}

static void a_thread_that_was_stopped_is_late_for_what_came_due_meanwhile(void **state)
{
    (void)state;
    struct lateness l = { 0 };
    int64_t real_us = 5 * DAY_US, domain_us = T0;

    run_for(&l, &real_us, &domain_us, MINUTE_US);
    real_us += HOUR_US;
    domain_us += HOUR_US;
    assert_true(lateness_note(&l, real_us, domain_us));
    assert_in_range(domain_us - lateness_before(&l, START_US), LATE_AFTER_US - 1000,
                    LATE_AFTER_US + 1000);
    real_us += SECOND_US; /* the gap now lies one to two seconds back */
    domain_us += SECOND_US;
    assert_false(lateness_note(&l, real_us, domain_us));
    assert_in_range(domain_us - lateness_before(&l, START_US), LATE_AFTER_US - 1000,
                    LATE_AFTER_US + 1000);
}

static void a_clock_that_jumps_makes_nothing_late(void **state)
{
    (void)state;
    struct lateness l = { 0 };
    int64_t real_us = 5 * DAY_US, domain_us = T0;

    run_for(&l, &real_us, &domain_us, MINUTE_US);
    int64_t before_us = domain_us;
    domain_us += DAY_US;
    run_for(&l, &real_us, &domain_us, LATE_AFTER_US - 200 * MSEC_US);
    assert_true(lateness_before(&l, START_US) < before_us);
}

/* --- set aside ------------------------------------------------------------------------------- */

static struct timer timer(uint8_t n)
{
    return (struct timer){ .tenant.b = { 1 }, .obligation.b = { n }, .due_us = T0 + n };
}

static void what_is_locked_waits_a_moment_and_is_not_blamed(void **state)
{
    (void)state;
    static struct aside a;
    struct timer t = timer(1), other = timer(2), out[4];

    for (int i = 0; i < 20; i++) {
        int64_t now_us = i * MINUTE_US;
        assert_true(aside_put_locked(&a, &t, now_us));
        assert_true(aside_has(&a, &t));
        assert_false(aside_has(&a, &other));
        assert_int_equal(aside_take(&a, now_us + SECOND_US, out, 4), 0);
        assert_int_equal(aside_next_us(&a), now_us + ASIDE_LOCKED_US);
        assert_int_equal(aside_take(&a, now_us + ASIDE_LOCKED_US, out, 4), 1);
        assert_int_equal(out[0].due_us, t.due_us);
        assert_false(aside_has(&a, &t)); /* it is being tried */
        assert_int_equal(aside_next_us(&a), INT64_MAX);
    }
    aside_forget(&a, &t);
    assert_int_equal(a.n, 0);
}

static void a_fault_counts_only_beside_successes(void **state)
{
    (void)state;
    static struct aside a;
    struct timer t = timer(1), out[1];
    int64_t now_us = 0;

    for (int i = 0; i < 20; i++) /* nothing can be fired at all */
        assert_int_equal(aside_put_failed(&a, &t, 7, 7, true, now_us), 0);
    assert_int_equal(aside_put_failed(&a, &t, 7, 8, false, now_us), 0); /* no memory */
    for (int tries = 1; tries <= ASIDE_TRIES_MAX; tries++) {
        assert_int_equal(aside_put_failed(&a, &t, 8, 9, true, now_us), tries);
        int64_t pause_us = SECOND_US << (tries - 1);
        assert_int_equal(aside_take(&a, now_us + pause_us - 1, out, 1), 0);
        assert_int_equal(aside_take(&a, now_us += pause_us, out, 1), 1);
    }
    assert_true(now_us >= 15 * SECOND_US);
}

static void there_is_an_end_to_it(void **state)
{
    (void)state;
    static struct aside a;

    for (int i = 0; i < ASIDE_MAX; i++) {
        struct timer t = timer((uint8_t)i);
        assert_true(aside_put_locked(&a, &t, 0));
    }
    struct timer t = timer(1);
    t.step = 1;
    assert_false(aside_put_locked(&a, &t, 0));
    assert_int_equal(aside_put_failed(&a, &t, 0, 1, true, 0), -1);
    assert_false(aside_has(&a, &t));
}

/* --- unheard --------------------------------------------------------------------------------- */

static void after_an_outage_late_timers_wait_until_the_head_is_passed(void **state)
{
    (void)state;
    struct hearing h = { 0 };
    int64_t now_us = HOUR_US;

    assert_int_equal(hearing_judge(&h, true, 100, 100, now_us), HEARING_ALL);
    hearing_doubt(&h, HEARING_GRACE_US, now_us);
    assert_int_equal(hearing_judge(&h, true, 100, 100, now_us), HEARING_DOUBT); /* of before */
    now_us += HEARING_GRACE_US;
    assert_int_equal(hearing_judge(&h, true, 100, 900, now_us), HEARING_BEHIND);
    assert_int_equal(hearing_judge(&h, true, 899, 2000, now_us), HEARING_BEHIND);
    assert_int_equal(hearing_judge(&h, true, 900, 2000, now_us), HEARING_ALL); /* moving on */
    assert_int_equal(hearing_judge(&h, false, 0, 0, now_us), HEARING_ALL); /* the bus goes away */
}

static void nothing_fires_during_a_rebuild(void **state)
{
    (void)state;
    struct hearing h = { 0 };

    assert_int_equal(hearing_judge(&h, true, 5000, 5000, 0), HEARING_ALL);
    assert_int_equal(hearing_judge(&h, true, 0, 5000, 1), HEARING_BEHIND);
    int64_t now_us = 0;
    for (int64_t seq = 1; seq < 5000; seq += 50) /* slow, but it moves */
        assert_int_equal(hearing_judge(&h, true, seq, 6000, now_us += 50 * SECOND_US),
                         HEARING_BEHIND);
    assert_int_equal(hearing_judge(&h, true, 5000, 6000, now_us), HEARING_ALL);
}

static void without_the_bus_timers_wait_a_minute(void **state)
{
    (void)state;
    struct hearing h = { 0 };

    hearing_doubt(&h, 0, 0);
    assert_int_equal(hearing_judge(&h, false, 0, 0, HEARING_GIVE_UP_US), HEARING_DOUBT);
    assert_int_equal(hearing_judge(&h, false, 0, 0, HEARING_GIVE_UP_US + 1), HEARING_ALL);
    assert_true(h.gave_up);
}

/* --- receivers -------------------------------------------------------------------------------- */

static void a_receiver_that_does_not_answer_rests_and_then_is_asked_by_one(void **state)
{
    (void)state;
    static struct endpoints x;
    struct id tenant = { .b = { 1 } }, owner = { .b = { 2 } };

    endpoints_note(&x, tenant, owner, true, 10 * MSEC_US, 0);
    assert_int_equal(x.n, 0); /* nothing is remembered of the good ones */
    endpoints_note(&x, tenant, owner, false, 10 * SECOND_US, 0);
    assert_true(endpoints_rests(&x, tenant, owner, ENDPOINT_REST_US - 1));
    assert_false(endpoints_rests(&x, owner, tenant, 1));
    assert_false(endpoints_rests(&x, tenant, owner, ENDPOINT_REST_US));
    assert_true(endpoints_fails(&x, tenant, owner));
    endpoints_note(&x, tenant, owner, true, 4 * SECOND_US, 0); /* back, but slow */
    assert_false(endpoints_fails(&x, tenant, owner));
    assert_true(endpoints_rests(&x, tenant, owner, 8 * SECOND_US - 1));
    assert_false(endpoints_rests(&x, tenant, owner, 8 * SECOND_US));
    endpoints_note(&x, tenant, owner, true, 0, 0);
    assert_int_equal(x.n, 0);
    for (int i = 0; i < 2 * ENDPOINTS_MAX; i++) {
        owner.b[1] = (uint8_t)i;
        endpoints_note(&x, tenant, owner, false, 0, i);
    }
    assert_int_equal(x.n, ENDPOINTS_MAX);
    assert_true(endpoints_rests(&x, tenant, owner, 2 * ENDPOINTS_MAX));
    owner.b[1] = 0;
    assert_false(endpoints_rests(&x, tenant, owner, 2 * ENDPOINTS_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_is_what_was_due_two_seconds_ago),
        cmocka_unit_test(a_thread_that_was_stopped_is_late_for_what_came_due_meanwhile),
        cmocka_unit_test(a_clock_that_jumps_makes_nothing_late),
        cmocka_unit_test(what_is_locked_waits_a_moment_and_is_not_blamed),
        cmocka_unit_test(a_fault_counts_only_beside_successes),
        cmocka_unit_test(there_is_an_end_to_it),
        cmocka_unit_test(after_an_outage_late_timers_wait_until_the_head_is_passed),
        cmocka_unit_test(nothing_fires_during_a_rebuild),
        cmocka_unit_test(without_the_bus_timers_wait_a_minute),
        cmocka_unit_test(a_receiver_that_does_not_answer_rests_and_then_is_asked_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
