/*
 * obligation.c - duties: ids, opening, closing, planning anew, rows.
 */
#include "services/reminders/obligation.h"

#include <assert.h>

#include "common/num.h"
#include "services/reminders/snooze.h"

#define TEXT_LIMIT (256 * KIB) /* of a policy list or an explanation */

/* --- ids ------------------------------------------------------------------------------------- */

struct id obligation_id(const char *rule, const char *subject, const char *occurrence)
{
    struct id id = id_derived("obligation", rule, subject, occurrence, NULL);
    const char *slash = strrchr(subject, '/');
    struct id of_subject;

    if (slash && id_parse(slash + 1, &of_subject)) {
        memcpy(id.b, of_subject.b, 8);
        id.b[6] = (uint8_t)(0x80 | (id.b[6] & 0x0f)); /* version 8: made by us */
    }
    return id;
}

struct id notification_id(struct id obligation, int round, int step, struct id recipient,
                          const char *channel)
{
    char of[ID_TEXT_MAX], who[ID_TEXT_MAX], numbers[32];
    struct id id = obligation;

    snprintf(numbers, sizeof(numbers), "%d.%d", round, step);
    struct id hash = id_derived("notification", id_text(obligation, of), numbers,
                                id_text(recipient, who), channel, NULL);
    id.b[10] = (uint8_t)step;
    memcpy(id.b + 11, hash.b + 11, 5);
    return id;
}

void notification_range(struct id obligation, struct id *first_out, struct id *last_out)
{
    *first_out = *last_out = obligation;
    memset(first_out->b + 10, 0, 6);
    memset(last_out->b + 10, 0xff, 6);
}

const struct lease_plan reminders_lease_plan = { .schema = "reminders",
                                                 .counts = { SHARDS, LANES } };

int obligation_shard(struct id obligation)
{
    return obligation.b[15] & (SHARDS - 1);
}

int delivery_lane(struct id recipient)
{
    return SHARDS + (recipient.b[15] & (LANES - 1));
}

/* --- rule book ------------------------------------------------------------------------------- */

struct policy_value rule_book_policy(void *arg, const char *key)
{
    const struct rule_book *book = arg;
    return directory_policy(book->dir, book->tenant, book->unit, key, book->at_us);
}

bool rule_is_enabled(const struct rule *rule, struct rule_book *book)
{
    return policy_bool(rule_book_policy(book, rule->enabled_key));
}

/* --- opening --------------------------------------------------------------------------------- */

/* One line: the rule's title and the beginning of the topic. */
static char *make_title(const struct rule *rule, const char *topic, struct arena *a)
{
    if (!topic)
        return arena_strdup(a, rule->title);
    size_t len = 0, points = 0;
    while (topic[len] && points < TITLE_TOPIC_MAX) {
        do
            len++;
        while (((unsigned char)topic[len] & 0xc0) == 0x80);
        points++;
    }
    char *title =
        arena_printf(a, "%s：%.*s%s", rule->title, (int)len, topic, topic[len] ? "…" : "");
    for (char *p = title; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    return title;
}

static char *copy_id(const char *text, struct arena *a)
{
    struct id id;
    char buf[ID_TEXT_MAX];

    return text && id_parse(text, &id) ? arena_strdup(a, id_text(id, buf)) : arena_strdup(a, "");
}

static enum err copy_policies(const struct plan *plan, PbReminder *pb, struct arena *a)
{
    pb->policies = arena_array(a, plan->npolicies + 1, sizeof(*pb->policies));
    if (!pb->policies)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < plan->npolicies; i++) {
        char provenance[64];
        PbPolicyUse *use = wire_new(&daybook__common__v1__policy_use__descriptor, a);
        if (!use)
            return ERR_RESOURCE_EXHAUSTED;
        use->key = arena_strdup(a, plan->policies[i].def->key);
        use->value = arena_strdup(a, plan->policies[i].text);
        use->provenance =
            arena_strdup(a, policy_provenance(plan->policies[i], provenance, sizeof(provenance)));
        if (!use->key || !use->value || !use->provenance)
            return ERR_RESOURCE_EXHAUSTED;
        pb->policies[i] = use;
    }
    pb->n_policies = plan->npolicies;
    return ERR_OK;
}

