/*
 * interaction.c - communications with customers (INT-01 to INT-04): that one ended, its record, and
 * the questions that stayed open.
 *
 * Recording costs two round trips: one that finds the customer (or the registered interaction) and
 * brings the idempotency look-up along, one that writes everything and commits.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "services/customers/customer_store.h"

#define STATE_ENDED DAYBOOK__CUSTOMERS__V1__INTERACTION_STATE__INTERACTION_STATE_ENDED
#define STATE_RECORDED DAYBOOK__CUSTOMERS__V1__INTERACTION_STATE__INTERACTION_STATE_RECORDED
#define VISIT_TALK_SLACK_US                                                                        \
    DAY_US /* after its check-out a visit's talk may be said to have ended */
#define QUESTION_OPEN DAYBOOK__CUSTOMERS__V1__QUESTION_STATE__QUESTION_STATE_OPEN

/* Who held it: the caller unless named; and when it ended. */
static enum err fix_who_and_when(struct call *call, PbInteraction *it, const char *prefix)
{
    char field[64];
    struct id who;

    snprintf(field, sizeof(field), "%semployee_id", prefix);
    if (!*it->employee_id) {
        if (!call->employee)
            return call_fail(call, ERR_INVALID_ARGUMENT, field,
                             "say who held it; the caller is not an employee");
        it->employee_id = db_text_id(call->arena, call->actor);
    }
    enum err e = customers_need_employee(call, it->employee_id, field);
    /* A late record is held against him for ever, so not everybody may write in his name. */
    if (!e && id_parse(it->employee_id, &who))
        e = authority_need_sight(call, who, "employee");
    if (e)
        return e;
    if (!it->ended_at)
        it->ended_at = wire_time(call->arena, call->now_us);
    if (!it->ended_at || !it->employee_id)
        return ERR_RESOURCE_EXHAUSTED;
    if (wire_time_us(it->ended_at) > call->now_us) {
        snprintf(field, sizeof(field), "%sended_at", prefix);
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "lies in the future");
    }
    return ERR_OK;
}

/* The person spoken to must be one of that customer. */
static enum err need_contact(struct call *call, const PbInteraction *it)
{
    const char *params[] = { call_tenant_text(call), it->contact_id, it->customer_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!*it->contact_id)
        return ERR_OK;
    enum err e = db_exec(call->db, &sql_contact_of_customer, params, &res);
    if (e || PQntuples(res))
        return e;
    return call_fail(call, ERR_NOT_FOUND, "interaction.contact_id",
                     "the customer has no contact %s", it->contact_id);
}

/* What customers have heard of the visit that a talk is said to have been. */
struct visit_heard {
    bool known, in_person, own;
    int64_t began_us, ended_us; /* 0: not yet */
    bool replaying; /* the events are being heard anew: what is missing may still come */
};

static enum err hear_of_visit(struct call *call, const PbInteraction *it,
                              struct visit_heard *heard_out)
{
    const char *params[] = { call_tenant_text(call), it->customer_id,
                             arena_printf(call->arena, "visits/%s", it->visit_id),
                             it->employee_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!params[2])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_visit_of_customer, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *heard_out = (struct visit_heard){
        .known = db_row_bool(&row, "known"),
        .in_person = db_row_bool(&row, "in_person"),
        .own = db_row_bool(&row, "own"),
        .replaying = db_row_bool(&row, "replaying"),
    };
    if (!db_row_is_null(&row, "began_at"))
        heard_out->began_us = db_row_time(&row, "began_at");
    if (!db_row_is_null(&row, "ended_at"))
        heard_out->ended_us = db_row_time(&row, "ended_at");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err heard_anew(struct call *call, const char *field)
{
    return call_fail(call, ERR_UNAVAILABLE, field,
                     "events of visits are being heard anew; send it again later");
}

/* Any visit of long ago would do else, to be rid of the clock of a talk of today. */
static enum err judge_moment(struct call *call, const PbInteraction *it,
                             const struct visit_heard *heard, const char *field)
{
    int64_t talk_us = wire_time_us(it->ended_at);

    if (talk_us < heard->began_us)
        return call_fail(call, ERR_INVALID_ARGUMENT, field,
                         "names a visit that began after the talk had ended; correct ended_at, or "
                         "leave the visit out");
    if (heard->ended_us && talk_us > heard->ended_us + VISIT_TALK_SLACK_US)
        return call_fail(call, ERR_INVALID_ARGUMENT, field,
                         "names a visit that ended more than a day before the talk; correct "
                         "ended_at, or leave the visit out");
    if (heard->ended_us || talk_us <= heard->began_us + VISIT_TALK_SLACK_US)
        return ERR_OK;
    if (heard->replaying) /* the check-out may follow */
        return heard_anew(call, field);
    return call_fail(call, ERR_INVALID_ARGUMENT, field,
                     "names a visit that began more than a day before the talk and was not checked "
                     "out; name the one of the talk, or leave the visit out");
}

static enum err judge_visit(struct call *call, const PbInteraction *it,
                            const struct visit_heard *heard, const char *field)
{
    if (heard->known && !heard->in_person)
        return call_fail(call, ERR_INVALID_ARGUMENT, field,
                         "names a visit by phone or video; leave it out");
    if (heard->known && !heard->own)
        return call_fail(call, ERR_INVALID_ARGUMENT, field,
                         "names a visit of somebody else than employee_id; name one of his own, or "
                         "leave it out");
    if (heard->began_us)
        return judge_moment(call, it, heard, field);
    if (heard->replaying)
        return heard_anew(call, field);
    if (!heard->known)
        return call_fail(call, ERR_NOT_FOUND, field, "no visit %s to this customer is known",
                         it->visit_id);
    return call_fail(call, ERR_INVALID_ARGUMENT, field,
                     "names a visit whose visitor has not checked in; check in first, or leave it "
                     "out");
}

/*
 * An on-site visit has the clocks of its report in place of TMR-02 (CON-10). Whoever says that a
 * talk was one must name a visit to that customer that he made himself: of one that never began, or
 * of somebody else's, he owes no report, and he would be rid of every clock.
 */
static enum err need_visit(struct call *call, PbInteraction *it, const char *field)
{
    struct visit_heard heard;
    struct id visit;

