/*
 * fault.c - what went wrong, in words and as an exit status.
 *
 * An error of a service comes as google.rpc.Status with typed details (operations 4). All that
 * helps the reader is shown: each faulty field, what stands in the way, how long to wait, and the
 * request id, by which the log tells more.
 */
#include "cli/cli.h"

#include "common/bus_request.h"
#include "common/clock.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"

#define JSON_LIMIT (1 * MIB)
#define MESSAGE_LIMIT (64 * KIB)

static void prefix(const struct cli *c)
{
    bool named = c->command && c->command->name;
    (void)fprintf(stderr, "daybook%s%s: ", named ? " " : "", named ? c->command->name : "");
}

/* One line, whatever it is: {"code":...,"message":...} or words for people. */
static void tell(const struct cli *c, const char *code, const char *suffix, const char *fmt,
                 va_list ap)
{
    struct sbuf text, json;
    sbuf_init(&text, MESSAGE_LIMIT);
    sbuf_vaddf(&text, fmt, ap);
    if (c->json) {
        sbuf_init(&json, JSON_LIMIT);
        sbuf_add_text(&json, "{\"code\":");
        sbuf_add_json(&json, code);
        sbuf_add_text(&json, ",\"message\":");
        sbuf_add_json(&json, text.data);
        (void)fprintf(stderr, "%s}\n", json.data);
        sbuf_fini(&json);
    } else {
        prefix(c);
        (void)fprintf(stderr, "%s%s\n", text.data, suffix);
    }
    sbuf_fini(&text);
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(c, err_name(ERR_INVALID_ARGUMENT), "", fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

int cli_unset(const struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(c, err_name(ERR_FAILED_PRECONDITION), "", fmt, ap);
    va_end(ap);
    return EXIT_SETTINGS;
}

int cli_fail(const struct cli *c, enum err e, const char *fmt, ...)
{
    char suffix[40];
    va_list ap;
    snprintf(suffix, sizeof suffix, " (%s)", err_name(e));
    va_start(ap, fmt);
    tell(c, err_name(e), suffix, fmt, ap);
    va_end(ap);
    return err_exit_code(e);
}

/* --- details ---------------------------------------------------------------------------------- */

int64_t fault_retry_us(struct arena *a, const PbCallResult *result)
{
    const Google__Rpc__RetryInfo *r =
        (const void *)bus_request_detail(result, &google__rpc__retry_info__descriptor, a);
    if (!r || !r->retry_delay || r->retry_delay->seconds < 0 || r->retry_delay->nanos < 0)
        return 0;
    return MIN(r->retry_delay->seconds, 3600) * SECOND_US + r->retry_delay->nanos / 1000;
}

bool result_has(const PbCallResult *result, const char *key, const char *value)
{
    for (size_t i = 0; result && i < result->n_metadata; i++)
        if (strcmp(result->metadata[i]->key, key) == 0 &&
            strcmp(result->metadata[i]->value, value) == 0)
            return true;
    return false;
}

/* --- for people ------------------------------------------------------------------------------- */

static void line(struct arena *a, const char *label, const char *subject, const char *text)
{
    const char *s = text_plain(a, subject), *t = text_plain(a, text);
    if (s && t)
        (void)fprintf(stderr, "  %s %s%s%s\n", label, s, *s && *t ? ": " : "", t);
}

static void show_fields(struct arena *a, const PbCallResult *r)
{
    const Google__Rpc__BadRequest *bad =
        (const void *)bus_request_detail(r, &google__rpc__bad_request__descriptor, a);
    for (size_t i = 0; bad && i < bad->n_field_violations; i++)
        line(a, "field", bad->field_violations[i]->field, bad->field_violations[i]->description);
    const Google__Rpc__PreconditionFailure *unmet =
        (const void *)bus_request_detail(r, &google__rpc__precondition_failure__descriptor, a);
    for (size_t i = 0; unmet && i < unmet->n_violations; i++)
        line(a, "needs", unmet->violations[i]->subject, unmet->violations[i]->description);
    const Google__Rpc__ResourceInfo *about =
        (const void *)bus_request_detail(r, &google__rpc__resource_info__descriptor, a);
    const char *name =
        about ? arena_printf(a, "%s %s", about->resource_type, about->resource_name) : NULL;
    if (name)
        line(a, "about", name, about->description);
}

static void show_result(const struct cli *c, const char *what, enum err e, const PbCallResult *r)
{
    struct arena *a = c->arena;
    const Google__Rpc__ErrorInfo *info =
        (const void *)bus_request_detail(r, &google__rpc__error_info__descriptor, a);
    const char *message = text_plain(a, r->status ? r->status->message : "");

    prefix(c);
    (void)fprintf(stderr, "%s: %s%s%s: %s\n", what, err_name(e), info ? "/" : "",
                  info ? info->reason : "", message ? message : "");
    show_fields(a, r);
    int64_t wait_us = fault_retry_us(a, r);
    if (wait_us > 0)
        (void)fprintf(stderr, "  try again in %.1f s, with the same --key\n",
                      (double)wait_us / 1e6);
    (void)fprintf(stderr, "  request %s\n", r->request_id);
}

/* Nobody answered: what that means and what to do. */
static const char *own_words(const struct cli *c, enum err e)
{
    if (c->over_http && c->http && *http_ask_reason(c->http))
        return http_ask_reason(c->http);
    switch (e) {
    case ERR_UNAVAILABLE:
        return "no bus answers there; is it running, and does it admit our key?";
    case ERR_DEADLINE_EXCEEDED:
        return "no answer in time; it may have been done: ask again with the same --key";
    case ERR_UNIMPLEMENTED:
        return "there is no such method; see daybook call --list";
    case ERR_RESOURCE_EXHAUSTED:
        return "the request or the answer is too large";
    case ERR_INTERNAL:
        return "the answer cannot be read; are we of another version?";
    default:
        return "the call failed";
    }
}

/* --- for programs ----------------------------------------------------------------------------- */

static void show_json(const struct cli *c, const char *what, enum err e, const PbCallResult *r)
{
    struct sbuf out;
    sbuf_init(&out, JSON_LIMIT);
    sbuf_add_text(&out, "{\"code\":");
    sbuf_add_json(&out, err_name(e));
    sbuf_add_text(&out, ",\"message\":");
    sbuf_add_json(&out, r ? r->status->message : own_words(c, e));
    sbuf_add_text(&out, ",\"what\":");
    sbuf_add_json(&out, what);
    if (r) {
        sbuf_add_text(&out, ",\"requestId\":");
        sbuf_add_json(&out, r->request_id);
        size_t at = out.len;
        sbuf_add_text(&out, ",\"status\":");
        if (protojson_write(&r->status->base, 0, &out) != ERR_OK) {
            out.len = at; /* a detail of a type that we do not know */
            out.data[at] = '\0';
        }
    }
    (void)fprintf(stderr, "%s}\n", out.data);
    sbuf_fini(&out);
}

int cli_call_failed(const struct cli *c, const char *what, enum err e,
                    const struct bus_answer *answer)
{
    const PbCallResult *r = answer->result;
    if (r && !r->status)
        r = NULL; /* it went well; reading it did not */
    if (c->json)
        show_json(c, what, e, r);
    else if (r)
        show_result(c, what, e, r);
    else if (c->over_http || e == ERR_UNAVAILABLE)
        (void)cli_fail(c, e, "%s: %s: %s", what,
                       c->over_http ? cli_url(c) : cli_setting(c, "BUS_ENDPOINT"), own_words(c, e));
    else
        (void)cli_fail(c, e, "%s: %s", what, own_words(c, e));
    return err_exit_code(e);
}
