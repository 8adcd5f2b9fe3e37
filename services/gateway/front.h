/*
 * front.h - the loops of HTTP, and what they share.
 *
 * Each loop is a thread with its own listener at one port, its own connections and its own socket to
 * the bus: nothing of a loop is another thread's, and nothing in it waits.
 */
#ifndef DAYBOOK_GATEWAY_FRONT_H
#define DAYBOOK_GATEWAY_FRONT_H

#include <stdatomic.h>

#include "common/daemon.h"
#include "services/gateway/public_url.h"
#include "services/gateway/webhooks/webhook_threads.h"

#define LOOPS 2

struct loop {
    const struct pages *pages;
    const struct http_budget *bodies; /* the gateway's */
    struct http_loop *http;
    struct connect *connect;
    struct upstream *upstream;
    struct recent *recent;
    struct streams *streams;
    struct rpc *rpc;
    struct calendar_feeds *feeds;
    struct transfers *transfers;
};

/* The daemon's data. */
struct gateway {
    struct webhooks webhooks; /* the first, as it says */
    struct public_url public_url;
    struct limit *requests, *failures;
    struct key_use *uses;
    struct jwks_source *keys; /* of tokens; NULL: none are taken */
    struct identity *identity;
    struct http_budget *bodies; /* what those of all requests may hold */
    struct pages *pages;
    struct transfer_files *files;
    struct loop loops[LOOPS];
    int64_t drain_delay_us;
    atomic_int next; /* loop for the next thread */
    atomic_bool connected[LOOPS];
    atomic_uint open[LOOPS]; /* exchanges, while it stops */
};

/* body_max: bytes that the bodies of all requests may have. */
void front_register_metrics(size_t body_max);

/* A loop that listens at that address. False: no memory, or logged. */
bool front_open(struct loop *l, struct daemon *d, const struct gateway *g, const char *address);
void front_close(struct loop *l);

/* Body of a loop's thread: the next one of the gateway that has none. */
void front_run(struct daemon *d, void *daemon_data);

#endif
