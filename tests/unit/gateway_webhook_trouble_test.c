/* Endpoints that fail, are gone or refuse: how they are probed, when they are disabled and events parked, and that
 * nobody else waits for them (protocols D, Profile; F44). */
#include "tests/unit/gateway_webhook_fixture.h"

/* --- endpoints ---------------------------------------------------------------------------------- */

static void one_that_fails_is_probed_and_then_gets_all(void **state)
{
    (void)state;
    for (int key = 0; key < 40; key++)
        owe(1, key);
    struct webhook_row *row;
    enum webhook_news seen = WEBHOOK_NO_NEWS;
    while ((row = next()) != NULL) {
        struct webhook_fate fate = end(row, 503);
        seen = fate.news ? fate.news : seen;
    }
    assert_int_equal(seen, WEBHOOK_FAILS);
    assert_int_equal(f.posts, FAILURES_MAX);
    int64_t begun_us = f.now.wall_us;
    while (f.now.wall_us - begun_us < HOUR_US) { /* down for an hour */
        row = next();
        if (row) {
            assert_null(next()); /* one at a time */
            end(row, 0);
        } else {
            pass(SECOND_US);
        }
    }
    assert_in_range(f.posts, FAILURES_MAX + 12, FAILURES_MAX + 25);
    while ((row = next()) == NULL)
        pass(SECOND_US);
    assert_int_equal(end(row, 200).news, WEBHOOK_ANSWERS);
    while ((row = next()) != NULL) /* at once, whatever their next try was */
        end(row, 200);
    assert_int_equal(owed(), 0);
}

/* It takes no new connection, and answers by those that stand (F44). */
static void what_is_tried_before_its_time_is_not_put_off_for_longer_F44(void **state)
{
    (void)state;
    owe(1, 0);
    end(next(), 200);
    struct webhook_row *posts[ENDPOINT_POSTS];
    for (int i = 0; i < ENDPOINT_POSTS; i++)
        owe(1, 1 + i);
    for (int i = 0; i < ENDPOINT_POSTS; i++)
        assert_non_null(posts[i] = next());
    for (int i = 0; i < FAILURES_MAX; i++)
        end(posts[i], 0);
    pass(50 * MSEC_US);
    assert_int_equal(end(posts[FAILURES_MAX], 200).news, WEBHOOK_ANSWERS);
    struct webhook_row *again = next(); /* at once */
    assert_non_null(again);
    assert_int_equal(again->attempts, 1);
    struct webhook_fate fate = end(again, 0);
    assert_int_equal(fate.attempts, 2);
    assert_in_range(fate.next_us - f.now.wall_us, 4 * SECOND_US, 6 * SECOND_US);
    for (int i = FAILURES_MAX + 1; i < ENDPOINT_POSTS; i++)
        end(posts[i], 200);
    while ((again = next()) != NULL)
        end(again, 200);
    pass(6 * SECOND_US);
    while ((again = next()) != NULL)
        end(again, 200);
    assert_int_equal(owed(), 0);
}

static void one_that_fails_for_days_is_disabled(void **state)
{
    (void)state;
    owe(1, 1);
    owe(1, 2);
    int64_t begun_us = f.now.wall_us;
    struct webhook_fate fate = { 0 };
    while (fate.news != WEBHOOK_DEAD) {
        struct webhook_row *row = next();
        if (row)
            fate = end(row, 0);
        else
            pass(MINUTE_US);
        assert_true(f.now.wall_us - begun_us < 76 * HOUR_US);
    }
    assert_true(f.now.wall_us - begun_us >= GIVE_UP_US);
    pass(DAY_US);
    assert_null(next());
    assert_int_equal(owed(), 2); /* it waits for whoever mends it */
}

/* Another replica got the lane and delivered; days later the lane is ours again. */
static void a_failure_of_days_ago_is_forgotten(void **state)
{
    (void)state;
    owe(1, 1);
    assert_int_equal(end(next(), 500).news, WEBHOOK_FAILS);
    assert_int_equal(f.failing_since_us, f.now.wall_us);
    webhook_queue_lanes(f.q, 0);
    assert_null(next());
    f.rows[0].gone = true;
    f.failing_since_us = 0;
    pass(GIVE_UP_US + HOUR_US);
    webhook_queue_lanes(f.q, WEBHOOK_ALL_LANES);
    owe(1, 1);
    struct webhook_fate fate = end(next(), 500);
    assert_int_equal(fate.news, WEBHOOK_FAILS);
    assert_int_equal(fate.failing_since_us, f.now.wall_us);
}

/* The post was under way when its lane was lost. */
static void a_failure_in_a_lost_lane_is_not_ours_to_judge(void **state)
{
    (void)state;
    owe(1, 1);
    struct webhook_row *row = next();
    webhook_queue_lanes(f.q, 0);
    assert_int_equal(end(row, 500).news, WEBHOOK_NO_NEWS);
    pass(GIVE_UP_US + HOUR_US);
    webhook_queue_lanes(f.q, WEBHOOK_ALL_LANES);
    owe(1, 1);
    assert_int_equal(end(next(), 500).failing_since_us, f.now.wall_us);
}

