/*
 * http_load.c - RecordInteraction over HTTP by many API keys, in phases (phases.h), as one line of JSON.
 *
 *   http_load --port N --keys FILE --phases R:S,... [--connections N] [--addresses N] ...
 *
 * FILE has a line for each key: the key, a blank, and the number of its employee, who records for
 * customers of his own. Keys take turns. Each connection has one request at a time and stands
 * until the server ends it; it comes from one of --addresses addresses of this machine, 127.0.1.1
 * and the next ones. What is due while no connection is free waits here, and that time counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/num.h"
#include "common/schema.h"
#include "tests/bench/gear.h"
#include "tests/bench/phases.h"
#include "tests/bench/samples.h"

#define CONNECTIONS_MAX 4096
#define BUFFER 16384
#define GRACE_NS INT64_C(12000000000)
#define ADDRESSES_FROM 0x7f000101 /* 127.0.1.1 */

struct question {
    char *bytes;
    size_t len;
};

struct connection {
    int fd, place;
    bool busy;
    int64_t due_ns;
    size_t len;
    char data[BUFFER];
};

struct load {
    struct connection *list, **idle;
    int n, nidle, addresses, port, epoll, nbusy;
    struct question *questions;
    size_t nquestions, next;
    struct phases *phases;
    uint64_t broken;
};

/* --- questions -------------------------------------------------------------------------------- */

/* Of that employee's customers, the first: see samples.c, where the n-th sample's rep is (n + 1) % employees + 1. */
static const struct sample *sample_of(const struct samples *s, size_t employee, size_t employees)
{
    return &s->item[(employee + employees - 2) % employees % s->n];
}

static void add_question(struct load *l, const struct samples *s, const struct sample *sample,
                         const char *key, unsigned timeout_ms)
{
    char head[1024];
    int n = snprintf(
        head, sizeof head,
        "POST /%s/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/proto\r\nConnect-Timeout-Ms: %u\r\nContent-Length: %zu\r\n\r\n",
        s->service, s->method, key, timeout_ms, sample->message_len);
    struct question *q = &l->questions[l->nquestions++];
    q->len = (size_t)n + sample->message_len;
    q->bytes = malloc(q->len);
    if (!q->bytes || n >= (int)sizeof head)
        die("a request does not fit");
    memcpy(q->bytes, head, (size_t)n);
    memcpy(q->bytes + n, sample->message, sample->message_len);
}

static void read_keys(struct load *l, const char *path, const struct samples *s, size_t employees,
                      unsigned timeout_ms)
{
    char line[512];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        char *blank = strchr(line, ' ');
        int64_t employee;
        if (!blank ||
            !num_i64_n(blank + 1, strcspn(blank + 1, "\n"), 1, (int64_t)employees, &employee))
            die("%s: not a key and an employee: %s", path, line);
        *blank = '\0';
        l->questions = reallocarray(l->questions, l->nquestions + 1, sizeof *l->questions);
        if (!l->questions)
            die("out of memory");
        add_question(l, s, sample_of(s, (size_t)employee, employees), line, timeout_ms);
    }
    if (!f || l->nquestions == 0)
        die("no keys in %s", path);
    fclose(f);
}

/* --- connections ------------------------------------------------------------------------------ */

static void open_connection(struct load *l, struct connection *c)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = from;
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    int one = 1;
    from.sin_addr.s_addr = htonl(ADDRESSES_FROM + (uint32_t)(c->place % l->addresses));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)l->port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die("cannot connect: %s", strerror(errno));
    c->len = 0;
    c->busy = false;
    l->idle[l->nidle++] = c;
}

/* Ended by the server: between two requests that is its right. */
static void reopen(struct load *l, struct connection *c)
{
    close(c->fd);
    if (c->busy) {
        l->broken++;
        l->nbusy--;
        phases_answer(l->phases, c->due_ns, now_ns(), ERR_INTERNAL);
    } else {
        for (int i = 0; i < l->nidle; i++)
            if (l->idle[i] == c)
                l->idle[i] = l->idle[--l->nidle];
    }
    open_connection(l, c);
}

static void send_one(struct load *l, int64_t now)
{
    struct connection *c = l->idle[--l->nidle];
    const struct question *q = &l->questions[l->next++ % l->nquestions];
    c->due_ns = phases_send(l->phases, now);
    c->busy = true;
    l->nbusy++;
    /* nothing else is under way on it, so there is room for all of a small request */
    if (send(c->fd, q->bytes, q->len, MSG_NOSIGNAL) != (ssize_t)q->len)
        reopen(l, c);
}

static void send_due(struct load *l)
{
    for (int64_t now = now_ns(); l->nidle > 0 && phases_due_ns(l->phases, now) <= now;
         now = now_ns())
        send_one(l, now);
}

