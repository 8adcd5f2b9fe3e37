/*
 * consumer_internal.h - what the files of the consumer share:
 *
 *   consumer.c         the loop: when to listen, read, apply, rest
 *   consumer_feed.c    events in: SUB socket, EventService
 *   consumer_cursor.c  where we are: the row, other replicas, other incarnations of the log
 *   consumer_batch.c   a batch in its transaction, and what to do when that fails
 *   consumer_park.c    events that cannot be taken, and those that wait behind them
 *   consumer_react.c   one event through its reaction; what reactions may ask for
 */
#ifndef DAYBOOK_COMMON_CONSUMER_INTERNAL_H
#define DAYBOOK_COMMON_CONSUMER_INTERNAL_H

#include <stdatomic.h>

#include "common/bus_client.h"
#include "common/consumer.h"
#include "common/id.h"
#include "common/outbox.h"
#include "common/trace.h"

#define CONSUMER_BATCH_MAX 500
#define CONSUMER_TICK_US SECOND_US
#define CONSUMER_TX_US (20 * SECOND_US)
#define CONSUMER_TRIES_MAX 5
#define CONSUMER_TROUBLES_MAX 64
#define CONSUMER_HOOKS_MAX 1024 /* two for each tenant of a batch */

/* The cursor row. */
struct consumer_cursor {
    bool has_log, has_event;
    struct id log_id;
    int64_t seq;
    struct id event_id; /* of the event at seq */
    int64_t replay_until;
    bool has_parked; /* events wait: blocked aggregates must be looked for */
    int starts;      /* of the process without progress, this one included */
    int64_t trying_seq;
    int tries;
};

/* An event of the batch. */
struct consumer_item {
    const PbEvent *event;
    const struct reaction_def *def; /* NULL: nothing of ours */
    struct id tenant;
    bool done; /* its tenant's run has had it */
};

struct consumer_batch {
    struct consumer_item items[CONSUMER_BATCH_MAX];
    size_t n;
    int64_t upto;         /* seq that is reached when it is done */
    struct id upto_event; /* the event there */
    bool has_upto_event;
};

/* An event that is put aside and fails again and again of what may pass. */
struct consumer_trouble {
    int64_t seq, since_us, last_us; /* last_us 0: none */
};

enum consumer_halt {
    CONSUMER_GOES,
    CONSUMER_LOG_REWOUND,   /* the log is another one at our cursor */
    CONSUMER_LOG_TRUNCATED, /* the log begins behind our cursor */
};

struct consumer {
    const struct consumer_def *def;
    struct consumer_env env;
    struct db *db;
    void *sub;
    struct bus_peers *sub_peers;
    struct bus_client *bus;
    struct arena *feed; /* events of the batch */
    struct arena *work; /* one transaction */

    bool started; /* the row is there and this start is counted */
    bool loaded;  /* cursor is what the row said last */
    struct consumer_cursor cursor;
    bool careful;      /* note each event before it is tried */
    int64_t noted_seq; /* the event that this process has noted */

    /* Heard up to here. Ahead of the cursor by events that are nothing to us. */
    int64_t pos;
    struct id pos_event;
    bool has_pos_event;

    bool agreed;      /* the log is the cursor's */
    bool behind;      /* something was missed: read the log */
    int64_t head_seq; /* newest known; -1 = none */
    int32_t read_limit;
    enum consumer_halt halt;
    struct id halt_log; /* with which log_id that was found */
    unsigned failures;  /* in a row, for the pause */
    int64_t next_tick_us;
    int64_t abreast_us;    /* when nothing was left to hear, last */
    int64_t rest_until_us; /* live, the next transaction begins then at the earliest */
    int64_t silent_us;     /* how long we have listened in vain to the SUB socket */
    int64_t ask_at_us;     /* nothing comes: when to ask for the head again */
    int64_t reopen_at_us;  /* and when to subscribe anew */
    bool deaf;             /* that was said */
    int64_t stuck_seq;     /* from here a batch failed in a way that may pass... */
    int stuck_tries;       /* ...so often in a row, while the database answered */
    size_t most;           /* events of the next batch: few after such failures */
    struct consumer_trouble troubles[CONSUMER_TROUBLES_MAX];
    struct consumer_batch batch;

    /* read from other threads */
    atomic_bool ready;
    _Atomic(const char *) reason;
    atomic_llong seen_seq, seen_head;
};

/* --- consumer.c --- */
bool consumer_stopping(const struct consumer *c);
void consumer_rest(const struct consumer *c, int64_t us); /* ends early when stopping */
/* Rests after a failure: random, growing with failures in a row, ends early when stopping. */
void consumer_pause(struct consumer *c);
void consumer_say_ready(struct consumer *c, const char *reason_if_not);
void consumer_tell_progress(struct consumer *c);
/* Codes after which the same thing may work later. */
bool consumer_is_transient(enum err e);

