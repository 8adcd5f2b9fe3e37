/*
 * clock.h - domain time, monotonic time, and their texts.
 *
 * Domain time is what rules see. It is the wall clock unless the setting CLOCK says otherwise, so
 * that a test or a demo can run a week in a minute:
 *
 *   real                                 the wall clock
 *   offset:<duration>                    wall clock plus (or, with -, minus) a duration
 *   scaled:<domain RFC 3339>@<real RFC 3339>x<factor>
 *                                        domain = given moment at the real moment, then factor
 *                                        times as fast
 *   file:<path>                          a small shared file that tells (base, origin, rate); all
 *                                        daemons of a machine read it, clock_steer() writes it, and
 *                                        a change holds at once; for demos and tests
 *
 * Sleeping and deadlines of calls use the monotonic clock, never domain time. All functions but
 * clock_init() are thread-safe and do not block.
 */
#ifndef DAYBOOK_COMMON_CLOCK_H
#define DAYBOOK_COMMON_CLOCK_H

#include "common/base.h"

/* Once, before threads start. False: spec is not understood, reason_out (static) says why. */
NODISCARD bool clock_init(const char *spec, const char **reason_out);

int64_t clock_now_us(void);       /* domain, microseconds since 1970 UTC */
int64_t clock_wall_us(void);      /* real wall clock */
int64_t clock_monotonic_us(void); /* arbitrary origin, never stepped */
int64_t clock_boottime_us(void);  /* the same, and goes on while the machine sleeps */
/* From now until that moment of the monotonic clock; 0 once it has come. */
int64_t clock_left_us(int64_t until_us);

/*
 * Real microseconds from now until domain time reaches `domain_us`; 0 when it has; INT64_MAX when
 * a stopped clock will never reach it.
 */
int64_t clock_until_us(int64_t domain_us);

/* True when domain time can be turned by somebody (file:): sleepers must look again each 10 ms. */
bool clock_is_steered(void);

/* Makes or changes a steered clock: domain time is domain_us now and runs `rate` times real time
 * (0 stands still). False: the file could not be written (errno). */
NODISCARD bool clock_steer(const char *path, int64_t domain_us, double rate);

#define TIME_TEXT_MAX 36
/* RFC 3339 in UTC, 0, 3 or 6 fractional digits as needed: "2026-01-02T03:04:05.123Z". */
char *time_format(int64_t us, char buf[static TIME_TEXT_MAX]);
/* RFC 3339 with any offset, years 0001 to 9999, up to 9 digits (truncated to microseconds). */
NODISCARD bool time_parse(const char *text, int64_t *us_out);

#endif
