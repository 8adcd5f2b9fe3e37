/*
 * commitment.c - the handlers of CommitmentService (VIS-56 to VIS-58, form F15).
 *
 * The due time is the customer's date, or for an undated promise the hours of a policy, counted as
 * its duty counts them: by the rules of the unit that CommitmentMade told, and a rule that changes
 * while they run moves it (TMR-43, REM-09). Being broken
 * is a fact of its own and never goes away, neither by keeping it late nor by withdrawing it.
 */
#include "common/authority.h"
#include "common/deadline.h"
#include "services/visits/visit_life.h"
#include "services/visits/visit_store.h"

#define OPEN DAYBOOK__VISITS__V1__COMMITMENT_STATE__COMMITMENT_STATE_OPEN
#define FULFILLED DAYBOOK__VISITS__V1__COMMITMENT_STATE__COMMITMENT_STATE_FULFILLED
#define FULFILLED_LATE DAYBOOK__VISITS__V1__COMMITMENT_STATE__COMMITMENT_STATE_FULFILLED_LATE
#define CANCELLED DAYBOOK__VISITS__V1__COMMITMENT_STATE__COMMITMENT_STATE_CANCELLED

/* The due time of an undated promise, by the rules of that unit as they stand at a moment. */
static enum err count_due(struct call *call, PbCommitment *c, struct id unit, int64_t judged_us)
{
    c->due_at = wire_time(call->arena,
                          deadline_of(call->dir, call->tenant, unit, "commitment_default_due_hours",
                                      wire_time_us(c->promised_at), judged_us));
    return c->due_at ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err fix_times(struct call *call, PbCommitment *c, const char *prefix)
{
    char field[64];

    if (!c->promised_at)
        c->promised_at = wire_time(call->arena, call->now_us);
    if (!c->promised_at)
        return ERR_RESOURCE_EXHAUSTED;
    int64_t promised = wire_time_us(c->promised_at);
    if (promised > call->now_us) {
        snprintf(field, sizeof(field), "%spromised_at", prefix);
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "lies in the future");
    }
    c->undated = !c->due_at;
    if (c->undated)
        return count_due(call, c, visit_unit_id(call, c->owner_id), call->now_us);
    if (wire_time_us(c->due_at) <= promised) {
        snprintf(field, sizeof(field), "%sdue_at", prefix);
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "must lie after the promise");
    }
    return ERR_OK;
}

/* VIS-56: besides at a visit a promise is made in a call or for a complaint. */
static enum err check_source(struct call *call, PbCommitment *c, const char *prefix)
{
    static const char *const collections[] = { "interactions/", "complaints/" };
    char field[64], id_buf[ID_TEXT_MAX];
    struct id id;

    if (!*c->source)
        return ERR_OK;
    snprintf(field, sizeof(field), "%ssource", prefix);
    if (*c->visit_id)
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "it was made at a visit already");
    for (size_t i = 0; i < ARRAY_LEN(collections); i++) {
        size_t len = strlen(collections[i]);
        if (strncmp(c->source, collections[i], len) != 0 || !id_parse(c->source + len, &id))
            continue;
        c->source = arena_printf(call->arena, "%s%s", collections[i], id_text(id, id_buf));
        return c->source ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    return call_fail(call, ERR_INVALID_ARGUMENT, field,
                     "must be interactions/ or complaints/ and an id");
}

enum err commitment_make(struct call *call, PbCommitment *c, const char *prefix)
{
    char id[ID_TEXT_MAX], field[64];

    snprintf(field, sizeof(field), "%sowner_id", prefix);
    enum err e = visit_need_employee(call, c->owner_id, field);
    if (!e)
        e = check_source(call, c, prefix);
    if (!e)
        e = fix_times(call, c, prefix);
    if (e)
        return e;
    c->id = arena_strdup(call->arena, id_text(id_new(), id));
    if (!c->id)
        return ERR_RESOURCE_EXHAUSTED;
    c->state = OPEN;
    c->fulfilled_at = NULL;
    c->result = (char *)(uintptr_t) "";
    c->broken = false;
    e = visits_normalise(call, &c->customer_id);
    if (!e)
        e = visits_normalise(call, &c->owner_id);
    if (e)
        return e;
    const char *unit = visits_unit_of(call, c->owner_id);
    e = commitment_store_insert(call, c, unit);
    if (e)
        return e;
    Daybook__Visits__V1__CommitmentMade event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__commitment_made__descriptor),
        .commitment = c,
        .unit_id = (char *)(uintptr_t)unit,
    };
    return call_emit(call, "commitments", c->id, 1, &event.base);
}

