/*
 * webhook_body.c - see webhook_body.h.
 */
#include "services/gateway/webhooks/webhook_body.h"

#include "common/clock.h"
#include "common/protojson.h"
#include "common/wire.h"

bool webhook_body_traceparent(const void *body, size_t len, char out[static TRACEPARENT_LEN + 1])
{
    static const char name[] = ",\"traceparent\":\"", data[] = ",\"data\":";
    struct trace_context c;

    const char *end = memmem(body, len, data, sizeof(data) - 1);
    if (!end)
        return false;
    size_t head = (size_t)(end - (const char *)body);
    const char *at = memmem(body, head, name, sizeof(name) - 1);
    if (!at || head - (size_t)(at - (const char *)body) < sizeof(name) - 1 + TRACEPARENT_LEN + 1)
        return false;
    memcpy(out, at + sizeof(name) - 1, TRACEPARENT_LEN);
    out[TRACEPARENT_LEN] = '\0';
    return trace_parse(out, &c);
}

static void add(struct sbuf *b, const char *name, const char *value)
{
    sbuf_addf(b, ",\"%s\":", name);
    sbuf_add_json(b, value);
}

static void add_url(struct sbuf *b, const char *name, const char *base, const char *path,
                    const char *last)
{
    char url[2048];

    snprintf(url, sizeof(url), "%s/%s/%s", base, path, last);
    add(b, name, url);
}

enum err webhook_body(const char *public_url, const PbEvent *event, const ProtobufCMessage *data,
                      struct sbuf *out)
{
    char time[TIME_TEXT_MAX], sequence[24];

    snprintf(sequence, sizeof(sequence), "%020" PRId64, event->seq);
    sbuf_add_text(out, "{\"specversion\":\"1.0\"");
    add(out, "id", event->event_id);
    add_url(out, "source", public_url, "tenants", event->tenant_id);
    add(out, "type", event->type);
    add(out, "time", time_format(wire_time_us(event->occurred_at), time));
    add(out, "subject", event->aggregate);
    add_url(out, "dataschema", public_url, "schemas", event->type);
    add(out, "sequence", sequence);
    add(out, "partitionkey", event->aggregate);
    if (*event->traceparent)
        add(out, "traceparent", event->traceparent);
    sbuf_add_text(out, ",\"data\":");
    enum err e = protojson_write(data, 0, out);
    sbuf_add_char(out, '}');
    return e ? e : out->bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}
