/*
 * outbox.c - one statement for any number of events.
 *
 * The outbox's identity gives the order: rows are inserted in that of the arrays, so events of one
 * transaction are drained as they were emitted (protocols F.3).
 */
#include "common/outbox.h"

#include "common/sbuf.h"
#include "common/sql.h"
#include "common/wire.h"

#define COLUMNS 10
#define ARRAY_LIMIT (32 * MIB) /* of one array literal; more than an arena holds */

enum err outbox_pack(const struct outbox_event *event, struct arena *a, struct outbox_row *row_out)
{
    uint8_t *payload;
    size_t len;

    enum err e = wire_pack(event->message, a, &payload, &len);
    if (e)
        return e;
    char *aggregate = arena_printf(a, "%s/%s", event->collection, event->aggregate_id);
    if (aggregate == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    *row_out = (struct outbox_row){
        .event_id = id_new(),
        .tenant = event->tenant,
        .type = event->message->descriptor->name,
        .aggregate = aggregate,
        .version = event->version,
        .occurred_at_us = event->occurred_at_us,
        .actor = event->actor,
        .request_id = event->request_id,
        .traceparent = event->traceparent,
        .payload = payload,
        .payload_len = len,
    };
    return ERR_OK;
}

/* The row as parameters, in the order of the statement. */
static enum err to_params(const struct outbox_row *r, struct arena *a, const char *out[COLUMNS])
{
    out[0] = db_text_id(a, r->event_id);
    out[1] = db_text_id(a, r->tenant);
    out[2] = r->type;
    out[3] = r->aggregate;
    out[4] = db_text_i64(a, r->version);
    out[5] = db_text_time(a, r->occurred_at_us);
    out[6] = id_is_nil(r->actor) ? NULL : db_text_id(a, r->actor);
    out[7] = r->request_id ? r->request_id : "";
    out[8] = r->traceparent ? r->traceparent : "";
    out[9] = db_text_bytes(a, r->payload, r->payload_len);
    bool full =
        !out[0] || !out[1] || !out[4] || !out[5] || !out[9] || (!id_is_nil(r->actor) && !out[6]);
    return full ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}

static enum err queue_one(struct db *db, const struct outbox_row *row, struct arena *a)
{
    const char *params[COLUMNS];

    enum err e = to_params(row, a, params);
    return e ? e : db_queue(db, &sql_outbox_insert, params);
}

static enum err fill_arrays(struct sbuf columns[COLUMNS], const struct outbox_row *rows, size_t n,
                            struct arena *a)
{
    for (size_t i = 0; i < n; i++) {
        const char *params[COLUMNS];
        enum err e = to_params(&rows[i], a, params);
        if (e)
            return e;
        for (size_t c = 0; c < COLUMNS; c++) {
            sbuf_add_char(&columns[c], i == 0 ? '{' : ',');
            sbuf_add_pg_element(&columns[c], params[c]);
        }
    }
    return ERR_OK;
}

static enum err queue_many(struct db *db, const struct outbox_row *rows, size_t n, struct arena *a)
{
    struct sbuf columns[COLUMNS];
    const char *params[COLUMNS];
    bool bad = false;

    for (size_t c = 0; c < COLUMNS; c++)
        sbuf_init(&columns[c], ARRAY_LIMIT);
    enum err e = fill_arrays(columns, rows, n, a);
    for (size_t c = 0; c < COLUMNS; c++) {
        sbuf_add_char(&columns[c], '}');
        bad = bad || columns[c].bad;
        params[c] = columns[c].data;
    }
    if (e == ERR_OK)
        e = bad ? ERR_RESOURCE_EXHAUSTED : db_queue(db, &sql_outbox_insert_many, params);
    for (size_t c = 0; c < COLUMNS; c++)
        sbuf_fini(&columns[c]);
    return e;
}

enum err outbox_queue_rows(struct db *db, const struct outbox_row *rows, size_t n, struct arena *a)
{
    if (n == 0)
        return ERR_OK;
    return n == 1 ? queue_one(db, rows, a) : queue_many(db, rows, n, a);
}

enum err outbox_queue(struct db *db, const struct outbox_event *events, size_t n, struct arena *a)
{
    struct outbox_row *rows = arena_array(a, n ? n : 1, sizeof *rows);
    if (rows == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++) {
        enum err e = outbox_pack(&events[i], a, &rows[i]);
        if (e)
            return e;
    }
    return outbox_queue_rows(db, rows, n, a);
}
