/*
 * bell.c - a condition variable with a memory of one ring.
 */
#include "services/reminders/bell.h"

#include <assert.h>

#include "common/clock.h"

void bell_init(struct bell *b)
{
    pthread_condattr_t attr;

    b->rung = false;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attr);
    int e = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    assert(e == 0);
    e = pthread_cond_init(&b->cond, &attr);
    assert(e == 0);
    pthread_condattr_destroy(&attr);
}

void bell_fini(struct bell *b)
{
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
}

void bell_ring(struct bell *b)
{
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

bool bell_wait(struct bell *b, int64_t wait_us)
{
    struct timespec until;

    if (wait_us < 0)
        wait_us = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_us / SECOND_US;
    until.tv_nsec += wait_us % SECOND_US * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&b->lock);
    while (!b->rung)
        if (pthread_cond_timedwait(&b->cond, &b->lock, &until) != 0)
            break;
    bool rung = b->rung;
    b->rung = false;
    pthread_mutex_unlock(&b->lock);
    return rung;
}
