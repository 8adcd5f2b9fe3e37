/*
 * attempt.c - see attempt.h.
 */
#include "services/reminders/attempt.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/protojson.h"
#include "common/secret.h"
#include "common/webhook_signature.h"
#include "services/reminders/delivery.h"
#include "services/reminders/sql.h"

#define DB_LIMIT_US (5 * SECOND_US)
#define POST_LIMIT_US (10 * SECOND_US)
#define RETRY_AFTER_MAX_US (24 * HOUR_US)
#define QUIET_LOOK_US (10 * MINUTE_US)
#define QUIET_STEERED_US (10 * SECOND_US)
#define BODY_MAX (20 * KIB)
#define RESULT_MAX 200

struct metric attempt_sends_total = {
    .name = "daybook_channel_sends_total",
    .type = METRIC_COUNTER,
    .help = "Notices tried on outside channels: delivered, retry, failed, skipped.",
    .labels = { "channel", "outcome" },
};

/* --- reading --------------------------------------------------------------------------------- */

static enum err read_attempt(struct attempt *t, const PGresult *res)
{
    struct arena *a = t->arena;
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
        if (!db_row_is_null(&row, "_old_secret")) /* without it the new one signs alone */
            t->old_secret = arena_strdup(a, db_row_text(&row, "_old_secret"));
    }
    return row.bad || !t->state || !t->subject ? ERR_INTERNAL : ERR_OK;
}

enum err attempt_load(struct attempt *t)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const params[] = { db_text_id(t->arena, t->tenant), db_text_id(t->arena, t->id) };

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(t->db, &t->tenant, clock_monotonic_us() + DB_LIMIT_US);
    if (!e)
        e = leases_queue_fence(t->leases, t->db, &t->lane, 1);
    if (!e)
        e = db_exec(t->db, &sql_outgoing_load, params, &res);
    if (!e)
        e = db_commit(t->db);
    if (e) {
        db_rollback(t->db);
        return e;
    }
    return PQntuples(res) ? read_attempt(t, res) : ERR_OK;
}

/* --- what to do with it ---------------------------------------------------------------------- */

/* To the end of the quiet hours; but a rule may change, and a steered clock be turned. */
static int64_t quiet_pause_us(int64_t end_us)
{
    return MIN(clock_until_us(end_us), clock_is_steered() ? QUIET_STEERED_US : QUIET_LOOK_US);
}

/* Of the unit of whoever is told (REM-12): a superior's may be another than the duty's. */
static int64_t quiet_us(const struct attempt *t, const struct directory *dir,
                        const struct dir_tenant *tenant, int64_t now_us)
{
    struct id to, unit = t->unit;
    const struct dir_employee *told =
        id_parse(t->notice->recipient_id, &to) ? directory_employee(dir, t->tenant, to) : NULL;

    if (told && told->unit)
        unit = told->unit->id;
    struct policy_value span = directory_policy(dir, t->tenant, unit, "quiet_hours", now_us);
    return delivery_quiet_us(span.text, tenant->calendar->tz, now_us);
}

static bool decide(struct attempt *t, enum outcome outcome, const char *result)
{
    t->verdict = (struct verdict){ .outcome = outcome, .result = result };
    return false;
}

static bool put_off(struct attempt *t, int64_t pause_us)
{
    t->verdict = (struct verdict){ OUTCOME_LATER, .pause_us = pause_us };
    return false;
}

bool attempt_judge(struct attempt *t, const struct directory *dir, int64_t now_us)
{
    const struct dir_tenant *tenant = directory_tenant(dir, t->tenant);

    if (!t->notice || strcmp(t->state, "pending") != 0)
        return decide(t, OUTCOME_SKIPPED, NULL);
    if (t->closed)
        return decide(t, OUTCOME_SKIPPED, "the duty was closed before it was sent");
    if (t->notice->step_kind == STEP_WARNING && now_us >= t->due_us)
        return decide(t, OUTCOME_SKIPPED, "a warning after the due time");
    if (!t->url)
        return decide(t, OUTCOME_FAILED, "no channel any more");
    if (!tenant)
        return put_off(t, SECOND_US);
    int64_t wait_us = quiet_us(t, dir, tenant, now_us);
    return wait_us ? put_off(t, quiet_pause_us(now_us + wait_us)) : true;
}

