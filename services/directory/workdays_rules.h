/*
 * workdays_rules.h - what the exceptions of a year may be, and what an import changes. Pure.
 */
#ifndef DAYBOOK_DIRECTORY_WORKDAYS_RULES_H
#define DAYBOOK_DIRECTORY_WORKDAYS_RULES_H

#include "common/calendar.h"
#include "services/directory/service.h"

#define WORKDAYS_YEAR_MIN 1970
#define WORKDAYS_YEAR_MAX 2200

/* A day of that notice: in its year, or in the December before. */
bool workdays_rules_belongs(struct date d, int year);

/* By date. False: a date stands twice; *again_out says which. */
NODISCARD bool workdays_rules_sort(struct calendar_day *days, size_t n, struct date *again_out);

struct workdays_change {
    struct date *dates; /* whose entry is new, other or gone, rising; room for both lists */
    size_t n;
    size_t stored_changed; /* of the new list */
};
/* Both lists by date, none twice. A day counts as changed when its name or its kind does. */
void workdays_rules_diff(const struct calendar_day *before, size_t nbefore,
                         const struct calendar_day *after, size_t nafter,
                         struct workdays_change *out);

#endif
