/*
 * http_loop.c - see http.h: the listener, its connections, and the loop.
 *
 * libmicrohttpd runs without threads of its own: its epoll descriptor is one of those that the loop
 * waits for.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "services/gateway/http/http_internal.h"

#define SWEEP_US (SECOND_US / 2)
#define LAST_READ_US (2 * SECOND_US) /* for an answer, at a stop */
#define EVENTS_MAX 64
#define LAST_RUNS 100
#define UNHEARD_US (500 * MSEC_US)
#define NEWCOMER_US (250 * MSEC_US)
#define TAKEN_MAX 64
#define LEAVING_MAX 64 /* connections beyond the limit, while others are being let go for them */
#define CHUNK_LINE_MAX ((int64_t)(4 * KIB))

const struct http_limits http_limits_default = {
    .body_max = 4 * MIB,
    .url_max = 16 * KIB,
    .headers_max = 100,
    .header_bytes = 32 * KIB,
    .header_us = 10 * SECOND_US,
    .body_us = 60 * SECOND_US,
    .rate_min = 1024,
    .idle_us = 75 * SECOND_US,
    .connections_max = 4096,
    .requests_max = 10000,
};

/* --- waiting for requests ----------------------------------------------------------------------- */

void http_await(struct http_loop *l, struct http_connection *c, int64_t within_us)
{
    c->before_us = clock_monotonic_us() + within_us;
    c->ended = false;
    if (c->awaited)
        return;
    c->awaited = true;
    c->prev = NULL;
    c->next = l->awaited;
    if (l->awaited)
        l->awaited->prev = c;
    l->awaited = c;
}

void http_came(struct http_loop *l, struct http_connection *c)
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

int64_t http_allowed_us(const struct http_loop *l, uint64_t bytes)
{
    return l->limits.body_us + (int64_t)(bytes / l->limits.rate_min) * SECOND_US;
}

/*
 * libmicrohttpd that found no descriptor left accepts nothing more until one of its connections ends, which may be
 * long. Who has waited for a while is accepted here (F48).
 */
static void hear_again(struct http_loop *l, int64_t now_us)
{
    struct pollfd p = { .fd = l->listen_fd, .events = POLLIN };
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    if (l->quiesced || !info || info->num_connections >= l->limits.connections_max + LEAVING_MAX ||
        poll(&p, 1, 0) <= 0) {
        l->unheard_us = 0;
        return;
    }
    if (!l->unheard_us)
        l->unheard_us = now_us;
    for (int i = 0; now_us - l->unheard_us >= UNHEARD_US && i < TAKEN_MAX; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int fd =
            accept4(l->listen_fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 || MHD_add_connection(l->mhd, fd, (struct sockaddr *)&from, len) != MHD_YES)
            return; /* which has closed it */
    }
}

/* What the kernel has taken of a client's bytes, and what of that nobody has read; 0: not known. */
static int64_t bytes_received(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
        return 0;
    return (int64_t)info.tcpi_bytes_received;
}

static int bytes_waiting(int fd)
{
    int n;
    return ioctl(fd, FIONREAD, &n) == 0 ? n : 0;
}

int64_t http_bytes_read(const struct http_connection *c)
{
    int waiting = bytes_waiting(c->fd); /* first, so that what comes in between counts */
    return bytes_received(c->fd) - waiting;
}

/*
 * libmicrohttpd 0.9.75 wants the whole line of a chunk's size, extensions too, in its buffer. Once that is full without
 * an end, it neither reads nor refuses but wants to be run again at once, for as long as the client stays, and looks
 * through the buffer each time (F50). Whoever lets it read so much without a piece of his body is let go.
 */
static bool is_endless_line(const struct http_connection *c)
{
    const struct http_exchange *x = c->exchange;

    if (!x || !x->chunked || x->handed || x->suspended)
        return false;
    int64_t received = bytes_received(c->fd); /* first, so that what comes in between does not */
    return received && received - bytes_waiting(c->fd) > x->read_to + CHUNK_LINE_MAX;
}

/* For a request, or for the rest of one. */
static bool waits_for_client(const struct http_connection *c)
{
    const struct http_exchange *x = c->exchange;
    return !x || (!x->handed && !x->suspended && !x->queued);
}

/*
 * Whose end came together with his last bytes: libmicrohttpd 0.9.75 takes those, misses the end, and would wait for him
 * for as long as one may be idle, or a body may take. What is unread might be a request still. What was read might not
 * have come to us yet, so that he is looked at twice.
 */
static bool has_ended(struct http_connection *c)
{
    struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };
    bool before = c->ended;

    c->ended = waits_for_client(c) && poll(&p, 1, 0) > 0 && bytes_waiting(c->fd) == 0;
    return before && c->ended;
}

/*
 * libmicrohttpd sees the end and cleans up. Of a connection that was suspended and whose buffer is full since, it hears
 * nothing more: that one is idle soon.
 */
static void let_go(struct http_connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    if (c->exchange)
        (void)MHD_set_connection_option(c->exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, 1);
}

