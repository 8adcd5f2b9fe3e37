/*
 * delivery.c - see delivery.h.
 *
 * A thread has so many slots; each holds one attempt from its claim to its verdict. Posts are under
 * way together (http_out.h), what is read and written in between goes one after the other over one
 * connection. A queue, which is what a lane holds for one channel, has one attempt under way at a
 * time: so a company's channel has eight, one a lane, however many replicas there are, a person's
 * has one, and his notices arrive in their order.
 */
#include "services/reminders/delivery.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/reseal.h"
#include "common/secret.h"
#include "common/columns.h"
#include "services/reminders/attempt.h"
#include "services/reminders/endpoints.h"
#include "services/reminders/sql.h"

#define SLOTS 64
#define SLOTS_A_TENANT 16
#define TURN_ROWS 100
#define ROUND_US (250 * MSEC_US)
#define IDLE_US SECOND_US /* between two looks for what nobody told us of */
#define CLAIM_REST 4      /* a claim is followed by a rest of so many times what it took */
#define DB_LIMIT_US (5 * SECOND_US)
#define DRAIN_US (3 * SECOND_US) /* for posts that are under way when the thread is to stop */
#define SLOT_ARENA (512 * KIB)
#define CLAIM_ARENA (64 * KIB)

struct slot {
    bool used;
    struct id queue; /* owner_id of the row */
    struct attempt attempt;
    struct arena *arena;
};

/* Where a lane's last claim stopped. */
struct cursor {
    struct id tenant, owner;
};

struct delivery {
    struct delivery_config config;
    int index;
    struct db *db;
    struct http_out *http;
    struct arena *arena;
    struct endpoints endpoints;
    struct cursor cursors[LANES];
    struct slot slots[SLOTS];
    size_t nused;
    int64_t claim_at_us; /* monotonic; not before */
};

/* --- pure parts ------------------------------------------------------------------------------ */

int64_t delivery_pause_us(int attempts)
{
    static const int64_t pauses[] = { 5 * SECOND_US, 5 * MINUTE_US, 30 * MINUTE_US,
                                      2 * HOUR_US,   5 * HOUR_US,   10 * HOUR_US,
                                      14 * HOUR_US,  20 * HOUR_US,  24 * HOUR_US };
    return attempts >= 1 && attempts <= (int)ARRAY_LEN(pauses) ? pauses[attempts - 1] : 0;
}

int64_t delivery_quiet_us(const char *span, const struct tz *tz, int64_t now_us)
{
    int from, to;

    if (!policy_span(span, &from, &to) || from == to)
        return 0;
    struct date today = tz_date(tz, now_us);
    int minute = tz_minute_of_day(tz, now_us);
    bool over_midnight = from > to;
    if (over_midnight ? minute < from && minute >= to : minute < from || minute >= to)
        return 0;
    struct date end_day = over_midnight && minute >= from ? date_add(today, 1) : today;
    return MAX(1, tz_instant(tz, end_day, to) - now_us);
}

char *delivery_secret_name(struct arena *a, struct id owner)
{
    char text[ID_TEXT_MAX];
    return arena_printf(a, "channel:%s", id_text(owner, text));
}

char *delivery_seal_secret(struct arena *a, struct id tenant, struct id owner, const char *secret)
{
    char *name = delivery_secret_name(a, owner);
    return name ? secret_seal(a, tenant, name, secret) : NULL;
}

const struct reseal_table channel_sealed = { .name = "channel",
                                             .next = &sql_channel_sealed_next,
                                             .put = &sql_channel_sealed_put,
                                             .first = "channel",
                                             .second = "channel" };

/* --- life ------------------------------------------------------------------------------------ */

struct delivery *delivery_new(const struct delivery_config *config, int index)
{
    struct delivery *d = calloc(1, sizeof(*d));
    char name[LEASE_NAME_MAX];

