/*
 * webhook_queue.c - see webhook_queue.h.
 */
#include "services/gateway/webhook_queue.h"

#include <sodium.h>

#define RETRY_AFTER_MAX_US DAY_US
#define REST_MAX_US HOUR_US /* of a whole endpoint, by its Retry-After */
#define NEVER INT64_MAX
#define PASSED_REST_US (5 * MINUTE_US)
#define BUCKETS 4096

/* A row that failed and is not in the window. */
struct held {
    int64_t key, seq;
    int64_t until_us;  /* wall: its next try */
    int64_t blocks_us; /* wall: till then later rows of its key wait too; 0: they do not */
};

struct webhook_feed {
    struct webhook_endpoint *endpoint;
    int lane;
    bool more;          /* the table may have rows after `after` */
    int64_t after;      /* seq */
    bool stalled;       /* too many are held */
    int64_t passed_seq; /* the first of those that were passed over; 0: none */
    int64_t passed_us;  /* wall: when they are read anew */
    int64_t soonest_us; /* of what is held */
    struct webhook_row *first;
    size_t nrows;
    size_t nheld, held_cap;
    struct held *held;
};

/* Posts of a company that are under way. */
struct company {
    struct id tenant;
    unsigned n;
};

struct webhook_queue {
    struct webhook_endpoint *first;
    struct webhook_endpoint *turn; /* where the next pick begins */
    uint32_t lanes;
    size_t under_way, rows, bytes;
    size_t ncompanies;
    struct company companies[QUEUE_SLOTS]; /* those with posts */
    int64_t soonest_us;                    /* of all feeds */
    struct webhook_endpoint *buckets[BUCKETS];
};

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

/* --- rows --------------------------------------------------------------------------------------- */

static void row_free(struct webhook_queue *q, struct webhook_row *row)
{
    q->rows--;
    q->bytes -= row->len;
    free(row->body);
    free(row);
}

static void unlink_row(struct webhook_feed *f, const struct webhook_row *row)
{
    for (struct webhook_row **at = &f->first; *at; at = &(*at)->next)
        if (*at == row) {
            *at = row->next;
            f->nrows--;
            return;
        }
}

static bool is_in_window(const struct webhook_feed *f, const struct webhook_row *row)
{
    for (const struct webhook_row *r = f->first; r && r->seq <= row->seq; r = r->next)
        if (r->seq == row->seq && id_equal(r->event, row->event))
            return true;
    return false;
}

static void insert_row(struct webhook_feed *f, struct webhook_row *row)
{
    struct webhook_row **at = &f->first;

    while (*at && (*at)->seq <= row->seq)
        at = &(*at)->next;
    row->next = *at;
    *at = row;
    f->nrows++;
}

/* Forgets rows that wait; NULL key: all of them, else later ones of that key. The lowest seq of them,
 * NEVER: none. */
static int64_t drop_waiting(struct webhook_queue *q, struct webhook_feed *f, const int64_t *key,
                            int64_t after)
{
    int64_t lowest = NEVER;

    for (struct webhook_row **at = &f->first; *at;) {
        struct webhook_row *row = *at;
        if (row->begun_us || (key && (row->key != *key || row->seq <= after))) {
            at = &row->next;
            continue;
        }
        lowest = MIN(lowest, row->seq);
        *at = row->next;
        f->nrows--;
        row_free(q, row);
    }
    return lowest;
}

/* --- what is held ------------------------------------------------------------------------------- */

static int64_t due_us(const struct held *h)
{
    return h->blocks_us ? MIN(h->until_us, h->blocks_us) : h->until_us;
}

static void set_soonest(struct webhook_queue *q, struct webhook_feed *f)
{
    f->soonest_us = f->passed_us;
    for (size_t i = 0; i < f->nheld; i++)
        f->soonest_us = MIN(f->soonest_us, due_us(&f->held[i]));
    q->soonest_us = MIN(q->soonest_us, f->soonest_us);
}

static void read_from(struct webhook_feed *f, int64_t seq)
{
    f->after = MIN(f->after, seq - 1);
    f->more = true;
}

static bool is_held(const struct webhook_feed *f, int64_t key, int64_t seq)
{
    for (size_t i = 0; i < f->nheld; i++) {
        const struct held *h = &f->held[i];
        if (h->seq == seq || (h->key == key && h->blocks_us && h->seq < seq))
            return true;
    }
    return false;
}

