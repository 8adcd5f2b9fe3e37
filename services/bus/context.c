/*
 * context.c - see context.h. The bytes have passed wire_check() before the patch walks them, so
 * the walk needs no error path beyond never reading past the end.
 */
#include "services/bus/context.h"

#include <assert.h>

#include "common/call.h"
#include "common/num.h"
#include "common/protojson.h"

/* Fields of CallContext (call.proto). */
enum {
    FIELD_REQUEST_ID = 1,
    FIELD_PRINCIPAL = 2,
    FIELD_DEADLINE_MS = 3,
    FIELD_SERVICE = 7,
    FIELD_RECEIVED_AT = 8,
    FIELD_DISPATCH_ID = 10,
    FIELD_REMOTE_ADDRESS = 11,
};
#define FIELD_SCOPES 5 /* of the principal */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

#define JSON_CONTEXT_MAX (64 * KIB)
#define TAG(field, type) ((uint8_t)((field) << 3 | (type)))

static const struct wire_limits limits = {
    .max_bytes = 64 * KIB,
    .max_depth = 8,
    .max_repeated = 1000,
    .max_string = 8 * KIB,
    .max_bytes_field = 8 * KIB,
};

static enum err fault(struct wire_fault *f, const char *field, const char *reason)
{
    snprintf(f->field, sizeof(f->field), "%s", field);
    snprintf(f->reason, sizeof(f->reason), "%s", reason);
    return ERR_INVALID_ARGUMENT;
}

/* --- reading the wire ----------------------------------------------------------------------- */

struct field {
    uint32_t number;
    uint32_t type;
    uint64_t varint;     /* WIRE_VARINT */
    const uint8_t *data; /* WIRE_LENGTH */
    size_t len;
    const uint8_t *raw, *end; /* the whole field with its tag */
};

static uint64_t take_varint(const uint8_t **p, const uint8_t *end)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

static bool take_field(const uint8_t **p, const uint8_t *end, struct field *out)
{
    if (*p >= end)
        return false;
    *out = (struct field){ .raw = *p };
    uint64_t tag = take_varint(p, end);
    out->number = (uint32_t)(tag >> 3);
    out->type = tag & 7;
    size_t left = (size_t)(end - *p);
    switch (out->type) {
    case WIRE_VARINT:
        out->varint = take_varint(p, end);
        break;
    case WIRE_LENGTH: {
        uint64_t len = take_varint(p, end);
        left = (size_t)(end - *p);
        out->data = *p;
        out->len = len < left ? (size_t)len : left;
        *p += out->len;
        break;
    }
    case WIRE_64:
        *p += MIN(left, 8u);
        break;
    default:
        *p += MIN(left, 4u);
        break;
    }
    out->end = *p;
    return true;
}

/* --- the rules, common to both forms -------------------------------------------------------- */

static enum err take_request_id(struct context *c, const char *id, size_t len, struct wire_fault *f)
{
    if (len > CONTEXT_REQUEST_ID_MAX)
        return fault(f, "request_id", "at most 64 characters");
    for (size_t i = 0; i < len; i++)
        if (id[i] < 0x21 || id[i] > 0x7e)
            return fault(f, "request_id", "printable ASCII without spaces");
    memcpy(c->request_id, id, len);
    c->request_id[len] = 0;
    return ERR_OK;
}

static bool id_or_empty(const char *text, struct id *out)
{
    *out = (struct id){ 0 };
    return text[0] == 0 || id_parse(text, out);
}

/* A principal that the client brings: only from peers that have proven it, and well-formed (F61).
 */
static enum err judge_principal(struct context *c, const struct identity *who,
                                const char *tenant_id, const char *actor_id, int kind,
                                struct wire_fault *f)
{
    struct id actor;
    if (!id_or_empty(tenant_id, &c->tenant))
        return fault(f, "principal.tenant_id", "not a UUID");
    if (!id_or_empty(actor_id, &actor))
        return fault(f, "principal.actor_id", "not a UUID");
    bool system = kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
    return system && !who->brings_system ? ERR_PERMISSION_DENIED : ERR_OK;
}

