/*
 * resolve.h - the addresses of names, looked up off every thread that must not wait (F65).
 *
 * getaddrinfo() may take many seconds. libzmq calls it in its one I/O thread, hiredis in its caller's,
 * so both get numeric addresses from here. Each name has a thread of its own: a slow one holds up no
 * other. It is looked up again every 5 s, every second while no address is known, and when somebody
 * asks for it; who asks gets what the last lookup gave, at once. While lookups fail, the last good
 * address holds. An address stays for as long as it is among the answers, so that a server that turns
 * them round moves nobody; else the first is taken, IPv4 before IPv6.
 *
 * Who use one name share its thread, which ends with the last of them (a lookup that hangs then is left
 * to itself). All functions may be called from any thread; none but resolve_wait() waits.
 */
#ifndef DAYBOOK_COMMON_RESOLVE_H
#define DAYBOOK_COMMON_RESOLVE_H

#include "common/base.h"

#define RESOLVE_TEXT_MAX 512 /* with its NUL */
#define RESOLVE_NAMES_MAX 64 /* different ones at once */

struct resolve;

/*
 * endpoint: "tcp://name:port" as libzmq takes it. One that names an address already, and every other
 * transport, is given out as it is, without a thread. NULL: malformed, too many names, no memory.
 */
struct resolve *resolve_acquire_endpoint(const char *endpoint);
/* The same for the name of a host alone, or a numeric address without brackets. */
struct resolve *resolve_acquire_host(const char *host);
void resolve_release(struct resolve *r); /* NULL is allowed */

/* Another number whenever the address is another; 0: none is known yet. One atomic load. */
uint64_t resolve_generation(const struct resolve *r);
/* The endpoint or host with the address in place of the name, and its generation. False: not known
 * yet. */
NODISCARD bool resolve_get(const struct resolve *r, char out[static RESOLVE_TEXT_MAX],
                           uint64_t *generation_out);
/* Waits for the first address until then (monotonic); false: still none. */
NODISCARD bool resolve_wait(const struct resolve *r, int64_t until_us);
/* Looks again now, at most once a second: for who cannot reach the address. */
void resolve_again(const struct resolve *r);

#endif
