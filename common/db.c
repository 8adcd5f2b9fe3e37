/*
 * db.c - the connection and its transactions.
 *
 * BEGIN and the settings of a transaction are sent with its first statement, so one that never ran
 * any costs nothing. The settings are SET LOCAL and not set_config(), which a sharding engine would
 * not pass on (operations 4).
 */
#include "common/db_internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/db_refusal.h"
#include "common/log.h"
#include "common/num.h"
#include "common/reread.h"

#define CONNECT_LIMIT_US (3 * SECOND_US)
#define CONNECT_LIMIT_TEXT "3"
#define DEFAULT_DEADLINE_US (5 * SECOND_US) /* of statements outside a transaction */
#define ROLLBACK_LIMIT_US SECOND_US
#define BACKOFF_BASE_US (100 * MSEC_US)
#define BACKOFF_CAP_US (3 * SECOND_US)
#define BACKOFF_STEPS 5 /* 100 ms << 5 is past the cap */

/* Set by db_set_prepare() before threads start, constant afterwards. */
static bool prepare_off;

void db_set_prepare(bool on)
{
    prepare_off = !on;
}

struct db *db_new(const char *conninfo, const char *application_name)
{
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return NULL;
    db->prepare_off = prepare_off;
    db->conninfo = strdup(conninfo);
    db->conninfo_file = reread_of(conninfo);
    db->application_name = strdup(application_name);
    if (db->conninfo == NULL || db->application_name == NULL) {
        db_free(db);
        return NULL;
    }
    return db;
}

void db_free(struct db *db)
{
    if (db == NULL)
        return;
    db_pipe_drop(db); /* the server rolls back when the session ends */
    free(db->pending);
    free(db->conninfo);
    free(db->application_name);
    free(db);
}

void db_freep(struct db **db)
{
    db_free(*db);
    *db = NULL;
}

void db_set_relaxed(struct db *db, bool on)
{
    db->relaxed = on;
}

/* --- connecting --- */

static void on_notice(void *arg, const PGresult *notice)
{
    struct db *db = arg;
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

    if (db_error_commit_warning(notice) && db->head < db->npending &&
        db->pending[db->head].kind == DB_ENTRY_COMMIT)
        db->commit_warned = true;
    log_debug("db.notice", text ? text : "", "sqlstate",
              PQresultErrorField(notice, PG_DIAG_SQLSTATE), NULL);
}

static bool is_conninfo(const char *text)
{
    PQconninfoOption *parsed = PQconninfoParse(text, NULL);
    bool good = parsed != NULL;
    PQconninfoFree(parsed);
    return good;
}

static PGconn *start_connecting(const struct db *db)
{
    CLEANUP(reread_freep) char *conninfo = reread(db->conninfo_file, db->conninfo, is_conninfo);
    if (!conninfo)
        return NULL;
    /* What conninfo says itself comes after our defaults and wins. No `options`: poolers refuse
     * them. */
    const char *const keys[] = {
        "connect_timeout", "tcp_user_timeout", "keepalives_idle", "target_session_attrs",
        "dbname",          "application_name", "client_encoding", NULL,
    };
    const char *const values[] = {
        CONNECT_LIMIT_TEXT,   "5000", "10", "read-write", conninfo,
        db->application_name, "UTF8", NULL,
    };
    return PQconnectStartParams(keys, values, 1);
}

static bool wait_socket(PGconn *conn, PostgresPollingStatusType want, int64_t deadline_us)
{
    int64_t left_us = deadline_us - clock_monotonic_us();
    if (left_us <= 0)
        return false;
    struct pollfd p = { .fd = PQsocket(conn),
                        .events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT };
    int n = poll(&p, 1, (int)MIN((left_us + MSEC_US - 1) / MSEC_US, INT_MAX));
    return n >= 0 || errno == EINTR; /* the next turn looks at the time */
}

/* For the log. Of a setting that it cannot read libpq quotes a part, which may be the password. */
static const char *why_not(const struct db *db, const PGconn *conn)
{
    const char *why = conn ? PQerrorMessage(conn) : "out of memory";

    CLEANUP(reread_freep) char *now = reread(db->conninfo_file, db->conninfo, is_conninfo);
    if (now && !is_conninfo(now))
        return "what is set for the database is neither a conninfo nor a URL";
    return why[0] ? why : "not connected in time";
}

