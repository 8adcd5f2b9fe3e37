/*
 * upstream.c - see upstream.h.
 *
 * The socket has IMMEDIATE set: what no bus takes stays here, in order, for a second at most, so
 * that a bus that is started anew costs nobody his request (F02).
 */
#include "services/gateway/upstream.h"

#include <assert.h>
#include <zmq.h>

#include "common/bus_frames.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/wire.h"

#define BUCKETS 4096
#define TAKE_MAX_US SECOND_US
#define ANSWER_ARENA (8 * MIB)
#define BURST 256

struct upstream_call {
    struct upstream_call *next_bucket;
    struct upstream_call *next, *prev; /* of those not sent yet */
    bool waits;                        /* in that list */
    struct id id;
    int64_t take_before_us, deadline_us;
    upstream_done_fn *done;
    void *arg;
    char *service, *method;
    PbCallContext context;
    uint8_t *packed; /* the context */
    size_t packed_len;
    zmq_msg_t message;
    struct arena *arena;
};

struct upstream {
    void *socket;
    int fd;
    struct arena *arena; /* of the answer at hand */
    struct upstream_call *buckets[BUCKETS];
    struct upstream_call *first, *last; /* not sent yet */
    size_t open;
    bool more; /* answers that the last run has not taken */
};

/* --- life --------------------------------------------------------------------------------------- */

struct upstream *upstream_new(void *zmq_context, const struct bus_address *address)
{
    struct upstream *u = calloc(1, sizeof(*u));
    size_t size = sizeof(u->fd);

    if (!u)
        return NULL;
    u->arena = arena_new(ANSWER_ARENA);
    u->socket = zmq_socket(zmq_context, ZMQ_DEALER);
    if (u->arena && u->socket && bus_socket_prepare(u->socket, address) &&
        bus_socket_connect(u->socket, address->endpoint) &&
        zmq_getsockopt(u->socket, ZMQ_FD, &u->fd, &size) == 0)
        return u;
    upstream_free(u);
    return NULL;
}

static void unlink_waiting(struct upstream *u, struct upstream_call *c)
{
    if (!c->waits)
        return;
    c->waits = false;
    if (c->next)
        c->next->prev = c->prev;
    else
        u->last = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        u->first = c->next;
}

static struct upstream_call **place_of(struct upstream *u, struct id id)
{
    struct upstream_call **at = &u->buckets[id_hash(id) % BUCKETS];

    while (*at && !id_equal((*at)->id, id))
        at = &(*at)->next_bucket;
    return at;
}

void upstream_forget(struct upstream *u, struct upstream_call *c)
{
    struct upstream_call **at = place_of(u, c->id);

    assert(*at == c);
    *at = c->next_bucket;
    unlink_waiting(u, c);
    zmq_msg_close(&c->message);
    free(c->packed);
    free(c->service);
    free(c->method);
    free(c);
    u->open--;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (u->buckets[i])
            upstream_forget(u, u->buckets[i]);
    if (u->socket)
        zmq_close(u->socket);
    arena_free(u->arena);
    free(u);
}

int upstream_fd(const struct upstream *u)
{
    return u->fd;
}

size_t upstream_open(const struct upstream *u)
{
    return u->open;
}

static bool may(struct upstream *u, int event)
{
    int events = 0;
    size_t size = sizeof(events);
    return zmq_getsockopt(u->socket, ZMQ_EVENTS, &events, &size) == 0 && events & event;
}

bool upstream_is_connected(struct upstream *u)
{
    return may(u, ZMQ_POLLOUT);
}

/* --- asking ------------------------------------------------------------------------------------- */

/* protobuf-c's structs want char *, and packing does not write. */
static char *unconst(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = { .in = text };
    return u.out;
}

static bool fill(struct upstream_call *c, const struct upstream_request *r)
{
    union {
        const PbPrincipal *in;
        PbPrincipal *out;
    } principal = { .in = r->principal };
    PbCallContext context = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    int64_t left_us = r->deadline_us - clock_monotonic_us();

    context.request_id = unconst(r->request_id);
    context.principal = principal.out;
    context.deadline_ms = (uint32_t)MAX(1, MIN(left_us / MSEC_US, 30000));
    context.traceparent = unconst(r->traceparent);
    context.tracestate = unconst(r->tracestate);
    context.idempotency_key = unconst(r->idempotency_key);
    c->packed_len = daybook__common__v1__call_context__get_packed_size(&context);
    c->packed = malloc(c->packed_len + 1);
    c->service = strdup(r->service);
    c->method = strdup(r->method);
    if (!c->packed || !c->service || !c->method)
        return false;
    daybook__common__v1__call_context__pack(&context, c->packed);
    return true;
}

