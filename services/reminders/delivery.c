/*
 * delivery.c - see delivery.h.
 *
 * A try is three steps: read what is to be said and to where, in a transaction; post; write down
 * what came of it, in a transaction that proves the lane's lease. Dying between the last two
 * repeats the post under the same id.
 */
#include "services/reminders/delivery.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/http_out.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/protojson.h"
#include "common/secret.h"
#include "services/reminders/arrays.h"
#include "services/reminders/bell.h"
#include "services/reminders/sql.h"

#define TURN_ROWS 100
#define ROUND_US (250 * MSEC_US)
#define DB_LIMIT_US (5 * SECOND_US)
#define POST_LIMIT_US (10 * SECOND_US)
#define HOLD_US (30 * SECOND_US) /* an address that does not answer is left alone for so long */
#define HOLDS 64
#define QUIET_LOOK_US (10 * SECOND_US) /* a domain clock may be turned meanwhile */
#define BODY_MAX (20 * KIB)
#define RESULT_MAX 200
#define TURN_ARENA (8 * MIB)

static struct metric sends_total = {
    .name = "daybook_channel_sends_total",
    .type = METRIC_COUNTER,
    .help = "Notices tried on outside channels: delivered, retry, failed, skipped.",
    .labels = { "channel", "outcome" },
};

/* An address that did not answer, and until when it is left alone (monotonic). */
struct hold {
    uint64_t url_hash;
    int64_t until_us;
};

struct delivery {
    struct delivery_config config;
    int index;
    struct db *db;
    struct http_out *http;
    struct arena *arena;
    struct hold holds[HOLDS];
};

/* --- pure parts ------------------------------------------------------------------------------ */

int64_t delivery_pause_us(int attempts)
{
    static const int64_t pauses[] = { 5 * SECOND_US, 5 * MINUTE_US, 30 * MINUTE_US,
                                      2 * HOUR_US,   5 * HOUR_US,   10 * HOUR_US,
                                      14 * HOUR_US,  20 * HOUR_US,  24 * HOUR_US };
    return attempts >= 1 && attempts <= (int)ARRAY_LEN(pauses) ? pauses[attempts - 1] : 0;
}

int64_t delivery_quiet_us(const char *span, const struct tz *tz, int64_t now_us)
{
    int from, to;

    if (!policy_span(span, &from, &to) || from == to)
        return 0;
    struct date today = tz_date(tz, now_us);
    int minute = tz_minute_of_day(tz, now_us);
    bool over_midnight = from > to;
    if (over_midnight ? minute < from && minute >= to : minute < from || minute >= to)
        return 0;
    struct date end_day = over_midnight && minute >= from ? date_add(today, 1) : today;
    return MAX(1, tz_instant(tz, end_day, to) - now_us);
}

static char *secret_name(struct arena *a, struct id owner)
{
    char text[ID_TEXT_MAX];
    return arena_printf(a, "channel:%s", id_text(owner, text));
}

char *delivery_new_secret(struct arena *a)
{
    uint8_t raw[32];
    char base64[64];

    randombytes_buf(raw, sizeof(raw));
    sodium_bin2base64(base64, sizeof(base64), raw, sizeof(raw), sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(raw, sizeof(raw));
    return arena_printf(a, "whsec_%s", base64);
}

char *delivery_seal_secret(struct arena *a, struct id tenant, struct id owner, const char *secret)
{
    char *name = secret_name(a, owner);
    return name ? secret_seal(a, tenant, name, secret) : NULL;
}

/* --- life ------------------------------------------------------------------------------------ */

struct delivery *delivery_new(const struct delivery_config *config, int index)
{
    struct delivery *d = calloc(1, sizeof(*d));
    char name[LEASE_NAME_MAX];

    if (!d)
        return NULL;
    d->config = *config;
    d->index = index;
    d->db = db_new(config->conninfo,
                   lease_session_name("delivery", leases_instance(config->leases), name));
    d->http = http_out_new(config->allow, config->allow_plain);
    d->arena = arena_new(TURN_ARENA);
    if (!d->db || !d->http || !d->arena) {
        delivery_free(d);
        return NULL;
    }
    metric_register(&sends_total);
    return d;
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    db_free(d->db);
    http_out_free(d->http);
    arena_free(d->arena);
    free(d);
}

/* --- addresses that do not answer ------------------------------------------------------------ */

static uint64_t hash_url(const char *url)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *url; url++)
        h = (h ^ (uint8_t)*url) * UINT64_C(1099511628211);
    return h;
}

static int64_t held_us(struct delivery *d, const char *url)
{
    const struct hold *hold = &d->holds[hash_url(url) % HOLDS];
    return hold->url_hash == hash_url(url) ? MAX(0, hold->until_us - clock_monotonic_us()) : 0;
}

