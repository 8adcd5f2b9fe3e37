/*
 * streams.c - many subscribers of EventService/StreamEvents: what they get, and how late.
 *
 *   streams --port N --streams N --after SEQ --type TYPE --seconds S     DAYBOOK_BENCH_KEY: the API key
 *
 * Says "ready" when each has had its first message, hears for so many seconds and prints one line of
 * JSON: messages over all streams, the rate, and the time from the event (occurred_at) to its arrival.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "tests/bench/gear.h"
#include "tests/bench/hist.h"

#define STREAMS_MAX 8192
#define BUFFER 65536

struct stream {
    int fd;
    bool has_header; /* of HTTP */
    bool has_first;
    size_t len;
    uint8_t data[BUFFER];
};

struct streams {
    struct stream *list;
    int n, epoll;
    int ready;
    bool counts;
    uint64_t events;
    int64_t first_ns, last_ns;
    struct hist latency;
};

static void ask(struct stream *s, int port, const char *key,
                const Daybook__Bus__V1__StreamEventsRequest *r)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint8_t body[512];
    char head[1024];
    size_t len = daybook__bus__v1__stream_events_request__get_packed_size(r);

    if (len > sizeof(body) - 5)
        die("the request is too long");
    daybook__bus__v1__stream_events_request__pack(r, body + 5);
    memset(body, 0, 4);
    body[4] = (uint8_t)len;
    /* 1.0: the answer ends with the connection, and its parts have no frame of HTTP's */
    int n = snprintf(head, sizeof(head),
                     "POST /daybook.bus.v1.EventService/StreamEvents HTTP/1.0\r\nHost: x\r\n"
                     "Authorization: Bearer %s\r\nContent-Type: application/connect+proto\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     key, len + 5);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
        write(s->fd, head, (size_t)n) != n || write(s->fd, body, len + 5) != (ssize_t)(len + 5))
        die("cannot ask: %s", strerror(errno));
    if (fcntl(s->fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
}

static void take_message(struct streams *l, struct stream *s, const uint8_t *data, size_t len)
{
    Daybook__Bus__V1__StreamEventsResponse *r =
        daybook__bus__v1__stream_events_response__unpack(NULL, len, data);

    if (!r)
        die("not a StreamEventsResponse");
    if (!s->has_first) {
        s->has_first = true;
        l->ready++;
    }
    if (r->message_case == DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__MESSAGE_EVENT && l->counts) {
        const Google__Protobuf__Timestamp *at = r->event->occurred_at;
        int64_t happened_us = at->seconds * 1000000 + at->nanos / 1000;
        hist_add(&l->latency, (clock_wall_us() - happened_us) * 1000);
        l->last_ns = now_ns();
        if (l->events++ == 0)
            l->first_ns = l->last_ns;
    }
    daybook__bus__v1__stream_events_response__free_unpacked(r, NULL);
}

static size_t cut_header(struct stream *s)
{
    const uint8_t *end = memmem(s->data, s->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (strncmp((const char *)s->data + 8, " 200", 4) != 0)
        die("answered: %.200s", (const char *)s->data);
    s->has_header = true;
    return (size_t)(end - s->data) + 4;
}

static void take(struct streams *l, struct stream *s)
{
    size_t at = 0;

    if (!s->has_header)
        at = cut_header(s);
    while (s->has_header && s->len - at >= 5) {
        size_t len = (size_t)s->data[at + 1] << 24 | (size_t)s->data[at + 2] << 16 |
                     (size_t)s->data[at + 3] << 8 | s->data[at + 4];
        if (s->data[at] & 2)
            die("a stream ended: %.200s", (const char *)s->data + at + 5);
        if (len + 5 > BUFFER)
            die("a message of %zu bytes", len);
        if (s->len - at < 5 + len)
            break;
        take_message(l, s, s->data + at + 5, len);
        at += 5 + len;
    }
    memmove(s->data, s->data + at, s->len - at);
    s->len -= at;
}

static void hear(struct streams *l, int64_t until_ns, bool until_ready)
{
    struct epoll_event ready[256];

    while (now_ns() < until_ns && !(until_ready && l->ready == l->n)) {
        int n = epoll_wait(l->epoll, ready, ARRAY_LEN(ready), 50);
        for (int i = 0; i < n; i++) {
            struct stream *s = &l->list[ready[i].data.u32];
            ssize_t got = read(s->fd, s->data + s->len, BUFFER - s->len);
            if (got <= 0)
                die("a stream broke off");
            s->len += (size_t)got;
            take(l, s);
        }
    }
}

int main(int argc, char **argv)
{
    struct gear_option o[] = {
        { "port", "0" }, { "streams", "1000" }, { "after", "0" }, { "type", "" }, { "seconds", "3" }
    };
    size_t n = ARRAY_LEN(o);
    static struct streams l;
    const char *key = getenv("DAYBOOK_BENCH_KEY");

    gear_options(o, n, argc - 1, argv + 1);
    l.n = (int)gear_number(o, n, "streams");
    if (!key || l.n < 1 || l.n > STREAMS_MAX)
        die("DAYBOOK_BENCH_KEY, and 1 to %d streams", STREAMS_MAX);
    l.list = calloc((size_t)l.n, sizeof(*l.list));
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!l.list || l.epoll < 0)
        die("out of memory");
    union {
        const char *in;
        char *out;
    } type = { .in = gear_text(o, n, "type") };
    Daybook__Bus__V1__StreamEventsRequest r = DAYBOOK__BUS__V1__STREAM_EVENTS_REQUEST__INIT;
    r.after_seq = (int64_t)gear_number(o, n, "after");
    r.n_types = 1;
    r.types = &type.out;
    for (int i = 0; i < l.n; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = (uint32_t)i };
        ask(&l.list[i], (int)gear_number(o, n, "port"), key, &r);
        if (epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.list[i].fd, &e) != 0)
            die("epoll");
    }
    hear(&l, now_ns() + INT64_C(30000000000), true);
    if (l.ready < l.n)
        die("only %d of %d streams began", l.ready, l.n);
    puts("ready");
    (void)fflush(stdout);
    l.counts = true;
    hear(&l, now_ns() + (int64_t)(gear_number(o, n, "seconds") * 1e9), false);
    double seconds = (double)(l.last_ns - l.first_ns) / 1e9;
    printf("{\"count\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,", l.events, seconds,
           seconds > 0 ? (double)l.events / seconds : 0);
    hist_print(&l.latency, "");
    puts("}");
    return 0;
}
