/*
 * reactions.c - what customers hear of others: tiers, and visits for the timeline, as contacts, and
 * as what a talk may say that it was.
 * Both tables are read models; a rebuild makes the same rows.
 */
#include "daybook/scoring/v1/events.pb-c.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "services/customers/customers.h"
#include "services/customers/sql.h"

#define BOTH (REACTION_LIVE | REACTION_REPLAY)

/* What a timeline shows of an event; of visits also what is asked of them later. */
struct foreign {
    const char *customer_id, *kind, *subject, *summary;
    const char *visitor_id, *visit_mode; /* NULL: no visit */
    int64_t began_us, ended_us;          /* when the visitor was there; 0: not yet, or no visit */
};

static enum err add_foreign(struct reaction *r, const PbEvent *event, const struct foreign *f)
{
    if (!f->subject || !f->summary)
        return ERR_RESOURCE_EXHAUSTED;
    const char *params[] = {
        db_text_id(r->arena, r->tenant),
        f->customer_id,
        db_text_time(r->arena, wire_time_us(event->occurred_at)),
        event->event_id,
        f->kind,
        f->subject,
        f->summary,
        *event->actor_id ? event->actor_id : NULL,
        f->visitor_id && *f->visitor_id ? f->visitor_id : NULL,
        f->visit_mode && *f->visit_mode ? f->visit_mode : NULL,
        f->began_us ? db_text_time(r->arena, f->began_us) : NULL,
        f->ended_us ? db_text_time(r->arena, f->ended_us) : NULL,
    };
    return db_queue(r->db, &sql_foreign_event_add, params);
}

static enum err on_tier_changed(struct reaction *r, const PbEvent *event,
                                const ProtobufCMessage *data)
{
    const Daybook__Scoring__V1__CustomerTierChanged *changed = (const void *)data;
    const char *tier = record_enum_text(&daybook__customers__v1__tier__descriptor,
                                        (int)changed->new_tier, r->arena);
    const char *params[] = { db_text_id(r->arena, r->tenant), changed->customer_id, tier };

    if (!tier)
        return ERR_INVALID_ARGUMENT;
    enum err e = db_queue(r->db, &sql_tier_put, params);
    if (e)
        return e;
    const struct foreign f = {
        .customer_id = changed->customer_id,
        .kind = "tier",
        .subject = event->aggregate,
        .summary = arena_printf(r->arena, "tier %c, value score %.2f", tier[0] - 'a' + 'A',
                                changed->score ? changed->score->value_score : 0.0),
    };
    return add_foreign(r, event, &f);
}

/* All events of a visit begin with the visit itself, as field 1. */
static enum err on_visit(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    const Daybook__Visits__V1__Visit *visit =
        ((const Daybook__Visits__V1__VisitEnded *)data)->visit;
    const char *name = strrchr(event->type, '.');
    static const struct {
        const char *event, *summary;
        bool began;
    } words[] = {
        { "VisitRequested", "visit asked for", false },
        { "VisitApproved", "visit approved", false },
        { "VisitRejected", "visit rejected", false },
        { "VisitCancelled", "visit called off", false },
        { "VisitCheckedIn", "visitor checked in", true },
        { "VisitEnded", "visit ended", true },
        { "VisitReported", "visit reported", true },
    };

    for (size_t i = 0; name && visit && i < ARRAY_LEN(words); i++) {
        if (strcmp(name + 1, words[i].event) != 0)
            continue;
        int64_t seen_us = wire_time_us(event->occurred_at);
        const struct foreign f = {
            .customer_id = visit->customer_id,
            .kind = "visit",
            .subject = arena_printf(r->arena, "visits/%s", visit->id),
            .summary = words[i].summary,
            .visitor_id = visit->visitor_id,
            .visit_mode = record_enum_text(&daybook__visits__v1__visit_mode__descriptor,
                                           (int)visit->mode, r->arena),
            .began_us = !words[i].began   ? 0
                        : visit->check_in ? wire_time_us(visit->check_in->at)
                                          : seen_us,
            .ended_us = visit->checked_out_at ? wire_time_us(visit->checked_out_at) : 0,
        };
        return add_foreign(r, event, &f);
    }
    return ERR_INVALID_ARGUMENT;
}

/* A visit is a contact (4.3): the latest one stays, so hearing it again changes nothing. The file
 * is no read model: a rebuild leaves it as it is. */
static enum err on_visit_ended(struct reaction *r, const PbEvent *event,
                               const ProtobufCMessage *data)
{
    const Daybook__Visits__V1__Visit *visit =
        ((const Daybook__Visits__V1__VisitEnded *)data)->visit;

    enum err e = on_visit(r, event, data);
    if (e || r->replaying)
        return e;
    int64_t at_us =
        wire_time_us(visit->checked_out_at ? visit->checked_out_at : event->occurred_at);
    const char *params[] = { db_text_id(r->arena, r->tenant), visit->customer_id,
                             db_text_time(r->arena, at_us), "0" };
    return db_queue(r->db, &sql_customer_contacted, params);
}

static const struct reaction_def reactions[] = {
    { "daybook.scoring.v1.CustomerTierChanged", on_tier_changed, BOTH },
    { "daybook.visits.v1.VisitRequested", on_visit, BOTH },
    { "daybook.visits.v1.VisitApproved", on_visit, BOTH },
    { "daybook.visits.v1.VisitRejected", on_visit, BOTH },
    { "daybook.visits.v1.VisitCancelled", on_visit, BOTH },
    { "daybook.visits.v1.VisitCheckedIn", on_visit, BOTH },
    { "daybook.visits.v1.VisitEnded", on_visit_ended, BOTH },
    { "daybook.visits.v1.VisitReported", on_visit, BOTH },
};

static const char *const read_model_tables[] = { "customers.customer_tier",
                                                 "customers.foreign_event", NULL };

const struct consumer_def customers_consumer = {
    .name = "customers",
    .schema = "customers",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .read_model_tables = read_model_tables,
};
