/*
 * db_row.c - columns as C values, and C values as parameters. Values cross as text.
 */
#include "common/db.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/db_text.h"
#include "common/num.h"

/* PQfnumber() copies and folds the name each time, which tells in results of a thousand rows. */
static int find_column(const PGresult *res, const char *column)
{
    for (int i = PQnfields(res) - 1; i >= 0; i--)
        if (strcmp(PQfname(res, i), column) == 0)
            return i;
    return -1;
}

/* The column's text; NULL when it is missing (bad) or SQL NULL. */
static const char *find(struct db_row *row, const char *column)
{
    int col = row->row < PQntuples(row->res) ? find_column(row->res, column) : -1;

    if (col < 0) {
        row->bad = true;
        return NULL;
    }
    return PQgetisnull(row->res, row->row, col) ? NULL : PQgetvalue(row->res, row->row, col);
}

/* The same where NULL will not do. */
static const char *need(struct db_row *row, const char *column)
{
    const char *text = find(row, column);

    if (text == NULL)
        row->bad = true;
    return text;
}

bool db_row_is_null(struct db_row *row, const char *column)
{
    return find(row, column) == NULL;
}

const char *db_row_text(struct db_row *row, const char *column)
{
    return find(row, column);
}

int64_t db_row_i64(struct db_row *row, const char *column)
{
    const char *text = need(row, column);
    int64_t v = 0;

    if (text && !num_i64(text, INT64_MIN, INT64_MAX, &v))
        row->bad = true;
    return v;
}

int32_t db_row_i32(struct db_row *row, const char *column)
{
    const char *text = need(row, column);
    int64_t v = 0;

    if (text && !num_i64(text, INT32_MIN, INT32_MAX, &v))
        row->bad = true;
    return (int32_t)v;
}

double db_row_double(struct db_row *row, const char *column)
{
    const char *text = need(row, column);
    double v = 0;

    if (text && !num_double(text, &v))
        row->bad = true;
    return v;
}

bool db_row_bool(struct db_row *row, const char *column)
{
    const char *text = need(row, column);

    if (text && strcmp(text, "t") != 0 && strcmp(text, "f") != 0)
        row->bad = true;
    return text && text[0] == 't' && !row->bad;
}

struct id db_row_id(struct db_row *row, const char *column)
{
    const char *text = need(row, column);
    struct id id = { 0 };

    if (text && !id_parse(text, &id))
        row->bad = true;
    return id;
}

struct id db_row_id_or_nil(struct db_row *row, const char *column)
{
    static const struct id nil;

    return db_row_is_null(row, column) ? nil : db_row_id(row, column);
}

int64_t db_row_time(struct db_row *row, const char *column)
{
    const char *text = need(row, column);
    int64_t us = 0;

    if (text && !db_parse_time(text, &us))
        row->bad = true;
    return us;
}

enum err db_row_bytes(struct db_row *row, const char *column, struct arena *a, uint8_t **data_out,
                      size_t *len_out)
{
    const char *text = need(row, column);
    enum err e = text ? db_parse_bytes(text, a, data_out, len_out) : ERR_INTERNAL;

    row->bad |= e == ERR_INTERNAL;
    return e;
}

/* --- texts of PostgreSQL --- */

bool db_parse_time(const char *text, int64_t *us_out)
{
    char buf[TIME_TEXT_MAX + 8];
    size_t len = strlen(text);

    /* "2026-01-02 03:04:05.123456+00" lacks a "T" and the minutes of the offset. */
    if (len < 20 || len + sizeof ":00" > sizeof buf || text[10] != ' ')
        return false;
    memcpy(buf, text, len + 1);
    buf[10] = 'T';
    if (buf[len - 3] == '+' || buf[len - 3] == '-')
        memcpy(buf + len, ":00", sizeof ":00");
    return time_parse(buf, us_out);
}

enum err db_parse_bytes(const char *text, struct arena *a, uint8_t **data_out, size_t *len_out)
{
    size_t digits = strlen(text), len = 0;

    if (digits < 2 || text[0] != '\\' || text[1] != 'x' || digits % 2 != 0)
        return ERR_INTERNAL;
    uint8_t *data = arena_alloc(a, digits / 2);
    if (data == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    if (sodium_hex2bin(data, digits / 2, text + 2, digits - 2, NULL, &len, NULL) ||
        len != digits / 2 - 1)
        return ERR_INTERNAL;
    *data_out = data;
    *len_out = len;
    return ERR_OK;
}

char *db_text_i64(struct arena *a, int64_t v)
{
    return arena_printf(a, "%" PRId64, v);
}

char *db_text_id(struct arena *a, struct id id)
{
    char buf[ID_TEXT_MAX];

    return arena_strdup(a, id_text(id, buf));
}

char *db_text_time(struct arena *a, int64_t us)
{
    char buf[TIME_TEXT_MAX];

    return arena_strdup(a, time_format(us, buf));
}

char *db_text_bytes(struct arena *a, const void *p, size_t n)
{
    size_t size = 2 * n + 3;
    char *text = arena_alloc(a, size);

    if (text == NULL)
        return NULL;
    text[0] = '\\';
    text[1] = 'x';
    sodium_bin2hex(text + 2, size - 2, p, n);
    return text;
}
