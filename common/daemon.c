/*
 * daemon.c - the start of a daemon, step by step, and its end in reverse.
 *
 * Nothing here waits for PostgreSQL, Redis or the bus (F10): connections are made by the threads
 * that use them, and the daemon says "not ready" until they stand. What start-up makes is freed at
 * the end, so that leak checks stay clean; only when a thread had to be left behind the process
 * ends without, since that thread may still use it.
 */
#include "common/daemon.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/reread.h"
#include "common/reseal.h"
#include "common/schema.h"
#include "common/secret.h"
#include "common/thread.h"
#include "common/version.h"

#define SOCKETS_MAX 4096
#define DESCRIPTORS 65536
#define ZMQ_THREADS 2 /* which libzmq starts with the first socket, or ends the process */
/* After the drain everybody has been told; whoever takes longer is left behind. */
#define JOIN_TIMEOUT_US (5 * SECOND_US)
#define SCHEMA_LOOK_MS 20

/* --- what hooks may ask ----------------------------------------------------------------------- */

bool daemon_stopping(const struct daemon *d)
{
    return atomic_load(&d->stopping);
}

const struct setting *daemon_setting(const struct daemon *d, const char *key)
{
    for (size_t t = d->ntables; t-- > 1;)
        for (const struct setting *s = d->tables[t]; s->key; s++)
            if (strcmp(s->key, key) == 0)
                return s;
    return config_get(d->common, key);
}

const char *daemon_conninfo(const struct daemon *d)
{
    return daemon_setting(d, "DB_URL")->text;
}

const char *daemon_cache_address(const struct daemon *d)
{
    return daemon_setting(d, "REDIS_URL")->text;
}

const char *daemon_cache_password(const struct daemon *d)
{
    return daemon_setting(d, "REDIS_PASSWORD")->text;
}

void *daemon_zmq_context(struct daemon *d)
{
    return d->zmq;
}

const struct bus_address *daemon_bus_address(const struct daemon *d)
{
    return &d->address;
}

const char *daemon_instance(const struct daemon *d)
{
    return d->instance;
}

/* --- threads ---------------------------------------------------------------------------------- */

/* On an older schema a consumer or an engine fails at each event and timer, and parks them (F55). */
static bool await_schema(const struct daemon *d)
{
    while (d->def->schema && !atomic_load(&d->health.schema_ok) && !daemon_stopping(d))
        poll(NULL, 0, SCHEMA_LOOK_MS);
    return !daemon_stopping(d);
}

static void *thread_main(void *arg)
{
    struct daemon_running *t = arg;
    struct daemon *d = t->daemon;
    if (!t->on_schema || await_schema(d))
        t->run(d, t->arg);
    if (t != &d->probe) {
        if (!daemon_stopping(d)) {
            log_error("daemon.thread_lost", "a thread ended by itself", "thread", t->name, NULL);
            atomic_store(&d->health.thread_lost, true);
        }
        atomic_store(&t->ended, true);
        atomic_fetch_sub(&d->threads_left, 1);
        mailbox_ring(&d->to_loop);
    }
    return NULL;
}

bool daemon_thread_start(struct daemon_running *t)
{
    t->started = thread_start(&t->thread, t->name, thread_main, t);
    return t->started;
}

static void run_reseal(struct daemon *d, void *arg UNUSED)
{
    reseal_run(d, d->def->sealed, d->def->nsealed);
}

static bool start_own_threads(struct daemon *d)
{
    const struct daemon_def *def = d->def;
    d->threads = calloc(def->nthreads + 2, sizeof *d->threads); /* and a consumer, and reseal */
    if (!d->threads)
        return false;
    for (size_t i = 0; i < def->nthreads; i++)
        d->threads[d->nthreads++] =
            (struct daemon_running){ .daemon = d,
                                     .name = def->threads[i].name,
                                     .run = def->threads[i].run,
                                     .arg = d->data,
                                     .on_schema = def->threads[i].on_schema };
    if (def->consumer)
        d->threads[d->nthreads++] = (struct daemon_running){
            .daemon = d, .name = "consumer", .run = daemon_consumer_run, .on_schema = true
        };
    if (def->nsealed && *secret_old_key_id())
        d->threads[d->nthreads++] = (struct daemon_running){
            .daemon = d, .name = "reseal", .run = run_reseal, .on_schema = true
        };
    atomic_store(&d->threads_left, (int)d->nthreads);
    for (size_t i = 0; i < d->nthreads; i++)
        if (!daemon_thread_start(&d->threads[i])) {
            atomic_fetch_sub(&d->threads_left, (int)(d->nthreads - i));
            return false;
        }
    return true;
}

