/*
 * webhook_sender.c - see webhook_sender.h.
 *
 * A turn: hear what is new, let go of lanes that were lost, write down what is over, read what is
 * wanted, begin what may begin, wait. Nothing is read while something that is over is not written
 * down: it would be read again.
 *
 * Lanes are let go first, since writing may fail for as long as the database is away: nothing more is
 * posted from them, and what was is dropped. A lane that was lost and is ours again is another one:
 * its rows are those that its owner in between has left.
 */
#include "services/gateway/webhooks/webhook_sender.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/http_out.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "common/metrics.h"
#include "common/trace.h"
#include "common/webhook_signature.h"
#include "services/gateway/webhooks/webhook_body.h"
#include "services/gateway/webhooks/webhook_store.h"

#define POST_LIMIT_US (15 * SECOND_US)
#define FIND_US SECOND_US /* between two looks for what nobody told us of */
#define FIND_REST 20      /* a look or count is followed by a rest of so many times what it took */
#define REFRESH_US (10 * SECOND_US)
#define TROUBLE_US (200 * MSEC_US)
#define DRAIN_US (3 * SECOND_US)
#define LAST_WORDS_US (2 * SECOND_US) /* more, for what posts came to; leases are renewed in it */
#define HINTS_MAX 1024
#define RESULTS_MAX 512
#define STORE_ARENA (64 * MIB)
#define SLOT_ARENA (256 * KIB)
#define LEASE_LIMIT_US (LEASE_TTL_MS / 2 * MSEC_US)
#define STATE_US (15 * SECOND_US)
#define SWEEP_US HOUR_US

static struct metric attempts_total = {
    .name = "daybook_webhook_attempts_total",
    .type = METRIC_COUNTER,
    .help = "Posts to webhook endpoints: delivered, retry, parked.",
    .labels = { "outcome" },
};
static struct metric pending = {
    .name = "daybook_webhook_pending",
    .type = METRIC_GAUGE,
    .help = "Deliveries that wait in the lanes of this replica.",
};
static struct metric oldest_seconds = {
    .name = "daybook_webhook_oldest_seconds",
    .type = METRIC_GAUGE,
    .help = "Age of the oldest delivery that waits in the lanes of this replica.",
};

struct slot {
    struct webhook_row *row; /* NULL: free */
    struct arena *arena;
    struct webhook_result result; /* as far as it is known at the begin */
    struct span span;             /* of the post */
};

struct webhook_sender {
    struct webhook_sender_config config;
    struct leases *leases;
    struct db *db, *chores_db;
    struct arena *arena, *chores_arena;
    struct http_out *http;
    struct webhook_queue *queue;
    struct webhook_store store, chores;
    struct slot slots[QUEUE_SLOTS];
    struct webhook_result results[RESULTS_MAX]; /* not written down yet */
    size_t nresults;
    uint64_t generation;             /* of the leases... */
    int64_t versions[WEBHOOK_LANES]; /* ...and their versions then; 0: not ours */
    int64_t find_at_us, look_at_us, refresh_at_us, state_at_us, sweep_at_us;
    atomic_bool sending;  /* the thread that posts is at work: the leases are not to be left */
    struct mailbox ended; /* rung when it is not any more */
    pthread_mutex_t lock;
    struct webhook_hint hints[HINTS_MAX];
    size_t nhints;
    bool missed_hints;
};

/* --- life --------------------------------------------------------------------------------------- */

struct webhook_sender *webhook_sender_new(const struct webhook_sender_config *config)
{
    struct webhook_sender *s = calloc(1, sizeof(*s));
    char name[LEASE_NAME_MAX];

