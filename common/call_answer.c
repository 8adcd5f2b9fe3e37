/*
 * call_answer.c - from the frames of a request to those of its answer.
 *
 * Everything that can be refused without the database is refused before a transaction is opened,
 * in this order: frames, method, time, caller, scope, form. Whatever happens, the caller gets a
 * result with his request id.
 */
#include "common/call_state.h"

#include <ctype.h>

#include "common/authority.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define JSON_SUFFIX "+json"
#define METHOD_NAME_MAX 96
#define REQUEST_ID_MAX 64
#define DEADLINE_DEFAULT_MS 5000
#define DEADLINE_MAX_MS 30000
#define START_MIN_US (5 * MSEC_US)
#define ACTOR_WAIT_US SECOND_US
#define REPLY_MAX (4 * MIB)
#define RESERVE_BYTES 1024 /* for the answer "out of memory" */

static struct metric handled_total = {
    .name = "daybook_rpc_server_handled_total",
    .type = METRIC_COUNTER,
    .help = "Requests answered, by canonical code.",
    .labels = { "service", "method", "code" },
};

static struct metric duration_seconds = {
    .name = "daybook_rpc_server_duration_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "Time from taking a request to its answer, without the time in the queue.",
    .labels = { "service", "method" },
    .buckets = metric_rpc_buckets,
};

/* A request on its way to its answer. */
struct answer {
    struct call_env *env;
    const struct call_frames *in;
    struct call call;
    PbCallContext *context;
    bool json;
    char name[METHOD_NAME_MAX];        /* of the method, without suffix */
    const struct method *method;       /* NULL: unknown */
    const struct schema_method *shape; /* NULL: unknown */
    ProtobufCMessage *request;
    ProtobufCMessage *reply;
    int64_t started_us;
    uint8_t *reserve;
    struct span *span; /* of the handler; off before take_trace() */
};

/* --- frames in --- */

static enum err unpack(struct answer *a, const ProtobufCMessageDescriptor *type, const void *data,
                       size_t len, bool json, ProtobufCMessage **out)
{
    struct wire_fault fault = { 0 };
    enum err e;

    if (len == 0) {
        *out = wire_new(type, a->env->arena);
        return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    if (json)
        e = protojson_read(type, data, len, PROTOJSON_REQUEST, a->env->arena, out, &fault);
    else
        e = wire_unpack(type, data, len, &wire_limits_default, a->env->arena, out, &fault);
    if (e == ERR_INVALID_ARGUMENT) {
        call_violation_reason(&a->call, "MALFORMED", fault.field, "%s", fault.reason);
        return call_violations(&a->call);
    }
    return e;
}

static enum err take_name(struct answer *a)
{
    size_t len = a->in->method_len, suffix = strlen(JSON_SUFFIX);
    const char *text = a->in->method;

    if (len >= suffix && memcmp(text + len - suffix, JSON_SUFFIX, suffix) == 0) {
        a->json = true;
        len -= suffix;
    }
    if (len == 0 || len >= sizeof a->name)
        return call_fail(&a->call, ERR_UNIMPLEMENTED, "", "the first frame must name a method");
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]))
            return call_fail(&a->call, ERR_UNIMPLEMENTED, "", "the first frame must name a method");
    memcpy(a->name, text, len);
    a->name[len] = '\0';
    return ERR_OK;
}

static char no_request_id[] = "", no_trace[] = "";

static bool is_printable(const char *s, size_t max)
{
    for (size_t n = 0; s[n]; n++)
        if (n >= max || s[n] < 0x20 || s[n] > 0x7e)
            return false;
    return true;
}

/* The context may be binary beside a JSON request: a packed one never begins with '{', which would
 * be a group. */
static enum err take_context(struct answer *a)
{
    const char *text = a->in->context;
    bool json = a->in->context_len > 0 && text[0] == '{';
    ProtobufCMessage *message;

