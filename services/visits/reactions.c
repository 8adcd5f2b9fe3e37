/*
 * reactions.c - what visits must know of customers: name, owner, place, tier, and whose contacts
 * are whose. The tables are a read model and come from events only, so a rebuild makes the same
 * rows.
 */
#include "daybook/customers/v1/events.pb-c.h"
#include "daybook/scoring/v1/events.pb-c.h"
#include "services/visits/sql.h"
#include "services/visits/visits.h"

static enum err put_row(struct reaction *r, const struct db_stmt *stmt,
                        const ProtobufCMessage *message, const struct record_extra *extras,
                        size_t n)
{
    const char *const *params;
    enum err e = record_bind(stmt, message, extras, n, r->arena, &params);

    return e ? e : db_queue(r->db, stmt, params);
}

static enum err put_customer(struct reaction *r, const Daybook__Customers__V1__Customer *customer)
{
    const struct record_extra extras[] = { { "tenant_id", db_text_id(r->arena, r->tenant) } };

    return put_row(r, &sql_customer_put, &customer->base, extras, ARRAY_LEN(extras));
}

static enum err on_customer_created(struct reaction *r, const PbEvent *event UNUSED,
                                    const ProtobufCMessage *data)
{
    return put_customer(r, ((const Daybook__Customers__V1__CustomerCreated *)data)->customer);
}

static enum err on_customer_updated(struct reaction *r, const PbEvent *event UNUSED,
                                    const ProtobufCMessage *data)
{
    return put_customer(r, ((const Daybook__Customers__V1__CustomerUpdated *)data)->customer);
}

static enum err on_contact_created(struct reaction *r, const PbEvent *event UNUSED,
                                   const ProtobufCMessage *data)
{
    const Daybook__Customers__V1__ContactCreated *e = (const void *)data;
    const struct record_extra extras[] = { { "tenant_id", db_text_id(r->arena, r->tenant) } };

    return put_row(r, &sql_contact_put, &e->contact->base, extras, ARRAY_LEN(extras));
}

static enum err on_tier_changed(struct reaction *r, const PbEvent *event UNUSED,
                                const ProtobufCMessage *data)
{
    const struct record_extra extras[] = { { "tenant_id", db_text_id(r->arena, r->tenant) } };

    return put_row(r, &sql_customer_set_tier, data, extras, ARRAY_LEN(extras));
}

static const struct reaction_def reactions[] = {
    { "daybook.customers.v1.CustomerCreated", on_customer_created,
      REACTION_LIVE | REACTION_REPLAY },
    { "daybook.customers.v1.CustomerUpdated", on_customer_updated,
      REACTION_LIVE | REACTION_REPLAY },
    { "daybook.customers.v1.ContactCreated", on_contact_created, REACTION_LIVE | REACTION_REPLAY },
    { "daybook.scoring.v1.CustomerTierChanged", on_tier_changed, REACTION_LIVE | REACTION_REPLAY },
};

static const char *const read_model_tables[] = { "visits.customer", "visits.contact", NULL };

const struct consumer_def visits_consumer = {
    .name = "visits",
    .schema = "visits",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .read_model_tables = read_model_tables,
};