static enum err copy_explanation(const struct explain *x, PbReminder *pb, struct arena *a)
{
    pb->explanation = arena_array(a, x->n + 1, sizeof(*pb->explanation));
    if (!pb->explanation)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < x->n; i++)
        if (!(pb->explanation[i] = arena_strdup(a, x->lines[i])))
            return ERR_RESOURCE_EXHAUSTED;
    pb->n_explanation = x->n;
    return ERR_OK;
}

/* Puts steps into a duty, of which that one is the next. */
static enum err take_steps(struct duty *duty, const struct plan *plan, int next_step,
                           struct arena *a)
{
    char tells[PLAN_TELLS_MAX];

    assert((size_t)next_step < plan->nsteps); /* the due step is never dropped */
    duty->nsteps = plan->nsteps;
    for (size_t i = 0; i < plan->nsteps; i++)
        duty->at_us[i] = plan->steps[i].at_us;
    plan_tells_write(plan, tells);
    duty->tells = arena_strdup(a, tells);
    duty->next_step = next_step;
    duty->next_us = duty->at_us[next_step];
    duty->pb->next_at = wire_time(a, duty->next_us);
    return duty->tells && duty->pb->next_at ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* Puts a plan into a duty: due time, steps, and the reasons. */
static enum err take_plan(struct duty *duty, const struct plan *plan, const struct explain *x,
                          struct arena *a)
{
    duty->due_us = plan->due_us;
    duty->pb->due_at = wire_time(a, plan->due_us);
    if (!duty->pb->due_at)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = take_steps(duty, plan, 0, a);
    if (!e)
        e = copy_policies(plan, duty->pb, a);
    return e ? e : copy_explanation(x, duty->pb, a);
}

static enum err fill_texts(PbReminder *pb, const struct rule *rule, const ProtobufCMessage *event,
                           struct duty *duty, struct arena *a)
{
    const char *subject_id = rule_text(event, rule->opened_by.subject);
    const char *assignee = rule_text(event, rule->assignee);
    const char *topic = rule->topic ? rule_text(event, rule->topic) : NULL;
    struct id id;
    char buf[ID_TEXT_MAX];

    if (!subject_id || !id_parse(subject_id, &id) || !assignee ||
        !id_parse(assignee, &duty->assignee))
        return ERR_INVALID_ARGUMENT;
    pb->rule = arena_strdup(a, rule->id);
    pb->subject = arena_printf(a, "%s/%s", rule->collection, id_text(id, buf));
    pb->customer_id = copy_id(rule_text(event, rule->customer), a);
    pb->assignee_id = arena_strdup(a, id_text(duty->assignee, buf));
    pb->unit_id = copy_id(rule_text(event, rule->unit), a);
    pb->title = make_title(rule, topic, a);
    if (!pb->rule || !pb->subject || !pb->customer_id || !pb->assignee_id || !pb->unit_id ||
        !pb->title)
        return ERR_RESOURCE_EXHAUSTED;
    duty->id = obligation_id(rule->id, pb->subject, "");
    pb->id = arena_strdup(a, id_text(duty->id, buf));
    return pb->id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* The first moment after that of the book from which the rule may count otherwise. */
static int64_t next_change(const struct rule *rule, const struct rule_book *book)
{
    const char *const keys[] = {
        rule->policy_key,
        rule->profile_key,
        rule->limit_key,
        rule->lead_key,
        rule->due_type == DUE_HOURS ? "hour_clock" : NULL,
        rule->lead == LEAD_24H ? "lead_offsets_24h" : NULL,
    };
    int64_t at_us = directory_calendar_change(book->dir, book->tenant, book->at_us);

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i])
            at_us =
                MIN(at_us, directory_policy_change(book->dir, book->tenant, keys[i], book->at_us));
    return at_us;
}

