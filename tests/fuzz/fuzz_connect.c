/*
 * fuzz_connect.c - requests of the Connect protocol, from their header to their answer, without the
 * HTTP below: "VERB target", header lines, an empty line, the body.
 *
 * Each request has one answer: a status, or a stream that ends once, with its last envelope.
 */
#include <assert.h>
#include <strings.h>

#include "common/clock.h"
#include "common/protojson.h"
#include "services/gateway/connect/connect.h"

#define HEADERS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What http.c does elsewhere. */
struct http_exchange {
    struct arena *arena;
    void *data;
    enum http_method method;
    const char *path, *query;
    const char *names[HEADERS_MAX], *values[HEADERS_MAX];
    size_t nheaders;
    const uint8_t *body;
    size_t body_len;
    unsigned status;
    bool streams, ended;
};

enum http_method http_method(const struct http_exchange *x)
{
    return x->method;
}

enum http_fault http_fault(const struct http_exchange *x)
{
    (void)x;
    return HTTP_SOUND;
}

const char *http_path(const struct http_exchange *x)
{
    return x->path;
}

const char *http_query(const struct http_exchange *x)
{
    return x->query;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->nheaders; i++)
        if (strcasecmp(x->names[i], name) == 0)
            return x->values[i];
    return NULL;
}

const void *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body_len;
    return x->body;
}

bool http_has_room(const struct http_exchange *x)
{
    (void)x;
    return true;
}

bool http_replace_body(struct http_exchange *x, const void *data, size_t len)
{
    void *copy = arena_memdup(x->arena, data, len);

    if (!copy)
        return false;
    x->body = copy;
    x->body_len = len;
    return true;
}

void http_body_copied(struct http_exchange *x)
{
    x->body_len = 0;
}

void http_drop_body(struct http_exchange *x)
{
    x->body_len = 0;
}

struct arena *http_arena(struct http_exchange *x)
{
    return x->arena;
}

void http_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

void http_spoil(struct http_exchange *x)
{
    (void)x;
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    assert(!x->status && *name && !strpbrk(name, "\r\n :"));
    (void)value;
}

void http_answer(struct http_exchange *x, unsigned status, const void *body, size_t len)
{
    assert(!x->status && status >= 200 && status < 600);
    assert(len == 0 || body);
    x->status = status;
}

void http_stream_begin(struct http_exchange *x, unsigned status)
{
    assert(!x->status && status == 200);
    x->status = status;
    x->streams = true;
}

bool http_stream_send(struct http_exchange *x, const void *data, size_t len)
{
    assert(x->streams && !x->ended && (data || len == 0));
    return true;
}

void http_stream_end(struct http_exchange *x)
{
    assert(x->streams && !x->ended);
    x->ended = true;
}

/* Answers with what was asked. */
static void on_call(void *arg, struct connect_call *call)
{
    size_t len;
    const void *message = connect_message(call, &len);

    (void)arg;
    if (!connect_method(call)->server_stream) {
        connect_reply(call, message, len);
        return;
    }
    for (int i = 0; i < 2 && !connect_is_over(call); i++)
        (void)connect_send(call, message, len);
    connect_end(call);
}

static char *line(char **rest)
{
    static char none[1];
    char *found = strsep(rest, "\n");
    return found ? found : none;
}

/* False: not even that. */
static bool read_request(struct http_exchange *x, const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\n\n", 2);
    size_t head_len = end ? (size_t)(end - data) : len;
    char *rest = arena_strndup(x->arena, (const char *)data, head_len);

    if (!rest || memchr(data, 0, head_len))
        return false; /* libmicrohttpd takes no NUL in a header */
    x->body = end ? end + 2 : data + len;
    x->body_len = end ? len - head_len - 2 : 0;
    char *target = line(&rest), *verb = strsep(&target, " ");
    x->method = strcmp(verb, "GET") == 0       ? HTTP_GET
                : strcmp(verb, "OPTIONS") == 0 ? HTTP_OPTIONS
                                               : HTTP_POST;
    x->path = target ? strsep(&target, "?") : "";
    x->query = target ? target : "";
    while (rest && x->nheaders < HEADERS_MAX) {
        char *value = line(&rest);
        x->names[x->nheaders] = strsep(&value, ":");
        x->values[x->nheaders++] = value ? value + strspn(value, " ") : "";
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;
    static struct connect *c;
    struct http_exchange x = { 0 };

    if (!a) {
        schema_init();
        a = arena_new(64 * MIB);
        c = connect_new(&(struct connect_config){
            .message_max = 64 * KIB, .cors_origin = "https://a.example", .on_call = on_call });
    }
    arena_reset(a);
    x.arena = a;
    if (!read_request(&x, data, len))
        return 0;
    connect_open(c, &x); /* as http.c does */
    if (!x.status)
        connect_handle(c, &x);
    assert(x.status && (!x.streams || x.ended));
    assert(connect_wait_us(c, clock_monotonic_us()) == INT64_MAX); /* no deadline is left behind */
    return 0;
}
