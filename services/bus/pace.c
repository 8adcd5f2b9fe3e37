/*
 * pace.c - see pace.h.
 */
#include "services/bus/pace.h"

#include "common/clock.h"

#define WINDOW_US SECOND_US
#define KNOWN_MIN 8          /* fewer say nothing */
#define HANDLING_WEIGHT 0.05 /* of a new answer */

void pace_waits(struct pace *p, int64_t now_us)
{
    p->since_us = now_us;
}

void pace_takes(struct pace *p, int64_t now_us)
{
    p->waiting_us += (double)(now_us - p->since_us);
    p->taken++;
    p->known += p->known < KNOWN_MIN;
    p->since_us = now_us;
    while (p->waiting_us > WINDOW_US) { /* what is older counts half */
        p->waiting_us /= 2;
        p->taken /= 2;
    }
}

void pace_answers(struct pace *p, int64_t took_us)
{
    double weight = p->handling_us > 0 ? HANDLING_WEIGHT : 1;
    p->handling_us += weight * ((double)took_us - p->handling_us);
}

int64_t pace_wait_us(const struct pace *p, size_t before)
{
    return p->known < KNOWN_MIN ? 0 : (int64_t)((double)before * p->waiting_us / p->taken);
}
