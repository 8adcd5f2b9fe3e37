/*
 * reminder.c - the handlers of ReminderService.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/num.h"
#include "services/reminders/engine.h"
#include "services/reminders/methods.h"
#include "services/reminders/obligation.h"
#include "services/reminders/sql.h"

/* --- finding --------------------------------------------------------------------------------- */

static enum err no_such(struct call *call, const char *field, const char *what)
{
    return call_fail(call, ERR_NOT_FOUND, field, "there is no reminder %s", what);
}

static enum err need_sight(struct call *call, const PbReminder *pb)
{
    struct id assignee;

    if (!id_parse(pb->assignee_id, &assignee))
        return ERR_INTERNAL;
    return authority_need_sight(call, assignee, "reminder");
}

/* The open duty of a command, locked; the caller must be its assignee. */
static enum err lock_own(struct call *call, const char *id, struct duty *duty_out, int *snoozes_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const params[] = { call_tenant_text(call), id };

    enum err e = db_exec(call->db, &sql_duty_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return no_such(call, "id", id);
    struct db_row row = { .res = res };
    *snoozes_out = db_row_i32(&row, "_snooze_count");
    e = row.bad ? ERR_INTERNAL : duty_read(res, 0, call->arena, duty_out);
    if (!e)
        e = need_sight(call, duty_out->pb);
    if (!e)
        e = need_to_be(call, duty_out->assignee, "reminder");
    if (!e && duty_out->pb->closed_at)
        e = call_fail(call, ERR_FAILED_PRECONDITION, "id",
                      "the reminder is closed; it must be pending or overdue");
    return e;
}

static enum err count_up(struct call *call, struct duty *duty)
{
    duty->version++;
    duty->pb->etag = db_text_i64(call->arena, duty->version);
    return duty->pb->etag ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* --- acknowledge, snooze --------------------------------------------------------------------- */

enum err reminder_acknowledge(struct call *call, const ProtobufCMessage *in,
                              ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__AcknowledgeReminderRequest *req = (const void *)in;
    Daybook__Reminders__V1__AcknowledgeReminderResponse *reply =
        call_new(call, &daybook__reminders__v1__acknowledge_reminder_response__descriptor);
    Daybook__Reminders__V1__ReminderAcknowledged event =
        DAYBOOK__REMINDERS__V1__REMINDER_ACKNOWLEDGED__INIT;
    struct duty duty;
    int snoozes;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = lock_own(call, req->id, &duty, &snoozes);
    if (!e)
        e = count_up(call, &duty);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), duty.pb->id,
                                   db_text_time(call->arena, call->now_us), req->note };
    duty.pb->acknowledged_at = wire_time(call->arena, call->now_us);
    if (!params[2] || !duty.pb->acknowledged_at)
        return ERR_RESOURCE_EXHAUSTED;
    e = db_queue(call->db, &sql_duty_acknowledge, params);
    event.reminder = reply->reminder = duty.pb;
    if (!e)
        e = call_emit(call, "reminders", duty.pb->id, duty.version, &event.base);
    *reply_out = &reply->base;
    return e;
}

static enum err judge_snooze(struct call *call, const struct duty *duty, int64_t until_us,
                             int snoozes)
{
    struct id unit = { { 0 } };
    if (*duty->pb->unit_id && !id_parse(duty->pb->unit_id, &unit))
        return ERR_INTERNAL;
    if (!call->dir)
        return call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");

    struct policy_value most =
        directory_policy(call->dir, call->tenant, unit, "reminder_snooze_max_hours", call->now_us);
    struct policy_value times =
        directory_policy(call->dir, call->tenant, unit, "reminder_snooze_max_count", call->now_us);
    if (call->now_us >= duty->due_us)
        return call_fail(call, ERR_FAILED_PRECONDITION, "id",
                         "the due time has passed; only a pending reminder can be postponed");
    if (until_us <= call->now_us)
        return call_fail(call, ERR_INVALID_ARGUMENT, "until", "must lie in the future");
    if (until_us > duty->due_us)
        return call_fail(call, ERR_INVALID_ARGUMENT, "until",
                         "must not lie after the due time: postponing never moves the deadline");
    if (until_us - call->now_us > policy_us(most))
        return call_fail(call, ERR_INVALID_ARGUMENT, "until", "must lie within %s hours",
                         most.text);
    if (snoozes >= (int)policy_number(times))
        return call_fail(call, ERR_FAILED_PRECONDITION, "id",
                         "it was postponed %d times already, which is all that is allowed",
                         snoozes);
    return ERR_OK;
}

/* Tells the owners of the shards after the commit. */
static void offer_timer(struct call *call, void *arg)
{
    const struct reminders *self = call->daemon_data;
    engine_offer(self->engine, arg, 1);
}

