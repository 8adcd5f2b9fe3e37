/*
 * engine.c - the threads of the engine: leases, reading ahead, firing, sleeping.
 */
#include "services/reminders/engine.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "services/reminders/arrays.h"
#include "services/reminders/bell.h"
#include "services/reminders/aside.h"
#include "services/reminders/fire.h"
#include "services/reminders/hearing.h"
#include "services/reminders/lateness.h"
#include "services/reminders/sql.h"

#define HELD_MAX 65536     /* timers in memory, a thread */
#define AHEAD_A_SHARD 1024 /* rows a read, a shard */
#define BEHIND_A_SHARD 256
#define LOW_WATER 2000    /* ready ones, below which a backlog is read on */
#define LOOK_US SECOND_US /* between two looks into the table */
#define LOOK_MIN_US (5 * MSEC_US)
#define NEAR_LOOKS 3                   /* looks back go this many looks into the future too */
#define STEERED_LOOK_US (10 * MSEC_US) /* a turned clock is seen after this (clock.h) */
#define OFFERS_MAX 65536
#define CALL_LIMIT_US (5 * SECOND_US)
#define BATCH_ARENA (96 * MIB)
#define FULL_LOOK_US (30 * SECOND_US) /* between two looks back to the beginning of time */
#define BACK_LOOKS 60                 /* the others go back by so many looks */
#define CAREFUL_US (5 * SECOND_US)    /* after a duty was found locked */
#define CULPRITS_MAX 32               /* of one halving */
#define NOBODY_MIN 8                  /* so many and no success: it is not their fault */
#define STEP_US SECOND_US             /* of the wall clock, worth a line in the log */
#define IDLE_US (100 * MSEC_US)       /* between two looks at whether timers may be fired */
#define RETRY_US (100 * MSEC_US)
#define RETRY_MAX_US (2 * SECOND_US)

static struct metric timers_due = {
    .name = "daybook_timers_due",
    .type = METRIC_GAUGE,
    .help = "Timers that are due and wait to be fired by this replica.",
};

/* How far a shard was read: everything up to this key. */
struct position {
    int64_t us;
    struct id id;
    bool more; /* the limit was hit: there is more up to where we wanted */
};

struct engine_thread {
    struct engine *engine;
    int index;
    struct bell bell;
    pthread_mutex_t lock; /* of the offers */
    struct timer *offers;
    size_t noffers, offers_cap;
    atomic_ullong settled; /* generation of leases that it has looked at */

    /* the thread's own */
    struct db *db;
    struct arena *arena;
    struct schedule *schedule;
    uint64_t generation;
    uint64_t shards; /* mask of those held that are this thread's */
    struct position ahead[SHARDS], behind[SHARDS];
    int64_t horizon_end_us; /* domain; read up to here */
    int64_t looked_us;      /* monotonic; 0 = look at once */
    int64_t looked_at_us;   /* domain time of that look */
    int64_t full_look_us;   /* monotonic; 0 = the next look goes back to the beginning of time */
    bool behind_more, ahead_more;
    struct lateness lateness;
    struct hearing hearing;
    int64_t floor_us; /* what is due before that is left alone for now; domain */
    struct aside aside;
    int64_t careful_until_us; /* monotonic */
    uint64_t fired;           /* batches */
    bool posted;              /* they left something to be posted */
    int64_t wall_offset_us;   /* wall less boot time */
    int64_t retry_us;         /* pause after a failure; 0 = none */
    struct timer batch[FIRE_BATCH_MAX];
};

struct engine {
    struct engine_config config;
    struct leases *leases;
    struct bell lease_bell;
    struct engine_thread threads[ENGINE_THREADS];
};

/* --- life ------------------------------------------------------------------------------------ */

static bool thread_init(struct engine_thread *t, struct engine *e, int index)
{
    char name[LEASE_NAME_MAX];

    t->engine = e;
    t->index = index;
    bell_init(&t->bell);
    pthread_mutex_init(&t->lock, NULL);
    t->db = db_new(e->config.conninfo, lease_session_name("timers", e->config.instance, name));
    t->arena = arena_new(BATCH_ARENA);
    t->schedule = schedule_new(HELD_MAX);
    t->floor_us = INT64_MIN;
    t->wall_offset_us = clock_wall_us() - clock_boottime_us();
    return t->db && t->arena && t->schedule;
}

