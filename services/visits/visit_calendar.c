/*
 * visit_calendar.c - an employee's visits as entries of a calendar (VIS-30, EXT-03).
 *
 * The entries hold all that a feed says, so that the gateway, which writes it, needs no rule.
 */
#include "common/authority.h"
#include "common/calendar.h"
#include "services/visits/visit_life.h"
#include "services/visits/visit_rules.h"

typedef Daybook__Visits__V1__ListCalendarRequest PbRequest;
typedef Daybook__Visits__V1__ListCalendarResponse PbReply;

/* What all reminders of one employee are made of. */
struct reminding {
    const struct calendar *calendar;
    int days_before;
    int64_t departure_us;
};

static struct policy_value policy_of(struct call *call, struct id unit, const char *key)
{
    return directory_policy(call->dir, call->tenant, unit, key, call->now_us);
}

static struct reminding reminding_of(struct call *call, const char *employee_id)
{
    struct id unit = visit_unit_id(call, employee_id);

    return (struct reminding){
        .calendar = directory_calendar_at(call->dir, call->tenant, unit, call->now_us),
        .days_before = (int)policy_number(policy_of(call, unit, "visit_invite_days_before")),
        .departure_us = policy_us(policy_of(call, unit, "departure_buffer_minutes")),
    };
}

static enum err add_reminder(struct call *call, const struct reminding *r, PbCalendarEntry *entry)
{
    bool goes_out = entry->mode == DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON;

    if (!visit_rules_is_ahead((int)entry->state))
        return ERR_OK;
    entry->remind_at =
        wire_time(call->arena, visit_rules_remind_us(r->calendar, wire_time_us(entry->starts_at),
                                                     r->days_before, r->departure_us));
    entry->departure_minutes = goes_out ? (int32_t)(r->departure_us / MINUTE_US) : 0;
    return entry->remind_at ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err add_reminders(struct call *call, const char *employee_id, PbReply *reply)
{
    struct reminding r = reminding_of(call, employee_id);
    enum err e = ERR_OK;

    for (size_t i = 0; !e && i < reply->n_entries; i++)
        e = add_reminder(call, &r, reply->entries[i]);
    return e;
}

static enum err read_page(struct call *call, const PbRequest *req, struct call_page *page,
                          PbReply *reply)
{
    const char *params[] = {
        call_tenant_text(call),
        authority_visible_owners(call),
        req->employee_id,
        db_text_time(call->arena, wire_time_us(req->from)),
        db_text_time(call->arena, wire_time_us(req->to)),
        page->keys[0],
        page->keys[1],
        page->limit,
    };
    enum err e = visit_read_rows(call, &sql_visit_calendar, params,
                                 &daybook__visits__v1__calendar_entry__descriptor,
                                 &reply->n_entries, &reply->entries);

    if (e)
        return e;
    reply->n_entries = call_page_rows(page, reply->n_entries);
    if (!page->more)
        return ERR_OK;
    const PbCalendarEntry *last = reply->entries[reply->n_entries - 1];
    const char *keys[] = { db_text_time(call->arena, wire_time_us(last->starts_at)), last->visit_id,
                           NULL };
    return call_page_end(call, page, keys, &reply->next_page_token);
}

enum err visit_list_calendar(struct call *call, const ProtobufCMessage *in,
                             ProtobufCMessage **reply_out)
{
    const PbRequest *req = (const void *)in;
    PbReply *reply = call_new(call, &daybook__visits__v1__list_calendar_response__descriptor);
    struct id employee;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    if (!id_parse(req->employee_id, &employee))
        return ERR_INTERNAL; /* the checks let no malformed one through */
    enum err e = authority_need_sight(call, employee, "employee");
    if (e)
        return e;
    struct call_page page = {
        .filter =
            arena_printf(call->arena, "calendar/%s/%s/%" PRId64 "/%" PRId64, call_actor_text(call),
                         req->employee_id, wire_time_us(req->from), wire_time_us(req->to)),
    };
    e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = read_page(call, req, &page, reply);
    if (!e)
        e = add_reminders(call, req->employee_id, reply);
    *reply_out = &reply->base;
    return e;
}
