/*
 * publish.h - the fan-out: one XPUB and the thread that owns it (protocols F 'Event frames', G.3).
 *
 * Whole messages come in by PULL from the relay (events, heads) and from the broker (wakes) and go
 * out as they are. A subscriber that does not read loses messages, nobody waits for him: the log is
 * the truth and he reads what he missed.
 *
 * A subscription is a prefix, so it is admitted only if it cannot match another tenant's events: it
 * begins with "<own tenant>/" and comes from somebody whom ReadEvents would answer, or is "~head";
 * our own daemons hear everything. When a key that has subscriptions is revoked, expires or has
 * other rights, the socket is opened anew (each ten seconds at most): everybody connects and
 * subscribes again, but for what is not that key's any more.
 *
 * A partner's key has a bounded number of different topics. They are counted until a reset and no
 * longer: what libzmq says when a connection ends does not tell whose it was, so nothing could
 * count down. A topic that the key has had already is free.
 *
 * libzmq applies an admission to the peer whose message was read last, and its version in Debian 12
 * (4.3.4) trips over three things here. It remembers each subscription of a connection in a tree of
 * its own, refused or not, so a key that has too many different ones refused is banned. A peer that
 * sends a message of its own instead of a subscription shifts who counts as last: the socket is
 * then closed before anything else is read from it, and the key banned. And a peer that leaves
 * while its subscription waits to be read stays behind as a freed pointer; libzmq only removes
 * peers in calls that look for commands, so nothing is left waiting when such a call is made: all
 * subscriptions are read before and after each frame that is sent.
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
