/*
 * reactions.c - what happens in the house becomes duties: events open, fulfil and cancel them.
 *
 * This is the hot path: nearly every duty is fulfilled before it is due. A batch collects what its
 * events mean, one operation a duty, and writes it by one statement a kind:
 *
 *   first round trip   asks which duties to be opened are known already, has recalculations that
 *                      could not see them begin again (REM-09), takes tombstones; closes open
 *                      duties of the table
 *   second, the commit new duties with their timers, tombstones, events, versions of lists
 *
 * What counts is the outcome of the batch for each duty, not the order within it: an opening and a
 * closing event make a closed duty, whichever came first (REM-06); a second opening event makes
 * nothing (REM-07). Asking before inserting is safe because one consumer at a time holds the
 * cursor, and nobody else opens duties.
 */
#include "common/clock.h"
#include "common/num.h"
#include "daybook/customers/v1/events.pb-c.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "services/reminders/engine.h"
#include "services/reminders/jobs.h"
#include "services/reminders/look.h"
#include "services/reminders/obligation.h"
#include "services/reminders/reactions.h"
#include "services/reminders/sql.h"
#include "services/reminders/task_list.h"

#define BUCKETS 1024
#define WAKE_TIMERS_MAX 1000 /* in one message; the rest is found by the look back */
#define OFFER_SLACK_US (5 * SECOND_US)

/* What a batch does to one duty. */
struct operation {
    struct operation *next; /* of all */
    struct operation *next_bucket;
    struct operation *pair; /* ring of those that one closing event closes and one kind opens */
    struct id id;
    bool opens;
    struct duty duty; /* opens: as the event asks */
    bool closes;
    bool cancelled;
    int64_t closed_us;
    bool is_first;   /* the closing event is the first of the subject: none opened it before */
    bool is_known;   /* stands in the table already */
    PbReminder *was; /* an open duty of the table that was closed now, after that; else NULL */
};

/* One run of events of a tenant. */
struct batch {
    struct reaction *reaction;
    struct operation *first, **last;
    struct operation *buckets[BUCKETS];
    size_t noperations;
    struct id *people; /* whose lists change */
    size_t npeople, people_cap;
    bool renamed; /* a customer: its name stands in anybody's list */
};

/* --- collecting ------------------------------------------------------------------------------ */

static enum err batch_begin(struct reaction *r)
{
    struct batch *b = arena_alloc(r->arena, sizeof(*b));

    if (!b)
        return ERR_RESOURCE_EXHAUSTED;
    b->reaction = r;
    b->last = &b->first;
    r->batch = b;
    return ERR_OK;
}

static struct operation *find_operation(struct batch *b, struct id id)
{
    struct operation *op = b->buckets[id_hash(id) % BUCKETS];

    while (op && !id_equal(op->id, id))
        op = op->next_bucket;
    return op;
}

/* The operation on that duty; NULL: no memory. */
static struct operation *need_operation(struct batch *b, struct id id)
{
    struct operation *op = find_operation(b, id);

    if (op)
        return op;
    op = arena_alloc(b->reaction->arena, sizeof(*op));
    if (!op)
        return NULL;
    struct operation **bucket = &b->buckets[id_hash(id) % BUCKETS];
    op->id = id;
    op->pair = op;
    op->next_bucket = *bucket;
    *bucket = op;
    *b->last = op;
    b->last = &op->next;
    b->noperations++;
    return op;
}

static enum err add_person(struct batch *b, struct id person)
{
    if (b->npeople == b->people_cap) {
        size_t cap = b->people_cap ? 2 * b->people_cap : 64;
        struct id *grown = arena_array(b->reaction->arena, cap, sizeof(*grown));
        if (!grown)
            return ERR_RESOURCE_EXHAUSTED;
        if (b->npeople)
            memcpy(grown, b->people, b->npeople * sizeof(*grown));
        b->people = grown;
        b->people_cap = cap;
    }
    b->people[b->npeople++] = person;
    return ERR_OK;
}

static enum err collect_opening(struct batch *b, const struct rule *rule, const PbEvent *event,
                                const ProtobufCMessage *data)
{
    struct reaction *r = b->reaction;
    struct duty duty;

    enum err e = duty_open(rule, data, r->dir, r->tenant, wire_time_us(event->occurred_at),
                           r->now_us, r->arena, &duty);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_OK : e;
    struct operation *op = need_operation(b, duty.id);
    if (!op)
        return ERR_RESOURCE_EXHAUSTED;
    if (!op->opens) {
        op->opens = true;
        op->duty = duty;
    }
    return ERR_OK;
}

