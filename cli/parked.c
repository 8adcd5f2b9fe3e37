/*
 * parked.c - events that a consumer could not take: which they are and why, and another try for
 * them. The consumer itself takes those that are marked; a mark is all that is made here. With --url
 * the daemons are asked, of the key's company; else the database, whether they are there or not.
 */
#include "cli/rows.h"
#include "cli/sql.h"
#include "common/clock.h"
#include "common/sql.h"
#include "common/sql_schema.h"
#include "daybook/common/v1/consumer.pb-c.h"

#define QUERY_TIMEOUT_US (10 * SECOND_US)
#define PAGE 1000

typedef Daybook__Common__V1__ListParkedEventsResponse Parked;
typedef Daybook__Common__V1__ReplayParkedEventsResponse Marked;

static const struct column columns[] = {
    { "CONSUMER", "consumer", "consumer", COLUMN_TEXT },
    { ">SEQ", "seq", "seq", COLUMN_NUMBER },
    { "EVENT", "type", "type", COLUMN_TEXT },
    { "ABOUT", "aggregate", "aggregate", COLUMN_TEXT },
    { ">TRIES", "tries", "attempts", COLUMN_NUMBER },
    { "SINCE", "since", "parked_at", COLUMN_TIME },
    { "STATE", "state", "state", COLUMN_TEXT },
    { "REASON", "reason", "reason", COLUMN_TEXT },
    { NULL, "tenantId", "_tenant_id", COLUMN_TEXT },
    { .key = NULL },
};

static const char *tenant_or_null(const struct cli *c)
{
    return *c->tenant ? c->tenant : NULL;
}

static int no_consumer(const struct cli *c, const char *name)
{
    return cli_usage(c,
                     "there is no consumer %.40s; there are directory, customers, visits, "
                     "reminders, scoring and gateway",
                     name);
}

/* --- parked ----------------------------------------------------------------------------------- */

/* A schema that is not migrated yet has none. */
static enum err list_one(struct cli *c, struct db *db, const char *schema, json_t *list)
{
    const char *const table[] = { arena_printf(c->arena, "%s.parked_event", schema) };
    const char *const params[] = { schema, tenant_or_null(c), "0", NULL };
    CLEANUP(db_result_clear) PGresult *found = NULL;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = table[0] ? db_exec(db, &sql_table_exists, table, &found) : ERR_RESOURCE_EXHAUSTED;
    struct db_row row = { .res = found };
    if (e || !db_row_bool(&row, "found"))
        return e;
    e = db_exec(db, sql_for_schema(&sql_parked_list, schema), params, &res);
    return e || rows_add(list, res, columns) ? e : ERR_INTERNAL;
}

static enum err list_parked(struct cli *c, struct db *db, const char *only, json_t *list)
{
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    for (const struct area *a = areas; a->name && !e; a++)
        if (a->consumes && (!only || strcmp(only, a->name) == 0))
            e = list_one(c, db, a->name, list);
    db_rollback(db);
    return e;
}

static bool list_one_by_calls(struct cli *c, const char *area, json_t *list, int *status_out)
{
    Daybook__Common__V1__ListParkedEventsRequest ask =
        DAYBOOK__COMMON__V1__LIST_PARKED_EVENTS_REQUEST__INIT;
    const char *service = cli_consumer_service(c, area);
    const Parked *page;

    ask.limit = PAGE;
    do {
        page = (const void *)cli_must_ask(c, service, "ListParked", &ask.base, status_out);
        if (!page)
            return false;
        if (!rows_add_messages(c, list, page->n_events, page->events, columns)) {
            *status_out = err_exit_code(ERR_RESOURCE_EXHAUSTED);
            return false;
        }
        ask.after_seq = page->n_events ? page->events[page->n_events - 1]->seq : 0;
    } while (page->more && page->n_events);
    return true;
}

static bool list_by_calls(struct cli *c, const char *only, json_t *list, int *status_out)
{
    bool ok = true;
    for (const struct area *a = areas; a->name && ok; a++)
        if (a->consumes && (!only || strcmp(only, a->name) == 0))
            ok = list_one_by_calls(c, a->name, list, status_out);
    return ok;
}

