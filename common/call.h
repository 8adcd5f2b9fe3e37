/*
 * call.h - one request being answered: who asks, since when, with what connection, and what was
 * said in the end.
 *
 * A handler runs inside the worker's transaction, which also takes the idempotency record and the
 * events. It returns a code, and the worker commits or rolls back; on ERR_ABORTED it is run again
 * (at most 3 times, inside the deadline), so it must not keep state outside the call. The first
 * statement it executes brings the idempotency look-up along: ERR_REPLAYED then means that this
 * command was done before; pass it up.
 *
 * A repeated command gets the first answer with the metadata idempotent-replayed = true. An answer
 * above 64 KiB is not kept: its repetition gets an empty reply with idempotent-reply = too_large,
 * and the caller reads the resource.
 *
 * Everything here belongs to the worker's thread. Memory is the request's arena.
 */
#ifndef DAYBOOK_COMMON_CALL_H
#define DAYBOOK_COMMON_CALL_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/base.h"
#include "common/cache.h"
#include "common/db.h"
#include "common/directory.h"
#include "common/err.h"
#include "common/id.h"
#include "common/record.h"
#include "common/validate.h"
#include "common/wire.h"
#include "daybook/common/v1/call.pb-c.h"

typedef Daybook__Common__V1__CallContext PbCallContext;
typedef Daybook__Common__V1__CallResult PbCallResult;
typedef Daybook__Common__V1__Principal PbPrincipal;

struct call_state;    /* private to call.c */
struct call_refusals; /* call_audit.c */

struct call {
    struct arena *arena;
    struct db *db;
    struct cache *cache;          /* NULL where the daemon has none */
    const PbCallContext *context; /* never NULL; request_id and principal are set */
    struct id tenant;             /* nil for system calls without one */
    struct id actor;
    const struct dir_employee *employee; /* the actor when he is one, else NULL */
    const struct directory *dir; /* snapshot for the whole call; NULL before the first is loaded */
    int64_t now_us;              /* domain time, fixed at the start of the call */
    int64_t deadline_us;         /* monotonic */
    void *daemon_data;  /* what the daemon's start hook made; shared, read-only or locked */
    const char *schema; /* of the daemon's own tables; for handlers of common/ */
    struct call_state *state;
};

/*
 * Ends the call with an error: the message for the caller, with the field at fault ("" = none).
 * Returns `code`, so that a handler can write `return call_fail(...)`. reason for ErrorInfo is the
 * code's name in capitals unless call_reason() sets another.
 */
enum err call_fail(struct call *call, enum err code, const char *field, const char *fmt, ...)
    PRINTF(4, 5);
/* Sets ErrorInfo.reason (UPPER_SNAKE) of the failure just reported; returns code. */
enum err call_reason(struct call *call, enum err code, const char *reason);
/* Adds ResourceInfo to the failure just reported. */
void call_resource(struct call *call, const char *type, const char *name, const char *text);
/* Adds a variable part of the text to ErrorInfo.metadata. key: [a-z][a-zA-Z0-9_-]+, static. */
void call_detail(struct call *call, const char *key, const char *value);
/* Adds RetryInfo. */
void call_retry_after(struct call *call, int64_t delay_us);

/* Collects one faulty field; end with call_violations(). */
void call_violation(struct call *call, const char *field, const char *fmt, ...) PRINTF(3, 4);
/* ERR_INVALID_ARGUMENT when any were collected. */
NODISCARD enum err call_violations(struct call *call);

/* The answer holds a secret and is not kept with the record of the command: repeating it then tells
 * that it was done (metadata idempotent-reply = "withheld") and gives an empty answer. */
void call_withhold_reply(struct call *call);

/* The caller is told that something is not there, since he may not see it; the audit trail is to know
 * the truth. */
void call_out_of_sight(struct call *call);

/* A fact about the answer, e.g. "cache" = "hit". */
void call_metadata(struct call *call, const char *key, const char *value);

/*
 * Queues an event into the outbox, in this transaction. The aggregate's row must be locked by now
 * (by its own update or FOR UPDATE), or else its order is not kept. collection: "visits"; version:
 * the aggregate's row version after the change. The event is packed at once. occurred_at is now_us.
 */
NODISCARD enum err call_emit(struct call *call, const char *collection, const char *id,
                             int64_t version, const ProtobufCMessage *event);

/*
 * Queues that somebody was refused elsewhere, by whom this call tells of it: for the audit trail, as his
 * doing. reason: UPPER_SNAKE; unwritten: refusals of his before that are told of by this one.
 */
