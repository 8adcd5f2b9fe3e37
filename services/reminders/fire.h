/*
 * fire.h - fires one batch of due timers: one transaction, two round trips.
 *
 *   1  prove the leases; lock, advance and return the duties that still wait for exactly this timer
 *      (closed, snoozed and recalculated ones do not, so whoever lost that race is skipped)
 *   2  ledger, events; commit
 *
 * The daily lists need no word of it: that a duty is overdue shows by the clock (task_list.c).
 *
 * Sending is not here: the ledger is what delivery.h works from, so a slow receiver delays no
 * timer.
 */
#ifndef DAYBOOK_REMINDERS_FIRE_H
#define DAYBOOK_REMINDERS_FIRE_H

#include "common/directory.h"
#include "common/lease.h"
#include "services/reminders/reminders.h"
#include "services/reminders/schedule.h"

#define FIRE_BATCH_MAX 1000

struct fire_context {
    struct db *db;
    struct arena *arena; /* reset by each batch */
    struct leases *leases;
    const struct directory *dir;
    int64_t now_us;
    /* Timers due up to here are late: somebody could have fired them seconds ago. */
    int64_t late_before_us;
    int64_t deadline_us;
    /* Leaves out duties that somebody holds, for a round trip more. Else that is done only after
     * waiting for one of them for a tenth of a second. */
    bool careful;
};

/* What became of a batch. */
struct fire_result {
    size_t fired;
    size_t stale;       /* nothing was waiting for that timer any more */
    struct timer *next; /* timers that follow the fired ones; arena */
    size_t nnext;
    struct timer *locked; /* not fired, since somebody holds their duties; arena */
    size_t nlocked;
    bool posted; /* notices may wait to be posted now */
};

/*
 * Fires n (at most FIRE_BATCH_MAX) timers, whose order in the array it changes.
 *
 * ERR_CANCELED  a lease is not ours any more: nothing was done
 * ERR_UNAVAILABLE, ERR_ABORTED, ERR_DEADLINE_EXCEEDED  try again; firing a timer that did commit is
 *                          harmless
 * anything else            there is poison in the batch
 */
NODISCARD enum err fire_batch(struct fire_context *c, struct timer *timers, size_t n,
                              struct fire_result *result_out);

/* Takes one timer out of the table, under its lease, with the reason. */
NODISCARD enum err fire_park(struct fire_context *c, const struct timer *timer, const char *reason);

/* A moment in the words of notices, local. */
#define FIRE_LOCAL_MAX 40
void fire_local_text(const struct tz *tz, int64_t us, char out[static FIRE_LOCAL_MAX]);

extern struct metric fire_total;    /* by rule and outcome */
extern struct metric fire_steps;    /* by kind of step */
extern struct metric fire_lateness; /* by rule */

#endif