/* After the loop: waits for the threads, and throws away what they still send it. */
static void await_own_threads(struct daemon *d)
{
    int64_t until_us = clock_monotonic_us() + JOIN_TIMEOUT_US;
    for (;;) {
        struct mail *m;
        while ((m = mailbox_take(&d->to_loop)))
            free(m);
        int64_t left_us = until_us - clock_monotonic_us();
        if (atomic_load(&d->threads_left) == 0 || left_us <= 0)
            return;
        mailbox_wait(&d->to_loop, left_us);
    }
}

/* False: one was left behind. */
static bool join_own_threads(struct daemon *d)
{
    bool all = true;
    await_own_threads(d);
    for (size_t i = 0; i < d->nthreads; i++) {
        struct daemon_running *t = &d->threads[i];
        if (t->started && atomic_load(&t->ended)) {
            pthread_join(t->thread, NULL);
        } else if (t->started) {
            log_error("daemon.thread_stuck", "a thread did not end", "thread", t->name, NULL);
            all = false;
        }
    }
    return all;
}

/* --- start and end ---------------------------------------------------------------------------- */

/* Keys are in memory. Forbidden until the settings, which are read by then, say otherwise. */
static void allow_core_dumps(bool allowed)
{
    (void)prctl(PR_SET_DUMPABLE, allowed ? 1 : 0);
}

static void name_instance(struct daemon *d)
{
    char host[64] = "localhost";
    if (gethostname(host, sizeof host) != 0 && errno != ENAMETOOLONG)
        log_warn("daemon.no_host_name", "host name unknown", NULL);
    host[sizeof host - 1] = '\0';
    snprintf(d->instance, sizeof d->instance, "%s:%d", host, (int)getpid());
    snprintf(d->application_name, sizeof d->application_name, "daybook-%s/%s", d->def->name, host);
}

void daemon_refuse_setting(struct daemon *d, const char *what)
{
    d->refused = true;
    log_error("daemon.setting_refused", what, NULL);
}

static bool start_hook(struct daemon *d)
{
    if (!d->def->start)
        return true;
    bool ok = true;
    d->data = d->def->start(d, &ok);
    if (!ok)
        log_error("daemon.start_failed", "the daemon's own start failed", NULL);
    return ok;
}

static bool start_directory(struct daemon *d)
{
    return d->def->no_directory ||
           directory_start(daemon_conninfo(d), d->def->proves_api_keys) == ERR_OK;
}

/* Frees in reverse. left_behind: a thread still runs, so nothing that it may use is freed. */
static void stop_all(struct daemon *d, bool left_behind)
{
    bool ended = join_own_threads(d) && !left_behind;
    daemon_health_stop(d);
    admin_stop(d->admin);
    ended = daemon_workers_stop(d, ended ? JOIN_TIMEOUT_US : 0) && ended;
    if (!ended) {
        trace_stop();
        log_stop();
        _exit(DAEMON_EXIT_AGAIN);
    }
    if (!d->def->no_directory)
        directory_stop();
    if (d->def->stop)
        d->def->stop(d->data);
    free(d->threads);
}

static int run_started(struct daemon *d)
{
    int status = DAEMON_EXIT_BUG;
    if (daemon_workers_start(d)) {
        status = daemon_admin_start(d);
        if (status == DAEMON_EXIT_OK)
            status = start_directory(d) && daemon_health_start(d) && start_own_threads(d)
                         ? daemon_loop(d)
                         : DAEMON_EXIT_BUG;
        daemon_unblock_signals(); /* nobody reads them now: let a second one end the process */
    }
    if (status != DAEMON_EXIT_OK) { /* threads that did start must hear of it */
        atomic_store(&d->stopping, true);
        daemon_wake_all(d);
    }
    stop_all(d, status == DAEMON_EXIT_AGAIN);
    return status;
}

/* A descriptor a peer: as many as the machine's owner allows, not as many as a shell starts with.
 */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)DESCRIPTORS);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("daemon.descriptors", strerror(errno), NULL);
}

