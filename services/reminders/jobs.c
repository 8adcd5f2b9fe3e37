/*
 * jobs.c - see jobs.h.
 */
#include "services/reminders/jobs.h"

#include "common/num.h"
#include "daybook/directory/v1/events.pb-c.h"
#include "services/reminders/chores.h"
#include "services/reminders/rules.h"
#include "services/reminders/sql.h"

/* --- a new owner of a customer (REM-18) ------------------------------------------------------ */

static void ring_chores(void *daemon_data, void *arg UNUSED)
{
    chores_ring(((struct reminders *)daemon_data)->chores);
}

enum err jobs_ask_handover(struct reaction *r, const PbEvent *event,
                           const Daybook__Customers__V1__Customer *customer)
{
    struct id to;

    if (!customer || !id_parse(customer->owner_id, &to))
        return ERR_OK;
    const char *const former[] = {
        db_text_id(r->arena, r->tenant),
        customer->id,
        customer->owner_id,
        db_text_i64(r->arena, wire_time_us(event->occurred_at)),
    };
    if (!former[0] || !former[3])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_queue(r->db, &sql_former_owner_put, former);
    if (e || r->replaying)
        return e;
    const char *const params[] = {
        db_text_id(r->arena, r->tenant),
        event->event_id,
        customer->id,
        customer->owner_id,
        JOBS_HANDOVER_REASON,
        db_text_i64(r->arena, wire_time_us(event->occurred_at)),
        db_text_time(r->arena, r->now_us),
    };
    if (!params[0] || !params[5] || !params[6])
        return ERR_RESOURCE_EXHAUSTED;
    reaction_after_commit(r, ring_chores, NULL);
    return db_queue(r->db, &sql_handover_put, params);
}

/* --- changes of the rule book and the calendar (REM-09, F43) --------------------------------- */

static bool any_rule_depends_on(const char *key)
{
    for (size_t i = 0; i < rules_len; i++)
        if (rule_depends_on(&rules[i], key))
            return true;
    return false;
}

static enum err ask_recalculation(struct reaction *r, const PbEvent *event, const char *key,
                                  const char *value, const char *unit, int64_t effective_us)
{
    const char *const params[] = {
        db_text_id(r->arena, r->tenant),
        event->event_id,
        key,
        value,
        unit && *unit ? unit : NULL,
        *key ? arena_printf(r->arena, "policy %s", key) : "calendar",
        db_text_i64(r->arena, effective_us),
        db_text_time(r->arena, r->now_us),
        db_text_i64(r->arena, CHORES_DELAY_US),
    };
    if (!params[0] || !params[5] || !params[6] || !params[7] || !params[8])
        return ERR_RESOURCE_EXHAUSTED;
    return db_queue(r->db, &sql_recalculation_put, params);
}

enum err jobs_on_policy_set(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    const Daybook__Directory__V1__PolicySetting *s =
        ((const Daybook__Directory__V1__PolicySet *)data)->setting;

    if (!s)
        return ERR_INVALID_ARGUMENT;
    if (!*s->key || !any_rule_depends_on(s->key))
        return ERR_OK;
    int64_t from_us = wire_time_us(s->effective_from);
    return ask_recalculation(r, event, s->key, s->value, s->unit_id,
                             from_us ? from_us : wire_time_us(event->occurred_at));
}

enum err jobs_on_calendar_imported(struct reaction *r, const PbEvent *event,
                                   const ProtobufCMessage *data)
{
    const Daybook__Directory__V1__CalendarImported *e = (const void *)data;

    if (e->n_changed_dates == 0)
        return ERR_OK;
    return ask_recalculation(r, event, "", NULL, NULL, wire_time_us(event->occurred_at));
}
