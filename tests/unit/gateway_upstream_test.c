/* Calls over two buses, which this test is: they go by turns, what a bus refuses since it stops goes out again by
 * the other, and answers that nobody waits for are dropped (F09, F34). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include <zmq.h>

#include "common/bus_frames.h"
#include "common/bus_request.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "common/retry.h"
#include "common/schema.h"
#include "common/wire.h"
#include "google/rpc/error_details.pb-c.h"
#include "services/gateway/connect/upstream.h"
#include "tests/support/folder.h"
#include "tests/support/waiting.h"

#define SERVICE "daybook.customers.v1.CustomerService"
#define BUSES 2
#define LIMIT_US (5 * SECOND_US)
#define ASKED_US (2 * LIMIT_US) /* longer than a bus must be silent */

struct seen {
    int n; /* answers */
    enum err code;
    int status; /* of the service, or of a bus */
};

struct fixture {
    char folder[FOLDER_MAX], at[BUSES][FOLDER_MAX + 16];
    void *zmq, *bus[BUSES];
    bool deaf[BUSES]; /* that bus takes everything and says nothing */
    struct upstream *upstream;
    struct arena *arena;
    PbPrincipal principal;
};

/* One request that a bus has got. */
struct asked {
    int bus;
    zmq_msg_t peer;
    char request_id[ID_TEXT_MAX];
};

/* The clock: the linker wraps it (mk/tests.mk). */
static int64_t shift_us;
int64_t __real_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    return __real_clock_monotonic_us() + shift_us;
}

static void run(struct fixture *f)
{
    (void)upstream_wait_us(f->upstream); /* as a loop asks each turn */
    (void)upstream_is_connected(f->upstream);
    upstream_run(f->upstream);
}

static void start_bus(struct fixture *f, int i)
{
    int linger = 0;
    f->bus[i] = zmq_socket(f->zmq, ZMQ_ROUTER);
    assert_non_null(f->bus[i]);
    zmq_setsockopt(f->bus[i], ZMQ_LINGER, &linger, sizeof(linger));
    assert_int_equal(zmq_bind(f->bus[i], f->at[i]), 0);
}

static void connect_to(struct fixture *f, const char *endpoints)
{
    daybook__common__v1__principal__init(&f->principal);
    f->upstream = upstream_new(f->zmq, &(struct bus_address){ .endpoint = endpoints });
    assert_non_null(f->upstream);
}

static int set_up(void **state)
{
    static struct fixture f;

    schema_init();
    f = (struct fixture){ .zmq = zmq_ctx_new(),
                          .arena = arena_new(MIB),
                          .at = { "inproc://one", "inproc://two" } };
    assert_non_null(f.arena);
    for (int i = 0; i < BUSES; i++)
        start_bus(&f, i);
    connect_to(&f, "inproc://one,inproc://two");
    *state = &f;
    return 0;
}

/* The first bus alone is there; of how many. */
static int set_up_first_of(void **state, size_t buses)
{
    static struct fixture f;
    char both[2 * sizeof(f.at[0])];

    schema_init();
    f = (struct fixture){ .zmq = zmq_ctx_new(), .arena = arena_new(MIB) };
    assert_non_null(f.arena);
    folder_make(f.folder, "daybook-upstream");
    for (int i = 0; i < BUSES; i++)
        snprintf(f.at[i], sizeof(f.at[i]), "ipc://%s/%d", f.folder, i);
    start_bus(&f, 0);
    snprintf(both, sizeof(both), "%s,%s", f.at[0], f.at[1]);
    connect_to(&f, buses > 1 ? both : f.at[0]);
    *state = &f;
    return 0;
}

static int set_up_one(void **state)
{
    return set_up_first_of(state, BUSES);
}

static int set_up_alone(void **state)
{
    return set_up_first_of(state, 1);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    upstream_free(f->upstream);
    for (int i = 0; i < BUSES; i++)
        if (f->bus[i])
            zmq_close(f->bus[i]);
    zmq_ctx_term(f->zmq);
    arena_free(f->arena);
    if (*f->folder)
        folder_remove(f->folder);
    return 0;
}

