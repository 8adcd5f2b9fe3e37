/*
 * daemon_health.c - one thread with a connection of its own asks each second what readiness hangs
 * on, and does the small housekeeping that every daemon with a schema needs.
 *
 * The loop obeys `may_serve`: it registers at the bus, or takes the daemon's workers back, so that
 * the bus queues for other replicas. The admin thread only reads what was noted here.
 */
#include <errno.h>

#include "common/clock.h"
#include "common/daemon_internal.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sql.h"

#define PROBE_EVERY_US SECOND_US
#define PROBE_SOON_US (200 * MSEC_US) /* the database answers, something else is still missing */
#define PROBE_TIMEOUT_US (2 * SECOND_US)
#define DATABASE_FRESH_US (5 * SECOND_US)
#define SCHEMA_EVERY_US (10 * SECOND_US)
#define CLOCK_EVERY_US (10 * SECOND_US)
#define SWEEP_EVERY_US MINUTE_US
#define SWEEP_TIMEOUT_US (3 * SECOND_US)
#define SKEW_WARN_US SECOND_US
#define SKEW_MAX_US (5 * SECOND_US)
#define LOOP_STALL_US (10 * SECOND_US)
/* five times the longest deadline that a request can have */
#define HANDLER_STUCK_US (5 * 30 * SECOND_US)

static struct metric db_up = {
    .name = "daybook_db_up",
    .type = METRIC_GAUGE,
    .help = "1 while PostgreSQL answers on a read-write connection.",
};
static struct metric clock_skew_seconds = {
    .name = "daybook_clock_skew_seconds",
    .type = METRIC_GAUGE,
    .help = "This host's clock less the database's.",
};

struct probe {
    struct daemon *daemon;
    struct db *db; /* NULL: the daemon has none */
    bool told_down, told_old;
    int64_t schema_at_us, clock_at_us, sweep_at_us; /* next times */
};

static bool is_due(int64_t *at_us, int64_t every_us)
{
    int64_t now_us = clock_monotonic_us();
    if (now_us < *at_us)
        return false;
    *at_us = now_us + every_us;
    return true;
}

static bool ask_database(struct probe *p)
{
    struct daemon_health *h = &p->daemon->health;
    enum err e = db_ping(p->db, clock_monotonic_us() + PROBE_TIMEOUT_US);
    if (e == ERR_OK)
        atomic_store(&h->database_ok_us, clock_monotonic_us());
    else if (!p->told_down)
        log_warn("db.probe_failed", "PostgreSQL does not answer", "code", err_name(e), NULL);
    p->told_down = e != ERR_OK;
    metric_set(&db_up, e == ERR_OK, NULL);
    return e == ERR_OK;
}

static void ask_schema(struct probe *p)
{
    struct daemon *d = p->daemon;
    int version = 0;
    enum err e = ERR_OK;
    if (d->def->schema)
        e = migrate_check(p->db, d->def->schema, d->def->nmigrations,
                          clock_monotonic_us() + PROBE_TIMEOUT_US, &version);
    if (e == ERR_FAILED_PRECONDITION && !p->told_old)
        log_warn("db.schema_old", "the schema is older than this program: run --migrate", "schema",
                 d->def->schema, NULL);
    atomic_store(&d->health.schema_version, version);
    /* An answer that did not come changes nothing; db_ping() will tell. */
    if (e == ERR_OK || e == ERR_FAILED_PRECONDITION) {
        atomic_store(&d->health.schema_ok, e == ERR_OK);
        p->told_old = e != ERR_OK;
    }
}

static enum err database_clock(struct db *db, int64_t *us_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + PROBE_TIMEOUT_US);
    if (e == ERR_OK)
        e = db_exec(db, &sql_daemon_clock, NULL, &res);
    if (e == ERR_OK) {
        struct db_row row = { .res = res };
        *us_out = db_row_i64(&row, "now_us");
        e = row.bad ? ERR_INTERNAL : ERR_OK;
    }
    db_rollback(db);
    return e;
}

