/*
 * net.h - addresses of our own listeners, "host:port" or "unix:<path>", and sockets on them.
 *
 * host may be a name, an IPv4 address, an IPv6 address in brackets, "*" for all, or empty for
 * 127.0.0.1. Names are looked up, which may block: at start only.
 */
#ifndef DAYBOOK_COMMON_NET_H
#define DAYBOOK_COMMON_NET_H

#include "common/base.h"

#define NET_ADDRESS_MAX 128

/*
 * A non-blocking, listening socket, or -1 (errno; EINVAL when the address is malformed or unknown).
 * A socket file that nobody listens on any more is replaced. actual_out gets the address in use,
 * with the real port when 0 was asked for.
 */
NODISCARD int net_listen(const char *address, int backlog, char actual_out[static NET_ADDRESS_MAX]);

/* A non-blocking socket, connected within timeout_ms; -1 (errno) otherwise. */
NODISCARD int net_connect(const char *address, int timeout_ms);

/* Closes *fd unless negative and sets it to -1; for CLEANUP. */
void net_closep(int *fd);

#endif
