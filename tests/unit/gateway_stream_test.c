/* Streams of events and calls that nobody waits for, before a bus that this test is: answers that are
 * lost, too large or late, events that come before or after their head (F03, F33, F34). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <zmq.h>

#include "common/bus_frames.h"
#include "common/mdp.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "services/gateway/connect/stream.h"
#include "tests/support/mmi.h"
#include "tests/unit/gateway_client.h"
#include "tests/unit/gateway_hooks.h"

#define STREAM "/daybook.bus.v1.EventService/StreamEvents"
#define TENANT "01000000-0000-7000-8000-000000000001"
#define OTHER "01000000-0000-7000-8000-000000000002"
#define ACTOR "01000000-0000-7000-8000-000000000003"
#define LOG_ID "01000000-0000-7000-8000-000000000009"
#define TYPE "daybook.customers.v1.CustomerCreated"
#define HEAD_US (200 * MSEC_US)

struct fixture {
    void *zmq, *router, *pub;
    struct upstream *upstream;
    struct recent *recent;
    struct streams *streams;
    struct identity *identity;
    struct connect *connect;
    struct web web;
    struct arena *arena; /* of what is packed here */
    int64_t head, head_at_us;
    bool silent;
};

/* One request that has reached the bus. */
struct asked {
    zmq_msg_t peer;
    char request_id[ID_TEXT_MAX];
    int64_t after_seq;
    int32_t limit;
};

static char tenant_text[] = TENANT, actor_text[] = ACTOR;
static PbPrincipal principal;

/* --- the bus ---------------------------------------------------------------------------------- */

static void seq_bytes(int64_t seq, uint8_t out[static 8])
{
    for (int i = 8; i-- > 0; seq >>= 8)
        out[i] = (uint8_t)seq;
}

static void publish(struct fixture *f, const char *topic, int64_t seq, const void *data, size_t len)
{
    struct id log_id;
    uint8_t bytes[8];

    assert_true(id_parse(LOG_ID, &log_id));
    seq_bytes(seq, bytes);
    assert_true(bus_send(f->pub, topic, strlen(topic), true));
    assert_true(bus_send(f->pub, log_id.b, sizeof(log_id.b), true));
    assert_true(bus_send(f->pub, bytes, sizeof(bytes), true));
    assert_true(bus_send(f->pub, data, len, false));
}

static void publish_head(struct fixture *f, int64_t head)
{
    f->head = head;
    f->head_at_us = clock_monotonic_us() + HEAD_US;
    publish(f, BUS_TOPIC_HEAD, head, "", 0);
}

/* An event whose id is its seq. */
static Daybook__Bus__V1__Event *event_of(struct fixture *f, const char *tenant, const char *type,
                                         int64_t seq)
{
    Daybook__Bus__V1__Event *e = wire_new(&daybook__bus__v1__event__descriptor, f->arena);
    Google__Protobuf__Any *any = wire_new(&google__protobuf__any__descriptor, f->arena);

    e->event_id = arena_printf(f->arena, "e%d", (int)seq);
    e->tenant_id = arena_strdup(f->arena, tenant);
    e->type = arena_strdup(f->arena, type);
    e->seq = seq;
    any->type_url = arena_printf(f->arena, "type.googleapis.com/%s", type);
    e->data = any;
    return e;
}

static void publish_event_of(struct fixture *f, const char *tenant, const char *type, int64_t seq)
{
    uint8_t *data;
    size_t len;

    assert_int_equal(wire_pack(&event_of(f, tenant, type, seq)->base, f->arena, &data, &len), 0);
    publish(f, arena_printf(f->arena, "%s/%s", tenant, type), seq, data, len);
    f->head = MAX(f->head, seq);
}

static void publish_event(struct fixture *f, int64_t seq)
{
    publish_event_of(f, TENANT, TYPE, seq);
}

