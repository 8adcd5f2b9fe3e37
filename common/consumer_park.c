/*
 * consumer_park.c - events that cannot be taken wait in a table, and with them, in their order, the
 * later ones of the same aggregate: an effect must not overtake the one it builds on (F36).
 */
#include "common/consumer_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sbuf.h"
#include "common/sql.h"
#include "common/sql_schema.h"
#include "common/wire.h"

#define REPLAYS_A_TICK 100
#define AGGREGATES_LIMIT (256 * KIB)
#define RETRY_BASE_US (250 * MSEC_US) /* doubled each time: 4 s in all, and a tick each */
#define PATIENCE_US (5 * 60 * SECOND_US)
#define TROUBLE_PAUSE_MAX_US (30 * SECOND_US)
#define TROUBLE_GAP_US (2 * 60 * SECOND_US) /* what came so long ago was another trouble */

static struct metric parked_total = {
    .name = "daybook_consumer_parked_total",
    .type = METRIC_COUNTER,
    .help = "Events that gave up and wait for an operator.",
    .labels = { "consumer" },
};

static const struct db_stmt *of_schema(const struct consumer *c, const struct db_stmt *stmt)
{
    return sql_for_schema(stmt, c->def->schema);
}

void consumer_show_counters(const struct consumer *c)
{
    metric_add(&parked_total, 0, (const char *const[]){ c->def->name });
    consumer_show_rewound(c);
}

/* --- parking --- */

static void tell_parked(struct consumer *c, const PbEvent *event, const char *reason)
{
    char seq[24];

    snprintf(seq, sizeof seq, "%" PRId64, event->seq);
    metric_add(&parked_total, 1, (const char *const[]){ c->def->name });
    log_error("consumer.parked", "an event was put aside; mend the cause, then replay it",
              "consumer", c->def->name, "seq", seq, "type", event->type, "event_id",
              event->event_id, "aggregate", event->aggregate, "reason", reason, NULL);
}

static int64_t pause_after(int attempts)
{
    return attempts > 0 ? RETRY_BASE_US << MIN(attempts - 1, 10) : 0;
}

static const char *next_try(int64_t pause_us, char buf[static TIME_TEXT_MAX])
{
    return time_format(clock_wall_us() + pause_us, buf);
}

