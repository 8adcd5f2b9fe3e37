/*
 * context.h - the CallContext frame: what the bus reads of it, and what it writes into it.
 *
 * The bus puts principal, service, arrival time and, where it is missing, a request id into every
 * CallContext, whatever the client put there (protocols A profile). In the binary form that is a
 * patch: the client's own fields are kept as bytes, ours are taken out and written anew. In the
 * JSON form the object is read and written by the descriptor. The time that is left is added last,
 * when the request goes to a worker.
 */
#ifndef DAYBOOK_BUS_CONTEXT_H
#define DAYBOOK_BUS_CONTEXT_H

#include "common/arena.h"
#include "common/err.h"
#include "common/wire.h"
#include "services/bus/identity.h"

#define CONTEXT_REQUEST_ID_MAX 64
#define CONTEXT_TAIL_MAX 32 /* bytes that context_finish() adds at most */

struct context_stamp {
    const struct identity *who;
    const char *service;
    size_t service_len;
    int64_t received_at_us;     /* wall clock */
    const char *remote_address; /* of the peer; NULL: there is none */
};

struct context {
    bool json;
    char request_id[CONTEXT_REQUEST_ID_MAX + 1];
    uint32_t deadline_ms; /* as the client said; 0 = not said */
    struct id tenant;     /* of the principal that holds; nil: none */
    bool reads_bus;       /* that has the scope bus.read */
    uint8_t *base;        /* heap: all but the time left */
    size_t base_len;
};

/*
 * data may be empty. scratch is used by the JSON form and reset.
 *
 * ERR_INVALID_ARGUMENT   not a CallContext; fault_out says why
 * ERR_PERMISSION_DENIED  names a principal that this peer may not speak for
 * ERR_RESOURCE_EXHAUSTED out of memory
 */
NODISCARD enum err context_take(const void *data, size_t len, bool json,
                                const struct context_stamp *stamp, struct arena *scratch,
                                struct context *out, struct wire_fault *fault_out);
void context_fini(struct context *c);
/* For refusals that come before a context is judged: the request id of a frame that may be
 * anything;
 * "" when it has none that can be given back. */
void context_request_id(const void *data, size_t len, bool json, struct arena *scratch,
                        char out[static CONTEXT_REQUEST_ID_MAX + 1]);

/* Bytes that the finished frame has at most. */
size_t context_size_max(const struct context *c);
/* Writes the frame with the time left into out; returns its length. */
size_t context_finish(const struct context *c, uint32_t remaining_ms, uint8_t *out);

#endif
