/*
 * A broker that itself stood still: it misses nobody for that, and reads before it judges (F08).
 */
#include "tests/unit/bus_fixture.h"

/* --- the clock, which the linker wraps (mk/tests.mk) ------------------------------------------ */

static atomic_int looks_left =
    -1; /* of the broker, until it stands still; -1: it does, or shall not */
static atomic_bool stands;
static struct bus *standing;

int64_t __real_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    bool counts = atomic_load(&looks_left) >= 0 && pthread_equal(pthread_self(), standing->thread);
    if (counts && atomic_fetch_sub(&looks_left, 1) == 0)
        while (atomic_load(&stands))
            usleep(1000);
    return __real_clock_monotonic_us();
}

/* As long as `stands`. */
static void stand_still_within(struct bus *bus, int looks)
{
    standing = bus;
    atomic_store(&stands, true);
    atomic_store(&looks_left, looks);
}

/* --- the bus --------------------------------------------------------------------------------- */

static void read_all(void *s)
{
    struct message m;
    int none = 0, usual = WAIT_MS;
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &none, sizeof(none));
    while (hear_or_not(s, &m))
        ;
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &usual, sizeof(usual));
}

static void hold(struct bus *bus)
{
    atomic_store(&bus->hold, true);
    while (!atomic_load(&bus->held))
        usleep(1000);
}

/* That it stands for so long is what is tried. */
static void let_go_after(atomic_bool *flag, int64_t us)
{
    int64_t until = clock_monotonic_us() + us;
    while (clock_monotonic_us() < until)
        usleep(1000);
    atomic_store(flag, false);
}

static void a_bus_that_stood_still_itself_misses_nobody_F08(void **state)
{
    (void)state;
    struct bus bus;
    int64_t lost = stat_get(STAT_WORKERS_LOST);
    bus_open_beating(&bus, 100 * MSEC_US);
    void *w = worker(&bus, "MDPW02|\1", "echo");
    beat(w, 3);
    wait_for_service(&bus, "echo"); /* it has heard the last one before */
    hold(&bus);
    read_all(w);
    let_go_after(&bus.hold, 20 * bus.config.heartbeat_us);
    beat(w, 3); /* what the bus says now, which it would not to one that it misses */
    assert_int_equal(stat_get(STAT_WORKERS_LOST), lost);
    zmq_close(w);
    bus_close(&bus);
}

