/*
 * broker.c - opening, the loop, and closing.
 */
#include "services/bus/broker_internal.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"

#define TICK_US (100 * MSEC_US)
#define QUIET_US (300 * MSEC_US) /* of a bus that stops */
#define QUIET_MAX_US SECOND_US
#define EXPORT_US SECOND_US
#define BURST 512 /* messages between two looks at the clock's work */
#define SCRATCH_BYTES (4 * MIB)
#define ZAP_ENFORCE_DOMAIN 93 /* ZMQ_ZAP_ENFORCE_DOMAIN, which zmq.h hides among its drafts */
#define FRAME_TRANSPORT_MAX (INT64_C(8) << 20) /* answers may be larger than requests */

void broker_config_defaults(struct broker_config *c)
{
    *c = (struct broker_config){
        .queue_count = 10000,
        .queue_bytes = 64 * MIB,
        .total_bytes = 192 * MIB,
        .client_inflight = 256,
        .client_bytes = 12 * MIB,
        .client_unread_bytes = 32 * MIB,
        .unread_bytes = 256 * MIB,
        .frame_max = MIB,
        .deadline_default_us = 5 * SECOND_US,
        .deadline_max_us = 30 * SECOND_US,
        .deadline_foreign_us = 30 * SECOND_US,
        .stranger_wait_us = SECOND_US,
        .heartbeat_us = MDP_HEARTBEAT_MS * MSEC_US,
        .expiry_us = MDP_EXPIRY_MS * MSEC_US,
        .busy_grace_us = 5 * SECOND_US,
        .drain_timeout_us = 25 * SECOND_US,
    };
}

/* --- opening -------------------------------------------------------------------------------- */

static const struct {
    int option, value;
} router_options[] = {
    { ZMQ_SNDHWM, 1000 },
    { ZMQ_RCVHWM, 1000 },
    { ZMQ_LINGER, 1000 },
    { ZMQ_ROUTER_MANDATORY, 1 },
    { ZMQ_ROUTER_HANDOVER, 0 },
    /* no ZMTP heartbeats: see bus_client.c */
    { ZMQ_TCP_KEEPALIVE, 1 },
    { ZMQ_TCP_KEEPALIVE_IDLE, 5 },
    { ZMQ_TCP_KEEPALIVE_CNT, 2 },
    { ZMQ_TCP_KEEPALIVE_INTVL, 5 },
    { ZMQ_TCP_MAXRT, 15000 },
    { ZMQ_HANDSHAKE_IVL, 5000 },
    { ZMQ_BACKLOG, 1024 },
};

bool broker_socket_options(void *socket, int64_t frame_max)
{
    for (size_t i = 0; i < ARRAY_LEN(router_options); i++) {
        int type = 0;
        size_t size = sizeof(type);
        if (zmq_getsockopt(socket, ZMQ_TYPE, &type, &size) != 0)
            return false;
        bool only_router = router_options[i].option == ZMQ_ROUTER_MANDATORY ||
                           router_options[i].option == ZMQ_ROUTER_HANDOVER;
        if (only_router && type != ZMQ_ROUTER)
            continue;
        if (zmq_setsockopt(socket, router_options[i].option, &router_options[i].value,
                           sizeof(int)) != 0)
            return false;
    }
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof(frame_max)) == 0;
}

/* A domain makes libzmq ask the ZAP handler; enforcing it makes a missing handler mean 'refused'.
 */
bool broker_socket_secure(void *socket, const char *zap_domain, const char *secret_key)
{
    int one = 1, enforced = 0, server = secret_key ? 1 : 0;
    size_t size = sizeof(enforced);
    return zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, zap_domain, strlen(zap_domain)) == 0 &&
           zmq_setsockopt(socket, ZAP_ENFORCE_DOMAIN, &one, sizeof(one)) == 0 &&
           zmq_getsockopt(socket, ZAP_ENFORCE_DOMAIN, &enforced, &size) == 0 && enforced == 1 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &server, sizeof(server)) == 0 &&
           (!server ||
            zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_key, IDENTITY_KEY_LEN + 1) == 0);
}

bool broker_socket_bind(void *socket, const char *endpoints)
{
    char one[256];
    for (const char *p = endpoints; *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (len == 0 || len >= sizeof(one))
            return false;
        memcpy(one, p, len);
        one[len] = 0;
        if (zmq_bind(socket, one) != 0) {
            log_error("bus.bind_failed", zmq_strerror(errno), "endpoint", one, NULL);
            return false;
        }
        p += len;
    }
    return true;
}

bool broker_endpoint_is_local(const char *endpoints)
{
    static const char *const prefixes[] = { "tcp://127.",
                                            "tcp://[::1]:", "tcp://localhost:", "ipc://",
                                            "inproc://" };
    for (const char *p = endpoints; p && *p;) {
        bool local = false;
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
            local = local || strncmp(p, prefixes[i], strlen(prefixes[i])) == 0;
        if (!local)
            return false;
        p = strchr(p, ',');
        p = p ? p + 1 : NULL;
    }
    return endpoints && endpoints[0];
}

