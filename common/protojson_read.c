/*
 * protojson_read.c - JSON to messages, in one pass from left to right.
 *
 * Depth counts messages as wire_check() does, map entries too, so what is read here passes there.
 * Objects inside objects are always messages inside messages: no other recursion exists, and
 * pj_skip() has none. An Any is the exception to one pass: its type may stand behind its fields, so
 * the object is skimmed for "@type" first, which ends at once when it stands in front as usual.
 */
#include "common/protojson.h"

#include "common/base.h"
#include "common/pb_access.h"
#include "common/protojson_scalar.h"
#include "common/protojson_scan.h"
#include "common/protojson_text.h"
#include "common/schema.h"
#include "common/utf8.h"
#include "common/wire_nul.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

typedef struct pj_reader Reader;
typedef struct pj_text Text;

#define BUDGET_FACTOR 24
#define BUDGET_BASE MIB
#define BUDGET_MOST (96 * MIB)
#define LIST_FIRST 4

static enum err read_message(Reader *r, const struct schema_message *sm, ProtobufCMessage **out);
static enum err read_body(Reader *r, const struct schema_message *sm, ProtobufCMessage *m);

/*
 * One value of the field's type into out, which is a member, an element or a map's value.
 * *dropped_out: it was an unknown enum name, to be treated as if it were not there.
 */
static enum err read_value(Reader *r, const struct schema_field *sf, void *out, bool *dropped_out)
{
    *dropped_out = false;
    if (sf->message)
        return read_message(r, sf->message, out);
    return pj_read_scalar(r, sf, out, dropped_out);
}

/* --- lists and maps ------------------------------------------------------------------------- */

/* An array that grows in the arena; what it outgrew stays behind, at most as much again. */
struct list {
    char *data;
    size_t n, cap, size;
};

static enum err list_room(Reader *r, struct list *l, void **out)
{
    if (l->n >= r->limits->max_repeated)
        return pj_fail(r, "more than %zu elements", r->limits->max_repeated);
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : LIST_FIRST;
        char *data = pj_take(r, cap, l->size);
        if (!data)
            return pj_full(r);
        if (l->n > 0)
            memcpy(data, l->data, l->n * l->size);
        l->data = data;
        l->cap = cap;
    }
    *out = l->data + l->n * l->size;
    return ERR_OK;
}

/* null is a value of these two types only. */
static bool takes_null(const struct schema_field *sf)
{
    return sf->is_null_value || (sf->message && sf->message->known == SCHEMA_VALUE);
}

static enum err refuse_null(Reader *r, const struct schema_field *sf)
{
    if (pj_peek(r) == 'n' && !takes_null(sf))
        return pj_fail(r, "null is not allowed here");
    return ERR_OK;
}

static enum err read_element(Reader *r, const struct schema_field *sf, struct list *l)
{
    void *slot = NULL;
    bool dropped = false;
    enum err e = refuse_null(r, sf);
    if (!e)
        e = list_room(r, l, &slot);
    if (!e)
        e = read_value(r, sf, slot, &dropped);
    if (!e && !dropped)
        l->n++;
    return e;
}

static enum err read_list(Reader *r, ProtobufCMessage *m, const struct schema_field *sf)
{
    struct list l = { .size = pb_sizeof(sf->field->type) };
    struct pj_place place = { r->place, sf->field->name, true, 0 };
    bool started = false, more = false;

    enum err e = pj_open(r, '[', "an array");
    while (!e && !(e = pj_array_next(r, &started, &more)) && more) {
        r->place = &place;
        e = read_element(r, sf, &l);
        place.index++;
        if (!e)
            r->place = place.up;
    }
    if (!e)
        pb_set_array(m, sf->field, l.data, l.n);
    return e;
}

static enum err enter(Reader *r)
{
    if (r->depth >= r->limits->max_depth)
        return pj_fail(r, "nested more than %d deep", r->limits->max_depth);
    r->depth++;
    return ERR_OK;
}

static enum err new_message(Reader *r, const struct schema_message *sm, ProtobufCMessage **out)
{
    ProtobufCMessage *m = pj_take(r, 1, sm->type->sizeof_message);
    if (!m)
        return pj_full(r);
    protobuf_c_message_init(sm->type, m);
    *out = m;
    return ERR_OK;
}

static enum err read_entry(Reader *r, const struct schema_message *entry, const Text *key,
                           struct list *l)
{
    const struct schema_field *fields = entry->fields;
    ProtobufCMessage *m = NULL;
    void *slot = NULL;
    bool dropped = false;

