/*
 * chores.c - see chores.h.
 */
#include "services/reminders/chores.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/outbox.h"
#include "services/reminders/handover.h"
#include "services/reminders/look.h"
#include "services/reminders/obligation.h"
#include "services/reminders/sql.h"
#include "services/reminders/task_list.h"

#define STEP_DUTIES 500
#define STEP_LIMIT_US (10 * SECOND_US)
#define ROUND_US SECOND_US /* between two looks for work that nobody told us of */
#define PURGE_US (60 * SECOND_US)
#define PURGE_ROWS 1000
#define PURGE_ROUNDS 100           /* of that many, a company and a minute */
#define FAILED_US (30 * SECOND_US) /* until what failed is tried again */
#define TRIES 3                    /* at once, of a step that others were in the way of */
#define REASON_MAX 200
#define STEP_ARENA (32 * MIB)

struct chores {
    struct engine *engine;
    struct task_lists *lists;
    struct db *db;
    struct arena *arena;
    struct bell bell;
    int64_t purged_us;
    struct id turn; /* the company whose job was taken last */
    bool wake_relay;
    bool posted; /* what was told waits to be posted */
    struct timer near[STEP_DUTIES];
    size_t nnear;
};

struct chores *chores_new(struct engine *engine, struct task_lists *lists, const char *conninfo)
{
    struct chores *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->engine = engine;
    c->lists = lists;
    bell_init(&c->bell);
    c->db = db_new(conninfo, "daybook-reminders/chores");
    c->arena = arena_new(STEP_ARENA);
    if (!c->db || !c->arena) {
        chores_free(c);
        return NULL;
    }
    return c;
}

void chores_free(struct chores *c)
{
    if (!c)
        return;
    db_free(c->db);
    arena_free(c->arena);
    bell_fini(&c->bell);
    free(c);
}

void chores_ring(struct chores *c)
{
    bell_ring(&c->bell);
}

/* --- recalculation --------------------------------------------------------------------------- */

struct recalculation {
    struct id tenant, id;
    char *key;
    int64_t effective_us;
    struct id customer, from, to; /* of a handover; else nil */
    bool overdue;                 /* the pending ones are done, the overdue ones follow */
    struct id after;
    const char *reason;
};

