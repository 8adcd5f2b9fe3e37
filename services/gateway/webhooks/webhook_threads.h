/*
 * webhook_threads.h - webhooks within the daemon: settings, threads, wakes.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_THREADS_H
#define DAYBOOK_GATEWAY_WEBHOOK_THREADS_H

#include "common/daemon.h"
#include "services/gateway/webhooks/webhook_sender.h"

/* The first member of the daemon's data, where handlers and reactions look for it. */
struct webhooks {
    struct webhook_config config;
    struct webhook_sender *sender;
};

/* public_url is borrowed. False: no memory, or WEBHOOK_ALLOW or _CA_FILE is no good (logged). */
bool webhooks_init(struct webhooks *w, struct daemon *d, const char *public_url);
void webhooks_fini(struct webhooks *w);

/* Bodies of threads. */
void webhooks_run_sender(struct daemon *d, void *daemon_data);
void webhooks_run_leases(struct daemon *d, void *daemon_data);
void webhooks_run_listener(struct daemon *d, void *daemon_data); /* and chores */

#endif