    enum err e = unpack(a, &daybook__common__v1__call_context__descriptor, text, a->in->context_len,
                        json, &message);
    if (e)
        return e;
    a->context = (PbCallContext *)message;
    a->call.context = a->context;
    if (!is_printable(a->context->request_id, REQUEST_ID_MAX)) {
        a->context->request_id = no_request_id;
        return call_fail(&a->call, ERR_INVALID_ARGUMENT, "request_id",
                         "1 to %d printable ASCII characters", REQUEST_ID_MAX);
    }
    if (a->context->request_id[0] == '\0')
        a->context->request_id = db_text_id(a->env->arena, id_new());
    if (a->context->request_id == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    if (!is_printable(a->context->dispatch_id, ID_TEXT_MAX))
        return call_fail(&a->call, ERR_INVALID_ARGUMENT, "dispatch_id", "a UUID, from the bus");
    if (!is_printable(a->context->idempotency_key, CALL_KEY_MAX)) {
        enum err bad = call_fail(&a->call, ERR_INVALID_ARGUMENT, "idempotency_key",
                                 "1 to %d printable ASCII characters", CALL_KEY_MAX);
        return call_reason(&a->call, bad, "IDEMPOTENCY_KEY_INVALID");
    }
    return ERR_OK;
}

/* From the bus to here, beside the handler's span: one asks for more workers, the other for a
 * faster handler. By two machines' clocks, so that it may be a little off. */
static void tell_queue(const struct answer *a, const char *asker)
{
    struct span queue;
    int64_t received_us = wire_time_us(a->context->received_at); /* 0: did not come by a bus */
    int64_t started_us = clock_wall_us() - (clock_monotonic_us() - a->started_us);

    if (received_us <= 0 || received_us >= started_us)
        return;
    if (*asker)
        span_begin(&queue, SPAN_INTERNAL, "queue", asker);
    else
        span_begin_part(&queue, a->span, "queue");
    span_began_at(&queue, a->started_us - (started_us - received_us));
    span_end_at(&queue, a->started_us);
}

/* From here on the context tells of our span, so that whatever is done on its behalf does, too. */
static void take_trace(struct answer *a)
{
    struct trace_context asker;
    char *given = a->context->traceparent;

    if (*given && !trace_parse(given, &asker))
        given = no_trace;
    a->context->traceparent = given;
    if (!*given)
        a->context->tracestate = no_trace;
    span_begin(a->span, SPAN_SERVER, "unknown method", given);
    if (span_recorded(a->span)) {
        span_began_at(a->span, a->started_us);
        span_text(a->span, "daybook.request_id", a->context->request_id);
        tell_queue(a, given);
    }
    a->call.state->span = a->span;
    if (a->span->state != SPAN_OFF)
        a->context->traceparent = a->span->traceparent;
}

static enum err take_deadline(struct answer *a)
{
    uint32_t ms = a->context->deadline_ms ? a->context->deadline_ms : DEADLINE_DEFAULT_MS;
    int64_t deadline_us = (int64_t)MIN(ms, DEADLINE_MAX_MS) * MSEC_US;

    a->call.deadline_us = a->started_us + deadline_us - a->env->waited_us;
    if (2 * a->env->waited_us > deadline_us) {
        enum err e = call_fail(&a->call, ERR_UNAVAILABLE, "",
                               "the worker was busy for too long; nothing was done, send it again");
        return call_reason(&a->call, e, "WORKER_BUSY");
    }
    if (a->call.deadline_us - clock_monotonic_us() < START_MIN_US)
        return call_fail(&a->call, ERR_DEADLINE_EXCEEDED, "",
                         "too little time is left to begin; nothing was done");
    return ERR_OK;
}

static enum err find_method(struct answer *a)
{
    for (size_t i = 0; i < a->env->nmethods; i++) {
        const struct method *m = &a->env->methods[i];
        if (strcmp(m->name, a->name) == 0 && strcmp(m->service, a->context->service) == 0)
            a->method = m;
    }
    if (a->method)
        a->shape = schema_find_method(a->method->service, a->method->name);
    if (a->method && a->shape)
        return ERR_OK;
    call_detail(&a->call, "method", a->name);
    return call_fail(&a->call, ERR_UNIMPLEMENTED, "", "this service has no method %s", a->name);
}

/* --- the caller --- */

static bool take_id(const char *text, struct id *out)
{
    return text[0] == '\0' || id_parse(text, out);
}

/* The snapshot may be older than an employee who acts for the first time. */
static void find_employee(struct answer *a)
{
    struct call *call = &a->call;

    call->employee = directory_employee(call->dir, call->tenant, call->actor);
    if (call->employee)
        return;
    int64_t seen = directory_revision(call->dir);
    directory_refresh();
    enum err e = directory_wait(
        seen + 1, MIN(call->deadline_us - START_MIN_US, clock_monotonic_us() + ACTOR_WAIT_US));
    if (e)
        return; /* nothing newer: he is not there */
    directory_release(call->dir);
    call->dir = directory_acquire();
    if (call->dir)
        call->employee = directory_employee(call->dir, call->tenant, call->actor);
}

static enum err take_employee(struct answer *a)
{
    struct call *call = &a->call;

