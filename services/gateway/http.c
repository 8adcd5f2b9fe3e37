/*
 * http.c - see http.h.
 *
 * libmicrohttpd runs without threads of its own: its epoll descriptor is one of those that the loop
 * waits for. An exchange without an answer is suspended, so that it costs nothing; libmicrohttpd
 * does not look at the connection meanwhile, and so we do, for the end of its client.
 */
#include "services/gateway/http.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/net.h"
#include "common/sbuf.h"

#define EXCHANGE_BYTES (24 * MIB)
#define STREAM_PLENTY (256 * KIB) /* a stream's client is behind by that much: enough */
#define STREAM_MAX (80 * MIB)     /* by that much, one largest message and more: it is cut off */
#define STREAM_BLOCK (16 * KIB)
#define DISCARD_MAX (16 * MIB)   /* of a body that is too large; then the connection ends */
#define BODY_US (60 * SECOND_US) /* from a header to the end of its body */
#define SWEEP_US (SECOND_US / 2)
#define EVENTS_MAX 64
#define STATUS_LEFT 499 /* nobody reads it */
#define ANSWER_HEADERS_MAX 64

const struct http_limits http_limits_default = {
    .body_max = 4 * MIB,
    .url_max = 16 * KIB,
    .headers_max = 100,
    .header_bytes = 32 * KIB,
    .header_us = 10 * SECOND_US,
    .idle_us = 75 * SECOND_US,
    .connections_max = 8000,
};

struct http_connection {
    struct http_connection *next, *prev; /* of those whose request is awaited */
    int fd;
    int64_t before_us;
    bool awaited;
    char peer[NET_ADDRESS_MAX];
};

struct http_exchange {
    struct http_exchange *next, *prev; /* of the loop's */
    struct http_loop *loop;
    struct MHD_Connection *connection;
    struct http_connection *on;
    struct arena *arena;
    void *data;
    enum http_method method;
    enum http_fault fault;
    const char *path, *query;
    struct sbuf body;
    size_t discarded;
    bool begun;     /* the header was seen */
    bool handed;    /* to the handler */
    bool suspended; /* at libmicrohttpd */
    bool watched;   /* for the end of its client */
    bool over;      /* the answer is whole */
    bool left;      /* its client has */
    /* the answer */
    struct MHD_Response *response;
    unsigned status;
    bool streams;
    bool told_enough;
    struct sbuf out; /* of a stream: [out_sent, len) was not taken */
    size_t out_sent;
    size_t nheaders;
    const char *headers[ANSWER_HEADERS_MAX][2];
};

struct http_loop {
    struct http_limits limits;
    struct http_handler handler;
    struct MHD_Daemon *mhd;
    int epoll_fd; /* libmicrohttpd's, and the clients that might leave */
    int watch_fd;
    int listen_fd;
    uint16_t port;
    bool quiesced;
    bool closing; /* nothing is handed out any more */
    bool resumed; /* some exchange, since libmicrohttpd ran: its descriptor does not tell */
    unsigned exchanges;
    int64_t sweep_us;
    struct http_connection *awaited;
    struct http_exchange *open;
};

/* --- waiting for requests ----------------------------------------------------------------------- */

static void await(struct http_loop *l, struct http_connection *c, int64_t within_us)
{
    c->before_us = clock_monotonic_us() + within_us;
    if (c->awaited)
        return;
    c->awaited = true;
    c->prev = NULL;
    c->next = l->awaited;
    if (l->awaited)
        l->awaited->prev = c;
    l->awaited = c;
}

static void came(struct http_loop *l, struct http_connection *c)
{
    if (!c->awaited)
        return;
    c->awaited = false;
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        l->awaited = c->next;
}

