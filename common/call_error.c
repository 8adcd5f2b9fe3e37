/*
 * call_error.c - from a failure to google.rpc.Status with its typed details (protocols H.3).
 *
 * Each detail type occurs at most once, ErrorInfo always. Texts come from the handler, or, where it
 * passed a code up without words, from one table; they never hold what PostgreSQL said.
 */
#include "common/call_state.h"

#include <ctype.h>

#include "common/pb_access.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define DETAILS_MAX 5

/* What to say when nobody said anything. */
static const struct code_words {
    enum err code;
    const char *message;
    int64_t retry_us;
} words[] = {
    { ERR_CANCELED, "the request was given up", 0 },
    { ERR_INVALID_ARGUMENT, "a value of the request cannot be stored; correct it", 0 },
    { ERR_DEADLINE_EXCEEDED, "time is up; send it again with the same idempotency key", 0 },
    { ERR_NOT_FOUND, "there is no such record", 0 },
    { ERR_ALREADY_EXISTS, "a record with these values is there already", 0 },
    { ERR_PERMISSION_DENIED, "you may not do this; ask for the role or scope", 0 },
    { ERR_RESOURCE_EXHAUSTED, "the request needs more than a request may use; ask for less",
      SECOND_US },
    { ERR_FAILED_PRECONDITION, "a record that this one needs is missing, or a rule is not met", 0 },
    { ERR_ABORTED, "somebody else changed the record at the same time; read it and try again",
      100 * MSEC_US },
    { ERR_OUT_OF_RANGE, "a value is out of range; correct it", 0 },
    { ERR_UNIMPLEMENTED, "there is no such method", 0 },
    { ERR_INTERNAL, "something broke inside; report the request id", 0 },
    { ERR_UNAVAILABLE,
      "the service cannot do this now; send it again with the same idempotency key", SECOND_US },
    { ERR_DATA_LOSS, "stored data is damaged; report the request id", 0 },
    { ERR_UNAUTHENTICATED, "the caller is not proven; use a registered key", 0 },
};

static const struct code_words *words_of(enum err code)
{
    static const struct code_words other = { ERR_UNKNOWN, "the request failed", 0 };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].code == code)
            return &words[i];
    return &other;
}

static const struct call_failure *failure_of(const struct call *call, enum err code)
{
    const struct call_failure *f = &call->state->failure;
    return f->code == code ? f : NULL;
}

const char *call_failure_reason(const struct call *call, enum err code)
{
    const struct call_failure *f = failure_of(call, code);

    if (f && f->reason)
        return f->reason;
    if (f == NULL && strncmp(call->state->db_error.sqlstate, "53100", 5) == 0)
        return "STORAGE_FULL"; /* operations 6 */
    return err_reason(code);
}

/* Details under way. */
struct builder {
    struct call *call;
    Google__Rpc__Status *status;
    bool bad; /* the arena is full */
};

static void *make(struct builder *b, const ProtobufCMessageDescriptor *type)
{
    void *m = wire_new(type, b->call->arena);
    if (m == NULL)
        b->bad = true;
    return m;
}

static void add_detail(struct builder *b, const void *detail)
{
    void *any = wire_any(b->call->arena, detail);
    if (any == NULL) {
        b->bad = true;
        return;
    }
    b->status->details[b->status->n_details++] = any;
}

static size_t count_pairs(const struct call_pair *p)
{
    size_t n = 0;
    for (; p; p = p->next)
        n++;
    return n;
}

static void add_info_pair(struct builder *b, Google__Rpc__ErrorInfo *info, const char *key,
                          const char *value)
{
    Google__Rpc__ErrorInfo__MetadataEntry *entry =
        make(b, &google__rpc__error_info__metadata_entry__descriptor);
    if (entry == NULL)
        return;
    entry->key = pb_borrow(key);
    entry->value = pb_borrow(value);
    info->metadata[info->n_metadata++] = entry;
}

static void add_error_info(struct builder *b, enum err code, const struct call_failure *f)
{
    const struct call_state *s = b->call->state;
    Google__Rpc__ErrorInfo *info = make(b, &google__rpc__error_info__descriptor);
    if (info == NULL)
        return;
    info->reason = pb_borrow(call_failure_reason(b->call, code));
    info->domain = pb_borrow(ERR_DOMAIN);
    info->metadata = arena_array(b->call->arena, count_pairs(s->details) + 1, sizeof(void *));
    if (info->metadata == NULL) {
        b->bad = true;
        return;
    }
    if (f && f->field && f->field[0])
        add_info_pair(b, info, "field", f->field);
    for (const struct call_pair *p = f ? s->details : NULL; p; p = p->next)
        add_info_pair(b, info, p->key, p->value);
    add_detail(b, info);
}

