/*
 * webhook_pick.c - what is posted next, and what became of it. See webhook_queue.h.
 */
#include "services/gateway/webhooks/webhook_queue_internal.h"

#include <sodium.h>

#define RETRY_AFTER_MAX_US DAY_US
#define REST_MAX_US HOUR_US /* of a whole endpoint, by its Retry-After */

int64_t webhook_pause_us(int attempts)
{
    static const int64_t pauses[] = { 5 * SECOND_US, 5 * MINUTE_US, 30 * MINUTE_US,
                                      2 * HOUR_US,   5 * HOUR_US,   10 * HOUR_US,
                                      14 * HOUR_US,  20 * HOUR_US,  24 * HOUR_US };
    return pauses[MIN(MAX(attempts, 1), (int)ARRAY_LEN(pauses)) - 1];
}

/* ± 20 % */
static int64_t with_jitter(int64_t us)
{
    return us - us / 5 + (int64_t)randombytes_uniform((uint32_t)(us / 2500 + 1)) * 1000;
}

/* --- posting ------------------------------------------------------------------------------------ */

static struct company *company_of(struct webhook_queue *q, struct id tenant)
{
    size_t i = 0;

    while (i < q->ncompanies && !id_equal(q->companies[i].tenant, tenant))
        i++;
    return &q->companies[i]; /* of those there are never more than posts */
}

static bool has_its_share(struct webhook_queue *q, struct id tenant)
{
    const struct company *c = company_of(q, tenant);
    return c < q->companies + q->ncompanies && c->n >= COMPANY_POSTS;
}

static void count_post(struct webhook_queue *q, struct id tenant)
{
    struct company *c = company_of(q, tenant);

    if (c == q->companies + q->ncompanies) {
        *c = (struct company){ .tenant = tenant };
        q->ncompanies++;
    }
    c->n++;
}

static void uncount_post(struct webhook_queue *q, struct id tenant)
{
    struct company *c = company_of(q, tenant);

    if (c < q->companies + q->ncompanies && --c->n == 0)
        *c = q->companies[--q->ncompanies];
}

static bool may_post(struct webhook_queue *q, const struct webhook_endpoint *e,
                     struct webhook_now now)
{
    unsigned most = endpoint_is_failing(e) || e->slow ? 1
                    : e->proven                       ? ENDPOINT_POSTS
                                                      : UNPROVEN_POSTS;

    if (!e->known || e->stale || !e->active || e->rest_until_us > now.monotonic_us ||
        e->nposts >= most || has_its_share(q, e->tenant))
        return false;
    for (unsigned i = 0; i < e->nposts; i++)
        if (now.monotonic_us - e->posts[i]->begun_us > SLOW_US)
            return false;
    return true;
}

/* Nothing of its key before it. */
static bool is_first_of_key(const struct webhook_feed *f, const struct webhook_row *row)
{
    for (const struct webhook_row *r = f->first; r != row; r = r->next)
        if (r->key == row->key)
            return false;
    return true;
}

static struct webhook_row *next_of_feed(const struct webhook_feed *f)
{
    for (struct webhook_row *row = f->first; row; row = row->next)
        if (!row->begun_us && is_first_of_key(f, row))
            return row;
    return NULL;
}

static struct webhook_row *next_of(struct webhook_endpoint *e)
{
    for (int i = 0; i < WEBHOOK_LANES; i++) {
        const struct webhook_feed *f = e->feeds[(e->lane_turn + i) % WEBHOOK_LANES];
        struct webhook_row *row = f ? next_of_feed(f) : NULL;
        if (row) {
            e->lane_turn = (f->lane + 1) % WEBHOOK_LANES;
            return row;
        }
    }
    return NULL;
}

struct webhook_row *webhook_queue_pick(struct webhook_queue *q, struct webhook_now now)
{
    struct webhook_endpoint *start = q->turn ? q->turn : q->first, *e = start;

    if (!e || q->under_way >= QUEUE_SLOTS)
        return NULL;
    do {
        struct webhook_row *row = may_post(q, e, now) ? next_of(e) : NULL;
        struct webhook_endpoint *next = e->next ? e->next : q->first;
        if (row) {
            row->begun_us = MAX(now.monotonic_us, 1);
            row->tenant = e->tenant;
            row->version = e->version;
            count_post(q, e->tenant);
            e->posts[e->nposts++] = row;
            q->under_way++;
            q->turn = next;
            return row;
        }
        e = next;
    } while (e != start);
    return NULL;
}

/* --- what became of it -------------------------------------------------------------------------- */

static void take_off(struct webhook_queue *q, struct webhook_row *row)
{
    struct webhook_endpoint *e = row->endpoint;

    q->under_way--;
    uncount_post(q, row->tenant);
    for (unsigned i = 0; e && i < e->nposts; i++)
        if (e->posts[i] == row)
            e->posts[i] = e->posts[--e->nposts];
    if (row->feed)
        row_unlink(row->feed, row);
}

static enum webhook_news note_answer(struct webhook_queue *q, struct webhook_endpoint *e,
                                     struct webhook_now now)
{
    bool did_fail = e->failing_since_us != 0;

    e->proven = true;
    if (endpoint_is_failing(e)) { /* what failed with it is not kept waiting */
        e->recovered_us = now.wall_us;
        endpoint_read_anew(q, e, true);
    }
    e->failures = 0;
    e->rest_until_us = 0;
    e->failing_since_us = 0;
    return did_fail ? WEBHOOK_ANSWERS : WEBHOOK_NO_NEWS;
}

