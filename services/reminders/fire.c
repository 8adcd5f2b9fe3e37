/*
 * fire.c - see fire.h. Tenants of a batch follow each other in the order of their ids, duties
 * within them too, so that two batches take their locks in the same order.
 */
#include "services/reminders/fire.h"

#include <assert.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/outbox.h"
#include "services/reminders/notice.h"
#include "services/reminders/obligation.h"
#include "services/reminders/sql.h"

struct metric fire_total = {
    .name = "daybook_timers_fired_total",
    .type = METRIC_COUNTER,
    .help = "Timers that came due: fired, late, skipped, stale, parked.",
    .labels = { "rule", "outcome" },
};
struct metric fire_steps = {
    .name = "daybook_timer_steps_total",
    .type = METRIC_COUNTER,
    .help = "Steps that came due and were not skipped: warning, due, escalation.",
    .labels = { "kind" },
};
struct metric fire_lateness = {
    .name = "daybook_timer_lateness_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "Time from the due moment of a timer to the commit of its firing.",
    .labels = { "rule" },
    .buckets = metric_lateness_buckets,
};

/* One timer that did fire. */
struct shot {
    struct duty duty; /* after the firing */
    int step;
    enum plan_kind kind;
    int64_t due_us;
    bool late;
    bool skipped; /* a warning after the due time: recorded, not sent */
    size_t nrecipients;
    struct id recipients[PLAN_RECIPIENTS_MAX];
    size_t nlisted; /* in whose list it is, without a notice */
    struct id listed[PLAN_RECIPIENTS_MAX];
};

/* The timers of one tenant. */
struct group {
    struct volley *volley;
    struct id tenant;
    struct timer *timers;
    size_t ntimers;
    struct shot *shots;
    size_t nshots;
    bool has_channels; /* somebody of the company wants notices posted */
    bool *is_free;     /* of a careful volley: which of the timers' duties nobody else holds */
};

struct volley {
    struct fire_context *c;
    struct group *groups;
    size_t ngroups;
    struct timer *locked; /* left out */
    size_t nlocked;
};

/* --- grouping -------------------------------------------------------------------------------- */

static int compare_timers(const void *a, const void *b)
{
    const struct timer *x = a, *y = b;
    int order = id_compare(x->tenant, y->tenant);
    return order ? order : id_compare(x->obligation, y->obligation);
}

static enum err make_groups(struct volley *v, struct timer *timers, size_t n)
{
    v->groups = arena_array(v->c->arena, n, sizeof(*v->groups));
    if (!v->groups)
        return ERR_RESOURCE_EXHAUSTED;
    qsort(timers, n, sizeof(*timers), compare_timers);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !id_equal(timers[i].tenant, timers[i - 1].tenant))
            v->groups[v->ngroups++] =
                (struct group){ .volley = v, .tenant = timers[i].tenant, .timers = &timers[i] };
        v->groups[v->ngroups - 1].ntimers++;
    }
    return ERR_OK;
}

static enum err queue_fence(struct volley *v, const struct timer *timers, size_t n)
{
    bool used[SHARDS] = { 0 };
    int list[SHARDS];
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        used[timers[i].shard] = true;
    for (int i = 0; i < SHARDS; i++)
        if (used[i])
            list[count++] = i;
    return leases_queue_fence(v->c->leases, v->c->db, list, count);
}

/* --- round before: leave out what others hold ------------------------------------------------- */

static enum err queue_ids(struct group *g, const struct db_stmt *stmt, db_check_fn *check)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    char tenant[ID_TEXT_MAX];
    struct db_param params[2] = { { .value = id_text(g->tenant, tenant) } };

    columns_init_binary(&k, 1);
    for (size_t i = 0; i < g->ntimers; i++)
        columns_id(&k, g->timers[i].obligation);
    enum err e = columns_binary_params(&k, &params[1]);
    return e ? e : db_queue_params(g->volley->c->db, stmt, params, check, g);
}

static int compare_id_to_timer(const void *id, const void *timer)
{
    return id_compare(*(const struct id *)id, ((const struct timer *)timer)->obligation);
}

static enum err read_free(void *ctx, const PGresult *res)
{
    struct group *g = ctx;

    g->is_free = arena_array(g->volley->c->arena, g->ntimers, sizeof(*g->is_free));
    if (!g->is_free)
        return ERR_RESOURCE_EXHAUSTED;
    for (struct db_row row = { .res = res }; row.row < PQntuples(res); row.row++) {
        struct id id = db_row_id(&row, "id");
        const struct timer *t =
            bsearch(&id, g->timers, g->ntimers, sizeof(*t), compare_id_to_timer);
        for (; t && t > g->timers && id_equal(t[-1].obligation, id); t--)
            ; /* an older step of the same duty may stand beside it */
        for (; t && t < g->timers + g->ntimers && id_equal(t->obligation, id); t++)
            g->is_free[t - g->timers] = true;
    }
    return ERR_OK;
}

