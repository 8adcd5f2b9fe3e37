/*
 * relay.h - the sequencer: moves events from the outbox into the log and hands them to the
 * publisher after the commit (protocols F.3, operations 4).
 *
 * One relay leads, by an advisory lock on its own connection; others stand by and take over when
 * the lock is free, or when its holder has not moved anything for 3 s although there is work
 * (F08). Taking the lead raises bus.head.term, and every drain asks for its term: who has lost the
 * lead without noticing moves nothing any more (F59). A leader also looks whether history went back
 * (timeline, or a seq that it saw is not what it was) and then gives the log a new log_id (F15).
 *
 * Woken by an empty message on BROKER_RELAY_WAKE; looks by itself each 100 ms. Each second without
 * an event it announces the head, leading or not.
 */
#ifndef DAYBOOK_BUS_RELAY_H
#define DAYBOOK_BUS_RELAY_H

#include "common/base.h"

struct relay_config {
    const char *conninfo; /* a direct one: the lock belongs to the session */
    const char *application_name;
    void *zmq_context;
    int batch;          /* 0 = 500; fewer when they do not fit into the memory */
    size_t arena_bytes; /* for the events of a batch; 0 = 160 MiB */
};

struct relay;

/* Connects to nothing yet but its sockets. NULL: out of memory or sockets. */
struct relay *relay_new(const struct relay_config *config);
/* Until stopping() says so; then gives the lead back. */
void relay_run(struct relay *r, bool (*stopping)(void *arg), void *arg);
void relay_free(struct relay *r);

#endif
