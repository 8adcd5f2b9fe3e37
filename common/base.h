/*
 * base.h - what every file of Daybook may count on: attributes, small macros, units of time, and
 * the functions that nobody may call.
 *
 * Include it first. It has no code of its own.
 */
#ifndef DAYBOOK_COMMON_BASE_H
#define DAYBOOK_COMMON_BASE_H

#include <inttypes.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* Calls fn(&variable) when the variable leaves its scope; give the variable an initializer. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* Either may be worked out twice, and differ: what is left of a time is clock_left_us(). */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Microseconds: the unit of every int64_t instant and duration named ..._us. */
#define MSEC_US INT64_C(1000)
#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* Unbounded, locale-bound or not thread-safe; num_*, sbuf_* and time_* stand in for them. */
#ifndef DAYBOOK_ALLOW_BANNED
#undef alloca /* a macro of glibc, which cannot be poisoned while it is one */
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok atoi atol atoll atof      \
    gmtime localtime ctime asctime alloca
#endif

#endif
