/*
 * aside.h - timers that a thread set aside for a moment, so that they hold up no other: their duty
 * is locked by somebody, or they could not be fired.
 *
 * A fault counts as the timer's own only once others have been fired beside it: when nothing can be
 * fired (a permission is gone, a column), it is nobody's fault and nothing may be parked. Bounded,
 * and only memory: what is forgotten stands in the table and is read again. Pure; one thread.
 */
#ifndef DAYBOOK_REMINDERS_ASIDE_H
#define DAYBOOK_REMINDERS_ASIDE_H

#include "services/reminders/schedule.h"

#define ASIDE_MAX 256
#define ASIDE_LOCKED_US (1500 * MSEC_US)
#define ASIDE_TRIES_MAX 5 /* after 0, 1, 3, 7 and 15 seconds */

struct aside_entry {
    struct timer timer;
    int64_t until_us; /* monotonic; 0 = it is being tried */
    uint64_t fired;   /* what the thread had fired by then */
    int tries;        /* that counted */
};

struct aside { /* zeroed to begin with */
    size_t n;
    struct aside_entry entries[ASIDE_MAX];
};

/* Whether it waits here. */
bool aside_has(const struct aside *a, const struct timer *t);

/* Its duty is locked. False: no room. */
bool aside_put_locked(struct aside *a, const struct timer *t, int64_t now_us);

/*
 * It could not be fired, while the thread had fired `before` batches when that began and `fired` by
 * now. counts: false for what cannot be its fault. Returns how many tries counted so far, -1: no
 * room.
 */
int aside_put_failed(struct aside *a, const struct timer *t, uint64_t before, uint64_t fired,
                     bool counts, int64_t now_us);

/* Those whose time has come, up to max; they are remembered until aside_forget(). */
size_t aside_take(struct aside *a, int64_t now_us, struct timer *out, size_t max);
int64_t aside_next_us(const struct aside *a); /* INT64_MAX: none waits */

/* It was fired, parked, or is not ours any more. */
void aside_forget(struct aside *a, const struct timer *t);

#endif