/* inproc first, before any security is set; then plain, then CURVE. */
static bool bind_all(struct broker *b, const char **reason_out)
{
    const struct broker_config *c = &b->config;
    *reason_out = "an endpoint cannot be bound";
    if (c->inproc && !broker_socket_bind(b->router, c->inproc))
        return false;
    if (c->plain) {
        if (!broker_endpoint_is_local(c->plain)) {
            *reason_out = "a plain endpoint must be on loopback, ipc or inproc";
            return false;
        }
        if (!broker_socket_secure(b->router, ZAP_DOMAIN_PLAIN, NULL) ||
            !broker_socket_bind(b->router, c->plain))
            return false;
    }
    if (c->listen) {
        if (!c->secret_key || !broker_socket_secure(b->router, ZAP_DOMAIN_CURVE, c->secret_key)) {
            *reason_out = "the bus's own key is missing or malformed";
            return false;
        }
        return broker_socket_bind(b->router, c->listen);
    }
    return true;
}

static void *push_socket(void *context, const char *endpoint, int hwm)
{
    void *s = zmq_socket(context, ZMQ_PUSH);
    int linger = 0;
    if (s && zmq_setsockopt(s, ZMQ_SNDHWM, &hwm, sizeof(hwm)) == 0 &&
        zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
        zmq_connect(s, endpoint) == 0)
        return s;
    if (s)
        zmq_close(s);
    return NULL;
}

struct broker *broker_new(const struct broker_config *config, const char **reason_out)
{
    struct broker *b = calloc(1, sizeof(*b));
    *reason_out = "out of memory or sockets";
    if (!b)
        return NULL;
    b->config = *config;
    randombytes_buf(b->token, 8);
    deadlines_init(&b->deadlines);
    for (size_t i = 0; i < ARRAY_LEN(b->in.frames); i++)
        zmq_msg_init(&b->in.frames[i]);
    b->scratch = arena_new(SCRATCH_BYTES);
    b->relay_wake = push_socket(config->zmq_context, BROKER_RELAY_WAKE, 4);
    b->publish = push_socket(config->zmq_context, BROKER_PUBLISH, 10000);
    b->router = zmq_socket(config->zmq_context, ZMQ_ROUTER);
    if (b->scratch && b->relay_wake && b->publish && b->router && flows_init(&b->flows) &&
        registry_init(&b->registry, config->queue_count, config->queue_bytes) &&
        identity_cache_init(&b->identities, config->keyring) &&
        broker_socket_options(b->router, FRAME_TRANSPORT_MAX) && bind_all(b, reason_out))
        return b;
    broker_free(b);
    return NULL;
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    if (b->registry.services.buckets && b->registry.workers.buckets) {
        assert(b->nrequests == 0);
        registry_fini(&b->registry);
    }
    identity_cache_fini(&b->identities);
    flows_fini(&b->flows);
    deadlines_fini(&b->deadlines);
    arena_free(b->scratch);
    for (size_t i = 0; i < ARRAY_LEN(b->in.frames); i++)
        zmq_msg_close(&b->in.frames[i]);
    if (b->router)
        zmq_close(b->router);
    if (b->relay_wake)
        zmq_close(b->relay_wake);
    if (b->publish)
        zmq_close(b->publish);
    free(b);
}

/* --- receiving ------------------------------------------------------------------------------ */

/* The next message into b->in, with what exceeds the bound thrown away; false: none is there. */
static bool receive(struct broker *b, bool *overflow_out)
{
    struct incoming *in = &b->in;
    in->n = 0;
    *overflow_out = false;
    for (bool more = true; more;) {
        bool fits = in->n < ARRAY_LEN(in->frames);
        zmq_msg_t *f = &in->frames[fits ? in->n : ARRAY_LEN(in->frames) - 1];
        if (zmq_msg_recv(f, b->router, ZMQ_DONTWAIT) < 0)
            return false;
        *overflow_out = *overflow_out || !fits;
        in->n += fits;
        more = zmq_msg_more(f);
    }
    for (size_t i = 0; i < in->n; i++)
        in->views[i] =
            (struct mdp_frame){ zmq_msg_data(&in->frames[i]), zmq_msg_size(&in->frames[i]) };
    return true;
}

static bool has_property(struct broker *b, const char *name)
{
    for (size_t i = 1; i < b->in.n; i++)
        if (zmq_msg_gets(&b->in.frames[i], name))
            return true;
    return false;
}

/*
 * libzmq puts a connection's properties on every frame that comes over a transport, but not always
 * on the routing id that the ROUTER adds (tried: not after a poll). Only what comes from inside the
 * process has none at all; NULL for that, and "" for what should have a User-Id and has not.
 */
static const char *sender(struct broker *b)
{
    const char *user = zmq_msg_gets(&b->in.frames[1], "User-Id");
    if (user)
        return user;
    bool transported = has_property(b, "Socket-Type") || has_property(b, "Peer-Address") ||
                       has_property(b, "User-Id");
    return transported ? "" : NULL;
}

