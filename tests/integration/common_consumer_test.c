/*
 * What a consumer hears takes effect exactly once and in order, however the bus misbehaves (F15,
 * F23, F34, F38, F58 of operations 9).
 */
#include "tests/integration/common_consumer_fixture.h"

static void what_is_published_takes_effect_once(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    int reads = fake_bus_reads(bus);
    for (int i = 0; i < 2000; i++)
        fake_bus_publish(bus, i % 5 == 4 ? add_foreign() : add(i % TENANTS, "visits/1", "x"));
    wait_until(EFFECTS, 1600);
    stop(&r);
    expect_each_once_in_order(1600);
    assert_int_equal(number("SELECT seq AS n FROM cons.consumer_cursor"), 2000);
    assert_int_equal(fake_bus_reads(bus), reads); /* nothing was missed */
    assert_int_equal(atomic_load(&plan.begins), atomic_load(&plan.ends));
}

static void an_event_takes_effect_within_milliseconds(void **state)
{
    (void)state;
    struct runner r;
    int64_t total_us = 0;
    enum { ROUNDS = 50 };

    start(&r);
    wait_ready(&r);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t seq = add(0, "visits/1", "x");
        int64_t begun_us = clock_monotonic_us();
        fake_bus_publish(bus, seq);
        WAIT_UNTIL(consumer_seq(r.consumer) >= seq, LIMIT_US);
        total_us += clock_monotonic_us() - begun_us;
    }
    stop(&r);
    print_message("published to committed: %.2f ms on average\n", (double)total_us / ROUNDS / 1000);
    assert_true(total_us / ROUNDS < slack(100 * MSEC_US));
}

static void doubled_reordered_and_lost_messages_do_no_harm_F34(void **state)
{
    (void)state;
    struct runner r;
    uint32_t seed = 34;
    int64_t held = 0;
    enum { EVENTS = 1500 };

    start(&r);
    for (int i = 0; i < EVENTS; i++) {
        int64_t seq = add(i % TENANTS, "visits/1", "x");
        seed = seed * 1664525 + 1013904223;
        unsigned dice = seed >> 24 & 63;
        if (dice < 6)
            continue; /* lost */
        if (dice < 12 && held == 0) {
            held = seq; /* later */
            continue;
        }
        fake_bus_publish(bus, seq);
        if (dice < 18)
            fake_bus_publish(bus, seq); /* doubled */
        if (dice < 22)
            fake_bus_publish_junk(bus, seq + 1);
        if (dice > 50 && held) {
            fake_bus_publish(bus, held);
            held = 0;
        }
    }
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, EVENTS);
    stop(&r);
    expect_each_once_in_order(EVENTS);
}

static void what_was_missed_is_read_F38(void **state)
{
    (void)state;
    struct runner r;
    int64_t wanted = 0;

    for (int i = 0; i < 6000; i++) {
        bool mine = i % 3 == 0;
        mine ? add(i % TENANTS, "visits/1", "x") : add_foreign();
        wanted += mine;
    }
    start(&r);
    wait_until(EFFECTS, wanted);
    wait_until(CURSOR, 6000);
    stop(&r);
    expect_each_once_in_order(wanted);
    assert_true(fake_bus_reads(bus) < 20);
    /* The event at the cursor is known, so that another incarnation can be judged. */
    assert_int_equal(number("SELECT (event_id IS NOT NULL)::int AS n FROM cons.consumer_cursor"),
                     1);
}

static void the_head_alone_tells_that_something_was_missed(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    add(0, "visits/1", "x");
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 1);
    stop(&r);
}

static void replicas_share_the_work(void **state) /* architecture 6 */
{
    (void)state;
    struct runner r[2];
    enum { EVENTS = 1200 };

    start(&r[0]);
    start(&r[1]);
    for (int i = 0; i < EVENTS; i++)
        fake_bus_publish(bus, add(i % TENANTS, "visits/1", i % 100 ? "x" : "emit"));
    wait_until(EFFECTS, EVENTS);
    stop(&r[0]);
    stop(&r[1]);
    expect_each_once_in_order(EVENTS);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), EVENTS / 100);
}

static void lost_connections_neither_lose_nor_double_F11_F23(void **state)
{
    (void)state;
    struct runner r;
    enum { ROUNDS = 15, EACH = 40 };

    start(&r);
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < EACH; k++)
            fake_bus_publish(bus, add(k % TENANTS, "visits/1", "x"));
        script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE application_name LIKE 'cons_test%'");
    }
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, ROUNDS * EACH);
    stop(&r);
    expect_each_once_in_order(ROUNDS * EACH);
}

static void a_lost_race_is_run_again_F19(void **state)
{
    (void)state;
    struct runner r;
    atomic_store(&plan.aborts, 2);
    start(&r);
    fake_bus_publish(bus, add(0, "visits/1", "abort"));
    fake_bus_publish(bus, add(0, "visits/2", "x"));
    wait_until(EFFECTS, 2);
    stop(&r);
    expect_each_once_in_order(2);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event"), 0);
}

/* A subscription that was not admitted: nothing comes, the log is asked all the same, and it is
 * said. It is subscribed anew until it is heard. */
