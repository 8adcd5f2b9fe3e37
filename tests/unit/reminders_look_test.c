/*
 * Looks into the table of timers: where each begins and ends, what a full memory, a backlog, a
 * failure and what happens meanwhile do to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/reminders/look.h"

#define SHARD_MASK 0x3u /* shards 0 and 1 */
#define ROOMY ((struct look_stock){ .room = LOOK_HELD_MAX })

static struct look l;
static int64_t now_us, monotonic_us;
static size_t held, room;

static bool hold(void *arg, const struct timer *timer)
{
    (void)arg;
    (void)timer;
    if (held == room)
        return false;
    held++;
    return true;
}

static struct timer timer_at(int shard, int64_t due_us, int n)
{
    return (
        struct timer){ .obligation.b[15] = (uint8_t)n, .due_us = due_us, .shard = (int16_t)shard };
}

static void begin(void)
{
    l = (struct look){ 0 };
    now_us = clock_now_us();
    monotonic_us = HOUR_US;
    held = 0;
    room = 1000000;
    look_reset(&l, SHARD_MASK, now_us);
}

static void ask(struct look_stock stock)
{
    look_ask(&l, &stock, INT64_MIN, now_us, monotonic_us);
}

/* What the look brings: rows of the part behind. */
static enum err answer(enum err err, struct timer *behind, size_t n)
{
    struct read_answer a = { .err = err, .timers = { behind }, .n = { n } };
    return look_take(&l, &a, monotonic_us, hold, NULL);
}

static struct position behind_of(int shard)
{
    return l.order.parts[READ_BEHIND].after[shard];
}

static int64_t wait_us(size_t ready)
{
    struct look_stock stock = { .room = LOOK_HELD_MAX, .ready = ready };
    return look_wait_us(&l, &stock, monotonic_us);
}

static void the_first_look_is_at_once_and_goes_back_to_the_beginning(void **state)
{
    (void)state;
    begin();
    assert_false(look_is_taken(&l));
    assert_int_equal(wait_us(0), 0);
    ask(ROOMY);
    assert_int_equal(wait_us(0), INT64_MAX); /* one at a time */
    assert_int_equal(behind_of(0).us, INT64_MIN);
    assert_int_equal(l.order.parts[READ_BEHIND].until_us, now_us + 3 * SECOND_US);
    assert_int_equal(l.order.parts[READ_AHEAD].after[1].us, now_us);
    assert_int_equal(l.order.parts[READ_AHEAD].until_us, now_us + LOOK_HORIZON_US);
    assert_int_equal(answer(ERR_OK, NULL, 0), ERR_OK);
    assert_true(look_is_taken(&l));
    assert_int_equal(l.order.parts[READ_AHEAD].after[1].us, now_us + LOOK_HORIZON_US);
}

static void the_next_one_follows_a_second_later_and_goes_back_a_minute(void **state)
{
    (void)state;
    begin();
    ask(ROOMY);
    assert_int_equal(answer(ERR_OK, NULL, 0), ERR_OK);
    assert_int_equal(wait_us(0), SECOND_US);
    monotonic_us += SECOND_US;
    assert_int_equal(wait_us(0), 0);
    ask(ROOMY);
    assert_int_equal(behind_of(0).us, now_us - MINUTE_US);
    assert_int_equal(answer(ERR_OK, NULL, 0), ERR_OK);
    monotonic_us += 29 * SECOND_US;
    ask(ROOMY);
    assert_int_equal(behind_of(0).us, INT64_MIN); /* twice a minute, to the beginning */
}

static void a_backlog_is_read_on_from_where_it_was_left(void **state)
{
    (void)state;
    struct timer rows[300];

    begin();
    ask(ROOMY);
    int limit = l.order.parts[READ_BEHIND].limit;
    assert_in_range(limit, 1, ARRAY_LEN(rows));
    for (int i = 0; i < limit; i++)
        rows[i] = timer_at(1, now_us - HOUR_US + i, i);
    assert_int_equal(answer(ERR_OK, rows, (size_t)limit), ERR_OK);
    assert_int_equal(held, limit);
    assert_true(l.more[READ_BEHIND]);
    assert_in_range(wait_us(0), 1, 5 * MSEC_US);
    monotonic_us += 5 * MSEC_US;
    assert_int_equal(wait_us(0), 0);
    assert_true(wait_us(2000) > 0); /* there is enough to do */
    ask(ROOMY);
    assert_int_equal(behind_of(1).us, now_us - HOUR_US + limit - 1);
    assert_int_equal(behind_of(1).id.b[15], (uint8_t)(limit - 1));
    assert_int_equal(answer(ERR_OK, NULL, 0), ERR_OK);
    assert_false(l.more[READ_BEHIND]);
}

