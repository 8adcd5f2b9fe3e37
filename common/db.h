/*
 * db.h - one PostgreSQL connection, the statements prepared on it, and transactions that travel in
 * few round trips.
 *
 * A connection belongs to one thread and is never shared. It works in libpq's pipeline mode:
 * db_begin() and db_queue() only queue; db_exec() sends what is queued together with its own
 * statement and waits for the lot; db_commit() sends the rest with COMMIT and waits. So a command
 * that reads once and then writes costs two round trips, one that only writes costs one.
 *
 * When a queued statement fails, the server skips the rest up to the next db_exec() or db_commit(),
 * which returns that failure; the transaction is then only good for db_rollback().
 *
 * Statements are prepared the first time a connection runs them, in the same round trip, under the
 * hash of their text. Every wait has a deadline of our own (asynchronous libpq and poll), also the
 * connect and the COMMIT. It reconnects only between transactions, with full-jitter backoff: a
 * db_begin() after a lost connection tries once, within the deadline.
 */
#ifndef DAYBOOK_COMMON_DB_H
#define DAYBOOK_COMMON_DB_H

#include <libpq-fe.h>

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/id.h"

struct db;

/* A statement, made by tools/sql2c.awk from a .sql file. Immutable. */
struct db_stmt {
    const char *name; /* "<area>_<file>" for logs and metrics */
    const char *text;
    int nparams;
    const char *const *params; /* names from the file's first line, ended by NULL */
};

/* Why the last statement failed; valid until the next call. Empty strings when it did not. */
struct db_error {
    char sqlstate[6];
    char constraint[64];
    char statement[64];
};

/* conninfo: libpq's; copied. Is it the text of a setting itself, its file is read again for each connection (reread.h).
 * application_name and timeouts are added. Does not connect. NULL: no memory. */
struct db *db_new(const char *conninfo, const char *application_name);
void db_free(struct db *db); /* rolls back an open transaction; NULL is allowed */
void db_freep(struct db **db);

/* Connects if need be and asks SELECT 1 on a read-write session. */
NODISCARD enum err db_ping(struct db *db, int64_t deadline_us);
bool db_is_connected(const struct db *db);
/* Which connection this is, counted from 1; 0 when there is none. Another number than before means
 * another session, without what belonged to the old one (advisory locks). */
uint64_t db_session(const struct db *db);

/*
 * Opens a transaction (queued). tenant: SET LOCAL daybook.tenant, so that row level security lets
 * this tenant's rows through; NULL: none. deadline_us: monotonic; also becomes the statement
 * timeout when it is nearer than the role's.
 * ERR_UNAVAILABLE: cannot connect.
 */
NODISCARD enum err db_begin(struct db *db, const struct id *tenant, int64_t deadline_us);

/* Changes the tenant inside a transaction (queued); for reactions whose batch has several. */
/* It is sent once a transaction: no statement may set it otherwise, nor go back to a savepoint. */
NODISCARD enum err db_set_tenant(struct db *db, struct id tenant);

/*
 * Queues a statement whose rows nobody needs. params: stmt->nparams texts, NULL meaning SQL NULL;
 * copied into the send buffer at once.
 */
NODISCARD enum err db_queue(struct db *db, const struct db_stmt *stmt, const char *const *params);

/*
 * The same, and hands the result to `check` when it arrives, inside the next db_exec() or
 * db_commit(), in order. A code other than ERR_OK from it becomes that call's result; what else was
 * in flight is read and dropped.
 */
typedef enum err db_check_fn(void *ctx, const PGresult *res);
NODISCARD enum err db_queue_check(struct db *db, const struct db_stmt *stmt,
                                  const char *const *params, db_check_fn *check, void *ctx);

/*
 * The same for a result that is wanted but decides nothing: COMMIT is not held back for it. `take`
 * may run although the transaction fails afterwards.
 */
typedef void db_take_fn(void *ctx, const PGresult *res);
NODISCARD enum err db_queue_take(struct db *db, const struct db_stmt *stmt,
                                 const char *const *params, db_take_fn *take, void *ctx);

/* A parameter as text or, where len counts, in PostgreSQL's binary format (db_array.h). */
struct db_param {
    const char *value; /* NULL: SQL NULL */
    int len;
    bool binary;
};
#define DB_PARAMS_MAX 32
/* As db_queue_check(), or with a NULL check as db_queue(). */
NODISCARD enum err db_queue_params(struct db *db, const struct db_stmt *stmt,
                                   const struct db_param *params, db_check_fn *check, void *ctx);

