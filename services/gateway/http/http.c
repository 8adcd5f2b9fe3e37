/*
 * http.c - see http.h: exchanges, from their target to the last byte of their answer.
 *
 * An exchange without an answer is suspended, so that it costs nothing; libmicrohttpd does not look
 * at the connection meanwhile, and so we do, for the end of its client.
 */
#include <assert.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/http/http_internal.h"

#define STREAM_PLENTY (256 * KIB) /* a stream's client is behind by that much: enough */
#define STREAM_MAX (80 * MIB)     /* by that much, one largest message and more: it is cut off */
#define DISCARD_MAX (16 * MIB)    /* of a body that is too large; then the connection ends */
#define STATUS_LEFT 499           /* nobody reads it */

/* --- exchanges --------------------------------------------------------------------------------- */

void *http_on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_loop *l = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_exchange *x = calloc(1, sizeof(*x));
    struct arena *a = x ? arena_new(HTTP_EXCHANGE_BYTES) : NULL;

    if (l->closing || !a || !info || !info->socket_context) {
        arena_free(a);
        free(x);
        return NULL;
    }
    x->loop = l;
    x->connection = connection;
    x->on = info->socket_context;
    x->on->requests++;
    x->on->exchange = x;
    x->arena = a;
    sbuf_init(&x->body, l->limits.body_max);
    sbuf_init(&x->out, STREAM_MAX);
    l->exchanges++;
    x->next = l->open;
    if (l->open)
        l->open->prev = x;
    l->open = x;
    x->head_fault = http_target_fault(target);
    x->target = target;
    x->target_len = strlen(target);
    if (x->target_len > l->limits.url_max) {
        x->fault = HTTP_URL_TOO_LONG;
        target = "/";
    }
    char *path = arena_strdup(a, target);
    x->path = path ? path : "/";
    x->query = "";
    if (!path)
        x->fault = HTTP_NO_MEMORY;
    char *mark = path ? strchr(path, '?') : NULL;
    if (mark) {
        *mark = '\0';
        x->query = mark + 1;
    }
    return x;
}

static void unwatch(struct http_exchange *x)
{
    if (x->watched)
        (void)epoll_ctl(x->loop->watch_fd, EPOLL_CTL_DEL, x->on->fd, NULL);
    x->watched = false;
}

static void watch(struct http_exchange *x)
{
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLHUP | EPOLLERR, .data.ptr = x };
    x->watched = epoll_ctl(x->loop->watch_fd, EPOLL_CTL_ADD, x->on->fd, &event) == 0;
}

/* A body in chunks is handed out chunk by chunk although the first has suspended the connection. */
void http_suspend(struct http_exchange *x)
{
    if (x->suspended)
        return;
    MHD_suspend_connection(x->connection);
    x->suspended = true;
    watch(x);
}

void http_resume(struct http_exchange *x)
{
    if (!x->suspended)
        return;
    unwatch(x);
    x->suspended = false;
    x->loop->resumed = true;
    MHD_resume_connection(x->connection);
}

static void end(struct http_exchange *x, enum MHD_RequestTerminationCode why)
{
    struct http_loop *l = x->loop;

    unwatch(x);
    if ((x->handed || x->in_pieces) && (!x->over || why != MHD_REQUEST_TERMINATED_COMPLETED_OK) &&
        l->handler.gone)
        l->handler.gone(l->handler.arg, x);
    if (x->response)
        MHD_destroy_response(x->response);
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_await(l, x->on, l->limits.idle_us + l->limits.header_us);
    if (x->next)
        x->next->prev = x->prev;
    if (x->prev)
        x->prev->next = x->next;
    else
        l->open = x->next;
    x->on->exchange = NULL;
    http_forget_body(x);
    sbuf_fini(&x->out);
    arena_free(x->arena);
    free(x);
    l->exchanges--;
}

void http_on_completed(void *cls UNUSED, struct MHD_Connection *connection UNUSED, void **context,
                       enum MHD_RequestTerminationCode why)
{
    if (*context)
        end(*context, why);
    *context = NULL;
}

void http_abandon(struct http_exchange *x)
{
    end(x, MHD_REQUEST_TERMINATED_WITH_ERROR);
}

static enum http_method method_of(const char *text)
{
    static const struct {
        const char *text;
        enum http_method method;
    } methods[] = { { "GET", HTTP_GET },
                    { "HEAD", HTTP_HEAD },
                    { "POST", HTTP_POST },
                    { "OPTIONS", HTTP_OPTIONS } };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(text, methods[i].text) == 0)
            return methods[i].method;
    return HTTP_OTHER;
}

static void note_read(struct http_exchange *x)
{
    if (x->chunked)
        x->read_to = http_bytes_read(x->on);
}