    if (!d)
        return NULL;
    d->config = *config;
    d->index = index;
    d->db = db_new(config->conninfo, lease_session_name(&reminders_lease_plan, "delivery",
                                                        leases_instance(config->leases), name));
    d->http = http_out_new(config->allow, config->allow_plain);
    d->arena = arena_new(CLAIM_ARENA);
    bool ok = d->db && d->http && d->arena;
    for (int i = 0; i < SLOTS; i++)
        ok = (d->slots[i].arena = arena_new(SLOT_ARENA)) != NULL && ok;
    if (!ok) {
        delivery_free(d);
        return NULL;
    }
    metric_register(&attempt_sends_total);
    return d;
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    http_out_free(d->http); /* before the arenas: it may still write into them */
    for (int i = 0; i < SLOTS; i++)
        arena_free(d->slots[i].arena);
    db_free(d->db);
    arena_free(d->arena);
    free(d);
}

/* --- slots ----------------------------------------------------------------------------------- */

static struct slot *take_slot(struct delivery *d)
{
    for (int i = 0; i < SLOTS; i++)
        if (!d->slots[i].used) {
            d->slots[i].used = true;
            d->nused++;
            arena_reset(d->slots[i].arena);
            return &d->slots[i];
        }
    return NULL;
}

static void release_slot(struct delivery *d, struct slot *s)
{
    s->used = false;
    d->nused--;
}

static size_t count_of_tenant(const struct delivery *d, struct id tenant)
{
    size_t n = 0;

    for (int i = 0; i < SLOTS; i++)
        n += d->slots[i].used && id_equal(d->slots[i].attempt.tenant, tenant);
    return n;
}

/* Whether another slot has that channel. */
static bool is_being_tried(const struct delivery *d, const struct slot *mine)
{
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *s = &d->slots[i];
        if (s != mine && s->used && id_equal(s->attempt.owner, mine->attempt.owner) &&
            id_equal(s->attempt.tenant, mine->attempt.tenant))
            return true;
    }
    return false;
}

/* --- claims ---------------------------------------------------------------------------------- */

static bool is_ours(const struct delivery *d, int lane)
{
    return lane % DELIVERY_THREADS == d->index && leases_held(d->config.leases, lane, NULL);
}

static void add_id(struct columns *k, struct id id)
{
    char text[ID_TEXT_MAX];
    columns_text(k, id_text(id, text)); /* nil is a key here, not NULL */
}

static void add_lanes(const struct delivery *d, struct columns *k)
{
    columns_init(k, 3);
    for (int lane = SHARDS; lane < LEASES; lane++) {
        if (!is_ours(d, lane))
            continue;
        columns_i64(k, lane);
        add_id(k, d->cursors[lane - SHARDS].tenant);
        add_id(k, d->cursors[lane - SHARDS].owner);
    }
}

static void add_full(const struct delivery *d, struct columns *k)
{
    columns_init(k, 1);
    for (int i = 0; i < SLOTS; i++)
        if (d->slots[i].used && count_of_tenant(d, d->slots[i].attempt.tenant) >= SLOTS_A_TENANT)
            add_id(k, d->slots[i].attempt.tenant);
}

/* Queues with an attempt under way, and those of channels that are left alone. */
static void add_busy(const struct delivery *d, struct columns *k, int64_t now_us)
{
    columns_init(k, 3);
    for (int i = 0; i < SLOTS; i++) {
        if (!d->slots[i].used)
            continue;
        columns_i64(k, d->slots[i].attempt.lane);
        add_id(k, d->slots[i].attempt.tenant);
        add_id(k, d->slots[i].queue);
    }
    for (size_t i = 0; i < d->endpoints.n; i++) {
        const struct endpoint *e = &d->endpoints.list[i];
        for (int lane = SHARDS; lane < LEASES && e->until_us > now_us; lane++) {
            columns_i64(k, lane);
            add_id(k, e->tenant);
            add_id(k, e->owner);
        }
    }
}

static enum err ask(struct delivery *d, size_t max, PGresult **res_out)
{
    CLEANUP(columns_fini) struct columns lanes = { 0 }, full = { 0 }, busy = { 0 };
    const char *params[8] = { [7] = db_text_i64(d->arena, (int64_t)max) };

