/*
 * channel.c - the handlers of ChannelService: where notices are posted, and the ledger of what was
 * told (REM-10, REM-11).
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/http_out.h"
#include "common/secret.h"
#include "common/webhook_signature.h"
#include "services/reminders/delivery.h"
#include "services/reminders/methods.h"
#include "services/reminders/sql.h"

/* --- set ------------------------------------------------------------------------------------- */

static enum err need_right(struct call *call, const char *employee_id, struct id *owner_out)
{
    static const char *const roles[] = { "general_manager", "sales_manager", "management_office",
                                         "admin_office", NULL };
    static const struct id company;

    if (!*employee_id) {
        *owner_out = company;
        return authority_need_role(call, roles, "the company's channel");
    }
    if (!id_parse(employee_id, owner_out))
        return ERR_INTERNAL;
    return authority_need_sight(call, *owner_out, "employee");
}

static enum err judge_url(struct call *call, const char *url)
{
    const struct reminders *self = call->daemon_data;
    struct http_out *http = http_out_new(self->post_allow, self->post_plain);
    const char *reason = "";

    if (!http)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = http_out_check_url(http, url, &reason);
    if (e && e != ERR_RESOURCE_EXHAUSTED)
        e = call_fail(call, ERR_INVALID_ARGUMENT, "url", "cannot be called: %s", reason);
    http_out_free(http);
    return e;
}

static enum err remove_channel(struct call *call, const char *owner)
{
    const char *const params[] = { call_tenant_text(call), owner, NULL };
    return db_queue(call->db, &sql_channel_delete, params);
}

static enum err put_channel(struct call *call, struct id owner, const char *owner_text,
                            const char *url, char **secret_out)
{
    enum err e = judge_url(call, url);
    if (e)
        return e;
    char *secret = webhook_new_secret(call->arena);
    char *sealed = secret ? delivery_seal_secret(call->arena, call->tenant, owner, secret) : NULL;
    const char *const params[] = {
        call_tenant_text(call),
        owner_text,
        url,
        sealed,
        db_text_time(call->arena, call->now_us),
        id_is_nil(call->actor) ? NULL : call_actor_text(call),
    };
    if (!sealed || !params[4])
        return ERR_RESOURCE_EXHAUSTED;
    call_withhold_reply(call); /* or else the secret would lie in the record of the command */
    *secret_out = secret;
    return db_queue(call->db, &sql_channel_put, params);
}

enum err channel_set(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__SetChannelRequest *req = (const void *)in;
    Daybook__Reminders__V1__SetChannelResponse *reply =
        call_new(call, &daybook__reminders__v1__set_channel_response__descriptor);
    struct id owner;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_right(call, req->employee_id, &owner);
    if (e)
        return e;
    char *text = db_text_id(call->arena, owner);
    if (!text)
        return ERR_RESOURCE_EXHAUSTED;
    e = *req->url ? put_channel(call, owner, text, req->url, &reply->secret)
                  : remove_channel(call, text);
    *reply_out = &reply->base;
    return e;
}

/* --- the ledger ------------------------------------------------------------------------------ */

static enum err visible_people(struct call *call, const char *recipient, const char **people_out)
{
    struct id id;

    *people_out = authority_visible_owners(call);
    if (!*recipient)
        return ERR_OK;
    if (!id_parse(recipient, &id))
        return ERR_INTERNAL;
    enum err e = authority_need_sight(call, id, "employee");
    if (e)
        return e;
    *people_out = arena_printf(call->arena, "{%s}", recipient);
    return *people_out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err channel_list_deliveries(struct call *call, const ProtobufCMessage *in,
                                 ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__ListDeliveriesRequest *req = (const void *)in;
    Daybook__Reminders__V1__ListDeliveriesResponse *reply =
        call_new(call, &daybook__reminders__v1__list_deliveries_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *people;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    struct call_page page = {
        .filter = arena_printf(call->arena, "deliveries/%s/%s/%s/%d", call_actor_text(call),
                               req->recipient_id, req->reminder_id, req->unread_only),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = visible_people(call, req->recipient_id, &people);
    if (e)
        return e;
    const char *const params[] = {
        call_tenant_text(call),
        people,
        *req->reminder_id ? req->reminder_id : NULL,
        req->unread_only ? "t" : "f",
        page.keys[0],
        page.keys[1],
        page.limit,
    };
    e = db_exec(call->db, &sql_notices_list, params, &res);
    if (!e)
        e = record_read_all(res, &delivery_descriptor, call->arena, &reply->n_deliveries,
                            &reply->deliveries);
    if (e)
        return e;
    reply->n_deliveries = call_page_rows(&page, reply->n_deliveries);
    if (page.more) {
        const PbDelivery *last = reply->deliveries[reply->n_deliveries - 1];
        const char *const keys[] = { db_text_time(call->arena, wire_time_us(last->fired_at)),
                                     last->id, NULL };
        e = keys[0] ? call_page_end(call, &page, keys, &reply->next_page_token)
                    : ERR_RESOURCE_EXHAUSTED;
    }
    *reply_out = &reply->base;
    return e;
}

enum err channel_mark_read(struct call *call, const ProtobufCMessage *in,
                           ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__MarkReadRequest *req = (const void *)in;
    Daybook__Reminders__V1__MarkReadResponse *reply =
        call_new(call, &daybook__reminders__v1__mark_read_response__descriptor);
    const char *const params[] = { call_tenant_text(call), req->delivery_id,
                                   db_text_time(call->arena, call->now_us) };
    struct id recipient;

    if (!reply || !params[2])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = record_find(call->db, &sql_notice_read, params, &delivery_descriptor, call->arena,
                             &reply->delivery);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "delivery_id", "there is no delivery %s", req->delivery_id);
    if (e)
        return e;
    if (!id_parse(reply->delivery->recipient_id, &recipient))
        return ERR_INTERNAL;
    e = authority_need_sight(call, recipient, "delivery");
    if (!e)
        e = need_to_be(call, recipient, "notice");
    if (!e && reply->delivery->channel != DAYBOOK__REMINDERS__V1__CHANNEL_KIND__CHANNEL_KIND_IN_APP)
        e = call_fail(call, ERR_FAILED_PRECONDITION, "delivery_id",
                      "only an in-app notice is marked as read; this one was posted");
    *reply_out = &reply->base;
    return e;
}
