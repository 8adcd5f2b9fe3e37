/*
 * webhook_store.c - see webhook_store.h.
 */
#include "services/gateway/webhooks/webhook_store.h"

#include "common/clock.h"
#include "common/columns.h"
#include "common/log.h"
#include "common/outbox.h"
#include "services/gateway/sql.h"

#define DB_LIMIT_US (5 * SECOND_US)
#define KNOW_MAX 256
#define WANT_MAX 256
#define LOOK_MAX 64
#define SWEEP_ROWS "1000"
#define SWEEP_BATCHES 10

static enum err begin(const struct webhook_store *s)
{
    arena_reset(s->arena);
    return db_begin(s->db, NULL, clock_monotonic_us() + DB_LIMIT_US);
}

static enum err end(const struct webhook_store *s, enum err e)
{
    if (!e)
        e = db_commit(s->db);
    if (e)
        db_rollback(s->db);
    return e;
}

static enum err run(const struct webhook_store *s, const struct db_stmt *stmt,
                    const char *const *params, PGresult **res_out)
{
    enum err e = begin(s);
    if (!e)
        e = db_exec(s->db, stmt, params, res_out);
    return end(s, e);
}

/* The lanes of a mask as a parameter. */
static const char *lanes_text(const struct webhook_store *s, uint32_t lanes)
{
    char text[128];
    struct sbuf b;

    sbuf_init_fixed(&b, text, sizeof(text));
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (lanes >> i & 1)
            sbuf_addf(&b, "%c%d", b.len ? ',' : '{', i);
    sbuf_add_char(&b, '}');
    return b.len > 1 ? arena_strdup(s->arena, text) : "{}";
}

enum err webhook_store_find(const struct webhook_store *s, uint32_t lanes)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    arena_reset(s->arena);
    char *text = lanes ? strdup(lanes_text(s, lanes)) : NULL;
    if (!text)
        return lanes ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
    const char *const params[] = { text };
    enum err e = run(s, &sql_feeds_find, params, &res);
    free(text);
    struct db_row row = { .res = res };
    for (; !e && row.row < PQntuples(res); row.row++) {
        const struct webhook_hint hint = { .tenant = db_row_id(&row, "tenant_id"),
                                           .endpoint = db_row_id(&row, "endpoint_id"),
                                           .lanes = 1U << (db_row_i32(&row, "lane") & 15) };
        webhook_queue_hint(s->queue, &hint);
    }
    return row.bad ? ERR_INTERNAL : e;
}

/* --- endpoints ---------------------------------------------------------------------------------- */

/* In memory of its own; NULL in, NULL out. False: cannot be read. */
static bool open_secret(const struct webhook_store *s, const struct webhook_endpoint *e,
                        const char *sealed, char **out)
{
    char *clear;

    *out = NULL;
    if (!sealed)
        return true;
    if (webhook_open_secret(s->arena, e->tenant, e->id, sealed, &clear))
        return false;
    *out = strdup(clear);
    return *out != NULL;
}

/* One whose secret cannot be opened must not stop the others: nothing is posted to it, and it is
 * looked at again with the next refresh. */
static void know(const struct webhook_store *s, struct webhook_endpoint *e, struct db_row *row)
{
    bool is_old = !db_row_is_null(row, "old_secret") && !db_row_is_null(row, "old_secret_until");
    bool is_news = !e->known || e->active;
    char id[ID_TEXT_MAX];
    struct webhook_endpoint said = {
        .url = strdup(db_row_text(row, "url")),
        .active = strcmp(db_row_text(row, "state"), "active") == 0,
        .old_until_us = is_old ? db_row_time(row, "old_secret_until") : 0,
        .failing_since_us =
            db_row_is_null(row, "failing_since") ? 0 : db_row_time(row, "failing_since"),
    };

    bool ok = said.url && !row->bad &&
              open_secret(s, e, db_row_text(row, "secret"), &said.secret) &&
              open_secret(s, e, is_old ? db_row_text(row, "old_secret") : NULL, &said.old_secret);
    if (!ok && is_news)
        log_error("webhook.secret",
                  "nothing is posted: the secret cannot be opened; another master key?", "endpoint",
                  id_text(e->id, id), NULL);
    said.active = said.active && ok;
    webhook_queue_know(s->queue, e, &said);
}

static struct db_row find_row(const PGresult *res, struct id id)
{
    struct db_row row = { .res = res };

    while (row.row < PQntuples(res) && !id_equal(db_row_id(&row, "id"), id))
        row.row++;
    return row;
}