static void ask_clock(struct probe *p)
{
    struct daemon_health *h = &p->daemon->health;
    int64_t before_us = clock_wall_us(), theirs_us;
    if (database_clock(p->db, &theirs_us))
        return; /* db_ping() will tell */
    int64_t after_us = clock_wall_us();
    /* Within the time that asking took, nothing is known. */
    int64_t skew_us = before_us > theirs_us  ? before_us - theirs_us
                      : after_us < theirs_us ? after_us - theirs_us
                                             : 0;
    int64_t size_us = skew_us < 0 ? -skew_us : skew_us;
    if (size_us > SKEW_WARN_US) {
        char text[32];
        snprintf(text, sizeof text, "%" PRId64, skew_us);
        log_warn("clock.skew", "this host's clock differs from the database's", "skew_us", text,
                 NULL);
    }
    metric_set(&clock_skew_seconds, (double)skew_us / (double)SECOND_US, NULL);
    atomic_store(&h->skew_us, skew_us);
    atomic_store(&h->clock_ok, size_us <= SKEW_MAX_US);
}

static void sweep(struct probe *p)
{
    int64_t deleted = 0;
    enum err e = call_sweep_idempotency(p->db, p->daemon->def->schema,
                                        clock_monotonic_us() + SWEEP_TIMEOUT_US, &deleted);
    if (e)
        log_warn("call.sweep_failed", "old idempotency records were not deleted", "code",
                 err_name(e), NULL);
}

static void ask_directory(struct daemon *d)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    atomic_store(&d->health.directory_ok, dir != NULL);
}

static void ask_daemon(struct daemon *d)
{
    const char *reason = NULL;
    if (d->def->ready && !d->def->ready(d->data, &reason) && !reason)
        reason = "not ready by its own account";
    atomic_store(&d->health.own_reason, reason);
}

static bool database_fresh(struct daemon_health *h)
{
    int64_t at_us = atomic_load(&h->database_ok_us);
    return at_us && clock_monotonic_us() - at_us <= DATABASE_FRESH_US;
}

static bool may_serve(struct daemon *d)
{
    struct daemon_health *h = &d->health;
    return (d->def->no_database ||
            (database_fresh(h) && atomic_load(&h->schema_ok) && atomic_load(&h->clock_ok))) &&
           (d->def->no_directory || atomic_load(&h->directory_ok)) &&
           atomic_load(&h->own_reason) == NULL && !daemon_stopping(d);
}

static void probe_once(struct probe *p)
{
    struct daemon *d = p->daemon;
    if (p->db && ask_database(p)) {
        if (!atomic_load(&d->health.schema_ok) || is_due(&p->schema_at_us, SCHEMA_EVERY_US))
            ask_schema(p);
        if (is_due(&p->clock_at_us, CLOCK_EVERY_US))
            ask_clock(p);
        if (d->def->schema && d->def->nmethods && atomic_load(&d->health.schema_ok) &&
            is_due(&p->sweep_at_us, SWEEP_EVERY_US))
            sweep(p);
    }
    if (!d->def->no_directory)
        ask_directory(d);
    ask_daemon(d);

    bool may = may_serve(d);
    if (atomic_exchange(&d->health.may_serve, may) != may)
        mailbox_ring(&d->to_loop);
}

static void probe_main(struct daemon *d, void *arg)
{
    (void)arg;
    struct daemon_health *h = &d->health;
    struct probe p = { .daemon = d };
    if (!d->def->no_database) {
        p.db = db_new(daemon_conninfo(d), d->application_name);
        if (!p.db) {
            log_error("daemon.no_memory", "the probe thread could not start", NULL);
            return;
        }
    }
    while (!atomic_load(&h->stop)) {
        probe_once(&p);
        mailbox_take(&h->bell); /* nothing is ever inside: takes back the ring */
        bool soon = !atomic_load(&h->may_serve) && (d->def->no_database || database_fresh(h));
        if (!atomic_load(&h->stop))
            mailbox_wait(&h->bell, soon ? PROBE_SOON_US : PROBE_EVERY_US);
    }
    db_free(p.db);
}