static void what_finds_no_room_is_read_again(void **state)
{
    (void)state;
    struct timer rows[] = { timer_at(0, now_us, 1), timer_at(0, now_us, 2),
                            timer_at(1, now_us, 3) };

    begin();
    room = 1;
    ask((struct look_stock){ .held = LOOK_HELD_MAX - 1, .room = 1 });
    assert_int_equal(l.order.parts[READ_AHEAD].limit, 0); /* not now */
    assert_int_equal(answer(ERR_OK, rows, ARRAY_LEN(rows)), ERR_OK);
    assert_true(l.more[READ_BEHIND] && l.more[READ_AHEAD]);
    assert_int_equal(behind_of(0).id.b[15], 1);
    assert_int_equal(behind_of(1).us, INT64_MIN);
    assert_int_equal(l.order.parts[READ_AHEAD].after[0].us, now_us);
}

static void a_failure_is_told_and_made_good(void **state)
{
    (void)state;
    begin();
    ask(ROOMY);
    assert_int_equal(answer(ERR_UNAVAILABLE, NULL, 0), ERR_UNAVAILABLE);
    assert_false(look_is_taken(&l));
    assert_int_equal(wait_us(0), 100 * MSEC_US);
    monotonic_us += 100 * MSEC_US;
    assert_int_equal(wait_us(0), 0);
    assert_int_equal(l.order.parts[READ_AHEAD].after[0].us, now_us);
    for (int i = 0; i < 6; i++) {
        ask(ROOMY);
        assert_int_equal(behind_of(0).us, INT64_MIN);
        assert_int_equal(answer(ERR_UNAVAILABLE, NULL, 0), ERR_UNAVAILABLE);
    }
    assert_int_equal(wait_us(0), 2 * SECOND_US); /* it grows, but not for ever */
    ask(ROOMY);
    assert_int_equal(answer(ERR_OK, NULL, 0), ERR_OK);
    assert_in_range(wait_us(0), 1, SECOND_US);
}

/* Shards that came or went, a timer that was parked, time that was lost. */
static void what_was_overtaken_counts_for_nothing(void **state)
{
    (void)state;
    struct timer rows[] = { timer_at(0, now_us, 1) };

    for (int i = 0; i < 3; i++) {
        begin();
        ask(ROOMY);
        if (i == 0)
            look_void(&l);
        else if (i == 1)
            look_restart(&l);
        else
            look_reset(&l, SHARD_MASK, now_us + 1);
        assert_int_equal(answer(ERR_OK, rows, 1), ERR_OK);
        assert_int_equal(held, 0);
        assert_false(look_is_taken(&l));
        assert_int_equal(wait_us(0), 0);
        ask(ROOMY);
        assert_int_equal(behind_of(0).us, INT64_MIN);
        assert_int_equal(answer(ERR_OK, rows, 1), ERR_OK);
        assert_int_equal(held, 1);
    }
}

static void without_shards_there_is_nothing_to_look_at(void **state)
{
    (void)state;
    begin();
    look_reset(&l, 0, now_us);
    assert_int_equal(wait_us(0), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_look_is_at_once_and_goes_back_to_the_beginning),
        cmocka_unit_test(the_next_one_follows_a_second_later_and_goes_back_a_minute),
        cmocka_unit_test(a_backlog_is_read_on_from_where_it_was_left),
        cmocka_unit_test(what_finds_no_room_is_read_again),
        cmocka_unit_test(a_failure_is_told_and_made_good),
        cmocka_unit_test(what_was_overtaken_counts_for_nothing),
        cmocka_unit_test(without_shards_there_is_nothing_to_look_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
