/*
 * relay.c - see relay.h.
 *
 * A drain is one round trip: BEGIN, the lock on bus.head, the move, COMMIT. The moved rows come
 * back as the result of the move; they are kept until the commit has been confirmed and published
 * then. What is committed and not published (a crash, a connection lost with the COMMIT under way)
 * is announced by the next head.
 */
#include "services/bus/relay.h"

#include <unistd.h>
#include <zmq.h>

#include "common/call.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "common/record.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "services/bus/broker.h"
#include "services/bus/sql.h"
#include "services/bus/stats.h"

typedef Daybook__Bus__V1__Event PbEvent;

/* Any number will do, as long as nobody else takes it: "daybook" in ASCII. */
#define LOCK_KEY "28254671641472875"
#define BATCH 500
#define ARENA_BYTES (160 * MIB)
#define DRAIN_TIMEOUT_US (10 * SECOND_US)
#define QUERY_TIMEOUT_US (3 * SECOND_US)
#define IDLE_POLL_US (100 * MSEC_US)
#define REST_MIN_US (3 * MSEC_US)
#define REST_MAX_US (8 * MSEC_US)
#define STANDBY_POLL_US (250 * MSEC_US)
#define RETRY_CAP_US (2 * SECOND_US) /* so that a relay leads within 5 s of what stopped it */
#define HEAD_US SECOND_US
#define STATE_US (5 * SECOND_US)
#define COUNT_LIMIT "100000" /* events counted at a time */
#define STALLED_US (3 * SECOND_US)
#define PUBLISH_WAIT_MS 5000

struct position {
    struct id log_id;
    int64_t seq;
};

struct relay {
    struct relay_config config;
    struct db *db;
    struct arena *arena;
    int batch;        /* of the next drain */
    void *wake;       /* PULL */
    void *publish;    /* PUSH */
    uint64_t session; /* that the lock belongs to */
    bool leads;
    int64_t term;
    struct position head;     /* as last seen */
    struct id last_event;     /* at head.seq, of what was drained here; nil: none */
    int64_t last_first_id;    /* standing by: the oldest row that waits... */
    int64_t unmoved_since_us; /* ...and since when it is the same */
    int64_t head_at_us, state_at_us;
    int64_t rest_until_us; /* after a drain that moved something */
    int failures;
    /* of the drain at hand */
    PbEvent **events;
    size_t nevents;
    bool fenced;
    int64_t moved_to_seq;
    enum err unread; /* why the moved rows could not be read: they are in the log all the same */
};

static struct metric outbox_rows = {
    .name = "daybook_outbox_rows",
    .type = METRIC_GAUGE,
    .help = "Events that wait in the outbox (an estimate above 10 000).",
};
static struct metric outbox_oldest = {
    .name = "daybook_outbox_oldest_seconds",
    .type = METRIC_GAUGE,
    .help = "Age of the oldest event in the outbox.",
};
static struct metric relay_leader = {
    .name = "daybook_relay_leader",
    .type = METRIC_GAUGE,
    .help = "1 when this bus leads the relay.",
};
static struct metric log_head_seq = {
    .name = "daybook_log_head_seq",
    .type = METRIC_GAUGE,
    .help = "Newest seq of the log.",
};

/* --- telling -------------------------------------------------------------------------------- */

static void set_leads(struct relay *r, bool leads, const char *why)
{
    if (r->leads != leads)
        log_info(leads ? "relay.lead" : "relay.stand_by",
                 leads ? "leads the relay" : "does not lead the relay any more", "reason", why,
                 NULL);
    r->leads = leads;
    stats_set_leader(leads);
    metric_set(&relay_leader, leads, NULL);
}

static void set_head(struct relay *r, struct id log_id, int64_t seq)
{
    r->head = (struct position){ .log_id = log_id, .seq = seq };
    metric_set(&log_head_seq, (double)seq, NULL);
}

/* --- publishing ----------------------------------------------------------------------------- */

static bool send_part(struct relay *r, const void *data, size_t len, bool more)
{
    return zmq_send(r->publish, data, len, more ? ZMQ_SNDMORE : 0) >= 0;
}

static void seq_bytes(int64_t seq, uint8_t out[static 8])
{
    for (int i = 8; i-- > 0; seq >>= 8)
        out[i] = (uint8_t)seq;
}

