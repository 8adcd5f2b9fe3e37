/*
 * log.h - one line an event.
 *
 * JSON lines on stdout; readable lines when stdout is a terminal. Fields: ts, level, svc, inst,
 * event, msg and what the caller adds. Ids only, never personal data. Lines go through a bounded
 * ring written by its own thread: a blocked stdout drops lines (counted in
 * daybook_log_dropped_total), never stalls a worker. The same event more than 10 times a second
 * becomes one line with `suppressed`. Thread-safe.
 */
#ifndef DAYBOOK_COMMON_LOG_H
#define DAYBOOK_COMMON_LOG_H

#include "common/base.h"

enum log_level {
    LOG_LEVEL_DEBUG, /* off by default */
    LOG_LEVEL_INFO,  /* life cycle */
    LOG_LEVEL_WARN,  /* handled, worth counting */
    LOG_LEVEL_ERROR, /* a person must look */
};

/* Starts the writer thread. service: e.g. "visits". Before it, and when there is no room for a thread (false), lines
 * go to stderr directly, and whoever reads that slowly holds up all who write. */
bool log_start(const char *service);
/* Writes out what is queued (at most 1 s) and ends the thread. */
void log_stop(void);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
uint64_t log_dropped(void);

/*
 * event: stable code such as "db.connect_failed". The fields follow as pairs of name and text,
 * ended by NULL; values that are NULL are left out. Control characters are escaped.
 *     log_line(LOG_LEVEL_WARN, "consumer.parked", "event gave up after 5 tries",
 *              "consumer", name, "reason", text, NULL);
 */
void log_line(enum log_level level, const char *event, const char *msg, ...)
    __attribute__((sentinel));

#define log_debug(event, ...) log_line(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_line(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_line(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#endif