static void hold_address(struct delivery *d, const char *url)
{
    d->holds[hash_url(url) % HOLDS] =
        (struct hold){ hash_url(url), clock_monotonic_us() + HOLD_US };
}

/* --- one notice ------------------------------------------------------------------------------ */

struct
try {
    struct delivery *d;
    struct id tenant, id;
    int lane;
    PbDelivery *notice;
    const char *state, *subject, *url, *secret;
    struct id unit, owner;
    int attempts;
    bool closed;
    int64_t due_us;
};

enum outcome { OUTCOME_DELIVERED, OUTCOME_FAILED, OUTCOME_SKIPPED, OUTCOME_LATER, OUTCOME_RETRY };

struct verdict {
    enum outcome outcome;
    int64_t pause_us;   /* LATER, RETRY */
    const char *result; /* for the ledger; NULL = leave what is there */
    bool was_tried;
    bool is_gone; /* the receiver wants nothing any more (410) */
};

static enum err read_try(struct try *t, const PGresult *res)
{
    struct arena *a = t->d->arena;
    struct db_row row = { .res = res };

    enum err e = record_read(res, 0, &delivery_descriptor, a, &t->notice);
    if (e)
        return e;
    t->state = arena_strdup(a, db_row_text(&row, "_state"));
    t->subject = arena_strdup(a, db_row_text(&row, "_subject"));
    t->attempts = db_row_i32(&row, "_attempts");
    t->closed = db_row_bool(&row, "_closed");
    t->due_us = db_row_time(&row, "_due_at");
    if (!db_row_is_null(&row, "_unit_id"))
        t->unit = db_row_id(&row, "_unit_id");
    if (!db_row_is_null(&row, "_url")) {
        t->owner = db_row_id(&row, "_owner_id");
        t->url = arena_strdup(a, db_row_text(&row, "_url"));
        t->secret = arena_strdup(a, db_row_text(&row, "_secret"));
        if (!t->url || !t->secret)
            return ERR_RESOURCE_EXHAUSTED;
    }
    return row.bad || !t->state || !t->subject ? ERR_INTERNAL : ERR_OK;
}

static enum err load(struct try *t)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct arena *a = t->d->arena;
    const char *const params[] = { db_text_id(a, t->tenant), db_text_id(a, t->id) };

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(t->d->db, &t->tenant, clock_monotonic_us() + DB_LIMIT_US);
    if (!e)
        e = db_exec(t->d->db, &sql_outgoing_load, params, &res);
    if (!e)
        e = db_commit(t->d->db);
    if (e)
        return e;
    return PQntuples(res) ? read_try(t, res) : ERR_NOT_FOUND;
}

/* What the receiver gets: made of what never changes, so that every attempt says the same. */
static enum err make_body(struct try *t, struct sbuf *b)
{
    char fired[TIME_TEXT_MAX];

    sbuf_add_text(b, "{\"type\":\"daybook.reminders.v1.Delivery\",\"timestamp\":");
    sbuf_add_json(b, time_format(wire_time_us(t->notice->fired_at), fired));
    sbuf_add_text(b, ",\"subject\":");
    sbuf_add_json(b, t->subject);
    sbuf_add_text(b, ",\"data\":");
    enum err e = protojson_write(&t->notice->base, 0, b);
    sbuf_add_char(b, '}');
    return e ? e : b->bad ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}

static enum err post(struct try *t, const struct sbuf *body, struct http_answer *answer_out,
                     const char **reason_out)
{
    struct arena *a = t->d->arena;
    char *secret, *signature, *name = secret_name(a, t->owner);
    int64_t stamp_s = clock_wall_us() / SECOND_US;

    if (!name)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = secret_open(a, t->tenant, name, t->secret, &secret);
    if (!e)
        e = http_out_sign(secret, t->notice->id, stamp_s, body->data, body->len, a, &signature);
    if (e)
        return e;
    const char *const headers[] = {
        "Content-Type: application/json; charset=utf-8",
        arena_printf(a, "webhook-id: %s", t->notice->id),
        arena_printf(a, "webhook-timestamp: %" PRId64, stamp_s),
        arena_printf(a, "webhook-signature: %s", signature),
        NULL,
    };
    if (!headers[1] || !headers[2] || !headers[3])
        return ERR_RESOURCE_EXHAUSTED;
    return http_out_post(t->d->http, t->url, headers, body->data, body->len, POST_LIMIT_US, a,
                         answer_out, reason_out);
}

static int64_t with_jitter(int64_t pause_us)
{
    /* ± 20 % */
    return pause_us - pause_us / 5 +
           (int64_t)randombytes_uniform((uint32_t)(pause_us / 2500 + 1)) * 1000;
}