static bool send_place(struct relay *r, const char *topic, int64_t seq)
{
    uint8_t bytes[8];
    seq_bytes(seq, bytes);
    return send_part(r, topic, strlen(topic), true) &&
           send_part(r, r->head.log_id.b, sizeof(r->head.log_id.b), true) &&
           send_part(r, bytes, sizeof(bytes), true);
}

static bool publish_event(struct relay *r, const PbEvent *event)
{
    char topic[512];
    zmq_msg_t m;
    snprintf(topic, sizeof(topic), "%s/%s", event->tenant_id, event->type);
    if (zmq_msg_init_size(&m, daybook__bus__v1__event__get_packed_size(event)) != 0)
        return false;
    daybook__bus__v1__event__pack(event, zmq_msg_data(&m));
    if (send_place(r, topic, event->seq) && zmq_msg_send(&m, r->publish, 0) >= 0)
        return true;
    zmq_msg_close(&m);
    return false;
}

/* What the publisher does not take within 5 s is not published; consumers read it from the log. */
static void publish_events(struct relay *r)
{
    for (size_t i = 0; i < r->nevents; i++)
        if (!publish_event(r, r->events[i])) {
            log_warn("relay.publish_stuck", "events are left to the log's readers", NULL);
            break;
        }
    r->head_at_us = clock_monotonic_us() + HEAD_US;
}

static void announce_head(struct relay *r)
{
    r->head_at_us = clock_monotonic_us() + HEAD_US;
    if (send_place(r, BUS_TOPIC_HEAD, r->head.seq) && send_part(r, "", 0, false))
        return;
    log_debug("relay.publish_stuck", "head not announced", NULL);
}

/* --- one transaction ------------------------------------------------------------------------ */

