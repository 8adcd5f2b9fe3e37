/*
 * bus_client.c - requests over a DEALER, MDP/0.2.
 *
 * The socket has IMMEDIATE set: a request goes to a connection that stands, or stays here. So a bus
 * that is away is told from a slow answer: the first costs BUS_TAKE_MAX_US and is safe to repeat,
 * the second uses up the deadline and may have been done.
 *
 * A DEALER keeps no account of what it asked. Whatever comes in is matched by the request id in its
 * CallResult, so that an answer that is late, doubled or meant for nobody is dropped (F34).
 */
#include "common/bus_client.h"

#include <zmq.h>

#include "common/bus_frames.h"
#include "common/bus_peers.h"
#include "common/bus_request.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/pb_access.h"
#include "common/retry.h"
#include "common/schema.h"
#include "common/wire.h"

/* How long a request waits for a connection to the bus. */
#define BUS_TAKE_MAX_US SECOND_US
/* Below this there is no point in starting (protocols H.2). */
#define BUS_TIMEOUT_MIN_US (5 * MSEC_US)
#define BUS_TIMEOUT_MAX_US (30 * SECOND_US)
#define BUS_FRAME_MAX_BYTES (INT64_C(8) << 20)
#define Z85_KEY_LEN 40

struct bus_client {
    void *zmq_context;
    struct bus_address address;
    void *socket;
    struct bus_peers *peers;
};

/*
 * The reconnect interval ends at 2 s, not at 5, so that all are back 3 s after a bus is (F02).
 *
 * No ZMTP heartbeats: libzmq 4.3 aborts the process when one is due on a connection whose peer has died
 * while its queue was full ("Assertion failed: !_io_error"), as that of a consumer is which has fallen
 * behind. TCP finds a dead host in the same 15 s; a bus that hangs is found by whoever waits for it.
 */
static const struct {
    int option;
    int dealer;
    int subscriber;
} socket_options[] = {
    { ZMQ_SNDHWM, 1000, 10000 },     { ZMQ_RCVHWM, 1000, 10000 },
    { ZMQ_LINGER, 1000, 0 },         { ZMQ_IMMEDIATE, 1, 0 },
    { ZMQ_TCP_KEEPALIVE, 1, 1 },     { ZMQ_TCP_KEEPALIVE_IDLE, 5, 5 },
    { ZMQ_TCP_KEEPALIVE_CNT, 2, 2 }, { ZMQ_TCP_KEEPALIVE_INTVL, 5, 5 },
    { ZMQ_TCP_MAXRT, 15000, 15000 }, { ZMQ_HANDSHAKE_IVL, 5000, 5000 },
    { ZMQ_RECONNECT_IVL, 100, 100 }, { ZMQ_RECONNECT_IVL_MAX, 2000, 2000 },
};

static bool is_set(const char *text)
{
    return text && *text;
}

static bool set_key(void *socket, int option, const char *z85)
{
    return is_set(z85) && strlen(z85) == Z85_KEY_LEN &&
           zmq_setsockopt(socket, option, z85, Z85_KEY_LEN + 1) == 0;
}

bool bus_socket_prepare(void *zmq_socket, const struct bus_address *address)
{
    int type = 0;
    size_t size = sizeof type;
    if (zmq_getsockopt(zmq_socket, ZMQ_TYPE, &type, &size) != 0)
        return false;
    bool subscriber = type == ZMQ_SUB || type == ZMQ_XSUB;

    for (size_t i = 0; i < ARRAY_LEN(socket_options); i++) {
        int value = subscriber ? socket_options[i].subscriber : socket_options[i].dealer;
        if (zmq_setsockopt(zmq_socket, socket_options[i].option, &value, sizeof value) != 0)
            return false;
    }
    int64_t frame_max = BUS_FRAME_MAX_BYTES;
    if (zmq_setsockopt(zmq_socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) != 0)
        return false;

    if (!is_set(address->server_key))
        return true;
    return set_key(zmq_socket, ZMQ_CURVE_SERVERKEY, address->server_key) &&
           set_key(zmq_socket, ZMQ_CURVE_PUBLICKEY, address->public_key) &&
           set_key(zmq_socket, ZMQ_CURVE_SECRETKEY, address->secret_key);
}