    if (!*it->visit_id)
        return ERR_OK;
    if (it->channel != DAYBOOK__CUSTOMERS__V1__CHANNEL__CHANNEL_IN_PERSON)
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "is for talks in person only");
    if (!id_parse(it->visit_id, &visit))
        return ERR_INTERNAL;
    it->visit_id = db_text_id(call->arena, visit); /* as visits write it */
    if (!it->visit_id)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = hear_of_visit(call, it, &heard);
    return e ? e : judge_visit(call, it, &heard, field);
}

static enum err touch_customer(struct call *call, const PbInteraction *it)
{
    const char *params[] = { call_tenant_text(call), it->customer_id,
                             db_text_time(call->arena, wire_time_us(it->ended_at)),
                             db_text_i64(call->arena, (int64_t)it->n_questions) };

    return db_queue(call->db, &sql_customer_contacted, params);
}

static enum err insert_interaction(struct call *call, PbInteraction *it)
{
    char *unit = customers_unit_of(call, it->employee_id);

    it->id = customers_new_id(call);
    if (!it->id || !unit)
        return ERR_RESOURCE_EXHAUSTED;
    const struct record_extra extras[] = { { "unit_id", *unit ? unit : NULL } };
    enum err e = store_queue(call, &sql_interaction_insert, &it->base, extras, ARRAY_LEN(extras));
    /* Only a reference can clash, so only then the answer is worth a round trip of its own. */
    if (!e && it->external_ref)
        e = db_flush(call->db);
    if (e == ERR_ALREADY_EXISTS)
        return call_fail(call, e, "interaction.external_ref",
                         "another interaction has this reference; complete that one");
    return e;
}

enum err interaction_register_ended(struct call *call, const ProtobufCMessage *in,
                                    ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__RegisterEndedRequest *req = (const void *)in;
    Daybook__Customers__V1__RegisterEndedResponse *reply =
        call_new(call, &daybook__customers__v1__register_ended_response__descriptor);
    PbInteraction *it = call_new(call, &daybook__customers__v1__interaction__descriptor);

    if (!reply || !it)
        return ERR_RESOURCE_EXHAUSTED;
    it->customer_id = req->customer_id;
    it->employee_id = req->employee_id;
    it->channel = req->channel;
    it->direction = req->direction;
    it->ended_at = req->ended_at;
    it->external_ref = req->external_ref;
    it->visit_id = req->visit_id;
    it->state = STATE_ENDED;
    enum err e = fix_who_and_when(call, it, "");
    if (!e)
        e = customer_store_need(call, it->customer_id, "customer_id");
    if (!e)
        e = need_visit(call, it, "visit_id");
    if (!e)
        e = insert_interaction(call, it);
    if (!e)
        e = touch_customer(call, it);
    if (e)
        return e;
    Daybook__Customers__V1__InteractionEnded event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__interaction_ended__descriptor),
        .interaction = it,
        .unit_id = customers_unit_of(call, it->employee_id),
    };
    reply->interaction = it;
    *reply_out = &reply->base;
    return call_emit(call, "interactions", it->id, 1, &event.base);
}