    add_lanes(d, &lanes);
    if (!lanes.rows)
        return ERR_NOT_FOUND;
    add_full(d, &full);
    add_busy(d, &busy, clock_monotonic_us());
    enum err e = columns_params(&lanes, &params[0]);
    if (!e)
        e = columns_params(&full, &params[3]);
    if (!e)
        e = columns_params(&busy, &params[4]);
    if (!e)
        e = params[7] ? db_begin(d->db, NULL, clock_monotonic_us() + DB_LIMIT_US)
                      : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(d->db, &sql_outgoing_due, params, res_out);
    if (!e)
        e = db_commit(d->db);
    if (e)
        db_rollback(d->db);
    return e;
}

/* Gives a row its slot. False: its company has its share. */
static bool seat(struct delivery *d, struct db_row *row)
{
    struct id tenant = db_row_id(row, "tenant_id"), owner = db_row_id(row, "owner_id");
    int lane = db_row_i32(row, "lane");

    if (row->bad || lane < SHARDS || lane >= LEASES)
        return false;
    d->cursors[lane - SHARDS] = (struct cursor){ tenant, owner };
    if (count_of_tenant(d, tenant) >= SLOTS_A_TENANT)
        return false;
    struct slot *s = take_slot(d);
    if (!s)
        return false;
    s->queue = owner;
    s->attempt = (struct attempt){ .db = d->db,
                                   .arena = s->arena,
                                   .leases = d->config.leases,
                                   .tenant = tenant,
                                   .id = db_row_id(row, "delivery_id"),
                                   .lane = lane };
    return true;
}

/* Claims up to max rows, each with a slot; fresh_out: their slots, as bits. */
static enum err claim_some(struct delivery *d, size_t max, uint64_t *fresh_out, size_t *found_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    uint64_t before = 0, after = 0;

    arena_reset(d->arena);
    enum err e = ask(d, max, &res);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e)
        return e;
    for (int i = 0; i < SLOTS; i++)
        before |= (uint64_t)d->slots[i].used << i;
    *found_out = (size_t)PQntuples(res);
    for (struct db_row row = { .res = res }; row.row < PQntuples(res); row.row++)
        (void)seat(d, &row);
    for (int i = 0; i < SLOTS; i++)
        after |= (uint64_t)d->slots[i].used << i;
    *fresh_out |= after & ~before;
    return ERR_OK;
}

static bool stands_at_beginning(const struct delivery *d)
{
    static const struct cursor none[LANES];
    return memcmp(d->cursors, none, sizeof(none)) == 0;
}

/* From where the last claim stopped to the end, then from the beginning. */
static enum err claim(struct delivery *d, size_t max, uint64_t *fresh_out)
{
    size_t found = 0;
    bool was_all = stands_at_beginning(d);

    *fresh_out = 0;
    enum err e = claim_some(d, max, fresh_out, &found);
    if (e || found >= max || was_all)
        return e;
    memset(d->cursors, 0, sizeof(d->cursors));
    max -= found;
    return claim_some(d, max, fresh_out, &found);
}

/* --- attempts -------------------------------------------------------------------------------- */

static enum err finish(struct delivery *d, struct slot *s, size_t *done_out)
{
    enum err e = attempt_write(&s->attempt);

    *done_out += !e;
    release_slot(d, s);
    return e;
}

static enum err post(struct delivery *d, struct slot *s, size_t *done_out)
{
    struct http_request request;
    const char *reason = NULL;

    enum err e = attempt_request(&s->attempt, &request);
    request.owner = s;
    if (!e)
        e = http_out_start(d->http, &request, &reason);
    if (!e)
        return ERR_OK;
    attempt_conclude(&s->attempt, e, NULL, reason);
    return finish(d, s, done_out);
}

/* An attempt that ends at once, or posts. */
static enum err begin(struct delivery *d, struct slot *s, const struct directory *dir,
                      size_t *done_out)
{
    struct attempt *t = &s->attempt;

    enum err e = attempt_load(t);
    if (e) {
        release_slot(d, s);
        return e;
    }
    if (!attempt_judge(t, dir, clock_now_us()))
        return finish(d, s, done_out);
    bool rests = endpoints_rests(&d->endpoints, t->tenant, t->owner, clock_monotonic_us());
    if (rests || (endpoints_fails(&d->endpoints, t->tenant, t->owner) && is_being_tried(d, s))) {
        release_slot(d, s); /* it stays as it is */
        return ERR_OK;
    }
    return post(d, s, done_out);
}

