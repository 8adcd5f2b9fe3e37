/* Calls over a bus that ends, stands still or says nothing: they go out again, by the other one or the same anew, when
 * they may be done twice (F02, F26, F32); and over the only one that there is. */
#include "tests/unit/gateway_upstream_fixture.h"

static int set_up_alone(void **state)
{
    return set_up_first_of(state, 1);
}

/* By turns: what reads, and what has a key. */
static void ask_repeatable(struct fixture *f, struct seen *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)(i % 4 < 2 ? ask_within(f, &s[i], "Get", NULL, ASKED_US)
                         : ask_within(f, &s[i], "Create", "k", ASKED_US));
}

/* Answers what the buses hear, until there is nothing that was not answered. */
static bool all_over(struct fixture *f, const struct seen *seen, size_t n, int *of_bus)
{
    struct asked a;

    if (take(f, &a)) {
        of_bus[a.bus]++;
        answer(f, &a, ERR_OK, NULL);
    }
    for (size_t i = 0; i < n; i++)
        if (!seen[i].n)
            return false;
    return true;
}

static void what_a_silent_bus_has_goes_to_the_other_if_it_may_be_done_twice_F32(void **state)
{
    struct fixture *f = *state;
    struct seen twice[4], once[4];
    int of_bus[BUSES] = { 0 }, lost = 0;

    f->deaf[0] = true;
    ask_repeatable(f, twice, ARRAY_LEN(twice)); /* half of each kind go there */
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        (void)ask_within(f, &once[i], "Create", NULL, LIMIT_US);
    WAIT_UNTIL(all_over(f, twice, ARRAY_LEN(twice), of_bus), LIMIT_US);
    for (size_t i = 0; i < ARRAY_LEN(twice); i++)
        assert_int_equal(twice[i].code, ERR_OK);
    WAIT_UNTIL(all_over(f, once, ARRAY_LEN(once), of_bus), 2 * LIMIT_US);
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        lost += once[i].code == ERR_DEADLINE_EXCEEDED;
    assert_int_equal(lost + of_bus[1], ARRAY_LEN(twice) + ARRAY_LEN(once));
    assert_int_equal(lost, ARRAY_LEN(once) / 2);

    for (size_t i = 0; i < ARRAY_LEN(once); i++) /* what comes later does not get there at all */
        (void)ask(f, &once[i]);
    WAIT_UNTIL(all_over(f, once, ARRAY_LEN(once), of_bus), LIMIT_US);
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        assert_int_equal(once[i].code, ERR_OK);
}

/* It stood still, and has all that it was sent. */
static void what_cannot_be_asked_again_keeps_its_connection_F32(void **state)
{
    struct fixture *f = *state;
    struct seen twice[BUSES], once[BUSES];
    int of_bus[BUSES] = { 0 };

    f->deaf[0] = true;
    ask_repeatable(f, twice, BUSES);
    for (int i = 0; i < BUSES; i++)
        (void)ask(f, &once[i]);
    WAIT_UNTIL(all_over(f, twice, BUSES, of_bus), LIMIT_US);
    assert_int_equal(of_bus[0], 0); /* it was found silent */
    f->deaf[0] = false;
    WAIT_UNTIL(all_over(f, once, BUSES, of_bus), 3 * LIMIT_US);
    for (int i = 0; i < BUSES; i++)
        assert_int_equal(once[i].code, ERR_OK);
}

/* Frozen, or without a processor: what came meanwhile was not looked at, or not even received. */
static void our_own_standstill_is_not_the_buses_silence_F32(void **state)
{
    struct fixture *f = *state;
    struct seen seen[BUSES];
    struct asked a[BUSES];

    ask_repeatable(f, seen, BUSES);
    for (int i = 0; i < BUSES; i++)
        a[i] = until_asked(f);
    f->deaf[0] = f->deaf[1] = true;
    shift_us += SECOND_US;
    run(f); /* asks them whether they are there */
    shift_us += 4 * SECOND_US;
    run(f);
    for (int i = 0; i < BUSES; i++)
        answer(f, &a[i], ERR_OK, NULL);
    for (int i = 0; i < BUSES; i++) {
        WAIT_UNTIL(is_over(f, &seen[i]), 2 * LIMIT_US);
        assert_int_equal(seen[i].code, ERR_OK);
    }
}

