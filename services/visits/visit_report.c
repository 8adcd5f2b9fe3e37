/*
 * visit_report.c - the visit report and its review, and what visits and commitments share.
 */
#include "common/authority.h"
#include "common/deadline.h"
#include "services/visits/visit_life.h"
#include "services/visits/visit_store.h"

#define ROLE_WORDS_MAX 15

enum err visit_need_approver(struct call *call, const PbVisit *visit, const char *policy_key,
                             const char *what)
{
    const char *roles[ROLE_WORDS_MAX + 1] = { NULL };
    struct id visitor;
    size_t n = 0;

    if (!id_parse(visit->visitor_id, &visitor))
        return ERR_INTERNAL;
    struct policy_value list = directory_policy(
        call->dir, call->tenant, visit_unit_id(call, visit->visitor_id), policy_key, call->now_us);
    for (const char *p = list.text; *p && n < ROLE_WORDS_MAX - 1;) {
        size_t len = strcspn(p, ",");
        roles[n] = arena_strndup(call->arena, p, len);
        if (!roles[n++])
            return ERR_RESOURCE_EXHAUSTED;
        p += len + (p[len] == ',');
    }
    roles[n] = "general_manager"; /* may always decide (VIS-23) */
    return authority_need_approver(call, visitor, roles, what);
}

enum err visit_read_rows(struct call *call, const struct db_stmt *stmt, const char *const *params,
                         const ProtobufCMessageDescriptor *type, size_t *n_out, void *array_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(call->db, stmt, params, &res);

    return e ? e : record_read_all(res, type, call->arena, n_out, array_out);
}

/* What the form asks of the visit itself is said once: in the request, or by the report of one that
 * was made by a check-in (VIS-01, form F2). */
static void check_once(struct call *call, const char *field, bool there, bool given)
{
    if (there && given)
        call_violation(call, field, "stands in the visit already; leave it out");
    if (!there && !given)
        call_violation(call, field, "the visit does not say it yet");
}

static void complete_visit(struct call *call, PbVisit *visit,
                           const Daybook__Visits__V1__SubmitReportRequest *req)
{
    bool in_person = visit->mode == DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON;

    check_once(call, "purposes", visit->n_purposes > 0, req->n_purposes > 0);
    check_once(call, "goal", *visit->goal, *req->goal);
    if (in_person || *req->place)
        check_once(call, "place", *visit->place, *req->place);
    if (visit->n_purposes == 0) {
        visit->purposes = req->purposes;
        visit->n_purposes = req->n_purposes;
    }
    if (!*visit->goal)
        visit->goal = req->goal;
    if (!*visit->place)
        visit->place = req->place;
}

/* VIS-45: each step has an owner and a day. */
static enum err fix_next_steps(struct call *call, const PbVisit *visit, PbVisitReport *report)
{
    const struct tz *tz = visit_calendar(call, visit)->tz;
    int32_t ended_on = date_number(tz_date(tz, wire_time_us(visit->checked_out_at)));
    enum err e = ERR_OK;

    for (size_t i = 0; !e && i < report->n_next_steps; i++) {
        Daybook__Visits__V1__NextStep *step = report->next_steps[i];
        struct date day;
        char field[64];
        if (date_parse(step->date, &day) && date_number(day) < ended_on) {
            snprintf(field, sizeof(field), "report.next_steps[%zu].date", i);
            return call_fail(call, ERR_INVALID_ARGUMENT, field, "lies before the visit");
        }
        if (!*step->owner_id)
            step->owner_id = visit->visitor_id;
        snprintf(field, sizeof(field), "report.next_steps[%zu].owner_id", i);
        e = visit_need_employee(call, step->owner_id, field);
        if (!e)
            e = visits_normalise(call, &step->owner_id);
    }
    return e;
}

/* VIS-46, form F2: what a report must say beyond its single fields. A corrected report need not
 * tell the commitments again, which were made with the first one. */
static enum err check_report(struct call *call, const Daybook__Visits__V1__SubmitReportRequest *req,
                             PbVisit *visit)
{
    const PbVisitReport *report = req->report;
    bool first = !visit->report;

    complete_visit(call, visit, req);
    if (report->outcome != DAYBOOK__VISITS__V1__GOAL_OUTCOME__GOAL_OUTCOME_MET &&
        !*report->outcome_reason)
        call_violation(call, "report.outcome_reason", "say why the goal was not met");
    if (first && req->n_commitments == 0 && !report->no_commitments)
        call_violation(call, "report.no_commitments",
                       "give the commitments made, or say that there were none");
    if (req->n_commitments > 0 && report->no_commitments)
        call_violation(call, "report.no_commitments", "commitments are given as well");
    return call_violations(call);
}

/* Whether the time that a rule gives for the report, counted as its duty counts it, has passed.
 * unit: as told by VisitEnded; he may be in another one since. */
static bool is_past(struct call *call, const PbVisit *visit, struct id unit, const char *key)
{
    return call->now_us > deadline_of(call->dir, call->tenant, unit, key,
                                      wire_time_us(visit->checked_out_at), call->now_us);
}

/* The marks count from the end of the visit; the later never excuses the earlier (CON-01). */
static void mark_lateness(struct call *call, const PbVisit *visit, struct id unit,
                          PbVisitReport *report)
{
    report->late = is_past(call, visit, unit, "visit_report_due_hours");
    report->missed_final = is_past(call, visit, unit, "visit_report_final_days");
}

