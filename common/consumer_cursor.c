/*
 * consumer_cursor.c - the cursor row: our own position, other replicas, other incarnations.
 *
 * Every transaction begins with the guard: it locks the row and divides by zero when that is not as
 * we know it, so the server itself refuses whatever travels behind, COMMIT included, and a batch
 * costs no round trip to make sure. Another replica was faster, or a rebuild has put the cursor
 * back: then the row is read and followed.
 */
#include "common/consumer_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sql.h"
#include "common/sql_schema.h"

#define CAREFUL_AFTER_STARTS 4
#define LOAD_US (5 * SECOND_US)

static struct metric rewound_total = {
    .name = "daybook_log_rewound_total",
    .type = METRIC_COUNTER,
    .help = "Times a consumer stopped because the log is another one at its cursor.",
    .labels = { "consumer" },
};

static const struct db_stmt *of_schema(const struct consumer *c, const struct db_stmt *stmt)
{
    return sql_for_schema(stmt, c->def->schema);
}

void consumer_show_rewound(const struct consumer *c)
{
    metric_add(&rewound_total, 0, (const char *const[]){ c->def->name });
}

/* --- reading it --- */

static enum err queue_start(struct consumer *c)
{
    char now[TIME_TEXT_MAX];
    const char *params[] = { c->def->name, time_format(clock_wall_us(), now) };

    return db_queue(c->db, of_schema(c, &sql_consumer_start), params);
}

static enum err read_row(const PGresult *res, struct consumer_cursor *out)
{
    struct db_row row = { .res = res };

    if (PQntuples(res) != 1)
        return ERR_INTERNAL;
    *out = (struct consumer_cursor){
        .has_log = !db_row_is_null(&row, "log_id"),
        .has_event = !db_row_is_null(&row, "event_id"),
        .seq = db_row_i64(&row, "seq"),
        .replay_until = db_row_i64(&row, "replay_until"),
        .has_parked = db_row_bool(&row, "has_parked"),
        .starts = db_row_i32(&row, "starts"),
        .trying_seq = db_row_i64(&row, "trying_seq"),
        .tries = db_row_i32(&row, "tries"),
    };
    if (out->has_log)
        out->log_id = db_row_id(&row, "log_id");
    if (out->has_event)
        out->event_id = db_row_id(&row, "event_id");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err fetch(struct consumer *c, struct consumer_cursor *out)
{
    const char *params[] = { c->def->name };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + LOAD_US);
    if (e)
        return e;
    if (!c->started)
        e = queue_start(c);
    if (e == ERR_OK)
        e = db_exec(c->db, of_schema(c, &sql_consumer_load), params, &res);
    if (e == ERR_OK)
        e = read_row(res, out);
    if (e == ERR_OK && !c->started)
        e = db_commit(c->db);
    db_rollback(c->db);
    return e;
}

static void go_to(struct consumer *c, const struct consumer_cursor *row)
{
    c->pos = row->seq;
    c->pos_event = row->event_id;
    c->has_pos_event = row->has_event;
    c->behind = true;
}

static bool same_log(const struct consumer_cursor *x, const struct consumer_cursor *y)
{
    return x->has_log == y->has_log && (!x->has_log || id_equal(x->log_id, y->log_id));
}

/* Follows a row that somebody else has moved. Between the row we knew and our position lies nothing
 * of ours, so a row within that stretch changes nothing, unless a rebuild is under way: then more
 * events count. */
static void follow(struct consumer *c, const struct consumer_cursor *row)
{
    const struct consumer_cursor *known = &c->cursor;
    bool changed_log = !same_log(row, known);
    bool back = row->seq < known->seq || row->replay_until > known->replay_until;

    if (changed_log || back || row->seq > c->pos)
        go_to(c, row);
    if (changed_log || back) {
        c->agreed = false;
        c->halt = CONSUMER_GOES; /* somebody has seen to it; judge anew */
    }
}

