/*
 * consumer.h - events in: each event takes effect exactly once, whatever is lost, repeated or
 * restarted on the way.
 *
 * A consumer is a thread of a daemon with its own database connection and SUB socket. It hears all
 * events, keeps a durable cursor (log_id, seq, event_id) in its daemon's schema, and reads what it
 * missed from EventService. Events are taken in batches (up to 500, whatever has arrived); effects
 * and cursor commit in one transaction, under the lock of the cursor row, so that of several
 * replicas one at a time makes progress and none repeats another's work.
 *
 * A reaction that fails for good (not ERR_UNAVAILABLE, ERR_ABORTED, ERR_DEADLINE_EXCEEDED) makes
 * the batch be run again event by event; the event at fault is tried 5 times with backoff, then
 * parked with its reason in <schema>.parked_event, and so are later events of the same aggregate,
 * in order, until `daybook events replay` puts them back. One that fails of what may pass while the
 * database answers is tried for five minutes, however often that is. Another log_id stops the
 * consumer until the event at its cursor is found again in the log (protocols F.3).
 *
 * Rebuild: `daybook rebuild <daemon>` empties the tables that the daemon names and sets the cursor
 * to 0, with replay_until = what was heard so far. Up to there only reactions with REACTION_REPLAY
 * run, and what they emit is dropped; from there on they are live as ever.
 */
#ifndef DAYBOOK_COMMON_CONSUMER_H
#define DAYBOOK_COMMON_CONSUMER_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/base.h"
#include "common/db.h"
#include "common/directory.h"
#include "common/err.h"
#include "daybook/bus/v1/bus.pb-c.h"

typedef Daybook__Bus__V1__Event PbEvent;

/* What a reaction works with; one a batch. */
struct reaction {
    struct db *db;       /* inside the transaction; tenant is set to the event's */
    struct arena *arena; /* until the batch ends */
    const struct directory *dir;
    struct id tenant;
    int64_t now_us; /* domain time of the batch; use the event's own time for figures */
    bool replaying; /* this event is part of a rebuild */
    void *daemon_data;
    void *batch;                  /* the daemon's own, from batch_begin */
    struct reaction_state *state; /* private */
};

/* Queues an event of the daemon's own (dropped while replaying). Same rules as call_emit(). */
NODISCARD enum err reaction_emit(struct reaction *r, const char *collection, const char *id,
                                 int64_t version, const ProtobufCMessage *event);
/* Wakes a channel after the commit (dropped while replaying). */
void reaction_wake(struct reaction *r, const char *channel, const void *data, size_t len);
/* After a successful commit. At most 1 024 a batch; the same fn and arg once. */
void reaction_after_commit(struct reaction *r, void (*fn)(void *daemon_data, void *arg), void *arg);

enum reaction_flags {
    REACTION_LIVE = 1,
    REACTION_REPLAY = 2, /* writes read-model tables only */
    /* Is called with data NULL: what it wants of event->data it unpacks itself. So it can take events
     * of types that this program does not know. */
    REACTION_ENVELOPE = 4,
};

/* event: envelope; data: its message, unpacked; both in the batch's arena. */
typedef enum err reaction_fn(struct reaction *r, const PbEvent *event,
                             const ProtobufCMessage *data);

#define REACTION_EVERY_TYPE "*" /* the only one of its consumer then */

struct reaction_def {
    const char *type; /* full event type, or REACTION_EVERY_TYPE */
    reaction_fn *fn;
    int flags;
};

struct consumer_def {
    const char *name; /* "reminders" */
    const char *schema;
    const struct reaction_def *reactions;
    size_t nreactions;
    /* Optional: called when a batch begins and before it commits, once per tenant run of events
     * (to write collected rows by one statement). */
    enum err (*batch_begin)(struct reaction *r);
    enum err (*batch_end)(struct reaction *r);
    /* Tables that a rebuild empties, in an order that foreign keys allow; ended by NULL. */
    const char *const *read_model_tables;
};

/* --- running one ------------------------------------------------------------------------------ */

struct bus_address;

/* What the daemon lends; must outlive the consumer. The functions are called in its thread. */
struct consumer_env {
    const char *conninfo;
    const char *application_name;
    void *zmq_context;
    const struct bus_address *bus;
    size_t arena_bytes; /* for the work of one batch; 0 = 64 MiB, and never less than 16 MiB */
    void *daemon_data;
    bool (*stopping)(void *arg);
    /* After a commit: a channel, or "relay" (mdp.h) when events were emitted. */
    void (*wake)(void *arg, const char *channel, const void *data, size_t len);
    void *arg;
    bool no_directory;   /* else nothing is heard before the first snapshot is loaded */
    int64_t patience_us; /* with an event that is set aside and fails of what may pass; 0 = 5 min */
};

struct consumer;

/* NULL: no memory, or a malformed address. def must outlive it. */
struct consumer *consumer_new(const struct consumer_def *def, const struct consumer_env *env);
/* Hears events until env->stopping() is true. Once; blocks. */
void consumer_run(struct consumer *c);
void consumer_free(struct consumer *c); /* NULL is allowed */

/*
 * For readiness and status, from any thread. Ready: it reaches database and bus and agrees with
 * the log's incarnation; being behind does not make it unready. reason_out (static): why not.
 */
bool consumer_ready(const struct consumer *c, const char **reason_out);
/* Newest known seq of the log less the consumer's own; -1 before the log was asked. */
int64_t consumer_lag(const struct consumer *c);
int64_t consumer_seq(const struct consumer *c);

#endif