/* The company whose turn is next. */
static enum err find_company(struct chores *c, const struct directory *dir, struct id *tenant_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const params[] = { db_text_i64(c->arena, clock_now_us()),
                                   db_text_id(c->arena, c->turn),
                                   db_text_i64(c->arena, directory_revision(dir)) };

    enum err e = db_begin(c->db, NULL, clock_monotonic_us() + STEP_LIMIT_US);
    if (!e)
        e = db_exec(c->db, &sql_recalculation_next, params, &res);
    if (!e)
        e = db_commit(c->db);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    *tenant_out = db_row_id(&row, "tenant_id");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static bool is_handover(const struct recalculation *job)
{
    return !id_is_nil(job->customer);
}

/* One step, in its transaction. */
struct step {
    struct chores *c;
    struct recalculation *job;
    const struct directory *dir;
    int64_t now_us;
    struct columns rules; /* those that the change may touch */
    const char *rules_text;
    size_t n; /* duties in the stretch that this step looks at */
    struct id last;
    const char *ids;
    size_t changed;
    struct columns replanned, switched_off;
    struct handover handover;
    struct outbox_row *events;
    size_t nevents;
    struct id *people;
    size_t npeople;
    bool done; /* the recalculation has come to its end */
};

static enum err take_job(struct step *s)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct arena *a = s->c->arena;
    struct recalculation *job = s->job;
    const char *const params[] = { db_text_id(a, job->tenant), db_text_i64(a, s->now_us),
                                   db_text_i64(a, directory_revision(s->dir)) };

    enum err e = db_exec(s->c->db, &sql_recalculation_take, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return ERR_NOT_FOUND;
    struct db_row row = { .res = res };
    job->id = db_row_id(&row, "id");
    job->key = arena_strdup(a, db_row_text(&row, "policy_key"));
    job->effective_us = db_row_i64(&row, "effective_us");
    job->after = db_row_id(&row, "after_id");
    job->overdue = db_row_bool(&row, "overdue");
    job->reason = arena_strdup(a, db_row_text(&row, "reason"));
    if (!db_row_is_null(&row, "customer_id")) {
        job->customer = db_row_id(&row, "customer_id");
        job->from = db_row_id(&row, "from_id");
        job->to = db_row_id(&row, "to_id");
    }
    return row.bad || !job->key || !job->reason ? ERR_INTERNAL : ERR_OK;
}

static enum err name_rules(struct step *s)
{
    for (size_t i = 0; i < rules_len; i++)
        if (is_handover(s->job) ? !rules[i].is_personal && !id_equal(s->job->from, s->job->to)
                                : rule_depends_on(&rules[i], s->job->key))
            columns_text(&s->rules, rules[i].id);
    return columns_params(&s->rules, &s->rules_text);
}

/* How far this step goes. */
static enum err find_stretch(struct step *s)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct arena *a = s->c->arena;
    const struct recalculation *job = s->job;
    const struct db_stmt *stmt = is_handover(job) ? &sql_stretch_held
                                 : job->overdue   ? &sql_stretch_overdue
                                                  : &sql_stretch_armed;
    const char *const params[] = {
        db_text_id(a, job->tenant),
        db_text_id(a, job->after),
        db_text_i64(a, STEP_DUTIES),
        db_text_time(a, is_handover(job) ? job->effective_us : s->now_us),
        s->rules_text,
        db_text_id(a, job->customer),
        db_text_id(a, job->from),
    };

    enum err e = db_exec(s->c->db, stmt, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    s->n = (size_t)db_row_i64(&row, "n");
    if (row.bad || !s->n) {
        s->last = s->job->after;
        s->ids = "{}";
        return row.bad ? ERR_INTERNAL : ERR_OK;
    }
    s->last = db_row_id(&row, "last_id");
    s->ids = arena_strdup(a, db_row_text(&row, "ids"));
    return row.bad || !s->ids ? ERR_INTERNAL : ERR_OK;
}

static enum err load_duties(struct step *s, PGresult **res_out)
{
    const char *const params[] = { db_text_id(s->c->arena, s->job->tenant), s->ids, s->rules_text,
                                   s->job->overdue || is_handover(s->job) ? "f" : "t" };

    return params[0] ? db_exec(s->c->db, &sql_duties_open, params, res_out)
                     : ERR_RESOURCE_EXHAUSTED;
}

static enum err add_event(struct step *s, const struct duty *duty, const ProtobufCMessage *message)
{
    const struct outbox_event event = {
        .tenant = s->job->tenant,
        .collection = "reminders",
        .aggregate_id = duty->pb->id,
        .version = duty->version,
        .occurred_at_us = s->now_us,
        .message = message,
    };
    return outbox_pack(&event, s->c->arena, &s->events[s->nevents++]);
}

/* The rule was switched off for this duty (REM-20): nobody is told of it any more. */
static enum err switch_off(struct step *s, const struct rule *rule, struct duty *duty)
{
    Daybook__Reminders__V1__ReminderClosed event = DAYBOOK__REMINDERS__V1__REMINDER_CLOSED__INIT;
    char reason[REASON_MAX], note[REASON_MAX + 32];

    snprintf(reason, sizeof(reason), "policy %s", rule->enabled_key);
    snprintf(note, sizeof(note), "cancelled by %s", reason);
    enum err e = duty_close(duty, true, s->now_us, s->c->arena);
    if (e)
        return e;
    duty->version++;
    duty->pb->etag = db_text_i64(s->c->arena, duty->version);
    columns_id(&s->switched_off, duty->id);
    columns_text(&s->switched_off, note);
    columns_time(&s->switched_off, s->now_us);
    event.reminder = duty->pb;
    event.reason = reason;
    return duty->pb->etag ? add_event(s, duty, &event.base) : ERR_RESOURCE_EXHAUSTED;
}

/* The owner of the shard is told of what is due before its next look. */
static void note_timer(struct step *s, const struct duty *duty)
{
    struct timer timer;

    if (duty_timer(duty, s->job->tenant, &timer) &&
        timer.due_us <= s->now_us + look_horizon_us() + 5 * SECOND_US)
        s->c->near[s->c->nnear++] = timer;
}

static enum err hand_over(struct step *s, const struct rule *rule, struct duty *duty)
{
    Daybook__Reminders__V1__ReminderReassigned event =
        DAYBOOK__REMINDERS__V1__REMINDER_REASSIGNED__INIT;
    char from[ID_TEXT_MAX];

    enum err e = handover_add(&s->handover, duty, rule, s->job->to, s->c->arena);
    if (e)
        return e;
    note_timer(s, duty);
    s->people[s->npeople++] = s->job->from;
    event.reminder = duty->pb;
    event.from_id = id_text(s->job->from, from);
    return add_event(s, duty, &event.base);
}

static enum err replan(struct step *s, const struct rule *rule, struct duty *duty,
                       bool *changed_out)
{
    Daybook__Reminders__V1__ReminderRescheduled event =
        DAYBOOK__REMINDERS__V1__REMINDER_RESCHEDULED__INIT;
    struct columns *k = &s->replanned;
    struct arena *a = s->c->arena;

    enum err e =
        duty_replan(duty, rule, s->dir, s->job->tenant, s->now_us, s->now_us, a, changed_out);
    if (e || !*changed_out)
        return e;
    char *plan = duty_plan_text(duty, a), *policies = duty_policies_text(duty->pb, a);
    char *explanation = duty_explanation_text(duty->pb, a);
    if (!plan || !policies || !explanation)
        return ERR_RESOURCE_EXHAUSTED;
    columns_id(k, duty->id);
    columns_time(k, duty->due_us);
    columns_text(k, plan);
    columns_text(k, duty->tells);
    columns_i64(k, duty->round);
    columns_i64(k, duty->next_step);
    columns_i64(k, duty->next_us);
    columns_text(k, policies);
    columns_text(k, explanation);
    columns_i64(k, duty->version);
    note_timer(s, duty);
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason), "%s", s->job->reason);
    event.reminder = duty->pb;
    event.reason = reason;
    return add_event(s, duty, &event.base);
}

