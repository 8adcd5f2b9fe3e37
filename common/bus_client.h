/*
 * bus_client.h - asking services over the bus, blocking, with deadlines.
 *
 * One DEALER; a late answer to an earlier call is recognised by its request id and dropped.
 * Reconnects by itself, and follows the addresses of the buses' names (bus_peers.h). One thread at a
 * time.
 */
#ifndef DAYBOOK_COMMON_BUS_CLIENT_H
#define DAYBOOK_COMMON_BUS_CLIENT_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/call.h"
#include "common/err.h"

/* How to reach the bus. Empty server_key: plain (only where the bus offers it). */
struct bus_address {
    const char *endpoint;   /* "tcp://127.0.0.1:5555" */
    const char *events;     /* XPUB endpoint, for subscribers */
    const char *server_key; /* Z85 public key of the bus */
    const char *public_key; /* own, Z85 */
    const char *secret_key; /* own, Z85 */
};

/* Puts CURVE keys and the usual options (protocols G.1) on a client socket before it connects.
 * False: a key is malformed. */
NODISCARD bool bus_socket_prepare(void *zmq_socket, const struct bus_address *address);

struct bus_client;

/* The texts of address are borrowed for life. NULL: a malformed endpoint or key, or no memory. */
struct bus_client *bus_client_new(void *zmq_context, const struct bus_address *address);
void bus_client_free(struct bus_client *c);

struct bus_request {
    const char *service;
    const char *method;
    const ProtobufCMessage *message;
    const char *idempotency_key; /* NULL = none */
    const char *request_id;      /* NULL = made here */
    const char *traceparent;     /* of who asks; NULL = none */
    int64_t timeout_us;
    /* On whose behalf; the bus believes it from edges and the operator's keys only. NULL = the
     * key's own. */
    const PbPrincipal *principal;
    const char *remote_address; /* whence he asked, believed likewise; NULL = the process's own */
};

struct bus_answer {
    const PbCallResult *result; /* never NULL on ERR_OK and on a service's error */
    ProtobufCMessage *message;  /* NULL on error */
};

/*
 * Sends and waits. The code is the service's (result->status), or of our own: ERR_UNAVAILABLE when
 * the bus does not take the request in time, ERR_DEADLINE_EXCEEDED, ERR_INTERNAL for a broken
 * answer. Everything out is in the arena.
 */
NODISCARD enum err bus_client_call(struct bus_client *c, const struct bus_request *request,
                                   struct arena *a, struct bus_answer *answer_out);

/* For many requests at once: send without waiting, and take whichever answer comes next. */
NODISCARD enum err bus_client_send(struct bus_client *c, const struct bus_request *request,
                                   struct arena *a);
/* request_id_out: whose answer it is. ERR_DEADLINE_EXCEEDED: none came. */
NODISCARD enum err
bus_client_receive(struct bus_client *c, int64_t timeout_us, struct arena *a,
                   const ProtobufCMessageDescriptor *(*type_of)(void *arg, const char *request_id),
                   void *arg, struct bus_answer *answer_out);

#endif
