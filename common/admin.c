/*
 * admin.c - the admin listener.
 *
 * One thread, one poll() over the wake-up, the listener and the connections. A connection reads a
 * header, gets one answer and is closed: that needs no keep-alive rules, and a probe opens a new
 * one anyway. After the answer we shut down our side and read until the peer closes, because
 * closing with unread bytes would reset the connection and could destroy the answer on its way.
 */
#include "common/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/sbuf.h"
#include "common/thread.h"
#include "common/version.h"

#define CONNECTIONS 64
#define HEADER_MAX (8 * KIB)
#define TIME_LIMIT_US (5 * SECOND_US)
#define PAGE_MAX (16 * MIB)

enum conn_state { CONN_FREE, CONN_READING, CONN_WRITING, CONN_CLOSING };

struct conn {
    enum conn_state state;
    int fd;
    int64_t deadline_us; /* monotonic, of the state */
    size_t header_len;
    struct sbuf out;
    size_t sent;
    char header[HEADER_MAX + 1];
};

struct admin {
    struct admin_hooks hooks;
    pthread_t thread;
    int wake_fd; /* written once, by admin_stop() */
    int listen_fd;
    int64_t accept_after_us; /* monotonic; out of descriptors before that */
    char address[NET_ADDRESS_MAX];
    struct conn conns[CONNECTIONS];
};

static struct metric build_info = {
    .name = "daybook_build_info",
    .type = METRIC_GAUGE,
    .help = "Always 1; which build runs here.",
    .labels = { "version", "commit" },
};
static struct metric ready_gauge = {
    .name = "daybook_ready",
    .type = METRIC_GAUGE,
    .help = "1 while this daemon takes requests, as /readyz says.",
};

/* --- pages ------------------------------------------------------------------------------------ */

struct request {
    struct admin *admin;
    const char *path;
    bool verbose;
    bool openmetrics;
};

struct answer {
    int status;
    const char *type;
    struct sbuf body;
};

static size_t run_checks(struct admin *a, admin_checks_fn *fn, struct admin_check *checks,
                         bool *ok_out)
{
    size_t n = fn ? fn(a->hooks.ctx, checks, ADMIN_CHECKS_MAX) : 0;
    *ok_out = true;
    for (size_t i = 0; i < n; i++) {
        checks[i].detail[sizeof(checks[i].detail) - 1] = '\0';
        *ok_out = *ok_out && checks[i].ok;
    }
    return n;
}

static void write_checks_json(struct sbuf *b, const struct admin_check *checks, size_t n, bool ok)
{
    sbuf_addf(b, "{\"ok\":%s,\"checks\":[\n", ok ? "true" : "false");
    for (size_t i = 0; i < n; i++) {
        sbuf_add_text(b, "{\"name\":");
        sbuf_add_json(b, checks[i].name);
        sbuf_addf(b, ",\"ok\":%s,\"detail\":", checks[i].ok ? "true" : "false");
        sbuf_add_json(b, checks[i].detail);
        sbuf_addf(b, "}%s\n", i + 1 < n ? "," : "");
    }
    sbuf_add_text(b, "]}\n");
}

static void probe(const struct request *r, admin_checks_fn *fn, struct answer *out)
{
    struct admin_check checks[ADMIN_CHECKS_MAX] = { 0 };
    bool ok;
    size_t n = run_checks(r->admin, fn, checks, &ok);
    out->status = ok ? 200 : 503;
    if (r->verbose) {
        out->type = "application/json";
        write_checks_json(&out->body, checks, n, ok);
        return;
    }
    if (ok)
        sbuf_add_text(&out->body, "ok\n");
    for (size_t i = 0; i < n; i++)
        if (!checks[i].ok)
            sbuf_addf(&out->body, "%s: %s\n", checks[i].name, checks[i].detail);
}

static void page_startup(const struct request *r, struct answer *out)
{
    probe(r, r->admin->hooks.started, out);
}