/* Makes the plan as recalculations would have left it by now, had the duty been opened when it
 * began: a change counts while the time still runs (deadline_of()). */
static enum err plan_by_now(struct plan_input *in, struct rule_book *book, int64_t now_us,
                            struct plan *out)
{
    for (;;) {
        in->calendar = directory_calendar_at(book->dir, book->tenant, book->unit, book->at_us);
        enum err e = plan_make(in, out);
        int64_t change_us = next_change(in->rule, book);
        if (e || change_us > now_us || change_us > out->due_us)
            return e;
        book->at_us = change_us;
        *in->explain = (struct explain){ .arena = in->explain->arena };
    }
}

/* When it happened, and still: what is switched off closes duties but once (REM-20). */
static bool is_enabled_since(const struct rule *rule, struct rule_book book, int64_t now_us)
{
    if (!rule_is_enabled(rule, &book))
        return false;
    book.at_us = MAX(book.at_us, now_us);
    return rule_is_enabled(rule, &book);
}

enum err duty_open(const struct rule *rule, const ProtobufCMessage *event,
                   const struct directory *dir, struct id tenant, int64_t known_us, int64_t now_us,
                   struct arena *a, struct duty *out)
{
    if (rule->applies && !rule->applies(event))
        return ERR_NOT_FOUND;

    struct duty duty = { .known_us = known_us, .version = 1 };
    struct rule_book book = { .dir = dir, .tenant = tenant, .at_us = known_us };
    const char *unit = rule_text(event, rule->unit);
    if (unit && !id_parse(unit, &book.unit))
        return ERR_INVALID_ARGUMENT;
    if (!is_enabled_since(rule, book, now_us))
        return ERR_NOT_FOUND;

    PbReminder *pb = duty.pb = wire_new(&reminder_descriptor, a);
    if (!pb)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = fill_texts(pb, rule, event, &duty, a);
    if (e)
        return e;

    int64_t start_us = rule->opened_by.at ? rule_time_us(event, rule->opened_by.at) : 0;
    if (!start_us)
        start_us = known_us;
    duty.named_due_us = rule->due ? rule_time_us(event, rule->due) : 0;
    struct explain x = { .arena = a };
    struct plan plan;
    struct plan_input in = {
        .rule = rule,
        .start_us = start_us,
        .named_due_us = duty.named_due_us,
        .known_us = known_us,
        .policy = rule_book_policy,
        .policy_arg = &book,
        .explain = &x,
    };
    book.at_us = MIN(start_us, known_us);
    e = plan_by_now(&in, &book, now_us, &plan);
    if (e)
        return e;
    pb->starts_at = wire_time(a, start_us);
    pb->state = STATE_PENDING;
    pb->etag = arena_strdup(a, "1");
    if (!pb->starts_at || !pb->etag)
        return ERR_RESOURCE_EXHAUSTED;
    e = take_plan(&duty, &plan, &x, a);
    if (!e)
        *out = duty;
    return e;
}

/* --- later life ------------------------------------------------------------------------------ */

static bool is_same_rest(const struct duty *duty, const struct plan *plan)
{
    char tells[64];
    size_t rest = duty->nsteps - (size_t)duty->next_step;

    if (plan->due_us != duty->due_us || plan->nsteps != rest)
        return false;
    for (size_t i = 0; i < rest; i++) {
        size_t k = (size_t)duty->next_step + i;
        if (duty->at_us[k] != plan->steps[i].at_us || !plan_tells_read(duty->tells, k, tells) ||
            strcmp(tells, plan->steps[i].tells) != 0)
            return false;
    }
    return true;
}

