/*
 * mailbox.h - how the threads of a daemon hand things to each other: a list under a mutex, and an
 * eventfd that is readable while the list is not empty.
 *
 * Any thread posts, one thread takes. A mutex and not an inproc socket: the file descriptor is
 * level-triggered, waits have nanoseconds, a post cannot fail, and the thread sanitizer sees the
 * hand-over.
 */
#ifndef DAYBOOK_COMMON_MAILBOX_H
#define DAYBOOK_COMMON_MAILBOX_H

#include <pthread.h>

#include "common/base.h"

/* First member of whatever is posted. In one mailbox at a time. */
struct mail {
    struct mail *next;
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first;
    struct mail **end;
    size_t count;
    bool rung; /* the eventfd is readable */
    int fd;
};

/* False: no file descriptor left (errno). */
NODISCARD bool mailbox_init(struct mailbox *m);
/* What is still inside stays the owner's: take it before. */
void mailbox_fini(struct mailbox *m);

void mailbox_post(struct mailbox *m, struct mail *mail);
/* Posts unless `limit` are inside already; false then. */
NODISCARD bool mailbox_offer(struct mailbox *m, struct mail *mail, size_t limit);
/* Wakes the taker without anything to take. */
void mailbox_ring(struct mailbox *m);

/* The oldest, NULL when empty. Takes back a ring when it leaves the box empty: so look at whatever
 * a ring stands for after this and before the next wait. */
struct mail *mailbox_take(struct mailbox *m);
/* Waits for mail or a ring; negative = for ever. False: time is up. */
bool mailbox_wait(struct mailbox *m, int64_t timeout_us);

#endif
