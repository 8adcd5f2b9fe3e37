/*
 * Which requests a worker still begins: the bus has patience with it for so long, and asks another one then (F08, F32).
 */
#include "tests/unit/common_bus_worker_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_queued_over_a_standstill_are_not_run_F08),
        cmocka_unit_test(an_answer_outlives_a_standstill_F08),
        cmocka_unit_test(a_request_is_run_while_the_bus_has_patience_F32),
        cmocka_unit_test(a_busy_worker_knows_what_the_bus_has_read_F32),
        cmocka_unit_test(with_two_buses_the_second_request_waits),
        cmocka_unit_test(what_waits_is_begun_while_its_bus_beats_F32),
        cmocka_unit_test(what_waits_in_silence_is_begun_within_a_beat_less_F32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
