/*
 * schedule.h - the timers that one engine thread holds in memory: a heap by due time, and what has
 * become due in queues by tenant, so that one tenant's flood does not delay the others (F39, F52).
 *
 * Bounded: what does not fit stays in the table and is read later. A timer is one moment of one
 * duty: the same (obligation, step, due) is held once. Pure, no clock; one thread.
 */
#ifndef DAYBOOK_REMINDERS_SCHEDULE_H
#define DAYBOOK_REMINDERS_SCHEDULE_H

#include "common/id.h"

struct timer {
    struct id tenant;
    struct id obligation;
    int64_t due_us;
    int16_t step;
    int16_t shard;
};

struct schedule;

struct schedule *schedule_new(size_t max); /* NULL: no memory */
void schedule_free(struct schedule *s);

/* False: full. True also when that timer is held already. */
bool schedule_put(struct schedule *s, const struct timer *t);

size_t schedule_size(const struct schedule *s);
size_t schedule_room(const struct schedule *s);
size_t schedule_ready(const struct schedule *s); /* of these, due and waiting to be taken */

/* Due time of the earliest that is not ready yet; INT64_MAX when there is none. */
int64_t schedule_next_us(const struct schedule *s);

/*
 * Makes ready what is due at now_us and takes up to max of the ready ones: round robin between
 * tenants, in order of due time within each. Returns how many; they are no longer held.
 */
size_t schedule_take(struct schedule *s, int64_t now_us, struct timer *out, size_t max);

/* Forgets every timer whose shard is not in the mask (bit = shard) or that is due before from_us.
 */
void schedule_keep(struct schedule *s, uint64_t shard_mask, int64_t from_us);

#endif
