/*
 * doctor.c - `daybook doctor`: is the database fit for its task, and do log, consumers and schemas
 * fit together? With --after-restore it also mends what a restored database needs (F15, F58).
 *
 * Most checks are statements that give a row (level, detail) for each fault, so that the judgement
 * stands beside what it judges. None but --after-restore changes anything.
 */
#include <poll.h>

#include "cli/companies.h"
#include "cli/rows.h"
#include "cli/sql.h"
#include "cli/timers.h"
#include "common/clock.h"
#include "common/sql_schema.h"

#define QUERY_TIMEOUT_US (60 * SECOND_US) /* counts the log */
#define SKEW_MOST_US SECOND_US
#define OUTBOX_STUCK_US (3 * SECOND_US)
#define OUTBOX_STEP_MS 100

static const struct column columns[] = {
    { "CHECK", "check", "check", COLUMN_TEXT },
    { "RESULT", "result", "level", COLUMN_TEXT },
    { "WHAT", "detail", "detail", COLUMN_TEXT },
    { .key = NULL },
};

/* What was found; a check without a fault has one line, "ok". */
struct findings {
    json_t *list;
    int fails, warns;
};

static enum err add(struct findings *f, const char *check, const char *level, const char *detail)
{
    f->fails += strcmp(level, "fail") == 0;
    f->warns += strcmp(level, "warn") == 0;
    json_t *one = json_pack("{s:s,s:s,s:s}", "check", check, "result", level, "detail", detail);
    return json_array_append_new(f->list, one) == 0 ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err add_rows(struct findings *f, const char *check, const PGresult *res,
                         const char *fine)
{
    enum err e = PQntuples(res) == 0 ? add(f, check, "ok", fine) : ERR_OK;
    for (int i = 0; i < PQntuples(res) && !e; i++) {
        struct db_row row = { .res = res, .row = i };
        const char *level = db_row_text(&row, "level"), *detail = db_row_text(&row, "detail");
        e = row.bad ? ERR_INTERNAL : add(f, check, level, detail);
    }
    return e;
}

/* --- the checks ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const struct db_stmt *stmt;
    const char *fine;
} of_server[] = {
    { "server", &sql_doctor_server, "a primary that keeps what it acknowledges" },
    { "connections", &sql_doctor_connections, "a fifth and more are free" },
    { "archive", &sql_doctor_archive, "the WAL is archived" },
    { "tables", &sql_doctor_tables,
      "indexes are valid, transaction numbers are far from their end" },
    { "roles", &sql_doctor_roles, "row level security holds for every daemon" },
};

static enum err check_server(struct db *db, struct findings *f)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(of_server) && !e; i++) {
        CLEANUP(db_result_clear) PGresult *res = NULL;
        e = db_exec(db, of_server[i].stmt, NULL, &res);
        if (!e)
            e = add_rows(f, of_server[i].name, res, of_server[i].fine);
    }
    return e;
}

static enum err check_clock(struct cli *c, struct db *db, struct findings *f)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    int64_t before_us = clock_wall_us();
    enum err e = db_exec(db, &sql_doctor_clock, NULL, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    int64_t theirs_us = db_row_i64(&row, "now_us"), after_us = clock_wall_us();
    /* It was read at some moment between these. */
    int64_t off_us = theirs_us < before_us  ? before_us - theirs_us
                     : theirs_us > after_us ? theirs_us - after_us
                                            : 0;
    if (row.bad)
        return ERR_INTERNAL;
    if (off_us <= SKEW_MOST_US)
        return add(f, "clock", "ok", "this host and the server agree within a second");
    return add(f, "clock", "fail",
               arena_printf(c->arena, "this host and the server differ by %.1f s: mend NTP",
                            (double)off_us / SECOND_US));
}

/* False in *fit_out: the other checks could not be read. */
static enum err check_schemas(struct cli *c, struct db *db, struct findings *f, bool *fit_out)
{
    *fit_out = true;
    enum err e = ERR_OK;
    for (const struct area *a = areas; a->name && !e; a++) {
        int version = 0;
        enum err is = migrate_check(db, a->name, *a->nmigrations,
                                    clock_monotonic_us() + QUERY_TIMEOUT_US, &version);
        if (!is)
            continue;
        if (is != ERR_FAILED_PRECONDITION)
            return is;
        *fit_out = false;
        e = add(f, "schemas", "fail",
                arena_printf(c->arena, "%s has version %d of %zu: daybook migrate", a->name,
                             version, *a->nmigrations));
    }
    if (!e && *fit_out)
        e = add(f, "schemas", "ok", "all are of this version or a later one");
    return e;
}

/* --- what needs the schemas ------------------------------------------------------------------- */

static enum err add_n(void *ctx, const PGresult *res)
{
    struct db_row row = { .res = res };
    *(int64_t *)ctx += db_row_i64(&row, "n");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err read_outbox(struct db *db, int64_t *first_out, int64_t *n_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_doctor_outbox, NULL, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *n_out = db_row_i64(&row, "n");
    *first_out = *n_out ? db_row_i64(&row, "first_id") : 0;
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

/* Rows have no time of the real clock: stuck is a first one that stays the first. */
static enum err check_outbox(struct cli *c, struct db *db, struct findings *f)
{
    int64_t first, now_first, n, until_us = clock_monotonic_us() + OUTBOX_STUCK_US;
    enum err e = read_outbox(db, &first, &n);

    now_first = first;
    while (!e && n && now_first == first && clock_monotonic_us() < until_us) {
        (void)poll(NULL, 0, OUTBOX_STEP_MS);
        e = read_outbox(db, &now_first, &n);
    }
    if (e || !n || now_first != first)
        return e ? e : add(f, "outbox", "ok", "events move into the log");
    return add(
        f, "outbox", "warn",
        arena_printf(c->arena, "%" PRId64 " events wait: does a bus run and lead the relay?", n));
}

static enum err check_log(struct db *db, struct findings *f)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_doctor_log, NULL, &res);
    return e ? e : add_rows(f, "log", res, "without a gap, to its head");
}

