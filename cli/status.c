/*
 * status.c - is it all there, and has it all been done?
 *
 * "Settled" is judged from one snapshot of the database: a reaction moves its cursor in the same
 * transaction in which it emits, so there is no moment at which work is in neither place. Without
 * the database it is judged by the daemons' gauges, which are a moment old. What services tell over
 * HTTP is in status_http.c.
 */
#include "cli/status.h"

#include <jansson.h>
#include <poll.h>

#include "cli/admin_ask.h"
#include "cli/sql.h"
#include "cli/timers.h"
#include "common/clock.h"
#include "common/num.h"
#include "common/sql.h"
#include "common/sql_schema.h"

#define ADMIN_TIMEOUT_MS 2000
#define PAGE_LIMIT (4 * MIB)
#define QUERY_TIMEOUT_US (5 * SECOND_US)
#define WAIT_STEP_MS 20
#define HTTP_WAIT_STEP_MS 250 /* the gateway bounds the rate of a key */
#define BUS_SERVICE "daybook.bus.v1.BusService"

/* --- the admin listeners ---------------------------------------------------------------------- */

static char *text_of(struct cli *c, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    char *copy = text ? text_plain(c->arena, text) : arena_strdup(c->arena, "");
    return copy;
}

/* {"ready":false,"checks":[{"name":…,"ok":…,"detail":…}]} -> what is wrong. */
static const char *reasons(struct cli *c, const char *page)
{
    struct sbuf out;
    json_t *root = json_loads(page, 0, NULL);
    json_t *checks = json_object_get(root, "checks");
    size_t i;
    json_t *check;
    sbuf_init(&out, 4 * KIB);
    json_array_foreach(checks, i, check)
    {
        if (json_is_true(json_object_get(check, "ok")))
            continue;
        const char *detail = json_string_value(json_object_get(check, "detail"));
        const char *name = json_string_value(json_object_get(check, "name"));
        sbuf_addf(&out, "%s%s: %s", out.len ? "; " : "", name ? name : "?", detail ? detail : "");
    }
    const char *text = text_plain(c->arena, out.len ? out.data : "says it is not ready");
    sbuf_fini(&out);
    json_decref(root);
    return text ? text : "";
}

static void ask_ready(struct cli *c, struct daemon_state *d)
{
    struct sbuf page;
    sbuf_init(&page, PAGE_LIMIT);
    int code = admin_ask(d->address, "/readyz?verbose", ADMIN_TIMEOUT_MS, &page);
    d->answers = code != 0;
    d->ready = code == 200;
    d->why = d->ready ? "" : d->answers ? reasons(c, page.data) : "does not answer";
    sbuf_fini(&page);
}

static void ask_version(struct cli *c, struct daemon_state *d)
{
    struct sbuf page;
    sbuf_init(&page, PAGE_LIMIT);
    if (admin_ask(d->address, "/version", ADMIN_TIMEOUT_MS, &page) == 200) {
        json_t *root = json_loads(page.data, 0, NULL);
        d->version = text_of(c, root, "version");
        d->commit = text_of(c, root, "commit");
        json_decref(root);
    }
    sbuf_fini(&page);
}

static void ask_metrics(struct daemon_state *d)
{
    struct sbuf page;
    sbuf_init(&page, PAGE_LIMIT);
    if (admin_ask(d->address, "/metrics", ADMIN_TIMEOUT_MS, &page) == 200) {
        (void)admin_metric(page.data, "process_resident_memory_bytes", NULL, &d->memory_bytes);
        (void)admin_metric(page.data, "daybook_outbox_rows", NULL, &d->outbox_rows);
        (void)admin_metric(page.data, "daybook_consumer_lag_events", NULL, &d->lag_events);
        (void)admin_metric(page.data, "daybook_task_lists_waiting", NULL, &d->lists_waiting);
        (void)admin_metric(page.data, "daybook_cache_circuit", NULL, &d->cache_circuit);
    }
    sbuf_fini(&page);
}

