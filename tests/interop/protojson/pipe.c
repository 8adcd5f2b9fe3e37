/*
 * pipe.c - our JSON mapping as a filter, for comparisons with that of others.
 *
 * A request is: 'J' (bytes to JSON) or 'B' (JSON to bytes), the length of the type's name and that of
 * the message (four bytes each, lowest first), the name, the message. The answer: 0 and the length
 * of what was made, or 1 and the length of the reason, and that. Read is under the limits of our own
 * texts, with U+0000 in strings, which no daemon takes. Ends with its input.
 */
#include "common/base.h"
#include "common/protojson.h"
#include "common/schema.h"
#include "common/wire.h"

#define ARENA_BUDGET (128 * MIB)
#define REQUEST_MOST (16 * MIB)

struct request {
    char op;
    const struct schema_message *type;
    uint8_t *data;
    size_t len;
};

static NORETURN void give_up(const char *why)
{
    fprintf(stderr, "pipe: %s\n", why);
    exit(2);
}

static size_t read_length(void)
{
    uint8_t b[4];

    if (fread(b, 1, sizeof(b), stdin) != sizeof(b))
        give_up("a request is cut short");
    size_t len = (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    if (len > REQUEST_MOST)
        give_up("a request is too large");
    return len;
}

/* With a zero behind it. */
static uint8_t *read_bytes(struct arena *a, size_t len)
{
    uint8_t *data = arena_alloc(a, len + 1);

    if (!data || fread(data, 1, len, stdin) != len)
        give_up("a request is cut short");
    data[len] = 0;
    return data;
}

/* False at the end of the input. */
static bool next_request(struct arena *a, struct request *q)
{
    int op = getchar();

    if (op == EOF)
        return false;
    size_t name_len = read_length();
    q->op = (char)op;
    q->len = read_length();
    q->type = schema_find_message((const char *)read_bytes(a, name_len));
    q->data = read_bytes(a, q->len);
    if (!q->type || (op != 'J' && op != 'B'))
        give_up("no such type or operation");
    return true;
}

static void answer(bool refused, const void *data, size_t len)
{
    const uint8_t head[5] = { refused, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                              (uint8_t)(len >> 24) };

    if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head) ||
        fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
        give_up("nobody reads the answers");
}

static enum err convert(const struct request *q, struct arena *a, struct sbuf *text,
                        struct wire_fault *fault)
{
    struct wire_limits limits = wire_limits_internal;
    ProtobufCMessage *m;
    uint8_t *data;
    size_t len;
    limits.keep_nul = true;
    enum err e = q->op == 'J' ? wire_unpack(q->type->type, q->data, q->len, &limits, a, &m, fault)
                              : protojson_read(q->type->type, (const char *)q->data, q->len,
                                               PROTOJSON_STRICT | PROTOJSON_KEEP_NUL, a, &m, fault);
    if (!e)
        e = q->op == 'J' ? protojson_write(m, PROTOJSON_KEEP_NUL, text)
                         : wire_pack(m, a, &data, &len);
    if (!e && q->op == 'J')
        answer(false, text->data, text->len);
    else if (!e)
        answer(false, data, len);
    return e;
}

int main(void)
{
    struct arena *a = arena_new(ARENA_BUDGET);
    struct sbuf text;
    struct request q;

    if (!a)
        return 2;
    schema_init();
    sbuf_init(&text, REQUEST_MOST);
    while (next_request(a, &q)) {
        struct wire_fault fault = { "", "" };
        sbuf_clear(&text);
        enum err e = convert(&q, a, &text, &fault);
        if (e) {
            char *why = arena_printf(a, "%s: %s: %s", err_name(e), fault.field, fault.reason);
            answer(true, why ? why : "", why ? strlen(why) : 0);
        }
        arena_reset(a);
    }
    sbuf_fini(&text);
    schema_fini();
    arena_free(a);
    return 0;
}