static void begin(struct http_exchange *x, const char *method)
{
    int n = MHD_get_connection_values(x->connection, MHD_HEADER_KIND, NULL, NULL);

    x->begun = true;
    x->chunked = http_header(x, "Transfer-Encoding") != NULL;
    note_read(x);
    x->method = method_of(method);
    http_await(x->loop, x->on, http_allowed_us(x->loop, 0));
    if (n < 0 || (size_t)n > x->loop->limits.headers_max)
        x->fault = HTTP_TOO_MANY_HEADERS;
}

/* False: enough is enough. */
static bool take_body(struct http_exchange *x, const char *data, size_t len)
{
    if (x->in_pieces && !x->response) {
        http_hand_on(x, data, len);
        return true;
    }
    if (!x->fault && !x->response && !x->bodiless && http_keep(x, data, len))
        return true;
    x->discarded += len;
    return x->discarded <= DISCARD_MAX;
}

/*
 * Nobody reads trailers, and no client of ours sends any. Behind a folded one, and much that follows it, libmicrohttpd
 * 0.9.75 loses what it has read of the next request and takes what is left of this one for it.
 */
static bool has_trailers(const struct http_exchange *x)
{
    return MHD_get_connection_values(x->connection, MHD_FOOTER_KIND, NULL, NULL) > 0;
}

static bool is_last(const struct http_exchange *x)
{
    return x->loop->quiesced || x->on->requests >= x->loop->limits.requests_max || has_trailers(x);
}

static enum MHD_Result queue(struct http_exchange *x)
{
    for (size_t i = 0; i < x->nheaders; i++)
        if (MHD_add_response_header(x->response, x->headers[i][0], x->headers[i][1]) != MHD_YES)
            return MHD_NO; /* no memory: the connection ends */
    x->nheaders = 0;
    if (is_last(x))
        (void)MHD_add_response_header(x->response, "Connection", "close");
    if (!x->streams) /* who does not take it may not keep it either */
        http_await(x->loop, x->on, http_allowed_us(x->loop, x->answer_len));
    x->queued = true;
    return MHD_queue_response(x->connection, x->status, x->response);
}

/* Whatever follows might be no request, so that the connection ends. */
static enum MHD_Result refuse_head(struct http_exchange *x)
{
    char body[512];
    int len = snprintf(body, sizeof body, "{\"code\":\"invalid_argument\",\"message\":\"%s\"}",
                       x->head_fault);

    x->over = true;
    x->status = 400;
    x->response = MHD_create_response_from_buffer((size_t)len, body, MHD_RESPMEM_MUST_COPY);
    if (!x->response)
        return MHD_NO;
    (void)MHD_add_response_header(x->response, "Content-Type", "application/json");
    (void)MHD_add_response_header(x->response, "Connection", "close");
    return queue(x);
}

/* A client that is still sending would lose an answer, with the connection; one that asks before he
 * sends (Expect) is told at once. */