static void thread_fini(struct engine_thread *t)
{
    schedule_free(t->schedule);
    arena_free(t->arena);
    db_free(t->db);
    free(t->offers);
    pthread_mutex_destroy(&t->lock);
    bell_fini(&t->bell);
}

struct engine *engine_new(const struct engine_config *config)
{
    struct engine *e = calloc(1, sizeof(*e));
    bool ok = e != NULL;

    if (!e)
        return NULL;
    e->config = *config;
    e->leases = leases_new(config->instance, clock_is_steered() ? NULL : clock_wall_us);
    bell_init(&e->lease_bell);
    for (int i = 0; i < ENGINE_THREADS; i++)
        ok = thread_init(&e->threads[i], e, i) && ok;
    if (!ok || !e->leases) {
        engine_free(e);
        return NULL;
    }
    metric_register(&fire_total);
    metric_register(&fire_lateness);
    metric_register(&timers_due);
    return e;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    for (int i = 0; i < ENGINE_THREADS; i++)
        thread_fini(&e->threads[i]);
    bell_fini(&e->lease_bell);
    leases_free(e->leases);
    free(e);
}

struct leases *engine_leases(struct engine *e)
{
    return e->leases;
}

void engine_ring(struct engine *e)
{
    for (int i = 0; i < ENGINE_THREADS; i++)
        bell_ring(&e->threads[i].bell);
    bell_ring(&e->lease_bell);
}

bool engine_is_settled(struct engine *e)
{
    uint64_t generation = leases_generation(e->leases);

    for (int i = 0; i < ENGINE_THREADS; i++)
        if (generation == 0 || atomic_load(&e->threads[i].settled) != generation)
            return false;
    return true;
}

/* --- offers ---------------------------------------------------------------------------------- */

int64_t engine_horizon_us(void)
{
    int64_t hour_us = clock_until_us(clock_now_us() + HOUR_US); /* real time that an hour takes */

    if (hour_us <= 0 || hour_us >= HOUR_US) /* slow or stopped: the hour may come by a jump */
        return ENGINE_HORIZON_US;
    return ENGINE_HORIZON_US / MSEC_US * (HOUR_US / MAX(hour_us / MSEC_US, 1));
}

static void put_uint(uint8_t *out, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

static uint64_t get_uint(const uint8_t *in, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | in[i];
    return v;
}

size_t engine_pack(const struct timer *timers, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++, out += ENGINE_PACKED_SIZE) {
        memcpy(out, timers[i].tenant.b, 16);
        memcpy(out + 16, timers[i].obligation.b, 16);
        put_uint(out + 32, (uint64_t)timers[i].due_us, 8);
        put_uint(out + 40, (uint16_t)timers[i].step, 2);
        put_uint(out + 42, (uint16_t)timers[i].shard, 2);
    }
    return n * ENGINE_PACKED_SIZE;
}

size_t engine_unpack(const void *data, size_t len, struct timer *out, size_t max)
{
    const uint8_t *in = data;
    size_t n = len / ENGINE_PACKED_SIZE;

    if (len % ENGINE_PACKED_SIZE || n > max)
        return 0;
    for (size_t i = 0; i < n; i++, in += ENGINE_PACKED_SIZE) {
        memcpy(out[i].tenant.b, in, 16);
        memcpy(out[i].obligation.b, in + 16, 16);
        out[i].due_us = (int64_t)get_uint(in + 32, 8);
        out[i].step = (int16_t)get_uint(in + 40, 2);
        out[i].shard = (int16_t)get_uint(in + 42, 2);
        if (out[i].shard < 0 || out[i].shard >= SHARDS)
            return 0;
    }
    return n;
}

static int thread_of(int shard)
{
    return shard % ENGINE_THREADS;
}

