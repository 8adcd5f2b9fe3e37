/*
 * Worker slots against a bare ROUTER. Time is an argument of the module, so hours pass here without
 * waiting; only bytes on their way are waited for.
 */
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

static void submit(void *arg, struct pool_job *job)
{
    struct stage *s = arg;
    assert_true(s->njobs < ARRAY_LEN(s->jobs));
    s->jobs[s->njobs++] = job;
}

static void open_stage(struct stage *s, size_t nslots, bool two)
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

static void close_stage(struct stage *s)
{
    bus_worker_free(s->worker);
    router_close(&s->router);
    router_close(&s->other);
    zmq_ctx_term(s->zmq);
}

/* One turn of the loop: polls up to `ms`, then serves. */
static void turn(struct stage *s, long ms)
{
    zmq_pollitem_t items[32];
    size_t n = bus_worker_items(s->worker, items);
    zmq_poll(items, (int)n, ms);
    bus_worker_serve(s->worker, s->now_us);
}

/* Turns until the router has a message for us. */
static void expect(struct stage *s, struct router *r, struct bus_frames *out)
{
    for (int i = 0; i < WAIT_MS / 10; i++) {
        turn(s, 0);
        if (router_receive(r, 10, out))
            return;
    }
    fail_msg("no message from the worker");
}

static void expect_command(struct stage *s, struct router *r, uint8_t command,
                           struct bus_frames *out)
{
    expect(s, r, out);
    assert_true(out->n >= 3);
    assert_true(bus_frame_is(&out->frame[1], MDP_WORKER_02, MDP_HEADER_LEN));
    assert_int_equal(*(uint8_t *)zmq_msg_data(&out->frame[2]), command);
}

static void drop_command(struct stage *s, struct router *r, uint8_t command)
{
    struct bus_frames f;
    expect_command(s, r, command, &f);
    bus_frames_close(&f);
}

/* Nothing more comes, after several turns of ours. */
static void expect_silence(struct stage *s, struct router *r)
{
    struct bus_frames f;
    for (int i = 0; i < 5; i++) {
        turn(s, 10);
        assert_false(router_receive(r, 10, &f));
    }
}

/* Enlists and takes the READY; *ready_out is the route. */
static void enlist(struct stage *s, struct bus_frames *ready_out)
{
    bus_worker_enlist(s->worker, s->now_us);
    expect_command(s, &s->router, MDP02_W_READY, ready_out);
}

static void command(struct router *r, struct bus_frames *ready, uint8_t byte)
{
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_WORKER_02), { &byte, 1 } };
    router_send(r, &ready->frame[0], frames, ARRAY_LEN(frames));
}

static void request(struct router *r, struct bus_frames *ready, const char *addr,
                    const char *method)
{
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_WORKER_02), ROUTER_BYTE(MDP02_W_REQUEST),
                                           ROUTER_TEXT(addr),          ROUTER_NONE,
                                           ROUTER_TEXT(method),        ROUTER_TEXT("context"),
                                           ROUTER_TEXT("message") };
    router_send(r, &ready->frame[0], frames, ARRAY_LEN(frames));
}

/* As a bus sends it that has read so many of the worker's messages. */
static void request_after(struct router *r, struct bus_frames *ready, uint8_t heard,
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

static void until_submitted(struct stage *s, size_t n)
{
    for (int i = 0; i < WAIT_MS && s->njobs < n; i++)
        turn(s, 1);
    assert_int_equal(s->njobs, n);
}

static void until_unregistered(struct stage *s)
{
    for (int i = 0; i < WAIT_MS && bus_worker_registered(s->worker); i++)
        turn(s, 1);
    assert_false(bus_worker_registered(s->worker));
}

/* What a worker thread would do. */
static void finish(struct stage *s, const char *reply)
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
static void expect_rest(struct stage *s, long ms)
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

static void it_rests_while_no_bus_answers_and_when_one_has(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 2, false);
    router_close(&s.router);
    bus_worker_enlist(s.worker, s.now_us);
    expect_rest(&s, 20);
    assert_false(bus_worker_registered(s.worker));
    close_stage(&s);

    open_stage(&s, 1, false);
    enlist(&s, &ready);
    bus_frames_close(&ready);
    expect_rest(&s, 20);
    s.now_us += MDP_HEARTBEAT_MS * MS; /* sending must not keep it awake either */
    expect_rest(&s, 20);
    close_stage(&s);
}