static void text_of(const struct field *f, char *buf, size_t size)
{
    size_t n = MIN(f->len, size - 1);
    memcpy(buf, f->data, n);
    buf[n] = 0;
}

static bool is_bus_read(const char *scope, size_t len)
{
    return len == strlen(IDENTITY_SCOPE_BUS_READ) &&
           memcmp(scope, IDENTITY_SCOPE_BUS_READ, len) == 0;
}

static enum err judge_packed_principal(struct context *c, const struct identity *who,
                                       const struct field *principal, struct wire_fault *f)
{
    char tenant[ID_TEXT_MAX + 1] = "", actor[ID_TEXT_MAX + 1] = "";
    int kind = 0;
    struct field in;
    c->reads_bus = false;
    const uint8_t *p = principal->data, *end = p + principal->len;
    while (take_field(&p, end, &in)) {
        if (in.number == 1 && in.type == WIRE_LENGTH)
            text_of(&in, tenant, sizeof(tenant));
        else if (in.number == 2 && in.type == WIRE_LENGTH)
            text_of(&in, actor, sizeof(actor));
        else if (in.number == 3 && in.type == WIRE_VARINT)
            kind = (int)in.varint;
        else if (in.number == FIELD_SCOPES && in.type == WIRE_LENGTH)
            c->reads_bus = c->reads_bus || is_bus_read((const char *)in.data, in.len);
    }
    return judge_principal(c, who, tenant, actor, kind, f);
}

static void make_request_id(struct context *c)
{
    if (c->request_id[0] == 0)
        id_text(id_new(), c->request_id);
}

/* --- binary --------------------------------------------------------------------------------- */

static void put(struct context *c, const void *data, size_t len)
{
    memcpy(c->base + c->base_len, data, len);
    c->base_len += len;
}

static void put_varint(struct context *c, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        c->base[c->base_len++] = (uint8_t)(v | 0x80);
    c->base[c->base_len++] = (uint8_t)v;
}

static void put_text(struct context *c, uint8_t tag, const char *text, size_t len)
{
    c->base[c->base_len++] = tag;
    put_varint(c, len);
    put(c, text, len);
}

static void put_time(struct context *c, int64_t us)
{
    uint64_t seconds = (uint64_t)(us / SECOND_US), nanos = (uint64_t)(us % SECOND_US) * 1000;
    c->base[c->base_len++] = TAG(FIELD_RECEIVED_AT, WIRE_LENGTH);
    size_t length_at = c->base_len++;
    c->base[c->base_len++] = TAG(1, WIRE_VARINT);
    put_varint(c, seconds);
    c->base[c->base_len++] = TAG(2, WIRE_VARINT);
    put_varint(c, nanos);
    c->base[length_at] = (uint8_t)(c->base_len - length_at - 1);
}

/* What the client said for others, as an edge may. */
struct brought {
    bool principal, remote_address;
};

