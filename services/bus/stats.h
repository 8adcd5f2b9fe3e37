/*
 * stats.h - what the bus counts, for GetStats and for the metrics page, and the two methods of
 * BusService, which the broker answers itself.
 *
 * Counters are atomic: every thread of the bus adds, the broker thread shows them.
 */
#ifndef DAYBOOK_BUS_STATS_H
#define DAYBOOK_BUS_STATS_H

#include "common/arena.h"
#include "common/base.h"
#include "services/bus/registry.h"

#define BUS_SERVICE_NAME "daybook.bus.v1.BusService"

enum bus_stat {
    STAT_REQUESTS,
    STAT_ANSWERS,
    STAT_PARTIALS,
    STAT_REDISPATCHED,
    STAT_REFUSED, /* answered by the bus itself with an error */
    STAT_DROPPED, /* messages that were not understood */
    STAT_PROBES,
    STAT_LATE_ANSWERS, /* with an unknown or finished token */
    STAT_UNROUTABLE,   /* the client is gone */
    STAT_PEER_FULL,    /* the client does not read */
    STAT_WORKERS_LOST,
    STAT_NOT_ADMITTED,
    STAT_WAKES,
    STAT_ZAP_ACCEPTED,
    STAT_ZAP_REFUSED,
    STAT_ZAP_WAITED,
    STAT_SUBSCRIPTIONS,
    STAT_SUBSCRIPTIONS_REFUSED,
    STAT_PUBLISHED,
    STAT_HEADS,
    STAT_DRAINS,
    STAT_FENCED,
    STATS,
};

void stat_add(enum bus_stat s, int64_t n);
int64_t stat_get(enum bus_stat s);

/* Shared state of the relay, for GetStats and metrics. */
void stats_set_leader(bool leader);
bool stats_is_leader(void);
void stats_set_published(int64_t seq);
int64_t stats_published(void);

/* Messages dropped by reason, and requests refused by reason; service: NULL or a stranger's name is
 * shown as "other". */
void stats_count_dropped(const char *why);
void stats_count_rejected(struct service *s, const char *reason);
/* Brings gauges and counters of the metrics page up to date; once a second, broker thread. */
void stats_export(const struct registry *r);

/* The answer of BusService/<method>, in the arena; NULL: no such method, known_out says false then, or the
 * arena is full. */
ProtobufCMessage *stats_answer(const struct registry *r, const char *method, size_t method_len,
                               struct arena *a, bool *known_out);

#endif