static enum err collect_closing(struct batch *b, const struct rule_match *match,
                                const PbEvent *event, const ProtobufCMessage *data,
                                struct operation **op_out)
{
    const char *subject_id = rule_text(data, match->event->subject);
    char subject[SUBJECT_MAX], canonical[ID_TEXT_MAX];
    struct id id;

    if (!subject_id || !id_parse(subject_id, &id))
        return ERR_INVALID_ARGUMENT;
    snprintf(subject, sizeof(subject), "%s/%s", match->rule->collection, id_text(id, canonical));
    struct operation *op = need_operation(b, obligation_id(match->rule->id, subject, ""));
    if (!op)
        return ERR_RESOURCE_EXHAUSTED;
    *op_out = op;
    if (op->closes)
        return ERR_OK; /* the first one counts */
    op->closes = true;
    op->is_first = event->aggregate_version == 1 && strcmp(event->aggregate, subject) == 0;
    op->cancelled = match->role == RULE_CANCELS;
    op->closed_us = match->event->at ? rule_time_us(data, match->event->at) : 0;
    if (!op->closed_us)
        op->closed_us = wire_time_us(event->occurred_at);
    return ERR_OK;
}

/* Joins what one event closes and one kind of event opens (TMR-42 and TMR-43): where one of them is
 * known, the opening event has come, and the others will never be. */
static void join(struct operation *op, struct operation *other)
{
    for (struct operation *at = op->pair; at != op; at = at->pair)
        if (at == other)
            return;
    struct operation *next = op->pair;
    op->pair = other->pair;
    other->pair = next;
}

static enum err collect_closings(struct batch *b, const struct rule_match *matches, size_t n,
                                 const PbEvent *event, const ProtobufCMessage *data)
{
    struct operation *ops[RULE_MATCHES_MAX] = { 0 };

    for (size_t i = 0; i < n; i++) {
        if (matches[i].role == RULE_OPENS)
            continue;
        enum err e = collect_closing(b, &matches[i], event, data, &ops[i]);
        if (e)
            return e;
        for (size_t k = 0; k < i; k++)
            if (ops[k] &&
                strcmp(matches[k].rule->opened_by.type, matches[i].rule->opened_by.type) == 0)
                join(ops[k], ops[i]);
    }
    return ERR_OK;
}

/* Any event that a rule names. */
static enum err on_rule_event(struct reaction *r, const PbEvent *event,
                              const ProtobufCMessage *data)
{
    struct rule_match matches[RULE_MATCHES_MAX];
    size_t n = rules_match(event->type, matches);

    if (r->replaying) /* duties are not a read model */
        return ERR_OK;
    for (size_t i = 0; i < n; i++) {
        enum err e = matches[i].role == RULE_OPENS
                         ? collect_opening(r->batch, matches[i].rule, event, data)
                         : ERR_OK;
        if (e)
            return e;
    }
    return collect_closings(r->batch, matches, n, event, data);
}

/* --- read models ----------------------------------------------------------------------------- */

static enum err put_customer(struct reaction *r, const Daybook__Customers__V1__Customer *customer)
{
    if (!customer)
        return ERR_INVALID_ARGUMENT;
    const char *const params[] = {
        db_text_id(r->arena, r->tenant),
        customer->id,
        customer->name,
        *customer->owner_id ? customer->owner_id : NULL,
    };
    return params[0] ? db_queue(r->db, &sql_customer_put, params) : ERR_RESOURCE_EXHAUSTED;
}

static enum err on_customer_created(struct reaction *r, const PbEvent *event UNUSED,
                                    const ProtobufCMessage *data)
{
    return put_customer(r, ((const Daybook__Customers__V1__CustomerCreated *)data)->customer);
}

static enum err on_customer_updated(struct reaction *r, const PbEvent *event,
                                    const ProtobufCMessage *data)
{
    const Daybook__Customers__V1__CustomerUpdated *e = (const void *)data;
    struct batch *b = r->batch;

    enum err failed = ERR_OK;
    for (size_t i = 0; i < e->n_changed_fields && !failed; i++) {
        if (strcmp(e->changed_fields[i], "name") == 0)
            b->renamed = true;
        if (strcmp(e->changed_fields[i], "owner_id") == 0)
            failed = jobs_ask_handover(r, event, e->customer);
    }
    if (failed)
        return failed;
    return put_customer(r, e->customer);
}