/* Whoever was warned up to a moment is not warned of it again by a new plan. */
static void drop_told(const struct duty *duty, struct plan *plan)
{
    size_t told = 0;

    if (duty->next_step == 0)
        return;
    while (told < plan->nsteps && plan->steps[told].at_us < plan->due_us &&
           plan->steps[told].at_us <= duty->at_us[duty->next_step - 1])
        told++;
    plan->nsteps -= told;
    memmove(plan->steps, plan->steps + told, plan->nsteps * sizeof(plan->steps[0]));
}

/* What is behind now is pointless, but for the step that is about to be fired or was snoozed. */
static int64_t replan_from(const struct duty *duty, int64_t now_us)
{
    return MAX(duty->known_us, MIN(now_us, duty->at_us[duty->next_step]));
}

/* Whoever asked to be left alone until then still is, and is told then (REM-13). */
static void keep_snooze(const struct duty *duty, struct plan *plan, int64_t now_us)
{
    int64_t until_us = duty->pb->snoozed_until ? wire_time_us(duty->pb->snoozed_until) : 0;

    if (until_us > now_us)
        snooze_plan(plan, 0, MIN(until_us, plan->due_us));
    for (size_t i = (size_t)duty->next_step; i < duty->nsteps; i++)
        if (duty->at_us[i] == until_us && until_us < plan->due_us)
            plan_add_step(plan, until_us, "owner");
}

/* Makes the plan of a pending duty anew; changed_out: it is another one. */
static enum err make_anew(struct duty *duty, const struct rule *rule, const struct rule_book *at,
                          int64_t now_us, struct arena *a, bool *changed_out)
{
    struct rule_book book = *at;
    struct explain x = { .arena = a };
    struct plan plan;
    struct plan_input in = {
        .rule = rule,
        .start_us = wire_time_us(duty->pb->starts_at),
        .named_due_us = duty->named_due_us,
        .known_us = replan_from(duty, now_us),
        .policy = rule_book_policy,
        .policy_arg = &book,
        .explain = &x,
        .calendar = directory_calendar_at(book.dir, book.tenant, book.unit, book.at_us),
    };
    enum err e = plan_make(&in, &plan);
    if (e)
        return e;
    drop_told(duty, &plan);
    keep_snooze(duty, &plan, now_us);
    *changed_out = !is_same_rest(duty, &plan);
    return *changed_out ? take_plan(duty, &plan, &x, a) : ERR_OK;
}

/* What is written from here on is another row, its notices others. */
static enum err count_up(struct duty *duty, struct arena *a)
{
    duty->round++;
    duty->version++;
    duty->pb->etag = db_text_i64(a, duty->version);
    return duty->pb->etag ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err duty_replan(struct duty *duty, const struct rule *rule, const struct directory *dir,
                     struct id tenant, int64_t at_us, int64_t now_us, struct arena *a,
                     bool *changed_out)
{
    struct rule_book book = { .dir = dir, .tenant = tenant, .at_us = at_us };

    if (*duty->pb->unit_id && !id_parse(duty->pb->unit_id, &book.unit))
        return ERR_INTERNAL;
    enum err e = make_anew(duty, rule, &book, now_us, a, changed_out);
    return e || !*changed_out ? e : count_up(duty, a);
}

enum err duty_hand_over(struct duty *duty, const struct rule *rule, const struct directory *dir,
                        struct id tenant, struct id to, int64_t now_us, struct arena *a)
{
    struct rule_book book = { .dir = dir, .tenant = tenant, .at_us = now_us };
    bool changed;

    if (*duty->pb->unit_id && !id_parse(duty->pb->unit_id, &book.unit))
        return ERR_INTERNAL;
    duty->assignee = to;
    duty->pb->assignee_id = db_text_id(a, to);
    duty->pb->acknowledged_at = duty->pb->snoozed_until = NULL; /* they were the other one's */
    if (!duty->pb->assignee_id)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = ERR_OK;
    if (duty->pb->state == STATE_PENDING && duty->next_step >= 0)
        e = make_anew(duty, rule, &book, now_us, a, &changed);
    return e ? e : count_up(duty, a);
}

enum err duty_snooze(struct duty *duty, int64_t until_us, struct arena *a)
{
    struct plan plan = { .due_us = duty->due_us, .nsteps = duty->nsteps };

