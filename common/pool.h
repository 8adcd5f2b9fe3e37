/*
 * pool.h - the worker threads of a daemon: each runs one job at a time as straight blocking code.
 *
 * The loop thread submits to a worker that it knows to be free and takes finished jobs back; a job
 * belongs to whoever holds it. The frames of a request are moved, not copied.
 */
#ifndef DAYBOOK_COMMON_POOL_H
#define DAYBOOK_COMMON_POOL_H

#include <zmq.h>

#include "common/base.h"
#include "common/mailbox.h"

struct pool;

struct pool_job {
    struct mail mail; /* private */
    size_t worker;    /* who runs it */
    void *owner;      /* the submitter's own */
    /* in; the submitter's to close when the job is back */
    zmq_msg_t method, context, message;
    int64_t waited_us; /* behind another job of the same worker */
    /* out; set by the run function, the submitter's to close */
    zmq_msg_t result, reply;
    bool wake_relay; /* events were committed */
};

/* Runs one job in the worker's thread; worker_data belongs to that thread while the pool lives. */
typedef void pool_run_fn(void *worker_data, struct pool_job *job);

/* worker_data: nworkers pointers, copied. NULL: no memory or no threads left; nothing runs then. */
struct pool *pool_new(size_t nworkers, pool_run_fn *run, void *const *worker_data);

/* Ends the threads after their present job. False: one did not end within timeout_us; the pool and
 * its data must then be left alone. */
NODISCARD bool pool_stop(struct pool *p, int64_t timeout_us);
void pool_free(struct pool *p); /* after pool_stop() was true; NULL is allowed */

void pool_submit(struct pool *p, struct pool_job *job);
/* Readable while finished jobs wait. */
int pool_done_fd(const struct pool *p);
struct pool_job *pool_take_done(struct pool *p); /* NULL: none */

/* How long the longest present job has been running; 0 when all are idle. Any thread. */
int64_t pool_longest_us(struct pool *p);

#endif
