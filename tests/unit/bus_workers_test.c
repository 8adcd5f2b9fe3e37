/*
 * Workers that come, work, fall silent, leave and vanish (protocols A.5, A profile); draining.
 */
#include "tests/unit/bus_fixture.h"

/* --- workers that go ------------------------------------------------------------------------ */

static void ours_go_to_another_worker_once_with_the_same_id(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    int64_t again = stat_get(STAT_REDISPATCHED);
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ask(c, "GetHead", &ctx, "abc");
    hear(w, &m);
    char id[80];
    snprintf(id, sizeof(id), "%s", context_of(&bus, &m, 5)->request_id);
    assert_int_equal(strlen(id), 36); /* made by the bus */
    void *v = worker(&bus, "MDPW02|\1", OURS), *u = worker(&bus, "MDPW02|\1", OURS);
    say(w, "MDPW02|\1|" OURS); /* it starts anew: what it had is lost */
    hear(u, &m);               /* who came last: v may be gone with w, and not missed yet (F32) */
    assert_string_equal(context_of(&bus, &m, 5)->request_id, id);
    assert_string_equal(m.part[6], "abc");
    assert_int_equal(stat_get(STAT_REDISPATCHED), again + 1);
    say(u, "MDPW02|\1|" OURS); /* and a second time: no more */
    PbCallResult *r = expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    assert_string_equal(r->request_id, id);
    expect_nothing(v);
    zmq_close(w);
    zmq_close(v);
    zmq_close(u);
    zmq_close(c);
    bus_close(&bus);
}

/* Its first worker may have been lost after its COMMIT. */
static void what_a_worker_has_had_is_never_to_be_asked_again(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 300;
    ask(c, "GetHead", &ctx, "abc");
    hear(w, &m);
    say(w, "MDPW02|\1|" OURS); /* it starts anew: what it had is lost, and nobody else is there */
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void after_a_part_nothing_goes_out_again(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    void *v = worker(&bus, "MDPW02|\1", OURS);
    answer(w, &m, PARTIAL02, "r|m");
    say(w, "MDPW02|\1|" OURS);
    expect(c, "MDPC02|\2|" OURS "|r|m");
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    expect_nothing(v);
    zmq_close(w);
    zmq_close(v);
    zmq_close(c);
    bus_close(&bus);
}

/* A.5 pitfall 7: what is not ours may not be done twice. */
static void foreign_requests_are_not_repeated(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "|MDPW01|\1", "pay"), *c = dealer(&bus);
    say(c, "MDPC02|\1|pay|1");
    hear(w, &m);
    void *v = worker(&bus, "|MDPW01|\1", "pay");
    say(w, "|MDPW01|\1|pay");
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    expect_nothing(v);
    zmq_close(w);
    zmq_close(v);
    zmq_close(c);
    bus_close(&bus);
}