    enum err e = list_room(r, l, &slot);
    if (!e)
        e = enter(r);
    if (!e)
        e = new_message(r, entry, &m);
    if (!e)
        e = pj_read_key(r, &fields[0], key, pb_member_mut(m, fields[0].field));
    if (!e)
        e = refuse_null(r, &fields[1]);
    if (!e)
        e = read_value(r, &fields[1], pb_member_mut(m, fields[1].field), &dropped);
    if (e)
        return e;
    r->depth--;
    memcpy(slot, &m, sizeof(m));
    l->n += !dropped;
    return ERR_OK;
}

static enum err refuse_same_keys(Reader *r, const struct list *l)
{
    if (l->n < 2)
        return ERR_OK;
    struct pb_entry *entries = pj_take(r, l->n, sizeof(*entries));
    if (!entries)
        return pj_full(r);
    for (size_t i = 0; i < l->n; i++)
        entries[i] = (struct pb_entry){ pb_message(l->data + i * l->size), i };
    pb_sort_entries(entries, l->n);
    for (size_t i = 1; i < l->n; i++)
        if (pb_same_key(entries[i - 1].message, entries[i].message))
            return pj_fail(r, "has the same key twice");
    return ERR_OK;
}

static enum err read_map(Reader *r, ProtobufCMessage *m, const struct schema_field *sf)
{
    struct list l = { .size = sizeof(void *) };
    struct pj_place place = { r->place, sf->field->name, true, 0 };
    bool started = false, more = false;
    Text key = { NULL, 0, false };

    enum err e = pj_open(r, '{', "an object");
    while (!e && !(e = pj_object_next(r, &started, &key, &more)) && more) {
        r->place = &place;
        e = read_entry(r, sf->message, &key, &l);
        place.index++;
        if (!e)
            r->place = place.up;
    }
    if (!e)
        e = refuse_same_keys(r, &l);
    if (!e)
        pb_set_array(m, sf->field, l.data, l.n);
    return e;
}

/* --- fields --------------------------------------------------------------------------------- */

static void mark_present(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void *quantifier = (char *)m + f->quantifier_offset;
    const protobuf_c_boolean has = true;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy(quantifier, &f->id, sizeof(f->id));
    else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
             f->type != PROTOBUF_C_TYPE_MESSAGE)
        memcpy(quantifier, &has, sizeof(has));
}

static enum err read_singular(Reader *r, ProtobufCMessage *m, const struct schema_field *sf)
{
    const ProtobufCFieldDescriptor *f = sf->field;
    union { /* any value: a oneof's union must not be touched before it is known to be kept */
        uint64_t number;
        void *pointer;
        ProtobufCBinaryData bytes;
    } value = { .bytes = { 0, NULL } };
    bool dropped = false;

    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && pb_oneof_case(m, f) != 0)
        return pj_fail(r, "another field of %s is set already", sf->oneof ? sf->oneof : "a oneof");
    enum err e = read_value(r, sf, &value, &dropped);
    if (e || dropped)
        return e;
    memcpy(pb_member_mut(m, f), &value, pb_sizeof(f->type));
    mark_present(m, f);
    return ERR_OK;
}

static enum err read_field(Reader *r, ProtobufCMessage *m, const struct schema_field *sf)
{
    struct pj_place place = { r->place, sf->field->name, false, 0 };
    bool repeated = sf->field->label == PROTOBUF_C_LABEL_REPEATED;
    enum err e = ERR_OK;

    if ((repeated || !takes_null(sf)) && pj_word(r, "null"))
        return ERR_OK; /* unset, or empty */
    if (repeated)      /* these make a place with an index of their own */
        return sf->is_map ? read_map(r, m, sf) : read_list(r, m, sf);
    r->place = &place;
    e = read_singular(r, m, sf);
    if (!e)
        r->place = place.up;
    return e;
}