/* One that expires says first that the bus is silent. The next one gives it up, five seconds later. */
static void calls_that_expired_meanwhile_do_not_say_so_either_F26(void **state)
{
    struct fixture *f = *state;
    struct seen first, next, last;
    struct asked a[3];

    (void)ask_within(f, &first, "Get", NULL, SECOND_US);
    (void)ask_within(f, &next, "Get", NULL, LIMIT_US);
    (void)ask_within(f, &last, "Create", NULL, 4 * LIMIT_US);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        a[i] = until_asked(f);
    f->deaf[0] = true;
    shift_us += SECOND_US;
    WAIT_UNTIL(is_over(f, &first), LIMIT_US);
    assert_int_equal(next.n, 0);
    shift_us += LIMIT_US;
    WAIT_UNTIL(is_over(f, &next), LIMIT_US);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        answer(f, &a[i], ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &last), LIMIT_US);
    assert_int_equal(last.code, ERR_OK);
}

static bool one_goes_to(struct fixture *f, int bus)
{
    struct seen seen;
    int of_bus[BUSES] = { 0 };

    ask_repeatable(f, &seen, 1);
    WAIT_UNTIL(all_over(f, &seen, 1, of_bus), LIMIT_US);
    assert_int_equal(seen.code, ERR_OK);
    return of_bus[bus] > 0;
}

static void a_bus_that_is_heard_again_gets_its_share_F32(void **state)
{
    struct fixture *f = *state;
    struct seen seen[BUSES];
    int of_bus[BUSES] = { 0 };

    f->deaf[0] = true;
    ask_repeatable(f, seen, BUSES);
    WAIT_UNTIL(all_over(f, seen, BUSES, of_bus), LIMIT_US);
    assert_int_equal(of_bus[1], BUSES);
    f->deaf[0] = false;
    WAIT_UNTIL(one_goes_to(f, 0), 2 * LIMIT_US);
}

/* The bus that was asked is started anew. */
static void is_asked_again_of_one_that_is_new(struct fixture *f, struct asked a, struct seen *seen)
{
    zmq_close(f->bus[a.bus]);
    zmq_msg_close(&a.peer);
    start_bus(f, a.bus);
    struct asked again = until_asked(f);
    assert_string_equal(again.request_id, a.request_id);
    answer(f, &again, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, seen), LIMIT_US);
    assert_int_equal(seen->code, ERR_OK);
}

/* It is there again at once, so nothing but the end of the connection tells. */
static void what_a_bus_had_that_was_started_anew_is_asked_again_F02(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    struct asked a;

    start_bus(f, 1);
    WAIT_UNTIL(one_goes_to(f, 1), 2 * LIMIT_US);
    ask_repeatable(f, &seen, 1);
    a = until_asked(f);
    is_asked_again_of_one_that_is_new(f, a, &seen);
}

/* So that a test may be as slow as it is. */
static void stand_still_at(int64_t at_us)
{
    shift_us -= clock_monotonic_us() - at_us;
}

static void sweep_twice(struct fixture *f)
{
    for (int i = 0; i < 2; i++) {
        shift_us += SECOND_US / 4;
        run(f);
    }
}

static void what_the_only_bus_had_is_asked_again_of_it_F02(void **state)
{
    struct fixture *f = *state;
    struct seen once, seen;

    (void)ask(f, &once); /* it may not be done twice */
    struct asked a = until_asked(f);
    zmq_msg_close(&a.peer);
    ask_repeatable(f, &seen, 1);
    a = until_asked(f);
    is_asked_again_of_one_that_is_new(f, a, &seen);
    sweep_twice(f);
    assert_false(take(f, &a));
    assert_int_equal(once.n, 0);
}

/* It hung, and was killed for it; that it was asked and said nothing is of no account any more. */
static void what_a_silent_only_bus_had_is_asked_again_of_the_next_one_F02(void **state)
{
    struct fixture *f = *state;
    struct seen first, seen;

    (void)ask_within(f, &first, "Create", NULL, SECOND_US);
    struct asked a = until_asked(f);
    zmq_msg_close(&a.peer);
    (void)ask_within(f, &seen, "Get", NULL, 10 * ASKED_US);
    a = until_asked(f);
    f->mute = true;
    shift_us += SECOND_US;
    WAIT_UNTIL(is_over(f, &first), LIMIT_US);
    for (int i = 0; i < 4; i++) {
        shift_us += SECOND_US;
        run(f);
    }
    is_asked_again_of_one_that_is_new(f, a, &seen);
}

