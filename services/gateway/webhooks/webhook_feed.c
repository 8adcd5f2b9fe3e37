/*
 * webhook_feed.c - a feed: its window of rows, and those that are held. See webhook_queue.h.
 */
#include "services/gateway/webhooks/webhook_queue_internal.h"

/* --- rows --------------------------------------------------------------------------------------- */

void row_free(struct webhook_queue *q, struct webhook_row *row)
{
    q->rows--;
    q->bytes -= row->len;
    free(row->body);
    free(row);
}

void row_unlink(struct webhook_feed *f, const struct webhook_row *row)
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

int64_t feed_drop_waiting(struct webhook_queue *q, struct webhook_feed *f, const int64_t *key,
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
    f->soonest_us = NEVER;
    for (size_t i = 0; i < f->nheld; i++)
        f->soonest_us = MIN(f->soonest_us, due_us(&f->held[i]));
    q->soonest_us = MIN(q->soonest_us, f->soonest_us);
}

void feed_read_from(struct webhook_feed *f, int64_t seq)
{
    f->seen = MAX(f->seen, f->after);
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

static bool is_held_itself(const struct webhook_feed *f, int64_t seq)
{
    for (size_t i = 0; i < f->nheld; i++)
        if (f->held[i].seq == seq)
            return true;
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

/* No room is kept for one that holds back nobody: a look back finds it when it is due. */
static void pass_over(struct webhook_feed *f, int64_t next_us)
{
    f->passed_us = MAX(f->passed_us, next_us);
}

static bool make_room(struct webhook_feed *f)
{
    if (has_room(f))
        return true;
    for (size_t i = 0; i < f->nheld; i++)
        if (!f->held[i].blocks_us) {
            pass_over(f, f->held[i].until_us);
            f->held[i] = f->held[--f->nheld];
            return true;
        }
    return false;
}

/* Without room for one that holds back its key the feed rests as a whole, until the next of those
 * that are held is due. */
void feed_hold(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
               int64_t next_us, int64_t first_failed_us, int64_t wall_us)
{
    int64_t blocks_us = first_failed_us + HOLD_KEY_US;
    bool blocks = blocks_us > wall_us;

    forget_held(f, row->seq);
    if (!blocks && !has_room(f)) {
        pass_over(f, next_us);
    } else if (!make_room(f)) {
        f->stalled = true;
        int64_t lowest = feed_drop_waiting(q, f, NULL, 0);
        feed_read_from(f, MIN(MIN(row->seq, lowest), f->after + 1));
        f->seen = MIN(f->seen, row->seq - 1); /* it is forgotten */
    } else {
        f->held[f->nheld++] = (struct held){ .key = row->key,
                                             .seq = row->seq,
                                             .until_us = next_us,
                                             .blocks_us = blocks ? blocks_us : 0 };
        if (blocks)
            feed_drop_waiting(q, f, &row->key, row->seq);
    }
    set_soonest(q, f);
}

void feed_release_due(struct webhook_queue *q, struct webhook_feed *f, int64_t wall_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->nheld; i++) {
        struct held *h = &f->held[i];
        if (due_us(h) <= wall_us)
            feed_read_from(f, h->seq);
        if (h->blocks_us && h->blocks_us <= wall_us)
            h->blocks_us = 0;
        if (h->until_us > wall_us)
            f->held[kept++] = *h;
    }
    f->nheld = kept;
    f->stalled = false;
    set_soonest(q, f);
}

void feed_release_all(struct webhook_queue *q, struct webhook_feed *f)
{
    f->nheld = 0;
    f->stalled = false;
    f->passed_us = 0;
    set_soonest(q, f);
}

/* Whether that row waits for an older one of its key, or in the window itself. */
static bool is_expected(const struct webhook_feed *f, int64_t key, int64_t seq, int64_t wall_us)
{
    for (const struct webhook_row *r = f->first; r && r->seq <= seq; r = r->next)
        if (r->key == key)
            return true;
    for (size_t i = 0; i < f->nheld; i++) {
        const struct held *h = &f->held[i];
        if (h->seq == seq ? h->until_us <= wall_us : h->key == key && h->blocks_us && h->seq < seq)
            return true;
    }
    return false;
}

void feed_found(struct webhook_queue *q, struct webhook_feed *f, int64_t key, int64_t seq,
                int64_t wall_us)
{
    if (is_expected(f, key, seq, wall_us))
        return;
    forget_held(f, seq); /* its next try was far off, and is not any more */
    feed_read_from(f, seq);
    set_soonest(q, f);
}

/* --- feeds -------------------------------------------------------------------------------------- */

void feed_free(struct webhook_queue *q, struct webhook_feed *f)
{
    feed_drop_waiting(q, f, NULL, 0);
    for (struct webhook_row *row = f->first; row; row = row->next)
        row->feed = NULL; /* under way; nobody is interested any more */
    f->endpoint->feeds[f->lane] = NULL;
    free(f->held);
    free(f);
}

struct webhook_feed *feed_of(struct webhook_endpoint *e, int lane)
{
    if (!e->feeds[lane]) {
        struct webhook_feed *f = calloc(1, sizeof(*f));
        if (!f)
            return NULL;
        *f = (struct webhook_feed){ .endpoint = e, .lane = lane, .soonest_us = NEVER };
        e->feeds[lane] = f;
    }
    return e->feeds[lane];
}

/* --- rows that were read ------------------------------------------------------------------------ */

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

bool feed_take(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
               struct webhook_now now)
{
    if (is_in_window(f, row))
        return true;
    if (endpoint_is_failing(f->endpoint) && row->body)
        return insert_copy(q, f, row);
    if (is_held(f, row->key, row->seq)) {
        if (!row->body && !is_held_itself(f, row->seq))
            pass_over(f, row->next_us);
        return true;
    }
    if (!row->body) {
        feed_hold(q, f, row, row->next_us, row->first_failed_us, now.wall_us);
        return true;
    }
    return insert_copy(q, f, row);
}
