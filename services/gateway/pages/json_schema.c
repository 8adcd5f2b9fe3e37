/*
 * json_schema.c - see json_schema.h.
 */
#include "services/gateway/pages/json_schema.h"

#include "services/gateway/pages/json_doc.h"

#define INT32 "'type':'integer','format':'int32'"
#define UINT32 "'type':'integer','format':'uint32','minimum':0"
#define INT64 "'type':'string','format':'int64','pattern':'^-?[0-9]+$'"
#define UINT64 "'type':'string','format':'uint64','pattern':'^[0-9]+$'"
#define REAL(format)                                                                               \
    ("'anyOf':[{'type':'number','format':'" format "'},{'enum':['NaN','Infinity','-Infinity']}]")

static const char *const scalars[] = {
    [PROTOBUF_C_TYPE_INT32] = INT32,
    [PROTOBUF_C_TYPE_SINT32] = INT32,
    [PROTOBUF_C_TYPE_SFIXED32] = INT32,
    [PROTOBUF_C_TYPE_INT64] = INT64,
    [PROTOBUF_C_TYPE_SINT64] = INT64,
    [PROTOBUF_C_TYPE_SFIXED64] = INT64,
    [PROTOBUF_C_TYPE_UINT32] = UINT32,
    [PROTOBUF_C_TYPE_FIXED32] = UINT32,
    [PROTOBUF_C_TYPE_UINT64] = UINT64,
    [PROTOBUF_C_TYPE_FIXED64] = UINT64,
    [PROTOBUF_C_TYPE_FLOAT] = REAL("float"),
    [PROTOBUF_C_TYPE_DOUBLE] = REAL("double"),
    [PROTOBUF_C_TYPE_BOOL] = "'type':'boolean'",
    [PROTOBUF_C_TYPE_STRING] = "'type':'string'",
    [PROTOBUF_C_TYPE_BYTES] = "'type':'string','contentEncoding':'base64'",
};

/* NULL: anything, or not here. */
static const char *const known[] = {
    [SCHEMA_ANY] = "'type':'object','properties':{'@type':{'type':'string'}}",
    [SCHEMA_TIMESTAMP] = "'type':'string','format':'date-time'",
    [SCHEMA_DURATION] = "'type':'string','pattern':'^-?[0-9]+([.][0-9]{1,9})?s$'",
    [SCHEMA_FIELD_MASK] = "'type':'string'",
    [SCHEMA_STRUCT] = "'type':'object'",
    [SCHEMA_VALUE] = NULL,
    [SCHEMA_LIST_VALUE] = "'type':'array'",
};

/* --- sets of types ------------------------------------------------------------------------------ */

bool json_types_init(struct json_types *t, struct arena *a)
{
    size_t n;
    const struct schema_message *messages = schema_all_messages(&n);

    *t = (struct json_types){ .max = n };
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < messages[i].type->n_fields; k++)
            t->max += messages[i].fields[k].field->type == PROTOBUF_C_TYPE_ENUM;
    t->types = arena_array(a, t->max, sizeof(*t->types));
    return t->types != NULL;
}

/* False: it is there already. */
static bool add(struct json_types *t, const struct json_type *type)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->types[i].name, type->name) == 0)
            return false;
    t->types[t->n++] = *type;
    return true;
}

void json_types_add(struct json_types *t, const struct schema_message *m)
{
    const struct json_type self = { .name = m->type->name, .message = m };

    if (m->known != SCHEMA_PLAIN || (!m->is_map_entry && !add(t, &self)))
        return;
    for (unsigned i = 0; i < m->type->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        if (f->message) {
            json_types_add(t, f->message);
        } else if (f->field->type == PROTOBUF_C_TYPE_ENUM && !f->is_null_value) {
            const ProtobufCEnumDescriptor *e = f->field->descriptor;
            (void)add(t, &(struct json_type){ .name = e->name, .enumeration = e });
        }
    }
}

static int compare(const void *a, const void *b)
{
    const struct json_type *x = a, *y = b;
    return strcmp(x->name, y->name);
}

void json_types_sort(struct json_types *t)
{
    qsort(t->types, t->n, sizeof(*t->types), compare);
}

/* --- fields ------------------------------------------------------------------------------------- */

static void add_ref(struct sbuf *b, const char *name)
{
    char ref[512];

    snprintf(ref, sizeof(ref), JSON_SCHEMA_REF "%s", name);
    jdoc_text(b, "$ref", ref);
}

/* The members of one value's schema: of a field, an element, or the value of a map entry. */
static void add_value(struct sbuf *b, const struct schema_field *f)
{
    const struct schema_message *m = f->message;

    if (m && m->known == SCHEMA_WRAPPER)
        add_value(b, &m->fields[0]);
    else if (m && m->known == SCHEMA_PLAIN)
        add_ref(b, m->type->name);
    else if (m && known[m->known])
        jdoc_raw(b, NULL, known[m->known]);
    else if (f->is_null_value)
        jdoc_raw(b, NULL, "'type':'null'");
    else if (f->field->type == PROTOBUF_C_TYPE_ENUM)
        add_ref(b, ((const ProtobufCEnumDescriptor *)f->field->descriptor)->name);
    else if (!m)
        jdoc_raw(b, NULL, scalars[f->field->type]);
}

