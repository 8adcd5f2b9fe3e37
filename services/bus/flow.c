/* flow.c - see flow.h. */
#include "services/bus/flow.h"

#include <stdatomic.h>

#define SMALL_FRAME 1024 /* below, what the count would cost is more than it is worth */
#define KEY_MAX (256 + sizeof(struct id))

/* --- meters --------------------------------------------------------------------------------- */

struct meter {
    struct meter *total;
    atomic_size_t bytes;
    atomic_int shares;
};

/* A frame under way; its content is the original's. */
struct metered {
    struct meter *meter;
    zmq_msg_t original;
    size_t len;
};

struct meter *meter_new(struct meter *total)
{
    struct meter *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->total = total;
    atomic_init(&m->shares, 1);
    if (total)
        atomic_fetch_add(&total->shares, 1);
    return m;
}

void meter_release(struct meter *m)
{
    if (!m || atomic_fetch_sub(&m->shares, 1) > 1)
        return;
    meter_release(m->total);
    free(m);
}

size_t meter_bytes(const struct meter *m)
{
    return atomic_load(&m->bytes);
}

static void count(struct meter *m, size_t len)
{
    for (; m; m = m->total)
        atomic_fetch_add(&m->bytes, len);
}

static void count_back(struct meter *m, size_t len)
{
    for (; m; m = m->total)
        atomic_fetch_sub(&m->bytes, len);
}

/* In whatever thread lets go of the frame last. */
static void on_sent(void *data, void *hint)
{
    struct metered *f = hint;
    (void)data;
    count_back(f->meter, f->len);
    meter_release(f->meter);
    zmq_msg_close(&f->original);
    free(f);
}

void meter_frame(struct meter *m, zmq_msg_t *frame)
{
    size_t len = zmq_msg_size(frame);
    struct metered *f = len >= SMALL_FRAME ? malloc(sizeof(*f)) : NULL;
    if (!f)
        return;
    *f = (struct metered){ .meter = m, .len = len };
    zmq_msg_init(&f->original);
    zmq_msg_move(&f->original, frame);
    if (zmq_msg_init_data(frame, zmq_msg_data(&f->original), len, on_sent, f) != 0) {
        zmq_msg_init(frame);
        zmq_msg_move(frame, &f->original);
        free(f);
        return;
    }
    atomic_fetch_add(&m->shares, 1);
    count(m, len);
}

/* --- flows ---------------------------------------------------------------------------------- */

bool flows_init(struct flows *f)
{
    *f = (struct flows){ .unread = meter_new(NULL) };
    return hmap_init(&f->map) && f->unread;
}

static void flow_free(struct flows *f, struct flow *flow)
{
    hmap_remove(&f->map, &flow->node);
    meter_release(flow->unread);
    free(flow);
}

void flows_fini(struct flows *f)
{
    for (struct hnode *n; f->map.count > 0 && (n = hmap_next(&f->map, NULL));)
        flow_free(f, HMAP_OWNER(n, struct flow, node));
    hmap_fini(&f->map);
    meter_release(f->unread);
}

static size_t key_of(const struct identity *who, const char *user, zmq_msg_t *id, struct id tenant,
                     uint8_t key[static KEY_MAX])
{
    bool by_key = who->kind == IDENTITY_ACTOR && user;
    const void *name = by_key ? user : zmq_msg_data(id);
    size_t len = by_key ? strlen(user) : zmq_msg_size(id);
    len = MIN(len, KEY_MAX - sizeof(tenant.b));
    memcpy(key, name, len);
    memcpy(key + len, tenant.b, sizeof(tenant.b));
    return len + sizeof(tenant.b);
}

struct flow *flows_get(struct flows *f, const struct identity *who, const char *user, zmq_msg_t *id,
                       struct id tenant)
{
    uint8_t key[KEY_MAX];
    size_t len = key_of(who, user, id, tenant, key);
    struct hnode *n = hmap_find(&f->map, key, len);
    if (n)
        return HMAP_OWNER(n, struct flow, node);
    struct flow *flow = calloc(1, sizeof(*flow) + len);
    if (flow)
        flow->unread = meter_new(f->unread);
    if (!flow || !flow->unread) {
        free(flow);
        return NULL;
    }
    flow->key_len = len;
    memcpy(flow->key, key, len);
    hmap_insert(&f->map, &flow->node, flow->key, len);
    return flow;
}

void flows_tidy(struct flows *f)
{
    for (struct hnode *next, *n = hmap_next(&f->map, NULL); n; n = next) {
        struct flow *flow = HMAP_OWNER(n, struct flow, node);
        next = hmap_next(&f->map, n);
        if (flow->inflight == 0 && meter_bytes(flow->unread) == 0)
            flow_free(f, flow);
    }
}
