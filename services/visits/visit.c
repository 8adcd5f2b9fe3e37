/*
 * visit.c - the handlers of VisitService from the request to the end of the visit; the report is in
 * visit_report.c.
 *
 * Each locks the visit, asks the transition table, writes the row and emits one event. Two reps may
 * ask for the same slot at once; an exclusion constraint decides, so losing that race is an
 * ordinary outcome with its own words.
 */
#include "common/authority.h"
#include "services/visits/visit_life.h"
#include "services/visits/visit_rules.h"
#include "services/visits/visit_store.h"

#define EVENT(Name, name)                                                                          \
    (&(Daybook__Visits__V1__##Name){                                                               \
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__##name##__descriptor),               \
        .visit = visit,                                                                            \
        .unit_id = (char *)(uintptr_t)visits_unit_of(call, visit->visitor_id) }                    \
          .base)

#define IN_PERSON DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON

#define REPLY_VISIT(Name, name)                                                                    \
    do {                                                                                           \
        Daybook__Visits__V1__##Name *reply_ =                                                      \
            call_new(call, &daybook__visits__v1__##name##__descriptor);                            \
        if (!reply_)                                                                               \
            return ERR_RESOURCE_EXHAUSTED;                                                         \
        reply_->visit = visit;                                                                     \
        *reply_out = &reply_->base;                                                                \
        return ERR_OK;                                                                             \
    } while (0)

/* A check-in without a request covers this span, so that the row has one; its end is the check-out.
 */
#define UNPLANNED_SPAN_US HOUR_US
#define LONGEST_VISIT_US (12 * HOUR_US)

const char *visits_unit_of(struct call *call, const char *employee_id)
{
    const struct dir_employee *e = visit_employee(call, employee_id);
    char *text = e && e->unit ? db_text_id(call->arena, e->unit->id) : NULL;

    return text ? text : "";
}

enum err visits_normalise(struct call *call, char **id)
{
    struct id parsed;

    if (!**id || !id_parse(*id, &parsed))
        return ERR_OK;
    *id = db_text_id(call->arena, parsed);
    return *id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

const struct dir_employee *visit_employee(struct call *call, const char *employee_id)
{
    struct id id;

    if (!call->dir || !id_parse(employee_id, &id))
        return NULL;
    return directory_employee(call->dir, call->tenant, id);
}

struct id visit_unit_id(struct call *call, const char *employee_id)
{
    const struct dir_employee *e = visit_employee(call, employee_id);

    return e && e->unit ? e->unit->id : (struct id){ 0 };
}

const struct calendar *visit_calendar(struct call *call, const PbVisit *visit)
{
    return directory_calendar_at(call->dir, call->tenant, visit_unit_id(call, visit->visitor_id),
                                 call->now_us);
}

enum err visit_need_employee(struct call *call, const char *employee_id, const char *field)
{
    const struct dir_employee *e = visit_employee(call, employee_id);

    if (!e || !e->active)
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "there is no such active employee");
    return authority_need_sight(call, e->id, "employee");
}

enum err visit_begin(struct call *call, const char *id, PbVisit **visit_out,
                     struct visit_aside *aside_out)
{
    PbVisit *visit;
    struct visit_aside aside;
    struct id visitor;

    enum err e = visit_store_lock(call, id, &visit, &aside);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "visit_id", "there is no visit %s; look it up by List", id);
    if (e)
        return e;
    if (!id_parse(visit->visitor_id, &visitor))
        return ERR_INTERNAL;
    e = authority_need_sight(call, visitor, "visit");
    if (e)
        return e;
    *visit_out = visit;
    if (aside_out)
        *aside_out = aside;
    return ERR_OK;
}

void visit_hide_place(const struct call *call, PbVisit *visit, struct id customer_owner)
{
    if (visit->check_in && !authority_sees(call, customer_owner))
        visit->check_in->distance_m = -1;
}