/* We have no way out; another replica delivers to it from its lanes. */
static void who_reaches_nobody_disables_nobody(void **state)
{
    (void)state;
    owe(1, 1);
    int64_t begun_us = f.now.wall_us;
    while (f.now.wall_us - begun_us < GIVE_UP_US + 5 * HOUR_US) {
        struct webhook_row *row = next();
        if (row)
            assert_int_not_equal(end(row, 0).news, WEBHOOK_DEAD);
        pass(MINUTE_US);
        f.failing_since_us = 0;
        webhook_queue_refresh(f.q);
    }
    assert_in_range(f.posts, 75 * 12 - 100, 75 * 60); /* it is only probed */
    assert_int_equal(owed(), 1);
}

/* We think that it is over, and have not read yet that it has answered another one. */
static void one_that_the_table_keeps_goes_on(void **state)
{
    (void)state;
    owe(1, 1);
    owe(1, 2);
    f.failing_since_us = f.now.wall_us - GIVE_UP_US;
    struct webhook_row *first = next(), *second = next();
    f.failing_since_us = f.now.wall_us - HOUR_US;
    end(first, 500);
    assert_int_equal(end(second, 500).news, WEBHOOK_DEAD);
    assert_false(f.disabled);
    struct webhook_row *row = next();
    for (int i = 0; i < 10 && !row; i++, row = next())
        pass(SECOND_US);
    assert_non_null(row);
    assert_int_equal(end(row, 200).news, WEBHOOK_ANSWERS);
}

/* It failed, then everything was off for days: that says little of it. */
static void one_failure_ends_nothing(void **state)
{
    (void)state;
    owe(1, 1);
    f.rows[0].row.attempts = 1;
    f.rows[0].row.first_failed_us = f.failing_since_us = f.now.wall_us - GIVE_UP_US;
    struct webhook_fate fate = end(next(), 500);
    assert_int_equal(fate.news, WEBHOOK_NO_NEWS);
    assert_int_equal(fate.outcome, WEBHOOK_LATER);
    pass(7 * MINUTE_US);
    assert_int_equal(end(next(), 500).news, WEBHOOK_DEAD);
    assert_true(f.disabled);
    assert_null(next());
    assert_int_equal(owed(), 1);
}

static void who_is_gone_gets_no_more(void **state)
{
    (void)state;
    owe(1, 1);
    assert_int_equal(end(next(), 410).news, WEBHOOK_GONE);
    pass(DAY_US);
    assert_null(next());
    assert_int_equal(owed(), 1);
}

static void a_url_of_before_says_nothing_of_the_new_one(void **state)
{
    (void)state;
    owe(1, 1);
    struct webhook_row *row = next();
    const struct webhook_endpoint said = { .active = true,
                                           .url = strdup("https://other.example.com/"),
                                           .secret = strdup("whsec_") };
    webhook_queue_know(f.q, row->endpoint, &said);
    assert_int_equal(end(row, 410).news, WEBHOOK_NO_NEWS);
    pass(6 * SECOND_US);
    row = next();
    assert_non_null(row);
    end(row, 200);
}

/* --- events ------------------------------------------------------------------------------------- */

static void an_event_that_is_never_taken_is_parked(void **state)
{
    (void)state;
    owe(1, 1);
    int64_t begun_us = f.now.wall_us;
    while (!f.rows[0].gone) {
        struct webhook_row *row = next();
        if (row) {
            end(row, row->key == 1 ? 422 : 200);
        } else {
            pass(30 * MINUTE_US);
            owe(1, 2); /* others are taken */
        }
        assert_true(f.now.wall_us - begun_us < 110 * HOUR_US);
    }
    assert_true(f.now.wall_us - begun_us >= GIVE_UP_US);
    assert_true(f.rows[0].row.attempts >= 9);
}

static void what_is_refused_holds_up_no_other(void **state)
{
    (void)state;
    for (int key = 0; key < 20; key++)
        owe(1, key);
    run_for(0, 1000);
    owe(1, 1000);
    run_for(0, 1000);
    assert_int_equal(owed(), 20);
    run_for(110 * HOUR_US, 1000);
    assert_int_equal(owed(), 0); /* parked */
    assert_true(f.posts <= 1 + 20 * 11);
}

/* More than there is room for, in one lane. */
static void many_that_are_refused_hold_up_no_other(void **state)
{
    (void)state;
    int good = key_in_lane(300);

    for (int batch = 0; batch < 3; batch++) {
        for (int i = 0; i < 100; i++)
            owe(1, key_in_lane(100 * batch + i));
        run_for(2 * HOUR_US, good);
    }
    assert_true(f.nrows > 2 * HELD_MAX);
    assert_int_equal(owed(), f.nrows);
    owe(1, good);
    run_for(0, good);
    assert_int_equal(owed(), f.nrows - 1);
    run_for(110 * HOUR_US, good);
    assert_int_equal(owed(), 0);
    assert_true(f.posts <= 1 + 300 * 11);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_that_fails_is_probed_and_then_gets_all),
        TEST(what_is_tried_before_its_time_is_not_put_off_for_longer_F44),
        TEST(one_that_fails_for_days_is_disabled),
        TEST(a_failure_of_days_ago_is_forgotten),
        TEST(a_failure_in_a_lost_lane_is_not_ours_to_judge),
        TEST(who_reaches_nobody_disables_nobody),
        TEST(one_that_the_table_keeps_goes_on),
        TEST(one_failure_ends_nothing),
        TEST(who_is_gone_gets_no_more),
        TEST(a_url_of_before_says_nothing_of_the_new_one),
        TEST(an_event_that_is_never_taken_is_parked),
        TEST(what_is_refused_holds_up_no_other),
        TEST(many_that_are_refused_hold_up_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