    if (!s)
        return NULL;
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    s->leases = leases_new(&webhook_lease_plan, config->instance, NULL);
    s->db = db_new(config->conninfo,
                   lease_session_name(&webhook_lease_plan, "sender", config->instance, name));
    s->chores_db = db_new(config->conninfo, "daybook-gateway/chores");
    s->http = http_out_new(config->http->allow, config->http->allow_plain);
    s->queue = webhook_queue_new();
    s->arena = arena_new(STORE_ARENA);
    s->chores_arena = arena_new(STORE_ARENA);
    bool ok = mailbox_init(&s->ended) && s->leases && s->db && s->chores_db && s->http &&
              s->queue && s->arena && s->chores_arena;
    if (ok && config->http->authorities)
        ok = http_out_trust(s->http, config->http->authorities);
    for (int i = 0; i < QUEUE_SLOTS; i++)
        ok = (s->slots[i].arena = arena_new(SLOT_ARENA)) != NULL && ok;
    if (!ok) {
        webhook_sender_free(s);
        return NULL;
    }
    db_set_relaxed(s->db, true); /* what is lost with a crash of the database is posted again */
    s->store = (struct webhook_store){
        .db = s->db, .arena = s->arena, .leases = s->leases, .queue = s->queue
    };
    s->chores =
        (struct webhook_store){ .db = s->chores_db, .arena = s->chores_arena, .leases = s->leases };
    metric_register(&attempts_total);
    metric_register(&pending);
    metric_register(&oldest_seconds);
    return s;
}

void webhook_sender_free(struct webhook_sender *s)
{
    if (!s)
        return;
    http_out_free(s->http); /* before the rows, whose bodies it may still send */
    for (int i = 0; i < QUEUE_SLOTS; i++) {
        if (s->slots[i].row)
            (void)webhook_queue_done(s->queue, s->slots[i].row, 0, -1, (struct webhook_now){ 0 });
        arena_free(s->slots[i].arena);
    }
    webhook_queue_free(s->queue);
    arena_free(s->arena);
    arena_free(s->chores_arena);
    db_free(s->db);
    db_free(s->chores_db);
    leases_free(s->leases);
    mailbox_fini(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct webhook_now now_of(void)
{
    return (struct webhook_now){ .wall_us = clock_wall_us(), .monotonic_us = clock_monotonic_us() };
}

/* --- hearing ------------------------------------------------------------------------------------ */

void webhook_sender_tell(struct webhook_sender *s, const struct webhook_hint *hints, size_t n)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        if (s->nhints == HINTS_MAX) {
            s->missed_hints = true;
            break;
        }
        s->hints[s->nhints++] = hints[i];
    }
    pthread_mutex_unlock(&s->lock);
    http_out_wake(s->http);
}

static void hear(struct webhook_sender *s)
{
    struct webhook_hint mine[HINTS_MAX];

    pthread_mutex_lock(&s->lock);
    size_t n = s->nhints;
    memcpy(mine, s->hints, n * sizeof(mine[0]));
    if (s->missed_hints)
        s->find_at_us = s->refresh_at_us = 0;
    s->nhints = 0;
    s->missed_hints = false;
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++)
        webhook_queue_hint(s->queue, &mine[i]);
}

static uint32_t own_lanes(struct webhook_sender *s)
{
    return (uint32_t)leases_mask(s->leases) & WEBHOOK_ALL_LANES;
}

/* What is in memory of a lane is of its lease as it was then. */
static void heed_leases(struct webhook_sender *s)
{
    uint64_t generation = leases_generation(s->leases);
    uint32_t kept = 0, own = 0;

    if (generation == s->generation)
        return;
    s->generation = generation;
    for (int i = 0; i < WEBHOOK_LANES; i++) {
        int64_t version = 0;
        if (leases_held(s->leases, i, &version))
            own |= 1U << i;
        if (version == s->versions[i])
            kept |= 1U << i;
        s->versions[i] = version;
    }
    webhook_queue_lanes(s->queue, own & kept);
    webhook_queue_lanes(s->queue, own);
    s->find_at_us = 0;
}

static enum err look_around(struct webhook_sender *s)
{
    int64_t begun_us = clock_monotonic_us();

    if (begun_us >= s->refresh_at_us) { /* should a change not have been told */
        webhook_queue_refresh(s->queue);
        s->refresh_at_us = begun_us + REFRESH_US;
    }
    if (begun_us < s->find_at_us)
        return ERR_OK;
    enum err e = webhook_store_find(&s->store, own_lanes(s));
    int64_t ended_us = clock_monotonic_us();
    s->find_at_us = ended_us + MAX(FIND_US, FIND_REST * (ended_us - begun_us));
    return e;
}

