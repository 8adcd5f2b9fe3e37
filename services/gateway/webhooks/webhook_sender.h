/*
 * webhook_sender.h - posts deliveries (protocols D, F05, F44, F45).
 *
 * One thread of each replica has many posts under way at once. Each lane is one replica's, by lease;
 * what became of a post is written down under the lease. A post whose outcome was lost in a crash is
 * made again, under the same id.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_SENDER_H
#define DAYBOOK_GATEWAY_WEBHOOK_SENDER_H

#include "services/gateway/webhooks/webhook.h"

struct webhook_sender;

struct webhook_sender_config {
    const char *conninfo, *instance;
    const struct webhook_config *http;
};

/* NULL: no memory, http->allow is malformed, or http->authorities cannot be read. */
struct webhook_sender *webhook_sender_new(const struct webhook_sender_config *config);
void webhook_sender_free(struct webhook_sender *s);

/* What the threads below need of the process. */
struct webhook_host {
    bool (*stopping)(void *arg);
    void (*rest)(void *arg, int64_t us); /* less when it is stopping */
    void (*emitted)(void *arg);          /* an event was; may be NULL */
    void *arg;
};

/* Bodies of threads; each returns when the host is stopping. */
void webhook_sender_run(struct webhook_sender *s, const struct webhook_host *host);
void webhook_sender_run_leases(struct webhook_sender *s, const struct webhook_host *host);

/* From any thread. */
void webhook_sender_tell(struct webhook_sender *s, const struct webhook_hint *hints, size_t n);
/* Now and then: counts what waits, deletes what is old. Of one thread. */
void webhook_sender_chores(struct webhook_sender *s);

#endif
