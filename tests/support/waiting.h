/*
 * waiting.h - waits until something is so, looking again each millisecond.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_WAITING_H
#define DAYBOOK_TESTS_SUPPORT_WAITING_H

#include <poll.h>

#include "common/clock.h"
#include "tests/support/slack.h"

struct waiting {
    int64_t until_us;
};

UNUSED static struct waiting waiting_for(int64_t limit_us)
{
    return (struct waiting){ clock_monotonic_us() + slack(limit_us) };
}

/* Pauses before the next look. False: the time is up. */
UNUSED static bool waiting_goes_on(const struct waiting *w)
{
    (void)poll(NULL, 0, 1);
    return clock_monotonic_us() < w->until_us;
}

/* Fails the test when the condition does not come true within so long. */
#define WAIT_UNTIL(condition, limit_us)                                                            \
    do {                                                                                           \
        const struct waiting waiting_ = waiting_for(limit_us);                                     \
        while (!(condition))                                                                       \
            if (!waiting_goes_on(&waiting_))                                                       \
                fail_msg("did not come true: %s", #condition);                                     \
    } while (0)

#endif
