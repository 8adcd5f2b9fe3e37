/*
 * wire.c - checked unpacking, packing, and the normal form of a message.
 *
 * Normal form: maps sorted by key with the last of equal keys, no unknown fields, the messages
 * inside an Any packed anew where their type is known. Two texts of one request have the same
 * normal form whether they came as JSON or as bytes; fingerprints and comparisons use it.
 */
#include "common/wire.h"

#include <sodium.h>

#include "common/base.h"
#include "common/pb_access.h"
#include "common/schema.h"
#include "common/wire_nul.h"
#include "common/wire_scan.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#define TYPE_URL_PREFIX "type.googleapis.com/"
#define BUDGET_FACTOR 24
#define BUDGET_BASE MIB
#define BUDGET_MOST (96 * MIB)
#define NORMAL_DEPTH 100 /* messages inside messages, through Any too */

const struct wire_limits wire_limits_default = {
    .max_bytes = 4 * MIB,
    .max_depth = 32,
    .max_repeated = 10000,
    .max_string = 64 * KIB,
    .max_bytes_field = 256 * KIB,
};

const struct wire_limits wire_limits_internal = {
    .max_bytes = 4 * MIB,
    .max_depth = 64,
    .max_repeated = 100000,
    .max_string = 1 * MIB,
    .max_bytes_field = 4 * MIB,
};

/* --- unpacking ------------------------------------------------------------------------------ */

/* The arena, up to the budget of one message. */
struct purse {
    struct arena *arena;
    size_t left;
    bool empty; /* an allocation failed */
};

static void *purse_alloc(void *data, size_t size)
{
    struct purse *purse = data;
    void *p = size <= purse->left ? arena_alloc(purse->arena, size) : NULL;
    if (p)
        purse->left -= size;
    else
        purse->empty = true;
    return p;
}

static void purse_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

static void fault_set(struct wire_fault *fault, const char *reason)
{
    fault->field[0] = 0;
    snprintf(fault->reason, sizeof(fault->reason), "%s", reason);
}

static enum err too_much(struct wire_fault *fault)
{
    fault_set(fault, "the message needs too much memory");
    return ERR_RESOURCE_EXHAUSTED;
}

enum err wire_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                     const struct wire_limits *limits, struct arena *a,
                     ProtobufCMessage **message_out, struct wire_fault *fault_out)
{
    struct purse purse = { .arena = a,
                           .left = MIN(len * BUDGET_FACTOR + BUDGET_BASE, BUDGET_MOST) };
    ProtobufCAllocator allocator = { purse_alloc, purse_free, &purse };
    struct wire_seen seen;
    uint8_t *anew;
    enum err e = wire_check_mergeable(type, data, len, limits, &seen, fault_out);
    if (!e && seen.twice) {
        if (wire_merge(type, data, len, &allocator, &anew, &len))
            return too_much(fault_out);
        data = anew;
        e = wire_check(type, data, len, limits, fault_out); /* lists have become longer */
    }
    if (e)
        return e;
    if (seen.nul) {
        if (wire_nul_to_memory(type, data, len, &allocator, &anew, &len))
            return too_much(fault_out);
        data = anew;
    }
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, len, data);
    if (!m && purse.empty)
        return too_much(fault_out);
    if (!m) { /* only a proto2 type with a required field missing comes here */
        fault_set(fault_out, "a required field is missing");
        return ERR_INVALID_ARGUMENT;
    }
    *message_out = m;
    return ERR_OK;
}

/* --- packing and copying -------------------------------------------------------------------- */

