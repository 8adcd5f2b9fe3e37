/*
 * gear.h - what the bench's programs share: the bus's address from the environment (the same
 * DAYBOOK_BUS_… settings as everywhere), sockets, time, numbers of the command line.
 */
#ifndef DAYBOOK_BENCH_GEAR_H
#define DAYBOOK_BENCH_GEAR_H

#include "common/bus_client.h"

NORETURN void die(const char *fmt, ...) PRINTF(1, 2);
int64_t now_ns(void); /* monotonic */

/* BUS_ENDPOINT, BUS_EVENTS, BUS_SERVER_KEY, BUS_PUBLIC_KEY, BUS_SECRET_KEY_FILE; without a server
 * key, plain. */
struct bus_address gear_address(void);
/* A socket of the type with the house's options; a DEALER's connection stands. Dies when it cannot.
 */
void *gear_connect(void *zmq_context, int type, const struct bus_address *address,
                   const char *endpoint);
int gear_fd(void *socket);
bool gear_readable(void *socket);

/* "--name value" pairs; dies on anything else. */
struct gear_option {
    const char *name;
    const char *value; /* default in, given out */
};
void gear_options(struct gear_option *options, size_t n, int argc, char **argv);
const char *gear_text(const struct gear_option *options, size_t n, const char *name);
double gear_number(const struct gear_option *options, size_t n, const char *name);

#endif
