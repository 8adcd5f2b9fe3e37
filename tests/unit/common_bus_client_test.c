/* Asking the bus: the other side is a bare ROUTER whose answers the test writes. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>

#include "common/bus_client.h"
#include "common/clock.h"
#include "common/mdp.h"
#include "common/schema.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "tests/support/router.h"

#define WAIT_MS 10000
#define SERVICE "daybook.bus.v1.EventService"

typedef Daybook__Bus__V1__GetHeadRequest PbGetHeadRequest;

struct stage {
    void *zmq;
    struct router router;
    struct bus_address address;
    struct bus_client *client;
    struct arena *arena;
    PbGetHeadRequest message;
};

static void open_stage(struct stage *s)
{
    *s = (struct stage){ .zmq = zmq_ctx_new(), .arena = arena_new(16 * MIB) };
    schema_init();
    router_open(&s->router, s->zmq, "tcp://127.0.0.1:*");
    s->address.endpoint = s->router.endpoint;
    s->client = bus_client_new(s->zmq, &s->address);
    assert_non_null(s->client);
    daybook__bus__v1__get_head_request__init(&s->message);
}

static void close_stage(struct stage *s)
{
    bus_client_free(s->client);
    router_close(&s->router);
    zmq_ctx_term(s->zmq);
    arena_free(s->arena);
}

static struct bus_request get_head(struct stage *s, const char *id)
{
    return (struct bus_request){ .service = SERVICE,
                                 .method = "GetHead",
                                 .message = &s->message.base,
                                 .request_id = id,
                                 .timeout_us = 10 * SECOND_US };
}

static const ProtobufCMessageDescriptor *only(void *arg, const char *request_id)
{
    return strcmp(arg, request_id) == 0 ? &daybook__bus__v1__get_head_response__descriptor : NULL;
}

static const ProtobufCMessageDescriptor *any(void *arg, const char *request_id)
{
    (void)arg;
    (void)request_id;
    return &daybook__bus__v1__get_head_response__descriptor;
}

/* protobuf-c's texts are char *. */
static char *text(struct stage *s, const char *t)
{
    return arena_strdup(s->arena, t);
}

static struct router_frame packed(struct stage *s, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *data = arena_alloc(s->arena, len);
    protobuf_c_message_pack(m, data);
    return (struct router_frame){ data, len };
}

static struct router_frame result_frame(struct stage *s, const char *id, int code)
{
    PbCallResult result;
    Google__Rpc__Status status;
    daybook__common__v1__call_result__init(&result);
    google__rpc__status__init(&status);
    result.request_id = text(s, id);
    status.code = code;
    if (code)
        result.status = &status;
    return packed(s, &result.base);
}

static struct router_frame head_frame(struct stage *s, int64_t seq)
{
    Daybook__Bus__V1__GetHeadResponse head;
    daybook__bus__v1__get_head_response__init(&head);
    head.head_seq = seq;
    return packed(s, &head.base);
}

static void answer(struct stage *s, struct bus_frames *to, const char *id, int code, int64_t seq)
{
    const struct router_frame frames[] = { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(MDP02_C_FINAL),
                                           ROUTER_TEXT(SERVICE), result_frame(s, id, code),
                                           code ? (struct router_frame)ROUTER_NONE
                                                : head_frame(s, seq) };
    router_send(&s->router, &to->frame[0], frames, ARRAY_LEN(frames));
}

static int64_t seq_of(const struct bus_answer *a)
{
    return ((const Daybook__Bus__V1__GetHeadResponse *)a->message)->head_seq;
}

static void a_request_is_written_as_the_bus_reads_it(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    open_stage(&s);
    struct bus_request r = get_head(&s, "id-1");
    r.idempotency_key = "key-1";
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &f));
    assert_int_equal(f.n, 7);
    assert_true(bus_frame_is(&f.frame[1], MDP_CLIENT_02, MDP_HEADER_LEN));
    assert_true(bus_frame_is_byte(&f.frame[2], MDP02_C_REQUEST));
    assert_true(bus_frame_is(&f.frame[3], SERVICE, strlen(SERVICE)));
    assert_true(bus_frame_is(&f.frame[4], "GetHead", 7));
    PbCallContext *c = daybook__common__v1__call_context__unpack(NULL, zmq_msg_size(&f.frame[5]),
                                                                 zmq_msg_data(&f.frame[5]));
    assert_non_null(c);
    assert_string_equal(c->request_id, "id-1");
    assert_string_equal(c->idempotency_key, "key-1");
    assert_in_range(c->deadline_ms, 5000, 10000);
    daybook__common__v1__call_context__free_unpacked(c, NULL);
    bus_frames_close(&f);
    close_stage(&s);
}

static void answers_come_with_their_message(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    struct bus_answer a;
    char id[] = "id-1";
    open_stage(&s);
    struct bus_request r = get_head(&s, id);
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &f));
    answer(&s, &f, id, 0, 42);
    assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, only, id, &a), ERR_OK);
    assert_string_equal(a.result->request_id, id);
    assert_int_equal(seq_of(&a), 42);
    bus_frames_close(&f);
    close_stage(&s);
}

