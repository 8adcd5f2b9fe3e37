/*
 * daemon_rebuild.c - --rebuild: empties the tables that the consumer makes from the log, and sends
 * it back to the beginning (consumer.h). A running daemon notices by itself; of one that is not
 * running, the next start does the work.
 *
 * The cursor row is locked first, as the consumer does, so that it cannot be in the middle of a
 * batch; then everything is one transaction. TRUNCATE, since row level security would hide the rows
 * of all tenants from a DELETE; it needs the role that owns the schemas.
 */
#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/db.h"
#include "common/sbuf.h"
#include "common/sql.h"
#include "common/sql_schema.h"

#define REBUILD_TIMEOUT_US (60 * SECOND_US)
#define TRUNCATE_LIMIT (16 * KIB)

/* false: there is no cursor row, so nothing was ever built. */
static enum err lock_cursor(struct db *db, const struct consumer_def *def, bool *found_out)
{
    const char *params[] = { def->name };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, sql_for_schema(&sql_consumer_lock, def->schema), params, &res);
    *found_out = !e && PQntuples(res) == 1;
    return e;
}

static enum err empty_tables(struct db *db, const struct consumer_def *def)
{
    struct sbuf text;
    CLEANUP(db_result_clear) PGresult *res = NULL;
    if (!def->read_model_tables || !def->read_model_tables[0])
        return ERR_OK;
    sbuf_init(&text, TRUNCATE_LIMIT);
    for (size_t i = 0; def->read_model_tables[i]; i++)
        sbuf_addf(&text, "%s%s", i ? ", " : "TRUNCATE ", def->read_model_tables[i]);
    const struct db_stmt stmt = { .name = "daemon_rebuild_truncate", .text = text.data };
    enum err e = text.bad ? ERR_INTERNAL : db_exec(db, &stmt, NULL, &res);
    sbuf_fini(&text);
    return e;
}

static enum err turn_back(struct db *db, const struct consumer_def *def, int64_t *until_out)
{
    const char *params[] = { def->name };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, sql_for_schema(&sql_consumer_rebuild, def->schema), params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *until_out = db_row_i64(&row, "replay_until");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err rebuild(struct db *db, const struct consumer_def *def, bool *found_out,
                        int64_t *until_out)
{
    enum err e = db_begin(db, NULL, clock_monotonic_us() + REBUILD_TIMEOUT_US);
    if (!e)
        e = lock_cursor(db, def, found_out);
    if (!e && *found_out)
        e = empty_tables(db, def);
    if (!e && *found_out)
        e = turn_back(db, def, until_out);
    if (!e)
        e = db_commit(db);
    db_rollback(db);
    return e;
}

int daemon_rebuild(struct daemon *d)
{
    const struct consumer_def *def = d->def->consumer;
    const char *url = daemon_setting(d, "MIGRATE_URL")->text;
    bool found = false;
    int64_t until = 0;

    if (!def || !def->read_model_tables) {
        (void)fprintf(stderr, "daybook-%s: has nothing that is made anew from events\n",
                      d->def->name);
        return DAEMON_EXIT_USAGE;
    }
    if (!url) {
        (void)fprintf(stderr, "setting DAYBOOK_MIGRATE_URL: is required for --rebuild\n");
        return DAEMON_EXIT_SETTINGS;
    }
    CLEANUP(db_freep) struct db *db = db_new(url, "daybook-rebuild");
    enum err e = db ? rebuild(db, def, &found, &until) : ERR_RESOURCE_EXHAUSTED;
    if (e) {
        (void)fprintf(stderr, "daybook-%s: nothing was changed: %s %s\n", d->def->name, err_name(e),
                      db ? db_last_error(db)->sqlstate : "");
        return daemon_exit_of(e);
    }
    if (found)
        printf("daybook-%s: read model emptied; to be made anew up to event %" PRId64 "\n",
               d->def->name, until);
    else
        printf("daybook-%s: has never heard an event; nothing to rebuild\n", d->def->name);
    return DAEMON_EXIT_OK;
}
