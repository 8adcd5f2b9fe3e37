/*
 * companies.c - see companies.h.
 */
#include "cli/companies.h"

#include "cli/sql.h"

#define PARAMS_MAX 5

enum err companies_each(struct cli *c, struct db *db, bool all, const struct db_stmt *stmt,
                        const char *ids, db_check_fn *take, void *ctx)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool one = !all && *c->tenant;
    enum err e = one ? ERR_OK : db_exec(db, &sql_companies, NULL, &res);
    int n = one ? 1 : e ? 0 : PQntuples(res);

    for (int i = 0; i < n && !e; i++) {
        struct db_row row = { .res = res, .row = i };
        /* all there are, however many: what else the statements take stays NULL */
        const char *params[PARAMS_MAX] = { one ? c->tenant : db_row_text(&row, "tenant_id"), ids };
        struct id tenant;
        if (row.bad || !id_parse(params[0], &tenant))
            return ERR_INTERNAL;
        e = db_set_tenant(db, tenant);
        if (!e)
            e = db_queue_check(db, stmt, params, take, ctx);
    }
    return e ? e : db_flush(db);
}
