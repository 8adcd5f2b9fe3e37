/*
 * connect_request.c - what a Connect client asks: header, query, compression, envelope, message
 * (protocols B.1, B.2, B.4).
 */
#include "services/gateway/connect/connect_internal.h"

#include <ctype.h>
#include <sodium.h>
#include <strings.h>

#include "common/num.h"
#include "common/protojson.h"
#include "services/gateway/http/gzip.h"
#include "services/gateway/http/http_value.h"

#define TIMEOUT_DIGITS_MAX 10
#define ENVELOPE_BYTES 5
#define ENVELOPE_GZIP 0x01

/* --- encodings ---------------------------------------------------------------------------------- */

static enum err read_encoding(const char *value, bool *gzip_out, const char **text_out)
{
    *gzip_out = value && strcasecmp(value, "gzip") == 0;
    if (!value || !*value || *gzip_out || strcasecmp(value, "identity") == 0)
        return ERR_OK;
    *text_out = "this compression is not known; supported: gzip, identity";
    return ERR_UNIMPLEMENTED;
}

/* --- query -------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent and plus decoded; a percent sign that begins no such thing stands for itself. */
static char *decode(struct arena *a, const char *text, size_t len, size_t *len_out)
{
    char *out = arena_alloc(a, len + 1);
    size_t n = 0;

    for (size_t i = 0; out && i < len; i++) {
        bool escaped = text[i] == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;
        if (escaped) {
            out[n++] = (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        } else {
            out[n++] = text[i] == '+' ? ' ' : text[i];
        }
    }
    if (out)
        out[n] = '\0';
    *len_out = n;
    return out;
}

/* The value of the first parameter of that name; NULL: none, or no memory. */
static char *query_value(struct connect_call *call, const char *name, size_t *len_out)
{
    size_t name_len = strlen(name);

    for (const char *p = http_query(call->x); *p;) {
        size_t all = strcspn(p, "&");
        if (all > name_len && p[name_len] == '=' && memcmp(p, name, name_len) == 0)
            return decode(http_arena(call->x), p + name_len + 1, all - name_len - 1, len_out);
        p += all + (p[all] == '&');
    }
    return NULL;
}

/* URL-safe base64, padded or not. */
static uint8_t *unbase64(struct arena *a, const char *text, size_t len, size_t *len_out)
{
    uint8_t *out = arena_alloc(a, len / 4 * 3 + 3);

    while (len && text[len - 1] == '=')
        len--;
    return out && sodium_base642bin(out, len / 4 * 3 + 3, text, len, NULL, len_out, NULL,
                                    sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0
               ? out
               : NULL;
}

static enum err read_query(struct connect_call *call, struct connect_refusal *refusal_out,
                           const char **text_out)
{
    size_t n;
    const char *version = query_value(call, "connect", &n);
    const char *encoding = query_value(call, "encoding", &n);

    if (!encoding || (strcmp(encoding, "proto") != 0 && strcmp(encoding, "json") != 0)) {
        *refusal_out = (struct connect_refusal){ .status = 415 };
        return ERR_OK;
    }
    call->codec = *encoding == 'j' ? CONNECT_JSON : CONNECT_PROTO;
    if (version && strcmp(version, "v1") != 0) {
        *text_out = "connect: only v1 is known";
        return ERR_INVALID_ARGUMENT;
    }
    return read_encoding(query_value(call, "compression", &n), &call->sent_gzip, text_out);
}

/* --- header ------------------------------------------------------------------------------------- */

/* True: a content type of ours, without its parameters. */
static bool is_type(const char *value, const char *type)
{
    size_t len = strlen(type);

    if (!value || strncasecmp(value, type, len) != 0)
        return false;
    value += len;
    value += strspn(value, " \t");
    if (*value == '\0')
        return true;
    if (*value != ';')
        return false;
    value += 1 + strspn(value + 1, " \t");
    return strcasecmp(value, "charset=utf-8") == 0 || strcasecmp(value, "charset=\"utf-8\"") == 0;
}

static enum err read_content_type(struct connect_call *call, struct connect_refusal *refusal_out)
{
    const char *type = http_header(call->x, "Content-Type");
    bool stream = call->method->server_stream || call->method->client_stream;

    if (is_type(type, stream ? "application/connect+json" : "application/json"))
        call->codec = CONNECT_JSON;
    else if (is_type(type, stream ? "application/connect+proto" : "application/proto"))
        call->codec = CONNECT_PROTO;
    else
        *refusal_out = (struct connect_refusal){
            .status = 415,
            .header = "Accept-Post",
            .value = stream ? "application/connect+json, application/connect+proto"
                            : "application/json, application/proto",
        };
    return ERR_OK;
}

static enum err read_timeout(struct connect_call *call, const char **text_out)
{
    const char *text = http_header(call->x, "Connect-Timeout-Ms");
    int64_t ms;

    if (!text)
        return ERR_OK;
    size_t len = strlen(text);
    if (len == 0 || len > TIMEOUT_DIGITS_MAX || strspn(text, "0123456789") != len ||
        !num_i64(text, 0, INT64_MAX / MSEC_US, &ms)) {
        *text_out = "connect-timeout-ms: 1 to 10 digits";
        return ERR_INVALID_ARGUMENT;
    }
    call->timeout_us = MAX(ms * MSEC_US, 1);
    return ERR_OK;
}

static enum err read_post(struct connect_call *call, struct connect_refusal *refusal_out,
                          const char **text_out)
{
    bool stream = call->method->server_stream || call->method->client_stream;
    const char *version = http_header(call->x, "Connect-Protocol-Version");

    enum err e = read_content_type(call, refusal_out);
    if (e || refusal_out->status)
        return e;
    if (version && strcmp(version, "1") != 0) {
        *text_out = "connect-protocol-version: only 1 is known";
        return ERR_INVALID_ARGUMENT;
    }
    return read_encoding(
        http_header(call->x, stream ? "Connect-Content-Encoding" : "Content-Encoding"),
        &call->sent_gzip, text_out);
}

static bool is_allowed(struct connect_call *call, struct connect_refusal *refusal_out)
{
    bool get = call->method->no_side_effects && !call->method->server_stream;
    enum http_method m = http_method(call->x);

    if (m == HTTP_POST || (m == HTTP_GET && get))
        return true;
    *refusal_out = (struct connect_refusal){ .status = 405,
                                             .header = "Allow",
                                             .value = get ? "GET, POST" : "POST" };
    return false;
}

enum err connect_read_header(struct connect_call *call, struct connect_refusal *refusal_out,
                             const char **text_out)
{
    bool stream = call->method->server_stream || call->method->client_stream;

    if (!is_allowed(call, refusal_out))
        return ERR_OK;
    call->is_get = http_method(call->x) == HTTP_GET;
    call->takes_gzip = http_names_gzip(
        http_header(call->x, stream ? "Connect-Accept-Encoding" : "Accept-Encoding"));
    enum err e = call->is_get ? read_query(call, refusal_out, text_out)
                              : read_post(call, refusal_out, text_out);
    return e || refusal_out->status ? e : read_timeout(call, text_out);
}

/* --- message ------------------------------------------------------------------------------------ */

static enum err too_large(const char **text_out)
{
    *text_out = "the message is larger than this server takes";
    return ERR_RESOURCE_EXHAUSTED;
}

/* Of a GET, from the query. */
static enum err take_query(struct connect_call *call, const char **text_out)
{
    size_t n = 0, flag_len;
    const char *flag = query_value(call, "base64", &flag_len);
    const char *text = query_value(call, "message", &n);

    call->message = text ? text : "";
    call->len = n;
    if (!flag || strcmp(flag, "1") != 0 || !text)
        return ERR_OK;
    call->message = unbase64(http_arena(call->x), text, n, &call->len);
    if (call->message)
        return ERR_OK;
    *text_out = "message: not URL-safe base64";
    return ERR_INVALID_ARGUMENT;
}

/* Of a stream, from its one envelope. */
static enum err take_envelope(struct connect_call *call, const char **text_out)
{
    size_t n;
    const uint8_t *body = http_body(call->x, &n);

    if (n == 0) {
        *text_out = "a stream's request has one message, not none";
        return ERR_UNIMPLEMENTED;
    }
    size_t len = n < ENVELOPE_BYTES ? n
                                    : (size_t)body[1] << 24 | (size_t)body[2] << 16 |
                                          (size_t)body[3] << 8 | body[4];
    if (n < ENVELOPE_BYTES || len > n - ENVELOPE_BYTES) {
        *text_out = "the envelope of the message is cut short";
        return ERR_INVALID_ARGUMENT;
    }
    if (len < n - ENVELOPE_BYTES) {
        *text_out = "a stream's request has one message, not several";
        return ERR_UNIMPLEMENTED;
    }
    if (body[0] & ENVELOPE_GZIP && !call->sent_gzip) {
        *text_out = "the message is said to be compressed, and the stream is not";
        return ERR_INTERNAL;
    }
    call->sent_gzip = body[0] & ENVELOPE_GZIP;
    call->message = body + ENVELOPE_BYTES;
    call->len = len;
    return ERR_OK;
}

static enum err take_bytes(struct connect_call *call, const char **text_out)
{
    if (http_fault(call->x) == HTTP_BODY_TOO_LARGE)
        return too_large(text_out);
    if (http_fault(call->x))
        return ERR_RESOURCE_EXHAUSTED;
    if (call->is_get)
        return take_query(call, text_out);
    if (call->method->server_stream)
        return take_envelope(call, text_out);
    call->message = http_body(call->x, &call->len);
    return ERR_OK;
}

static enum err decompress(struct connect_call *call, const char **text_out)
{
    uint8_t *out = NULL;

    if (!call->sent_gzip || call->len == 0)
        return ERR_OK;
    enum err e = gzip_inflate(call->connect->scratch, call->message, call->len,
                              call->connect->config.message_max, &out, &call->len);
    call->message = out;
    if (e == ERR_RESOURCE_EXHAUSTED)
        return too_large(text_out);
    if (e)
        *text_out = "the message is not gzip";
    return e;
}

static enum err to_proto(struct connect_call *call, const char **text_out,
                         struct wire_fault *fault_out)
{
    struct arena *a = call->connect->scratch;
    ProtobufCMessage *message = NULL;
    uint8_t *packed;

    if (call->codec == CONNECT_PROTO) {
        enum err e = wire_check(call->method->input, call->message, call->len, &wire_limits_default,
                                fault_out);
        if (e)
            *text_out = "the message is not one of this method";
        return e;
    }
    enum err e = protojson_read(call->method->input, call->message, call->len, PROTOJSON_REQUEST, a,
                                &message, fault_out);
    if (e) {
        *text_out = "the message is not JSON of this method";
        return e;
    }
    e = wire_pack(message, a, &packed, &call->len);
    call->message = packed;
    return e;
}

/* What was unzipped or was JSON lies in the scratch: it takes the place of the body, which nobody needs
 * any more. */
static enum err keep(struct connect_call *call)
{
    if (!call->sent_gzip && call->codec == CONNECT_PROTO)
        return ERR_OK;
    if (!http_replace_body(call->x, call->message, call->len))
        return ERR_RESOURCE_EXHAUSTED;
    call->message = http_body(call->x, &call->len);
    return ERR_OK;
}

static enum err read_message(struct connect_call *call, const char **text_out,
                             struct wire_fault *fault_out)
{
    if (call->method->client_stream) {
        *text_out = "streams of requests are not served here";
        return ERR_UNIMPLEMENTED;
    }
    enum err e = take_bytes(call, text_out);
    if (!e)
        e = decompress(call, text_out);
    if (!e && call->len > call->connect->config.message_max)
        e = too_large(text_out);
    if (!e)
        e = to_proto(call, text_out, fault_out);
    return e ? e : keep(call);
}

enum err connect_read_message(struct connect_call *call, const char **text_out,
                              struct wire_fault *fault_out)
{
    enum err e = read_message(call, text_out, fault_out);

    arena_reset(call->connect->scratch);
    return e;
}
