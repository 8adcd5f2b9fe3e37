/*
 * protojson_write.c - messages to JSON, fields in the order of their numbers.
 *
 * The content of an Any is unpacked into an arena that exists only while one is written. Depth is
 * bounded because an Any may hold an Any, and because a message may be of our own making.
 */
#include "common/protojson.h"

#include <math.h>

#include "common/base.h"
#include "common/pb_access.h"
#include "common/protojson_text.h"
#include "common/schema.h"
#include "common/utf8.h"
#include "common/wire_nul.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#define DEPTH_MAX 100
#define SCRATCH_BUDGET (96 * MIB)
#define FEW_ENTRIES 8 /* up to here comparing each with each is faster than sorting */

struct writer {
    struct sbuf *out;
    int flags;
    int depth;             /* messages around */
    int indent;            /* brackets around */
    int anys;              /* Any messages around */
    struct arena *scratch; /* NULL until it is needed */
};

static enum err write_message(struct writer *w, const ProtobufCMessage *m);
static enum err write_body(struct writer *w, const struct schema_message *sm,
                           const ProtobufCMessage *m);
static enum err write_fields(struct writer *w, const struct schema_message *sm,
                             const ProtobufCMessage *m, bool *first);

/* --- layout --------------------------------------------------------------------------------- */

static void new_line(struct writer *w)
{
    if (!(w->flags & PROTOJSON_PRETTY))
        return;
    sbuf_add_char(w->out, '\n');
    for (int i = 0; i < w->indent; i++)
        sbuf_add_text(w->out, "  ");
}

static void open_bracket(struct writer *w, char c)
{
    sbuf_add_char(w->out, c);
    w->indent++;
}

static void close_bracket(struct writer *w, char c, bool empty)
{
    w->indent--;
    if (!empty)
        new_line(w);
    sbuf_add_char(w->out, c);
}

/* In front of each element. */
static void next_item(struct writer *w, bool *first)
{
    if (!*first)
        sbuf_add_char(w->out, ',');
    *first = false;
    new_line(w);
}

static void write_colon(struct writer *w)
{
    sbuf_add_text(w->out, w->flags & PROTOJSON_PRETTY ? ": " : ":");
}

static void write_key(struct writer *w, bool *first, const char *key)
{
    next_item(w, first);
    sbuf_add_json(w->out, key);
    write_colon(w);
}

static struct arena *scratch(struct writer *w)
{
    if (!w->scratch)
        w->scratch = arena_new(SCRATCH_BUDGET);
    return w->scratch;
}

/* --- scalars -------------------------------------------------------------------------------- */

/* Between its NULs. */
static bool is_valid_text(const struct writer *w, const char *text)
{
    const char *nul;
    size_t n = strlen(text);
    while ((w->flags & PROTOJSON_KEEP_NUL) && (nul = wire_nul_find(text, n))) {
        if (!utf8_is_valid(text, (size_t)(nul - text)))
            return false;
        n -= (size_t)(nul - text) + WIRE_NUL_LEN;
        text = nul + WIRE_NUL_LEN;
    }
    return utf8_is_valid(text, n);
}

static enum err write_text(struct writer *w, const char *text)
{
    if (!is_valid_text(w, text))
        return ERR_INVALID_ARGUMENT;
    if (w->flags & PROTOJSON_KEEP_NUL)
        sbuf_add_json_nul(w->out, text);
    else
        sbuf_add_json(w->out, text);
    return ERR_OK;
}

/* What JSON has no number for. */
static bool write_special(struct writer *w, double v)
{
    if (isnan(v))
        sbuf_add_text(w->out, "\"NaN\"");
    else if (isinf(v))
        sbuf_add_text(w->out, v < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    else
        return false;
    return true;
}

static void write_enum(struct writer *w, const struct schema_field *sf, int32_t number)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(sf->field->descriptor, number);
    if (sf->is_null_value)
        sbuf_add_text(w->out, "null");
    else if (v)
        sbuf_add_json(w->out, v->name);
    else
        sbuf_add_i64(w->out, number);
}

#define LOAD(type, name, value)                                                                    \
    type name;                                                                                     \
    memcpy(&name, (value), sizeof(name))

static void write_wide(struct writer *w, ProtobufCType type, const void *value)
{
    LOAD(uint64_t, v, value);
    if (type == PROTOBUF_C_TYPE_UINT64 || type == PROTOBUF_C_TYPE_FIXED64)
        sbuf_addf(w->out, "%" PRIu64, v);
    else
        sbuf_add_i64(w->out, (int64_t)v);
}

