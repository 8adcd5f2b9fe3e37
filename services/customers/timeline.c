/*
 * timeline.c - what happened with a customer, newest first (INT-22): one statement over the
 * daemon's own rows and over what it heard of visits and tiers.
 */
#include "common/call_page.h"
#include "common/money.h"
#include "services/customers/customer_store.h"

/* The array literal of the kinds wanted; *out NULL: all. */
static enum err kinds_literal(struct call *call,
                              const Daybook__Customers__V1__GetTimelineRequest *req,
                              const char **out)
{
    char *text = arena_strdup(call->arena, "");

    *out = NULL;
    for (size_t i = 0; text && i < req->n_kinds; i++) {
        const char *kind = record_enum_text(&daybook__customers__v1__timeline_kind__descriptor,
                                            (int)req->kinds[i], call->arena);
        if (!kind || !*kind)
            return call_fail(call, ERR_INVALID_ARGUMENT, "kinds", "holds what is no kind of entry");
        text = arena_printf(call->arena, "%s%s%s", text, i ? "," : "", kind);
    }
    if (!text)
        return ERR_RESOURCE_EXHAUSTED;
    if (req->n_kinds > 0)
        *out = arena_printf(call->arena, "{%s}", text);
    return req->n_kinds == 0 || *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* Amounts stand at the end of the summary. */
static enum err add_amounts(struct call *call, const PGresult *res,
                            Daybook__Customers__V1__TimelineEntry *const *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct db_row row = { .res = res, .row = (int)i };
        if (db_row_is_null(&row, "_currency"))
            continue;
        const char *amount = money_text(call->arena, db_row_text(&row, "_currency"),
                                        db_row_i64(&row, "_amount_minor"));
        if (row.bad)
            return ERR_INTERNAL;
        entries[i]->summary = arena_printf(call->arena, "%s%s", entries[i]->summary, amount);
        if (!amount || !entries[i]->summary)
            return ERR_RESOURCE_EXHAUSTED;
    }
    return ERR_OK;
}

enum err timeline_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__GetTimelineRequest *req = (const void *)in;
    Daybook__Customers__V1__GetTimelineResponse *reply =
        call_new(call, &daybook__customers__v1__get_timeline_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    const char *from = req->from ? db_text_time(call->arena, wire_time_us(req->from)) : NULL;
    const char *to = req->to ? db_text_time(call->arena, wire_time_us(req->to)) : NULL;
    const char *kinds;
    enum err e = kinds_literal(call, req, &kinds);
    if (e)
        return e;
    if (req->from && req->to && wire_time_us(req->to) < wire_time_us(req->from))
        return call_fail(call, ERR_INVALID_ARGUMENT, "to", "lies before from");
    struct call_page page = {
        .filter =
            arena_printf(call->arena, "timeline/%s/%s/%s/%s/%s", call_actor_text(call),
                         req->customer_id, kinds ? kinds : "", from ? from : "", to ? to : ""),
    };
    e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = customer_store_need(call, req->customer_id, "customer_id");
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call),
                             req->customer_id,
                             page.keys[0],
                             page.keys[1],
                             page.limit,
                             kinds,
                             from,
                             to };
    e = db_exec(call->db, &sql_timeline, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__timeline_entry__descriptor, call->arena,
                            &reply->n_entries, &reply->entries);
    if (e)
        return e;
    reply->n_entries = call_page_rows(&page, reply->n_entries);
    e = add_amounts(call, res, reply->entries, reply->n_entries);
    if (e || !page.more)
        return e;
    struct db_row row = { .res = res, .row = (int)reply->n_entries - 1 };
    const char *keys[] = { db_text_time(call->arena, db_row_time(&row, "happened_at")),
                           db_row_text(&row, "_key"), NULL };
    return row.bad ? ERR_INTERNAL : call_page_end(call, &page, keys, &reply->next_page_token);
}
