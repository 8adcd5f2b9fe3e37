/* broker_internal.h - the broker's parts and what they share. */
#ifndef DAYBOOK_BUS_BROKER_INTERNAL_H
#define DAYBOOK_BUS_BROKER_INTERNAL_H

#include <zmq.h>

#include "common/arena.h"
#include "services/bus/answer.h"
#include "services/bus/broker.h"
#include "services/bus/context.h"
#include "services/bus/flow.h"
#include "services/bus/frames.h"
#include "services/bus/registry.h"
#include "services/bus/stats.h"

struct request {
    struct queue_item item;
    struct deadline expiry;
    struct service *service;
    struct flow *flow;
    struct worker *worker;  /* who has it; NULL: it waits */
    struct context context; /* of ours; a foreign one has no base */
    int64_t deadline_us;    /* monotonic */
    int64_t time_us;        /* from its arrival to its deadline */
    int64_t begun_us;       /* when a worker got it, the last time */
    size_t bytes;           /* of its frames */
    int version;
    bool delimiter;
    bool ours; /* the service is in our contract */
    bool json;
    bool may_repeat; /* safe to dispatch a second time */
    bool repeated;
    bool partial_sent;
    bool parts_refused; /* MDP/0.1: too much, the client has been told */
    zmq_msg_t *parts;   /* MDP/0.1: bodies of PARTIALs, kept for the one REPLY */
    size_t nparts, parts_cap, parts_bytes;
    size_t nstack, nbody;
    zmq_msg_t frames[]; /* routing id, stack, body */
};

/* A message as it came in. */
struct incoming {
    zmq_msg_t frames[1 + MDP_FRAMES_MAX]; /* the first is the routing id */
    size_t n;
    struct mdp_frame views[1 + MDP_FRAMES_MAX];
    struct mdp_message m; /* positions count from frames[1] */
};

struct broker {
    struct broker_config config;
    void *router;
    void *relay_wake; /* PUSH */
    void *publish;    /* PUSH */
    struct registry registry;
    struct deadlines deadlines;
    struct flows flows;
    struct identity_cache identities;
    struct arena *scratch;
    struct incoming in;
    uint8_t token[MDP_TOKEN_SIZE]; /* 8 random bytes, 8 of a counter */
    uint64_t tokens;
    size_t queued_bytes;
    size_t nrequests;
    int64_t now_us;   /* monotonic, of the message at hand */
    const char *user; /* who sent it: User-Id, NULL for inproc */
    int64_t tick_at_us, export_at_us;
    int64_t catching_up_until_us; /* 0: we have not stood still */
    int64_t excused_at_us;        /* when all were taken for heard, though they were not */
    bool draining;
    int64_t refused_at_us; /* when it was last told that it is stopping */
};

/* Frame of the message at hand by its position in in.m. */
static inline zmq_msg_t *incoming_frame(struct incoming *in, size_t position)
{
    return &in->frames[1 + position];
}

/* --- send.c: whole messages to peers -------------------------------------------------------- */

enum sent { SENT, SENT_GONE, SENT_FULL };

struct envelope {
    zmq_msg_t *id; /* routing id */
    zmq_msg_t *stack;
    size_t nstack;
    bool delimiter;
};

/* Starts a message: envelope and head. Only this can fail; the frames after it cannot. The
 * envelope's frames are copied. */
enum sent send_start(struct broker *b, const struct envelope *e, const struct mdp_head *head,
                     bool more);
void send_bytes(struct broker *b, const void *data, size_t len, bool more);
void send_move(struct broker *b, zmq_msg_t *frame, bool more); /* leaves it empty */
void send_copy(struct broker *b, zmq_msg_t *frame, bool more);
void send_count(enum sent s); /* counts what did not arrive at a client */

/* --- request.c: the life of a request ------------------------------------------------------- */

/* A client's message. */
void request_take(struct broker *b, const struct identity *who);
/* Gives waiting requests to a worker that is free; idle when there are none. */
void request_serve(struct broker *b, struct worker *w);
/* The frames of an answer go to the client; they are moved. */
void request_partial(struct broker *b, struct request *r, zmq_msg_t *body, size_t nbody);
void request_final(struct broker *b, struct request *r, zmq_msg_t *body, size_t nbody);
void request_fail(struct broker *b, struct request *r, enum fault fault);
/* Its worker is gone. */
void request_orphaned(struct broker *b, struct request *r);
/* Its time has come. */
void request_expired(struct broker *b, struct request *r);
/* Of a bus that stops: what waits for a service that has no worker here, and gets none any more. */
void request_fail_unserved(struct broker *b);
/* Answers all that are left; those that a worker has had, WORKER_LOST. */
void request_fail_all(struct broker *b, enum fault fault);

/* --- refuse.c: answers of the bus itself, without a request --------------------------------- */

void refuse(struct broker *b, enum fault fault, const char *request_id, const char *detail,
            struct service *s);
/* As context_take() said. */
void refuse_context(struct broker *b, enum err why, const struct wire_fault *fault,
                    struct service *s);
/* mmi.* (RFC 8). */
void manage(struct broker *b);
/* BusService. */
void bus_service(struct broker *b, const struct identity *who);
/* Method, context and message of the message at hand; false: the body has another shape. */
struct body {
    zmq_msg_t *method, *context, *message; /* context: NULL when there is none */
    size_t method_len;                     /* without the suffix */
    bool json;
};
bool body_read(struct incoming *in, struct body *out);
struct envelope incoming_envelope(struct incoming *in);

/* --- workers.c ------------------------------------------------------------------------------ */

/* A worker's message. */
void worker_message(struct broker *b, const struct identity *who, const char *user);
/* Hands it the request; false: it cannot be reached and is gone. */
bool worker_dispatch(struct broker *b, struct worker *w, struct request *r);
/* Heartbeats and expiry; several times a second. */
void workers_tick(struct broker *b);
/* The bus has stood still itself: what was said meanwhile is still on its way. */
void workers_excuse(struct broker *b);
/* Whoever is free gets what waits. */
void workers_go_on(struct broker *b);
/* Keys have changed: workers whose key does not hold any more go. */
void workers_review(struct broker *b);
void workers_dismiss(struct broker *b); /* DISCONNECT to all: the bus stops */

#endif
