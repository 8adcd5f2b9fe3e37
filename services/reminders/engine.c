/*
 * engine.c - the threads of the engine: leases, offers, firing, sleeping.
 */
#include "services/reminders/engine.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "services/reminders/bell.h"
#include "services/reminders/aside.h"
#include "services/reminders/fire.h"
#include "services/reminders/hearing.h"
#include "services/reminders/lateness.h"
#include "services/reminders/look.h"

#define STEERED_LOOK_US (10 * MSEC_US) /* a turned clock is seen after this (clock.h) */
#define OFFERS_MAX 65536
#define CALL_LIMIT_US (5 * SECOND_US)
#define BATCH_ARENA (96 * MIB)
#define CAREFUL_US (5 * SECOND_US) /* after a duty was found locked */
#define CULPRITS_MAX 32            /* of one halving */
#define NOBODY_MIN 8               /* so many and no success: it is not their fault */
#define STEP_US SECOND_US          /* of the wall clock, worth a line in the log */
#define IDLE_US (100 * MSEC_US)    /* between two looks at whether timers may be fired */
#define RETRY_US (100 * MSEC_US)
#define RETRY_MAX_US (2 * SECOND_US)

static struct metric timers_due = {
    .name = "daybook_timers_due",
    .type = METRIC_GAUGE,
    .help = "Timers that are due and wait to be fired by this replica.",
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
    struct look look;
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
    struct reader *reader;
    char reader_session[LEASE_NAME_MAX];
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
    t->db = db_new(e->config.conninfo,
                   lease_session_name(&reminders_lease_plan, "timers", e->config.instance, name));
    t->arena = arena_new(BATCH_ARENA);
    t->schedule = schedule_new(LOOK_HELD_MAX);
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
    e->leases = leases_new(&reminders_lease_plan, config->instance,
                           clock_is_steered() ? NULL : clock_wall_us);
    bell_init(&e->lease_bell);
    e->reader = reader_new(
        config->conninfo,
        lease_session_name(&reminders_lease_plan, "reader", config->instance, e->reader_session),
        ENGINE_THREADS);
    for (int i = 0; i < ENGINE_THREADS; i++)
        ok = thread_init(&e->threads[i], e, i) && ok;
    if (!ok || !e->leases || !e->reader) {
        engine_free(e);
        return NULL;
    }
    metric_register(&fire_total);
    metric_register(&fire_steps);
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
    reader_free(e->reader);
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
    reader_ring(e->reader);
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
        if (offer->due_us <= t->look.horizon_end_us && !hold(t, offer))
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

    uint64_t mask = 0, held = leases_mask(t->engine->leases);
    for (int i = 0; i < SHARDS; i++)
        if (held >> i & 1 && thread_of(i) == t->index)
            mask |= UINT64_C(1) << i;
    /* A lease that was lost and taken again looks the same here, so everything is read anew: it is
     * a look per shard, and what is in memory already is not doubled. */
    look_reset(&t->look, mask, now_us);
    schedule_keep(t->schedule, mask, t->floor_us);
    t->aside.n = 0;
    t->shards = mask;
    t->generation = generation;
}

/* --- looking into the table ------------------------------------------------------------------- */

static struct look_stock stock_of(const struct engine_thread *t)
{
    return (struct look_stock){
        .held = schedule_size(t->schedule),
        .room = schedule_room(t->schedule),
        .ready = schedule_ready(t->schedule),
    };
}

static bool hold_read(void *arg, const struct timer *timer)
{
    return hold(arg, timer);
}

/* Takes what the look under way brought, and begins the next one when it is time. What is in memory
 * is fired whatever became of it. */