static enum err default_owner(struct call *call, PbCommitment *c)
{
    if (*c->owner_id)
        return ERR_OK;
    if (!call->employee)
        return call_fail(call, ERR_INVALID_ARGUMENT, "commitment.owner_id",
                         "say who promised; the caller is not an employee");
    c->owner_id = db_text_id(call->arena, call->actor);
    return c->owner_id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err commitment_add(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__AddCommitmentRequest *req = (const void *)in;
    Daybook__Visits__V1__AddCommitmentResponse *reply =
        call_new(call, &daybook__visits__v1__add_commitment_response__descriptor);
    PbCommitment *c = wire_clone(&req->commitment->base, call->arena);
    struct visit_customer customer;
    PbVisit *visit;

    if (!reply || !c)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = default_owner(call, c);
    if (e)
        return e;
    if (*c->visit_id) {
        e = visit_begin(call, c->visit_id, &visit, NULL);
        if (e)
            return e;
        e = visits_normalise(call, &c->customer_id);
        if (e)
            return e;
        c->visit_id = visit->id;
        if (strcmp(visit->customer_id, c->customer_id) != 0)
            return call_fail(call, ERR_INVALID_ARGUMENT, "commitment.customer_id",
                             "is not the customer of that visit");
    }
    e = visit_store_find_customer(call, c->customer_id, "", &customer);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "commitment.customer_id", "there is no customer %s",
                         c->customer_id);
    if (e)
        return e;
    e = commitment_make(call, c, "commitment.");
    if (e)
        return e;
    reply->commitment = c;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* A broken promise is not its owner's to clear away (KPI-14), unless nobody stands above him. */
static enum err need_superior(struct call *call, const PbCommitment *c)
{
    const struct dir_employee *owner = visit_employee(call, c->owner_id);
    const struct dir_employee *actor = call->employee;

    if (!actor && (authority_is_system(call) || authority_has_scope(call, "tenant.all")))
        return ERR_OK;
    if (actor && owner && (dir_is_superior(actor, owner) || (actor == owner && !owner->superior)))
        return ERR_OK;
    return call_fail(call, ERR_PERMISSION_DENIED, "commitment_id",
                     "its due time has passed: only a superior of its owner may withdraw it");
}

/* The marks of a promise that was kept or is withdrawn at that moment. */
static enum err judge(struct call *call, const struct commitment_row *row, int64_t at_us)
{
    PbCommitment *c = row->commitment;
    enum err e = c->undated ? count_due(call, c, row->unit, at_us) : ERR_OK;

    c->broken = at_us > wire_time_us(c->due_at);
    return e;
}

/* Locks an open commitment that the actor may see. */
static enum err begin(struct call *call, const char *id, struct commitment_row *row_out)
{
    enum err e = commitment_store_lock(call, id, row_out);
    struct id owner;

    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "commitment_id", "there is no commitment %s", id);
    if (e)
        return e;
    const PbCommitment *c = row_out->commitment;
    if (!id_parse(c->owner_id, &owner))
        return ERR_INTERNAL;
    /* With the customer what was promised him goes to his new owner, who is then chased (REM-18).
     */
    e = authority_sees(call, row_out->customer_owner)
            ? ERR_OK
            : authority_need_sight(call, owner, "commitment");
    if (e)
        return e;
    if (c->state != OPEN)
        return call_fail(call, ERR_FAILED_PRECONDITION, "commitment_id",
                         "the commitment is %s, it would have to be open",
                         c->state == CANCELLED ? "cancelled" : "fulfilled");
    return ERR_OK;
}

