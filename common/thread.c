#include "common/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

#define NAME_MAX_LEN 15
#define ROOM_MAX 16
#define ROOM_STACK_BYTES (64 * KIB)

static int create(pthread_t *out, thread_run_fn *run, void *arg, size_t stack_bytes)
{
    pthread_attr_t attr;
    sigset_t all, before;

    int e = pthread_attr_init(&attr);
    if (e)
        return e;
    if (stack_bytes)
        e = pthread_attr_setstacksize(&attr, stack_bytes);
    (void)sigfillset(&all);
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

bool thread_room(size_t n)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[ROOM_MAX];
    size_t started = 0;

    n = MIN(n, ROOM_MAX);
    (void)pthread_mutex_lock(&lock);
    while (started < n &&
           thread_start_small(&threads[started], "room", wait_for_unlock, &lock, ROOM_STACK_BYTES))
        started++;
    int saved = errno;
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_mutex_destroy(&lock);
    errno = saved;
    return started == n;
}