/* --- answers ---------------------------------------------------------------------------------- */

static enum err code_of(const char *head)
{
    static const struct {
        const char *status;
        enum err code;
    } codes[] = {
        { "200", ERR_OK },
        { "429", ERR_RESOURCE_EXHAUSTED },
        { "503", ERR_UNAVAILABLE },
        { "504", ERR_DEADLINE_EXCEEDED },
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strncmp(head + strlen("HTTP/1.1 "), codes[i].status, 3) == 0)
            return codes[i].code;
    static bool told;
    if (!told)
        fprintf(stderr, "http_load: an answer of another kind: %.300s\n", head);
    told = true;
    return ERR_INTERNAL;
}

/* Of the answer that is there; 0: its header is not whole. */
static size_t answer_len(const struct connection *c)
{
    const char *end = memmem(c->data, c->len, "\r\n\r\n", 4);
    int64_t body = 0;
    if (!end)
        return 0;
    const char *field = strcasestr(c->data, "\r\nContent-Length: ");
    if (field && field < end) {
        field += strlen("\r\nContent-Length: ");
        if (!num_i64_n(field, strcspn(field, "\r"), 0, BUFFER, &body))
            die("an answer too large");
    }
    return (size_t)(end - c->data) + 4 + (size_t)body;
}

static void hear(struct load *l, struct connection *c)
{
    ssize_t got = read(c->fd, c->data + c->len, sizeof c->data - 1 - c->len);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        reopen(l, c);
        return;
    }
    c->len += (size_t)got;
    c->data[c->len] = '\0';
    size_t len = answer_len(c);
    if (len == 0 || c->len < len)
        return;
    if (!c->busy || c->len > len)
        die("an answer that nobody asked for: %.200s", c->data);
    phases_answer(l->phases, c->due_ns, now_ns(), code_of(c->data));
    c->busy = false;
    c->len = 0;
    l->nbusy--;
    l->idle[l->nidle++] = c;
}

static void run(struct load *l)
{
    struct epoll_event ready[256];
    phases_begin(l->phases, now_ns());
    for (int64_t now = now_ns(), end = phases_end_ns(l->phases);
         now < end || (l->nbusy > 0 && now < end + GRACE_NS); now = now_ns()) {
        send_due(l);
        int64_t left_ns = l->nidle ? phases_due_ns(l->phases, now) - now_ns() : INT64_MAX;
        int n = epoll_wait(l->epoll, ready, ARRAY_LEN(ready),
                           left_ns < 1000000    ? 0
                           : left_ns < 20000000 ? 1
                                                : 20);
        for (int i = 0; i < n; i++)
            hear(l, ready[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    struct gear_option o[] = {
        { "port", "0" },         { "keys", "" },         { "phases", "0:3" },
        { "connections", "64" }, { "addresses", "1" },   { "deadline", "5000" },
        { "customers", "2000" }, { "employees", "500" }, { "bytes", "256" },
    };
    size_t n = ARRAY_LEN(o);
    static struct load l;
    gear_options(o, n, argc - 1, argv + 1);
    schema_init();
    struct arena *arena = arena_new(64 * MIB);
    size_t employees = (size_t)gear_number(o, n, "employees");
    unsigned deadline_ms = (unsigned)gear_number(o, n, "deadline");
    struct samples samples =
        samples_make(&(struct samples_def){ .kind = "record",
                                            .bytes = (size_t)gear_number(o, n, "bytes"),
                                            .customers = (size_t)gear_number(o, n, "customers"),
                                            .employees = employees,
                                            .tenant = BENCH_TENANT },
                     arena);
    read_keys(&l, gear_text(o, n, "keys"), &samples, employees, deadline_ms);
    l.phases = phases_new(gear_text(o, n, "phases"), deadline_ms * INT64_C(1000));
    l.n = (int)gear_number(o, n, "connections");
    l.addresses = (int)gear_number(o, n, "addresses");
    l.port = (int)gear_number(o, n, "port");
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l.n < 1 || l.n > CONNECTIONS_MAX || l.addresses < 1 || l.addresses > 200)
        die("1 to %d connections of 1 to 200 addresses", CONNECTIONS_MAX);
    l.list = calloc((size_t)l.n, sizeof *l.list);
    l.idle = calloc((size_t)l.n, sizeof *l.idle);
    if (!l.list || !l.idle || l.epoll < 0)
        die("out of memory");
    for (int i = 0; i < l.n; i++) {
        l.list[i].place = i;
        open_connection(&l, &l.list[i]);
    }
    run(&l);
    phases_print(l.phases);
    if (l.broken)
        fprintf(stderr, "http_load: %" PRIu64 " connections broke under a request\n", l.broken);
    return 0;
}
