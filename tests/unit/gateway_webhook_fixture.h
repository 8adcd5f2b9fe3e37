/*
 * gateway_webhook_fixture.h - a queue of webhooks, by a clock of our own and a table in memory.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_WEBHOOK_FIXTURE_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_WEBHOOK_FIXTURE_H

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

/* Posts what is due, for so long; keys from `good` on are taken, the others refused. */
UNUSED static void run_for(int64_t us, int good)
{
    int64_t until_us = f.now.wall_us + us;

    do {
        struct webhook_row *row;
        while ((row = next()) != NULL)
            end(row, row->key >= good ? 200 : 422);
        pass(MINUTE_US);
    } while (f.now.wall_us < until_us);
}

/* The nth key in a lane of endpoint 1. */
static int key_of_lane(int lane, int n)
{
    for (int key = 0;; key++)
        if (webhook_lane(nth(1), (uint64_t)key) == lane && n-- == 0)
            return key;
}

/* The nth key in the lane of key 0. */
UNUSED static int key_in_lane(int n)
{
    return key_of_lane(webhook_lane(nth(1), 0), n);
}

#endif
