/*
 * front.c - see front.h.
 */
#include "services/gateway/front.h"

#include <poll.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "services/gateway/calendar/calendar_feed.h"
#include "services/gateway/connect/connect.h"
#include "services/gateway/http/http.h"
#include "services/gateway/pages/pages.h"
#include "services/gateway/connect/rpc.h"
#include "services/gateway/transfer/transfer_http.h"
#include "services/gateway/connect/upstream.h"

#define TURN_MAX_US (250 * MSEC_US)
#define HURRY_US (2 * SECOND_US) /* after the begin of a stop */

static struct metric body_bytes = {
    .name = "daybook_gateway_body_bytes",
    .type = METRIC_GAUGE,
    .help = "Bytes of requests' bodies that are held, of DAYBOOK_HTTP_BODY_TOTAL.",
};

static struct metric body_bytes_max = {
    .name = "daybook_gateway_body_bytes_max",
    .type = METRIC_GAUGE,
    .help = "DAYBOOK_HTTP_BODY_TOTAL: what daybook_gateway_body_bytes may come to.",
};

void front_register_metrics(size_t body_max)
{
    metric_register(&body_bytes);
    metric_register(&body_bytes_max);
    metric_set(&body_bytes_max, (double)body_max, NULL);
}

/* --- a loop ------------------------------------------------------------------------------------- */

/* Strangers are refused before they have sent a body. */
static void on_begin(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!transfers_begin(l->transfers, x))
        connect_open(l->connect, x);
}

static bool on_piece(void *arg, struct http_exchange *x, const void *data, size_t len)
{
    struct loop *l = arg;
    return transfers_piece(l->transfers, x, data, len);
}

static void on_request(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!pages_serve(l->pages, x) && !calendar_feeds_serve(l->feeds, x) &&
        !transfers_handle(l->transfers, x))
        connect_handle(l->connect, x);
}

static void on_gone(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!calendar_feeds_gone(l->feeds, x) && !transfers_gone(l->transfers, x))
        connect_gone(l->connect, x);
}

static void on_drained(void *arg, struct http_exchange *x)
{
    struct loop *l = arg;

    if (!transfers_drained(l->transfers, x))
        connect_drained(l->connect, x);
}

bool front_open(struct loop *l, struct daemon *d, const struct gateway *g, const char *address)
{
    struct http_limits limits = http_limits_default;

    l->pages = g->pages;
    l->bodies = limits.budget = g->bodies;
    limits.connections_max = (unsigned)daemon_setting(d, "HTTP_CONNECTIONS")->i64 / LOOPS;
    limits.address_max = (unsigned)daemon_setting(d, "HTTP_ADDRESS_CONNECTIONS")->i64;
    limits.unlimited = identity_proxies(g->identity);
    l->upstream = upstream_new(daemon_zmq_context(d), daemon_bus_address(d));
    l->recent = recent_new(daemon_zmq_context(d), daemon_bus_address(d));
    if (l->upstream && l->recent)
        l->streams = streams_new(l->recent, l->upstream, g->identity);
    if (l->streams)
        l->rpc = rpc_new(l->upstream, l->streams, g->identity);
    l->connect = connect_new(&(struct connect_config){
        .message_max = limits.body_max,
        .cors_origin = daemon_setting(d, "HTTP_CORS_ORIGINS")->text,
        .error_domain = ERR_DOMAIN,
        .admit = rpc_admit,
        .on_unreadable = rpc_unreadable,
        .on_call = rpc_take,
        .on_gone = rpc_gone,
        .on_drained = rpc_drained,
        .arg = l->rpc,
    });
    l->http = l->rpc && l->connect ? http_loop_new(address, &limits,
                                                   &(struct http_handler){ .begin = on_begin,
                                                                           .handle = on_request,
                                                                           .piece = on_piece,
                                                                           .gone = on_gone,
                                                                           .drained = on_drained,
                                                                           .arg = l })
                                   : NULL;
    return l->http != NULL;
}

void front_close(struct loop *l)
{
    http_loop_free(l->http);
    connect_free(l->connect);
    calendar_feeds_free(l->feeds);
    transfers_free(l->transfers);
    rpc_free(l->rpc);
    streams_free(l->streams);
    recent_free(l->recent);
    upstream_free(l->upstream);
}

static void turn(struct loop *l)
{
    struct pollfd fds[] = { { .fd = http_loop_fd(l->http), .events = POLLIN },
                            { .fd = upstream_fd(l->upstream), .events = POLLIN },
                            { .fd = recent_fd(l->recent), .events = POLLIN },
                            { .fd = transfers_fd(l->transfers), .events = POLLIN } };
    int64_t now_us = clock_monotonic_us();
    int64_t wait_us = MIN(TURN_MAX_US, http_loop_wait_us(l->http));

    wait_us = MIN(wait_us, connect_wait_us(l->connect, now_us));
    wait_us = MIN(wait_us, streams_wait_us(l->streams));
    wait_us = MIN(wait_us, recent_wait_us(l->recent));
    wait_us = MIN(wait_us, upstream_wait_us(l->upstream)); /* last, as it says */
    (void)poll(fds, ARRAY_LEN(fds), (int)((wait_us + MSEC_US - 1) / MSEC_US));
    upstream_run(l->upstream);
    transfers_run(l->transfers);
    streams_run(l->streams, recent_run(l->recent));
    http_loop_run(l->http); /* now, so that what has just been answered goes out in it */
    upstream_send(l->upstream);
    connect_tick(l->connect, clock_monotonic_us());
    /* Each turn, so that what the loops overwrite of each other is right a moment later. */
    metric_set(&body_bytes, (double)http_budget_held(l->bodies), NULL);
}

/* One of the loops does. */
static void tell_uses(struct gateway *g, int index, bool all)
{
    if (index == 0)
        key_use_send(g->uses, g->loops[0].upstream, clock_monotonic_us(), all);
}

static bool is_anybody_there(struct gateway *g)
{
    for (int i = 0; i < LOOPS; i++)
        if (atomic_load(&g->open[i]))
            return true;
    return false;
}

/* For a while everything goes on: a load balancer sends requests until it has seen that we are not
 * ready. Then who was taken is answered: the deadline of his call ends that. All loops turn until all
 * are done, since requests may come on connections that stand. */
static void drain(struct gateway *g, int index)
{
    struct loop *l = &g->loops[index];
    int64_t begun_us = clock_monotonic_us();

    while (clock_monotonic_us() - begun_us < g->drain_delay_us) {
        turn(l);
        tell_uses(g, index, false);
    }
    int64_t hurry_us = clock_monotonic_us() + HURRY_US;

    streams_end(l->streams);
    http_loop_quiesce(l->http);
    do {
        bool hurry = clock_monotonic_us() >= hurry_us;
        turn(l);
        tell_uses(g, index, true);
        if (hurry) {
            transfers_hurry(l->transfers);
            http_loop_hurry(l->http);
        }
        atomic_store(&g->open[index], http_loop_exchanges(l->http) +
                                          (index == 0 && !hurry && key_use_is_busy(g->uses)));
    } while (is_anybody_there(g));
}

void front_run(struct daemon *d, void *daemon_data)
{
    struct gateway *g = daemon_data;
    int index = atomic_fetch_add(&g->next, 1);
    struct loop *l = &g->loops[index];

    atomic_store(&g->open[index], 1); /* until it has drained */
    while (!daemon_stopping(d)) {
        turn(l);
        tell_uses(g, index, false);
        atomic_store(&g->connected[index], upstream_is_connected(l->upstream));
    }
    drain(g, index);
}
