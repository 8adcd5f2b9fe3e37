/*
 * snooze.c - see snooze.h.
 */
#include "services/reminders/snooze.h"

void snooze_plan(struct plan *plan, size_t next_step, int64_t until_us)
{
    size_t kept = next_step;

    for (size_t i = next_step; i < plan->nsteps; i++) {
        const struct plan_step *step = &plan->steps[i];
        if (step->at_us >= MIN(until_us, plan->due_us) || strcmp(step->tells, "owner") != 0)
            plan->steps[kept++] = *step;
    }
    if (kept == plan->nsteps)
        return;
    plan->nsteps = kept;
    plan_add_step(plan, until_us, "owner");
}
