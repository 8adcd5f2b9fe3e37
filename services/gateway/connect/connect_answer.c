/*
 * connect_answer.c - what a Connect client is told: messages, errors, envelopes, CORS (protocols
 * B.3, B.4, B.5).
 */
#include "services/gateway/connect/connect_internal.h"

#include <strings.h>

#include "common/log.h"
#include "common/protojson.h"
#include "common/sbuf.h"
#include "services/gateway/http/gzip.h"
#include "services/gateway/http/http_value.h"

#define GZIP_FROM 1024 /* bytes; below that it costs more than it saves */
#define ENVELOPE_BYTES 5
#define ENVELOPE_GZIP 0x01
#define ENVELOPE_END 0x02
#define JSON_MAX (64 * MIB)
#define ALLOW_HEADERS                                                                              \
    "Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Connect-Accept-Encoding, "        \
    "Connect-Content-Encoding, Accept-Encoding, Content-Encoding, X-User-Agent, Authorization, "   \
    "Idempotency-Key, If-None-Match, Traceparent, Tracestate"
#define EXPOSE_HEADERS                                                                             \
    "Content-Encoding, Connect-Content-Encoding, ETag, RateLimit, RateLimit-Policy, Retry-After, " \
    "X-Request-Id"

/* --- CORS --------------------------------------------------------------------------------------- */

static bool origin_listed(const char *list, const char *origin)
{
    size_t len = strlen(origin);

    for (const char *p = list; *p;) {
        p += strspn(p, " ,");
        size_t n = strcspn(p, " ,");
        if ((n == 1 && *p == '*') || (n == len && memcmp(p, origin, len) == 0))
            return true;
        p += n;
    }
    return false;
}

/* The origin to be named, or NULL. */
static const char *allowed_origin(struct http_exchange *x, const struct connect_config *c)
{
    const char *origin = c->cors_origin ? http_header(x, "Origin") : NULL;
    return origin && origin_listed(c->cors_origin, origin) ? origin : NULL;
}

static void add_origin(struct http_exchange *x, const struct connect_config *c)
{
    const char *origin = allowed_origin(x, c);

    if (c->cors_origin)
        http_add_header(x, "Vary", "Origin");
    if (origin)
        http_add_header(x, "Access-Control-Allow-Origin", origin);
}