enum err visit_advance(struct call *call, PbVisit *visit, enum visit_action action)
{
    char allowed[128];
    int next = visit_rules_next((int)visit->state, action);

    if (next) {
        visit->state = (Daybook__Visits__V1__VisitState)next;
        return ERR_OK;
    }
    visit_rules_allowed_states(action, allowed, sizeof(allowed));
    return call_fail(call, ERR_FAILED_PRECONDITION, "visit_id",
                     "cannot %s: the visit is %s, it would have to be %s",
                     visit_rules_action_name(action), visit_rules_state_name((int)visit->state),
                     allowed);
}

enum err visit_save(struct call *call, PbVisit *visit, const ProtobufCMessage *event)
{
    enum err e = visit_store_update(call, visit, NULL);

    return e ? e : call_emit(call, "visits", visit->id, visit_store_version(visit), event);
}

enum err visit_need_visitor(struct call *call, const PbVisit *visit)
{
    struct id visitor;

    /* Scopes do not bind employees, so they are asked of other systems only. */
    if (!call->employee && (authority_is_system(call) || authority_has_scope(call, "tenant.all")))
        return ERR_OK;
    if (id_parse(visit->visitor_id, &visitor) && id_equal(visitor, call->actor))
        return ERR_OK;
    return call_fail(call, ERR_PERMISSION_DENIED, "visit_id", "only the visitor may do this");
}

/* Who goes: the caller unless a superior plans for somebody of his. */
static enum err resolve_visitor(struct call *call, PbVisit *visit)
{
    if (!*visit->visitor_id) {
        if (!call->employee)
            return call_fail(call, ERR_INVALID_ARGUMENT, "visit.visitor_id",
                             "say who goes; the caller is not an employee");
        visit->visitor_id = db_text_id(call->arena, call->actor);
        return visit->visitor_id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    return visit_need_employee(call, visit->visitor_id, "visit.visitor_id");
}

static enum err check_times(struct call *call, const PbVisit *visit)
{
    int64_t starts = wire_time_us(visit->starts_at), ends = wire_time_us(visit->ends_at);

    int64_t lead_us =
        policy_us(directory_policy(call->dir, call->tenant, visit_unit_id(call, visit->visitor_id),
                                   "visit_request_lead", call->now_us));

    if (starts <= call->now_us)
        call_violation(call, "visit.starts_at",
                       "lies in the past; a visit is asked for beforehand");
    else if (starts - call->now_us < lead_us)
        call_violation(call, "visit.starts_at", "ask at least %.4g hours ahead",
                       (double)lead_us / HOUR_US);
    if (ends <= starts)
        call_violation(call, "visit.ends_at", "must lie after starts_at");
    else if (ends - starts > LONGEST_VISIT_US)
        call_violation(call, "visit.ends_at", "a visit lasts at most 12 hours");
    return call_violations(call);
}

static enum err find_customer(struct call *call, const char *id, const char *contact_id,
                              const char *field, struct visit_customer *customer_out)
{
    enum err e = visit_store_find_customer(call, id, contact_id, customer_out);

    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, field, "there is no customer %s", id);
    return e;
}

/* VIS-02: whom one goes to see, organisation and person; by phone the person may stay open. */
static enum err resolve_object(struct call *call, const PbVisit *visit,
                               struct visit_customer *customer_out)
{
    if (visit->mode == IN_PERSON && !*visit->contact_id)
        return call_fail(call, ERR_INVALID_ARGUMENT, "visit.contact_id",
                         "say who is to be seen: one of the customer's contacts");
    enum err e = find_customer(call, visit->customer_id, visit->contact_id, "visit.customer_id",
                               customer_out);
    if (e)
        return e;
    if (*visit->contact_id && !customer_out->has_contact)
        return call_fail(call, ERR_NOT_FOUND, "visit.contact_id",
                         "the customer has no contact %s; a new one is known a moment later",
                         visit->contact_id);
    return ERR_OK;
}