static void report_refusal(struct db *db, const PGconn *conn)
{
    const char *why = why_not(db, conn);
    char *plain = db_refusal_plain(why);

    db_refusal_sqlstate(why, db->error.sqlstate);
    log_warn("db.connect_failed", plain ? plain : "out of memory", "sqlstate", db->error.sqlstate,
             NULL);
    db_error_count(db->error.sqlstate);
    free(plain);
}

/* NULL when it did not come up in time; why is logged and in db->error. */
static PGconn *connect_until(struct db *db, int64_t deadline_us)
{
    PGconn *conn = start_connecting(db);
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;

    if (conn)
        (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* says the SQLSTATE (F18) */
    while (conn && PQstatus(conn) != CONNECTION_BAD && want != PGRES_POLLING_OK &&
           want != PGRES_POLLING_FAILED) {
        if (!wait_socket(conn, want, deadline_us))
            break;
        want = PQconnectPoll(conn);
    }
    if (conn && want == PGRES_POLLING_OK && PQstatus(conn) == CONNECTION_OK) {
        (void)PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
        return conn;
    }
    report_refusal(db, conn);
    PQfinish(conn);
    return NULL;
}

static void back_off(struct db *db)
{
    unsigned steps = MIN(db->connect_failures, BACKOFF_STEPS);
    int64_t cap_us = MIN(BACKOFF_BASE_US << steps, BACKOFF_CAP_US);

    db->connect_failures++;
    db->connect_not_before_us = clock_monotonic_us() + randombytes_uniform((uint32_t)cap_us);
}

/*
 * The role's own statement timeout, to which a transaction's may only be lowered. Reading rows
 * hangs on three settings besides: our roles have them (migrate.c), which holds through every
 * pooler; an owner's or a tool's session takes them here.
 */
static enum err learn_session(struct db *db, int64_t deadline_us)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_pipe_send_text(
        db, "learn_session",
        "SELECT setting,"
        "       (SELECT count(set_config(name, want, false))"
        "          FROM (VALUES ('TimeZone', 'UTC', 'UTC'), ('DateStyle', 'ISO', 'ISO%'),"
        "                       ('bytea_output', 'hex', 'hex')) AS w (name, want, good)"
        "         WHERE current_setting(name) NOT LIKE good) AS mended"
        "  FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'",
        DB_ENTRY_EXEC);
    if (e == ERR_OK)
        e = db_pipe_run(db, deadline_us, &res);
    if (e)
        return e;
    if (PQntuples(res) != 1 || !num_i64(PQgetvalue(res, 0, 0), 0, INT_MAX, &db->role_timeout_ms))
        return ERR_INTERNAL;
    return ERR_OK;
}

static enum err set_up_session(struct db *db, int64_t deadline_us)
{
    PQsetNoticeReceiver(db->conn, on_notice, db);
    if (PQsetnonblocking(db->conn, 1) != 0 || !PQenterPipelineMode(db->conn))
        return ERR_UNAVAILABLE;
    return learn_session(db, deadline_us);
}

static enum err connect_now(struct db *db, int64_t deadline_us)
{
    if (clock_monotonic_us() < db->connect_not_before_us)
        return ERR_UNAVAILABLE;
    deadline_us = MIN(deadline_us, clock_monotonic_us() + CONNECT_LIMIT_US);
    db->conn = connect_until(db, deadline_us);
    db->sessions += db->conn != NULL;
    db_count_use(db);
    enum err e = db->conn ? set_up_session(db, deadline_us) : ERR_UNAVAILABLE;
    if (e) {
        db_pipe_drop(db);
        back_off(db);
        return ERR_UNAVAILABLE;
    }
    if (db->connect_failures)
        log_info("db.connected", "PostgreSQL is back", NULL);
    db->connect_failures = 0;
    return ERR_OK;
}

/* Did an idle connection end since we last looked? Then a new one serves the caller better. */
static void drop_if_dead(struct db *db)
{
    struct pollfd p = { .fd = PQsocket(db->conn), .events = POLLIN };

    while (poll(&p, 1, 0) > 0) {
        if (!PQconsumeInput(db->conn) || PQstatus(db->conn) == CONNECTION_BAD) {
            db_pipe_drop(db);
            return;
        }
        (void)PQisBusy(db->conn); /* parses what came: notices, changed parameters */
    }
}