/* False: nobody has asked. */
static bool take(struct fixture *f, struct asked *out)
{
    struct bus_frames frames;
    ProtobufCMessage *context, *read;
    struct wire_fault fault;

    if (!bus_frames_receive(f->router, &frames) || mmi_answer(f->router, &frames))
        return false;
    assert_int_equal(frames.n, 7);
    assert_true(bus_frame_is(&frames.frame[4], "ReadEvents", 10));
    assert_int_equal(wire_unpack(&daybook__common__v1__call_context__descriptor,
                                 zmq_msg_data(&frames.frame[5]), zmq_msg_size(&frames.frame[5]),
                                 &wire_limits_internal, f->arena, &context, &fault),
                     0);
    assert_int_equal(wire_unpack(&daybook__bus__v1__read_events_request__descriptor,
                                 zmq_msg_data(&frames.frame[6]), zmq_msg_size(&frames.frame[6]),
                                 &wire_limits_internal, f->arena, &read, &fault),
                     0);
    snprintf(out->request_id, sizeof(out->request_id), "%s",
             ((PbCallContext *)context)->request_id);
    assert_string_equal(((PbCallContext *)context)->principal->tenant_id, TENANT);
    out->after_seq = ((Daybook__Bus__V1__ReadEventsRequest *)read)->after_seq;
    out->limit = ((Daybook__Bus__V1__ReadEventsRequest *)read)->limit;
    zmq_msg_init(&out->peer);
    zmq_msg_move(&out->peer, &frames.frame[0]);
    bus_frames_close(&frames);
    return true;
}

static void answer(struct fixture *f, struct asked *to, enum err code,
                   const ProtobufCMessage *message)
{
    PbCallResult result = DAYBOOK__COMMON__V1__CALL_RESULT__INIT;
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    uint8_t *packed, *data = NULL;
    size_t packed_len, len = 0;

    result.request_id = to->request_id;
    status.code = (int)code;
    if (code)
        result.status = &status;
    assert_int_equal(wire_pack(&result.base, f->arena, &packed, &packed_len), 0);
    if (message)
        assert_int_equal(wire_pack(message, f->arena, &data, &len), 0);
    assert_true(bus_send_frame(f->router, &to->peer, true));
    assert_true(bus_send(f->router, MDP_CLIENT_02, MDP_HEADER_LEN, true));
    assert_true(bus_send_byte(f->router, MDP02_C_FINAL, true));
    assert_true(bus_send(f->router, "daybook.bus.v1.EventService", 27, true));
    assert_true(bus_send(f->router, packed, packed_len, true));
    assert_true(bus_send(f->router, data, len, false));
    zmq_msg_close(&to->peer);
}

/* The events (first, upto] of a log that goes to `head`. */
static void answer_page(struct fixture *f, struct asked *to, int64_t first, int64_t upto,
                        int64_t head)
{
    Daybook__Bus__V1__ReadEventsResponse page = DAYBOOK__BUS__V1__READ_EVENTS_RESPONSE__INIT;
    Daybook__Bus__V1__Event *events[16];
    char log_id[] = LOG_ID;

    page.log_id = log_id;
    page.head_seq = head;
    page.read_upto_seq = upto;
    page.events = events;
    for (int64_t seq = first + 1; seq <= upto; seq++)
        events[page.n_events++] = event_of(f, TENANT, TYPE, seq);
    answer(f, to, ERR_OK, &page.base);
}

/* --- the gateway ------------------------------------------------------------------------------ */

static void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd fds[] = { { .fd = http_loop_fd(f->web.loop), .events = POLLIN },
                            { .fd = upstream_fd(f->upstream), .events = POLLIN },
                            { .fd = recent_fd(f->recent), .events = POLLIN } };
    int64_t wait_us = MIN(5 * MSEC_US, http_loop_wait_us(f->web.loop));

    if (!f->silent && clock_monotonic_us() >= f->head_at_us)
        publish_head(f, f->head);
    wait_us = MIN(wait_us, upstream_wait_us(f->upstream));
    (void)poll(fds, ARRAY_LEN(fds), (int)((wait_us + MSEC_US - 1) / MSEC_US));
    http_loop_run(f->web.loop);
    upstream_run(f->upstream);
    streams_run(f->streams, recent_run(f->recent));
    connect_tick(f->connect, clock_monotonic_us());
}

