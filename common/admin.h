/*
 * admin.h - the admin listener of a daemon: health, metrics and version over HTTP/1.1.
 *
 *   /startupz /livez /readyz   200 "ok" or 503 and what is wrong; with ?verbose JSON, a check a
 * line /metrics                   Prometheus text /version                   JSON: version and
 * commit
 *
 * It has a thread of its own, so that it answers while the loop or all workers are stuck; that is
 * when it is needed most. Bounded: 64 connections, 8 KiB of header, 5 seconds, one request each.
 * There is no authentication: bind it to loopback or a network of the operator's own.
 */
#ifndef DAYBOOK_COMMON_ADMIN_H
#define DAYBOOK_COMMON_ADMIN_H

#include "common/base.h"

#define ADMIN_CHECKS_MAX 16

struct admin_check {
    const char *name; /* static, e.g. "database" */
    bool ok;
    char detail[120]; /* for an operator; no secrets, no personal data */
};

/*
 * Fills at most `max` checks and returns how many. Called in the admin thread at each request: it
 * must be thread-safe and must not wait for anything; read what the daemon's threads have noted.
 */
typedef size_t admin_checks_fn(void *ctx, struct admin_check *checks, size_t max);

/* A probe passes when all its checks are ok; a NULL function is a probe without checks. */
struct admin_hooks {
    admin_checks_fn *started;
    admin_checks_fn *live;
    admin_checks_fn *ready;
    void *ctx;
};

struct admin;

/* address: see net.h. hooks are copied. NULL: not to be had (errno, as net_listen()). */
struct admin *admin_start(const char *address, const struct admin_hooks *hooks);
/* The address in use, with the real port. */
const char *admin_address(const struct admin *a);
void admin_stop(struct admin *a); /* ends the thread and the connections; NULL is allowed */

/* The client of `<daemon> --health`: 0 when /readyz says 200 within 5 s, else 1. */
int admin_health(const char *address);

#endif