static bool has_room(struct webhook_feed *f)
{
    if (f->nheld < f->held_cap)
        return true;
    size_t cap = MIN(HELD_MAX, f->held_cap ? 2 * f->held_cap : 4);
    struct held *more = cap > f->held_cap ? realloc(f->held, cap * sizeof(*more)) : NULL;
    if (!more)
        return false;
    f->held = more;
    f->held_cap = cap;
    return true;
}

static void forget_held(struct webhook_feed *f, int64_t seq)
{
    for (size_t i = 0; i < f->nheld; i++)
        if (f->held[i].seq == seq)
            f->held[i--] = f->held[--f->nheld];
}

/* No room is kept for one that holds back nobody: it is read anew when it may be due. */
static void pass_over(struct webhook_feed *f, int64_t seq, int64_t next_us, int64_t wall_us)
{
    f->passed_seq = f->passed_seq ? MIN(f->passed_seq, seq) : seq;
    f->passed_us = MIN(f->passed_us, MAX(next_us, wall_us + PASSED_REST_US));
}

static bool make_room(struct webhook_feed *f, int64_t wall_us)
{
    if (has_room(f))
        return true;
    for (size_t i = 0; i < f->nheld; i++)
        if (!f->held[i].blocks_us) {
            pass_over(f, f->held[i].seq, f->held[i].until_us, wall_us);
            f->held[i] = f->held[--f->nheld];
            return true;
        }
    return false;
}

/* Without room for one that holds back its key the feed rests as a whole, until the next of those
 * that are held is due. */
static void hold(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
                 int64_t next_us, int64_t first_failed_us, int64_t wall_us)
{
    int64_t blocks_us = first_failed_us + HOLD_KEY_US;
    bool blocks = blocks_us > wall_us;

    forget_held(f, row->seq);
    if (!blocks && !has_room(f)) {
        pass_over(f, row->seq, next_us, wall_us);
    } else if (!make_room(f, wall_us)) {
        f->stalled = true;
        int64_t lowest = drop_waiting(q, f, NULL, 0);
        read_from(f, MIN(MIN(row->seq, lowest), f->after + 1));
    } else {
        f->held[f->nheld++] = (struct held){ .key = row->key,
                                             .seq = row->seq,
                                             .until_us = next_us,
                                             .blocks_us = blocks ? blocks_us : 0 };
        if (blocks)
            drop_waiting(q, f, &row->key, row->seq);
    }
    set_soonest(q, f);
}

static void release_due(struct webhook_queue *q, struct webhook_feed *f, int64_t wall_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->nheld; i++) {
        struct held *h = &f->held[i];
        if (due_us(h) <= wall_us)
            read_from(f, h->seq);
        if (h->blocks_us && h->blocks_us <= wall_us)
            h->blocks_us = 0;
        if (h->until_us > wall_us)
            f->held[kept++] = *h;
    }
    f->nheld = kept;
    f->stalled = false;
    if (f->passed_us <= wall_us) {
        read_from(f, f->passed_seq);
        f->passed_seq = 0;
        f->passed_us = NEVER;
    }
    set_soonest(q, f);
}

/* --- feeds and endpoints ------------------------------------------------------------------------ */

static void feed_free(struct webhook_queue *q, struct webhook_feed *f)
{
    drop_waiting(q, f, NULL, 0);
    for (struct webhook_row *row = f->first; row; row = row->next)
        row->feed = NULL; /* under way; nobody is interested any more */
    f->endpoint->feeds[f->lane] = NULL;
    free(f->held);
    free(f);
}

static struct webhook_feed *feed_of(struct webhook_endpoint *e, int lane)
{
    if (!e->feeds[lane]) {
        struct webhook_feed *f = calloc(1, sizeof(*f));
        if (!f)
            return NULL;
        *f = (struct webhook_feed){
            .endpoint = e, .lane = lane, .passed_us = NEVER, .soonest_us = NEVER
        };
        e->feeds[lane] = f;
    }
    return e->feeds[lane];
}

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

static void read_anew(struct webhook_queue *q, struct webhook_endpoint *e, bool also_held)
{
    for (int i = 0; i < WEBHOOK_LANES; i++) {
        struct webhook_feed *f = e->feeds[i];
        if (!f)
            continue;
        if (also_held) {
            f->nheld = 0;
            f->stalled = false;
            f->passed_seq = 0;
            f->passed_us = NEVER;
            set_soonest(q, f);
        }
        f->after = 0;
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
                unlink_row(e->posts[i]->feed, e->posts[i]);
            row_free(q, e->posts[i]);
        }
        e->nposts = 0;
        endpoint_free(q, e);
    }
    free(q);
}