enum err consumer_queue_park(struct consumer *c, const PbEvent *event, int attempts,
                             const char *reason, enum consumer_aside how)
{
    bool given_up = how == CONSUMER_ASIDE_PARKED || how == CONSUMER_ASIDE_STUCK;
    uint8_t *packed;
    size_t len;
    char seq[24], tries[16], now[TIME_TEXT_MAX], next[TIME_TEXT_MAX];

    enum err e = wire_pack(&event->base, c->work, &packed, &len);
    if (e)
        return e;
    snprintf(seq, sizeof seq, "%" PRId64, event->seq);
    snprintf(tries, sizeof tries, "%d", attempts);
    const char *params[] = { c->def->name,
                             seq,
                             event->tenant_id,
                             event->type,
                             event->aggregate,
                             db_text_bytes(c->work, packed, len),
                             tries,
                             reason,
                             time_format(clock_wall_us(), now),
                             given_up ? "parked" : "replay",
                             next_try(pause_after(attempts), next) };
    if (params[5] == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    e = db_queue(c->db, of_schema(c, &sql_parked_insert), params);
    if (e)
        return e;
    if (how == CONSUMER_ASIDE_PARKED)
        tell_parked(c, event, reason);
    else if (how == CONSUMER_ASIDE_RETRY)
        log_warn("consumer.set_aside", "an event failed; it is tried again soon", "consumer",
                 c->def->name, "seq", seq, "type", event->type, "reason", reason, NULL);
    return ERR_OK;
}

static char *aggregates_of(struct consumer *c, const struct consumer_item *items, size_t n)
{
    struct sbuf text;

    sbuf_init(&text, AGGREGATES_LIMIT);
    sbuf_add_char(&text, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            sbuf_add_char(&text, ',');
        sbuf_add_pg_element(&text, items[i].event->aggregate);
    }
    sbuf_add_char(&text, '}');
    char *copy = text.bad ? NULL : arena_strdup(c->work, text.data);
    sbuf_fini(&text);
    return copy;
}

/* One blocked aggregate against the batch. */
static enum err park_behind(struct consumer *c, struct consumer_item *items, size_t n,
                            struct db_row *row)
{
    struct id tenant = db_row_id(row, "tenant_id");
    const char *aggregate = db_row_text(row, "aggregate");
    int64_t first_seq = db_row_i64(row, "first_seq");
    bool parked = db_row_bool(row, "is_parked");

    if (row->bad)
        return ERR_INTERNAL;
    for (size_t i = 0; i < n; i++) {
        const PbEvent *event = items[i].event;
        if (items[i].done || event->seq < first_seq || !id_equal(items[i].tenant, tenant) ||
            strcmp(event->aggregate, aggregate) != 0)
            continue;
        items[i].done = true;
        if (event->seq == first_seq)
            continue; /* a rebuild meets it again: it is put aside already, and runs once, when it
                         is put back */
        enum err e = consumer_queue_park(c, event, 0, "waits behind an earlier event",
                                         parked ? CONSUMER_ASIDE_STUCK : CONSUMER_ASIDE_BEHIND);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err consumer_park_blocked(struct consumer *c, struct consumer_item *items, size_t n)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[] = { c->def->name, aggregates_of(c, items, n) };

    if (params[1] == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(c->db, of_schema(c, &sql_parked_waiting), params, &res);
    for (int i = 0; e == ERR_OK && i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        e = park_behind(c, items, n, &row);
    }
    return e;
}

/* --- another try --- */

struct waiting {
    PbEvent *event; /* NULL: none */
    int attempts;
    int64_t seq;
};

static enum err next_waiting(struct consumer *c, struct waiting *out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    char now[TIME_TEXT_MAX];
    const char *params[] = { c->def->name, time_format(clock_wall_us(), now) };
    ProtobufCMessage *m;
    struct wire_fault fault;
    uint8_t *data;
    size_t len;

    enum err e = db_queue(c->db, of_schema(c, &sql_consumer_lock), params); /* one replica a time */
    if (e == ERR_OK)
        e = db_exec(c->db, of_schema(c, &sql_parked_next), params, &res);
    if (e || PQntuples(res) == 0)
        return e;
    struct db_row row = { .res = res };
    out->seq = db_row_i64(&row, "seq");
    out->attempts = db_row_i32(&row, "attempts");
    e = row.bad ? ERR_INTERNAL : db_row_bytes(&row, "event", c->feed, &data, &len);
    if (e == ERR_OK)
        e = wire_unpack(&daybook__bus__v1__event__descriptor, data, len, &wire_limits_internal,
                        c->feed, &m, &fault);
    if (e)
        return e == ERR_RESOURCE_EXHAUSTED ? e : ERR_INTERNAL; /* we packed it ourselves */
    out->event = (PbEvent *)m;
    return ERR_OK;
}

static enum err run_waiting(struct consumer *c, struct reaction *r, const struct waiting *w)
{
    struct consumer_item item = { .event = w->event, .def = consumer_find_def(c, w->event->type) };
    struct consumer_item *const items[] = { &item };
    char seq[24], attempts[16];
    const char *params[] = { c->def->name, seq, attempts };

    snprintf(seq, sizeof seq, "%" PRId64, w->seq);
    snprintf(attempts, sizeof attempts, "%d", w->attempts + 1);
    enum err e = ERR_OK;
    if (!id_parse(w->event->tenant_id, &item.tenant))
        return ERR_INTERNAL;
    if (consumer_wants(item.def, false)) /* else the program no longer reacts to it */
        e = consumer_react_tenant(c, r, items, 1);
    return e ? e : db_queue(c->db, of_schema(c, &sql_parked_done), params);
}

struct verdict {
    bool give_up;
    int attempts;
    int64_t pause_us;
    const char *reason;
};

/* What may pass is no fault of the event: it does not count as a try, but has its time. A lock that
 * is never given must not hold up the event's aggregate for ever without anybody being told. */
static struct verdict judge_trouble(struct consumer *c, const struct waiting *w, const char *reason)
{
    int64_t now_us = clock_monotonic_us();
    int64_t patience_us = c->env.patience_us ? c->env.patience_us : PATIENCE_US;
    struct consumer_trouble *t = &c->troubles[0];

    for (size_t i = 0; i < CONSUMER_TROUBLES_MAX && t->seq != w->seq; i++)
        if (c->troubles[i].seq == w->seq || c->troubles[i].last_us < t->last_us)
            t = &c->troubles[i]; /* its own, else that of longest ago */
    if (t->seq != w->seq || t->last_us == 0 || now_us - t->last_us > TROUBLE_GAP_US)
        *t = (struct consumer_trouble){ .seq = w->seq, .since_us = now_us };
    int64_t lasted_us = now_us - t->since_us;
    bool give_up = lasted_us >= patience_us;
    t->last_us = give_up ? 0 : now_us;
    return (struct verdict){ give_up, w->attempts,
                             MIN(MAX(lasted_us, CONSUMER_TICK_US), TROUBLE_PAUSE_MAX_US), reason };
}

static struct verdict judge_failure(const struct waiting *w, const char *reason)
{
    int attempts = w->attempts + 1;

    return (struct verdict){ attempts >= CONSUMER_TRIES_MAX, attempts, pause_after(attempts),
                             reason };
}

/* parked_out: it is given up, unless another replica has made it good since. */
static enum err queue_put_back(struct consumer *c, const struct waiting *w, const struct verdict *v,
                               bool *parked_out)
{
    char seq[24], attempts[16], next[TIME_TEXT_MAX];
    const char *all[] = { c->def->name, w->event->tenant_id, w->event->aggregate, seq, attempts,
                          v->reason };
    const char *one[] = { c->def->name, seq, attempts, v->reason, next_try(v->pause_us, next) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    snprintf(seq, sizeof seq, "%" PRId64, w->seq);
    snprintf(attempts, sizeof attempts, "%d", v->attempts);
    enum err e = db_queue(c->db, of_schema(c, &sql_consumer_lock), all); /* as next_waiting() */
    if (e || !v->give_up)
        return e ? e : db_queue(c->db, of_schema(c, &sql_parked_later), one);
    e = db_exec(c->db, of_schema(c, &sql_parked_again), all, &res);
    if (e == ERR_OK)
        *parked_out = PQntuples(res) > 0;
    return e;
}

/* Tried again later, or given up: then what waits behind it is, too. */
static enum err put_back(struct consumer *c, const struct waiting *w, const struct verdict *v)
{
    bool parked = false;

    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + CONSUMER_TX_US);
    if (e)
        return e;
    e = queue_put_back(c, w, v, &parked);
    if (e == ERR_OK)
        e = db_commit(c->db);
    db_rollback(c->db);
    if (e == ERR_OK && parked)
        tell_parked(c, w->event, v->reason);
    return e;
}

/* False: nothing more to do now. */
static bool replay_one(struct consumer *c)
{
    struct waiting w = { 0 };
    struct reaction r;
    struct reaction_state state;
    char reason[128];

    arena_reset(c->feed);
    consumer_react_open(c, &r, &state, false);
    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + CONSUMER_TX_US);
    if (e == ERR_OK)
        e = next_waiting(c, &w);
    if (e == ERR_OK && w.event)
        e = run_waiting(c, &r, &w);
    if (e == ERR_OK && w.event)
        e = db_commit(c->db);
    consumer_react_reason(c, e, reason, sizeof reason);
    db_rollback(c->db);
    if (e == ERR_OK && w.event)
        consumer_react_tell(c, &r);
    consumer_react_close(&r);
    if (w.event == NULL)
        return false;
    if (e == ERR_OK)
        return true;
    bool may_pass = consumer_is_transient(e);
    if (may_pass && !db_is_connected(c->db))
        return false;
    struct verdict v = may_pass ? judge_trouble(c, &w, reason) : judge_failure(&w, reason);
    /* A hundred waits for a lock would keep this thread from everything else. */
    return put_back(c, &w, &v) == ERR_OK && !may_pass;
}

void consumer_replay_parked(struct consumer *c)
{
    for (int i = 0; i < REPLAYS_A_TICK && !consumer_stopping(c); i++)
        if (!replay_one(c))
            return;
}
