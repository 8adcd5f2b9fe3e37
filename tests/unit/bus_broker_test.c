/*
 * The broker through real sockets: both versions of Majordomo, streams, addresses, bounds,
 * deadlines, call contexts and its own service (protocols A, operations 5).
 */
#include "tests/unit/bus_fixture.h"
#include "tests/support/slack.h"

/* --- versions ------------------------------------------------------------------------------- */

static void each_version_is_answered_in_its_own_frames(void **state)
{
    (void)state;
    static const struct {
        const char *ready, *head, *ask, *request_at, *want;
    } cases[] = {
        { "|MDPW01|\1", REPLY01, "|MDPC01|echo|hi", "", "|MDPC01|echo|ho" },
        { "|MDPW01|\1", REPLY01, "MDPC02|\1|echo|hi", "", "MDPC02|\3|echo|ho" },
        { "MDPW02|\1", FINAL02, "|MDPC01|echo|hi", "", "|MDPC01|echo|ho" },
        { "MDPW02|\1", FINAL02, "MDPC02|\1|echo|hi", "", "MDPC02|\3|echo|ho" },
        /* majortomo: an empty frame before 0.2, both ways */
        { "|MDPW02|\1", "|MDPW02|\4", "|MDPC02|\1|echo|hi", "", "|MDPC02|\3|echo|ho" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bus bus;
        struct message m;
        bus_prepare(&bus);
        bus_open(&bus);
        void *w = worker(&bus, cases[i].ready, "echo"), *c = dealer(&bus);
        say(c, cases[i].ask);
        hear(w, &m);
        size_t at = m.len[0] == 0 ? 1 : 0;
        assert_int_equal(m.n, at + 5);
        assert_int_equal(m.part[at + 1][0], 2);
        assert_int_equal(m.len[at + 2], 16);
        assert_int_equal(m.len[at + 3], 0);
        assert_string_equal(m.part[at + 4], "hi");
        answer(w, &m, cases[i].head, "ho");
        expect(c, cases[i].want);
        zmq_close(w);
        zmq_close(c);
        bus_close(&bus);
    }
}

static void a_plain_req_client_gets_its_answer(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "|MDPW01|\1", "echo"), *c = peer(&bus, ZMQ_REQ);
    zmq_connect(c, "inproc://bus");
    say(c, "MDPC01|echo|one|two");
    hear(w, &m);
    assert_string_equal(m.part[6], "two");
    answer(w, &m, REPLY01, "three|four");
    expect(c, "MDPC01|echo|three|four");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* A.5 pitfall 1. */
static void a_req_client_with_correlation_gets_its_stack_back(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    int one = 1;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "echo"), *c = peer(&bus, ZMQ_REQ);
    zmq_setsockopt(c, ZMQ_REQ_CORRELATE, &one, sizeof(one));
    zmq_setsockopt(c, ZMQ_REQ_RELAXED, &one, sizeof(one));
    zmq_connect(c, "inproc://bus");
    say(c, "MDPC01|echo|hi");
    hear(w, &m);
    answer(w, &m, FINAL02, "ho");
    expect(c, "MDPC01|echo|ho"); /* the socket checks the id itself */

    void *d = dealer(&bus);
    say(d, "a|b|c||MDPC02|\1|echo|hi");
    hear(w, &m);
    answer(w, &m, FINAL02, "ho");
    expect(d, "a|b|c||MDPC02|\3|echo|ho");
    zmq_close(w);
    zmq_close(c);
    zmq_close(d);
    bus_close(&bus);
}

/* A.5 pitfall 2. */
static void the_message_of_probe_router_is_ignored(void **state)
{
    (void)state;
    struct bus bus;
    int one = 1;
    int64_t probes = stat_get(STAT_PROBES), dropped = stat_get(STAT_DROPPED);
    bus_prepare(&bus);
    bus_open(&bus);
    void *c = peer(&bus, ZMQ_DEALER);
    zmq_setsockopt(c, ZMQ_PROBE_ROUTER, &one, sizeof(one));
    zmq_connect(c, "inproc://bus");
    say(c, "MDPC02|\1|mmi.service|echo");
    expect(c, "MDPC02|\3|mmi.service|404");
    assert_int_equal(stat_get(STAT_PROBES), probes + 1);
    assert_int_equal(stat_get(STAT_DROPPED), dropped);
    zmq_close(c);
    bus_close(&bus);
}