void connect_preflight(struct http_exchange *x, const struct connect_config *c)
{
    if (c->cors_origin)
        http_add_header(x, "Vary",
                        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    if (allowed_origin(x, c)) {
        http_add_header(x, "Access-Control-Allow-Origin", allowed_origin(x, c));
        http_add_header(x, "Access-Control-Allow-Methods", "GET,POST");
        http_add_header(x, "Access-Control-Allow-Headers", ALLOW_HEADERS);
        http_add_header(x, "Access-Control-Max-Age", "7200");
    }
    http_answer(x, 204, NULL, 0);
}

/* Every name that a script may read. */
static void add_exposed(struct connect_call *call)
{
    CLEANUP(sbuf_fini) struct sbuf names = { 0 };

    if (!allowed_origin(call->x, &call->connect->config))
        return;
    sbuf_init(&names, 16 * KIB);
    sbuf_add_text(&names, EXPOSE_HEADERS);
    for (size_t i = 0; i < call->nheaders; i++)
        sbuf_addf(&names, ", %s", call->headers[i].name);
    for (size_t i = 0; i < call->ntrailers && !call->method->server_stream; i++)
        sbuf_addf(&names, ", Trailer-%s", call->trailers[i].name);
    if (!names.bad)
        http_add_header(call->x, "Access-Control-Expose-Headers", names.data);
}

/* --- headers ------------------------------------------------------------------------------------ */

static void add_pair(struct connect_call *call, struct connect_pair *list, size_t *n,
                     const char *name, const char *value)
{
    struct arena *a = http_arena(call->x);
    struct connect_pair pair = { arena_strdup(a, name), arena_strdup(a, value) };

    if (!pair.name || !pair.value)
        http_spoil(call->x);
    if (*n == CONNECT_NAMES_MAX || !pair.name || !pair.value)
        log_warn("connect.header", "an answer's header is not sent", "name", name, NULL);
    else
        list[(*n)++] = pair;
}

void connect_add_header(struct connect_call *call, const char *name, const char *value)
{
    add_pair(call, call->headers, &call->nheaders, name, value);
}

void connect_add_trailer(struct connect_call *call, const char *name, const char *value)
{
    add_pair(call, call->trailers, &call->ntrailers, name, value);
}

static void add_headers(struct connect_call *call)
{
    for (size_t i = 0; i < call->nheaders; i++)
        http_add_header(call->x, call->headers[i].name, call->headers[i].value);
    for (size_t i = 0; i < call->ntrailers && !call->method->server_stream; i++) {
        char name[256];
        snprintf(name, sizeof(name), "trailer-%s", call->trailers[i].name);
        http_add_header(call->x, name, call->trailers[i].value);
    }
    add_origin(call->x, &call->connect->config);
    add_exposed(call);
}

/* --- errors ------------------------------------------------------------------------------------- */

void connect_refuse(struct http_exchange *x, const struct connect_config *c,
                    const struct connect_refusal *refusal)
{
    if (refusal->header)
        http_add_header(x, refusal->header, refusal->value);
    add_origin(x, c);
    http_answer(x, refusal->status, NULL, 0);
}

/* --- streams ------------------------------------------------------------------------------------ */

static void begin_stream(struct connect_call *call)
{
    if (call->begun)
        return;
    call->begun = true;
    http_add_header(call->x, "Content-Type",
                    call->codec == CONNECT_JSON ? "application/connect+json"
                                                : "application/connect+proto");
    if (call->takes_gzip)
        http_add_header(call->x, "Connect-Content-Encoding", "gzip");
    http_add_header(call->x, "Connect-Accept-Encoding", "gzip");
    add_headers(call);
    http_stream_begin(call->x, 200);
}

static bool send_envelope(struct connect_call *call, uint8_t flags, const void *data, size_t len)
{
    const uint8_t head[ENVELOPE_BYTES] = { flags, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                           (uint8_t)(len >> 8), (uint8_t)len };

    (void)http_stream_send(call->x, head, sizeof(head));
    return http_stream_send(call->x, data, len);
}

static void write_metadata(const struct connect_call *call, struct sbuf *b)
{
    bool any = false;

    for (size_t i = 0; i < call->ntrailers; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcasecmp(call->trailers[k].name, call->trailers[i].name) == 0;
        if (seen)
            continue;
        sbuf_add_text(b, any ? "]," : "\"metadata\":{");
        any = true;
        sbuf_add_json(b, call->trailers[i].name);
        sbuf_add_text(b, ":[");
        for (size_t k = i; k < call->ntrailers; k++) {
            if (strcasecmp(call->trailers[k].name, call->trailers[i].name) != 0)
                continue;
            if (k > i)
                sbuf_add_char(b, ',');
            sbuf_add_json(b, call->trailers[k].value);
        }
    }
    if (any)
        sbuf_add_text(b, "]}");
}

static void end_stream(struct connect_call *call, const PbStatus *status)
{
    CLEANUP(sbuf_fini) struct sbuf b = { 0 };

    begin_stream(call);
    sbuf_init(&b, MIB);
    sbuf_add_char(&b, '{');
    if (status) {
        sbuf_add_text(&b, "\"error\":");
        connect_error_json(http_arena(call->x), status, &b);
    }
    if (status && call->ntrailers)
        sbuf_add_char(&b, ',');
    write_metadata(call, &b);
    sbuf_add_char(&b, '}');
    if (!b.bad)
        (void)send_envelope(call, ENVELOPE_END, b.data, b.len);
    connect_over(call);
    http_stream_end(call->x);
}

/* --- messages ----------------------------------------------------------------------------------- */

/* In the codec of the client. ERR_RESOURCE_EXHAUSTED: no memory; else it cannot be written, as an Any of unknown
 * type. */
static enum err to_codec(struct connect_call *call, const void *message, size_t len, struct sbuf *b)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;

    sbuf_init(b, JSON_MAX);
    if (call->codec == CONNECT_PROTO) {
        sbuf_add(b, message, len);
        return b->bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
    }
    CLEANUP(arena_freep) struct arena *a = arena_new(JSON_MAX);
    if (!a)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e =
        wire_unpack(call->method->output, message, len, &wire_limits_internal, a, &m, &fault);
    if (e == ERR_OK)
        e = protojson_write(m, 0, b);
    return b->bad ? ERR_RESOURCE_EXHAUSTED : e;
}

void connect_fail_to_write(struct connect_call *call, enum err why)
{
    if (why == ERR_RESOURCE_EXHAUSTED)
        connect_fail_text(
            call, why,
            "there is no memory for the answer, or it is too large: ask again, or for less");
    else
        connect_fail_text(call, ERR_INTERNAL, "the answer cannot be written");
}

