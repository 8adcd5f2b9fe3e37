/*
 * queue.h - what waits: the queue of one service, and the deadlines of everything.
 *
 * A queue is bounded in count and bytes. Companies take turns in it, the clients of a company take
 * turns in what is the company's, and each client is served in the order of its requests: who asks a
 * thousand times, by however many keys, delays another company by one request, not a thousand (F52).
 * No company can fill it either: it may hold as much as it leaves to others. Items leave from anywhere in O(1)
 * (their deadline passed, or they were taken).
 *
 * The deadlines are a binary heap; an item knows its place, so expiry never scans a queue.
 *
 * Intrusive and without I/O; one thread.
 */
#ifndef DAYBOOK_BUS_QUEUE_H
#define DAYBOOK_BUS_QUEUE_H

#include "common/err.h"
#include "common/id.h"
#include "services/bus/hmap.h"

struct queue_lane;

/* Whose an item is. */
struct queue_owner {
    struct id company;
    const void *client; /* its address stands for it; not looked into */
};

struct queue_item {
    struct queue_item *next, *prev; /* in its client's lane */
    struct queue_lane *lane;        /* NULL: not queued */
    size_t bytes;
};

struct queue {
    struct hmap lanes;
    struct queue_lane *turn; /* the company whose turn is next, in a ring; NULL: empty */
    size_t companies;
    struct queue_lane *spare[2];
    size_t count, bytes;
    size_t max_count, max_bytes;
};

NODISCARD bool queue_init(struct queue *q, size_t max_count, size_t max_bytes);
void queue_fini(struct queue *q); /* must be empty */

/* ERR_RESOURCE_EXHAUSTED: full, the company's part is, or out of memory. */
NODISCARD enum err queue_push(struct queue *q, struct queue_item *item, size_t bytes,
                              const struct queue_owner *owner);
/* How many will be taken before an item that this owner would push now, if nobody else comes. */
size_t queue_before(const struct queue *q, const struct queue_owner *owner);
/* The next item by turn, taken out; NULL when empty. */
struct queue_item *queue_pop(struct queue *q);
/* Puts an item that was popped last back to the front of its client's lane; bounds do not apply. */
NODISCARD enum err queue_unpop(struct queue *q, struct queue_item *item,
                               const struct queue_owner *owner);
void queue_remove(struct queue *q, struct queue_item *item);

/* --- deadlines ------------------------------------------------------------------------------ */

struct deadline {
    int64_t at_us;
    size_t place; /* private: 1-based index into the heap, 0 = not in it */
};

struct deadlines {
    struct deadline **heap;
    size_t count, cap;
};

void deadlines_init(struct deadlines *d);
void deadlines_fini(struct deadlines *d);
/* False: out of memory. Adds, or moves when it is in already. */
NODISCARD bool deadlines_set(struct deadlines *d, struct deadline *e, int64_t at_us);
void deadlines_clear(struct deadlines *d, struct deadline *e); /* no harm when it is not in */
/* The earliest, which stays in; NULL when there is none. */
struct deadline *deadlines_first(const struct deadlines *d);

#endif
