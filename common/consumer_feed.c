/*
 * consumer_feed.c - events in, always in the order of the log and without a gap.
 *
 * What is published is taken as long as it follows what we have; anything else only says that the
 * log holds something we have not, and then it is read (F34). So nothing hangs on the publishing
 * being reliable, ordered or single.
 */
#include "common/consumer_internal.h"

#include <zmq.h>

#include "common/bus_frames.h"
#include "common/bus_peers.h"
#include "common/clock.h"
#include "common/mdp.h"
#include "common/pb_access.h"
#include "common/wire.h"

#define EVENT_SERVICE "daybook.bus.v1.EventService"
#define ASK_US (3 * SECOND_US)
#define BATCH_BYTES_MAX (4 * MIB)
/* Further behind than this, only events that matter are asked for. */
#define FAR_BEHIND (4 * CONSUMER_BATCH_MAX)
#define TYPES_MAX 128

typedef Daybook__Bus__V1__ReadEventsRequest ReadRequest;
typedef Daybook__Bus__V1__ReadEventsResponse ReadResponse;

/* --- opening --- */

/* Topics of events begin with a tenant's id. A daemon's wake channels are not for us. */
static bool subscribe(void *sub)
{
    for (const char *digit = "0123456789abcdef"; *digit; digit++)
        if (zmq_setsockopt(sub, ZMQ_SUBSCRIBE, digit, 1) != 0)
            return false;
    return zmq_setsockopt(sub, ZMQ_SUBSCRIBE, BUS_TOPIC_HEAD, strlen(BUS_TOPIC_HEAD)) == 0;
}

static void close_sub(struct consumer *c)
{
    if (c->sub)
        zmq_close(c->sub);
    bus_peers_free(c->sub_peers);
    c->sub = NULL;
    c->sub_peers = NULL;
}

/* In place of the one there is, if any; that stays where this fails. */
static bool open_sub(struct consumer *c)
{
    void *sub = zmq_socket(c->env.zmq_context, ZMQ_SUB);
    struct bus_peers *peers = NULL;

    if (sub && bus_socket_prepare(sub, c->env.bus) && subscribe(sub))
        peers = bus_peers_new(sub, c->env.bus->events);
    if (peers) {
        close_sub(c);
        c->sub = sub;
        c->sub_peers = peers;
    } else if (sub) {
        zmq_close(sub);
    }
    return peers != NULL;
}

bool consumer_feed_open(struct consumer *c)
{
    c->bus = open_sub(c) ? bus_client_new(c->env.zmq_context, c->env.bus) : NULL;
    return c->bus != NULL;
}

bool consumer_feed_reopen(struct consumer *c)
{
    return open_sub(c);
}

void consumer_feed_close(struct consumer *c)
{
    close_sub(c);
    bus_client_free(c->bus);
    c->bus = NULL;
}

/* --- into the batch --- */

static void begin_batch(struct consumer *c)
{
    arena_reset(c->feed);
    c->batch.n = 0;
    c->batch.upto = c->pos;
    c->batch.upto_event = c->pos_event;
    c->batch.has_upto_event = c->has_pos_event;
}

static void append(struct consumer *c, const PbEvent *event)
{
    struct consumer_batch *b = &c->batch;
    struct consumer_item *item = &b->items[b->n++];

    *item = (struct consumer_item){ .event = event, .def = consumer_find_def(c, event->type) };
    if (!id_parse(event->tenant_id, &item->tenant))
        item->tenant = (struct id){ { 0 } }; /* no tenant's: row level security lets nothing in */
    b->upto = event->seq;
    b->has_upto_event = id_parse(event->event_id, &b->upto_event);
    if (strncmp(event->type, "daybook.directory.", strlen("daybook.directory.")) == 0)
        directory_refresh();
}

static void note_head(struct consumer *c, int64_t seq)
{
    c->head_seq = MAX(c->head_seq, seq);
}

/* --- what is published --- */

enum heard { HEARD_MORE, HEARD_ENOUGH };

static enum heard missed(struct consumer *c, int64_t seq)
{
    note_head(c, seq);
    c->behind = true;
    return HEARD_ENOUGH;
}

static enum heard take_event(struct consumer *c, zmq_msg_t *frame, int64_t seq)
{
    ProtobufCMessage *m;
    struct wire_fault fault;

