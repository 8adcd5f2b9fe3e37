/*
 * look.h - how far a thread of the engine has read its shards, and when it looks again.
 *
 * A look has two parts: behind, whatever is due by now or very soon (what was missed, is a backlog,
 * or was armed without our hearing of it); and ahead, from where we had read to, up to the horizon.
 * So a timer that nobody told us of is still on time if it was committed a few seconds before. One
 * look is under way at a time; what it brings may be overtaken by what is fired meanwhile, which is
 * harmless, or be void. One thread; reads no table, see reader.h.
 */
#ifndef DAYBOOK_REMINDERS_LOOK_H
#define DAYBOOK_REMINDERS_LOOK_H

#include "services/reminders/reader.h"

#define LOOK_HORIZON_US (30 * SECOND_US) /* of real time */
#define LOOK_HELD_MAX 65536              /* timers in memory, a thread */

struct look {
    struct read_order order; /* of the one under way, with the places of all shards */
    bool more[READ_PARTS];   /* some shard has more than was read of it */
    int64_t horizon_end_us;  /* domain; read up to here */
    int64_t looked_us;       /* monotonic; 0 = look at once */
    int64_t looked_at_us;    /* domain time of that look */
    int64_t full_us;         /* monotonic; 0 = the next look goes back to the beginning of time */
    int64_t pause_us;        /* of the last failure, */
    int64_t not_before_us;   /* till when; monotonic */
    bool asked;              /* one is under way, */
    bool is_void;            /* for nothing */
    int64_t asked_us;        /* monotonic */
    int64_t asked_at_us;     /* domain */
};

/* What the thread has in memory, of what it may have. */
struct look_stock {
    size_t held, room, ready;
};

/* Domain microseconds that pass within the horizon at the present rate of the clock. */
int64_t look_horizon_us(void);

/* Begins anew, with these shards. */
void look_reset(struct look *l, uint64_t shards, int64_t now_us);
/* The look under way counts for nothing: what it finds may have been taken out since. */
void look_void(struct look *l);
/* The next look that begins behind goes back to the beginning of time. */
void look_back_fully(struct look *l);
/* So does the very next, whatever backlog was being read, and the one under way is void. */
void look_restart(struct look *l);

/* Real microseconds until a look is due; 0: now; INT64_MAX: not while one is under way or without
 * shards. */
int64_t look_wait_us(const struct look *l, const struct look_stock *stock, int64_t monotonic_us);

/* Makes l->order the next look. What is due before floor_us is not wanted; domain. */
void look_ask(struct look *l, const struct look_stock *stock, int64_t floor_us, int64_t now_us,
              int64_t monotonic_us);

/*
 * Takes what the look brought; hold() returns false when there is no room for a timer. The answer's
 * error when it failed: the next one comes after a growing pause. ERR_OK also when it was void.
 */
NODISCARD enum err look_take(struct look *l, const struct read_answer *answer, int64_t monotonic_us,
                             bool (*hold)(void *arg, const struct timer *timer), void *arg);

/* Whether a look was taken since the last reset. */
bool look_is_taken(const struct look *l);

#endif