/* TMR-02: the mark counts from the end of the communication and stays for ever. */
static bool is_late(struct call *call, const PbInteraction *it, const char *unit)
{
    return !*it->visit_id &&
           call->now_us > customers_deadline(call, unit, "interaction_update_hours",
                                             wire_time_us(it->ended_at));
}

/* Somebody who is there, and to whom the caller may give work (as of promises, VIS-56). */
static enum err need_assignee(struct call *call, const char *assignee_id, const char *field)
{
    struct id assignee;

    enum err e = customers_need_employee(call, assignee_id, field);
    if (e)
        return e;
    if (!id_parse(assignee_id, &assignee))
        return ERR_INTERNAL;
    return authority_need_sight(call, assignee, "employee");
}

/* Ids, defaults and judgement of the questions; they become rows and events of their own. */
static enum err prepare_questions(struct call *call, PbInteraction *it)
{
    for (size_t i = 0; i < it->n_questions; i++) {
        PbQuestion *q = it->questions[i];
        char field[64];
        q->id = customers_new_id(call);
        q->customer_id = it->customer_id;
        q->interaction_id = it->id;
        q->state = QUESTION_OPEN;
        q->answer = q->preliminary_answer = (char *)(uintptr_t) "";
        q->preliminary_answered_at = q->final_promised_at = q->answered_at = NULL;
        q->late = false;
        if (!q->asked_at)
            q->asked_at = it->ended_at;
        if (!*q->assignee_id)
            q->assignee_id = it->employee_id;
        if (!q->id)
            return ERR_RESOURCE_EXHAUSTED;
        snprintf(field, sizeof(field), "interaction.questions[%zu].assignee_id", i);
        /* Who held it may be somebody whom the recorder does not see: the question is his. */
        enum err e = strcmp(q->assignee_id, it->employee_id) == 0
                         ? customers_need_employee(call, q->assignee_id, field)
                         : need_assignee(call, q->assignee_id, field);
        if (e)
            return e;
        snprintf(field, sizeof(field), "interaction.questions[%zu].asked_at", i);
        if (wire_time_us(q->asked_at) > call->now_us)
            return call_fail(call, ERR_INVALID_ARGUMENT, field, "lies in the future");
    }
    return ERR_OK;
}

static enum err write_questions(struct call *call, PbInteraction *it)
{
    for (size_t i = 0; i < it->n_questions; i++) {
        char *unit = customers_unit_of(call, it->questions[i]->assignee_id);
        if (!unit)
            return ERR_RESOURCE_EXHAUSTED;
        const struct record_extra extras[] = { { "unit_id", *unit ? unit : NULL } };
        enum err e = store_queue(call, &sql_question_insert, &it->questions[i]->base, extras,
                                 ARRAY_LEN(extras));
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err emit_recorded(struct call *call, PbInteraction *it, int64_t version)
{
    Daybook__Customers__V1__InteractionRecorded recorded = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__interaction_recorded__descriptor),
        .interaction = it,
        .unit_id = customers_unit_of(call, it->employee_id),
    };
    enum err e = call_emit(call, "interactions", it->id, version, &recorded.base);

    for (size_t i = 0; !e && i < it->n_questions; i++) {
        Daybook__Customers__V1__QuestionOpened opened = {
            .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__question_opened__descriptor),
            .question = it->questions[i],
            .unit_id = customers_unit_of(call, it->questions[i]->assignee_id),
        };
        e = call_emit(call, "questions", it->questions[i]->id, 1, &opened.base);
    }
    return e;
}

/* The registered interaction that a record completes. */
struct registered {
    PbInteraction *it; /* NULL: none, make a new one */
    char *unit;        /* of the event that told of it; NULL: none */
    int64_t version;
};