enum err consumer_load(struct consumer *c)
{
    struct consumer_cursor row;

    enum err e = fetch(c, &row);
    if (e)
        return e;
    if (c->loaded)
        follow(c, &row);
    else
        go_to(c, &row);
    if (!c->started && row.starts >= CAREFUL_AFTER_STARTS) {
        c->careful = true;
        log_warn("consumer.careful", "no progress since the last starts: taking events singly",
                 "consumer", c->def->name, NULL);
    }
    c->started = true;
    c->loaded = true;
    c->cursor = row;
    return ERR_OK;
}

/* --- moving it --- */

enum err consumer_queue_guard(struct consumer *c)
{
    const struct consumer_cursor *k = &c->cursor;
    char seq[24], until[24], log_id[ID_TEXT_MAX];
    const char *params[] = { c->def->name, seq, k->has_log ? id_text(k->log_id, log_id) : NULL,
                             until };

    snprintf(seq, sizeof seq, "%" PRId64, k->seq);
    snprintf(until, sizeof until, "%" PRId64, k->replay_until);
    return db_queue(c->db, of_schema(c, &sql_consumer_guard), params);
}

enum err consumer_queue_advance(struct consumer *c, int64_t seq, const struct id *event)
{
    const struct consumer_cursor *k = &c->cursor;
    char seq_text[24], log_id[ID_TEXT_MAX], event_id[ID_TEXT_MAX], now[TIME_TEXT_MAX];
    const char *params[] = { c->def->name, seq_text, k->has_log ? id_text(k->log_id, log_id) : NULL,
                             event ? id_text(*event, event_id) : NULL,
                             time_format(clock_wall_us(), now) };

    snprintf(seq_text, sizeof seq_text, "%" PRId64, seq);
    return db_queue(c->db, of_schema(c, &sql_consumer_advance), params);
}

void consumer_advanced(struct consumer *c, int64_t seq, const struct id *event)
{
    struct consumer_cursor *k = &c->cursor;

    k->seq = seq;
    k->has_event = event != NULL;
    if (event)
        k->event_id = *event;
    if (k->replay_until <= seq && k->replay_until > 0) {
        k->replay_until = 0;
        log_info("consumer.rebuilt", "the rebuild has reached its end", "consumer", c->def->name,
                 NULL);
    }
    k->starts = 0;
    k->tries = 0;
    if (seq >= c->pos) {
        c->pos = seq;
        c->has_pos_event = event != NULL;
        if (event)
            c->pos_event = *event;
    }
}

enum err consumer_note_try(struct consumer *c, int64_t seq, int *tries_out)
{
    char seq_text[24];
    const char *params[] = { c->def->name, seq_text };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    snprintf(seq_text, sizeof seq_text, "%" PRId64, seq);
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + LOAD_US);
    if (e)
        return e;
    e = consumer_queue_guard(c);
    if (e == ERR_OK)
        e = db_exec(c->db, of_schema(c, &sql_consumer_try), params, &res);
    if (e == ERR_OK && PQntuples(res) == 1) {
        struct db_row row = { .res = res };
        *tries_out = db_row_i32(&row, "tries");
        e = db_commit(c->db);
    }
    db_rollback(c->db);
    return e;
}

static enum err write_position(struct consumer *c, int64_t seq, const struct id *event)
{
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + LOAD_US);
    if (e)
        return e;
    e = consumer_queue_guard(c);
    if (e == ERR_OK)
        e = consumer_queue_advance(c, seq, event);
    if (e == ERR_OK)
        e = db_commit(c->db);
    db_rollback(c->db);
    if (e == ERR_OK)
        consumer_advanced(c, seq, event);
    return e;
}

/* A piece that was asked for by types may end anywhere. Without its event's id a position could not
 * be told from another history's (F15), so it is not written: it will be found again. */