/* The address of a customer, for those who may see him. */
static char *place_of(const struct call *call, const struct visit_customer *customer)
{
    return (char *)(uintptr_t)(authority_sees(call, customer->owner) ? customer->address : "");
}

static enum err insert_visit(struct call *call, PbVisit *visit)
{
    char id[ID_TEXT_MAX];

    visit->id = arena_strdup(call->arena, id_text(id_new(), id));
    visit->etag = arena_strdup(call->arena, "1");
    if (!visit->id || !visit->etag)
        return ERR_RESOURCE_EXHAUSTED;
    return visit_store_insert(call, visit);
}

bool visit_is_of_the_top(struct call *call, const PbVisit *visit)
{
    const struct dir_employee *e = visit_employee(call, visit->visitor_id);

    return e && !e->superior;
}

static enum err approve_by_rule(struct call *call, PbVisit *visit)
{
    enum err e = visit_advance(call, visit, VISIT_ACTION_APPROVE);

    visit->review_comment = (char *)(uintptr_t)VISIT_TOP_COMMENT;
    return e ? e : visit_save(call, visit, EVENT(VisitApproved, visit_approved));
}

enum err visit_request(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__RequestVisitRequest *req = (const void *)in;
    PbVisit *visit = wire_clone(&req->visit->base, call->arena);
    struct visit_customer customer;

    if (!visit)
        return ERR_RESOURCE_EXHAUSTED;
    if (!visit->mode)
        visit->mode = IN_PERSON;
    enum err e = resolve_visitor(call, visit);
    if (e)
        return e;
    e = check_times(call, visit);
    if (e)
        return e;
    e = resolve_object(call, visit, &customer);
    if (!e)
        e = visits_normalise(call, &visit->customer_id);
    if (!e)
        e = visits_normalise(call, &visit->contact_id);
    if (!e)
        e = visits_normalise(call, &visit->visitor_id);
    if (e)
        return e;
    if (!*visit->place)
        visit->place = place_of(call, &customer);
    visit->state = DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_REQUESTED;
    visit->unregistered = visit->late_arrival = false;
    visit->check_in = NULL;
    visit->checked_out_at = NULL;
    visit->report = NULL;
    visit->reviewed_by = visit->review_comment = (char *)(uintptr_t) "";

    e = insert_visit(call, visit);
    if (e == ERR_ALREADY_EXISTS)
        return call_fail(call, e, "visit.starts_at",
                         "the visitor has another visit in this slot; choose another time");
    if (e)
        return e;
    e = call_emit(call, "visits", visit->id, 1, EVENT(VisitRequested, visit_requested));
    if (!e && visit_is_of_the_top(call, visit))
        e = approve_by_rule(call, visit);
    if (e)
        return e;
    REPLY_VISIT(RequestVisitResponse, request_visit_response);
}

/* VIS-23: managers' visits have approvers of their own. */
static bool is_manager(struct call *call, const PbVisit *visit)
{
    const struct dir_employee *e = visit_employee(call, visit->visitor_id);

    return e && (dir_employee_has_role(e, "sales_manager") ||
                 dir_employee_has_role(e, "regional_manager"));
}

enum err visit_review(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__ReviewVisitRequest *req = (const void *)in;
    PbVisit *visit;
    enum err e = visit_begin(call, req->visit_id, &visit, NULL);

    if (e)
        return e;
    e = visit_need_approver(
        call, visit, is_manager(call, visit) ? "approver_manager_visit" : "approver_roles_plan",
        "visit");
    if (e)
        return e;
    if (!req->approve && !*req->comment)
        return call_fail(call, ERR_INVALID_ARGUMENT, "comment", "say why it is rejected");
    e = visit_advance(call, visit, req->approve ? VISIT_ACTION_APPROVE : VISIT_ACTION_REJECT);
    if (e)
        return e;
    visit->reviewed_by = db_text_id(call->arena, call->actor);
    visit->review_comment = req->comment;
    e = visit_save(call, visit,
                   req->approve ? EVENT(VisitApproved, visit_approved)
                                : EVENT(VisitRejected, visit_rejected));
    if (e)
        return e;
    REPLY_VISIT(ReviewVisitResponse, review_visit_response);
}

