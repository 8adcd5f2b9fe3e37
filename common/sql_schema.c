/*
 * sql_schema.c - a list that only grows: made statements are put in front by compare and swap, so
 * readers need no lock. Two threads may make the same one at first use; the later sees the other's
 * and leaves its own.
 *
 * They lie in memory that the program has from its start: a daemon, which has one schema, must not
 * end or fail a request since there is none at the first use. Only who asks for many schemas (the
 * command-line tool) goes beyond it.
 */
#include "common/sql_schema.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#define PLACEHOLDER "${schema}"
#define POOL_BYTES (64 * KIB)

struct made {
    struct db_stmt stmt;
    const struct db_stmt *from;
    const char *schema;
    struct made *next;
    char texts[]; /* statement and schema, each with its NUL */
};

static alignas(max_align_t) char pool[POOL_BYTES];
static atomic_size_t pool_used;
static _Atomic(struct made *) all;

static const struct made *find(const struct made *list, const struct db_stmt *stmt,
                               const char *schema)
{
    for (; list; list = list->next)
        if (list->from == stmt && strcmp(list->schema, schema) == 0)
            return list;
    return NULL;
}

static struct made *take(size_t size)
{
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    size_t at = atomic_fetch_add(&pool_used, size);
    if (at <= POOL_BYTES && size <= POOL_BYTES - at)
        return (void *)(pool + at);
    atomic_fetch_sub(&pool_used, size);
    return calloc(1, size);
}

/* The length of the text for the schema; out: NULL, or where it is written with a NUL. */
static size_t substitute(const char *text, const char *schema, char *out)
{
    size_t n = 0, schema_len = strlen(schema);

    for (const char *at;; text = at + strlen(PLACEHOLDER)) {
        at = strstr(text, PLACEHOLDER);
        size_t len = at ? (size_t)(at - text) : strlen(text);
        if (out)
            memcpy(out + n, text, len);
        n += len;
        if (!at)
            break;
        if (out)
            memcpy(out + n, schema, schema_len);
        n += schema_len;
    }
    if (out)
        out[n] = '\0';
    return n;
}

static struct made *make(const struct db_stmt *stmt, const char *schema)
{
    size_t len = substitute(stmt->text, schema, NULL), schema_size = strlen(schema) + 1;
    struct made *m = take(sizeof *m + len + 1 + schema_size);

    assert(m);
    substitute(stmt->text, schema, m->texts);
    memcpy(m->texts + len + 1, schema, schema_size);
    m->stmt = *stmt;
    m->stmt.text = m->texts;
    m->schema = m->texts + len + 1;
    m->from = stmt;
    return m;
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
        if (found)
            return &found->stmt;
    }
}
