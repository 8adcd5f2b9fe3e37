/*
 * lateness.h - which timers are late: those that somebody could have fired seconds ago and did not.
 *
 * A clock that jumps or runs fast makes the difference between due time and firing look large, an
 * outage makes it large. So a thread notes, turn by turn, which domain time it was at which real
 * time, and calls late what was due before the domain time of two real seconds ago. Real time here
 * goes on while the machine sleeps (CLOCK_BOOTTIME). Pure; one thread.
 */
#ifndef DAYBOOK_REMINDERS_LATENESS_H
#define DAYBOOK_REMINDERS_LATENESS_H

#include "common/base.h"

#define LATE_AFTER_US (2 * SECOND_US)
#define LATENESS_SAMPLES 32
#define LATENESS_SAMPLE_US (100 * MSEC_US)

struct lateness_sample {
    int64_t real_us, domain_us;
};

struct lateness { /* zeroed to begin with */
    struct lateness_sample samples[LATENESS_SAMPLES];
    size_t nsamples;
    struct lateness_sample now;
};

/* A turn begins. True: nothing was noted for so long that timers may be late, the first time too.
 */
bool lateness_note(struct lateness *l, int64_t real_us, int64_t domain_us);

/*
 * Domain time of LATE_AFTER_US before the last note; between two notes (the thread was stopped, a
 * call was stuck) it is taken to have run evenly. start_us: domain time that passes meanwhile, for
 * a process that has only begun.
 */
int64_t lateness_before(const struct lateness *l, int64_t start_us);

#endif