static struct verdict try_again(struct try *t, int64_t wanted_us, const char *result)
{
    int64_t pause_us = delivery_pause_us(t->attempts + 1);

    if (!pause_us)
        return (struct verdict){ OUTCOME_FAILED, .result = result, .was_tried = true };
    return (struct verdict){ OUTCOME_RETRY, .pause_us = MAX(with_jitter(pause_us), wanted_us),
                             .result = result, .was_tried = true };
}

static struct verdict judge_answer(struct try *t, const struct http_answer *answer)
{
    char *result = arena_printf(t->d->arena, "HTTP %d %.100s", answer->status,
                                answer->body ? answer->body : "");

    if (answer->status >= 200 && answer->status < 300)
        return (struct verdict){ OUTCOME_DELIVERED, .result = result, .was_tried = true };
    if (answer->status == 410)
        return (struct verdict){ OUTCOME_FAILED, .result = result, .was_tried = true,
                                 .is_gone = true };
    return try_again(t, MAX(0, answer->retry_after_us), result);
}

static struct verdict send(struct try *t)
{
    struct http_answer answer = { .retry_after_us = -1 };
    const char *reason = NULL;
    struct sbuf body;

    sbuf_init(&body, BODY_MAX);
    enum err e = make_body(t, &body);
    if (!e)
        e = post(t, &body, &answer, &reason);
    sbuf_fini(&body);
    if (!e)
        return judge_answer(t, &answer);
    if (e == ERR_UNAVAILABLE || e == ERR_DEADLINE_EXCEEDED)
        hold_address(t->d, t->url);
    return try_again(t, 0, reason ? reason : err_name(e));
}

/* What there is to do with it now. */
static struct verdict judge(struct try *t, const struct directory *dir, int64_t now_us)
{
    const struct dir_tenant *tenant = directory_tenant(dir, t->tenant);
    bool is_warning = t->notice->step_kind == STEP_WARNING;

    if (t->closed)
        return (struct verdict){ OUTCOME_SKIPPED,
                                 .result = "the duty was closed before it was sent" };
    if (is_warning && now_us >= t->due_us)
        return (struct verdict){ OUTCOME_SKIPPED, .result = "a warning after the due time" };
    if (!t->url)
        return (struct verdict){ OUTCOME_FAILED, .result = "no channel any more" };
    if (!tenant)
        return (struct verdict){ OUTCOME_LATER, .pause_us = SECOND_US };
    struct policy_value span = directory_policy(dir, t->tenant, t->unit, "quiet_hours", now_us);
    int64_t quiet_us = delivery_quiet_us(span.text, tenant->calendar->tz, now_us);
    if (quiet_us)
        return (struct verdict){ OUTCOME_LATER, .pause_us = MIN(clock_until_us(now_us + quiet_us),
                                                                QUIET_LOOK_US) };
    int64_t held = held_us(t->d, t->url);
    if (held)
        return (struct verdict){ OUTCOME_LATER, .pause_us = held };
    return send(t);
}

/* --- writing down ---------------------------------------------------------------------------- */

static enum err queue_settle(struct try *t, const struct verdict *v, const char *result)
{
    static const char *const states[] = { [OUTCOME_DELIVERED] = "delivered",
                                          [OUTCOME_FAILED] = "failed",
                                          [OUTCOME_SKIPPED] = "skipped" };
    struct arena *a = t->d->arena;
    const char *const params[] = {
        db_text_id(a, t->tenant),
        db_text_id(a, t->id),
        states[v->outcome],
        v->outcome == OUTCOME_DELIVERED ? db_text_time(a, clock_now_us()) : NULL,
        db_text_i64(a, t->attempts + v->was_tried),
        result,
    };
    return params[0] && params[1] && params[4] ? db_queue(t->d->db, &sql_outgoing_settle, params)
                                               : ERR_RESOURCE_EXHAUSTED;
}

static enum err queue_later(struct try *t, const struct verdict *v, const char *result)
{
    struct arena *a = t->d->arena;
    const char *const params[] = {
        db_text_id(a, t->tenant),
        db_text_id(a, t->id),
        db_text_i64(a, v->pause_us),
        db_text_i64(a, t->attempts + v->was_tried),
        result,
    };
    return params[0] && params[1] && params[2] && params[3]
               ? db_queue(t->d->db, &sql_outgoing_later, params)
               : ERR_RESOURCE_EXHAUSTED;
}

/* 410: that address wants no more of this (protocols D.1). */
static enum err queue_removal(struct try *t)
{
    struct arena *a = t->d->arena;
    const char *const params[] = { db_text_id(a, t->tenant), db_text_id(a, t->owner), t->url };