static void leave_out_locked(struct group *g)
{
    struct volley *v = g->volley;
    size_t n = 0;

    for (size_t i = 0; i < g->ntimers; i++) {
        struct timer t = g->timers[i];
        if (!g->is_free[i]) {
            v->locked[v->nlocked++] = t;
            continue;
        }
        g->timers[i] = g->timers[n]; /* all stay in the array: the volley may yet fail */
        g->timers[n++] = t;
    }
    g->ntimers = n;
}

static enum err leave_out_all_locked(struct volley *v, size_t n)
{
    enum err e = ERR_OK;

    v->locked = arena_array(v->c->arena, n, sizeof(*v->locked));
    if (!v->locked)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < v->ngroups && !e; i++) {
        e = db_set_tenant(v->c->db, v->groups[i].tenant);
        if (!e)
            e = queue_ids(&v->groups[i], &sql_fire_free, read_free);
    }
    if (!e)
        e = db_flush(v->c->db);
    for (size_t i = 0; i < v->ngroups && !e; i++)
        leave_out_locked(&v->groups[i]);
    return e;
}

/* --- first round: advance the duties --------------------------------------------------------- */

static void find_recipients(struct group *g, struct shot *s)
{
    char tells[64];

    if (s->skipped || !plan_tells_read(s->duty.tells, (size_t)s->step, tells))
        return;
    const struct dir_employee *employee =
        directory_employee(g->volley->c->dir, g->tenant, s->duty.assignee);
    s->nrecipients = plan_recipients(tells, s->duty.assignee, employee, s->recipients);
    s->nlisted = plan_listed(tells, s->duty.assignee, employee, s->listed);
}

static enum err read_shot(struct group *g, const PGresult *res, int i, struct shot *s)
{
    struct fire_context *c = g->volley->c;
    struct db_row row = { .res = res, .row = i };

    enum err e = duty_read(res, i, c->arena, &s->duty);
    if (e)
        return e;
    s->step = db_row_i32(&row, "_fired_step");
    s->due_us = db_row_i64(&row, "_fired_us");
    if (row.bad || s->step < 0 || (size_t)s->step >= s->duty.nsteps)
        return ERR_INTERNAL;
    s->kind = plan_kind_of(s->duty.at_us, s->duty.nsteps, (size_t)s->step, s->duty.due_us);
    s->skipped = s->kind == PLAN_WARNING && c->now_us >= s->duty.due_us;
    s->late = s->due_us <= c->late_before_us && c->now_us - s->due_us >= SECOND_US;
    find_recipients(g, s);
    return ERR_OK;
}

static enum err read_shots(void *ctx, const PGresult *res)
{
    struct group *g = ctx;
    size_t n = (size_t)PQntuples(res);

    g->shots = arena_array(g->volley->c->arena, n + 1, sizeof(*g->shots));
    if (!g->shots)
        return ERR_RESOURCE_EXHAUSTED;
    struct db_row first = { .res = res };
    g->has_channels = n && db_row_bool(&first, "_has_channels");
    for (size_t i = 0; i < n; i++) {
        enum err e = read_shot(g, res, (int)i, &g->shots[i]);
        if (e)
            return e;
    }
    g->nshots = n;
    return ERR_OK;
}

static enum err queue_fire(struct group *g)
{
    struct db *db = g->volley->c->db;
    CLEANUP(columns_fini) struct columns k = { 0 };
    char tenant[ID_TEXT_MAX];
    struct db_param params[4] = { { .value = id_text(g->tenant, tenant) } };

    columns_init_binary(&k, 3);
    for (size_t i = 0; i < g->ntimers; i++) {
        columns_id(&k, g->timers[i].obligation);
        columns_i64(&k, g->timers[i].step);
        columns_i64(&k, g->timers[i].due_us);
    }
    enum err e = columns_binary_params(&k, &params[1]);
    if (!e)
        e = db_set_tenant(db, g->tenant);
    return e ? e : db_queue_params(db, &sql_fire, params, read_shots, g);
}

/* --- second round: ledger, events ------------------------------------------------------- */

static const char *kind_text(enum plan_kind kind)
{
    static const char *const texts[] = {
        [PLAN_WARNING] = "warning", [PLAN_DUE] = "due", [PLAN_ESCALATION] = "escalation"
    };
    return texts[kind];
}