static enum err check_sealed(struct db *db, struct findings *f)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_doctor_sealed, NULL, &res);
    return e ? e : add_rows(f, "sealed", res, "nothing is sealed yet");
}

static enum err check_consumers(struct cli *c, struct db *db, struct findings *f)
{
    enum err e = ERR_OK;
    for (const struct area *a = areas; a->name && !e; a++) {
        CLEANUP(db_result_clear) PGresult *res = NULL;
        if (!a->consumes)
            continue;
        e = db_exec(db, sql_for_schema(&sql_doctor_consumer, a->name), NULL, &res);
        if (!e)
            e = add_rows(f, arena_printf(c->arena, "consumer %s", a->name), res,
                         "its place in the log is sound, nothing is parked");
    }
    return e;
}

static enum err check_endpoints(struct cli *c, struct db *db, struct findings *f)
{
    int64_t n = 0;
    enum err e = companies_each(c, db, true, &sql_doctor_endpoints, NULL, add_n, &n);
    if (e || n == 0)
        return e ? e : add(f, "webhooks", "ok", "no endpoint is ahead of the log");
    return add(f, "webhooks", "fail",
               arena_printf(c->arena,
                            "%" PRId64 " endpoints are ahead of the log, so nothing is posted "
                            "to them: daybook doctor --after-restore",
                            n));
}

static enum err check_timers(struct cli *c, struct db *db, struct findings *f)
{
    int64_t n = 0;
    enum err e = timers_waiting(c, db, &n);
    if (e || n == 0)
        return e ? e : add(f, "timers", "ok", "none is put aside that a duty waits for");
    return add(f, "timers", "warn",
               arena_printf(c->arena,
                            "%" PRId64 " duties wait for one put aside: daybook timers "
                            "parked",
                            n));
}

static enum err check_content(struct cli *c, struct db *db, struct findings *f)
{
    enum err e = check_log(db, f);
    if (!e)
        e = check_outbox(c, db, f);
    if (!e)
        e = check_consumers(c, db, f);
    if (!e)
        e = check_sealed(db, f);
    if (!e) /* last, since from here on only one company's rows are seen */
        e = check_endpoints(c, db, f);
    if (!e)
        e = check_timers(c, db, f);
    return e;
}

/* --- after a restore -------------------------------------------------------------------------- */

static enum err give_new_log_id(struct cli *c, struct db *db, struct findings *f)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, &sql_doctor_new_log_id, NULL, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    const char *text =
        arena_printf(c->arena,
                     "the log is %s now, from %" PRId64 " on: who kept a position elsewhere hears "
                     "LOG_CHANGED",
                     db_row_text(&row, "log_id"), db_row_i64(&row, "last_seq"));
    return row.bad ? ERR_INTERNAL : add(f, "log id", "mended", text);
}

static enum err outdate_lists(struct cli *c, struct db *db, struct findings *f)
{
    int64_t n = 0;
    enum err e = companies_each(c, db, true, &sql_doctor_lists, NULL, add_n, &n);
    return e ? e
             : add(f, "daily lists", "mended",
                   arena_printf(c->arena, "%" PRId64 " lists are built anew, whatever Redis has",
                                n));
}

static enum err bring_back_endpoints(struct cli *c, struct db *db, struct findings *f)
{
    int64_t n = 0;
    enum err e = companies_each(c, db, true, &sql_doctor_endpoints_mend, NULL, add_n, &n);
    return e ? e
             : add(f, "webhooks", "mended",
                   arena_printf(c->arena, "%" PRId64 " endpoints were ahead of the log", n));
}

/* One transaction: all of it or nothing. */
static enum err mend(struct cli *c, struct db *db, struct findings *f)
{
    enum err e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = give_new_log_id(c, db, f);
    if (!e)
        e = outdate_lists(c, db, f);
    if (!e)
        e = bring_back_endpoints(c, db, f);
    if (!e)
        e = db_commit(db);
    db_rollback(db);
    return e;
}

/* --- the sum ---------------------------------------------------------------------------------- */

static enum err examine(struct cli *c, struct db *db, struct findings *f)
{
    bool fit = false;
    enum err e = check_schemas(c, db, f, &fit);
    if (!e && fit && args_has(&c->args, "after-restore"))
        e = mend(c, db, f);
    if (!e)
        e = db_begin(db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = check_server(db, f);
    if (!e)
        e = check_clock(c, db, f);
    if (!e && fit)
        e = check_content(c, db, f);
    db_rollback(db);
    return e;
}

static int show(struct cli *c, const struct findings *f)
{
    if (c->json) {
        int status =
            rows_print_json(c, json_pack("{s:b,s:i,s:i,s:O}", "sound", f->fails == 0, "fails",
                                         f->fails, "warns", f->warns, "checks", f->list));
        if (status)
            return status;
    } else if (!rows_print(c, f->list, columns)) {
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown");
    }
    return f->fails ? cli_fail(c, ERR_FAILED_PRECONDITION, "%d faults", f->fails) : 0;
}

int cmd_doctor(struct cli *c)
{
    int status = 0;
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    struct findings f = { .list = json_array() };
    enum err e = f.list ? examine(c, db, &f) : ERR_RESOURCE_EXHAUSTED;
    status =
        e ? cli_fail(c, e, "the database cannot be examined%s%s",
                     *db_last_error(db)->sqlstate ? ", SQLSTATE " : "", db_last_error(db)->sqlstate)
          : show(c, &f);
    json_decref(f.list);
    return status;
}