static bool list_by_database(struct cli *c, const char *only, json_t *list, int *status_out)
{
    struct db *db = cli_db(c, status_out);
    enum err e = db ? list_parked(c, db, only, list) : ERR_OK;
    if (e)
        *status_out = cli_fail(c, e, "parked events cannot be read");
    return db && !e;
}

static int show_parked(struct cli *c, json_t *list)
{
    if (c->json)
        return rows_print_json(c, json_pack("{s:O}", "parked", list));
    if (json_array_size(list) == 0)
        (void)printf("nothing is parked%s\n", *c->tenant ? " of this company" : "");
    else if (!rows_print(c, list, columns))
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
    return 0;
}

int events_parked(struct cli *c)
{
    const char *consumer = c->args.nwords > 1 ? c->args.words[1] : NULL;
    const struct area *area = consumer ? area_find(consumer) : NULL;
    int status = 0;

    if (consumer && (!area || !area->consumes))
        return no_consumer(c, consumer);
    json_t *list = json_array();
    if (c->over_http ? list_by_calls(c, consumer, list, &status)
                     : list_by_database(c, consumer, list, &status))
        status = show_parked(c, list);
    json_decref(list);
    return status;
}

/* --- replay ----------------------------------------------------------------------------------- */

static enum err mark(struct cli *c, struct db *db, const char *consumer, json_t *list)
{
    const char *params[] = { consumer, tenant_or_null(c), args_value(&c->args, "seq"), "0", NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = db_exec(db, sql_for_schema(&sql_parked_replay, consumer), params, &res);
    if (!e && !rows_add(list, res, columns))
        e = ERR_INTERNAL;
    if (!e)
        e = db_commit(db);
    db_rollback(db);
    return e;
}

static bool mark_by_database(struct cli *c, const char *consumer, int64_t seq, json_t *list,
                             int *status_out)
{
    struct db *db = cli_db(c, status_out);
    if (!db)
        return false;
    enum err e = mark(c, db, consumer, list);
    if (e)
        *status_out = cli_fail(c, e, "nothing was marked for another try");
    else if (json_array_size(list) == 0 && seq)
        *status_out = cli_fail(c, ERR_NOT_FOUND, "event %" PRId64 " is not parked there", seq);
    return *status_out == 0;
}

/* All are several calls where they are many. */
static bool mark_by_calls(struct cli *c, const char *consumer, int64_t seq, json_t *list,
                          int *status_out)
{
    Daybook__Common__V1__ReplayParkedEventsRequest ask =
        DAYBOOK__COMMON__V1__REPLAY_PARKED_EVENTS_REQUEST__INIT;
    const char *service = cli_consumer_service(c, consumer);
    const Marked *page;

    ask.seq = seq;
    ask.all = seq == 0;
    do {
        page = (const void *)cli_must_ask(c, service, "ReplayParked", &ask.base, status_out);
        if (!page)
            return false;
        if (!rows_add_messages(c, list, page->n_events, page->events, columns)) {
            *status_out = err_exit_code(ERR_RESOURCE_EXHAUSTED);
            return false;
        }
        ask.after_seq = page->n_events ? page->events[page->n_events - 1]->seq : 0;
        cli_next_key(c);
    } while (page->more && page->n_events);
    return true;
}

static int show_marked(struct cli *c, json_t *list)
{
    size_t n = json_array_size(list);
    if (c->json)
        return rows_print_json(c, json_pack("{s:I,s:O}", "marked", (json_int_t)n, "events", list));
    if (n == 0)
        (void)printf("nothing is parked there%s\n", *c->tenant ? " of this company" : "");
    else if (!rows_print(c, list, columns))
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
    return 0;
}

int events_replay(struct cli *c)
{
    const char *consumer = c->args.nwords > 1 ? c->args.words[1] : "";
    const struct area *area = area_find(consumer);
    int64_t seq;
    int status = 0;

    if (!*consumer)
        return cli_usage(c, "whose events? daybook events replay CONSUMER");
    if (!area || !area->consumes)
        return no_consumer(c, consumer);
    if (!cli_number(c, "seq", 1, INT64_MAX, 0, &seq))
        return EXIT_USAGE;
    json_t *list = json_array();
    if (c->over_http ? mark_by_calls(c, consumer, seq, list, &status)
                     : mark_by_database(c, consumer, seq, list, &status))
        status = show_marked(c, list);
    json_decref(list);
    return status;
}