static void ready_names_all_services(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    open_stage(&s, 1, false);
    assert_false(bus_worker_registered(s.worker));
    enlist(&s, &f);
    assert_int_equal(f.n, 5);
    assert_true(bus_frame_is(&f.frame[3], "test.A", 6));
    assert_true(bus_frame_is(&f.frame[4], "test.B", 6));
    assert_true(bus_worker_registered(s.worker));
    bus_frames_close(&f);
    close_stage(&s);
}

static void a_request_is_handed_over_and_answered(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready, f;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request(&s.router, &ready, "token-1", "Echo");
    until_submitted(&s, 1);
    assert_int_equal(s.jobs[0]->worker, 0);
    assert_int_equal(s.jobs[0]->waited_us, 0);
    assert_true(bus_frame_is(&s.jobs[0]->method, "Echo", 4));
    assert_true(bus_frame_is(&s.jobs[0]->context, "context", 7));
    assert_true(bus_frame_is(&s.jobs[0]->message, "message", 7));
    finish(&s, "reply");

    expect_command(&s, &s.router, MDP02_W_FINAL, &f);
    assert_int_equal(f.n, 7);
    assert_true(bus_frame_is(&f.frame[3], "token-1", 7));
    assert_true(bus_frame_is(&f.frame[4], "", 0));
    assert_true(bus_frame_is(&f.frame[5], "result", 6));
    assert_true(bus_frame_is(&f.frame[6], "reply", 5));
    bus_frames_close(&f);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void it_beats_while_its_worker_is_busy(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request(&s.router, &ready, "token", "Slow");
    until_submitted(&s, 1);
    for (int i = 0; i < 6; i++) {
        expect_silence(&s, &s.router);
        s.now_us += MDP_HEARTBEAT_MS * MS;
        drop_command(&s, &s.router, MDP02_W_HEARTBEAT);
        command(&s.router, &ready, MDP02_W_HEARTBEAT); /* the bus beats too */
        turn(&s, WAIT_MS);
    }
    assert_int_equal(s.njobs, 1);
    finish(&s, "late but alive");
    drop_command(&s, &s.router, MDP02_W_FINAL);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_silent_bus_is_given_up_and_tried_again_F32(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames first, second;
    open_stage(&s, 1, false);
    enlist(&s, &first);
    for (int64_t t = 0; t < MDP_EXPIRY_MS; t += 1000) { /* the loop runs on */
        assert_true(bus_worker_registered(s.worker));
        s.now_us += SECOND_US;
        turn(&s, 0);
    }
    assert_false(bus_worker_registered(s.worker));
    s.now_us += 100 * MS; /* the first retry is at most that far away */
    struct bus_frames f;
    bool ready = false;
    while (!ready) { /* heartbeats of the first link lie in front */
        expect(&s, &s.router, &f);
        ready = bus_frame_is_byte(&f.frame[2], MDP02_W_READY);
        if (ready)
            second = f;
        else
            bus_frames_close(&f);
    }
    assert_false(bus_frame_is(&second.frame[0], zmq_msg_data(&first.frame[0]),
                              zmq_msg_size(&first.frame[0])));
    bus_frames_close(&first);
    bus_frames_close(&second);
    close_stage(&s);
}

static void after_disconnect_it_registers_anew(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames first, second;
    open_stage(&s, 1, false);
    enlist(&s, &first);
    command(&s.router, &first, MDP02_W_DISCONNECT);
    until_unregistered(&s);
    s.now_us += 100 * MS;
    expect_command(&s, &s.router, MDP02_W_READY, &second);
    assert_false(bus_frame_is(&second.frame[0], zmq_msg_data(&first.frame[0]),
                              zmq_msg_size(&first.frame[0])));
    bus_frames_close(&first);
    bus_frames_close(&second);
    close_stage(&s);
}

static void an_answer_for_a_lost_connection_is_dropped_F34(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request(&s.router, &ready, "token", "Slow");
    until_submitted(&s, 1);
    command(&s.router, &ready, MDP02_W_DISCONNECT);
    until_unregistered(&s);
    /* One worker, one request: no READY while the old one is in work. */
    s.now_us += 10 * SECOND_US;
    expect_silence(&s, &s.router);
    finish(&s, "too late");
    drop_command(&s, &s.router, MDP02_W_READY); /* and no FINAL before it */
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_restarted_bus_is_found_by_the_lost_connection(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    char endpoint[128];
    open_stage(&s, 1, false);
    enlist(&s, &f);
    bus_frames_close(&f);
    snprintf(endpoint, sizeof endpoint, "%s", s.router.endpoint);
    router_close(&s.router);
    until_unregistered(&s); /* F02: at once, not after 10 s; the time has not moved */
    assert_int_equal(s.now_us, T0);
    void *socket = NULL; /* the port is free when libzmq's thread has closed the old listener */
    for (int i = 0; i < WAIT_MS && !socket; i++) {
        socket = zmq_socket(s.zmq, ZMQ_ROUTER);
        int linger = 0;
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
        if (zmq_bind(socket, endpoint) != 0) {
            zmq_close(socket);
            socket = NULL;
            turn(&s, 1);
        }
    }
    assert_non_null(socket);
    s.router.socket = socket;
    s.now_us += 100 * MS;
    drop_command(&s, &s.router, MDP02_W_READY);
    close_stage(&s);
}

static void requests_queued_over_a_standstill_are_not_run_F08(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    turn(&s, 0);
    request(&s.router, &ready, "token", "Old");
    zmq_pollitem_t items[4];
    size_t n = bus_worker_items(s.worker, items);
    assert_true(zmq_poll(items, (int)n, WAIT_MS) > 0); /* it has arrived, unread */
    s.now_us += 2 * SECOND_US; /* SIGSTOP, SIGCONT; a beat was due when it was stopped */
    bus_worker_serve(s.worker, s.now_us);
    assert_int_equal(s.njobs, 0);
    assert_false(bus_worker_registered(s.worker));
    s.now_us += 100 * MS;
    drop_command(&s, &s.router, MDP02_W_READY);
    assert_int_equal(s.njobs, 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

/* We stood still, or the bus did: that one reads our beat and the answer now. */
static void an_answer_outlives_a_standstill_F08(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request_after(&s.router, &ready, 1, "Slow");
    until_submitted(&s, 1);
    s.now_us += 12 * SECOND_US;
    turn(&s, 0);
    finish(&s, "reply");
    turn(&s, 0);
    drop_command(&s, &s.router, MDP02_W_HEARTBEAT);
    drop_command(&s, &s.router, MDP02_W_FINAL);
    request_after(&s.router, &ready, 3, "Next");
    until_submitted(&s, 1);
    finish(&s, "reply");
    drop_command(&s, &s.router, MDP02_W_FINAL);
    bus_frames_close(&ready);
    close_stage(&s);
}

/* READY is message 1, and a beat each second. The bus reads nothing after message `heard`. */
static void a_request_is_run_while_the_bus_has_patience_F32(void **state)
{
    (void)state;
    static const struct {
        uint8_t heard;
        int beats;
        int64_t then_ms;
        bool run;
    } cases[] = {
        { 1, 0, 0, true },    { 1, 2, 790, true },  { 1, 2, 800, false },  { 2, 2, 800, true },
        { 2, 3, 790, true },  { 2, 3, 800, false }, { 20, 19, 900, true }, { 21, 20, 0, true },
        { 18, 20, 0, false }, { 1, 30, 0, false },  { 200, 2, 0, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stage s;
        struct bus_frames ready;
        open_stage(&s, 1, false);
        enlist(&s, &ready);
        for (int k = 0; k < cases[i].beats; k++) {
            s.now_us += SECOND_US;
            drop_command(&s, &s.router, MDP02_W_HEARTBEAT);
            command(&s.router, &ready, MDP02_W_HEARTBEAT);
            turn(&s, WAIT_MS);
        }
        s.now_us += cases[i].then_ms * MS;
        request_after(&s.router, &ready, cases[i].heard, "A");
        if (cases[i].run)
            until_submitted(&s, 1);
        else
            until_unregistered(&s);
        if (s.njobs != cases[i].run)
            fail_msg("case %zu", i);
        if (cases[i].run)
            finish(&s, "reply");
        bus_frames_close(&ready);
        close_stage(&s);
    }
}

/* Answers and wakes come closer to each other than what is kept of them. */
static void a_busy_worker_knows_what_the_bus_has_read_F32(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    uint8_t said = 1;
    for (int i = 0; i < 60; i++) {
        request_after(&s.router, &ready, said, "A");
        until_submitted(&s, 1);
        s.now_us += 30 * MS;
        finish(&s, "reply");
        drop_command(&s, &s.router, MDP02_W_FINAL);
        assert_true(bus_worker_wake(s.worker, BUS_WAKE_RELAY, NULL, 0));
        drop_command(&s, &s.router, MDP02_W_WAKE);
        said += 2;
    }
    s.now_us += 900 * MS;
    request_after(&s.router, &ready, (uint8_t)(said - 60), "Old"); /* of 0.9 s before that */
    until_submitted(&s, 1);
    finish(&s, "reply");
    drop_command(&s, &s.router, MDP02_W_FINAL);
    s.now_us += 1200 * MS;
    request_after(&s.router, &ready, (uint8_t)(said - 60), "Old");
    until_unregistered(&s);
    assert_int_equal(s.njobs, 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void broken_messages_are_dropped_F35(void **state)
{
    (void)state;
    const struct router_frame header = ROUTER_TEXT(MDP_WORKER_02);
    const struct {
        const char *label;
        struct router_frame frames[8];
        size_t n;
    } cases[] = {
        { "empty", { ROUTER_NONE }, 1 },
        { "header alone", { header }, 1 },
        { "another header", { ROUTER_TEXT("MDPW01"), ROUTER_BYTE(2) }, 2 },
        { "header cut short", { ROUTER_TEXT("MDPW0"), ROUTER_BYTE(2) }, 2 },
        { "command of two bytes", { header, ROUTER_TEXT("\2\2") }, 2 },
        { "empty command", { header, ROUTER_NONE }, 2 },
        { "unknown command", { header, ROUTER_BYTE(0xff) }, 2 },
        { "READY from the bus", { header, ROUTER_BYTE(MDP02_W_READY) }, 2 },
        { "request without envelope", { header, ROUTER_BYTE(MDP02_W_REQUEST) }, 2 },
        { "request without delimiter",
          { header, ROUTER_BYTE(MDP02_W_REQUEST), ROUTER_TEXT("a"), ROUTER_TEXT("Echo") },
          4 },
    };
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        router_send(&s.router, &ready.frame[0], cases[i].frames, cases[i].n);
        turn(&s, WAIT_MS);
        if (s.njobs != 0 || !bus_worker_registered(s.worker))
            fail_msg("%s: was taken", cases[i].label);
    }
    struct router_frame many[40];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = header;
    router_send(&s.router, &ready.frame[0], many, ARRAY_LEN(many));
    turn(&s, WAIT_MS);

    /* and the link still works */
    request(&s.router, &ready, "token", "Echo");
    until_submitted(&s, 1);
    finish(&s, "reply");
    drop_command(&s, &s.router, MDP02_W_FINAL);
    bus_frames_close(&ready);
    close_stage(&s);
}

/* The client's fault, so the client must get an answer: the worker says what is wrong. */
static void a_body_of_the_wrong_shape_is_answered_F35(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    for (size_t extra = 0; extra < 6; extra++) {
        struct router_frame frames[10] = { ROUTER_TEXT(MDP_WORKER_02), ROUTER_BYTE(MDP02_W_REQUEST),
                                           ROUTER_TEXT("token"), ROUTER_NONE };
        for (size_t i = 0; i < extra; i++)
            frames[4 + i] = (struct router_frame)ROUTER_TEXT("x");
        router_send(&s.router, &ready.frame[0], frames, 4 + extra);
        until_submitted(&s, 1);
        assert_int_equal(zmq_msg_size(&s.jobs[0]->method), extra == 3 ? 1 : 0);
        finish(&s, "");
        drop_command(&s, &s.router, MDP02_W_FINAL);
    }
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_second_request_for_a_busy_slot_renews_the_link(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request(&s.router, &ready, "one", "Slow");
    until_submitted(&s, 1);
    request(&s.router, &ready, "two", "Slow");
    until_unregistered(&s);
    finish(&s, "dropped");
    s.now_us += 100 * MS;
    drop_command(&s, &s.router, MDP02_W_READY);
    assert_int_equal(s.njobs, 0);
    bus_frames_close(&ready);
    close_stage(&s);
}

static void draining_answers_what_crossed_the_disconnect_F09(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready, f;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    bus_worker_withdraw(s.worker, s.now_us);
    request(&s.router, &ready, "crossed", "Echo"); /* before the bus has read the DISCONNECT */
    drop_command(&s, &s.router, MDP02_W_DISCONNECT);
    until_submitted(&s, 1);
    s.now_us += SECOND_US; /* longer than the grace for the empty-handed */
    turn(&s, 0);
    assert_false(bus_worker_idle(s.worker));
    drop_command(&s, &s.router, MDP02_W_HEARTBEAT); /* still at work */
    finish(&s, "reply");
    expect_command(&s, &s.router, MDP02_W_FINAL, &f);
    assert_true(bus_frame_is(&f.frame[3], "crossed", 7));
    bus_frames_close(&f);
    turn(&s, 0);
    assert_true(bus_worker_idle(s.worker));
    bus_frames_close(&ready);
    close_stage(&s);
}

static void a_link_that_is_lost_while_it_leaves_does_not_come_back_F09(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready;
    open_stage(&s, 1, false);
    enlist(&s, &ready);
    request(&s.router, &ready, "one", "Slow");
    until_submitted(&s, 1);
    bus_worker_withdraw(s.worker, s.now_us);
    drop_command(&s, &s.router, MDP02_W_DISCONNECT);
    request(&s.router, &ready, "two", "Slow"); /* the bus has lost count */
    for (int i = 0; i < 50; i++)               /* until it is read, and past any pause */
        turn(&s, 10);
    finish(&s, "dropped");
    s.now_us += 10 * SECOND_US;
    expect_silence(&s, &s.router);
    assert_true(bus_worker_idle(s.worker));
    bus_frames_close(&ready);
    close_stage(&s);
}

static void an_idle_slot_leaves_after_a_moment_or_when_the_bus_agrees(void **state)
{
    (void)state;
    for (int agreed = 0; agreed < 2; agreed++) {
        struct stage s;
        struct bus_frames ready;
        open_stage(&s, 1, false);
        enlist(&s, &ready);
        bus_worker_withdraw(s.worker, s.now_us);
        drop_command(&s, &s.router, MDP02_W_DISCONNECT);
        assert_false(bus_worker_idle(s.worker));
        if (agreed)
            command(&s.router, &ready, MDP02_W_DISCONNECT);
        else
            s.now_us += 250 * MS;
        for (int i = 0; i < WAIT_MS && !bus_worker_idle(s.worker); i++)
            turn(&s, 1);
        assert_true(bus_worker_idle(s.worker));
        /* and it comes back when asked to */
        bus_worker_enlist(s.worker, s.now_us);
        drop_command(&s, &s.router, MDP02_W_READY);
        bus_frames_close(&ready);
        close_stage(&s);
    }
}

static void slots_work_side_by_side(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames ready[3];
    open_stage(&s, 3, false);
    bus_worker_enlist(s.worker, s.now_us);
    for (size_t i = 0; i < 3; i++)
        expect_command(&s, &s.router, MDP02_W_READY, &ready[i]);
    for (size_t i = 0; i < 3; i++)
        request(&s.router, &ready[i], "token", "Echo");
    until_submitted(&s, 3);
    bool seen[3] = { false };
    for (size_t i = 0; i < 3; i++)
        seen[s.jobs[i]->worker] = true;
    assert_true(seen[0] && seen[1] && seen[2]);
    for (size_t i = 0; i < 3; i++) {
        finish(&s, "reply");
        drop_command(&s, &s.router, MDP02_W_FINAL);
        bus_frames_close(&ready[i]);
    }
    close_stage(&s);
}

static void with_two_buses_the_second_request_waits(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames one, two, f;
    open_stage(&s, 1, true);
    enlist(&s, &one);
    expect_command(&s, &s.other, MDP02_W_READY, &two);
    request(&s.router, &one, "first", "A");
    until_submitted(&s, 1);
    request(&s.other, &two, "second", "B");
    turn(&s, WAIT_MS);
    assert_int_equal(s.njobs, 1);
    s.now_us += 700 * MS;
    finish(&s, "one");
    assert_int_equal(s.njobs, 1);
    assert_true(bus_frame_is(&s.jobs[0]->method, "B", 1));
    assert_int_equal(s.jobs[0]->waited_us, 700 * MS);
    finish(&s, "two");
    expect_command(&s, &s.router, MDP02_W_FINAL, &f);
    assert_true(bus_frame_is(&f.frame[3], "first", 5));
    bus_frames_close(&f);
    expect_command(&s, &s.other, MDP02_W_FINAL, &f);
    assert_true(bus_frame_is(&f.frame[3], "second", 6));
    bus_frames_close(&f);
    bus_frames_close(&one);
    bus_frames_close(&two);
    close_stage(&s);
}

/* One bus's request runs, and behind it waits the other one's. */
static void let_one_wait(struct stage *s, struct bus_frames *one, struct bus_frames *two)
{
    open_stage(s, 1, true);
    enlist(s, one);
    expect_command(s, &s->other, MDP02_W_READY, two);
    request_after(&s->router, one, 1, "A");
    until_submitted(s, 1);
    request_after(&s->other, two, 1, "B");
}

/* The bus's last beat may be older than what it last heard of us by a beat of ours. */
static void what_waits_in_silence_is_begun_within_a_beat_less_F32(void **state)
{
    (void)state;
    static const struct {
        int64_t silent_ms;
        bool begun;
    } cases[] = { { 1700, true }, { 1900, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct stage s;
        struct bus_frames one, two;
        let_one_wait(&s, &one, &two);
        for (int k = 0; k < 3; k++) {
            s.now_us += SECOND_US;
            drop_command(&s, &s.other, MDP02_W_HEARTBEAT);
            command(&s.other, &two, MDP02_W_HEARTBEAT);
            turn(&s, WAIT_MS);
        }
        s.now_us += SECOND_US;
        turn(&s, 0);
        s.now_us += (cases[i].silent_ms - 1000) * MS;
        turn(&s, 0);
        finish(&s, "one");
        assert_int_equal(s.njobs, cases[i].begun);
        if (cases[i].begun)
            finish(&s, "two");
        bus_frames_close(&one);
        bus_frames_close(&two);
        close_stage(&s);
    }
}

/* It was the other bus's turn for longer than this one may have patience. */
static void what_waits_is_begun_while_its_bus_beats_F32(void **state)
{
    (void)state;
    for (int beats = 0; beats < 2; beats++)
        for (int leaving = 0; leaving < 2; leaving++) {
            struct stage s;
            struct bus_frames one, two;
            let_one_wait(&s, &one, &two);
            turn(&s, WAIT_MS);
            if (leaving)
                bus_worker_withdraw(s.worker, s.now_us);
            for (int i = 0; i < 3; i++) {
                s.now_us += SECOND_US;
                drop_command(&s, &s.other,
                             leaving && i == 0 ? MDP02_W_DISCONNECT : MDP02_W_HEARTBEAT);
                if (beats)
                    command(&s.other, &two, MDP02_W_HEARTBEAT);
                turn(&s, beats ? WAIT_MS : 0);
                if (!beats && i == 1)
                    break;
            }
            s.now_us += beats ? 0 : SECOND_US;
            turn(&s, 0);
            finish(&s, "one");
            assert_int_equal(s.njobs, beats);
            if (beats)
                finish(&s, "two");
            s.now_us += leaving ? 250 * MS : 0;
            for (int i = 0; leaving && i < WAIT_MS && !bus_worker_idle(s.worker); i++)
                turn(&s, 1);
            assert_true(bus_worker_idle(s.worker) == leaving);
            bus_frames_close(&one);
            bus_frames_close(&two);
            close_stage(&s);
        }
}

static void a_wake_goes_to_each_bus_once(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    open_stage(&s, 2, true);
    assert_false(bus_worker_wake(s.worker, BUS_WAKE_RELAY, NULL, 0));
    bus_worker_enlist(s.worker, s.now_us);
    for (int i = 0; i < 2; i++) {
        drop_command(&s, &s.router, MDP02_W_READY);
        drop_command(&s, &s.other, MDP02_W_READY);
    }
    assert_true(bus_worker_wake(s.worker, "reminders.timers", "data", 4));
    expect_command(&s, &s.router, MDP02_W_WAKE, &f);
    assert_int_equal(f.n, 5);
    assert_true(bus_frame_is(&f.frame[3], "reminders.timers", 16));
    assert_true(bus_frame_is(&f.frame[4], "data", 4));
    bus_frames_close(&f);
    drop_command(&s, &s.other, MDP02_W_WAKE);
    expect_silence(&s, &s.router);
    expect_silence(&s, &s.other);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rests_while_no_bus_answers_and_when_one_has),
        cmocka_unit_test(ready_names_all_services),
        cmocka_unit_test(a_request_is_handed_over_and_answered),
        cmocka_unit_test(it_beats_while_its_worker_is_busy),
        cmocka_unit_test(a_silent_bus_is_given_up_and_tried_again_F32),
        cmocka_unit_test(after_disconnect_it_registers_anew),
        cmocka_unit_test(an_answer_for_a_lost_connection_is_dropped_F34),
        cmocka_unit_test(a_restarted_bus_is_found_by_the_lost_connection),
        cmocka_unit_test(requests_queued_over_a_standstill_are_not_run_F08),
        cmocka_unit_test(an_answer_outlives_a_standstill_F08),
        cmocka_unit_test(a_request_is_run_while_the_bus_has_patience_F32),
        cmocka_unit_test(a_busy_worker_knows_what_the_bus_has_read_F32),
        cmocka_unit_test(broken_messages_are_dropped_F35),
        cmocka_unit_test(a_body_of_the_wrong_shape_is_answered_F35),
        cmocka_unit_test(a_second_request_for_a_busy_slot_renews_the_link),
        cmocka_unit_test(draining_answers_what_crossed_the_disconnect_F09),
        cmocka_unit_test(a_link_that_is_lost_while_it_leaves_does_not_come_back_F09),
        cmocka_unit_test(an_idle_slot_leaves_after_a_moment_or_when_the_bus_agrees),
        cmocka_unit_test(slots_work_side_by_side),
        cmocka_unit_test(with_two_buses_the_second_request_waits),
        cmocka_unit_test(what_waits_is_begun_while_its_bus_beats_F32),
        cmocka_unit_test(what_waits_in_silence_is_begun_within_a_beat_less_F32),
        cmocka_unit_test(a_wake_goes_to_each_bus_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
