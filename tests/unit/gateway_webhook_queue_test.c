/* What is posted next: in the order of each key, as many at a time as a receiver and a company may have (protocols D,
 * Profile; F44). */
#include "tests/unit/gateway_webhook_fixture.h"

static void of_one_key_one_is_under_way(void **state)
{
    (void)state;
    owe(1, 7);
    owe(1, 7);
    struct webhook_row *first = next();
    assert_non_null(first);
    assert_int_equal(first->seq, 1);
    assert_null(next());
    assert_int_equal(end(first, 204).outcome, WEBHOOK_DELIVERED);
    struct webhook_row *second = next();
    assert_non_null(second);
    assert_int_equal(second->seq, 2);
    end(second, 200);
    assert_int_equal(owed(), 0);
}

static void keys_do_not_wait_for_each_other(void **state)
{
    (void)state;
    for (int key = 0; key < 6; key++)
        owe(1, key);
    struct webhook_row *a = next(), *b = next();
    assert_true(a && b);
    assert_null(next()); /* two, until it has answered */
    end(a, 200);
    struct webhook_row *rest[4];
    for (int i = 0; i < 4; i++)
        assert_non_null(rest[i] = next());
    assert_null(next());
    end(b, 200);
    for (int i = 0; i < 4; i++)
        end(rest[i], 200);
    assert_int_equal(owed(), 0);
}

static void a_failed_one_holds_back_its_key_for_an_hour(void **state)
{
    (void)state;
    owe(1, 7);
    owe(1, 8);
    end(next(), 200); /* so that it is no endpoint in trouble */
    owe(1, 7);
    owe(1, 7);
    int64_t first_seq = 0;
    int64_t begun_us = f.now.wall_us;
    struct webhook_row *row;
    bool passed = false;
    while (f.now.wall_us < begun_us + 2 * HOUR_US) {
        row = next();
        if (!row) {
            pass(MINUTE_US);
            continue;
        }
        if (row->key == 8) {
            end(row, 200);
            continue;
        }
        if (!first_seq)
            first_seq = row->seq;
        if (row->seq == first_seq) {
            end(row, 400);
            continue;
        }
        assert_true(f.now.wall_us - begun_us >= HOUR_US);
        passed = true;
        end(row, 200);
    }
    assert_true(passed);
    assert_int_equal(owed(), 1); /* the failed one, which is tried on */
    assert_true(f.rows[first_seq - 1].row.attempts >= 4);
}

static void later_ones_follow_when_it_is_taken(void **state)
{
    (void)state;
    owe(1, 7);
    owe(1, 7);
    owe(1, 9);
    struct webhook_row *row = next(), *other = next();
    if (row->key == 9) {
        struct webhook_row *swap = row;
        row = other;
        other = swap;
    }
    struct webhook_fate fate = end(row, 500);
    assert_int_equal(fate.outcome, WEBHOOK_LATER);
    assert_in_range(fate.next_us - f.now.wall_us, 4 * SECOND_US, 6 * SECOND_US);
    end(other, 200);
    assert_null(next());
    pass(6 * SECOND_US);
    row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 1);
    assert_int_equal(row->attempts, 1);
    end(row, 200);
    row = next();
    assert_non_null(row);
    assert_int_equal(row->seq, 2);
    end(row, 200);
    assert_int_equal(owed(), 0);
}

static void retry_after_is_heeded(void **state)
{
    (void)state;
    owe(1, 1);
    owe(1, 2);
    struct webhook_row *row = next();
    struct webhook_fate fate = end_with(row, 429, 10 * MINUTE_US);
    assert_true(fate.next_us >= f.now.wall_us + 10 * MINUTE_US);
    assert_null(next()); /* the other one waits too */
    pass(10 * MINUTE_US);
    assert_non_null(row = next());
    end(row, 200);
}

static void a_slow_one_gets_no_more_slots(void **state)
{
    (void)state;
    for (int key = 0; key < 30; key++)
        owe(1, key);
    end(next(), 200);
    struct webhook_row *first = next();
    assert_non_null(first);
    pass(SLOW_US + 1);
    assert_null(next());
    end(first, 200);
    assert_non_null(first = next());
    end(first, 200);
}

static void nobody_waits_for_the_dead(void **state)
{
    (void)state;
    struct webhook_row *dead[QUEUE_SLOTS];
    size_t n = 0;
    for (int e = 1; e <= 40; e++) /* they take posts and never answer */
        for (int key = 0; key < 5; key++)
            owe_in(2, e, key);
    while (n < QUEUE_SLOTS && (dead[n] = next()) != NULL)
        n++;
    assert_int_equal(n, COMPANY_POSTS);
    owe(99, 1); /* another company's */
    struct webhook_row *row = next();
    assert_non_null(row);
    assert_true(id_equal(row->endpoint->id, nth(99)));
    end(row, 200);
    for (size_t i = 0; i < n; i++)
        end(dead[i], 0);
}

static void lanes_that_are_lost_are_forgotten(void **state)
{
    (void)state;
    owe(1, 1);
    owe(1, 2);
    struct webhook_row *row = next();
    webhook_queue_lanes(f.q, 0);
    assert_null(next());
    assert_int_equal(webhook_queue_done(f.q, row, 200, -1, f.now).outcome, WEBHOOK_DELIVERED);
    owe(1, 3);
    assert_null(next());
}

/* Nothing of its key is owed from before it, but for what has been tried for an hour. */
static void assert_in_order(const struct webhook_row *row)
{
    const struct stored *mine = &f.rows[row->seq - 1];

    for (int64_t i = 0; i < row->seq - 1; i++) {
        const struct stored *s = &f.rows[i];
        if (s->gone || s->row.key != row->key || !id_equal(s->endpoint, mine->endpoint))
            continue;
        assert_true(s->row.first_failed_us &&
                    f.now.wall_us - s->row.first_failed_us >= HOLD_KEY_US);
    }
}

/* Events for receivers that fail at random, while leases come and go: each is taken in the end, those
 * of a key in order. */
static void whatever_happens_all_is_taken_in_order(void **state)
{
    (void)state;
    uint32_t r = 12345;
    for (int i = 0; i < 400; i++)
        owe(1 + i % 4, i / 4 % 8);
    for (int guard = 0; owed() > 0; guard++) {
        assert_true(guard < 200000);
        r = r * 1664525 + 1013904223;
        if (guard % 50 == 49)
            webhook_queue_lanes(f.q, r >> 16 & 1 ? WEBHOOK_ALL_LANES : r >> 8);
        if (guard % 50 == 0) {
            webhook_queue_lanes(f.q, WEBHOOK_ALL_LANES);
            for (int e = 1; e <= 4; e++)
                webhook_queue_hint(f.q, &(struct webhook_hint){ .tenant = nth(1),
                                                                .endpoint = nth(e),
                                                                .lanes = WEBHOOK_ALL_LANES });
        }
        struct webhook_row *row = next();
        if (!row) {
            pass(SECOND_US);
            continue;
        }
        assert_in_order(row);
        end(row, (r >> 20 & 7) != 0 ? 200 : 500);
    }
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(of_one_key_one_is_under_way),
        TEST(keys_do_not_wait_for_each_other),
        TEST(a_failed_one_holds_back_its_key_for_an_hour),
        TEST(later_ones_follow_when_it_is_taken),
        TEST(retry_after_is_heeded),
        TEST(a_slow_one_gets_no_more_slots),
        TEST(nobody_waits_for_the_dead),
        TEST(lanes_that_are_lost_are_forgotten),
        TEST(whatever_happens_all_is_taken_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