/* A client that sends a byte now and then is not idle, and never done. */
static void sweep(struct http_loop *l, int64_t now_us)
{
    if (now_us < l->sweep_us)
        return;
    l->sweep_us = now_us + SWEEP_US;
    for (struct http_connection *c = l->awaited; c; c = c->next)
        if (now_us >= c->before_us)
            shutdown(c->fd, SHUT_RDWR); /* libmicrohttpd sees the end and cleans up */
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_loop *l = cls;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct http_connection *c = *context;
        if (c)
            came(l, c);
        free(c);
        *context = NULL;
        return;
    }
    struct http_connection *c = calloc(1, sizeof(*c));
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *context = c;
    if (!c)
        return;
    c->fd = fd ? fd->connect_fd : -1;
    if (peer && peer->client_addr) {
        socklen_t size = peer->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                  : sizeof(struct sockaddr_in);
        if (getnameinfo(peer->client_addr, size, c->peer, sizeof(c->peer), NULL, 0,
                        NI_NUMERICHOST) != 0)
            c->peer[0] = '\0';
    }
    await(l, c, l->limits.header_us);
}

/* --- exchanges --------------------------------------------------------------------------------- */

static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_loop *l = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_exchange *x = calloc(1, sizeof(*x));
    struct arena *a = x ? arena_new(EXCHANGE_BYTES) : NULL;

    if (!a || !info || !info->socket_context) {
        arena_free(a);
        free(x);
        return NULL;
    }
    x->loop = l;
    x->connection = connection;
    x->on = info->socket_context;
    x->arena = a;
    sbuf_init(&x->body, l->limits.body_max);
    sbuf_init(&x->out, STREAM_MAX);
    l->exchanges++;
    x->next = l->open;
    if (l->open)
        l->open->prev = x;
    l->open = x;
    if (strlen(target) > l->limits.url_max) {
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

static void suspend(struct http_exchange *x)
{
    MHD_suspend_connection(x->connection);
    x->suspended = true;
    watch(x);
}

static void resume(struct http_exchange *x)
{
    if (!x->suspended)
        return;
    unwatch(x);
    x->suspended = false;
    x->loop->resumed = true;
    MHD_resume_connection(x->connection);
}

static void on_completed(void *cls, struct MHD_Connection *connection UNUSED, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct http_loop *l = cls;
    struct http_exchange *x = *context;

    if (!x)
        return;
    unwatch(x);
    if (x->handed && (!x->over || why != MHD_REQUEST_TERMINATED_COMPLETED_OK) && l->handler.gone)
        l->handler.gone(l->handler.arg, x);
    if (x->response)
        MHD_destroy_response(x->response);
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        await(l, x->on, l->limits.idle_us + l->limits.header_us);
    if (x->next)
        x->next->prev = x->prev;
    if (x->prev)
        x->prev->next = x->next;
    else
        l->open = x->next;
    sbuf_fini(&x->body);
    sbuf_fini(&x->out);
    arena_free(x->arena);
    free(x);
    l->exchanges--;
    *context = NULL;
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

static void begin(struct http_exchange *x, const char *method)
{
    int n = MHD_get_connection_values(x->connection, MHD_HEADER_KIND, NULL, NULL);

    x->begun = true;
    x->method = method_of(method);
    await(x->loop, x->on, BODY_US);
    if (n < 0 || (size_t)n > x->loop->limits.headers_max)
        x->fault = HTTP_TOO_MANY_HEADERS;
}

/* False: enough is enough. */
static bool take_body(struct http_exchange *x, const char *data, size_t len)
{
    if (!x->fault && x->body.len + len > x->loop->limits.body_max)
        x->fault = HTTP_BODY_TOO_LARGE;
    if (x->fault) {
        x->discarded += len;
        return x->discarded <= DISCARD_MAX;
    }
    sbuf_add(&x->body, data, len);
    if (x->body.bad)
        x->fault = HTTP_NO_MEMORY;
    return true;
}

static enum MHD_Result queue(struct http_exchange *x)
{
    for (size_t i = 0; i < x->nheaders; i++)
        if (MHD_add_response_header(x->response, x->headers[i][0], x->headers[i][1]) != MHD_YES)
            log_warn("http.header", "an answer's header is not sent", "name", x->headers[i][0],
                     NULL);
    x->nheaders = 0;
    if (x->loop->quiesced)
        (void)MHD_add_response_header(x->response, "Connection", "close");
    return MHD_queue_response(x->connection, x->status, x->response);
}

struct framing {
    int lengths, codings;
    bool strange;
};

static bool note_framing(void *arg, const char *name, const char *value)
{
    struct framing *f = arg;

    if (strcasecmp(name, "Content-Length") == 0)
        f->lengths++;
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->codings++;
        f->strange = f->strange || strcasecmp(value, "chunked") != 0;
    }
    return true;
}

/* Whether nobody on the way can see another end of the body than we do (RFC 9112, 6.1 and 11.2). */
static bool is_framed(struct http_exchange *x)
{
    struct framing f = { 0 };

    http_each_header(x, note_framing, &f);
    return f.lengths + f.codings <= 1 && !f.strange;
}

static enum MHD_Result refuse_framing(struct http_exchange *x)
{
    x->over = true;
    x->status = 400;
    x->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!x->response)
        return MHD_NO;
    (void)MHD_add_response_header(x->response, "Connection", "close");
    return queue(x);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection UNUSED,
                                  const char *url UNUSED, const char *method,
                                  const char *version UNUSED, const char *upload,
                                  size_t *upload_len, void **context)
{
    struct http_loop *l = cls;
    struct http_exchange *x = *context;

    if (!x)
        return MHD_NO;
    if (!x->begun) {
        begin(x, method);
        return is_framed(x) ? MHD_YES : refuse_framing(x);
    }
    if (*upload_len) {
        bool taken = take_body(x, upload, *upload_len);
        *upload_len = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (!x->handed) {
        if (l->closing)
            return MHD_NO;
        came(l, x->on);
        x->handed = true;
        l->handler.handle(l->handler.arg, x);
    }
    if (x->response)
        return queue(x);
    suspend(x);
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

const void *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body.len;
    return x->body.data;
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

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    char *n = arena_strdup(x->arena, name), *v = arena_strdup(x->arena, value);

    if (!n || !v || x->nheaders == ANSWER_HEADERS_MAX || strpbrk(value, "\r\n")) {
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
    x->response = response;
    x->status = status;
    if (!response)
        shutdown(x->on->fd, SHUT_RDWR); /* no memory: the client sees the end */
    resume(x);
}

static void answer(struct http_exchange *x, unsigned status, const void *body, size_t len,
                   enum MHD_ResponseMemoryMode mode)
{
    union {
        const void *in;
        void *out;
    } data = { .in = len ? body : "" };

    x->over = true;
    set_response(x, status, MHD_create_response_from_buffer(len, data.out, mode));
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
        suspend(x);
        return 0;
    }
    memcpy(buf, x->out.data + x->out_sent, n);
    x->out_sent += n;
    make_room(x);
    if (x->told_enough && http_stream_waiting(x) < STREAM_PLENTY / 2) {
        x->told_enough = false;
        if (x->loop->handler.drained)
            x->loop->handler.drained(x->loop->handler.arg, x);
    }
    return (ssize_t)n;
}

void http_stream_begin(struct http_exchange *x, unsigned status)
{
    x->streams = true;
    set_response(
        x, status,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_more, x, NULL));
}