/* Those of one company: list[0..n). */
static enum err ask_endpoints(const struct webhook_store *s, struct webhook_endpoint *const *list,
                              size_t n, PGresult **res_out)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    const char *params[2] = { db_text_id(s->arena, list[0]->tenant) };

    columns_init(&k, 1);
    for (size_t i = 0; i < n; i++)
        columns_id(&k, list[i]->id);
    enum err e = params[0] ? columns_params(&k, &params[1]) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_set_tenant(s->db, list[0]->tenant);
    return e ? e : db_exec(s->db, &sql_endpoints_load, params, res_out);
}

static enum err know_company(const struct webhook_store *s, struct webhook_endpoint *const *list,
                             size_t n)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = ask_endpoints(s, list, n, &res);
    for (size_t i = 0; i < n && !e; i++) {
        struct db_row row = find_row(res, list[i]->id);
        if (row.row < PQntuples(res))
            know(s, list[i], &row);
        else
            webhook_queue_no_such(s->queue, list[i]);
    }
    return e;
}

static int by_tenant(const void *a, const void *b)
{
    const struct webhook_endpoint *const *x = a, *const *y = b;
    return id_compare((*x)->tenant, (*y)->tenant);
}

enum err webhook_store_know(const struct webhook_store *s)
{
    struct webhook_endpoint *list[KNOW_MAX];
    size_t n = webhook_queue_unknown(s->queue, list, KNOW_MAX);

    if (!n)
        return ERR_OK;
    qsort(list, n, sizeof(list[0]), by_tenant);
    enum err e = begin(s);
    for (size_t i = 0, count; i < n && !e; i += count) {
        for (count = 1; i + count < n && id_equal(list[i + count]->tenant, list[i]->tenant);)
            count++;
        e = know_company(s, list + i, count);
    }
    return end(s, e);
}

/* --- rows --------------------------------------------------------------------------------------- */

struct reading {
    const struct webhook_store *s;
    struct webhook_now now;
    const struct webhook_want *wants;
    size_t nwants;
    size_t rows;
    bool bad;
};

static const struct webhook_want *find_want(const struct reading *r, struct id endpoint, int lane)
{
    for (size_t i = 0; i < r->nwants; i++)
        if (r->wants[i].lane == lane && id_equal(r->wants[i].endpoint->id, endpoint))
            return &r->wants[i];
    return NULL;
}

static void take_rows(void *ctx, const PGresult *res)
{
    struct reading *r = ctx;
    int got[WANT_MAX] = { 0 };
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        struct id endpoint = db_row_id(&row, "endpoint_id");
        const struct webhook_want *w = find_want(r, endpoint, db_row_i32(&row, "lane"));
        const char *body = db_row_text(&row, "body");
        union {
            const char *in;
            char *out;
        } text = { .in = body ? body : "" };
        const struct webhook_row one = {
            .seq = db_row_i64(&row, "seq"),
            .event = db_row_id(&row, "event_id"),
            .key = db_row_i64(&row, "key"),
            .attempts = db_row_i32(&row, "attempts"),
            .first_failed_us = db_row_i64(&row, "first_failed_us"),
            .tried_us = db_row_i64(&row, "tried_us"),
            .next_us = db_row_i64(&row, "next_us"),
            .body = body ? text.out : NULL,
            .len = strlen(text.in),
        };
        if (!w || row.bad || !webhook_queue_add(r->s->queue, w, &one, r->now)) {
            r->bad = true;
            return; /* the queue goes on from where it has come */
        }
        got[w - r->wants]++;
    }
    r->rows += (size_t)row.row;
    for (size_t i = 0; i < r->nwants; i++)
        webhook_queue_read(r->s->queue, &r->wants[i], got[i]);
}

static enum err queue_scan(struct reading *r)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct id tenant = r->wants[0].endpoint->tenant;
    const char *params[9] = { db_text_id(r->s->arena, tenant) };

    params[7] = db_text_i64(r->s->arena, r->now.wall_us);
    params[8] = db_text_i64(r->s->arena, r->now.wall_us - HOLD_KEY_US);
    columns_init(&k, 6);
    for (size_t i = 0; i < r->nwants; i++) {
        columns_id(&k, r->wants[i].endpoint->id);
        columns_i64(&k, r->wants[i].lane);
        columns_i64(&k, r->wants[i].after);
        columns_i64(&k, r->wants[i].rows);
        columns_i64(&k, r->wants[i].seen);
        columns_i64(&k, r->wants[i].forgiven_us);
    }
    bool ok = params[0] && params[7] && params[8];
    enum err e = ok ? columns_params(&k, &params[1]) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_set_tenant(r->s->db, tenant);
    return e ? e : db_queue_take(r->s->db, &sql_feeds_scan, params, take_rows, r);
}