/* A statement in a transaction of its own. */
static enum err query(struct relay *r, const struct db_stmt *stmt, const char *const *params,
                      PGresult **res_out)
{
    PGresult *res = NULL;
    enum err e = db_begin(r->db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = db_exec(r->db, stmt, params, &res);
    if (!e)
        e = db_commit(r->db);
    if (!e) {
        *res_out = res;
        return ERR_OK;
    }
    db_result_clear(&res);
    db_rollback(r->db);
    return e;
}

static void lose_lead(struct relay *r, const char *why)
{
    set_leads(r, false, why);
    r->unmoved_since_us = clock_monotonic_us();
}

/* A lost connection has lost the lock, even when it was made anew since; and the database that
 * answers now may be one whose history went back. */
static bool holds_session(struct relay *r)
{
    return r->session != 0 && db_session(r->db) == r->session;
}

/* --- draining ------------------------------------------------------------------------------- */

static void take_head(void *ctx, const PGresult *res)
{
    struct relay *r = ctx;
    r->fenced = PQntuples(res) == 0; /* then the move finds no head either, and moves nothing */
}

static void take_moved(void *ctx, const PGresult *res)
{
    struct relay *r = ctx;
    int n = PQntuples(res);
    if (n == 0)
        return;
    r->moved_to_seq = db_row_i64(&(struct db_row){ .res = res, .row = n - 1 }, "seq");
    r->unread = record_read_all(res, &daybook__bus__v1__event__descriptor, r->arena, &r->nevents,
                                &r->events);
}

/* Moved and not to be published from here: whoever hears the head reads them from the log. */
static void leave_to_readers(struct relay *r)
{
    log_warn("relay.not_read", "events too large for the memory are left to the log's readers",
             NULL);
    set_head(r, r->head.log_id, r->moved_to_seq);
    r->last_event = (struct id){ 0 };
    stats_set_published(r->moved_to_seq);
    announce_head(r);
}

static enum err drain(struct relay *r)
{
    char *limit = db_text_i64(r->arena, r->batch), *term = db_text_i64(r->arena, r->term);
    char *now = db_text_time(r->arena, clock_now_us());
    if (!limit || !term || !now)
        return ERR_RESOURCE_EXHAUSTED;
    r->nevents = 0;
    r->fenced = false;
    r->unread = ERR_OK;
    enum err e = db_begin(r->db, NULL, clock_monotonic_us() + DRAIN_TIMEOUT_US);
    if (!e && !holds_session(r)) /* it connects anew between transactions, and only there */
        e = ERR_UNAVAILABLE;
    if (!e)
        e = db_queue_take(r->db, &sql_relay_head_lock, (const char *[]){ term }, take_head, r);
    if (!e)
        e = db_queue_take(r->db, &sql_relay_drain, (const char *[]){ limit, term, now }, take_moved,
                          r);
    if (!e)
        e = db_commit(r->db);
    if (e) {
        r->nevents = 0;
        db_rollback(r->db);
    } else if (r->unread) {
        r->nevents = 0;
        leave_to_readers(r);
    }
    return e ? e : r->unread;
}

static void note_drained(struct relay *r)
{
    const PbEvent *last = r->events[r->nevents - 1];
    set_head(r, r->head.log_id, last->seq);
    if (!id_parse(last->event_id, &r->last_event))
        r->last_event = (struct id){ 0 };
    stat_add(STAT_DRAINS, 1);
    stats_set_published(last->seq);
}

/* --- the lead ------------------------------------------------------------------------------- */

/*
 * A host that vanishes must not hold the lock for hours: the server asks for signs of life. And the
 * plans of a drain are made while the outbox is as good as empty, where a sequential scan seems as
 * good as an index; it is not once thousands of dead rows await the next vacuum (14 times dearer
 * after half a minute at 1,500/s).
 */
static enum err prepare_session(struct relay *r)
{
    static const char settings[] = "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; "
                                   "SET tcp_keepalives_count = 2; SET tcp_user_timeout = 4000; "
                                   "SET enable_seqscan = off; SET enable_hashjoin = off; "
                                   "SET enable_mergejoin = off";
    int64_t deadline_us = clock_monotonic_us() + QUERY_TIMEOUT_US;
    if (holds_session(r))
        return ERR_OK;
    enum err e = db_ping(r->db, deadline_us);
    if (!e)
        e = db_script(r->db, settings, deadline_us);
    if (!e)
        r->session = db_session(r->db);
    return e;
}

/* Whether history went back since the log got its id: numbers would be given out twice (F15). */
static bool is_rewound(struct relay *r, struct db_row *row, struct id log_id)
{
    int32_t timeline = db_row_i32(row, "timeline");
    if (timeline != 0 && timeline != db_row_i32(row, "timeline_now"))
        return true;
    if (!id_equal(log_id, r->head.log_id) || id_is_nil(r->last_event))
        return false; /* nothing was seen of this log */
    return db_row_is_null(row, "event_id") || !id_equal(db_row_id(row, "event_id"), r->last_event);
}

/* In the transaction: looks under the lock on bus.head, and raises the term. */
static enum err take_term(struct relay *r)
{
    CLEANUP(db_result_clear) PGresult *look = NULL;
    CLEANUP(db_result_clear) PGresult *lead = NULL;
    char log_text[ID_TEXT_MAX];
    char *seen = db_text_i64(r->arena, r->head.seq);
    if (!seen)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(r->db, &sql_relay_look, (const char *[]){ seen }, &look);
    if (e)
        return e;
    struct db_row row = { .res = look };
    if (PQntuples(look) != 1 || db_row_i64(&row, "cache_size") != 1) {
        log_error("relay.schema", "bus.head is empty, or the outbox's ids are not CACHE 1", NULL);
        return ERR_FAILED_PRECONDITION;
    }
    struct id log_id = db_row_id(&row, "log_id");
    if (is_rewound(r, &row, log_id)) {
        log_id = id_new();
        r->last_event = (struct id){ 0 };
        log_warn("relay.log_rewound", "the log's history went back: it gets a new log_id", NULL);
    }
    char *timeline = db_text_i64(r->arena, db_row_i32(&row, "timeline_now"));
    int64_t last_seq = db_row_i64(&row, "last_seq");
    if (row.bad || !timeline)
        return ERR_INTERNAL;
    e = db_exec(r->db, &sql_relay_lead, (const char *[]){ id_text(log_id, log_text), timeline },
                &lead);
    if (e)
        return e;
    struct db_row led = { .res = lead };
    r->term = db_row_i64(&led, "term");
    if (last_seq != r->head.seq)
        r->last_event = (struct id){ 0 }; /* it is not at that seq; of this one nothing was seen */
    set_head(r, log_id, last_seq);
    return led.bad ? ERR_INTERNAL : ERR_OK;
}

/* ERR_ABORTED: somebody else holds the lock. */
static enum err take_lead(struct relay *r)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = prepare_session(r);
    if (!e)
        e = query(r, &sql_relay_lock, (const char *[]){ LOCK_KEY }, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    if (!db_row_bool(&row, "locked"))
        return ERR_ABORTED;
    e = db_begin(r->db, NULL, clock_monotonic_us() + QUERY_TIMEOUT_US);
    if (!e)
        e = take_term(r);
    if (!e)
        e = db_commit(r->db);
    if (e) {
        db_rollback(r->db);
        return e;
    }
    if (!holds_session(r))
        return ERR_UNAVAILABLE; /* the lock went with the old connection */
    set_leads(r, true, "lock");
    announce_head(r); /* what an earlier leader committed and did not publish */
    return ERR_OK;
}

/* --- standing by ---------------------------------------------------------------------------- */

static enum err peek(struct relay *r, bool *waiting_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = query(r, &sql_relay_peek, NULL, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    if (PQntuples(res) != 1)
        return ERR_FAILED_PRECONDITION;
    *waiting_out = !db_row_is_null(&row, "first_id");
    int64_t first_id = *waiting_out ? db_row_i64(&row, "first_id") : 0;
    if (first_id == 0 || first_id != r->last_first_id)
        r->unmoved_since_us = clock_monotonic_us();
    r->last_first_id = first_id;
    if (!r->leads) /* the leader's own position also says what it has seen */
        set_head(r, db_row_id(&row, "log_id"), db_row_i64(&row, "last_seq"));
    if (!r->leads)
        r->last_event = (struct id){ 0 };
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err oust(struct relay *r)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    log_warn("relay.oust", "the leader does not move events: its session is ended", NULL);
    r->unmoved_since_us = clock_monotonic_us();
    return query(r, &sql_relay_oust, (const char *[]){ LOCK_KEY }, &res);
}

static enum err stand_by(struct relay *r)
{
    bool waiting;
    enum err e = take_lead(r);
    if (e != ERR_ABORTED)
        return e;
    e = peek(r, &waiting);
    if (!e && waiting && clock_monotonic_us() - r->unmoved_since_us >= STALLED_US)
        e = oust(r);
    return e;
}

/* --- the loop ------------------------------------------------------------------------------- */

/* True: woken. Takes all wakes at once: one drain serves them all. */
static bool wait_for_wake(struct relay *r, int64_t timeout_us)
{
    zmq_pollitem_t item = { .socket = r->wake, .events = ZMQ_POLLIN };
    char byte;
    bool woken = false;
    zmq_poll(&item, 1, (long)((timeout_us + MSEC_US - 1) / MSEC_US));
    while (zmq_recv(r->wake, &byte, 1, ZMQ_DONTWAIT) >= 0)
        woken = true;
    return woken;
}

/* What could not be counted now is counted next time. */
static void count_types(struct relay *r)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[] = { COUNT_LIMIT };
    if (r->leads && query(r, &sql_relay_count, params, &res))
        log_debug("relay.not_counted", "events by type are counted later", NULL);
}

static void show_outbox(struct relay *r)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    if (clock_monotonic_us() < r->state_at_us)
        return;
    r->state_at_us = clock_monotonic_us() + STATE_US;
    count_types(r);
    if (query(r, &sql_outbox_state, NULL, &res))
        return;
    struct db_row row = { .res = res };
    int64_t rows = db_row_i64(&row, "rows"), age_us = 0;
    if (!db_row_is_null(&row, "oldest_at"))
        age_us = clock_now_us() - db_row_time(&row, "oldest_at");
    metric_set(&outbox_rows, (double)rows, NULL);
    metric_set(&outbox_oldest, (double)MAX(age_us, 0) / (double)SECOND_US, NULL);
}

