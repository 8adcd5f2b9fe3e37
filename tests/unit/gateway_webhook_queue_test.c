/*
 * gateway_webhook_queue_test.c - what is posted next, by a clock of our own and a table in memory
 * (protocols D, Profile; F44).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/webhooks/webhook_queue.h"

#define ROWS_MAX 1024

/* What the table would hold. */
struct stored {
    struct webhook_row row;
    struct id endpoint;
    int lane;
    bool gone;
};

struct fixture {
    struct webhook_queue *q;
    struct webhook_now now;
    struct stored rows[ROWS_MAX];
    size_t nrows;
    int posts, reads;         /* reads: rows that came from the table */
    int64_t failing_since_us; /* of each endpoint */
    bool disabled;
};

static struct fixture f;

static struct id nth(int n)
{
    struct id id = { .b = { 1, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n } };
    return id;
}

static int set_up(void **state)
{
    (void)state;
    f = (struct fixture){ .q = webhook_queue_new(),
                          .now = { .wall_us = INT64_C(1790000000000000),
                                   .monotonic_us = 5 * SECOND_US } };
    assert_non_null(f.q);
    webhook_queue_lanes(f.q, WEBHOOK_ALL_LANES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    webhook_queue_free(f.q);
    return 0;
}

static void pass(int64_t us)
{
    f.now.wall_us += us;
    f.now.monotonic_us += us;
}

/* An event for an endpoint, as the consumer writes it. */
static void owe_in(int company, int endpoint, int key)
{
    static char body[] = "{}";
    int lane = webhook_lane(nth(endpoint), (uint64_t)key);

    assert_true(f.nrows < ROWS_MAX);
    f.rows[f.nrows] = (struct stored){
        .row = { .seq = (int64_t)f.nrows + 1,
                 .event = nth(1000 + (int)f.nrows),
                 .key = key,
                 .body = body,
                 .len = 2 },
        .endpoint = nth(endpoint),
        .lane = lane,
    };
    f.nrows++;
    webhook_queue_hint(f.q, &(struct webhook_hint){ .tenant = nth(company),
                                                    .endpoint = nth(endpoint),
                                                    .lanes = 1U << lane });
}

static void owe(int endpoint, int key)
{
    owe_in(1, endpoint, key);
}

static void know_all(void)
{
    struct webhook_endpoint *list[64];
    size_t n = webhook_queue_unknown(f.q, list, ARRAY_LEN(list));

    for (size_t i = 0; i < n; i++) {
        const struct webhook_endpoint said = { .active = !f.disabled,
                                               .url = strdup("https://example.com/"),
                                               .secret = strdup("whsec_"),
                                               .failing_since_us = f.failing_since_us };
        webhook_queue_know(f.q, list[i], &said);
    }
}

static bool is_in(const struct stored *s, const struct webhook_endpoint *e, int lane)
{
    return !s->gone && s->lane == lane && id_equal(s->endpoint, e->id);
}

/* As sql/feeds_scan.sql does. */
static void read_one(const struct webhook_want *want)
{
    int got = 0;

    for (size_t k = 0; k < f.nrows && got < want->rows; k++) {
        struct webhook_row row = f.rows[k].row;
        bool is_due =
            row.next_us <= f.now.wall_us || (row.tried_us > 0 && row.tried_us < want->forgiven_us);
        if (!is_in(&f.rows[k], want->endpoint, want->lane) || row.seq <= want->after ||
            (row.seq <= want->seen && !is_due &&
             row.first_failed_us <= f.now.wall_us - HOLD_KEY_US))
            continue;
        if (!is_due)
            row.body = NULL;
        assert_true(webhook_queue_add(f.q, want, &row, f.now));
        got++;
    }
    f.reads += got;
    webhook_queue_read(f.q, want, got);
}

/* As sql/feeds_look_back.sql does. */
static void look_back(const struct webhook_look *look)
{
    for (size_t k = 0; k < f.nrows; k++) {
        const struct webhook_row *row = &f.rows[k].row;
        bool is_first = is_in(&f.rows[k], look->endpoint, look->lane) &&
                        row->next_us <= f.now.wall_us && row->seq <= look->upto;
        for (size_t i = 0; i < k && is_first; i++)
            is_first = !is_in(&f.rows[i], look->endpoint, look->lane) ||
                       f.rows[i].row.key != row->key || f.rows[i].row.next_us > f.now.wall_us;
        if (is_first)
            webhook_queue_found(f.q, look, row->key, row->seq, f.now);
    }
}

static void look_back_all(void)
{
    struct webhook_look looks[4];
    size_t n;

    while ((n = webhook_queue_looks(f.q, looks, ARRAY_LEN(looks))) > 0)
        for (size_t i = 0; i < n; i++)
            look_back(&looks[i]);
}

static void read_all(void)
{
    struct webhook_want wants[256];
    size_t n;

    know_all();
    look_back_all();
    while ((n = webhook_queue_wants(f.q, f.now, wants, ARRAY_LEN(wants))) > 0)
        for (size_t i = 0; i < n; i++)
            read_one(&wants[i]);
}

/* One turn: the next row to post, or NULL. */
static struct webhook_row *next(void)
{
    webhook_queue_tick(f.q, f.now);
    read_all();
    struct webhook_row *row = webhook_queue_pick(f.q, f.now);
    f.posts += row != NULL;
    return row;
}

static void write_health(struct id tenant, struct id endpoint, const struct webhook_fate *fate)
{
    if (fate->outcome == WEBHOOK_DELIVERED || fate->news == WEBHOOK_ANSWERS)
        f.failing_since_us = 0;
    if (fate->news == WEBHOOK_FAILS && !f.failing_since_us)
        f.failing_since_us = fate->failing_since_us;
    bool is_over = f.failing_since_us && f.now.wall_us - f.failing_since_us >= GIVE_UP_US;
    if (fate->news == WEBHOOK_GONE || (fate->news == WEBHOOK_DEAD && is_over))
        f.disabled = true;
    else if (fate->news == WEBHOOK_DEAD)
        webhook_queue_ask(f.q, tenant, endpoint);
}

/* What became of it, written into the table. */
static struct webhook_fate end_with(struct webhook_row *row, int status, int64_t retry_after_us)
{
    struct stored *s = &f.rows[row->seq - 1];
    struct id tenant = row->tenant;
    struct webhook_fate fate = webhook_queue_done(f.q, row, status, retry_after_us, f.now);

    write_health(tenant, s->endpoint, &fate);
    s->gone = fate.outcome != WEBHOOK_LATER;
    s->row.attempts = fate.attempts;
    s->row.first_failed_us = fate.first_failed_us;
    s->row.next_us = fate.next_us;
    s->row.tried_us = f.now.wall_us;
    return fate;
}

static struct webhook_fate end(struct webhook_row *row, int status)
{
    return end_with(row, status, -1);
}

static size_t owed(void)
{
    size_t n = 0;

    for (size_t i = 0; i < f.nrows; i++)
        n += !f.rows[i].gone;
    return n;
}

/* --- order -------------------------------------------------------------------------------------- */

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

/* --- endpoints in trouble ----------------------------------------------------------------------- */

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

/* The nth key in the lane of key 0. */
static int key_in_lane(int n)
{
    int lane = webhook_lane(nth(1), 0), key = 0;

    for (;; key++)
        if (webhook_lane(nth(1), (uint64_t)key) == lane && n-- == 0)
            return key;
}

/* Posts what is due, for so long; keys from `good` on are taken, the others refused. */
static void run_for(int64_t us, int good)
{
    int64_t until_us = f.now.wall_us + us;

    do {
        struct webhook_row *row;
        while ((row = next()) != NULL)
            end(row, row->key >= good ? 200 : 422);
        pass(MINUTE_US);
    } while (f.now.wall_us < until_us);
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

static void who_is_gone_gets_no_more(void **state)
{
    (void)state;
    owe(1, 1);
    assert_int_equal(end(next(), 410).news, WEBHOOK_GONE);
    pass(DAY_US);
    assert_null(next());
    assert_int_equal(owed(), 1);
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

/* --- lanes and changes -------------------------------------------------------------------------- */

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
    row->attempts = 6;
    row->first_failed_us = f.now.wall_us - failed_for_us;
    assert_int_equal(end(row, 422).outcome, WEBHOOK_LATER);
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

/* A row that has failed before, and is not tried again for hours; it holds back nobody any more. */
static void owe_later(int key)
{
    owe(1, key);
    struct webhook_row *row = &f.rows[f.nrows - 1].row;
    row->attempts = 6;
    row->first_failed_us = row->tried_us = f.now.wall_us - 2 * HOUR_US;
    row->next_us = f.now.wall_us + 5 * HOUR_US;
}

/* The nth key in a lane of endpoint 1. */
static int key_of_lane(int lane, int n)
{
    for (int key = 0;; key++)
        if (webhook_lane(nth(1), (uint64_t)key) == lane && n-- == 0)
            return key;
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
        TEST(one_that_fails_is_probed_and_then_gets_all),
        TEST(one_that_fails_for_days_is_disabled),
        TEST(a_failure_of_days_ago_is_forgotten),
        TEST(a_failure_in_a_lost_lane_is_not_ours_to_judge),
        TEST(who_reaches_nobody_disables_nobody),
        TEST(one_that_the_table_keeps_goes_on),
        TEST(one_failure_ends_nothing),
        TEST(an_event_that_is_never_taken_is_parked),
        TEST(what_is_refused_holds_up_no_other),
        TEST(many_that_are_refused_hold_up_no_other),
        TEST(older_ones_wait_again),
        TEST(who_is_gone_gets_no_more),
        TEST(retry_after_is_heeded),
        TEST(a_slow_one_gets_no_more_slots),
        TEST(nobody_waits_for_the_dead),
        TEST(a_url_of_before_says_nothing_of_the_new_one),
        TEST(what_comes_late_is_seen_although_something_is_held),
        TEST(lanes_that_are_lost_are_forgotten),
        TEST(a_change_is_read_anew),
        TEST(what_waits_again_is_found_within_a_minute),
        TEST(what_is_held_and_due_again_is_found_within_a_minute),
        TEST(looking_back_reads_only_what_is_due),
        TEST(lanes_are_read_in_turn),
        TEST(endpoints_are_read_in_turn),
        TEST(one_that_is_resumed_begins_anew),
        TEST(looking_back_comes_to_its_end),
        TEST(whatever_happens_all_is_taken_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