void engine_offer(struct engine *e, const struct timer *timers, size_t n)
{
    for (int i = 0; i < ENGINE_THREADS; i++) {
        struct engine_thread *t = &e->threads[i];
        bool added = false;

        pthread_mutex_lock(&t->lock);
        for (size_t k = 0; k < n && t->noffers < OFFERS_MAX; k++) {
            if (thread_of(timers[k].shard) != i)
                continue;
            if (t->noffers == t->offers_cap) {
                size_t cap = t->offers_cap ? 2 * t->offers_cap : 256;
                struct timer *grown = realloc(t->offers, cap * sizeof(*grown));
                if (!grown)
                    break; /* the look back finds them */
                t->offers = grown;
                t->offers_cap = cap;
            }
            t->offers[t->noffers++] = timers[k];
            added = true;
        }
        pthread_mutex_unlock(&t->lock);
        if (added)
            bell_ring(&t->bell);
    }
}

/* Takes a timer into memory unless it is to be left alone. False: no room. */
static bool hold(struct engine_thread *t, const struct timer *timer)
{
    if (!(t->shards >> timer->shard & 1) || timer->due_us < t->floor_us ||
        aside_has(&t->aside, timer))
        return true;
    return schedule_put(t->schedule, timer);
}

static void take_offers(struct engine_thread *t)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->noffers; i++) {
        const struct timer *offer = &t->offers[i];
        /* What lies past the part that was read is found by reading on. */
        if (offer->due_us <= t->horizon_end_us && !hold(t, offer))
            break;
    }
    t->noffers = 0;
    pthread_mutex_unlock(&t->lock);
}

static void take_back_aside(struct engine_thread *t, int64_t monotonic_us)
{
    struct timer timers[ASIDE_MAX];
    size_t n = aside_take(&t->aside, monotonic_us, timers, ASIDE_MAX);

    for (size_t i = 0; i < n; i++)
        if (!(t->shards >> timers[i].shard & 1) || !hold(t, &timers[i]))
            aside_forget(&t->aside, &timers[i]);
}

/* --- shards ---------------------------------------------------------------------------------- */

static void take_shards(struct engine_thread *t, int64_t now_us)
{
    uint64_t generation = leases_generation(t->engine->leases);
    if (generation == t->generation)
        return;

    uint64_t mask = 0, held = leases_shard_mask(t->engine->leases);
    for (int i = 0; i < SHARDS; i++)
        if (held >> i & 1 && thread_of(i) == t->index)
            mask |= UINT64_C(1) << i;
    /* A lease that was lost and taken again looks the same here, so everything is read anew: it is
     * a look per shard, and what is in memory already is not doubled. */
    for (int i = 0; i < SHARDS; i++) {
        t->ahead[i] = (struct position){ .us = now_us };
        t->behind[i] = (struct position){ .us = INT64_MIN };
    }
    schedule_keep(t->schedule, mask, t->floor_us);
    t->aside.n = 0;
    t->shards = mask;
    t->generation = generation;
    t->looked_us = t->full_look_us = 0;
    t->horizon_end_us = now_us;
    t->behind_more = t->ahead_more = false;
}

/* --- reading --------------------------------------------------------------------------------- */

struct reading {
    struct engine_thread *t;
    struct position *positions;
    int64_t until_us;
    int limit;
    int count[SHARDS];
    struct position last[SHARDS];
    bool full;
};

static enum err keep_rows(struct reading *r, const PGresult *res)
{
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        struct timer timer = {
            .tenant = db_row_id(&row, "tenant_id"),
            .obligation = db_row_id(&row, "obligation_id"),
            .due_us = db_row_i64(&row, "due_us"),
            .step = (int16_t)db_row_i32(&row, "step"),
            .shard = (int16_t)db_row_i32(&row, "shard"),
        };
        if (row.bad || timer.shard < 0 || timer.shard >= SHARDS)
            return ERR_INTERNAL;
        if (!hold(r->t, &timer)) {
            r->full = true;
            return ERR_OK;
        }
        r->count[timer.shard]++;
        r->last[timer.shard] = (struct position){ .us = timer.due_us, .id = timer.obligation };
    }
    return ERR_OK;
}