/* Large events: a batch of them may be more than the memory takes, now and each time again. True:
 * fewer are to be tried. */
static bool take_fewer(struct relay *r, enum err e)
{
    if (e != ERR_RESOURCE_EXHAUSTED || r->batch == 1)
        return false;
    r->batch = MAX(r->batch / 4, 1);
    return true;
}

/*
 * The first event after a rest is moved at once; under load the relay works a third of the time. A
 * drain for each commit would cost PostgreSQL, and each consumer behind it, about what the commits
 * cost.
 */
static void rest_after(struct relay *r, int64_t began_us)
{
    int64_t now_us = clock_monotonic_us();
    r->rest_until_us = now_us + MIN(MAX(2 * (now_us - began_us), REST_MIN_US), REST_MAX_US);
}

/* Drains until nothing is left; each batch is published before the next is moved. */
static enum err drain_all(struct relay *r, bool (*stopping)(void *arg), void *arg)
{
    bool more = true;
    while (more && !stopping(arg)) {
        int64_t began_us = clock_monotonic_us();
        enum err e = drain(r);
        if (take_fewer(r, e)) {
            arena_reset(r->arena);
            continue;
        }
        if (!e && r->fenced) {
            stat_add(STAT_FENCED, 1);
            lose_lead(r, "fenced");
        }
        if (e || r->fenced)
            return e;
        more = r->nevents == (size_t)r->batch;
        r->batch = MIN(r->batch * 2, r->config.batch);
        if (r->nevents > 0) {
            note_drained(r);
            publish_events(r);
            rest_after(r, began_us);
        }
        arena_reset(r->arena);
    }
    return ERR_OK;
}

