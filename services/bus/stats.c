/* stats.c - see stats.h. */
#include "services/bus/stats.h"

#include <stdatomic.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/version.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"

static _Atomic int64_t counters[STATS];
static _Atomic bool leader;
static _Atomic int64_t published;
static _Atomic int64_t started_at_us;

static const char *const names[STATS] = {
    [STAT_REQUESTS] = "requests",
    [STAT_ANSWERS] = "answers",
    [STAT_PARTIALS] = "partials",
    [STAT_REDISPATCHED] = "redispatched",
    [STAT_REFUSED] = "refused",
    [STAT_DROPPED] = "dropped",
    [STAT_PROBES] = "probes",
    [STAT_LATE_ANSWERS] = "late_answers",
    [STAT_UNROUTABLE] = "unroutable",
    [STAT_PEER_FULL] = "peer_full",
    [STAT_WORKERS_LOST] = "workers_lost",
    [STAT_NOT_ADMITTED] = "not_admitted",
    [STAT_WAKES] = "wakes",
    [STAT_ZAP_ACCEPTED] = "handshakes_accepted",
    [STAT_ZAP_REFUSED] = "handshakes_refused",
    [STAT_ZAP_WAITED] = "handshakes_waited",
    [STAT_SUBSCRIPTIONS] = "subscriptions",
    [STAT_SUBSCRIPTIONS_REFUSED] = "subscriptions_refused",
    [STAT_PUBLISHED] = "published",
    [STAT_HEADS] = "heads",
    [STAT_DRAINS] = "drains",
    [STAT_FENCED] = "fenced",
};

static struct metric events_total = {
    .name = "daybook_bus_events_total",
    .type = METRIC_COUNTER,
    .help = "What happened at the bus, as in BusService/GetStats.",
    .labels = { "event" },
};
static struct metric dropped_total = {
    .name = "daybook_bus_dropped_total",
    .type = METRIC_COUNTER,
    .help = "Messages that were not understood, by what was wrong.",
    .labels = { "reason" },
};
static struct metric rejected_total = {
    .name = "daybook_bus_rejected_total",
    .type = METRIC_COUNTER,
    .help = "Requests that the bus answered with an error of its own.",
    .labels = { "service", "reason" },
};
static struct metric queue_depth = {
    .name = "daybook_bus_queue_depth",
    .type = METRIC_GAUGE,
    .help = "Requests that wait for a worker.",
    .labels = { "service" },
};
static struct metric workers = {
    .name = "daybook_bus_workers",
    .type = METRIC_GAUGE,
    .help = "Registered worker slots.",
    .labels = { "service" },
};

void stat_add(enum bus_stat s, int64_t n)
{
    atomic_fetch_add_explicit(&counters[s], n, memory_order_relaxed);
}

int64_t stat_get(enum bus_stat s)
{
    return atomic_load_explicit(&counters[s], memory_order_relaxed);
}

void stats_set_leader(bool is)
{
    atomic_store(&leader, is);
}

bool stats_is_leader(void)
{
    return atomic_load(&leader);
}

void stats_set_published(int64_t seq)
{
    atomic_store(&published, seq);
}

int64_t stats_published(void)
{
    return atomic_load(&published);
}

void stats_count_dropped(const char *why)
{
    stat_add(STAT_DROPPED, 1);
    metric_add(&dropped_total, 1, (const char *const[]){ why });
}

void stats_count_rejected(struct service *s, const char *reason)
{
    stat_add(STAT_REFUSED, 1);
    if (s)
        s->rejected++;
    const char *name = s && !service_is_stranger(s) ? s->name : "other";
    metric_add(&rejected_total, 1, (const char *const[]){ name, reason });
}