/* Where each shard was read to. Returns whether one of them has more. */
static bool advance_positions(struct reading *r)
{
    bool more = false;

    for (int i = 0; i < SHARDS; i++) {
        if (!(r->t->shards >> i & 1))
            continue;
        struct position *p = &r->positions[i];
        bool hit = r->count[i] >= r->limit;
        if (hit || r->full) {
            if (r->count[i])
                *p = r->last[i];
            p->more = true;
        } else {
            p->us = MAX(p->us, r->until_us);
            memset(p->id.b, 0xff, sizeof(p->id.b));
            p->more = false;
        }
        more = more || p->more;
    }
    return more;
}

static enum err read_timers(struct engine_thread *t, struct position positions[static SHARDS],
                            int64_t until_us, int limit, bool *more_out)
{
    struct reading r = { .t = t, .positions = positions, .until_us = until_us, .limit = limit };
    CLEANUP(columns_fini) struct columns k = { 0 };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    char until[24], rows[24];
    const char *params[5] = { [3] = until, [4] = rows };

    columns_init(&k, 3);
    for (int i = 0; i < SHARDS; i++) {
        if (!(t->shards >> i & 1))
            continue;
        char id[ID_TEXT_MAX]; /* nil is a key here, not NULL */
        columns_i64(&k, i);
        columns_i64(&k, positions[i].us);
        columns_text(&k, id_text(positions[i].id, id));
    }
    snprintf(until, sizeof(until), "%" PRId64, until_us);
    snprintf(rows, sizeof(rows), "%d", limit);
    enum err e = columns_params(&k, params);
    if (!e)
        e = db_begin(t->db, NULL, clock_monotonic_us() + CALL_LIMIT_US);
    if (!e)
        e = db_exec(t->db, &sql_timers_ahead, params, &res);
    if (!e)
        e = keep_rows(&r, res);
    if (!e)
        e = db_commit(t->db);
    if (e) {
        db_rollback(t->db);
        return e;
    }
    *more_out = advance_positions(&r);
    return ERR_OK;
}

static bool must_look(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    int64_t since_us = monotonic_us - t->looked_us;

    if (!t->shards)
        return false;
    if (t->looked_us == 0 || since_us >= LOOK_US)
        return true;
    if (since_us < LOOK_MIN_US)
        return false;
    if (t->behind_more && schedule_ready(t->schedule) < LOW_WATER)
        return true;
    if (t->ahead_more && schedule_size(t->schedule) < HELD_MAX / 4)
        return true;
    /* A fast or turned clock eats up the horizon before the second is over. */
    return now_us > t->horizon_end_us - engine_horizon_us() / 2;
}

/*
 * Where the look back begins, unless a backlog is being worked off: a minute before the look before
 * this one. That misses a timer which was armed for long ago without our hearing of it, so each
 * half minute it begins with time itself, and reads the index entries that firing left dead there.
 */
static void begin_behind(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    int64_t back_us = engine_horizon_us() / (ENGINE_HORIZON_US / LOOK_US) * BACK_LOOKS;
    bool is_full = !t->full_look_us || monotonic_us - t->full_look_us >= FULL_LOOK_US;
    int64_t from_us =
        is_full ? t->floor_us : MAX(t->floor_us, MIN(now_us, t->looked_at_us) - back_us);

    if (t->behind_more)
        return;
    for (int i = 0; i < SHARDS; i++)
        t->behind[i] = (struct position){ .us = from_us };
    if (is_full)
        t->full_look_us = monotonic_us;
}

/*
 * Two parts: behind, whatever is due by now or very soon (what was missed, is a backlog, or was
 * armed without our hearing of it); and ahead, from where we had read to, up to the horizon. So a
 * timer that nobody told us of is still on time if it was committed a few seconds before.
 */
