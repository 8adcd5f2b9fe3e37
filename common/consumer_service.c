/*
 * consumer_service.c - see consumer_service.h. Another try is a mark: the consumer itself takes the
 * events that bear it, in their order (consumer_park.c).
 */
#include "common/consumer_service.h"

#include "common/authority.h"
#include "common/sql.h"
#include "common/sql_schema.h"
#include "daybook/common/v1/consumer.pb-c.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000
#define REPLAY_MAX 150 /* so that the answer is kept with the record of the command */

const struct check consumer_service_list_checks[] = {
    { "after_seq", CHECK_RANGE, 0, 9e18 },
    { "limit", CHECK_RANGE, 0, INT32_MAX },
    { NULL, 0, 0, 0 },
};
const struct check consumer_service_replay_checks[] = {
    { "seq", CHECK_RANGE, 0, 9e18 },
    { "after_seq", CHECK_RANGE, 0, 9e18 },
    { NULL, 0, 0, 0 },
};

static const struct db_stmt *of_schema(const struct call *call, const struct db_stmt *stmt)
{
    return sql_for_schema(stmt, call->schema);
}

static enum err read_events(struct call *call, const PGresult *res, size_t *n_out,
                            Daybook__Common__V1__ParkedEvent ***events_out)
{
    return record_read_all(res, &daybook__common__v1__parked_event__descriptor, call->arena, n_out,
                           events_out);
}

enum err consumer_service_get(struct call *call, const ProtobufCMessage *in UNUSED,
                              ProtobufCMessage **reply_out)
{
    Daybook__Common__V1__GetConsumerResponse *reply =
        call_new(call, &daybook__common__v1__get_consumer_response__descriptor);
    const char *const params[] = { call->schema, call_tenant_text(call) };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = authority_need_manager(call, "see how far a consumer has come");
    if (!e)
        e = record_find(call->db, of_schema(call, &sql_consumer_state), params,
                        &daybook__common__v1__consumer_state__descriptor, call->arena,
                        &reply->consumer);
    *reply_out = &reply->base;
    return e;
}

enum err consumer_service_list_parked(struct call *call, const ProtobufCMessage *in,
                                      ProtobufCMessage **reply_out)
{
    const Daybook__Common__V1__ListParkedEventsRequest *req = (const void *)in;
    Daybook__Common__V1__ListParkedEventsResponse *reply =
        call_new(call, &daybook__common__v1__list_parked_events_response__descriptor);
    int32_t limit = req->limit ? MIN(req->limit, LIMIT_MAX) : LIMIT_DEFAULT;
    const char *const params[] = { call->schema, call_tenant_text(call),
                                   db_text_i64(call->arena, req->after_seq),
                                   db_text_i64(call->arena, limit + 1) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply || !params[2] || !params[3])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = authority_need_manager(call, "see events that were put aside");
    if (!e)
        e = db_exec(call->db, of_schema(call, &sql_parked_list), params, &res);
    if (!e)
        e = read_events(call, res, &reply->n_events, &reply->events);
    reply->more = reply->n_events > (size_t)limit;
    reply->n_events = MIN(reply->n_events, (size_t)limit);
    *reply_out = &reply->base;
    return e;
}

enum err consumer_service_replay_parked(struct call *call, const ProtobufCMessage *in,
                                        ProtobufCMessage **reply_out)
{
    const Daybook__Common__V1__ReplayParkedEventsRequest *req = (const void *)in;
    Daybook__Common__V1__ReplayParkedEventsResponse *reply =
        call_new(call, &daybook__common__v1__replay_parked_events_response__descriptor);
    const char *const params[] = { call->schema, call_tenant_text(call),
                                   req->all ? NULL : db_text_i64(call->arena, req->seq),
                                   db_text_i64(call->arena, req->after_seq),
                                   db_text_i64(call->arena, REPLAY_MAX) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply || !params[3] || !params[4])
        return ERR_RESOURCE_EXHAUSTED;
    if ((req->seq != 0) == (req->all != 0))
        return call_fail(call, ERR_INVALID_ARGUMENT, "seq", "name one of seq and all");
    if (req->seq && req->after_seq)
        return call_fail(call, ERR_INVALID_ARGUMENT, "after_seq",
                         "after_seq goes with all, not with seq");
    enum err e = authority_need_manager(call, "have events tried again");
    if (!e)
        e = db_exec(call->db, of_schema(call, &sql_parked_replay), params, &res);
    if (!e)
        e = read_events(call, res, &reply->n_events, &reply->events);
    if (!e && req->seq && reply->n_events == 0)
        return call_fail(call, ERR_NOT_FOUND, "seq", "event %" PRId64 " is not parked there",
                         req->seq);
    reply->more = reply->n_events == REPLAY_MAX;
    *reply_out = &reply->base;
    return e ? e : call_emit_replay(call, in, (int64_t)reply->n_events);
}
