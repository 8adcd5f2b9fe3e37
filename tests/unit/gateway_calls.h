/*
 * gateway_calls.h - a loop of HTTP with one connect behind it, whose calls the test answers.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_CALLS_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_CALLS_H

#include <poll.h>

#include "tests/unit/gateway_client.h"
#include "tests/unit/gateway_hooks.h"

#define LIST "/daybook.customers.v1.CustomerService/List"
#define STREAM "/daybook.bus.v1.EventService/StreamEvents"
#define JSON "Content-Type: application/json\r\n"
#define PROTO "Content-Type: application/proto\r\n"
#define LARGE (32 * MIB)
#define REQUESTS 4

struct fixture {
    struct web web;
    struct http_loop *loop;
    struct connect *connect;
    struct connect_call *call; /* the last one, not answered yet */
    int calls, gone, drained;
    bool refusing; /* whoever begins */
    int refused;
};

static inline bool on_admit(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;

    if (!f->refusing)
        return true;
    f->refused++;
    connect_fail_text(call, ERR_UNAUTHENTICATED, "who are you?");
    return false;
}

static inline void on_call(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;
    f->call = call;
    f->calls++;
}

static inline void on_call_gone(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;
    f->gone++;
    if (f->call == call)
        f->call = NULL;
}

static inline void on_call_drained(void *arg, struct connect_call *call UNUSED)
{
    ((struct fixture *)arg)->drained++;
}

/* One wait of the loop, exactly as long as it asks for, up to 20 ms. */
static inline void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };
    int64_t wait_us = MIN(20 * MSEC_US, http_loop_wait_us(f->loop));
    (void)poll(&p, 1, (int)(wait_us / MSEC_US));
    http_loop_run(f->loop);
    connect_tick(f->connect, clock_monotonic_us());
}

/* Connections have so many places, a header and a body so long. */
static inline int set_up_with(void **state, int64_t header_us, int64_t body_us,
                              unsigned connections)
{
    static struct fixture f;
    struct http_limits limits = http_limits_default;

    schema_init();
    memset(&f, 0, sizeof(f));
    limits.body_max = 1000;
    limits.url_max = 500;
    limits.headers_max = 20;
    limits.header_us = header_us;
    limits.body_us = body_us;
    limits.rate_min = 64 * MIB;
    limits.requests_max = REQUESTS;
    limits.connections_max = connections;
    f.connect =
        connect_new(&(struct connect_config){ .message_max = 1000,
                                              .cors_origin = "https://a.example, https://b.example",
                                              .admit = on_admit,
                                              .on_call = on_call,
                                              .on_gone = on_call_gone,
                                              .on_drained = on_call_drained,
                                              .arg = &f });
    f.loop = loop_of(f.connect, &limits);
    f.web = (struct web){ .loop = f.loop, .turn = turn, .arg = &f };
    *state = &f;
    return f.connect && f.loop ? 0 : -1;
}

static inline int set_up(void **state)
{
    return set_up_with(state, 300 * MSEC_US, 300 * MSEC_US, 100);
}

static inline int set_up_patient(void **state)
{
    return set_up_with(state, 300 * MSEC_US, 600 * SECOND_US, 100);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    http_loop_free(f->loop);
    connect_free(f->connect);
    return 0;
}

static inline void turn_until_called(struct fixture *f, int calls)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->calls < calls && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->calls, calls);
}

static inline void turn_until_exchanges(struct fixture *f, unsigned n)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) != n && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), n);
}

static inline void turn_until_over(struct fixture *f)
{
    turn_until_exchanges(f, 0);
}

static inline void reply(struct fixture *f)
{
    struct connect_call *call = f->call;
    assert_non_null(call);
    f->call = NULL;
    connect_reply(call, "", 0);
}

/* An answer larger than what the kernel keeps for a client who takes none of it. */
static inline void give_large_answer(struct fixture *f)
{
    struct connect_call *call = f->call;
    void *data = calloc(1, LARGE);

    assert_non_null(call);
    assert_non_null(data);
    f->call = NULL;
    connect_reply(call, data, LARGE);
    free(data);
}

#endif
