/* fake_bus.c - see fake_bus.h. */
#include "tests/support/fake_bus.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

#include "common/bus_frames.h"
#include "common/mdp.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "google/rpc/status.pb-c.h"

typedef Daybook__Bus__V1__Event Event;

struct fake_bus {
    void *ctx, *router, *xpub, *pipe_in, *pipe_out;
    char endpoint[64], events[64];
    struct bus_address address;
    pthread_t thread;
    pthread_mutex_t lock;
    struct arena *memory; /* of the log */
    Event **log;
    size_t n, cap;
    int64_t first; /* seq of log[0], less one */
    struct id log_id;
    atomic_bool refuse, refuse_subscriptions;
    _Atomic int64_t end;    /* ReadEvents from there on is refused; 0: never */
    _Atomic int64_t window; /* events that one ReadEvents looks through; 0: all */
    atomic_int reads, subscriptions;
};

static void bind_to(void *socket, char *endpoint, size_t size)
{
    assert(zmq_bind(socket, "tcp://127.0.0.1:*") == 0);
    assert(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
}

/* --- answers --- */

static Event *at(const struct fake_bus *b, int64_t seq)
{
    return seq > b->first && seq <= b->first + (int64_t)b->n ? b->log[seq - b->first - 1] : NULL;
}

static int64_t head(const struct fake_bus *b)
{
    return b->first + (int64_t)b->n;
}

static bool wanted(const Daybook__Bus__V1__ReadEventsRequest *q, const Event *e)
{
    if (q->n_types == 0)
        return true;
    for (size_t i = 0; i < q->n_types; i++)
        if (strcmp(q->types[i], e->type) == 0)
            return true;
    return false;
}

static ProtobufCMessage *read_events(struct fake_bus *b, zmq_msg_t *message, struct arena *a)
{
    Daybook__Bus__V1__ReadEventsResponse *out =
        wire_new(&daybook__bus__v1__read_events_response__descriptor, a);
    ProtobufCMessage *m;
    struct wire_fault fault;

    assert(wire_unpack(&daybook__bus__v1__read_events_request__descriptor, zmq_msg_data(message),
                       zmq_msg_size(message), &wire_limits_internal, a, &m, &fault) == ERR_OK);
    const Daybook__Bus__V1__ReadEventsRequest *q = (const void *)m;
    int64_t end = atomic_load(&b->end);
    if (end && q->after_seq >= end)
        return NULL;
    int limit = q->limit ? q->limit : 100;
    out->events = arena_array(a, (size_t)limit, sizeof(void *));
    int64_t window = atomic_load(&b->window);
    int64_t upto = window ? MIN(q->after_seq + window, head(b)) : head(b);
    for (int64_t seq = q->after_seq + 1; seq <= upto && (int)out->n_events < limit; seq++)
        if (at(b, seq) && wanted(q, at(b, seq)))
            out->events[out->n_events++] = at(b, seq);
    out->log_id = db_text_id(a, b->log_id);
    out->head_seq = head(b);
    out->read_upto_seq = (int)out->n_events == limit ? out->events[limit - 1]->seq : upto;
    atomic_fetch_add(&b->reads, 1);
    return &out->base;
}

static ProtobufCMessage *get_head(struct fake_bus *b, struct arena *a)
{
    Daybook__Bus__V1__GetHeadResponse *out =
        wire_new(&daybook__bus__v1__get_head_response__descriptor, a);
    out->log_id = db_text_id(a, b->log_id);
    out->head_seq = head(b);
    return &out->base;
}

static void send_packed(void *socket, const ProtobufCMessage *m, bool more)
{
    size_t len = m ? protobuf_c_message_get_packed_size(m) : 0;
    uint8_t *data = malloc(len + 1);

    assert(data);
    if (m)
        protobuf_c_message_pack(m, data);
    assert(bus_send(socket, data, len, more));
    free(data);
}

/* Frames: id, MDPC02, 01, service, method, context, message. */
static void answer(struct fake_bus *b, struct bus_frames *f)
{
    struct arena *a = arena_new(256 * MIB);
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    PbCallResult result = DAYBOOK__COMMON__V1__CALL_RESULT__INIT;
    ProtobufCMessage *m, *reply = NULL;
    struct wire_fault fault;

    assert(f->n == 7);
    assert(wire_unpack(&daybook__common__v1__call_context__descriptor, zmq_msg_data(&f->frame[5]),
                       zmq_msg_size(&f->frame[5]), &wire_limits_internal, a, &m, &fault) == ERR_OK);
    result.request_id = ((PbCallContext *)m)->request_id;
    pthread_mutex_lock(&b->lock);
    if (!atomic_load(&b->refuse))
        reply = bus_frame_is(&f->frame[4], "GetHead", 7) ? get_head(b, a)
                                                         : read_events(b, &f->frame[6], a);
    if (!reply) {
        status.code = ERR_UNAVAILABLE;
        result.status = &status;
    }
    pthread_mutex_unlock(&b->lock);
    assert(bus_send_frame(b->router, &f->frame[0], true));
    assert(bus_send(b->router, MDP_CLIENT_02, MDP_HEADER_LEN, true));
    assert(bus_send_byte(b->router, MDP02_C_FINAL, true));
    assert(bus_send_frame(b->router, &f->frame[3], true));
    send_packed(b->router, &result.base, true);
    send_packed(b->router, reply, false);
    arena_free(a);
}

/* As the real bus does: what is refused is refused for as long as the connection stands. */
static void take_subscription(struct fake_bus *b, zmq_msg_t *frame)
{
    const char *data = zmq_msg_data(frame);
    size_t len = zmq_msg_size(frame);

    if (len == 0)
        return;
    atomic_fetch_add(&b->subscriptions, data[0] == 1 ? 1 : -1);
    if (data[0] == 0)
        zmq_setsockopt(b->xpub, ZMQ_UNSUBSCRIBE, data + 1, len - 1);
    else if (!atomic_load(&b->refuse_subscriptions))
        zmq_setsockopt(b->xpub, ZMQ_SUBSCRIBE, data + 1, len - 1);
}

/* False: the end. */
static bool forward(struct fake_bus *b, struct bus_frames *f)
{
    if (f->n == 1)
        return false;
    for (size_t i = 0; i < f->n; i++)
        assert(bus_send_frame(b->xpub, &f->frame[i], i + 1 < f->n));
    return true;
}

static void *run(void *arg)
{
    struct fake_bus *b = arg;
    struct bus_frames f;

    for (;;) {
        zmq_pollitem_t items[] = { { .socket = b->router, .events = ZMQ_POLLIN },
                                   { .socket = b->xpub, .events = ZMQ_POLLIN },
                                   { .socket = b->pipe_out, .events = ZMQ_POLLIN } };
        zmq_poll(items, 3, -1);
        while (bus_frames_receive(b->router, &f)) {
            answer(b, &f);
            bus_frames_close(&f);
        }
        while (bus_frames_receive(b->xpub, &f)) {
            take_subscription(b, &f.frame[0]);
            bus_frames_close(&f);
        }
        while (bus_frames_receive(b->pipe_out, &f)) {
            bool more = forward(b, &f);
            bus_frames_close(&f);
            if (!more)
                return NULL;
        }
    }
}

/* --- the test's side --- */

struct fake_bus *fake_bus_start(void *zmq_context)
{
    struct fake_bus *b = calloc(1, sizeof *b);
    int on = 1, unlimited = 0;

    assert(b);
    b->ctx = zmq_context;
    b->router = zmq_socket(b->ctx, ZMQ_ROUTER);
    b->xpub = zmq_socket(b->ctx, ZMQ_XPUB);
    b->pipe_in = zmq_socket(b->ctx, ZMQ_PAIR);
    b->pipe_out = zmq_socket(b->ctx, ZMQ_PAIR);
    zmq_setsockopt(b->xpub, ZMQ_XPUB_VERBOSER, &on, sizeof on);
    zmq_setsockopt(b->xpub, ZMQ_XPUB_MANUAL, &on, sizeof on);
    void *all[] = { b->router, b->xpub, b->pipe_in, b->pipe_out };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        zmq_setsockopt(all[i], ZMQ_SNDHWM, &unlimited, sizeof unlimited);
        zmq_setsockopt(all[i], ZMQ_RCVHWM, &unlimited, sizeof unlimited);
        zmq_setsockopt(all[i], ZMQ_LINGER, &unlimited, sizeof unlimited);
    }
    bind_to(b->router, b->endpoint, sizeof b->endpoint);
    bind_to(b->xpub, b->events, sizeof b->events);
    char pipe[64]; /* a name of its own: libzmq gives up the last one's some time after closing */
    snprintf(pipe, sizeof pipe, "inproc://fake-bus-%p", (void *)b->pipe_in);
    assert(zmq_bind(b->pipe_out, pipe) == 0 && zmq_connect(b->pipe_in, pipe) == 0);
    b->address =
        (struct bus_address){ .endpoint = b->endpoint, .events = b->events, .server_key = "" };
    b->memory = arena_new(512 * MIB);
    b->log_id = id_new();
    pthread_mutex_init(&b->lock, NULL);
    assert(b->memory && pthread_create(&b->thread, NULL, run, b) == 0);
    return b;
}