static enum err make_commitments(struct call *call, const PbVisit *visit,
                                 Daybook__Visits__V1__SubmitReportResponse *reply,
                                 const Daybook__Visits__V1__SubmitReportRequest *req)
{
    reply->commitments = arena_array(call->arena, req->n_commitments, sizeof(PbCommitment *));
    if (!reply->commitments)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < req->n_commitments; i++) {
        PbCommitment *c = wire_clone(&req->commitments[i]->base, call->arena);
        char *prefix = arena_printf(call->arena, "commitments[%zu].", i);
        if (!c || !prefix)
            return ERR_RESOURCE_EXHAUSTED;
        c->visit_id = visit->id;
        c->customer_id = visit->customer_id;
        if (!*c->owner_id)
            c->owner_id = visit->visitor_id;
        enum err e = commitment_make(call, c, prefix);
        if (e)
            return e;
        reply->commitments[reply->n_commitments++] = c;
    }
    return ERR_OK;
}

/* As events tell a reported visit: who was seen and who was there is nobody else's business. */
static PbVisit *in_event(struct call *call, const PbVisit *visit)
{
    PbVisit *told = arena_alloc(call->arena, sizeof(*told));
    PbVisitReport *report = arena_alloc(call->arena, sizeof(*report));

    if (!told || !report)
        return NULL;
    *told = *visit;
    *report = *visit->report;
    report->contact_name = (char *)(uintptr_t) "";
    report->participants = NULL;
    report->n_participants = 0;
    told->report = report;
    return told;
}

static enum err save_review(struct call *call, PbVisit *visit, bool accepted)
{
    Daybook__Visits__V1__VisitReportReviewed event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__visit_report_reviewed__descriptor),
        .visit = in_event(call, visit),
        .accepted = accepted,
    };
    if (!event.visit)
        return ERR_RESOURCE_EXHAUSTED;
    return visit_save(call, visit, &event.base);
}

static enum err accept_by_rule(struct call *call, PbVisit *visit)
{
    enum err e = visit_advance(call, visit, VISIT_ACTION_ACCEPT_REPORT);

    visit->review_comment = (char *)(uintptr_t)VISIT_TOP_COMMENT;
    return e ? e : save_review(call, visit, true);
}

enum err visit_submit_report(struct call *call, const ProtobufCMessage *in,
                             ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__SubmitReportRequest *req = (const void *)in;
    Daybook__Visits__V1__SubmitReportResponse *reply =
        call_new(call, &daybook__visits__v1__submit_report_response__descriptor);
    PbVisitReport *report = wire_clone(&req->report->base, call->arena);
    PbVisit *visit;
    struct visit_aside aside;

    if (!reply || !report)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = visit_begin(call, req->visit_id, &visit, &aside);
    if (e)
        return e;
    e = visit_need_visitor(call, visit);
    if (e)
        return e;
    e = visit_advance(call, visit, VISIT_ACTION_REPORT);
    if (!e)
        e = check_report(call, req, visit);
    if (!e)
        e = fix_next_steps(call, visit, report);
    if (e)
        return e;
    if (!visit->report) {
        mark_lateness(call, visit, aside.unit, report);
    } else { /* a corrected report keeps the marks of the first one */
        report->late = visit->report->late;
        report->missed_final = visit->report->missed_final;
    }
    report->submitted_at = wire_time(call->arena, call->now_us);
    if (!report->submitted_at)
        return ERR_RESOURCE_EXHAUSTED;
    visit->report = report;

    Daybook__Visits__V1__VisitReported event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__visit_reported__descriptor),
        .visit = in_event(call, visit),
        .unit_id = (char *)(uintptr_t)visits_unit_of(call, visit->visitor_id),
    };
    if (!event.visit)
        return ERR_RESOURCE_EXHAUSTED;
    e = visit_save(call, visit, &event.base);
    if (!e && visit_is_of_the_top(call, visit))
        e = accept_by_rule(call, visit);
    if (e)
        return e;
    e = make_commitments(call, visit, reply, req);
    if (e)
        return e;
    visit_hide_place(call, visit, aside.customer_owner);
    reply->visit = visit;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err visit_review_report(struct call *call, const ProtobufCMessage *in,
                             ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__ReviewReportRequest *req = (const void *)in;
    Daybook__Visits__V1__ReviewReportResponse *reply =
        call_new(call, &daybook__visits__v1__review_report_response__descriptor);
    PbVisit *visit;
    struct visit_aside aside;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    if (!req->accept && !*req->comment)
        return call_fail(call, ERR_INVALID_ARGUMENT, "comment", "say what is to be corrected");
    enum err e = visit_begin(call, req->visit_id, &visit, &aside);
    if (e)
        return e;
    e = visit_need_approver(call, visit, "approver_roles_report", "report");
    if (e)
        return e;
    e = visit_advance(call, visit,
                      req->accept ? VISIT_ACTION_ACCEPT_REPORT : VISIT_ACTION_RETURN_REPORT);
    if (e)
        return e;
    visit->reviewed_by = db_text_id(call->arena, call->actor);
    visit->review_comment = req->comment;
    e = save_review(call, visit, req->accept);
    if (e)
        return e;
    visit_hide_place(call, visit, aside.customer_owner);
    reply->visit = visit;
    *reply_out = &reply->base;
    return ERR_OK;
}
