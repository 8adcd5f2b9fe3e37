/*
 * daemon.h - the life of a daemon: arguments, settings, log, schema check, worker pool, bus,
 * consumer, readiness, drain. main.c is data handed to daemon_run().
 *
 * Threads: the loop (bus sockets, heartbeats, signals by signalfd; never waits for PostgreSQL,
 * Redis or HTTP), N workers (each a slot at the bus, with its own connections and arena), the
 * consumer, the directory's refresher, the admin listener, the log writer, and the daemon's own
 * threads.
 *
 * Arguments: none = run; --migrate, --rebuild, --health, --version, --help, --help-settings,
 * --check-config. Exit codes: 0 drained, 64 usage, 78 settings, 70 our bug, 75 try again later
 * (--migrate,
 * --rebuild).
 */
#ifndef DAYBOOK_COMMON_DAEMON_H
#define DAYBOOK_COMMON_DAEMON_H

#include "common/bus_client.h"
#include "common/call.h"
#include "common/config.h"
#include "common/consumer.h"
#include "common/metrics.h"
#include "common/migrate.h"

/* Exit statuses (sysexits.h). */
#define DAEMON_EXIT_OK 0
#define DAEMON_EXIT_USAGE 64
#define DAEMON_EXIT_BUG 70
#define DAEMON_EXIT_AGAIN 75 /* try again later */
#define DAEMON_EXIT_SETTINGS 78

struct daemon; /* the running daemon */

/* A thread of the daemon's own (timer engine, delivery). Runs until daemon_stopping(). */
struct daemon_thread {
    const char *name;
    void (*run)(struct daemon *d, void *daemon_data);
    bool on_schema; /* begins when the schema is one that this program knows */
};

/* Same contract as call_answer(). */
typedef void daemon_answer_fn(struct call_env *env, const struct call_frames *in,
                              uint8_t **result_out, size_t *result_len_out, uint8_t **reply_out,
                              size_t *reply_len_out);

struct daemon_def {
    const char *name;   /* "visits" */
    const char *schema; /* NULL: no schema of its own */
    /* Default of ADMIN_LISTEN: a port of its own each, so that several daemons live on one machine
     * without being told. NULL: any free one. */
    const char *admin_listen;
    const struct method *methods;
    size_t nmethods;
    const struct consumer_def *consumer; /* NULL: hears nothing */
    struct setting *settings;            /* the daemon's own, ended by a NULL key; NULL = none */
    const struct migration *migrations;
    size_t nmigrations;
    const struct daemon_thread *threads;
    size_t nthreads;
    bool uses_cache;   /* workers get a Redis connection */
    bool no_directory; /* the bus */
    /* An edge: its snapshots have the API keys, and its role may read them. */
    bool proves_api_keys;
    /* Seals fields, or lists by pages: their tokens are another replica's too. */
    bool needs_master_key;
    /* What it keeps sealed, for a change of the master key. */
    const struct reseal_table *sealed;
    size_t nsealed;
    /* Optional. Makes daemon_data once, before threads start; NULL return with *ok_out false =
     * stop. */
    void *(*start)(struct daemon *d, bool *ok_out);
    void (*stop)(void *daemon_data); /* after all threads ended */
    /* Optional further readiness: true, or false with a static reason. */
    bool (*ready)(void *daemon_data, const char **reason_out);

    /* For the bus itself and for tests; all may be left out. */
    const char *bus_endpoint; /* instead of BUS_ENDPOINT, e.g. "inproc://broker" bound by start() */
    const char *bus_events;   /* instead of BUS_EVENTS */
    bool no_database;         /* asks no DB_URL; workers have no connection */
    daemon_answer_fn *answer; /* instead of call_answer() */
};

int daemon_run(const struct daemon_def *def, int argc, char **argv);

/* For hooks and threads. */
bool daemon_stopping(const struct daemon *d);
/* Waits up to timeout_us or until the daemon stops, the thread is woken, or a channel was
 * published. One waiter a thread. */
struct daemon_waiter;
/* channel: NULL, or a wake channel to hear ("reminders.timers"); may be called once a thread. */
struct daemon_waiter *daemon_waiter_new(struct daemon *d, const char *channel);
void daemon_waiter_free(struct daemon_waiter *w);
/* True: woken; *data_out, *len_out are then the last message's bytes (valid until the next call).
 * Messages queue up; each is handed out once. False: time is up or stopping. */
bool daemon_waiter_wait(struct daemon_waiter *w, int64_t timeout_us, const void **data_out,
                        size_t *len_out);

/* A sender for a thread that is neither worker nor consumer; belongs to that thread. */
struct daemon_waker;
struct daemon_waker *daemon_waker_new(struct daemon *d);
void daemon_waker_free(struct daemon_waker *w);
/* channel "relay" (mdp.h): events were committed. Never waits; a wake may be lost when the bus is
 * away. */
void daemon_wake(struct daemon_waker *w, const char *channel, const void *data, size_t len);

const char *daemon_conninfo(const struct daemon *d);
const char *daemon_cache_address(const struct daemon *d); /* NULL: none set */
const char *daemon_cache_password(const struct daemon *d);
void *daemon_zmq_context(struct daemon *d);
const struct bus_address *daemon_bus_address(const struct daemon *d); /* with its own key */
const struct setting *daemon_setting(const struct daemon *d, const char *key);
/* For start(): what is wrong with a setting. The process then ends with 78 (F57). */
void daemon_refuse_setting(struct daemon *d, const char *what);
/* host name and pid: the owner of leases. */
const char *daemon_instance(const struct daemon *d);
/* False while this host's clock and the database's are more than 5 s apart: fire nothing then
 * (F41). */
bool daemon_clock_trusted(const struct daemon *d);
/* How far the consumer has heard the log, and how far that goes. False: not known, since there is
 * no consumer or it does not agree with the log (yet). */
bool daemon_heard(struct daemon *d, int64_t *seq_out, int64_t *head_out);

/*
 * Settings that every daemon has (DAYBOOK_ in front):
 *   DB_URL, DB_PREPARE, BUS_ENDPOINT, BUS_EVENTS, BUS_SERVER_KEY, BUS_PUBLIC_KEY, BUS_SECRET_KEY
 * (secret), REDIS_URL, REDIS_PASSWORD (secret), MASTER_KEY (secret), ADMIN_LISTEN, WORKERS,
 * LOG_LEVEL, CLOCK, DRAIN_TIMEOUT, ARENA_BYTES, MIGRATE_URL (for --migrate)
 */

#endif