void fake_bus_stop(struct fake_bus *b)
{
    assert(bus_send(b->pipe_in, "", 0, false));
    pthread_join(b->thread, NULL);
    zmq_close(b->router);
    zmq_close(b->xpub);
    zmq_close(b->pipe_in);
    zmq_close(b->pipe_out);
    pthread_mutex_destroy(&b->lock);
    arena_free(b->memory);
    free(b->log);
    free(b);
}

const struct bus_address *fake_bus_address(const struct fake_bus *b)
{
    return &b->address;
}

int64_t fake_bus_add(struct fake_bus *b, struct id tenant, const char *aggregate, int64_t version,
                     const ProtobufCMessage *event)
{
    pthread_mutex_lock(&b->lock);
    Event *e = wire_new(&daybook__bus__v1__event__descriptor, b->memory);
    assert(e);
    e->event_id = db_text_id(b->memory, id_new());
    e->tenant_id = db_text_id(b->memory, tenant);
    e->type = arena_strdup(b->memory, event->descriptor->name);
    e->aggregate = arena_strdup(b->memory, aggregate);
    e->aggregate_version = version;
    e->seq = head(b) + 1;
    e->occurred_at = wire_time(b->memory, INT64_C(1767225600) * SECOND_US);
    e->data = wire_any(b->memory, event);
    assert(e->event_id && e->tenant_id && e->type && e->aggregate && e->data);
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 1024;
        b->log = realloc(b->log, b->cap * sizeof(Event *));
        assert(b->log);
    }
    b->log[b->n++] = e;
    int64_t seq = e->seq;
    pthread_mutex_unlock(&b->lock);
    return seq;
}

