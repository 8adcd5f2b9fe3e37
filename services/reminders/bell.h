/*
 * bell.h - lets a thread sleep until a moment or until another thread rings. A ring while nobody
 * sleeps is remembered, so nothing is missed between looking and sleeping. Monotonic time.
 */
#ifndef DAYBOOK_REMINDERS_BELL_H
#define DAYBOOK_REMINDERS_BELL_H

#include <pthread.h>

#include "common/base.h"

struct bell {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool rung;
};

void bell_init(struct bell *b);
void bell_fini(struct bell *b);
void bell_ring(struct bell *b);
/* Sleeps at most wait_us; takes a ring with it. Returns whether there was one. */
bool bell_wait(struct bell *b, int64_t wait_us);

#endif