static enum err put_visit(struct reaction *r, const Daybook__Visits__V1__Visit *visit)
{
    struct id visitor;

    if (!visit || !id_parse(visit->visitor_id, &visitor) || !visit->starts_at)
        return ERR_INVALID_ARGUMENT;
    const char *const params[] = {
        db_text_id(r->arena, r->tenant),
        visit->id,
        visit->visitor_id,
        *visit->customer_id ? visit->customer_id : NULL,
        visit->goal,
        db_text_time(r->arena, wire_time_us(visit->starts_at)),
        record_enum_text(&daybook__visits__v1__visit_state__descriptor, (int)visit->state,
                         r->arena),
    };
    if (!params[0] || !params[5])
        return ERR_RESOURCE_EXHAUSTED;
    if (!params[6] || !*params[6])
        return ERR_INVALID_ARGUMENT;
    enum err e = db_queue(r->db, &sql_visit_put, params);
    return e ? e : add_person(r->batch, visitor);
}

/* Every event of a visit has the visit as its first field. */
static enum err on_visit_event(struct reaction *r, const PbEvent *event,
                               const ProtobufCMessage *data)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(data->descriptor, "visit");
    const void *place = (const char *)data + field->offset;

    enum err e = put_visit(r, *(const Daybook__Visits__V1__Visit *const *)place);
    return e ? e : on_rule_event(r, event, data);
}

/* --- first round trip ------------------------------------------------------------------------ */

static int compare_operations(const void *a, const void *b)
{
    const struct operation *const *x = a, *const *y = b;
    return id_compare((*x)->id, (*y)->id);
}

/* By id, so that locks are taken in the order in which everybody takes them. */
static struct operation **sorted_operations(struct batch *b)
{
    struct operation **list = arena_array(b->reaction->arena, b->noperations + 1, sizeof(*list));
    size_t n = 0;

    if (!list)
        return NULL;
    for (struct operation *op = b->first; op; op = op->next)
        list[n++] = op;
    qsort(list, n, sizeof(*list), compare_operations);
    return list;
}

static enum err read_closed(void *ctx, const PGresult *res)
{
    struct batch *b = ctx;
    PbReminder **rows;
    struct id id;
    size_t n;

    enum err e = record_read_all(res, &reminder_descriptor, b->reaction->arena, &n, &rows);
    for (size_t i = 0; i < n && !e; i++) {
        struct operation *op = id_parse(rows[i]->id, &id) ? find_operation(b, id) : NULL;
        if (!op)
            return ERR_INTERNAL;
        op->was = rows[i];
        op->is_known = true;
    }
    return e;
}

static enum err read_known(void *ctx, const PGresult *res)
{
    struct batch *b = ctx;
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        struct operation *op = find_operation(b, db_row_id(&row, "id"));
        if (row.bad || !op)
            return ERR_INTERNAL;
        op->is_known = true;
    }
    return ERR_OK;
}

/* An earlier event closed what is opened only now. */
static enum err read_tombstones(void *ctx, const PGresult *res)
{
    struct batch *b = ctx;
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        struct operation *op = find_operation(b, db_row_id(&row, "obligation_id"));
        if (row.bad || !op)
            return ERR_INTERNAL;
        op->closes = true;
        op->cancelled = db_row_bool(&row, "cancelled");
        op->closed_us = db_row_time(&row, "closed_at");
    }
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static void closing_columns(const struct operation *op, struct columns *k)
{
    columns_id(k, op->id);
    columns_bool(k, op->cancelled);
    columns_time(k, op->closed_us);
}

/* Queues a statement of the tenant and those columns; none without rows. */
static enum err queue_columns(struct batch *b, const struct db_stmt *stmt, struct columns *k,
                              db_check_fn *check)
{
    char tenant[ID_TEXT_MAX];
    struct db_param params[COLUMNS_MAX + 1] = { { .value = id_text(b->reaction->tenant, tenant) } };

    if (!k->rows)
        return ERR_OK;
    enum err e = columns_binary_params(k, &params[1]);
    return e ? e : db_queue_params(b->reaction->db, stmt, params, check, b);
}

static enum err queue_closings(struct batch *b, struct operation **list)
{
    CLEANUP(columns_fini) struct columns k = { 0 };

