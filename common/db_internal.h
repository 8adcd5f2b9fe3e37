/*
 * db_internal.h - what db.c (connection, transactions), db_pipeline.c (statements out, answers in)
 * and db_error.c (what an answer means) share. Nobody else includes it.
 */
#ifndef DAYBOOK_COMMON_DB_INTERNAL_H
#define DAYBOOK_COMMON_DB_INTERNAL_H

#include "common/db.h"

#define DB_HASH_BYTES 16
#define DB_PREPARED_SLOTS                                                                          \
    1024                     /* power of two; past 3/4 of it, further statements go unprepared     \
                              */
#define DB_PENDING_MAX 1000  /* queued statements; one more waits for the answers of these first */
#define DB_NAME_FAULTS_MAX 3 /* 26000 or 42P05 this often: a pooler plays with our names */

enum db_prepared_state { DB_PREPARED_NONE, DB_PREPARED_ASKED, DB_PREPARED_READY };

struct db_prepared {
    uint8_t hash[DB_HASH_BYTES];
    bool used;
    enum db_prepared_state state;
};

enum db_entry_kind {
    DB_ENTRY_PREPARE,
    DB_ENTRY_COMMAND,
    DB_ENTRY_EXEC, /* its result goes to the caller */
    DB_ENTRY_COMMIT,
    DB_ENTRY_SYNC,
};

/* Whoever wants an answer: one of the two, or nobody. */
struct db_reader {
    db_check_fn *check;
    db_take_fn *take;
    void *ctx;
};

/* Something sent whose answer has not been read. */
struct db_entry {
    enum db_entry_kind kind;
    const char *name; /* of the statement; static */
    struct db_reader reader;
    struct db_prepared *prepared; /* NULL: sent as text */
};

/* Of the connection, as the gauge shows it. */
enum db_use { DB_USE_NONE, DB_USE_IDLE, DB_USE_BUSY };

struct db {
    char *conninfo;
    struct reread_file *conninfo_file; /* NULL: it holds as it is */
    char *application_name;
    PGconn *conn;
    enum db_use counted;
    bool doomed;          /* drop the connection as soon as the transaction is over */
    bool prepare_off;     /* the process's wish */
    bool relaxed;         /* the caller's wish: COMMIT does not wait for the disk */
    unsigned name_faults; /* since connecting */
    int64_t role_timeout_ms;
    unsigned connect_failures;
    int64_t connect_not_before_us;

    bool in_tx;
    bool tx_sent;      /* BEGIN is on its way; before, a transaction costs nothing */
    enum err tx_error; /* only rollback is left */
    bool has_tenant;
    struct id tenant;
    bool tenant_sent; /* sent_tenant is the server's setting in this transaction */
    struct id sent_tenant;
    int64_t deadline_us;
    bool in_doubt;
    bool commit_warned; /* a warning came with the COMMIT: see db_error_commit_warning() */

    struct db_entry *pending; /* [head, npending) */
    size_t head, npending, pending_cap;
    size_t nchecks;       /* of these, with a check */
    bool answered;        /* the head's result was read, the NULL after it was not */
    enum err batch_error; /* first failure since the last sync */
    PGresult *exec_res;

    struct db_prepared prepared[DB_PREPARED_SLOTS];
    size_t nprepared;
    struct db_error error;
    uint64_t round_trips;
    uint64_t sessions; /* connections made */
};

/* --- db_pipeline.c --- */

/* Values of the statement's parameters; lengths and formats are NULL where all are texts. */
struct db_values {
    const char *const *values;
    const int *lengths, *formats;
};
/* Queues one statement, with its PREPARE in front where the connection does not know it yet. */
NODISCARD enum err db_pipe_send(struct db *db, const struct db_stmt *stmt, struct db_values values,
                                enum db_entry_kind kind, struct db_reader reader);
/* Queues a statement without parameters as it is. name: static. */
NODISCARD enum err db_pipe_send_text(struct db *db, const char *name, const char *sql,
                                     enum db_entry_kind kind);
/*
 * Ends the batch with a sync, sends it and reads all answers. The first failure of the batch, or of
 * the connection (then conn is NULL), or ERR_DEADLINE_EXCEEDED with answers still outstanding.
 * res_out: NULL, or for the result of the batch's DB_ENTRY_EXEC.
 */
NODISCARD enum err db_pipe_run(struct db *db, int64_t deadline_us, PGresult **res_out);
/* Is anything pending after the last sync? */
bool db_pipe_is_open(const struct db *db);
/* Their contexts may be gone by the time a rollback reads what is left. */
void db_pipe_forget_readers(struct db *db);
/* Waits for the socket; consumes input and flushes output. Drops a lost connection. */
NODISCARD enum err db_pipe_wait(struct db *db, int64_t deadline_us);
/* Closes the connection and forgets all that was pending or prepared on it. */
void db_pipe_drop(struct db *db);

/* --- db_error.c --- */

/* Remembers why `entry` failed in db->error, dooms the connection or forgets statements where the
 * SQLSTATE says so, counts, logs what no caller can act on. */
enum err db_error_take(struct db *db, const PGresult *res, const char *name,
                       struct db_prepared *prepared);
/* The connection is lost: FATAL or PANIC, or a failure without a SQLSTATE. */
bool db_error_is_fatal(const PGresult *res);
/* A warning with which PostgreSQL reports a COMMIT whose replication it did not wait for. */
bool db_error_commit_warning(const PGresult *notice);
void db_error_clear(struct db *db);
void db_error_count(const char *sqlstate);
/* One wait for answers has ended. name: of the last statement that was sent; static. */
void db_count_round_trip(struct db *db, const char *name, int64_t took_us);
/* The connection was made or dropped, or a transaction begun or ended: the gauge follows. */
void db_count_use(struct db *db);

#endif