/* Without a word: the ROUTER tells when it is next written to, by a heartbeat or a request. */
static void a_worker_that_vanished_is_found_out_when_it_is_written_to(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    int64_t lost = stat_get(STAT_WORKERS_LOST);
    bus_open_beating(&bus, 20 * MSEC_US);
    void *dead = worker(&bus, "MDPW02|\1", "echo"), *w = worker(&bus, "MDPW02|\1", "echo");
    zmq_close(dead); /* it stands first in the list */
    wait_for_stat(STAT_WORKERS_LOST, lost + 1);
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|hi");
    hear(w, &m);
    answer(w, &m, FINAL02, "ho");
    expect(c, "MDPC02|\3|echo|ho");
    assert_int_equal(stat_get(STAT_WORKERS_LOST), lost + 1);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* A.5 pitfalls 4 and 5. */
static void idle_workers_get_heartbeats_and_silent_ones_all_go(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.heartbeat_us = 100 * MSEC_US;
    bus.config.expiry_us = 800 * MSEC_US;
    bus_open(&bus);
    int64_t lost = stat_get(STAT_WORKERS_LOST);
    void *live = worker(&bus, "MDPW02|\1", "echo"), *mute1 = worker(&bus, "MDPW02|\1", "echo");
    void *mute2 = worker(&bus, "|MDPW01|\1", "echo");
    while (stat_get(STAT_WORKERS_LOST) < lost + 2) { /* the bus's beats are the clock */
        hear_any(live, &m);
        assert_string_equal(m.part[0], "MDPW02");
        assert_int_equal(m.part[1][0], 5);
        say(live, "MDPW02|\5");
    }
    hear_any(mute2, &m);
    assert_string_equal(m.part[1], "MDPW01");
    assert_int_equal(m.part[2][0], 4);
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|hi");
    hear(live, &m);
    zmq_close(live);
    zmq_close(mute1);
    zmq_close(mute2);
    zmq_close(c);
    bus_close(&bus);
}

/* A.5 pitfall 3: one that has never sent a heartbeat while busy has its request's time. */
static void a_busy_worker_may_be_silent_but_one_that_used_to_beat_may_not(void **state)
{
    (void)state;
    struct bus bus;
    struct message m, beats;
    bus_prepare(&bus);
    bus.config.heartbeat_us = 50 * MSEC_US;
    bus.config.expiry_us = 300 * MSEC_US;
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "slow"), *c = dealer(&bus);
    say(c, "MDPC02|\1|slow|1");
    hear(w, &m);
    say(w, "MDPW02|\5");         /* this one may have crossed the request */
    for (int i = 0; i < 10; i++) /* half a second of the bus's beats, none of ours */
        hear_any(w, &beats);
    answer(w, &m, FINAL02, "done");
    expect(c, "MDPC02|\3|slow|done");

    say(c, "MDPC02|\1|slow|2");
    hear(w, &m);
    say(w, "MDPW02|\5");
    say(w, "MDPW02|\5"); /* it beats while busy, and then stops */
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* The other one beats, as ours do, and gets the request long before its deadline. */
static void one_of_ours_that_is_silent_at_its_first_request_is_gone_F08_F32(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.heartbeat_us = 100 * MSEC_US;
    bus.config.expiry_us = 600 * MSEC_US;
    bus_open(&bus);
    void *gone = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    ask(c, "GetHead", &ctx, "");
    hear(gone, &m);
    void *w = worker(&bus, "MDPW02|\1", OURS);
    take_and_answer(w, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    zmq_close(gone);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* By its next beat it learns that it is not known, and comes again; without that its place would be taken for ever. */
static void one_of_ours_that_beats_and_does_not_answer_is_given_up_F34(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.deadline_max_us = 2 * SECOND_US;
    bus.config.busy_grace_us = SECOND_US;
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 1000;
    ask(c, "GetHead", &ctx, "lost");
    hear(w, &m); /* the man in the middle has it, and not the worker */
    const int beat_ms = 100;
    int64_t until_us = clock_monotonic_us() + 2 * WAIT_MS * MSEC_US;
    zmq_setsockopt(w, ZMQ_RCVTIMEO, &beat_ms, sizeof(beat_ms));
    do
        say(w, "MDPW02|\5");
    while ((!hear_or_not(w, &m) || m.part[1][0] == 5) && clock_monotonic_us() < until_us);
    assert_int_equal(m.part[1][0], 6); /* DISCONNECT */
    expect_fault(&bus, c, 3, ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    zmq_close(w);
    w = worker(&bus, "MDPW02|\1", OURS);
    ask(c, "GetHead", &ctx, "");
    take_and_answer(w, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* One that beats as ours do is missed long before one of which nobody knows how often it does. */
static void three_of_its_own_beats_are_a_worker_s_patience_F32(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    int64_t lost = stat_get(STAT_WORKERS_LOST);
    bus_prepare(&bus);
    bus.config.heartbeat_us = 50 * MSEC_US;
    bus.config.expiry_us = 4 * SECOND_US;
    bus_open(&bus);
    void *gone = worker(&bus, "MDPW02|\1", "echo"), *w = worker(&bus, "MDPW02|\1", "echo");
    beat(gone, 3);
    wait_for_stat(STAT_WORKERS_LOST, lost + 1);
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|hi");
    hear(w, &m);
    assert_int_equal(stat_get(STAT_WORKERS_LOST), lost + 1);
    zmq_close(gone);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* Ours beat a while after they last answered: what counts is the while. */
static void answers_make_nobody_slower_to_be_missed_F32(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.heartbeat_us = 50 * MSEC_US;
    bus.config.expiry_us = 60 * SECOND_US;
    bus_open(&bus);
    void *gone = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    int64_t until =
        clock_monotonic_us() + SECOND_US; /* as long as expiry would be with beats a second apart */
    while (clock_monotonic_us() < until) {
        ask(c, "GetHead", &ctx, "");
        hear(gone, &m);
        answer(gone, &m, FINAL02, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    beat(gone, 1);
    ask(c, "GetHead", &ctx, "");
    hear(gone, &m);
    void *w = worker(&bus, "MDPW02|\1", OURS);
    take_and_answer(w, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    zmq_close(gone);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* Of a host that is gone, whoever answered last is at the end of those that are free. */
static void a_lost_request_goes_to_who_was_heard_last_F32(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *gone = worker(&bus, "MDPW02|\1", OURS), *v = worker(&bus, "MDPW02|\1", OURS),
         *too = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ask(c, "GetHead", &ctx, "");
    hear(gone, &m);
    int64_t late = stat_get(STAT_LATE_ANSWERS);
    say(v, "MDPW02|\4|no token||x"); /* whatever it says, it is heard */
    wait_for_stat(STAT_LATE_ANSWERS, late + 1);
    say(gone, "MDPW02|\1|" OURS);
    take_and_answer(v, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    expect_nothing(too);
    zmq_close(gone);
    zmq_close(v);
    zmq_close(too);
    zmq_close(c);
    bus_close(&bus);
}

static void ask_many(void *c, PbCallContext *ctx, int n)
{
    for (int i = 0; i < n; i++)
        ask(c, "GetHead", ctx, "");
}

static void serve(void *w, void *c, int n)
{
    for (int i = 0; i < n; i++) {
        take_and_answer(w, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
}

/* Nor are those refused who come when a service is back (F51). */
static void time_without_a_worker_makes_a_service_no_slower_F11(void **state)
{
    (void)state;
    struct bus bus;
    bus_open_beating(&bus, 5 * SECOND_US);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    ask_many(c, &ctx, 10);
    serve(w, c, 10);
    say(w, "MDPW02|\6");
    ask_many(c, &ctx, 20);
    int64_t until = clock_monotonic_us() + SECOND_US;
    while (clock_monotonic_us() < until) /* that it is away for so long is what is tried */
        usleep(1000);
    void *back = worker(&bus, "MDPW02|\1", OURS);
    serve(back, c, 2);
    ctx.deadline_ms = 1000;
    ask(c, "GetHead", &ctx, "");
    serve(back, c, 19);
    zmq_close(w);
    zmq_close(back);
    zmq_close(c);
    bus_close(&bus);
}

static void a_request_says_what_the_bus_has_read_of_its_worker_F32(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *other = worker(&bus, "MDPW02|\1", "echo"),
         *c = dealer(&bus);
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    assert_int_equal(heard_by_then(&m), 1);
    say(w, "MDPW02|\5");
    say(w, "MDPW02|\7|relay|");
    answer(w, &m, FINAL02, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    assert_int_equal(heard_by_then(&m), 4);
    say(c, "MDPC02|\1|echo|hi");
    hear(other, &m);
    assert_int_equal(m.len[2], MDP_TOKEN_SIZE); /* to other people's, nothing */
    zmq_close(w);
    zmq_close(other);
    zmq_close(c);
    bus_close(&bus);
}

static void what_a_worker_says_out_of_turn_is_answered_by_disconnect(void **state)
{
    (void)state;
    struct bus bus;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = dealer(&bus);
    say(w, "MDPW02|\5"); /* after a restart of the bus (F02) */
    expect(w, "MDPW02|\6");
    say(w, "|MDPW01|\3|addr||hi");
    expect(w, "|MDPW01|\5");
    say(w, "MDPW02|\1|echo");
    say(w, "MDPW02|\1|echo");
    expect(w, "MDPW02|\6");
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|mmi.service|echo");
    expect(c, "MDPC02|\3|mmi.service|404");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void a_leaving_worker_finishes_and_gets_nothing_more(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "echo"), *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|1");
    hear(w, &m);
    say(w, "MDPW02|\6");
    wait_for_code(&bus, "echo", "404");
    say(c, "MDPC02|\1|echo|2");
    answer(w, &m, FINAL02, "one");
    expect(c, "MDPC02|\3|echo|one");
    void *v = dealer(&bus);
    say(v, "MDPW02|\1|echo");
    hear(v, &m);
    answer(v, &m, FINAL02, "two");
    expect(c, "MDPC02|\3|echo|two");
    expect_nothing(w);
    zmq_close(w);
    zmq_close(v);
    zmq_close(c);
    bus_close(&bus);
}

static void one_slot_serves_several_services_one_at_a_time(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = dealer(&bus), *c = dealer(&bus);
    say(w, "MDPW02|\1|one|two|three|two");
    wait_for_service(&bus, "three");
    say(c, "MDPC02|\1|two|a");
    say(c, "MDPC02|\1|one|b");
    say(c, "MDPC02|\1|three|c");
    static const char *const order[] = { "two", "one", "three" };
    bool seen[3] = { false };
    for (int i = 0; i < 3; i++) {
        hear(w, &m);
        answer(w, &m, FINAL02, m.part[4]);
        hear(c, &m);
        for (int k = 0; k < 3; k++)
            seen[k] = seen[k] || !strcmp(m.part[2], order[k]);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* --- draining ------------------------------------------------------------------------------- */

static void a_stopping_bus_answers_what_it_took_and_dismisses_its_workers(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.drain_timeout_us = 400 * MSEC_US;
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "echo"), *c = dealer(&bus), *d = dealer(&bus);
    say(c, "MDPC02|\1|echo|1");
    hear(w, &m);
    say(c, "MDPC02|\1|echo|2");
    say(c, "MDPC02|\1|echo|3");
    say(c, "MDPC02|\1|mmi.service|echo");
    expect(c, "MDPC02|\3|mmi.service|200"); /* so all were taken */
    atomic_store(&bus.stop, true);
    do { /* until the stop is seen */
        say(d, "MDPC02|\1|nobody|3");
        struct message r;
        hear(d, &r);
        const char *why = reason_of(&bus, result_of(&bus, r.part[3], r.len[3]));
        if (!strcmp(why, "DRAINING"))
            break;
    } while (true);
    answer(w, &m, FINAL02, "one");
    expect(c, "MDPC02|\3|echo|one");
    hear(w, &m); /* the queue is still served; this one is not answered, and may have been done */
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "DRAINING");
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "WORKER_LOST");
    expect(w, "MDPW02|\6");
    pthread_join(bus.thread, NULL);
    zmq_close(w);
    zmq_close(c);
    zmq_close(d);
    bus_close(&bus);
}

/* Else it would wait to its deadline, although the other bus would serve it. */
static void a_stopping_bus_lets_go_what_waits_for_a_worker_that_left_F09(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "echo"), *c = dealer(&bus);
    say(w, "MDPW02|\6");
    do { /* until it has left */
        say(c, "MDPC02|\1|mmi.service|echo");
        hear(c, &m);
    } while (memcmp(m.part[3], "404", 3) != 0);
    say(c, "MDPC02|\1|echo|1");
    say(c, "MDPC02|\1|mmi.service|echo");
    expect(c, "MDPC02|\3|mmi.service|404"); /* so the first one waits */
    atomic_store(&bus.stop, true);
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "DRAINING");
    pthread_join(bus.thread, NULL);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_go_to_another_worker_once_with_the_same_id),
        cmocka_unit_test(what_a_worker_has_had_is_never_to_be_asked_again),
        cmocka_unit_test(after_a_part_nothing_goes_out_again),
        cmocka_unit_test(foreign_requests_are_not_repeated),
        cmocka_unit_test(a_worker_that_vanished_is_found_out_when_it_is_written_to),
        cmocka_unit_test(idle_workers_get_heartbeats_and_silent_ones_all_go),
        cmocka_unit_test(a_busy_worker_may_be_silent_but_one_that_used_to_beat_may_not),
        cmocka_unit_test(one_of_ours_that_is_silent_at_its_first_request_is_gone_F08_F32),
        cmocka_unit_test(one_of_ours_that_beats_and_does_not_answer_is_given_up_F34),
        cmocka_unit_test(three_of_its_own_beats_are_a_worker_s_patience_F32),
        cmocka_unit_test(answers_make_nobody_slower_to_be_missed_F32),
        cmocka_unit_test(a_lost_request_goes_to_who_was_heard_last_F32),
        cmocka_unit_test(time_without_a_worker_makes_a_service_no_slower_F11),
        cmocka_unit_test(a_request_says_what_the_bus_has_read_of_its_worker_F32),
        cmocka_unit_test(what_a_worker_says_out_of_turn_is_answered_by_disconnect),
        cmocka_unit_test(a_leaving_worker_finishes_and_gets_nothing_more),
        cmocka_unit_test(one_slot_serves_several_services_one_at_a_time),
        cmocka_unit_test(a_stopping_bus_answers_what_it_took_and_dismisses_its_workers),
        cmocka_unit_test(a_stopping_bus_lets_go_what_waits_for_a_worker_that_left_F09),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    metrics_stop();
    return failed;
}