static void write_narrow(struct writer *w, ProtobufCType type, const void *value)
{
    LOAD(uint32_t, v, value);
    bool is_unsigned = type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_FIXED32;
    sbuf_add_i64(w->out, is_unsigned ? (int64_t)v : (int64_t)(int32_t)v);
}

static void write_real(struct writer *w, ProtobufCType type, const void *value)
{
    if (type == PROTOBUF_C_TYPE_FLOAT) {
        LOAD(float, v, value);
        if (!write_special(w, (double)v))
            pj_float_write(w->out, v);
    } else {
        LOAD(double, v, value);
        if (!write_special(w, v))
            pj_double_write(w->out, v);
    }
}

static void write_bytes(struct writer *w, const void *value)
{
    LOAD(ProtobufCBinaryData, v, value);
    sbuf_add_char(w->out, '"');
    pj_base64_write(w->out, v.data, v.len);
    sbuf_add_char(w->out, '"');
}

static void write_bool(struct writer *w, const void *value)
{
    LOAD(protobuf_c_boolean, v, value);
    sbuf_add_text(w->out, v ? "true" : "false");
}

/* One value: a member, an element, or the value of a map entry. */
static enum err write_value(struct writer *w, const struct schema_field *sf, const void *value)
{
    ProtobufCType type = sf->field->type;
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        write_real(w, type, value);
        return ERR_OK;
    case PROTOBUF_C_TYPE_BOOL:
        write_bool(w, value);
        return ERR_OK;
    case PROTOBUF_C_TYPE_STRING:
        return write_text(w, pb_text(value));
    case PROTOBUF_C_TYPE_BYTES:
        write_bytes(w, value);
        return ERR_OK;
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(w, pb_message(value));
    case PROTOBUF_C_TYPE_ENUM: {
        LOAD(int32_t, number, value);
        write_enum(w, sf, number);
        return ERR_OK;
    }
    default:
        if (pb_sizeof(type) == 4) {
            write_narrow(w, type, value);
            return ERR_OK;
        }
        sbuf_add_char(w->out, '"');
        write_wide(w, type, value);
        sbuf_add_char(w->out, '"');
        return ERR_OK;
    }
}

/* --- lists and maps ------------------------------------------------------------------------- */

static enum err write_list(struct writer *w, const ProtobufCMessage *m,
                           const struct schema_field *sf)
{
    size_t n = pb_count(m, sf->field);
    bool first = true;
    enum err e = ERR_OK;

    open_bracket(w, '[');
    for (size_t i = 0; i < n && !e; i++) {
        next_item(w, &first);
        e = write_value(w, sf, pb_element(m, sf->field, i));
    }
    close_bracket(w, ']', n == 0);
    return e;
}

static enum err write_map_key(struct writer *w, const struct schema_field *sf, const void *value)
{
    ProtobufCType type = sf->field->type;
    if (type == PROTOBUF_C_TYPE_STRING)
        return write_text(w, pb_text(value));
    sbuf_add_char(w->out, '"');
    if (type == PROTOBUF_C_TYPE_BOOL)
        write_bool(w, value);
    else if (pb_sizeof(type) == 8)
        write_wide(w, type, value);
    else
        write_narrow(w, type, value);
    sbuf_add_char(w->out, '"');
    return ERR_OK;
}

/* An entry from the wire may lack its value, which then is the empty message. */
static enum err write_map_value(struct writer *w, const struct schema_field *sf, const void *value)
{
    if (sf->field->type != PROTOBUF_C_TYPE_MESSAGE || pb_message(value))
        return write_value(w, sf, value);
    struct arena *a = scratch(w);
    const ProtobufCMessage *empty = a ? wire_new(sf->field->descriptor, a) : NULL;
    return empty ? write_message(w, empty) : ERR_RESOURCE_EXHAUSTED;
}

static void overridden_if_few(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                              size_t n, bool *overridden)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && !overridden[i]; j++)
            overridden[i] =
                pb_same_key(pb_message(pb_element(m, f, i)), pb_message(pb_element(m, f, j)));
}

/* overridden[i]: a later entry has the key of entry i, and counts. False: out of memory. */
static bool find_overridden(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t n,
                            bool *overridden)
{
    struct pb_entry *entries = calloc(n, sizeof(*entries));
    if (!entries)
        return false;
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct pb_entry){ pb_message(pb_element(m, f, i)), i };
    pb_sort_entries(entries, n);
    for (size_t i = 1; i < n; i++)
        if (pb_same_key(entries[i - 1].message, entries[i].message))
            overridden[entries[i - 1].index] = true;
    free(entries);
    return true;
}

