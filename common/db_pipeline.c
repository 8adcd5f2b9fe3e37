/*
 * db_pipeline.c - statements out, answers in.
 *
 * What is sent is remembered in an array of entries; answers come in the same order. A batch ends
 * with a sync: after an error the server skips the rest of the batch, libpq says so for each entry,
 * and the next batch starts clean. Reading stops between two answers when the deadline passes, and
 * may be taken up again there, so that a rollback can still save the connection.
 */
#include "common/db_internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"

#define STMT_NAME_MAX (2 + 2 * DB_HASH_BYTES + 1)

/* --- the connection's end --- */

void db_pipe_drop(struct db *db)
{
    PQfinish(db->conn); /* NULL is allowed */
    db->conn = NULL;
    db_count_use(db);
    db->doomed = false;
    db->head = db->npending = db->nchecks = 0;
    db->answered = false;
    PQclear(db->exec_res);
    db->exec_res = NULL;
    memset(db->prepared, 0, sizeof db->prepared);
    db->nprepared = 0;
    db->name_faults = 0;
}

/* Whether a COMMIT was sent that may or may not have happened. After an earlier failure of its
 * batch the server cannot have come to it. */
static void judge_commit(struct db *db)
{
    if (db->batch_error)
        return;
    for (size_t i = db->head; i < db->npending; i++)
        if (db->pending[i].kind == DB_ENTRY_COMMIT)
            db->in_doubt = true;
}

static enum err lose(struct db *db)
{
    const char *name = db->head < db->npending ? db->pending[db->head].name : "";

    judge_commit(db);
    if (db->error.sqlstate[0] == '\0') {
        snprintf(db->error.sqlstate, sizeof db->error.sqlstate, "08006");
        snprintf(db->error.statement, sizeof db->error.statement, "%s", name);
        db_error_count("08006");
    }
    log_warn("db.connection_lost", "the connection to PostgreSQL broke", "statement", name,
             "sqlstate", db->error.sqlstate, NULL);
    db_pipe_drop(db);
    return ERR_UNAVAILABLE;
}

/* --- out --- */

static enum err add_entry(struct db *db, struct db_entry entry)
{
    if (db->head == db->npending && !db->answered)
        db->head = db->npending = 0;
    if (db->npending == db->pending_cap) {
        size_t cap = db->pending_cap ? 2 * db->pending_cap : 32;
        struct db_entry *grown = realloc(db->pending, cap * sizeof *grown);
        if (grown == NULL)
            return ERR_RESOURCE_EXHAUSTED;
        db->pending = grown;
        db->pending_cap = cap;
    }
    db->pending[db->npending++] = entry;
    if (entry.reader.check)
        db->nchecks++;
    return ERR_OK;
}

/* libpq refused to queue the last entry: no memory, or the connection is gone. Either way what it
 * holds and what we believe it holds may differ from here on. */
static enum err refused(struct db *db)
{
    db->npending--;
    log_warn("db.send_refused", PQerrorMessage(db->conn), NULL);
    return lose(db);
}

/* The slot of a text; NULL when the table is full. */
static struct db_prepared *find_prepared(struct db *db, const char *text)
{
    uint8_t hash[DB_HASH_BYTES];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)text, strlen(text), NULL, 0);

    size_t i = (size_t)(hash[0] | hash[1] << 8) % DB_PREPARED_SLOTS;
    while (db->prepared[i].used) {
        if (memcmp(db->prepared[i].hash, hash, sizeof hash) == 0)
            return &db->prepared[i];
        i = (i + 1) % DB_PREPARED_SLOTS;
    }
    if (db->nprepared >= DB_PREPARED_SLOTS / 4 * 3)
        return NULL;
    db->nprepared++;
    db->prepared[i].used = true;
    memcpy(db->prepared[i].hash, hash, sizeof hash);
    return &db->prepared[i];
}

static char *prepared_name(const struct db_prepared *p, char buf[static STMT_NAME_MAX])
{
    buf[0] = 'd';
    buf[1] = '_';
    sodium_bin2hex(buf + 2, STMT_NAME_MAX - 2, p->hash, sizeof p->hash);
    return buf;
}

