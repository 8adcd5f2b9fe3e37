/*
 * timeline.c - what happened with a customer, newest first (INT-22): one statement over the
 * daemon's own rows and over what it heard of visits and tiers.
 */
#include "common/call_page.h"
#include "services/customers/customer_store.h"

enum err timeline_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__GetTimelineRequest *req = (const void *)in;
    Daybook__Customers__V1__GetTimelineResponse *reply =
        call_new(call, &daybook__customers__v1__get_timeline_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    struct call_page page = {
        .filter =
            arena_printf(call->arena, "timeline/%s/%s", call_actor_text(call), req->customer_id),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = customer_store_need(call, req->customer_id, "customer_id");
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call), req->customer_id, page.keys[0], page.keys[1],
                             page.limit };
    e = db_exec(call->db, &sql_timeline, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__timeline_entry__descriptor, call->arena,
                            &reply->n_entries, &reply->entries);
    if (e)
        return e;
    reply->n_entries = call_page_rows(&page, reply->n_entries);
    if (!page.more)
        return ERR_OK;
    struct db_row row = { .res = res, .row = (int)reply->n_entries - 1 };
    const char *keys[] = { db_text_time(call->arena, db_row_time(&row, "happened_at")),
                           db_row_text(&row, "_key"), NULL };
    return row.bad ? ERR_INTERNAL : call_page_end(call, &page, keys, &reply->next_page_token);
}