static enum err write_entries(struct writer *w, const ProtobufCMessage *m,
                              const struct schema_field *sf, size_t n, const bool *overridden)
{
    const struct schema_field *fields = sf->message->fields;
    bool first = true;
    enum err e = ERR_OK;

    open_bracket(w, '{');
    for (size_t i = 0; i < n && !e; i++) {
        const ProtobufCMessage *entry = pb_message(pb_element(m, sf->field, i));
        if (overridden[i])
            continue;
        next_item(w, &first);
        e = write_map_key(w, &fields[0], pb_member(entry, fields[0].field));
        write_colon(w);
        if (!e)
            e = write_map_value(w, &fields[1], pb_member(entry, fields[1].field));
    }
    close_bracket(w, '}', first);
    return e;
}

static enum err write_map(struct writer *w, const ProtobufCMessage *m,
                          const struct schema_field *sf)
{
    size_t n = pb_count(m, sf->field);
    bool few[FEW_ENTRIES] = { false };
    if (n <= FEW_ENTRIES) {
        overridden_if_few(m, sf->field, n, few);
        return write_entries(w, m, sf, n, few);
    }
    /* Not in the scratch arena: an Any among the values empties that. */
    bool *many = calloc(n, sizeof(*many));
    enum err e = ERR_RESOURCE_EXHAUSTED;
    if (many && find_overridden(m, sf->field, n, many))
        e = write_entries(w, m, sf, n, many);
    free(many);
    return e;
}

/* --- messages with a form of their own ------------------------------------------------------ */

static enum err write_timestamp(struct writer *w, const Google__Protobuf__Timestamp *t)
{
    sbuf_add_char(w->out, '"');
    bool good = pj_timestamp_write(w->out, t->seconds, t->nanos);
    sbuf_add_char(w->out, '"');
    return good ? ERR_OK : ERR_INVALID_ARGUMENT;
}

static enum err write_duration(struct writer *w, const Google__Protobuf__Duration *d)
{
    sbuf_add_char(w->out, '"');
    bool good = pj_duration_write(w->out, d->seconds, d->nanos);
    sbuf_add_char(w->out, '"');
    return good ? ERR_OK : ERR_INVALID_ARGUMENT;
}

static enum err write_field_mask(struct writer *w, const Google__Protobuf__FieldMask *mask)
{
    struct sbuf paths;
    enum err e = ERR_OK;
    sbuf_init(&paths, wire_limits_internal.max_bytes);
    for (size_t i = 0; i < mask->n_paths && !e; i++) {
        if (i > 0)
            sbuf_add_char(&paths, ',');
        if (!pj_path_write(&paths, mask->paths[i]))
            e = ERR_INVALID_ARGUMENT;
    }
    if (paths.bad)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = write_text(w, paths.data);
    sbuf_fini(&paths);
    return e;
}

static enum err write_free_value(struct writer *w, const struct schema_message *sm,
                                 const Google__Protobuf__Value *v)
{
    if (v->kind_case == 0)
        return ERR_INVALID_ARGUMENT; /* no JSON says "nothing at all" */
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && !isfinite(v->number_value))
        return ERR_INVALID_ARGUMENT;
    const struct schema_field *sf = &sm->fields[v->kind_case - 1]; /* numbered from 1, no gaps */
    if (sf->message && !pb_message(pb_member(&v->base, sf->field)))
        return ERR_INVALID_ARGUMENT;
    return write_value(w, sf, pb_member(&v->base, sf->field));
}

static enum err write_any_content(struct writer *w, const char *url,
                                  const ProtobufCMessage *content)
{
    const struct schema_message *sm = schema_of(content->descriptor);
    bool first = true;
    enum err e;

    open_bracket(w, '{');
    write_key(w, &first, "@type");
    e = write_text(w, url);
    if (!e && sm->known == SCHEMA_PLAIN) {
        e = write_fields(w, sm, content, &first);
    } else if (!e) {
        write_key(w, &first, "value");
        e = write_body(w, sm, content);
    }
    close_bracket(w, '}', false);
    return e;
}