size_t wire_put_varint(uint8_t out[static 10], uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

/* NULs in strings stay what they are in memory. */
static enum err pack_as_it_is(const ProtobufCMessage *message, struct arena *a, uint8_t **data_out,
                              size_t *len_out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(a, len);
    if (!data)
        return ERR_RESOURCE_EXHAUSTED;
    *len_out = protobuf_c_message_pack(message, data);
    *data_out = data;
    return ERR_OK;
}

enum err wire_pack(const ProtobufCMessage *message, struct arena *a, uint8_t **data_out,
                   size_t *len_out)
{
    if (!message) {
        *data_out = NULL;
        *len_out = 0;
        return ERR_OK;
    }
    enum err e = pack_as_it_is(message, a, data_out, len_out);
    return e ? e : wire_nul_to_wire(message->descriptor, *data_out, len_out);
}

void *wire_new(const ProtobufCMessageDescriptor *type, struct arena *a)
{
    ProtobufCMessage *m = arena_alloc(a, type->sizeof_message);
    if (m)
        protobuf_c_message_init(type, m);
    return m;
}

void *wire_clone(const ProtobufCMessage *message, struct arena *a)
{
    uint8_t *data;
    size_t len;
    if (pack_as_it_is(message, a, &data, &len))
        return NULL;
    return protobuf_c_message_unpack(message->descriptor, arena_protobuf(a), len, data);
}

/* --- the normal form ------------------------------------------------------------------------ */

static enum err normalise(ProtobufCMessage *m, struct arena *a, int depth);

static enum err sort_map(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, struct arena *a)
{
    size_t n = pb_count(m, f), kept = 0;
    struct pb_entry *entries = arena_array(a, n, sizeof(*entries));
    const ProtobufCMessage **sorted = arena_array(a, n, sizeof(*sorted));
    if (!entries || !sorted)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct pb_entry){ pb_message(pb_element(m, f, i)), i };
    pb_sort_entries(entries, n);
    for (size_t i = 0; i < n; i++) {
        const ProtobufCMessage *x = entries[i].message;
        if (i + 1 < n && pb_same_key(x, entries[i + 1].message))
            continue; /* the last of equal keys counts */
        sorted[kept++] = x;
    }
    pb_set_array(m, f, sorted, kept);
    return ERR_OK;
}

/* An entry without a value means the empty message; JSON has no other way to say it. */
static enum err complete_entry(ProtobufCMessage *entry, struct arena *a)
{
    const ProtobufCFieldDescriptor *value = &entry->descriptor->fields[1];
    if (value->type != PROTOBUF_C_TYPE_MESSAGE || pb_message(pb_member(entry, value)))
        return ERR_OK;
    void *empty = wire_new(value->descriptor, a);
    if (!empty)
        return ERR_RESOURCE_EXHAUSTED;
    memcpy(pb_member_mut(entry, value), &empty, sizeof(empty));
    return ERR_OK;
}

/* Packs the content anew where it can be read; other content stays as it is. */
static enum err normalise_any(Google__Protobuf__Any *any, struct arena *a, int depth)
{
    const char *slash = strrchr(any->type_url, '/');
    const struct schema_message *type = slash ? schema_find_message(slash + 1) : NULL;
    struct wire_limits limits = wire_limits_internal;
    struct wire_fault fault;
    ProtobufCMessage *content;
    if (!type || depth >= NORMAL_DEPTH)
        return ERR_OK;
    limits.keep_nul = true; /* what stands in an Any was not judged, and goes back into it */
    enum err e =
        wire_unpack(type->type, any->value.data, any->value.len, &limits, a, &content, &fault);
    if (e)
        return e == ERR_INVALID_ARGUMENT ? ERR_OK : e;
    e = normalise(content, a, depth + 1);
    if (e)
        return e;
    return wire_pack(content, a, &any->value.data, &any->value.len);
}

static enum err normalise_sub(const void *value, struct arena *a, int depth)
{
    ProtobufCMessage *sub;
    memcpy(&sub, value, sizeof(sub));
    return sub ? normalise(sub, a, depth + 1) : ERR_OK;
}

