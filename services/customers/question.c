/*
 * question.c - answers to open questions (INT-04): the first one, preliminary or final, stops the
 * 24-hour clock of TMR-01; whether it was late is decided then and never changes.
 */
#include "common/authority.h"
#include "services/customers/customer_store.h"

#define OPEN DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_OPEN
#define PRELIMINARY DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_PRELIMINARY_ANSWERED
#define ANSWERED DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_ANSWERED

static enum err lock_question(struct call *call, const char *id, PbQuestion **q_out,
                              int64_t *version_out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct id assignee;

    enum err e = db_exec(call->db, &sql_question_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return call_fail(call, ERR_NOT_FOUND, "question_id", "there is no question %s", id);
    struct db_row row = { .res = res };
    struct id owner = db_row_id(&row, "_owner_id");
    *version_out = db_row_i64(&row, "_row_version");
    e = record_read(res, 0, &daybook__customers__v1__question__descriptor, call->arena, q_out);
    if (e)
        return e;
    if (row.bad || !id_parse((*q_out)->assignee_id, &assignee))
        return ERR_INTERNAL;
    /* With the customer his questions go to his new owner, who is then chased for them (REM-18). */
    return authority_sees(call, owner) ? ERR_OK : authority_need_sight(call, assignee, "question");
}

static struct policy_value policy_of_assignee(struct call *call, const PbQuestion *q,
                                              const char *key, int64_t at_us)
{
    const struct dir_employee *e = NULL;
    struct id id;

    if (id_parse(q->assignee_id, &id))
        e = directory_employee(call->dir, call->tenant, id);
    return directory_policy(call->dir, call->tenant, e && e->unit ? e->unit->id : (struct id){ 0 },
                            key, at_us);
}

static bool is_late(struct call *call, const PbQuestion *q, int64_t at_us)
{
    int64_t asked = wire_time_us(q->asked_at);

    return at_us > asked + policy_us(policy_of_assignee(call, q, "question_feedback_hours", asked));
}

/*
 * When the customer was answered: now, or as the rep says, as long as he enters it within the time
 * in which every communication is to be entered (INT-03). Else whoever was late could say
 * afterwards that he had not been.
 */
static enum err judge_time(struct call *call, const PbQuestion *q, int64_t at_us)
{
    int64_t limit_us =
        policy_us(policy_of_assignee(call, q, "interaction_update_hours", call->now_us));

    if (at_us > call->now_us || at_us < wire_time_us(q->asked_at))
        return call_fail(call, ERR_INVALID_ARGUMENT, "answered_at",
                         "must lie between the question and now");
    if (call->now_us - at_us > limit_us)
        return call_fail(
            call, ERR_INVALID_ARGUMENT, "answered_at",
            "lies more than %.4g hours back; leave it out, the answer then counts from "
            "now",
            (double)limit_us / HOUR_US);
    return ERR_OK;
}

/* Writes the answer into the question. */
static enum err apply(struct call *call, PbQuestion *q,
                      const Daybook__Customers__V1__AnswerQuestionRequest *req)
{
    int64_t at = req->answered_at ? wire_time_us(req->answered_at) : call->now_us;
    void *time = wire_time(call->arena, at);

    if (!time)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = judge_time(call, q, at);
    if (e)
        return e;
    if (q->state == ANSWERED || (q->state == PRELIMINARY && !req->final))
        return call_fail(call, ERR_FAILED_PRECONDITION, "question_id",
                         "the question is %s already; only %s can follow",
                         q->state == ANSWERED ? "answered" : "preliminarily answered",
                         q->state == ANSWERED ? "nothing" : "the final answer");
    if (q->state == OPEN)
        q->late = is_late(call, q, at);
    q->answer = req->answer;
    q->state = req->final ? ANSWERED : PRELIMINARY;
    if (req->final)
        q->answered_at = time;
    else
        q->preliminary_answered_at = time;
    return ERR_OK;
}

static enum err emit_answer(struct call *call, PbQuestion *q, int64_t version)
{
    Daybook__Customers__V1__QuestionAnswered answered = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__question_answered__descriptor),
        .question = q,
    };
    Daybook__Customers__V1__QuestionPreliminaryAnswered preliminary = {
        .base = PROTOBUF_C_MESSAGE_INIT(
            &daybook__customers__v1__question_preliminary_answered__descriptor),
        .question = q,
    };

    return call_emit(call, "questions", q->id, version,
                     q->state == ANSWERED ? &answered.base : &preliminary.base);
}

enum err question_answer(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__AnswerQuestionRequest *req = (const void *)in;
    Daybook__Customers__V1__AnswerQuestionResponse *reply =
        call_new(call, &daybook__customers__v1__answer_question_response__descriptor);
    PbQuestion *q;
    int64_t version = 0;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = lock_question(call, req->question_id, &q, &version);
    if (!e)
        e = apply(call, q, req);
    if (!e)
        e = store_queue(call, &sql_question_update, &q->base, NULL, 0);
    if (!e && q->state == ANSWERED) {
        const char *params[] = { call_tenant_text(call), q->customer_id };
        e = db_queue(call->db, &sql_customer_question_closed, params);
    }
    if (!e)
        e = emit_answer(call, q, version + 1);
    if (e)
        return e;
    reply->question = q;
    *reply_out = &reply->base;
    return ERR_OK;
}