static enum err write_any(struct writer *w, const Google__Protobuf__Any *any)
{
    const char *url = any->type_url ? any->type_url : "";
    if (!*url && any->value.len == 0) {
        sbuf_add_text(w->out, "{}");
        return ERR_OK;
    }
    const char *slash = strrchr(url, '/');
    const struct schema_message *sm = slash && slash > url ? schema_find_message(slash + 1) : NULL;
    if (!sm || w->depth >= DEPTH_MAX)
        return ERR_INVALID_ARGUMENT;
    struct arena *a = scratch(w);
    if (!a)
        return ERR_RESOURCE_EXHAUSTED;
    struct wire_limits limits = wire_limits_internal;
    struct wire_fault fault;
    ProtobufCMessage *content;
    limits.keep_nul = w->flags & PROTOJSON_KEEP_NUL;
    enum err e =
        wire_unpack(sm->type, any->value.data, any->value.len, &limits, a, &content, &fault);
    if (e)
        return e;
    w->anys++;
    w->depth++;
    e = write_any_content(w, url, content);
    w->depth--;
    if (--w->anys == 0)
        arena_reset(a); /* a list of many does not add up */
    return e;
}

/* --- messages ------------------------------------------------------------------------------- */

/* The zero of a field without presence. Negative zero is not zero. */
static bool is_zero(const ProtobufCFieldDescriptor *f, const void *value)
{
    static const uint64_t zero = 0;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return *pb_text(value) == 0;
    if (f->type == PROTOBUF_C_TYPE_BYTES) {
        LOAD(ProtobufCBinaryData, v, value);
        return v.len == 0;
    }
    return memcmp(value, &zero, pb_sizeof(f->type)) == 0;
}

static bool is_written(const struct writer *w, const ProtobufCMessage *m,
                       const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return (w->flags & PROTOJSON_DEFAULTS) || pb_count(m, f) > 0;
    if (pb_has_presence(f))
        return pb_is_set(m, f);
    return (w->flags & PROTOJSON_DEFAULTS) || !is_zero(f, pb_member(m, f));
}

static enum err write_fields(struct writer *w, const struct schema_message *sm,
                             const ProtobufCMessage *m, bool *first)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < sm->type->n_fields && !e; i++) {
        const struct schema_field *sf = &sm->fields[i];
        if (!is_written(w, m, sf->field))
            continue;
        write_key(w, first, sf->json_name);
        if (sf->is_map)
            e = write_map(w, m, sf);
        else if (sf->field->label == PROTOBUF_C_LABEL_REPEATED)
            e = write_list(w, m, sf);
        else
            e = write_value(w, sf, pb_member(m, sf->field));
    }
    return e;
}

static enum err write_object(struct writer *w, const struct schema_message *sm,
                             const ProtobufCMessage *m)
{
    bool first = true;
    open_bracket(w, '{');
    enum err e = write_fields(w, sm, m, &first);
    close_bracket(w, '}', first);
    return e;
}

static enum err write_body(struct writer *w, const struct schema_message *sm,
                           const ProtobufCMessage *m)
{
    const struct schema_field *field = &sm->fields[0]; /* the only one, where it is used */
    switch (sm->known) {
    case SCHEMA_PLAIN:
        return write_object(w, sm, m);
    case SCHEMA_ANY:
        return write_any(w, (const Google__Protobuf__Any *)m);
    case SCHEMA_TIMESTAMP:
        return write_timestamp(w, (const Google__Protobuf__Timestamp *)m);
    case SCHEMA_DURATION:
        return write_duration(w, (const Google__Protobuf__Duration *)m);
    case SCHEMA_FIELD_MASK:
        return write_field_mask(w, (const Google__Protobuf__FieldMask *)m);
    case SCHEMA_STRUCT:
        return write_map(w, m, field);
    case SCHEMA_VALUE:
        return write_free_value(w, sm, (const Google__Protobuf__Value *)m);
    case SCHEMA_LIST_VALUE:
        return write_list(w, m, field);
    case SCHEMA_WRAPPER:
        return write_value(w, field, pb_member(m, field->field));
    }
    return ERR_INTERNAL;
}

static enum err write_message(struct writer *w, const ProtobufCMessage *m)
{
    if (w->depth >= DEPTH_MAX)
        return ERR_INVALID_ARGUMENT;
    w->depth++;
    enum err e = write_body(w, schema_of(m->descriptor), m);
    w->depth--;
    return e;
}

enum err protojson_write(const ProtobufCMessage *message, int flags, struct sbuf *out)
{
    struct writer w = { .out = out, .flags = flags };
    enum err e = write_message(&w, message);
    arena_free(w.scratch);
    if (!e && out->bad)
        e = ERR_RESOURCE_EXHAUSTED;
    return e;
}
