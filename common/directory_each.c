/*
 * directory_each.c - going through all employees of a company.
 */
#include "common/directory_snapshot.h"

void directory_each_employee(const struct directory *d, struct id tenant,
                             bool (*fn)(void *ctx, const struct dir_employee *e), void *ctx)
{
    const struct snapshot_tenant *t = id_table_find(&d->tenant_table, tenant);

    if (t == NULL || t->employees.slots == NULL)
        return;
    for (size_t i = 0; i <= t->employees.mask; i++) {
        const struct dir_employee *e = t->employees.slots[i].item;
        if (e && !fn(ctx, e))
            return;
    }
}