static void late_and_doubled_answers_are_dropped_F34(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f, g;
    struct bus_answer a;
    char first[] = "first", second[] = "second";
    open_stage(&s);
    struct bus_request r = get_head(&s, first);
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &f));
    assert_int_equal(bus_client_receive(s.client, 10 * MSEC_US, s.arena, only, first, &a),
                     ERR_DEADLINE_EXCEEDED);
    r = get_head(&s, second);
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &g));
    answer(&s, &f, first, 0, 1);
    answer(&s, &f, first, ERR_INTERNAL, 1);
    answer(&s, &g, second, 0, 2);
    answer(&s, &g, second, 0, 3);
    assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, only, second, &a),
                     ERR_OK);
    assert_int_equal(seq_of(&a), 2);
    bus_frames_close(&f);
    bus_frames_close(&g);
    close_stage(&s);
}

static void broken_answers_are_dropped_and_the_good_one_taken_F35(void **state)
{
    (void)state;
    struct stage s;
    struct bus_frames f;
    struct bus_answer a;
    char id[] = "id-1";
    open_stage(&s);
    struct bus_request r = get_head(&s, id);
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &f));
    struct router_frame good = result_frame(&s, id, 0), head = head_frame(&s, 1);
    const struct {
        struct router_frame frames[6];
        size_t n;
    } bad[] = {
        { { ROUTER_NONE }, 1 },
        { { ROUTER_TEXT("MDPC01"), ROUTER_BYTE(3), ROUTER_TEXT(SERVICE), good, head }, 5 },
        { { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(9), ROUTER_TEXT(SERVICE), good, head }, 5 },
        { { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(2), ROUTER_TEXT(SERVICE), good, head }, 5 },
        { { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(3), ROUTER_TEXT(SERVICE), good }, 4 },
        { { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(3), ROUTER_TEXT(SERVICE), good, head, head },
          6 },
        { { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(3), ROUTER_TEXT(SERVICE),
            ROUTER_TEXT("\x0a\xff garbage"), head },
          5 },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        router_send(&s.router, &f.frame[0], bad[i].frames, bad[i].n);
    answer(&s, &f, id, 0, 7);
    assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, any, NULL, &a), ERR_OK);
    assert_int_equal(seq_of(&a), 7);

    /* A result that is ours with a message that is none: the answer is broken. */
    const struct router_frame broken[] = { ROUTER_TEXT(MDP_CLIENT_02), ROUTER_BYTE(3),
                                           ROUTER_TEXT(SERVICE), good,
                                           ROUTER_TEXT("\xff\xff\xff") };
    router_send(&s.router, &f.frame[0], broken, ARRAY_LEN(broken));
    assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, only, id, &a),
                     ERR_INTERNAL);
    bus_frames_close(&f);
    close_stage(&s);
}

static void the_services_code_is_passed_on(void **state)
{
    (void)state;
    static const struct {
        int code;
        enum err want;
    } cases[] = {
        { ERR_NOT_FOUND, ERR_NOT_FOUND },
        { ERR_UNAUTHENTICATED, ERR_UNAUTHENTICATED },
        { 17, ERR_UNKNOWN },
        { 64, ERR_UNKNOWN }, /* ERR_REPLAYED is never on the wire */
        { -1, ERR_UNKNOWN },
    };
    struct stage s;
    open_stage(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bus_frames f;
        struct bus_answer a;
        char id[] = "id-1";
        struct bus_request r = get_head(&s, id);
        assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
        assert_true(router_receive(&s.router, WAIT_MS, &f));
        answer(&s, &f, id, cases[i].code, 0);
        assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, only, id, &a),
                         cases[i].want);
        assert_non_null(a.result->status);
        assert_null(a.message);
        bus_frames_close(&f);
    }
    close_stage(&s);
}

struct answering {
    struct stage *s;
    int n;
};

/* Owns the router while it runs. */
static void *answer_some(void *arg)
{
    struct answering *job = arg;
    for (int i = 0; i < job->n; i++) {
        struct bus_frames f;
        if (!router_receive(&job->s->router, WAIT_MS, &f))
            return NULL;
        PbCallContext *c = daybook__common__v1__call_context__unpack(
            NULL, zmq_msg_size(&f.frame[5]), zmq_msg_data(&f.frame[5]));
        PbCallResult result;
        uint8_t data[200];
        daybook__common__v1__call_result__init(&result);
        result.request_id = c->request_id;
        const struct router_frame frames[] = { ROUTER_TEXT(MDP_CLIENT_02),
                                               ROUTER_BYTE(MDP02_C_FINAL),
                                               ROUTER_TEXT(SERVICE),
                                               { data,
                                                 protobuf_c_message_pack(&result.base, data) },
                                               ROUTER_NONE };
        router_send(&job->s->router, &f.frame[0], frames, ARRAY_LEN(frames));
        daybook__common__v1__call_context__free_unpacked(c, NULL);
        bus_frames_close(&f);
    }
    return NULL;
}

