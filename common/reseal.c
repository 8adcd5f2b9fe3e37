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
#include "common/num.h"
#include "common/secret.h"

#define BATCH 1000 /* as the statements say */
#define BATCH_US (10 * SECOND_US)
#define AGAIN_US SECOND_US /* after a pass that did not go to its end */
#define BUSY_US MINUTE_US  /* after one that found something: others may still seal so */
#define QUIET_US (10 * MINUTE_US)
#define ARENA (16 * MIB)

static struct metric resealed_total = {
    .name = "daybook_resealed_total",
    .type = METRIC_COUNTER,
    .help = "Rows that were sealed anew under the master key, by table.",
    .labels = { "table" },
};

/* --- one batch ---------------------------------------------------------------------------------- */

/* One column. What is not sealed under the old key stays as it is; so does what cannot be opened: it is no worse than
 * before. clear_out: NULL where nothing was opened. */
static enum err seal_anew(struct arena *a, struct id tenant, const char *as, const char *id,
                          const char *before, const char **sealed_out, char **clear_out)
{
    char *what = arena_printf(a, "%s:%s", as, id);

    *sealed_out = before;
    *clear_out = NULL;
    if (!what)
        return ERR_RESOURCE_EXHAUSTED;
    if (!secret_is_old(before))
        return ERR_OK;
    enum err e = secret_open(a, tenant, what, before, clear_out);
    if (e == ERR_DATA_LOSS) {
        log_error("secret.lost", "a sealed field was altered or moved: it stays as it is", "field",
                  what, NULL);
        return ERR_OK;
    }
    if (!e)
        *sealed_out = secret_seal(a, tenant, what, *clear_out);
    return e ? e : *sealed_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static void count_row(void *ctx, const PGresult *res)
{
    int64_t *n = ctx, rows = 0;

    if (num_i64(PQcmdTuples((PGresult *)(uintptr_t)res), 0, 1, &rows))
        *n += rows;
}

static enum err put_row(struct db *db, struct arena *a, struct id tenant,
                        const struct reseal_table *t, struct db_row *row, int64_t *changed)
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
    if (e || (new_first == first && new_second == second))
        return e;
    const char *const params[] = {
        db_text_id(a, tenant),         id, first, second, new_first, new_second,
        index && *index ? index : NULL
    };
    return params[0] ? db_queue_take(db, t->put, params, count_row, changed)
                     : ERR_RESOURCE_EXHAUSTED;
}

static enum err put_rows(struct db *db, struct arena *a, struct id tenant,
                         const struct reseal_table *t, const PGresult *res, struct id *after,
                         int64_t *changed)
{
    enum err e = ERR_OK;

    for (struct db_row row = { .res = res }; row.row < PQntuples(res) && !e; row.row++) {
        *after = db_row_id(&row, "id");
        e = put_row(db, a, tenant, t, &row, changed);
    }
    return e;
}

enum err reseal_batch(struct db *db, struct arena *a, struct id tenant,
                      const struct reseal_table *t, struct id *after, int64_t *changed_out,
                      bool *left_out)
{
    const char *const params[] = { db_text_id(a, tenant), db_text_id(a, *after) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    *changed_out = 0;
    *left_out = false;
    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(db, &tenant, clock_monotonic_us() + BATCH_US);
    if (!e)
        e = db_exec(db, t->next, params, &res);
    if (!e)
        e = put_rows(db, a, tenant, t, res, after, changed_out);
    if (!e)
        e = db_commit(db);
    if (e) {
        db_rollback(db);
        return e;
    }
    *left_out = PQntuples(res) == BATCH;
    metric_add(&resealed_total, *changed_out, (const char *const[]){ t->name });
    return ERR_OK;
}

/* --- all of them -------------------------------------------------------------------------------- */

struct pass {
    struct daemon *d;
    struct db *db;
    struct arena *arena; /* of a batch */
    int64_t changed;
};

static enum err do_table(struct pass *p, struct id tenant, const struct reseal_table *t)
{
    struct id after = { { 0 } };
    bool left = true;
    enum err e = ERR_OK;

    while (left && !e && !daemon_stopping(p->d)) {
        int64_t changed;
        arena_reset(p->arena);
        e = reseal_batch(p->db, p->arena, tenant, t, &after, &changed, &left);
        p->changed += changed;
    }
    return e;
}

/* The companies of now. NULL: no memory, or the directory is not there yet. */
static struct id *list_tenants(size_t *n_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    const struct dir_tenant *const *tenants;

    *n_out = dir ? directory_tenants(dir, &tenants) : 0;
    struct id *ids = dir ? calloc(*n_out + 1, sizeof(*ids)) : NULL;
    for (size_t i = 0; ids && i < *n_out; i++)
        ids[i] = tenants[i]->id;
    return ids;
}

static enum err do_all(struct pass *p, const struct reseal_table *tables, size_t n)
{
    size_t ntenants;
    struct id *tenants = list_tenants(&ntenants);
    enum err e = tenants ? ERR_OK : ERR_UNAVAILABLE;

    for (size_t i = 0; i < ntenants && !e && !daemon_stopping(p->d); i++)
        for (size_t k = 0; k < n && !e; k++)
            e = do_table(p, tenants[i], &tables[k]);
    free(tenants);
    return e;
}

static void tell(const struct pass *p, enum err e, bool *failing)
{
    char rows[24];

    snprintf(rows, sizeof(rows), "%" PRId64, p->changed);
    if (p->changed)
        log_info("secret.resealed", "what was sealed under the old master key was sealed anew",
                 "rows", rows, "old", secret_old_key_id(), NULL);
    if (e && !*failing)
        log_warn("secret.reseal_failed", "sealing anew did not go to its end; tried again", "code",
                 err_name(e), NULL);
    *failing = e != ERR_OK;
}

void reseal_run(struct daemon *d, const struct reseal_table *tables, size_t n)
{
    struct pass p = { .d = d,
                      .db = db_new(daemon_conninfo(d), "daybook-reseal"),
                      .arena = arena_new(ARENA) };
    struct daemon_waiter *w = daemon_waiter_new(d, NULL);
    const void *data;
    size_t len;
    bool failing = false;

    metric_register(&resealed_total);
    log_info("secret.two_keys", "what is sealed under the old master key is sealed anew", "key",
             secret_key_id(), "old", secret_old_key_id(), NULL);
    while (p.db && p.arena && w && !daemon_stopping(d)) {
        p.changed = 0;
        enum err e = do_all(&p, tables, n);
        if (!daemon_stopping(d))
            tell(&p, e, &failing);
        (void)daemon_waiter_wait(w, e ? AGAIN_US : p.changed ? BUSY_US : QUIET_US, &data, &len);
    }
    daemon_waiter_free(w);
    arena_free(p.arena);
    db_free(p.db);
}