/* --- the post -------------------------------------------------------------------------------- */

/* What the receiver gets: made of what never changes, so that every attempt says the same. */
static enum err make_body(struct attempt *t, struct sbuf *b)
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

static enum err sign(struct attempt *t, const char *sealed, int64_t stamp_s, const char *body,
                     size_t len, char **signature_out)
{
    char *secret, *name = delivery_secret_name(t->arena, t->owner);

    if (!name)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = secret_open(t->arena, t->tenant, name, sealed, &secret);
    return e ? e : webhook_sign(secret, t->notice->id, stamp_s, body, len, t->arena, signature_out);
}

/* By the secret, and for a day after its change by the one before too (Standard Webhooks). */
static enum err sign_all(struct attempt *t, int64_t stamp_s, const char *body, size_t len,
                         char **signatures_out)
{
    char *old;

    enum err e = sign(t, t->secret, stamp_s, body, len, signatures_out);
    if (e || !t->old_secret || sign(t, t->old_secret, stamp_s, body, len, &old))
        return e;
    *signatures_out = arena_printf(t->arena, "%s %s", *signatures_out, old);
    return *signatures_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static const char *const *make_headers(struct attempt *t, int64_t stamp_s, const char *signatures)
{
    const char **h = arena_array(t->arena, 5, sizeof(*h));

    if (!h)
        return NULL;
    h[0] = "Content-Type: application/json; charset=utf-8";
    h[1] = arena_printf(t->arena, "webhook-id: %s", t->notice->id);
    h[2] = arena_printf(t->arena, "webhook-timestamp: %" PRId64, stamp_s);
    h[3] = arena_printf(t->arena, "webhook-signature: %s", signatures);
    return h[1] && h[2] && h[3] ? h : NULL;
}

enum err attempt_request(struct attempt *t, struct http_request *out)
{
    int64_t stamp_s = clock_wall_us() / SECOND_US;
    char *signatures = NULL;
    struct sbuf b;

    sbuf_init(&b, BODY_MAX);
    enum err e = make_body(t, &b);
    size_t len = b.len;
    const char *body = e ? NULL : arena_strndup(t->arena, b.data, len);
    sbuf_fini(&b);
    if (!e && !body)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = sign_all(t, stamp_s, body, len, &signatures);
    const char *const *headers = e ? NULL : make_headers(t, stamp_s, signatures);
    if (e || !headers)
        return e ? e : ERR_RESOURCE_EXHAUSTED;
    *out = (struct http_request){ .url = t->url,
                                  .headers = headers,
                                  .body = body,
                                  .len = len,
                                  .timeout_us = POST_LIMIT_US,
                                  .arena = t->arena };
    return ERR_OK;
}

static int64_t with_jitter(int64_t pause_us)
{
    /* ± 10 % */
    return pause_us - pause_us / 10 +
           (int64_t)randombytes_uniform((uint32_t)(pause_us / 5000 + 1)) * 1000;
}

static struct verdict try_again(struct attempt *t, int64_t wanted_us, const char *result)
{
    int64_t pause_us = delivery_pause_us(t->attempts + 1);

    if (!pause_us)
        return (struct verdict){ OUTCOME_FAILED, .result = result, .was_tried = true };
    pause_us = MAX(with_jitter(pause_us), MIN(wanted_us, RETRY_AFTER_MAX_US));
    return (struct verdict){ OUTCOME_RETRY, .pause_us = pause_us, .result = result,
                             .was_tried = true };
}

static struct verdict judge_answer(struct attempt *t, const struct http_answer *answer)
{
    char *result =
        arena_printf(t->arena, "HTTP %d %.100s", answer->status, answer->body ? answer->body : "");

    if (answer->status >= 200 && answer->status < 300)
        return (struct verdict){ OUTCOME_DELIVERED, .result = result, .was_tried = true };
    if (answer->status == 410)
        return (struct verdict){ OUTCOME_FAILED, .result = result, .was_tried = true,
                                 .is_gone = true };
    return try_again(t, MAX(0, answer->retry_after_us), result);
}

void attempt_conclude(struct attempt *t, enum err result, const struct http_answer *answer,
                      const char *reason)
{
    t->verdict =
        result ? try_again(t, 0, reason ? reason : err_name(result)) : judge_answer(t, answer);
}

/* --- writing down ---------------------------------------------------------------------------- */

static enum err queue_settle(struct attempt *t, const char *result)
{
    static const char *const states[] = { [OUTCOME_DELIVERED] = "delivered",
                                          [OUTCOME_FAILED] = "failed",
                                          [OUTCOME_SKIPPED] = "skipped" };
    const struct verdict *v = &t->verdict;
    struct arena *a = t->arena;
    const char *const params[] = {
        db_text_id(a, t->tenant),
        db_text_id(a, t->id),
        states[v->outcome],
        v->outcome == OUTCOME_DELIVERED ? db_text_time(a, clock_now_us()) : NULL,
        db_text_i64(a, t->attempts + v->was_tried),
        result,
    };
    return params[0] && params[1] && params[4] ? db_queue(t->db, &sql_outgoing_settle, params)
                                               : ERR_RESOURCE_EXHAUSTED;
}

static enum err queue_later(struct attempt *t, const char *result)
{
    const struct verdict *v = &t->verdict;
    struct arena *a = t->arena;
    const char *const params[] = {
        db_text_id(a, t->tenant),
        db_text_id(a, t->id),
        db_text_i64(a, v->pause_us),
        db_text_i64(a, t->attempts + v->was_tried),
        result,
    };
    return params[0] && params[1] && params[2] && params[3]
               ? db_queue(t->db, &sql_outgoing_later, params)
               : ERR_RESOURCE_EXHAUSTED;
}

/* 410: that address wants no more of this (protocols D.1). */
static enum err queue_removal(struct attempt *t)
{
    struct arena *a = t->arena;
    const char *const params[] = { db_text_id(a, t->tenant), db_text_id(a, t->owner), t->url };

    return params[0] && params[1] ? db_queue(t->db, &sql_channel_delete, params)
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

static enum err queue_verdict(struct attempt *t, const char *result)
{
    bool is_final = t->verdict.outcome != OUTCOME_LATER && t->verdict.outcome != OUTCOME_RETRY;

    enum err e = leases_queue_fence(t->leases, t->db, &t->lane, 1);
    if (!e)
        e = is_final ? queue_settle(t, result) : queue_later(t, result);
    if (!e && t->verdict.is_gone)
        e = queue_removal(t);
    return e;
}

static void count_send(const struct verdict *v)
{
    static const char *const names[] = { [OUTCOME_DELIVERED] = "delivered",
                                         [OUTCOME_FAILED] = "failed",
                                         [OUTCOME_SKIPPED] = "skipped",
                                         [OUTCOME_RETRY] = "retry" };
    if (v->outcome != OUTCOME_LATER)
        metric_add(&attempt_sends_total, 1, (const char *const[]){ "http", names[v->outcome] });
}

enum err attempt_write(struct attempt *t)
{
    const char *result = t->verdict.result ? clean_result(t->arena, t->verdict.result) : NULL;

    if (t->verdict.result && !result)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(t->db, &t->tenant, clock_monotonic_us() + DB_LIMIT_US);
    if (!e)
        e = queue_verdict(t, result);
    if (!e)
        e = db_commit(t->db);
    if (e)
        db_rollback(t->db);
    else
        count_send(&t->verdict);
    return e;
}
