/*
 * consumer_batch.c - a batch in its transaction, and what to do when that fails.
 *
 * Guard, effects, outbox and cursor travel together and commit together: so each event takes
 * effect once, whatever happens on the way. A batch without anything for us costs no transaction:
 * the position moves in memory and is written with the next one, or once a second.
 *
 * After a failure that may pass, the batch is dropped and read again from the log, in smaller
 * pieces should it fail so again while the database answers. After one that will not pass it is
 * halved, until the event at fault is alone: that is put aside and tried again from there, while
 * everything else goes on (F36).
 */
#include "common/consumer_internal.h"

#include "common/clock.h"
#include "common/log.h"

#define STUCK_FEW 16 /* events of a batch after two failures that might have passed */
#define REASON_MAX 160
#define REST_MIN_US (5 * MSEC_US)
#define REST_MAX_US (50 * MSEC_US)

/* Part of a batch: all of it replayed, or none. */
struct stretch {
    struct consumer_item *items;
    size_t n;
    bool replaying;
    int64_t upto;
    const struct id *upto_event;
};

/* --- one transaction --- */

static size_t mark_wanted(const struct stretch *s)
{
    size_t wanted = 0;

    for (size_t i = 0; i < s->n; i++) {
        s->items[i].done = !consumer_wants(s->items[i].def, s->replaying);
        wanted += !s->items[i].done;
    }
    return wanted;
}

/* Gathers the events of the tenant of item `first`. */
static size_t take_tenant(const struct stretch *s, size_t first, struct consumer_item **out)
{
    size_t n = 0;

    for (size_t i = first; i < s->n; i++) {
        if (s->items[i].done || !id_equal(s->items[i].tenant, s->items[first].tenant))
            continue;
        s->items[i].done = true;
        out[n++] = &s->items[i];
    }
    return n;
}

/* Order is kept within a tenant; tenants have nothing to do with each other. */
static enum err run_tenants(struct consumer *c, const struct stretch *s, struct reaction *r)
{
    struct consumer_item **run = arena_array(c->work, s->n, sizeof(struct consumer_item *));
    if (run == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].done)
            continue;
        size_t n = take_tenant(s, i, run);
        enum err e = consumer_react_tenant(c, r, run, n);
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err fill_transaction(struct consumer *c, const struct stretch *s, struct reaction *r)
{
    mark_wanted(s);
    enum err e = consumer_queue_guard(c);
    if (e == ERR_OK && c->cursor.has_parked)
        e = consumer_park_blocked(c, s->items, s->n);
    if (e == ERR_OK)
        e = run_tenants(c, s, r);
    return e ? e : consumer_queue_advance(c, s->upto, s->upto_event);
}

/* The connection broke under the COMMIT: the row tells. */
static enum err settle_doubt(struct consumer *c, const struct stretch *s)
{
    while (consumer_load(c)) {
        if (consumer_stopping(c))
            return ERR_UNAVAILABLE;
        consumer_pause(c);
    }
    return c->cursor.seq >= s->upto ? ERR_OK : ERR_UNAVAILABLE;
}

/*
 * Live, a consumer works about a tenth of the time: the first event after a rest is taken at once,
 * under load they gather. One transaction for each few events would cost more than the commands
 * that emitted them.
 */
static void rest_after(struct consumer *c, int64_t began_us)
{
    int64_t now_us = clock_monotonic_us();

    if (c->batch.n <= CONSUMER_BATCH_MAX / 2) /* else there is no need to gather */
        c->rest_until_us = now_us + MIN(MAX(9 * (now_us - began_us), REST_MIN_US), REST_MAX_US);
}

static enum err transact(struct consumer *c, const struct stretch *s, char *reason)
{
    struct reaction r;
    struct reaction_state state;

    int64_t began_us = clock_monotonic_us();
    consumer_react_open(c, &r, &state, s->replaying);
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + CONSUMER_TX_US);
    if (e == ERR_OK) {
        e = fill_transaction(c, s, &r);
        if (e == ERR_OK)
            e = db_commit(c->db);
        consumer_react_reason(c, e, reason, REASON_MAX);
        bool in_doubt = e && db_in_doubt(c->db);
        db_rollback(c->db);
        if (e == ERR_OK)
            consumer_advanced(c, s->upto, s->upto_event);
        else if (in_doubt)
            e = settle_doubt(c, s);
    }
    if (e == ERR_OK)
        consumer_react_tell(c, &r);
    consumer_react_close(&r);
    rest_after(c, began_us);
    return e;
}