static void add_bad_request(struct builder *b, const struct call_failure *f)
{
    const struct call_state *s = b->call->state;
    Google__Rpc__BadRequest *bad = make(b, &google__rpc__bad_request__descriptor);
    size_t max = MIN(s->nviolations, CALL_VIOLATIONS_MAX);

    if (bad == NULL)
        return;
    bad->field_violations = arena_array(b->call->arena, max + 1, sizeof(void *));
    if (bad->field_violations == NULL) {
        b->bad = true;
        return;
    }
    for (const struct call_violation_item *v = s->violations; v; v = v->next) {
        Google__Rpc__BadRequest__FieldViolation *out =
            make(b, &google__rpc__bad_request__field_violation__descriptor);
        if (out == NULL)
            return;
        out->field = pb_borrow(v->field);
        out->description = pb_borrow(v->description);
        out->reason = pb_borrow(v->reason ? v->reason : f && f->reason ? f->reason : "INVALID");
        bad->field_violations[bad->n_field_violations++] = out;
    }
    add_detail(b, bad);
}

static void add_precondition(struct builder *b, enum err code, const struct call_failure *f)
{
    Google__Rpc__PreconditionFailure *out = make(b, &google__rpc__precondition_failure__descriptor);
    Google__Rpc__PreconditionFailure__Violation *v =
        make(b, &google__rpc__precondition_failure__violation__descriptor);
    Google__Rpc__PreconditionFailure__Violation **list =
        arena_array(b->call->arena, 1, sizeof(void *));

    if (out == NULL || v == NULL || list == NULL) {
        b->bad = true;
        return;
    }
    v->type = pb_borrow(call_failure_reason(b->call, code));
    v->subject = pb_borrow(f && f->resource_name ? f->resource_name : f ? f->field : "");
    v->description = b->status->message;
    list[0] = v;
    out->violations = list;
    out->n_violations = 1;
    add_detail(b, out);
}

static void add_resource(struct builder *b, const struct call_failure *f)
{
    Google__Rpc__ResourceInfo *out = make(b, &google__rpc__resource_info__descriptor);
    if (out == NULL)
        return;
    out->resource_type = pb_borrow(f->resource_type);
    out->resource_name = pb_borrow(f->resource_name);
    out->description = pb_borrow(f->resource_text ? f->resource_text : f->message);
    add_detail(b, out);
}

static void add_retry(struct builder *b, int64_t delay_us)
{
    Google__Rpc__RetryInfo *out = make(b, &google__rpc__retry_info__descriptor);
    Google__Protobuf__Duration *delay = make(b, &google__protobuf__duration__descriptor);

    if (out == NULL || delay == NULL)
        return;
    delay->seconds = delay_us / SECOND_US;
    delay->nanos = (int32_t)(delay_us % SECOND_US * 1000);
    out->retry_delay = delay;
    add_detail(b, out);
}

Google__Rpc__Status *call_status(struct call *call, enum err code)
{
    const struct call_failure *f = failure_of(call, code);
    const struct code_words *w = words_of(code);
    struct builder b = { .call = call };

    b.status = make(&b, &google__rpc__status__descriptor);
    if (b.status == NULL)
        return NULL;
    b.status->code = (int32_t)code;
    b.status->message = pb_borrow(f ? f->message : w->message);
    b.status->details = arena_array(call->arena, DETAILS_MAX, sizeof(void *));
    if (b.status->details == NULL)
        return NULL;

    add_error_info(&b, code, f);
    if ((code == ERR_INVALID_ARGUMENT || code == ERR_OUT_OF_RANGE) && call->state->violations)
        add_bad_request(&b, f);
    if (code == ERR_FAILED_PRECONDITION)
        add_precondition(&b, code, f);
    if (f && (f->resource_type || code == ERR_ALREADY_EXISTS))
        add_resource(&b, f);
    int64_t retry_us = f && f->retry_us ? f->retry_us : w->retry_us;
    if (retry_us > 0)
        add_retry(&b, retry_us);
    return b.bad ? NULL : b.status;
}
