/*
 * Worker slots: they enlist, are handed requests, answer, lose their bus and leave (protocols A.5).
 */
#include "tests/unit/common_bus_worker_fixture.h"

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
        cmocka_unit_test(broken_messages_are_dropped_F35),
        cmocka_unit_test(a_body_of_the_wrong_shape_is_answered_F35),
        cmocka_unit_test(a_second_request_for_a_busy_slot_renews_the_link),
        cmocka_unit_test(draining_answers_what_crossed_the_disconnect_F09),
        cmocka_unit_test(a_link_that_is_lost_while_it_leaves_does_not_come_back_F09),
        cmocka_unit_test(an_idle_slot_leaves_after_a_moment_or_when_the_bus_agrees),
        cmocka_unit_test(slots_work_side_by_side),
        cmocka_unit_test(a_wake_goes_to_each_bus_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
