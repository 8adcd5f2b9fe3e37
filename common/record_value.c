/*
 * record_value.c - the texts of single values and arrays, and the JSON of messages.
 *
 * protobuf-c lays a message out by offsets in its descriptor; the casts to and from these offsets
 * are all in this file.
 */
#include "common/record_value.h"

#include <ctype.h>
#include <math.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/db_text.h"
#include "common/num.h"
#include "common/protojson.h"
#include "common/record.h"
#include "common/sbuf.h"
#include "common/schema.h"
#include "common/wire.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#define OID_JSON 114
#define OID_JSONB 3802
#define OID_TIMESTAMPTZ 1184
#define OID_TIMESTAMPTZ_ARRAY 1185
#define OID_INT8 20

#define JSON_MAX_BYTES (16 * MIB)

static void *member(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    return (char *)(uintptr_t)message + field->offset;
}

static void *quantifier(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    return (char *)(uintptr_t)message + field->quantifier_offset;
}

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static bool is_timestamp(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE &&
           field->descriptor == &google__protobuf__timestamp__descriptor;
}

static bool is_duration(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE &&
           field->descriptor == &google__protobuf__duration__descriptor;
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_FLOAT:
        return sizeof(float);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(int32_t);
    }
}

/* Says that the field is there: has_..., or the case of its oneof. */
static void mark_present(const ProtobufCFieldDescriptor *field, ProtobufCMessage *message)
{
    if (is_oneof(field))
        *(uint32_t *)quantifier(field, message) = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_MESSAGE &&
             field->type != PROTOBUF_C_TYPE_STRING)
        *(protobuf_c_boolean *)quantifier(field, message) = 1;
}

/* Whether a singular field is there, as far as proto3 can tell. */
static bool is_present(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    if (is_oneof(field) && *(const uint32_t *)quantifier(field, message) != field->id)
        return false;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)member(field, message) != NULL;
    if (!is_oneof(field) && field->label == PROTOBUF_C_LABEL_OPTIONAL)
        return *(const protobuf_c_boolean *)quantifier(field, message);
    return true;
}

ProtobufCMessage *record_value_sub(const ProtobufCFieldDescriptor *field,
                                   const ProtobufCMessage *message)
{
    return is_present(field, message) ? *(ProtobufCMessage **)member(field, message) : NULL;
}

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type, struct arena *a)
{
    ProtobufCMessage *message = arena_alloc(a, type->sizeof_message);

    if (message)
        protobuf_c_message_init(type, message);
    return message;
}

ProtobufCMessage *record_value_make_sub(const ProtobufCFieldDescriptor *field,
                                        ProtobufCMessage *message, struct arena *a)
{
    ProtobufCMessage *sub = new_message(field->descriptor, a);

    if (sub) {
        *(ProtobufCMessage **)member(field, message) = sub;
        mark_present(field, message);
    }
    return sub;
}

/* --- enums --- */

/* Length of what all names of the type begin with: "QUESTION_STATE_" of QUESTION_STATE_UNSPECIFIED.
 */
static size_t enum_prefix_len(const ProtobufCEnumDescriptor *type)
{
    static const char unspecified[] = "UNSPECIFIED";
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(type, 0);
    size_t len = zero ? strlen(zero->name) : 0;

    if (len < sizeof unspecified - 1 ||
        strcmp(zero->name + len - (sizeof unspecified - 1), unspecified) != 0)
        return 0;
    return len - (sizeof unspecified - 1);
}

const char *record_enum_text(const ProtobufCEnumDescriptor *type, int value, struct arena *a)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);

    if (value == 0)
        return "";
    if (v == NULL)
        return NULL;
    char *text = arena_strdup(a, v->name + enum_prefix_len(type));
    for (char *p = text; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return text;
}

static enum err parse_enum(const ProtobufCEnumDescriptor *type, const char *text, int32_t *out)
{
    size_t prefix = enum_prefix_len(type);
    int64_t number = 0;

    *out = 0;
    if (text[0] == '\0')
        return ERR_OK;
    for (unsigned i = 0; i < type->n_values; i++)
        if (strcasecmp(type->values[i].name + prefix, text) == 0) {
            *out = type->values[i].value;
            return ERR_OK;
        }
    if (!num_i64(text, INT32_MIN, INT32_MAX, &number) ||
        protobuf_c_enum_descriptor_get_value(type, (int)number) == NULL)
        return ERR_INTERNAL;
    *out = (int32_t)number;
    return ERR_OK;
}

/* --- reading --- */

static enum err parse_timestamp(const char *text, struct arena *a, ProtobufCMessage **out)
{
    int64_t us = 0;