/* The first time it may have been a replica that stops, the second time it is the bus. */
static void what_the_only_bus_refuses_twice_is_asked_again_later_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    (void)ask(f, &seen);
    for (int i = 0; i < 2; i++) {
        struct asked a = until_asked(f);
        answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    }
    int64_t refused_us = clock_monotonic_us();
    struct asked a = until_asked(f);
    assert_true(clock_monotonic_us() - refused_us >= 400 * MSEC_US);
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.status, ERR_OK);
}

/* Who refused it twice has ended since: who is there now has not. */
static void who_is_held_goes_to_the_bus_that_is_started_anew_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    int64_t before = repeats(RETRY_DRAINING);

    (void)ask(f, &seen);
    for (int i = 0; i < 2; i++) {
        struct asked a = until_asked(f);
        answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    }
    int64_t at_us = clock_monotonic_us();
    for (int looks = 0; repeats(RETRY_DRAINING) < before + 2; looks++) {
        assert_true(looks < 60000);
        (void)poll(NULL, 0, 1);
        run(f);
        stand_still_at(at_us);
    }
    shift_us -= MINUTE_US; /* it would be held for longer than this test waits */
    zmq_close(f->bus[0]);
    start_bus(f, 0);
    struct asked a = until_asked(f);
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.code, ERR_OK);
    shift_us += MINUTE_US;
}

/* Calls that expire say that the bus is silent, or a service behind it; then the bus has the others. */
static void what_the_only_bus_may_have_still_is_not_sent_twice_F26(void **state)
{
    struct fixture *f = *state;
    struct seen first, last;
    static struct seen seen; /* outlives this function */
    int64_t before = repeats(RETRY_BUS_LOST);

    f->deaf[0] = true;
    (void)ask_within(f, &seen, "Get", NULL, 10 * ASKED_US);
    (void)ask_within(f, &first, "Create", NULL, SECOND_US);
    (void)ask_within(f, &last, "Create", NULL, LIMIT_US + 2 * SECOND_US);
    WAIT_UNTIL(is_over(f, &first), LIMIT_US);
    for (int i = 0; i < 8; i++) { /* no standstill of ours */
        shift_us += SECOND_US;
        run(f);
    }
    assert_int_equal(last.code, ERR_DEADLINE_EXCEEDED);
    WAIT_UNTIL((run(f), upstream_is_connected(f->upstream)), LIMIT_US);
    sweep_twice(f);
    assert_int_equal(repeats(RETRY_BUS_LOST), before);
    assert_int_equal(seen.n, 0);
}

/* The bus says that it is there, and what it was asked before is answered by the same connection. */
static void a_service_that_hangs_costs_the_only_bus_no_connection_F26(void **state)
{
    struct fixture *f = *state;
    struct seen first, hung;

    (void)ask_within(f, &first, "Create", NULL, 10 * ASKED_US);
    struct asked a = until_asked(f);
    for (int i = 0; i < 8; i++) {
        (void)ask_within(f, &hung, "Get", NULL, SECOND_US);
        struct asked unanswered = until_asked(f);
        zmq_msg_close(&unanswered.peer);
        shift_us += SECOND_US;
        WAIT_UNTIL(is_over(f, &hung), LIMIT_US);
        assert_int_equal(hung.code, ERR_DEADLINE_EXCEEDED);
    }
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &first), LIMIT_US);
    assert_int_equal(first.code, ERR_OK);
}

/* Who is held waits for longer than who comes behind him. */
static void who_waits_behind_one_that_is_held_is_told_in_time_F09(void **state)
{
    struct fixture *f = *state;
    struct seen held, behind;

    (void)ask(f, &held);
    for (int i = 0; i < 2; i++) {
        struct asked a = until_asked(f);
        answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    }
    while (!is_over(f, &held) && upstream_is_connected(f->upstream)) {
        zmq_close(f->bus[0]); /* it ends once it has said so */
        f->bus[0] = NULL;
        WAIT_UNTIL((run(f), !upstream_is_connected(f->upstream)), LIMIT_US);
    }
    (void)ask(f, &behind);
    run(f);
    shift_us += 1100 * MSEC_US;
    assert_true(upstream_wait_us(f->upstream) <= 0);
    assert_true(is_over(f, &behind));
    assert_int_equal(behind.code, ERR_UNAVAILABLE);
    assert_int_equal(held.n, 0);
}