static void close_socket(struct bus_client *c)
{
    if (c->socket)
        zmq_close(c->socket);
    bus_peers_free(c->peers);
    c->socket = NULL;
    c->peers = NULL;
}

/* In place of the one there is, if any; that stays where this fails. */
static bool open_socket(struct bus_client *c)
{
    void *socket = zmq_socket(c->zmq_context, ZMQ_DEALER);
    struct bus_peers *peers = NULL;

    if (socket && bus_socket_prepare(socket, &c->address))
        peers = bus_peers_new(socket, c->address.endpoint);
    if (peers) {
        close_socket(c);
        c->socket = socket;
        c->peers = peers;
    } else if (socket) {
        zmq_close(socket);
    }
    return peers != NULL;
}

struct bus_client *bus_client_new(void *zmq_context, const struct bus_address *address)
{
    struct bus_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->zmq_context = zmq_context;
    c->address = *address;
    if (open_socket(c))
        return c;
    bus_client_free(c);
    return NULL;
}

void bus_client_free(struct bus_client *c)
{
    if (!c)
        return;
    close_socket(c);
    free(c);
}

/* A bus that moves costs the socket: with IMMEDIATE set libzmq lets a request go by a connection that
 * is being ended, and that would be the very next one. */
static void follow(struct bus_client *c)
{
    if (!bus_peers_has_moved(c->peers) || !open_socket(c))
        (void)bus_peers_follow(c->peers);
}

/* Waits for an event on the socket; false: the (monotonic) time is up. Addresses are followed before
 * a request is sent and not while an answer is due, which comes by the connection that stands. */
static bool wait_for(struct bus_client *c, short event, int64_t until_us)
{
    for (;;) {
        int64_t left_us = clock_left_us(until_us), wait_us = left_us;
        if (event == ZMQ_POLLOUT) {
            follow(c);
            wait_us = MIN(wait_us, bus_peers_wait_us(c->peers));
        }
        zmq_pollitem_t item = { .socket = c->socket, .events = event };
        int n = zmq_poll(&item, 1, (long)((wait_us + MSEC_US - 1) / MSEC_US));
        if (n > 0)
            return true;
        if (left_us <= 0)
            return false;
    }
}

enum err bus_client_send(struct bus_client *c, const struct bus_request *request, struct arena *a)
{
    int64_t start_us = clock_monotonic_us();
    int64_t timeout_us = MIN(request->timeout_us, BUS_TIMEOUT_MAX_US);
    if (timeout_us < BUS_TIMEOUT_MIN_US)
        return ERR_DEADLINE_EXCEEDED;
    if (!wait_for(c, ZMQ_POLLOUT, start_us + MIN(timeout_us, BUS_TAKE_MAX_US)))
        return ERR_UNAVAILABLE;
    int64_t left_us = start_us + timeout_us - clock_monotonic_us();
    if (left_us < BUS_TIMEOUT_MIN_US)
        return ERR_UNAVAILABLE;

    const char *request_id = request->request_id;
    if (!request_id) {
        char text[ID_TEXT_MAX];
        request_id = arena_strdup(a, id_text(id_new(), text));
        if (!request_id)
            return ERR_RESOURCE_EXHAUSTED;
    }
    PbCallContext context;
    daybook__common__v1__call_context__init(&context);
    context.request_id = pb_borrow(request_id);
    context.deadline_ms = (uint32_t)(left_us / MSEC_US);
    if (request->idempotency_key)
        context.idempotency_key = pb_borrow(request->idempotency_key);
    if (request->traceparent)
        context.traceparent = pb_borrow(request->traceparent);
    union {
        const PbPrincipal *in;
        PbPrincipal *out;
    } principal = { .in = request->principal };
    context.principal = principal.out;
    context.remote_address = pb_borrow(request->remote_address);

    zmq_msg_t context_frame, message_frame;
    if (!bus_request_pack(&context_frame, &context.base))
        return ERR_RESOURCE_EXHAUSTED;
    if (!bus_request_pack(&message_frame, request->message)) {
        zmq_msg_close(&context_frame);
        return ERR_RESOURCE_EXHAUSTED;
    }
    bool taken = bus_request_send(c->socket, request->service, request->method, &context_frame,
                                  &message_frame);
    zmq_msg_close(&context_frame);
    zmq_msg_close(&message_frame);
    return taken ? ERR_OK : ERR_UNAVAILABLE;
}