int64_t fake_bus_head(const struct fake_bus *b)
{
    return head(b);
}

static void publish(struct fake_bus *b, const char *topic, int64_t seq, const ProtobufCMessage *m,
                    const char *raw)
{
    uint8_t number[8];

    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)((uint64_t)seq >> (56 - 8 * i));
    assert(bus_send(b->pipe_in, topic, strlen(topic), true));
    assert(bus_send(b->pipe_in, b->log_id.b, sizeof b->log_id.b, true));
    assert(bus_send(b->pipe_in, number, sizeof number, true));
    if (raw)
        assert(bus_send(b->pipe_in, raw, strlen(raw), false));
    else
        send_packed(b->pipe_in, m, false);
}

void fake_bus_publish(struct fake_bus *b, int64_t seq)
{
    const Event *e = at(b, seq);
    char topic[256];

    assert(e);
    snprintf(topic, sizeof topic, "%s/%s", e->tenant_id, e->type);
    publish(b, topic, seq, &e->base, NULL);
}

void fake_bus_publish_head(struct fake_bus *b)
{
    publish(b, BUS_TOPIC_HEAD, head(b), NULL, NULL);
}

void fake_bus_publish_junk(struct fake_bus *b, int64_t seq)
{
    publish(b, "0/junk", seq, NULL, "\xff\xff\xff");
}

void fake_bus_new_log(struct fake_bus *b, int64_t keep)
{
    pthread_mutex_lock(&b->lock);
    b->log_id = id_new();
    assert(keep >= b->first && keep <= head(b));
    b->n = (size_t)(keep - b->first);
    pthread_mutex_unlock(&b->lock);
}

void fake_bus_forget(struct fake_bus *b, int64_t seq)
{
    pthread_mutex_lock(&b->lock);
    size_t gone = (size_t)(seq - b->first);
    assert(seq >= b->first && gone <= b->n);
    memmove(b->log, b->log + gone, (b->n - gone) * sizeof(Event *));
    b->n -= gone;
    b->first = seq;
    pthread_mutex_unlock(&b->lock);
}

void fake_bus_search(struct fake_bus *b, int64_t window)
{
    atomic_store(&b->window, window);
}

void fake_bus_end_reads(struct fake_bus *b, int64_t seq)
{
    atomic_store(&b->end, seq);
}

void fake_bus_refuse_subscriptions(struct fake_bus *b, bool on)
{
    atomic_store(&b->refuse_subscriptions, on);
}

void fake_bus_refuse(struct fake_bus *b, bool on)
{
    atomic_store(&b->refuse, on);
}

int fake_bus_reads(const struct fake_bus *b)
{
    return atomic_load(&b->reads);
}

int fake_bus_subscriptions(const struct fake_bus *b)
{
    return atomic_load(&b->subscriptions);
}
