/*
 * webhook_queue_internal.h - what the files of the queue share:
 *
 *   webhook_queue.c  endpoints, what is to be read of them, what was
 *   webhook_feed.c   a feed's window and what is held
 *   webhook_pick.c   what is posted next, and what became of it
 *
 * Nobody else includes it.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_QUEUE_INTERNAL_H
#define DAYBOOK_GATEWAY_WEBHOOK_QUEUE_INTERNAL_H

#include "services/gateway/webhooks/webhook_queue.h"

#define NEVER INT64_MAX
#define BUCKETS 4096

/* A row that failed and is not in the window. */
struct held {
    int64_t key, seq;
    int64_t until_us;  /* wall: its next try */
    int64_t blocks_us; /* wall: till then later rows of its key wait too; 0: they do not */
};

struct webhook_feed {
    struct webhook_endpoint *endpoint;
    int lane;
    bool more;          /* the table may have rows after `after` */
    bool looks_back;    /* has to, this minute */
    int64_t after;      /* seq */
    int64_t seen;       /* up to here what is not due has been read before */
    bool stalled;       /* too many are held */
    int64_t passed_us;  /* wall: the last of those that were passed over is due; 0: none were */
    int64_t soonest_us; /* of what is held */
    struct webhook_row *first;
    size_t nrows;
    size_t nheld, held_cap;
    struct held *held;
};

/* Posts of a company that are under way. */
struct company {
    struct id tenant;
    unsigned n;
};

struct webhook_queue {
    struct webhook_endpoint *first;
    struct webhook_endpoint *turn;      /* where the next pick begins */
    struct webhook_endpoint *read_turn; /* where the next reading does */
    uint32_t lanes;
    size_t under_way, rows, bytes;
    size_t ncompanies;
    struct company companies[QUEUE_SLOTS]; /* those with posts */
    int64_t soonest_us;                    /* of all feeds */
    int64_t look_back_us;                  /* monotonic: when all feeds look back */
    bool looking;                          /* some have not yet */
    struct webhook_endpoint *buckets[BUCKETS];
};

/* --- webhook_feed.c --------------------------------------------------------------------------- */

void row_free(struct webhook_queue *q, struct webhook_row *row);
void row_unlink(struct webhook_feed *f, const struct webhook_row *row);
/* False: no memory. */
bool feed_take(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
               struct webhook_now now);
/* Forgets rows that wait; NULL key: all of them, else later ones of that key. The lowest seq of them,
 * NEVER: none. */
int64_t feed_drop_waiting(struct webhook_queue *q, struct webhook_feed *f, const int64_t *key,
                          int64_t after);
/* A row that is not in the window waits for its next try, and for an hour those of its key with it. */
void feed_hold(struct webhook_queue *q, struct webhook_feed *f, const struct webhook_row *row,
               int64_t next_us, int64_t first_failed_us, int64_t wall_us);
void feed_release_due(struct webhook_queue *q, struct webhook_feed *f, int64_t wall_us);
/* Nothing is held any more; all is read from the beginning. */
void feed_release_all(struct webhook_queue *q, struct webhook_feed *f);
/* It goes on from that row. */
void feed_read_from(struct webhook_feed *f, int64_t seq);
/* That row is due, and nothing older of its key is. */
void feed_found(struct webhook_queue *q, struct webhook_feed *f, int64_t key, int64_t seq,
                int64_t wall_us);
void feed_free(struct webhook_queue *q, struct webhook_feed *f);
/* The endpoint's, made at need. NULL: no memory. */
struct webhook_feed *feed_of(struct webhook_endpoint *e, int lane);

/* --- webhook_queue.c -------------------------------------------------------------------------- */

bool endpoint_is_failing(const struct webhook_endpoint *e);
/* All of it is read from the beginning; also_held: what was held too. */
void endpoint_read_anew(struct webhook_queue *q, struct webhook_endpoint *e, bool also_held);

#endif
