/*
 * columns.c - see columns.h.
 */
#include "common/columns.h"

#include <assert.h>

#include "common/clock.h"

#define LITERAL_LIMIT (16 * MIB)

static void init(struct columns *k, size_t n, bool binary)
{
    assert(n > 0 && n <= COLUMNS_MAX);
    *k = (struct columns){ .n = n, .binary = binary };
    for (size_t i = 0; i < n && !binary; i++)
        sbuf_init(&k->c[i], LITERAL_LIMIT);
}

void columns_init(struct columns *k, size_t n)
{
    init(k, n, false);
}

void columns_init_binary(struct columns *k, size_t n)
{
    init(k, n, true);
}

void columns_fini(struct columns *k)
{
    for (size_t i = 0; i < k->n; i++) {
        if (!k->binary)
            sbuf_fini(&k->c[i]);
        else if (k->v[i].type)
            db_array_fini(&k->v[i]);
    }
}

/* The next column's number. */
static size_t next(struct columns *k)
{
    size_t at = k->at;

    if (++k->at == k->n) {
        k->at = 0;
        k->rows++;
    }
    return at;
}

static struct sbuf *next_literal(struct columns *k)
{
    bool first = k->rows == 0;
    struct sbuf *b = &k->c[next(k)];

    sbuf_add_char(b, first ? '{' : ',');
    return b;
}

/* The first value of a column gives it its type. */
static struct db_array *next_array(struct columns *k, enum db_array_type type)
{
    bool first = k->rows == 0;
    struct db_array *v = &k->v[next(k)];

    if (first)
        db_array_init(v, type);
    return v;
}

/* Values of the functions below need no quotes in an array literal, which saves work on both sides.
 */
static void add_plain(struct columns *k, const char *text)
{
    sbuf_add_text(next_literal(k), text);
}

static void add_null(struct columns *k, enum db_array_type type)
{
    if (k->binary)
        db_array_null(next_array(k, type));
    else
        add_plain(k, "NULL");
}

void columns_text(struct columns *k, const char *text)
{
    if (text == NULL)
        add_null(k, DB_ARRAY_TEXT);
    else if (k->binary)
        db_array_text(next_array(k, DB_ARRAY_TEXT), text);
    else
        sbuf_add_pg_element(next_literal(k), text);
}

void columns_i64(struct columns *k, int64_t v)
{
    if (k->binary)
        db_array_i64(next_array(k, DB_ARRAY_I64), v);
    else
        sbuf_add_i64(next_literal(k), v);
}

void columns_i64_or_null(struct columns *k, int64_t v, bool is_null)
{
    if (is_null)
        add_null(k, DB_ARRAY_I64);
    else
        columns_i64(k, v);
}

void columns_bool(struct columns *k, bool v)
{
    if (k->binary)
        db_array_bool(next_array(k, DB_ARRAY_BOOL), v);
    else
        add_plain(k, v ? "t" : "f");
}

void columns_id(struct columns *k, struct id id)
{
    char text[ID_TEXT_MAX];

    if (id_is_nil(id))
        add_null(k, DB_ARRAY_ID);
    else if (k->binary)
        db_array_id(next_array(k, DB_ARRAY_ID), id);
    else
        add_plain(k, id_text(id, text));
}

void columns_time(struct columns *k, int64_t us)
{
    char text[TIME_TEXT_MAX];

    if (us == 0)
        add_null(k, DB_ARRAY_TIME);
    else if (k->binary)
        db_array_time(next_array(k, DB_ARRAY_TIME), us);
    else
        sbuf_add_pg_element(next_literal(k), time_format(us, text));
}

void columns_bytes(struct columns *k, const void *p, size_t n)
{
    assert(k->binary);
    db_array_bytes(next_array(k, DB_ARRAY_BYTES), p, n);
}

enum err columns_binary_params(struct columns *k, struct db_param *params)
{
    enum err e = ERR_OK;

    assert(k->at == 0 && k->rows > 0 && k->binary);
    for (size_t i = 0; i < k->n && !e; i++)
        e = db_array_param(&k->v[i], &params[i]);
    return e;
}

enum err columns_params(struct columns *k, const char **params)
{
    bool bad = false;

    assert(k->at == 0 && !k->binary);
    for (size_t i = 0; i < k->n; i++) {
        if (!k->rows)
            sbuf_add_char(&k->c[i], '{');
        sbuf_add_char(&k->c[i], '}');
        bad = bad || k->c[i].bad;
        params[i] = k->c[i].data;
    }
    return bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}
