/*
 * daemon_internal.h - what the files of daemon.c share:
 *
 *   daemon.c         start and end, in order; what hooks may ask
 *   daemon_args.c    command line, settings, --migrate
 *   daemon_rebuild.c  --rebuild
 *   daemon_loop.c    the loop thread: bus, signals, drain
 *   daemon_worker.c  what a worker thread has, and how it answers
 *   daemon_wake.c    waiters, wakers, wake messages in and out
 *   daemon_health.c  the probe thread, readiness, the admin listener's checks
 *   daemon_consumer.c  the thread that hears events
 *   daemon_trace.c   the settings of traces
 *   daemon_notify.c  words to systemd
 */
#ifndef DAYBOOK_COMMON_DAEMON_INTERNAL_H
#define DAYBOOK_COMMON_DAEMON_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/admin.h"
#include "common/bus_worker.h"
#include "common/daemon.h"
#include "common/mailbox.h"
#include "common/mdp.h"
#include "common/pool.h"
#include "common/trace.h"

#define DAEMON_WORKERS_MAX 64
#define DAEMON_CHANNEL_MAX 64
#define DAEMON_WAKES_MAX 10000 /* waiting for a waiter, or for the loop */

enum daemon_action {
    DAEMON_ACTION_RUN,
    DAEMON_ACTION_MIGRATE,
    DAEMON_ACTION_REBUILD,
    DAEMON_ACTION_HEALTH,
    DAEMON_ACTION_VERSION,
    DAEMON_ACTION_HELP,
    DAEMON_ACTION_HELP_SETTINGS,
    DAEMON_ACTION_CHECK_CONFIG,
    DAEMON_ACTION_USAGE, /* not understood */
};

/* One thread besides the loop and the workers. */
struct daemon_running {
    struct daemon *daemon;
    const char *name;
    void (*run)(struct daemon *d, void *arg);
    void *arg;
    bool on_schema; /* begins when the schema is known to be new enough */
    pthread_t thread;
    bool started;
    atomic_bool ended;
};

/* What the probe thread has found out; read by any thread. */
struct daemon_health {
    struct mailbox bell; /* ends the probe's wait */
    atomic_bool stop;
    _Atomic int64_t database_ok_us; /* monotonic; 0 = never yet */
    _Atomic int64_t schema_version;
    atomic_bool schema_ok;
    atomic_bool directory_ok;
    atomic_bool clock_ok;
    _Atomic int64_t skew_us;
    _Atomic(const char *) own_reason; /* static; NULL = ready by its own account */
    /* The sum, kept by the probe, obeyed by the loop. */
    atomic_bool may_serve;
    /* kept by the loop */
    _Atomic int64_t ticked_us;
    atomic_bool registered;
    atomic_bool thread_lost; /* one of the daemon's threads ended by itself */
};

struct daemon_worker;

struct daemon {
    const struct daemon_def *def;
    struct setting *common; /* own copy of the table */
    struct setting *tables[2];
    size_t ntables;
    bool refused; /* settings, by the daemon's own start */

    char instance[96];
    uint8_t origin[BUS_WAKE_ORIGIN_LEN];
    char application_name[160];
    struct bus_address address;
    struct trace_config traces;
    char traces_url[2048]; /* "" = no traces */
    char traces_service[64];
    void *zmq;
    void *data; /* the def's own */

    struct daemon_worker *workers[DAEMON_WORKERS_MAX];
    size_t nworkers;
    struct pool *pool;
    const char **services;
    size_t nservices;
    struct bus_worker *bus; /* the loop's; NULL without methods */
    struct admin *admin;

    struct daemon_running *threads; /* def's own, then the consumer */
    size_t nthreads;
    atomic_int threads_left;
    struct daemon_running probe;
    struct daemon_health health;

    pthread_mutex_t consumer_lock; /* never destroyed: a thread may be left behind */
    struct consumer *consumer;     /* while its thread runs */

    atomic_bool stopping; /* from SIGTERM on */

    struct mailbox to_loop; /* struct wake_mail */
    atomic_bool relay_due;
    pthread_mutex_t waiters_lock;
    struct daemon_waiter *waiters;
};