static int by_company(const void *a, const void *b)
{
    const struct webhook_want *x = a, *y = b;
    return id_compare(x->endpoint->tenant, y->endpoint->tenant);
}

enum err webhook_store_read(const struct webhook_store *s, struct webhook_now now, size_t *rows_out,
                            bool *more_out)
{
    struct webhook_want wants[WANT_MAX];
    struct reading readings[WANT_MAX];
    size_t n = webhook_queue_wants(s->queue, now, wants, WANT_MAX), m = 0;

    *rows_out = 0;
    *more_out = n > 0;
    if (!n)
        return ERR_OK;
    qsort(wants, n, sizeof(wants[0]), by_company);
    enum err e = begin(s);
    for (size_t i = 0, count; i < n && !e; i += count) {
        for (count = 1; i + count < n &&
                        id_equal(wants[i + count].endpoint->tenant, wants[i].endpoint->tenant);)
            count++;
        readings[m] = (struct reading){ .s = s, .now = now, .wants = wants + i, .nwants = count };
        e = queue_scan(&readings[m++]);
    }
    e = end(s, e);
    for (size_t i = 0; i < m; i++) {
        *rows_out += readings[i].rows;
        if (readings[i].bad && !e)
            e = ERR_INTERNAL;
    }
    return e;
}

/* --- looking back ------------------------------------------------------------------------------- */

struct looking {
    const struct webhook_store *s;
    struct webhook_now now;
    const struct webhook_look *looks;
    size_t nlooks;
    bool bad;
};

static const struct webhook_look *find_look(const struct looking *l, struct id endpoint, int lane)
{
    for (size_t i = 0; i < l->nlooks; i++)
        if (l->looks[i].lane == lane && id_equal(l->looks[i].endpoint->id, endpoint))
            return &l->looks[i];
    return NULL;
}

static void take_found(void *ctx, const PGresult *res)
{
    struct looking *l = ctx;
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res) && !l->bad; row.row++) {
        const struct webhook_look *look =
            find_look(l, db_row_id(&row, "endpoint_id"), db_row_i32(&row, "lane"));
        int64_t key = db_row_i64(&row, "key"), seq = db_row_i64(&row, "seq");
        l->bad = !look || row.bad;
        if (!l->bad)
            webhook_queue_found(l->s->queue, look, key, seq, l->now);
    }
}

static enum err queue_look(struct looking *l)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct id tenant = l->looks[0].endpoint->tenant;
    const char *params[5] = { db_text_id(l->s->arena, tenant) };

    params[4] = db_text_i64(l->s->arena, l->now.wall_us);
    columns_init(&k, 3);
    for (size_t i = 0; i < l->nlooks; i++) {
        columns_id(&k, l->looks[i].endpoint->id);
        columns_i64(&k, l->looks[i].lane);
        columns_i64(&k, l->looks[i].upto);
    }
    enum err e = params[0] && params[4] ? columns_params(&k, &params[1]) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_set_tenant(l->s->db, tenant);
    return e ? e : db_queue_take(l->s->db, &sql_feeds_look_back, params, take_found, l);
}

static int looks_by_company(const void *a, const void *b)
{
    const struct webhook_look *x = a, *y = b;
    return id_compare(x->endpoint->tenant, y->endpoint->tenant);
}

enum err webhook_store_look_back(const struct webhook_store *s, struct webhook_now now)
{
    struct webhook_look looks[LOOK_MAX];
    struct looking all[LOOK_MAX];
    size_t n = webhook_queue_looks(s->queue, looks, LOOK_MAX), m = 0;

    if (!n)
        return ERR_OK;
    qsort(looks, n, sizeof(looks[0]), looks_by_company);
    enum err e = begin(s);
    for (size_t i = 0, count; i < n && !e; i += count) {
        for (count = 1; i + count < n &&
                        id_equal(looks[i + count].endpoint->tenant, looks[i].endpoint->tenant);)
            count++;
        all[m] = (struct looking){ .s = s, .now = now, .looks = looks + i, .nlooks = count };
        e = queue_look(&all[m++]);
    }
    e = end(s, e);
    for (size_t i = 0; i < m && !e; i++)
        e = all[i].bad ? ERR_INTERNAL : ERR_OK;
    return e;
}

/* --- what became of posts ----------------------------------------------------------------------- */