static void page_live(const struct request *r, struct answer *out)
{
    probe(r, r->admin->hooks.live, out);
}

static void page_ready(const struct request *r, struct answer *out)
{
    probe(r, r->admin->hooks.ready, out);
}

static void page_metrics(const struct request *r, struct answer *out)
{
    struct admin_check checks[ADMIN_CHECKS_MAX] = { 0 };
    const char *const build[] = { daybook_version(), daybook_commit() };
    bool ready;
    (void)run_checks(r->admin, r->admin->hooks.ready, checks, &ready);
    metric_set(&ready_gauge, ready ? 1 : 0, NULL);
    metric_set(&build_info, 1, build);
    if (r->openmetrics) {
        out->type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        metrics_write_open(&out->body);
        metrics_write_process_open(&out->body);
        sbuf_add_text(&out->body, "# EOF\n");
        return;
    }
    out->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_write(&out->body);
    metrics_write_process(&out->body);
}

static void page_version(const struct request *r, struct answer *out)
{
    (void)r;
    out->type = "application/json";
    sbuf_add_text(&out->body, "{\"version\":");
    sbuf_add_json(&out->body, daybook_version());
    sbuf_add_text(&out->body, ",\"commit\":");
    sbuf_add_json(&out->body, daybook_commit());
    sbuf_add_text(&out->body, "}\n");
}

static const struct {
    const char *path;
    void (*page)(const struct request *r, struct answer *out);
} pages[] = {
    { "/startupz", page_startup }, { "/livez", page_live },      { "/readyz", page_ready },
    { "/metrics", page_metrics },  { "/version", page_version },
};

/* --- HTTP
 * ------------------------------------------------------------------------------------------ */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static void start_answer(struct conn *c, const struct answer *answer, bool head_only)
{
    sbuf_addf(&c->out, "HTTP/1.1 %d %s\r\n", answer->status, reason_of(answer->status));
    if (answer->status == 405)
        sbuf_add_text(&c->out, "Allow: GET, HEAD\r\n");
    sbuf_addf(&c->out,
              "Content-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
              "Connection: close\r\n\r\n",
              answer->type, answer->body.len);
    if (!head_only)
        sbuf_add(&c->out, answer->body.data, answer->body.len);
    c->state = CONN_WRITING;
    c->deadline_us = clock_monotonic_us() + TIME_LIMIT_US;
}

static void answer_error(struct conn *c, int status)
{
    struct answer answer = { .status = status, .type = "text/plain; charset=utf-8" };
    sbuf_init(&answer.body, 256);
    sbuf_addf(&answer.body, "%s\n", reason_of(status));
    start_answer(c, &answer, false);
    sbuf_fini(&answer.body);
}

/* Cuts "GET /path?query HTTP/1.1" in place. 0, or the status to refuse it with. */
static int parse_request_line(char *line, struct request *r, bool *head_out)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return 400;
    *target++ = '\0';
    *version++ = '\0';
    if (strncmp(version, "HTTP/", 5) != 0 || *target != '/')
        return 400;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return 505;
    *head_out = strcmp(line, "HEAD") == 0;
    if (!*head_out && strcmp(line, "GET") != 0)
        return 405;

    char *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    r->path = target;
    r->verbose = query && (strcmp(query, "verbose") == 0 || strncmp(query, "verbose=", 8) == 0 ||
                           strncmp(query, "verbose&", 8) == 0);
    return 0;
}

/* Whoever understands it, such as Prometheus, names it; weights are not looked at. */
static bool accepts_openmetrics(const char *header)
{
    const char *accept = strcasestr(header, "\naccept:");
    const char *end = accept ? strchr(accept + 1, '\n') : NULL;
    const char *type = accept ? strcasestr(accept, "application/openmetrics-text") : NULL;
    return type && end && type < end;
}