    columns_init_binary(&k, 3);
    for (size_t i = 0; i < b->noperations; i++)
        if (list[i]->closes)
            closing_columns(list[i], &k);
    return queue_columns(b, &sql_duties_close, &k, read_closed);
}

static enum err queue_known(struct batch *b, struct columns *k)
{
    struct reaction *r = b->reaction;
    char tenant[ID_TEXT_MAX];
    struct db_param params[] = {
        { .value = id_text(r->tenant, tenant) }, { 0 }, { 0 }, { 0 }, { 0 }
    };

    if (!k->rows)
        return ERR_OK;
    params[2].value = db_text_i64(r->arena, r->now_us);
    params[3].value = db_text_i64(r->arena, directory_revision(r->dir));
    params[4].value = db_text_i64(r->arena, look_horizon_us()); /* half a minute of real time */
    if (!params[2].value || !params[3].value || !params[4].value)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = columns_binary_params(k, &params[1]);
    return e ? e : db_queue_params(r->db, &sql_duties_known, params, read_known, b);
}

static enum err queue_questions(struct batch *b, struct operation **list)
{
    CLEANUP(columns_fini) struct columns k = { 0 };

    columns_init_binary(&k, 1);
    for (size_t i = 0; i < b->noperations; i++)
        if (list[i]->opens)
            columns_id(&k, list[i]->id);
    enum err e = queue_known(b, &k);
    return e ? e : queue_columns(b, &sql_tombstones_take, &k, read_tombstones);
}

/* --- second round trip ----------------------------------------------------------------------- */

static bool is_new(const struct operation *op)
{
    return op->opens && !op->is_known;
}

static enum err queue_new(struct batch *b, struct operation **list)
{
    struct reaction *r = b->reaction;
    CLEANUP(columns_fini) struct columns k = { 0 };
    CLEANUP(db_array_fini) struct db_array moments = { 0 };
    char tenant[ID_TEXT_MAX];
    struct db_param params[DUTY_COLUMNS + 2] = { { .value = id_text(r->tenant, tenant) } };

    columns_init_binary(&k, DUTY_COLUMNS);
    db_array_init(&moments, DB_ARRAY_I64);
    for (size_t i = 0; i < b->noperations; i++) {
        if (!is_new(list[i]))
            continue;
        enum err e = duty_columns(&list[i]->duty, &k, &moments, r->arena);
        if (e)
            return e;
    }
    if (!k.rows)
        return ERR_OK;
    enum err e = db_array_param(&moments, &params[1]);
    if (!e)
        e = columns_binary_params(&k, &params[2]);
    return e ? e : db_queue_params(r->db, &sql_duties_insert, params, NULL, NULL);
}

static bool goes_with_customer(const struct operation *op)
{
    const struct rule *rule = rule_find(op->duty.pb->rule);

    return rule && !rule->is_personal && *op->duty.pb->customer_id && !op->closes;
}

/* REM-18: duties whose opening event is heard after the customer was handed over. */
static enum err queue_late_handovers(struct batch *b, struct operation **list)
{
    struct reaction *r = b->reaction;
    CLEANUP(columns_fini) struct columns k = { 0 };
    char tenant[ID_TEXT_MAX], asked[TIME_TEXT_MAX];
    struct db_param params[] = { { .value = id_text(r->tenant, tenant) },
                                 { .value = JOBS_HANDOVER_REASON },
                                 { .value = time_format(r->now_us, asked) },
                                 { 0 },
                                 { 0 },
                                 { 0 },
                                 { 0 } };

    columns_init_binary(&k, 4);
    for (size_t i = 0; i < b->noperations; i++) {
        const struct duty *duty = &list[i]->duty;
        struct id customer;
        if (!is_new(list[i]) || !goes_with_customer(list[i]) ||
            !id_parse(duty->pb->customer_id, &customer))
            continue;
        columns_id(&k, duty->id);
        columns_id(&k, customer);
        columns_id(&k, duty->assignee);
        columns_i64(&k, duty->known_us);
    }
    if (!k.rows)
        return ERR_OK;
    enum err e = columns_binary_params(&k, &params[3]);
    return e ? e : db_queue_params(r->db, &sql_handovers_late, params, NULL, NULL);
}

/* Might the opening event still come? Not when it has, and not for a subject that began otherwise.
 */
static bool may_be_opened(const struct operation *op)
{
    const struct operation *at = op;

    do {
        if (at->opens || at->is_known)
            return false;
        at = at->pair;
    } while (at != op);
    return !op->is_first;
}

