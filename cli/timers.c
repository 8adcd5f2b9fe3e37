/*
 * timers.c - `daybook timers`: which timers were put aside and why, and arming them again.
 *
 * Row level security hides the rows of all companies but one, from the owner of the schemas too, so
 * everything here goes company by company. The engine finds an armed timer with its next look into
 * the table, a second later at most. With --url the daemon is asked, of the key's company.
 */
#include "cli/timers.h"

#include <strings.h>

#include "cli/companies.h"
#include "cli/rows.h"
#include "cli/sql.h"
#include "common/clock.h"
#include "common/pb_access.h"
#include "daybook/reminders/v1/reminders.pb-c.h"
#include "services/reminders/sql.h"

#define QUERY_TIMEOUT_US (10 * SECOND_US)
#define TIMER_SERVICE "daybook.reminders.v1.TimerService"
#define PAGE 1000

typedef Daybook__Reminders__V1__ListParkedTimersResponse Parked;
typedef Daybook__Reminders__V1__ReplayTimersResponse Armed;

static const struct column parked_columns[] = {
    { "DUTY", "id", "reminder_id", COLUMN_TEXT },    { "RULE", "rule", "rule", COLUMN_TEXT },
    { "ABOUT", "subject", "subject", COLUMN_TEXT },  { ">STEP", "step", "step", COLUMN_NUMBER },
    { "DUE", "dueAt", "due_at", COLUMN_TIME },       { "SINCE", "since", "parked_at", COLUMN_TIME },
    { "WAITS", "waits", "waits", COLUMN_BOOL },      { "REASON", "reason", "reason", COLUMN_TEXT },
    { NULL, "tenantId", "_tenant_id", COLUMN_TEXT }, { .key = NULL },
};

static const struct column armed_columns[] = {
    { "DUTY", "id", "reminder_id", COLUMN_TEXT },    { "RULE", "rule", "rule", COLUMN_TEXT },
    { "ABOUT", "subject", "subject", COLUMN_TEXT },  { ">STEP", "step", "step", COLUMN_NUMBER },
    { "DUE", "dueAt", "due_at", COLUMN_TIME },       { "ARMED", "armed", "armed", COLUMN_BOOL },
    { "REASON", "reason", "reason", COLUMN_TEXT },   { NULL, "since", "parked_at", COLUMN_TIME },
    { NULL, "tenantId", "_tenant_id", COLUMN_TEXT }, { .key = NULL },
};

static enum err add_waiting(void *ctx, const PGresult *res)
{
    struct db_row row = { .res = res };
    *(int64_t *)ctx += db_row_i64(&row, "waiting");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

enum err timers_waiting(struct cli *c, struct db *db, int64_t *n_out)
{
    int64_t n = 0;
    enum err e = companies_each(c, db, true, &sql_timers_waiting, NULL, add_waiting, &n);
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

static int parked_by_calls(struct cli *c, json_t *list)
{
    Daybook__Reminders__V1__ListParkedTimersRequest ask =
        DAYBOOK__REMINDERS__V1__LIST_PARKED_TIMERS_REQUEST__INIT;
    const Parked *page;
    int status = 0;

    ask.page_size = PAGE;
    do {
        page = (const void *)cli_must_ask(c, TIMER_SERVICE, "ListParked", &ask.base, &status);
        if (!page)
            return status;
        if (!rows_add_messages(c, list, page->n_timers, page->timers, parked_columns))
            return err_exit_code(ERR_RESOURCE_EXHAUSTED);
        ask.page_token = page->next_page_token;
    } while (*page->next_page_token);
    return show_parked(c, list);
}

static int parked(struct cli *c, json_t *list)
{
    int status = 0;
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = companies_each(c, db, false, &sql_timers_parked, NULL, add_parked, list);
    db_rollback(db);
    return e ? cli_fail(c, e, "parked timers cannot be read") : show_parked(c, list);
}

/* --- replay ----------------------------------------------------------------------------------- */

static enum err add_armed(void *ctx, const PGresult *res)
{
    return rows_add(ctx, res, armed_columns) ? ERR_OK : ERR_INTERNAL;
}

/* False: said why. */
static bool check_ids(const struct cli *c)
{
    for (size_t i = 1; i < c->args.nwords; i++) {
        struct id id;
        if (!id_parse(c->args.words[i], &id)) {
            (void)cli_usage(c, "%.60s is not the UUID of a duty; see daybook timers parked",
                            c->args.words[i]);
            return false;
        }
    }
    return true;
}

/* The ids of the command line as an array; NULL: all. */
static const char *array_of_ids(struct cli *c)
{
    char *text = NULL;
    for (size_t i = 1; i < c->args.nwords; i++)
        text =
            arena_printf(c->arena, "%s%s%s", text ? text : "{", text ? "," : "", c->args.words[i]);
    return text ? arena_printf(c->arena, "%s}", text) : NULL;
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

/* All are several calls where they are many. */
static int replay_by_calls(struct cli *c, json_t *list)
{
    Daybook__Reminders__V1__ReplayTimersRequest ask =
        DAYBOOK__REMINDERS__V1__REPLAY_TIMERS_REQUEST__INIT;
    char *ids[ARGS_WORDS_MAX];
    const Armed *page;
    int status = 0;

    ask.reminder_ids = ids;
    for (size_t i = 1; i < c->args.nwords; i++)
        ids[ask.n_reminder_ids++] = pb_borrow(c->args.words[i]);
    do {
        page = (const void *)cli_must_ask(c, TIMER_SERVICE, "Replay", &ask.base, &status);
        if (!page)
            return status;
        if (!rows_add_messages(c, list, page->n_timers, page->timers, armed_columns))
            return err_exit_code(ERR_RESOURCE_EXHAUSTED);
        cli_next_key(c);
    } while (page->more);
    return show_armed(c, list);
}

static int replay(struct cli *c, json_t *list)
{
    int status = 0;
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = companies_each(c, db, false, &sql_timers_replay, array_of_ids(c), add_armed, list);
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
    if (is_replay && !check_ids(c))
        return EXIT_USAGE;
    json_t *list = json_array();
    if (c->over_http)
        status = is_replay ? replay_by_calls(c, list) : parked_by_calls(c, list);
    else
        status = is_replay ? replay(c, list) : parked(c, list);
    json_decref(list);
    return status;
}
