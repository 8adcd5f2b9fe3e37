/*
 * connect_fault.c - what fails here and in no service, as the google.rpc.Status that a service would
 * answer with: one ErrorInfo, which fields are wrong, when to try again (protocols H.3).
 */
#include "services/gateway/connect_internal.h"

#include "common/pb_access.h"
#include "google/rpc/error_details.pb-c.h"

#define DETAILS_MAX 3
#define UNAVAILABLE_US SECOND_US /* until it is worth another try, where nobody knows better */

static void add_detail(struct arena *a, PbStatus *status, const ProtobufCMessage *detail)
{
    Google__Protobuf__Any *any = wire_any(a, detail);

    if (any)
        status->details[status->n_details++] = any;
}

static void add_info(struct arena *a, PbStatus *status, const struct connect_failure *f)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    info.domain = pb_borrow("daybook");
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

/* Where memory is short, fewer details are told. */
static void fill(struct arena *a, const struct connect_failure *f, PbStatus *status)
{
    int64_t wait_us = f->wait_us || f->code != ERR_UNAVAILABLE ? f->wait_us : UNAVAILABLE_US;

    status->code = (int)f->code;
    status->message = pb_borrow(message_of(a, f));
    status->details = arena_array(a, DETAILS_MAX, sizeof(Google__Protobuf__Any *));
    if (!status->details)
        return;
    add_info(a, status, f);
    if (f->fault && f->fault->reason[0])
        add_violation(a, status, f->fault);
    if (wait_us > 0)
        add_retry(a, status, wait_us);
}

void connect_fail_as(struct connect_call *call, const struct connect_failure *f)
{
    PbStatus status = GOOGLE__RPC__STATUS__INIT;

    fill(http_arena(call->x), f, &status);
    connect_fail(call, &status);
}

void connect_fail_text(struct connect_call *call, enum err code, const char *text)
{
    connect_fail_as(call, &(struct connect_failure){ .code = code, .text = text });
}
