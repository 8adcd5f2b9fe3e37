/*
 * upstream.h - calls over the bus that nobody waits for: asked, and answered by a callback.
 *
 * One a loop, and of that thread only. Answers are matched by the request id, so that one that is
 * late or meant for nobody is dropped (F34). A call ends at its deadline at the latest, whatever
 * became of the request or its answer.
 */
#ifndef DAYBOOK_GATEWAY_UPSTREAM_H
#define DAYBOOK_GATEWAY_UPSTREAM_H

#include "common/bus_client.h"

struct upstream;
struct upstream_call;

struct upstream_request {
    const char *service, *method; /* of the schema: they last */
    const void *message;          /* packed; copied */
    size_t len;
    struct id request_id;
    /* Borrowed until the call is over. */
    const PbPrincipal *principal;
    const char *idempotency_key, *traceparent, *tracestate; /* NULL, "" = none */
    const char *remote_address;                             /* of the client; NULL: our own doing */
    int64_t deadline_us;                                    /* monotonic */
};

struct upstream_answer {
    /* Of our own: ERR_UNAVAILABLE, no bus took it, and nothing was done; ERR_DEADLINE_EXCEEDED, it
     * may have been done. Else ERR_OK, and result is set. */
    enum err code;
    const PbCallResult *result; /* the service's, error or not; valid during the callback */
    const void *message;        /* packed; empty on error */
    size_t len;
};
typedef void upstream_done_fn(void *arg, const struct upstream_answer *answer);

struct upstream *upstream_new(void *zmq_context, const struct bus_address *address);
void upstream_free(struct upstream *u); /* calls that are open are forgotten */

/* `done` runs once, later, inside the two below. NULL: no memory. */
struct upstream_call *upstream_ask(struct upstream *u, const struct upstream_request *request,
                                   upstream_done_fn *done, void *arg);
/* Nobody waits for it any more: `done` does not run. */
void upstream_forget(struct upstream *u, struct upstream_call *call);

/* Readable when there may be something to do; to be run once a turn all the same, since libzmq
 * signals by edges. */
int upstream_fd(const struct upstream *u);
/* Until it is to be run again at the latest. To be asked last before the wait: looking at the socket uses up the edge
 * of its descriptor. */
int64_t upstream_wait_us(struct upstream *u);
/* Takes answers, and sends what waits. */
void upstream_run(struct upstream *u);
/* Sends what was asked since. */
void upstream_send(struct upstream *u);
bool upstream_is_connected(struct upstream *u); /* a bus takes requests */
size_t upstream_open(const struct upstream *u);

#endif