static void done(void *arg, const struct upstream_answer *a)
{
    struct seen *s = arg;
    s->n++;
    s->code = a->code;
    s->status = a->result && a->result->status ? a->result->status->code : 0;
}

/* method: Get changes nothing. key: NULL, none. */
static struct upstream_call *ask_within(struct fixture *f, struct seen *s, const char *method,
                                        const char *key, int64_t limit_us)
{
    struct upstream_request request = { .service = SERVICE,
                                        .method = method,
                                        .idempotency_key = key,
                                        .message = "x",
                                        .len = 1,
                                        .request_id = id_new(),
                                        .principal = &f->principal,
                                        .deadline_us = clock_monotonic_us() + limit_us };
    *s = (struct seen){ 0 };
    struct upstream_call *c = upstream_ask(f->upstream, &request, done, s);
    assert_non_null(c);
    return c;
}

static struct upstream_call *ask(struct fixture *f, struct seen *s)
{
    return ask_within(f, s, "Create", NULL, ASKED_US);
}

/* By turns: what reads, and what has a key. */
static void ask_repeatable(struct fixture *f, struct seen *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)(i % 4 < 2 ? ask_within(f, &s[i], "Get", NULL, ASKED_US)
                         : ask_within(f, &s[i], "Create", "k", ASKED_US));
}

/* Whether it is there. */
static void answer_mmi(struct fixture *f, int bus, struct bus_frames *q)
{
    assert_int_equal(q->n, 5);
    assert_true(bus_frame_is(&q->frame[3], MMI_SERVICE, strlen(MMI_SERVICE)));
    assert_true(bus_send_frame(f->bus[bus], &q->frame[0], true));
    assert_true(bus_send(f->bus[bus], MDP_CLIENT_02, MDP_HEADER_LEN, true));
    assert_true(bus_send_byte(f->bus[bus], MDP02_C_FINAL, true));
    assert_true(bus_send(f->bus[bus], MMI_SERVICE, strlen(MMI_SERVICE), true));
    assert_true(bus_send(f->bus[bus], "200", 3, false));
}

static bool take(struct fixture *f, struct asked *out)
{
    struct bus_frames frames;
    ProtobufCMessage *context;
    struct wire_fault fault;

    for (int i = 0; i < BUSES; i++) {
        if (!f->bus[i] || f->deaf[i] || !bus_frames_receive(f->bus[i], &frames))
            continue;
        if (frames.n != 7) {
            answer_mmi(f, i, &frames);
            bus_frames_close(&frames);
            continue;
        }
        assert_int_equal(wire_unpack(&daybook__common__v1__call_context__descriptor,
                                     zmq_msg_data(&frames.frame[5]), zmq_msg_size(&frames.frame[5]),
                                     &wire_limits_internal, f->arena, &context, &fault),
                         0);
        assert_int_equal(zmq_msg_size(&frames.frame[6]), 1); /* the message, each time */
        out->bus = i;
        snprintf(out->request_id, sizeof(out->request_id), "%s",
                 ((const PbCallContext *)context)->request_id);
        zmq_msg_init(&out->peer);
        zmq_msg_move(&out->peer, &frames.frame[0]);
        bus_frames_close(&frames);
        return true;
    }
    if (f->deaf[0]) /* so its silence is not waited for */
        shift_us += 20 * MSEC_US;
    run(f);
    return false;
}

static struct asked until_asked(struct fixture *f)
{
    struct asked a;
    WAIT_UNTIL(take(f, &a), LIMIT_US);
    return a;
}