    if (seq <= c->batch.upto)
        return HEARD_MORE; /* a repetition */
    if (seq != c->batch.upto + 1)
        return missed(c, seq);
    enum err e = wire_unpack(&daybook__bus__v1__event__descriptor, zmq_msg_data(frame),
                             zmq_msg_size(frame), &wire_limits_internal, c->feed, &m, &fault);
    const PbEvent *event = (const PbEvent *)m;
    if (e || event->seq != seq)
        return missed(c, seq); /* broken on the way, or no room: the log has it */
    note_head(c, seq);
    append(c, event);
    return c->batch.n >= c->most ? HEARD_ENOUGH : HEARD_MORE;
}

static enum heard hear(struct consumer *c, struct bus_frames *f)
{
    struct bus_published p;

    if (!bus_frames_published(f, &p))
        return HEARD_MORE;
    c->silent_us = 0;
    if (c->deaf) { /* no longer: agree and say so */
        c->agreed = false;
        return HEARD_ENOUGH;
    }
    if (!c->cursor.has_log || !id_equal(p.log_id, c->cursor.log_id)) {
        c->agreed = false;
        return HEARD_ENOUGH;
    }
    if (p.is_head) {
        note_head(c, p.seq);
        return p.seq > c->batch.upto ? missed(c, p.seq) : HEARD_MORE;
    }
    return take_event(c, p.event, p.seq);
}

static bool wait_for_first(struct consumer *c, int64_t timeout_us)
{
    zmq_pollitem_t item = { .socket = c->sub, .events = ZMQ_POLLIN };
    int64_t until_us = clock_monotonic_us() + timeout_us, left_us = timeout_us;

    for (;; left_us = clock_left_us(until_us)) {
        (void)bus_peers_follow(c->sub_peers);
        int64_t wait_us = MIN(left_us, bus_peers_wait_us(c->sub_peers));
        int n = zmq_poll(&item, 1, (long)((wait_us + MSEC_US - 1) / MSEC_US));
        if (n > 0)
            return true;
        if (n < 0 || left_us <= wait_us)
            return false;
    }
}

void consumer_listen(struct consumer *c, int64_t timeout_us)
{
    enum heard heard = HEARD_MORE;
    size_t bytes = 0;
    struct bus_frames f;

    int64_t began_us = clock_monotonic_us();

    begin_batch(c);
    if (!wait_for_first(c, MAX(timeout_us, 0))) {
        c->silent_us += clock_monotonic_us() - began_us;
        return;
    }
    consumer_rest(c, c->rest_until_us - clock_monotonic_us()); /* more come meanwhile */
    while (heard == HEARD_MORE && bytes < BATCH_BYTES_MAX && bus_frames_receive(c->sub, &f)) {
        bytes += f.n ? zmq_msg_size(&f.frame[f.n - 1]) : 0;
        heard = hear(c, &f);
        bus_frames_close(&f);
    }
}

/* --- what is asked for --- */

/*
 * The bus itself is asked, so silence is not a slow service: it hangs, or the connection is one that only
 * we believe in (F26, F32). A new one harms neither.
 */
static void ask_anew(struct consumer *c)
{
    struct bus_client *bus = bus_client_new(c->env.zmq_context, c->env.bus);

    if (!bus)
        return;
    bus_client_free(c->bus);
    c->bus = bus;
}

static enum err ask(struct consumer *c, const char *method, const ProtobufCMessage *message,
                    void *answer_out)
{
    struct bus_answer answer = { 0 };

    enum err e = bus_client_call(c->bus,
                                 &(struct bus_request){ .service = EVENT_SERVICE,
                                                        .method = method,
                                                        .message = message,
                                                        .traceparent = trace_of_chores(),
                                                        .timeout_us = ASK_US },
                                 c->feed, &answer);
    if (e == ERR_DEADLINE_EXCEEDED && !answer.result)
        ask_anew(c);
    memcpy(answer_out, &answer.message, sizeof answer.message);
    return e;
}

enum err consumer_ask_head(struct consumer *c, struct id *log_id_out, int64_t *seq_out)
{
    Daybook__Bus__V1__GetHeadRequest request = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    const Daybook__Bus__V1__GetHeadResponse *head;

    begin_batch(c);
    request.omit_types = true; /* or the log could grow too long for its consumers to start */
    enum err e = ask(c, "GetHead", &request.base, &head);
    if (e)
        return e;
    if (!id_parse(head->log_id, log_id_out))
        return ERR_INTERNAL;
    *seq_out = head->head_seq;
    return ERR_OK;
}

