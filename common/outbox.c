/*
 * outbox.c - one statement for any number of events of one origin.
 *
 * The outbox's identity gives the order: rows are inserted in that of the arrays, so events of one
 * transaction are drained as they were emitted (protocols F.3).
 */
#include "common/outbox.h"

#include "common/clock.h"
#include "common/db_array.h"
#include "common/sql.h"
#include "common/wire.h"

#define COLUMNS 13

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
        .origin = event->origin,
        .payload = payload,
        .payload_len = len,
    };
    return ERR_OK;
}

static struct db_param text(const char *value)
{
    return (struct db_param){ .value = value };
}

static enum err queue_one(struct db *db, const struct outbox_row *r)
{
    char event_id[ID_TEXT_MAX], tenant[ID_TEXT_MAX], actor[ID_TEXT_MAX];
    char version[24], occurred_at[TIME_TEXT_MAX];
    const struct db_param params[COLUMNS] = {
        text(id_text(r->event_id, event_id)),
        text(id_text(r->tenant, tenant)),
        text(r->type),
        text(r->aggregate),
        text(version),
        text(time_format(r->occurred_at_us, occurred_at)),
        text(id_is_nil(r->actor) ? NULL : id_text(r->actor, actor)),
        text(r->request_id ? r->request_id : ""),
        text(r->traceparent ? r->traceparent : ""),
        { .value = r->payload_len ? (const char *)r->payload : "",
          .len = (int)r->payload_len,
          .binary = true },
        text(r->origin.method),
        text(r->origin.remote_address),
        text(r->origin.fields),
    };

    snprintf(version, sizeof version, "%" PRId64, r->version);
    return db_queue_params(db, &sql_outbox_insert, params, NULL, NULL);
}

static bool same_text(const char *x, const char *y)
{
    return x == y || (x && y && strcmp(x, y) == 0);
}

/* What all rows of one statement share; the rest are arrays. */
static bool same_origin(const struct outbox_row *x, const struct outbox_row *y)
{
    const char *xr = x->request_id ? x->request_id : "", *yr = y->request_id ? y->request_id : "";

    return id_equal(x->tenant, y->tenant) && x->occurred_at_us == y->occurred_at_us &&
           id_equal(x->actor, y->actor) && strcmp(xr, yr) == 0 &&
           same_text(x->origin.method, y->origin.method) &&
           same_text(x->origin.remote_address, y->origin.remote_address) &&
           same_text(x->origin.fields, y->origin.fields);
}

#define SHARED 7
static const enum db_array_type array_types[COLUMNS - SHARED] = {
    DB_ARRAY_ID, DB_ARRAY_TEXT, DB_ARRAY_TEXT, DB_ARRAY_I64, DB_ARRAY_TEXT, DB_ARRAY_BYTES,
};

static void fill_arrays(struct db_array *c, const struct outbox_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct outbox_row *r = &rows[i];
        db_array_id(&c[0], r->event_id);
        db_array_text(&c[1], r->type);
        db_array_text(&c[2], r->aggregate);
        db_array_i64(&c[3], r->version);
        db_array_text(&c[4], r->traceparent ? r->traceparent : "");
        db_array_bytes(&c[5], r->payload, r->payload_len);
    }
}

static enum err queue_many(struct db *db, const struct outbox_row *rows, size_t n)
{
    struct db_array columns[COLUMNS - SHARED];
    char tenant[ID_TEXT_MAX], actor[ID_TEXT_MAX], occurred_at[TIME_TEXT_MAX];
    struct db_param params[COLUMNS] = {
        text(id_text(rows->tenant, tenant)),
        text(time_format(rows->occurred_at_us, occurred_at)),
        text(id_is_nil(rows->actor) ? NULL : id_text(rows->actor, actor)),
        text(rows->request_id ? rows->request_id : ""),
        text(rows->origin.method),
        text(rows->origin.remote_address),
        text(rows->origin.fields),
    };
    enum err e = ERR_OK;

    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        db_array_init(&columns[c], array_types[c]);
    fill_arrays(columns, rows, n);
    for (size_t c = 0; c < ARRAY_LEN(columns) && e == ERR_OK; c++)
        e = db_array_param(&columns[c], &params[SHARED + c]);
    if (e == ERR_OK)
        e = db_queue_params(db, &sql_outbox_insert_many, params, NULL, NULL);
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        db_array_fini(&columns[c]);
    return e;
}

enum err outbox_queue_rows(struct db *db, const struct outbox_row *rows, size_t n,
                           struct arena *a UNUSED)
{
    enum err e = ERR_OK;

    for (size_t from = 0, to; from < n && e == ERR_OK; from = to) {
        to = from + 1;
        while (to < n && same_origin(&rows[from], &rows[to]))
            to++;
        e = to - from == 1 ? queue_one(db, &rows[from]) : queue_many(db, &rows[from], to - from);
    }
    return e;
}