/* reason: of an ErrorInfo, or NULL. */
static void answer(struct fixture *f, struct asked *to, enum err code, char *reason)
{
    PbCallResult result = DAYBOOK__COMMON__V1__CALL_RESULT__INIT;
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *details = &any;
    char url[] = "type.googleapis.com/google.rpc.ErrorInfo";
    uint8_t *packed;
    size_t len;

    result.request_id = to->request_id;
    status.code = (int)code;
    result.status = code ? &status : NULL;
    if (reason) {
        info.reason = reason;
        any.type_url = url;
        assert_int_equal(wire_pack(&info.base, f->arena, &any.value.data, &any.value.len), 0);
        status.details = &details;
        status.n_details = 1;
    }
    assert_int_equal(wire_pack(&result.base, f->arena, &packed, &len), 0);
    assert_true(bus_send_frame(f->bus[to->bus], &to->peer, true));
    assert_true(bus_send(f->bus[to->bus], MDP_CLIENT_02, MDP_HEADER_LEN, true));
    assert_true(bus_send_byte(f->bus[to->bus], MDP02_C_FINAL, true));
    assert_true(bus_send(f->bus[to->bus], SERVICE, strlen(SERVICE), true));
    assert_true(bus_send(f->bus[to->bus], packed, len, true));
    assert_true(bus_send(f->bus[to->bus], "", 0, false));
    zmq_msg_close(&to->peer);
}

static bool is_over(struct fixture *f, const struct seen *s)
{
    run(f);
    return s->n > 0;
}

/* Repeats on the page of metrics. */
static int64_t repeats(const char *reason)
{
    char series[80];
    struct sbuf page;

    snprintf(series, sizeof(series), "daybook_rpc_client_retries_total{reason=\"%s\"}", reason);
    sbuf_init(&page, MIB);
    metrics_write(&page);
    const char *at = strstr(page.data, series);
    int64_t n = at ? strtoll(at + strlen(series), NULL, 10) : 0;
    sbuf_fini(&page);
    return n;
}

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

static int answer_what_is_asked(struct fixture *f)
{
    struct asked a;
    int n = 0;

    for (; take(f, &a); n++) {
        answer(f, &a, ERR_OK, NULL);
        arena_reset(f->arena);
    }
    return n;
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
    WAIT_UNTIL((of_other += answer_what_is_asked(f)) > CALLS / 2, LIMIT_US);
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
#define CASE_ALONE(fn) cmocka_unit_test_setup_teardown(fn, set_up_alone, tear_down)
#define CASE_ONE(fn) cmocka_unit_test_setup_teardown(fn, set_up_one, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(it_goes_by_turns_whoever_asks_in_between),
        CASE(what_a_stopping_bus_refuses_goes_to_the_other_F09),
        CASE(a_stopping_bus_costs_nobody_his_call_however_many_there_are_F09),
        CASE(of_two_that_stop_the_one_that_said_so_first_is_asked_F09),
        CASE(what_each_bus_refuses_goes_to_the_other_one_at_once_F09),
        CASE_ONE(what_is_refused_waits_for_the_bus_that_is_away_F09),
        CASE_ONE(where_no_other_bus_comes_the_same_is_asked_again_F09),
        CASE(what_a_silent_bus_has_goes_to_the_other_if_it_may_be_done_twice_F32),
        CASE(what_cannot_be_asked_again_keeps_its_connection_F32),
        CASE(our_own_standstill_is_not_the_buses_silence_F32),
        CASE_ONE(calls_that_expired_meanwhile_do_not_say_so_either_F26),
        CASE(a_bus_that_is_heard_again_gets_its_share_F32),
        CASE_ONE(what_a_bus_had_that_was_started_anew_is_asked_again_F02),
        CASE_ALONE(what_the_only_bus_had_is_asked_again_of_it_F02),
        CASE_ALONE(what_the_only_bus_refuses_twice_is_asked_again_later_F09),
        CASE_ALONE(what_the_only_bus_may_have_still_is_not_sent_twice_F26),
        CASE_ALONE(who_waits_behind_one_that_is_held_is_told_in_time_F09),
        CASE_ONE(what_a_new_connection_has_is_not_lost),
        CASE(a_full_queue_is_not_the_end_of_a_connection),
        CASE_ONE(what_the_budget_does_not_pay_at_once_is_asked_again_later_F02),
        CASE_ONE(a_refusal_by_the_next_bus_does_not_say_that_nothing_was_done_F02),
        CASE(what_the_first_bus_refuses_late_is_left_to_the_second_F32),
        CASE(other_refusals_are_the_callers),
        CASE(what_nobody_waits_for_is_dropped_F34),
        CASE(a_call_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