static enum err judge_duty(struct step *s, struct duty *duty)
{
    const struct rule *rule = rule_find(duty->pb->rule);
    struct rule_book book = { .dir = s->dir, .tenant = s->job->tenant, .at_us = s->now_us };
    bool changed = true;
    enum err e = ERR_OK;

    if (!rule || (*duty->pb->unit_id && !id_parse(duty->pb->unit_id, &book.unit)))
        return ERR_INTERNAL;
    if (is_handover(s->job) && !id_equal(duty->assignee, s->job->from))
        changed = false; /* another replica was faster */
    else if (!rule_is_enabled(rule, &book))
        e = switch_off(s, rule, duty);
    else if (is_handover(s->job))
        e = hand_over(s, rule, duty);
    else if (s->job->overdue)
        changed = false; /* only pending ones are counted anew (REM-09) */
    else
        e = replan(s, rule, duty, &changed);
    if (!e && changed) {
        s->changed++;
        s->people[s->npeople++] = duty->assignee;
    }
    return e;
}

static enum err judge_duties(struct step *s, const PGresult *res)
{
    size_t found = (size_t)PQntuples(res);

    s->events = arena_array(s->c->arena, found + 1, sizeof(*s->events));
    s->people = arena_array(s->c->arena, 2 * found + 1, sizeof(*s->people));
    if (!s->events || !s->people)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < found; i++) {
        struct duty duty;
        enum err e = duty_read(res, (int)i, s->c->arena, &duty);
        if (!e)
            e = judge_duty(s, &duty);
        if (e == ERR_RESOURCE_EXHAUSTED)
            return e;
        if (e) /* it keeps the plan that it has; the others are not to wait for it */
            log_warn("recalculation.skipped", "a duty could not be planned anew", "err",
                     err_name(e), "reason", s->job->reason, NULL);
    }
    return ERR_OK;
}

static enum err queue_columns(struct step *s, const struct db_stmt *stmt, struct columns *k)
{
    const char *params[COLUMNS_MAX + 1] = { db_text_id(s->c->arena, s->job->tenant) };