static enum err begin_some(struct delivery *d, const struct directory *dir, size_t max,
                           size_t *begun_out, size_t *done_out)
{
    uint64_t fresh;

    *begun_out = 0;
    enum err e = max ? claim(d, max, &fresh) : ERR_NOT_FOUND;
    if (e)
        return e == ERR_NOT_FOUND ? ERR_OK : e;
    for (int i = 0; i < SLOTS; i++) {
        if (!(fresh >> i & 1))
            continue;
        size_t done = *done_out;
        if (e)
            release_slot(d, &d->slots[i]);
        else
            e = begin(d, &d->slots[i], dir, done_out);
        *begun_out += d->slots[i].used || *done_out > done;
    }
    return e;
}

/* Writes down what is over, after waiting for the first one. */
static enum err settle_some(struct delivery *d, int64_t wait_us, size_t *done_out)
{
    struct http_done done;
    enum err first = ERR_OK;

    for (; http_out_next(d->http, wait_us, &done); wait_us = 0) {
        struct slot *s = done.owner;
        bool answered = done.result != ERR_UNAVAILABLE && done.result != ERR_DEADLINE_EXCEEDED;
        endpoints_note(&d->endpoints, s->attempt.tenant, s->attempt.owner, answered, done.took_us,
                       clock_monotonic_us());
        attempt_conclude(&s->attempt, done.result, &done.answer, done.reason);
        enum err e = finish(d, s, done_out);
        first = first ? first : e;
        d->claim_at_us = MIN(d->claim_at_us, clock_monotonic_us()); /* its queue may have more */
    }
    return first;
}

enum err delivery_turn(struct delivery *d, size_t *done_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    size_t begun;
    enum err e = ERR_OK;

    *done_out = 0;
    if (!dir)
        return ERR_OK;
    do {
        size_t under_way = *done_out + d->nused;
        size_t max = under_way < TURN_ROWS ? MIN(SLOTS - d->nused, TURN_ROWS - under_way) : 0;
        e = begin_some(d, dir, max, &begun, done_out);
        if (!e)
            e = settle_some(d, d->nused ? ROUND_US : 0, done_out);
    } while (!e && (begun || d->nused));
    return e;
}

/* --- the loop -------------------------------------------------------------------------------- */

static enum err claim_when_due(struct delivery *d)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    int64_t from_us = clock_monotonic_us();
    size_t begun = 0, done = 0;

    if (from_us < d->claim_at_us || d->nused == SLOTS)
        return ERR_OK;
    enum err e = dir ? begin_some(d, dir, SLOTS - d->nused, &begun, &done) : ERR_OK;
    int64_t now_us = clock_monotonic_us(), rest_us = CLAIM_REST * (now_us - from_us);
    int64_t round_us = e || !dir || d->nused ? ROUND_US : IDLE_US;
    d->claim_at_us = now_us + (begun && !e ? MIN(rest_us, ROUND_US) : MAX(rest_us, round_us));
    return e;
}

static enum err turn(struct delivery *d)
{
    size_t done = 0;

    enum err e = claim_when_due(d);
    int64_t wait_us = clock_left_us(d->claim_at_us);
    if (!d->nused) {
        if (bell_wait(d->config.bell, wait_us))
            d->claim_at_us = 0;
        return e;
    }
    enum err settled = settle_some(d, d->nused == SLOTS ? ROUND_US : MIN(wait_us, ROUND_US), &done);
    return e ? e : settled;
}

void delivery_run(struct delivery *d, const struct engine_host *host)
{
    while (!host->stopping(host->arg)) {
        enum err e = turn(d);
        if (e && e != ERR_CANCELED)
            log_warn("delivery.failed", "notices could not be posted; trying again", "err",
                     err_name(e), NULL);
    }
    size_t done = 0;
    for (int64_t until_us = clock_monotonic_us() + DRAIN_US;
         d->nused && clock_monotonic_us() < until_us;)
        if (settle_some(d, ROUND_US, &done))
            return; /* what is left is posted again, under the same id */
}