static enum err queue_tombstones(struct batch *b, struct operation **list)
{
    CLEANUP(columns_fini) struct columns k = { 0 };

    columns_init_binary(&k, 3);
    for (size_t i = 0; i < b->noperations; i++)
        if (list[i]->closes && may_be_opened(list[i]))
            closing_columns(list[i], &k);
    return queue_columns(b, &sql_tombstones_put, &k, NULL);
}

/* The reminder as events tell of it: without what only Get explains. */
static PbReminder brief(const PbReminder *pb)
{
    PbReminder told = *pb;

    told.n_policies = told.n_explanation = 0;
    told.policies = NULL;
    told.explanation = NULL;
    return told;
}

static enum err emit_opened(struct reaction *r, const struct duty *duty)
{
    Daybook__Reminders__V1__ReminderOpened event = DAYBOOK__REMINDERS__V1__REMINDER_OPENED__INIT;
    PbReminder told = brief(duty->pb);
    event.reminder = &told;
    return reaction_emit(r, "reminders", told.id, duty->version, &event.base);
}

static enum err emit_closed(struct reaction *r, const PbReminder *pb, int64_t version)
{
    Daybook__Reminders__V1__ReminderClosed event = DAYBOOK__REMINDERS__V1__REMINDER_CLOSED__INIT;
    PbReminder told = brief(pb);
    event.reminder = &told;
    return reaction_emit(r, "reminders", told.id, version, &event.base);
}

/* A new duty is told as it opened; one that is closed already then also as that. */
static enum err settle_new(struct batch *b, struct operation *op)
{
    struct reaction *r = b->reaction;

    enum err e = emit_opened(r, &op->duty);
    if (e || !op->closes)
        return e;
    e = duty_close(&op->duty, op->cancelled, op->closed_us, r->arena);
    op->duty.version++;
    op->duty.pb->etag = db_text_i64(r->arena, op->duty.version);
    if (!e && !op->duty.pb->etag)
        e = ERR_RESOURCE_EXHAUSTED;
    return e ? e : emit_closed(r, op->duty.pb, op->duty.version);
}

/* A duty of the table that was closed. */
static enum err settle_closed(struct batch *b, const struct operation *op)
{
    struct id assignee;
    int64_t version;

    if (!id_parse(op->was->assignee_id, &assignee) ||
        !num_i64(op->was->etag, 1, INT64_MAX, &version))
        return ERR_INTERNAL;
    enum err e = emit_closed(b->reaction, op->was, version);
    return e ? e : add_person(b, assignee);
}

static enum err settle(struct batch *b, struct operation **list)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < b->noperations && !e; i++) {
        struct operation *op = list[i];
        if (op->was)
            e = settle_closed(b, op);
        if (!is_new(op) || e)
            continue;
        e = settle_new(b, op);
        if (!e)
            e = add_person(b, op->duty.assignee);
    }
    return e;
}

static enum err queue_lists(struct batch *b)
{
    struct reaction *r = b->reaction;
    const char *const params[] = { db_text_id(r->arena, r->tenant) };

    if (!params[0])
        return ERR_RESOURCE_EXHAUSTED;
    if (b->renamed) {
        enum err e = db_queue(r->db, &sql_lists_bump_all, params);
        if (e)
            return e;
    }
    return lists_queue_bump(r->db, r->tenant, b->people, b->npeople);
}

/* --- after the commit ------------------------------------------------------------------------ */

struct aftermath {
    struct id tenant;
    struct id *people;
    size_t npeople;
    struct timer *timers;
    size_t ntimers;
};

static void tell_process(void *daemon_data, void *arg)
{
    struct reminders *self = daemon_data;
    const struct aftermath *after = arg;

    if (after->ntimers)
        engine_offer(self->engine, after->timers, after->ntimers);
    for (size_t i = 0; i < after->npeople; i++)
        task_lists_forget(self->lists, after->tenant, after->people[i]);
    task_lists_ring(self->lists);
}

/* Timers that are due before the owners' next look reaches them. */
static enum err near_timers(struct batch *b, struct operation **list, struct aftermath *after)
{
    struct reaction *r = b->reaction;
    int64_t until_us = clock_now_us() + look_horizon_us() + OFFER_SLACK_US;

