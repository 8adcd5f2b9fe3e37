/*
 * calendar.h - working days and due times (requirements 4.1, ORG-12).
 *
 * A calendar is immutable: weekly pattern, exceptions in both directions (holidays, make-up working
 * days), start and end of the working day, time zone. A year without exceptions is legal: plain
 * weekends, and explanations say so. Pure: no I/O, no clock. Thread-safe.
 */
#ifndef DAYBOOK_COMMON_CALENDAR_H
#define DAYBOOK_COMMON_CALENDAR_H

#include "common/arena.h"
#include "common/base.h"
#include "common/tz.h"

struct calendar_day {
    struct date date;
    bool is_off_day;
    const char *name; /* of the holiday */
};

struct calendar {
    const struct tz *tz;
    int workday_start_minute;        /* of the local day, e.g. 540 */
    int workday_end_minute;          /* e.g. 1080 */
    uint8_t week_mask;               /* bit 0 Monday ... bit 6 Sunday: worked */
    const struct calendar_day *days; /* by date */
    size_t ndays;
    const int16_t *years; /* years for which exceptions were loaded, rising */
    size_t nyears;
};

/* A bounded list of lines that explain a result; NULL where nobody asks. */
struct explain {
    struct arena *arena;
    const char *lines[64];
    size_t n; /* further lines are dropped, the last says how many */
    size_t dropped;
};
void explain_add(struct explain *x, const char *fmt, ...) PRINTF(2, 3);

/* False for a working day that ends before it begins: there are no hours of work to count. */
bool calendar_has_hours(const struct calendar *c);
bool calendar_is_working(const struct calendar *c, struct date d);
/* "weekday", "weekend", the holiday's name, "make-up day: <name>", with the note on missing years.
 */
const char *calendar_reason(const struct calendar *c, struct date d, struct arena *a);

/* End of the working day that is the n-th (>= 1) working day after the day of from_us. */
/* n = 0: as calendar_end_of_day(). */
int64_t calendar_add_workdays(const struct calendar *c, int64_t from_us, int n, struct explain *x);
/* End of the working day that lies n working days before the day of at_us. */
/* n = 0: end of that day itself, or, when it is a day off, of the working day before it. */
int64_t calendar_subtract_workdays(const struct calendar *c, int64_t at_us, int n,
                                   struct explain *x);
/* eod: end of the working day of from_us; after it, or on a day off, that of the next working day.
 */
int64_t calendar_end_of_day(const struct calendar *c, int64_t from_us, struct explain *x);
/* Local time `minute` of the day of us. */
int64_t calendar_at(const struct calendar *c, int64_t us, int minute);
/* Start of the next working day at or after us. */
int64_t calendar_next_workday_start(const struct calendar *c, int64_t us);

#endif