enum err visit_cancel(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__CancelVisitRequest *req = (const void *)in;
    PbVisit *visit;
    enum err e = visit_begin(call, req->visit_id, &visit, NULL);

    if (e)
        return e;
    e = visit_advance(call, visit, VISIT_ACTION_CANCEL);
    if (e)
        return e;
    Daybook__Visits__V1__VisitCancelled event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__visit_cancelled__descriptor),
        .visit = visit,
        .reason = req->reason,
    };
    e = visit_save(call, visit, &event.base);
    if (e)
        return e;
    REPLY_VISIT(CancelVisitResponse, cancel_visit_response);
}

/* What the device says, judged against the customer's place; nothing here refuses anybody. */
static enum err judge_check_in(struct call *call, PbVisit *visit,
                               const Daybook__Visits__V1__CheckInRequest *req,
                               const struct visit_customer *customer)
{
    PbCheckInFacts *facts = call_new(call, &daybook__visits__v1__check_in_facts__descriptor);
    void *at = wire_time(call->arena, call->now_us);

    if (!facts || !at)
        return ERR_RESOURCE_EXHAUSTED;
    facts->at = at;
    facts->device_at = req->device_at;
    facts->position = req->position;
    facts->accuracy_m = req->accuracy_m;
    facts->distance_m = -1;
    if (req->position && customer->has_place) {
        struct policy_value limit =
            directory_policy(call->dir, call->tenant, visit_unit_id(call, visit->visitor_id),
                             "checkin_far_m", call->now_us);
        facts->distance_m =
            visit_rules_distance_m(req->position->latitude, req->position->longitude,
                                   customer->latitude, customer->longitude);
        /* By phone or video nobody goes there (CON-07). */
        facts->far = visit->mode == IN_PERSON &&
                     visit_rules_is_far(facts->distance_m, req->accuracy_m, policy_number(limit));
    }
    visit->check_in = facts;
    return ERR_OK;
}

/* An outing that nobody applied for becomes a visit of its own, flagged (VIS-22, CON-11). */
static enum err unplanned_visit(struct call *call, const Daybook__Visits__V1__CheckInRequest *req,
                                const struct visit_customer *customer, PbVisit **visit_out)
{
    PbVisit *visit = call_new(call, &daybook__visits__v1__visit__descriptor);

    if (!visit)
        return ERR_RESOURCE_EXHAUSTED;
    visit->visitor_id = db_text_id(call->arena, call->actor);
    visit->customer_id = req->customer_id;
    visit->mode = IN_PERSON;
    visit->starts_at = wire_time(call->arena, call->now_us);
    visit->ends_at = wire_time(call->arena, call->now_us + UNPLANNED_SPAN_US);
    visit->place = place_of(call, customer);
    visit->state = DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_CHECKED_IN;
    visit->unregistered = true;
    if (!visit->visitor_id || !visit->starts_at || !visit->ends_at)
        return ERR_RESOURCE_EXHAUSTED;
    *visit_out = visit;
    return visits_normalise(call, &visit->customer_id);
}

/* CON-23 */
static int64_t check_in_window_us(struct call *call, const PbVisit *visit)
{
    return policy_us(directory_policy(call->dir, call->tenant,
                                      visit_unit_id(call, visit->visitor_id),
                                      "checkin_window_before_minutes", call->now_us));
}

