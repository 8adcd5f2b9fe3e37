/*
 * sql_schema.c - a list that only grows: made statements are put in front by compare and swap, so
 * readers need no lock. Two threads may make the same one at first use; the later sees the other's
 * and drops its own.
 */
#include "common/sql_schema.h"

#include <assert.h>
#include <stdatomic.h>

#include "common/sbuf.h"

#define PLACEHOLDER "${schema}"
#define TEXT_LIMIT (64 * KIB)

struct made {
    struct db_stmt stmt;
    const struct db_stmt *from;
    char *schema;
    struct made *next;
};

static _Atomic(struct made *) all;

static const struct made *find(const struct made *list, const struct db_stmt *stmt,
                               const char *schema)
{
    for (; list; list = list->next)
        if (list->from == stmt && strcmp(list->schema, schema) == 0)
            return list;
    return NULL;
}

static char *substitute(const char *text, const char *schema)
{
    struct sbuf out;

    sbuf_init(&out, TEXT_LIMIT);
    for (;;) {
        const char *at = strstr(text, PLACEHOLDER);
        if (at == NULL)
            break;
        sbuf_add(&out, text, (size_t)(at - text));
        sbuf_add_text(&out, schema);
        text = at + strlen(PLACEHOLDER);
    }
    sbuf_add_text(&out, text);
    return sbuf_take(&out);
}

static struct made *make(const struct db_stmt *stmt, const char *schema)
{
    struct made *m = calloc(1, sizeof *m);
    assert(m);
    m->stmt = *stmt;
    m->stmt.text = substitute(stmt->text, schema);
    m->schema = strdup(schema);
    m->from = stmt;
    assert(m->stmt.text && m->schema);
    return m;
}

static void drop(struct made *m)
{
    union {
        const char *in;
        char *out;
    } text = { .in = m->stmt.text };

    free(text.out);
    free(m->schema);
    free(m);
}

const struct db_stmt *sql_for_schema(const struct db_stmt *stmt, const char *schema)
{
    struct made *seen = atomic_load(&all);
    const struct made *found = find(seen, stmt, schema);
    if (found)
        return &found->stmt;

    assert(schema[0] && strspn(schema, "abcdefghijklmnopqrstuvwxyz_") == strlen(schema));
    struct made *mine = make(stmt, schema);
    for (;;) {
        mine->next = seen;
        if (atomic_compare_exchange_weak(&all, &seen, mine))
            return &mine->stmt;
        found = find(seen, stmt, schema);
        if (found) {
            drop(mine);
            return &found->stmt;
        }
    }
}