    for (size_t i = 0; i < duty->nsteps; i++) {
        plan.steps[i].at_us = duty->at_us[i];
        if (!plan_tells_read(duty->tells, i, plan.steps[i].tells))
            return ERR_INTERNAL;
    }
    snooze_plan(&plan, (size_t)duty->next_step, until_us);
    duty->pb->snoozed_until = wire_time(a, until_us);
    return duty->pb->snoozed_until ? take_steps(duty, &plan, duty->next_step, a)
                                   : ERR_RESOURCE_EXHAUSTED;
}

int64_t duty_late_by_s(int64_t due_us, int64_t closed_us)
{
    return closed_us > due_us ? (closed_us - due_us + SECOND_US - 1) / SECOND_US : 0;
}

enum err duty_close(struct duty *duty, bool cancelled, int64_t closed_us, struct arena *a)
{
    int64_t late_s = cancelled ? 0 : duty_late_by_s(duty->due_us, closed_us);

    duty->pb->state = cancelled ? STATE_CANCELLED : late_s ? STATE_DONE_LATE : STATE_DONE;
    duty->pb->late_by_s = late_s;
    duty->pb->closed_at = wire_time(a, closed_us);
    duty->pb->next_at = NULL;
    duty->next_step = -1;
    duty->next_us = 0;
    return duty->pb->closed_at ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

bool duty_timer(const struct duty *duty, struct id tenant, struct timer *out)
{
    if (duty->next_step < 0)
        return false;
    *out = (struct timer){ .tenant = tenant,
                           .obligation = duty->id,
                           .due_us = duty->next_us,
                           .step = (int16_t)duty->next_step,
                           .shard = (int16_t)obligation_shard(duty->id) };
    return true;
}

/* --- rows ------------------------------------------------------------------------------------ */

/* "{1,2,3}" */
static bool read_moments(const char *text, struct duty *duty)
{
    const char *at = text;

    if (!at || *at++ != '{')
        return false;
    for (duty->nsteps = 0; *at && *at != '}'; duty->nsteps++) {
        size_t len = strcspn(at, ",}");
        if (duty->nsteps == PLAN_STEPS_MAX ||
            !num_i64_n(at, len, INT64_MIN, INT64_MAX, &duty->at_us[duty->nsteps]))
            return false;
        at += len;
        at += *at == ',';
    }
    return duty->nsteps > 0;
}

enum err duty_read(const PGresult *res, int row_number, struct arena *a, struct duty *out)
{
    struct db_row row = { .res = res, .row = row_number };
    struct duty duty = { 0 };