/* Who has applied for a visit must name it: else it would stay behind, and he be called absent. */
static enum err need_no_other(struct call *call, const PbVisit *outing)
{
    const struct tz *tz = visit_calendar(call, outing)->tz;
    struct date today = tz_date(tz, call->now_us);
    const struct visit_day day = {
        .start_us = tz_instant(tz, today, 0),
        .end_us = tz_instant(tz, date_add(today, 1), 0),
        .opens_us = call->now_us + check_in_window_us(call, outing),
        .now_us = call->now_us,
    };
    PbVisit *other;
    enum err e = visit_store_of_today(call, outing, &day, &other);

    if (e || !other)
        return e;
    if (other->state == DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_CHECKED_IN)
        return call_fail(
            call, ERR_FAILED_PRECONDITION, "customer_id",
            "the visitor is checked in with this customer: check out of visit %s first", other->id);
    return call_fail(call, ERR_FAILED_PRECONDITION, "customer_id",
                     "there is a visit with this customer today, which is %s: name it by visit_id "
                     "%s",
                     visit_rules_state_name((int)other->state), other->id);
}

/* The mark on the visit is a fact; whether it counts as absence is the company's rule (CON-11). */
static bool counts_as_absence(struct call *call, const PbVisit *visit)
{
    return visit->unregistered &&
           policy_bool(directory_policy(call->dir, call->tenant,
                                        visit_unit_id(call, visit->visitor_id),
                                        "unregistered_visit_is_absence", call->now_us));
}

static enum err emit_check_in(struct call *call, PbVisit *visit)
{
    enum err e = call_emit(call, "visits", visit->id, visit_store_version(visit),
                           EVENT(VisitCheckedIn, visit_checked_in));

    if (e || !counts_as_absence(call, visit))
        return e;
    /* A second event needs a version of its own: they rise from event to event (bus.proto). */
    return visit_save(call, visit, EVENT(UnregisteredVisitFlagged, unregistered_visit_flagged));
}

static enum err check_in_unplanned(struct call *call,
                                   const Daybook__Visits__V1__CheckInRequest *req,
                                   PbVisit **visit_out, struct visit_aside *aside_out)
{
    struct visit_customer customer;

    if (!call->employee)
        return call_fail(call, ERR_INVALID_ARGUMENT, "visit_id",
                         "name the visit; only an employee checks in without one");
    enum err e = find_customer(call, req->customer_id, "", "customer_id", &customer);
    if (e)
        return e;
    e = unplanned_visit(call, req, &customer, visit_out);
    if (!e)
        e = need_no_other(call, *visit_out);
    if (e)
        return e;
    *aside_out = (struct visit_aside){ .customer_owner = customer.owner };
    e = judge_check_in(call, *visit_out, req, &customer);
    return e ? e : insert_visit(call, *visit_out);
}

static enum err check_in_planned(struct call *call, const Daybook__Visits__V1__CheckInRequest *req,
                                 PbVisit **visit_out, struct visit_aside *aside_out)
{
    struct visit_customer customer;
    PbVisit *visit;
    enum err e = visit_begin(call, req->visit_id, &visit, aside_out);

    if (e)
        return e;
    e = visit_need_visitor(call, visit);
    if (e)
        return e;
    bool is_its_day = visit_rules_is_its_day(
        visit_calendar(call, visit)->tz, wire_time_us(visit->starts_at),
        wire_time_us(visit->ends_at), check_in_window_us(call, visit), call->now_us);
    visit->unregistered =
        visit_rules_is_unregistered((int)visit->state, (int)visit->mode, is_its_day);
    e = visit_advance(call, visit, VISIT_ACTION_CHECK_IN);
    if (e)
        return e;
    /* The file was known at the request; while a rebuild reads it again it is no reason to refuse.
     */
    e = visit_store_find_customer(call, visit->customer_id, "", &customer);
    if (e == ERR_NOT_FOUND)
        customer = (struct visit_customer){ .has_place = false };
    else if (e)
        return e;
    visit->late_arrival = call->now_us > wire_time_us(visit->starts_at);
    e = judge_check_in(call, visit, req, &customer);
    if (e)
        return e;
    *visit_out = visit;
    return visit_store_update(call, visit, NULL);
}