static void serve(struct admin *a, struct conn *c)
{
    struct request r = { .admin = a, .openmetrics = accepts_openmetrics(c->header) };
    bool head_only = false;
    c->header[strcspn(c->header, "\r\n")] = '\0';
    int refused = parse_request_line(c->header, &r, &head_only);
    size_t i = 0;
    while (!refused && i < ARRAY_LEN(pages) && strcmp(pages[i].path, r.path) != 0)
        i++;
    if (!refused && i == ARRAY_LEN(pages))
        refused = 404;
    if (refused) {
        answer_error(c, refused);
        return;
    }
    struct answer answer = { .status = 200, .type = "text/plain; charset=utf-8" };
    sbuf_init(&answer.body, PAGE_MAX);
    pages[i].page(&r, &answer);
    if (answer.body.bad)
        answer_error(c, 500);
    else
        start_answer(c, &answer, head_only);
    sbuf_fini(&answer.body);
}

/* --- connections
 * ----------------------------------------------------------------------------------- */

static void free_conn(struct conn *c)
{
    net_closep(&c->fd);
    sbuf_fini(&c->out);
    c->state = CONN_FREE;
}

static void accept_all(struct admin *a)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct conn *c = &a->conns[i];
        if (c->state != CONN_FREE)
            continue;
        c->fd = accept4(a->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (c->fd < 0) {
            if (errno == EMFILE || errno == ENFILE) /* poll would return at once, again and again */
                a->accept_after_us = clock_monotonic_us() + 100 * MSEC_US;
            return; /* else nobody waits any more */
        }
        c->state = CONN_READING;
        c->deadline_us = clock_monotonic_us() + TIME_LIMIT_US;
        c->header_len = 0;
        c->sent = 0;
        sbuf_init(&c->out, PAGE_MAX + HEADER_MAX);
    }
}

static bool header_is_whole(const struct conn *c)
{
    return strstr(c->header, "\r\n\r\n") || strstr(c->header, "\n\n");
}

static void read_header(struct admin *a, struct conn *c)
{
    ssize_t n = recv(c->fd, c->header + c->header_len, HEADER_MAX - c->header_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        free_conn(c);
        return;
    }
    if (memchr(c->header + c->header_len, '\0', (size_t)n)) {
        answer_error(c, 400);
        return;
    }
    c->header_len += (size_t)n;
    c->header[c->header_len] = '\0';
    if (header_is_whole(c))
        serve(a, c);
    else if (c->header_len == HEADER_MAX)
        answer_error(c, 431);
}

static void write_answer(struct conn *c)
{
    ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || c->out.bad) {
        free_conn(c);
        return;
    }
    c->sent += (size_t)n;
    if (c->sent < c->out.len)
        return;
    if (shutdown(c->fd, SHUT_WR) != 0) {
        free_conn(c);
        return;
    }
    c->state = CONN_CLOSING;
    c->deadline_us = clock_monotonic_us() + SECOND_US;
}

static void read_rest(struct conn *c)
{
    char unwanted[4096];
    ssize_t n = recv(c->fd, unwanted, sizeof(unwanted), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        free_conn(c);
}

static void on_ready(struct admin *a, struct conn *c)
{
    switch (c->state) {
    case CONN_READING:
        read_header(a, c);
        break;
    case CONN_WRITING:
        write_answer(c);
        break;
    case CONN_CLOSING:
        read_rest(c);
        break;
    case CONN_FREE:
        break;
    }
}

static void on_timeout(struct conn *c)
{
    if (c->state == CONN_READING && c->header_len > 0)
        answer_error(c, 408);
    else
        free_conn(c);
}

/* --- the thread
 * ------------------------------------------------------------------------------------ */

/* Fills fds (wake-up, listener, connections in their order) and gives the time to wait. */
static int prepare_poll(struct admin *a, struct pollfd *fds)
{
    int64_t next_us = INT64_MAX;
    bool full = true;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct conn *c = &a->conns[i];
        struct pollfd *p = &fds[2 + i];
        *p = (struct pollfd){ .fd = -1 };
        if (c->state == CONN_FREE) {
            full = false;
            continue;
        }
        p->fd = c->fd;
        p->events = c->state == CONN_WRITING ? POLLOUT : POLLIN;
        next_us = MIN(next_us, c->deadline_us);
    }
    fds[0] = (struct pollfd){ .fd = a->wake_fd, .events = POLLIN };
    int64_t now_us = clock_monotonic_us();
    bool paused = a->accept_after_us > now_us;
    if (paused)
        next_us = MIN(next_us, a->accept_after_us);
    fds[1] = (struct pollfd){ .fd = full || paused ? -1 : a->listen_fd, .events = POLLIN };
    if (next_us == INT64_MAX)
        return -1;
    int64_t left_us = next_us - now_us;
    return left_us <= 0 ? 0 : (int)(left_us / 1000) + 1;
}

