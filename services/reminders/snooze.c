/*
 * snooze.c - see snooze.h.
 */
#include "services/reminders/snooze.h"

void snooze_plan(const int64_t *at_us, size_t nsteps, size_t next_step, int64_t next_us,
                 int64_t due_us, int64_t until_us, size_t *step_out, int64_t *us_out)
{
    size_t step = next_step;

    *step_out = next_step;
    *us_out = next_us;
    if (next_us >= until_us || at_us[next_step] >= due_us)
        return; /* nothing comes before, or what comes is the deadline itself */
    while (step + 1 < nsteps && at_us[step + 1] <= until_us && at_us[step] < due_us)
        step++;
    *step_out = step;
    *us_out = at_us[step] < due_us ? until_us : at_us[step];
}
