/*
 * reader.h - reads timers out of the table for the threads of the engine, on a thread and a session
 * of its own, so that nothing which is due waits for a look into the table.
 *
 * Each thread of the engine has one order at a time: it asks, goes on firing, and takes the answer
 * when its bell rings. All but reader_run() is thread-safe.
 */
#ifndef DAYBOOK_REMINDERS_READER_H
#define DAYBOOK_REMINDERS_READER_H

#include "common/err.h"
#include "services/reminders/bell.h"
#include "common/lease.h"
#include "services/reminders/reminders.h"
#include "services/reminders/schedule.h"

enum read_part { READ_BEHIND, READ_AHEAD, READ_PARTS };

/* A place in a shard's timers, which are in order of (due, obligation). */
struct position {
    int64_t us;
    struct id id;
};

struct read_range {
    struct position after[SHARDS];
    int64_t until_us;
    int limit; /* rows a shard; 0: nothing of this part */
};

struct read_order {
    uint64_t shards; /* mask */
    struct read_range parts[READ_PARTS];
};

struct read_answer {
    enum err err;
    struct timer *timers[READ_PARTS]; /* by shard, and by place within each */
    size_t n[READ_PARTS];
};

struct reader;

/* orders: that may be under way at once, with indexes from 0. The strings are borrowed. */
struct reader *reader_new(const char *conninfo, const char *session, int orders);
void reader_free(struct reader *r);

/* The order is copied; the one before must have been taken. bell: rung when the answer is there. */
void reader_ask(struct reader *r, int index, const struct read_order *order, struct bell *bell);
/* True: the answer, which is the caller's. */
bool reader_take(struct reader *r, int index, struct read_answer *answer_out);
void read_answer_fini(struct read_answer *answer); /* for CLEANUP; declare with = { 0 } */

/* Body of the thread: answers until stopping; reader_ring() lets it see that. */
void reader_run(struct reader *r, bool (*stopping)(void *arg), void *arg);
void reader_ring(struct reader *r);

#endif
