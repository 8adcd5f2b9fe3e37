/*
 * webhook_queue.h - what waits for which endpoint, and what is posted next (protocols D, Profile).
 *
 * A feed is what one lane holds for one endpoint. Of each feed a window of rows is in memory, in the
 * order of seq; the rest stays in the table. Of a key one row is under way at a time. A row that
 * failed leaves the window and is held: until its next try, and for an hour the later rows of its key
 * with it; then the feed is read again from there. Rows that were posted are no longer in the table
 * by then, so what is read again is what is still owed; and of what was read before only what is due
 * by now. What is not due has no body with it.
 *
 * Once a minute each feed looks back: what is due before the place where it reads, although it knows
 * of nothing there, has been made due again without its having been told, or was passed over for want
 * of room.
 *
 * An endpoint has few posts under way, fewer while it has not answered yet, one when it answers
 * slowly, and none besides one that takes longer than a second; a company has a quarter of all. After FAILURES_MAX failures in a row (an answer that is about the event
 * alone, such as 422, is none of the endpoint's) it is left alone and then probed by
 * one post at a time; its windows are dropped. So neither memory nor slots are lost to receivers that
 * do not receive.
 *
 * Others post to the same endpoint from their lanes. So since when it fails is the table's to say: the
 * first failure is written there at once, anybody's success takes it away, and what we remember is
 * what was read or is about to be written.
 *
 * Pure: no database, no network; the caller says what time it is. One thread.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_QUEUE_H
#define DAYBOOK_GATEWAY_WEBHOOK_QUEUE_H

#include "services/gateway/webhooks/webhook.h"

#define QUEUE_SLOTS 256   /* posts under way */
#define ENDPOINT_POSTS 8  /* of one endpoint */
#define UNPROVEN_POSTS 2  /* of one that has not answered yet */
#define COMPANY_POSTS 64  /* of all endpoints of a company */
#define WINDOW_ROWS 64    /* of a feed */
#define ENDPOINT_ROWS 256 /* of all feeds of an endpoint */
#define QUEUE_ROWS 65536  /* in all windows; when they are full, an endpoint still gets... */
#define LEAST_ROWS 8      /* ...so many */
#define QUEUE_BYTES (64 * MIB)
#define READ_ROWS 2048 /* wanted at one time, since a row has its body with it */
#define HELD_MAX 128   /* of a feed, in their first hour; with more it rests as a whole */
#define FAILURES_MAX 5
#define PROBE_FIRST_US (5 * SECOND_US)
#define PROBE_MAX_US (5 * MINUTE_US)
#define HOLD_KEY_US HOUR_US
#define LOOK_BACK_US MINUTE_US
#define GIVE_UP_US (75 * HOUR_US)
#define SLOW_US SECOND_US

struct webhook_queue;
struct webhook_feed;

struct webhook_now {
    int64_t wall_us;      /* of moments that rows keep */
    int64_t monotonic_us; /* of pauses and posts */
};

struct webhook_endpoint {
    struct id tenant, id;
    /* from the table */
    bool active;
    char *url, *secret, *old_secret; /* clear; own memory; old_secret NULL: none */
    int64_t old_until_us;
    int64_t failing_since_us; /* 0 = it does not; the table's, or on its way there */
    /* private to the queue */
    bool known, stale;
    bool old;              /* to be read again; what is known holds till then */
    bool slow;             /* its last answer took more than SLOW_US */
    unsigned version;      /* of the url */
    bool proven;           /* it has answered since we know it */
    int failures;          /* in a row */
    int64_t rest_until_us; /* monotonic */
    int64_t recovered_us;  /* wall; what failed before is due again */
    struct webhook_row *posts[ENDPOINT_POSTS];
    unsigned nposts;
    int lane_turn, read_turn; /* the lane of the next post; of the next reading */
    struct webhook_feed *feeds[WEBHOOK_LANES];
    struct webhook_endpoint *next, *next_same;
};

/* A delivery in memory. */
struct webhook_row {
    int64_t seq;
    struct id event;
    int64_t key;
    int attempts;
    int64_t first_failed_us, tried_us, next_us; /* 0 = none; wall */
    char *body;                                 /* own memory; NULL: not due when it was read */
    size_t len;
    /* private */
    struct webhook_feed *feed; /* NULL: its lane has become another's */
    struct webhook_endpoint *endpoint;
    int64_t begun_us; /* 0 = waits */
    struct id tenant; /* once it has begun... */
    unsigned version; /* ...and of the url then */
    struct webhook_row *next;
};

