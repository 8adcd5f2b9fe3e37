#include "common/thread.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define NAME_MAX_LEN 15
#define ROOM_MAX 16
#define ROOM_WAIT_US (2 * SECOND_US)

/* All signals are the first thread's, but those that a thread brings upon itself: blocked, they would end the
 * process without a word of a sanitizer or a test. */
static void set_of_signals(sigset_t *set)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
    (void)sigfillset(set);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        (void)sigdelset(set, own[i]);
}

static int create(pthread_t *out, thread_run_fn *run, void *arg, size_t stack_bytes)
{
    pthread_attr_t attr;
    sigset_t all, before;

    int e = pthread_attr_init(&attr);
    if (e)
        return e;
    if (stack_bytes)
        e = pthread_attr_setstacksize(&attr, stack_bytes);
    set_of_signals(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!e)
        e = pthread_create(out, &attr, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return e;
}

bool thread_start_small(pthread_t *out, const char *name, thread_run_fn *run, void *arg,
                        size_t stack_bytes)
{
    int e = create(out, run, arg, stack_bytes);
    if (e) {
        log_error("thread.start_failed",
                  "no other thread can be started: look at ulimit -u, TasksMax= of the unit, pids "
                  "of the container",
                  "thread", name, "reason", strerror(e), NULL);
        errno = e;
        return false;
    }
    char text[NAME_MAX_LEN + 1];
    (void)snprintf(text, sizeof text, "%s", name);
    (void)pthread_setname_np(*out, text);
    return true;
}

bool thread_start(pthread_t *out, const char *name, thread_run_fn *run, void *arg)
{
    return thread_start_small(out, name, run, arg, 0);
}

static void *wait_for_unlock(void *lock)
{
    (void)pthread_mutex_lock(lock);
    (void)pthread_mutex_unlock(lock);
    return NULL;
}

/* 0: not known. */
static size_t threads_of_process(void)
{
    size_t n = 0;
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return 0;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(folder);
    return n;
}

/* A thread that was joined counts against the limits for a moment still. */
static void await_gone(size_t before)
{
    int64_t until_us = clock_monotonic_us() + ROOM_WAIT_US;
    while (threads_of_process() > before && clock_monotonic_us() < until_us)
        (void)poll(NULL, 0, 1);
}

bool thread_room(size_t n, const char *whose)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[ROOM_MAX];
    size_t started = 0, before = threads_of_process();

    assert(n <= ROOM_MAX);
    (void)pthread_mutex_lock(&lock);
    while (started < n && thread_start(&threads[started], whose, wait_for_unlock, &lock))
        started++;
    int saved = errno;
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_mutex_destroy(&lock);
    await_gone(before);
    errno = saved;
    return started == n;
}