static enum err ensure_connected(struct db *db, int64_t deadline_us)
{
    if (db->conn && db->doomed)
        db_pipe_drop(db);
    if (db->conn)
        drop_if_dead(db);
    if (db->conn == NULL)
        return connect_now(db, deadline_us);
    if (PQpipelineStatus(db->conn) == PQ_PIPELINE_OFF && !PQenterPipelineMode(db->conn)) {
        db_pipe_drop(db); /* db_raw()'s user left something unfinished */
        return ERR_UNAVAILABLE;
    }
    return ERR_OK;
}

bool db_is_connected(const struct db *db)
{
    return db->conn && PQstatus(db->conn) == CONNECTION_OK;
}

uint64_t db_session(const struct db *db)
{
    return db_is_connected(db) ? db->sessions : 0;
}

enum err db_ping(struct db *db, int64_t deadline_us)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    assert(!db->in_tx);
    db_error_clear(db);
    enum err e = ensure_connected(db, deadline_us);
    if (e == ERR_OK)
        e = db_pipe_send_text(db, "ping", "SHOW transaction_read_only", DB_ENTRY_EXEC);
    if (e == ERR_OK)
        e = db_pipe_run(db, deadline_us, &res);
    if (e == ERR_OK && (PQntuples(res) != 1 || strcmp(PQgetvalue(res, 0, 0), "off") != 0))
        e = ERR_UNAVAILABLE;
    if (e)
        db_pipe_drop(db); /* silent, or demoted: another address may be better */
    return e;
}

/* --- transactions --- */

/* Without parameters, and so often sent that even their parsing counts. */
static const struct db_stmt begin_stmt = { .name = "begin", .text = "BEGIN" };
static const struct db_stmt commit_stmt = { .name = "commit", .text = "COMMIT" };
static const struct db_stmt relaxed_stmt = { .name = "set_relaxed",
                                             .text = "SET LOCAL synchronous_commit = off" };

static enum err send_bare(struct db *db, const struct db_stmt *stmt, enum db_entry_kind kind)
{
    return db_pipe_send(db, stmt, (struct db_values){ 0 }, kind, (struct db_reader){ 0 });
}

enum err db_begin(struct db *db, const struct id *tenant, int64_t deadline_us)
{
    assert(!db->in_tx);
    db_error_clear(db);
    db->in_doubt = false;
    enum err e = ensure_connected(db, deadline_us);
    if (e)
        return e;
    db->in_tx = true;
    db->tx_sent = false;
    db->tx_error = ERR_OK;
    db->commit_warned = false;
    db->deadline_us = deadline_us;
    db->has_tenant = tenant != NULL;
    if (tenant)
        db->tenant = *tenant;
    db_count_use(db);
    return ERR_OK;
}

static enum err send_tenant(struct db *db)
{
    char sql[96], buf[ID_TEXT_MAX];

    snprintf(sql, sizeof sql, "SET LOCAL daybook.tenant = '%s'", id_text(db->tenant, buf));
    db->sent_tenant = db->tenant;
    db->tenant_sent = true;
    return db_pipe_send_text(db, "set_tenant", sql, DB_ENTRY_COMMAND);
}

/* The deadline is kept here, whatever the server does; its timeout only ends what nobody waits for
 * any more, so that the role's own is as good when it is nearly the same. */
static enum err send_timeout(struct db *db, int64_t left_ms)
{
    char sql[64];

    if (left_ms > INT_MAX || (db->role_timeout_ms > 0 && left_ms >= db->role_timeout_ms * 9 / 10))
        return ERR_OK;
    snprintf(sql, sizeof sql, "SET LOCAL statement_timeout = %" PRId64, left_ms);
    return db_pipe_send_text(db, "set_timeout", sql, DB_ENTRY_COMMAND);
}

/* Sends BEGIN and the settings in front of the first statement. */
static enum err open_tx(struct db *db)
{
    int64_t left_ms = (db->deadline_us - clock_monotonic_us()) / MSEC_US;
    if (left_ms <= 0)
        return ERR_DEADLINE_EXCEEDED;

    db->tx_sent = true;
    db->tenant_sent = false;
    enum err e = send_bare(db, &begin_stmt, DB_ENTRY_COMMAND);
    if (e == ERR_OK && db->relaxed)
        e = send_bare(db, &relaxed_stmt, DB_ENTRY_COMMAND);
    if (e == ERR_OK)
        e = send_timeout(db, left_ms);
    if (e == ERR_OK && db->has_tenant)
        e = send_tenant(db);
    return e;
}

