/*
 * webhook_store.h - the sender's statements: what waits, what endpoints are, what became of posts.
 *
 * All of a call is one transaction, company by company, in one or two round trips. One thread.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_STORE_H
#define DAYBOOK_GATEWAY_WEBHOOK_STORE_H

#include "services/gateway/webhooks/webhook_queue.h"

#define WEBHOOK_RESULT_TEXT 201

/* A post that is over, to be written down. */
struct webhook_result {
    struct id tenant, endpoint, event;
    int lane;
    int64_t version; /* of the lane's lease when it was posted */
    int64_t seq;
    struct webhook_fate fate;
    int status;
    char text[WEBHOOK_RESULT_TEXT];
    int64_t at_us, took_us;
};

struct webhook_store {
    struct db *db;
    struct arena *arena; /* emptied by each call */
    struct leases *leases;
    struct webhook_queue *queue;
};

/* Feeds of our lanes that have rows. */
NODISCARD enum err webhook_store_find(const struct webhook_store *s, uint32_t lanes);
/* What the queue does not know about endpoints; at most 256. */
NODISCARD enum err webhook_store_know(const struct webhook_store *s);
/* What is due where feeds look back, at most 64 of them. */
NODISCARD enum err webhook_store_look_back(const struct webhook_store *s, struct webhook_now now);
/* Rows that the queue wants. rows_out: how many there were. more_out: it wanted some, be there none,
 * and may want others, of feeds that were not asked this time. */
NODISCARD enum err webhook_store_read(const struct webhook_store *s, struct webhook_now now,
                                      size_t *rows_out, bool *more_out);
/* Under the leases that their lanes had when they were posted: ERR_CANCELED when one was lost, be it
 * ours again. emitted_out: events were. */
NODISCARD enum err webhook_store_settle(const struct webhook_store *s,
                                        const struct webhook_result *results, size_t n,
                                        bool *emitted_out);
/* What waits in those lanes: how many, and how long the oldest has. */
NODISCARD enum err webhook_store_state(const struct webhook_store *s, uint32_t lanes,
                                       int64_t *pending_out, int64_t *oldest_us_out);
/* Deletes of each company what is older than 30 days; more_out: that was not all, to be called
 * again. */
NODISCARD enum err webhook_store_sweep(const struct webhook_store *s, const struct directory *dir,
                                       int64_t before_us, bool *more_out);

#endif
