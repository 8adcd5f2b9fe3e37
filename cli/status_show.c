/*
 * status_show.c - see status.h.
 */
#include "cli/rows.h"
#include "cli/status.h"

/* --- tables ----------------------------------------------------------------------------------- */

static bool show_daemons(struct cli *c, const struct status *s)
{
    static const char *const headers[] = { "DAEMON",  "STATE",   "VERSION", ">MEMORY",
                                           "ADDRESS", "WHY NOT", NULL };
    struct table *t = table_new(c->arena, headers);
    for (size_t i = 0; t && i < s->ndaemons; i++) {
        const struct daemon_state *d = &s->daemons[i];
        const char *cells[] = {
            d->name,
            d->ready     ? "ready"
            : d->answers ? "NOT READY"
                         : "AWAY",
            *d->version ? arena_printf(c->arena, "%s (%s)", d->version, d->commit) : NULL,
            d->memory_bytes > 0 ? arena_printf(c->arena, "%.1f MiB", d->memory_bytes / 1048576)
                                : NULL,
            d->address,
            d->why,
        };
        if (!table_add(t, cells))
            return false;
    }
    if (t)
        table_print(t, stdout);
    return t != NULL;
}

static bool show_services(struct cli *c, const struct status *s)
{
    static const char *const headers[] = { "SERVICE",   ">WORKERS", ">IDLE", ">QUEUED",
                                           ">REQUESTS", ">REFUSED", NULL };
    struct table *t = table_new(c->arena, headers);
    for (size_t i = 0; t && i < s->services->n_services; i++) {
        const Daybook__Bus__V1__ServiceState *v = s->services->services[i];
        const char *cells[] = {
            v->name,
            arena_printf(c->arena, "%d", v->workers),
            arena_printf(c->arena, "%d", v->idle_workers),
            arena_printf(c->arena, "%d", v->queued),
            arena_printf(c->arena, "%" PRId64, v->requests),
            arena_printf(c->arena, "%" PRId64, v->rejected),
        };
        if (!table_add(t, cells))
            return false;
    }
    if (t)
        table_print(t, stdout);
    return t != NULL;
}

static bool show_consumers(struct cli *c, const struct status *s)
{
    static const char *const headers[] = { "CONSUMER", ">AT", ">LAG", ">PARKED", "", NULL };
    struct table *t = table_new(c->arena, headers);
    for (size_t i = 0; t && i < s->nconsumers; i++) {
        const struct consumer_state *k = &s->consumers[i];
        bool known = !*k->fault;
        const char *note =
            !known            ? k->fault
            : !k->started     ? "has never run"
            : k->replay_until ? arena_printf(c->arena, "rebuilding up to %" PRId64, k->replay_until)
            : k->parked       ? "why: daybook events parked"
                              : "";
        const char *cells[] = {
            k->name,
            known ? arena_printf(c->arena, "%" PRId64, k->seq) : NULL,
            known && s->has_log ? arena_printf(c->arena, "%" PRId64, MAX(s->head_seq - k->seq, 0))
                                : NULL,
            known ? arena_printf(c->arena, "%" PRId64, k->parked) : NULL,
            note,
        };
        if (!table_add(t, cells))
            return false;
    }
    if (t)
        table_print(t, stdout);
    return t != NULL;
}

static int show_tables(struct cli *c, const struct status *s)
{
    bool ok = c->over_http || show_daemons(c, s);
    if (!c->over_http)
        (void)printf("\n");
    if (s->services)
        ok = ok && show_services(c, s);
    else
        (void)printf("bus: %s\n", s->bus_fault);
    (void)printf("\n");
    if (s->has_log) {
        (void)printf("log: head %" PRId64 ", %" PRId64 " events not published yet\n", s->head_seq,
                     s->outbox);
        ok = ok && show_consumers(c, s);
        if (s->lists_waiting > 0)
            (void)printf("daily lists to be refreshed: %" PRId64 "\n", s->lists_waiting);
        if (s->timers_waiting >= 0)
            (void)printf("timers parked: %" PRId64 "%s\n", s->timers_waiting,
                         s->timers_waiting ? "  why: daybook timers parked" : "");
    } else {
        (void)printf("log: %s\n", s->log_fault);
        ok = ok && (!c->over_http || show_consumers(c, s));
    }
    if (s->timers_fault && *s->timers_fault)
        (void)printf("timers: %s\n", s->timers_fault);
    (void)printf("\n%s, %s\n", s->ready ? "all ready" : "NOT all ready",
                 s->settled ? "settled" : "not settled");
    return ok ? 0 : cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the status cannot be shown");
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *daemons_json(const struct status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->ndaemons; i++) {
        const struct daemon_state *d = &s->daemons[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:b,s:b,s:s,s:s,s:s,s:I}", "name", d->name,
                                        "address", d->address, "answers", (int)d->answers, "ready",
                                        (int)d->ready, "version", d->version, "commit", d->commit,
                                        "why", d->why, "memoryBytes", (json_int_t)d->memory_bytes));
    }
    return list;
}

static json_t *services_json(const struct status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; s->services && i < s->services->n_services; i++) {
        const Daybook__Bus__V1__ServiceState *v = s->services->services[i];
        json_array_append_new(
            list, json_pack("{s:s,s:i,s:i,s:i,s:I,s:I}", "name", v->name, "workers", v->workers,
                            "idleWorkers", v->idle_workers, "queued", v->queued, "requests",
                            (json_int_t)v->requests, "rejected", (json_int_t)v->rejected));
    }
    return list;
}

static json_t *consumers_json(const struct status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->nconsumers; i++) {
        const struct consumer_state *k = &s->consumers[i];
        if (*k->fault) {
            json_array_append_new(list, json_pack("{s:s,s:s}", "name", k->name, "fault", k->fault));
            continue;
        }
        json_array_append_new(list, json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "name", k->name,
                                              "started", (int)k->started, "seq", (json_int_t)k->seq,
                                              "lag", (json_int_t)MAX(s->head_seq - k->seq, 0),
                                              "replayUntil", (json_int_t)k->replay_until, "parked",
                                              (json_int_t)k->parked));
    }
    return list;
}

static int show_json(struct cli *c, const struct status *s)
{
    json_t *root =
        json_pack("{s:b,s:b,s:o,s:o}", "settled", (int)s->settled, "ready", (int)s->ready,
                  "services", services_json(s), "consumers", consumers_json(s));
    if (!c->over_http)
        json_object_set_new(root, "daemons", daemons_json(s));
    if (*s->bus_fault)
        json_object_set_new(root, "busFault", json_string(s->bus_fault));
    if (s->has_log) {
        json_object_set_new(root, "headSeq", json_integer(s->head_seq));
        json_object_set_new(root, "outbox", json_integer(s->outbox));
    } else {
        json_object_set_new(root, "logFault", json_string(s->log_fault));
    }
    if (s->lists_waiting >= 0)
        json_object_set_new(root, "listsWaiting", json_integer(s->lists_waiting));
    if (s->timers_waiting >= 0)
        json_object_set_new(root, "timersParked", json_integer(s->timers_waiting));
    if (s->timers_fault && *s->timers_fault)
        json_object_set_new(root, "timersFault", json_string(s->timers_fault));
    return rows_print_json(c, root);
}

int status_show(struct cli *c, const struct status *s)
{
    return c->json ? show_json(c, s) : show_tables(c, s);
}