/* "bus=127.0.0.1:9601 directory=127.0.0.1:9602" */
static bool ask_daemons(struct cli *c, struct status *s)
{
    const char *list = cli_setting(c, "STATUS");
    char *rest = arena_strdup(c->arena, list ? list : "");
    for (char *one; (one = strsep(&rest, " ,\n"));) {
        char *equals = strchr(one, '=');
        if (!*one)
            continue;
        if (!equals || s->ndaemons == STATUS_DAEMONS_MAX) {
            (void)cli_unset(c, "DAYBOOK_STATUS is NAME=HOST:PORT ..., not %.80s", one);
            return false;
        }
        *equals = '\0';
        struct daemon_state *d = &s->daemons[s->ndaemons++];
        *d = (struct daemon_state){ .name = one,
                                    .address = equals + 1,
                                    .version = "",
                                    .commit = "",
                                    .outbox_rows = -1,
                                    .lag_events = -1,
                                    .lists_waiting = -1 };
        ask_ready(c, d);
        if (d->answers) {
            ask_version(c, d);
            ask_metrics(d);
        }
        if (d->lists_waiting >= 0)
            s->lists_waiting = MAX(s->lists_waiting, 0) + (int64_t)d->lists_waiting;
        if (d->lists_waiting > 0 && d->cache_circuit <= 0)
            s->lists_coming += (int64_t)d->lists_waiting;
    }
    return true;
}

/* --- the bus ---------------------------------------------------------------------------------- */

static void ask_bus(struct cli *c, struct status *s)
{
    struct bus_answer answer;
    Daybook__Bus__V1__ListServicesRequest ask = DAYBOOK__BUS__V1__LIST_SERVICES_REQUEST__INIT;

    s->bus_fault = "cannot be reached";
    if (!c->bus) /* as the operator, whatever company --tenant names */
        return;
    enum err e = cli_ask(c, BUS_SERVICE, "ListServices", &ask.base, &answer);
    if (e) {
        const char *said = answer.result && answer.result->status ? answer.result->status->message
                                                                  : "does not answer";
        s->bus_fault = text_plain(c->arena, said);
        return;
    }
    s->services = (const void *)answer.message;
    s->bus_fault = "";
}

/* --- the database ----------------------------------------------------------------------------- */