static bool answer_one(struct fixture *f)
{
    struct asked a;

    if (!take(f, &a))
        return false;
    answer(f, &a, ERR_OK, NULL);
    arena_reset(f->arena);
    return true;
}

/* It is slow, and its queue is full: then nothing can be sent to it either. */
static void a_full_queue_is_not_the_end_of_a_connection(void **state)
{
    enum { CALLS = 5000 }; /* half of them more than a queue takes */
    static struct seen seen[CALLS];
    struct fixture *f = *state;
    int64_t before = repeats(RETRY_BUS_LOST);
    int of_other = 0;

    f->deaf[0] = true;
    ask_repeatable(f, seen, CALLS);
    int64_t at_us = clock_monotonic_us();
    for (int looks = 0; of_other <= CALLS / 2; looks++) {
        assert_true(looks < 1000 * CALLS);
        of_other += answer_one(f);
        stand_still_at(at_us);
    }
    sweep_twice(f);
    assert_int_equal(repeats(RETRY_BUS_LOST), before);
}

static bool one_is_left_with(struct fixture *f, int bus)
{
    static struct seen seen;

    ask_repeatable(f, &seen, 1);
    struct asked a = until_asked(f);
    if (a.bus == bus) {
        zmq_msg_close(&a.peer);
        return true;
    }
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    return false;
}

/* There was none before it, whose end could be meant. */
static void what_a_new_connection_has_is_not_lost(void **state)
{
    struct fixture *f = *state;
    int64_t before = repeats(RETRY_BUS_LOST);

    run(f);
    start_bus(f, 1);
    WAIT_UNTIL(one_is_left_with(f, 1), 2 * LIMIT_US);
    sweep_twice(f);
    assert_int_equal(repeats(RETRY_BUS_LOST), before);
}

/* One repeat a second is free, whatever the budget is. */
static void what_the_budget_does_not_pay_at_once_is_asked_again_later_F02(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    start_bus(f, 1);
    WAIT_UNTIL(one_goes_to(f, 1), 2 * LIMIT_US);
    ask_repeatable(f, &seen, 1);
    struct asked a = until_asked(f);
    while (retry_budget_take(retry_budget(), clock_monotonic_us()))
        continue;
    is_asked_again_of_one_that_is_new(f, a, &seen);
    for (int i = 0; i < 10 * RETRY_BUDGET_MOST; i++)
        retry_budget_earn(retry_budget()); /* of the process */
}