/* Makes the connection ready to take a statement, in a transaction or not. */
static enum err prepare_to_send(struct db *db)
{
    db_error_clear(db);
    if (!db->in_tx) {
        if (db->npending > db->head)
            return ERR_OK; /* queued outside a transaction */
        db->deadline_us = clock_monotonic_us() + DEFAULT_DEADLINE_US;
        return ensure_connected(db, db->deadline_us);
    }
    if (db->tx_error)
        return db->tx_error;
    return db->tx_sent ? ERR_OK : open_tx(db);
}

/* Keeps a failure: inside a transaction only rollback is left; outside, nothing may linger. */
static enum err settle(struct db *db, enum err e)
{
    if (e && db->in_tx)
        db->tx_error = e;
    else if (e && (db->doomed || db->head < db->npending))
        db_pipe_drop(db);
    return e;
}

static enum err run(struct db *db, PGresult **res_out)
{
    return settle(db, db_pipe_run(db, db->deadline_us, res_out));
}

static enum err queue(struct db *db, const struct db_stmt *stmt, struct db_values values,
                      enum db_entry_kind kind, struct db_reader reader)
{
    enum err e = prepare_to_send(db);
    if (e == ERR_OK && db->npending - db->head >= DB_PENDING_MAX)
        e = run(db, NULL);
    if (e == ERR_OK)
        e = db_pipe_send(db, stmt, values, kind, reader);
    return settle(db, e);
}

enum err db_set_tenant(struct db *db, struct id tenant)
{
    assert(db->in_tx);
    db->tenant = tenant;
    db->has_tenant = true;
    if (!db->tx_sent && !db->tx_error)
        return ERR_OK; /* goes out with BEGIN */
    enum err e = prepare_to_send(db);
    if (!e && db->tenant_sent && id_equal(db->sent_tenant, tenant))
        return ERR_OK;
    return settle(db, e ? e : send_tenant(db));
}

enum err db_queue(struct db *db, const struct db_stmt *stmt, const char *const *params)
{
    return queue(db, stmt, (struct db_values){ .values = params }, DB_ENTRY_COMMAND,
                 (struct db_reader){ 0 });
}

enum err db_queue_check(struct db *db, const struct db_stmt *stmt, const char *const *params,
                        db_check_fn *check, void *ctx)
{
    return queue(db, stmt, (struct db_values){ .values = params }, DB_ENTRY_COMMAND,
                 (struct db_reader){ .check = check, .ctx = ctx });
}

enum err db_queue_take(struct db *db, const struct db_stmt *stmt, const char *const *params,
                       db_take_fn *take, void *ctx)
{
    return queue(db, stmt, (struct db_values){ .values = params }, DB_ENTRY_COMMAND,
                 (struct db_reader){ .take = take, .ctx = ctx });
}

enum err db_queue_params(struct db *db, const struct db_stmt *stmt, const struct db_param *params,
                         db_check_fn *check, void *ctx)
{
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];

    assert(stmt->nparams <= DB_PARAMS_MAX);
    for (int i = 0; i < stmt->nparams; i++) {
        values[i] = params[i].value;
        lengths[i] = params[i].len;
        formats[i] = params[i].binary;
    }
    const struct db_values all = { .values = values, .lengths = lengths, .formats = formats };
    return queue(db, stmt, all, DB_ENTRY_COMMAND, (struct db_reader){ .check = check, .ctx = ctx });
}

enum err db_exec(struct db *db, const struct db_stmt *stmt, const char *const *params,
                 PGresult **res_out)
{
    enum err e = queue(db, stmt, (struct db_values){ .values = params }, DB_ENTRY_EXEC,
                       (struct db_reader){ 0 });
    return e ? e : run(db, res_out);
}

enum err db_flush(struct db *db)
{
    if (db->in_tx && db->tx_error)
        return db->tx_error;
    return db_pipe_is_open(db) ? run(db, NULL) : ERR_OK;
}

static void end_tx(struct db *db)
{
    db->in_tx = false;
    db->tx_sent = false;
    db->tx_error = ERR_OK;
    if (db->conn &&
        (db->doomed || (db->head < db->npending) || PQtransactionStatus(db->conn) != PQTRANS_IDLE))
        db_pipe_drop(db);
    db_count_use(db);
}