static enum err queue_fence(const struct webhook_store *s, const struct webhook_result *results,
                            size_t n)
{
    uint32_t used = 0;
    int list[WEBHOOK_LANES];
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        used |= 1U << results[i].lane;
    for (int i = 0; i < WEBHOOK_LANES; i++)
        if (used >> i & 1)
            list[count++] = i;
    enum err e = leases_queue_fence(s->leases, s->db, list, count);
    for (size_t i = 0; i < n && !e; i++) { /* versions rise: the fence has none but these */
        int64_t version;
        if (!leases_held(s->leases, results[i].lane, &version) || version != results[i].version)
            e = ERR_CANCELED;
    }
    return e;
}

static void put_common(struct columns *k, const struct webhook_result *r)
{
    columns_id(k, r->endpoint);
    columns_i64(k, r->lane);
    columns_i64(k, r->seq);
    columns_id(k, r->event);
    columns_i64(k, r->fate.attempts);
    columns_time(k, r->at_us);
    columns_i64(k, r->status);
    columns_text(k, r->text);
}

static enum err queue_delivered(const struct webhook_store *s, const struct webhook_result *list,
                                size_t n)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct db_param params[9] = { { .value = db_text_id(s->arena, list[0].tenant) } };

    columns_init_binary(&k, 8);
    for (size_t i = 0; i < n; i++)
        if (list[i].fate.outcome == WEBHOOK_DELIVERED)
            put_common(&k, &list[i]);
    if (!k.rows)
        return ERR_OK;
    enum err e = params[0].value ? columns_binary_params(&k, params + 1) : ERR_RESOURCE_EXHAUSTED;
    return e ? e : db_queue_params(s->db, &sql_settle_delivered, params, NULL, NULL);
}

static enum err queue_failed(const struct webhook_store *s, const struct webhook_result *list,
                             size_t n)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct db_param params[12] = { { .value = db_text_id(s->arena, list[0].tenant) } };

    columns_init_binary(&k, 11);
    for (size_t i = 0; i < n; i++) {
        const struct webhook_fate *v = &list[i].fate;
        if (v->outcome == WEBHOOK_DELIVERED)
            continue;
        put_common(&k, &list[i]);
        columns_i64(&k, list[i].took_us / MSEC_US);
        columns_i64(&k, v->first_failed_us);
        columns_i64(&k, v->outcome == WEBHOOK_LATER ? v->next_us : 0);
    }
    if (!k.rows)
        return ERR_OK;
    enum err e = params[0].value ? columns_binary_params(&k, params + 1) : ERR_RESOURCE_EXHAUSTED;
    return e ? e : db_queue_params(s->db, &sql_settle_failed, params, NULL, NULL);
}

/* Whoever hears it should mend the receiver. */
static enum err emit_disabled(const struct webhook_store *s, const PGresult *res, struct id tenant)
{
    Daybook__Gateway__V1__EndpointDisabled event = DAYBOOK__GATEWAY__V1__ENDPOINT_DISABLED__INIT;
    struct outbox_row row;

    enum err e =
        record_read(res, 0, &daybook__gateway__v1__endpoint__descriptor, s->arena, &event.endpoint);
    if (e)
        return e;
    const struct outbox_event out = {
        .tenant = tenant,
        .collection = "webhook-endpoints",
        .aggregate_id = event.endpoint->id,
        .version = strtoll(event.endpoint->etag, NULL, 10),
        .occurred_at_us = clock_now_us(),
        .message = &event.base,
    };
    e = outbox_pack(&out, s->arena, &row);
    return e ? e : outbox_queue_rows(s->db, &row, 1, s->arena);
}

static enum err disable(const struct webhook_store *s, const struct webhook_result *r,
                        bool *emitted_out)
{
    const char *const params[] = {
        db_text_id(s->arena, r->tenant),
        db_text_id(s->arena, r->endpoint),
        r->fate.news == WEBHOOK_GONE ? "true" : "false",
        r->fate.news == WEBHOOK_GONE ? "it answered 410: it wants no more events"
                                     : "no attempt has succeeded for 75 hours",
    };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(s->db, &sql_endpoint_disable, params, &res);
    if (e)
        return e;
    if (!PQntuples(res)) { /* somebody else did, or it has answered others since */
        webhook_queue_ask(s->queue, r->tenant, r->endpoint);
        return ERR_OK;
    }
    *emitted_out = true;
    return emit_disabled(s, res, r->tenant);
}

static enum err queue_health(const struct webhook_store *s, const struct webhook_result *r)
{
    const char *since = NULL;
    const char *const ids[] = { db_text_id(s->arena, r->tenant),
                                db_text_id(s->arena, r->endpoint) };