/* --- after a failure --- */

static bool same_row(const struct consumer_cursor *x, const struct consumer_cursor *y)
{
    return x->seq == y->seq && x->replay_until == y->replay_until && x->has_log == y->has_log &&
           (!x->has_log || id_equal(x->log_id, y->log_id));
}

/* Failures that may pass, again and again at one place while the database answers, are the fault of
 * what is there: a statement that takes too long, a lock that is never given. */
static void note_stuck(struct consumer *c)
{
    if (!db_is_connected(c->db))
        return;
    c->stuck_tries = c->stuck_seq == c->pos ? c->stuck_tries + 1 : 1;
    c->stuck_seq = c->pos;
    if (c->stuck_tries >= 2)
        c->most = c->stuck_tries == 2 ? MIN(c->most, STUCK_FEW) : 1;
}

static void note_moving(struct consumer *c)
{
    c->stuck_tries = 0;
    c->most = MIN(c->most * 2, CONSUMER_BATCH_MAX);
}

enum next { NEXT_GO_ON, NEXT_TRY_AGAIN, NEXT_DROP };

/* Whose fault it was: the guard's (the row has moved), nobody's (later), or the event's. */
static enum next judge(struct consumer *c, enum err e, const struct consumer_cursor *before)
{
    if (e == ERR_OK) {
        note_moving(c);
        return NEXT_GO_ON;
    }
    c->behind = true;
    if (consumer_is_transient(e)) {
        note_stuck(c);
        consumer_pause(c);
        return NEXT_DROP;
    }
    if (consumer_load(c)) {
        consumer_pause(c);
        return NEXT_DROP;
    }
    return same_row(before, &c->cursor) ? NEXT_TRY_AGAIN : NEXT_DROP;
}

static enum err park(struct consumer *c, const struct stretch *s, int attempts, const char *reason,
                     enum consumer_aside how)
{
    arena_reset(c->work);
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + CONSUMER_TX_US);
    if (e)
        return e;
    e = consumer_queue_guard(c);
    if (e == ERR_OK)
        e = consumer_queue_park(c, s->items[0].event, attempts, reason, how);
    if (e == ERR_OK)
        e = consumer_queue_advance(c, s->upto, s->upto_event);
    if (e == ERR_OK)
        e = db_commit(c->db);
    db_rollback(c->db);
    if (e)
        return e;
    consumer_advanced(c, s->upto, s->upto_event);
    c->cursor.has_parked = true;
    return ERR_OK;
}

/* After starts without progress: the event may be what ends the process. *tries_out counts the
 * processes that have tried it. */
static enum err note_if_careful(struct consumer *c, int64_t seq, int *tries_out)
{
    *tries_out = 0;
    if (!c->careful || c->noted_seq == seq)
        return ERR_OK;
    enum err e = consumer_note_try(c, seq, tries_out);
    if (e == ERR_OK)
        c->noted_seq = seq;
    return e;
}

/* An event alone; s->n is 1. */
static enum next take_one(struct consumer *c, const struct stretch *one)
{
    char reason[REASON_MAX];
    int processes;
    struct consumer_cursor before = c->cursor;

    enum err e = note_if_careful(c, one->upto, &processes);
    if (e)
        return judge(c, e, &before) == NEXT_GO_ON ? NEXT_GO_ON : NEXT_DROP;
    if (processes > CONSUMER_TRIES_MAX)
        return judge(c,
                     park(c, one, processes - 1, "the process ended each time it was tried",
                          CONSUMER_ASIDE_PARKED),
                     &before);
    e = transact(c, one, reason);
    bool stuck = consumer_is_transient(e) && c->stuck_seq == c->pos &&
                 c->stuck_tries >= CONSUMER_TRIES_MAX && db_is_connected(c->db);
    enum next next = stuck ? NEXT_TRY_AGAIN : judge(c, e, &before);
    if (next != NEXT_TRY_AGAIN)
        return next;
    directory_refresh(); /* perhaps it only knew too little yet */
    return judge(c, park(c, one, 1, reason, CONSUMER_ASIDE_RETRY), &before);
}

