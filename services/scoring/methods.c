/*
 * methods.c - the handlers of CustomerScoreService and their table.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/consumer_service.h"
#include "services/scoring/scoring.h"
#include "services/scoring/sql.h"

static enum err need_sight(struct call *call, const char *customer_id)
{
    const char *params[] = { call_tenant_text(call), customer_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_customer_owner, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return call_fail(call, ERR_NOT_FOUND, "customer_id", "there is no customer %s",
                         customer_id);
    struct db_row row = { .res = res };
    struct id owner = db_row_id_or_nil(&row, "owner_id");
    return row.bad ? ERR_INTERNAL : authority_need_sight(call, owner, "customer");
}

enum err score_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Scoring__V1__GetCustomerScoreRequest *req = (const void *)in;
    Daybook__Scoring__V1__GetCustomerScoreResponse *reply =
        call_new(call, &daybook__scoring__v1__get_customer_score_response__descriptor);
    const char *params[] = { call_tenant_text(call), req->customer_id };
    CLEANUP(db_result_clear) PGresult *history = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_sight(call, req->customer_id);
    if (e)
        return e;
    e = record_find(call->db, &sql_score_load, params,
                    &daybook__scoring__v1__customer_score__descriptor, call->arena, &reply->score);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "customer_id", "customer %s was not scored yet",
                         req->customer_id);
    if (e)
        return e;
    e = db_exec(call->db, &sql_tier_history, params, &history);
    if (e)
        return e;
    *reply_out = &reply->base;
    return record_read_all(history, &daybook__scoring__v1__tier_change__descriptor, call->arena,
                           &reply->n_history, &reply->history);
}

enum err score_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Scoring__V1__ListCustomerScoresRequest *req = (const void *)in;
    Daybook__Scoring__V1__ListCustomerScoresResponse *reply =
        call_new(call, &daybook__scoring__v1__list_customer_scores_response__descriptor);
    const char *tier =
        record_enum_text(&daybook__customers__v1__tier__descriptor, (int)req->tier, call->arena);
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    struct call_page page = {
        .filter = arena_printf(call->arena, "scores/%s/%d", call_actor_text(call), (int)req->tier),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *owners = authority_visible_owners(call), *only = tier && *tier ? tier : NULL;
    const char *all[] = { call_tenant_text(call), only, page.keys[0], page.keys[1], page.limit };
    const char *owned[] = { call_tenant_text(call), owners,       only,
                            page.keys[0],           page.keys[1], page.limit };
    e = owners ? db_exec(call->db, &sql_score_list_owned, owned, &res)
               : db_exec(call->db, &sql_score_list, all, &res);
    if (!e)
        e = record_read_all(res, &daybook__scoring__v1__customer_score__descriptor, call->arena,
                            &reply->n_scores, &reply->scores);
    if (e)
        return e;
    *reply_out = &reply->base;
    reply->n_scores = call_page_rows(&page, reply->n_scores);
    if (!page.more)
        return ERR_OK;
    const PbCustomerScore *last = reply->scores[reply->n_scores - 1];
    const char *next[] = { arena_printf(call->arena, "%.17g", last->value_score), last->customer_id,
                           NULL };
    return call_page_end(call, &page, next, &reply->next_page_token);
}

/* The customers that a request means: the one named, or the next page of all. */
static enum err pick(struct call *call, const Daybook__Scoring__V1__RecomputeRequest *req,
                     Daybook__Scoring__V1__RecomputeRequested *event, char **token_out)
{
    struct call_page page = { .filter = "recompute" };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (*req->customer_id) {
        event->customer_ids = arena_memdup(call->arena, &req->customer_id, sizeof(char *));
        event->n_customer_ids = 1;
        return event->customer_ids ? need_sight(call, req->customer_id) : ERR_RESOURCE_EXHAUSTED;
    }
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call), page.keys[0], page.limit };
    e = db_exec(call->db, &sql_customer_page, params, &res);
    if (e)
        return e;
    size_t n = call_page_rows(&page, (size_t)PQntuples(res));
    event->customer_ids = arena_array(call->arena, n, sizeof(char *));
    if (!event->customer_ids)
        return ERR_RESOURCE_EXHAUSTED;
    for (; event->n_customer_ids < n; event->n_customer_ids++) {
        char *id = arena_strdup(call->arena, PQgetvalue(res, (int)event->n_customer_ids, 0));
        if (!id)
            return ERR_RESOURCE_EXHAUSTED;
        event->customer_ids[event->n_customer_ids] = id;
    }
    if (!page.more)
        return ERR_OK;
    const char *next[] = { event->customer_ids[n - 1], NULL };
    return call_page_end(call, &page, next, token_out);
}

enum err score_recompute(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    static const char *const roles[] = { "supervisor", "sales_manager", "regional_manager",
                                         "general_manager", NULL };
    const Daybook__Scoring__V1__RecomputeRequest *req = (const void *)in;
    Daybook__Scoring__V1__RecomputeResponse *reply =
        call_new(call, &daybook__scoring__v1__recompute_response__descriptor);
    Daybook__Scoring__V1__RecomputeRequested event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__scoring__v1__recompute_requested__descriptor),
    };
    char run[ID_TEXT_MAX];

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = authority_need_role(call, roles, "recompute scores");
    if (e)
        return e;
    e = pick(call, req, &event, &reply->next_page_token);
    if (e)
        return e;
    reply->requested = (int32_t)event.n_customer_ids;
    *reply_out = &reply->base;
    if (!event.n_customer_ids)
        return ERR_OK;
    return call_emit(call, "recompute_runs", id_text(id_new(), run), 1, &event.base);
}

static const struct check get_checks[] = {
    { "customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check list_checks[] = {
    { "tier", CHECK_ENUM, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check recompute_checks[] = {
    { "customer_id", CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};

const struct method scoring_methods[] = {
    { SCORE_SERVICE, "Get", score_get, "scoring.read", get_checks, false },
    { SCORE_SERVICE, "List", score_list, "scoring.read", list_checks, METHOD_BULK_READ },
    { SCORE_SERVICE, "Recompute", score_recompute, "scoring.write", recompute_checks, false },
    CONSUMER_SERVICE_METHODS("daybook.scoring.v1"),
};
const size_t scoring_methods_len = ARRAY_LEN(scoring_methods);
