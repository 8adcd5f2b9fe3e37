/*
 * schedule.c - one pool of slots, three views of it: a binary heap of those not yet due, a FIFO by
 * tenant of the ready ones, and a hash of all.
 */
#include "services/reminders/schedule.h"

#include <assert.h>

#define NONE UINT32_MAX
#define TENANT_QUANTUM 64 /* taken of one tenant before the next has its turn */
/* Tenants with ready timers at one time; past it they share one queue. */
#define TENANT_SLOTS 4096

struct slot {
    struct timer timer;
    uint32_t next_hash; /* in the bucket; in the free list when unused */
    uint32_t next_ready;
};

struct queue {
    struct id tenant;
    uint32_t head, tail;
    uint32_t next_queue; /* in the ring of queues with something in them */
    bool used;
};

struct schedule {
    size_t max;
    struct slot *slots;
    uint32_t free_slot; /* list of those that were used before */
    size_t touched;     /* slots from here on were never used: their memory is not there yet */
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint32_t *heap;
    size_t heap_size;
    size_t size;
    size_t ready;
    struct queue *queues; /* open addressing by tenant */
    uint32_t ring_head, ring_tail;
    size_t queues_used;
};

/* --- life ------------------------------------------------------------------------------------ */

static void forget_all(struct schedule *s)
{
    s->free_slot = NONE;
    s->touched = 0;
    for (size_t i = 0; i <= s->bucket_mask; i++)
        s->buckets[i] = NONE;
    s->heap_size = s->size = s->ready = s->queues_used = 0;
    s->ring_head = s->ring_tail = NONE;
    memset(s->queues, 0, TENANT_SLOTS * sizeof(*s->queues));
}

struct schedule *schedule_new(size_t max)
{
    struct schedule *s = calloc(1, sizeof(*s));
    uint32_t nbuckets = 64;

    if (!s)
        return NULL;
    assert(max > 0 && max < NONE / 2);
    while (nbuckets < max)
        nbuckets *= 2;
    s->max = max;
    s->bucket_mask = nbuckets - 1;
    s->slots = calloc(max, sizeof(*s->slots));
    s->heap = calloc(max, sizeof(*s->heap));
    s->buckets = calloc(nbuckets, sizeof(*s->buckets));
    s->queues = calloc(TENANT_SLOTS, sizeof(*s->queues));
    if (!s->slots || !s->heap || !s->buckets || !s->queues) {
        schedule_free(s);
        return NULL;
    }
    forget_all(s);
    return s;
}

void schedule_free(struct schedule *s)
{
    if (!s)
        return;
    free(s->slots);
    free(s->heap);
    free(s->buckets);
    free(s->queues);
    free(s);
}

size_t schedule_size(const struct schedule *s)
{
    return s->size;
}

size_t schedule_room(const struct schedule *s)
{
    return s->max - s->size;
}

size_t schedule_ready(const struct schedule *s)
{
    return s->ready;
}

int64_t schedule_next_us(const struct schedule *s)
{
    return s->heap_size ? s->slots[s->heap[0]].timer.due_us : INT64_MAX;
}

/* --- hash of all ----------------------------------------------------------------------------- */

static uint32_t *bucket_of(struct schedule *s, const struct timer *t)
{
    uint64_t h = id_hash(t->obligation) ^ (uint64_t)t->due_us * UINT64_C(0x9e3779b97f4a7c15);
    return &s->buckets[(h ^ h >> 32) & s->bucket_mask];
}

static bool is_same(const struct timer *a, const struct timer *b)
{
    return a->due_us == b->due_us && a->step == b->step && id_equal(a->obligation, b->obligation) &&
           id_equal(a->tenant, b->tenant);
}

static bool is_held(struct schedule *s, const struct timer *t)
{
    for (uint32_t i = *bucket_of(s, t); i != NONE; i = s->slots[i].next_hash)
        if (is_same(&s->slots[i].timer, t))
            return true;
    return false;
}

static uint32_t take_slot(struct schedule *s)
{
    uint32_t slot = s->free_slot;

    if (slot != NONE)
        s->free_slot = s->slots[slot].next_hash;
    else if (s->touched < s->max)
        slot = (uint32_t)s->touched++;
    return slot;
}

static void release_slot(struct schedule *s, uint32_t slot)
{
    uint32_t *at = bucket_of(s, &s->slots[slot].timer);

    while (*at != slot) {
        assert(*at != NONE);
        at = &s->slots[*at].next_hash;
    }
    *at = s->slots[slot].next_hash;
    s->slots[slot].next_hash = s->free_slot;
    s->free_slot = slot;
    s->size--;
}

/* --- heap ------------------------------------------------------------------------------------ */

/* Ties by id, so that the order of firing does not depend on the order of reading. */
static bool is_before(const struct schedule *s, uint32_t a, uint32_t b)
{
    const struct timer *x = &s->slots[a].timer, *y = &s->slots[b].timer;
    return x->due_us != y->due_us ? x->due_us < y->due_us
                                  : id_compare(x->obligation, y->obligation) < 0;
}

