/*
 * tz.h - time zones and civil days: where instants (microseconds UTC) and local days meet.
 *
 * Zones are read from the system's zone files (TZif, RFC 9636) once and kept for ever; the returned
 * pointer is shared and immutable. Thread-safe.
 */
#ifndef DAYBOOK_COMMON_TZ_H
#define DAYBOOK_COMMON_TZ_H

#include "common/base.h"

struct tz;

/* A civil day. Comparable with date_number(). */
struct date {
    int16_t year;
    int8_t month; /* 1 to 12 */
    int8_t day;   /* 1 to 31 */
};

/* IANA name, e.g. "Asia/Shanghai"; "UTC" always exists. NULL: unknown or malformed name. */
const struct tz *tz_find(const char *name);

/* Seconds to add to UTC at that instant. */
int32_t tz_offset_s(const struct tz *tz, int64_t us);

/* Local civil day, and minutes since local midnight, of an instant. */
struct date tz_date(const struct tz *tz, int64_t us);
int tz_minute_of_day(const struct tz *tz, int64_t us);

/*
 * The instant of a local day and minute. A time that does not exist (clocks put forward) moves
 * forward by the gap; one that occurs twice means the first. minute may be 0 to 1440.
 */
int64_t tz_instant(const struct tz *tz, struct date d, int minute);

/* Days since 1970-01-01, and back. */
int32_t date_number(struct date d);
struct date date_from_number(int32_t n);
struct date date_add(struct date d, int32_t days);
int date_weekday(struct date d); /* 1 Monday ... 7 Sunday */

#define DATE_TEXT_MAX 12
char *date_format(struct date d, char buf[static DATE_TEXT_MAX]); /* YYYY-MM-DD */
NODISCARD bool date_parse(const char *text, struct date *out);    /* real days only */

#endif
