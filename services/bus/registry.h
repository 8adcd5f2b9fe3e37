/*
 * registry.h - the broker's tables: services, workers and who is free for what.
 *
 * A worker is one slot: it has one request at a time, of any of the services that its READY named.
 * A free worker stands in the idle list of each of them; lists are first in, first out, so that
 * work spreads over replicas. A service may be known without having workers: because the contract
 * names it, because it had some, or because somebody asked; the last kind is bounded and goes away
 * with its queue (A.5, 9).
 *
 * Tables only; broker thread only.
 */
#ifndef DAYBOOK_BUS_REGISTRY_H
#define DAYBOOK_BUS_REGISTRY_H

#include <zmq.h>

#include "common/base.h"
#include "common/schema.h"
#include "services/bus/frames.h"
#include "services/bus/hmap.h"
#include "services/bus/pace.h"
#include "services/bus/queue.h"

#define REGISTRY_SERVICES_MAX 1024
#define REGISTRY_ASKED_MAX 256 /* of these, known only because somebody asked */

struct request;
struct worker;

struct service {
    struct hnode node;
    const struct schema_service *schema; /* NULL: not in this bus's contract */
    bool ours; /* named daybook.*, perhaps by a newer contract: its call contexts are the bus's */
    bool seen; /* has had a worker */
    struct queue queue;
    struct pace pace;
    struct slot *idle_first, *idle_last;
    int workers, idle;
    int held; /* requests that point here */
    int64_t requests, rejected;
    size_t name_len;
    char name[];
};

/* A worker's place in one of its services. */
struct slot {
    struct service *service;
    struct worker *worker;
    struct slot *next, *prev; /* idle list */
    bool idle;
};

struct worker {
    struct hnode node; /* by routing id */
    int version;
    zmq_msg_t id; /* routing id */
    zmq_msg_t stack[MDP_STACK_MAX];
    size_t nstack;
    bool delimiter;
    char user[48]; /* User-Id, "" for inproc */
    bool inproc;

    struct slot *slots;
    size_t nslots;
    size_t turn; /* which service's queue is looked at first */

    bool occupied;           /* has a request and has not answered */
    bool leaving;            /* said DISCONNECT while occupied */
    struct request *request; /* NULL while occupied: its client has been answered already */
    uint8_t address[MDP_ADDRESS_SIZE]; /* of its request */
    uint32_t heard;                    /* messages */
    bool ours;                         /* of a service of ours: it beats whatever it does... */
    bool beats_when_busy;              /* ...as others do who beat twice within one request */
    bool beat_in_request;
    int64_t heard_at_us, sent_at_us;
    int64_t said_at_us;    /* since when the next heartbeat is awaited; 0: not yet */
    int64_t pace_us;       /* how long it is between two heartbeats; 0: not known */
    int64_t busy_until_us; /* when one that has not answered may be given up */
};

struct registry {
    struct hmap services, workers;
    size_t asked; /* services known only because somebody asked */
    size_t queue_count, queue_bytes;
};

NODISCARD bool registry_init(struct registry *r, size_t queue_count, size_t queue_bytes);
/* Queues must be empty. */
void registry_fini(struct registry *r);

struct service *registry_service(struct registry *r, const void *name, size_t len);
/* The same, made when it is new. served: a worker offers it, so the bound on what was only asked
 * for does not apply. NULL: the table is full, or out of memory. */
struct service *registry_service_make(struct registry *r, const void *name, size_t len,
                                      bool served);
/* Whether this bus's contract names it. */
bool registry_has_contract(const void *name, size_t len);
/* Drops it when nobody would miss it. */
void registry_service_release(struct registry *r, struct service *s);
/* Never heard of before: not in the contract and never served. */
bool service_is_stranger(const struct service *s);

struct worker *registry_worker(struct registry *r, const void *id, size_t len);
/* Registers a worker for services[]; frames: routing id, then stack; copied. NULL: out of memory or
 * table full. It is not idle yet. */
struct worker *registry_worker_make(struct registry *r, zmq_msg_t *frames, size_t nstack,
                                    const struct mdp_frame *services, size_t nservices);
/* Takes it out of its services; it stays in the table for its last answer. */
void registry_worker_retire(struct registry *r, struct worker *w);
void registry_worker_free(struct registry *r, struct worker *w);

void worker_set_idle(struct worker *w, bool idle);
/* Whose turn it is; NULL: nobody is free. */
struct worker *service_idle_worker(const struct service *s);
/* Of those that are free, who was heard last: the surest to be there. NULL: nobody is. */
struct worker *service_freshest_worker(const struct service *s);
/* The next of its services that has something waiting, by turns; NULL: none. */
struct service *worker_next_service(struct worker *w);

#endif
