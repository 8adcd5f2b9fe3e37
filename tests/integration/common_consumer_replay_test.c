/*
 * Events that are put aside and tried again, and a rebuild that hears them anew (F36 of operations
 * 9).
 */
#include "tests/integration/common_consumer_fixture.h"

#define PARKED(state) "(SELECT count(*) FROM cons.parked_event WHERE state = '" state "')"

static void a_poisonous_event_is_put_aside_with_what_builds_on_it_F36(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/1", "x");
    int64_t poison = add(0, "visits/2", "poison");
    add(0, "visits/2", "after");
    add(0, "visits/3", "sql poison");
    add(1, "visits/2", "another company's");
    add(0, "visits/1", "x");
    for (int64_t seq = 1; seq <= 6; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 6);
    fake_bus_publish(bus, add(0, "visits/2", "later"));
    wait_until(CURSOR, 7);
    /* What is tried again later holds nobody else up. */
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 3);
    assert_int_equal(
        number("SELECT " PARKED("replay") " AS n") + number("SELECT " PARKED("parked") " AS n"), 4);
    wait_until(PARKED("parked"), 4);
    assert_int_equal(number("SELECT attempts AS n FROM cons.parked_event WHERE seq = 2"), 5);
    assert_int_equal(number("SELECT (reason LIKE '%23514 in insert_effect allowed%')::int AS n"
                            " FROM cons.parked_event WHERE seq = 4"),
                     1);
    assert_int_equal(poison, 2);

    /* Put back without a cure: parked again, and what waits behind with it. */
    script("UPDATE cons.parked_event SET state = 'replay' WHERE aggregate = 'visits/2'");
    wait_for("SELECT count(*) AS n FROM cons.parked_event WHERE seq = 2 AND attempts = 6");
    wait_until(PARKED("parked"), 4);

    /* Cured: they run in their order, and later ones are no longer held. */
    atomic_store(&plan.poison_cured, true);
    script("UPDATE cons.parked_event SET state = 'replay' WHERE aggregate = 'visits/2'");
    wait_until(PARKED("done"), 3);
    fake_bus_publish(bus, add(0, "visits/2", "free again"));
    wait_until(EFFECTS, 7);
    stop(&r);
    assert_int_equal(number("SELECT (array_agg(seq ORDER BY n) = '{2,3,7,8}')::int AS n"
                            " FROM cons.effect WHERE aggregate = 'visits/2'"
                            " AND tenant_id = '01000000-0000-7000-8000-0000000000a0'"),
                     1);
}

/* A statement that is cancelled or a lock that is never given, over and over, while the database
 * answers: it holds up nobody else and is given up in the end, but not by the number of tries. */
static void an_event_that_is_never_let_in_holds_nobody_up_F36(void **state)
{
    (void)state;
    struct runner r;

    plan.patience_us = 3 * SECOND_US;
    start(&r);
    add(0, "visits/1", "busy");
    add(1, "visits/2", "poison");
    fake_bus_publish(bus, 1);
    fake_bus_publish(bus, 2);
    wait_until(CURSOR, 2);
    assert_int_equal(number("SELECT " PARKED("replay") " AS n"), 2);
    atomic_store(&plan.poison_cured, true);
    wait_until(EFFECTS, 1);
    wait_until(PARKED("parked"), 1);
    stop(&r);
    assert_int_equal(number("SELECT attempts AS n FROM cons.parked_event WHERE seq = 1"), 1);
    assert_int_equal(number("SELECT (reason LIKE '%55P03%')::int AS n"
                            " FROM cons.parked_event WHERE seq = 1"),
                     1);
}

/* Each of them may cost the consumer's thread a whole lock_timeout. */
static void of_events_that_are_not_let_in_a_tick_tries_one(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/1", "busy");
    add(0, "visits/2", "busy");
    add(0, "visits/3", "busy");
    for (int seq = 1; seq <= 3; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 3);
    size_t from = atomic_load(&plan.nbusy);
    WAIT_UNTIL(atomic_load(&plan.nbusy) >= from + 6, LIMIT_US);
    stop(&r);
    for (size_t i = from + 1; i < from + 6; i++)
        assert_true(plan.busy_us[i] - plan.busy_us[i - 1] > 500 * MSEC_US);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event"
                            " WHERE state = 'replay' AND attempts = 1"),
                     3);
}

/* Tried for the last time in vain, while another replica's try went well. */
static void what_another_replica_made_good_is_not_given_up_F36(void **state)
{
    (void)state;
    struct runner r;

    plan.rival = db_new(servers_conninfo(servers), "cons_rival");
    assert_non_null(plan.rival);
    start(&r);
    add(0, "visits/1", "rival");
    add(0, "visits/1", "after");
    fake_bus_publish(bus, 1);
    fake_bus_publish(bus, 2);
    wait_until(CURSOR, 2);
    wait_until(PARKED("done") " + " PARKED("parked"), 2);
    stop(&r);
    db_free(plan.rival);
    assert_int_equal(number("SELECT " PARKED("done") " AS n"), 2);
    expect_each_once_in_order(1);
}

/* The program itself as a daemon that dies of an event. */
static int run_child(char **argv)
{
    struct runner r;
    struct bus_address address = { .endpoint = argv[3], .events = argv[4], .server_key = "" };
    void *ctx = zmq_ctx_new();

    schema_init();
    open_runner(&r, ctx, argv[2], &address);
    consumer_run(r.consumer);
    return 0;
}