    if (call->dir == NULL)
        return ERR_OK;
    find_employee(a);
    if (call->employee && call->employee->active)
        return ERR_OK;
    enum err e = call_fail(call, ERR_PERMISSION_DENIED, "",
                           "the acting employee is not an active one of this company");
    return call_reason(call, e, call->employee ? "ACTOR_INACTIVE" : "ACTOR_UNKNOWN");
}

static enum err take_principal(struct answer *a)
{
    struct call *call = &a->call;
    const PbPrincipal *p = a->context->principal;

    if (p == NULL || !take_id(p->tenant_id, &call->tenant) || !take_id(p->actor_id, &call->actor) ||
        p->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_UNSPECIFIED)
        return call_fail(call, ERR_UNAUTHENTICATED, "",
                         "the caller is not proven; use a registered key");
    if (id_is_nil(call->tenant) && !(a->method->flags & METHOD_TENANTLESS)) {
        enum err e = call_fail(call, ERR_PERMISSION_DENIED, "", "this needs a caller of a company");
        return call_reason(call, e, "TENANT_REQUIRED");
    }
    if (!call->dir && a->env->needs_directory && !(a->method->flags & METHOD_TENANTLESS)) {
        enum err e =
            call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");
        return call_reason(call, e, "DIRECTORY_NOT_LOADED");
    }
    if (p->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE)
        return take_employee(a);
    return ERR_OK;
}

static enum err check_scope(struct answer *a)
{
    if (a->method->scope == NULL || authority_has_scope(&a->call, a->method->scope))
        return ERR_OK;
    call_detail(&a->call, "scope", a->method->scope);
    enum err e =
        call_fail(&a->call, ERR_PERMISSION_DENIED, "", "this needs the scope %s", a->method->scope);
    return call_reason(&a->call, e, "SCOPE_REQUIRED");
}

/* --- the work --- */

static enum err take_request(struct answer *a)
{
    enum err e =
        unpack(a, a->shape->input, a->in->message, a->in->message_len, a->json, &a->request);
    if (e || a->method->checks == NULL)
        return e;
    return validate(&a->call, a->request, a->method->checks);
}

static enum err prepare_key(struct answer *a)
{
    struct call_state *s = a->call.state;
    uint8_t fingerprint[CALL_FINGERPRINT_LEN];