static void pass(struct consumer *c, int64_t seq, const struct id *event)
{
    c->pos = seq;
    c->has_pos_event = event != NULL;
    if (event)
        c->pos_event = *event;
}

static bool apply_part(struct consumer *c, const struct stretch *s);

/* Items [from, from + n) as a stretch of its own, which ends with the last of them. */
static bool take_part(struct consumer *c, const struct stretch *s, size_t from, size_t n)
{
    const PbEvent *last = s->items[from + n - 1].event;
    struct id event_id;
    bool has_id = id_parse(last->event_id, &event_id);
    struct stretch part = { .items = s->items + from,
                            .n = n,
                            .replaying = s->replaying,
                            .upto = last->seq,
                            .upto_event = has_id ? &event_id : NULL };

    if (mark_wanted(&part) == 0) {
        pass(c, part.upto, part.upto_event);
        return true;
    }
    return n == 1 ? take_one(c, &part) == NEXT_GO_ON : apply_part(c, &part);
}

static bool take_halves(struct consumer *c, const struct stretch *s)
{
    size_t half = s->n / 2;

    return take_part(c, s, 0, half) && take_part(c, s, half, s->n - half);
}

static bool take_singly(struct consumer *c, const struct stretch *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!take_part(c, s, i, 1))
            return false;
    c->careful = false;
    return true;
}

/* The first failure said that something in it is at fault; which one, halving finds. */
static bool apply_part(struct consumer *c, const struct stretch *s)
{
    char reason[REASON_MAX];
    struct consumer_cursor before = c->cursor;

    enum next next = judge(c, transact(c, s, reason), &before);
    if (next != NEXT_TRY_AGAIN)
        return next == NEXT_GO_ON;
    return take_halves(c, s);
}

/* --- batches --- */

/* False: the rest of the batch is to be read again. */
static bool apply_stretch(struct consumer *c, const struct stretch *s)
{
    char reason[REASON_MAX];
    struct consumer_cursor before = c->cursor;
    bool done;

    if (mark_wanted(s) == 0) {
        done = true;
    } else if (c->careful) {
        done = take_singly(c, s);
    } else if (s->n == 1) {
        return take_one(c, s) == NEXT_GO_ON;
    } else {
        enum next next = judge(c, transact(c, s, reason), &before);
        if (next != NEXT_TRY_AGAIN)
            return next == NEXT_GO_ON;
        log_warn("consumer.batch_failed", "looking for the event at fault", "consumer",
                 c->def->name, "reason", reason, NULL);
        done = take_halves(c, s);
    }
    if (done)
        pass(c, s->upto, s->upto_event);
    return done;
}

static size_t count_replayed(const struct consumer_batch *b, int64_t until)
{
    size_t n = 0;
    while (n < b->n && b->items[n].event->seq <= until)
        n++;
    return n;
}

void consumer_apply(struct consumer *c)
{
    struct consumer_batch *b = &c->batch;
    size_t n = count_replayed(b, c->cursor.replay_until);
    const struct id *end = b->has_upto_event ? &b->upto_event : NULL;
    bool behind = c->behind;

    if (n > 0) {
        struct id event_id;
        bool all = n == b->n;
        bool has_id = id_parse(b->items[n - 1].event->event_id, &event_id);
        struct stretch s = { .items = b->items,
                             .n = n,
                             .replaying = true,
                             .upto = all ? b->upto : b->items[n - 1].event->seq,
                             .upto_event = all      ? end
                                           : has_id ? &event_id
                                                    : NULL };
        if (!apply_stretch(c, &s))
            return;
        if (all) {
            c->failures = 0;
            return;
        }
    }
    struct stretch s = { .items = b->items + n, .n = b->n - n, .upto = b->upto, .upto_event = end };
    if (apply_stretch(c, &s)) {
        c->failures = 0;
        c->behind = behind; /* failures on the way were overcome */
    }
}
