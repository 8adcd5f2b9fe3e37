/* pool.c - see pool.h: a mailbox for each worker, and one for what is done. */
#include "common/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/thread.h"

struct worker {
    struct pool *pool;
    void *data;
    struct mailbox inbox;
    pthread_t thread;
    bool started;
    _Atomic int64_t busy_since_us; /* 0 = idle */
};

struct pool {
    pool_run_fn *run;
    struct mailbox done;
    struct mailbox ended; /* rung by a thread that ends */
    atomic_size_t alive;
    atomic_bool stopping;
    size_t nworkers;
    struct worker workers[];
};

static void run_job(struct worker *w, struct pool_job *job)
{
    atomic_store(&w->busy_since_us, clock_monotonic_us());
    w->pool->run(w->data, job);
    atomic_store(&w->busy_since_us, 0);
    mailbox_post(&w->pool->done, &job->mail);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        struct pool_job *job = (struct pool_job *)mailbox_take(&w->inbox);
        if (job)
            run_job(w, job);
        else if (atomic_load(&w->pool->stopping))
            break;
        else
            mailbox_wait(&w->inbox, -1);
    }
    atomic_fetch_sub(&w->pool->alive, 1);
    mailbox_ring(&w->pool->ended);
    return NULL;
}

static bool start_worker(struct worker *w, size_t index)
{
    if (!mailbox_init(&w->inbox))
        return false;
    atomic_fetch_add(&w->pool->alive, 1);
    char name[16];
    snprintf(name, sizeof name, "worker-%u", (unsigned)(index % 1000));
    w->started = thread_start(&w->thread, name, worker_main, w);
    if (!w->started) {
        atomic_fetch_sub(&w->pool->alive, 1);
        mailbox_fini(&w->inbox);
        return false;
    }
    return true;
}

struct pool *pool_new(size_t nworkers, pool_run_fn *run, void *const *worker_data)
{
    struct pool *p = calloc(1, sizeof *p + nworkers * sizeof p->workers[0]);
    if (!p)
        return NULL;
    p->run = run;
    p->nworkers = nworkers;
    if (!mailbox_init(&p->done) || !mailbox_init(&p->ended)) {
        mailbox_fini(&p->done);
        free(p);
        return NULL;
    }
    for (size_t i = 0; i < nworkers; i++) {
        p->workers[i].pool = p;
        p->workers[i].data = worker_data[i];
        if (!start_worker(&p->workers[i], i)) {
            bool ended = pool_stop(p, -1);
            assert(ended);
            pool_free(p);
            return NULL;
        }
    }
    return p;
}

bool pool_stop(struct pool *p, int64_t timeout_us)
{
    int64_t until_us = clock_monotonic_us() + timeout_us;
    atomic_store(&p->stopping, true);
    for (size_t i = 0; i < p->nworkers; i++)
        if (p->workers[i].started)
            mailbox_ring(&p->workers[i].inbox);

    for (;;) {
        mailbox_take(&p->ended); /* takes back the ring */
        if (atomic_load(&p->alive) == 0)
            break;
        int64_t left_us = until_us - clock_monotonic_us();
        if (timeout_us >= 0 && left_us <= 0)
            return false;
        mailbox_wait(&p->ended, timeout_us < 0 ? -1 : left_us);
    }
    for (size_t i = 0; i < p->nworkers; i++) {
        if (p->workers[i].started)
            pthread_join(p->workers[i].thread, NULL);
        p->workers[i].started = false;
    }
    return true;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->nworkers; i++) {
        assert(!p->workers[i].started);
        mailbox_fini(&p->workers[i].inbox);
    }
    mailbox_fini(&p->ended);
    mailbox_fini(&p->done);
    free(p);
}

void pool_submit(struct pool *p, struct pool_job *job)
{
    assert(job->worker < p->nworkers);
    mailbox_post(&p->workers[job->worker].inbox, &job->mail);
}

int pool_done_fd(const struct pool *p)
{
    return p->done.fd;
}

struct pool_job *pool_take_done(struct pool *p)
{
    return (struct pool_job *)mailbox_take(&p->done);
}

int64_t pool_longest_us(struct pool *p)
{
    int64_t longest = 0, now_us = clock_monotonic_us();
    for (size_t i = 0; i < p->nworkers; i++) {
        int64_t since_us = atomic_load(&p->workers[i].busy_since_us);
        if (since_us)
            longest = MAX(longest, now_us - since_us);
    }
    return longest;
}
