/* What is read of the table, and when again: all that is owed is found, whatever wake was lost (protocols D, Profile;
 * F44). */
#include "tests/unit/gateway_webhook_fixture.h"

/* What was taken is to be sent again, and stands before what is read. */
static void older_ones_wait_again(void **state)
{
    (void)state;
    owe(1, key_in_lane(0));
    owe(1, key_in_lane(1));
    end(next(), 200);
    end(next(), 422);
    assert_null(next());
    f.rows[0].gone = false;
    webhook_queue_hint(f.q, &(struct webhook_hint){ .tenant = nth(1),
                                                    .endpoint = nth(1),
                                                    .lanes = 1U << f.rows[0].lane,
                                                    .changed = true });
    struct webhook_row *row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 1);
    end(row, 200);
    assert_null(next());
}

/* An event that the consumer had parked comes with a seq of before. */
static void what_comes_late_is_seen_although_something_is_held(void **state)
{
    (void)state;
    int key = 2;
    owe(1, 1);
    while (webhook_lane(nth(1), (uint64_t)key) != webhook_lane(nth(1), 1))
        key++;
    owe(1, key);
    f.rows[0].gone = true; /* not yet there */
    struct webhook_row *row = next();
    assert_int_equal(row->seq, 2);
    end(row, 500);
    assert_null(next());
    f.rows[0].gone = false;
    webhook_queue_hint(
        f.q, &(struct webhook_hint){
                 .tenant = nth(1), .endpoint = nth(1), .lanes = WEBHOOK_ALL_LANES, .from_seq = 1 });
    row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 1);
    end(row, 200);
}

static void a_change_is_read_anew(void **state)
{
    (void)state;
    owe(1, 1);
    assert_int_equal(end(next(), 500).outcome, WEBHOOK_LATER);
    assert_null(next());
    f.rows[0].row.next_us = 0; /* sent again by hand */
    webhook_queue_hint(f.q, &(struct webhook_hint){ .tenant = nth(1),
                                                    .endpoint = nth(1),
                                                    .lanes = WEBHOOK_ALL_LANES,
                                                    .changed = true });
    struct webhook_row *row = next();
    assert_non_null(row);
    end(row, 200);
}

/* It has failed for so long, and is not tried again soon. */
static void hold(struct webhook_row *row, int64_t failed_for_us)
{
    row->first_failed_us = f.now.wall_us - failed_for_us;
    assert_int_equal(end_with(row, 422, 10 * HOUR_US).outcome, WEBHOOK_LATER);
}

/* Sent again by hand, and the wake was lost; a later one keeps the feed in memory. */
static void what_waits_again_is_found_within_a_minute(void **state)
{
    (void)state;
    owe(1, 7);
    owe(1, 7);
    end(next(), 200);
    hold(next(), 2 * HOUR_US);
    assert_null(next());
    f.rows[0].gone = false;
    f.rows[0].row.attempts = 0;
    f.rows[0].row.tried_us = 0;
    struct webhook_row *row = next();
    for (int64_t waited_us = 0; !row && waited_us < MINUTE_US; waited_us += SECOND_US) {
        pass(SECOND_US);
        row = next();
    }
    assert_non_null(row);
    assert_int_equal(row->seq, 1);
    end(row, 200);
    assert_null(next());
}

/* Resumed within a moment, and the wakes were lost: its next try was hours off. */
static void what_is_held_and_due_again_is_found_within_a_minute(void **state)
{
    (void)state;
    owe(1, 7);
    owe(1, 7);
    hold(next(), 0);
    assert_null(next());
    f.rows[0].row.attempts = 0;
    f.rows[0].row.first_failed_us = f.rows[0].row.tried_us = f.rows[0].row.next_us = 0;
    pass(MINUTE_US);
    struct webhook_row *row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 1);
    end(row, 200);
    row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 2);
    end(row, 200);
}

/* Paused and resumed, and both wakes were lost: it begins anew all the same. */
static void one_that_is_resumed_begins_anew(void **state)
{
    (void)state;
    owe(1, 7);
    hold(next(), 0);
    f.disabled = true;
    webhook_queue_refresh(f.q);
    assert_null(next());
    f.rows[0].row.attempts = 0;
    f.rows[0].row.first_failed_us = f.rows[0].row.tried_us = f.rows[0].row.next_us = 0;
    f.disabled = false;
    webhook_queue_refresh(f.q);
    struct webhook_row *row = next();
    assert_non_null(row);
    end(row, 200);
}