/* --- consumer_feed.c --- */
NODISCARD bool consumer_feed_open(struct consumer *c);
/* Subscribes anew, on a connection of its own. */
bool consumer_feed_reopen(struct consumer *c);
void consumer_feed_close(struct consumer *c);
/* Takes what was published in order, waiting up to timeout_us for the first; sets behind where
 * something is missing and agreed = false where the log is another one. */
void consumer_listen(struct consumer *c, int64_t timeout_us);
/* Takes the next events from the log. */
NODISCARD enum err consumer_read(struct consumer *c);
/* The newest position and the incarnation, asked of the bus. */
NODISCARD enum err consumer_ask_head(struct consumer *c, struct id *log_id_out, int64_t *seq_out);
/* The event at `seq`; ERR_NOT_FOUND. */
NODISCARD enum err consumer_ask_event_id(struct consumer *c, int64_t seq, struct id *id_out);

/* --- consumer_cursor.c --- */
/* Reads the row (makes it and counts the start at first) and follows what others did to it. */
NODISCARD enum err consumer_load(struct consumer *c);
/* Queues the check that the row is as we know it; locks it. The transaction fails when not. */
NODISCARD enum err consumer_queue_guard(struct consumer *c);
/* Notes that the event is about to be tried, in a transaction of its own; tries_out: how many
 * processes have done so without getting past it. */
NODISCARD enum err consumer_note_try(struct consumer *c, int64_t seq, int *tries_out);
NODISCARD enum err consumer_queue_advance(struct consumer *c, int64_t seq, const struct id *event);
/* After the commit of an advance. */
void consumer_advanced(struct consumer *c, int64_t seq, const struct id *event);
/* Writes a position that is ahead of the row, if the id of its event is to be had; uses the batch.
 * ERR_OK also when another replica was faster. */
NODISCARD enum err consumer_save(struct consumer *c);
/* Compares the log with the cursor: adopts a log that holds our event, halts otherwise. */
NODISCARD enum err consumer_agree(struct consumer *c);
void consumer_halt(struct consumer *c, enum consumer_halt why, const char *text, struct id log_id);

/* --- consumer_batch.c --- */
/* Applies c->batch. What could not be applied is read again from the log later. */
void consumer_apply(struct consumer *c);

/* --- consumer_react.c --- */
struct reaction_hook {
    void (*fn)(void *daemon_data, void *arg);
    void *arg;
};
struct reaction_wake_item {
    const char *channel;
    const void *data;
    size_t len;
    struct reaction_wake_item *next;
};
struct reaction_row {
    struct outbox_row row;
    struct reaction_row *next;
};
struct reaction_state {
    const PbEvent *event;                  /* under way */
    struct span span;                      /* of its reaction */
    struct reaction_row *rows, **rows_end; /* of the tenant's run */
    size_t nrows;
    bool emitted;
    struct reaction_wake_item *wakes, **wakes_end;
    struct reaction_hook hooks[CONSUMER_HOOKS_MAX];
    size_t nhooks;
};
/* Makes *r and its state ready for a transaction; holds a directory snapshot. */
void consumer_react_open(struct consumer *c, struct reaction *r, struct reaction_state *state,
                         bool replaying);
void consumer_react_close(struct reaction *r);
const struct reaction_def *consumer_find_def(const struct consumer *c, const char *type);
/* Whether the definition wants the event now. */
bool consumer_wants(const struct reaction_def *def, bool replaying);
/* The events of one tenant, in order, with batch_begin and batch_end around. */
NODISCARD enum err consumer_react_tenant(struct consumer *c, struct reaction *r,
                                         struct consumer_item *const *items, size_t n);
/* Why a reaction failed, for people; call it before the connection is used again. */
void consumer_react_reason(const struct consumer *c, enum err e, char *buf, size_t size);
/* After the commit: hooks and wakes. */
void consumer_react_tell(struct consumer *c, const struct reaction *r);

/* --- consumer_park.c --- */
/* In the open transaction: puts events of blocked aggregates behind those that block them, and
 * marks their items done. */
NODISCARD enum err consumer_park_blocked(struct consumer *c, struct consumer_item *items, size_t n);
enum consumer_aside {
    CONSUMER_ASIDE_RETRY,  /* it failed, and is tried again after a pause */
    CONSUMER_ASIDE_PARKED, /* it failed for good, an operator decides */
    CONSUMER_ASIDE_BEHIND, /* waits behind one that is tried again */
    CONSUMER_ASIDE_STUCK,  /* waits behind one that is parked */
};
NODISCARD enum err consumer_queue_park(struct consumer *c, const PbEvent *event, int attempts,
                                       const char *reason, enum consumer_aside how);
/* Shows the counters from the start, so that an alert sees the first rise. */
void consumer_show_counters(const struct consumer *c);
void consumer_show_rewound(const struct consumer *c);
/* Runs what was put back for another try. */
void consumer_replay_parked(struct consumer *c);

#endif
