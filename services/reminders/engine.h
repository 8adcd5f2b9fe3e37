/*
 * engine.h - fires timers when they are due: exactly once, in order, whatever dies meanwhile.
 *
 * A thread owns the timers of the shards that its replica holds by lease (lease.h). Once a second
 * it has read ahead what falls due within the horizon (look.h, reader.h), holds that in memory
 * (schedule.h) and sleeps until the next one; what is due beyond the horizon costs nothing. A timer
 * armed for within the horizon is offered to it after the commit; should that be lost, a look back
 * over the last minute, also once a second, finds it, or one over all that is due, twice a minute.
 *
 * What is due is fired in batches of one transaction and two round trips (fire.h). Between commit
 * and crash there is nothing to lose: memory is only a copy of the table. What cannot be fired is
 * set aside (aside.h) and, when it is the timer's own fault, parked. Nothing fires while this
 * host's clock is not to be believed, nor before what closes duties has been heard (hearing.h).
 */
#ifndef DAYBOOK_REMINDERS_ENGINE_H
#define DAYBOOK_REMINDERS_ENGINE_H

#include "common/lease.h"
#include "services/reminders/reminders.h"
#include "services/reminders/schedule.h"

#define ENGINE_THREADS 2

struct engine;

struct engine_config {
    const char *conninfo; /* borrowed for the life of the engine */
    const char *instance;
    /* False: the clock is not to be believed, fire nothing (F41). NULL: always true. */
    bool (*trusted)(void *arg);
    /* How far the log of events was heard, and how far it goes; false: not known. NULL: nothing
     * that closes duties is heard from a log. */
    bool (*heard)(void *arg, int64_t *seq_out, int64_t *head_out);
    void *arg;
};

struct engine *engine_new(const struct engine_config *config);
void engine_free(struct engine *e);
struct leases *engine_leases(struct engine *e);

/* What a thread of the engine needs from the process around it. */
struct engine_host {
    bool (*stopping)(void *arg);
    /* Wakes a channel of the bus; NULL: there is none. */
    void (*wake)(void *arg, const char *channel, const void *data, size_t len);
    /* Told after notices were written that are to be posted; NULL: nobody cares. */
    void (*posted)(void *arg);
    void *arg;
};

/* Bodies of threads; they return when the host is stopping. index: 0 to ENGINE_THREADS - 1. */
void engine_run(struct engine *e, int index, const struct engine_host *host);
/* Looks into the table for the threads above. */
void engine_run_reader(struct engine *e, const struct engine_host *host);
/* Renews the leases, gives them back at the end. */
void engine_run_leases(struct engine *e, const struct engine_host *host);

/* Offers timers that were committed. Those of other owners or far away are ignored. Thread-safe. */
void engine_offer(struct engine *e, const struct timer *timers, size_t n);
/* Wakes all threads of the engine, e.g. to see that the host is stopping or a clock was turned. */
void engine_ring(struct engine *e);

/* Whether leases were spread and every thread has looked at the shards that it holds since then.
 * Thread-safe. */
bool engine_is_settled(struct engine *e);

/* Timers as bytes of a wake message, and back (n at most max; 0 for bytes that are not ours). */
#define ENGINE_PACKED_SIZE 44
size_t engine_pack(const struct timer *timers, size_t n, uint8_t *out);
size_t engine_unpack(const void *data, size_t len, struct timer *out, size_t max);

#endif