    if (r->fate.news == WEBHOOK_FAILS)
        since = db_text_time(s->arena, r->fate.failing_since_us);
    if (!ids[0] || !ids[1] || (r->fate.news == WEBHOOK_FAILS && !since))
        return ERR_RESOURCE_EXHAUSTED;
    const char *const params[] = { ids[0], ids[1], since };
    return db_queue(s->db, &sql_endpoint_health, params);
}

static enum err settle_company(const struct webhook_store *s, const struct webhook_result *list,
                               size_t n, bool *emitted_out)
{
    enum err e = db_set_tenant(s->db, list[0].tenant);
    if (!e)
        e = queue_delivered(s, list, n);
    if (!e)
        e = queue_failed(s, list, n);
    for (size_t i = 0; i < n && !e; i++) {
        enum webhook_news news = list[i].fate.news;
        if (news == WEBHOOK_FAILS || news == WEBHOOK_ANSWERS)
            e = queue_health(s, &list[i]);
        else if (news != WEBHOOK_NO_NEWS)
            e = disable(s, &list[i], emitted_out);
    }
    return e;
}

static int results_by_tenant(const void *a, const void *b)
{
    const struct webhook_result *const *x = a, *const *y = b;
    int by = id_compare((*x)->tenant, (*y)->tenant);
    return by ? by : (*x > *y) - (*x < *y); /* what comes of one endpoint stays in order */
}

/* Company by company. NULL: no memory. */
static struct webhook_result *sorted(const struct webhook_store *s,
                                     const struct webhook_result *results, size_t n)
{
    const struct webhook_result **order = arena_array(s->arena, n, sizeof(*order));
    struct webhook_result *out = arena_array(s->arena, n, sizeof(*out));

    if (!order || !out)
        return NULL;
    for (size_t i = 0; i < n; i++)
        order[i] = &results[i];
    qsort(order, n, sizeof(order[0]), results_by_tenant);
    for (size_t i = 0; i < n; i++)
        out[i] = *order[i];
    return out;
}

enum err webhook_store_settle(const struct webhook_store *s, const struct webhook_result *results,
                              size_t n, bool *emitted_out)
{
    *emitted_out = false;
    enum err e = begin(s);
    const struct webhook_result *list = sorted(s, results, n);
    if (!e && !list)
        e = ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = queue_fence(s, list, n);
    for (size_t i = 0, count; i < n && !e; i += count) {
        for (count = 1; i + count < n && id_equal(list[i + count].tenant, list[i].tenant);)
            count++;
        e = settle_company(s, list + i, count, emitted_out);
    }
    return end(s, e);
}

/* --- chores ------------------------------------------------------------------------------------- */

enum err webhook_store_state(const struct webhook_store *s, uint32_t lanes, int64_t *pending_out,
                             int64_t *oldest_us_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct id oldest;

    *pending_out = *oldest_us_out = 0;
    enum err e = begin(s);
    const char *const params[] = { lanes_text(s, lanes) };
    if (!e)
        e = params[0] ? db_exec(s->db, &sql_outgoing_state, params, &res) : ERR_RESOURCE_EXHAUSTED;
    e = end(s, e);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *pending_out = db_row_i64(&row, "pending");
    if (!db_row_is_null(&row, "oldest") && id_parse(db_row_text(&row, "oldest"), &oldest))
        *oldest_us_out = id_time_us(oldest);
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err sweep_company(const struct webhook_store *s, struct id tenant, int64_t before_us,
                              bool *more_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = begin(s);
    const char *const params[] = { db_text_id(s->arena, tenant),
                                   db_text_id(s->arena, id_at(before_us)), SWEEP_ROWS };
    if (!e)
        e = params[0] && params[1] ? db_set_tenant(s->db, tenant) : ERR_RESOURCE_EXHAUSTED;
    if (!e)
        e = db_exec(s->db, &sql_sweep, params, &res);
    *more_out = !e && PQntuples(res) > 0;
    return end(s, e);
}

enum err webhook_store_sweep(const struct webhook_store *s, const struct directory *dir,
                             int64_t before_us, bool *more_out)
{
    const struct dir_tenant *const *tenants;
    size_t n = directory_tenants(dir, &tenants);
    enum err e = ERR_OK;
    int batches = 0;

    *more_out = false;
    for (size_t i = 0; i < n && !*more_out; i++) { /* one that fails keeps nobody from his turn */
        enum err one = ERR_OK;
        for (bool more = true; more && !one && !*more_out;) {
            one = sweep_company(s, tenants[i]->id, before_us, &more);
            *more_out = more && ++batches == SWEEP_BATCHES;
        }
        e = e ? e : one;
    }
    return e;
}
