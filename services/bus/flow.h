/*
 * flow.h - clients as far as limits and fairness go (operations 5, F52).
 *
 * A flow is a key and the tenant it speaks for: however many connections a partner opens, they
 * share one allowance and one place in the queues. Peers that speak for others (edges, daemons,
 * operators) and local ones without a key are told apart by connection instead.
 *
 * A flow also counts the bytes of answers that wait for its reader. libzmq bounds messages and not
 * bytes, so a client that asks and never reads would fill the memory; it is refused instead.
 *
 * Broker thread only, but for the counting down, which libzmq's I/O thread does.
 */
#ifndef DAYBOOK_BUS_FLOW_H
#define DAYBOOK_BUS_FLOW_H

#include <zmq.h>

#include "common/id.h"
#include "services/bus/hmap.h"
#include "services/bus/identity.h"

/* Bytes that were handed to libzmq and not yet sent. Lives until the last of them is gone. */
struct meter;

struct meter *meter_new(struct meter *total); /* total: counts too; NULL: none. NULL: no memory */
void meter_release(struct meter *m);          /* NULL is allowed */
size_t meter_bytes(const struct meter *m);
/* Makes the frame count until libzmq lets go of it. Small ones, and all when memory is short, are
 * left as they are. */
void meter_frame(struct meter *m, zmq_msg_t *frame);

struct flow {
    struct hnode node;
    int inflight;
    size_t queued_bytes;
    struct meter *unread;
    size_t key_len;
    uint8_t key[];
};

struct flows {
    struct hmap map;
    struct meter *unread; /* of all */
};

NODISCARD bool flows_init(struct flows *f);
void flows_fini(struct flows *f);
/* The flow of a peer; made when it is new. user: the User-Id, NULL for inproc; id: the routing id.
 * NULL: out of memory. */
struct flow *flows_get(struct flows *f, const struct identity *who, const char *user, zmq_msg_t *id,
                       struct id tenant);
/* Forgets those that have nothing under way and nothing unread; now and then. */
void flows_tidy(struct flows *f);

#endif
