/*
 * webhook_queue.c - endpoints, and what is read of them. See webhook_queue.h.
 */
#include "services/gateway/webhooks/webhook_queue_internal.h"

#include <sodium.h>

/* --- endpoints ---------------------------------------------------------------------------------- */

static bool has_feeds(const struct webhook_endpoint *e)
{
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (e->feeds[i])
            return true;
    return false;
}

static void free_secret(char *secret)
{
    if (secret)
        sodium_memzero(secret, strlen(secret));
    free(secret);
}

static void forget_texts(struct webhook_endpoint *e)
{
    free(e->url);
    free_secret(e->secret);
    free_secret(e->old_secret);
    e->url = e->secret = e->old_secret = NULL;
}

static struct webhook_endpoint **bucket_of(struct webhook_queue *q, struct id id)
{
    uint32_t n; /* of the part of an id that is random */

    memcpy(&n, id.b + sizeof(id.b) - sizeof(n), sizeof(n));
    return &q->buckets[(n ^ n >> 16) % BUCKETS];
}

static void endpoint_free(struct webhook_queue *q, struct webhook_endpoint *e)
{
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (e->feeds[i])
            feed_free(q, e->feeds[i]);
    for (unsigned i = 0; i < e->nposts; i++)
        e->posts[i]->endpoint = NULL;
    if (q->turn == e)
        q->turn = e->next;
    if (q->read_turn == e)
        q->read_turn = e->next;
    for (struct webhook_endpoint **at = &q->first; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    for (struct webhook_endpoint **at = bucket_of(q, e->id); *at; at = &(*at)->next_same)
        if (*at == e) {
            *at = e->next_same;
            break;
        }
    forget_texts(e);
    free(e);
}

static struct webhook_endpoint *find(struct webhook_queue *q, struct id tenant, struct id id)
{
    for (struct webhook_endpoint *e = *bucket_of(q, id); e; e = e->next_same)
        if (id_equal(e->id, id) && id_equal(e->tenant, tenant))
            return e;
    return NULL;
}

static struct webhook_endpoint *endpoint_of(struct webhook_queue *q, struct id tenant, struct id id)
{
    struct webhook_endpoint *e = find(q, tenant, id);

    if (e)
        return e;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    struct webhook_endpoint **bucket = bucket_of(q, id);
    *e = (struct webhook_endpoint){
        .tenant = tenant, .id = id, .stale = true, .next = q->first, .next_same = *bucket
    };
    q->first = *bucket = e;
    return e;
}

void endpoint_read_anew(struct webhook_queue *q, struct webhook_endpoint *e, bool also_held)
{
    for (int i = 0; i < WEBHOOK_LANES; i++) {
        struct webhook_feed *f = e->feeds[i];
        if (!f)
            continue;
        if (also_held)
            feed_release_all(q, f);
        f->after = f->seen = 0;
        f->more = true;
    }
}

/* --- life --------------------------------------------------------------------------------------- */

struct webhook_queue *webhook_queue_new(void)
{
    struct webhook_queue *q = calloc(1, sizeof(*q));

    if (q)
        q->soonest_us = NEVER;
    return q;
}

void webhook_queue_free(struct webhook_queue *q)
{
    if (!q)
        return;
    while (q->first) {
        struct webhook_endpoint *e = q->first;
        for (unsigned i = 0; i < e->nposts; i++) {
            if (e->posts[i]->feed)
                row_unlink(e->posts[i]->feed, e->posts[i]);
            row_free(q, e->posts[i]);
        }
        e->nposts = 0;
        endpoint_free(q, e);
    }
    free(q);
}

/* What it does from now on others see. */
static void forget_health(struct webhook_endpoint *e)
{
    e->stale = true;
    e->failures = 0;
    e->failing_since_us = 0;
    e->rest_until_us = 0;
}

void webhook_queue_lanes(struct webhook_queue *q, uint32_t lanes)
{
    q->lanes = lanes;
    for (struct webhook_endpoint *e = q->first; e; e = e->next) {
        bool had_feeds = has_feeds(e);
        for (int i = 0; i < WEBHOOK_LANES; i++)
            if (e->feeds[i] && !(lanes >> i & 1))
                feed_free(q, e->feeds[i]);
        if (had_feeds && !has_feeds(e))
            forget_health(e);
    }
}

static void begin_anew(struct webhook_queue *q, struct webhook_endpoint *e)
{
    forget_health(e);
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (e->feeds[i])
            feed_drop_waiting(q, e->feeds[i], NULL, 0);
    endpoint_read_anew(q, e, true);
}

void webhook_queue_hint(struct webhook_queue *q, const struct webhook_hint *hint)
{
    uint32_t lanes = hint->lanes & q->lanes;
    struct webhook_endpoint *e = lanes ? endpoint_of(q, hint->tenant, hint->endpoint) : NULL;

    if (e && hint->changed)
        begin_anew(q, e);
    for (int i = 0; i < WEBHOOK_LANES && e; i++) {
        struct webhook_feed *f = lanes >> i & 1 ? feed_of(e, i) : NULL;
        if (f && hint->from_seq)
            feed_read_from(f, hint->from_seq);
        if (f)
            f->more = true;
    }
}

void webhook_queue_refresh(struct webhook_queue *q)
{
    for (struct webhook_endpoint *e = q->first; e; e = e->next)
        e->old = true; /* it goes on by what is known */
}

void webhook_queue_ask(struct webhook_queue *q, struct id tenant, struct id endpoint)
{
    struct webhook_endpoint *e = find(q, tenant, endpoint);

    if (e)
        e->old = true;
}

bool webhook_queue_is_asking(const struct webhook_queue *q)
{
    for (const struct webhook_endpoint *e = q->first; e; e = e->next)
        if (e->stale || e->old)
            return true;
    return false;
}

static bool is_idle(const struct webhook_feed *f)
{
    return !f->first && !f->nheld && !f->passed_us && !f->more;
}

/* Time for it? Older deliveries may wait again without our having been told. */
static bool is_to_look_back(struct webhook_queue *q, struct webhook_now now)
{
    if (now.monotonic_us < q->look_back_us)
        return false;
    q->look_back_us = now.monotonic_us + LOOK_BACK_US;
    q->looking = true;
    return true;
}

/* By then each has been found. */
static void forget_passed(struct webhook_feed *f, int64_t wall_us)
{
    if (f->passed_us && f->passed_us + 2 * LOOK_BACK_US <= wall_us)
        f->passed_us = 0;
}

void webhook_queue_tick(struct webhook_queue *q, struct webhook_now now)
{
    bool some_due = q->soonest_us <= now.wall_us, look_back = is_to_look_back(q, now);

    if (some_due)
        q->soonest_us = NEVER;
    for (struct webhook_endpoint *e = q->first, *next; e; e = next) {
        next = e->next;
        for (int i = 0; i < WEBHOOK_LANES; i++) {
            struct webhook_feed *f = e->feeds[i];
            if (f && some_due && f->soonest_us <= now.wall_us)
                feed_release_due(q, f, now.wall_us);
            else if (f && some_due)
                q->soonest_us = MIN(q->soonest_us, f->soonest_us);
            if (f)
                forget_passed(f, now.wall_us);
            if (f && is_idle(f))
                feed_free(q, f);
            else if (f && look_back)
                f->looks_back = true;
        }
        if (!e->nposts && !has_feeds(e) && (!e->failures || !e->failing_since_us))
            endpoint_free(q, e); /* it is read again when there is something for it */
    }
}

/* --- reading ------------------------------------------------------------------------------------ */

size_t webhook_queue_unknown(struct webhook_queue *q, struct webhook_endpoint **out, size_t max)
{
    size_t n = 0;

    for (struct webhook_endpoint *e = q->first; e && n < max; e = e->next)
        if (e->stale)
            out[n++] = e;
    for (struct webhook_endpoint *e = q->first; e && n < max; e = e->next)
        if (e->old && !e->stale)
            out[n++] = e;
    return n;
}

void webhook_queue_know(struct webhook_queue *q, struct webhook_endpoint *e,
                        const struct webhook_endpoint *said)
{
    e->version += !e->url || !said->url || strcmp(e->url, said->url) != 0;
    forget_texts(e);
    e->url = said->url;
    e->secret = said->secret;
    e->old_secret = said->old_secret;
    e->old_until_us = said->old_until_us;
    if (e->known && said->active && !e->active)
        endpoint_read_anew(q, e, true);
    e->active = said->active;
    e->failing_since_us = said->failing_since_us;
    e->known = true;
    e->stale = e->old = false;
}

void webhook_queue_no_such(struct webhook_queue *q, struct webhook_endpoint *e)
{
    endpoint_free(q, e);
}

bool endpoint_is_failing(const struct webhook_endpoint *e)
{
    return e->failures >= FAILURES_MAX;
}

static size_t rows_of(const struct webhook_endpoint *e)
{
    size_t n = 0;

    for (int i = 0; i < WEBHOOK_LANES; i++)
        n += e->feeds[i] ? e->feeds[i]->nrows : 0;
    return n;
}

/* How many rows an endpoint may get. */
static int room_of(const struct webhook_queue *q, const struct webhook_endpoint *e)
{
    bool is_full = q->rows >= QUEUE_ROWS || q->bytes >= QUEUE_BYTES;
    return (is_full ? LEAST_ROWS : ENDPOINT_ROWS) - (int)rows_of(e);
}

static bool add_want(struct webhook_feed *f, int rows, struct webhook_want *out)
{
    bool wants = f->more && !f->stalled && f->nrows <= WINDOW_ROWS / 2;

    rows = wants ? MIN(rows, WINDOW_ROWS - (int)f->nrows) : 0;
    if (rows <= 0)
        return false;
    *out = (struct webhook_want){
        .feed = f,
        .endpoint = f->endpoint,
        .lane = f->lane,
        .after = f->after,
        .seen = f->seen,
        .forgiven_us = endpoint_is_failing(f->endpoint) ? NEVER : f->endpoint->recovered_us,
        .rows = rows,
    };
    return true;
}

/* One that fails is probed by whatever it is owed first, in one lane after the other. */
static size_t want_probe(struct webhook_endpoint *e, struct webhook_want *out)
{
    for (int i = 0; i < WEBHOOK_LANES && !rows_of(e); i++) {
        struct webhook_feed *f = e->feeds[(e->lane_turn + i) % WEBHOOK_LANES];
        if (f && add_want(f, 1, out)) {
            e->lane_turn = (f->lane + 1) % WEBHOOK_LANES;
            return 1;
        }
    }
    return 0;
}

/* What is read may be discarded and fill no window, so lanes are served in turn. */
static size_t want_of(const struct webhook_queue *q, struct webhook_endpoint *e, int rows,
                      struct webhook_want *out, size_t max)
{
    int room = MIN(room_of(q, e), rows), first = e->read_turn;
    size_t n = 0;

    if (endpoint_is_failing(e))
        return want_probe(e, out);
    for (int i = 0; i < WEBHOOK_LANES && n < max && room > 0; i++) {
        struct webhook_feed *f = e->feeds[(first + i) % WEBHOOK_LANES];
        if (!f || !add_want(f, room, &out[n]))
            continue;
        room -= out[n++].rows;
        e->read_turn = (f->lane + 1) % WEBHOOK_LANES;
    }
    return n;
}

size_t webhook_queue_wants(struct webhook_queue *q, struct webhook_now now,
                           struct webhook_want *out, size_t max)
{
    struct webhook_endpoint *start = q->read_turn ? q->read_turn : q->first, *e = start;
    int rows = READ_ROWS;
    size_t n = 0;

    while (e && n < max && rows > 0) {
        bool is_read = e->known && !e->stale && e->active && e->rest_until_us <= now.monotonic_us;
        size_t got = is_read ? want_of(q, e, rows, &out[n], max - n) : 0;
        for (; got > 0; got--)
            rows -= out[n++].rows;
        e = q->read_turn = e->next ? e->next : q->first;
        if (e == start)
            break;
    }
    return n;
}

bool webhook_queue_add(struct webhook_queue *q, const struct webhook_want *w,
                       const struct webhook_row *row, struct webhook_now now)
{
    struct webhook_feed *f = w->feed;

    if (f->stalled)
        return true;
    if (!feed_take(q, f, row, now))
        return false;
    if (!f->stalled)
        f->after = MAX(f->after, row->seq);
    return true;
}

void webhook_queue_read(struct webhook_queue *q UNUSED, const struct webhook_want *w, int got)
{
    struct webhook_feed *f = w->feed;

    if (f->stalled)
        return;
    f->more = got >= w->rows;
    if (!f->more) /* nothing is due up to there */
        f->after = MAX(f->after, w->seen);
}

/* Of an endpoint that fails all is read from the beginning when it answers. */
static bool can_look_back(const struct webhook_endpoint *e, const struct webhook_feed *f)
{
    return e->known && e->active && !endpoint_is_failing(e) && !f->stalled && f->after > 0;
}

size_t webhook_queue_looks(struct webhook_queue *q, struct webhook_look *out, size_t max)
{
    size_t n = 0;

    if (!q->looking)
        return 0;
    for (struct webhook_endpoint *e = q->first; e; e = e->next)
        for (int i = 0; i < WEBHOOK_LANES; i++) {
            struct webhook_feed *f = e->feeds[i];
            if (!f || !f->looks_back)
                continue;
            if (n == max)
                return n;
            f->looks_back = false;
            if (can_look_back(e, f))
                out[n++] =
                    (struct webhook_look){ .feed = f, .endpoint = e, .lane = i, .upto = f->after };
        }
    q->looking = false;
    return n;
}

void webhook_queue_found(struct webhook_queue *q, const struct webhook_look *look, int64_t key,
                         int64_t seq, struct webhook_now now)
{
    feed_found(q, look->feed, key, seq, now.wall_us);
}