/* Whoever wakes it meanwhile has committed before: the next drain serves him. */
static void gather(struct relay *r)
{
    int64_t left_us = r->rest_until_us - clock_monotonic_us();
    if (left_us <= 0)
        return;
    usleep((useconds_t)left_us);
    wait_for_wake(r, 0);
}

/* A turn of the leader: wait for a wake, or look whether one was lost. */
static enum err lead(struct relay *r, bool (*stopping)(void *arg), void *arg)
{
    bool waiting = wait_for_wake(r, IDLE_POLL_US);
    if (waiting)
        gather(r);
    enum err e = waiting ? ERR_OK : peek(r, &waiting);
    if (!e && !holds_session(r))
        lose_lead(r, "connection lost");
    else if (!e && waiting)
        e = drain_all(r, stopping, arg);
    return e;
}

static int64_t backoff_us(struct relay *r)
{
    int64_t us = 100 * MSEC_US << MIN(r->failures, 5);
    r->failures++;
    return MIN(us, RETRY_CAP_US);
}

static void on_failure(struct relay *r, enum err e)
{
    if (r->leads)
        lose_lead(r, err_name(e));
    if (r->failures == 0)
        log_warn("relay.failed", "the log cannot be reached; trying again", "code", err_name(e),
                 NULL);
    wait_for_wake(r, backoff_us(r));
}

void relay_run(struct relay *r, bool (*stopping)(void *arg), void *arg)
{
    while (!stopping(arg)) {
        enum err e = r->leads ? lead(r, stopping, arg) : stand_by(r);
        arena_reset(r->arena);
        if (e) {
            on_failure(r, e);
            continue;
        }
        r->failures = 0;
        if (clock_monotonic_us() >= r->head_at_us)
            announce_head(r);
        show_outbox(r);
        if (!r->leads)
            wait_for_wake(r, STANDBY_POLL_US);
    }
    if (r->leads)
        set_leads(r, false, "stopping"); /* the lock goes with the connection */
    db_free(r->db);
    r->db = NULL;
}

/* --- opening -------------------------------------------------------------------------------- */

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

struct relay *relay_new(const struct relay_config *config)
{
    struct relay *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->config = *config;
    if (r->config.batch <= 0)
        r->config.batch = BATCH;
    r->batch = r->config.batch;
    r->arena = arena_new(config->arena_bytes ? config->arena_bytes : ARENA_BYTES);
    r->db = db_new(config->conninfo, config->application_name);
    r->wake = zmq_socket(config->zmq_context, ZMQ_PULL);
    r->publish = zmq_socket(config->zmq_context, ZMQ_PUSH);
    r->unmoved_since_us = clock_monotonic_us();
    metric_register(&outbox_rows);
    metric_register(&outbox_oldest);
    metric_set(&relay_leader, 0, NULL);
    if (r->arena && r->db && r->wake && r->publish && set_int(r->wake, ZMQ_RCVHWM, 4) &&
        set_int(r->wake, ZMQ_LINGER, 0) && zmq_bind(r->wake, BROKER_RELAY_WAKE) == 0 &&
        set_int(r->publish, ZMQ_LINGER, 0) && set_int(r->publish, ZMQ_SNDHWM, 10000) &&
        set_int(r->publish, ZMQ_SNDTIMEO, PUBLISH_WAIT_MS) &&
        zmq_connect(r->publish, BROKER_PUBLISH) == 0)
        return r;
    relay_free(r);
    return NULL;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    db_free(r->db);
    arena_free(r->arena);
    if (r->wake)
        zmq_close(r->wake);
    if (r->publish)
        zmq_close(r->publish);
    free(r);
}
