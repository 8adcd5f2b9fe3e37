/*
 * queue.c - lanes in rings of two levels, and a heap.
 */
#include "services/bus/queue.h"

/* What waits of one company, or of one of its clients; exists while there is any. */
struct queue_lane {
    struct hnode node;
    struct queue_lane *next, *prev; /* ring: the companies, or the clients of one */
    struct queue_lane *company;     /* of a client; NULL: it is a company's */
    struct queue_lane *turn;        /* of a company: the client whose turn is next */
    size_t clients;
    struct queue_item *head, *tail; /* of a client */
    size_t count, bytes;
    struct queue_owner owner; /* the key: all of it, or of a company's the first part */
};

#define COMPANY_KEY sizeof(struct id)
#define CLIENT_KEY sizeof(struct queue_owner)
_Static_assert(CLIENT_KEY == COMPANY_KEY + sizeof(void *), "a key has no holes");

bool queue_init(struct queue *q, size_t max_count, size_t max_bytes)
{
    *q = (struct queue){ .max_count = max_count, .max_bytes = max_bytes };
    return hmap_init(&q->lanes);
}

void queue_fini(struct queue *q)
{
    for (size_t i = 0; i < ARRAY_LEN(q->spare); i++)
        free(q->spare[i]);
    hmap_fini(&q->lanes);
    *q = (struct queue){ 0 };
}

/* --- lanes ---------------------------------------------------------------------------------- */

/* One company and one client at a time is the usual case: it allocates nothing. */
static struct queue_lane *lane_alloc(struct queue *q)
{
    for (size_t i = 0; i < ARRAY_LEN(q->spare); i++) {
        struct queue_lane *l = q->spare[i];
        q->spare[i] = NULL;
        if (l)
            return l;
    }
    return malloc(sizeof(struct queue_lane));
}

static void lane_free(struct queue *q, struct queue_lane *l)
{
    for (size_t i = 0; i < ARRAY_LEN(q->spare); i++)
        if (!q->spare[i]) {
            q->spare[i] = l;
            return;
        }
    free(l);
}

static struct queue_lane *lane_find(const struct queue *q, const struct queue_owner *owner,
                                    size_t len)
{
    struct hnode *n = hmap_find(&q->lanes, owner, len);
    return n ? HMAP_OWNER(n, struct queue_lane, node) : NULL;
}

/* A new lane joins its ring just before whose turn it is: it waits for one full round. */
static void ring_join(struct queue_lane **turn, struct queue_lane *l)
{
    if (!*turn) {
        l->next = l->prev = *turn = l;
        return;
    }
    l->next = *turn;
    l->prev = (*turn)->prev;
    l->prev->next = l;
    l->next->prev = l;
}

static void ring_leave(struct queue_lane **turn, struct queue_lane *l)
{
    if (*turn == l)
        *turn = l->next == l ? NULL : l->next;
    l->prev->next = l->next;
    l->next->prev = l->prev;
}

static struct queue_lane *lane_make(struct queue *q, const struct queue_owner *owner, size_t len,
                                    struct queue_lane *company)
{
    struct queue_lane *l = lane_alloc(q);
    if (!l)
        return NULL;
    *l = (struct queue_lane){ .company = company, .owner = *owner };
    hmap_insert(&q->lanes, &l->node, &l->owner, len);
    ring_join(company ? &company->turn : &q->turn, l);
    ++*(company ? &company->clients : &q->companies);
    return l;
}

static void lane_drop(struct queue *q, struct queue_lane *l)
{
    ring_leave(l->company ? &l->company->turn : &q->turn, l);
    --*(l->company ? &l->company->clients : &q->companies);
    hmap_remove(&q->lanes, &l->node);
    lane_free(q, l);
}