    after->timers = arena_array(r->arena, b->noperations + 1, sizeof(*after->timers));
    if (!after->timers)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < b->noperations; i++) {
        struct timer timer;
        if (is_new(list[i]) && duty_timer(&list[i]->duty, r->tenant, &timer) &&
            timer.due_us <= until_us)
            after->timers[after->ntimers++] = timer;
    }
    return ERR_OK;
}

static enum err plan_aftermath(struct batch *b, struct operation **list)
{
    struct reaction *r = b->reaction;
    struct aftermath *after = arena_alloc(r->arena, sizeof(*after));

    if (!after)
        return ERR_RESOURCE_EXHAUSTED;
    *after = (struct aftermath){ .tenant = r->tenant, .people = b->people, .npeople = b->npeople };
    enum err e = near_timers(b, list, after);
    if (e)
        return e;
    if (after->npeople || after->ntimers || b->renamed)
        reaction_after_commit(r, tell_process, after);
    if (after->ntimers) {
        size_t n = MIN(after->ntimers, (size_t)WAKE_TIMERS_MAX);
        uint8_t *bytes = arena_alloc(r->arena, n * ENGINE_PACKED_SIZE);
        if (!bytes)
            return ERR_RESOURCE_EXHAUSTED;
        reaction_wake(r, WAKE_TIMERS, bytes, engine_pack(after->timers, n, bytes));
    }
    return ERR_OK;
}

static enum err batch_end(struct reaction *r)
{
    struct batch *b = r->batch;
    struct operation **list = sorted_operations(b);

    if (!list || !db_text_id(r->arena, r->tenant))
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = queue_questions(b, list); /* the first locks jobs before duties, as chores do */
    if (!e)
        e = queue_closings(b, list);
    if (!e && b->noperations)
        e = db_flush(r->db);
    if (!e)
        e = settle(b, list);
    if (!e)
        e = queue_new(b, list);
    if (!e)
        e = queue_late_handovers(b, list);
    if (!e)
        e = queue_tombstones(b, list);
    if (!e && !r->replaying)
        e = queue_lists(b);
    return e ? e : plan_aftermath(b, list);
}

/* --- what is heard --------------------------------------------------------------------------- */

#define CUSTOMERS "daybook.customers.v1."
#define VISITS "daybook.visits.v1."
#define DIRECTORY "daybook.directory.v1."
#define BOTH (REACTION_LIVE | REACTION_REPLAY)

static const struct reaction_def reactions[] = {
    { CUSTOMERS "CustomerCreated", on_customer_created, BOTH },
    { CUSTOMERS "CustomerUpdated", on_customer_updated, BOTH },
    { CUSTOMERS "InteractionEnded", on_rule_event, REACTION_LIVE },
    { CUSTOMERS "InteractionRecorded", on_rule_event, REACTION_LIVE },
    { CUSTOMERS "QuestionOpened", on_rule_event, REACTION_LIVE },
    { CUSTOMERS "QuestionPreliminaryAnswered", on_rule_event, REACTION_LIVE },
    { CUSTOMERS "QuestionAnswered", on_rule_event, REACTION_LIVE },
    { VISITS "VisitRequested", on_visit_event, BOTH },
    { VISITS "VisitApproved", on_visit_event, BOTH },
    { VISITS "VisitRejected", on_visit_event, BOTH },
    { VISITS "VisitCancelled", on_visit_event, BOTH },
    { VISITS "VisitCheckedIn", on_visit_event, BOTH },
    { VISITS "VisitEnded", on_visit_event, BOTH },
    { VISITS "VisitReported", on_visit_event, BOTH },
    { VISITS "VisitReportReviewed", on_visit_event, BOTH },
    { VISITS "CommitmentMade", on_rule_event, REACTION_LIVE },
    { VISITS "CommitmentFulfilled", on_rule_event, REACTION_LIVE },
    { VISITS "CommitmentCancelled", on_rule_event, REACTION_LIVE },
    { DIRECTORY "PolicySet", jobs_on_policy_set, REACTION_LIVE },
    { DIRECTORY "CalendarImported", jobs_on_calendar_imported, REACTION_LIVE },
};

static const char *const read_model_tables[] = { "reminders.customer_ref", "reminders.former_owner",
                                                 "reminders.visit_ref", NULL };

const struct consumer_def reminders_consumer = {
    .name = "reminders",
    .schema = "reminders",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .batch_begin = batch_begin,
    .batch_end = batch_end,
    .read_model_tables = read_model_tables,
};