bool daemon_health_start(struct daemon *d)
{
    atomic_store(&d->health.clock_ok, true); /* until the database says otherwise */
    atomic_store(&d->health.ticked_us, clock_monotonic_us());
    if (!mailbox_init(&d->health.bell))
        return false;
    d->probe = (struct daemon_running){ .daemon = d, .name = "probe", .run = probe_main };
    return daemon_thread_start(&d->probe);
}

void daemon_health_stop(struct daemon *d)
{
    if (!d->probe.started)
        return;
    atomic_store(&d->health.stop, true);
    mailbox_ring(&d->health.bell);
    pthread_join(d->probe.thread, NULL);
    d->probe.started = false;
    mailbox_fini(&d->health.bell);
}

bool daemon_clock_trusted(const struct daemon *d)
{
    return atomic_load(&d->health.clock_ok);
}

/* --- what the admin listener shows ------------------------------------------------------------ */

static void check(struct admin_check *c, const char *name, bool ok, const char *detail)
{
    c->name = name;
    c->ok = ok;
    snprintf(c->detail, sizeof c->detail, "%s", ok ? "" : detail);
}

static size_t live_checks(void *ctx, struct admin_check *checks, size_t max)
{
    struct daemon *d = ctx;
    size_t n = 0;
    int64_t stall_us = clock_monotonic_us() - atomic_load(&d->health.ticked_us);
    if (n < max)
        check(&checks[n++], "loop", stall_us < LOOP_STALL_US, "the loop stands still");
    if (n < max)
        check(&checks[n++], "workers", !d->pool || pool_longest_us(d->pool) < HANDLER_STUCK_US,
              "a handler does not end");
    if (n < max)
        check(&checks[n++], "threads", !atomic_load(&d->health.thread_lost),
              "a thread ended by itself");
    return n;
}

static size_t ready_checks(void *ctx, struct admin_check *checks, size_t max)
{
    struct daemon *d = ctx;
    struct daemon_health *h = &d->health;
    const char *own = atomic_load(&h->own_reason), *trouble = daemon_consumer_trouble(d);
    bool db = !d->def->no_database;
    const struct {
        const char *name;
        bool asked, ok;
        const char *detail;
    } rows[] = {
        { "database", db, database_fresh(h), "no answer on a read-write connection for 5 s" },
        { "schema", db && d->def->schema, atomic_load(&h->schema_ok),
          "the schema is older than this program, or not read yet" },
        { "clock", db, atomic_load(&h->clock_ok), "more than 5 s off the database's" },
        { "directory", !d->def->no_directory, atomic_load(&h->directory_ok),
          "no snapshot of the directory yet" },
        { "daemon", d->def->ready != NULL, own == NULL, own },
        { "events", d->def->consumer != NULL, trouble == NULL, trouble },
        { "bus", d->nservices > 0, atomic_load(&h->registered), "registered at no bus" },
        { "drain", true, !daemon_stopping(d), "stopping" },
    };
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows) && n < max; i++)
        if (rows[i].asked)
            check(&checks[n++], rows[i].name, rows[i].ok, rows[i].detail ? rows[i].detail : "");
    return n;
}

static bool is_shortage(int e)
{
    return e == EAGAIN || e == ENOMEM || e == EMFILE || e == ENFILE || e == ENOBUFS;
}

int daemon_admin_start(struct daemon *d)
{
    const char *address = daemon_setting(d, "ADMIN_LISTEN")->text;
    struct admin_hooks hooks = { .live = live_checks, .ready = ready_checks, .ctx = d };
    d->admin = admin_start(address, &hooks);
    if (!d->admin &&
        is_shortage(errno)) { /* of threads, memory, descriptors: no setting is wrong */
        log_error("daemon.start_failed", strerror(errno), "for", "admin", NULL);
        return DAEMON_EXIT_BUG;
    }
    if (!d->admin) {
        (void)fprintf(stderr, "setting DAYBOOK_ADMIN_LISTEN: cannot listen on %s: %s\n", address,
                      strerror(errno));
        return DAEMON_EXIT_SETTINGS;
    }
    log_info("daemon.admin", "admin listener is up", "address", admin_address(d->admin), NULL);
    return DAEMON_EXIT_OK;
}
