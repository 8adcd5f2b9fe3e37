/*
 * fewthreads.c - preloaded into a program, lets it have FEWTHREADS threads at once, its first not counted, as a
 * limit of processes or of a container does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

struct start {
    void *(*run)(void *);
    void *arg;
};

static atomic_int alive;

static void gone(void *unused)
{
    (void)unused;
    atomic_fetch_sub(&alive, 1);
}

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;
    void *result;
    free(arg);
    pthread_cleanup_push(gone, NULL);
    result = s.run(s.arg);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*f)(void *), void *arg)
{
    union {
        void *object;
        create_fn *function;
    } real = { .object = dlsym(RTLD_NEXT, "pthread_create") };
    const char *few = getenv("FEWTHREADS");
    long most = few ? strtol(few, NULL, 10) : LONG_MAX;
    struct start *s = malloc(sizeof *s);
    int e = EAGAIN;

    if (atomic_fetch_add(&alive, 1) < most && s) {
        *s = (struct start){ f, arg };
        e = real.function(thread, attr, run, s);
        if (e == 0)
            return 0;
    }
    atomic_fetch_sub(&alive, 1);
    free(s);
    return e;
}
