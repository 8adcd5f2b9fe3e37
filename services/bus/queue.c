/*
 * queue.c - lanes in a ring, and a heap.
 */
#include "services/bus/queue.h"

/* The waiting requests of one client; exists while there are any. */
struct queue_lane {
    struct hnode node;
    struct queue_lane *next, *prev; /* ring */
    struct queue_item *head, *tail;
    size_t key_len;
    uint8_t key[QUEUE_CLIENT_KEY_MAX];
};

bool queue_init(struct queue *q, size_t max_count, size_t max_bytes)
{
    *q = (struct queue){ .max_count = max_count, .max_bytes = max_bytes };
    return hmap_init(&q->lanes);
}

void queue_fini(struct queue *q)
{
    free(q->spare);
    hmap_fini(&q->lanes);
    *q = (struct queue){ 0 };
}

bool queue_has_room(const struct queue *q, size_t bytes)
{
    return q->count < q->max_count && bytes <= q->max_bytes && q->bytes <= q->max_bytes - bytes;
}

/* A new lane joins the ring just before whose turn it is: it waits for one full round. */
static struct queue_lane *lane_make(struct queue *q, const void *key, size_t len)
{
    if (len == 0 || len > QUEUE_CLIENT_KEY_MAX)
        return NULL;
    struct queue_lane *l = q->spare ? q->spare : malloc(sizeof(*l));
    if (!l)
        return NULL;
    q->spare = NULL;
    *l = (struct queue_lane){ .key_len = len };
    memcpy(l->key, key, len);
    hmap_insert(&q->lanes, &l->node, l->key, len);
    if (!q->turn) {
        l->next = l->prev = l;
        q->turn = l;
        return l;
    }
    l->next = q->turn;
    l->prev = q->turn->prev;
    l->prev->next = l;
    l->next->prev = l;
    return l;
}

static struct queue_lane *lane_of(struct queue *q, const void *key, size_t len)
{
    struct hnode *n = hmap_find(&q->lanes, key, len);
    return n ? HMAP_OWNER(n, struct queue_lane, node) : lane_make(q, key, len);
}

static void lane_drop(struct queue *q, struct queue_lane *l)
{
    if (q->turn == l)
        q->turn = l->next == l ? NULL : l->next;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    hmap_remove(&q->lanes, &l->node);
    if (q->spare)
        free(l);
    else
        q->spare = l; /* one client at a time is the usual case */
}

enum err queue_push(struct queue *q, struct queue_item *item, size_t bytes, const void *client,
                    size_t client_len)
{
    struct queue_lane *l = queue_has_room(q, bytes) ? lane_of(q, client, client_len) : NULL;
    if (!l)
        return ERR_RESOURCE_EXHAUSTED;
    *item = (struct queue_item){ .lane = l, .prev = l->tail, .bytes = bytes };
    if (l->tail)
        l->tail->next = item;
    else
        l->head = item;
    l->tail = item;
    q->count++;
    q->bytes += bytes;
    return ERR_OK;
}

void queue_remove(struct queue *q, struct queue_item *item)
{
    struct queue_lane *l = item->lane;
    if (!l)
        return;
    if (item->prev)
        item->prev->next = item->next;
    else
        l->head = item->next;
    if (item->next)
        item->next->prev = item->prev;
    else
        l->tail = item->prev;
    q->count--;
    q->bytes -= item->bytes;
    item->next = item->prev = NULL;
    item->lane = NULL;
    if (!l->head)
        lane_drop(q, l);
}

struct queue_item *queue_pop(struct queue *q)
{
    struct queue_lane *l = q->turn;
    if (!l)
        return NULL;
    struct queue_item *item = l->head;
    q->turn = l->next; /* before removal, which may drop the lane and then sees to the turn */
    queue_remove(q, item);
    return item;
}

enum err queue_unpop(struct queue *q, struct queue_item *item, const void *client,
                     size_t client_len)
{
    struct queue_lane *l = lane_of(q, client, client_len);
    if (!l)
        return ERR_RESOURCE_EXHAUSTED;
    *item = (struct queue_item){ .lane = l, .next = l->head, .bytes = item->bytes };
    if (l->head)
        l->head->prev = item;
    else
        l->tail = item;
    l->head = item;
    q->turn = l;
    q->count++;
    q->bytes += item->bytes;
    return ERR_OK;
}

/* --- deadlines ------------------------------------------------------------------------------ */

void deadlines_init(struct deadlines *d)
{
    *d = (struct deadlines){ 0 };
}

void deadlines_fini(struct deadlines *d)
{
    free(d->heap);
    *d = (struct deadlines){ 0 };
}

static void put(struct deadlines *d, size_t place, struct deadline *e)
{
    d->heap[place - 1] = e;
    e->place = place;
}

static struct deadline *at(const struct deadlines *d, size_t place)
{
    return d->heap[place - 1];
}

static void sift_up(struct deadlines *d, struct deadline *e, size_t place)
{
    for (; place > 1 && at(d, place / 2)->at_us > e->at_us; place /= 2)
        put(d, place, at(d, place / 2));
    put(d, place, e);
}

static void sift_down(struct deadlines *d, struct deadline *e, size_t place)
{
    for (size_t child; (child = place * 2) <= d->count; place = child) {
        if (child < d->count && at(d, child + 1)->at_us < at(d, child)->at_us)
            child++;
        if (at(d, child)->at_us >= e->at_us)
            break;
        put(d, place, at(d, child));
    }
    put(d, place, e);
}

static bool reserve(struct deadlines *d)
{
    if (d->count < d->cap)
        return true;
    size_t cap = d->cap ? d->cap * 2 : 256;
    struct deadline **heap = reallocarray(d->heap, cap, sizeof(*heap));
    if (!heap)
        return false;
    d->heap = heap;
    d->cap = cap;
    return true;
}

bool deadlines_set(struct deadlines *d, struct deadline *e, int64_t at_us)
{
    if (e->place == 0) {
        if (!reserve(d))
            return false;
        e->at_us = at_us;
        d->count++;
        sift_up(d, e, d->count);
        return true;
    }
    bool earlier = at_us < e->at_us;
    e->at_us = at_us;
    if (earlier)
        sift_up(d, e, e->place);
    else
        sift_down(d, e, e->place);
    return true;
}

void deadlines_clear(struct deadlines *d, struct deadline *e)
{
    size_t place = e->place;
    if (place == 0)
        return;
    struct deadline *last = at(d, d->count);
    d->count--;
    e->place = 0;
    if (last == e)
        return;
    if (last->at_us < e->at_us)
        sift_up(d, last, place);
    else
        sift_down(d, last, place);
}

struct deadline *deadlines_first(const struct deadlines *d)
{
    return d->count ? d->heap[0] : NULL;
}