/* The whole endpoint is left alone: too many failures, or it asks for it. */
static void let_rest(struct webhook_queue *q, struct webhook_endpoint *e, int status,
                     int64_t retry_after_us, struct webhook_now now)
{
    int64_t rest_us = 0;

    if (endpoint_is_failing(e)) {
        rest_us = PROBE_FIRST_US;
        for (int i = FAILURES_MAX; i < e->failures && rest_us < PROBE_MAX_US; i++)
            rest_us *= 2;
        rest_us = with_jitter(MIN(rest_us, PROBE_MAX_US));
        for (int i = 0; i < WEBHOOK_LANES; i++)
            if (e->feeds[i])
                feed_drop_waiting(q, e->feeds[i], NULL, 0);
        endpoint_read_anew(q, e, false);
    }
    if ((status == 429 || status == 503) && retry_after_us > 0)
        rest_us = MAX(rest_us, MIN(retry_after_us, REST_MAX_US));
    if (rest_us)
        e->rest_until_us = MAX(e->rest_until_us, now.monotonic_us + rest_us);
}

/* The receiver works; it is this event that it does not want. */
static bool is_about_the_event(int status)
{
    return status == 400 || status == 413 || status == 415 || status == 422;
}

static bool is_overdue(const struct webhook_endpoint *e, struct webhook_now now)
{
    return e->failing_since_us && now.wall_us - e->failing_since_us >= GIVE_UP_US;
}

/* After days without a post, as when everything was off, one more failure says little: two end it. */
static enum webhook_news note_failure(struct webhook_queue *q, struct webhook_endpoint *e,
                                      int status, int64_t retry_after_us, struct webhook_now now)
{
    /* Those that were under way when it was given up say nothing new. */
    bool is_late = endpoint_is_failing(e) && e->rest_until_us > now.monotonic_us;
    if (!is_late)
        e->failures++;
    bool is_first = !e->failing_since_us;
    if (is_first)
        e->failing_since_us = now.wall_us;
    if (!is_late)
        let_rest(q, e, status, retry_after_us, now);
    if (status == 410)
        return WEBHOOK_GONE;
    if (is_first)
        return WEBHOOK_FAILS;
    return e->failures > 1 && is_overdue(e, now) ? WEBHOOK_DEAD : WEBHOOK_NO_NEWS;
}

/* Tries before their time, to probe an endpoint or because it had answered, take no turn of the schedule: however often
 * an event was tried, its next pause is one that it has come to since it first failed. */
static int turns_taken(int attempts, int64_t failing_us)
{
    int turns = 1;
    for (int64_t sum_us = 0; turns < attempts; turns++) {
        sum_us += webhook_pause_us(turns);
        if (failing_us < sum_us - sum_us / 5) /* with the most of jitter */
            break;
    }
    return turns;
}

static void judge_failure(struct webhook_queue *q, const struct webhook_endpoint *e,
                          const struct webhook_row *row, int64_t retry_after_us,
                          struct webhook_now now, struct webhook_fate *v)
{
    v->first_failed_us = row->first_failed_us ? row->first_failed_us : now.wall_us;
    bool is_last = now.wall_us - v->first_failed_us >= GIVE_UP_US;
    if (is_last && !(e && (endpoint_is_failing(e) || is_overdue(e, now)))) {
        v->outcome = WEBHOOK_PARKED;
        return;
    }
    v->outcome = WEBHOOK_LATER;
    int turns = turns_taken(v->attempts, now.wall_us - v->first_failed_us);
    v->next_us = now.wall_us +
                 MAX(with_jitter(webhook_pause_us(turns)), MIN(retry_after_us, RETRY_AFTER_MAX_US));
    if (row->feed)
        feed_hold(q, row->feed, row, v->next_us, v->first_failed_us, now.wall_us);
}

struct webhook_fate webhook_queue_done(struct webhook_queue *q, struct webhook_row *row, int status,
                                       int64_t retry_after_us, struct webhook_now now)
{
    struct webhook_endpoint *e = row->endpoint;
    struct webhook_fate v = { .attempts = row->attempts + 1, .news = WEBHOOK_NO_NEWS };

    take_off(q, row);
    if (e && (e->version != row->version || !row->feed))
        e = NULL; /* of the url before, or of a lane that is another's: it says nothing of this one */
    if (e && status)
        e->slow = now.monotonic_us - row->begun_us > SLOW_US;
    if (status >= 200 && status < 300) {
        v.outcome = WEBHOOK_DELIVERED;
        v.news = e ? note_answer(q, e, now) : WEBHOOK_NO_NEWS;
    } else {
        if (e)
            v.news = is_about_the_event(status) ? note_answer(q, e, now)
                                                : note_failure(q, e, status, retry_after_us, now);
        judge_failure(q, e, row, retry_after_us, now, &v);
    }
    if (v.news == WEBHOOK_GONE || v.news == WEBHOOK_DEAD)
        e->active = false; /* until the table says otherwise */
    v.failing_since_us = e ? e->failing_since_us : 0;
    row_free(q, row);
    return v;
}

size_t webhook_queue_under_way(const struct webhook_queue *q)
{
    return q->under_way;
}

int64_t webhook_queue_wait_us(const struct webhook_queue *q, struct webhook_now now)
{
    return q->soonest_us == NEVER ? NEVER : MAX(0, q->soonest_us - now.wall_us);
}