static void on_call(void *arg, struct connect_call *call)
{
    (void)streams_take(((struct fixture *)arg)->streams, call, &principal);
}

static void on_call_gone(void *arg, struct connect_call *call)
{
    streams_gone(((struct fixture *)arg)->streams, call);
}

static void on_call_drained(void *arg, struct connect_call *call)
{
    streams_drained(((struct fixture *)arg)->streams, call);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct bus_address address = { .endpoint = "inproc://bus", .events = "inproc://events" };

    schema_init();
    memset(&f, 0, sizeof(f));
    daybook__common__v1__principal__init(&principal);
    principal.tenant_id = tenant_text;
    principal.actor_id = actor_text;
    f.arena = arena_new(64 * MIB);
    f.zmq = zmq_ctx_new();
    f.router = zmq_socket(f.zmq, ZMQ_ROUTER);
    f.pub = zmq_socket(f.zmq, ZMQ_PUB);
    assert_int_equal(zmq_bind(f.router, address.endpoint), 0);
    assert_int_equal(zmq_bind(f.pub, address.events), 0);
    f.upstream = upstream_new(f.zmq, &address);
    f.recent = recent_new(f.zmq, &address);
    f.identity = identity_new(&(struct identity_config){ 0 });
    f.streams = streams_new(f.recent, f.upstream, f.identity);
    f.connect = connect_new(&(struct connect_config){ .message_max = MIB,
                                                      .on_call = on_call,
                                                      .on_gone = on_call_gone,
                                                      .on_drained = on_call_drained,
                                                      .arg = &f });
    f.web = (struct web){ .turn = turn, .arg = &f };
    f.web.loop = loop_of(f.connect, &http_limits_default);
    *state = &f;
    return f.upstream && f.recent && f.identity && f.streams && f.connect && f.web.loop ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_loop_free(f->web.loop);
    connect_free(f->connect);
    streams_free(f->streams);
    identity_free(f->identity);
    recent_free(f->recent);
    upstream_free(f->upstream);
    zmq_setsockopt(f->router, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    zmq_close(f->router);
    zmq_close(f->pub);
    zmq_ctx_term(f->zmq);
    arena_free(f->arena);
    return 0;
}

static void turn_until_asked(struct fixture *f, struct asked *out)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (!take(f, out)) {
        if (clock_monotonic_us() > until_us)
            fail_msg("the bus was not asked; heard: %s", f->web.got);
        turn(f);
    }
}

/* Turns for so long, in which nobody may ask. */
static void turn_without_asking(struct fixture *f, int64_t for_us)
{
    struct asked asked;
    int64_t until_us = clock_monotonic_us() + for_us;
    while (clock_monotonic_us() < until_us) {
        turn(f);
        assert_false(take(f, &asked));
    }
}

static void turn_until_heard(struct fixture *f, int64_t head)
{
    struct id log_id;
    int64_t seq = -1, until_us = clock_monotonic_us() + WAIT_US;
    f->head = head;
    while (!recent_head(f->recent, &log_id, &seq) || seq < head || recent_first(f->recent) <= 0) {
        assert_true(clock_monotonic_us() < until_us);
        turn(f);
    }
}

static int ask(struct fixture *f, const char *request)
{
    char text[512];
    int fd = web_dial(&f->web);
    size_t len = strlen(request);
    snprintf(text, sizeof(text),
             "POST " STREAM " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dbk_x\r\n"
             "Content-Type: application/connect+json\r\nContent-Length: %zu\r\n\r\n",
             len + 5);
    web_say(fd, text);
    web_say_bytes(fd, (uint8_t[]){ 0, 0, 0, 0, (uint8_t)len }, 5);
    web_say(fd, request);
    return fd;
}

static void hear_event(struct fixture *f, int fd, int seq)
{
    char text[64];
    snprintf(text, sizeof(text), "\"eventId\":\"e%d\"", seq);
    web_until(&f->web, fd, text);
}