static enum err send_prepare(struct db *db, const struct db_stmt *stmt, struct db_prepared *p,
                             const char *name)
{
    enum err e = add_entry(
        db, (struct db_entry){ .kind = DB_ENTRY_PREPARE, .name = stmt->name, .prepared = p });
    if (e)
        return e;
    if (!PQsendPrepare(db->conn, name, stmt->text, stmt->nparams, NULL))
        return refused(db);
    p->state = DB_PREPARED_ASKED;
    return ERR_OK;
}

enum err db_pipe_send(struct db *db, const struct db_stmt *stmt, struct db_values values,
                      enum db_entry_kind kind, struct db_reader reader)
{
    bool prepare = !db->prepare_off && db->name_faults < DB_NAME_FAULTS_MAX;
    struct db_prepared *p = prepare ? find_prepared(db, stmt->text) : NULL;
    char name[STMT_NAME_MAX];
    enum err e = ERR_OK;

    if (p && p->state == DB_PREPARED_NONE)
        e = send_prepare(db, stmt, p, prepared_name(p, name));
    if (e == ERR_OK)
        e = add_entry(db, (struct db_entry){
                              .kind = kind, .name = stmt->name, .reader = reader, .prepared = p });
    if (e)
        return e;
    int sent = p ? PQsendQueryPrepared(db->conn, prepared_name(p, name), stmt->nparams,
                                       values.values, values.lengths, values.formats, 0)
                 : PQsendQueryParams(db->conn, stmt->text, stmt->nparams, NULL, values.values,
                                     values.lengths, values.formats, 0);
    return sent ? ERR_OK : refused(db);
}

enum err db_pipe_send_text(struct db *db, const char *name, const char *sql,
                           enum db_entry_kind kind)
{
    enum err e = add_entry(db, (struct db_entry){ .kind = kind, .name = name });
    if (e)
        return e;
    if (!PQsendQueryParams(db->conn, sql, 0, NULL, NULL, NULL, NULL, 0))
        return refused(db);
    return ERR_OK;
}

bool db_pipe_is_open(const struct db *db)
{
    return db->head < db->npending && db->pending[db->npending - 1].kind != DB_ENTRY_SYNC;
}

void db_pipe_forget_readers(struct db *db)
{
    for (size_t i = db->head; i < db->npending; i++)
        db->pending[i].reader = (struct db_reader){ 0 };
    db->nchecks = 0;
}

static enum err send_sync(struct db *db)
{
    enum err e = add_entry(db, (struct db_entry){ .kind = DB_ENTRY_SYNC, .name = "sync" });
    if (e)
        return e;
    return PQpipelineSync(db->conn) ? ERR_OK : refused(db);
}

/* --- in --- */

enum err db_pipe_wait(struct db *db, int64_t deadline_us)
{
    int unsent = PQflush(db->conn);
    if (unsent < 0)
        unsent = 0; /* what the server said last is still to be read; the read will see the end */
    int64_t left_us = deadline_us - clock_monotonic_us();
    if (left_us <= 0)
        return ERR_DEADLINE_EXCEEDED;

    struct pollfd p = { .fd = PQsocket(db->conn),
                        .events = (short)(POLLIN | (unsent ? POLLOUT : 0)) };
    int n = poll(&p, 1, (int)MIN((left_us + MSEC_US - 1) / MSEC_US, INT_MAX));
    if (n < 0 && errno != EINTR)
        return lose(db);
    /* At the end of the stream the status is bad, and the next PQgetResult() says how it came. */
    if (n > 0 && p.revents & ~POLLOUT && !PQconsumeInput(db->conn) &&
        PQstatus(db->conn) != CONNECTION_BAD)
        return lose(db);
    return ERR_OK;
}

static void on_failure(struct db *db, enum err code)
{
    if (db->batch_error == ERR_OK)
        db->batch_error = code;
}

static enum err hand_out(const struct db_reader *reader, const PGresult *res)
{
    if (reader->take)
        reader->take(reader->ctx, res);
    return reader->check ? reader->check(reader->ctx, res) : ERR_OK;
}