static enum MHD_Result begin_handling(struct http_exchange *x)
{
    if (x->fault == HTTP_NO_MEMORY) /* nobody knows the path */
        http_answer(x, 503, NULL, 0);
    if (!x->fault && x->loop->handler.begin)
        x->loop->handler.begin(x->loop->handler.arg, x);
    return x->response && http_header(x, "Expect") ? queue(x) : MHD_YES;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection UNUSED,
                                const char *url UNUSED, const char *method, const char *version,
                                const char *upload, size_t *upload_len, void **context)
{
    struct http_loop *l = cls;
    struct http_exchange *x = *context;

    if (!x)
        return MHD_NO;
    if (!x->begun) {
        begin(x, method);
        if (!x->head_fault)
            x->head_fault = http_head_fault(x, method, version);
        return x->head_fault ? refuse_head(x) : begin_handling(x);
    }
    if (*upload_len) {
        bool taken = take_body(x, upload, *upload_len);
        note_read(x);
        *upload_len = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (!x->handed) {
        http_came(l, x->on);
        x->handed = true;
        if (!x->over && !x->response)
            l->handler.handle(l->handler.arg, x);
    }
    if (x->response)
        return queue(x);
    http_suspend(x);
    return MHD_YES;
}

enum http_method http_method(const struct http_exchange *x)
{
    return x->method;
}

enum http_fault http_fault(const struct http_exchange *x)
{
    return x->fault;
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
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

struct each {
    bool (*fn)(void *arg, const char *name, const char *value);
    void *arg;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind UNUSED, const char *name,
                                 const char *value)
{
    const struct each *e = cls;
    return e->fn(e->arg, name, value ? value : "") ? MHD_YES : MHD_NO;
}

void http_each_header(const struct http_exchange *x,
                      bool (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    struct each e = { fn, arg };
    (void)MHD_get_connection_values(x->connection, MHD_HEADER_KIND, on_header, &e);
}

const char *http_peer(const struct http_exchange *x)
{
    return x->on->peer;
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

/* --- answers ------------------------------------------------------------------------------------ */

void http_spoil(struct http_exchange *x)
{
    x->headless = true;
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    char *n = arena_strdup(x->arena, name), *v = arena_strdup(x->arena, value);

    if (!n || !v)
        http_spoil(x);
    if (!n || !v || x->nheaders == HTTP_ANSWER_HEADERS_MAX || !*value || strpbrk(value, "\r\n\t")) {
        log_warn("http.header", "an answer's header is not sent", "name", name, NULL);
        return;
    }
    x->headers[x->nheaders][0] = n;
    x->headers[x->nheaders++][1] = v;
}

static void set_response(struct http_exchange *x, unsigned status, struct MHD_Response *response)
{
    if (x->left) {
        MHD_destroy_response(response);
        return;
    }
    assert(!x->response);
    if (x->headless && response) {
        MHD_destroy_response(response);
        response = NULL;
    }
    x->response = response;
    x->status = status;
    if (!response)
        shutdown(x->on->fd, SHUT_RDWR); /* no memory: the client sees the end */
    http_resume(x);
}

static void answer(struct http_exchange *x, unsigned status, const void *body, size_t len,
                   enum MHD_ResponseMemoryMode mode)
{
    union {
        const void *in;
        void *out;
    } data = { .in = len ? body : "" };

    x->over = true;
    x->answer_len = len;
    x->answered_us = clock_monotonic_us();
    set_response(x, status, MHD_create_response_from_buffer(len, data.out, mode));
    http_forget_body(x); /* now, not when the client has taken it all */
}

void http_answer(struct http_exchange *x, unsigned status, const void *body, size_t len)
{
    answer(x, status, body, len, MHD_RESPMEM_MUST_COPY);
}

void http_answer_lasting(struct http_exchange *x, unsigned status, const void *body, size_t len)
{
    answer(x, status, body, len, MHD_RESPMEM_PERSISTENT);
}

/* What was taken makes room once it is the greater part. */
static void make_room(struct http_exchange *x)
{
    if (x->out_sent <= x->out.len / 2)
        return;
    x->out.len -= x->out_sent;
    memmove(x->out.data, x->out.data + x->out_sent, x->out.len + 1);
    x->out_sent = 0;
}

/* libmicrohttpd asks for more of a stream. */
static ssize_t on_more(void *cls, uint64_t pos UNUSED, char *buf, size_t max)
{
    struct http_exchange *x = cls;
    size_t n = MIN(max, x->out.len - x->out_sent);

    if (x->left)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && x->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        http_suspend(x);
        return 0;
    }
    memcpy(buf, x->out.data + x->out_sent, n);
    x->out_sent += n;
    make_room(x);
    if (x->hastened && !http_stream_waiting(x))
        http_came(x->loop, x->on);
    if (x->told_enough && http_stream_waiting(x) < STREAM_PLENTY / 2) {
        x->told_enough = false;
        if (x->loop->handler.drained)
            x->loop->handler.drained(x->loop->handler.arg, x);
    }
    return (ssize_t)n;
}

void http_stream_begin_sized(struct http_exchange *x, unsigned status, uint64_t size)
{
    x->streams = true;
    set_response(x, status,
                 MHD_create_response_from_callback(size, HTTP_STREAM_BLOCK, on_more, x, NULL));
}

void http_stream_begin(struct http_exchange *x, unsigned status)
{
    http_stream_begin_sized(x, status, MHD_SIZE_UNKNOWN);
}

size_t http_stream_waiting(const struct http_exchange *x)
{
    return x->out.len - x->out_sent;
}

void http_stream_hasten(struct http_exchange *x)
{
    x->hastened = true;
}

/* From when there is something to take until all of it was taken; waiting for us is no fault. */
static void allow_time(struct http_exchange *x, size_t len)
{
    int64_t allowed_us = http_allowed_us(x->loop, len);

    if (x->on->awaited)
        x->on->before_us += allowed_us - x->loop->limits.body_us;
    else
        http_await(x->loop, x->on, allowed_us);
}

bool http_stream_send(struct http_exchange *x, const void *data, size_t len)
{
    assert(x->streams && !x->over);
    sbuf_add(&x->out, data, len);
    if (x->out.bad)
        shutdown(x->on->fd, SHUT_RDWR);
    if (x->hastened)
        allow_time(x, len);
    http_resume(x);
    x->told_enough = x->told_enough || http_stream_waiting(x) >= STREAM_PLENTY;
    return !x->told_enough;
}

void http_stream_end(struct http_exchange *x)
{
    x->over = true;
    http_resume(x);
}

void http_leave(struct http_exchange *x)
{
    shutdown(x->on->fd, SHUT_RDWR);
    if (!x->response) { /* or else it would be asked for again, and suspended */
        x->status = STATUS_LEFT;
        x->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    }
    x->left = true;
    http_resume(x);
}

void http_cut(struct http_exchange *x)
{
    http_leave(x);
}