    if (!k->rows)
        return ERR_OK;
    enum err e = columns_params(k, &params[1]);
    return e ? e : db_queue(s->c->db, stmt, params);
}

/* A switch silences overdue duties too (REM-20); everything else is for pending ones (REM-09). */
static bool is_switch(const char *key)
{
    for (size_t i = 0; i < rules_len; i++)
        if (strcmp(rules[i].enabled_key, key) == 0)
            return true;
    return false;
}

static enum err queue_advance(struct step *s)
{
    struct arena *a = s->c->arena;
    struct recalculation *job = s->job;
    bool is_end = s->n < STEP_DUTIES;
    bool turns = is_end && !job->overdue && is_switch(job->key);
    static const struct id nil;
    const char *const params[] = {
        db_text_id(a, job->tenant),           db_text_id(a, job->id),
        db_text_id(a, turns ? nil : s->last), db_text_i64(a, (int64_t)s->changed),
        turns || job->overdue ? "t" : "f",    is_end && !turns ? db_text_time(a, s->now_us) : NULL,
    };

    s->done = is_end && !turns;
    return db_queue(s->c->db, &sql_recalculation_advance, params);
}

static enum err write_step(struct step *s)
{
    struct arena *a = s->c->arena;

    enum err e = queue_columns(s, &sql_duties_replan, &s->replanned);
    if (!e)
        e = queue_columns(s, &sql_duties_switch_off, &s->switched_off);
    if (!e)
        e = handover_queue(&s->handover, s->c->db);
    if (!e)
        e = outbox_queue_rows(s->c->db, s->events, s->nevents, a);
    if (!e)
        e = queue_advance(s);
    if (!e)
        e = lists_queue_bump(s->c->db, s->job->tenant, s->people, s->npeople);
    return e ? e : db_commit(s->c->db);
}

static enum err run_step(struct step *s)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = name_rules(s);
    if (!e)
        e = find_stretch(s);
    if (!e)
        e = load_duties(s, &res);
    if (!e)
        e = judge_duties(s, res);
    return e ? e : write_step(s);
}

static void tell_step(struct step *s)
{
    struct chores *c = s->c;

    if (c->nnear)
        engine_offer(c->engine, c->near, c->nnear);
    for (size_t i = 0; c->lists && i < s->npeople; i++)
        task_lists_forget(c->lists, s->job->tenant, s->people[i]);
    if (c->lists && s->npeople)
        task_lists_ring(c->lists);
    c->wake_relay = c->wake_relay || s->nevents;
    c->posted = c->posted || is_handover(s->job);
    if (s->done)
        log_info("recalculation.done", "duties were judged anew", "reason", s->job->reason, NULL);
}

/* A step of the company's next job. ERR_NOT_FOUND: none, or others have them in hand. */
static enum err try_company(struct chores *c, const struct directory *dir,
                            struct recalculation *job)
{
    struct step s = { .c = c, .job = job, .dir = dir, .now_us = clock_now_us() };

    c->nnear = 0;
    enum err e = db_begin(c->db, &job->tenant, clock_monotonic_us() + STEP_LIMIT_US);
    if (!e)
        e = take_job(&s);
    if (e)
        return e;
    columns_init(&s.replanned, 10);
    columns_init(&s.switched_off, 3);
    columns_init(&s.rules, 1);
    handover_init(&s.handover, dir, job->tenant, s.now_us);
    e = run_step(&s);
    if (!e)
        tell_step(&s);
    columns_fini(&s.replanned);
    columns_fini(&s.switched_off);
    columns_fini(&s.rules);
    handover_fini(&s.handover);
    return e;
}

