/*
 * endpoints.h - channels that are left alone for a while, in the memory of one delivery thread.
 *
 * One that did not answer is asked again after half a minute, then by one notice at a time until it
 * answers. One that answers slowly is left alone for twice as long as it took, so that slow
 * receivers have at most a third of the attempts that may be under way. The rows that wait for them
 * are not touched. Bounded: the one that would be over first is forgotten. Pure; one thread.
 */
#ifndef DAYBOOK_REMINDERS_ENDPOINTS_H
#define DAYBOOK_REMINDERS_ENDPOINTS_H

#include "common/base.h"
#include "common/id.h"

#define ENDPOINTS_MAX 64
#define ENDPOINT_REST_US (30 * SECOND_US)
#define ENDPOINT_SLOW_US SECOND_US

struct endpoint {
    struct id tenant, owner;
    int64_t until_us; /* monotonic */
    bool failing;     /* it did not answer last time */
};

struct endpoints { /* zeroed to begin with */
    size_t n;
    struct endpoint list[ENDPOINTS_MAX];
};

/* What an attempt showed. */
void endpoints_note(struct endpoints *x, struct id tenant, struct id owner, bool answered,
                    int64_t took_us, int64_t now_us);
/* To be left alone now. */
bool endpoints_rests(const struct endpoints *x, struct id tenant, struct id owner, int64_t now_us);
/* Not known to answer: one attempt at a time. */
bool endpoints_fails(const struct endpoints *x, struct id tenant, struct id owner);

#endif
