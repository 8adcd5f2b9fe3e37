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
#define PENDING_MAX 500

typedef Daybook__Customers__V1__Customer PbCustomer;
typedef Daybook__Customers__V1__Order PbOrder;

/* --- scoring many at once ----------------------------------------------------------------------- */

/* Customers that are to be scored as of one moment, each once: an import's. Scoring them one by one
 * would give the same, since no customer's score has to do with another's. */
struct batch {
    int64_t at_us;
    size_t n;
    struct id ids[PENDING_MAX];
};

static enum err batch_begin(struct reaction *r)
{
    struct batch *b = arena_alloc(r->arena, sizeof(*b));

    if (!b)
        return ERR_RESOURCE_EXHAUSTED;
    b->n = 0;
    r->batch = b;
    return ERR_OK;
}

static enum err score_pending(struct reaction *r)
{
    CLEANUP(sbuf_fini) struct sbuf ids = { 0 };
    struct batch *b = r->batch;
    char text[ID_TEXT_MAX];

    if (!b->n)
        return ERR_OK;
    sbuf_init(&ids, ARRAYS_LIMIT);
    for (size_t i = 0; i < b->n; i++)
        sbuf_addf(&ids, "%c%s", i ? ',' : '{', id_text(b->ids[i], text));
    sbuf_add_char(&ids, '}');
    b->n = 0;
    return ids.bad ? ERR_RESOURCE_EXHAUSTED : score_customers(r, ids.data, b->at_us);
}

static bool is_pending(const struct batch *b, struct id id)
{
    for (size_t i = 0; i < b->n; i++)
        if (id_equal(b->ids[i], id))
            return true;
    return false;
}

/* Before anything of a customer is written: what waits is scored by what was there then, when it is he
 * or of another moment. */
static enum err make_way(struct reaction *r, const PbEvent *event, const char *customer_id)
{
    const struct batch *b = r->batch;
    struct id id;

    if (!id_parse(customer_id, &id))
        return ERR_INTERNAL;
    bool in_the_way =
        b->n == PENDING_MAX || b->at_us != wire_time_us(event->occurred_at) || is_pending(b, id);
    return in_the_way ? score_pending(r) : ERR_OK;
}

/* After make_way(). What is traced is scored at once: the tier's event goes on in its trace. */
static enum err score_later(struct reaction *r, const PbEvent *event, const char *customer_id)
{
    struct batch *b = r->batch;
    struct id id;

    if (!id_parse(customer_id, &id))
        return ERR_INTERNAL;
    b->at_us = wire_time_us(event->occurred_at);
    b->ids[b->n++] = id;
    return *event->traceparent ? score_pending(r) : ERR_OK;
}

/* Others at a moment of their own, behind those that wait. */
static enum err score_now(struct reaction *r, const PbEvent *event, const char *ids)
{
    enum err e = score_pending(r);
    return e ? e : score_customers(r, ids, wire_time_us(event->occurred_at));
}

/* --- customers and orders ----------------------------------------------------------------------- */

static enum err put_customer(struct reaction *r, const PbEvent *event, const PbCustomer *customer)
{
    const struct record_extra extras[] = { { "tenant_id", db_text_id(r->arena, r->tenant) } };
    const char *const *params;

    enum err e = make_way(r, event, customer->id);
    if (!e)
        e = record_bind(&sql_customer_put, &customer->base, extras, ARRAY_LEN(extras), r->arena,
                        &params);
    if (!e)
        e = db_queue(r->db, &sql_customer_put, params);
    return e ? e : score_later(r, event, customer->id);
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
    enum err e = n == 1 ? make_way(r, event, orders[0]->customer_id) : score_pending(r);
    if (!e)
        e = db_queue(r->db, &sql_orders_add, params);
    if (e)
        return e;
    return n == 1 ? score_later(r, event, orders[0]->customer_id)
                  : score_now(r, event, a.customers.data);
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
    return score_now(r, event, ids.data);
}

static enum err on_policy_set(struct reaction *r, const PbEvent *event UNUSED,
                              const ProtobufCMessage *data)
{
    const Daybook__Directory__V1__PolicySetting *s =
        ((const Daybook__Directory__V1__PolicySet *)data)->setting;

    if (*s->unit_id) /* scores are the company's, not a unit's */
        return ERR_OK;
    enum err e = score_pending(r); /* by the rules of then */
    return e ? e : score_take_policy(r, s->key, wire_time_us(s->effective_from), s->value);
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
    .batch_begin = batch_begin,
    .batch_end = score_pending,
    .read_model_tables = read_model_tables,
};
