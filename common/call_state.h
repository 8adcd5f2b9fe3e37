/*
 * call_state.h - what call.c, call_error.c, call_idem.c, call_run.c and call_answer.c share, and
 * what unit tests use to open a call without a server. Handlers never include it.
 */
#ifndef DAYBOOK_COMMON_CALL_STATE_H
#define DAYBOOK_COMMON_CALL_STATE_H

#include "common/call.h"
#include "common/outbox.h"
#include "common/trace.h"

#define CALL_HOOKS_MAX 8
#define CALL_VIOLATIONS_MAX                                                                        \
    50 /* a list of 10 000 faulty elements needs no more to be understood                          \
        */
#define CALL_FINGERPRINT_LEN 32
#define CALL_KEY_MAX 255

struct call_pair {
    const char *key;
    const char *value;
    struct call_pair *next;
};

struct call_violation_item {
    const char *field;
    const char *description;
    const char *reason;
    struct call_violation_item *next;
};

struct call_event {
    struct outbox_row row;
    struct call_event *next;
};

struct call_hook {
    void (*fn)(struct call *call, void *arg);
    void *arg;
};

/* What is to be told about a failure. Texts are arena texts or static. */
struct call_failure {
    enum err code; /* ERR_OK: none reported */
    const char *field;
    const char *message;
    const char *reason; /* NULL: the code's name in capitals */
    const char *resource_type, *resource_name, *resource_text;
    int64_t retry_us; /* 0: none */
};

/* The answer that an earlier run of a command left behind. */
struct call_stored {
    bool found;
    bool same; /* as asked now, by fingerprint */
    const char *reply_type;
    uint8_t *reply;
    size_t reply_len;
};

struct call_state {
    struct call_failure failure;
    struct call_violation_item *violations, **violations_end;
    size_t nviolations;
    struct call_pair *metadata, **metadata_end; /* of the answer */
    struct call_pair *details, **details_end;   /* ErrorInfo.metadata */
    struct call_event *events, **events_end;
    size_t nevents;
    struct call_hook hooks[CALL_HOOKS_MAX];
    size_t nhooks;
    struct call_wake_item *wakes, **wakes_end;
    bool out_of_memory; /* something of the above is missing */
    bool withheld;      /* the answer is not to be kept */
    bool out_of_sight;  /* not found means: not for him */

    const char *tenant_text, *actor_text;
    const struct span *span; /* the handler's; NULL before it has begun */

    /* of the running command; key NULL: a method without side effects */
    const char *key;
    const char *method;      /* "<service>/<method>", scope of the key; set for every call */
    const char *fingerprint; /* bytea text */
    bool looked_up;
    struct call_stored stored;
    struct outbox_origin origin; /* of the call's events */

    struct db_error db_error; /* of the last failed run, for the log */
};

/* Makes `call` usable by handlers, checks and tests: state, arena, times. Everything else of it
 * must be zero or set by the caller. ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err call_open(struct call *call, struct arena *arena);

/* Forgets what a run has gathered, so that the handler can run again. */
void call_forget(struct call *call);

/* As call_violation(), with the violation's own reason (UPPER_SNAKE, static). */
void call_violation_reason(struct call *call, const char *reason, const char *field,
                           const char *fmt, ...) PRINTF(4, 5);

/* --- call_error.c --- */

/* The status of a failed call, complete with its details, in the arena; NULL when that is full. */
Google__Rpc__Status *call_status(struct call *call, enum err code);
/* Reason that call_status() gives. */
const char *call_failure_reason(const struct call *call, enum err code);

/* --- call_idem.c --- */

/* Queues the look-up of the command's key into the open transaction; its answer comes with the
 * next statement, which returns ERR_REPLAYED when it was found. */
NODISCARD enum err call_idem_queue_lookup(struct call *call, const char *schema);
/* Queues the record of the command with its answer; reply NULL: it is not to be kept. */
NODISCARD enum err call_idem_queue_insert(struct call *call, const char *schema,
                                          const ProtobufCMessage *reply);
/* Looks in a transaction of its own. ERR_OK: stored.found tells. settled: only when what was found
 * is as durable as a commit, standbys included (a COMMIT whose replication was cancelled is there
 * already, and may still be lost). */
NODISCARD enum err call_idem_look(struct call *call, const char *schema, bool settled,
                                  int64_t deadline_us);
/* The failure just seen is that of a twin that has the key. */
bool call_idem_lost_to_twin(const struct db_error *e);
/* The failure just seen is that of a twin that still works on the key. */
bool call_idem_key_in_use(const struct db_error *e);

/* --- call_audit.c --- */

/* Sets state->method and origin. request: NULL when it could not be read. */
NODISCARD enum err call_audit_origin(struct call *call, const struct method *method,
                                     const ProtobufCMessage *request);
/* Emits that the records of the reply were read, in this transaction. */
NODISCARD enum err call_audit_read(struct call *call, const ProtobufCMessage *request,
                                   const ProtobufCMessage *reply);
/*
 * Writes down that a call was refused, in a transaction of its own; does nothing for other failures,
 * and for callers without a company. The call has failed already, so a failure here is logged and
 * counted. True: an event was committed.
 */
bool call_audit_refused(struct call *call, const struct method *method, enum err code,
                        struct call_refusals *limit);

/* --- call_run.c --- */

/*
 * Runs the method's handler in its transaction: look-up, handler, events, record, commit, and
 * again where that helps. ERR_OK: *reply_out is the reply, or NULL and state->stored has it.
 */
NODISCARD enum err call_run(struct call *call, const struct method *method, const char *schema,
                            const ProtobufCMessage *request, ProtobufCMessage **reply_out);

#endif
