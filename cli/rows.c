/*
 * rows.c - see rows.h.
 */
#include "cli/rows.h"

#include "common/clock.h"
#include "common/pb_access.h"
#include "common/record.h"
#include "common/wire.h"

static json_t *value_of(struct db_row *row, const struct column *k)
{
    char time[TIME_TEXT_MAX];
    if (db_row_is_null(row, k->column))
        return json_null();
    switch (k->kind) {
    case COLUMN_TEXT:
        break;
    case COLUMN_NUMBER:
        return json_integer(db_row_i64(row, k->column));
    case COLUMN_BOOL:
        return json_boolean(db_row_bool(row, k->column));
    case COLUMN_TIME:
        return json_string(time_format(db_row_time(row, k->column), time));
    }
    return json_string(db_row_text(row, k->column));
}

bool rows_add(json_t *list, const PGresult *res, const struct column *columns)
{
    for (int i = 0; i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        json_t *object = json_object();
        bool ok = object != NULL;
        for (const struct column *k = columns; k->key && ok; k++)
            ok = json_object_set_new(object, k->key, value_of(&row, k)) == 0;
        if (json_array_append_new(list, object) != 0 || !ok || row.bad)
            return false;
    }
    return true;
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static json_t *value_of_field(struct arena *a, const ProtobufCMessage *m,
                              const ProtobufCFieldDescriptor *f)
{
    const void *value = pb_member(m, f);
    char time[TIME_TEXT_MAX];
    int64_t i64;
    int32_t i32;
    protobuf_c_boolean truth;

    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
        memcpy(&i64, value, sizeof i64);
        return json_integer(i64);
    case PROTOBUF_C_TYPE_INT32:
        memcpy(&i32, value, sizeof i32);
        return json_integer(i32);
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&truth, value, sizeof truth);
        return json_boolean(truth);
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&i32, value, sizeof i32);
        return text_or_null(record_enum_text(f->descriptor, i32, a));
    case PROTOBUF_C_TYPE_MESSAGE: /* a moment; there are no others in rows */
        return pb_is_set(m, f)
                   ? json_string(time_format(wire_time_us((const void *)pb_message(value)), time))
                   : json_null();
    default:
        return text_or_null(pb_text(value));
    }
}

bool rows_add_messages(struct cli *c, json_t *list, size_t n, const void *messages,
                       const struct column *columns)
{
    const ProtobufCMessage *const *all = messages;

    for (size_t i = 0; i < n; i++) {
        json_t *object = json_object();
        bool ok = object != NULL;
        for (const struct column *k = columns; k->key && ok; k++) {
            const ProtobufCFieldDescriptor *f =
                protobuf_c_message_descriptor_get_field_by_name(all[i]->descriptor, k->column);
            if (f)
                ok = json_object_set_new(object, k->key, value_of_field(c->arena, all[i], f)) == 0;
        }
        if (json_array_append_new(list, object) != 0 || !ok)
            return false;
    }
    return true;
}

static const char *cell_of(struct arena *a, const json_t *value)
{
    if (json_is_integer(value))
        return arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_boolean(value))
        return json_is_true(value) ? "yes" : "no";
    return json_string_value(value); /* NULL shows as "-" */
}

bool rows_print(struct cli *c, const json_t *list, const struct column *columns)
{
    const char *headers[TABLE_COLUMNS_MAX + 1] = { NULL }, *cells[TABLE_COLUMNS_MAX];
    size_t n = 0, i;
    json_t *object;

    for (const struct column *k = columns; k->key; k++)
        if (k->header)
            headers[n++] = k->header;
    struct table *t = table_new(c->arena, headers);
    json_array_foreach(list, i, object)
    {
        n = 0;
        for (const struct column *k = columns; k->key; k++)
            if (k->header)
                cells[n++] = cell_of(c->arena, json_object_get(object, k->key));
        if (!t || !table_add(t, cells))
            return false;
    }
    if (t)
        table_print(t, stdout);
    return t != NULL;
}

int rows_print_json(const struct cli *c, json_t *root)
{
    bool ok = root && json_dumpf(root, stdout, JSON_COMPACT) == 0;
    json_decref(root);
    if (!ok)
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the answer cannot be shown as JSON");
    (void)printf("\n");
    return 0;
}