/* As much of a key as a fault shows: whole characters, up to a NUL, so that the reason is UTF-8. */
static int shown(const Text *key)
{
    const char *nul = wire_nul_find(key->p, key->n);
    size_t all = nul ? (size_t)(nul - key->p) : key->n, n = MIN(all, 64);
    while (n < all && n > 0 && ((unsigned char)key->p[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

static enum err unknown_key(Reader *r, const Text *key)
{
    if (r->flags & PROTOJSON_STRICT)
        return pj_fail(r, "there is no field \"%.*s\"", shown(key), key->p);
    return pj_skip(r);
}

static enum err read_member(Reader *r, const struct schema_message *sm, ProtobufCMessage *m,
                            const Text *key, uint8_t *seen)
{
    const struct schema_field *sf = schema_find_field(sm, key->p, key->n);
    if (!sf)
        return unknown_key(r, key);
    if (seen[sf - sm->fields]++)
        return pj_fail(r, "\"%.*s\" occurs twice", shown(key), key->p);
    return read_field(r, m, sf);
}

/* in_any: the key "@type" belongs to the Any around and was read already; it may come once. */
static enum err read_fields(Reader *r, const struct schema_message *sm, ProtobufCMessage *m,
                            bool in_any)
{
    bool started = false, more = false, type_seen = false;
    Text key = { NULL, 0, false };
    uint8_t *seen = pj_take(r, sm->type->n_fields, 1);
    if (!seen)
        return pj_full(r);

    enum err e = pj_open(r, '{', "an object");
    while (!e && !(e = pj_object_next(r, &started, &key, &more)) && more) {
        if (in_any && pj_text_is(&key, "@type")) {
            e = type_seen ? pj_fail(r, "\"@type\" occurs twice") : pj_skip(r);
            type_seen = true;
        } else {
            e = read_member(r, sm, m, &key, seen);
        }
    }
    return e;
}

/* --- messages with a form of their own ------------------------------------------------------ */

static enum err read_timestamp(Reader *r, Google__Protobuf__Timestamp *t)
{
    Text text;
    enum err e = pj_string(r, &text);
    if (e)
        return e;
    if (!pj_timestamp_parse(text.p, text.n, &t->seconds, &t->nanos))
        return pj_fail(r, "must be a time like 2026-01-02T03:04:05Z");
    return ERR_OK;
}

static enum err read_duration(Reader *r, Google__Protobuf__Duration *d)
{
    Text text;
    enum err e = pj_string(r, &text);
    if (e)
        return e;
    if (!pj_duration_parse(text.p, text.n, &d->seconds, &d->nanos))
        return pj_fail(r, "must be a duration like 1.5s");
    return ERR_OK;
}

static enum err read_path(Reader *r, const char *p, size_t n, struct list *paths)
{
    void *slot = NULL;
    enum err e = list_room(r, paths, &slot);
    if (e)
        return e;
    char *path = pj_take(r, 2 * n + 1, 1);
    if (!path)
        return pj_full(r);
    if (!pj_path_parse(p, n, path))
        return pj_fail(r, "must be lowerCamelCase paths with commas between");
    memcpy(slot, &path, sizeof(path));
    paths->n++;
    return ERR_OK;
}

static enum err read_field_mask(Reader *r, Google__Protobuf__FieldMask *mask)
{
    struct list paths = { .size = sizeof(char *) };
    Text text = { NULL, 0, false };
    enum err e = pj_string(r, &text);
    if (e || text.n == 0)
        return e;
    for (const char *p = text.p, *end = text.p + text.n; !e && p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        e = read_path(r, p, (size_t)(stop - p), &paths);
        p = stop + 1;
    }
    mask->paths = (char **)(void *)paths.data;
    mask->n_paths = paths.n;
    return e;
}

static const struct schema_field *only_field(const struct schema_message *sm)
{
    return &sm->fields[0];
}

static enum err read_free_value(Reader *r, const struct schema_message *sm,
                                Google__Protobuf__Value *v)
{
    static const struct {
        const char *first; /* characters with which such a value starts */
        uint32_t number;   /* of the field of Value */
    } kinds[] = {
        { "n", GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE },
        { "tf", GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE },
        { "\"", GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE },
        { "{", GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE },
        { "[", GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE },
        { "-0123456789", GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE },
    };
    char c = pj_peek(r);
    for (size_t i = 0; c && i < ARRAY_LEN(kinds); i++)
        if (strchr(kinds[i].first, c)) /* fields of Value are numbered from 1 without gaps */
            return read_singular(r, &v->base, &sm->fields[kinds[i].number - 1]);
    return pj_syntax(r, "a value was expected");
}

/* --- Any ------------------------------------------------------------------------------------ */

/* Looks for "@type" in the object that starts at p; *empty_out: it has no members at all. */
static enum err find_type(Reader *r, Text *type_out, bool *found_out, bool *empty_out)
{
    bool started = false, more = false;
    Text key = { NULL, 0, false };
    *found_out = false;
    *empty_out = true;
    enum err e = pj_open(r, '{', "an object");
    while (!e && !(e = pj_object_next(r, &started, &key, &more)) && more) {
        *empty_out = false;
        if (pj_text_is(&key, "@type")) {
            *found_out = true;
            return pj_string(r, type_out);
        }
        e = pj_skip(r);
    }
    return e;
}

/* {"@type": …, "value": …}, for the types whose JSON form is no object of fields. */
static enum err read_any_value(Reader *r, const struct schema_message *sm, ProtobufCMessage *m)
{
    bool started = false, more = false, type_seen = false, value_seen = false;
    Text key = { NULL, 0, false };
    enum err e = pj_open(r, '{', "an object");
    while (!e && !(e = pj_object_next(r, &started, &key, &more)) && more) {
        bool is_type = pj_text_is(&key, "@type"), is_value = pj_text_is(&key, "value");
        if ((is_type && type_seen) || (is_value && value_seen))
            return pj_fail(r, "\"%.*s\" occurs twice", shown(&key), key.p);
        type_seen = type_seen || is_type;
        value_seen = value_seen || is_value;
        if (is_value)
            e = read_body(r, sm, m);
        else
            e = is_type ? pj_skip(r) : unknown_key(r, &key);
    }
    if (!e && !value_seen)
        e = pj_fail(r, "%s needs \"value\"", sm->type->name);
    return e;
}

static enum err pack_content(Reader *r, const ProtobufCMessage *content, ProtobufCBinaryData *out)
{
    out->len = protobuf_c_message_get_packed_size(content);
    out->data = pj_take(r, out->len, 1);
    if (!out->data)
        return pj_full(r);
    protobuf_c_message_pack(content, out->data);
    return wire_nul_to_wire(content->descriptor, out->data, &out->len);
}

static enum err read_any(Reader *r, Google__Protobuf__Any *any)
{
    Text url = { NULL, 0, false };
    bool found = false, empty = false;
    const char *object = r->p;

    enum err e = find_type(r, &url, &found, &empty);
    if (e || empty)
        return e;
    if (!found)
        return pj_fail(r, "needs \"@type\"");
    e = pj_keep_text(r, &url, &any->type_url);
    if (e)
        return e;
    const char *slash = strrchr(any->type_url, '/');
    const struct schema_message *sm = slash ? schema_find_message(slash + 1) : NULL;
    if (!sm || slash == any->type_url)
        return pj_fail(r, "\"@type\" is not of a known message");

    ProtobufCMessage *content = NULL;
    r->p = object;
    e = enter(r);
    if (!e)
        e = new_message(r, sm, &content);
    if (!e)
        e = sm->known == SCHEMA_PLAIN ? read_fields(r, sm, content, true)
                                      : read_any_value(r, sm, content);
    if (e)
        return e;
    r->depth--;
    return pack_content(r, content, &any->value);
}

/* --- messages ------------------------------------------------------------------------------- */

static enum err read_wrapper(Reader *r, const struct schema_message *sm, ProtobufCMessage *m)
{
    bool dropped;
    const struct schema_field *sf = only_field(sm);
    return read_value(r, sf, pb_member_mut(m, sf->field), &dropped);
}

static enum err read_body(Reader *r, const struct schema_message *sm, ProtobufCMessage *m)
{
    switch (sm->known) {
    case SCHEMA_PLAIN:
        return read_fields(r, sm, m, false);
    case SCHEMA_ANY:
        return read_any(r, (Google__Protobuf__Any *)m);
    case SCHEMA_TIMESTAMP:
        return read_timestamp(r, (Google__Protobuf__Timestamp *)m);
    case SCHEMA_DURATION:
        return read_duration(r, (Google__Protobuf__Duration *)m);
    case SCHEMA_FIELD_MASK:
        return read_field_mask(r, (Google__Protobuf__FieldMask *)m);
    case SCHEMA_STRUCT:
        return read_map(r, m, only_field(sm));
    case SCHEMA_VALUE:
        return read_free_value(r, sm, (Google__Protobuf__Value *)m);
    case SCHEMA_LIST_VALUE:
        return read_list(r, m, only_field(sm));
    case SCHEMA_WRAPPER:
        return read_wrapper(r, sm, m);
    }
    return pj_fail(r, "is of a type that does not exist");
}

static enum err read_message(Reader *r, const struct schema_message *sm, ProtobufCMessage **out)
{
    ProtobufCMessage *m = NULL;
    enum err e = enter(r);
    if (!e)
        e = new_message(r, sm, &m);
    if (!e)
        e = read_body(r, sm, m);
    if (e)
        return e;
    r->depth--;
    *out = m;
    return ERR_OK;
}

enum err protojson_read(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
                        int flags, struct arena *a, ProtobufCMessage **message_out,
                        struct wire_fault *fault_out)
{
    Reader r = {
        .start = text,
        .p = text,
        .end = text + len,
        .arena = a,
        .left = MIN(len * BUDGET_FACTOR + BUDGET_BASE, BUDGET_MOST),
        .flags = flags,
        .limits = flags & PROTOJSON_REQUEST ? &wire_limits_default : &wire_limits_internal,
        .fault = fault_out,
    };
    ProtobufCMessage *m = NULL;

    if (len > r.limits->max_bytes)
        return pj_fail(&r, "%zu bytes, at most %zu are allowed", len, r.limits->max_bytes);
    if (!utf8_is_valid(text, len))
        return pj_fail(&r, "is not valid UTF-8");
    enum err e = read_message(&r, schema_of(type), &m);
    (void)pj_peek(&r); /* blanks at the end */
    if (!e && r.p < r.end)
        e = pj_syntax(&r, "more after the end");
    if (e)
        return e;
    *message_out = m;
    return ERR_OK;
}