static int spawn_and_wait(const char *conninfo)
{
    const struct bus_address *a = fake_bus_address(bus);
    int status = 0;

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "common_consumer_test", "child", conninfo, a->endpoint, a->events,
              (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void an_event_that_ends_the_process_is_put_aside_F36(void **state)
{
    (void)state;
    char *conninfo = servers_conninfo_of(servers, "daybook_cons");
    struct runner r;

    add(0, "visits/1", "x");
    add(0, "visits/2", "die");
    add(0, "visits/1", "x");
    /* A few deaths make it careful, five more with the event named put that aside: then another
     * program may go on. Each child dies of it, or the next one would not end. */
    while (number("SELECT (coalesce(max(tries), 0) >= 5)::int AS n FROM cons.consumer_cursor") == 0)
        assert_int_equal(spawn_and_wait(conninfo), CHILD_DIED);
    free(conninfo);
    launch(&r);
    wait_until(CURSOR, 3);
    stop(&r);
    expect_each_once_in_order(2);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.parked_event WHERE seq = 2"
                            " AND state = 'parked' AND reason LIKE 'the process ended%'"),
                     1);
}

static void rebuild(int64_t head)
{
    char text[24];
    const char *params[] = { "cons" };

    snprintf(text, sizeof text, "%" PRId64, head);
    must(db_begin(admin, NULL, clock_monotonic_us() + LIMIT_US));
    must(db_queue(admin,
                  &(struct db_stmt){ "head",
                                     "UPDATE bus.head SET last_seq = $1::bigint,"
                                     " log_id = (SELECT log_id FROM cons.consumer_cursor)",
                                     1, NULL },
                  (const char *const[]){ text }));
    must(db_queue(admin, sql_for_schema(&sql_consumer_lock, "cons"), params));
    must(db_queue(admin, &(struct db_stmt){ "empty", "TRUNCATE cons.effect", 0, NULL }, NULL));
    must(db_queue(admin, sql_for_schema(&sql_consumer_rebuild, "cons"), params));
    must(db_commit(admin));
}

static void a_rebuild_repeats_only_what_makes_the_read_model(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    for (int i = 0; i < 30; i++)
        fake_bus_publish(bus, i % 3 == 2 ? add_live_only() : add(0, "visits/1", "emit"));
    wait_until(CURSOR, 30);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 30);
    stop(&r); /* the relay is woken after the commit that was waited for */
    int relay = atomic_load(&plan.relay);
    int64_t emitted = number("SELECT count(*) AS n FROM bus.outbox");

    launch(&r);
    wait_ready(&r);
    rebuild(30);
    wait_until(CURSOR, 30);
    wait_until("(SELECT replay_until FROM cons.consumer_cursor)", 0);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 20);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), emitted);
    assert_int_equal(atomic_load(&plan.relay), relay);

    fake_bus_publish(bus, add_live_only()); /* and then goes on as before */
    wait_until(EFFECTS, 21);
    stop(&r);
    expect_each_once_in_order(21);

    add_live_only(); /* not heard before the rebuild: its live effect is still due */
    rebuild(32);
    launch(&r);
    wait_until(CURSOR, 32);
    stop(&r);
    expect_each_once_in_order(21);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect WHERE seq = 32"), 1);
}

/* The live model lacks what was put aside, so the rebuilt one does; put back, it runs once. */
static void a_rebuild_leaves_aside_what_was_put_aside_F36(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    add(0, "visits/2", "before");
    add(0, "visits/2", "poison");
    add(0, "visits/2", "after");
    add(0, "visits/1", "x");
    for (int64_t seq = 1; seq <= 4; seq++)
        fake_bus_publish(bus, seq);
    wait_until(CURSOR, 4);
    assert_int_equal(number("SELECT count(*) AS n FROM cons.effect"), 2);
    stop(&r);

    atomic_store(&plan.poison_cured, true);
    rebuild(4);
    script(
        "UPDATE cons.parked_event SET state = 'replay'"); /* while the rebuild is still to come */
    launch(&r);
    wait_until(PARKED("done"), 2);
    wait_until(EFFECTS, 4);
    stop(&r);
    assert_int_equal(number("SELECT (array_agg(seq ORDER BY n) = '{1,4,2,3}')::int AS n"
                            " FROM cons.effect"),
                     1);
}

/* What waits is run as live: what it looks up must be whole, not just up to where it stood. */
static void what_waits_is_tried_when_a_rebuild_is_over_F36(void **state)
{
    (void)state;
    struct runner r;

    start(&r);
    fake_bus_publish(bus, add(0, "visits/2", "poison"));
    fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(CURSOR, 2);
    stop(&r);
    atomic_store(&plan.poison_cured, true);
    script("UPDATE cons.parked_event SET state = 'replay', next_try_at = '-infinity';"
           "UPDATE cons.consumer_cursor SET replay_until = 5");
    launch(&r);
    for (int64_t seq = 3; seq <= 4; seq++) { /* each tick writes the position, then tries again */
        fake_bus_publish(bus, add_foreign());
        wait_until(CURSOR, seq);
    }
    fake_bus_publish(bus, add(0, "visits/1", "x"));
    wait_until(PARKED("done"), 1);
    stop(&r);
    assert_int_equal(number("SELECT (array_agg(seq ORDER BY n) = '{2,5,1}')::int AS n"
                            " FROM cons.effect"),
                     1);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "child") == 0)
        return run_child(argv);
    const struct CMUnitTest tests[] = {
        TEST(a_poisonous_event_is_put_aside_with_what_builds_on_it_F36),
        TEST(an_event_that_is_never_let_in_holds_nobody_up_F36),
        TEST(of_events_that_are_not_let_in_a_tick_tries_one),
        TEST(what_another_replica_made_good_is_not_given_up_F36),
        TEST(an_event_that_ends_the_process_is_put_aside_F36),
        TEST(a_rebuild_repeats_only_what_makes_the_read_model),
        TEST(a_rebuild_leaves_aside_what_was_put_aside_F36),
        TEST(what_waits_is_tried_when_a_rebuild_is_over_F36),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