static void a_bus_that_is_not_heard_is_asked_F32(void **state)
{
    (void)state;
    struct runner r;
    const char *reason = "";

    fake_bus_refuse_subscriptions(bus, true);
    start(&r);
    wait_ready(&r);
    add(0, "visits/1", "x");
    wait_until(EFFECTS, 1);
    fake_bus_publish_head(bus);
    WAIT_UNTIL(!consumer_ready(r.consumer, &reason) && strcmp(reason, "events") == 0, LIMIT_US);
    fake_bus_refuse_subscriptions(bus, false);
    WAIT_UNTIL((fake_bus_publish_head(bus), consumer_ready(r.consumer, &reason)), LIMIT_US);
    stop(&r);
}

static void effects_go_out_with_the_commit(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    wait_ready(&r);
    fake_bus_publish(bus, add(1, "visits/1", "emit"));
    wait_until(EFFECTS, 1);
    WAIT_UNTIL(atomic_load(&plan.relay) >= 1 && atomic_load(&plan.wakes) >= 1, LIMIT_US);
    stop(&r);
    assert_int_equal(atomic_load(&plan.hooks), 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'visits/9'"
                            " AND tenant_id = '01000000-0000-7000-8000-0000000000a1'"),
                     1);
}

static void an_idle_position_is_written(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add_foreign());
    wait_until(CURSOR, 5);
    stop(&r);
    assert_int_equal(atomic_load(&plan.begins), 0);
}

static void another_incarnation_with_our_event_is_adopted_F15_F58(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(CURSOR, 5);
    add(0, "visits/1", "unpublished");
    fake_bus_new_log(bus, 6);
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 6);
    fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(EFFECTS, 7);
    stop(&r);
    expect_each_once_in_order(7);
}

/* Nothing of ours far and wide: the position moves by pieces, which tell no event. */
static void a_position_far_behind_can_be_told_from_another_historys_F15_F58(void **state)
{
    (void)state;
    struct runner r;

    for (int i = 0; i < 3000; i++)
        add_foreign();
    fake_bus_end_reads(bus, 2999);
    start(&r);
    wait_until(CURSOR, 2999);
    fake_bus_new_log(bus, 3000); /* a standby took over */
    fake_bus_end_reads(bus, 0);
    add(0, "visits/1", "x");
    fake_bus_publish_head(bus);
    wait_until(EFFECTS, 1);
    stop(&r);
}

static void a_rewound_log_stops_the_consumer_F15_F58(void **state)
{
    (void)state;
    struct runner r;
    start(&r);
    for (int i = 0; i < 5; i++)
        fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(CURSOR, 5);

    fake_bus_new_log(bus, 3); /* behind us */
    fake_bus_publish_head(bus);
    wait_halted(&r, "log_rewound");
    add(0, "visits/1", "other history"); /* and its numbers are given out again */
    add(0, "visits/1", "other history");
    add(0, "visits/1", "other history");
    fake_bus_publish(bus, 6);
    fake_bus_publish_head(bus);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 5);

    /* An operator rebuilds: it goes on with the log that is. */
    script("BEGIN; TRUNCATE cons.effect; UPDATE cons.consumer_cursor SET seq = 0, event_id = NULL,"
           " replay_until = 6; COMMIT");
    wait_until(EFFECTS, 6);
    wait_ready(&r);
    stop(&r);
    expect_each_once_in_order(6);
}

static void a_log_without_our_next_event_stops_the_consumer_F38(void **state)
{
    (void)state;
    struct runner r;
    for (int i = 0; i < 10; i++)
        add(0, "visits/1", "x");
    fake_bus_forget(bus, 4);
    start(&r);
    wait_halted(&r, "log_truncated");
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 0);
    script("UPDATE cons.consumer_cursor SET seq = 4"); /* an operator accepts the loss */
    script("UPDATE cons.consumer_cursor SET replay_until = 5");
    wait_until(EFFECTS, 6);
    stop(&r);
}

static void waits_for_the_bus_F10(void **state)
{
    (void)state;
    struct runner r;
    add(0, "visits/1", "x");
    fake_bus_refuse(bus, true);
    start(&r);
    wait_halted(&r, "bus");
    fake_bus_refuse(bus, false);
    wait_until(EFFECTS, 1);
    wait_ready(&r);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_published_takes_effect_once),
        TEST(an_event_takes_effect_within_milliseconds),
        TEST(doubled_reordered_and_lost_messages_do_no_harm_F34),
        TEST(what_was_missed_is_read_F38),
        TEST(the_head_alone_tells_that_something_was_missed),
        TEST(replicas_share_the_work),
        TEST(lost_connections_neither_lose_nor_double_F11_F23),
        TEST(a_lost_race_is_run_again_F19),
        TEST(a_bus_that_is_not_heard_is_asked_F32),
        TEST(effects_go_out_with_the_commit),
        TEST(an_idle_position_is_written),
        TEST(another_incarnation_with_our_event_is_adopted_F15_F58),
        TEST(a_position_far_behind_can_be_told_from_another_historys_F15_F58),
        TEST(a_rewound_log_stops_the_consumer_F15_F58),
        TEST(a_log_without_our_next_event_stops_the_consumer_F38),
        TEST(waits_for_the_bus_F10),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
