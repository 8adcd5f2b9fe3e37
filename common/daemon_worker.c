/*
 * daemon_worker.c - what a worker thread has of its own (arena, connections), and how a job becomes
 * an answer.
 *
 * Connections are made by the first use in the worker's thread, so a daemon starts without them.
 */
#include "common/daemon_internal.h"
#include "common/log.h"

struct daemon_worker {
    struct daemon *daemon;
    struct arena *arena;
    struct db *db;
    struct cache *cache;
    struct call_refusals *refusals;
};

static bool set_frame(zmq_msg_t *frame, const void *data, size_t len)
{
    if (zmq_msg_init_size(frame, len) != 0) {
        zmq_msg_init(frame);
        return false;
    }
    if (len)
        memcpy(zmq_msg_data(frame), data, len);
    return true;
}

static void run_job(void *worker_data, struct pool_job *job)
{
    struct daemon_worker *w = worker_data;
    const struct daemon_def *def = w->daemon->def;
    struct call_env env = {
        .arena = w->arena,
        .db = w->db,
        .cache = w->cache,
        .daemon_data = w->daemon->data,
        .methods = def->methods,
        .nmethods = def->nmethods,
        .schema = def->schema,
        .needs_directory = !def->no_directory,
        .waited_us = job->waited_us,
        .refusals = w->refusals,
    };
    struct call_frames in = {
        .method = zmq_msg_data(&job->method),
        .method_len = zmq_msg_size(&job->method),
        .context = zmq_msg_data(&job->context),
        .context_len = zmq_msg_size(&job->context),
        .message = zmq_msg_data(&job->message),
        .message_len = zmq_msg_size(&job->message),
    };
    uint8_t *result = NULL, *reply = NULL;
    size_t result_len = 0, reply_len = 0;

    (def->answer ? def->answer : call_answer)(&env, &in, &result, &result_len, &reply, &reply_len);

    if (!set_frame(&job->result, result, result_len) | !set_frame(&job->reply, reply, reply_len))
        log_error("daemon.no_memory", "an answer was lost for want of memory", NULL);
    job->wake_relay = env.wake_relay;
    for (const struct call_wake_item *i = env.wakes; i; i = i->next)
        daemon_wake_publish(w->daemon, i->channel, i->data, i->len);
    arena_reset(w->arena);
}

static void worker_free(struct daemon_worker *w)
{
    if (!w)
        return;
    call_refusals_free(w->refusals);
    cache_free(w->cache);
    db_free(w->db);
    arena_free(w->arena);
    free(w);
}

static struct daemon_worker *worker_new(struct daemon *d)
{
    struct daemon_worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->daemon = d;
    w->arena = arena_new((size_t)daemon_setting(d, "ARENA_BYTES")->i64);
    w->refusals = call_refusals_new();
    bool ok = w->arena && w->refusals;
    if (ok && !d->def->no_database) {
        w->db = db_new(daemon_conninfo(d), d->application_name);
        ok = w->db != NULL;
    }
    if (ok && d->def->uses_cache && daemon_cache_address(d)) {
        w->cache = cache_new(daemon_cache_address(d), daemon_cache_password(d));
        ok = w->cache != NULL;
    }
    if (ok)
        return w;
    worker_free(w);
    return NULL;
}

static void submit(void *arg, struct pool_job *job)
{
    pool_submit(arg, job);
}

/* The services of the method table, each once, in order. */
static bool list_services(struct daemon *d)
{
    d->services = calloc(d->def->nmethods + 1, sizeof *d->services);
    if (!d->services)
        return false;
    for (size_t i = 0; i < d->def->nmethods; i++) {
        const char *name = d->def->methods[i].service;
        size_t known = 0;
        while (known < d->nservices && strcmp(d->services[known], name) != 0)
            known++;
        if (known == d->nservices)
            d->services[d->nservices++] = name;
    }
    return true;
}

static bool start_bus(struct daemon *d)
{
    if (!list_services(d))
        return false;
    if (d->nservices == 0)
        return true;
    struct bus_worker_def def = {
        .zmq_context = d->zmq,
        .address = &d->address,
        .services = d->services,
        .nservices = d->nservices,
        .nslots = d->nworkers,
        .submit = submit,
        .arg = d->pool,
    };
    d->bus = bus_worker_new(&def);
    return d->bus != NULL;
}

bool daemon_workers_start(struct daemon *d)
{
    void *data[DAEMON_WORKERS_MAX];
    if (d->def->nmethods == 0)
        return true;
    d->nworkers = (size_t)daemon_setting(d, "WORKERS")->i64;
    for (size_t i = 0; i < d->nworkers; i++) {
        data[i] = d->workers[i] = worker_new(d);
        if (!data[i])
            return false;
    }
    d->pool = pool_new(d->nworkers, run_job, data);
    return d->pool && start_bus(d);
}

bool daemon_workers_stop(struct daemon *d, int64_t timeout_us)
{
    if (d->pool && !pool_stop(d->pool, timeout_us))
        return false;
    if (d->bus && !bus_worker_idle(d->bus))
        return false; /* a job is out or unanswered */
    bus_worker_free(d->bus);
    pool_free(d->pool);
    d->bus = NULL;
    d->pool = NULL;
    for (size_t i = 0; i < d->nworkers; i++)
        worker_free(d->workers[i]);
    free(d->services);
    d->services = NULL;
    return true;
}