    enum err e = record_read(res, row_number, &reminder_descriptor, a, &duty.pb);
    if (e)
        return e;
    duty.id = db_row_id(&row, "id");
    duty.assignee = db_row_id(&row, "assignee_id");
    duty.due_us = wire_time_us(duty.pb->due_at);
    duty.known_us = db_row_i64(&row, "_known_us");
    if (!db_row_is_null(&row, "_named_due_us"))
        duty.named_due_us = db_row_i64(&row, "_named_due_us");
    duty.round = db_row_i32(&row, "_round");
    duty.version = db_row_i64(&row, "_version");
    duty.next_step = -1;
    if (!db_row_is_null(&row, "_next_us")) {
        duty.next_step = db_row_i32(&row, "_next_step");
        duty.next_us = db_row_i64(&row, "_next_us");
    }
    const char *tells = db_row_text(&row, "_tells");
    if (row.bad || !tells || !read_moments(db_row_text(&row, "_plan"), &duty))
        return ERR_INTERNAL;
    duty.tells = arena_strdup(a, tells);
    if (!duty.tells)
        return ERR_RESOURCE_EXHAUSTED;
    *out = duty;
    return ERR_OK;
}

/* Moves the text into the arena. */
static char *settle(struct sbuf *b, struct arena *a)
{
    char *text = b->bad ? NULL : arena_strdup(a, b->data);
    sbuf_fini(b);
    return text;
}

char *duty_policies_text(const PbReminder *pb, struct arena *a)
{
    struct sbuf b;

    sbuf_init(&b, TEXT_LIMIT);
    for (size_t i = 0; i < pb->n_policies; i++) {
        sbuf_add_text(&b, i ? ",{\"key\":" : "[{\"key\":");
        sbuf_add_json(&b, pb->policies[i]->key);
        sbuf_add_text(&b, ",\"value\":");
        sbuf_add_json(&b, pb->policies[i]->value);
        sbuf_add_text(&b, ",\"provenance\":");
        sbuf_add_json(&b, pb->policies[i]->provenance);
        sbuf_add_char(&b, '}');
    }
    sbuf_add_text(&b, pb->n_policies ? "]" : "[]");
    return settle(&b, a);
}

char *duty_explanation_text(const PbReminder *pb, struct arena *a)
{
    struct sbuf b;

    sbuf_init(&b, TEXT_LIMIT);
    for (size_t i = 0; i < pb->n_explanation; i++) {
        if (i)
            sbuf_add_char(&b, '\n');
        sbuf_add_text(&b, pb->explanation[i]);
    }
    return settle(&b, a);
}

char *duty_plan_text(const struct duty *duty, struct arena *a)
{
    char mem[PLAN_STEPS_MAX * 24];
    struct sbuf b;

    sbuf_init_fixed(&b, mem, sizeof(mem));
    for (size_t i = 0; i < duty->nsteps; i++) {
        sbuf_add_char(&b, i ? ',' : '{');
        sbuf_add_i64(&b, duty->at_us[i]);
    }
    sbuf_add_char(&b, '}');
    return b.bad ? NULL : arena_strdup(a, b.data);
}

/* An id that is checked already, or none. */
static void column_of_id(struct columns *k, const char *text)
{
    struct id id;

    columns_id(k, id_parse(text, &id) ? id : (struct id){ { 0 } });
}

enum err duty_columns(const struct duty *duty, struct columns *k, struct db_array *moments,
                      struct arena *a)
{
    const PbReminder *pb = duty->pb;
    char *policies = duty_policies_text(pb, a);
    char *explanation = duty_explanation_text(pb, a);
    const char *state =
        record_enum_text(&daybook__reminders__v1__reminder_state__descriptor, (int)pb->state, a);

    if (!policies || !explanation || !state)
        return ERR_RESOURCE_EXHAUSTED;
    assert(duty->round == 0); /* the column's default */
    columns_id(k, duty->id);
    columns_text(k, pb->rule);
    columns_text(k, pb->subject);
    column_of_id(k, pb->customer_id);
    columns_id(k, duty->assignee);
    column_of_id(k, pb->unit_id);
    columns_text(k, pb->title);
    columns_time(k, wire_time_us(pb->starts_at));
    columns_time(k, duty->due_us);
    columns_i64(k, duty->known_us);
    columns_i64_or_null(k, duty->named_due_us, duty->named_due_us == 0);
    columns_text(k, state);
    columns_i64(k, (int64_t)moments->n + 1);
    for (size_t i = 0; i < duty->nsteps; i++)
        db_array_i64(moments, duty->at_us[i]);
    columns_i64(k, (int64_t)moments->n);
    columns_text(k, duty->tells);
    columns_i64_or_null(k, duty->next_step, duty->next_step < 0);
    columns_i64_or_null(k, duty->next_us, duty->next_step < 0);
    columns_time(k, wire_time_us(pb->closed_at));
    columns_i64(k, pb->late_by_s);
    columns_text(k, policies);
    columns_text(k, explanation);
    columns_i64(k, duty->version);
    return ERR_OK;
}