/* The bus that died may have had it done. */
static void a_refusal_by_the_next_bus_does_not_say_that_nothing_was_done_F02(void **state)
{
    static const struct {
        enum err code;
        char reason[16];
        enum err want;
        int want_status;
    } cases[] = {
        { ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL", ERR_DEADLINE_EXCEEDED, 0 },
        { ERR_UNAVAILABLE, "NO_WORKER", ERR_DEADLINE_EXCEEDED, 0 },
        { ERR_NOT_FOUND, "CUSTOMER", ERR_OK, ERR_NOT_FOUND },
    };
    struct fixture *f = *state;
    struct seen seen;

    start_bus(f, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char reason[sizeof(cases[i].reason)];
        memcpy(reason, cases[i].reason, sizeof(reason));
        WAIT_UNTIL(one_goes_to(f, 0), 2 * LIMIT_US);
        WAIT_UNTIL(one_goes_to(f, 1), 2 * LIMIT_US);
        ask_repeatable(f, &seen, 1);
        struct asked a = until_asked(f);
        zmq_close(f->bus[a.bus]);
        zmq_msg_close(&a.peer);
        f->bus[a.bus] = NULL;
        struct asked again = until_asked(f);
        assert_int_equal(again.bus, 1 - a.bus);
        answer(f, &again, cases[i].code, reason);
        WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
        if (seen.code != cases[i].want || seen.status != cases[i].want_status)
            fail_msg("%s: told as %d, %d", reason, (int)seen.code, seen.status);
        start_bus(f, a.bus);
    }
}

static int count_over(const struct seen *seen, int n)
{
    int over = 0;
    for (int i = 0; i < n; i++)
        over += seen[i].n;
    return over;
}

/* It stood still, and refuses on waking what the other one is doing. */
static void what_the_first_bus_refuses_late_is_left_to_the_second_F32(void **state)
{
    enum { CALLS = 3 * BUSES };
    static const struct {
        enum err code;
        char reason[16];
    } late[] = { { ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL" }, { ERR_UNAVAILABLE, "DRAINING" } };
    struct fixture *f = *state;
    struct seen seen[CALLS];
    struct asked a, had[CALLS], again[ARRAY_LEN(late)];
    int n_had = 0;

    ask_repeatable(f, seen, CALLS - BUSES);
    for (int i = CALLS - BUSES; i < CALLS; i++) /* keep the connection */
        (void)ask(f, &seen[i]);
    for (int i = 0; i < CALLS; i++) {
        a = until_asked(f);
        if (a.bus == 0)
            had[n_had++] = a;
        else
            answer(f, &a, ERR_OK, NULL);
    }
    assert_int_equal(n_had, CALLS / BUSES);
    f->deaf[0] = true;
    for (size_t i = 0; i < ARRAY_LEN(late); i++)
        again[i] = until_asked(f);
    for (size_t i = 0; i < ARRAY_LEN(late); i++) {
        char reason[sizeof(late[i].reason)];
        memcpy(reason, late[i].reason, sizeof(reason));
        answer(f, &had[i], late[i].code, reason);
    }
    answer(f, &had[n_had - 1], ERR_OK, NULL); /* comes behind them */
    WAIT_UNTIL((run(f), count_over(seen, CALLS) >= CALLS - (int)ARRAY_LEN(late)), LIMIT_US);
    assert_int_equal(count_over(seen, CALLS), CALLS - ARRAY_LEN(late));
    for (size_t i = 0; i < ARRAY_LEN(late); i++)
        answer(f, &again[i], ERR_OK, NULL);
    WAIT_UNTIL((run(f), count_over(seen, CALLS) == CALLS), LIMIT_US);
    for (int i = 0; i < CALLS; i++)
        if (seen[i].code || seen[i].status)
            fail_msg("call %d: %d, %d", i, (int)seen[i].code, seen[i].status);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define CASE_ALONE(fn) cmocka_unit_test_setup_teardown(fn, set_up_alone, tear_down)
#define CASE_ONE(fn) cmocka_unit_test_setup_teardown(fn, set_up_one, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_a_silent_bus_has_goes_to_the_other_if_it_may_be_done_twice_F32),
        CASE(what_cannot_be_asked_again_keeps_its_connection_F32),
        CASE(our_own_standstill_is_not_the_buses_silence_F32),
        CASE_ONE(calls_that_expired_meanwhile_do_not_say_so_either_F26),
        CASE(a_bus_that_is_heard_again_gets_its_share_F32),
        CASE_ONE(what_a_bus_had_that_was_started_anew_is_asked_again_F02),
        CASE_ALONE(what_the_only_bus_had_is_asked_again_of_it_F02),
        CASE_ALONE(what_a_silent_only_bus_had_is_asked_again_of_the_next_one_F02),
        CASE_ALONE(what_the_only_bus_refuses_twice_is_asked_again_later_F09),
        CASE_ALONE(who_is_held_goes_to_the_bus_that_is_started_anew_F09),
        CASE_ALONE(what_the_only_bus_may_have_still_is_not_sent_twice_F26),
        CASE_ALONE(a_service_that_hangs_costs_the_only_bus_no_connection_F26),
        CASE_ALONE(who_waits_behind_one_that_is_held_is_told_in_time_F09),
        CASE_ONE(what_a_new_connection_has_is_not_lost),
        CASE(a_full_queue_is_not_the_end_of_a_connection),
        CASE_ONE(what_the_budget_does_not_pay_at_once_is_asked_again_later_F02),
        CASE_ONE(a_refusal_by_the_next_bus_does_not_say_that_nothing_was_done_F02),
        CASE(what_the_first_bus_refuses_late_is_left_to_the_second_F32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
