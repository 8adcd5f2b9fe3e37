/*
 * zap.h - the handler that libzmq asks about each new connection (ZeroMQ RFC 27), in a thread of
 * its own; it also looks for changed key files once a second.
 *
 * CURVE connections are admitted by the keyring and get their public key (Z85) as User-Id; those of
 * the plain domain must come from this machine and get "plain". A key that nobody knows waits up to
 * two seconds while the directory is looked at again. Everything else is refused, and so is every
 * connection when the handler is not there (broker_socket_secure()).
 */
#ifndef DAYBOOK_BUS_ZAP_H
#define DAYBOOK_BUS_ZAP_H

#include "services/bus/identity.h"

struct zap;

/* Is ready to be asked when it returns; before any endpoint is bound. NULL: no socket, or there is
 * a handler in this context already. The keyring must outlive it. */
struct zap *zap_start(void *zmq_context, struct keyring *keyring);
void zap_stop(struct zap *z); /* NULL is allowed */

#endif
