/*
 * timers.c - `daybook timers`: which timers were put aside and why, and arming them again.
 *
 * Row level security hides the rows of all companies but one, from the owner of the schemas too, so
 * everything here goes company by company. The engine finds an armed timer with its next look into
 * the table, a second later at most.
 */
#include "cli/timers.h"

#include <strings.h>

#include "cli/rows.h"
#include "cli/sql.h"
#include "common/clock.h"

#define QUERY_TIMEOUT_US (10 * SECOND_US)

static const struct column parked_columns[] = {
    { "DUTY", "id", "obligation_id", COLUMN_TEXT }, { "RULE", "rule", "rule", COLUMN_TEXT },
    { "ABOUT", "subject", "subject", COLUMN_TEXT }, { ">STEP", "step", "step", COLUMN_NUMBER },
    { "DUE", "dueAt", "due_us", COLUMN_TIME_US },   { "SINCE", "since", "parked_at", COLUMN_TIME },
    { "WAITS", "waits", "waits", COLUMN_BOOL },     { "REASON", "reason", "reason", COLUMN_TEXT },
    { NULL, "tenantId", "tenant_id", COLUMN_TEXT }, { .key = NULL },
};

static const struct column armed_columns[] = {
    { "DUTY", "id", "obligation_id", COLUMN_TEXT }, { "RULE", "rule", "rule", COLUMN_TEXT },
    { "ABOUT", "subject", "subject", COLUMN_TEXT }, { ">STEP", "step", "step", COLUMN_NUMBER },
    { "DUE", "dueAt", "due_us", COLUMN_TIME_US },   { "ARMED", "armed", "armed", COLUMN_BOOL },
    { "REASON", "reason", "reason", COLUMN_TEXT },  { NULL, "since", "parked_at", COLUMN_TIME },
    { NULL, "tenantId", "tenant_id", COLUMN_TEXT }, { .key = NULL },
};

/* --- company by company ----------------------------------------------------------------------- */

enum err timers_for_companies(struct cli *c, struct db *db, bool all, const struct db_stmt *stmt,
                              const char *ids, db_check_fn *take, void *ctx)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool one = !all && *c->tenant;
    enum err e = one ? ERR_OK : db_exec(db, &sql_companies, NULL, &res);
    int n = one ? 1 : e ? 0 : PQntuples(res);

    for (int i = 0; i < n && !e; i++) {
        struct db_row row = { .res = res, .row = i };
        const char *params[] = { one ? c->tenant : db_row_text(&row, "tenant_id"), ids };
        struct id tenant;
        if (row.bad || !id_parse(params[0], &tenant))
            return ERR_INTERNAL;
        e = db_set_tenant(db, tenant);
        if (!e)
            e = db_queue_check(db, stmt, params, take, ctx);
    }
    return e ? e : db_flush(db);
}

static enum err add_waiting(void *ctx, const PGresult *res)
{
    struct db_row row = { .res = res };
    *(int64_t *)ctx += db_row_i64(&row, "waiting");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

enum err timers_waiting(struct cli *c, struct db *db, int64_t *n_out)
{
    int64_t n = 0;
    enum err e = timers_for_companies(c, db, true, &sql_timers_waiting, NULL, add_waiting, &n);
    if (!e)
        *n_out = n;
    return e;
}

/* --- parked ----------------------------------------------------------------------------------- */

static enum err add_parked(void *ctx, const PGresult *res)
{
    return rows_add(ctx, res, parked_columns) ? ERR_OK : ERR_INTERNAL;
}

static int show_parked(struct cli *c, json_t *list)
{
    if (c->json)
        return rows_print_json(c, json_pack("{s:O}", "parked", list));
    if (json_array_size(list) == 0)
        (void)printf("no timer is parked%s\n", *c->tenant ? " of this company" : "");
    else if (!rows_print(c, list, parked_columns))
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
    return 0;
}

static int parked(struct cli *c, struct db *db, json_t *list)
{
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = timers_for_companies(c, db, false, &sql_timers_parked, NULL, add_parked, list);
    db_rollback(db);
    return e ? cli_fail(c, e, "parked timers cannot be read") : show_parked(c, list);
}

/* --- replay ----------------------------------------------------------------------------------- */

static enum err add_armed(void *ctx, const PGresult *res)
{
    return rows_add(ctx, res, armed_columns) ? ERR_OK : ERR_INTERNAL;
}

/* The ids of the command line as an array; NULL: all. False: said why. */
static bool read_ids(struct cli *c, const char **out)
{
    char *text = NULL;
    for (size_t i = 1; i < c->args.nwords; i++) {
        char buf[ID_TEXT_MAX];
        struct id id;
        if (!id_parse(c->args.words[i], &id)) {
            (void)cli_usage(c, "%.60s is not the UUID of a duty; see daybook timers parked",
                            c->args.words[i]);
            return false;
        }
        text =
            arena_printf(c->arena, "%s%s%s", text ? text : "{", text ? "," : "", id_text(id, buf));
    }
    *out = text ? arena_printf(c->arena, "%s}", text) : NULL;
    return true;
}

static bool is_among(const json_t *list, const char *word)
{
    size_t i;
    json_t *object;
    json_array_foreach(list, i, object)
    {
        const char *id = json_string_value(json_object_get(object, "id"));
        if (id && strcasecmp(id, word) == 0)
            return true;
    }
    return false;
}

static int show_armed(struct cli *c, json_t *list)
{
    int status = 0;
    if (c->json)
        status = rows_print_json(c, json_pack("{s:O}", "timers", list));
    else if (json_array_size(list) == 0)
        (void)printf("no timer is parked%s\n", *c->tenant ? " of this company" : "");
    else if (!rows_print(c, list, armed_columns))
        status = cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
    for (size_t i = 1; i < c->args.nwords && status == 0; i++)
        if (!is_among(list, c->args.words[i]))
            status = cli_fail(c, ERR_NOT_FOUND, "no timer of duty %s is parked", c->args.words[i]);
    return status;
}

static int replay(struct cli *c, struct db *db, json_t *list)
{
    const char *ids;
    if (!read_ids(c, &ids))
        return EXIT_USAGE;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = timers_for_companies(c, db, false, &sql_timers_replay, ids, add_armed, list);
    if (!e)
        e = db_commit(db);
    db_rollback(db);
    return e ? cli_fail(c, e, "no timer was armed") : show_armed(c, list);
}

int cmd_timers(struct cli *c)
{
    const char *what = c->args.words[0];
    bool is_replay = strcmp(what, "replay") == 0;
    int status = 0;

    if (!is_replay && (strcmp(what, "parked") != 0 || c->args.nwords > 1))
        return cli_usage(c, "usage: daybook timers %s", c->command->usage);
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    json_t *list = json_array();
    status = is_replay ? replay(c, db, list) : parked(c, db, list);
    json_decref(list);
    return status;
}