void webhook_queue_lanes(struct webhook_queue *q, uint32_t lanes)
{
    q->lanes = lanes;
    for (struct webhook_endpoint *e = q->first; e; e = e->next)
        for (int i = 0; i < WEBHOOK_LANES; i++)
            if (e->feeds[i] && !(lanes >> i & 1))
                feed_free(q, e->feeds[i]);
}

static void begin_anew(struct webhook_queue *q, struct webhook_endpoint *e)
{
    e->stale = true;
    e->failures = 0;
    e->rest_until_us = 0;
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (e->feeds[i])
            drop_waiting(q, e->feeds[i], NULL, 0);
    read_anew(q, e, true);
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
            f->after = MIN(f->after, hint->from_seq - 1);
        if (f)
            f->more = true;
    }
}

void webhook_queue_refresh(struct webhook_queue *q)
{
    for (struct webhook_endpoint *e = q->first; e; e = e->next)
        e->old = true; /* it goes on by what is known */
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
    return !f->first && !f->nheld && !f->passed_seq && !f->more;
}

void webhook_queue_tick(struct webhook_queue *q, struct webhook_now now)
{
    bool some_due = q->soonest_us <= now.wall_us;

    if (some_due)
        q->soonest_us = NEVER;
    for (struct webhook_endpoint *e = q->first, *next; e; e = next) {
        next = e->next;
        for (int i = 0; i < WEBHOOK_LANES; i++) {
            struct webhook_feed *f = e->feeds[i];
            if (f && some_due && f->soonest_us <= now.wall_us)
                release_due(q, f, now.wall_us);
            else if (f && some_due)
                q->soonest_us = MIN(q->soonest_us, f->soonest_us);
            if (f && is_idle(f))
                feed_free(q, f);
        }
        if (!e->nposts && !e->failures && !has_feeds(e) && !e->failing_since_us)
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

void webhook_queue_know(struct webhook_queue *q UNUSED, struct webhook_endpoint *e,
                        const struct webhook_endpoint *said)
{
    e->version += !e->url || !said->url || strcmp(e->url, said->url) != 0;
    forget_texts(e);
    e->url = said->url;
    e->secret = said->secret;
    e->old_secret = said->old_secret;
    e->old_until_us = said->old_until_us;
    e->active = said->active;
    e->is_written = said->failing_since_us != 0;
    if (e->is_written || !e->failures)
        e->failing_since_us = said->failing_since_us;
    e->known = true;
    e->stale = e->old = false;
}

void webhook_queue_no_such(struct webhook_queue *q, struct webhook_endpoint *e)
{
    endpoint_free(q, e);
}

static bool is_failing(const struct webhook_endpoint *e)
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
    *out = (struct webhook_want){
        .feed = f, .endpoint = f->endpoint, .lane = f->lane, .after = f->after, .rows = rows
    };
    return rows > 0;
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

size_t webhook_queue_wants(struct webhook_queue *q, struct webhook_now now,
                           struct webhook_want *out, size_t max)
{
    size_t n = 0;

    for (struct webhook_endpoint *e = q->first; e && n < max; e = e->next) {
        if (!e->known || e->stale || !e->active || e->rest_until_us > now.monotonic_us)
            continue;
        if (is_failing(e)) {
            n += want_probe(e, &out[n]);
            continue;
        }
        int room = room_of(q, e);
        for (int i = 0; i < WEBHOOK_LANES && n < max; i++)
            if (e->feeds[i] && add_want(e->feeds[i], room, &out[n]))
                room -= out[n++].rows;
    }
    return n;
}

static bool insert_copy(struct webhook_queue *q, struct webhook_feed *f,
                        const struct webhook_row *from)
{
    struct webhook_row *row = malloc(sizeof(*row));

    if (!row)
        return false;
    *row = *from;
    row->body = malloc(from->len + 1);
    if (!row->body) {
        free(row);
        return false;
    }
    memcpy(row->body, from->body, from->len);
    row->body[from->len] = '\0';
    row->feed = f;
    row->endpoint = f->endpoint;
    row->begun_us = 0;
    q->rows++;
    q->bytes += row->len;
    insert_row(f, row);
    return true;
}

/* False: no memory. */
static bool take_row(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
                     struct webhook_now now)
{
    if (is_in_window(f, row))
        return true;
    if (is_failing(f->endpoint))
        return insert_copy(q, f, row);
    if (is_held(f, row->key, row->seq))
        return true;
    bool is_due =
        row->next_us <= now.wall_us || (row->tried_us && row->tried_us < f->endpoint->recovered_us);
    if (!is_due) {
        hold(q, f, row, row->next_us, row->first_failed_us, now.wall_us);
        return true;
    }
    return insert_copy(q, f, row);
}

bool webhook_queue_add(struct webhook_queue *q, const struct webhook_want *w,
                       const struct webhook_row *row, struct webhook_now now)
{
    struct webhook_feed *f = w->feed;

    if (f->stalled)
        return true;
    if (!take_row(q, f, row, now))
        return false;
    if (!f->stalled)
        f->after = MAX(f->after, row->seq);
    return true;
}

void webhook_queue_read(struct webhook_queue *q UNUSED, const struct webhook_want *w, int got)
{
    if (!w->feed->stalled)
        w->feed->more = got >= w->rows;
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
    unsigned most = is_failing(e) || e->slow ? 1 : e->proven ? ENDPOINT_POSTS : UNPROVEN_POSTS;

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
        unlink_row(row->feed, row);
}

static enum webhook_news note_answer(struct webhook_queue *q, struct webhook_endpoint *e,
                                     struct webhook_now now)
{
    bool did_fail = e->failing_since_us != 0;

    e->proven = true;
    if (is_failing(e)) { /* what failed with it is not kept waiting */
        e->recovered_us = now.wall_us;
        read_anew(q, e, true);
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

    if (is_failing(e)) {
        rest_us = PROBE_FIRST_US;
        for (int i = FAILURES_MAX; i < e->failures && rest_us < PROBE_MAX_US; i++)
            rest_us *= 2;
        rest_us = with_jitter(MIN(rest_us, PROBE_MAX_US));
        for (int i = 0; i < WEBHOOK_LANES; i++)
            if (e->feeds[i])
                drop_waiting(q, e->feeds[i], NULL, 0);
        read_anew(q, e, false);
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

static enum webhook_news note_failure(struct webhook_queue *q, struct webhook_endpoint *e,
                                      int status, int64_t retry_after_us, struct webhook_now now)
{
    /* Those that were under way when it was given up say nothing new. */
    bool is_late = is_failing(e) && e->rest_until_us > now.monotonic_us;
    if (!is_late)
        e->failures++;
    if (!e->failing_since_us)
        e->failing_since_us = now.wall_us;
    if (!is_late)
        let_rest(q, e, status, retry_after_us, now);
    if (status == 410)
        return WEBHOOK_GONE;
    if (now.wall_us - e->failing_since_us >= GIVE_UP_US)
        return WEBHOOK_DEAD;
    return is_failing(e) && !e->is_written ? WEBHOOK_FAILS : WEBHOOK_NO_NEWS;
}

static void judge_failure(struct webhook_queue *q, const struct webhook_endpoint *e,
                          const struct webhook_row *row, int64_t retry_after_us,
                          struct webhook_now now, struct webhook_fate *v)
{
    v->first_failed_us = row->first_failed_us ? row->first_failed_us : now.wall_us;
    bool is_last = now.wall_us - v->first_failed_us >= GIVE_UP_US;
    if (is_last && !(e && is_failing(e))) {
        v->outcome = WEBHOOK_PARKED;
        return;
    }
    v->outcome = WEBHOOK_LATER;
    v->next_us = now.wall_us + MAX(with_jitter(webhook_pause_us(v->attempts)),
                                   MIN(retry_after_us, RETRY_AFTER_MAX_US));
    if (row->feed)
        hold(q, row->feed, row, v->next_us, v->first_failed_us, now.wall_us);
}

struct webhook_fate webhook_queue_done(struct webhook_queue *q, struct webhook_row *row, int status,
                                       int64_t retry_after_us, struct webhook_now now)
{
    struct webhook_endpoint *e = row->endpoint;
    struct webhook_fate v = { .attempts = row->attempts + 1, .news = WEBHOOK_NO_NEWS };

    take_off(q, row);
    if (e && e->version != row->version)
        e = NULL; /* that was the url before: it says nothing of this one */
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
        e->active = false; /* as the table will say */
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
