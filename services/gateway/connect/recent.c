/*
 * recent.c - see recent.h. A ring by seq, bounded in events and in bytes; the oldest go first.
 */
#include "services/gateway/connect/recent.h"

#include <zmq.h>

#include "common/bus_frames.h"
#include "common/bus_peers.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/protojson.h"
#include "common/sbuf.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define EVENTS_MAX 8192 /* a power of two */
#define BYTES_MAX (24 * MIB)
#define BURST 512
#define GAP_US (50 * MSEC_US)
#define SILENT_US (3 * SECOND_US) /* heads come each second */
#define TYPE_MAX 255
#define TAG_EVENT 0x0a /* field 1 of StreamEventsResponse, length-delimited */
#define JSON_MAX (16 * MIB)
#define ARENA (64 * MIB)

struct slot {
    struct recent_event event;
    char *block; /* response and type; freed with the event */
    char *json;
    size_t bytes;
};

struct recent {
    void *socket;
    struct bus_peers *peers;
    int fd;
    bool heard; /* log id and head are known */
    bool more;
    int64_t heard_us; /* monotonic, the last message of the log */
    int64_t gap_us;   /* since when the head is ahead of what was published; 0: it is not */
    struct id log_id;
    int64_t head;        /* newest seq of the log that was heard of */
    int64_t first, next; /* held: [first, next) */
    size_t bytes;
    struct slot slots[EVENTS_MAX];
};

/* --- life --------------------------------------------------------------------------------------- */

struct recent *recent_new(void *zmq_context, const struct bus_address *address)
{
    struct recent *r = calloc(1, sizeof(*r));
    size_t size = sizeof(r->fd);

    if (!r)
        return NULL;
    r->socket = zmq_socket(zmq_context, ZMQ_SUB);
    if (r->socket && bus_socket_prepare(r->socket, address) &&
        zmq_setsockopt(r->socket, ZMQ_SUBSCRIBE, "", 0) == 0)
        r->peers = bus_peers_new(r->socket, address->events);
    if (r->peers && zmq_getsockopt(r->socket, ZMQ_FD, &r->fd, &size) == 0)
        return r;
    recent_free(r);
    return NULL;
}

static struct slot *slot_of(struct recent *r, int64_t seq)
{
    return &r->slots[seq & (EVENTS_MAX - 1)];
}

static void drop_first(struct recent *r)
{
    struct slot *s = slot_of(r, r->first++);

    r->bytes -= s->bytes;
    free(s->block);
    free(s->json);
    *s = (struct slot){ 0 };
}

static void begin_anew(struct recent *r, int64_t next)
{
    while (r->first < r->next)
        drop_first(r);
    r->first = r->next = next;
}

void recent_free(struct recent *r)
{
    if (!r)
        return;
    begin_anew(r, 0);
    if (r->socket)
        zmq_close(r->socket);
    bus_peers_free(r->peers);
    free(r);
}

int recent_fd(const struct recent *r)
{
    return r->fd;
}

/* --- hearing ------------------------------------------------------------------------------------ */

/* "<tenant>/<type>" */
static bool read_topic(zmq_msg_t *frame, struct id *tenant_out, char type[static TYPE_MAX + 1])
{
    char tenant[ID_TEXT_MAX];
    const char *topic = zmq_msg_data(frame);
    size_t len = zmq_msg_size(frame), id_len = sizeof(tenant) - 1;

    if (len <= id_len + 1 || topic[id_len] != '/' || len - id_len - 1 > TYPE_MAX)
        return false;
    memcpy(tenant, topic, id_len);
    tenant[id_len] = '\0';
    memcpy(type, topic + id_len + 1, len - id_len - 1);
    type[len - id_len - 1] = '\0';
    return id_parse(tenant, tenant_out);
}

/* False: no memory. */
static bool fill(struct slot *s, int64_t seq, struct id tenant, const char *type, zmq_msg_t *packed)
{
    size_t len = zmq_msg_size(packed), type_size = strlen(type) + 1;
    uint8_t head[16] = { TAG_EVENT };
    size_t head_len = 1 + wire_put_varint(head + 1, len);

    s->bytes = head_len + len + type_size;
    s->block = malloc(s->bytes);
    if (!s->block)
        return false;
    memcpy(s->block, head, head_len);
    memcpy(s->block + head_len, zmq_msg_data(packed), len);
    memcpy(s->block + head_len + len, type, type_size);
    s->event = (struct recent_event){ .tenant = tenant,
                                      .type = s->block + head_len + len,
                                      .seq = seq,
                                      .response = s->block,
                                      .len = head_len + len };
    return true;
}