static void a_call_makes_its_own_ids(void **state)
{
    (void)state;
    struct stage s;
    open_stage(&s);
    struct answering job = { .s = &s, .n = 50 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_some, &job), 0);
    for (int i = 0; i < job.n; i++) {
        struct bus_answer a;
        struct bus_request r = get_head(&s, NULL);
        assert_int_equal(bus_client_call(s.client, &r, s.arena, &a), ERR_OK);
        assert_non_null(a.message);
    }
    pthread_join(thread, NULL);
    struct bus_answer a;
    struct bus_request r = get_head(&s, NULL);
    r.method = "NoSuchMethod";
    assert_int_equal(bus_client_call(s.client, &r, s.arena, &a), ERR_UNIMPLEMENTED);
    close_stage(&s);
}

static void a_bus_that_is_away_is_told_from_a_slow_one(void **state)
{
    (void)state;
    struct stage s;
    open_stage(&s);
    struct bus_answer a;
    struct bus_request r = get_head(&s, NULL);
    r.timeout_us = 100 * MSEC_US;
    assert_int_equal(bus_client_call(s.client, &r, s.arena, &a), ERR_DEADLINE_EXCEEDED);
    r.timeout_us = 2 * MSEC_US; /* not worth starting */
    assert_int_equal(bus_client_call(s.client, &r, s.arena, &a), ERR_DEADLINE_EXCEEDED);

    struct bus_address nowhere = { .endpoint = "tcp://127.0.0.1:1" };
    struct bus_client *lost = bus_client_new(s.zmq, &nowhere);
    int64_t start_us = clock_monotonic_us();
    r.timeout_us = 20 * SECOND_US;
    assert_int_equal(bus_client_call(lost, &r, s.arena, &a), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_us() - start_us < 10 * SECOND_US); /* not the whole deadline */
    bus_client_free(lost);
    close_stage(&s);
}

static void works_over_curve_and_refuses_malformed_keys(void **state)
{
    (void)state;
    char server_public[41], server_secret[41], public[41], secret[41];
    struct stage s;
    struct bus_frames f;
    struct bus_answer a;
    char id[] = "id-1";
    int on = 1;
    assert_int_equal(zmq_curve_keypair(server_public, server_secret), 0);
    assert_int_equal(zmq_curve_keypair(public, secret), 0);
    s = (struct stage){ .zmq = zmq_ctx_new(), .arena = arena_new(16 * MIB) };
    daybook__bus__v1__get_head_request__init(&s.message);
    s.router.socket = zmq_socket(s.zmq, ZMQ_ROUTER);
    size_t size = sizeof s.router.endpoint;
    zmq_setsockopt(s.router.socket, ZMQ_CURVE_SERVER, &on, sizeof on);
    zmq_setsockopt(s.router.socket, ZMQ_CURVE_SECRETKEY, server_secret, sizeof server_secret);
    assert_int_equal(zmq_bind(s.router.socket, "tcp://127.0.0.1:*"), 0);
    zmq_getsockopt(s.router.socket, ZMQ_LAST_ENDPOINT, s.router.endpoint, &size);
    s.address = (struct bus_address){ .endpoint = s.router.endpoint,
                                      .server_key = server_public,
                                      .public_key = public,
                                      .secret_key = secret };
    s.client = bus_client_new(s.zmq, &s.address);
    assert_non_null(s.client);
    struct bus_request r = get_head(&s, id);
    assert_int_equal(bus_client_send(s.client, &r, s.arena), ERR_OK);
    assert_true(router_receive(&s.router, WAIT_MS, &f));
    answer(&s, &f, id, 0, 5);
    assert_int_equal(bus_client_receive(s.client, 10 * SECOND_US, s.arena, only, id, &a), ERR_OK);
    bus_frames_close(&f);

    struct bus_address bad = s.address;
    bad.secret_key = NULL;
    assert_null(bus_client_new(s.zmq, &bad));
    bad.secret_key = "too short";
    assert_null(bus_client_new(s.zmq, &bad));
    bad = s.address;
    bad.server_key = "                                        ";
    assert_null(bus_client_new(s.zmq, &bad));
    bad = s.address;
    bad.endpoint = "";
    assert_null(bus_client_new(s.zmq, &bad));
    bad.endpoint = "tcp://127.0.0.1:1,";
    assert_null(bus_client_new(s.zmq, &bad));
    bad.endpoint = "tcp://127.0.0.1:1,,tcp://127.0.0.1:2";
    assert_null(bus_client_new(s.zmq, &bad));
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_written_as_the_bus_reads_it),
        cmocka_unit_test(answers_come_with_their_message),
        cmocka_unit_test(late_and_doubled_answers_are_dropped_F34),
        cmocka_unit_test(broken_answers_are_dropped_and_the_good_one_taken_F35),
        cmocka_unit_test(the_services_code_is_passed_on),
        cmocka_unit_test(a_call_makes_its_own_ids),
        cmocka_unit_test(a_bus_that_is_away_is_told_from_a_slow_one),
        cmocka_unit_test(works_over_curve_and_refuses_malformed_keys),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    return failed;
}