static enum err look(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    int64_t horizon_us = engine_horizon_us();
    int64_t end_us = MAX(t->horizon_end_us, now_us + horizon_us);
    int64_t near_us = now_us + horizon_us / (ENGINE_HORIZON_US / LOOK_US) * NEAR_LOOKS;

    begin_behind(t, now_us, monotonic_us);
    enum err e = read_timers(t, t->behind, near_us, BEHIND_A_SHARD, &t->behind_more);
    t->ahead_more = true; /* when there is no room, later */
    if (!e && schedule_room(t->schedule) > HELD_MAX / 4)
        e = read_timers(t, t->ahead, end_us, AHEAD_A_SHARD, &t->ahead_more);
    if (e) {
        t->full_look_us = 0;
        return e;
    }
    t->horizon_end_us = end_us;
    t->looked_us = monotonic_us;
    t->looked_at_us = now_us;
    metric_set(&timers_due, (double)schedule_ready(t->schedule), NULL);
    return ERR_OK;
}

/* --- late, unheard, not to be believed -------------------------------------------------------- */

static int64_t late_before(const struct engine_thread *t)
{
    return lateness_before(&t->lateness, engine_horizon_us() / (ENGINE_HORIZON_US / LATE_AFTER_US));
}

/* After an outage, or at the start: what is late waits until all has been heard (hearing.h). */
static void doubt(struct engine_thread *t, int64_t grace_us, int64_t monotonic_us)
{
    if (!t->engine->config.heard)
        return;
    hearing_doubt(&t->hearing, grace_us, monotonic_us);
    t->floor_us = MAX(t->floor_us, late_before(t));
    t->behind_more = false;
    t->aside.n = 0;
    schedule_keep(t->schedule, t->shards, t->floor_us);
}

/* True: nothing may be fired at all. */
static bool is_unheard(struct engine_thread *t, int64_t monotonic_us)
{
    const struct engine_config *c = &t->engine->config;
    int64_t seq = 0, head = 0;

    if (!c->heard)
        return false;
    bool is_known = c->heard(c->arg, &seq, &head);
    enum hearing_state state = hearing_judge(&t->hearing, is_known, seq, head, monotonic_us);
    if (state == HEARING_ALL && t->floor_us != INT64_MIN) {
        if (t->hearing.gave_up)
            log_warn("timers.unheard", "the log of events is not heard: late timers are fired",
                     NULL);
        t->floor_us = INT64_MIN;
        t->looked_us = t->full_look_us = 0;
        t->behind_more = false;
    }
    return state == HEARING_BEHIND;
}

static void note_turn(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    bool is_first = t->lateness.nsamples == 0;
    int64_t boottime_us = clock_boottime_us(), offset_us = clock_wall_us() - boottime_us;

    if (lateness_note(&t->lateness, boottime_us, now_us)) {
        t->full_look_us = 0;
        doubt(t, is_first ? 0 : HEARING_GRACE_US, monotonic_us);
    }
    int64_t step_us = offset_us - t->wall_offset_us;
    if (t->index == 0 && (step_us > STEP_US || step_us < -STEP_US)) {
        char text[24];
        snprintf(text, sizeof(text), "%" PRId64, step_us);
        log_warn("clock.step", "the wall clock was set", "step_us", text, NULL);
    }
    t->wall_offset_us = offset_us;
}

static bool may_fire(struct engine_thread *t, int64_t monotonic_us)
{
    const struct engine_config *c = &t->engine->config;
    return !is_unheard(t, monotonic_us) && (!c->trusted || c->trusted(c->arg));
}

/* --- firing ---------------------------------------------------------------------------------- */

static bool is_passing(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_ABORTED || e == ERR_DEADLINE_EXCEEDED;
}

static void put_back(struct engine_thread *t, const struct timer *timers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!hold(t, &timers[i])) {
            t->full_look_us = 0; /* they are in the table */
            return;
        }
}

/* What one batch came to, halved as often as need be. */
struct halving {
    struct fire_context *c;
    uint64_t fired_before;
    struct timer culprits[CULPRITS_MAX];
    enum err why[CULPRITS_MAX];
    size_t n;
};

