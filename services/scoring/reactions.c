/*
 * reactions.c - what scoring hears: customers and their potential, orders one by one or by the
 * thousand, and requests to count anew. Everything here runs in a rebuild too.
 */
#include "common/clock.h"
#include "common/sbuf.h"
#include "daybook/customers/v1/events.pb-c.h"
#include "daybook/directory/v1/events.pb-c.h"
#include "services/scoring/scoring.h"
#include "services/scoring/sql.h"

#define ARRAYS_LIMIT (4 * MIB)

typedef Daybook__Customers__V1__Customer PbCustomer;
typedef Daybook__Customers__V1__Order PbOrder;

static const char *one_id(struct reaction *r, const char *id)
{
    return arena_printf(r->arena, "{%s}", id);
}

static enum err put_customer(struct reaction *r, const PbEvent *event, const PbCustomer *customer)
{
    const struct record_extra extras[] = { { "tenant_id", db_text_id(r->arena, r->tenant) } };
    const char *const *params;
    const char *ids = one_id(r, customer->id);

    if (!ids)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = record_bind(&sql_customer_put, &customer->base, extras, ARRAY_LEN(extras),
                             r->arena, &params);
    if (!e)
        e = db_queue(r->db, &sql_customer_put, params);
    return e ? e : score_customers(r, ids, wire_time_us(event->occurred_at));
}

static enum err on_customer_created(struct reaction *r, const PbEvent *event,
                                    const ProtobufCMessage *data)
{
    return put_customer(r, event,
                        ((const Daybook__Customers__V1__CustomerCreated *)data)->customer);
}

static enum err on_customer_updated(struct reaction *r, const PbEvent *event,
                                    const ProtobufCMessage *data)
{
    return put_customer(r, event,
                        ((const Daybook__Customers__V1__CustomerUpdated *)data)->customer);
}

/* The columns of many orders as array literals. */
struct order_arrays {
    struct sbuf customers, ids, times, kinds, amounts, orders;
};

static void arrays_init(struct order_arrays *a)
{
    struct sbuf *all[] = { &a->customers, &a->ids, &a->times, &a->kinds, &a->amounts, &a->orders };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        sbuf_init(all[i], ARRAYS_LIMIT);
        sbuf_add_char(all[i], '{');
    }
}

static void arrays_fini(struct order_arrays *a)
{
    sbuf_fini(&a->customers);
    sbuf_fini(&a->ids);
    sbuf_fini(&a->times);
    sbuf_fini(&a->kinds);
    sbuf_fini(&a->amounts);
    sbuf_fini(&a->orders);
}

static void arrays_add(struct order_arrays *a, const PbOrder *order, bool first)
{
    struct sbuf *all[] = { &a->customers, &a->ids, &a->times, &a->kinds, &a->amounts, &a->orders };
    char time[TIME_TEXT_MAX];
    bool is_order = order->kind == DAYBOOK__CUSTOMERS__V1__ORDER_KIND__ORDER_KIND_ORDER;

    for (size_t i = 0; !first && i < ARRAY_LEN(all); i++)
        sbuf_add_char(all[i], ',');
    sbuf_add_text(&a->customers, order->customer_id);
    sbuf_add_text(&a->ids, order->id);
    sbuf_add_pg_element(&a->times, time_format(wire_time_us(order->ordered_at), time));
    sbuf_add_text(&a->kinds, is_order ? "order" : "cancellation");
    sbuf_add_i64(&a->amounts, order->amount ? order->amount->minor_units : 0);
    sbuf_add_text(&a->orders, *order->cancels_order_id ? order->cancels_order_id : order->id);
}

/* Orders of one event are one step: facts first, then each customer touched is scored once. */
static enum err take_orders(struct reaction *r, const PbEvent *event, PbOrder *const *orders,
                            size_t n)
{
    CLEANUP(arrays_fini) struct order_arrays a;
    bool bad = false;

    arrays_init(&a);
    for (size_t i = 0; i < n; i++)
        arrays_add(&a, orders[i], i == 0);
    struct sbuf *all[] = { &a.customers, &a.ids, &a.times, &a.kinds, &a.amounts, &a.orders };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        sbuf_add_char(all[i], '}');
        bad = bad || all[i]->bad;
    }
    if (bad)
        return ERR_RESOURCE_EXHAUSTED;
    const char *params[] = { db_text_id(r->arena, r->tenant),
                             a.customers.data,
                             a.ids.data,
                             a.times.data,
                             a.kinds.data,
                             a.amounts.data,
                             a.orders.data };
    enum err e = db_queue(r->db, &sql_orders_add, params);
    return e ? e : score_customers(r, a.customers.data, wire_time_us(event->occurred_at));
}

static enum err on_order_recorded(struct reaction *r, const PbEvent *event,
                                  const ProtobufCMessage *data)
{
    PbOrder *order = ((const Daybook__Customers__V1__OrderRecorded *)data)->order;

    return take_orders(r, event, &order, 1);
}

static enum err on_orders_imported(struct reaction *r, const PbEvent *event,
                                   const ProtobufCMessage *data)
{
    const Daybook__Customers__V1__OrdersImported *imported = (const void *)data;

    return imported->n_orders ? take_orders(r, event, imported->orders, imported->n_orders)
                              : ERR_OK;
}

static enum err on_recompute_requested(struct reaction *r, const PbEvent *event,
                                       const ProtobufCMessage *data)
{
    const Daybook__Scoring__V1__RecomputeRequested *req = (const void *)data;
    CLEANUP(sbuf_fini) struct sbuf ids;

    sbuf_init(&ids, ARRAYS_LIMIT);
    for (size_t i = 0; i < req->n_customer_ids; i++)
        sbuf_addf(&ids, "%c%s", i ? ',' : '{', req->customer_ids[i]);
    sbuf_add_text(&ids, req->n_customer_ids ? "}" : "{}");
    if (ids.bad)
        return ERR_RESOURCE_EXHAUSTED;
    return score_customers(r, ids.data, wire_time_us(event->occurred_at));
}

static enum err on_policy_set(struct reaction *r, const PbEvent *event UNUSED,
                              const ProtobufCMessage *data)
{
    const Daybook__Directory__V1__PolicySetting *s =
        ((const Daybook__Directory__V1__PolicySet *)data)->setting;

    if (*s->unit_id) /* scores are the company's, not a unit's */
        return ERR_OK;
    return score_take_policy(r, s->key, wire_time_us(s->effective_from), s->value);
}

#define BOTH (REACTION_LIVE | REACTION_REPLAY)
static const struct reaction_def reactions[] = {
    { "daybook.customers.v1.CustomerCreated", on_customer_created, BOTH },
    { "daybook.customers.v1.CustomerUpdated", on_customer_updated, BOTH },
    { "daybook.customers.v1.OrderRecorded", on_order_recorded, BOTH },
    { "daybook.customers.v1.OrdersImported", on_orders_imported, BOTH },
    { "daybook.scoring.v1.RecomputeRequested", on_recompute_requested, BOTH },
    { "daybook.directory.v1.PolicySet", on_policy_set, BOTH },
};

static const char *const read_model_tables[] = { "scoring.tier_change", "scoring.score",
                                                 "scoring.order_fact",  "scoring.customer",
                                                 "scoring.policy",      NULL };

const struct consumer_def scoring_consumer = {
    .name = "scoring",
    .schema = "scoring",
    .reactions = reactions,
    .nreactions = ARRAY_LEN(reactions),
    .read_model_tables = read_model_tables,
};