/* ROLLBACK behind what is in flight. After a failure the server skips up to the next sync. */
static void send_rollback(struct db *db)
{
    db_pipe_forget_readers(db);
    int64_t deadline_us = clock_monotonic_us() + ROLLBACK_LIMIT_US;
    enum err e = db->head < db->npending ? db_pipe_run(db, deadline_us, NULL) : ERR_OK;
    if (db->conn == NULL || e == ERR_DEADLINE_EXCEEDED)
        return;
    e = db_pipe_send_text(db, "rollback", "ROLLBACK", DB_ENTRY_COMMAND); /* no name to be lost */
    if (e == ERR_OK)
        e = db_pipe_run(db, deadline_us, NULL);
    if (e && db->conn)
        db_pipe_drop(db);
}

void db_rollback(struct db *db)
{
    if (!db->in_tx)
        return;
    const struct db_error why = db->error;
    bool in_doubt = db->in_doubt;

    if (db->conn && !db->doomed && db->tx_sent)
        send_rollback(db);
    end_tx(db);
    db->error = why; /* of the statement that failed, not of the cleaning up */
    db->in_doubt = in_doubt;
}

static enum err commit(struct db *db)
{
    if (db->tx_error)
        return db->tx_error;
    if (!db->tx_sent)
        return ERR_OK;
    enum err e = db->nchecks ? run(db, NULL) : ERR_OK;
    if (e)
        return e;
    if (db->npending == db->head && clock_monotonic_us() >= db->deadline_us)
        return ERR_DEADLINE_EXCEEDED; /* nothing is lost yet but the answer would be */
    e = send_bare(db, &commit_stmt, DB_ENTRY_COMMIT);
    return e ? e : run(db, NULL);
}

enum err db_commit(struct db *db)
{
    assert(db->in_tx);
    db_error_clear(db);
    enum err e = commit(db);
    if (e == ERR_OK || db->in_doubt)
        end_tx(db); /* a COMMIT that does not answer is never cancelled: the connection goes */
    else
        db_rollback(db);
    return e;
}

bool db_in_doubt(const struct db *db)
{
    return db->in_doubt;
}

bool db_in_transaction(const struct db *db)
{
    return db->in_tx;
}

const struct db_error *db_last_error(const struct db *db)
{
    return &db->error;
}

uint64_t db_round_trips(const struct db *db)
{
    return db->round_trips;
}

/* --- scripts --- */

/* Reads all results of a simple query; the first error counts. */
static enum err read_script(struct db *db, int64_t deadline_us)
{
    enum err first = ERR_OK;

    for (;;) {
        while (PQisBusy(db->conn)) {
            enum err e = db_pipe_wait(db, deadline_us);
            if (e)
                return e;
        }
        CLEANUP(db_result_clear) PGresult *res = PQgetResult(db->conn);
        if (res == NULL)
            return first;
        if (PQresultStatus(res) != PGRES_FATAL_ERROR)
            continue;
        enum err e = db_error_take(db, res, "script", NULL);
        if (db_error_is_fatal(res))
            return ERR_UNAVAILABLE;
        if (first == ERR_OK)
            first = e;
    }
}

static enum err run_script(struct db *db, const char *sql, int64_t deadline_us)
{
    if (!PQexitPipelineMode(db->conn) || !PQsendQuery(db->conn, sql)) {
        log_warn("db.send_refused", PQerrorMessage(db->conn), NULL);
        return ERR_UNAVAILABLE;
    }
    int64_t began_us = clock_monotonic_us();
    enum err e = read_script(db, deadline_us);
    db_count_round_trip(db, "script", clock_monotonic_us() - began_us);
    return e;
}

enum err db_script(struct db *db, const char *sql, int64_t deadline_us)
{
    assert(!db->in_tx);
    db_error_clear(db);
    enum err e = ensure_connected(db, deadline_us);
    if (e)
        return e;
    e = run_script(db, sql, deadline_us);
    if (e == ERR_DEADLINE_EXCEEDED && db->error.sqlstate[0] == '\0')
        snprintf(db->error.sqlstate, sizeof db->error.sqlstate, "57014");
    /* A script that failed inside its own BEGIN leaves the session in it. */
    if (db->conn && (db->doomed || PQtransactionStatus(db->conn) != PQTRANS_IDLE))
        db_pipe_drop(db);
    return e;
}

int db_fd(const struct db *db)
{
    return db->conn ? PQsocket(db->conn) : -1;
}

PGconn *db_raw(struct db *db)
{
    assert(!db->in_tx);
    if (db->conn)
        (void)PQexitPipelineMode(db->conn);
    return db->conn;
}

void db_result_clear(PGresult **res)
{
    PQclear(*res);
    *res = NULL;
}
