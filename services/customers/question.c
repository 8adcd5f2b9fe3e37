/*
 * question.c - answers to open questions (INT-04): the first one, preliminary or final, stops the
 * 24-hour clock of TMR-01; whether it was late is decided then, as the reminder decides it (the
 * same unit, the same way of counting), and never changes.
 */
#include "common/authority.h"
#include "services/customers/customer_store.h"

#define OPEN DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_OPEN
#define PRELIMINARY DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_PRELIMINARY_ANSWERED
#define ANSWERED DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_ANSWERED

struct open_question {
    PbQuestion *q;
    char *unit; /* of the event that opened it; NULL: none */
    int64_t version;
};

/* Of an assignee whom the caller sees, or of a customer whom he sees: who owns the customer may
 * answer it though another unit was to. */
static enum err lock_question(struct call *call, const char *id, struct open_question *out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_question_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return call_fail(call, ERR_NOT_FOUND, "question_id", "there is no question %s", id);
    struct db_row row = { .res = res };
    struct id assignee = db_row_id(&row, "assignee_id"), owner = db_row_id(&row, "_owner_id");
    out->version = db_row_i64(&row, "_row_version");
    out->unit = db_row_is_null(&row, "_unit_id")
                    ? NULL
                    : db_text_id(call->arena, db_row_id(&row, "_unit_id"));
    if (row.bad)
        return ERR_INTERNAL;
    e = record_read(res, 0, &daybook__customers__v1__question__descriptor, call->arena, &out->q);
    if (e || authority_sees(call, owner)) /* chased for it when it was handed over (REM-18) */
        return e;
    return authority_need_sight(call, assignee, "question");
}

/*
 * When the customer was answered: now, or as the rep says, as long as he enters it within the time
 * in which every communication is to be entered (INT-03). Else whoever was late could say
 * afterwards that he had not been.
 */
static enum err judge_time(struct call *call, const struct open_question *open, int64_t at_us)
{
    if (at_us > call->now_us || at_us < wire_time_us(open->q->asked_at))
        return call_fail(call, ERR_INVALID_ARGUMENT, "answered_at",
                         "must lie between the question and now");
    if (call->now_us > customers_deadline(call, open->unit, "interaction_update_hours", at_us))
        return call_fail(call, ERR_INVALID_ARGUMENT, "answered_at",
                         "lies further back than a communication may wait for its record; leave it "
                         "out, the answer then counts from now");
    return ERR_OK;
}

/* INT-04: who gives the customer something to go on with says when the rest comes. */
static enum err judge_promise(struct call *call,
                              const Daybook__Customers__V1__AnswerQuestionRequest *req)
{
    if (req->final && req->final_promised_at)
        return call_fail(call, ERR_INVALID_ARGUMENT, "final_promised_at",
                         "is for a preliminary answer; this one is final");
    if (!req->final && !req->final_promised_at)
        return call_fail(call, ERR_INVALID_ARGUMENT, "final_promised_at",
                         "say when the final answer comes, or mark this one as final");
    if (!req->final && wire_time_us(req->final_promised_at) <= call->now_us)
        return call_fail(call, ERR_INVALID_ARGUMENT, "final_promised_at", "must lie ahead");
    return ERR_OK;
}

/* Writes the answer into the question. */
static enum err apply(struct call *call, const struct open_question *open,
                      const Daybook__Customers__V1__AnswerQuestionRequest *req)
{
    PbQuestion *q = open->q;
    int64_t at = req->answered_at ? wire_time_us(req->answered_at) : call->now_us;
    void *time = wire_time(call->arena, at);

    if (!time)
        return ERR_RESOURCE_EXHAUSTED;
    if (q->state == ANSWERED || (q->state == PRELIMINARY && !req->final))
        return call_fail(call, ERR_FAILED_PRECONDITION, "question_id",
                         "the question is %s already; only %s can follow",
                         q->state == ANSWERED ? "answered" : "preliminarily answered",
                         q->state == ANSWERED ? "nothing" : "the final answer");
    enum err e = judge_time(call, open, at);
    if (!e)
        e = judge_promise(call, req);
    if (e)
        return e;
    if (q->state == OPEN)
        q->late = at > customers_deadline(call, open->unit, "question_feedback_hours",
                                          wire_time_us(q->asked_at));
    q->answer = req->answer;
    q->state = req->final ? ANSWERED : PRELIMINARY;
    if (req->final) {
        q->answered_at = time;
        return ERR_OK;
    }
    q->preliminary_answered_at = time;
    q->preliminary_answer = req->answer;
    q->final_promised_at = req->final_promised_at;
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
    struct open_question open;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = lock_question(call, req->question_id, &open);
    if (!e)
        e = apply(call, &open, req);
    if (!e)
        e = store_queue(call, &sql_question_update, &open.q->base, NULL, 0);
    if (!e && open.q->state == ANSWERED) {
        const char *params[] = { call_tenant_text(call), open.q->customer_id };
        e = db_queue(call->db, &sql_customer_question_closed, params);
    }
    if (!e)
        e = emit_answer(call, open.q, open.version + 1);
    if (e)
        return e;
    reply->question = open.q;
    *reply_out = &reply->base;
    return ERR_OK;
}