size_t http_stream_waiting(const struct http_exchange *x)
{
    return x->out.len - x->out_sent;
}

bool http_stream_send(struct http_exchange *x, const void *data, size_t len)
{
    assert(x->streams && !x->over);
    sbuf_add(&x->out, data, len);
    if (x->out.bad)
        shutdown(x->on->fd, SHUT_RDWR);
    resume(x);
    x->told_enough = x->told_enough || http_stream_waiting(x) >= STREAM_PLENTY;
    return !x->told_enough;
}

void http_stream_end(struct http_exchange *x)
{
    x->over = true;
    resume(x);
}

/* --- the loop ----------------------------------------------------------------------------------- */

/* A client that has only ended its side is done with too. */
static void leave(struct http_exchange *x)
{
    shutdown(x->on->fd, SHUT_RDWR);
    if (!x->response) { /* or else it would be asked for again, and suspended */
        x->status = STATUS_LEFT;
        x->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    }
    x->left = true;
    resume(x);
}

static void take_leavers(struct http_loop *l)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->watch_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++)
        leave(events[i].data.ptr);
}

int http_loop_fd(const struct http_loop *l)
{
    return l->epoll_fd;
}

int64_t http_loop_wait_us(struct http_loop *l)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (l->resumed)
        return 0;
    int64_t wait_us = l->awaited ? MAX(0, l->sweep_us - clock_monotonic_us()) : INT64_MAX;

    if (MHD_get_timeout(l->mhd, &ms) == MHD_YES)
        wait_us = MIN(wait_us, (int64_t)MIN(ms, 3600000) * MSEC_US);
    return wait_us;
}