/* Of a client; made when it is new. NULL: out of memory. */
static struct queue_lane *lane_of(struct queue *q, const struct queue_owner *owner)
{
    struct queue_lane *l = lane_find(q, owner, CLIENT_KEY);
    if (l)
        return l;
    struct queue_lane *company = lane_find(q, owner, COMPANY_KEY);
    if (!company)
        company = lane_make(q, owner, COMPANY_KEY, NULL);
    l = company ? lane_make(q, owner, CLIENT_KEY, company) : NULL;
    if (!l && company && company->clients == 0)
        lane_drop(q, company);
    return l;
}

/* --- items ---------------------------------------------------------------------------------- */

/* A company may have as much as is free: one alone half of the queue, the second of two a third. */
static bool has_room(const struct queue *q, const struct queue_owner *owner, size_t bytes)
{
    const struct queue_lane *company = lane_find(q, owner, COMPANY_KEY);
    size_t count = company ? company->count : 0, held = company ? company->bytes : 0;
    return q->count < q->max_count && count <= q->max_count - q->count - 1 &&
           q->bytes <= q->max_bytes && bytes <= q->max_bytes - q->bytes &&
           held <= q->max_bytes - q->bytes - bytes;
}

static void entered(struct queue *q, struct queue_item *item)
{
    struct queue_lane *client = item->lane, *company = client->company;
    client->count++;
    company->count++;
    company->bytes += item->bytes;
    q->count++;
    q->bytes += item->bytes;
}

enum err queue_push(struct queue *q, struct queue_item *item, size_t bytes,
                    const struct queue_owner *owner)
{
    struct queue_lane *l = has_room(q, owner, bytes) ? lane_of(q, owner) : NULL;
    if (!l)
        return ERR_RESOURCE_EXHAUSTED;
    *item = (struct queue_item){ .lane = l, .prev = l->tail, .bytes = bytes };
    if (l->tail)
        l->tail->next = item;
    else
        l->head = item;
    l->tail = item;
    entered(q, item);
    return ERR_OK;
}

/* Before each of one's own, and before the new one, one of each other in the ring is taken. */
static size_t with_others(size_t own, size_t others)
{
    return own + (own + 1) * others;
}

size_t queue_before(const struct queue *q, const struct queue_owner *owner)
{
    const struct queue_lane *client = lane_find(q, owner, CLIENT_KEY);
    const struct queue_lane *company = lane_find(q, owner, COMPANY_KEY);
    size_t n = client ? client->count : 0;
    if (company)
        n = MIN(company->count, with_others(n, company->clients - (client ? 1 : 0)));
    return MIN(q->count, with_others(n, q->companies - (company ? 1 : 0)));
}

void queue_remove(struct queue *q, struct queue_item *item)
{
    struct queue_lane *l = item->lane;
    if (!l)
        return;
    struct queue_lane *company = l->company;
    if (item->prev)
        item->prev->next = item->next;
    else
        l->head = item->next;
    if (item->next)
        item->next->prev = item->prev;
    else
        l->tail = item->prev;
    l->count--;
    company->count--;
    company->bytes -= item->bytes;
    q->count--;
    q->bytes -= item->bytes;
    item->next = item->prev = NULL;
    item->lane = NULL;
    if (!l->head)
        lane_drop(q, l);
    if (company->clients == 0)
        lane_drop(q, company);
}

struct queue_item *queue_pop(struct queue *q)
{
    struct queue_lane *company = q->turn;
    if (!company)
        return NULL;
    struct queue_lane *client = company->turn;
    struct queue_item *item = client->head;
    /* before removal, which may drop the lanes and then sees to the turns */
    q->turn = company->next;
    company->turn = client->next;
    queue_remove(q, item);
    return item;
}

enum err queue_unpop(struct queue *q, struct queue_item *item, const struct queue_owner *owner)
{
    struct queue_lane *l = lane_of(q, owner);
    if (!l)
        return ERR_RESOURCE_EXHAUSTED;
    *item = (struct queue_item){ .lane = l, .next = l->head, .bytes = item->bytes };
    if (l->head)
        l->head->prev = item;
    else
        l->tail = item;
    l->head = item;
    l->company->turn = l;
    q->turn = l->company;
    entered(q, item);
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
