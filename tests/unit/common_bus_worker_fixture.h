/*
 * common_bus_worker_fixture.h - worker slots against bare ROUTERs. Time is an argument of the module, so hours pass
 * here without waiting; only bytes on their way are waited for.
 */
#ifndef DAYBOOK_TESTS_UNIT_COMMON_BUS_WORKER_FIXTURE_H
#define DAYBOOK_TESTS_UNIT_COMMON_BUS_WORKER_FIXTURE_H

#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/bus_worker.h"
#include "common/mdp.h"
#include "tests/support/router.h"

#define MS MSEC_US
#define WAIT_MS 5000
#define T0 (1000 * SECOND_US)

static const char *const services[] = { "test.A", "test.B" };

struct stage {
    void *zmq;
    struct router router, other;
    struct bus_address address;
    struct bus_worker *worker;
    int64_t now_us;
    struct pool_job *jobs[8]; /* submitted, not finished */
    size_t njobs;
};

UNUSED static void submit(void *arg, struct pool_job *job)
{
    struct stage *s = arg;
    assert_true(s->njobs < ARRAY_LEN(s->jobs));
    s->jobs[s->njobs++] = job;
}

UNUSED static void open_stage(struct stage *s, size_t nslots, bool two)
{
    static char both[300];
    *s = (struct stage){ .zmq = zmq_ctx_new(), .now_us = T0 };
    router_open(&s->router, s->zmq, "tcp://127.0.0.1:*");
    s->address.endpoint = s->router.endpoint;
    if (two) {
        router_open(&s->other, s->zmq, "tcp://127.0.0.1:*");
        snprintf(both, sizeof both, "%s,%s", s->router.endpoint, s->other.endpoint);
        s->address.endpoint = both;
    }
    const struct bus_worker_def def = {
        .zmq_context = s->zmq,
        .address = &s->address,
        .services = services,
        .nservices = ARRAY_LEN(services),
        .nslots = nslots,
        .submit = submit,
        .arg = s,
    };
    s->worker = bus_worker_new(&def);
    assert_non_null(s->worker);
}

UNUSED static void close_stage(struct stage *s)
{
    bus_worker_free(s->worker);
    router_close(&s->router);
    router_close(&s->other);
    zmq_ctx_term(s->zmq);
}

/* One turn of the loop: polls up to `ms`, then serves. */
UNUSED static void turn(struct stage *s, long ms)
{
    zmq_pollitem_t items[32];
    size_t n = bus_worker_items(s->worker, items);
    zmq_poll(items, (int)n, ms);
    bus_worker_serve(s->worker, s->now_us);
}

/* Turns until the router has a message for us. */
UNUSED static void expect(struct stage *s, struct router *r, struct bus_frames *out)
{
    for (int i = 0; i < WAIT_MS / 10; i++) {
        turn(s, 0);
        if (router_receive(r, 10, out))
            return;
    }
    fail_msg("no message from the worker");
}

UNUSED static void expect_command(struct stage *s, struct router *r, uint8_t command,
                                  struct bus_frames *out)
{
    expect(s, r, out);
    assert_true(out->n >= 3);
    assert_true(bus_frame_is(&out->frame[1], MDP_WORKER_02, MDP_HEADER_LEN));
    assert_int_equal(*(uint8_t *)zmq_msg_data(&out->frame[2]), command);
}

UNUSED static void drop_command(struct stage *s, struct router *r, uint8_t command)
{
    struct bus_frames f;
    expect_command(s, r, command, &f);
    bus_frames_close(&f);
}

/* Nothing more comes, after several turns of ours. */
UNUSED static void expect_silence(struct stage *s, struct router *r)
{
    struct bus_frames f;
    for (int i = 0; i < 5; i++) {
        turn(s, 10);
        assert_false(router_receive(r, 10, &f));
    }
}

/* Enlists and takes the READY; *ready_out is the route. */
UNUSED static void enlist(struct stage *s, struct bus_frames *ready_out)
{
    bus_worker_enlist(s->worker, s->now_us);
    expect_command(s, &s->router, MDP02_W_READY, ready_out);
}

UNUSED static void command(struct router *r, struct bus_frames *ready, uint8_t byte)
{
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_WORKER_02), { &byte, 1 } };
    router_send(r, &ready->frame[0], frames, ARRAY_LEN(frames));
}

UNUSED static void request(struct router *r, struct bus_frames *ready, const char *addr,
                           const char *method)
{
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_WORKER_02), ROUTER_BYTE(MDP02_W_REQUEST),
                                           ROUTER_TEXT(addr),          ROUTER_NONE,
                                           ROUTER_TEXT(method),        ROUTER_TEXT("context"),
                                           ROUTER_TEXT("message") };
    router_send(r, &ready->frame[0], frames, ARRAY_LEN(frames));
}

/* As a bus sends it that has read so many of the worker's messages. */
UNUSED static void request_after(struct router *r, struct bus_frames *ready, uint8_t heard,
                                 const char *method)
{
    char address[MDP_ADDRESS_SIZE] = "0123456789abcdef";
    address[MDP_ADDRESS_SIZE - 1] = (char)heard;
    const struct router_frame frames[] = {
        ROUTER_TEXT(MDP_WORKER_02),  ROUTER_BYTE(MDP02_W_REQUEST),
        { address, sizeof address }, ROUTER_NONE,
        ROUTER_TEXT(method),         ROUTER_TEXT("context"),
        ROUTER_TEXT("message")
    };
    router_send(r, &ready->frame[0], frames, ARRAY_LEN(frames));
}

UNUSED static void until_submitted(struct stage *s, size_t n)
{
    for (int i = 0; i < WAIT_MS && s->njobs < n; i++)
        turn(s, 1);
    assert_int_equal(s->njobs, n);
}

UNUSED static void until_unregistered(struct stage *s)
{
    for (int i = 0; i < WAIT_MS && bus_worker_registered(s->worker); i++)
        turn(s, 1);
    assert_false(bus_worker_registered(s->worker));
}

/* What a worker thread would do. */
UNUSED static void finish(struct stage *s, const char *reply)
{
    struct pool_job *job = s->jobs[0];
    s->njobs--;
    memmove(s->jobs, s->jobs + 1, s->njobs * sizeof s->jobs[0]);
    zmq_msg_init_size(&job->result, 6);
    memcpy(zmq_msg_data(&job->result), "result", 6);
    zmq_msg_init_size(&job->reply, strlen(reply));
    memcpy(zmq_msg_data(&job->reply), reply, strlen(reply));
    bus_worker_finish(s->worker, job, s->now_us);
}

/* Turns until a poll of `ms` finds nothing and serving asks for no turn at once. */
UNUSED static void expect_rest(struct stage *s, long ms)
{
    for (int i = 0; i < 50; i++) {
        zmq_pollitem_t items[32];
        size_t n = bus_worker_items(s->worker, items);
        int found = zmq_poll(items, (int)n, ms);
        if (bus_worker_serve(s->worker, s->now_us) > s->now_us && found == 0)
            return;
    }
    fail_msg("the worker does not come to rest");
}

#endif