    enum err e = call_audit_origin(&a->call, a->method, a->request);
    if (e || a->shape->no_side_effects)
        return e;
    e = wire_fingerprint(a->method->service, a->name, a->request, a->env->arena, fingerprint);
    if (e)
        return e;
    s->fingerprint = db_text_bytes(a->env->arena, fingerprint, sizeof fingerprint);
    /* The bus numbers what it hands over, so its second try finds the first. Without a bus, or with
     * one that does not yet, the request id serves. */
    s->key = a->context->idempotency_key[0] ? a->context->idempotency_key
             : a->context->dispatch_id[0]   ? a->context->dispatch_id
                                            : a->context->request_id;
    return s->fingerprint ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err refuse_when_draining(struct answer *a)
{
    if (a->env->draining == NULL || !a->env->draining(a->env->draining_arg))
        return ERR_OK;
    enum err e = call_fail(&a->call, ERR_UNAVAILABLE, "",
                           "this replica is stopping; send it again, another one takes it");
    call_retry_after(&a->call, 100 * MSEC_US);
    return call_reason(&a->call, e, "DRAINING");
}

static enum err work(struct answer *a)
{
    enum err e = take_name(a);
    enum err context = take_context(a); /* for its request id, whatever else is wrong */
    if (e == ERR_OK)
        e = context;
    if (a->context)
        take_trace(a);
    if (e == ERR_OK)
        e = find_method(a);
    if (e == ERR_OK)
        e = take_deadline(a);
    if (e == ERR_OK)
        e = refuse_when_draining(a);
    if (e == ERR_OK)
        e = take_principal(a);
    if (e == ERR_OK)
        e = check_scope(a);
    if (e == ERR_OK)
        e = take_request(a);
    if (e == ERR_OK)
        e = prepare_key(a);
    if (e == ERR_OK)
        e = call_run(&a->call, a->method, a->env->schema, a->request, &a->reply);
    return e;
}

/* --- frames out --- */

static enum err write_json(const ProtobufCMessage *m, struct arena *arena, uint8_t **out,
                           size_t *len_out)
{
    struct sbuf text;

    sbuf_init(&text, REPLY_MAX + MIB);
    enum err e = protojson_write(m, 0, &text);
    *len_out = text.len;
    *out = e || text.bad ? NULL : arena_memdup(arena, text.data, text.len);
    sbuf_fini(&text);
    return e ? e : *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err write_message(const struct answer *a, const ProtobufCMessage *m, uint8_t **out,
                              size_t *len_out)
{
    enum err e = a->json ? write_json(m, a->env->arena, out, len_out)
                         : wire_pack(m, a->env->arena, out, len_out);
    if (e == ERR_OK && *len_out > REPLY_MAX)
        e = ERR_RESOURCE_EXHAUSTED;
    return e;
}

/* The answer of an earlier run. One that was too large to be kept is told as such: the caller
 * reads the resource again. */
static enum err write_stored(struct answer *a, uint8_t **out, size_t *len_out)
{
    const struct call_stored *stored = &a->call.state->stored;
    const struct schema_message *type = schema_find_message(stored->reply_type);
    struct wire_fault fault;
    ProtobufCMessage *message;

    call_metadata(&a->call, "idempotent-replayed", "true");
    if (type == NULL)
        call_metadata(&a->call, "idempotent-reply", stored->reply_type);
    if (!a->json) {
        *out = stored->reply;
        *len_out = stored->reply_len;
        return ERR_OK;
    }
    enum err e = wire_unpack(type ? type->type : a->shape->output, stored->reply, stored->reply_len,
                             &wire_limits_internal, a->env->arena, &message, &fault);
    return e == ERR_OK ? write_message(a, message, out, len_out) : ERR_INTERNAL;
}

static enum err write_reply(struct answer *a, uint8_t **out, size_t *len_out)
{
    return a->reply ? write_message(a, a->reply, out, len_out) : write_stored(a, out, len_out);
}

static enum err add_metadata(struct answer *a, PbCallResult *result)
{
    size_t n = 0;

    for (const struct call_pair *p = a->call.state->metadata; p; p = p->next)
        n++;
    result->metadata = arena_array(a->env->arena, n + 1, sizeof(void *));
    if (result->metadata == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    for (const struct call_pair *p = a->call.state->metadata; p; p = p->next) {
        Daybook__Common__V1__CallResult__MetadataEntry *entry =
            wire_new(&daybook__common__v1__call_result__metadata_entry__descriptor, a->env->arena);
        if (entry == NULL)
            return ERR_RESOURCE_EXHAUSTED;
        entry->key = arena_strdup(a->env->arena, p->key);
        entry->value = arena_strdup(a->env->arena, p->value);
        if (entry->key == NULL || entry->value == NULL)
            return ERR_RESOURCE_EXHAUSTED;
        result->metadata[result->n_metadata++] = entry;
    }
    return ERR_OK;
}

static enum err write_result(struct answer *a, enum err code, uint8_t **out, size_t *len_out)
{
    PbCallResult result = DAYBOOK__COMMON__V1__CALL_RESULT__INIT;

    if (a->context)
        result.request_id = a->context->request_id;
    enum err e = add_metadata(a, &result);
    if (e == ERR_OK && code) {
        result.status = call_status(&a->call, code);
        e = result.status ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    return e ? e : write_message(a, &result.base, out, len_out);
}

/* The arena is full: an answer in what was set aside at the start. */
static void write_exhausted(struct answer *a, uint8_t **out, size_t *len_out)
{
    static char reason[] = "RESOURCE_EXHAUSTED", domain[] = ERR_DOMAIN;
    static char message[] = "the request needs more memory than a request may use; ask for less";
    static char type_url[] = "type.googleapis.com/google.rpc.ErrorInfo";
    uint8_t packed[64];
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    Google__Protobuf__Any *details[] = { &any };
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    PbCallResult result = DAYBOOK__COMMON__V1__CALL_RESULT__INIT;
    struct sbuf text;

    info.reason = reason;
    info.domain = domain;
    any.type_url = type_url;
    any.value =
        (ProtobufCBinaryData){ .data = packed, .len = protobuf_c_message_pack(&info.base, packed) };
    status.code = ERR_RESOURCE_EXHAUSTED;
    status.message = message;
    status.details = details;
    status.n_details = 1;
    result.status = &status;
    if (a->context)
        result.request_id = a->context->request_id;

    *out = a->reserve;
    *len_out = 0;
    if (a->reserve == NULL)
        return;
    if (a->json) {
        sbuf_init_fixed(&text, (char *)a->reserve, RESERVE_BYTES);
        *len_out = protojson_write(&result.base, 0, &text) == ERR_OK && !text.bad ? text.len : 0;
    } else if (protobuf_c_message_get_packed_size(&result.base) <= RESERVE_BYTES) {
        *len_out = protobuf_c_message_pack(&result.base, a->reserve);
    }
}

/* --- telling --- */

static const struct level_of {
    enum err code;
    enum log_level level;
} levels[] = {
    { ERR_INTERNAL, LOG_LEVEL_ERROR },         { ERR_DATA_LOSS, LOG_LEVEL_ERROR },
    { ERR_UNKNOWN, LOG_LEVEL_ERROR },          { ERR_UNAVAILABLE, LOG_LEVEL_WARN },
    { ERR_DEADLINE_EXCEEDED, LOG_LEVEL_WARN }, { ERR_RESOURCE_EXHAUSTED, LOG_LEVEL_WARN },
};

static enum log_level level_of(enum err code)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (levels[i].code == code)
            return levels[i].level;
    return LOG_LEVEL_INFO;
}

static const char *none_if_empty(const char *s)
{
    return s && s[0] ? s : NULL;
}

/* One line a failed request. Not the message: it may quote what the caller sent. */
static void log_failure(const struct answer *a, enum err code, int64_t took_us)
{
    const struct call *call = &a->call;
    const struct db_error *db = &call->state->db_error;
    char tenant[ID_TEXT_MAX], actor[ID_TEXT_MAX], trace[33] = "", span[17] = "", took[24];

    if (a->context && a->context->traceparent[0]) /* take_trace() has left no other */
        snprintf(trace, sizeof trace, "%.32s", a->context->traceparent + 3);
    if (a->span->state != SPAN_OFF)
        snprintf(span, sizeof span, "%.16s", a->span->traceparent + 36);
    snprintf(took, sizeof took, "%" PRId64, took_us);
    log_line(level_of(code), "rpc.failed", "request failed", "req",
             a->context ? none_if_empty(a->context->request_id) : NULL, "trace",
             none_if_empty(trace), "span", none_if_empty(span), "tenant",
             id_text(call->tenant, tenant), "actor", id_text(call->actor, actor), "service",
             a->method ? a->method->service : NULL, "method", a->method ? a->method->name : NULL,
             "code", err_name(code), "reason", call_failure_reason(call, code), "field",
             none_if_empty(call->state->failure.field), "sqlstate", none_if_empty(db->sqlstate),
             "statement", none_if_empty(db->statement), "constraint", none_if_empty(db->constraint),
             "dur_us", took, NULL);
}

/* Names that a stranger sends must not become series. */
static void count(const struct answer *a, enum err code, int64_t took_us)
{
    const char *service = a->method ? a->method->service : "unknown";
    const char *method = a->method ? a->method->name : "unknown";

    metric_add(&handled_total, 1, (const char *const[]){ service, method, err_name(code) });
    metric_observe_traced(&duration_seconds, (double)took_us / SECOND_US,
                          (const char *const[]){ service, method },
                          span_recorded(a->span) ? a->span->traceparent : NULL);
}

static void end_trace(struct answer *a, enum err code)
{
    if (a->method)
        span_name_method(a->span, a->method->service, a->method->name);
    if (code)
        span_text(a->span, "daybook.reason", call_failure_reason(&a->call, code));
    span_end_call(a->span, code);
}

void call_answer(struct call_env *env, const struct call_frames *in, uint8_t **result_out,
                 size_t *result_len_out, uint8_t **reply_out, size_t *reply_len_out)
{
    struct span span; /* large, so not among what is zeroed */
    struct answer a = {
        .env = env,
        .in = in,
        .call = { .db = env->db,
                  .cache = env->cache,
                  .daemon_data = env->daemon_data,
                  .schema = env->schema },
        .started_us = clock_monotonic_us(),
        .span = &span,
    };

    span.state = SPAN_OFF;
    *reply_out = NULL;
    *reply_len_out = 0;
    env->wake_relay = false;
    env->wakes = NULL;
    a.reserve = arena_alloc(env->arena, RESERVE_BYTES);
    enum err e = call_open(&a.call, env->arena);
    if (e) {
        write_exhausted(&a, result_out, result_len_out);
        return;
    }
    a.call.dir = directory_acquire();
    e = work(&a);
    if (e == ERR_OK) {
        env->wake_relay = a.call.state->nevents > 0;
        env->wakes = a.call.state->wakes;
        e = write_reply(&a, reply_out, reply_len_out);
    } else {
        env->wake_relay = call_audit_refused(&a.call, a.method, e, env->refusals);
    }
    if (e) {
        *reply_out = NULL;
        *reply_len_out = 0;
    }
    if (write_result(&a, e, result_out, result_len_out))
        write_exhausted(&a, result_out, result_len_out);
    int64_t took_us = clock_monotonic_us() - a.started_us;
    if (e)
        log_failure(&a, e, took_us);
    count(&a, e, took_us);
    end_trace(&a, e);
    directory_release(a.call.dir);
}