static bool wants_gzip(const struct connect_call *call, size_t len)
{
    return call->takes_gzip && len >= GZIP_FROM;
}

static void answer_unary(struct connect_call *call, const struct sbuf *b)
{
    const void *body = b->data;
    size_t len = b->len, zipped_len;
    uint8_t *zipped = NULL;
    unsigned status = 200;
    char etag[HTTP_ETAG_MAX];

    if (wants_gzip(call, len) &&
        !gzip_deflate(http_arena(call->x), b->data, b->len, &zipped, &zipped_len)) {
        body = zipped;
        len = zipped_len;
        http_add_header(call->x, "Content-Encoding", "gzip");
    }
    if (call->is_get) {
        http_add_header(call->x, "Vary", "Accept-Encoding, Authorization");
        http_add_header(call->x, "Cache-Control", "private, no-cache");
        http_etag(b->data, b->len, zipped != NULL, etag);
        http_add_header(call->x, "ETag", etag);
        if (http_etag_matches(http_header(call->x, "If-None-Match"), etag)) {
            status = 304;
            len = 0;
        }
    }
    if (status == 200)
        http_add_header(call->x, "Content-Type",
                        call->codec == CONNECT_JSON ? "application/json" : "application/proto");
    add_headers(call);
    connect_over(call);
    http_answer(call->x, status, body, len);
}

void connect_reply(struct connect_call *call, const void *message, size_t len)
{
    CLEANUP(sbuf_fini) struct sbuf b = { 0 };

    if (call->over)
        return;
    enum err e = to_codec(call, message, len, &b);
    if (e)
        connect_fail_to_write(call, e);
    else
        answer_unary(call, &b);
}

/* For those who read headers only. */
static void add_retry_after(struct connect_call *call, const PbStatus *status)
{
    int64_t seconds = connect_error_retry_s(http_arena(call->x), status);
    char text[24];

    if (seconds < 0)
        return;
    snprintf(text, sizeof(text), "%" PRId64, seconds);
    connect_add_header(call, "Retry-After", text);
}

void connect_fail(struct connect_call *call, const PbStatus *status)
{
    CLEANUP(sbuf_fini) struct sbuf b = { 0 };

    if (call->over)
        return;
    add_retry_after(call, status);
    if (call->method->server_stream || call->method->client_stream) {
        end_stream(call, status);
        return;
    }
    sbuf_init(&b, MIB);
    connect_error_json(http_arena(call->x), status, &b);
    http_add_header(call->x, "Content-Type", "application/json");
    if (status->code == ERR_UNIMPLEMENTED)
        http_add_header(call->x, "Accept-Encoding", "gzip, identity");
    add_headers(call);
    connect_over(call);
    http_answer(call->x, connect_http_status((enum err)status->code), b.data, b.bad ? 0 : b.len);
}

void connect_fail_as(struct connect_call *call, const struct connect_failure *f)
{
    PbStatus status;

    connect_failure_status(http_arena(call->x), call->connect->config.error_domain, f, &status);
    connect_fail(call, &status);
}

void connect_fail_text(struct connect_call *call, enum err code, const char *text)
{
    connect_fail_as(call, &(struct connect_failure){ .code = code, .text = text });
}

void connect_begin(struct connect_call *call)
{
    if (!call->over)
        begin_stream(call);
}

bool connect_send_encoded(struct connect_call *call, const void *data, size_t len)
{
    CLEANUP(arena_freep) struct arena *a = NULL;
    uint8_t *zipped;
    size_t zipped_len;

    if (call->over)
        return false;
    begin_stream(call);
    if (wants_gzip(call, len))
        a = arena_new(2 * len + MIB);
    if (!a || gzip_deflate(a, data, len, &zipped, &zipped_len))
        return send_envelope(call, 0, data, len);
    return send_envelope(call, ENVELOPE_GZIP, zipped, zipped_len);
}

bool connect_send(struct connect_call *call, const void *message, size_t len)
{
    CLEANUP(sbuf_fini) struct sbuf b = { 0 };

    if (call->over)
        return false;
    enum err e = to_codec(call, message, len, &b);
    if (e == ERR_OK)
        return connect_send_encoded(call, b.data, b.len);
    connect_fail_to_write(call, e);
    return false;
}

void connect_end(struct connect_call *call)
{
    if (!call->over)
        end_stream(call, NULL);
}