static void look_around(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    CLEANUP(read_answer_fini) struct read_answer answer = { 0 };
    struct reader *reader = t->engine->reader;

    if (reader_take(reader, t->index, &answer)) {
        enum err e = look_take(&t->look, &answer, monotonic_us, hold_read, t);
        if (e)
            log_warn("timers.unread", "timers could not be read; trying again", "err", err_name(e),
                     NULL);
        metric_set(&timers_due, (double)schedule_ready(t->schedule), NULL);
    }
    struct look_stock stock = stock_of(t);
    if (look_wait_us(&t->look, &stock, monotonic_us) == 0) {
        look_ask(&t->look, &stock, t->floor_us, now_us, monotonic_us);
        reader_ask(reader, t->index, &t->look.order, &t->bell);
    }
}

/* --- late, unheard, not to be believed -------------------------------------------------------- */

static int64_t late_before(const struct engine_thread *t)
{
    return lateness_before(&t->lateness, look_horizon_us() / (LOOK_HORIZON_US / LATE_AFTER_US));
}

/* After an outage, or at the start: what is late waits until all has been heard (hearing.h). */
static void doubt(struct engine_thread *t, int64_t grace_us, int64_t monotonic_us)
{
    if (!t->engine->config.heard)
        return;
    hearing_doubt(&t->hearing, grace_us, monotonic_us);
    t->floor_us = MAX(t->floor_us, late_before(t));
    look_restart(&t->look);
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
        look_restart(&t->look);
    }
    return state == HEARING_BEHIND;
}

static void note_turn(struct engine_thread *t, int64_t now_us, int64_t monotonic_us)
{
    bool is_first = t->lateness.nsamples == 0;
    int64_t boottime_us = clock_boottime_us(), offset_us = clock_wall_us() - boottime_us;

    if (lateness_note(&t->lateness, boottime_us, now_us)) {
        look_back_fully(&t->look);
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
            look_back_fully(&t->look); /* they are in the table */
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
        if (result->next[i].due_us <= t->look.horizon_end_us)
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
    look_void(&t->look); /* it may have seen the timer still */
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
    struct look_stock stock = stock_of(t);
    int64_t next_us = schedule_next_us(t->schedule);

    if (stock.ready)
        return 0;
    /* The answer of a look rings the bell. */
    int64_t wait_us = MIN(SECOND_US, look_wait_us(&t->look, &stock, monotonic_us));
    if (next_us != INT64_MAX)
        wait_us = MIN(wait_us, clock_until_us(next_us));
    if (t->aside.n)
        wait_us = MIN(wait_us, MAX(0, aside_next_us(&t->aside) - monotonic_us));
    if (t->floor_us != INT64_MIN) /* something is to be heard */
        wait_us = MIN(wait_us, IDLE_US);
    return clock_is_steered() ? MIN(wait_us, STEERED_LOOK_US) : wait_us;
}

/* idle_out: nothing may be fired now, whatever is due. */
static enum err turn(struct engine_thread *t, size_t *fired_out, bool *idle_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    int64_t now_us = clock_now_us(), monotonic_us = clock_monotonic_us();

    *fired_out = 0;
    note_turn(t, now_us, monotonic_us);
    take_shards(t, now_us);
    take_offers(t);
    take_back_aside(t, monotonic_us);
    *idle_out = !may_fire(t, monotonic_us) || !dir;
    if (*idle_out)
        return ERR_OK;
    look_around(t, now_us, monotonic_us);
    if (look_is_taken(&t->look))
        atomic_store(&t->settled, t->generation);
    return fire_due(t, dir, now_us, monotonic_us, fired_out);
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
        log_warn("timers.failed", "timers could not be fired; trying again", "err", err_name(err),
                 NULL);
        bell_wait(&t->bell, t->retry_us);
    }
}

/* --- the threads beside ---------------------------------------------------------------------- */

void engine_run_reader(struct engine *e, const struct engine_host *host)
{
    reader_run(e->reader, host->stopping, host->arg);
}

void engine_run_leases(struct engine *e, const struct engine_host *host)
{
    char name[LEASE_NAME_MAX];
    struct db *db = db_new(e->config.conninfo, lease_session_name(&reminders_lease_plan, "leases",
                                                                  e->config.instance, name));
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