/*
 * Runs one statement with all that is queued before it, and hands its result to the caller.
 * res_out: set on ERR_OK only; the caller owns it (CLEANUP(db_result_clear)).
 *
 * ERR_ALREADY_EXISTS       unique or exclusion constraint (23505, 23P01)
 * ERR_FAILED_PRECONDITION  check or foreign-key constraint (23503, 23514, 23502)
 * ERR_INVALID_ARGUMENT     data exception (class 22)
 * ERR_ABORTED              serialization failure or deadlock (40001, 40P01): run the transaction
 * again ERR_UNAVAILABLE          connection lost, server away, demoted, full, lock timeout (55P03),
 * 57P0x ERR_DEADLINE_EXCEEDED    our deadline or 57014 ERR_INTERNAL             any other SQLSTATE;
 * logged here, because no caller can act on it
 */
NODISCARD enum err db_exec(struct db *db, const struct db_stmt *stmt, const char *const *params,
                           PGresult **res_out);

/* As db_exec() but only sends and waits for what is queued. */
NODISCARD enum err db_flush(struct db *db);

/*
 * Sends what is queued with COMMIT and waits. Queued checks are waited for before COMMIT is sent
 * (a round trip of its own): what has been sent cannot be held back. On any failure the transaction
 * is gone. When the connection was lost or the deadline passed after COMMIT was sent, db_in_doubt()
 * is true: the caller looks for the idempotency record to learn what happened.
 */
NODISCARD enum err db_commit(struct db *db);
bool db_in_doubt(const struct db *db);

/* Gives up the transaction; drops a connection that does not answer within 1 s. Never fails. */
void db_rollback(struct db *db);
bool db_in_transaction(const struct db *db);

const struct db_error *db_last_error(const struct db *db);

/* Waits for answers since db_new(), the connection's own included. */
uint64_t db_round_trips(const struct db *db);

/*
 * On: COMMIT does not wait for the disk (synchronous_commit = off; transactions begun from now on).
 * Only for work that is done again from what is durable should a crash of the server take the last
 * of it back. What commits later and does wait makes it durable too: the server's log has one
 * order.
 */
void db_set_relaxed(struct db *db, bool on);

/*
 * Off: statements travel as text each time (PgBouncer before 1.21 in transaction mode). For the
 * connections that are made from then on, of the whole process: call it before threads start.
 */
void db_set_prepare(bool on);

/* SQL text of a script, several statements, outside a transaction (migrations, tests). */
NODISCARD enum err db_script(struct db *db, const char *sql, int64_t deadline_us);

/* The socket, for a poll of one's own; -1 when not connected. */
int db_fd(const struct db *db);
/* For what is not covered here: COPY in tests and tools. Outside a transaction; the next call of
 * this module takes the connection back. NULL when not connected. */
PGconn *db_raw(struct db *db);

void db_result_clear(PGresult **res); /* for CLEANUP */

/*
 * Reading rows. A bad or missing column sets row->bad and gives the type's zero, so single reads
 * need no check; look at bad once. Texts point into the result.
 */
struct db_row {
    const PGresult *res;
    int row;
    bool bad;
};

bool db_row_is_null(struct db_row *row, const char *column);
const char *db_row_text(struct db_row *row, const char *column); /* NULL for SQL NULL */
int64_t db_row_i64(struct db_row *row, const char *column);
int32_t db_row_i32(struct db_row *row, const char *column);
double db_row_double(struct db_row *row, const char *column);
bool db_row_bool(struct db_row *row, const char *column);
struct id db_row_id(struct db_row *row, const char *column);
struct id db_row_id_or_nil(struct db_row *row, const char *column); /* nil where it is NULL */
int64_t db_row_time(struct db_row *row, const char *column); /* timestamptz -> microseconds */
/* bytea. ERR_INTERNAL: NULL or malformed, the row is bad; ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err db_row_bytes(struct db_row *row, const char *column, struct arena *a,
                                uint8_t **data_out, size_t *len_out);

/* Values as parameters, written into the arena; NULL when it is full. */
NODISCARD char *db_text_i64(struct arena *a, int64_t v);
NODISCARD char *db_text_id(struct arena *a, struct id id);
NODISCARD char *db_text_time(struct arena *a, int64_t us);               /* timestamptz */
NODISCARD char *db_text_bytes(struct arena *a, const void *p, size_t n); /* bytea, "\x.." */

/* The session is set to: timezone UTC, datestyle ISO, bytea_output hex, client_encoding UTF8. */

#endif
