/*
 * bus_peers.h - the connections of one socket to the buses, wherever their names lead.
 *
 * libzmq is given numeric addresses only (resolve.h). A bus whose name is not known yet is connected
 * to once it is; one that has moved is left and found at its new address. What was on its way there
 * and back is lost, as with a connection that breaks, and so may be what is sent at that moment. Of the
 * socket's thread; nothing here waits.
 */
#ifndef DAYBOOK_COMMON_BUS_PEERS_H
#define DAYBOOK_COMMON_BUS_PEERS_H

#include "common/base.h"

#define BUS_PEERS_MAX 16

struct bus_peers;

/* Connects to each of several endpoints, parted by commas, whose address is known. The socket is
 * borrowed. NULL: one is malformed, too many, no memory. */
struct bus_peers *bus_peers_new(void *zmq_socket, const char *endpoints);
void bus_peers_free(struct bus_peers *p); /* leaves the socket alone; NULL is allowed */

/* To be called every now and then: an atomic load each endpoint while nothing changes. True: the
 * socket was changed, which may use up the edge of its descriptor. */
bool bus_peers_follow(struct bus_peers *p);
/* A bus that was connected to has another address, which following will leave. */
bool bus_peers_has_moved(const struct bus_peers *p);
/* How long until it is to be followed again: short while a name is not known. */
int64_t bus_peers_wait_us(const struct bus_peers *p);

/* Gives up the connections that the socket has, and what is on its way, for new ones to the same
 * addresses: what stands between may have forgotten a connection without a word, and then nobody else
 * finds out (F32). False: libzmq does not take one. */
NODISCARD bool bus_peers_reconnect(struct bus_peers *p);

/* One connection, to a numeric address. False: malformed. */
NODISCARD bool bus_peers_connect(void *zmq_socket, const char *address);

#endif
