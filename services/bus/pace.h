/*
 * pace.h - how fast a service takes what waits for it, and how long it takes for one (F51).
 *
 * The pace is measured over about the last second in which something waited: time without waiting,
 * or without a worker, says nothing, and a standstill of a moment shall not count for more than it is. Pure; one thread.
 */
#ifndef DAYBOOK_BUS_PACE_H
#define DAYBOOK_BUS_PACE_H

#include "common/base.h"

struct pace {
    int64_t since_us;         /* of the last one taken, or since when something waits */
    double waiting_us, taken; /* of the window */
    int known;                /* how many were ever taken, as far as that matters */
    double handling_us;       /* mean of the last answers */
};

/* Something waits, and did not a moment ago, or there was nobody to take it. */
void pace_waits(struct pace *p, int64_t now_us);
/* One of those that waited went to a worker. */
void pace_takes(struct pace *p, int64_t now_us);
/* A worker has answered after so long. */
void pace_answers(struct pace *p, int64_t took_us);
/* How long one waits before whom so many are taken; 0 as long as too little is known. */
int64_t pace_wait_us(const struct pace *p, size_t before);

#endif
