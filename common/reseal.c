/*
 * reseal.c - see reseal.h.
 */
#include "common/reseal.h"

#include "common/clock.h"
#include "common/daemon.h"
#include "common/db_text.h"
#include "common/directory.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/secret.h"

#define BATCH 200
#define BATCH_US (10 * SECOND_US)
#define ROUND_US MINUTE_US
#define ARENA (16 * MIB)

static struct metric resealed_total = {
    .name = "daybook_resealed_total",
    .type = METRIC_COUNTER,
    .help = "Rows that were sealed anew under the master key, by table.",
    .labels = { "table" },
};

/* --- one batch ---------------------------------------------------------------------------------- */

/* NULL and "" stay as they are. clear_out: NULL where there is none. */
static enum err seal_anew(struct arena *a, struct id tenant, const char *as, const char *id,
                          const char *before, const char **sealed_out, char **clear_out)
{
    char *what = arena_printf(a, "%s:%s", as, id);

    *sealed_out = before;
    *clear_out = NULL;
    if (!what)
        return ERR_RESOURCE_EXHAUSTED;
    if (!before || !*before)
        return ERR_OK;
    enum err e = secret_open(a, tenant, what, before, clear_out);
    if (!e)
        *sealed_out = secret_seal(a, tenant, what, *clear_out);
    return e ? e : *sealed_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err put_row(struct db *db, struct arena *a, struct id tenant,
                        const struct reseal_table *t, struct db_row *row)
{
    const char *id = db_row_text(row, "id"), *first = db_row_text(row, "first");
    const char *second = db_row_is_null(row, "second") ? NULL : db_row_text(row, "second");
    const char *new_first = NULL, *new_second = NULL, *index = NULL;
    char *clear = NULL, *unused;

    if (row->bad)
        return ERR_INTERNAL;
    enum err e = seal_anew(a, tenant, t->first, id, first, &new_first, &clear);
    if (!e)
        e = seal_anew(a, tenant, t->second, id, second, &new_second, &unused);
    if (!e && clear && t->index_of)
        e = (index = t->index_of(a, tenant, clear)) ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    char *tenant_text = db_text_id(a, tenant);
    if (e || !tenant_text)
        return e ? e : ERR_RESOURCE_EXHAUSTED;
    const char *const params[] = {
        tenant_text, id, first, second, new_first, new_second, index && *index ? index : NULL
    };
    return db_queue(db, t->put, params);
}

/* A row that cannot be opened is passed over: it is no worse than before, and others wait. */
static enum err put_rows(struct db *db, struct arena *a, struct id tenant,
                         const struct reseal_table *t, const PGresult *res, struct id *after)
{
    enum err e = ERR_OK;

    for (struct db_row row = { .res = res }; row.row < PQntuples(res) && !e; row.row++) {
        *after = db_row_id(&row, "id");
        e = put_row(db, a, tenant, t, &row);
        if (e == ERR_DATA_LOSS) {
            log_error("secret.lost", "sealed by nobody we know, or altered: it stays as it is",
                      "table", t->name, "id", db_row_text(&row, "id"), NULL);
            e = ERR_OK;
        } else if (!e) {
            metric_add(&resealed_total, 1, (const char *const[]){ t->name });
        }
    }
    return e;
}

enum err reseal_batch(struct db *db, struct arena *a, struct id tenant,
                      const struct reseal_table *t, struct id *after, bool *left_out)
{
    char *pattern = arena_printf(a, "v1:%s:%%", secret_old_key_id());
    const char *const params[] = { db_text_id(a, tenant), db_text_id(a, *after), pattern };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    *left_out = false;
    if (!params[0] || !params[1] || !pattern)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(db, &tenant, clock_monotonic_us() + BATCH_US);
    if (!e)
        e = db_exec(db, t->next, params, &res);
    if (!e)
        e = put_rows(db, a, tenant, t, res, after);
    if (!e)
        e = db_commit(db);
    if (e)
        db_rollback(db);
    *left_out = !e && PQntuples(res) == BATCH;
    return e;
}

/* --- all of them -------------------------------------------------------------------------------- */

static enum err do_table(struct daemon *d, struct db *db, struct arena *a, struct id tenant,
                         const struct reseal_table *t)
{
    struct id after = { { 0 } };
    bool left = true;
    enum err e = ERR_OK;

    while (left && !e && !daemon_stopping(d)) {
        arena_reset(a);
        e = reseal_batch(db, a, tenant, t, &after, &left);
    }
    return e;
}

static enum err do_all(struct daemon *d, struct db *db, struct arena *a,
                       const struct reseal_table *tables, size_t n)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    const struct dir_tenant *const *tenants;
    size_t ntenants = dir ? directory_tenants(dir, &tenants) : 0;
    enum err first = ERR_OK;

    for (size_t i = 0; i < ntenants && !daemon_stopping(d); i++)
        for (size_t k = 0; k < n; k++) {
            enum err e = do_table(d, db, a, tenants[i]->id, &tables[k]);
            first = first ? first : e;
        }
    return first;
}

void reseal_run(struct daemon *d, const struct reseal_table *tables, size_t n)
{
    struct db *db = db_new(daemon_conninfo(d), "reseal");
    struct arena *a = arena_new(ARENA);
    struct daemon_waiter *w = daemon_waiter_new(d, NULL);
    const void *data;
    size_t len;
    bool failing = false;

    metric_register(&resealed_total);
    log_info("secret.two_keys", "what is sealed under the old master key is sealed anew", "key",
             secret_key_id(), "old", secret_old_key_id(), NULL);
    while (db && a && w && !daemon_stopping(d)) {
        enum err e = do_all(d, db, a, tables, n);
        if (e && !failing)
            log_warn("secret.reseal_failed", "sealing anew did not go to its end; tried again",
                     "code", err_name(e), NULL);
        failing = e != ERR_OK;
        (void)daemon_waiter_wait(w, ROUND_US, &data, &len);
    }
    daemon_waiter_free(w);
    arena_free(a);
    db_free(db);
}