static enum err look_back(struct webhook_sender *s)
{
    int64_t begun_us = clock_monotonic_us();

    if (begun_us < s->look_at_us)
        return ERR_OK;
    enum err e = webhook_store_look_back(&s->store, now_of());
    int64_t ended_us = clock_monotonic_us();
    s->look_at_us = ended_us + FIND_REST * (ended_us - begun_us);
    return e;
}

/* --- writing down ------------------------------------------------------------------------------- */

static void count(const struct webhook_result *r)
{
    static const char *const names[] = {
        [WEBHOOK_DELIVERED] = "delivered", [WEBHOOK_LATER] = "retry", [WEBHOOK_PARKED] = "parked"
    };
    metric_add(&attempts_total, 1, (const char *const[]){ names[r->fate.outcome] });
}

/* Of lanes that were lost: whoever got them posts these again, under the same ids. */
static void drop_lost(struct webhook_sender *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->nresults; i++)
        if (s->results[i].version == s->versions[s->results[i].lane])
            s->results[kept++] = s->results[i];
    s->nresults = kept;
}

static enum err settle(struct webhook_sender *s, const struct webhook_host *host)
{
    bool emitted;

    drop_lost(s);
    if (!s->nresults)
        return ERR_OK;
    enum err e = webhook_store_settle(&s->store, s->results, s->nresults, &emitted);
    if (e) /* ERR_CANCELED: what the leases say next tells which */
        return e;
    for (size_t i = 0; i < s->nresults; i++)
        count(&s->results[i]);
    s->nresults = 0;
    if (emitted && host->emitted)
        host->emitted(host->arg);
    return ERR_OK;
}

/* --- a post ------------------------------------------------------------------------------------- */

static struct slot *take_slot(struct webhook_sender *s)
{
    for (int i = 0; i < QUEUE_SLOTS; i++)
        if (!s->slots[i].row)
            return &s->slots[i];
    return NULL;
}

/* An answer may hold anything: printable characters only, and not too many. */
static void set_text(struct webhook_result *r, const char *text)
{
    size_t n = 0;

    for (; text && text[n] && n < sizeof(r->text) - 1; n++)
        r->text[n] =
            (unsigned char)text[n] < 0x20 || (unsigned char)text[n] >= 0x7f ? ' ' : text[n];
    r->text[n] = '\0';
}

/* In the trace of the transaction that made the event; its receiver may go on with it. */
static void begin_span(struct slot *slot)
{
    const struct webhook_row *row = slot->row;
    char traceparent[TRACEPARENT_LEN + 1], id[ID_TEXT_MAX];

    slot->span.state = SPAN_OFF;
    if (!trace_on())
        return;
    bool known = webhook_body_traceparent(row->body, row->len, traceparent);
    span_begin(&slot->span, SPAN_CLIENT, "webhook", known ? traceparent : NULL);
    span_text(&slot->span, "messaging.message.id", id_text(row->event, id));
    span_text(&slot->span, "daybook.webhook.endpoint", id_text(row->endpoint->id, id));
}

static void end_span(struct slot *slot, int status)
{
    if (status)
        span_number(&slot->span, "http.response.status_code", status);
    if (status / 100 != 2)
        span_fail(&slot->span, "not delivered");
    span_end(&slot->span);
}

static void conclude(struct webhook_sender *s, struct slot *slot, int status,
                     int64_t retry_after_us, const char *text)
{
    struct webhook_result *r = &s->results[s->nresults++];
    struct webhook_now now = now_of();

    *r = slot->result;
    r->status = status;
    r->at_us = now.wall_us;
    set_text(r, text);
    end_span(slot, status);
    r->fate = webhook_queue_done(s->queue, slot->row, status, retry_after_us, now);
    slot->row = NULL;
}