static void take_result(struct engine_thread *t, const struct fire_result *result,
                        const struct timer *timers, size_t n)
{
    int64_t monotonic_us = clock_monotonic_us();

    t->fired++;
    t->posted = t->posted || result->posted;
    for (size_t i = 0; t->aside.n && i < n; i++)
        aside_forget(&t->aside, &timers[i]);
    for (size_t i = 0; i < result->nnext; i++)
        if (result->next[i].due_us <= t->horizon_end_us)
            put_back(t, &result->next[i], 1);
    for (size_t i = 0; i < result->nlocked; i++)
        (void)aside_put_locked(&t->aside, &result->locked[i], monotonic_us); /* or read again */
    if (result->nlocked)
        t->careful_until_us = monotonic_us + CAREFUL_US;
}

static enum err note_culprit(struct engine_thread *t, struct halving *h, const struct timer *timer,
                             enum err why)
{
    if (h->n == CULPRITS_MAX) {
        put_back(t, timer, 1);
        return why;
    }
    h->culprits[h->n] = *timer;
    h->why[h->n++] = why;
    return h->n >= NOBODY_MIN && t->fired == h->fired_before ? why : ERR_OK;
}

/* Fires a batch; on poison halves it until the culprits stand alone. */
static enum err fire(struct engine_thread *t, struct halving *h, struct timer *timers, size_t n)
{
    struct fire_result result;

    enum err e = fire_batch(h->c, timers, n, &result);
    if (e == ERR_OK) {
        take_result(t, &result, timers, n);
        return ERR_OK;
    }
    if (is_passing(e)) {
        put_back(t, timers, n);
        return e;
    }
    if (e == ERR_CANCELED) { /* not ours any more: see what is */
        t->generation = UINT64_MAX;
        bell_ring(&t->engine->lease_bell);
        return e;
    }
    if (n == 1)
        return note_culprit(t, h, timers, e);
    e = fire(t, h, timers, n / 2);
    if (e) {
        put_back(t, timers + n / 2, n - n / 2);
        return e;
    }
    return fire(t, h, timers + n / 2, n - n / 2);
}

static enum err park(struct engine_thread *t, struct fire_context *c, const struct timer *timer,
                     enum err why)
{
    char id[ID_TEXT_MAX];
    enum err e = fire_park(c, timer, err_name(why));

    if (e)
        return e;
    aside_forget(&t->aside, timer);
    log_error("timer.parked", "a timer could not be fired and was taken out", "obligation",
              id_text(timer->obligation, id), "err", err_name(why), NULL);
    return ERR_OK;
}

/* Sets those aside that could not be fired; parks what has failed often enough by its own fault. */
static enum err judge_culprits(struct engine_thread *t, struct halving *h)
{
    enum err e = ERR_OK;

    if (h->n > 1 && t->fired == h->fired_before) {
        put_back(t, h->culprits, h->n);
        return h->why[0];
    }
    for (size_t i = 0; i < h->n && !e; i++) {
        const struct timer *timer = &h->culprits[i];
        bool counts = h->why[i] != ERR_RESOURCE_EXHAUSTED;
        int tries = aside_put_failed(&t->aside, timer, h->fired_before, t->fired, counts,
                                     clock_monotonic_us());
        if (tries >= ASIDE_TRIES_MAX)
            e = park(t, h->c, timer, h->why[i]);
        else if (tries < 0)
            e = h->why[i]; /* no room: it is read again after a pause */
    }
    return e;
}

static enum err fire_due(struct engine_thread *t, const struct directory *dir, int64_t now_us,
                         int64_t monotonic_us, size_t *fired_out)
{
    size_t n = schedule_take(t->schedule, now_us, t->batch, FIRE_BATCH_MAX);

    *fired_out = n;
    if (n == 0)
        return ERR_OK;
    struct fire_context c = {
        .db = t->db,
        .arena = t->arena,
        .leases = t->engine->leases,
        .dir = dir,
        .now_us = now_us,
        .late_before_us = late_before(t),
        .deadline_us = monotonic_us + CALL_LIMIT_US,
        .careful = monotonic_us < t->careful_until_us,
    };
    struct halving h = { .c = &c, .fired_before = t->fired };
    enum err e = fire(t, &h, t->batch, n);
    enum err judged = judge_culprits(t, &h);
    return e ? e : judged;
}

/* --- the loop -------------------------------------------------------------------------------- */