    if (!db_parse_time(text, &us))
        return ERR_INTERNAL;
    *out = wire_time(a, us);
    return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err parse_duration(const char *text, struct arena *a, ProtobufCMessage **out)
{
    int64_t us = 0;

    if (!num_i64(text, INT64_MIN, INT64_MAX, &us))
        return ERR_INTERNAL;
    Google__Protobuf__Duration *d = (void *)new_message(&google__protobuf__duration__descriptor, a);
    if (d == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    d->seconds = us / SECOND_US;
    d->nanos = (int32_t)(us % SECOND_US * 1000);
    *out = &d->base;
    return ERR_OK;
}

static enum err parse_json(const ProtobufCMessageDescriptor *type, const char *text,
                           struct arena *a, ProtobufCMessage **out)
{
    struct wire_fault fault = { 0 };
    /* Unknown keys are those of a newer version, or of an older one: rows outlive both. */
    enum err e = protojson_read(type, text, strlen(text), 0, a, out, &fault);

    return e == ERR_INVALID_ARGUMENT ? ERR_INTERNAL : e;
}

static enum err parse_i64(const char *text, int64_t min, int64_t max, void *out, size_t size)
{
    int64_t v = 0;

    if (!num_i64(text, min, max, &v))
        return ERR_INTERNAL;
    int32_t v32 = (int32_t)v;
    memcpy(out, size == sizeof v ? (void *)&v : (void *)&v32, size);
    return ERR_OK;
}

static enum err parse_u64(const char *text, uint64_t max, void *out, size_t size)
{
    uint64_t v = 0;

    if (!num_u64(text, max, &v))
        return ERR_INTERNAL;
    uint32_t v32 = (uint32_t)v;
    memcpy(out, size == sizeof v ? (void *)&v : (void *)&v32, size);
    return ERR_OK;
}

static enum err parse_real(const ProtobufCFieldDescriptor *field, const char *text, void *out)
{
    double v = 0;

    if (!num_double(text, &v))
        return ERR_INTERNAL;
    float narrow = (float)v;
    memcpy(out, field->type == PROTOBUF_C_TYPE_DOUBLE ? (void *)&v : (void *)&narrow,
           size_of(field));
    return ERR_OK;
}

static enum err parse_bool(const char *text, void *out)
{
    protobuf_c_boolean v = strcmp(text, "t") == 0;

    if (!v && strcmp(text, "f") != 0)
        return ERR_INTERNAL;
    memcpy(out, &v, sizeof v);
    return ERR_OK;
}

static enum err parse_bytes(const char *text, struct arena *a, void *out)
{
    ProtobufCBinaryData v = { 0 };

    enum err e = db_parse_bytes(text, a, &v.data, &v.len);
    if (e == ERR_OK)
        memcpy(out, &v, sizeof v);
    return e;
}

static enum err parse_message(const ProtobufCFieldDescriptor *field, Oid column_type,
                              const char *text, struct arena *a, void *out)
{
    ProtobufCMessage *v = NULL;
    enum err e;

    if (column_type == OID_JSON || column_type == OID_JSONB)
        e = parse_json(field->descriptor, text, a, &v);
    else if (is_timestamp(field) &&
             (column_type == OID_TIMESTAMPTZ || column_type == OID_TIMESTAMPTZ_ARRAY))
        e = parse_timestamp(text, a, &v);
    else if (is_duration(field) && column_type == OID_INT8)
        e = parse_duration(text, a, &v);
    else
        e = ERR_INTERNAL;
    if (e == ERR_OK)
        memcpy(out, &v, sizeof v);
    return e;
}

static enum err parse_string(const char *text, struct arena *a, void *out)
{
    char *copy = arena_strdup(a, text);

    if (copy == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    memcpy(out, &copy, sizeof copy);
    return ERR_OK;
}

/* One value into `out`, which has the field's C type. */
static enum err parse_one(const ProtobufCFieldDescriptor *field, Oid column_type, const char *text,
                          struct arena *a, void *out)
{
    int32_t number = 0;
    enum err e;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return parse_i64(text, INT32_MIN, INT32_MAX, out, sizeof(int32_t));
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return parse_i64(text, INT64_MIN, INT64_MAX, out, sizeof(int64_t));
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return parse_u64(text, UINT32_MAX, out, sizeof(uint32_t));
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return parse_u64(text, UINT64_MAX, out, sizeof(uint64_t));
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return parse_real(field, text, out);
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(text, out);
    case PROTOBUF_C_TYPE_ENUM:
        e = parse_enum(field->descriptor, text, &number);
        memcpy(out, &number, sizeof number);
        return e;
    case PROTOBUF_C_TYPE_STRING:
        return parse_string(text, a, out);
    case PROTOBUF_C_TYPE_BYTES:
        return parse_bytes(text, a, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        return parse_message(field, column_type, text, a, out);
    }
    return ERR_INTERNAL;
}

/* The next element of an array's text into word; *p after it. False: not a plain array of one
 * dimension, or NULL, which no repeated field can hold. */
static bool next_element(const char **p, struct sbuf *word)
{
    bool quoted = **p == '"';

    sbuf_clear(word);
    if (quoted)
        (*p)++;
    for (; **p && (quoted ? **p != '"' : **p != ',' && **p != '}'); (*p)++) {
        if (**p == '{')
            if (!quoted)
                return false;
        if (**p == '\\' && (*p)[1])
            (*p)++;
        sbuf_add_char(word, **p);
    }
    if (quoted && *(*p)++ != '"')
        return false;
    return !word->bad && (**p == ',' || **p == '}') &&
           (quoted || (word->len > 0 && strcmp(word->data, "NULL") != 0));
}

/* How many elements there can be: commas inside quotes count too, which only costs memory. */
static size_t count_elements(const char *text)
{
    size_t n = 1;

    for (; *text; text++)
        n += *text == ',';
    return n;
}

static enum err parse_array(const ProtobufCFieldDescriptor *field, Oid column_type,
                            const char *text, struct arena *a, ProtobufCMessage *message)
{
    size_t size = size_of(field), n = 0;
    const char *p = text + 1;
    struct sbuf word;

    if (text[0] != '{')
        return ERR_INTERNAL;
    if (strcmp(text, "{}") == 0)
        return ERR_OK;
    char *items = arena_array(a, count_elements(text), size);
    if (items == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    sbuf_init(&word, JSON_MAX_BYTES);
    enum err e = ERR_OK;
    do {
        if (next_element(&p, &word))
            e = parse_one(field, column_type, word.data, a, items + size * n);
        else
            e = word.bad ? ERR_RESOURCE_EXHAUSTED : ERR_INTERNAL;
        n++;
    } while (e == ERR_OK && *p++ == ',');
    sbuf_fini(&word);
    if (e)
        return e;
    *(size_t *)quantifier(field, message) = n;
    *(void **)member(field, message) = items;
    return ERR_OK;
}

/* A JSON array or object into a repeated field or map: read as the one field of its message. */
static enum err parse_json_field(const ProtobufCFieldDescriptor *field, const char *text,
                                 struct arena *a, ProtobufCMessage *message)
{
    ProtobufCMessage *parent = NULL;
    char *wrapped = arena_printf(a, "{\"%s\":%s}", field->name, text);

    if (wrapped == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = parse_json(message->descriptor, wrapped, a, &parent);
    if (e)
        return e;
    *(size_t *)quantifier(field, message) = *(size_t *)quantifier(field, parent);
    *(void **)member(field, message) = *(void **)member(field, parent);
    return ERR_OK;
}

enum err record_value_read(const ProtobufCFieldDescriptor *field, Oid column_type, const char *text,
                           struct arena *a, ProtobufCMessage *message)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return column_type == OID_JSON || column_type == OID_JSONB
                   ? parse_json_field(field, text, a, message)
                   : parse_array(field, column_type, text, a, message);

    enum err e = parse_one(field, column_type, text, a, member(field, message));
    if (e == ERR_OK)
        mark_present(field, message);
    return e;
}

/* --- writing --- */

static int64_t duration_us(const ProtobufCMessage *message)
{
    const Google__Protobuf__Duration *d = (const void *)message;

    return d->seconds * SECOND_US + d->nanos / 1000;
}

static enum err write_json(const ProtobufCMessage *message, struct arena *a, const char **text_out)
{
    struct sbuf out;

    sbuf_init(&out, JSON_MAX_BYTES);
    enum err e = protojson_write(message, 0, &out);
    if (e == ERR_OK) {
        *text_out = arena_strndup(a, out.data, out.len);
        e = *text_out && !out.bad ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    sbuf_fini(&out);
    return e;
}

static const char *write_integer(const ProtobufCFieldDescriptor *field, const void *p,
                                 struct arena *a)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return db_text_i64(a, *(const int64_t *)p);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return arena_printf(a, "%" PRIu64, *(const uint64_t *)p);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return db_text_i64(a, *(const uint32_t *)p);
    default:
        return db_text_i64(a, *(const int32_t *)p);
    }
}

/* *text_out NULL with ERR_OK: SQL NULL. */
static enum err write_enum(const ProtobufCFieldDescriptor *field, int value, enum record_cast cast,
                           struct arena *a, const char **text_out)
{
    *text_out = NULL;
    if (value == 0)
        return ERR_OK;
    if (protobuf_c_enum_descriptor_get_value(field->descriptor, value) == NULL)
        return ERR_INTERNAL;
    *text_out = cast == RECORD_CAST_NUMBER ? db_text_i64(a, value)
                                           : record_enum_text(field->descriptor, value, a);
    return *text_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err write_message(const ProtobufCFieldDescriptor *field,
                              const ProtobufCMessage *message, enum record_cast cast,
                              struct arena *a, const char **text_out)
{
    if (cast != RECORD_CAST_JSON && is_timestamp(field)) {
        int64_t us = wire_time_us(message);
        if (us == INT64_MIN || us == INT64_MAX)
            return ERR_INTERNAL;
        *text_out = db_text_time(a, us);
    } else if (cast != RECORD_CAST_JSON && is_duration(field)) {
        *text_out = db_text_i64(a, duration_us(message));
    } else {
        return write_json(message, a, text_out);
    }
    return *text_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* One value; p points to the field's C type. */
static enum err write_one(const ProtobufCFieldDescriptor *field, const void *p,
                          enum record_cast cast, struct arena *a, const char **text_out)
{
    const ProtobufCBinaryData *bytes = p;
    const char *text;

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        text = *(const protobuf_c_boolean *)p ? "t" : "f";
        break;
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(field, *(const int32_t *)p, cast, a, text_out);
    case PROTOBUF_C_TYPE_STRING:
        text = *(const char *const *)p;
        if (text == NULL || (text[0] == '\0' && cast != RECORD_CAST_TEXT)) {
            *text_out = NULL;
            return ERR_OK;
        }
        break;
    case PROTOBUF_C_TYPE_BYTES:
        text = db_text_bytes(a, bytes->data ? (const void *)bytes->data : "", bytes->len);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(field, *(ProtobufCMessage *const *)p, cast, a, text_out);
    case PROTOBUF_C_TYPE_DOUBLE:
        text = arena_printf(a, "%.17g", *(const double *)p);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        text = arena_printf(a, "%.9g", (double)*(const float *)p);
        break;
    default:
        text = write_integer(field, p, a);
        break;
    }
    *text_out = text;
    return text ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err write_array(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message,
                            enum record_cast cast, struct arena *a, const char **text_out)
{
    size_t n = *(const size_t *)quantifier(field, message), size = size_of(field);
    const char *items = *(char *const *)member(field, message);
    struct sbuf out;
    enum err e = ERR_OK;

    sbuf_init(&out, JSON_MAX_BYTES);
    sbuf_add_char(&out, '{');
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        const char *text = NULL;
        if (i)
            sbuf_add_char(&out, ',');
        e = write_one(field, items + i * size, cast, a, &text);
        sbuf_add_pg_element(&out, text);
    }
    sbuf_add_char(&out, '}');
    if (e == ERR_OK) {
        *text_out = out.bad ? NULL : arena_strndup(a, out.data, out.len);
        e = *text_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    sbuf_fini(&out);
    return e;
}

/* A repeated field or map as JSON: what stands behind the key in a message with this field only. */
static enum err write_json_field(const ProtobufCFieldDescriptor *field,
                                 const ProtobufCMessage *message, struct arena *a,
                                 const char **text_out)
{
    bool is_map =
        field->type == PROTOBUF_C_TYPE_MESSAGE && schema_of(field->descriptor)->is_map_entry;
    ProtobufCMessage *parent = new_message(message->descriptor, a);
    const char *json = NULL;

    if (parent == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    *(size_t *)quantifier(field, parent) = *(const size_t *)quantifier(field, message);
    *(void **)member(field, parent) = *(void **)member(field, message);
    enum err e = write_json(parent, a, &json);
    if (e)
        return e;
    const char *value = strchr(json, ':'); /* no field's name has one */
    if (value == NULL)
        *text_out = is_map ? "{}" : "[]";
    else
        *text_out = arena_strndup(a, value + 1, strlen(value + 1) - 1);
    return *text_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err record_value_write(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message,
                            enum record_cast cast, struct arena *a, const char **text_out)
{
    *text_out = NULL;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        bool json = cast == RECORD_CAST_JSON ||
                    (field->type == PROTOBUF_C_TYPE_MESSAGE && !is_timestamp(field));
        return json ? write_json_field(field, message, a, text_out)
                    : write_array(field, message, cast, a, text_out);
    }
    if (!is_present(field, message))
        return ERR_OK;
    return write_one(field, member(field, message), cast, a, text_out);
}
