/*
 * gateway_upstream_fixture.h - the gateway's upstream and the two buses that it asks, which are sockets of the test.
 */
#ifndef DAYBOOK_TESTS_UNIT_GATEWAY_UPSTREAM_FIXTURE_H
#define DAYBOOK_TESTS_UNIT_GATEWAY_UPSTREAM_FIXTURE_H

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
#include "tests/support/mmi.h"
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
    bool mute;        /* they do not say whether they are there */
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

static bool take(struct fixture *f, struct asked *out)
{
    struct bus_frames frames;
    ProtobufCMessage *context;
    struct wire_fault fault;

    for (int i = 0; i < BUSES; i++) {
        if (!f->bus[i] || f->deaf[i] || !bus_frames_receive(f->bus[i], &frames))
            continue;
        if (frames.n == 5 && f->mute) {
            bus_frames_close(&frames);
            continue;
        }
        if (mmi_answer(f->bus[i], &frames))
            continue;
        assert_int_equal(frames.n, 7);
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

#endif