static void handle(struct broker *b, bool overflow)
{
    struct incoming *in = &b->in;
    mdp_parse(&in->views[1], overflow ? MDP_FRAMES_MAX + 1 : in->n - 1, &in->m);
    switch (in->m.kind) {
    case MDP_PROBE:
        stat_add(STAT_PROBES, 1);
        return;
    case MDP_BAD:
        stats_count_dropped(in->m.why);
        return;
    default:
        break;
    }
    const char *user = b->user = sender(b);
    const struct identity *who = identity_of(&b->identities, user);
    if (in->m.from_worker)
        worker_message(b, who, user);
    else
        request_take(b, who);
}

/* After a standstill, what others said meanwhile comes in in any order: for a tick nobody gets a request, since his
 * connection may have ended, and what he has said may show that he is there. It may come in the midst of many messages. */
static void look_at_clock(struct broker *b)
{
    int64_t now_us = clock_monotonic_us();
    bool stood = b->tick_at_us && now_us - MAX(b->now_us, b->tick_at_us) >= b->config.heartbeat_us;
    b->now_us = now_us;
    if (stood) {
        b->catching_up_until_us = now_us + TICK_US;
        workers_excuse(b);
    }
}

/* With every message, once it is here: a revoked key is refused with its next one, however busy the
 * bus is. And with every turn: workers that say nothing go too. */
static void serve_keys(struct broker *b)
{
    look_at_clock(b);
    if (identity_cache_refresh(&b->identities))
        workers_review(b);
}

static bool serve_router(struct broker *b)
{
    bool overflow;
    for (int i = 0; i < BURST; i++) {
        if (!receive(b, &overflow))
            return false;
        serve_keys(b);
        handle(b, overflow);
    }
    return true; /* there may be more */
}

/* --- time ----------------------------------------------------------------------------------- */

static void serve_clock(struct broker *b)
{
    look_at_clock(b);
    for (struct deadline *d; (d = deadlines_first(&b->deadlines)) && d->at_us <= b->now_us;)
        request_expired(b,
                        (struct request *)(void *)((char *)d - offsetof(struct request, expiry)));
    if (b->now_us >= b->tick_at_us) {
        if (b->now_us - b->tick_at_us >= b->config.heartbeat_us && !b->catching_up_until_us)
            workers_excuse(b); /* so many messages that some may not be read yet */
        workers_tick(b);
        b->tick_at_us = b->now_us + TICK_US;
    }
    if (b->catching_up_until_us && b->now_us >= b->catching_up_until_us) {
        b->catching_up_until_us = 0;
        workers_go_on(b);
    }
    if (b->now_us >= b->export_at_us) {
        b->export_at_us = b->now_us + EXPORT_US;
        flows_tidy(&b->flows);
        stats_export(&b->registry);
    }
}

static long poll_ms(const struct broker *b)
{
    int64_t until = b->tick_at_us;
    const struct deadline *d = deadlines_first(&b->deadlines);
    if (d)
        until = MIN(until, d->at_us);
    int64_t left_us = until - clock_monotonic_us();
    return left_us <= 0 ? 0 : (long)((left_us + 999) / 1000);
}

static void turn(struct broker *b)
{
    zmq_pollitem_t items[] = { { .socket = b->router, .events = ZMQ_POLLIN } };
    if (zmq_poll(items, 1, poll_ms(b)) < 0 && errno != EINTR)
        log_error("bus.poll_failed", zmq_strerror(errno), NULL);
    serve_keys(b);
    serve_router(b);
    serve_clock(b);
}

/*
 * What is under way, and then until nobody has asked for a moment: each client is told that we stop
 * with his first request, and asks the other bus from then on. Who had none on his way when the
 * connections end loses nothing (F09). Clients that go on asking us are left after a while.
 */
static bool is_drained(const struct broker *b, int64_t began_us)
{
    int64_t now_us = clock_monotonic_us();
    return b->nrequests == 0 &&
           (now_us - b->refused_at_us >= QUIET_US || now_us - began_us >= QUIET_MAX_US);
}

static void drain(struct broker *b)
{
    int64_t began_us = clock_monotonic_us();
    b->draining = true;
    b->refused_at_us = began_us;
    while (!is_drained(b, began_us) &&
           clock_monotonic_us() - began_us < b->config.drain_timeout_us) {
        request_fail_unserved(b); /* our own service was taken back a moment ago */
        turn(b);
    }
}

void broker_run(struct broker *b, bool (*stopping)(void *arg), void *arg)
{
    serve_clock(b);
    while (!stopping(arg))
        turn(b);
    drain(b);
    request_fail_all(b, FAULT_DRAINING);
    b->now_us = clock_monotonic_us();
    workers_dismiss(b);
    /* At once, and not when the process ends: clients would go on sending into a pipe that nobody
     * reads; so they see the end and go to the other bus. */
    zmq_close(b->router);
    b->router = NULL;
}