/* A step of the next job, company by company in turn; job_out->id: nil when none was found. */
static enum err try_step(struct chores *c, struct recalculation *job_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    bool is_last = id_is_nil(c->turn); /* round */

    *job_out = (struct recalculation){ 0 };
    if (!dir)
        return ERR_NOT_FOUND;
    for (;;) {
        arena_reset(c->arena);
        *job_out = (struct recalculation){ 0 };
        enum err e = find_company(c, dir, &job_out->tenant);
        if (e == ERR_NOT_FOUND && is_last)
            return e;
        if (e == ERR_NOT_FOUND) {
            c->turn = (struct id){ { 0 } };
            is_last = true;
            continue;
        }
        if (e)
            return e;
        c->turn = job_out->tenant;
        e = try_company(c, dir, job_out);
        if (e != ERR_NOT_FOUND)
            return e;
        db_rollback(c->db);
    }
}

/* Others are not to wait for it. */
static enum err set_aside(struct chores *c, const struct recalculation *job, enum err why)
{
    arena_reset(c->arena);
    const char *const params[] = { db_text_id(c->arena, job->tenant), db_text_id(c->arena, job->id),
                                   db_text_i64(c->arena, FAILED_US) };

    log_warn("recalculation.failed", "trying again later", "err", err_name(why), NULL);
    enum err e = db_begin(c->db, &job->tenant, clock_monotonic_us() + STEP_LIMIT_US);
    if (!e)
        e = db_queue(c->db, &sql_recalculation_later, params);
    if (!e)
        e = db_commit(c->db);
    db_rollback(c->db);
    return e;
}

enum err chores_recalculate(struct chores *c, bool *more_out)
{
    struct recalculation job;
    struct id turn = c->turn;
    enum err e = ERR_ABORTED;

    *more_out = false;
    for (int i = 0; i < TRIES && e == ERR_ABORTED; i++) {
        c->turn = turn;
        e = try_step(c, &job);
        bool is_away = e == ERR_UNAVAILABLE && !db_is_connected(c->db);
        db_rollback(c->db);
        if (is_away)
            return e;
    }
    if (e && e != ERR_NOT_FOUND && !id_is_nil(job.id))
        e = set_aside(c, &job, e);
    *more_out = !e;
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* --- the end of old rows --------------------------------------------------------------------- */

static enum err purge_rows(struct chores *c, const struct db_stmt *stmt, struct id tenant)
{
    const char *const params[] = { db_text_id(c->arena, tenant),
                                   db_text_i64(c->arena, PURGE_ROWS) };

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    for (int round = 0; round < PURGE_ROUNDS; round++) {
        CLEANUP(db_result_clear) PGresult *res = NULL;
        enum err e = db_begin(c->db, &tenant, clock_monotonic_us() + STEP_LIMIT_US);
        if (!e)
            e = db_exec(c->db, stmt, params, &res);
        if (!e)
            e = db_commit(c->db);
        if (e || PQntuples(res) < PURGE_ROWS)
            return e;
    }
    return ERR_OK;
}

static enum err purge(struct chores *c)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    const struct dir_tenant *const *tenants = NULL;
    size_t n = dir ? directory_tenants(dir, &tenants) : 0;
    enum err e = ERR_OK;

    arena_reset(c->arena);
    for (size_t i = 0; i < n && !e; i++) {
        e = purge_rows(c, &sql_tombstones_purge, tenants[i]->id);
        if (!e)
            e = purge_rows(c, &sql_handovers_purge, tenants[i]->id);
    }
    db_rollback(c->db);
    return e;
}

/* --- the loop -------------------------------------------------------------------------------- */

static enum err turn(struct chores *c, bool *more_out)
{
    enum err e = chores_recalculate(c, more_out), purged = ERR_OK;

    if (clock_monotonic_us() - c->purged_us > PURGE_US) {
        c->purged_us = clock_monotonic_us();
        purged = purge(c);
    }
    return e ? e : purged;
}

void chores_run(struct chores *c, const struct engine_host *host)
{
    while (!host->stopping(host->arg)) {
        bool more = false;
        enum err e = turn(c, &more);
        if (e)
            log_warn("chores.failed", "background work failed; trying again", "err", err_name(e),
                     NULL);
        if (c->wake_relay && host->wake)
            host->wake(host->arg, BUS_WAKE_RELAY, NULL, 0);
        if (c->posted && host->posted)
            host->posted(host->arg);
        c->wake_relay = c->posted = false;
        if (!more || e)
            bell_wait(&c->bell, ROUND_US);
    }
}