static int run_hooked(struct daemon *d)
{
    if (!daemon_wake_init(d)) {
        log_error("daemon.start_failed", strerror(errno), NULL);
        return DAEMON_EXIT_BUG;
    }
    int status = DAEMON_EXIT_BUG;
    if (start_hook(d))
        status = run_started(d);
    else if (d->refused)
        status = DAEMON_EXIT_SETTINGS;
    daemon_wake_fini(d);
    return status;
}

static int run_logged(struct daemon *d)
{
    daemon_watch_files(d);
    if (!log_start(d->def->name))
        return DAEMON_EXIT_BUG;
    name_instance(d);
    log_info("daemon.start", "starting", "version", daybook_version(), "instance", d->instance,
             NULL);
    schema_init();
    daemon_traces_start(d);
    int status = run_hooked(d);
    trace_stop();
    log_info("daemon.stop", status == DAEMON_EXIT_OK ? "drained" : "stopped", NULL);
    log_stop();
    return status;
}

static int run(struct daemon *d)
{
    if (sodium_init() < 0)
        return DAEMON_EXIT_BUG;
    if (!thread_room(ZMQ_THREADS, "libzmq")) /* before there is any socket or thread */
        return DAEMON_EXIT_BUG;
    d->zmq = zmq_ctx_new();
    if (!d->zmq || zmq_ctx_set(d->zmq, ZMQ_MAX_SOCKETS, SOCKETS_MAX) != 0)
        return DAEMON_EXIT_BUG;
    daemon_block_signals();
    raise_descriptors();
    int status = daemon_apply_settings(d) ? run_logged(d) : DAEMON_EXIT_SETTINGS;
    zmq_ctx_term(d->zmq); /* waits for what is lingering, at most a second */
    schema_fini();
    metrics_stop();
    reread_stop();
    return status;
}

static int check_config(struct daemon *d)
{
    if (!thread_room(ZMQ_THREADS, "libzmq"))
        return DAEMON_EXIT_BUG;
    d->zmq = zmq_ctx_new();
    if (sodium_init() < 0 || !d->zmq)
        return DAEMON_EXIT_BUG;
    bool ok = daemon_apply_settings(d);
    zmq_ctx_term(d->zmq);
    config_print_effective(d->tables, d->ntables, stdout);
    return ok ? DAEMON_EXIT_OK : DAEMON_EXIT_SETTINGS;
}

static int act(struct daemon *d, enum daemon_action action)
{
    if (!daemon_make_settings(d, action))
        return DAEMON_EXIT_BUG;
    if (action == DAEMON_ACTION_HELP || action == DAEMON_ACTION_HELP_SETTINGS) {
        if (action == DAEMON_ACTION_HELP)
            daemon_print_help(d);
        else
            config_print_help(d->tables, d->ntables, stdout);
        return DAEMON_EXIT_OK;
    }
    if (!config_load(d->tables, d->ntables))
        return DAEMON_EXIT_SETTINGS;
    allow_core_dumps(daemon_setting(d, "DEBUG_DUMPABLE")->i64);
    if (!daemon_apply_prepare(d))
        return DAEMON_EXIT_SETTINGS;
    switch (action) {
    case DAEMON_ACTION_MIGRATE:
        return daemon_migrate(d);
    case DAEMON_ACTION_REBUILD:
        return daemon_rebuild(d);
    case DAEMON_ACTION_HEALTH:
        return admin_health(daemon_setting(d, "ADMIN_LISTEN")->text);
    case DAEMON_ACTION_CHECK_CONFIG:
        return check_config(d);
    default:
        return run(d);
    }
}

int daemon_run(const struct daemon_def *def, int argc, char **argv)
{
    struct daemon d = { .def = def, .consumer_lock = PTHREAD_MUTEX_INITIALIZER };
    enum daemon_action action = daemon_parse_args(argc, argv);
    if (action == DAEMON_ACTION_USAGE)
        return DAEMON_EXIT_USAGE;
    if (action == DAEMON_ACTION_VERSION) {
        daemon_print_version(&d);
        return DAEMON_EXIT_OK;
    }
    allow_core_dumps(false);
    int status = act(&d, action);
    if (d.common)
        config_free(d.tables, d.ntables);
    free(d.common);
    return status;
}