static void what_is_not_majordomo_is_dropped_and_counted(void **state)
{
    (void)state;
    struct bus bus;
    int64_t dropped = stat_get(STAT_DROPPED);
    bus_prepare(&bus);
    bus_open(&bus);
    void *c = dealer(&bus);
    say(c, "MDPC03|\1|echo|hi");
    say(c, "hello");
    say(c, "C|3|echo");
    say(c, "MDPC02|\1|s|1|2|3|4|5|6|7|8|9");
    for (int i = 0; i < 100; i++)
        zmq_send(c, "x", 1, ZMQ_SNDMORE);
    zmq_send(c, "x", 1, 0);
    say(c, "MDPC02|\1|mmi.service|echo"); /* the connection is still good */
    expect(c, "MDPC02|\3|mmi.service|404");
    assert_int_equal(stat_get(STAT_DROPPED), dropped + 5);
    zmq_close(c);
    bus_close(&bus);
}

static void management_services_answer_by_rfc_8(void **state)
{
    (void)state;
    struct bus bus;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "|MDPW01|\1", "echo"), *c = dealer(&bus);
    say(c, "|MDPC01|mmi.service|echo");
    expect(c, "|MDPC01|mmi.service|200");
    say(c, "MDPC02|\1|mmi.service|nobody");
    expect(c, "MDPC02|\3|mmi.service|404");
    say(c, "MDPC02|\1|mmi.service|daybook.bus.v1.BusService");
    expect(c, "MDPC02|\3|mmi.service|200");
    say(c, "MDPC02|\1|mmi.workers|echo");
    expect(c, "MDPC02|\3|mmi.workers|501");

    void *bad = dealer(&bus);
    say(bad, "MDPW02|\1|mmi.service");
    expect(bad, "MDPW02|\6");
    say(bad, "MDPW02|\1|daybook.bus.v1.BusService");
    expect(bad, "MDPW02|\6");
    zmq_close(bad);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* --- parts ---------------------------------------------------------------------------------- */

static void parts_pass_to_a_02_client_one_by_one(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "list"), *c = dealer(&bus);
    say(c, "MDPC02|\1|list|all");
    hear(w, &m);
    answer(w, &m, PARTIAL02, "a");
    answer(w, &m, PARTIAL02, "b");
    answer(w, &m, FINAL02, "end");
    expect(c, "MDPC02|\2|list|a");
    expect(c, "MDPC02|\2|list|b");
    expect(c, "MDPC02|\3|list|end");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void a_01_client_gets_all_parts_in_one_reply(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "list"), *c = dealer(&bus);
    say(c, "|MDPC01|list|all");
    hear(w, &m);
    answer(w, &m, PARTIAL02, "a|1");
    answer(w, &m, PARTIAL02, "b");
    answer(w, &m, FINAL02, "end");
    expect(c, "|MDPC01|list|a|1|b|end");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void too_many_parts_for_a_01_client_are_refused_once(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    static char big[600 * 1024];
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "list"), *c = dealer(&bus);
    say(c, "|MDPC01|list|all");
    hear(w, &m);
    for (int i = 0; i < 3; i++) {
        zmq_send(w, "MDPW02", 6, ZMQ_SNDMORE);
        zmq_send(w, "\3", 1, ZMQ_SNDMORE);
        zmq_send(w, m.part[2], 16, ZMQ_SNDMORE);
        zmq_send(w, "", 0, ZMQ_SNDMORE);
        zmq_send(w, big, sizeof(big), 0);
    }
    answer(w, &m, FINAL02, "end");
    expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "PARTIALS_TOO_LARGE");
    say(c, "|MDPC01|list|again"); /* the worker is free again */
    hear(w, &m);
    answer(w, &m, FINAL02, "end");
    expect(c, "|MDPC01|list|end");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* --- tokens --------------------------------------------------------------------------------- */