static bool knows_its_event(struct consumer *c)
{
    if (!c->has_pos_event)
        c->has_pos_event = consumer_ask_event_id(c, c->pos, &c->pos_event) == ERR_OK;
    return c->has_pos_event;
}

enum err consumer_save(struct consumer *c)
{
    if (c->pos <= c->cursor.seq || !c->agreed || !knows_its_event(c))
        return ERR_OK;
    enum err e = write_position(c, c->pos, &c->pos_event);
    return consumer_is_transient(e) ? e : ERR_OK; /* the guard's refusal: the next load tells */
}

/* --- incarnations of the log --- */

void consumer_halt(struct consumer *c, enum consumer_halt why, const char *text, struct id log_id)
{
    char log_text[ID_TEXT_MAX], seq[24];

    if (c->halt == why && id_equal(c->halt_log, log_id))
        return; /* said already */
    c->halt = why;
    c->halt_log = log_id;
    snprintf(seq, sizeof seq, "%" PRId64, c->cursor.seq);
    metric_add(&rewound_total, 1, (const char *const[]){ c->def->name });
    log_error("consumer.halted", text, "consumer", c->def->name, "log_id",
              id_text(log_id, log_text), "seq", seq, NULL);
}

static enum err adopt(struct consumer *c, struct id log_id)
{
    char text[ID_TEXT_MAX];
    struct consumer_cursor before = c->cursor;

    /* The guard compares with what the row holds, the advance writes what is to be. */
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + LOAD_US);
    if (e)
        return e;
    e = consumer_queue_guard(c);
    c->cursor.has_log = true;
    c->cursor.log_id = log_id;
    if (e == ERR_OK)
        e = consumer_queue_advance(c, before.seq, before.has_event ? &before.event_id : NULL);
    if (e == ERR_OK)
        e = db_commit(c->db);
    db_rollback(c->db);
    if (e) {
        c->cursor = before;
        c->loaded = false; /* another replica may have adopted it, or not: look */
        return consumer_is_transient(e) ? e : ERR_ABORTED;
    }
    log_info("consumer.log_adopted", "the log holds our last event: going on", "consumer",
             c->def->name, "log_id", id_text(log_id, text), NULL);
    c->halt = CONSUMER_GOES;
    return ERR_OK;
}

/* The event at the cursor must be the same in the new log (F15, F58). */
static enum err judge_log(struct consumer *c, struct id log_id, int64_t head_seq)
{
    const struct consumer_cursor *k = &c->cursor;
    struct id there;

    if (!k->has_log || k->seq == 0)
        return adopt(c, log_id);
    if (head_seq < k->seq) {
        consumer_halt(c, CONSUMER_LOG_REWOUND, "the log ends before our cursor", log_id);
        return ERR_OK;
    }
    enum err e = consumer_ask_event_id(c, k->seq, &there);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (e == ERR_OK && k->has_event && id_equal(there, k->event_id))
        return adopt(c, log_id);
    consumer_halt(c, CONSUMER_LOG_REWOUND, "the log has another event at our cursor", log_id);
    return ERR_OK;
}

enum err consumer_agree(struct consumer *c)
{
    struct id log_id;
    int64_t head_seq;

    enum err e = consumer_ask_head(c, &log_id, &head_seq);
    if (e)
        return e;
    c->head_seq = head_seq;
    if (!c->cursor.has_log || !id_equal(log_id, c->cursor.log_id)) {
        c->pos = c->cursor.seq; /* what was heard of the other log does not count */
        c->pos_event = c->cursor.event_id;
        c->has_pos_event = c->cursor.has_event;
        e = judge_log(c, log_id, head_seq);
        if (e || c->halt)
            return e;
    }
    if (c->halt == CONSUMER_LOG_REWOUND)
        c->halt = CONSUMER_GOES; /* the log that we know is back */
    c->agreed = true;
    c->behind = c->head_seq > c->pos;
    return ERR_OK;
}