/* Each of these once, in order, and no other. */
static void heard_exactly(struct fixture *f, int first, int last)
{
    const char *at = f->web.got, *end = f->web.got + f->web.len;
    for (int seq = first; seq <= last + 1; seq++) {
        char text[64];
        at = memmem(at, (size_t)(end - at), "\"eventId\":\"", 11);
        if (seq > last) {
            assert_null(at);
            return;
        }
        assert_non_null(at);
        int n = snprintf(text, sizeof(text), "\"eventId\":\"e%d\"", seq);
        assert_memory_equal(at, text, n);
        at += n;
    }
}

/* --- streams ---------------------------------------------------------------------------------- */

static void a_stream_goes_from_the_log_to_memory_without_a_gap_or_a_repetition(void **state)
{
    struct fixture *f = *state;
    struct asked asked;

    turn_until_heard(f, 2);
    int fd = ask(f, "{}");
    turn_until_asked(f, &asked);
    assert_int_equal(asked.after_seq, 0);
    publish_event(f, 3);
    publish_event_of(f, OTHER, TYPE, 4);
    publish_event(f, 5);
    for (int i = 0; i < 5; i++)
        turn(f);
    answer_page(f, &asked, 0, 3, 5);
    hear_event(f, fd, 5);
    assert_false(web_heard(&f->web, "\"eventId\":\"e4\"")); /* another company's */
    publish_event(f, 6);
    hear_event(f, fd, 6);
    turn_without_asking(f, 100 * MSEC_US);
    assert_true(web_heard(&f->web, "\"position\""));
    close(fd);
}

static void an_answer_that_is_lost_is_asked_for_again_F34(void **state)
{
    struct fixture *f = *state;
    struct asked lost, asked;

    turn_until_heard(f, 2);
    int fd = ask(f, "{}");
    turn_until_asked(f, &asked);
    answer_page(f, &asked, 0, 2, 2);
    hear_event(f, fd, 2);
    f->head = 4; /* moved, not published: it stands in the log */
    turn_until_asked(f, &lost);
    assert_int_equal(lost.after_seq, 2);
    turn_until_asked(f, &asked);
    assert_int_equal(asked.after_seq, 2);
    answer_page(f, &asked, 2, 4, 4);
    hear_event(f, fd, 4);
    answer_page(f, &lost, 2, 4, 4); /* late */
    turn_without_asking(f, 100 * MSEC_US);
    (void)web_hear(&f->web, fd);
    heard_exactly(f, 1, 4);
    close(fd);
}

static void a_page_too_large_for_an_answer_is_asked_for_in_pieces(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    int32_t limit = INT32_MAX;

    turn_until_heard(f, 3);
    int fd = ask(f, "{}");
    for (int i = 0; i < 3; i++) {
        turn_until_asked(f, &asked);
        assert_true(asked.limit < limit && asked.limit > 0);
        limit = asked.limit;
        answer(f, &asked, ERR_RESOURCE_EXHAUSTED, NULL);
    }
    turn_until_asked(f, &asked);
    answer_page(f, &asked, 0, 3, 3);
    hear_event(f, fd, 3);
    heard_exactly(f, 1, 3);
    close(fd);
}

static void a_head_that_overtakes_its_events_asks_nobody(void **state)
{
    struct fixture *f = *state;
    struct asked asked;

    turn_until_heard(f, 1);
    int fd = ask(f, "{\"afterSeq\":\"1\"}");
    turn_until_asked(f, &asked);
    answer_page(f, &asked, 1, 1, 1);
    web_until(&f->web, fd, "\"position\"");
    publish_head(f, 4); /* by the bus that does not lead */
    turn(f);
    for (int seq = 2; seq <= 4; seq++)
        publish_event(f, seq);
    hear_event(f, fd, 4);
    heard_exactly(f, 2, 4);
    turn_without_asking(f, 100 * MSEC_US);
    close(fd);
}

static void an_event_that_cannot_be_written_is_not_passed_over(void **state)
{
    struct fixture *f = *state;
    struct asked asked;

    turn_until_heard(f, 1);
    int fd = ask(f, "{\"afterSeq\":\"1\"}");
    turn_until_asked(f, &asked);
    answer_page(f, &asked, 1, 1, 1);
    web_until(&f->web, fd, "\"position\"");
    publish_event(f, 2);
    publish_event_of(f, TENANT, "daybook.future.v1.SomethingNew", 3);
    publish_event(f, 4);
    web_until(&f->web, fd, "\"code\":\"internal\"");
    heard_exactly(f, 2, 2);
    close(fd);
}

