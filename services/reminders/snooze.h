/*
 * snooze.h - what postponing does to the steps of a duty (REM-13): the next notice moves, the
 * deadline never. Pure.
 */
#ifndef DAYBOOK_REMINDERS_SNOOZE_H
#define DAYBOOK_REMINDERS_SNOOZE_H

#include "common/base.h"

/*
 * Of the steps (times rising) with the given next one, and with the deadline due_us >= until_us:
 * the one that comes next when silence is wanted until until_us, and its moment. Warnings that
 * would have come meanwhile become one, at until_us; the due step stays where it is.
 */
void snooze_plan(const int64_t *at_us, size_t nsteps, size_t next_step, int64_t next_us,
                 int64_t due_us, int64_t until_us, size_t *step_out, int64_t *us_out);

#endif
