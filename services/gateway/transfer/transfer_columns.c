/*
 * transfer_columns.c - see transfer_columns.h.
 */
#include "services/gateway/transfer/transfer_columns.h"

#include "common/csv.h"
#include "common/pb_access.h"
#include "common/protojson.h"

#define ROW_BYTES_MAX (256 * KIB)
#define MARK "export_id"

static const struct {
    const char *name, *field;
    bool is_bool;
} all[] = {
    { "id", "id", false },
    { "external_source", "external_ref.source", false },
    { "external_id", "external_ref.id", false },
    { "name", "name", false },
    { "industry", "industry", false },
    { "company_size", "company_size", false },
    { "address", "address", false },
    { "city_code", "city_code", false },
    { "lat", "location.latitude", false },
    { "lon", "location.longitude", false },
    { "source", "source", false },
    { "relation_type", "relation_type", false },
    { "owner_id", "owner_id", false },
    { "key_account", "key_account", true },
    { "credit_code", "credit_code", false },
    { "potential_rating", "potential_rating", false },
    { "tier", "tier", false },
    { "status", "status", false },
    { "last_contact_at", "last_contact_at", false },
    { "open_questions", "open_questions", false },
    { "created_at", "created_at", false },
    { "etag", "etag", false },
};

static void add(struct transfer_columns *c, size_t i)
{
    c->names[c->n] = all[i].name;
    c->fields[c->n] = all[i].field;
    c->is_bool[c->n++] = all[i].is_bool;
}

static bool add_named(struct transfer_columns *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->names[i], name) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strcmp(all[i].name, name) == 0) {
            add(c, i);
            return true;
        }
    return false;
}

bool transfer_columns_choose(const char *const *names, size_t n, struct transfer_columns *out,
                             size_t *bad_out)
{
    *out = (struct transfer_columns){ .n = 0 };
    for (size_t i = 0; n == 0 && i < ARRAY_LEN(all); i++)
        add(out, i);
    for (size_t i = 0; i < n; i++)
        if (!add_named(out, names[i])) {
            *bad_out = i;
            return false;
        }
    /* No casts: everything as text. */
    out->cells = (struct db_stmt){ .name = "export", .text = "", .nparams = (int)out->n };
    return true;
}

void transfer_columns_write_header(const struct transfer_columns *c, FILE *out)
{
    for (size_t i = 0; i < c->n; i++)
        (void)fprintf(out, "%s,", c->names[i]);
    (void)fputs(MARK "\r\n", out);
}

enum err transfer_columns_write_csv(const struct transfer_columns *c, const ProtobufCMessage *row,
                                    const char *mark, struct arena *a, FILE *out)
{
    struct db_stmt cells = c->cells;
    const char *const *texts;

    cells.params = c->fields; /* not kept inside: the struct may have been copied */
    enum err e = record_bind(&cells, row, NULL, 0, a, &texts);
    if (e)
        return e;
    for (size_t i = 0; i < c->n; i++) {
        const char *text = texts[i] ? texts[i] : "";
        if (c->is_bool[i])
            text = *text == 't' ? "true" : "false";
        csv_write_cell(out, text);
        (void)fputc(',', out);
    }
    (void)fprintf(out, "%s\r\n", mark);
    return ERR_OK;
}

/* Whether something of a field was chosen. */
static bool is_chosen(const struct transfer_columns *c, const char *field)
{
    size_t len = strlen(field);

    for (size_t i = 0; i < c->n; i++)
        if (strncmp(c->fields[i], field, len) == 0 &&
            (c->fields[i][len] == '\0' || c->fields[i][len] == '.'))
            return true;
    return false;
}

static void clear_field(ProtobufCMessage *row, const ProtobufCFieldDescriptor *f)
{
    const char *none = "";

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        pb_set_array(row, f, NULL, 0);
    else if (f->type == PROTOBUF_C_TYPE_STRING)
        memcpy(pb_member_mut(row, f), &none, sizeof(none));
    else
        memset(pb_member_mut(row, f), 0, pb_sizeof(f->type));
}

enum err transfer_columns_write_json(const struct transfer_columns *c, ProtobufCMessage *row,
                                     const char *mark, FILE *out)
{
    struct sbuf text;

    for (unsigned i = 0; i < row->descriptor->n_fields; i++)
        if (!is_chosen(c, row->descriptor->fields[i].name))
            clear_field(row, &row->descriptor->fields[i]);
    sbuf_init(&text, ROW_BYTES_MAX);
    enum err e = protojson_write(row, 0, &text);
    if (!e && text.len >= 2)
        (void)fprintf(out, "%.*s%s\"exportId\":\"%s\"}\n", (int)text.len - 1, text.data,
                      text.len > 2 ? "," : "", mark);
    sbuf_fini(&text);
    return e;
}
