/*
 * thread.h - how threads of ours are started: named, deaf to signals (those are the first thread's, but faults of their own), and with a word in the
 * log when there is no room for another.
 */
#ifndef DAYBOOK_COMMON_THREAD_H
#define DAYBOOK_COMMON_THREAD_H

#include <pthread.h>

#include "common/base.h"

typedef void *thread_run_fn(void *arg);

/* name: 15 characters of it are seen in ps and debuggers. False: the limit of threads is reached, or
 * there is no memory; why is logged and in errno. The caller joins or detaches it. Any thread. */
NODISCARD bool thread_start(pthread_t *out, const char *name, thread_run_fn *run, void *arg);
/* stack_bytes: of its stack, instead of the usual 8 MiB of addresses. */
NODISCARD bool thread_start_small(pthread_t *out, const char *name, thread_run_fn *run, void *arg,
                                  size_t stack_bytes);

/* Whether n more threads, at most 16, can be started now, by starting and ending them; whose: for the log. For what ends
 * the process instead of saying that it can not (libzmq). False: as thread_start(). */
NODISCARD bool thread_room(size_t n, const char *whose);

#endif