/* A.5 pitfalls 6 and 8: addresses are tokens of one use. */
static void late_doubled_and_forged_answers_are_dropped(void **state)
{
    (void)state;
    struct bus bus;
    struct message m, n;
    int64_t late = stat_get(STAT_LATE_ANSWERS);
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "echo"), *v = worker(&bus, "MDPW02|\1", "other");
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|1");
    hear(w, &m);
    answer(v, &m, FINAL02, "not mine"); /* another worker's token */
    n = m;
    n.part[2][15] = (char)(n.part[2][15] ^ 1);
    answer(w, &n, FINAL02, "forged");
    wait_for_stat(STAT_LATE_ANSWERS, late + 2);
    answer(w, &m, FINAL02, "right");
    answer(w, &m, FINAL02, "again");
    expect(c, "MDPC02|\3|echo|right");
    wait_for_stat(STAT_LATE_ANSWERS, late + 3);
    expect_nothing(c);
    zmq_close(w);
    zmq_close(v);
    zmq_close(c);
    bus_close(&bus);
}

/* --- bounds and deadlines ------------------------------------------------------------------- */

static void a_service_that_nobody_serves_is_unavailable_soon(void **state)
{
    (void)state;
    struct bus bus;
    bus_prepare(&bus);
    bus_open(&bus);
    void *c = dealer(&bus);
    int64_t start = clock_monotonic_us();
    say(c, "MDPC02|\1|nobody|hi");
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER");
    assert_true(clock_monotonic_us() - start >= 100 * MSEC_US);
    zmq_close(c);
    bus_close(&bus);
}

/* A.5 pitfall 9. */
static void asking_does_not_grow_the_table_of_services_without_end(void **state)
{
    (void)state;
    struct bus bus;
    char text[64];
    bus_prepare(&bus);
    bus.config.stranger_wait_us = 30 * SECOND_US;
    bus.config.client_inflight = 1000;
    bus_open(&bus);
    void *c = dealer(&bus);
    for (int i = 0; i < 257; i++) {
        snprintf(text, sizeof(text), "MDPC02|\1|stranger-%d|hi", i);
        say(c, text);
    }
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER"); /* the 257th, at once */
    expect_nothing(c);
    void *w = worker(&bus, "MDPW02|\1", "real"); /* one that is served still finds room */
    zmq_close(w);
    zmq_close(c);
    bus_stop(&bus);
    bus_close(&bus);
}