void stats_export(const struct registry *r)
{
    static int64_t shown[STATS];
    for (enum bus_stat s = 0; s < STATS; s++) {
        int64_t now = stat_get(s);
        metric_add(&events_total, now - shown[s], (const char *const[]){ names[s] });
        shown[s] = now;
    }
    for (struct hnode *n = NULL; (n = hmap_next(&r->services, n));) {
        const struct service *s = HMAP_OWNER(n, struct service, node);
        if (service_is_stranger(s))
            continue;
        const char *labels[] = { s->name };
        metric_set(&queue_depth, (double)s->queue.count, labels);
        metric_set(&workers, s->workers, labels);
    }
    int64_t unset = 0;
    atomic_compare_exchange_strong(&started_at_us, &unset, clock_wall_us());
}

/* --- BusService ----------------------------------------------------------------------------- */

static int by_name(const void *x, const void *y)
{
    const Daybook__Bus__V1__ServiceState *const *a = x, *const *b = y;
    return strcmp((*a)->name, (*b)->name);
}

static Daybook__Bus__V1__ServiceState *service_state(const struct service *s, struct arena *a)
{
    Daybook__Bus__V1__ServiceState *m = wire_new(&daybook__bus__v1__service_state__descriptor, a);
    if (!m)
        return NULL;
    m->name = arena_strdup(a, s->name);
    m->workers = s->workers;
    m->idle_workers = s->idle;
    m->queued = (int32_t)s->queue.count;
    m->queued_bytes = (int64_t)s->queue.bytes;
    m->requests = s->requests;
    m->rejected = s->rejected;
    return m->name ? m : NULL;
}

static ProtobufCMessage *list_services(const struct registry *r, struct arena *a)
{
    Daybook__Bus__V1__ListServicesResponse *m =
        wire_new(&daybook__bus__v1__list_services_response__descriptor, a);
    if (!m)
        return NULL;
    m->services = arena_array(a, r->services.count + 1, sizeof(*m->services));
    if (!m->services)
        return NULL;
    for (struct hnode *n = NULL; (n = hmap_next(&r->services, n));) {
        const struct service *s = HMAP_OWNER(n, struct service, node);
        if (service_is_stranger(s))
            continue;
        m->services[m->n_services] = service_state(s, a);
        if (!m->services[m->n_services++])
            return NULL;
    }
    qsort(m->services, m->n_services, sizeof(*m->services), by_name);
    return &m->base;
}

static int by_key(const void *x, const void *y)
{
    const Daybook__Bus__V1__GetStatsResponse__CountersEntry *const *a = x, *const *b = y;
    return strcmp((*a)->key, (*b)->key);
}

static ProtobufCMessage *get_stats(struct arena *a)
{
    Daybook__Bus__V1__GetStatsResponse *m =
        wire_new(&daybook__bus__v1__get_stats_response__descriptor, a);
    if (!m)
        return NULL;
    m->counters = arena_array(a, STATS, sizeof(*m->counters));
    for (enum bus_stat s = 0; m->counters && s < STATS; s++) {
        Daybook__Bus__V1__GetStatsResponse__CountersEntry *e =
            wire_new(&daybook__bus__v1__get_stats_response__counters_entry__descriptor, a);
        if (!e)
            return NULL;
        e->key = arena_strdup(a, names[s]);
        e->value = stat_get(s);
        if (!e->key)
            return NULL;
        m->counters[m->n_counters++] = e;
    }
    if (!m->counters)
        return NULL;
    qsort(m->counters, m->n_counters, sizeof(*m->counters), by_key);
    m->version = arena_strdup(a, daybook_version());
    m->started_at = wire_time(a, atomic_load(&started_at_us));
    m->relay_leader = stats_is_leader();
    m->published_seq = stats_published();
    return m->version && m->started_at ? &m->base : NULL;
}

ProtobufCMessage *stats_answer(const struct registry *r, const char *method, size_t method_len,
                               struct arena *a, bool *known_out)
{
    *known_out = true;
    if (method_len == strlen("ListServices") && memcmp(method, "ListServices", method_len) == 0)
        return list_services(r, a);
    if (method_len == strlen("GetStats") && memcmp(method, "GetStats", method_len) == 0)
        return get_stats(a);
    *known_out = false;
    return NULL;
}
