/*
 * status.h - what `daybook status` finds out, and how it is shown.
 *
 *   status.c       asking: admin listeners, the bus, the database
 *   status_http.c  asking the services, over HTTP, where there is nothing else
 *   status_show.c  tables and JSON
 */
#ifndef DAYBOOK_CLI_STATUS_H
#define DAYBOOK_CLI_STATUS_H

#include "cli/cli.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define STATUS_DAEMONS_MAX 64
#define STATUS_CONSUMERS_MAX 32

struct daemon_state {
    const char *name, *address;
    bool answers, ready;
    const char *version, *commit; /* "" : not known */
    const char *why;              /* why not ready; "" when it is */
    double memory_bytes;
    double outbox_rows, lag_events, lists_waiting; /* -1: does not say */
    double cache_circuit;                          /* above 0: its cache is away */
};

struct consumer_state {
    const char *name;
    bool started;                      /* has a cursor */
    int64_t seq, replay_until, parked; /* over HTTP: parked of the key's company */
    const char *fault;                 /* why it is not known; "": it is */
};

struct status {
    struct daemon_state daemons[STATUS_DAEMONS_MAX];
    size_t ndaemons;
    const Daybook__Bus__V1__ListServicesResponse *services; /* NULL: the bus did not say */
    const char *bus_fault;                                  /* why; "" */
    /* from the database, or from those who have it */
    bool has_log;
    const char *log_fault;
    int64_t head_seq, outbox;
    struct consumer_state consumers[STATUS_CONSUMERS_MAX];
    size_t nconsumers;
    int64_t lists_waiting;    /* to be built ahead; -1: no daemon says */
    int64_t lists_coming;     /* of them, where the cache is there to take them */
    int64_t timers_waiting;   /* duties whose timer is parked; -1: cannot be told */
    const char *timers_fault; /* why, where it is known; NULL, "" */
    /* over HTTP: the first call that failed, unless it was the bus who would not tell */
    enum err failed;
    bool may_pass; /* it may do better when it is asked again */
    const char *failed_what;
    struct bus_answer failed_answer;
    /* the sum */
    bool ready;
    bool settled;
};

int status_show(struct cli *c, const struct status *s);
/* Fills in what services tell. */
void status_ask_services(struct cli *c, struct status *s);

#endif
