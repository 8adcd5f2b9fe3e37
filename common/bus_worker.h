/*
 * bus_worker.h - a daemon's worker slots at the bus: the loop's side of MDP/0.2 (protocols A).
 *
 * A slot is one worker thread. It has one DEALER a bus, a link, whose READY names all services of
 * the daemon. The loop calls in with what its poll found and with the time; nothing here waits, and
 * heartbeats go out while the worker is busy. Jobs are handed over by a function, normally
 * pool_submit(), and come back by bus_worker_finish().
 *
 *     OFF -> CONNECTING -> UP -> LEAVING -> OFF        enlist, connected, withdraw, nothing left
 *              ^   |        |
 *              |   BACKOFF <+   DISCONNECT, silence, connection lost, our own stall
 *              +-----+
 *
 * A link whose bus's name has another address (resolve.h) leaves the old one and is opened anew.
 *
 * With two buses a slot may be sent two requests: the second waits (pool_job.waited_us).
 */
#ifndef DAYBOOK_COMMON_BUS_WORKER_H
#define DAYBOOK_COMMON_BUS_WORKER_H

#include <zmq.h>

#include "common/bus_client.h"
#include "common/pool.h"

#define BUS_WORKER_BUSES_MAX 4

struct bus_worker;

struct bus_worker_def {
    void *zmq_context;
    const struct bus_address *address; /* endpoint: up to BUS_WORKER_BUSES_MAX, parted by commas */
    const char *const *services;       /* borrowed for life, as is address */
    size_t nservices;
    size_t nslots;
    void (*submit)(void *arg, struct pool_job *job);
    void *arg;
};

/* Opens no socket yet. NULL: no memory, or a malformed list of endpoints. */
struct bus_worker *bus_worker_new(const struct bus_worker_def *def);
/* Jobs must be back. */
void bus_worker_free(struct bus_worker *w);

/* Be registered from now on, or not. Both are orders to the links and return at once. */
void bus_worker_enlist(struct bus_worker *w, int64_t now_us);
void bus_worker_withdraw(struct bus_worker *w, int64_t now_us);

/* Whether some link is up. */
bool bus_worker_registered(const struct bus_worker *w);
/* Whether no job is out and no link open or about to be opened. */
bool bus_worker_idle(const struct bus_worker *w);

/* Most items that bus_worker_items() can fill. */
size_t bus_worker_items_max(const struct bus_worker *w);
/* What to poll for; how many there are. They must stay in place until bus_worker_serve(), which
 * reads what the poll found (or everything, when these were not asked for since the last time). */
size_t bus_worker_items(struct bus_worker *w, zmq_pollitem_t *items);
/* After the poll: reads, beats, gives up, reconnects. Returns when to be called again at the
 * latest. */
int64_t bus_worker_serve(struct bus_worker *w, int64_t now_us);

/* Sends the answer of a job that is back, unless the connection it came by is gone. Closes the
 * job's frames, and submits the next job of that worker if one waits. */
void bus_worker_finish(struct bus_worker *w, struct pool_job *job, int64_t now_us);

/* Sends WAKE by one link to each bus. False: no bus took it. */
bool bus_worker_wake(struct bus_worker *w, const char *channel, const void *data, size_t len);

#endif
