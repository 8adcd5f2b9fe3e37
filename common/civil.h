/*
 * civil.h - days since 1970-01-01 and the proleptic Gregorian calendar, for clock.c and tz.c.
 *
 * Counted in eras of 400 years that begin on 1 March, so that the leap day is the last of a year
 * and needs no case of its own.
 */
#ifndef DAYBOOK_COMMON_CIVIL_H
#define DAYBOOK_COMMON_CIVIL_H

#include "common/base.h"

static inline bool civil_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* month 1 to 12; 31 for any other. */
static inline int civil_month_days(int64_t year, int month)
{
    if (month == 2)
        return civil_is_leap(year) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static inline int64_t civil_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline int64_t civil_to_days(int64_t year, int month, int day)
{
    if (month <= 2)
        year--;
    int64_t era = civil_floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static inline void civil_from_days(int64_t days, int64_t *year_out, int *month_out, int *day_out)
{
    days += 719468;
    int64_t era = civil_floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month = (int)((5 * day_of_year + 2) / 153);
    *day_out = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *month_out = month < 10 ? month + 3 : month - 9;
    *year_out = year_of_era + era * 400 + (*month_out <= 2);
}

#endif