enum err consumer_ask_event_id(struct consumer *c, int64_t seq, struct id *id_out)
{
    ReadRequest request = DAYBOOK__BUS__V1__READ_EVENTS_REQUEST__INIT;
    const ReadResponse *answer;

    begin_batch(c);
    request.after_seq = seq - 1;
    request.limit = 1;
    enum err e = ask(c, "ReadEvents", &request.base, &answer);
    if (e)
        return e;
    if (answer->n_events == 0 || answer->events[0]->seq != seq ||
        !id_parse(answer->events[0]->event_id, id_out))
        return ERR_NOT_FOUND;
    return ERR_OK;
}

static bool hears_everything(const struct consumer *c)
{
    return consumer_find_def(c, REACTION_EVERY_TYPE) != NULL;
}

static void fill_types(const struct consumer *c, ReadRequest *request, char *types[TYPES_MAX])
{
    if (c->def->nreactions > TYPES_MAX)
        return; /* then all are read */
    for (size_t i = 0; i < c->def->nreactions; i++)
        types[i] = pb_borrow(c->def->reactions[i].type);
    request->types = types;
    request->n_types = c->def->nreactions;
}

/* A piece that was asked for by types has holes by design; its end is that of its last event. */
static void take_some(struct consumer *c, const ReadResponse *answer)
{
    for (size_t i = 0; i < answer->n_events && c->batch.n < CONSUMER_BATCH_MAX; i++)
        if (answer->events[i]->seq > c->batch.upto)
            append(c, answer->events[i]);
    /* Nothing of ours up to there. The event at the head is then read by itself, since its id is
     * part of the cursor. */
    int64_t upto = MIN(answer->read_upto_seq, answer->head_seq - 1);
    if (answer->n_events == 0 && upto > c->batch.upto) {
        c->batch.upto = upto;
        c->batch.has_upto_event = false;
    }
}

static enum err take_all(struct consumer *c, const ReadResponse *answer)
{
    for (size_t i = 0; i < answer->n_events && c->batch.n < CONSUMER_BATCH_MAX; i++) {
        const PbEvent *event = answer->events[i];
        if (event->seq <= c->batch.upto)
            continue;
        if (event->seq != c->batch.upto + 1) {
            if (c->batch.n == 0)
                consumer_halt(c, CONSUMER_LOG_TRUNCATED,
                              "the log no longer has what follows our cursor: rebuild",
                              c->cursor.log_id);
            return ERR_OK; /* what follows the hole is not taken */
        }
        append(c, event);
    }
    if (c->batch.upto >= answer->head_seq)
        c->behind = false;
    else if (answer->n_events == 0)
        return ERR_UNAVAILABLE; /* says there is more, and gives nothing */
    return ERR_OK;
}

/* An answer too large for the way or the arena: ask for less. */
static enum err ask_for_less(struct consumer *c, enum err e)
{
    if (e == ERR_OK)
        c->read_limit = MIN(c->read_limit * 2, CONSUMER_BATCH_MAX);
    else if (e == ERR_RESOURCE_EXHAUSTED || e == ERR_INTERNAL || e == ERR_DEADLINE_EXCEEDED)
        c->read_limit = MAX(c->read_limit / 4, 1);
    return e;
}

enum err consumer_read(struct consumer *c)
{
    ReadRequest request = DAYBOOK__BUS__V1__READ_EVENTS_REQUEST__INIT;
    char *types[TYPES_MAX];
    const ReadResponse *answer;
    struct id log_id;

    begin_batch(c);
    request.after_seq = c->pos;
    request.limit = MIN(c->read_limit, (int32_t)c->most);
    bool some = c->head_seq - c->pos > FAR_BEHIND && !hears_everything(c);
    if (some)
        fill_types(c, &request, types);
    enum err e = ask_for_less(c, ask(c, "ReadEvents", &request.base, &answer));
    if (e)
        return e;
    if (!id_parse(answer->log_id, &log_id))
        return ERR_INTERNAL;
    if (!c->cursor.has_log || !id_equal(log_id, c->cursor.log_id)) {
        c->agreed = false;
        return ERR_OK;
    }
    note_head(c, answer->head_seq);
    if (!some)
        return take_all(c, answer);
    take_some(c, answer);
    return ERR_OK;
}
