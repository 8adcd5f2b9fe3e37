/*
 * bus_monitor.h - what libzmq says of a socket's connections: begun, ended, refused (zmq_socket_monitor(3)).
 *
 * Of the socket's thread.
 */
#ifndef DAYBOOK_COMMON_BUS_MONITOR_H
#define DAYBOOK_COMMON_BUS_MONITOR_H

#include "common/base.h"

/* A ZMQ_PAIR, to be waited for as any socket and to be read often: libzmq's own thread waits, and with it all of the
 * context's sockets, while its queue is full. events: ZMQ_EVENT_*. NULL: no memory, too many sockets. */
NODISCARD void *bus_monitor_open(void *zmq_context, void *socket, int events);
/* Before the socket itself is closed. NULL is allowed. */
void bus_monitor_close(void *socket, void *monitor);
/* The next ZMQ_EVENT_*. False: none is there. */
NODISCARD bool bus_monitor_next(void *monitor, uint16_t *event_out);

#endif
