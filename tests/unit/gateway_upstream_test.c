/* Calls over two buses: they go by turns, what a bus refuses since it stops goes out again by the other, and answers
 * that nobody waits for are dropped (F09, F34). */
#include "tests/unit/gateway_upstream_fixture.h"

static void it_goes_by_turns_whoever_asks_in_between(void **state)
{
    struct fixture *f = *state;
    struct seen seen[8];
    int got[BUSES] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        (void)ask(f, &seen[i]);
        for (size_t k = 0; k < i; k++)
            run(f);
        struct asked a = until_asked(f);
        got[a.bus]++;
        answer(f, &a, ERR_OK, NULL);
        WAIT_UNTIL(is_over(f, &seen[i]), LIMIT_US);
        assert_int_equal(seen[i].code, ERR_OK);
    }
    assert_int_equal(got[0], 4);
    assert_int_equal(got[1], 4);
    assert_int_equal(upstream_open(f->upstream), 0);
}

static void what_a_stopping_bus_refuses_goes_to_the_other_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen, next;

    (void)ask(f, &seen);
    struct asked a = until_asked(f);
    int stops = a.bus;
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    a = until_asked(f);
    assert_int_equal(a.bus, 1 - stops);
    assert_int_equal(seen.n, 0);
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.status, ERR_OK);

    for (int i = 0; i < 4; i++) { /* for a while nothing goes to the one that stops */
        (void)ask(f, &next);
        a = until_asked(f);
        assert_int_equal(a.bus, 1 - stops);
        answer(f, &a, ERR_OK, NULL);
        WAIT_UNTIL(is_over(f, &next), LIMIT_US);
    }
}

/* They all come at once, when a bus stops: more than the budget for repeats of what fails would pay for. */
static void a_stopping_bus_costs_nobody_his_call_however_many_there_are_F09(void **state)
{
    struct fixture *f = *state;
    enum { CALLS = 2 * RETRY_BUDGET_MOST + 20 };
    struct seen seen[CALLS];
    struct asked first[CALLS];
    int64_t before = repeats(RETRY_DRAINING), turned_away = 0;

    for (int i = 0; i < CALLS; i++)
        (void)ask(f, &seen[i]);
    for (int i = 0; i < CALLS; i++)
        first[i] = until_asked(f);
    for (int i = 0; i < CALLS; i++) {
        bool stops = first[i].bus == 0;
        turned_away += stops;
        answer(f, &first[i], stops ? ERR_UNAVAILABLE : ERR_OK,
               stops ? (char[]){ "DRAINING" } : NULL);
    }
    for (int64_t i = 0; i < turned_away; i++) {
        struct asked a = until_asked(f);
        assert_int_equal(a.bus, 1);
        answer(f, &a, ERR_OK, NULL);
    }
    for (int i = 0; i < CALLS; i++) {
        WAIT_UNTIL(is_over(f, &seen[i]), LIMIT_US);
        assert_int_equal(seen[i].status, ERR_OK);
    }
    assert_true(turned_away > RETRY_BUDGET_MOST);
    assert_int_equal(repeats(RETRY_DRAINING), before + turned_away);
}

static void of_two_that_stop_the_one_that_said_so_first_is_asked_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    (void)ask(f, &seen);
    struct asked a = until_asked(f);
    int first = a.bus;
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    a = until_asked(f);
    assert_int_equal(a.bus, 1 - first);
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    a = until_asked(f);
    assert_int_equal(a.bus, first); /* it may have been started anew since */
    assert_int_equal(seen.n, 0);
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US); /* that was the last try */
    assert_int_equal(seen.code, ERR_OK);
    assert_int_equal(seen.status, ERR_UNAVAILABLE);
    assert_int_equal(upstream_open(f->upstream), 0);
}

/* It was started anew a moment ago, and is not connected to yet. */
static void what_is_refused_waits_for_the_bus_that_is_away_F09(void **state)
{
    struct fixture *f = *state;
    struct seen refused, later;

    (void)ask(f, &refused);
    struct asked a = until_asked(f);
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    (void)ask(f, &later); /* is not held up by it */
    struct asked b = until_asked(f);
    assert_string_not_equal(b.request_id, a.request_id);
    answer(f, &b, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &later), LIMIT_US);

    start_bus(f, 1);
    struct asked again = until_asked(f);
    if (again.bus == 0) { /* half a second was over: this machine is slow */
        answer(f, &again, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
        again = until_asked(f);
    }
    assert_int_equal(again.bus, 1);
    assert_string_equal(again.request_id, a.request_id);
    answer(f, &again, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &refused), LIMIT_US);
    assert_int_equal(refused.status, ERR_OK);
}