/* A row that has failed before, and is not tried again for hours; it holds back nobody any more. */
static void owe_later(int key)
{
    owe(1, key);
    struct webhook_row *row = &f.rows[f.nrows - 1].row;
    row->attempts = 6;
    row->first_failed_us = row->tried_us = f.now.wall_us - 2 * HOUR_US;
    row->next_us = f.now.wall_us + 5 * HOUR_US;
}

/* More than are held: of all of them nothing is read again before it is due. */
static void looking_back_reads_only_what_is_due(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * HELD_MAX; i++)
        owe_later(key_of_lane(3, i));
    assert_null(next());
    assert_int_equal(f.reads, 3 * HELD_MAX);
    for (int minute = 0; minute < 30; minute++) {
        pass(MINUTE_US);
        assert_null(next());
    }
    owe(1, key_of_lane(3, 3 * HELD_MAX));
    end(next(), 200);
    assert_int_equal(f.reads, 3 * HELD_MAX + 1);
    f.rows[2 * HELD_MAX].row.next_us = 0; /* again, and nobody told us */
    pass(MINUTE_US);
    struct webhook_row *row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 2 * HELD_MAX + 1);
    end(row, 200);
    assert_in_range(f.reads, 3 * HELD_MAX + 2, 3 * HELD_MAX + 3);
    run_for(6 * HOUR_US, 0);
    assert_int_equal(owed(), 0);
}

/* Very many wait for the first of their key; reading them takes longer than a minute. */
static void looking_back_comes_to_its_end(void **state)
{
    (void)state;
    int other = 8;
    while (webhook_lane(nth(1), (uint64_t)other) != webhook_lane(nth(1), 7))
        other++;
    for (int i = 0; i < 5 * WINDOW_ROWS; i++)
        owe(1, 7);
    hold(next(), 0);
    assert_null(next());
    owe(1, other);
    struct webhook_row *row = NULL;
    for (int minute = 0; minute < 10 && !row; minute++) {
        struct webhook_want want;
        pass(MINUTE_US);
        webhook_queue_tick(f.q, f.now);
        look_back_all();
        if (webhook_queue_wants(f.q, f.now, &want, 1))
            read_one(&want);
        row = webhook_queue_pick(f.q, f.now);
    }
    assert_non_null(row);
    assert_int_equal(row->key, other);
    end(row, 200);
}

/* What one lane has is discarded as it is read, and fills no window. */
static void lanes_are_read_in_turn(void **state)
{
    (void)state;
    for (int lane = 0; lane < 4; lane++)
        for (int i = 0; i < 100; i++)
            owe_later(key_of_lane(lane, i));
    owe(1, key_of_lane(15, 0));
    webhook_queue_tick(f.q, f.now);
    know_all();
    for (int round = 0; round < 2; round++) {
        struct webhook_want wants[WEBHOOK_LANES];
        size_t n = webhook_queue_wants(f.q, f.now, wants, ARRAY_LEN(wants));
        for (size_t i = 0; i < n; i++)
            read_one(&wants[i]);
    }
    struct webhook_row *row = webhook_queue_pick(f.q, f.now);
    assert_non_null(row);
    end(row, 200);
}

/* There is more to be read than is at one time, and nothing of it fills a window. */
static void endpoints_are_read_in_turn(void **state)
{
    (void)state;
    enum { ENDPOINTS = 20 };
    bool seen[ENDPOINTS + 1] = { false };
    for (int e = 1; e <= ENDPOINTS; e++)
        webhook_queue_hint(f.q, &(struct webhook_hint){ .tenant = nth(e),
                                                        .endpoint = nth(e),
                                                        .lanes = WEBHOOK_ALL_LANES });
    know_all();
    for (int round = 0; round < 3; round++) {
        struct webhook_want wants[256];
        size_t n = webhook_queue_wants(f.q, f.now, wants, ARRAY_LEN(wants));
        int rows = 0;
        for (size_t i = 0; i < n && rows < READ_ROWS; i++) {
            rows += wants[i].rows;
            seen[wants[i].endpoint->id.b[15]] = true;
        }
    }
    for (int e = 1; e <= ENDPOINTS; e++)
        assert_true(seen[e]);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(older_ones_wait_again),
        TEST(what_comes_late_is_seen_although_something_is_held),
        TEST(a_change_is_read_anew),
        TEST(what_waits_again_is_found_within_a_minute),
        TEST(what_is_held_and_due_again_is_found_within_a_minute),
        TEST(one_that_is_resumed_begins_anew),
        TEST(looking_back_reads_only_what_is_due),
        TEST(looking_back_comes_to_its_end),
        TEST(lanes_are_read_in_turn),
        TEST(endpoints_are_read_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
