/*
 * snooze.h - what postponing does to the steps of a duty (REM-13): the assignee's next notice
 * moves, the deadline never, and nobody else's notice either. Pure.
 */
#ifndef DAYBOOK_REMINDERS_SNOOZE_H
#define DAYBOOK_REMINDERS_SNOOZE_H

#include "services/reminders/plan.h"

/*
 * Silence for the assignee until until_us, which does not lie after plan->due_us: warnings from
 * next_step on that tell nobody but him and would come before become one, at until_us. next_step
 * is the number of the next step afterwards too.
 */
void snooze_plan(struct plan *plan, size_t next_step, int64_t until_us);

#endif