void fire_local_text(const struct tz *tz, int64_t us, char out[static FIRE_LOCAL_MAX])
{
    struct date d = tz_date(tz, us);
    int minute = tz_minute_of_day(tz, us);

    snprintf(out, FIRE_LOCAL_MAX, "%d月%d日 %02d:%02d", d.month, d.day, minute / 60, minute % 60);
}

/* The words for people, in the company's language. */
static char *notice_text(struct group *g, const struct shot *s, bool to_assignee)
{
    struct fire_context *c = g->volley->c;
    const struct dir_tenant *tenant = directory_tenant(c->dir, g->tenant);
    const struct dir_employee *who = directory_employee(c->dir, g->tenant, s->duty.assignee);
    char due[FIRE_LOCAL_MAX];

    fire_local_text(tenant ? tenant->calendar->tz : tz_find("UTC"), s->duty.due_us, due);
    const char *title = s->duty.pb->title, *name = who ? who->name : "";
    if (to_assignee)
        return s->kind == PLAN_WARNING
                   ? arena_printf(c->arena, "提醒：%s，请于 %s 前完成", title, due)
                   : arena_printf(c->arena, "已到期：%s，期限 %s", title, due);
    return s->kind == PLAN_ESCALATION
               ? arena_printf(c->arena, "逾期升级：%s（负责人 %s），期限 %s", title, name, due)
               : arena_printf(c->arena, "%s：%s（负责人 %s），期限 %s",
                              s->kind == PLAN_WARNING ? "提醒" : "已到期", title, name, due);
}

static enum err add_notice(struct group *g, const struct shot *s, struct id recipient,
                           struct notices *told)
{
    const struct notice notice = {
        .duty = &s->duty,
        .step = s->step,
        .kind = kind_text(s->kind),
        .recipient = recipient,
        .due_us = s->due_us,
        .late = s->late,
        .skipped = s->skipped,
        .text = notice_text(g, s, id_equal(recipient, s->duty.assignee)),
    };

    if (!notice.text)
        return ERR_RESOURCE_EXHAUSTED;
    notices_add(told, &notice);
    return ERR_OK;
}

static enum err queue_notices(struct group *g)
{
    CLEANUP(notices_fini) struct notices told = { 0 };
    enum err e = ERR_OK;

    notices_init(&told, g->has_channels);
    for (size_t i = 0; i < g->nshots && !e; i++) {
        struct shot *s = &g->shots[i];
        if (s->skipped)
            e = add_notice(g, s, s->duty.assignee, &told);
        for (size_t r = 0; r < s->nrecipients && !e; r++)
            e = add_notice(g, s, s->recipients[r], &told);
    }
    struct fire_context *c = g->volley->c;
    return e ? e : notices_queue(&told, c->db, g->tenant, c->now_us);
}

static enum err pack_event(struct group *g, struct shot *s, struct outbox_row *row)
{
    struct fire_context *c = g->volley->c;
    Daybook__Reminders__V1__ReminderFired event = DAYBOOK__REMINDERS__V1__REMINDER_FIRED__INIT;
    char ids[2][PLAN_RECIPIENTS_MAX][ID_TEXT_MAX];
    char *texts[2][PLAN_RECIPIENTS_MAX];

    for (size_t i = 0; i < s->nrecipients; i++)
        texts[0][i] = id_text(s->recipients[i], ids[0][i]);
    for (size_t i = 0; i < s->nlisted; i++)
        texts[1][i] = id_text(s->listed[i], ids[1][i]);
    event.reminder = s->duty.pb;
    event.step_kind = (Daybook__Reminders__V1__StepKind)s->kind;
    event.step = s->step;
    event.n_recipient_ids = s->nrecipients;
    event.recipient_ids = texts[0];
    event.n_listed_ids = s->nlisted;
    event.listed_ids = texts[1];
    event.late_by_s = s->late ? (c->now_us - s->due_us) / SECOND_US : 0;
    const struct outbox_event out = {
        .tenant = g->tenant,
        .collection = "reminders",
        .aggregate_id = s->duty.pb->id,
        .version = s->duty.version,
        .occurred_at_us = c->now_us,
        .message = &event.base,
    };
    return outbox_pack(&out, c->arena, row);
}

static enum err queue_events(struct group *g)
{
    struct fire_context *c = g->volley->c;
    struct outbox_row *rows = arena_array(c->arena, g->nshots + 1, sizeof(*rows));
    size_t n = 0;

    if (!rows)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < g->nshots; i++) {
        if (g->shots[i].skipped)
            continue; /* nobody was told */
        enum err e = pack_event(g, &g->shots[i], &rows[n++]);
        if (e)
            return e;
    }
    return outbox_queue_rows(c->db, rows, n, c->arena);
}

/* Timers nobody waits for: those whose duty is gone would be read again for ever. */
static enum err queue_orphans(struct group *g)
{
    return g->nshots == g->ntimers ? ERR_OK : queue_ids(g, &sql_timers_orphans_delete, NULL);
}

