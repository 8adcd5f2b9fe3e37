/*
 * hearing.h - whether the consumer has heard all that could close the duties that are due.
 *
 * After an outage, and while a rebuild goes through the log again, closings stand in the log that
 * nobody has heard yet; firing then would chase what was done long ago. So what is late waits until
 * the consumer has passed the head that the log had when the doubt arose, and what is due waits
 * while it is known that something is unheard. Without progress for a minute (the bus is away) the
 * timers are fired all the same. Pure; one thread.
 */
#ifndef DAYBOOK_REMINDERS_HEARING_H
#define DAYBOOK_REMINDERS_HEARING_H

#include "common/base.h"

#define HEARING_GIVE_UP_US MINUTE_US
/* The log's head is told once a second: what was known before an outage is not believed. */
#define HEARING_GRACE_US (1500 * MSEC_US)

enum hearing_state {
    HEARING_ALL,    /* fire what is due */
    HEARING_DOUBT,  /* what is late waits */
    HEARING_BEHIND, /* something is unheard: all waits */
};

struct hearing { /* zeroed to begin with, which is abreast */
    enum hearing_state state;
    int64_t asked_us; /* the head counts from here on; monotonic */
    int64_t moved_us; /* last progress */
    int64_t mark;     /* to be passed; -1 = not known yet */
    int64_t seq;      /* heard up to here, as last seen */
    bool gave_up;
};

/* Something may have been missed. grace_us: how long a head may be an old one. */
void hearing_doubt(struct hearing *h, int64_t grace_us, int64_t now_us);

/* Looks again. is_known: the consumer agrees with the log; it has heard up to seq, and the log goes
 * on to head. */
enum hearing_state hearing_judge(struct hearing *h, bool is_known, int64_t seq, int64_t head,
                                 int64_t now_us);

#endif
