/*
 * answer.c - the table of the bus's own refusals, and their packing.
 */
#include "services/bus/answer.h"

#include "common/call.h"
#include "common/protojson.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define JSON_MAX (8 * MIB)
#define DOMAIN_TEXT "daybook"

static const struct {
    enum err code;
    const char *reason;
    const char *text;
    int64_t retry_us; /* 0: no RetryInfo */
} faults[FAULTS] = {
    [FAULT_NO_WORKER] = { ERR_UNAVAILABLE, "NO_WORKER",
                          "nobody serves this service at the moment; ask again later", SECOND_US },
    [FAULT_QUEUE_FULL] = { ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL",
                           "the queue of this service is full; ask again later", SECOND_US },
    [FAULT_CLIENT_LIMIT] = { ERR_RESOURCE_EXHAUSTED, "CLIENT_LIMIT",
                             "too many requests of this client are under way; wait for answers",
                             100 * MSEC_US },
    [FAULT_WORKER_LOST] = { ERR_UNAVAILABLE, "WORKER_LOST",
                            "the worker was lost while it had this request; it may have been done",
                            0 },
    [FAULT_DEADLINE] = { ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED",
                         "the time for this request is up; it may have been done", 0 },
    [FAULT_DRAINING] = { ERR_UNAVAILABLE, "DRAINING", "this bus is stopping; ask again",
                         100 * MSEC_US },
    [FAULT_BAD_REQUEST] = { ERR_INVALID_ARGUMENT, "BAD_FRAMES",
                            "the body must be method, CallContext and message frames", 0 },
    [FAULT_BAD_CONTEXT] = { ERR_INVALID_ARGUMENT, "BAD_CONTEXT",
                            "the second frame is not a valid CallContext", 0 },
    [FAULT_BAD_SERVICE] = { ERR_INVALID_ARGUMENT, "BAD_SERVICE_NAME",
                            "a service name has 1 to 255 printable ASCII characters", 0 },
    [FAULT_TOO_LARGE] = { ERR_RESOURCE_EXHAUSTED, "FRAME_TOO_LARGE",
                          "a frame of this request is over the limit", 0 },
    [FAULT_PARTIALS_TOO_LARGE] = { ERR_RESOURCE_EXHAUSTED, "PARTIALS_TOO_LARGE",
                                   "the parts of this answer are too large for MDP/0.1; use "
                                   "MDP/0.2",
                                   0 },
    [FAULT_NOT_ADMITTED] = { ERR_UNAUTHENTICATED, "KEY_NOT_ADMITTED",
                             "this key is not registered, has expired or was revoked", 0 },
    [FAULT_PRINCIPAL] = { ERR_PERMISSION_DENIED, "PRINCIPAL_NOT_ALLOWED",
                          "this key may not speak for a system principal", 0 },
    [FAULT_PERMISSION] = { ERR_PERMISSION_DENIED, "SCOPE_MISSING",
                           "this needs a system key or the scope bus.read", 0 },
    [FAULT_UNKNOWN_METHOD] = { ERR_UNIMPLEMENTED, "UNKNOWN_METHOD",
                               "this service has no such method", 0 },
    [FAULT_MEMORY] = { ERR_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "the bus is out of memory",
                       SECOND_US },
};

const char *fault_reason(enum fault f)
{
    return faults[f].reason;
}

static char *entry(struct arena *a, const char *text)
{
    return arena_strdup(a, text); /* protobuf-c wants char *, and texts here are const */
}

static bool add_metadata(Google__Rpc__ErrorInfo *info, struct arena *a, const char *key,
                         const char *value)
{
    if (!value || !value[0])
        return true;
    Google__Rpc__ErrorInfo__MetadataEntry *e =
        wire_new(&google__rpc__error_info__metadata_entry__descriptor, a);
    if (!e)
        return false;
    e->key = entry(a, key);
    e->value = entry(a, value);
    info->metadata[info->n_metadata++] = e;
    return e->key && e->value;
}