static enum err queue_record(struct volley *v)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < v->ngroups && !e; i++) {
        struct group *g = &v->groups[i];
        if (!g->ntimers)
            continue;
        e = db_set_tenant(v->c->db, g->tenant);
        if (!e)
            e = queue_notices(g);
        if (!e)
            e = queue_events(g);
        if (!e)
            e = queue_orphans(g);
    }
    return e;
}

/* --- after the commit ------------------------------------------------------------------------ */

static void count_shot(const struct shot *s, int64_t done_us)
{
    const char *outcome = s->skipped ? "skipped" : s->late ? "late" : "fired";
    const char *const labels[] = { s->duty.pb->rule, outcome };
    double late_s = (double)MAX(0, done_us - s->due_us) / (double)SECOND_US;

    metric_add(&fire_total, 1, labels);
    if (!s->skipped)
        metric_add(&fire_steps, 1, (const char *const[]){ kind_text(s->kind) });
    metric_observe(&fire_lateness, late_s, labels);
}

static enum err finish(struct volley *v, size_t n, struct fire_result *out)
{
    struct fire_result result = { .next = arena_array(v->c->arena, n + 1, sizeof(struct timer)),
                                  .locked = v->locked,
                                  .nlocked = v->nlocked };
    int64_t done_us = clock_now_us();

    if (!result.next)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < v->ngroups; i++) {
        struct group *g = &v->groups[i];
        for (size_t k = 0; k < g->nshots; k++) {
            struct shot *s = &g->shots[k];
            count_shot(s, done_us);
            if (duty_timer(&s->duty, g->tenant, &result.next[result.nnext]))
                result.nnext++;
        }
        result.fired += g->nshots;
        result.posted = result.posted || (g->nshots && g->has_channels);
    }
    result.stale = n - result.fired - result.nlocked;
    if (result.stale)
        metric_add(&fire_total, (int64_t)result.stale, (const char *const[]){ "", "stale" });
    *out = result;
    return ERR_OK;
}

static enum err fire_groups(struct volley *v)
{
    enum err e = db_queue(v->c->db, &sql_fire_patience, NULL);

    for (size_t i = 0; i < v->ngroups && !e; i++)
        if (v->groups[i].ntimers)
            e = queue_fire(&v->groups[i]);
    if (!e)
        e = db_flush(v->c->db);
    return e ? e : queue_record(v);
}

static enum err fire_once(struct fire_context *c, struct timer *timers, size_t n, bool careful,
                          struct fire_result *result_out)
{
    struct volley v = { .c = c };

    arena_reset(c->arena);
    enum err e = make_groups(&v, timers, n);
    if (!e)
        e = db_begin(c->db, NULL, c->deadline_us);
    if (!e)
        e = queue_fence(&v, timers, n);
    if (!e && careful)
        e = leave_out_all_locked(&v, n);
    if (!e)
        e = fire_groups(&v);
    if (!e)
        e = db_commit(c->db);
    if (e) {
        db_rollback(c->db);
        return e;
    }
    return finish(&v, n, result_out);
}

static bool met_a_lock(struct db *db)
{
    const struct db_error *why = db_last_error(db);
    return strcmp(why->sqlstate, "55P03") == 0 && strcmp(why->statement, sql_fire.name) == 0;
}

enum err fire_batch(struct fire_context *c, struct timer *timers, size_t n,
                    struct fire_result *result_out)
{
    assert(n > 0 && n <= FIRE_BATCH_MAX);
    enum err e = fire_once(c, timers, n, c->careful, result_out);
    return e == ERR_UNAVAILABLE && !c->careful && met_a_lock(c->db)
               ? fire_once(c, timers, n, true, result_out)
               : e;
}

/* --- parking --------------------------------------------------------------------------------- */

enum err fire_park(struct fire_context *c, const struct timer *timer, const char *reason)
{
    int shard = timer->shard;

    arena_reset(c->arena);
    const char *const params[] = {
        db_text_id(c->arena, timer->tenant),
        db_text_id(c->arena, timer->obligation),
        db_text_i64(c->arena, timer->step),
        db_text_i64(c->arena, timer->due_us),
        reason,
    };
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (!params[i])
            return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_begin(c->db, &timer->tenant, c->deadline_us);
    if (!e)
        e = leases_queue_fence(c->leases, c->db, &shard, 1);
    if (!e)
        e = db_queue(c->db, &sql_timer_park, params);
    if (!e)
        e = db_commit(c->db);
    if (e)
        db_rollback(c->db);
    else
        metric_add(&fire_total, 1, (const char *const[]){ "", "parked" });
    return e;
}
