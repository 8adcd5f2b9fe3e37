/*
 * hooks.c - a receiver of webhooks that costs next to nothing: answers 204 and counts.
 *
 *   hooks PORT
 *
 * GET /stats gives what came since the last GET as one line of JSON: how many, in how many seconds
 * from the first to the last, and how long after the event's time (CloudEvents' "time") they came.
 */
#include <poll.h>
#include <time.h>

#include "common/clock.h"
#include "services/gateway/http/http.h"
#include "tests/bench/gear.h"
#include "tests/bench/hist.h"

struct hooks {
    struct hist latency;
    uint64_t count;
    int64_t first_ns, last_ns;
};

/* "2026-11-29T18:36:20.480199Z" in microseconds since 1970; -1: something else. */
static int64_t time_of(const char *body, size_t len)
{
    static const char key[] = "\"time\":\"";
    const char *at = memmem(body, len, key, sizeof(key) - 1);
    struct tm tm = { 0 };
    int us = 0, n = 0;

    if (!at || sscanf(at + sizeof(key) - 1, "%d-%d-%dT%d:%d:%d%n", &tm.tm_year, &tm.tm_mon,
                      &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &n) != 6)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    at += sizeof(key) - 1 + n;
    if (*at == '.')
        for (int i = 0, scale = 100000; i < 6 && at[1 + i] >= '0' && at[1 + i] <= '9';
             i++, scale /= 10)
            us += (at[1 + i] - '0') * scale;
    return (int64_t)timegm(&tm) * 1000000 + us;
}

static void stats(struct hooks *h, struct http_exchange *x)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FILE *kept = stdout;

    if (!out)
        die("out of memory");
    stdout = out; /* hist_print() writes there */
    double seconds = (double)(h->last_ns - h->first_ns) / 1e9;
    printf("{\"count\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,", h->count, seconds,
           seconds > 0 ? (double)h->count / seconds : 0);
    hist_print(&h->latency, "");
    printf("}\n");
    stdout = kept;
    (void)fclose(out);
    http_answer(x, 200, text, len);
    free(text);
    *h = (struct hooks){ 0 };
}

static void handle(void *arg, struct http_exchange *x)
{
    struct hooks *h = arg;
    size_t len;
    const char *body = http_body(x, &len);

    if (http_method(x) == HTTP_GET) {
        stats(h, x);
        return;
    }
    int64_t happened_us = time_of(body, len);
    if (happened_us < 0)
        die("not a CloudEvent: %.*s", (int)len, body);
    hist_add(&h->latency, (clock_wall_us() - happened_us) * 1000);
    h->last_ns = now_ns();
    if (h->count++ == 0)
        h->first_ns = h->last_ns;
    http_answer(x, 204, "", 0);
}

static void ignore(void *arg, struct http_exchange *x)
{
    (void)arg;
    (void)x;
}

int main(int argc, char **argv)
{
    static struct hooks h;
    char address[64];

    if (argc != 2)
        die("usage: hooks PORT");
    snprintf(address, sizeof(address), "127.0.0.1:%s", argv[1]);
    struct http_loop *l = http_loop_new(
        address, &http_limits_default,
        &(struct http_handler){ .handle = handle, .gone = ignore, .drained = ignore, .arg = &h });
    if (!l)
        die("cannot listen at %s", address);
    for (;;) {
        struct pollfd fd = { .fd = http_loop_fd(l), .events = POLLIN };
        int64_t wait_us = http_loop_wait_us(l);
        (void)poll(&fd, 1, wait_us == INT64_MAX ? 1000 : (int)MIN((wait_us + 999) / 1000, 1000));
        http_loop_run(l);
    }
}
