/*
 * reseal.h - seals anew what was sealed under the old master key (F56, secret.h).
 *
 * The tables of a daemon are gone through at its start and again and again, company by company in batches, each
 * a transaction; a row that somebody changed meanwhile is left for the next time. Several replicas may
 * do it at once. `daybook doctor` names the keys under which there are sealed fields.
 */
#ifndef DAYBOOK_COMMON_RESEAL_H
#define DAYBOOK_COMMON_RESEAL_H

#include "common/arena.h"
#include "common/db.h"
#include "common/id.h"

/* A table with one or two sealed columns. */
struct reseal_table {
    const char *name;
    /* params: tenant, the id to begin behind. 1,000 rows by id, sealed under whatever key: id, first, second;
     * second may be NULL. */
    const struct db_stmt *next;
    /* params: tenant, id, first and second as they were, first, second, blind index. Changes only a row that is
     * as it was. */
    const struct db_stmt *put;
    const char *first, *second; /* what they are sealed as, before ":<id>" (secret_seal()) */
    /* NULL, or makes the blind index of the first, "" for none. NULL from it: no memory. */
    char *(*index_of)(struct arena *a, struct id tenant, const char *clear);
};

struct daemon;

/* A thread of a daemon while there is an old key; returns when the daemon stops. */
void reseal_run(struct daemon *d, const struct reseal_table *tables, size_t n);

/* One batch. after: the id to begin behind, moved on; the nil id begins anew. *left_out: there may be
 * more. The connection's own thread; no transaction may be open. */
NODISCARD enum err reseal_batch(struct db *db, struct arena *a, struct id tenant,
                                const struct reseal_table *table, struct id *after,
                                int64_t *changed_out, bool *left_out);

#endif