/* Copies what is the client's own and notes what the bus wants to know. */
static enum err keep_fields(struct context *c, const uint8_t *data, size_t len,
                            const struct identity *who, struct brought *brought,
                            struct wire_fault *f)
{
    const uint8_t *p = data, *end = data + len;
    struct field in;
    while (take_field(&p, end, &in)) {
        enum err e = ERR_OK;
        switch (in.number) {
        case FIELD_REQUEST_ID:
            if (in.type != WIRE_LENGTH)
                break;
            e = take_request_id(c, (const char *)in.data, in.len, f);
            break;
        case FIELD_PRINCIPAL:
            if (!who->brings || in.type != WIRE_LENGTH || in.len == 0)
                break;
            e = judge_packed_principal(c, who, &in, f);
            brought->principal = true;
            put(c, in.raw, (size_t)(in.end - in.raw));
            break;
        case FIELD_DEADLINE_MS:
            c->deadline_ms = (uint32_t)in.varint;
            break;
        case FIELD_SERVICE:
        case FIELD_RECEIVED_AT:
        case FIELD_DISPATCH_ID:
            break;
        case FIELD_REMOTE_ADDRESS:
            if (!who->brings || in.type != WIRE_LENGTH || in.len == 0)
                break;
            brought->remote_address = true;
            put(c, in.raw, (size_t)(in.end - in.raw));
            break;
        default:
            put(c, in.raw, (size_t)(in.end - in.raw));
            break;
        }
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err take_binary(const void *data, size_t len, const struct context_stamp *stamp,
                            struct context *c, struct wire_fault *f)
{
    struct brought brought = { 0 };
    size_t remote_len = stamp->remote_address ? strlen(stamp->remote_address) : 0;
    enum err e = len == 0 ? ERR_OK
                          : wire_check(&daybook__common__v1__call_context__descriptor, data, len,
                                       &limits, f);
    if (e)
        return e;
    c->base = malloc(len + stamp->who->principal_len + stamp->service_len + CONTEXT_REQUEST_ID_MAX +
                     ID_TEXT_MAX + remote_len + 64);
    if (!c->base)
        return ERR_RESOURCE_EXHAUSTED;
    e = keep_fields(c, data, len, stamp->who, &brought, f);
    if (e)
        return e;
    if (!brought.principal) {
        c->tenant = stamp->who->tenant;
        c->reads_bus = stamp->who->reads_bus;
        put(c, stamp->who->principal, stamp->who->principal_len);
    }
    make_request_id(c);
    put_text(c, TAG(FIELD_REQUEST_ID, WIRE_LENGTH), c->request_id, strlen(c->request_id));
    put_text(c, TAG(FIELD_SERVICE, WIRE_LENGTH), stamp->service, stamp->service_len);
    if (!brought.remote_address && remote_len)
        put_text(c, TAG(FIELD_REMOTE_ADDRESS, WIRE_LENGTH), stamp->remote_address, remote_len);
    char dispatch[ID_TEXT_MAX];
    id_text(id_new(), dispatch);
    put_text(c, TAG(FIELD_DISPATCH_ID, WIRE_LENGTH), dispatch, strlen(dispatch));
    put_time(c, stamp->received_at_us);
    return ERR_OK;
}

/* --- JSON ----------------------------------------------------------------------------------- */

static enum err read_json(const void *data, size_t len, struct arena *a, PbCallContext **out,
                          struct wire_fault *f)
{
    ProtobufCMessage *m = NULL;
    if (len > limits.max_bytes)
        return fault(f, "", "the context is too long");
    if (len == 0) {
        *out = wire_new(&daybook__common__v1__call_context__descriptor, a);
        return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    enum err e =
        protojson_read(&daybook__common__v1__call_context__descriptor, data, len, 0, a, &m, f);
    *out = (PbCallContext *)(void *)m;
    return e;
}

/* The principal of the peer as a message; its bytes are prebuilt with tag and length. */
static PbPrincipal *own_principal(const struct identity *who, struct arena *a)
{
    struct field in;
    struct wire_fault f;
    ProtobufCMessage *m = NULL;
    const uint8_t *p = who->principal;
    if (!take_field(&p, p + who->principal_len, &in) ||
        wire_unpack(&daybook__common__v1__principal__descriptor, in.data, in.len,
                    &wire_limits_internal, a, &m, &f))
        return NULL;
    return (PbPrincipal *)(void *)m;
}

static enum err stamp_json(PbCallContext *m, const struct context_stamp *stamp, struct arena *a,
                           struct context *c, struct wire_fault *f)
{
    char dispatch[ID_TEXT_MAX];
    enum err e = take_request_id(c, m->request_id, strlen(m->request_id), f);
    if (e)
        return e;
    if (stamp->who->brings && m->principal) {
        e = judge_principal(c, stamp->who, m->principal->tenant_id, m->principal->actor_id,
                            (int)m->principal->kind, f);
        if (e)
            return e;
        for (size_t i = 0; i < m->principal->n_scopes; i++)
            c->reads_bus = c->reads_bus ||
                           is_bus_read(m->principal->scopes[i], strlen(m->principal->scopes[i]));
    } else {
        c->tenant = stamp->who->tenant;
        c->reads_bus = stamp->who->reads_bus;
        m->principal = own_principal(stamp->who, a);
    }
    make_request_id(c);
    c->deadline_ms = m->deadline_ms;
    m->deadline_ms = 0; /* added last */
    m->request_id = c->request_id;
    m->service = arena_strndup(a, stamp->service, stamp->service_len);
    m->received_at = wire_time(a, stamp->received_at_us);
    m->dispatch_id = arena_strdup(a, id_text(id_new(), dispatch));
    if (!stamp->who->brings || !*m->remote_address)
        m->remote_address = arena_strdup(a, stamp->remote_address ? stamp->remote_address : "");
    return m->principal && m->service && m->received_at && m->dispatch_id && m->remote_address
               ? ERR_OK
               : ERR_RESOURCE_EXHAUSTED;
}

static enum err take_json(const void *data, size_t len, const struct context_stamp *stamp,
                          struct arena *a, struct context *c, struct wire_fault *f)
{
    PbCallContext *m = NULL;
    struct sbuf text;
    enum err e = read_json(data, len, a, &m, f);
    if (!e)
        e = stamp_json(m, stamp, a, c, f);
    if (e)
        return e;
    sbuf_init(&text, JSON_CONTEXT_MAX);
    e = protojson_write(&m->base, 0, &text);
    if (!e && (text.bad || text.len < 2 || text.data[text.len - 1] != '}'))
        e = ERR_RESOURCE_EXHAUSTED;
    if (e) {
        sbuf_fini(&text);
        return e;
    }
    c->base_len = text.len - 1; /* the closing brace comes after the time left */
    c->base = (uint8_t *)sbuf_take(&text);
    return c->base ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* --- public --------------------------------------------------------------------------------- */

enum err context_take(const void *data, size_t len, bool json, const struct context_stamp *stamp,
                      struct arena *scratch, struct context *out, struct wire_fault *fault_out)
{
    *out = (struct context){ .json = json };
    *fault_out = (struct wire_fault){ .field = "", .reason = "" };
    enum err e;
    if (json) {
        e = take_json(data, len, stamp, scratch, out, fault_out);
        arena_reset(scratch);
    } else {
        e = take_binary(data, len, stamp, out, fault_out);
    }
    if (e) {
        free(out->base);
        out->base = NULL;
    }
    return e;
}

static void find_binary_id(const void *data, size_t len, struct context *c)
{
    struct wire_fault f;
    struct field in;
    const uint8_t *p = data, *end = p + len;
    if (wire_check(&daybook__common__v1__call_context__descriptor, data, len, &limits, &f))
        return;
    while (take_field(&p, end, &in))
        if (in.number == FIELD_REQUEST_ID && in.type == WIRE_LENGTH &&
            take_request_id(c, (const char *)in.data, in.len, &f))
            c->request_id[0] = 0;
}

void context_request_id(const void *data, size_t len, bool json, struct arena *scratch,
                        char out[static CONTEXT_REQUEST_ID_MAX + 1])
{
    struct context c = { 0 };
    PbCallContext *m = NULL;
    struct wire_fault f;
    if (len > 0 && !json)
        find_binary_id(data, len, &c);
    else if (len > 0 && !read_json(data, len, scratch, &m, &f) &&
             take_request_id(&c, m->request_id, strlen(m->request_id), &f))
        c.request_id[0] = 0;
    arena_reset(scratch);
    memcpy(out, c.request_id, sizeof(c.request_id));
}

void context_fini(struct context *c)
{
    free(c->base);
    c->base = NULL;
}

size_t context_size_max(const struct context *c)
{
    return c->base_len + CONTEXT_TAIL_MAX;
}

size_t context_finish(const struct context *c, uint32_t remaining_ms, uint8_t *out)
{
    memcpy(out, c->base, c->base_len);
    size_t n = c->base_len;
    if (c->json) {
        int tail = snprintf((char *)out + n, CONTEXT_TAIL_MAX, ",\"deadlineMs\":%" PRIu32 "}",
                            remaining_ms);
        assert(tail > 0 && tail < CONTEXT_TAIL_MAX);
        return n + (size_t)tail;
    }
    out[n++] = TAG(FIELD_DEADLINE_MS, WIRE_VARINT);
    for (; remaining_ms >= 0x80; remaining_ms >>= 7)
        out[n++] = (uint8_t)(remaining_ms | 0x80);
    out[n++] = (uint8_t)remaining_ms;
    return n;
}