static enum err on_done(struct db *db, const struct db_entry *entry, PGresult **res)
{
    switch (entry->kind) {
    case DB_ENTRY_PREPARE:
        entry->prepared->state = DB_PREPARED_READY;
        return ERR_OK;
    case DB_ENTRY_EXEC:
        PQclear(db->exec_res);
        db->exec_res = *res;
        *res = NULL;
        return ERR_OK;
    case DB_ENTRY_COMMIT:
        /* "ROLLBACK" answers the COMMIT of a transaction that had failed. */
        if (strcmp(PQcmdStatus(*res), "COMMIT") != 0)
            return ERR_ABORTED;
        if (db->commit_warned)
            db->in_doubt = true;
        return db->commit_warned ? ERR_UNAVAILABLE : ERR_OK;
    case DB_ENTRY_COMMAND:
        return db->batch_error ? ERR_OK : hand_out(&entry->reader, *res);
    case DB_ENTRY_SYNC:
        break;
    }
    return ERR_INTERNAL;
}

/* An error, or skipped because of one. ERR_UNAVAILABLE: the connection is gone, and dropped. */
static enum err on_error(struct db *db, const struct db_entry *entry, const PGresult *res)
{
    if (entry->kind == DB_ENTRY_PREPARE)
        entry->prepared->state = DB_PREPARED_NONE;
    if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED) {
        on_failure(db, ERR_ABORTED);
        return ERR_OK;
    }
    bool fatal = db_error_is_fatal(res);
    enum err code = db_error_take(db, res, entry->name, entry->prepared);
    if (fatal)
        return lose(db); /* looks at the COMMIT before batch_error is set */
    on_failure(db, code);
    return ERR_OK;
}

static enum err on_answer(struct db *db, PGresult **res)
{
    const struct db_entry entry = db->pending[db->head];

    switch (PQresultStatus(*res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        on_failure(db, on_done(db, &entry, res));
        return ERR_OK;
    case PGRES_FATAL_ERROR:
    case PGRES_PIPELINE_ABORTED:
        return on_error(db, &entry, *res);
    default:
        log_error("db.protocol", "unexpected kind of answer", "statement", entry.name, NULL);
        return lose(db);
    }
}

static void next_entry(struct db *db)
{
    if (db->pending[db->head].reader.check)
        db->nchecks--;
    db->head++;
    db->answered = false;
}

/* One step: a result, the NULL that ends an entry, or a sync. */
static enum err step(struct db *db, int64_t deadline_us)
{
    while (PQisBusy(db->conn)) {
        enum err e = db_pipe_wait(db, deadline_us);
        if (e)
            return e;
    }
    PGresult *res = PQgetResult(db->conn);
    enum db_entry_kind kind = db->pending[db->head].kind;
    enum err e = ERR_OK;

    if (res == NULL) {
        if (!db->answered)
            return lose(db); /* an end without an answer: libpq lost the thread */
        next_entry(db);
    } else if (kind == DB_ENTRY_SYNC && PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
        next_entry(db);
    } else if (kind == DB_ENTRY_SYNC) {
        if (PQresultStatus(res) == PGRES_FATAL_ERROR)
            db_error_take(db, res, "sync", NULL);
        e = lose(db);
    } else if (db->answered) {
        e = lose(db); /* two results for one entry: not in the extended protocol */
    } else {
        db->answered = true;
        e = on_answer(db, &res);
    }
    PQclear(res);
    return e;
}

enum err db_pipe_run(struct db *db, int64_t deadline_us, PGresult **res_out)
{
    const char *last = db_pipe_is_open(db) ? db->pending[db->npending - 1].name : "rest";

    db->batch_error = ERR_OK;
    enum err e = db_pipe_is_open(db) ? send_sync(db) : ERR_OK;
    if (e)
        return e;
    int64_t began_us = clock_monotonic_us();
    while (db->head < db->npending) {
        e = step(db, deadline_us);
        if (e)
            break;
    }
    db_count_round_trip(db, last, clock_monotonic_us() - began_us);
    if (e == ERR_DEADLINE_EXCEEDED) {
        judge_commit(db);
        db_pipe_forget_readers(db);
        snprintf(db->error.sqlstate, sizeof db->error.sqlstate, "57014");
        snprintf(db->error.statement, sizeof db->error.statement, "%s", db->pending[db->head].name);
        db_error_count("57014");
    }
    if (e == ERR_OK)
        e = db->batch_error;
    if (e == ERR_OK && res_out) {
        *res_out = db->exec_res;
        db->exec_res = NULL;
    }
    PQclear(db->exec_res);
    db->exec_res = NULL;
    return e;
}
