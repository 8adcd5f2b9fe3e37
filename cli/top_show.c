/*
 * top_show.c - see top.h.
 */
#include "cli/top.h"

#include "cli/table.h"
#include "common/clock.h"

#define SERVICES_MAX 64
#define SERVICES_SHOWN 8

static const char *number(struct cli *c, const json_t *object, const char *key, int digits)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? arena_printf(c->arena, "%.*f", digits, json_number_value(v)) : NULL;
}

static bool show_daemons(struct cli *c, const json_t *daemons)
{
    static const char *const headers[] = { "DAEMON",   "STATE",     ">CPU %",  ">MiB",
                                           ">CALLS/S", ">P50 ms",   ">P99 ms", ">FAULTS/S",
                                           ">LAG",     ">BEHIND s", NULL };
    struct table *table = table_new(c->arena, headers);
    size_t i;
    json_t *d;
    json_array_foreach(daemons, i, d)
    {
        bool ready = json_is_true(json_object_get(d, "ready"));
        bool answers = json_is_true(json_object_get(d, "answers"));
        double cpu = json_number_value(json_object_get(d, "cpu")) * 100;
        double mib = json_number_value(json_object_get(d, "memoryBytes")) / MIB;
        const char *cells[] = {
            json_string_value(json_object_get(d, "name")),
            ready     ? "ready"
            : answers ? "NOT READY"
                      : "AWAY",
            arena_printf(c->arena, "%.0f", cpu),
            arena_printf(c->arena, "%.1f", mib),
            number(c, d, "callsPerSecond", 1),
            number(c, d, "p50Ms", 2),
            number(c, d, "p99Ms", 2),
            number(c, d, "faultsPerSecond", 1),
            number(c, d, "consumerLag", 0),
            number(c, d, "consumerLagSeconds", 1),
        };
        if (!table || !table_add(table, cells))
            return false;
    }
    table_print(table, stdout);
    return true;
}

/* Who waits stands first, then who is asked most. */
static int by_load(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    double qx = json_number_value(json_object_get(*x, "queued"));
    double qy = json_number_value(json_object_get(*y, "queued"));
    if (qx != qy)
        return qx < qy ? 1 : -1;
    double rx = json_number_value(json_object_get(*x, "callsPerSecond"));
    double ry = json_number_value(json_object_get(*y, "callsPerSecond"));
    return rx == ry ? 0 : rx < ry ? 1 : -1;
}

static bool show_services(struct cli *c, const json_t *services)
{
    static const char *const headers[] = { "SERVICE",  ">WORKERS", ">BUSY", ">QUEUED",
                                           ">CALLS/S", ">REFUSED", NULL };
    json_t *sorted[SERVICES_MAX] = { NULL }, *s;
    size_t n = 0, i;
    json_array_foreach(services, i, s)
    {
        if (n < ARRAY_LEN(sorted))
            sorted[n++] = s;
    }
    qsort(sorted, n, sizeof(sorted[0]), by_load);
    struct table *table = table_new(c->arena, headers);
    for (i = 0; table && i < n && i < SERVICES_SHOWN; i++) {
        const char *cells[] = { json_string_value(json_object_get(sorted[i], "name")),
                                number(c, sorted[i], "workers", 0),
                                number(c, sorted[i], "busy", 0),
                                number(c, sorted[i], "queued", 0),
                                number(c, sorted[i], "callsPerSecond", 1),
                                number(c, sorted[i], "refused", 0) };
        if (!table_add(table, cells))
            return false;
    }
    if (table)
        table_print(table, stdout);
    return table != NULL;
}

static void show_sums(struct cli *c, const json_t *frame)
{
    const json_t *log = json_object_get(frame, "log"), *timers = json_object_get(frame, "timers"),
                 *webhooks = json_object_get(frame, "webhooks");
    const char *late = number(c, timers, "latenessP99Ms", 0);
    (void)printf("log       at %s, %s events/s, %s wait, the oldest for %s s\n",
                 number(c, log, "headSeq", 0), number(c, log, "eventsPerSecond", 1),
                 number(c, log, "outboxRows", 0), number(c, log, "outboxOldestSeconds", 1));
    (void)printf("timers    %s due, %s fired/s, p99 %s%s late\n", number(c, timers, "due", 0),
                 number(c, timers, "firedPerSecond", 1), late ? late : "-", late ? " ms" : "");
    (void)printf("webhooks  %s wait, the oldest for %s s, %s delivered/s, %s failed/s\n",
                 number(c, webhooks, "pending", 0), number(c, webhooks, "oldestSeconds", 1),
                 number(c, webhooks, "deliveredPerSecond", 1),
                 number(c, webhooks, "failedPerSecond", 1));
}

bool top_show(struct cli *c, const json_t *frame, bool terminal, bool first)
{
    char time[TIME_TEXT_MAX];

    (void)printf("%sdaybook top  %s%s\n\n", terminal ? "\033[H\033[J" : "",
                 time_format(clock_wall_us(), time),
                 first ? "  (rates from the next look on)" : "");
    bool ok = show_daemons(c, json_object_get(frame, "daemons"));
    (void)printf("\n");
    show_sums(c, frame);
    (void)printf("\n");
    if (json_is_true(json_object_get(frame, "busAnswers")))
        return ok && show_services(c, json_object_get(frame, "services"));
    (void)printf("bus: does not answer\n");
    return ok;
}
