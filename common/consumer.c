/*
 * consumer.c - the loop: agree with the log, catch up by reading, then listen.
 *
 * It subscribes before it asks for the head, so what is published in between is seen as a gap at
 * the latest with the next head message. Once a second it writes its position, looks at what others
 * did to the cursor (another replica, a rebuild) and tries parked events that were put back.
 */
#include "common/consumer_internal.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

#define ARENA_MIN (16 * MIB)
#define ARENA_DEFAULT (64 * MIB)
#define FEED_BUDGET (128 * MIB)  /* the worst that unpacking one answer of the bus may cost */
#define SLICE_US (100 * MSEC_US) /* how soon it notices that it is to stop */
#define PAUSE_BASE_US (50 * MSEC_US)
#define PAUSE_CAP_US (2 * SECOND_US)
#define PAUSE_STEPS 6
#define SILENCE_US (3 * SECOND_US) /* without a word from the bus: the log is asked */
#define DEAF_US (10 * SECOND_US)   /* and then it is said */

static struct metric lag_events = {
    .name = "daybook_consumer_lag_events",
    .type = METRIC_GAUGE,
    .help = "Events of the log that a consumer has not heard yet.",
    .labels = { "consumer" },
};

static struct metric lag_seconds = {
    .name = "daybook_consumer_lag_seconds",
    .type = METRIC_GAUGE,
    .help = "For how long a consumer has not been abreast of the log.",
    .labels = { "consumer" },
};

struct consumer *consumer_new(const struct consumer_def *def, const struct consumer_env *env)
{
    struct consumer *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->def = def;
    c->env = *env;
    c->head_seq = -1;
    c->read_limit = CONSUMER_BATCH_MAX;
    c->noted_seq = -1;
    c->stuck_seq = -1;
    c->most = CONSUMER_BATCH_MAX;
    c->abreast_us = clock_monotonic_us();
    atomic_init(&c->reason, "starting");
    atomic_init(&c->seen_head, -1);
    c->db = db_new(env->conninfo, env->application_name);
    c->feed = arena_new(FEED_BUDGET);
    c->work = arena_new(env->arena_bytes ? MAX(env->arena_bytes, ARENA_MIN) : ARENA_DEFAULT);
    if (c->db && c->feed && c->work && consumer_feed_open(c)) {
        /* Effects and cursor stand or fall together: what a crash takes back is read again. */
        db_set_relaxed(c->db, true);
        return c;
    }
    consumer_free(c);
    return NULL;
}

void consumer_free(struct consumer *c)
{
    if (c == NULL)
        return;
    consumer_feed_close(c);
    db_free(c->db);
    arena_free(c->feed);
    arena_free(c->work);
    free(c);
}

/* --- what the others of this program see --- */

void consumer_say_ready(struct consumer *c, const char *reason_if_not)
{
    atomic_store(&c->reason, reason_if_not ? reason_if_not : "");
    atomic_store(&c->ready, reason_if_not == NULL);
}

bool consumer_ready(const struct consumer *c, const char **reason_out)
{
    *reason_out = atomic_load(&c->reason);
    return atomic_load(&c->ready);
}

int64_t consumer_lag(const struct consumer *c)
{
    int64_t head = atomic_load(&c->seen_head), seq = atomic_load(&c->seen_seq);
    return head < 0 ? -1 : MAX(head - seq, 0);
}

int64_t consumer_seq(const struct consumer *c)
{
    return atomic_load(&c->seen_seq);
}

void consumer_tell_progress(struct consumer *c)
{
    const char *labels[] = { c->def->name };
    int64_t now_us = clock_monotonic_us();

    atomic_store(&c->seen_seq, c->pos);
    atomic_store(&c->seen_head, c->head_seq);
    if (c->agreed && c->pos >= c->head_seq)
        c->abreast_us = now_us;
    metric_set(&lag_events, (double)MAX(c->head_seq - c->pos, 0), labels);
    metric_set(&lag_seconds, (double)(now_us - c->abreast_us) / SECOND_US, labels);
}

/* --- resting --- */

bool consumer_stopping(const struct consumer *c)
{
    return c->env.stopping && c->env.stopping(c->env.arg);
}

void consumer_rest(const struct consumer *c, int64_t us)
{
    int64_t until_us = clock_monotonic_us() + us;

    for (;;) {
        int64_t left_us = MIN(until_us - clock_monotonic_us(), SLICE_US);
        if (left_us <= 0 || consumer_stopping(c))
            return;
        struct timespec t = { .tv_sec = left_us / SECOND_US,
                              .tv_nsec = left_us % SECOND_US * 1000 };
        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    }
}