static int64_t time_to_sleep(struct engine_thread *t, int64_t monotonic_us)
{
    int64_t wait_us = t->shards ? MAX(0, t->looked_us + LOOK_US - monotonic_us) : LOOK_US;
    int64_t next_us = schedule_next_us(t->schedule);

    if (schedule_ready(t->schedule))
        return 0;
    if (next_us != INT64_MAX)
        wait_us = MIN(wait_us, clock_until_us(next_us));
    if (t->aside.n)
        wait_us = MIN(wait_us, MAX(0, aside_next_us(&t->aside) - monotonic_us));
    if (t->floor_us != INT64_MIN) /* something is to be heard */
        wait_us = MIN(wait_us, IDLE_US);
    if (clock_is_steered())
        wait_us = MIN(wait_us, STEERED_LOOK_US);
    /* A fast clock: look again when half of the horizon is used up. */
    return MIN(wait_us,
               MAX(LOOK_MIN_US, clock_until_us(t->horizon_end_us - engine_horizon_us() / 2)));
}

/* idle_out: nothing may be fired now, whatever is due. */
static enum err turn(struct engine_thread *t, size_t *fired_out, bool *idle_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    int64_t now_us = clock_now_us(), monotonic_us = clock_monotonic_us();
    enum err e = ERR_OK;

    *fired_out = 0;
    note_turn(t, now_us, monotonic_us);
    take_shards(t, now_us);
    take_offers(t);
    take_back_aside(t, monotonic_us);
    *idle_out = !may_fire(t, monotonic_us) || !dir;
    if (*idle_out)
        return ERR_OK;
    if (must_look(t, now_us, monotonic_us))
        e = look(t, now_us, monotonic_us);
    if (!e)
        atomic_store(&t->settled, t->generation);
    return e ? e : fire_due(t, dir, now_us, monotonic_us, fired_out);
}

static void tell_others(struct engine_thread *t, const struct engine_host *host)
{
    if (host->wake)
        host->wake(host->arg, BUS_WAKE_RELAY, NULL, 0);
    if (host->posted && t->posted)
        host->posted(host->arg);
    t->posted = false;
}

void engine_run(struct engine *e, int index, const struct engine_host *host)
{
    struct engine_thread *t = &e->threads[index];

    while (!host->stopping(host->arg)) {
        size_t fired;
        bool idle;
        enum err err = turn(t, &fired, &idle);
        if (fired && !err) {
            tell_others(t, host);
            t->retry_us = 0;
            continue;
        }
        if (!err) {
            t->retry_us = 0;
            bell_wait(&t->bell, idle ? IDLE_US : time_to_sleep(t, clock_monotonic_us()));
            continue;
        }
        /* A lost deadlock is tried again at once, all else after a growing pause. */
        t->retry_us = err == ERR_ABORTED && !t->retry_us
                          ? MSEC_US
                          : MIN(RETRY_MAX_US, MAX(RETRY_US, 2 * t->retry_us));
        log_warn("timers.failed", "timers could not be read or fired; trying again", "err",
                 err_name(err), NULL);
        bell_wait(&t->bell, t->retry_us);
    }
}

/* --- leases ---------------------------------------------------------------------------------- */

void engine_run_leases(struct engine *e, const struct engine_host *host)
{
    char name[LEASE_NAME_MAX];
    struct db *db =
        db_new(e->config.conninfo, lease_session_name("leases", e->config.instance, name));
    uint64_t seen = 0;

    assert(db);
    while (!host->stopping(host->arg)) {
        enum err err =
            leases_tick(e->leases, db, clock_monotonic_us() + LEASE_TTL_MS / 2 * MSEC_US);
        if (err)
            log_warn("lease.tick_failed", "leases could not be renewed", "err", err_name(err),
                     NULL);
        if (leases_generation(e->leases) != seen) {
            seen = leases_generation(e->leases);
            for (int i = 0; i < ENGINE_THREADS; i++)
                bell_ring(&e->threads[i].bell);
        }
        bell_wait(&e->lease_bell, LEASE_TICK_US);
    }
    leases_leave(e->leases, db);
    db_free(db);
}