static void *error_info(const struct answer *w, struct arena *a)
{
    Google__Rpc__ErrorInfo *info = wire_new(&google__rpc__error_info__descriptor, a);
    if (!info)
        return NULL;
    info->reason = entry(a, faults[w->fault].reason);
    info->domain = entry(a, DOMAIN_TEXT);
    info->metadata = arena_array(a, 2, sizeof(*info->metadata));
    if (!info->reason || !info->domain || !info->metadata ||
        !add_metadata(info, a, "service", w->service) ||
        !add_metadata(info, a, "detail", w->detail))
        return NULL;
    return wire_any(a, &info->base);
}

static void *retry_info(const struct answer *w, struct arena *a)
{
    Google__Rpc__RetryInfo *info = wire_new(&google__rpc__retry_info__descriptor, a);
    Google__Protobuf__Duration *delay = wire_new(&google__protobuf__duration__descriptor, a);
    if (!info || !delay)
        return NULL;
    delay->seconds = faults[w->fault].retry_us / SECOND_US;
    delay->nanos = (int32_t)(faults[w->fault].retry_us % SECOND_US * 1000);
    info->retry_delay = delay;
    return wire_any(a, &info->base);
}

static Google__Rpc__Status *status(const struct answer *w, struct arena *a)
{
    Google__Rpc__Status *s = wire_new(&google__rpc__status__descriptor, a);
    if (!s)
        return NULL;
    s->code = (int32_t)faults[w->fault].code;
    bool more = w->detail && w->detail[0];
    s->message =
        arena_printf(a, "%s%s%s", faults[w->fault].text, more ? ": " : "", more ? w->detail : "");
    s->details = arena_array(a, 2, sizeof(*s->details));
    if (!s->message || !s->details)
        return NULL;
    s->details[s->n_details++] = error_info(w, a);
    if (faults[w->fault].retry_us)
        s->details[s->n_details++] = retry_info(w, a);
    for (size_t i = 0; i < s->n_details; i++)
        if (!s->details[i])
            return NULL;
    return s;
}

static bool pack_json(const ProtobufCMessage *m, zmq_msg_t *out)
{
    struct sbuf text;
    sbuf_init(&text, JSON_MAX);
    bool ok = protojson_write(m, 0, &text) == ERR_OK && !text.bad &&
              zmq_msg_init_size(out, text.len) == 0;
    if (ok)
        memcpy(zmq_msg_data(out), text.data, text.len);
    sbuf_fini(&text);
    return ok;
}

bool answer_pack_message(const ProtobufCMessage *m, bool json, zmq_msg_t *out)
{
    if (json)
        return pack_json(m, out);
    if (zmq_msg_init_size(out, protobuf_c_message_get_packed_size(m)) != 0)
        return false;
    protobuf_c_message_pack(m, zmq_msg_data(out));
    return true;
}

static bool pack_result(const char *request_id, Google__Rpc__Status *s, bool json,
                        struct arena *scratch, zmq_msg_t *out)
{
    PbCallResult *r = wire_new(&daybook__common__v1__call_result__descriptor, scratch);
    if (!r)
        return false;
    r->request_id = entry(scratch, request_id ? request_id : "");
    r->status = s;
    return r->request_id && answer_pack_message(&r->base, json, out);
}

bool answer_pack(const struct answer *a, struct arena *scratch, zmq_msg_t *out)
{
    Google__Rpc__Status *s = status(a, scratch);
    bool ok = s && pack_result(a->request_id, s, a->json, scratch, out);
    arena_reset(scratch);
    return ok;
}

bool answer_pack_ok(const char *request_id, bool json, struct arena *scratch, zmq_msg_t *out)
{
    bool ok = pack_result(request_id, NULL, json, scratch, out);
    arena_reset(scratch);
    return ok;
}