void consumer_pause(struct consumer *c)
{
    unsigned steps = MIN(c->failures, PAUSE_STEPS);

    c->failures++;
    consumer_rest(c, randombytes_uniform((uint32_t)MIN(PAUSE_BASE_US << steps, PAUSE_CAP_US)));
}

bool consumer_is_transient(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_ABORTED || e == ERR_DEADLINE_EXCEEDED;
}

/* --- the loop --- */

static bool has_directory(const struct consumer *c)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    return dir || c->env.no_directory;
}

static const char *halt_reason(const struct consumer *c)
{
    return c->halt == CONSUMER_LOG_REWOUND ? "log_rewound" : "log_truncated";
}

/* False: the database did not answer. */
static bool tick(struct consumer *c)
{
    c->next_tick_us = clock_monotonic_us() + CONSUMER_TICK_US;
    if (consumer_save(c) || consumer_load(c))
        return false;
    if (c->cursor.has_parked && !c->halt)
        consumer_replay_parked(c);
    if (c->halt == CONSUMER_LOG_REWOUND)
        c->agreed = false; /* ask again: the log may have been mended */
    return true;
}

/*
 * The bus answers but is not heard: it may have refused the subscription when it did not know our
 * key yet, and refused is refused until the connection ends.
 */
static void subscribe_anew(struct consumer *c)
{
    int64_t now_us = clock_monotonic_us();

    if (now_us < c->reopen_at_us)
        return;
    c->reopen_at_us = now_us + DEAF_US;
    bool ok = consumer_feed_reopen(c);
    log_warn("consumer.deaf", "nothing comes by BUS_EVENTS: it is subscribed anew", "consumer",
             c->def->name, "ok", ok ? "yes" : "no", NULL);
}

static bool agree(struct consumer *c)
{
    enum err e = consumer_agree(c);

    if (e) {
        consumer_say_ready(c, "bus");
        consumer_pause(c);
        return false;
    }
    if (c->halt)
        return false;
    c->failures = 0;
    c->deaf = c->silent_us > DEAF_US;
    if (c->deaf)
        subscribe_anew(c);
    consumer_say_ready(c, c->deaf ? "events" : NULL);
    return true;
}

/*
 * A head comes each second. When nothing does (a wrong address, a wall in between, a subscription
 * that was not admitted) the log is asked instead, and read: slower, but nothing is missed.
 */
static void notice_silence(struct consumer *c)
{
    int64_t now_us = clock_monotonic_us();

    if (c->silent_us < SILENCE_US || now_us < c->ask_at_us)
        return;
    c->ask_at_us = now_us + CONSUMER_TICK_US;
    c->agreed = false;
}

static void gather_and_apply(struct consumer *c)
{
    int64_t left_us = c->next_tick_us - clock_monotonic_us();

    if (!c->behind) {
        consumer_listen(c, MIN(left_us, SLICE_US));
    } else if (consumer_read(c)) {
        consumer_pause(c);
        return;
    }
    bool heard = c->batch.upto > c->pos;
    if (heard)
        consumer_apply(c);
    else if (c->pos > c->cursor.seq) /* quiet after what was nothing to us: note how far we are */
        c->next_tick_us = clock_monotonic_us();
    consumer_tell_progress(c);
}

static void turn(struct consumer *c)
{
    if (!has_directory(c)) {
        consumer_say_ready(c, "directory");
        consumer_rest(c, SLICE_US);
        return;
    }
    if (clock_monotonic_us() >= c->next_tick_us && !tick(c)) {
        consumer_say_ready(c, "database");
        consumer_pause(c);
        c->agreed = false; /* becomes ready again when both have answered */
        return;
    }
    if (!c->loaded)
        return;
    notice_silence(c);
    bool halted = c->halt != CONSUMER_GOES;
    if (!c->agreed && !(halted && c->halt == CONSUMER_LOG_TRUNCATED) && !agree(c) && !c->halt)
        return;
    if (c->halt) {
        consumer_say_ready(c, halt_reason(c));
        consumer_rest(c, MIN(c->next_tick_us - clock_monotonic_us(), SLICE_US));
        return;
    }
    gather_and_apply(c);
}

void consumer_run(struct consumer *c)
{
    consumer_show_counters(c);
    while (!consumer_stopping(c))
        turn(c);
    /* What was heard and is nothing to us need not be heard again. */
    if (c->loaded && consumer_save(c))
        log_info("consumer.not_saved", "the position will be found again at the next start",
                 "consumer", c->def->name, NULL);
}