void http_loop_run(struct http_loop *l)
{
    take_leavers(l);
    l->resumed = false;
    (void)MHD_run(l->mhd);
    sweep(l, clock_monotonic_us());
}

static int listen_at(const char *address, uint16_t *port_out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV },
                    *list = NULL;
    char host[NET_ADDRESS_MAX];
    const char *colon = strrchr(address, ':');
    int one = 1, fd = -1;

    if (!colon || (size_t)(colon - address) >= sizeof(host))
        return -1;
    size_t len = (size_t)(colon - address);
    const char *start = address;
    if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    }
    memcpy(host, start, len);
    host[len] = '\0';
    if (getaddrinfo(*host ? host : NULL, colon + 1, &hints, &list) != 0)
        return -1;
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 1024) == 0;
    freeaddrinfo(list);
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (ok && getsockname(fd, (struct sockaddr *)&bound, &size) == 0) {
        *port_out = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                      : ((struct sockaddr_in *)&bound)->sin_port);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void on_log(void *cls UNUSED, const char *fmt, va_list ap)
{
    char text[256];
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http.library", text, NULL);
}

static bool start_library(struct http_loop *l)
{
    l->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, l,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, l->listen_fd,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        l, MHD_OPTION_URI_LOG_CALLBACK, on_target, l, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        l->limits.header_bytes + STREAM_BLOCK + 8 * KIB, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(l->limits.idle_us / SECOND_US), MHD_OPTION_CONNECTION_LIMIT,
        l->limits.connections_max, MHD_OPTION_END);
    return l->mhd != NULL;
}

static bool join_epoll(struct http_loop *l)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = { .events = EPOLLIN };

    if (!info)
        return false;
    event.data.fd = info->epoll_fd;
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &event) != 0)
        return false;
    event.data.fd = l->watch_fd;
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->watch_fd, &event) == 0;
}

struct http_loop *http_loop_new(const char *address, const struct http_limits *limits,
                                const struct http_handler *handler)
{
    struct http_loop *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->limits = *limits;
    l->handler = *handler;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    l->listen_fd = listen_at(address, &l->port);
    if (l->listen_fd < 0)
        log_error("http.listen", strerror(errno), "address", address, NULL);
    else if (l->epoll_fd >= 0 && l->watch_fd >= 0 && start_library(l) && join_epoll(l))
        return l;
    http_loop_free(l);
    return NULL;
}

uint16_t http_loop_port(const struct http_loop *l)
{
    return l->port;
}

void http_loop_quiesce(struct http_loop *l)
{
    if (l->quiesced)
        return;
    l->quiesced = true;
    l->listen_fd = MHD_quiesce_daemon(l->mhd);
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    l->listen_fd = -1;
}

void http_loop_hurry(struct http_loop *l)
{
    for (struct http_exchange *x = l->open; x; x = x->next)
        if (!x->left && (!x->handed || (x->streams && x->over)))
            leave(x);
}

unsigned http_loop_exchanges(const struct http_loop *l)
{
    return l->exchanges;
}

void http_loop_free(struct http_loop *l)
{
    if (!l)
        return;
    l->closing = true;
    if (l->mhd) {
        for (struct http_exchange *x = l->open; x; x = x->next)
            leave(x); /* none may be suspended at the end */
        (void)MHD_run(l->mhd);
        MHD_stop_daemon(l->mhd); /* closes the listener too, unless it was quiesced */
    } else if (l->listen_fd >= 0) {
        close(l->listen_fd);
    }
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->watch_fd >= 0)
        close(l->watch_fd);
    free(l);
}
