/*
 * deadline.h - until when what began at a moment must be done, by the rules that count in hours or
 * days (requirements 4.1, CON-10). The one way to count, so that the mark on a record and the
 * reminder about it never disagree on who was late.
 *
 * Pure, no clock; thread-safe. Times are microseconds since 1970.
 */
#ifndef DAYBOOK_COMMON_DEADLINE_H
#define DAYBOOK_COMMON_DEADLINE_H

#include "common/directory.h"

/*
 * A span from start_us on. is_business (policy hour_clock = business): only hours of work of the
 * calendar count; a calendar whose working day ends before it begins has none, and all hours count.
 */
int64_t deadline_add(const struct calendar *c, bool is_business, int64_t start_us, int64_t span_us);

/*
 * The deadline of a rule (key: a policy in hours or days) as it stands at judged_us. A rule that
 * changes while the time still runs moves the deadline, as it moves the reminder (REM-09); one that
 * changes after it has passed does not, so what a rule has made late no later one excuses. Days are
 * of 24 hours whatever hour_clock says. Only rules have dates: days off count as they stand now.
 */
int64_t deadline_of(const struct directory *d, struct id tenant, struct id unit, const char *key,
                    int64_t start_us, int64_t judged_us);

#endif