static void a_request_waits_for_a_worker_that_comes_later(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.stranger_wait_us = 5 * SECOND_US;
    bus_open(&bus);
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|echo|hi");
    void *w = dealer(&bus);
    say(w, "MDPW02|\1|echo");
    hear(w, &m);
    answer(w, &m, FINAL02, "ho");
    expect(c, "MDPC02|\3|echo|ho");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void deadlines_are_kept_waiting_and_at_work(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    char id1[] = "first", id2[] = "second";
    int64_t late = stat_get(STAT_LATE_ANSWERS), start = clock_monotonic_us();

    ctx.request_id = id1;
    ctx.deadline_ms = 300;
    ask(c, "GetHead", &ctx, "");
    hear(w, &m); /* and does not answer */
    ctx.request_id = id2;
    ctx.deadline_ms = 200;
    ask(c, "GetHead", &ctx, "");
    PbCallResult *r = expect_fault(&bus, c, 3, ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    assert_string_equal(r->request_id, "second");
    r = expect_fault(&bus, c, 3, ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    assert_string_equal(r->request_id, "first");
    int64_t took = clock_monotonic_us() - start;
    assert_true(took >= 300 * MSEC_US &&
                took < slack(1300 * MSEC_US)); /* promise 3: within 1 s more */

    answer(w, &m, FINAL02, "late|");
    wait_for_stat(STAT_LATE_ANSWERS, late + 1);
    ctx.deadline_ms = 0;
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    PbCallContext *seen = context_of(&bus, &m, 5);
    assert_true(seen->deadline_ms > 4900 && seen->deadline_ms <= 5000);
    answer(w, &m, FINAL02, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    ctx.deadline_ms = 4000000;
    ask(c, "GetHead", &ctx, "");
    hear(w, &m);
    assert_true(context_of(&bus, &m, 5)->deadline_ms <= 30000);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void queues_and_clients_are_bounded(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.queue_count = 4; /* of which one company has half */
    bus.config.client_inflight = 4;
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "slow"), *c = dealer(&bus), *d = dealer(&bus);
    say(c, "MDPC02|\1|slow|1");
    hear(w, &m);
    say(c, "MDPC02|\1|slow|2");
    say(c, "MDPC02|\1|slow|3");
    say(c, "MDPC02|\1|slow|4");
    PbCallResult *r = expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL");
    assert_int_equal(r->status->n_details, 2);
    assert_string_equal(r->status->details[1]->type_url,
                        "type.googleapis.com/google.rpc.RetryInfo");
    say(c, "MDPC02|\1|none|4");
    say(c, "MDPC02|\1|none|5");
    expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "CLIENT_LIMIT");
    expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER");
    say(d, "MDPC02|\1|none|1"); /* another client has an allowance of its own */
    expect_fault(&bus, d, 3, ERR_UNAVAILABLE, "NO_WORKER");
    zmq_close(w);
    zmq_close(c);
    zmq_close(d);
    bus_close(&bus);
}

/* A worker that takes at least so long; no condition: that it takes time is what is needed. */
static void answer_after(void *w, const struct message *m, int64_t us)
{
    int64_t until = clock_monotonic_us() + us;
    while (clock_monotonic_us() < until)
        usleep(1000);
    answer(w, m, FINAL02, "r|m");
}

static void ask_within(void *c, const char *tenant, uint32_t deadline_ms)
{
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    PbPrincipal principal = DAYBOOK__COMMON__V1__PRINCIPAL__INIT;
    char id[] = "one", company[64];
    snprintf(company, sizeof(company), "%s", tenant);
    principal.tenant_id = company;
    principal.kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
    ctx.principal = &principal;
    ctx.request_id = id;
    ctx.deadline_ms = deadline_ms;
    ask(c, "GetHead", &ctx, "");
}

#define LOUD "01933a00-0000-7000-8000-000000000001"
#define CALM "01933a00-0000-7000-8000-000000000002"

/* Ten that waited while a worker took 5 ms for each: forty would take 200 ms, which is all the time
 * that they have. One of another company has its turn after the next one. */
static void who_would_wait_for_too_long_is_told_at_once_F51(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus), *d = dealer(&bus);
    for (int i = 0; i < 10; i++)
        ask_within(c, LOUD, 30000);
    for (int i = 0; i < 10; i++) {
        hear(w, &m);
        answer_after(w, &m, 5 * MSEC_US);
        hear(c, &m);
    }
    for (int i = 0; i < 22; i++)
        ask_within(c, LOUD, 30000); /* one goes, the others wait */
    hear(w, &m);
    ask_within(c, LOUD, 200);
    expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL");
    ask_within(d, CALM, 30000);
    answer(w, &m, FINAL02, "r|m");
    hear(c, &m);
    hear(w, &m); /* the next of the loud company */
    answer(w, &m, FINAL02, "r|m");
    hear(c, &m);
    hear(w, &m);
    answer(w, &m, FINAL02, "r|m");
    expect(d, "MDPC02|\3|" OURS "|r|m");
    zmq_close(w);
    zmq_close(c);
    zmq_close(d);
    bus_close(&bus);
}

/* Handling takes 100 ms here; of its 300 ms the one that waits has some 100 left. */
static void what_cannot_be_done_in_time_is_not_begun_F51(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus), *d = dealer(&bus);
    ask_within(c, LOUD, 30000);
    hear(w, &m);
    answer_after(w, &m, 100 * MSEC_US);
    hear(c, &m);
    ask_within(c, LOUD, 30000);
    hear(w, &m);
    ask_within(d, CALM, 300);
    answer_after(w, &m, 200 * MSEC_US);
    hear(c, &m);
    expect_fault(&bus, d, 3, ERR_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    ask_within(c, LOUD, 30000);
    hear(w, &m);
    assert_string_equal(context_of(&bus, &m, 5)->principal->tenant_id, LOUD);
    zmq_close(w);
    zmq_close(c);
    zmq_close(d);
    bus_close(&bus);
}

/* Waiting bytes are all that is kept of a request, its return stack too (F52). */
static void the_return_stack_counts_among_the_bytes_that_wait(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    char text[8 * (MDP_STACK_FRAME_MAX + 1) + 64];
    size_t n = 0;
    for (int i = 0; i < MDP_STACK_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%0*d|", MDP_STACK_FRAME_MAX, 1);
    snprintf(text + n, sizeof(text) - n, "|MDPC02|\1|slow|1");
    bus_prepare(&bus);
    bus.config.client_bytes = 5000; /* for one such request, not for two */
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", "slow"), *c = dealer(&bus);
    for (int i = 0; i < 3; i++)
        say(c, text);
    hear(w, &m);
    expect_fault(&bus, c, MDP_STACK_MAX + 4, ERR_RESOURCE_EXHAUSTED, "QUEUE_FULL");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* A client knows an answer by the id that it chose, also when the bus refuses before it has judged
 * the request; what is no id is not given back. */
static void a_refusal_names_the_request(void **state)
{
    (void)state;
    struct bus bus;
    bus_prepare(&bus);
    bus_open(&bus);
    void *c = dealer(&bus);
    say(c, "MDPC02|\1|nobody|Get|\n\003abc|");
    PbCallResult *r = expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER");
    assert_string_equal(r->request_id, "abc");
    say(c, "MDPC02|\1|nobody|Get+json|{\"requestId\":\"j1\"}|{}");
    struct message m;
    hear(c, &m);
    assert_non_null(strstr(m.part[3], "\"j1\""));
    say(c, "MDPC02|\1|no\tbody|Get|\n\003abc|");
    r = expect_fault(&bus, c, 3, ERR_INVALID_ARGUMENT, "BAD_SERVICE_NAME");
    assert_string_equal(r->request_id, "abc");
    say(c, "MDPC02|\1|nobody|Get|\n\003a c|"); /* no blanks in an id */
    r = expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER");
    assert_string_equal(r->request_id, "");
    say(c, "MDPC02|\1|nobody|Get|\n\177abc|");
    r = expect_fault(&bus, c, 3, ERR_UNAVAILABLE, "NO_WORKER");
    assert_string_equal(r->request_id, "");
    zmq_close(c);
    bus_close(&bus);
}

static void an_oversized_frame_is_refused(void **state)
{
    (void)state;
    struct bus bus;
    static char big[MIB + 1];
    bus_prepare(&bus);
    bus_open(&bus);
    void *c = dealer(&bus);
    /* also what the bus would answer itself */
    static const char *const services[] = { "echo", "mmi.service", BUS_SERVICE_NAME };
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        zmq_send(c, "MDPC02", 6, ZMQ_SNDMORE);
        zmq_send(c, "\1", 1, ZMQ_SNDMORE);
        zmq_send(c, services[i], strlen(services[i]), ZMQ_SNDMORE);
        zmq_send(c, big, sizeof(big), 0);
        expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "FRAME_TOO_LARGE");
    }
    zmq_close(c);
    bus_close(&bus);
}

/* --- the call context ----------------------------------------------------------------------- */

static void the_bus_stamps_what_the_client_may_not_say(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    PbCallContext ctx = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    char id[] = "my-id", key[] = "my-key", service[] = "forged.Service", dispatch[] = "1";
    ctx.dispatch_id = dispatch;
    ctx.request_id = id;
    ctx.idempotency_key = key;
    ctx.service = service;
    ask(c, "GetHead", &ctx, "msg");
    hear(w, &m);
    assert_int_equal(m.n, 7);
    assert_string_equal(m.part[4], "GetHead");
    assert_string_equal(m.part[6], "msg");
    PbCallContext *seen = context_of(&bus, &m, 5);
    assert_string_equal(seen->request_id, "my-id");
    assert_string_equal(seen->idempotency_key, "my-key");
    assert_string_equal(seen->service, OURS);
    assert_int_equal(strlen(seen->dispatch_id), 36);
    assert_non_null(seen->received_at);
    assert_true(llabs(wire_time_us(seen->received_at) - clock_wall_us()) < 10 * SECOND_US);
    assert_int_equal(seen->principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* A daemon newer than the bus serves it, and believes what the bus is said to have written. */
static void a_service_of_a_newer_contract_is_stamped_too_F54_F61(void **state)
{
    static const char newer[] = "daybook.visits.v1.NotYetInvented";
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", newer), *c = dealer(&bus);
    say(c, "MDPC02|\1|daybook.visits.v1.NotYetInvented|Steal+json|"
           "{\"service\":\"" OURS "\",\"principal\":{\"tenantId\":\"x\"},\"dispatchId\":\"1\"}|{}");
    hear(c, &m);
    assert_non_null(strstr(m.part[3], "principal.tenant_id"));
    say(c, "MDPC02|\1|daybook.visits.v1.NotYetInvented|Steal+json|{\"service\":\"" OURS "\"}|{}");
    hear(w, &m);
    assert_non_null(strstr(m.part[5], newer));
    assert_null(strstr(m.part[5], OURS));
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* libzmq bounds messages, not bytes (operations 5). */
static void who_does_not_read_his_answers_is_refused(void **state)
{
    enum { LARGE = 256 * 1024, ALLOWED = 4 };
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus.config.client_unread_bytes = ALLOWED * LARGE;
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    char *large = malloc(LARGE + 1);
    assert_non_null(large);
    memset(large, 'x', LARGE);
    large[LARGE] = 0;
    for (int i = 0; i <= ALLOWED; i++) {
        int64_t answered = stat_get(STAT_ANSWERS);
        say(c, "MDPC02|\1|" OURS "|GetHead||");
        hear(w, &m);
        answer(w, &m, FINAL02, large);
        wait_for_stat(STAT_ANSWERS, answered + 1);
    }
    int64_t refused = stat_get(STAT_REFUSED);
    say(c, "MDPC02|\1|" OURS "|GetHead||");
    wait_for_stat(STAT_REFUSED, refused + 1);
    for (int i = 0; i <= ALLOWED; i++)
        hear(c, &m); /* what was held back for him */
    expect_fault(&bus, c, 3, ERR_RESOURCE_EXHAUSTED, "CLIENT_LIMIT");
    say(c, "MDPC02|\1|" OURS "|GetHead||"); /* he has read, and may go on */
    hear(w, &m);
    answer(w, &m, FINAL02, "r|m");
    expect(c, "MDPC02|\3|" OURS "|r|m");
    free(large);
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void json_requests_are_stamped_in_json(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    struct wire_fault f;
    ProtobufCMessage *ctx = NULL;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    static const char *const contexts[] = { "{\"requestId\":\"j1\",\"service\":\"x\"}", "{}", "" };
    for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
        char text[300];
        snprintf(text, sizeof(text), "|MDPC01|" OURS "|GetHead+json|%s|{}", contexts[i]);
        say(c, text);
        hear(w, &m);
        assert_int_equal(m.n, 7);
        assert_string_equal(m.part[4], "GetHead+json");
        assert_int_equal(protojson_read(&daybook__common__v1__call_context__descriptor, m.part[5],
                                        m.len[5], PROTOJSON_STRICT, bus.arena, &ctx, &f),
                         ERR_OK);
        PbCallContext *seen = (PbCallContext *)(void *)ctx;
        assert_string_equal(seen->service, OURS);
        assert_true(seen->deadline_ms > 4900 && seen->deadline_ms <= 5000);
        assert_true(i ? strlen(seen->request_id) == 36 : !strcmp(seen->request_id, "j1"));
        assert_int_equal(seen->principal->kind, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
        answer(w, &m, FINAL02, "{}|{}");
        expect(c, "|MDPC01|" OURS "|{}|{}");
    }
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

static void bodies_of_another_shape_are_refused_in_the_askers_form(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    static const char *const bad[] = { "MDPC02|\1|" OURS, "MDPC02|\1|" OURS "|GetHead",
                                       "MDPC02|\1|" OURS "|GetHead|||more" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        say(c, bad[i]);
        expect_fault(&bus, c, 3, ERR_INVALID_ARGUMENT, "BAD_FRAMES");
    }
    say(c, "MDPC02|\1|" OURS "|GetHead|garbage|");
    expect_fault(&bus, c, 3, ERR_INVALID_ARGUMENT, "BAD_CONTEXT");
    say(c, "|MDPC01|" OURS "|GetHead+json");
    hear(c, &m);
    assert_int_equal(m.n, 5);
    assert_non_null(strstr(m.part[3], "\"reason\":\"BAD_FRAMES\""));
    say(c, "|MDPC01|" OURS "|GetHead+json|{\"requestId\":5}|{}");
    hear(c, &m);
    assert_non_null(strstr(m.part[3], "\"reason\":\"BAD_CONTEXT\""));

    say(c, "MDPC02|\1|" OURS "|GetHead|msg"); /* without a context: everything has a default */
    hear(w, &m);
    assert_int_equal(m.n, 7);
    assert_string_equal(context_of(&bus, &m, 5)->service, OURS);
    assert_string_equal(m.part[6], "msg");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

/* --- the bus's own service ------------------------------------------------------------------ */

static void the_broker_answers_for_itself_in_both_forms(void **state)
{
    (void)state;
    struct bus bus;
    struct message m;
    struct wire_fault f;
    ProtobufCMessage *list = NULL;
    bus_prepare(&bus);
    bus_open(&bus);
    void *w = worker(&bus, "MDPW02|\1", OURS), *c = dealer(&bus);
    say(c, "MDPC02|\1|" BUS_SERVICE_NAME "|ListServices||");
    hear(c, &m);
    assert_int_equal(m.n, 5);
    assert_null(result_of(&bus, m.part[3], m.len[3])->status);
    assert_int_equal(wire_unpack(&daybook__bus__v1__list_services_response__descriptor, m.part[4],
                                 m.len[4], &wire_limits_internal, bus.arena, &list, &f),
                     ERR_OK);
    Daybook__Bus__V1__ListServicesResponse *r = (void *)list;
    assert_int_equal(r->n_services, 1);
    assert_string_equal(r->services[0]->name, OURS);
    assert_int_equal(r->services[0]->workers, 1);
    assert_int_equal(r->services[0]->idle_workers, 1);
    say(c, "|MDPC01|" BUS_SERVICE_NAME "|GetStats+json|{}|{}");
    hear(c, &m);
    assert_non_null(strstr(m.part[4], "\"requests\":\""));
    say(c, "MDPC02|\1|" BUS_SERVICE_NAME "|Nothing||");
    expect_fault(&bus, c, 3, ERR_UNIMPLEMENTED, "UNKNOWN_METHOD");
    zmq_close(w);
    zmq_close(c);
    bus_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_version_is_answered_in_its_own_frames),
        cmocka_unit_test(a_plain_req_client_gets_its_answer),
        cmocka_unit_test(a_req_client_with_correlation_gets_its_stack_back),
        cmocka_unit_test(the_message_of_probe_router_is_ignored),
        cmocka_unit_test(what_is_not_majordomo_is_dropped_and_counted),
        cmocka_unit_test(management_services_answer_by_rfc_8),
        cmocka_unit_test(parts_pass_to_a_02_client_one_by_one),
        cmocka_unit_test(a_01_client_gets_all_parts_in_one_reply),
        cmocka_unit_test(too_many_parts_for_a_01_client_are_refused_once),
        cmocka_unit_test(late_doubled_and_forged_answers_are_dropped),
        cmocka_unit_test(a_service_that_nobody_serves_is_unavailable_soon),
        cmocka_unit_test(asking_does_not_grow_the_table_of_services_without_end),
        cmocka_unit_test(a_request_waits_for_a_worker_that_comes_later),
        cmocka_unit_test(deadlines_are_kept_waiting_and_at_work),
        cmocka_unit_test(queues_and_clients_are_bounded),
        cmocka_unit_test(who_would_wait_for_too_long_is_told_at_once_F51),
        cmocka_unit_test(what_cannot_be_done_in_time_is_not_begun_F51),
        cmocka_unit_test(the_return_stack_counts_among_the_bytes_that_wait),
        cmocka_unit_test(a_refusal_names_the_request),
        cmocka_unit_test(an_oversized_frame_is_refused),
        cmocka_unit_test(the_bus_stamps_what_the_client_may_not_say),
        cmocka_unit_test(a_service_of_a_newer_contract_is_stamped_too_F54_F61),
        cmocka_unit_test(who_does_not_read_his_answers_is_refused),
        cmocka_unit_test(json_requests_are_stamped_in_json),
        cmocka_unit_test(bodies_of_another_shape_are_refused_in_the_askers_form),
        cmocka_unit_test(the_broker_answers_for_itself_in_both_forms),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    metrics_stop();
    return failed;
}