static void sift_up(struct schedule *s, size_t i)
{
    uint32_t slot = s->heap[i];

    while (i > 0 && is_before(s, slot, s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = slot;
}

static void sift_down(struct schedule *s, size_t i)
{
    uint32_t slot = s->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_size)
            break;
        if (child + 1 < s->heap_size && is_before(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (!is_before(s, s->heap[child], slot))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = slot;
}

bool schedule_put(struct schedule *s, const struct timer *t)
{
    if (is_held(s, t))
        return true;
    uint32_t slot = take_slot(s);
    if (slot == NONE)
        return false;
    s->slots[slot].timer = *t;
    uint32_t *bucket = bucket_of(s, t);
    s->slots[slot].next_hash = *bucket;
    *bucket = slot;
    s->size++;
    s->heap[s->heap_size] = slot;
    sift_up(s, s->heap_size++);
    return true;
}

/* --- ready queues ---------------------------------------------------------------------------- */

static uint32_t queue_of(struct schedule *s, struct id tenant)
{
    uint32_t i = (uint32_t)(id_hash(tenant) % TENANT_SLOTS);

    /* The table is emptied whenever no timer is ready, so it holds the tenants of one rush. */
    for (size_t probes = 0; probes < TENANT_SLOTS; probes++, i = (i + 1) % TENANT_SLOTS) {
        struct queue *q = &s->queues[i];
        if (q->used && id_equal(q->tenant, tenant))
            return i;
        if (!q->used && s->queues_used < TENANT_SLOTS - 1) {
            *q = (struct queue){
                .tenant = tenant, .head = NONE, .tail = NONE, .next_queue = NONE, .used = true
            };
            s->queues_used++;
            return i;
        }
        if (!q->used)
            break;
    }
    return 0; /* more tenants than slots: they share a queue */
}

static void ring_append(struct schedule *s, uint32_t queue)
{
    s->queues[queue].next_queue = NONE;
    if (s->ring_tail == NONE)
        s->ring_head = queue;
    else
        s->queues[s->ring_tail].next_queue = queue;
    s->ring_tail = queue;
}

static void make_ready(struct schedule *s, uint32_t slot)
{
    uint32_t i = queue_of(s, s->slots[slot].timer.tenant);
    struct queue *q = &s->queues[i];

    s->slots[slot].next_ready = NONE;
    if (!q->used) /* the shared queue of an overfull table, used for the first time */
        *q = (struct queue){
            .tenant = s->slots[slot].timer.tenant, .head = NONE, .tail = NONE, .used = true
        };
    if (q->head == NONE) {
        q->head = slot;
        ring_append(s, i);
    } else {
        s->slots[q->tail].next_ready = slot;
    }
    q->tail = slot;
    s->ready++;
}

static void forget_tenants(struct schedule *s)
{
    if (s->ready || !s->queues_used)
        return;
    memset(s->queues, 0, TENANT_SLOTS * sizeof(*s->queues));
    s->queues_used = 0;
    s->ring_head = s->ring_tail = NONE;
}

size_t schedule_take(struct schedule *s, int64_t now_us, struct timer *out, size_t max)
{
    size_t n = 0;

    while (s->heap_size && s->slots[s->heap[0]].timer.due_us <= now_us) {
        uint32_t slot = s->heap[0];
        s->heap[0] = s->heap[--s->heap_size];
        if (s->heap_size)
            sift_down(s, 0);
        make_ready(s, slot);
    }
    while (n < max && s->ring_head != NONE) {
        uint32_t i = s->ring_head;
        struct queue *q = &s->queues[i];
        for (int taken = 0; taken < TENANT_QUANTUM && n < max && q->head != NONE; taken++) {
            uint32_t slot = q->head;
            q->head = s->slots[slot].next_ready;
            out[n++] = s->slots[slot].timer;
            release_slot(s, slot);
            s->ready--;
        }
        s->ring_head = q->next_queue;
        if (s->ring_head == NONE)
            s->ring_tail = NONE;
        if (q->head != NONE)
            ring_append(s, i);
    }
    forget_tenants(s);
    return n;
}

/* --- losing shards --------------------------------------------------------------------------- */

void schedule_keep(struct schedule *s, uint64_t shard_mask, int64_t from_us)
{
    struct timer *kept = calloc(s->size ? s->size : 1, sizeof(*kept));
    size_t n = 0;

    /* Rare, so it takes all out and puts back what stays; without memory everything is forgotten
     * and read again from the table. */
    for (size_t i = 0; kept && i < s->heap_size; i++)
        kept[n++] = s->slots[s->heap[i]].timer;
    for (uint32_t q = s->ring_head; kept && q != NONE; q = s->queues[q].next_queue)
        for (uint32_t i = s->queues[q].head; i != NONE; i = s->slots[i].next_ready)
            kept[n++] = s->slots[i].timer;
    forget_all(s);
    for (size_t i = 0; i < n; i++)
        if (shard_mask >> kept[i].shard & 1 && kept[i].due_us >= from_us &&
            !schedule_put(s, &kept[i]))
            break;
    free(kept);
}