/* Whatever comes first of what has waited. */
static void after_a_standstill_it_reads_before_it_gives_F08(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    bus_open_beating(&bus, 300 * MSEC_US);
    void *c = dealer(&bus), *w = worker(&bus, "MDPW02|\1", OURS);
    hold(&bus);
    ask(c, "GetHead", &ctx, "");
    for (int i = 0; i < 50; i++)
        say(w, "MDPW02|\5");
    let_go_after(&bus.hold, 3 * bus.config.heartbeat_us);
    hear(w, &m);
    assert_int_equal(heard_by_then(&m), 51);
    answer(w, &m, FINAL02, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    ask(c, "GetHead", &ctx, ""); /* it goes on as before */
    take_and_answer(w, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* Who says nothing may have gone meanwhile. */
static void after_a_standstill_those_come_first_who_are_heard_F08(void **state)
{
    enum { WORKERS = 5 };
    (void)state;
    struct bus bus;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    void *w[WORKERS];
    bus_open_beating(&bus, 300 * MSEC_US);
    void *c = dealer(&bus);
    for (int i = 0; i < WORKERS; i++)
        w[i] = worker(&bus, "MDPW02|\1", OURS);
    for (int i = 0; i < WORKERS; i++) {
        hold(&bus);
        ask(c, "GetHead", &ctx, "");
        say(w[i], "MDPW02|\5");
        let_go_after(&bus.hold, 2 * bus.config.heartbeat_us);
        take_and_answer(w[i], "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    for (int i = 0; i < WORKERS; i++)
        zmq_close(w[i]);
    zmq_close(c);
    bus_close(&bus);
}

/* It may stand still in the midst of many messages. */
static void a_standstill_at_work_is_one_too_F08(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    ctx.deadline_ms = 30000;
    bus_open_beating(&bus, 300 * MSEC_US);
    void *c = dealer(&bus), *busy = dealer(&bus), *w = worker(&bus, "MDPW02|\1", OURS);
    for (int round = 0, said = 1; round < 3; round++) {
        stand_still_within(&bus, 100);
        for (int i = 0; i < 400; i++)
            say(busy, "MDPC02|\1|mmi.service|echo");
        while (atomic_load(&looks_left) >= 0)
            usleep(1000);
        ask(c, "GetHead", &ctx, "");
        for (int i = 0; i < 10; i++)
            say(w, "MDPW02|\5");
        said += 10;
        let_go_after(&stands, 3 * bus.config.heartbeat_us);
        hear(w, &m);
        assert_int_equal(heard_by_then(&m), said++);
        answer(w, &m, FINAL02, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
        for (int i = 0; i < 400; i++)
            expect(busy, "MDPC02|\3|mmi.service|404");
    }
    zmq_close(w);
    zmq_close(c);
    zmq_close(busy);
    bus_close(&bus);
}

/* A service that takes 100 ms for one would refuse who waits behind six, but six are free. */
static void after_a_standstill_the_free_are_counted_on_F08_F51(void **state)
{
    enum { WORKERS = 6, ASKED = 10 };
    (void)state;
    struct bus bus;
    struct message m;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    void *w[WORKERS];
    bus_open_beating(&bus, 500 * MSEC_US);
    void *c = dealer(&bus);
    w[0] = worker(&bus, "MDPW02|\1", OURS);
    ctx.deadline_ms = 30000;
    for (int i = 0; i < ASKED; i++)
        ask(c, "GetHead", &ctx, "");
    for (int i = 0; i < ASKED; i++) {
        hear(w[0], &m);
        usleep(100 * 1000); /* what it takes */
        answer(w[0], &m, FINAL02, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    for (int i = 1; i < WORKERS; i++)
        w[i] = worker(&bus, "MDPW02|\1", OURS);
    hold(&bus);
    ctx.deadline_ms = 1000;
    for (int i = 0; i < ASKED; i++)
        ask(c, "GetHead", &ctx, "");
    let_go_after(&bus.hold, 3 * bus.config.heartbeat_us);
    for (int i = 0; i < ASKED; i++) {
        take_and_answer(w[i % WORKERS], "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    for (int i = 0; i < WORKERS; i++)
        zmq_close(w[i]);
    zmq_close(c);
    bus_close(&bus);
}

/* Who waits meanwhile does not make his service look slow: those with little time would be refused. */
static void a_standstill_is_no_pace_F08_F51(void **state)
{
    enum { KNOWN = 10, WAITING = 30 };
    (void)state;
    struct bus bus;
    struct message m;
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    int64_t requests = stat_get(STAT_REQUESTS);
    bus_open_beating(&bus, 500 * MSEC_US);
    void *c = dealer(&bus), *w = worker(&bus, "MDPW02|\1", OURS);
    ctx.deadline_ms = 30000;
    for (int i = 0; i < KNOWN; i++)
        ask(c, "GetHead", &ctx, "");
    for (int i = 0; i < KNOWN; i++) {
        take_and_answer(w, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    ask(c, "GetHead", &ctx, ""); /* waits for him */
    wait_for_stat(STAT_REQUESTS, requests + KNOWN + 2);
    hold(&bus);
    answer(w, &m, FINAL02, "r|m");
    let_go_after(&bus.hold, 4 * bus.config.heartbeat_us);
    expect(c, "MDPC02|\3|" OURS "|r|m");
    hear(w, &m);
    ctx.deadline_ms = 8000;
    for (int i = 0; i < WAITING; i++)
        ask(c, "GetHead", &ctx, "");
    answer(w, &m, FINAL02, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    for (int i = 0; i < WAITING; i++) {
        take_and_answer(w, "r|m");
        expect(c, "MDPC02|\3|" OURS "|r|m");
    }
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bus_that_stood_still_itself_misses_nobody_F08),
        cmocka_unit_test(after_a_standstill_it_reads_before_it_gives_F08),
        cmocka_unit_test(after_a_standstill_those_come_first_who_are_heard_F08),
        cmocka_unit_test(a_standstill_at_work_is_one_too_F08),
        cmocka_unit_test(after_a_standstill_the_free_are_counted_on_F08_F51),
        cmocka_unit_test(a_standstill_is_no_pace_F08_F51),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    metrics_stop();
    return failed;
}
