/*
 * reader.c - see reader.h.
 */
#include "services/reminders/reader.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/columns.h"
#include "services/reminders/sql.h"

#define READ_LIMIT_US (5 * SECOND_US)

enum order_state { ORDER_NONE, ORDER_ASKED, ORDER_ANSWERED };

struct desk {
    enum order_state state;
    struct read_order order;
    struct read_answer answer;
    struct bell *asker;
};

struct reader {
    struct db *db; /* the thread's own */
    struct bell bell;
    pthread_mutex_t lock; /* of the desks */
    int ndesks;
    struct desk desks[];
};

struct reader *reader_new(const char *conninfo, const char *session, int orders)
{
    struct reader *r = calloc(1, sizeof(*r) + (size_t)orders * sizeof(r->desks[0]));

    if (!r)
        return NULL;
    r->ndesks = orders;
    bell_init(&r->bell);
    pthread_mutex_init(&r->lock, NULL);
    r->db = db_new(conninfo, session);
    if (!r->db) {
        reader_free(r);
        return NULL;
    }
    return r;
}

void reader_free(struct reader *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->ndesks; i++)
        read_answer_fini(&r->desks[i].answer);
    db_free(r->db);
    pthread_mutex_destroy(&r->lock);
    bell_fini(&r->bell);
    free(r);
}

void read_answer_fini(struct read_answer *answer)
{
    for (int i = 0; i < READ_PARTS; i++)
        free(answer->timers[i]);
    *answer = (struct read_answer){ 0 };
}

void reader_ask(struct reader *r, int index, const struct read_order *order, struct bell *bell)
{
    struct desk *d = &r->desks[index];

    pthread_mutex_lock(&r->lock);
    d->order = *order;
    d->asker = bell;
    d->state = ORDER_ASKED;
    pthread_mutex_unlock(&r->lock);
    bell_ring(&r->bell);
}

bool reader_take(struct reader *r, int index, struct read_answer *answer_out)
{
    struct desk *d = &r->desks[index];

    pthread_mutex_lock(&r->lock);
    bool answered = d->state == ORDER_ANSWERED;
    if (answered) {
        *answer_out = d->answer;
        d->answer = (struct read_answer){ 0 };
        d->state = ORDER_NONE;
    }
    pthread_mutex_unlock(&r->lock);
    return answered;
}

void reader_ring(struct reader *r)
{
    bell_ring(&r->bell);
}

/* --- reading --------------------------------------------------------------------------------- */

static enum err read_rows(const PGresult *res, struct timer **timers_out, size_t *n_out)
{
    struct db_row row = { .res = res };
    size_t n = 0;
    struct timer *timers = calloc((size_t)PQntuples(res) + 1, sizeof(*timers));

    if (!timers)
        return ERR_RESOURCE_EXHAUSTED;
    for (; row.row < PQntuples(res); row.row++) {
        struct timer *t = &timers[n++];
        *t = (struct timer){
            .tenant = db_row_id(&row, "tenant_id"),
            .obligation = db_row_id(&row, "obligation_id"),
            .due_us = db_row_i64(&row, "due_us"),
            .step = (int16_t)db_row_i32(&row, "step"),
            .shard = (int16_t)db_row_i32(&row, "shard"),
        };
        if (row.bad || t->shard < 0 || t->shard >= SHARDS) {
            free(timers);
            return ERR_INTERNAL;
        }
    }
    *timers_out = timers;
    *n_out = n;
    return ERR_OK;
}

static enum err read_part(struct db *db, uint64_t shards, const struct read_range *range,
                          struct timer **timers_out, size_t *n_out)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    char until[24], rows[24];
    const char *params[5] = { [3] = until, [4] = rows };

    columns_init(&k, 3);
    for (int i = 0; i < SHARDS; i++) {
        char id[ID_TEXT_MAX]; /* nil is a key here, not NULL */
        if (!(shards >> i & 1))
            continue;
        columns_i64(&k, i);
        columns_i64(&k, range->after[i].us);
        columns_text(&k, id_text(range->after[i].id, id));
    }
    snprintf(until, sizeof(until), "%" PRId64, range->until_us);
    snprintf(rows, sizeof(rows), "%d", range->limit);
    enum err e = columns_params(&k, params);
    if (!e)
        e = db_exec(db, &sql_timers_ahead, params, &res);
    return e ? e : read_rows(res, timers_out, n_out);
}

static struct read_answer read_order(struct db *db, const struct read_order *order)
{
    struct read_answer answer = { 0 };
    enum err e = db_begin(db, NULL, clock_monotonic_us() + READ_LIMIT_US);

    for (int i = 0; i < READ_PARTS && !e; i++)
        if (order->parts[i].limit)
            e = read_part(db, order->shards, &order->parts[i], &answer.timers[i], &answer.n[i]);
    if (!e)
        e = db_commit(db);
    if (e) {
        db_rollback(db);
        read_answer_fini(&answer);
        answer.err = e;
    }
    return answer;
}

static void serve(struct reader *r, struct desk *d)
{
    pthread_mutex_lock(&r->lock);
    bool asked = d->state == ORDER_ASKED;
    struct bell *asker = d->asker;
    pthread_mutex_unlock(&r->lock);
    if (!asked)
        return;
    /* The order stays as it is until its answer is taken. */
    struct read_answer answer = read_order(r->db, &d->order);
    pthread_mutex_lock(&r->lock);
    d->answer = answer;
    d->state = ORDER_ANSWERED;
    pthread_mutex_unlock(&r->lock);
    bell_ring(asker);
}

void reader_run(struct reader *r, bool (*stopping)(void *arg), void *arg)
{
    while (!stopping(arg)) {
        for (int i = 0; i < r->ndesks; i++)
            serve(r, &r->desks[i]);
        bell_wait(&r->bell, SECOND_US);
    }
}