static enum err store_snooze(struct call *call, struct duty *duty, int64_t until_us,
                             const char *reason)
{
    struct arena *a = call->arena;
    uint8_t packed[ENGINE_PACKED_SIZE];

    enum err e = duty_snooze(duty, until_us, a);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call),       duty->pb->id,
                                   db_text_time(a, until_us),    reason,
                                   duty_plan_text(duty, a),      duty->tells,
                                   db_text_i64(a, duty->next_us) };
    struct timer *timer = arena_alloc(a, sizeof(*timer));
    if (!params[2] || !params[4] || !params[6] || !timer || !duty_timer(duty, call->tenant, timer))
        return ERR_RESOURCE_EXHAUSTED;
    call_after_commit(call, offer_timer, timer);
    call_wake(call, WAKE_TIMERS, packed, engine_pack(timer, 1, packed));
    return db_queue(call->db, &sql_duty_snooze, params);
}

enum err reminder_snooze(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__SnoozeReminderRequest *req = (const void *)in;
    Daybook__Reminders__V1__SnoozeReminderResponse *reply =
        call_new(call, &daybook__reminders__v1__snooze_reminder_response__descriptor);
    Daybook__Reminders__V1__ReminderSnoozed event = DAYBOOK__REMINDERS__V1__REMINDER_SNOOZED__INIT;
    int64_t until_us = wire_time_us(req->until);
    struct duty duty;
    int snoozes;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = lock_own(call, req->id, &duty, &snoozes);
    if (!e)
        e = judge_snooze(call, &duty, until_us, snoozes);
    if (!e && duty.next_step < 0)
        e = call_fail(call, ERR_FAILED_PRECONDITION, "id", "no notice is planned any more");
    if (!e)
        e = count_up(call, &duty);
    if (!e)
        e = store_snooze(call, &duty, until_us, req->reason);
    event.reminder = reply->reminder = duty.pb;
    if (!e)
        e = call_emit(call, "reminders", duty.pb->id, duty.version, &event.base);
    *reply_out = &reply->base;
    return e;
}

/* --- get ------------------------------------------------------------------------------------- */

static enum err find_id(struct call *call, const Daybook__Reminders__V1__GetReminderRequest *req,
                        struct id *id_out)
{
    if (*req->id && !*req->rule && !*req->subject)
        return id_parse(req->id, id_out) ? ERR_OK : ERR_INTERNAL;
    if (*req->id || !*req->rule || !*req->subject)
        return call_fail(call, ERR_INVALID_ARGUMENT, "id", "give id, or rule and subject");
    *id_out = obligation_id(req->rule, req->subject, "");
    return ERR_OK;
}

static enum err read_deliveries(struct call *call, struct id id,
                                Daybook__Reminders__V1__GetReminderResponse *reply)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct id first, last;

    notification_range(id, &first, &last);
    const char *const params[] = { call_tenant_text(call), db_text_id(call->arena, first),
                                   db_text_id(call->arena, last), db_text_id(call->arena, id) };
    if (!params[1] || !params[2] || !params[3])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_notices_of_duty, params, &res);
    return e ? e
             : record_read_all(res, &delivery_descriptor, call->arena, &reply->n_deliveries,
                               &reply->deliveries);
}

enum err reminder_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__GetReminderRequest *req = (const void *)in;
    Daybook__Reminders__V1__GetReminderResponse *reply =
        call_new(call, &daybook__reminders__v1__get_reminder_response__descriptor);
    struct id id;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = find_id(call, req, &id);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), db_text_id(call->arena, id) };
    e = params[1] ? record_find(call->db, &sql_duty_load, params, &reminder_descriptor, call->arena,
                                &reply->reminder)
                  : ERR_RESOURCE_EXHAUSTED;
    if (e == ERR_NOT_FOUND)
        return *req->id ? no_such(call, "id", req->id) : no_such(call, "subject", req->subject);
    if (!e)
        e = need_sight(call, reply->reminder);
    if (!e)
        e = read_deliveries(call, id, reply);
    *reply_out = &reply->base;
    return e;
}

/* --- list ------------------------------------------------------------------------------------ */

/*
 * Three stretches: duties by their next moment, open ones without one by id, closed ones from the
 * last closed on. A page may hold the end of one and the beginning of the next. Page keys: stretch,
 * moment, id.
 */
enum stretch { STRETCH_NEXT, STRETCH_REST, STRETCH_CLOSED, STRETCHES };

static const char *const stretch_names[STRETCHES] = { "next", "rest", "closed" };

struct listing {
    struct call *call;
    struct call_page page;
    const char *people; /* NULL = everybody */
    bool open_only;
    PbReminder **rows;
    size_t n, max;
};

/* What is at rest was due by some replica's clock, of which ours may be behind. */
#define REST_SLACK_US MINUTE_US

