/*
 * lease.h - which parts of a work that replicas divide are this one's: shards of timers, lanes of
 * delivery (timers.md, F04, F08).
 *
 * One row a lease, in the tables shard_lease and member of the daemon's schema: {owner, version, expires_at}. A tick every half second renews what we hold and
 * commits that; then takes what is free and ours by the spread, and gives back what belongs to
 * another. A row that is over but still locked by its owner's session (frozen in the middle of a
 * firing, F08) is not waited for: the session is ended, and the next tick takes it. Expiry is
 * judged by the database's clock only, never by a host's or the domain's. A lease ends 4 s after
 * its last renewal, so another replica fires a dead one's timers within 5 s.
 *
 * Whoever acts under a lease proves it within his transaction (sql/lease_fence.sql): the version must
 * still be his, and the row lock holds off a change of owner until he has committed. So a replica
 * that slept through its lease does nothing, whatever it believes.
 */
#ifndef DAYBOOK_COMMON_LEASE_H
#define DAYBOOK_COMMON_LEASE_H

#include "common/db.h"

#define LEASE_TTL_MS 4000
#define LEASE_TICK_US (500 * MSEC_US)

#define MEMBERS_MAX 64
#define LEASES_MAX 128

/* The leases of a daemon: 0 to counts[0] - 1, then counts[1] more. Each kind is spread by itself, so
 * that everybody has his share of both. Static. */
struct lease_plan {
    const char *schema; /* sessions are named daybook-<schema>/... */
    int counts[2];
};

/*
 * The spread: owner_out[i] is the index of the member that should own lease i. Rendezvous hashing,
 * so that a change of members moves few leases, with an even share as bound. Every replica computes
 * the same from the same names. Pure. n of 1 to MEMBERS_MAX.
 */
void lease_spread(const struct lease_plan *plan, const char *const *members, size_t n,
                  int owner_out[static LEASES_MAX]);

struct leases;

/* wall_us: the clock that decides what is due; acting is refused while it is more than 5 s apart
 * from the database's (F40, F41). NULL: it has nothing to do with the wall clock
 * (clock_is_steered()). */
struct leases *leases_new(const struct lease_plan *plan, const char *instance,
                          int64_t (*wall_us)(void));
void leases_free(struct leases *l);

/* The name that a session which proves leases bears, so that others can end it. thread: at most 8
 * letters. */
#define LEASE_NAME_MAX 64 /* PostgreSQL keeps 63 characters of it */
char *lease_session_name(const struct lease_plan *plan, const char *thread, const char *instance,
                         char out[static LEASE_NAME_MAX]);

/* One renewal. On failure leases stay as they were until they must have expired. */
NODISCARD enum err leases_tick(struct leases *l, struct db *db, int64_t deadline_us);
/* Gives all back; for an orderly stop. */
void leases_leave(struct leases *l, struct db *db);

/* The rest may be asked by any thread. */

/* Rises when anything below changed. */
uint64_t leases_generation(struct leases *l);
/* False: not held. */
bool leases_held(struct leases *l, int lease, int64_t *version_out);
/* Which of the first 64 are held, as bits. */
uint64_t leases_mask(struct leases *l);
const char *leases_instance(const struct leases *l);

/*
 * Queues the proof that those leases (n, rising) are held, for the transaction of db. The call that
 * sends it fails with ERR_CANCELED when one is not, so does this one when it is known already; and
 * with ERR_UNAVAILABLE when the clocks are too far apart. Comes with a limit of 2 s for each wait
 * between two round trips of the transaction.
 */
NODISCARD enum err leases_queue_fence(struct leases *l, struct db *db, const int *list, size_t n);

#endif