NODISCARD enum err call_emit_refusal(struct call *call, struct id actor, const char *remote_address,
                                     const char *reason, int64_t unwritten);

/*
 * Queues for the audit trail that n events, timers or deliveries are tried again: it changes no record whose
 * event would tell. For none it does nothing. request: names what they were chosen by.
 */
NODISCARD enum err call_emit_replay(struct call *call, const ProtobufCMessage *request, int64_t n);

/*
 * Runs after a successful commit, in the worker's thread, e.g. to refresh a cache or to wake
 * somebody. At most 8; failures are its own business.
 */
void call_after_commit(struct call *call, void (*fn)(struct call *call, void *arg), void *arg);

/* Tells another program's loop that something is waiting; see mdp.h. data is copied. Sent after
 * the commit. */
void call_wake(struct call *call, const char *channel, const void *data, size_t len);

/* A new reply message. Aborts never; NULL when the arena is full (then return
 * ERR_RESOURCE_EXHAUSTED). */
#define call_new(call, descriptor) wire_new((descriptor), (call)->arena)

/* tenant as text, in the arena; the first parameter of nearly every statement. */
const char *call_tenant_text(struct call *call);
const char *call_actor_text(struct call *call);

/*
 * A method. Requests are validated by `checks` before the handler runs. scope: needed from service
 * accounts and API keys ("customers.write"); employees are judged by role and row in the handler
 * (authority.h). Whether a method has side effects is said in the .proto, not here. A method
 * without side effects runs in a transaction too, and must not write.
 *
 * Every change is known to the audit trail by its event. METHOD_BULK_READ says that the method gives
 * out personal or customer data of many: then who asked, what by, and how many rows he got is
 * written in the read's own transaction; if that fails, so does the call (SEC-10, F70). A refused
 * call is written down whatever its method (F61).
 */
enum method_flags {
    METHOD_TENANTLESS = 1, /* serves callers without a tenant */
    METHOD_BULK_READ = 2,
};

typedef enum err call_handler(struct call *call, const ProtobufCMessage *request,
                              ProtobufCMessage **reply_out);

struct method {
    const char *service; /* full name */
    const char *name;
    call_handler *handler;
    const char *scope;
    const struct check *checks; /* NULL = none */
    int flags;                  /* METHOD_...; false: none */
};

/*
 * Answers one request from its three frames into the two frames of the answer, all in the arena:
 * what pool.c runs in each worker, and what tests run without a bus. `json`: the frames are JSON.
 * context: the CallContext frame as the bus stamped it. Never fails: every fault becomes a result
 * frame. wake_relay_out: events were committed.
 */
struct call_env {
    struct arena *arena;
    struct db *db;
    struct cache *cache;
    void *daemon_data;
    const struct method *methods;
    size_t nmethods;
    const char *schema;          /* of the idempotency table */
    bool needs_directory;        /* no company is served before the first snapshot is loaded */
    bool (*draining)(void *arg); /* NULL: never */
    void *draining_arg;
    /* How long the frames have waited behind another request of this worker (two buses); taken off
     * the deadline. More than half of it: unavailable, WORKER_BUSY (protocols A). */
    int64_t waited_us;
    struct call_refusals *refusals; /* limits what is written of refused calls; NULL: no limit */
    /* out: after the answer */
    bool wake_relay;
    struct call_wake_item *wakes; /* list, arena */
};
struct call_wake_item {
    const char *channel;
    const void *data;
    size_t len;
    struct call_wake_item *next;
};
struct call_frames {
    const void *method;
    size_t method_len; /* "RecordInteraction" or "RecordInteraction+json" */
    const void *context;
    size_t context_len;
    const void *message;
    size_t message_len;
};
void call_answer(struct call_env *env, const struct call_frames *in, uint8_t **result_out,
                 size_t *result_len_out, uint8_t **reply_out, size_t *reply_len_out);

/*
 * How many refused calls of each caller are written into the audit trail: 10 in a second; the next
 * that is written tells how many were not. Of one worker's thread, so a caller can make
 * `workers` times as many. NULL: no memory.
 */
struct call_refusals *call_refusals_new(void);
void call_refusals_free(struct call_refusals *r);

/*
 * Deletes records of answered commands that are older than 48 hours, at most 1 000 in one
 * transaction, company by company of the directory's snapshot, until none is left or the deadline
 * is half a second away. To be called once a minute by one thread of the daemon. deleted_out: how
 * many.
 */
NODISCARD enum err call_sweep_idempotency(struct db *db, const char *schema, int64_t deadline_us,
                                          int64_t *deleted_out);

#endif
