/*
 * task_list.h - the daily list of a person: built from duties and visits, cached in Redis, and
 * never wrong for more than a second (REM-14, F27 to F31).
 *
 * PostgreSQL holds a version for each person, raised in the transaction of everything that touches
 * the person's lists. A cached list carries the version it was built from. Whoever serves a cached
 * list has compared the two within the last second, so a lost invalidation, a slow writer, a crash
 * between commit and cache write or an old value that comes back all end there. To make that rarely
 * necessary, the process that changed lists forgets what it knew, and its refresher builds them
 * anew ahead of their readers: each at most once a second, companies taking turns, so many a
 * second. What waits for that stands in memory only: what a crash or a collision loses, the next
 * reader builds.
 *
 * A cached value is "DTL1", tenant, employee, day, the packed list, and a BLAKE2b of all that: what
 * is cut, altered, foreign or of another kind is deleted and built anew, never shown (F30).
 */
#ifndef DAYBOOK_REMINDERS_TASK_LIST_H
#define DAYBOOK_REMINDERS_TASK_LIST_H

#include "common/cache.h"
#include "common/db.h"
#include "common/directory.h"
#include "common/tz.h"
#include "services/reminders/bell.h"
#include "services/reminders/reminders.h"

struct task_lists; /* what a process knows of versions; shared by its threads */

/* ahead: a refresher builds lists into a cache; else none waits for that. */
struct task_lists *task_lists_new(bool ahead);
void task_lists_free(struct task_lists *t);

/* The person's lists changed (after the commit): forgets their version and, with a refresher, lets
 * today's wait to be built. Thread-safe. */
void task_lists_forget(struct task_lists *t, struct id tenant, struct id employee);
/* Wakes the refresher. */
void task_lists_ring(struct task_lists *t);

struct list_key {
    struct id tenant;
    struct id employee;
    struct date day;
};

/* "{<tenant>}:tasks:<employee>:<day>"; the braces keep a tenant's keys on one Redis node. */
#define LIST_KEY_MAX 120
char *list_key_text(const struct list_key *key, char out[static LIST_KEY_MAX]);

/* Pure: a list as bytes of the cache, and back. ERR_DATA_LOSS: not that list. */
NODISCARD enum err list_encode(const struct list_key *key, const PbDailyTaskList *list,
                               struct arena *a, uint8_t **data_out, size_t *len_out);
NODISCARD enum err list_decode(const struct list_key *key, int64_t version, const uint8_t *data,
                               size_t len, struct arena *a, PbDailyTaskList **list_out);

/* Builds it from the tables, in the caller's transaction. now_us: domain. */
NODISCARD enum err list_build(struct db *db, const struct list_key *key, const struct tz *tz,
                              int64_t now_us, struct arena *a, PbDailyTaskList **list_out);

/*
 * Gives the list from the cache where that is known to be right, else from the tables (and then
 * caches it). While the cache is away, lists of the last two seconds are in memory, on the same
 * terms, and of many who miss one at once one builds it; the others wait for him, at most until
 * deadline_us (monotonic). cache: NULL = none.
 */
NODISCARD enum err list_get(struct task_lists *t, struct db *db, struct cache *cache,
                            const struct list_key *key, const struct tz *tz, int64_t now_us,
                            int64_t deadline_us, struct arena *a, PbDailyTaskList **list_out,
                            Daybook__Reminders__V1__ListSource *source_out);

/* Queues the rise of versions of n people; distinct ids. For the end of a transaction: the rows are
 * hot, and held until the commit. */
NODISCARD enum err lists_queue_bump(struct db *db, struct id tenant, struct id *employees,
                                    size_t n);

/*
 * One pass of the refresher: builds today's list of up to `max` people whose lists changed in this
 * process. Returns how many were done; what the cache does not take stays to be done.
 */
size_t lists_refresh(struct task_lists *t, struct db *db, struct cache *cache,
                     const struct directory *dir, size_t max);

/* Sleeps until rung, at most wait_us. */
void task_lists_wait(struct task_lists *t, int64_t wait_us);

#endif