enum err visit_check_in(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__CheckInRequest *req = (const void *)in;
    PbVisit *visit = NULL;
    struct visit_aside aside;

    if (!*req->visit_id && !*req->customer_id)
        return call_fail(call, ERR_INVALID_ARGUMENT, "visit_id",
                         "name the visit, or the customer for an outing that nobody applied for");
    enum err e = *req->visit_id ? check_in_planned(call, req, &visit, &aside)
                                : check_in_unplanned(call, req, &visit, &aside);
    if (e)
        return e;
    e = emit_check_in(call, visit);
    if (e)
        return e;
    visit_hide_place(call, visit, aside.customer_owner);
    REPLY_VISIT(CheckInResponse, check_in_response);
}

enum err visit_check_out(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__CheckOutRequest *req = (const void *)in;
    PbVisit *visit;
    struct visit_aside aside;
    enum err e = visit_begin(call, req->visit_id, &visit, &aside);

    if (e)
        return e;
    e = visit_need_visitor(call, visit);
    if (e)
        return e;
    e = visit_advance(call, visit, VISIT_ACTION_CHECK_OUT);
    if (e)
        return e;
    visit->checked_out_at = wire_time(call->arena, call->now_us);
    if (!visit->checked_out_at)
        return ERR_RESOURCE_EXHAUSTED;
    e = visit_store_update(call, visit, visits_unit_of(call, visit->visitor_id));
    if (!e)
        e = call_emit(call, "visits", visit->id, visit_store_version(visit),
                      EVENT(VisitEnded, visit_ended));
    if (e)
        return e;
    visit_hide_place(call, visit, aside.customer_owner);
    REPLY_VISIT(CheckOutResponse, check_out_response);
}

enum err visit_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__GetVisitRequest *req = (const void *)in;
    PbVisit *visit;
    struct visit_aside aside;
    struct id visitor;
    enum err e = visit_store_find(call, req->id, &visit, &aside);

    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "id", "there is no visit %s", req->id);
    if (e)
        return e;
    if (!id_parse(visit->visitor_id, &visitor))
        return ERR_INTERNAL;
    e = authority_need_sight(call, visitor, "visit");
    if (e)
        return e;
    visit_hide_place(call, visit, aside.customer_owner);
    REPLY_VISIT(GetVisitResponse, get_visit_response);
}

enum err visit_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__ListVisitsRequest *req = (const void *)in;
    Daybook__Visits__V1__ListVisitsResponse *reply =
        call_new(call, &daybook__visits__v1__list_visits_response__descriptor);
    PbVisit **visits;
    size_t n;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    struct call_page page = {
        .filter = arena_printf(call->arena, "visits/%s/%s/%s/%" PRId64 "/%" PRId64,
                               call_actor_text(call), req->visitor_id, req->customer_id,
                               wire_time_us(req->from), wire_time_us(req->to)),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = {
        call_tenant_text(call),
        authority_visible_owners(call),
        *req->visitor_id ? req->visitor_id : NULL,
        *req->customer_id ? req->customer_id : NULL,
        req->from ? db_text_time(call->arena, wire_time_us(req->from)) : NULL,
        req->to ? db_text_time(call->arena, wire_time_us(req->to)) : NULL,
        page.keys[0],
        page.keys[1],
        page.limit,
    };
    e = visit_read_rows(call, &sql_visit_list, params, &daybook__visits__v1__visit__descriptor, &n,
                        &visits);
    if (e)
        return e;
    n = call_page_rows(&page, n);
    if (page.more) {
        const char *last[] = { db_text_time(call->arena, wire_time_us(visits[n - 1]->starts_at)),
                               visits[n - 1]->id, NULL };
        e = call_page_end(call, &page, last, &reply->next_page_token);
        if (e)
            return e;
    }
    reply->visits = visits;
    reply->n_visits = n;
    *reply_out = &reply->base;
    return ERR_OK;
}