enum err commitment_complete(struct call *call, const ProtobufCMessage *in,
                             ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__CompleteCommitmentRequest *req = (const void *)in;
    Daybook__Visits__V1__CompleteCommitmentResponse *reply =
        call_new(call, &daybook__visits__v1__complete_commitment_response__descriptor);
    struct commitment_row row;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = begin(call, req->commitment_id, &row);
    if (e)
        return e;
    PbCommitment *c = row.commitment;
    int64_t at = req->fulfilled_at ? wire_time_us(req->fulfilled_at) : call->now_us;
    if (at > call->now_us || at < wire_time_us(c->promised_at))
        return call_fail(call, ERR_INVALID_ARGUMENT, "fulfilled_at",
                         "must lie between the promise and now");
    /* Else a broken promise could be made a kept one (INT-03). */
    if (call->now_us > deadline_of(call->dir, call->tenant, row.unit, "interaction_update_hours",
                                   at, call->now_us))
        return call_fail(call, ERR_INVALID_ARGUMENT, "fulfilled_at",
                         "lies longer back than interaction_update_hours allows; leave it out, it "
                         "then counts from now");
    e = judge(call, &row, at);
    if (e)
        return e;
    c->fulfilled_at = wire_time(call->arena, at);
    c->result = req->result;
    c->state = c->broken ? FULFILLED_LATE : FULFILLED;
    if (!c->fulfilled_at)
        return ERR_RESOURCE_EXHAUSTED;
    e = commitment_store_update(call, c);
    if (e)
        return e;
    Daybook__Visits__V1__CommitmentFulfilled event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__commitment_fulfilled__descriptor),
        .commitment = c,
    };
    e = call_emit(call, "commitments", c->id, row.version + 1, &event.base);
    if (e)
        return e;
    reply->commitment = c;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err commitment_cancel(struct call *call, const ProtobufCMessage *in,
                           ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__CancelCommitmentRequest *req = (const void *)in;
    Daybook__Visits__V1__CancelCommitmentResponse *reply =
        call_new(call, &daybook__visits__v1__cancel_commitment_response__descriptor);
    struct commitment_row row;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = begin(call, req->commitment_id, &row);
    if (!e)
        e = judge(call, &row, call->now_us);
    if (!e && row.commitment->broken)
        e = need_superior(call, row.commitment);
    if (e)
        return e;
    PbCommitment *c = row.commitment;
    c->state = CANCELLED;
    c->result = req->reason;
    e = commitment_store_update(call, c);
    if (e)
        return e;
    Daybook__Visits__V1__CommitmentCancelled event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__visits__v1__commitment_cancelled__descriptor),
        .commitment = c,
        .reason = req->reason,
    };
    e = call_emit(call, "commitments", c->id, row.version + 1, &event.base);
    if (e)
        return e;
    reply->commitment = c;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err commitment_list(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Visits__V1__ListCommitmentsRequest *req = (const void *)in;
    Daybook__Visits__V1__ListCommitmentsResponse *reply =
        call_new(call, &daybook__visits__v1__list_commitments_response__descriptor);
    PbCommitment **rows;
    size_t n;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    struct call_page page = {
        .filter = arena_printf(call->arena, "commitments/%s/%s/%s/%s/%d", call_actor_text(call),
                               req->owner_id, req->customer_id, req->visit_id, req->open_only),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = {
        call_tenant_text(call),
        authority_visible_owners(call),
        *req->owner_id ? req->owner_id : NULL,
        *req->customer_id ? req->customer_id : NULL,
        *req->visit_id ? req->visit_id : NULL,
        req->open_only ? "true" : "false",
        page.keys[0],
        page.keys[1],
        page.limit,
    };
    e = visit_read_rows(call, &sql_commitment_list, params,
                        &daybook__visits__v1__commitment__descriptor, &n, &rows);
    if (e)
        return e;
    n = call_page_rows(&page, n);
    if (page.more) {
        const char *last[] = { db_text_time(call->arena, wire_time_us(rows[n - 1]->due_at)),
                               rows[n - 1]->id, NULL };
        e = call_page_end(call, &page, last, &reply->next_page_token);
        if (e)
            return e;
    }
    reply->commitments = rows;
    reply->n_commitments = n;
    *reply_out = &reply->base;
    return ERR_OK;
}
