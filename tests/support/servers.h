/*
 * servers.h - a PostgreSQL and a Redis of the test's own, on unix sockets below $TMPDIR or /tmp.
 *
 * They end with the test program, however it ends: the kernel signals them when it dies. What goes
 * wrong here is not the subject of any test, so every function reports to stderr and aborts instead
 * of returning a code. Nothing sleeps for a fixed time: start-up waits until the server answers.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_SERVERS_H
#define DAYBOOK_TESTS_SUPPORT_SERVERS_H

#include <sys/types.h>

#include "common/base.h"

struct servers;

struct servers_options {
    bool redis;
    bool redis_tcp;             /* Redis also listens on a free loopback port */
    bool durable;               /* fsync on: for tests that pull the plug */
    const char *postgres_extra; /* lines for postgresql.conf, or NULL */
};

/* PostgreSQL (fsync on) with a database "daybook", trusting everybody who reaches its socket. */
struct servers *servers_start(bool with_redis);
struct servers *servers_start_with(const struct servers_options *options);
void servers_stop(struct servers *s); /* removes the directory too; NULL is allowed */

/* libpq's conninfo of the superuser, who owns the database. Valid until servers_stop(). */
const char *servers_conninfo(struct servers *s);
/* The same for a role, e.g. "daybook_visits" (migrations make it). The caller frees. */
char *servers_conninfo_of(struct servers *s, const char *role);
/* Directory of the sockets and data. */
const char *servers_dir(const struct servers *s);

enum servers_stop_mode {
    SERVERS_FAST,      /* rolls back, disconnects, shuts down cleanly */
    SERVERS_IMMEDIATE, /* as after a crash, told by the postmaster */
    SERVERS_KILL,      /* kill -9 of postmaster and backends */
};
void servers_stop_postgres(struct servers *s, enum servers_stop_mode mode);
void servers_start_postgres(struct servers *s); /* waits until it answers */
void servers_pause_postgres(struct servers *s); /* SIGSTOP to all its processes */
void servers_resume_postgres(struct servers *s);
pid_t servers_postgres_pid(const struct servers *s);

const char *servers_redis_path(const struct servers *s);
int servers_redis_port(const struct servers *s); /* 0 without redis_tcp */
void servers_stop_redis(struct servers *s);      /* kill -9: its data is a cache */
void servers_start_redis(struct servers *s);
void servers_pause_redis(struct servers *s);
void servers_resume_redis(struct servers *s);

#endif