/* daemon_args.c */
enum daemon_action daemon_parse_args(int argc, char **argv);
void daemon_print_help(const struct daemon *d);
void daemon_print_version(const struct daemon *d);
/* Makes the tables. False: no memory. */
NODISCARD bool daemon_make_settings(struct daemon *d, enum daemon_action action);
/* Judges what a table cannot say, and starts clock, log level and secrets. False: said why. */
NODISCARD bool daemon_apply_settings(struct daemon *d);
/* Passwords are read again from their files for each connection, the log level by daemon_reload(). */
void daemon_watch_files(const struct daemon *d);
void daemon_reload(const struct daemon *d); /* SIGHUP */
/* For whatever connects to PostgreSQL. False: said why. */
NODISCARD bool daemon_apply_prepare(const struct daemon *d);
int daemon_migrate(struct daemon *d);
int daemon_exit_of(enum err e); /* of a one-shot command */

/* daemon_trace.c */
/* The names that OpenTelemetry gives them. */
/* clang-format off */
#define DAEMON_TRACE_SETTINGS                                                                      \
    { .key = "OTEL_EXPORTER_OTLP_ENDPOINT",                                                        \
      .foreign = true,                                                                             \
      .type = SETTING_TEXT,                                                                        \
      .help = "Collector of traces, such as http://localhost:4318: spans are posted to /v1/traces "\
              "there, as OTLP in JSON. Unset: no traces." },                                       \
    { .key = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",                                                 \
      .foreign = true,                                                                             \
      .type = SETTING_TEXT,                                                                        \
      .help = "The same as a whole address, to which nothing is added; it goes first." },          \
    { .key = "OTEL_SERVICE_NAME",                                                                  \
      .foreign = true,                                                                             \
      .type = SETTING_TEXT,                                                                        \
      .help = "The daemon's name in traces; unset: daybook-NAME." },                               \
    { .key = "OTEL_TRACES_SAMPLER",                                                                \
      .foreign = true,                                                                             \
      .type = SETTING_TEXT,                                                                        \
      .default_value = "parentbased_always_on",                                                    \
      .help = "What is traced: always_on, always_off, traceidratio; with parentbased_ before it, " \
              "whoever asks decides where he says." },                                             \
    { .key = "OTEL_TRACES_SAMPLER_ARG",                                                            \
      .foreign = true,                                                                             \
      .type = SETTING_TEXT,                                                                        \
      .help = "Of traceidratio: the part that is traced, 0 to 1; unset: 1." }
/* clang-format on */
/* Judges them. False: said why. */
NODISCARD bool daemon_apply_traces(struct daemon *d);
/* Starts the exporter where a collector is named. A daemon without traces serves all the same. */
void daemon_traces_start(struct daemon *d);

/* daemon_rebuild.c */
int daemon_rebuild(struct daemon *d);

/* daemon_worker.c */
NODISCARD bool daemon_workers_start(struct daemon *d);
NODISCARD bool daemon_workers_stop(struct daemon *d, int64_t timeout_us);

/* daemon_wake.c */
NODISCARD bool daemon_wake_init(struct daemon *d);
void daemon_wake_fini(struct daemon *d);
/* From any thread of this process: to waiters here, and to the bus. */
void daemon_wake_publish(struct daemon *d, const char *channel, const void *data, size_t len);
/* From the loop. */
struct wake_mail {
    struct mail mail;
    bool subscribe; /* else publish */
    char channel[DAEMON_CHANNEL_MAX];
    size_t len;
    uint8_t data[]; /* origin and message */
};
void daemon_wake_heard(struct daemon *d, const char *channel, size_t channel_len, const void *bytes,
                       size_t len);
void daemon_wake_all(struct daemon *d); /* the daemon is stopping */

/* daemon_loop.c; the signals must be blocked in all threads. Returns the exit status. */
int daemon_loop(struct daemon *d);
void daemon_block_signals(void);
void daemon_unblock_signals(void);

/* daemon_health.c */
NODISCARD bool daemon_health_start(struct daemon *d);
void daemon_health_stop(struct daemon *d);
/* The status to end with: 0, go on; 70, start it again; 78, change the setting first. */
NODISCARD int daemon_admin_start(struct daemon *d);

/* daemon_consumer.c */
void daemon_consumer_run(struct daemon *d, void *arg);
/* Why events do not reach this daemon as they should, static; NULL: they do. Shown, and no reason
 * to take its methods from the bus. Any thread. */
const char *daemon_consumer_trouble(struct daemon *d);

/* daemon.c */
NODISCARD bool daemon_thread_start(struct daemon_running *t);

/* daemon_notify.c: sd_notify(3) without the library; nothing happens outside systemd. */
void daemon_notify(const char *words);
/* Microseconds between signs of life that systemd wants; 0 = none. */
int64_t daemon_notify_watchdog_us(void);

#endif
