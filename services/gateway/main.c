/*
 * main.c - the gateway: HTTP for everybody who does not speak to the bus himself.
 *
 * Each of its loops is a thread with its own listener at one port, its own connections and its own
 * socket to the bus: nothing is shared, and nothing waits.
 */
#include <poll.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "services/gateway/calendar_feed.h"
#include "services/gateway/connect.h"
#include "services/gateway/http.h"
#include "services/gateway/pages.h"
#include "services/gateway/rpc.h"
#include "services/gateway/sql.h"
#include "services/gateway/upstream.h"

#define LOOPS 2
#define TURN_MAX_US (250 * MSEC_US)
#define HURRY_US (2 * SECOND_US) /* after the begin of a stop */

struct loop {
    const struct pages *pages;
    struct http_loop *http;
    struct connect *connect;
    struct upstream *upstream;
    struct recent *recent;
    struct streams *streams;
    struct rpc *rpc;
    struct calendar_feeds *feeds;
};

struct gateway {
    struct limit *limit;
    struct pages *pages;
    struct loop loops[LOOPS];
    atomic_int next; /* loop for the next thread */
    atomic_bool connected[LOOPS];
    atomic_uint open[LOOPS]; /* exchanges, while it stops */
};

static struct setting settings[] = {
    { .key = "HTTP_LISTEN",
      .type = SETTING_TEXT,
      .default_value = "127.0.0.1:8080",
      .help =
          "Where HTTP is served, host:port. TLS and HTTP/2 are a proxy's task in front of it." },
    { .key = "HTTP_PUBLIC_URL",
      .type = SETTING_TEXT,
      .help =
          "How we are reached from outside, such as https://daybook.example.com; its host is part "
          "of "
          "the UIDs of calendars, so set it before anybody subscribes. Unset: http:// and where "
          "HTTP is served." },
    { .key = "HTTP_CORS_ORIGINS",
      .type = SETTING_TEXT,
      .help = "Origins whose pages may call, parted by commas, or *; unset: none." },
    { .key = "HTTP_CONNECTIONS",
      .type = SETTING_INT,
      .default_value = "8000",
      .min = 10,
      .max = 1000000,
      .help = "Connections that stand at one time; more are refused." },
    { .key = "HTTP_RATE",
      .type = SETTING_INT,
      .default_value = "200",
      .max = 1000000,
      .help = "Requests a second of one API key to this gateway, with twice as many at once; 0: no "
              "limit." },
    { 0 },
};

/* --- a loop ------------------------------------------------------------------------------------- */

static void on_request(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!pages_serve(l->pages, x) && !calendar_feeds_serve(l->feeds, x))
        connect_handle(l->connect, x);
}

static void on_gone(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!calendar_feeds_gone(l->feeds, x))
        connect_gone(l->connect, x);
}

static void on_drained(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;
    connect_drained(l->connect, x);
}

static bool loop_init(struct loop *l, struct daemon *d, const struct gateway *g,
                      const char *address)
{
    struct http_limits limits = http_limits_default;

    l->pages = g->pages;
    limits.connections_max = (unsigned)daemon_setting(d, "HTTP_CONNECTIONS")->i64 / LOOPS;
    l->upstream = upstream_new(daemon_zmq_context(d), daemon_bus_address(d));
    l->recent = recent_new(daemon_zmq_context(d), daemon_bus_address(d));
    if (l->upstream && l->recent)
        l->streams = streams_new(l->recent, l->upstream);
    if (l->streams)
        l->rpc = rpc_new(l->upstream, l->streams, g->limit);
    l->connect = connect_new(&(struct connect_config){
        .message_max = limits.body_max,
        .cors_origin = daemon_setting(d, "HTTP_CORS_ORIGINS")->text,
        .admit = rpc_admit,
        .on_call = rpc_take,
        .on_gone = rpc_gone,
        .on_drained = rpc_drained,
        .arg = l->rpc,
    });
    l->http = l->rpc && l->connect ? http_loop_new(address, &limits,
                                                   &(struct http_handler){ .handle = on_request,
                                                                           .gone = on_gone,
                                                                           .drained = on_drained,
                                                                           .arg = l })
                                   : NULL;
    return l->http != NULL;
}

static void loop_fini(struct loop *l)
{
    http_loop_free(l->http);
    connect_free(l->connect);
    calendar_feeds_free(l->feeds);
    rpc_free(l->rpc);
    streams_free(l->streams);
    recent_free(l->recent);
    upstream_free(l->upstream);
}

static void turn(struct loop *l)
{
    struct pollfd fds[] = { { .fd = http_loop_fd(l->http), .events = POLLIN },
                            { .fd = upstream_fd(l->upstream), .events = POLLIN },
                            { .fd = recent_fd(l->recent), .events = POLLIN } };
    int64_t now_us = clock_monotonic_us();
    int64_t wait_us = MIN(TURN_MAX_US, http_loop_wait_us(l->http));

    wait_us = MIN(wait_us, connect_wait_us(l->connect, now_us));
    wait_us = MIN(wait_us, streams_wait_us(l->streams));
    if (recent_has_more(l->recent))
        wait_us = 0;
    wait_us = MIN(wait_us, upstream_wait_us(l->upstream)); /* last, as it says */
    (void)poll(fds, ARRAY_LEN(fds), (int)((wait_us + MSEC_US - 1) / MSEC_US));
    http_loop_run(l->http);
    upstream_run(l->upstream);
    streams_run(l->streams, recent_run(l->recent));
    connect_tick(l->connect, clock_monotonic_us());
}

