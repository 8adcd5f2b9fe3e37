/*
 * connect_error.c - see connect_error.h.
 */
#include "services/gateway/connect/connect_error.h"

#include <sodium.h>

#include "common/pb_access.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/rpc/error_details.pb-c.h"

#define DETAILS_MAX 3
#define UNAVAILABLE_US SECOND_US /* until it is worth another try, where nobody knows better */

/* --- what fails here ---------------------------------------------------------------------------- */

static void add_detail(struct arena *a, PbStatus *status, const ProtobufCMessage *detail)
{
    Google__Protobuf__Any *any = wire_any(a, detail);

    if (any)
        status->details[status->n_details++] = any;
}

static void add_info(struct arena *a, PbStatus *status, const char *domain,
                     const struct connect_failure *f)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    info.domain = pb_borrow(domain);
    info.reason = pb_borrow(f->reason ? f->reason : err_reason(f->code));
    add_detail(a, status, &info.base);
}

static void add_violation(struct arena *a, PbStatus *status, const struct wire_fault *fault)
{
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = { &violation };
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;

    violation.field = pb_borrow(fault->field);
    violation.description = pb_borrow(fault->reason);
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    add_detail(a, status, &bad.base);
}

static void add_retry(struct arena *a, PbStatus *status, int64_t wait_us)
{
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;

    delay.seconds = wait_us / SECOND_US;
    delay.nanos = (int32_t)(wait_us % SECOND_US * 1000);
    retry.retry_delay = &delay;
    add_detail(a, status, &retry.base);
}

static const char *message_of(struct arena *a, const struct connect_failure *f)
{
    const struct wire_fault *fault = f->fault;
    const char *text = f->text;

    if (fault && fault->reason[0])
        text = arena_printf(a, "%s: %s%s%s", f->text, fault->field, fault->field[0] ? ": " : "",
                            fault->reason);
    return text ? text : "";
}

void connect_failure_status(struct arena *a, const char *domain, const struct connect_failure *f,
                            PbStatus *status)
{
    int64_t wait_us = f->wait_us || f->code != ERR_UNAVAILABLE ? f->wait_us : UNAVAILABLE_US;

    *status = (PbStatus)GOOGLE__RPC__STATUS__INIT;
    status->code = (int)f->code;
    status->message = pb_borrow(message_of(a, f));
    if (!domain)
        return;
    status->details = arena_array(a, DETAILS_MAX, sizeof(Google__Protobuf__Any *));
    if (!status->details)
        return;
    add_info(a, status, domain, f);
    if (f->fault && f->fault->reason[0])
        add_violation(a, status, f->fault);
    if (wait_us > 0)
        add_retry(a, status, wait_us);
}

/* --- as it is written ---------------------------------------------------------------------------- */

unsigned connect_http_status(enum err code)
{
    static const unsigned statuses[] = {
        [ERR_CANCELED] = 499,
        [ERR_UNKNOWN] = 500,
        [ERR_INVALID_ARGUMENT] = 400,
        [ERR_DEADLINE_EXCEEDED] = 504,
        [ERR_NOT_FOUND] = 404,
        [ERR_ALREADY_EXISTS] = 409,
        [ERR_PERMISSION_DENIED] = 403,
        [ERR_RESOURCE_EXHAUSTED] = 429,
        [ERR_FAILED_PRECONDITION] = 400,
        [ERR_ABORTED] = 409,
        [ERR_OUT_OF_RANGE] = 400,
        [ERR_UNIMPLEMENTED] = 501,
        [ERR_INTERNAL] = 500,
        [ERR_UNAVAILABLE] = 503,
        [ERR_DATA_LOSS] = 500,
        [ERR_UNAUTHENTICATED] = 401,
    };
    return code > 0 && (size_t)code < ARRAY_LEN(statuses) ? statuses[code] : 500;
}

static void add_base64(struct sbuf *b, const void *data, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    char *text = malloc(size);

    if (!text) {
        b->bad = true;
        return;
    }
    sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    sbuf_add_text(b, text);
    free(text);
}

static const char *bare_type(const char *url)
{
    const char *slash = strrchr(url, '/');
    return slash ? slash + 1 : url;
}

/* The detail's own JSON, for people; left out where it cannot be made. */
static void add_debug(struct arena *a, const Google__Protobuf__Any *detail, struct sbuf *b)
{
    const struct schema_message *type = schema_find_message(bare_type(detail->type_url));
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    CLEANUP(sbuf_fini) struct sbuf json = { 0 };

    if (!type || wire_unpack(type->type, detail->value.data, detail->value.len,
                             &wire_limits_internal, a, &m, &fault))
        return;
    sbuf_init(&json, MIB);
    if (protojson_write(m, 0, &json) || json.bad)
        return;
    sbuf_add_text(b, ",\"debug\":");
    sbuf_add(b, json.data, json.len);
}

void connect_error_json(struct arena *a, const PbStatus *status, struct sbuf *b)
{
    sbuf_addf(b, "{\"code\":\"%s\"", err_name((enum err)status->code));
    if (status->message && *status->message) {
        sbuf_add_text(b, ",\"message\":");
        sbuf_add_json(b, status->message);
    }
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *detail = status->details[i];
        sbuf_add_text(b, i ? ",{\"type\":" : ",\"details\":[{\"type\":");
        sbuf_add_json(b, bare_type(detail->type_url));
        sbuf_add_text(b, ",\"value\":\"");
        add_base64(b, detail->value.data, detail->value.len);
        sbuf_add_char(b, '"');
        add_debug(a, detail, b);
        sbuf_add_char(b, '}');
    }
    if (status->n_details)
        sbuf_add_char(b, ']');
    sbuf_add_char(b, '}');
}

int64_t connect_error_retry_s(struct arena *a, const PbStatus *status)
{
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        ProtobufCMessage *m = NULL;
        struct wire_fault fault;
        if (strcmp(bare_type(any->type_url), "google.rpc.RetryInfo") != 0 ||
            wire_unpack(&google__rpc__retry_info__descriptor, any->value.data, any->value.len,
                        &wire_limits_internal, a, &m, &fault))
            continue;
        const Google__Protobuf__Duration *d = ((const Google__Rpc__RetryInfo *)m)->retry_delay;
        return d ? d->seconds + (d->nanos > 0) : 1;
    }
    return -1;
}