static void put(struct recent *r, int64_t seq, zmq_msg_t *topic, zmq_msg_t *packed)
{
    char type[TYPE_MAX + 1];
    struct id tenant;

    if (seq < r->next)
        return; /* by the other bus, or again */
    if (seq > r->next)
        begin_anew(r, seq);
    while (r->first < r->next &&
           (r->next - r->first >= EVENTS_MAX || r->bytes + zmq_msg_size(packed) > BYTES_MAX))
        drop_first(r);
    struct slot *s = slot_of(r, seq);
    if (!read_topic(topic, &tenant, type) || !fill(s, seq, tenant, type, packed)) {
        *s = (struct slot){ 0 };
        begin_anew(r, seq + 1); /* streams read it from the log */
        return;
    }
    r->bytes += s->bytes;
    r->next = seq + 1;
}

static void note_log(struct recent *r, const struct bus_published *p)
{
    if (!r->heard || !id_equal(p->log_id, r->log_id)) {
        r->log_id = p->log_id;
        r->head = p->seq;
        r->heard = true;
        begin_anew(r, p->is_head ? p->seq + 1 : p->seq);
    }
    r->head = MAX(r->head, p->seq);
}

/* What was moved and not published stands in the log. With two buses a head may be heard before the
 * events. */
static void judge_gap(struct recent *r, int64_t now_us)
{
    if (!r->heard || r->head < r->next) {
        r->gap_us = 0;
    } else if (!r->gap_us) {
        r->gap_us = now_us;
    } else if (now_us - r->gap_us >= GAP_US) {
        begin_anew(r, r->head + 1);
        r->gap_us = 0;
    }
}

static void take(struct recent *r, struct bus_frames *f)
{
    struct bus_published p;

    if (!bus_frames_published(f, &p))
        return;
    r->heard_us = clock_monotonic_us();
    note_log(r, &p);
    if (!p.is_head)
        put(r, p.seq, p.topic, p.event);
}

bool recent_run(struct recent *r)
{
    struct bus_frames f;
    int n = 0;
    int64_t first = r->first, next = r->next, head = r->head;

    (void)bus_peers_follow(r->peers);
    for (; n < BURST && bus_frames_receive(r->socket, &f); n++) {
        take(r, &f);
        bus_frames_close(&f);
    }
    r->more = n == BURST;
    judge_gap(r, clock_monotonic_us());
    return r->first != first || r->next != next || r->head != head;
}

bool recent_is_live(const struct recent *r)
{
    return r->heard && clock_monotonic_us() - r->heard_us < SILENT_US;
}

int64_t recent_wait_us(const struct recent *r)
{
    return r->more ? 0 : bus_peers_wait_us(r->peers);
}

/* --- reading ------------------------------------------------------------------------------------ */

bool recent_head(const struct recent *r, struct id *log_id_out, int64_t *seq_out)
{
    *log_id_out = r->log_id;
    *seq_out = r->head;
    return r->heard;
}

int64_t recent_first(const struct recent *r)
{
    return r->first;
}

const struct recent_event *recent_get(struct recent *r, int64_t seq)
{
    return seq >= r->first && seq < r->next ? &slot_of(r, seq)->event : NULL;
}

static enum err make_json(const struct recent_event *e, char **json_out)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(ARENA);
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    CLEANUP(sbuf_fini) struct sbuf b = { 0 };

    if (!a)
        return ERR_RESOURCE_EXHAUSTED;
    enum err err = wire_unpack(&daybook__bus__v1__stream_events_response__descriptor, e->response,
                               e->len, &wire_limits_internal, a, &m, &fault);
    if (err)
        return err;
    sbuf_init(&b, JSON_MAX);
    err = protojson_write(m, 0, &b);
    if (err)
        return err;
    *json_out = sbuf_take(&b);
    return *json_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err recent_json(struct recent *r, int64_t seq, const char **json_out, size_t *len_out)
{
    struct slot *s = seq >= r->first && seq < r->next ? slot_of(r, seq) : NULL;

    if (!s)
        return ERR_OUT_OF_RANGE;
    if (!s->json) {
        enum err e = make_json(&s->event, &s->json);
        if (e)
            return e;
        s->event.json = s->json;
        s->event.json_len = strlen(s->json);
        s->bytes += s->event.json_len;
        r->bytes += s->event.json_len;
    }
    *json_out = s->json;
    *len_out = s->event.json_len;
    return ERR_OK;
}