    return params[0] && params[1] ? db_queue(t->d->db, &sql_channel_delete, params)
                                  : ERR_RESOURCE_EXHAUSTED;
}

/* An answer's text may be anything: only what a ledger can show, and not too much of it. */
static char *clean_result(struct arena *a, const char *result)
{
    char *text = arena_strndup(a, result, MIN(strlen(result), (size_t)RESULT_MAX));
    for (char *p = text; p && *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = ' ';
    return text;
}

static enum err write_down(struct try *t, const struct verdict *v)
{
    struct db *db = t->d->db;
    const char *result = v->result ? clean_result(t->d->arena, v->result) : NULL;
    bool is_final = v->outcome != OUTCOME_LATER && v->outcome != OUTCOME_RETRY;

    if (v->result && !result)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(db, &t->tenant, clock_monotonic_us() + DB_LIMIT_US);
    if (!e)
        e = leases_queue_fence(t->d->config.leases, db, &t->lane, 1);
    if (!e)
        e = is_final ? queue_settle(t, v, result) : queue_later(t, v, result);
    if (!e && v->is_gone)
        e = queue_removal(t);
    return e ? e : db_commit(db);
}

static void count_send(const struct verdict *v)
{
    static const char *const names[] = { [OUTCOME_DELIVERED] = "delivered",
                                         [OUTCOME_FAILED] = "failed",
                                         [OUTCOME_SKIPPED] = "skipped",
                                         [OUTCOME_RETRY] = "retry" };
    if (v->outcome != OUTCOME_LATER)
        metric_add(&sends_total, 1, (const char *const[]){ "http", names[v->outcome] });
}

static enum err deal_with(struct try *t, const struct directory *dir)
{
    struct verdict v = { .outcome = OUTCOME_SKIPPED };

    enum err e = load(t);
    if (e == ERR_OK && strcmp(t->state, "pending") == 0)
        v = judge(t, dir, clock_now_us());
    else if (e && e != ERR_NOT_FOUND)
        return e;
    e = write_down(t, &v);
    if (!e)
        count_send(&v);
    return e;
}

/* --- a turn ---------------------------------------------------------------------------------- */

static enum err find_due(struct delivery *d, struct arena *a, struct try **tries_out, size_t *n_out)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *params[2] = { NULL, db_text_i64(a, TURN_ROWS) };

    *n_out = 0;
    columns_init(&k, 1);
    for (int lane = SHARDS; lane < LEASES; lane++)
        if (lane % DELIVERY_THREADS == d->index && leases_held(d->config.leases, lane, NULL))
            columns_i64(&k, lane);
    if (!k.rows)
        return ERR_OK;
    enum err e = columns_params(&k, params);
    if (!e)
        e = db_begin(d->db, NULL, clock_monotonic_us() + DB_LIMIT_US);
    if (!e)
        e = db_exec(d->db, &sql_outgoing_due, params, &res);
    if (!e)
        e = db_commit(d->db);
    if (e)
        return e;
    struct db_row row = { .res = res };
    struct try *tries = arena_array(a, (size_t)PQntuples(res) + 1, sizeof(*tries));
    if (!tries)
        return ERR_RESOURCE_EXHAUSTED;
    for (; row.row < PQntuples(res); row.row++)
        tries[row.row] = (struct try){ .d = d,
                                       .tenant = db_row_id(&row, "tenant_id"),
                                       .id = db_row_id(&row, "delivery_id"),
                                       .lane = db_row_i32(&row, "lane") };
    *tries_out = tries;
    *n_out = (size_t)PQntuples(res);
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

enum err delivery_turn(struct delivery *d, size_t *done_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    CLEANUP(arena_freep) struct arena *list = arena_new(MIB);
    struct try *tries = NULL;
    size_t n = 0;

    *done_out = 0;
    if (!dir)
        return ERR_OK;
    enum err e = list ? find_due(d, list, &tries, &n) : ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n && !e; i++) {
        arena_reset(d->arena);
        e = deal_with(&tries[i], dir);
        *done_out += !e;
    }
    db_rollback(d->db);
    return e;
}

void delivery_run(struct delivery *d, const struct engine_host *host)
{
    struct bell nobody; /* nothing rings: a notice may wait a quarter of a second */

    bell_init(&nobody);
    while (!host->stopping(host->arg)) {
        size_t done;
        enum err e = delivery_turn(d, &done);
        if (e && e != ERR_CANCELED)
            log_warn("delivery.failed", "notices could not be posted; trying again", "err",
                     err_name(e), NULL);
        if (e || done == 0)
            bell_wait(&nobody, ROUND_US);
    }
    bell_fini(&nobody);
}
