/*
 * webhook_log.c - the handlers for deliveries: the log, and sending again.
 */
#include "common/call_page.h"
#include "common/clock.h"
#include "services/gateway/sql.h"
#include "services/gateway/webhooks/webhook.h"

#define AGAIN_MAX 10000
#define KEEP_SLACK_US HOUR_US
#define ID_SLACK_US MINUTE_US /* an event's id is made a little before or after it happened */

static const struct db_stmt *statement_for(int state)
{
    switch (state) {
    case DAYBOOK__GATEWAY__V1__DELIVERY_STATE__DELIVERY_STATE_PENDING:
        return &sql_delivery_list_pending;
    case DAYBOOK__GATEWAY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED:
        return &sql_delivery_list_delivered;
    case DAYBOOK__GATEWAY__V1__DELIVERY_STATE__DELIVERY_STATE_PARKED:
        return &sql_delivery_list_parked;
    default:
        return &sql_delivery_list;
    }
}

enum err webhook_list_deliveries(struct call *call, const ProtobufCMessage *in,
                                 ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ListDeliveriesRequest *req = (const void *)in;
    Daybook__Gateway__V1__ListDeliveriesResponse *reply =
        call_new(call, &daybook__gateway__v1__list_deliveries_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct call_page page = {
        .filter = arena_printf(call->arena, "webhook-deliveries/%s/%d", req->endpoint_id,
                               (int)req->state),
    };
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = webhook_need_endpoint(call, req->endpoint_id, "endpoint_id", false, &endpoint);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), req->endpoint_id, page.keys[0],
                                   page.limit };
    e = db_exec(call->db, statement_for((int)req->state), params, &res);
    if (!e)
        e = record_read_all(res, &daybook__gateway__v1__delivery__descriptor, call->arena,
                            &reply->n_deliveries, &reply->deliveries);
    if (e)
        return e;
    reply->n_deliveries = call_page_rows(&page, reply->n_deliveries);
    if (page.more) {
        const char *const keys[] = { reply->deliveries[reply->n_deliveries - 1]->event_id, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}

enum err webhook_get_delivery(struct call *call, const ProtobufCMessage *in,
                              ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__GetDeliveryRequest *req = (const void *)in;
    Daybook__Gateway__V1__GetDeliveryResponse *reply =
        call_new(call, &daybook__gateway__v1__get_delivery_response__descriptor);
    const char *const params[] = { call_tenant_text(call), req->endpoint_id, req->event_id };
    CLEANUP(db_result_clear) PGresult *res = NULL, *attempts = NULL;
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->endpoint_id, "endpoint_id", false, &endpoint);
    if (!e)
        e = db_exec(call->db, &sql_delivery_find, params, &res);
    if (e)
        return e;
    if (!PQntuples(res))
        return call_fail(call, ERR_NOT_FOUND, "event_id",
                         "event %s was not delivered to this endpoint in the last 30 days",
                         req->event_id);
    e = record_read(res, 0, &daybook__gateway__v1__delivery__descriptor, call->arena,
                    &reply->delivery);
    if (!e)
        e = db_exec(call->db, &sql_delivery_attempts, params, &attempts);
    if (!e)
        e = record_read_all(attempts, &daybook__gateway__v1__attempt__descriptor, call->arena,
                            &reply->n_attempts, &reply->attempts);
    if (e)
        return e;
    struct db_row row = { .res = res };
    reply->body = arena_strdup(call->arena, db_row_text(&row, "_body"));
    *reply_out = &reply->base;
    return reply->body ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* Ids rise with time, so what happened earlier need not be read; not by a clock that is turned. What is
 * as old as the sweep's share is left to that. */
static const char *first_id(struct call *call, const Daybook__Gateway__V1__RedeliverRequest *req)
{
    int64_t from_us = clock_wall_us() - WEBHOOK_KEEP_US + KEEP_SLACK_US;

    if (*req->after_event_id)
        return req->after_event_id;
    if (req->since && !clock_is_steered())
        from_us = MAX(from_us, wire_time_us(req->since) - ID_SLACK_US);
    return db_text_id(call->arena, id_at(from_us));
}

enum err webhook_redeliver(struct call *call, const ProtobufCMessage *in,
                           ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__RedeliverRequest *req = (const void *)in;
    Daybook__Gateway__V1__RedeliverResponse *reply =
        call_new(call, &daybook__gateway__v1__redeliver_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    PbEndpoint *endpoint;
    struct id id;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    if ((*req->event_id != '\0') + (req->since != NULL) + (req->parked != 0) != 1)
        return call_fail(call, ERR_INVALID_ARGUMENT, "event_id",
                         "name one of event_id, since and parked");
    enum err e = webhook_need_endpoint(call, req->endpoint_id, "endpoint_id", true, &endpoint);
    if (e)
        return e;
    const char *const params[] = {
        call_tenant_text(call),
        req->endpoint_id,
        *req->event_id ? req->event_id : NULL,
        req->since ? db_text_time(call->arena, wire_time_us(req->since)) : NULL,
        req->parked ? "t" : "f",
        first_id(call, req),
        db_text_i64(call->arena, AGAIN_MAX),
    };
    e = db_exec(call->db, &sql_delivery_again, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    reply->redelivered = (int32_t)db_row_i64(&row, "n");
    reply->more = reply->redelivered == AGAIN_MAX;
    const char *last = db_row_is_null(&row, "last") ? "" : db_row_text(&row, "last");
    reply->last_event_id = arena_strdup(call->arena, last);
    uint32_t lanes = (uint32_t)db_row_i64(&row, "lanes");
    if (row.bad || !id_parse(endpoint->id, &id))
        return ERR_INTERNAL;
    if (lanes) /* as if it were changed: they may stand before what has been read */
        webhook_wake(call, id, lanes, true);
    *reply_out = &reply->base;
    return reply->last_event_id ? call_emit_replay(call, in, reply->redelivered)
                                : ERR_RESOURCE_EXHAUSTED;
}
