/*
 * example.c - see example.h.
 */
#include "services/gateway/pages/example.h"

#include "common/protojson.h"
#include "services/gateway/pages/json_doc.h"

#define DEPTH_MAX 4 /* messages around a field */

static void add_message(struct sbuf *b, const char *key, const struct schema_message *m, int depth);

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), len = strlen(end);
    return n >= len && strcmp(text + n - len, end) == 0;
}

/* By the names that the contract uses; the first that fits. */
static const char *text_for(const char *name)
{
    static const struct {
        const char *end, *text;
    } texts[] = {
        { "id", "01933a00-0000-7000-8000-000000000001" },
        { "ids", "01933a00-0000-7000-8000-000000000001" },
        { "date", "2026-03-02" },
        { "_on", "2026-03-02" },
        { "day", "2026-03-02" },
        { "currency_code", "CNY" },
        { "time_zone", "Asia/Shanghai" },
        { "email", "somebody@example.com" },
        { "phone", "+86 21 5555 0100" },
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (ends_with(name, texts[i].end))
            return texts[i].text;
    return "text";
}

static const char *number_for(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL:
        return "true";
    case PROTOBUF_C_TYPE_BYTES:
        return "'AA=='";
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return "1.5";
    default:
        return "1";
    }
}

static void add_enum(struct sbuf *b, const char *key, const ProtobufCEnumDescriptor *e)
{
    unsigned i = 0;

    while (i + 1 < e->n_values && e->values[i].value <= 0)
        i++;
    jdoc_text(b, key, e->values[i].name);
}

static void add_known(struct sbuf *b, const char *key, enum schema_known known)
{
    static const char *const values[] = {
        [SCHEMA_TIMESTAMP] = "'2026-03-02T08:00:00Z'",
        [SCHEMA_DURATION] = "'3600s'",
        [SCHEMA_FIELD_MASK] = "''",
        [SCHEMA_STRUCT] = "{}",
        [SCHEMA_VALUE] = "'text'",
        [SCHEMA_LIST_VALUE] = "[]",
        [SCHEMA_ANY] = "{}",
    };
    jdoc_raw(b, key, values[known]);
}

static void add_value(struct sbuf *b, const char *key, const struct schema_field *f, int depth)
{
    const struct schema_message *m = f->message;

    if (m && m->known == SCHEMA_WRAPPER)
        add_value(b, key, &m->fields[0], depth);
    else if (m && m->known == SCHEMA_PLAIN)
        add_message(b, key, m, depth);
    else if (m)
        add_known(b, key, m->known);
    else if (f->field->type == PROTOBUF_C_TYPE_ENUM)
        add_enum(b, key, f->field->descriptor);
    else if (f->field->type == PROTOBUF_C_TYPE_STRING)
        jdoc_text(b, key, text_for(f->field->name));
    else
        jdoc_raw(b, key, number_for(f->field->type));
}

static bool is_left_out(const struct schema_message *m, unsigned i, int depth)
{
    const struct schema_field *f = &m->fields[i];
    enum schema_known form = f->message ? f->message->known : SCHEMA_PLAIN;

    for (unsigned k = 0; k < i; k++)
        if (f->oneof && m->fields[k].oneof && strcmp(f->oneof, m->fields[k].oneof) == 0)
            return true; /* its first is there */
    return (f->comment && strncmp(f->comment, "Output only", 11) == 0) || f->is_null_value ||
           form == SCHEMA_ANY || form == SCHEMA_FIELD_MASK || ends_with(f->field->name, "etag") ||
           ends_with(f->field->name, "page_token") ||
           (f->message && form == SCHEMA_PLAIN && depth >= DEPTH_MAX);
}

static const char *key_for(const struct schema_field *key)
{
    switch (key->field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return "key";
    case PROTOBUF_C_TYPE_BOOL:
        return "true";
    default:
        return "1";
    }
}

static void add_field(struct sbuf *b, const struct schema_field *f, int depth)
{
    if (f->is_map) {
        jdoc_open(b, f->json_name, '{');
        add_value(b, key_for(&f->message->fields[0]), &f->message->fields[1], depth);
        jdoc_close(b, '}');
    } else if (f->field->label == PROTOBUF_C_LABEL_REPEATED) {
        jdoc_open(b, f->json_name, '[');
        add_value(b, NULL, f, depth);
        jdoc_close(b, ']');
    } else {
        add_value(b, f->json_name, f, depth);
    }
}

static void add_message(struct sbuf *b, const char *key, const struct schema_message *m, int depth)
{
    jdoc_open(b, key, '{');
    for (unsigned i = 0; i < m->type->n_fields; i++)
        if (!is_left_out(m, i, depth))
            add_field(b, &m->fields[i], depth + 1);
    jdoc_close(b, '}');
}

void example_write(struct sbuf *out, const ProtobufCMessageDescriptor *type, int flags,
                   struct arena *a)
{
    CLEANUP(sbuf_fini) struct sbuf text = { 0 };
    ProtobufCMessage *message = NULL;
    struct wire_fault fault;

    sbuf_init(&text, MIB);
    add_message(&text, NULL, schema_of(type), 0);
    if (text.bad ||
        protojson_read(type, text.data, text.len, PROTOJSON_STRICT, a, &message, &fault) ||
        protojson_write(message, flags, out))
        out->bad = true; /* what we invent is read by our own rules, or is not shown */
}
