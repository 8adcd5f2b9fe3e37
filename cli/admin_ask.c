/*
 * admin_ask.c - see admin_ask.h.
 */
#include "cli/admin_ask.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/net.h"
#include "common/num.h"

static bool wait_fd(int fd, short events, int64_t until_us)
{
    struct pollfd p = { .fd = fd, .events = events };
    for (;;) {
        int64_t left_us = until_us - clock_monotonic_us();
        int n = left_us <= 0 ? 0 : poll(&p, 1, (int)(left_us / 1000 + 1));
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

static bool send_all(int fd, const char *text, int64_t until_us)
{
    for (size_t at = 0, len = strlen(text); at < len;) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        else if (!wait_fd(fd, POLLOUT, until_us))
            return false;
    }
    return true;
}

/* To the end of the connection. */
static bool receive_all(int fd, struct sbuf *out, int64_t until_us)
{
    char buf[8192];
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n > 0)
            sbuf_add(out, buf, (size_t)n);
        else if (n == 0)
            return !out->bad;
        else if (errno != EAGAIN && errno != EINTR)
            return false;
        else if (!wait_fd(fd, POLLIN, until_us))
            return false;
    }
}

/* Takes the header off; the status, 0: not HTTP. */
static int take_header(struct sbuf *page)
{
    int64_t status;
    char *body = strstr(page->data, "\r\n\r\n");
    if (!body || page->len < 12 || strncmp(page->data, "HTTP/1.", 7) != 0 ||
        !num_i64_n(page->data + 9, 3, 100, 599, &status))
        return 0;
    body += 4;
    page->len -= (size_t)(body - page->data);
    memmove(page->data, body, page->len + 1);
    return (int)status;
}

int admin_ask(const char *address, const char *path, int timeout_ms, struct sbuf *out)
{
    char request[200];
    int64_t until_us = clock_monotonic_us() + timeout_ms * MSEC_US;
    CLEANUP(net_closep) int fd = net_connect(address, timeout_ms);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: daybook\r\nConnection: close\r\n\r\n", path);
    if (fd < 0 || !send_all(fd, request, until_us) || !receive_all(fd, out, until_us))
        return 0;
    return take_header(out);
}

bool admin_metric(const char *page, const char *name, const char *label, double *out)
{
    size_t len = strlen(name);
    bool found = false;
    double sum = 0;
    for (const char *line = page; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t n = strcspn(line, "\n");
        char text[512];
        double v;
        if (n >= sizeof text || strncmp(line, name, len) != 0 || !strchr("{ ", line[len]))
            continue;
        memcpy(text, line, n);
        text[n] = '\0';
        const char *value = strrchr(text, ' ');
        if (!value || (label && !strstr(text, label)) || !num_double(value + 1, &v))
            continue;
        sum += v;
        found = true;
    }
    if (found)
        *out = sum;
    return found;
}

/* --- histograms ------------------------------------------------------------------------------- */

#define BUCKETS_MAX 64

/* Cumulative counts by upper bound, in the order of the page's first series. */
struct buckets {
    double le[BUCKETS_MAX], count[BUCKETS_MAX];
    size_t n;
};

static void add_bucket(struct buckets *b, double le, double count)
{
    size_t i = 0;
    while (i < b->n && b->le[i] != le)
        i++;
    if (i == BUCKETS_MAX)
        return;
    if (i == b->n) {
        b->le[b->n] = le;
        b->count[b->n++] = 0;
    }
    b->count[i] += count;
}

/* `name_bucket{...,le="0.01"} 12`; sign: -1 takes them off. */
static void add_page(struct buckets *b, const char *page, const char *name, double sign)
{
    char prefix[128];
    int len = snprintf(prefix, sizeof prefix, "%s_bucket{", name);

    for (const char *line = page; line && *line; line = strchr(line, '\n')) {
        char text[512], *le, *end;
        double bound, count;
        line += *line == '\n';
        size_t n = strcspn(line, "\n");
        if (n >= sizeof text || strncmp(line, prefix, (size_t)len) != 0)
            continue;
        memcpy(text, line, n);
        text[n] = '\0';
        char *space = strstr(text, "} ");
        if (!(le = strstr(text, "le=\"")) || !space || !(end = strchr(le += 4, '"')))
            continue;
        *end = '\0';
        if (strcmp(le, "+Inf") == 0)
            bound = HUGE_VAL;
        else if (!num_double(le, &bound))
            continue;
        space[2 + strcspn(space + 2, " ")] = '\0'; /* an exemplar may follow */
        if (num_double(space + 2, &count))
            add_bucket(b, bound, sign * count);
    }
}

bool admin_quantile(const char *before, const char *page, const char *name, double q, double *out)
{
    struct buckets b = { .n = 0 };
    add_page(&b, page, name, 1);
    add_page(&b, before, name, -1);
    double total = b.n ? b.count[b.n - 1] : 0, wanted = q * total;
    if (total <= 0)
        return false;
    size_t i = 0;
    while (i + 1 < b.n && b.count[i] < wanted)
        i++;
    double low = i ? b.le[i - 1] : 0, under = i ? b.count[i - 1] : 0;
    if (b.le[i] == HUGE_VAL || b.count[i] <= under)
        *out = low;
    else
        *out = low + (b.le[i] - low) * (wanted - under) / (b.count[i] - under);
    return true;
}