static enum err find_registered(struct call *call, const PbInteraction *it,
                                struct registered *found_out)
{
    const char *params[] = { call_tenant_text(call), *it->id ? it->id : NULL,
                             it->external_ref ? it->external_ref->source : NULL,
                             it->external_ref ? it->external_ref->id : NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    *found_out = (struct registered){ 0 };
    if (!*it->id && !it->external_ref)
        return ERR_OK;
    enum err e = db_exec(call->db, &sql_interaction_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return *it->id ? call_fail(call, ERR_NOT_FOUND, "interaction.id",
                                   "there is no interaction %s", it->id)
                       : ERR_OK;
    struct db_row row = { .res = res };
    struct id owner = db_row_id(&row, "_owner_id"), held_by = db_row_id(&row, "employee_id");
    found_out->version = db_row_i64(&row, "_row_version");
    if (!db_row_is_null(&row, "_unit_id"))
        found_out->unit = db_text_id(call->arena, db_row_id(&row, "_unit_id"));
    if (row.bad)
        return ERR_INTERNAL;
    /* Whoever held it must be able to write its record, whosesoever the customer is (TMR-02). */
    e = authority_sees(call, held_by) ? ERR_OK : authority_need_sight(call, owner, "interaction");
    return e ? e
             : record_read(res, 0, &daybook__customers__v1__interaction__descriptor, call->arena,
                           &found_out->it);
}

/* Completes a registered interaction: what was registered stands, the record is added. */
static enum err complete(struct call *call, PbInteraction *it, const struct registered *found)
{
    const PbInteraction *registered = found->it;

    if (registered->state != STATE_ENDED)
        return call_fail(call, ERR_FAILED_PRECONDITION, "interaction.id",
                         "the record is complete already; it would have to be missing");
    if (*it->customer_id && strcmp(it->customer_id, registered->customer_id) != 0)
        return call_fail(call, ERR_INVALID_ARGUMENT, "interaction.customer_id",
                         "is not the customer of that interaction");
    it->id = registered->id;
    it->customer_id = registered->customer_id;
    it->employee_id = registered->employee_id;
    it->channel = registered->channel;
    it->direction = registered->direction;
    it->ended_at = registered->ended_at;
    it->external_ref = registered->external_ref;
    it->visit_id = registered->visit_id;
    it->late = is_late(call, it, found->unit);
    enum err e = need_contact(call, it);
    if (!e)
        e = prepare_questions(call, it);
    return e ? e : store_queue(call, &sql_interaction_complete, &it->base, NULL, 0);
}

static enum err record_new(struct call *call, PbInteraction *it)
{
    if (!*it->customer_id)
        return call_fail(call, ERR_INVALID_ARGUMENT, "interaction.customer_id", "is missing");
    if (!it->channel)
        return call_fail(call, ERR_INVALID_ARGUMENT, "interaction.channel", "is missing");
    enum err e = fix_who_and_when(call, it, "interaction.");
    if (!e)
        e = customer_store_need(call, it->customer_id, "interaction.customer_id");
    if (!e)
        e = need_contact(call, it);
    if (!e)
        e = need_visit(call, it, "interaction.visit_id");
    if (e)
        return e;
    it->late = is_late(call, it, customers_unit_of(call, it->employee_id));
    e = insert_interaction(call, it);
    return e ? e : prepare_questions(call, it);
}

enum err interaction_record(struct call *call, const ProtobufCMessage *in,
                            ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__RecordInteractionRequest *req = (const void *)in;
    Daybook__Customers__V1__RecordInteractionResponse *reply =
        call_new(call, &daybook__customers__v1__record_interaction_response__descriptor);
    PbInteraction *it = wire_clone(&req->interaction->base, call->arena);
    struct registered found;

    if (!reply || !it)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = find_registered(call, it, &found);
    if (e)
        return e;
    it->state = STATE_RECORDED;
    it->recorded_at = wire_time(call->arena, call->now_us);
    if (!it->recorded_at)
        return ERR_RESOURCE_EXHAUSTED;
    e = found.it ? complete(call, it, &found) : record_new(call, it);
    if (!e)
        e = write_questions(call, it);
    if (!e)
        e = touch_customer(call, it);
    if (!e)
        e = emit_recorded(call, it, found.version + 1);
    if (e)
        return e;
    reply->interaction = it;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err interaction_list(struct call *call, const ProtobufCMessage *in,
                          ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__ListInteractionsRequest *req = (const void *)in;
    Daybook__Customers__V1__ListInteractionsResponse *reply =
        call_new(call, &daybook__customers__v1__list_interactions_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    struct call_page page = {
        .filter = arena_printf(call->arena, "interactions/%s/%s", call_actor_text(call),
                               req->customer_id),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = customer_store_need(call, req->customer_id, "customer_id");
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call), req->customer_id, page.keys[0], page.keys[1],
                             page.limit };
    e = db_exec(call->db, &sql_interaction_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__interaction__descriptor, call->arena,
                            &reply->n_interactions, &reply->interactions);
    if (e)
        return e;
    reply->n_interactions = call_page_rows(&page, reply->n_interactions);
    if (!page.more)
        return ERR_OK;
    const PbInteraction *last = reply->interactions[reply->n_interactions - 1];
    const char *keys[] = { db_text_time(call->arena, wire_time_us(last->ended_at)), last->id,
                           NULL };
    return call_page_end(call, &page, keys, &reply->next_page_token);
}
