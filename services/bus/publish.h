/*
 * publish.h - the fan-out: one XPUB and the thread that owns it (protocols F 'Event frames', G.3).
 *
 * Whole messages come in by PULL from the relay (events, heads) and from the broker (wakes) and go
 * out as they are. A subscriber that does not read loses messages, nobody waits for him: the log is
 * the truth and he reads what he missed.
 *
 * A subscription is a prefix, so it is admitted only if it cannot match another tenant's events: it
 * begins with "<own tenant>/", or is "~head"; our own daemons hear everything. When a key that has
 * subscriptions is revoked or expires, the socket is opened anew: everybody connects and subscribes
 * again, but for that key.
 */
#ifndef DAYBOOK_BUS_PUBLISH_H
#define DAYBOOK_BUS_PUBLISH_H

#include "services/bus/identity.h"

struct publisher_config {
    void *zmq_context;
    const char *listen;     /* CURVE endpoints, comma-separated; NULL: none */
    const char *secret_key; /* of the bus; needed with `listen` */
    const char *plain;      /* plain endpoints on this machine; NULL: none */
    struct keyring *keyring;
};

struct publisher;

/* Opens and binds; NULL: reason_out (static) says why. */
struct publisher *publisher_new(const struct publisher_config *config, const char **reason_out);
void publisher_run(struct publisher *p, bool (*stopping)(void *arg), void *arg);
void publisher_free(struct publisher *p);

#endif