static enum err code_of(const PbCallResult *result)
{
    if (!result->status)
        return ERR_OK;
    int code = result->status->code;
    return code >= 0 && code <= ERR_UNAUTHENTICATED ? (enum err)code : ERR_UNKNOWN;
}

/* An answer that somebody waits for becomes *code_out and answer_out; any other gives false. */
static bool take_answer(struct bus_frames *f, struct arena *a,
                        const ProtobufCMessageDescriptor *(*type_of)(void *arg,
                                                                     const char *request_id),
                        void *arg, struct bus_answer *answer_out, enum err *code_out)
{
    const PbCallResult *result = bus_request_result(f, a);
    if (!result)
        return false;
    const ProtobufCMessageDescriptor *type = type_of(arg, result->request_id);
    if (!type)
        return false;

    struct bus_answer answer = { .result = result };
    *code_out = code_of(result);
    if (*code_out == ERR_OK) {
        struct wire_fault fault;
        *code_out = wire_unpack(type, zmq_msg_data(&f->frame[4]), zmq_msg_size(&f->frame[4]),
                                &wire_limits_internal, a, &answer.message, &fault);
        if (*code_out == ERR_INVALID_ARGUMENT)
            *code_out = ERR_INTERNAL; /* the answer is broken, not the question */
    }
    *answer_out = answer;
    return true;
}

enum err bus_client_receive(struct bus_client *c, int64_t timeout_us, struct arena *a,
                            const ProtobufCMessageDescriptor *(*type_of)(void *arg,
                                                                         const char *request_id),
                            void *arg, struct bus_answer *answer_out)
{
    int64_t until_us = clock_monotonic_us() + timeout_us;
    for (;;) {
        struct bus_frames f;
        while (bus_frames_receive(c->socket, &f)) {
            enum err e;
            bool mine = take_answer(&f, a, type_of, arg, answer_out, &e);
            bus_frames_close(&f);
            if (mine)
                return e;
            if (clock_monotonic_us() > until_us)
                return ERR_DEADLINE_EXCEEDED;
        }
        if (!wait_for(c, ZMQ_POLLIN, until_us))
            return ERR_DEADLINE_EXCEEDED;
    }
}

struct awaited {
    const char *request_id;
    const ProtobufCMessageDescriptor *type;
};

static const ProtobufCMessageDescriptor *type_of_awaited(void *arg, const char *request_id)
{
    const struct awaited *w = arg;
    return strcmp(w->request_id, request_id) == 0 ? w->type : NULL;
}

enum err bus_client_call(struct bus_client *c, const struct bus_request *request, struct arena *a,
                         struct bus_answer *answer_out)
{
    int64_t start_us = clock_monotonic_us();
    const struct schema_method *method = schema_find_method(request->service, request->method);
    if (!method)
        return ERR_UNIMPLEMENTED;

    char text[ID_TEXT_MAX];
    struct bus_request r = *request;
    if (!r.request_id)
        r.request_id = id_text(id_new(), text);
    int64_t until_us = start_us + MIN(r.timeout_us, BUS_TIMEOUT_MAX_US);
    struct awaited awaited = { .request_id = r.request_id, .type = method->output };
    enum err e;
    /* A bus that stops refuses; the socket sends by turns, so the next try is the other one's (F09). */
    for (int tries = 1;; tries++) {
        e = bus_client_send(c, &r, a);
        if (e)
            return e;
        e = bus_client_receive(c, until_us - clock_monotonic_us(), a, type_of_awaited, &awaited,
                               answer_out);
        r.timeout_us = until_us - clock_monotonic_us();
        if (e == ERR_OK && tries == 1)
            retry_budget_earn(retry_budget());
        if (e != ERR_UNAVAILABLE || tries == BUS_REQUEST_TRIES || r.timeout_us < SECOND_US / 10 ||
            !bus_request_met_drain(answer_out->result, a))
            return e;
        retry_count(RETRY_DRAINING);
    }
}