static enum err exists(struct db *db, const char *name, bool *out)
{
    const char *params[] = { name };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_table_exists, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *out = db_row_bool(&row, "found");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err read_log(struct db *db, struct status *s)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_log_position, NULL, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    s->head_seq = db_row_i64(&row, "head_seq");
    s->outbox = db_row_i64(&row, "waiting");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err read_cursor(struct db *db, const struct area *area, struct status *s)
{
    const char *const params[] = { area->name, NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, sql_for_schema(&sql_consumer_state, area->name), params, &res);
    if (e || s->nconsumers == STATUS_CONSUMERS_MAX)
        return e;
    struct db_row row = { .res = res };
    s->consumers[s->nconsumers++] = (struct consumer_state){
        .name = area->name,
        .started = db_row_bool(&row, "started"),
        .seq = db_row_i64(&row, "seq"),
        .replay_until = db_row_i64(&row, "replay_until_seq"),
        .parked = db_row_i64(&row, "parked"),
        .fault = "",
    };
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err read_database(struct cli *c, struct db *db, struct status *s)
{
    bool there = false;
    enum err e = db_queue(db, &sql_snapshot, NULL);
    if (!e)
        e = exists(db, "bus.outbox", &there);
    if (!e && there)
        e = read_log(db, s);
    for (const struct area *a = areas; a->name && !e && there; a++) {
        char table[64];
        bool has_cursor = false;
        if (!a->consumes)
            continue;
        snprintf(table, sizeof table, "%s.consumer_cursor", a->name);
        e = exists(db, table, &has_cursor);
        if (!e && has_cursor)
            e = read_cursor(db, a, s);
    }
    bool has_duties = false;
    if (!e)
        e = exists(db, "reminders.obligation", &has_duties);
    if (!e && has_duties) /* last, since from here on only one company's rows are seen */
        e = timers_waiting(c, db, &s->timers_waiting);
    s->has_log = !e && there;
    return e;
}

static void ask_database(struct cli *c, struct status *s)
{
    s->log_fault = "DAYBOOK_MIGRATE_URL is not set";
    if (!cli_has_db(c))
        return;
    s->log_fault = "the database does not answer";
    if (cli_connect(c) || db_begin(c->db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US))
        return;
    enum err e = read_database(c, c->db, s);
    db_rollback(c->db);
    s->log_fault = e ? err_name(e) : s->has_log ? "" : "the schemas are not there: daybook migrate";
}

/* --- the sum ---------------------------------------------------------------------------------- */

/* None is behind, and nothing is on its way into the log. */
static bool settled_by_log(const struct status *s)
{
    bool settled = s->outbox == 0 && s->lists_coming == 0;
    for (size_t i = 0; i < s->nconsumers; i++)
        settled =
            settled && s->consumers[i].seq >= s->head_seq && s->consumers[i].replay_until == 0;
    return settled;
}

static bool settled_by_gauges(const struct status *s)
{
    bool outbox_known = false, settled = true;
    for (size_t i = 0; i < s->ndaemons; i++) {
        const struct daemon_state *d = &s->daemons[i];
        outbox_known = outbox_known || d->outbox_rows >= 0;
        settled = settled && d->outbox_rows <= 0 && d->lag_events <= 0;
    }
    return settled && outbox_known;
}

static void look_over_http(struct cli *c, struct status *s)
{
    status_ask_services(c, s);
    s->ready = s->failed == ERR_OK;
    s->settled = s->ready && settled_by_log(s);
}

static bool look(struct cli *c, struct status *s)
{
    *s = (struct status){ .bus_fault = "", .lists_waiting = -1, .timers_waiting = -1 };
    if (c->over_http) {
        look_over_http(c, s);
        return true;
    }
    if (!ask_daemons(c, s))
        return false;
    ask_bus(c, s);
    ask_database(c, s);
    s->ready = s->ndaemons > 0 && s->services;
    for (size_t i = 0; i < s->ndaemons; i++)
        s->ready = s->ready && s->daemons[i].ready;
    s->settled = s->ready && (s->has_log ? settled_by_log(s) : settled_by_gauges(s));
    return true;
}

/* What must be there before anything is asked. 0, or an exit status. */
static int open_ways(struct cli *c)
{
    int status = 0;
    if (c->over_http)
        return cli_way(c, &status) ? 0 : status;
    const char *listeners = cli_setting(c, "STATUS");
    if (!listeners || !*listeners)
        return cli_unset(c, "DAYBOOK_STATUS is not set: NAME=HOST:PORT of each daemon's admin "
                            "listener, parted by spaces; with --url services are asked");
    (void)cli_bus(c, &status); /* said once, and the rest is shown */
    return 0;
}

/* Waiting does not help against what the key may not. */
static bool is_enough(const struct status *s)
{
    return s->settled || (s->failed && !s->may_pass);
}

int cmd_status(struct cli *c)
{
    const char *wait = args_value(&c->args, "wait");
    int64_t wait_us = 0, until_us;
    static struct status s; /* too large for some stacks */

    if (wait && !num_duration_us(wait, &wait_us))
        return cli_usage(c, "--wait is a duration such as 30s, not %.40s", wait);
    int status = open_ways(c);
    if (status)
        return status;
    until_us = clock_monotonic_us() + wait_us;
    for (;;) {
        arena_reset(c->arena);
        if (!look(c, &s))
            return EXIT_SETTINGS;
        if (is_enough(&s) || clock_monotonic_us() >= until_us)
            break;
        (void)poll(NULL, 0, c->over_http ? HTTP_WAIT_STEP_MS : WAIT_STEP_MS);
    }
    status = status_show(c, &s);
    if (status)
        return status;
    if (s.failed)
        return cli_call_failed(c, s.failed_what, s.failed, &s.failed_answer);
    if (!s.ready)
        return cli_fail(c, ERR_UNAVAILABLE, "not all daemons are ready");
    if (wait && !s.settled)
        return cli_fail(c, ERR_UNAVAILABLE, "not settled within %s", wait);
    return 0;
}