static void without_a_word_from_the_bus_the_log_is_read_by_the_clock(void **state)
{
    struct fixture *f = *state;
    struct asked asked;

    f->silent = true;
    int fd = ask(f, "{}");
    turn_until_asked(f, &asked);
    answer_page(f, &asked, 0, 2, 2);
    hear_event(f, fd, 2);
    turn_until_asked(f, &asked);
    assert_int_equal(asked.after_seq, 2);
    answer_page(f, &asked, 2, 3, 3);
    hear_event(f, fd, 3);
    heard_exactly(f, 1, 3);
    close(fd);
}

static void who_comes_again_while_the_gateway_stops_is_sent_elsewhere_F09(void **state)
{
    struct fixture *f = *state;

    turn_until_heard(f, 1);
    streams_end(f->streams);
    int fd = ask(f, "{}");
    web_until(&f->web, fd, "the gateway stops");
    assert_int_equal(streams_open(f->streams), 0);
    turn_without_asking(f, 20 * MSEC_US);
    close(fd);
}

/* --- calls ------------------------------------------------------------------------------------ */

struct ending {
    int n;
    enum err code;
    int64_t seq;
};

static void on_done(void *arg, const struct upstream_answer *a)
{
    struct ending *e = arg;
    e->n++;
    e->code = a->code ? a->code : a->result->status ? (enum err)a->result->status->code : ERR_OK;
}

static struct upstream_call *call(struct fixture *f, int64_t within_us, struct ending *e)
{
    return upstream_ask(
        f->upstream,
        &(struct upstream_request){ .service = "daybook.bus.v1.EventService",
                                    .method = "ReadEvents",
                                    .message = "",
                                    .principal = &principal,
                                    .request_id = id_new(),
                                    .deadline_us = clock_monotonic_us() + within_us },
        on_done, e);
}

static void a_call_without_an_answer_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct ending e = { 0 }, forgotten = { 0 };

    assert_non_null(call(f, 150 * MSEC_US, &e));
    turn_until_asked(f, &asked);
    struct upstream_call *c = call(f, 150 * MSEC_US, &forgotten);
    upstream_forget(f->upstream, c);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (!e.n && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(e.code, ERR_DEADLINE_EXCEEDED);
    answer(f, &asked, ERR_OK, NULL); /* late: dropped */
    turn_without_asking(f, 50 * MSEC_US);
    assert_int_equal(e.n, 1);
    assert_int_equal(forgotten.n, 0);
    assert_int_equal(upstream_open(f->upstream), 0);
}

/* Looking at the socket uses up the edge by which its descriptor tells of an answer. */
static void an_answer_that_came_meanwhile_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct ending e = { 0 };

    assert_non_null(call(f, 5 * SECOND_US, &e));
    turn_until_asked(f, &asked);
    answer(f, &asked, ERR_NOT_FOUND, NULL);
    struct pollfd p = { .fd = upstream_fd(f->upstream), .events = POLLIN };
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_true(upstream_is_connected(f->upstream));
    assert_int_equal(upstream_wait_us(f->upstream), 0);
    upstream_run(f->upstream);
    assert_int_equal(e.n, 1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_stream_goes_from_the_log_to_memory_without_a_gap_or_a_repetition),
        T(an_answer_that_is_lost_is_asked_for_again_F34),
        T(a_page_too_large_for_an_answer_is_asked_for_in_pieces),
        T(a_head_that_overtakes_its_events_asks_nobody),
        T(an_event_that_cannot_be_written_is_not_passed_over),
        T(without_a_word_from_the_bus_the_log_is_read_by_the_clock),
        T(who_comes_again_while_the_gateway_stops_is_sent_elsewhere_F09),
        T(a_call_without_an_answer_ends_at_its_deadline),
        T(an_answer_that_came_meanwhile_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
