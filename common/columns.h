/*
 * columns.h - columns of many rows as PostgreSQL arrays, for statements that write a batch from
 * unnest(): array literals, or the binary format, which costs the server a fraction. A value that
 * does not fit shows once, at the end.
 */
#ifndef DAYBOOK_COMMON_COLUMNS_H
#define DAYBOOK_COMMON_COLUMNS_H

#include "common/db_array.h"
#include "common/err.h"
#include "common/id.h"
#include "common/sbuf.h"

#define COLUMNS_MAX 26

struct columns {
    size_t n;  /* columns */
    size_t at; /* next one of the present row */
    size_t rows;
    bool binary;
    struct sbuf c[COLUMNS_MAX];
    struct db_array v[COLUMNS_MAX];
};

void columns_init(struct columns *k, size_t n);
/* For columns_binary_params(): numbers are bigint[] whatever the column. */
void columns_init_binary(struct columns *k, size_t n);
void columns_fini(struct columns *k); /* for CLEANUP; declare with = { 0 } */

/* The values of a row, left to right; the row is complete with the n-th. */
void columns_text(struct columns *k, const char *text); /* NULL = SQL NULL */
void columns_i64(struct columns *k, int64_t v);
void columns_i64_or_null(struct columns *k, int64_t v, bool is_null);
void columns_bool(struct columns *k, bool v);
void columns_id(struct columns *k, struct id id);               /* nil = SQL NULL */
void columns_time(struct columns *k, int64_t us);               /* timestamptz; 0 = SQL NULL */
void columns_bytes(struct columns *k, const void *p, size_t n); /* binary columns only */

/* Closes the arrays and writes their texts into params[0..n-1], valid until columns_fini().
 * ERR_RESOURCE_EXHAUSTED: something did not fit. */
NODISCARD enum err columns_params(struct columns *k, const char **params);
NODISCARD enum err columns_binary_params(struct columns *k, struct db_param *params);

#endif