struct webhook_queue *webhook_queue_new(void);
void webhook_queue_free(struct webhook_queue *q);

/* Which lanes are ours, as bits: what is in memory of others is forgotten. */
void webhook_queue_lanes(struct webhook_queue *q, uint32_t lanes);
/* Something waits; changed: the endpoint was, or older deliveries wait again: then everything of it
 * is looked at anew. */
void webhook_queue_hint(struct webhook_queue *q, const struct webhook_hint *hint);
/* All endpoints are to be read anew. */
void webhook_queue_refresh(struct webhook_queue *q);
/* That one is; till then it goes on by what is known. */
void webhook_queue_ask(struct webhook_queue *q, struct id tenant, struct id endpoint);
/* Whether some are to be read. */
bool webhook_queue_is_asking(const struct webhook_queue *q);
/* What was held until now is due; and once a minute feeds look back. Once a turn. */
void webhook_queue_tick(struct webhook_queue *q, struct webhook_now now);

/* --- reading ---------------------------------------------------------------------------------- */

/* Endpoints to be read from the table; at most max. Each is then told what it is, or that there is
 * none. */
size_t webhook_queue_unknown(struct webhook_queue *q, struct webhook_endpoint **out, size_t max);
/* Takes over url, secret, old_secret (malloc'ed). */
void webhook_queue_know(struct webhook_queue *q, struct webhook_endpoint *e,
                        const struct webhook_endpoint *said);
void webhook_queue_no_such(struct webhook_queue *q, struct webhook_endpoint *e);

/*
 * A feed that wants rows: those of `lane` after seq `after`, at most `rows`. A row is due when its next
 * try is, or when it was tried before `forgiven_us`. Up to `seen` only those are wanted which are due,
 * or failed first within HOLD_KEY_US.
 */
struct webhook_want {
    struct webhook_feed *feed;
    struct webhook_endpoint *endpoint;
    int lane;
    int64_t after, seen, forgiven_us;
    int rows;
};
/* READ_ROWS in all; endpoints and their lanes in turn. */
size_t webhook_queue_wants(struct webhook_queue *q, struct webhook_now now,
                           struct webhook_want *out, size_t max);
/* One of the rows that were read, in order; the body is copied. False: no memory. */
bool webhook_queue_add(struct webhook_queue *q, const struct webhook_want *w,
                       const struct webhook_row *row, struct webhook_now now);
/* All of them were added: `got` rows. */
void webhook_queue_read(struct webhook_queue *q, const struct webhook_want *w, int got);

/* A feed that looks back: wants to know of each key the first row of `lane` that is due and not after
 * seq `upto`. */
struct webhook_look {
    struct webhook_feed *feed;
    struct webhook_endpoint *endpoint;
    int lane;
    int64_t upto;
};
/* Those that have not looked yet this minute; whoever was asked has. */
size_t webhook_queue_looks(struct webhook_queue *q, struct webhook_look *out, size_t max);
void webhook_queue_found(struct webhook_queue *q, const struct webhook_look *look, int64_t key,
                         int64_t seq, struct webhook_now now);

/* --- posting ---------------------------------------------------------------------------------- */

/* The next one to post, now under way; NULL: none at this time. */
struct webhook_row *webhook_queue_pick(struct webhook_queue *q, struct webhook_now now);

enum webhook_outcome { WEBHOOK_DELIVERED, WEBHOOK_LATER, WEBHOOK_PARKED };
enum webhook_news {
    WEBHOOK_NO_NEWS,
    WEBHOOK_FAILS,   /* to be written: failing since */
    WEBHOOK_ANSWERS, /* again */
    WEBHOOK_GONE,    /* 410: to be disabled */
    WEBHOOK_DEAD,    /* has failed for too long: to be disabled, if the table says so too */
};
struct webhook_fate {
    enum webhook_outcome outcome;
    enum webhook_news news;
    int attempts;
    int64_t first_failed_us, next_us, failing_since_us;
};

/*
 * What a post has come to. status: 0 = no answer. retry_after_us: -1 = not said. The row is freed.
 * The caller writes the fate down before he reads rows again.
 */
struct webhook_fate webhook_queue_done(struct webhook_queue *q, struct webhook_row *row, int status,
                                       int64_t retry_after_us, struct webhook_now now);

size_t webhook_queue_under_way(const struct webhook_queue *q);
/* Until something that is held is due; INT64_MAX: nothing is. */
int64_t webhook_queue_wait_us(const struct webhook_queue *q, struct webhook_now now);

/* Pause after so many failed attempts, without jitter. */
int64_t webhook_pause_us(int attempts);

#endif