/* Rows of one stretch after those keys; NULL: from its beginning. */
static enum err list_stretch(struct listing *l, enum stretch stretch, const char *after_at,
                             const char *after_id)
{
    static const char nil[] = "00000000-0000-0000-0000-000000000000";
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct arena *a = l->call->arena;
    const char *until = db_text_time(a, l->call->now_us + REST_SLACK_US);
    const char *limit = db_text_i64(a, (int64_t)(l->max - l->n));
    const char *tenant = call_tenant_text(l->call);
    const char *next_after = after_at ? after_at : "-9223372036854775808";
    const char *next_id = after_id ? after_id : nil;
    const char *const of[] = { tenant, l->people, next_after, next_id, limit };
    const char *const all[] = { tenant, next_after, next_id, limit };
    const char *const rest[] = { tenant, l->people, until, next_id, limit };
    const char *const closed[] = { tenant, l->people, after_at, after_id, limit };
    PbReminder **rows;
    size_t got;
    enum err e;

    if (!until || !limit)
        return ERR_RESOURCE_EXHAUSTED;
    if (stretch == STRETCH_NEXT)
        e = l->people ? db_exec(l->call->db, &sql_duties_next_of, of, &res)
                      : db_exec(l->call->db, &sql_duties_next_all, all, &res);
    else if (stretch == STRETCH_REST)
        e = db_exec(l->call->db, &sql_duties_rest, rest, &res);
    else
        e = db_exec(l->call->db, &sql_duties_closed, closed, &res);
    if (!e)
        e = record_read_all(res, &reminder_descriptor, a, &got, &rows);
    if (e)
        return e;
    memcpy(l->rows + l->n, rows, got * sizeof(PbReminder *));
    l->n += got;
    return ERR_OK;
}

static enum err list_rows(struct listing *l)
{
    const char *const *keys = l->page.keys;
    int end = l->open_only ? STRETCH_CLOSED : STRETCHES, at = 0;
    enum err e = ERR_OK;

    while (keys[0] && at < end && strcmp(keys[0], stretch_names[at]) != 0)
        at++;
    for (bool first = keys[0] != NULL; at < end && l->n < l->max && !e; at++, first = false)
        e = list_stretch(l, (enum stretch)at, first ? keys[1] : NULL, first ? keys[2] : NULL);
    return e;
}

static enum err list_token(struct listing *l, char **token_out)
{
    const PbReminder *last = l->rows[l->n - 1];
    struct arena *a = l->call->arena;
    enum stretch stretch = last->next_at     ? STRETCH_NEXT
                           : last->closed_at ? STRETCH_CLOSED
                                             : STRETCH_REST;
    const char *moment = stretch == STRETCH_NEXT ? db_text_i64(a, wire_time_us(last->next_at))
                         : stretch == STRETCH_CLOSED
                             ? db_text_time(a, wire_time_us(last->closed_at))
                             : "0";
    const char *const keys[] = { stretch_names[stretch], moment, last->id, NULL };

    return moment ? call_page_end(l->call, &l->page, keys, token_out) : ERR_RESOURCE_EXHAUSTED;
}

static enum err list_people(struct listing *l, const char *assignee)
{
    struct id id;

    l->people = authority_visible_owners(l->call);
    if (!*assignee)
        return ERR_OK;
    if (!id_parse(assignee, &id))
        return ERR_INTERNAL;
    enum err e = authority_need_sight(l->call, id, "employee");
    if (e)
        return e;
    l->people = arena_printf(l->call->arena, "{%s}", assignee);
    return l->people ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err reminder_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__ListRemindersRequest *req = (const void *)in;
    Daybook__Reminders__V1__ListRemindersResponse *reply =
        call_new(call, &daybook__reminders__v1__list_reminders_response__descriptor);
    struct listing l = { .call = call, .open_only = req->open_only };

    l.page.filter = arena_printf(call->arena, "reminders/%s/%s/%d", call_actor_text(call),
                                 req->assignee_id, req->open_only);
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &l.page);
    if (!e)
        e = list_people(&l, req->assignee_id);
    if (e)
        return e;
    l.max = (size_t)l.page.size + 1;
    l.rows = arena_array(call->arena, l.max, sizeof(*l.rows));
    e = l.rows ? list_rows(&l) : ERR_RESOURCE_EXHAUSTED;
    if (e)
        return e;
    l.n = call_page_rows(&l.page, l.n);
    if (l.page.more)
        e = list_token(&l, &reply->next_page_token);
    reply->reminders = l.rows;
    reply->n_reminders = l.n;
    *reply_out = &reply->base;
    return e;
}

/* --- rules ----------------------------------------------------------------------------------- */

