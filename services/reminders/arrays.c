/*
 * arrays.c - array literals, column by column.
 */
#include "services/reminders/arrays.h"

#include <assert.h>

#include "common/clock.h"

#define LITERAL_LIMIT (16 * MIB)

void columns_init(struct columns *k, size_t n)
{
    assert(n > 0 && n <= COLUMNS_MAX);
    *k = (struct columns){ .n = n };
    for (size_t i = 0; i < n; i++)
        sbuf_init(&k->c[i], LITERAL_LIMIT);
}

void columns_fini(struct columns *k)
{
    for (size_t i = 0; i < k->n; i++)
        sbuf_fini(&k->c[i]);
}

static struct sbuf *next_column(struct columns *k)
{
    struct sbuf *b = &k->c[k->at];

    sbuf_add_char(b, k->rows ? ',' : '{');
    if (++k->at == k->n) {
        k->at = 0;
        k->rows++;
    }
    return b;
}

void columns_text(struct columns *k, const char *text)
{
    sbuf_add_pg_element(next_column(k), text);
}

/* Values of the functions below need no quotes in an array literal, which saves work on both sides.
 */
static void add_plain(struct columns *k, const char *text)
{
    sbuf_add_text(next_column(k), text);
}

void columns_i64(struct columns *k, int64_t v)
{
    sbuf_add_i64(next_column(k), v);
}

void columns_i64_or_null(struct columns *k, int64_t v, bool is_null)
{
    if (is_null)
        add_plain(k, "NULL");
    else
        columns_i64(k, v);
}

void columns_bool(struct columns *k, bool v)
{
    add_plain(k, v ? "t" : "f");
}

void columns_id(struct columns *k, struct id id)
{
    char text[ID_TEXT_MAX];

    add_plain(k, id_is_nil(id) ? "NULL" : id_text(id, text));
}

void columns_time(struct columns *k, int64_t us)
{
    char text[TIME_TEXT_MAX];

    if (us)
        columns_text(k, time_format(us, text));
    else
        add_plain(k, "NULL");
}

enum err columns_params(struct columns *k, const char **params)
{
    bool bad = false;

    assert(k->at == 0);
    for (size_t i = 0; i < k->n; i++) {
        if (!k->rows)
            sbuf_add_char(&k->c[i], '{');
        sbuf_add_char(&k->c[i], '}');
        bad = bad || k->c[i].bad;
        params[i] = k->c[i].data;
    }
    return bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}