/* By the secret, and for a day after its change by the one before, too. */
static enum err sign(const struct webhook_endpoint *e, const char *id, int64_t now_us,
                     const struct webhook_row *row, struct arena *a, char **header_out)
{
    char *one, *two;

    enum err err = webhook_sign(e->secret, id, now_us / SECOND_US, row->body, row->len, a, &one);
    if (err)
        return err;
    if (!e->old_secret || e->old_until_us <= now_us ||
        webhook_sign(e->old_secret, id, now_us / SECOND_US, row->body, row->len, a, &two))
        *header_out = arena_printf(a, "webhook-signature: %s", one);
    else
        *header_out = arena_printf(a, "webhook-signature: %s %s", one, two);
    return *header_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err start(struct webhook_sender *s, struct slot *slot, const char **reason_out)
{
    const struct webhook_row *row = slot->row;
    int64_t now_us = clock_wall_us();
    char id[ID_TEXT_MAX], *signature = NULL;
    struct arena *a = slot->arena;

    *reason_out = "out of memory";
    arena_reset(a);
    enum err e = sign(row->endpoint, id_text(row->event, id), now_us, row, a, &signature);
    if (e)
        return e;
    const char *headers[] = {
        "Content-Type: " WEBHOOK_CONTENT_TYPE,
        arena_printf(a, "webhook-id: %s", id),
        arena_printf(a, "webhook-timestamp: %" PRId64, now_us / SECOND_US),
        signature,
        NULL, /* the trace, where there is one */
        NULL,
    };
    if (slot->span.state != SPAN_OFF)
        headers[4] = arena_printf(a, "traceparent: %s", span_traceparent(&slot->span, ""));
    if (!headers[1] || !headers[2])
        return ERR_RESOURCE_EXHAUSTED;
    const struct http_request request = {
        .url = row->endpoint->url,
        .headers = headers,
        .body = row->body,
        .len = row->len,
        .timeout_us = POST_LIMIT_US,
        .arena = a,
        .owner = slot,
    };
    return http_out_start(s->http, &request, reason_out);
}

static void post(struct webhook_sender *s, struct webhook_row *row)
{
    struct slot *slot = take_slot(s);
    int lane = webhook_lane(row->endpoint->id, (uint64_t)row->key);
    const char *reason;

    slot->row = row;
    slot->result = (struct webhook_result){
        .tenant = row->endpoint->tenant,
        .endpoint = row->endpoint->id,
        .event = row->event,
        .lane = lane,
        .version = s->versions[lane],
        .seq = row->seq,
    };
    begin_span(slot);
    if (start(s, slot, &reason))
        conclude(s, slot, 0, -1, reason);
}

static void post_all(struct webhook_sender *s)
{
    struct webhook_row *row;

    while (s->nresults + webhook_queue_under_way(s->queue) < RESULTS_MAX &&
           (row = webhook_queue_pick(s->queue, now_of())) != NULL)
        post(s, row);
}

static void collect(struct webhook_sender *s)
{
    struct http_done done;

    while (http_out_next(s->http, 0, &done)) {
        struct slot *slot = done.owner;
        slot->result.took_us = done.took_us;
        if (done.result)
            conclude(s, slot, 0, -1, done.reason ? done.reason : err_name(done.result));
        else
            conclude(s, slot, done.answer.status, done.answer.retry_after_us, done.answer.body);
    }
}

/* --- the loop ----------------------------------------------------------------------------------- */

static enum err turn(struct webhook_sender *s, const struct webhook_host *host, bool *more_out)
{
    size_t rows = 0;

    hear(s);
    heed_leases(s);
    enum err e = settle(s, host);
    if (!e)
        e = look_around(s);
    webhook_queue_tick(s->queue, now_of());
    if (!e)
        e = webhook_store_know(&s->store);
    if (!e)
        e = look_back(s);
    if (!e)
        e = webhook_store_read(&s->store, now_of(), &rows, more_out);
    post_all(s);
    *more_out = *more_out || webhook_queue_is_asking(s->queue);
    return e;
}

static void wait(struct webhook_sender *s, bool more, enum err e)
{
    int64_t now_us = clock_monotonic_us();
    int64_t wait_us =
        MIN(MAX(s->find_at_us - now_us, 0), webhook_queue_wait_us(s->queue, now_of()));

    if (e)
        wait_us = TROUBLE_US;
    else if (more || s->nresults)
        wait_us = 0;
    http_out_rest(s->http, wait_us);
}

/* Posts that are under way when the thread is to stop; what is left is posted again. Lanes may go to
 * others meanwhile, and the database fail for a moment: that is to cost no other post its result. */
static void drain(struct webhook_sender *s, const struct webhook_host *host)
{
    int64_t until_us = clock_monotonic_us() + DRAIN_US, last_us = until_us + LAST_WORDS_US;
    enum err e;

    for (;;) {
        heed_leases(s);
        e = settle(s, host);
        int64_t now_us = clock_monotonic_us();
        bool is_waiting = http_out_running(s->http) && now_us < until_us;
        if (!is_waiting && (!e || now_us >= last_us))
            break;
        http_out_rest(s->http, 100 * MSEC_US);
        collect(s);
    }
    if (e)
        log_warn("webhook.drain", "posts could not be written down; they are made again", "err",
                 err_name(e), NULL);
}

void webhook_sender_run(struct webhook_sender *s, const struct webhook_host *host)
{
    atomic_store(&s->sending, true);
    while (!host->stopping(host->arg)) {
        bool more = false;
        enum err e = turn(s, host, &more);
        if (e && e != ERR_CANCELED)
            log_warn("webhook.trouble", "deliveries wait: the database does not take or give them",
                     "err", err_name(e), NULL);
        wait(s, more, e);
        collect(s);
    }
    drain(s, host);
    atomic_store(&s->sending, false);
    mailbox_ring(&s->ended);
}

static void renew(struct webhook_sender *s, struct db *db)
{
    enum err e = leases_tick(s->leases, db, clock_monotonic_us() + LEASE_LIMIT_US);

    if (e)
        log_warn("lease.tick_failed", "leases could not be renewed", "err", err_name(e), NULL);
}

/* They are kept for as long as posts are under way, whose answers could not be written down else. */
void webhook_sender_run_leases(struct webhook_sender *s, const struct webhook_host *host)
{
    char name[LEASE_NAME_MAX];
    struct db *db = db_new(s->config.conninfo, lease_session_name(&webhook_lease_plan, "leases",
                                                                  s->config.instance, name));
    uint64_t seen = 0;

    while (db && !host->stopping(host->arg)) {
        renew(s, db);
        if (leases_generation(s->leases) != seen) {
            seen = leases_generation(s->leases);
            http_out_wake(s->http);
        }
        host->rest(host->arg, LEASE_TICK_US);
    }
    while (db && atomic_load(&s->sending)) {
        renew(s, db);
        (void)mailbox_wait(&s->ended, LEASE_TICK_US);
    }
    if (db)
        leases_leave(s->leases, db);
    db_free(db);
}

/* --- chores ------------------------------------------------------------------------------------- */

static void count_waiting(struct webhook_sender *s)
{
    int64_t n, oldest_us;

    enum err e = webhook_store_state(&s->chores, own_lanes(s), &n, &oldest_us);
    if (e) {
        log_warn("webhook.count", "what waits could not be counted: its metrics are old", "err",
                 err_name(e), NULL);
        return;
    }
    double age_s = oldest_us ? (double)(clock_wall_us() - oldest_us) / (double)SECOND_US : 0;
    metric_set(&pending, (double)n, NULL);
    metric_set(&oldest_seconds, MAX(age_s, 0), NULL);
}

void webhook_sender_chores(struct webhook_sender *s)
{
    int64_t now_us = clock_monotonic_us();

    if (now_us >= s->state_at_us) {
        count_waiting(s);
        int64_t ended_us = clock_monotonic_us();
        s->state_at_us = ended_us + MAX(STATE_US, FIND_REST * (ended_us - now_us));
    }
    if (now_us < s->sweep_at_us)
        return;
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    bool more = false;
    enum err e =
        dir ? webhook_store_sweep(&s->chores, dir, clock_wall_us() - WEBHOOK_KEEP_US, &more)
            : ERR_OK;
    if (e)
        log_warn("webhook.sweep", "old deliveries could not be deleted; trying again", "err",
                 err_name(e), NULL);
    s->sweep_at_us = now_us + (more && !e ? 0 : e || !dir ? MINUTE_US : SWEEP_US);
}