/* Who goes first where somebody has to. */
enum rank {
    RANK_IDLE,     /* or slow with its head */
    RANK_NEWCOMER, /* its request may be there, and nobody has read it yet */
    RANK_BUSY,     /* a body is on its way, or an answer is being taken */
};

static enum rank rank(const struct http_connection *c, int64_t now_us)
{
    if (c->exchange && c->exchange->begun)
        return RANK_BUSY;
    return c->requests == 0 && now_us - c->came_us < NEWCOMER_US ? RANK_NEWCOMER : RANK_IDLE;
}

static bool goes_before(const struct http_connection *c, const struct http_connection *other,
                        int64_t now_us)
{
    enum rank a = rank(c, now_us), b = rank(other, now_us);
    return a != b ? a < b : c->before_us < other->before_us;
}

/*
 * All places are taken, and somebody comes. Of those that we wait for one goes now: of those that ask nothing the one
 * that would be let go first, so that who asks at once finds a place (F50). Whoever waits for us stays.
 */
static void free_a_place(struct http_loop *l, int64_t now_us)
{
    struct http_connection *first = l->awaited;

    for (struct http_connection *c = first; c; c = c->next)
        if (goes_before(c, first, now_us))
            first = c;
    if (!first)
        return;
    let_go(first);
    http_came(l, first); /* and is chosen once */
}

/* A client that sends, or takes, a byte now and then is not idle, and never done. */
static void sweep(struct http_loop *l, int64_t now_us)
{
    if (now_us < l->sweep_us)
        return;
    l->sweep_us = now_us + SWEEP_US;
    hear_again(l, now_us);
    for (struct http_connection *c = l->awaited; c; c = c->next)
        if (now_us >= c->before_us || is_endless_line(c) || has_ended(c))
            let_go(c);
}

/* The same for all of a client's: of IPv6 the network counts, which is his. */
static uint64_t key_of(const struct sockaddr *address)
{
    uint64_t key = 0;

    if (address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(a)) {
            memcpy(&key, a->s6_addr, sizeof(key));
            return key;
        }
        memcpy(&key, a->s6_addr + 12, 4);
        return key;
    }
    memcpy(&key, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    return key;
}

/* A client that opens more than its share is let go. */
static enum MHD_Result may_connect(void *cls, const struct sockaddr *address, socklen_t len UNUSED)
{
    struct http_loop *l = cls;
    uint64_t key = key_of(address);
    unsigned n = 0;

    if (!l->limits.address_max ||
        (l->limits.unlimited && http_address_inside(l->limits.unlimited, address)))
        return MHD_YES;
    for (const struct http_connection *c = l->all; c && n < l->limits.address_max; c = c->all_next)
        n += c->address == key;
    return n < l->limits.address_max ? MHD_YES : MHD_NO;
}

static void join(struct http_loop *l, struct http_connection *c)
{
    c->all_next = l->all;
    if (l->all)
        l->all->all_prev = c;
    l->all = c;
}

static void part(struct http_loop *l, struct http_connection *c)
{
    if (c->all_next)
        c->all_next->all_prev = c->all_prev;
    if (c->all_prev)
        c->all_prev->all_next = c->all_next;
    else
        l->all = c->all_next;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_loop *l = cls;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct http_connection *c = *context;
        if (c) {
            if (c->exchange)
                http_abandon(c->exchange);
            http_came(l, c);
            part(l, c);
            l->connections--;
        }
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
    c->came_us = clock_monotonic_us();
    join(l, c);
    if (peer && peer->client_addr) {
        c->address = key_of(peer->client_addr);
        socklen_t size = peer->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                  : sizeof(struct sockaddr_in);
        if (getnameinfo(peer->client_addr, size, c->peer, sizeof(c->peer), NULL, 0,
                        NI_NUMERICHOST) != 0)
            c->peer[0] = '\0';
    }
    if (++l->connections > l->limits.connections_max)
        free_a_place(l, c->came_us);
    http_await(l, c, l->limits.header_us);
}

/* --- the loop ----------------------------------------------------------------------------------- */

static void take_leavers(struct http_loop *l)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->watch_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++)
        http_leave(events[i].data.ptr);
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
    int64_t wait_us = l->awaited ? clock_left_us(l->sweep_us) : INT64_MAX;

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
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, may_connect, l,
        http_on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        l->listen_fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, l, MHD_OPTION_URI_LOG_CALLBACK, http_on_target, l,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, l->limits.header_bytes + HTTP_STREAM_BLOCK + 8 * KIB,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(l->limits.idle_us / SECOND_US),
        MHD_OPTION_CONNECTION_LIMIT, l->limits.connections_max + LEAVING_MAX, MHD_OPTION_END);
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
    int64_t before_us = clock_monotonic_us() - LAST_READ_US;

    for (struct http_exchange *x = l->open; x; x = x->next)
        if (!x->left && (!x->handed || (x->over && x->answered_us <= before_us)))
            http_leave(x);
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
            http_leave(x); /* none may be suspended at the end */
        for (int i = 0; l->open && i < LAST_RUNS; i++)
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