/* Who has refused it may be there anew, and the other one for a long time not. */
static void where_no_other_bus_comes_the_same_is_asked_again_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    (void)ask(f, &seen);
    struct asked a = until_asked(f);
    int64_t refused_us = clock_monotonic_us();
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    a = until_asked(f);
    assert_true(clock_monotonic_us() - refused_us >= 400 * MSEC_US);
    assert_int_equal(a.bus, 0);
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.status, ERR_OK);
}

/* A replica that stops says so through both, in the same moment. */
static void what_each_bus_refuses_goes_to_the_other_one_at_once_F09(void **state)
{
    struct fixture *f = *state;
    struct seen seen[BUSES];
    struct asked first[BUSES], second;

    for (int i = 0; i < BUSES; i++)
        (void)ask(f, &seen[i]);
    for (int i = 0; i < BUSES; i++)
        first[i] = until_asked(f);
    assert_int_not_equal(first[0].bus, first[1].bus);
    for (int i = 0; i < BUSES; i++)
        answer(f, &first[i], ERR_UNAVAILABLE, (char[]){ "DRAINING" });
    for (int i = 0; i < BUSES; i++) {
        second = until_asked(f);
        bool is_first = strcmp(second.request_id, first[0].request_id) == 0;
        assert_int_equal(second.bus, is_first ? first[1].bus : first[0].bus);
        answer(f, &second, ERR_OK, NULL);
    }
    for (int i = 0; i < BUSES; i++) {
        WAIT_UNTIL(is_over(f, &seen[i]), LIMIT_US);
        assert_int_equal(seen[i].status, ERR_OK);
    }
}

static void other_refusals_are_the_callers(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    (void)ask(f, &seen);
    struct asked a = until_asked(f);
    answer(f, &a, ERR_UNAVAILABLE, (char[]){ "NO_WORKER" });
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.status, ERR_UNAVAILABLE);
}

static void what_nobody_waits_for_is_dropped_F34(void **state)
{
    struct fixture *f = *state;
    struct seen given_up, seen;

    struct upstream_call *c = ask(f, &given_up);
    struct asked late = until_asked(f);
    upstream_forget(f->upstream, c);
    answer(f, &late, ERR_UNAVAILABLE, (char[]){ "DRAINING" }); /* is not sent again either */

    (void)ask(f, &seen);
    struct asked a = until_asked(f);
    assert_string_not_equal(a.request_id, late.request_id);
    struct asked twice = { .bus = a.bus };
    snprintf(twice.request_id, sizeof(twice.request_id), "%s", a.request_id);
    zmq_msg_init(&twice.peer);
    zmq_msg_copy(&twice.peer, &a.peer);
    answer(f, &a, ERR_OK, NULL);
    answer(f, &twice, ERR_INTERNAL, NULL);
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    (void)ask(f, &given_up); /* another round trip: what came before it was looked at */
    a = until_asked(f);
    answer(f, &a, ERR_OK, NULL);
    WAIT_UNTIL(is_over(f, &given_up), LIMIT_US);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.status, ERR_OK);
    assert_int_equal(upstream_open(f->upstream), 0);
}

static void a_call_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct seen seen = { 0 };

    assert_non_null(
        upstream_ask(f->upstream,
                     &(struct upstream_request){ .service = SERVICE,
                                                 .method = "Get",
                                                 .request_id = id_new(),
                                                 .principal = &f->principal,
                                                 .deadline_us = clock_monotonic_us() + MSEC_US },
                     done, &seen));
    WAIT_UNTIL(is_over(f, &seen), LIMIT_US);
    assert_int_equal(seen.code, ERR_DEADLINE_EXCEEDED);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define CASE_ONE(fn) cmocka_unit_test_setup_teardown(fn, set_up_one, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(it_goes_by_turns_whoever_asks_in_between),
        CASE(what_a_stopping_bus_refuses_goes_to_the_other_F09),
        CASE(a_stopping_bus_costs_nobody_his_call_however_many_there_are_F09),
        CASE(of_two_that_stop_the_one_that_said_so_first_is_asked_F09),
        CASE(what_each_bus_refuses_goes_to_the_other_one_at_once_F09),
        CASE_ONE(what_is_refused_waits_for_the_bus_that_is_away_F09),
        CASE_ONE(where_no_other_bus_comes_the_same_is_asked_again_F09),
        CASE(other_refusals_are_the_callers),
        CASE(what_nobody_waits_for_is_dropped_F34),
        CASE(a_call_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