struct upstream_call *upstream_ask(struct upstream *u, const struct upstream_request *request,
                                   upstream_done_fn *done, void *arg)
{
    struct upstream_call *c = calloc(1, sizeof(*c));

    if (!c || !id_parse(request->request_id, &c->id) ||
        zmq_msg_init_size(&c->message, request->len) != 0) {
        free(c);
        return NULL;
    }
    if (request->len)
        memcpy(zmq_msg_data(&c->message), request->message, request->len);
    c->done = done;
    c->arg = arg;
    c->take_before_us = MIN(request->deadline_us, clock_monotonic_us() + TAKE_MAX_US);
    struct upstream_call **bucket = place_of(u, c->id);
    c->next_bucket = *bucket;
    *bucket = c;
    u->open++;
    if (!fill(c, request)) {
        upstream_forget(u, c);
        return NULL;
    }
    c->waits = true;
    c->prev = u->last;
    if (u->last)
        u->last->next = c;
    else
        u->first = c;
    u->last = c;
    return c;
}

static bool send_call(struct upstream *u, struct upstream_call *c)
{
    return bus_send(u->socket, MDP_CLIENT_02, MDP_HEADER_LEN, true) &&
           bus_send_byte(u->socket, MDP02_C_REQUEST, true) &&
           bus_send(u->socket, c->service, strlen(c->service), true) &&
           bus_send(u->socket, c->method, strlen(c->method), true) &&
           bus_send(u->socket, c->packed, c->packed_len, true) &&
           bus_send_frame(u->socket, &c->message, false);
}

static void finish(struct upstream *u, struct upstream_call *c, const struct upstream_answer *a)
{
    upstream_done_fn *done = c->done;
    void *arg = c->arg;

    upstream_forget(u, c);
    done(arg, a);
}

static void send_waiting(struct upstream *u)
{
    while (u->first && may(u, ZMQ_POLLOUT)) {
        if (!send_call(u, u->first))
            return;
        unlink_waiting(u, u->first);
    }
    int64_t now_us = u->first ? clock_monotonic_us() : 0;
    while (u->first && u->first->take_before_us <= now_us)
        finish(u, u->first, &(struct upstream_answer){ .code = ERR_UNAVAILABLE });
}

int64_t upstream_wait_us(struct upstream *u)
{
    if (u->more || may(u, ZMQ_POLLIN))
        return 0;
    return u->first ? MAX(0, u->first->take_before_us - clock_monotonic_us()) : INT64_MAX;
}

/* --- answers ------------------------------------------------------------------------------------ */

static void take_answer(struct upstream *u, struct bus_frames *f)
{
    ProtobufCMessage *result = NULL;
    struct wire_fault fault;
    struct id id;

    if (f->n != 5 || f->overflow || !bus_frame_is(&f->frame[0], MDP_CLIENT_02, MDP_HEADER_LEN) ||
        !bus_frame_is_byte(&f->frame[1], MDP02_C_FINAL) ||
        wire_unpack(&daybook__common__v1__call_result__descriptor, zmq_msg_data(&f->frame[3]),
                    zmq_msg_size(&f->frame[3]), &wire_limits_internal, u->arena, &result, &fault))
        return;
    const PbCallResult *r = (const PbCallResult *)result;
    struct upstream_call *c = id_parse(r->request_id, &id) ? *place_of(u, id) : NULL;
    if (!c)
        return; /* late */
    const struct upstream_answer answer = { .result = r,
                                            .message = zmq_msg_data(&f->frame[4]),
                                            .len = zmq_msg_size(&f->frame[4]) };
    finish(u, c, &answer);
}

void upstream_run(struct upstream *u)
{
    struct bus_frames f;
    int n = 0;

    send_waiting(u);
    for (; n < BURST && bus_frames_receive(u->socket, &f); n++) {
        take_answer(u, &f);
        bus_frames_close(&f);
        arena_reset(u->arena);
    }
    u->more = n == BURST;
    if (u->first)
        send_waiting(u);
}