static enum err copy_events(const struct rule_event *events, size_t max, struct arena *a,
                            size_t *n_out, char ***texts_out)
{
    char **texts = arena_array(a, max + 1, sizeof(*texts));
    size_t n = 0;

    if (!texts)
        return ERR_RESOURCE_EXHAUSTED;
    for (; n < max && events[n].type; n++)
        if (!(texts[n] = arena_strdup(a, events[n].type)))
            return ERR_RESOURCE_EXHAUSTED;
    *n_out = n;
    *texts_out = texts;
    return ERR_OK;
}

/* "owner+superior+supervisor!list" as the contract's words. */
static enum err copy_recipients(const char *tells, PbRuleStep *step, struct arena *a)
{
    step->recipients = arena_array(a, PLAN_RECIPIENTS_MAX, sizeof(*step->recipients));
    step->listed = arena_array(a, PLAN_RECIPIENTS_MAX, sizeof(*step->listed));
    char *words = arena_strdup(a, tells);
    if (!step->recipients || !step->listed || !words)
        return ERR_RESOURCE_EXHAUSTED;
    for (char *word; (word = strsep(&words, "+"));) {
        char *mark = strstr(word, POLICY_LIST_MARK);
        if (mark)
            *mark = '\0';
        char **list = mark ? step->listed : step->recipients;
        size_t *n = mark ? &step->n_listed : &step->n_recipients;
        if (*n == PLAN_RECIPIENTS_MAX)
            continue;
        list[*n] = arena_strdup(a, strcmp(word, "owner") == 0 ? "assignee" : word);
        if (!list[(*n)++])
            return ERR_RESOURCE_EXHAUSTED;
    }
    return ERR_OK;
}

static enum err copy_steps(const struct plan *plan, PbRule *out, struct arena *a)
{
    int64_t at_us[PLAN_STEPS_MAX];

    out->steps = arena_array(a, plan->nsteps + 1, sizeof(*out->steps));
    if (!out->steps)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < plan->nsteps; i++)
        at_us[i] = plan->steps[i].at_us;
    for (size_t i = 0; i < plan->nsteps; i++) {
        PbRuleStep *step = wire_new(&daybook__reminders__v1__rule_step__descriptor, a);
        if (!step)
            return ERR_RESOURCE_EXHAUSTED;
        step->kind =
            (Daybook__Reminders__V1__StepKind)plan_kind_of(at_us, plan->nsteps, i, plan->due_us);
        step->offset_minutes = (int32_t)((at_us[i] - plan->due_us) / MINUTE_US);
        enum err e = copy_recipients(plan->steps[i].tells, step, a);
        if (e)
            return e;
        out->steps[out->n_steps++] = step;
    }
    return ERR_OK;
}

static enum err describe_rule(struct call *call, const struct rule *rule, struct rule_book *book,
                              PbRule *out)
{
    struct arena *a = call->arena;
    struct plan plan;

    out->id = arena_strdup(a, rule->id);
    out->description = arena_strdup(a, rule->description);
    out->due_type = arena_strdup(a, rule_due_type_name(rule->due_type));
    out->policy_key = arena_strdup(a, rule->policy_key);
    out->policy_value = arena_strdup(a, rule_book_policy(book, rule->policy_key).text);
    out->escalation_profile = arena_strdup(a, rule->profile);
    out->enabled = rule_is_enabled(rule, book);
    if (!out->id || !out->description || !out->due_type || !out->policy_key || !out->policy_value ||
        !out->escalation_profile)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = copy_events(&rule->opened_by, 1, a, &out->n_opened_by, &out->opened_by);
    if (!e)
        e = copy_events(rule->fulfilled_by, RULE_EVENTS_MAX, a, &out->n_fulfilled_by,
                        &out->fulfilled_by);
    if (!e)
        e = copy_events(rule->cancelled_by, RULE_EVENTS_MAX, a, &out->n_cancelled_by,
                        &out->cancelled_by);
    plan_outline(rule, rule_book_policy, book, &plan);
    return e ? e : copy_steps(&plan, out, a);
}

enum err reminder_list_rules(struct call *call, const ProtobufCMessage *in UNUSED,
                             ProtobufCMessage **reply_out)
{
    Daybook__Reminders__V1__ListRulesResponse *reply =
        call_new(call, &daybook__reminders__v1__list_rules_response__descriptor);
    struct rule_book book = { .dir = call->dir, .tenant = call->tenant, .at_us = call->now_us };

    if (!call->dir)
        return call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");
    if (!reply || !(reply->rules = arena_array(call->arena, rules_len, sizeof(*reply->rules))))
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < rules_len; i++) {
        PbRule *rule = wire_new(&daybook__reminders__v1__rule__descriptor, call->arena);
        enum err e = rule ? describe_rule(call, &rules[i], &book, rule) : ERR_RESOURCE_EXHAUSTED;
        if (e)
            return e;
        reply->rules[reply->n_rules++] = rule;
    }
    *reply_out = &reply->base;
    return ERR_OK;
}