static enum err normalise_field(ProtobufCMessage *m, const struct schema_field *sf, struct arena *a,
                                int depth)
{
    const ProtobufCFieldDescriptor *f = sf->field;
    enum err e = ERR_OK;

    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return pb_is_set(m, f) ? normalise_sub(pb_member(m, f), a, depth) : ERR_OK;
    size_t n = pb_count(m, f);
    for (size_t i = 0; i < n && !e; i++)
        e = normalise_sub(pb_element(m, f, i), a, depth);
    return !e && sf->is_map && n > 0 ? sort_map(m, f, a) : e;
}

static enum err normalise(ProtobufCMessage *m, struct arena *a, int depth)
{
    const struct schema_message *schema = schema_of(m->descriptor);
    enum err e = ERR_OK;

    if (depth > NORMAL_DEPTH)
        return ERR_INVALID_ARGUMENT;
    m->n_unknown_fields = 0;
    if (schema->known == SCHEMA_ANY)
        return normalise_any((Google__Protobuf__Any *)m, a, depth);
    if (schema->is_map_entry)
        e = complete_entry(m, a);
    for (unsigned i = 0; i < m->descriptor->n_fields && !e; i++)
        if (schema->fields[i].message)
            e = normalise_field(m, &schema->fields[i], a, depth);
    return e;
}

static enum err pack_normal(const ProtobufCMessage *message, struct arena *a, uint8_t **data_out,
                            size_t *len_out)
{
    ProtobufCMessage *copy = wire_clone(message, a);
    if (!copy)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = normalise(copy, a, 1);
    if (e)
        return e;
    return wire_pack(copy, a, data_out, len_out);
}

bool wire_equal(const ProtobufCMessage *x, const ProtobufCMessage *y, struct arena *scratch)
{
    uint8_t *dx, *dy;
    size_t nx, ny;
    if (x->descriptor != y->descriptor)
        return false;
    if (pack_normal(x, scratch, &dx, &nx) || pack_normal(y, scratch, &dy, &ny))
        return false;
    return nx == ny && memcmp(dx, dy, nx) == 0;
}

enum err wire_fingerprint(const char *service, const char *method, const ProtobufCMessage *request,
                          struct arena *a, uint8_t out[static 32])
{
    uint8_t *data;
    size_t len;
    crypto_generichash_state state;

    enum err e = pack_normal(request, a, &data, &len);
    if (e)
        return e;
    /* The NULs keep ("ab", "c") from hashing like ("a", "bc"). */
    crypto_generichash_init(&state, NULL, 0, 32);
    crypto_generichash_update(&state, (const unsigned char *)service, strlen(service) + 1);
    crypto_generichash_update(&state, (const unsigned char *)method, strlen(method) + 1);
    crypto_generichash_update(&state, data, len);
    crypto_generichash_final(&state, out, 32);
    return ERR_OK;
}

/* --- well-known types ----------------------------------------------------------------------- */

int64_t wire_time_us(const void *timestamp)
{
    const Google__Protobuf__Timestamp *t = timestamp;
    int64_t us;
    if (!t)
        return 0;
    if (__builtin_mul_overflow(t->seconds, SECOND_US, &us) ||
        __builtin_add_overflow(us, (int64_t)t->nanos / 1000, &us))
        return t->seconds < 0 ? INT64_MIN : INT64_MAX;
    return us;
}

void *wire_time(struct arena *a, int64_t us)
{
    Google__Protobuf__Timestamp *t = wire_new(&google__protobuf__timestamp__descriptor, a);
    if (!t)
        return NULL;
    int64_t rest = us % SECOND_US;
    t->seconds = us / SECOND_US - (rest < 0);
    t->nanos = (int32_t)((rest < 0 ? rest + SECOND_US : rest) * 1000);
    return t;
}

void *wire_any(struct arena *a, const ProtobufCMessage *message)
{
    Google__Protobuf__Any *any = wire_new(&google__protobuf__any__descriptor, a);
    if (!any)
        return NULL;
    any->type_url = arena_printf(a, TYPE_URL_PREFIX "%s", message->descriptor->name);
    if (!any->type_url || wire_pack(message, a, &any->value.data, &any->value.len))
        return NULL;
    return any;
}