static void *run(void *arg)
{
    struct admin *a = arg;
    struct pollfd fds[2 + CONNECTIONS];
    for (;;) {
        int timeout_ms = prepare_poll(a, fds);
        int n = poll(fds, ARRAY_LEN(fds), timeout_ms);
        if (n > 0 && fds[0].revents)
            return NULL;
        int64_t now_us = clock_monotonic_us();
        for (size_t i = 0; i < CONNECTIONS; i++) {
            struct conn *c = &a->conns[i];
            if (n > 0 && fds[2 + i].revents)
                on_ready(a, c);
            else if (c->state != CONN_FREE && now_us >= c->deadline_us)
                on_timeout(c);
        }
        if (n > 0 && fds[1].revents)
            accept_all(a);
    }
}

static void free_admin(struct admin *a)
{
    int saved = errno;
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (a->conns[i].state != CONN_FREE)
            free_conn(&a->conns[i]);
    if (a->listen_fd >= 0 && strncmp(a->address, "unix:", 5) == 0)
        (void)unlink(a->address + 5);
    net_closep(&a->listen_fd);
    net_closep(&a->wake_fd);
    free(a);
    errno = saved;
}

struct admin *admin_start(const char *address, const struct admin_hooks *hooks)
{
    struct admin *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->wake_fd = -1;
    a->hooks = *hooks;
    a->listen_fd = net_listen(address, CONNECTIONS, a->address);
    if (a->listen_fd >= 0)
        a->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (a->wake_fd < 0 || !thread_start(&a->thread, "admin", run, a)) {
        free_admin(a);
        return NULL;
    }
    return a;
}

const char *admin_address(const struct admin *a)
{
    return a->address;
}

void admin_stop(struct admin *a)
{
    if (!a)
        return;
    if (eventfd_write(a->wake_fd, 1) != 0)
        abort(); /* only a closed descriptor could refuse it, and that is our bug */
    (void)pthread_join(a->thread, NULL);
    free_admin(a);
}

/* --- the client
 * ------------------------------------------------------------------------------------ */

/* True when fd is ready for `events` before the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_us)
{
    struct pollfd p = { .fd = fd, .events = events };
    int64_t left_us = deadline_us - clock_monotonic_us();
    return left_us > 0 && poll(&p, 1, (int)(left_us / 1000) + 1) > 0;
}

int admin_health(const char *address)
{
    static const char question[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char good[] = "HTTP/1.1 200 ";
    char got[sizeof(good)] = "";
    size_t len = 0;
    int64_t deadline_us = clock_monotonic_us() + TIME_LIMIT_US;
    CLEANUP(net_closep) int fd = net_connect(address, (int)(TIME_LIMIT_US / 1000));
    if (fd < 0 ||
        send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof(question) - 1))
        return 1;
    while (len < sizeof(good) - 1 && wait_for(fd, POLLIN, deadline_us)) {
        ssize_t n = recv(fd, got + len, sizeof(good) - 1 - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return len == sizeof(good) - 1 && memcmp(got, good, len) == 0 ? 0 : 1;
}