static bool is_anybody_there(struct gateway *g)
{
    for (int i = 0; i < LOOPS; i++)
        if (atomic_load(&g->open[i]))
            return true;
    return false;
}

/* Who was taken is answered: the deadline of his call ends that. All loops turn until all are done,
 * since requests may come on connections that stand. */
static void drain(struct gateway *g, int index)
{
    struct loop *l = &g->loops[index];
    int64_t hurry_us = clock_monotonic_us() + HURRY_US;

    streams_end(l->streams);
    http_loop_quiesce(l->http);
    do {
        turn(l);
        if (clock_monotonic_us() >= hurry_us)
            http_loop_hurry(l->http);
        atomic_store(&g->open[index], http_loop_exchanges(l->http));
    } while (is_anybody_there(g));
}

static void run(struct daemon *d, void *daemon_data)
{
    struct gateway *g = daemon_data;
    int index = atomic_fetch_add(&g->next, 1);
    struct loop *l = &g->loops[index];

    atomic_store(&g->open[index], 1); /* until it has drained */
    while (!daemon_stopping(d)) {
        turn(l);
        atomic_store(&g->connected[index], upstream_is_connected(l->upstream));
    }
    drain(g, index);
}

/* --- the daemon --------------------------------------------------------------------------------- */

static void stop(void *daemon_data)
{
    struct gateway *g = daemon_data;

    for (int i = 0; g && i < LOOPS; i++)
        loop_fini(&g->loops[i]);
    if (g) {
        limit_free(g->limit);
        pages_free(g->pages);
    }
    free(g);
}

/* How we are seen from outside; unless set, where the loops listen. False: logged. */
static bool find_public_url(const struct daemon *d, const char *listening, struct public_url *out)
{
    const char *set = daemon_setting(d, "HTTP_PUBLIC_URL")->text;
    char text[PUBLIC_URL_MAX];

    snprintf(text, sizeof(text), "http://%s", listening);
    if (set && *set ? public_url_parse(set, out)
                    : public_url_parse(text, out) || public_url_parse("http://localhost", out))
        return true;
    log_error("gateway.settings",
              "DAYBOOK_HTTP_PUBLIC_URL: http:// or https://, a host, and perhaps a port", NULL);
    return false;
}

/* False: logged, or no memory. */
static bool add_feeds(struct gateway *g, const struct daemon *d, const char *listening)
{
    struct public_url url;

    if (!find_public_url(d, listening, &url))
        return false;
    for (int i = 0; i < LOOPS; i++) {
        g->loops[i].feeds = calendar_feeds_new(g->loops[i].upstream, g->limit, &url);
        if (!g->loops[i].feeds)
            return false;
    }
    return true;
}

static void *start(struct daemon *d, bool *ok_out)
{
    const char *address = daemon_setting(d, "HTTP_LISTEN")->text;
    struct gateway *g = calloc(1, sizeof(*g));
    char shared[128];

    rpc_register_metrics();
    calendar_feeds_register_metrics();
    int64_t rate = daemon_setting(d, "HTTP_RATE")->i64;
    if (g) {
        g->limit = limit_new(rate, 2 * rate);
        g->pages = pages_new();
    }
    *ok_out = g && g->limit && g->pages && loop_init(&g->loops[0], d, g, address);
    if (*ok_out) { /* the others listen where the first does, whatever port it got */
        const char *colon = strrchr(address, ':');
        snprintf(shared, sizeof(shared), "%.*s:%u", (int)(colon - address), address,
                 http_loop_port(g->loops[0].http));
        log_info("gateway.listen", "HTTP is served", "address", shared, NULL);
    }
    for (int i = 1; i < LOOPS && *ok_out; i++)
        *ok_out = loop_init(&g->loops[i], d, g, shared);
    *ok_out = *ok_out && add_feeds(g, d, shared);
    if (!*ok_out) {
        stop(g);
        return NULL;
    }
    return g;
}

static bool ready(void *daemon_data, const char **reason_out)
{
    struct gateway *g = daemon_data;

    for (int i = 0; i < LOOPS; i++)
        if (!atomic_load(&g->connected[i])) {
            *reason_out = "no bus takes requests";
            return false;
        }
    return true;
}

int main(int argc, char **argv)
{
    static const struct daemon_thread threads[LOOPS] = { { "http-0", run }, { "http-1", run } };
    const struct daemon_def def = {
        .name = "gateway",
        .schema = "gateway",
        .admin_listen = "127.0.0.1:9607",
        .settings = settings,
        .migrations = gateway_migrations,
        .nmigrations = gateway_migrations_len,
        .threads = threads,
        .nthreads = LOOPS,
        .proves_api_keys = true,
        .needs_master_key = true,
        .start = start,
        .stop = stop,
        .ready = ready,
    };

    return daemon_run(&def, argc, argv);
}
