/*
 * db_array.h - a column of many rows as one array parameter in PostgreSQL's binary format, for
 * statements that write a batch from unnest().
 *
 * The server takes such an array as it is; an array literal it reads character by character, and a
 * bytea in it twice. What does not fit, or memory that is out, shows once, at the end.
 */
#ifndef DAYBOOK_COMMON_DB_ARRAY_H
#define DAYBOOK_COMMON_DB_ARRAY_H

#include "common/db.h"
#include "common/sbuf.h"

/* Types of elements: the statement casts to the same, e.g. "$2::bigint[]" for DB_ARRAY_I64. */
enum db_array_type {
    DB_ARRAY_BOOL = 16,
    DB_ARRAY_BYTES = 17,
    DB_ARRAY_I64 = 20,
    DB_ARRAY_TEXT = 25,
    DB_ARRAY_TIME = 1184, /* timestamptz */
    DB_ARRAY_ID = 2950,   /* uuid */
};

struct db_array {
    enum db_array_type type;
    uint32_t n;
    bool has_null;
    struct sbuf bytes;
};

void db_array_init(struct db_array *v, enum db_array_type type);
void db_array_fini(struct db_array *v);

/* Each appends an element; the array must be of that type. */
void db_array_null(struct db_array *v);
void db_array_bool(struct db_array *v, bool b);
void db_array_bytes(struct db_array *v, const void *p, size_t n);
void db_array_i64(struct db_array *v, int64_t n);
void db_array_text(struct db_array *v, const char *text);
void db_array_time(struct db_array *v, int64_t us); /* since 1970 */
void db_array_id(struct db_array *v, struct id id);

/* The parameter, valid until db_array_fini(). ERR_RESOURCE_EXHAUSTED: something did not fit. */
NODISCARD enum err db_array_param(struct db_array *v, struct db_param *out);

#endif
