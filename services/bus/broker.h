/*
 * broker.h - the Majordomo broker: one ROUTER, one thread (protocols A, operations 5).
 *
 * All peers meet on one socket that is bound several times: CURVE endpoints, perhaps a plain one
 * for this machine, and inproc for the process's own workers. libzmq copies a socket's security at
 * bind time, so each endpoint keeps its own; who a peer is comes from its messages' User-Id.
 *
 * The thread never waits but in its poll. Everything has a bound: queues, clients, frames, tables,
 * time. Nothing is left unanswered: each request has its place in the heap of deadlines until it is
 * answered.
 */
#ifndef DAYBOOK_BUS_BROKER_H
#define DAYBOOK_BUS_BROKER_H

#include "common/base.h"
#include "services/bus/identity.h"

#define BROKER_RELAY_WAKE "inproc://bus.relay.wake" /* empty messages for the relay */
#define BROKER_PUBLISH "inproc://bus.publish"       /* whole messages for the publisher */

struct broker_config {
    void *zmq_context;
    const char *listen;     /* CURVE endpoints, comma-separated; NULL: none */
    const char *secret_key; /* of the bus, Z85; needed with `listen` */
    const char *plain;      /* plain endpoints, comma-separated; NULL: none */
    const char *inproc;     /* for this process; NULL: none */
    struct keyring *keyring;

    size_t queue_count, queue_bytes; /* a service */
    size_t total_bytes;              /* all queues */
    int client_inflight;             /* a flow (flow.h), as are the next two */
    size_t client_bytes;             /* of its waiting requests */
    size_t client_unread_bytes;      /* of answers that it does not read */
    size_t unread_bytes;             /* of answers that nobody reads, in all */
    size_t frame_max;                /* of a request's frame */
    int64_t deadline_default_us, deadline_max_us;
    int64_t deadline_foreign_us; /* of a request to a service that is not ours */
    int64_t stranger_wait_us;    /* for a service that nobody ever served */
    int64_t heartbeat_us;
    int64_t expiry_us;     /* of a worker, at the latest: three of its own beats suffice */
    int64_t busy_grace_us; /* of a worker after its request's time: then it is given up */
    int64_t drain_timeout_us;
};

/* The values of operations 5 and protocols A; the rest zero. */
void broker_config_defaults(struct broker_config *c);

struct broker;

/* Opens and binds. NULL: reason_out (static, or zmq's words) says why. A ZAP handler must be there
 * when an endpoint is not inproc. */
struct broker *broker_new(const struct broker_config *config, const char **reason_out);
/* Until stopping() says so and what was under way is answered, or drain_timeout_us has passed. */
void broker_run(struct broker *b, bool (*stopping)(void *arg), void *arg);
void broker_free(struct broker *b); /* after broker_run(), or instead of it */

/* --- shared with the publisher: how sockets of the bus are set up --------------------------- */

NODISCARD bool broker_socket_options(void *socket, int64_t frame_max);
/* Security of the endpoints bound from now on: secret_key NULL = none. */
NODISCARD bool broker_socket_secure(void *socket, const char *zap_domain, const char *secret_key);
NODISCARD bool broker_socket_bind(void *socket, const char *endpoints);
/* False: not one that may be bound without proof of identity; only loopback and local ones may. */
bool broker_endpoint_is_local(const char *endpoints);

#endif
