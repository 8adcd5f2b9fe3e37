/*
 * db_array.c - PostgreSQL's array_recv() wants: dimensions, whether NULLs are in it, type of the
 * elements; of the one dimension its length and lower bound; then each element with its length.
 * All numbers are big-endian.
 */
#include "common/db_array.h"

#include <assert.h>

#define HEADER_LEN 20
#define BYTES_LIMIT (32 * MIB) /* of one array; more than an arena holds */
#define EPOCH_2000_US (INT64_C(946684800) * SECOND_US)

static void put32(uint8_t *p, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(n >> (24 - 8 * i));
}

static void put64(uint8_t *p, uint64_t n)
{
    put32(p, (uint32_t)(n >> 32));
    put32(p + 4, (uint32_t)n);
}

void db_array_init(struct db_array *v, enum db_array_type type)
{
    static const uint8_t room[HEADER_LEN];

    *v = (struct db_array){ .type = type };
    sbuf_init(&v->bytes, BYTES_LIMIT);
    sbuf_add(&v->bytes, room, sizeof room);
}

void db_array_fini(struct db_array *v)
{
    sbuf_fini(&v->bytes);
}

static void append(struct db_array *v, enum db_array_type type, const void *p, size_t n)
{
    uint8_t len[4];

    assert(v->type == type);
    put32(len, (uint32_t)n); /* what is longer than the limit is refused by the buffer */
    sbuf_add(&v->bytes, len, sizeof len);
    sbuf_add(&v->bytes, p, n);
    v->n++;
}

void db_array_null(struct db_array *v)
{
    uint8_t len[4];

    put32(len, UINT32_MAX);
    sbuf_add(&v->bytes, len, sizeof len);
    v->has_null = true;
    v->n++;
}

void db_array_bool(struct db_array *v, bool b)
{
    append(v, DB_ARRAY_BOOL, b ? "\1" : "\0", 1);
}

void db_array_bytes(struct db_array *v, const void *p, size_t n)
{
    append(v, DB_ARRAY_BYTES, n ? p : "", n);
}

void db_array_i64(struct db_array *v, int64_t n)
{
    uint8_t bytes[8];

    put64(bytes, (uint64_t)n);
    append(v, DB_ARRAY_I64, bytes, sizeof bytes);
}

void db_array_text(struct db_array *v, const char *text)
{
    append(v, DB_ARRAY_TEXT, text, strlen(text));
}

void db_array_time(struct db_array *v, int64_t us)
{
    uint8_t bytes[8];

    put64(bytes, (uint64_t)us - (uint64_t)EPOCH_2000_US);
    append(v, DB_ARRAY_TIME, bytes, sizeof bytes);
}

void db_array_id(struct db_array *v, struct id id)
{
    append(v, DB_ARRAY_ID, id.b, sizeof id.b);
}

enum err db_array_param(struct db_array *v, struct db_param *out)
{
    uint8_t *header = (uint8_t *)v->bytes.data;

    if (v->bytes.bad)
        return ERR_RESOURCE_EXHAUSTED;
    put32(header, v->n ? 1 : 0);
    put32(header + 4, v->has_null);
    put32(header + 8, (uint32_t)v->type);
    put32(header + 12, v->n);
    put32(header + 16, 1);
    *out = (struct db_param){ .value = v->bytes.data,
                              .len = (int)(v->n ? v->bytes.len : HEADER_LEN - 8),
                              .binary = true };
    return ERR_OK;
}
