/*
 * testee.c - answers the runner of protobuf's conformance suite by our mapper.
 *
 * On standard input come requests, each a length of four bytes, lowest first, and a
 * ConformanceRequest; the answers leave in the same form. Our two formats of the proto3 message are
 * read by wire_unpack() and protojson_read() and written by wire_pack() and protojson_write(),
 * under the limits of our own texts: those of a request are policy. All else is skipped.
 *
 * The suite wants U+0000 in strings. Daybook refuses it, for PostgreSQL's text has none: no daemon
 * sets keep_nul or PROTOJSON_KEEP_NUL, which is policy as well. The mapper can do it: both are set.
 */
#include "common/base.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "common/wire.h"
#include "pbconf/conformance.pb-c.h"
#include "pbconf/test_messages_proto3.pb-c.h"

typedef Conformance__ConformanceRequest Request;
typedef Conformance__ConformanceResponse Response;

#define ARENA_BUDGET (512 * MIB)
#define REQUEST_MOST (64 * MIB)

static const ProtobufCMessageDescriptor *const type =
    &protobuf_test_messages__proto3__test_all_types_proto3__descriptor;

static void skip(Response *r, const char *why)
{
    r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_SKIPPED;
    r->skipped = (char *)(uintptr_t)why;
}

/* Out of memory is no judgement on the message. */
static void read_failed(Response *r, enum err e, const struct wire_fault *fault, struct arena *a)
{
    char *text = arena_printf(a, "%s: %s: %s", err_name(e), fault->field, fault->reason);
    if (e == ERR_INVALID_ARGUMENT) {
        r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_PARSE_ERROR;
        r->parse_error = text;
    } else {
        r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_RUNTIME_ERROR;
        r->runtime_error = text;
    }
}

static void write_failed(Response *r, enum err e)
{
    r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_SERIALIZE_ERROR;
    r->serialize_error = (char *)(uintptr_t)err_name(e);
}

static enum err read_payload(const Request *q, struct arena *a, ProtobufCMessage **out,
                             struct wire_fault *fault)
{
    struct wire_limits limits = wire_limits_internal;
    int flags = q->test_category == CONFORMANCE__TEST_CATEGORY__JSON_IGNORE_UNKNOWN_PARSING_TEST
                    ? PROTOJSON_KEEP_NUL
                    : PROTOJSON_KEEP_NUL | PROTOJSON_STRICT;
    limits.keep_nul = true;
    if (q->payload_case == CONFORMANCE__CONFORMANCE_REQUEST__PAYLOAD_JSON_PAYLOAD)
        return protojson_read(type, q->json_payload, strlen(q->json_payload), flags, a, out, fault);
    return wire_unpack(type, q->protobuf_payload.data, q->protobuf_payload.len, &limits, a, out,
                       fault);
}

static void write_bytes(Response *r, const ProtobufCMessage *m, struct arena *a)
{
    enum err e = wire_pack(m, a, &r->protobuf_payload.data, &r->protobuf_payload.len);
    if (e)
        write_failed(r, e);
    else
        r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_PROTOBUF_PAYLOAD;
}

static void write_json(Response *r, const ProtobufCMessage *m, struct sbuf *text)
{
    sbuf_clear(text);
    enum err e = protojson_write(m, PROTOJSON_KEEP_NUL, text);
    if (e) {
        write_failed(r, e);
        return;
    }
    r->result_case = CONFORMANCE__CONFORMANCE_RESPONSE__RESULT_JSON_PAYLOAD;
    r->json_payload = text->data;
}

static void answer(const Request *q, Response *r, struct arena *a, struct sbuf *text)
{
    struct wire_fault fault = { "", "" };
    ProtobufCMessage *m = NULL;
    bool to_json = q->requested_output_format == CONFORMANCE__WIRE_FORMAT__JSON;

    if (strcmp(q->message_type, type->name) != 0) {
        skip(r, "not a message of proto3");
        return;
    }
    if ((q->payload_case != CONFORMANCE__CONFORMANCE_REQUEST__PAYLOAD_PROTOBUF_PAYLOAD &&
         q->payload_case != CONFORMANCE__CONFORMANCE_REQUEST__PAYLOAD_JSON_PAYLOAD) ||
        (!to_json && q->requested_output_format != CONFORMANCE__WIRE_FORMAT__PROTOBUF)) {
        skip(r, "neither binary nor JSON");
        return;
    }
    enum err e = read_payload(q, a, &m, &fault);
    if (e)
        read_failed(r, e, &fault, a);
    else if (to_json)
        write_json(r, m, text);
    else
        write_bytes(r, m, a);
}

/* False at the end of the input. What is cut short, or no request, ends the program. */
static bool next_request(struct arena *a, Request **out)
{
    uint8_t head[4];
    size_t n = fread(head, 1, sizeof(head), stdin);
    if (n == 0)
        return false;
    size_t len =
        (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    uint8_t *data = n == sizeof(head) && len <= REQUEST_MOST ? arena_alloc(a, len) : NULL;
    if (data && fread(data, 1, len, stdin) == len)
        *out = conformance__conformance_request__unpack(arena_protobuf(a), len, data);
    else
        *out = NULL;
    if (*out)
        return true;
    fprintf(stderr, "testee: not a request\n");
    exit(2);
}

static void send_response(const Response *r, struct arena *a)
{
    uint8_t *data;
    size_t len;
    if (wire_pack(&r->base, a, &data, &len)) {
        fprintf(stderr, "testee: out of memory\n");
        exit(2);
    }
    const uint8_t head[4] = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                              (uint8_t)(len >> 24) };
    if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head) ||
        fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
        exit(2);
}

int main(void)
{
    struct arena *a = arena_new(ARENA_BUDGET);
    struct sbuf text;
    Request *q;

    if (!a)
        return 2;
    schema_init();
    sbuf_init(&text, REQUEST_MOST);
    while (next_request(a, &q)) {
        Response r = CONFORMANCE__CONFORMANCE_RESPONSE__INIT;
        answer(q, &r, a, &text);
        send_response(&r, a);
        arena_reset(a);
    }
    sbuf_fini(&text);
    schema_fini();
    arena_free(a);
    return 0;
}