/* Keys are texts in JSON; those of another type look like its values. */
static void add_key_names(struct sbuf *b, const struct schema_field *key)
{
    if (key->field->type == PROTOBUF_C_TYPE_STRING)
        return;
    jdoc_raw(b, "propertyNames",
             key->field->type == PROTOBUF_C_TYPE_BOOL ? "{'enum':['true','false']}"
                                                      : "{'pattern':'^-?[0-9]+$'}");
}

static void add_map(struct sbuf *b, const struct schema_message *entry)
{
    jdoc_text(b, "type", "object");
    add_key_names(b, &entry->fields[0]);
    jdoc_open(b, "additionalProperties", '{');
    add_value(b, &entry->fields[1]);
    jdoc_close(b, '}');
}

void json_schema_field(struct sbuf *b, const char *key, const struct schema_field *f)
{
    jdoc_open(b, key, '{');
    if (f->is_map) {
        add_map(b, f->message);
    } else if (f->field->label == PROTOBUF_C_LABEL_REPEATED) {
        jdoc_text(b, "type", "array");
        jdoc_open(b, "items", '{');
        add_value(b, f);
        jdoc_close(b, '}');
    } else {
        add_value(b, f);
    }
    jdoc_description(b, f->comment);
    jdoc_close(b, '}');
}

/* --- messages and enums ------------------------------------------------------------------------- */

static bool same_oneof(const struct schema_message *m, unsigned i, unsigned k)
{
    return m->fields[i].oneof && m->fields[k].oneof &&
           strcmp(m->fields[i].oneof, m->fields[k].oneof) == 0;
}

/* Whether field i is the first of a oneof with others. */
static bool begins_oneof(const struct schema_message *m, unsigned i)
{
    bool others = false;

    for (unsigned k = 0; k < i; k++)
        if (same_oneof(m, i, k))
            return false;
    for (unsigned k = i + 1; k < m->type->n_fields; k++)
        others = others || same_oneof(m, i, k);
    return others;
}

static void add_each_required(struct sbuf *b, const struct schema_message *m, unsigned first)
{
    for (unsigned k = first; k < m->type->n_fields; k++) {
        if (!same_oneof(m, first, k))
            continue;
        jdoc_open(b, NULL, '{');
        jdoc_open(b, "required", '[');
        jdoc_text(b, NULL, m->fields[k].json_name);
        jdoc_close(b, ']');
        jdoc_close(b, '}');
    }
}

/* One of its members, or none. */
static void add_oneof(struct sbuf *b, const struct schema_message *m, unsigned first)
{
    jdoc_open(b, NULL, '{');
    jdoc_open(b, "oneOf", '[');
    add_each_required(b, m, first);
    jdoc_raw(b, NULL, "{'not':{'anyOf':[");
    add_each_required(b, m, first);
    sbuf_add_text(b, "]}}]}");
}

static void add_oneofs(struct sbuf *b, const struct schema_message *m)
{
    bool any = false;

    for (unsigned i = 0; i < m->type->n_fields; i++) {
        if (!begins_oneof(m, i))
            continue;
        if (!any)
            jdoc_open(b, "allOf", '[');
        any = true;
        add_oneof(b, m, i);
    }
    if (any)
        jdoc_close(b, ']');
}

void json_schema_message(struct sbuf *b, const char *key, const struct schema_message *m)
{
    jdoc_open(b, key, '{');
    jdoc_text(b, "type", "object");
    jdoc_description(b, m->comment);
    if (m->type->n_fields) {
        jdoc_open(b, "properties", '{');
        for (unsigned i = 0; i < m->type->n_fields; i++)
            json_schema_field(b, m->fields[i].json_name, &m->fields[i]);
        jdoc_close(b, '}');
    }
    add_oneofs(b, m);
    jdoc_close(b, '}');
}

/* What the enum is, and below it each value that says what it means. */
static void add_enum_description(struct sbuf *b, const ProtobufCEnumDescriptor *e)
{
    const char *own = schema_enum_comment(e);
    CLEANUP(sbuf_fini) struct sbuf text = { 0 };

    sbuf_init(&text, 64 * KIB);
    sbuf_add_text(&text, own ? own : "");
    for (unsigned i = 0; i < e->n_values; i++) {
        const char *comment = schema_enum_value_comment(e, e->values[i].value);
        if (comment)
            sbuf_addf(&text, "%s- `%s`: %s", text.len ? "\n" : "", e->values[i].name, comment);
    }
    if (text.len)
        jdoc_description(b, text.data);
}

void json_schema_enum(struct sbuf *b, const char *key, const ProtobufCEnumDescriptor *e)
{
    jdoc_open(b, key, '{');
    jdoc_text(b, "type", "string");
    add_enum_description(b, e);
    jdoc_open(b, "enum", '[');
    for (unsigned i = 0; i < e->n_values; i++)
        jdoc_text(b, NULL, e->values[i].name);
    jdoc_close(b, ']');
    jdoc_close(b, '}');
}

void json_schema_types(struct sbuf *b, const struct json_types *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->types[i].message)
            json_schema_message(b, t->types[i].name, t->types[i].message);
        else
            json_schema_enum(b, t->types[i].name, t->types[i].enumeration);
}
