/*
 * deal.c - facts of buying and paying (CUS-20): orders one by one or by the thousand, and payments.
 *
 * They come from other systems and may come again: a row whose reference is there already is given
 * back as it is.
 */
#include "common/authority.h"
#include "common/sbuf.h"
#include "services/customers/customer_rules.h"
#include "services/customers/customer_store.h"

#define KIND_ORDER DAYBOOK__CUSTOMERS__V1__ORDER_KIND__ORDER_KIND_ORDER
#define KIND_CANCELLATION DAYBOOK__CUSTOMERS__V1__ORDER_KIND__ORDER_KIND_CANCELLATION
#define OUTCOME(name) DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_##name
#define ARRAYS_LIMIT (4 * MIB)
#define REF_TAKEN "this reference is used for another customer"
/* Ten thousand milliards of the currency: whatever is summed of thousands of them stays in 64 bits.
 */
#define AMOUNT_MAX INT64_C(1000000000000000)

typedef Daybook__Customers__V1__RecordOrderRequest PbOrderRow;

static bool currency_is_ours(struct call *call, const char *code)
{
    const struct dir_tenant *t = call->dir ? directory_tenant(call->dir, call->tenant) : NULL;

    return t && strcmp(t->currency_code, code) == 0;
}

/* What is wrong with an order, apart from its customer; NULL = nothing. */
static const char *order_fault(struct call *call, const PbOrder *o, const char **field_out)
{
    *field_out = "order.kind";
    if (o->kind != KIND_ORDER && o->kind != KIND_CANCELLATION)
        return "must be an order or a cancellation";
    *field_out = "order.ordered_at";
    if (!o->ordered_at)
        return "is missing";
    if (wire_time_us(o->ordered_at) > call->now_us)
        return "lies in the future";
    if (wire_time_us(o->ordered_at) < 0)
        return "lies before 1970";
    *field_out = "order.amount";
    if (!o->amount || o->amount->minor_units == 0)
        return "is missing or zero";
    if (o->amount->minor_units > AMOUNT_MAX || o->amount->minor_units < -AMOUNT_MAX)
        return "is too large";
    if ((o->kind == KIND_ORDER) != (o->amount->minor_units > 0))
        return "must be positive for an order and negative for a cancellation";
    *field_out = "order.amount.currency_code";
    if (!currency_is_ours(call, o->amount->currency_code))
        return "is not the company's currency";
    *field_out = "order.external_ref";
    if (o->external_ref && !customer_rules_ref_ok(o->external_ref))
        return "needs a source of a-z, 0-9, _ and -, and an id of 1 to 128 characters";
    return NULL;
}

/* The same of the order that it takes back. */
static const char *cancel_fault(const PbOrderRow *row, const char **field_out)
{
    bool by_id = *row->order->cancels_order_id;
    struct id id;

    *field_out = by_id ? "order.cancels_order_id" : "cancels_external_ref";
    if (!by_id && !row->cancels_external_ref)
        return NULL;
    if (row->order->kind != KIND_CANCELLATION)
        return "is for cancellations only";
    if (by_id ? !id_parse(row->order->cancels_order_id, &id)
              : !customer_rules_ref_ok(row->cancels_external_ref))
        return "names no order";
    return NULL;
}

/* The customer of one order by id or by reference, seen by the actor. */
static enum err resolve_customer(struct call *call, const PbOrderRow *row, PbOrder *order)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (*order->customer_id)
        return customer_store_need(call, order->customer_id, "order.customer_id");
    if (!row->customer_external_ref)
        return call_fail(call, ERR_INVALID_ARGUMENT, "order.customer_id",
                         "name the customer by id or by customer_external_ref");
    const char *params[] = { call_tenant_text(call), row->customer_external_ref->source,
                             row->customer_external_ref->id };
    PbCustomer *customer;
    struct id owner;
    enum err e = record_find(call->db, &sql_customer_by_ref, params,
                             &daybook__customers__v1__customer__descriptor, call->arena, &customer);
    bool hidden = !e && (!id_parse(customer->owner_id, &owner) || !authority_sees(call, owner));
    if (hidden)
        call_out_of_sight(call);
    if (e == ERR_NOT_FOUND || hidden)
        return call_fail(call, ERR_NOT_FOUND, "customer_external_ref", "there is no such customer");
    if (!e)
        order->customer_id = customer->id;
    return e;
}

static bool same_id(const char *x, const char *y)
{
    struct id a, b;

    return id_parse(x, &a) && id_parse(y, &b) && id_equal(a, b);
}

/* What is paid must be an order of the one who pays. */
static enum err need_own_order(struct call *call, const PbPayment *payment)
{
    const char *params[] = { call_tenant_text(call), payment->order_id, payment->customer_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!*payment->order_id)
        return ERR_OK;
    enum err e = db_exec(call->db, &sql_order_of_customer, params, &res);
    if (e || PQntuples(res))
        return e;
    return call_fail(call, ERR_NOT_FOUND, "payment.order_id", "the customer has no order %s",
                     payment->order_id);
}

/* A record that is there already under the same reference. ERR_NOT_FOUND: none. */
static enum err find_by_ref(struct call *call, const Daybook__Common__V1__ExternalRef *ref,
                            const struct db_stmt *stmt, const ProtobufCMessageDescriptor *type,
                            void *message_out)
{
    if (!ref)
        return ERR_NOT_FOUND;
    const char *params[] = { call_tenant_text(call), ref->source, ref->id };
    return record_find(call->db, stmt, params, type, call->arena, message_out);
}

/* What a cancellation takes back must be an order, and of the same customer. */
static enum err resolve_cancelled(struct call *call, const PbOrderRow *row, PbOrder *order)
{
    const char *field, *fault = cancel_fault(row, &field);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    PbOrder *found = NULL;
    enum err e = ERR_OK;

    if (fault)
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "%s", fault);
    if (!*order->cancels_order_id && row->cancels_external_ref) {
        e = find_by_ref(call, row->cancels_external_ref, &sql_order_by_ref,
                        &daybook__customers__v1__order__descriptor, &found);
        if (!e)
            order->cancels_order_id = found->id;
    }
    if (!e && *order->cancels_order_id) {
        const char *params[] = { call_tenant_text(call), order->cancels_order_id,
                                 order->customer_id };
        e = db_exec(call->db, &sql_order_of_customer, params, &res);
        if (!e && (!PQntuples(res) || strcmp(PQgetvalue(res, 0, 0), "order") != 0))
            e = ERR_NOT_FOUND;
    }
    return e == ERR_NOT_FOUND ? call_fail(call, e, field, "the customer has no such order") : e;
}

/* Never shows the record of one customer to whom only another one is known. */
static enum err taken(struct call *call, const char *field)
{
    return call_fail(call, ERR_ALREADY_EXISTS, field, REF_TAKEN);
}

enum err deal_record_order(struct call *call, const ProtobufCMessage *in,
                           ProtobufCMessage **reply_out)
{
    const PbOrderRow *req = (const void *)in;
    Daybook__Customers__V1__RecordOrderResponse *reply =
        call_new(call, &daybook__customers__v1__record_order_response__descriptor);
    PbOrder *order = wire_clone(&req->order->base, call->arena);
    const char *field, *fault;

    if (!reply || !order)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    fault = order_fault(call, order, &field);
    if (fault)
        return call_fail(call, ERR_INVALID_ARGUMENT, field, "%s", fault);
    enum err e = resolve_customer(call, req, order);
    if (e)
        return e;
    e = find_by_ref(call, order->external_ref, &sql_order_by_ref,
                    &daybook__customers__v1__order__descriptor, &reply->order);
    if (!e && !same_id(reply->order->customer_id, order->customer_id))
        return taken(call, "order.external_ref");
    if (e != ERR_NOT_FOUND)
        return e;
    e = resolve_cancelled(call, req, order);
    if (e)
        return e;
    order->id = customers_new_id(call);
    if (!order->id)
        return ERR_RESOURCE_EXHAUSTED;
    e = store_queue(call, &sql_order_insert, &order->base, NULL, 0);
    if (!e && order->external_ref)
        e = db_flush(call->db);
    if (e == ERR_ALREADY_EXISTS) /* a twin was faster: run again and find his */
        return ERR_ABORTED;
    if (e)
        return e;
    Daybook__Customers__V1__OrderRecorded event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__order_recorded__descriptor),
        .order = order,
    };
    reply->order = order;
    return call_emit(call, "orders", order->id, 1, &event.base);
}

enum err deal_record_payment(struct call *call, const ProtobufCMessage *in,
                             ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__RecordPaymentRequest *req = (const void *)in;
    Daybook__Customers__V1__RecordPaymentResponse *reply =
        call_new(call, &daybook__customers__v1__record_payment_response__descriptor);
    PbPayment *payment = wire_clone(&req->payment->base, call->arena);

    if (!reply || !payment)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    if (payment->amount->minor_units <= 0 || payment->amount->minor_units > AMOUNT_MAX)
        call_violation(call, "payment.amount", "must be positive, and not too large");
    if (!currency_is_ours(call, payment->amount->currency_code))
        call_violation(call, "payment.amount.currency_code", "is not the company's currency");
    if (wire_time_us(payment->paid_at) > call->now_us)
        call_violation(call, "payment.paid_at", "lies in the future");
    enum err e = call_violations(call);
    if (!e)
        e = customer_store_need(call, payment->customer_id, "payment.customer_id");
    if (e)
        return e;
    e = find_by_ref(call, payment->external_ref, &sql_payment_by_ref,
                    &daybook__customers__v1__payment__descriptor, &reply->payment);
    if (!e && !same_id(reply->payment->customer_id, payment->customer_id))
        return taken(call, "payment.external_ref");
    if (e != ERR_NOT_FOUND)
        return e;
    e = need_own_order(call, payment);
    if (e)
        return e;
    payment->id = customers_new_id(call);
    if (!payment->id)
        return ERR_RESOURCE_EXHAUSTED;
    e = store_exec(call, &sql_payment_insert, &payment->base, NULL, 0);
    if (e == ERR_ALREADY_EXISTS)
        return ERR_ABORTED;
    if (e)
        return e;
    Daybook__Customers__V1__PaymentRecorded event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__payment_recorded__descriptor),
        .payment = payment,
    };
    reply->payment = payment;
    return call_emit(call, "payments", payment->id, 1, &event.base);
}

/* --- many at once ----------------------------------------------------------------------------- */

/* A set of references found in the database: (source, id) -> row's id, sorted for look-up. */
struct ref {
    const char *source, *id, *row_id;
    struct id whose; /* of a customer its owner, of an order its customer */
    bool is_order;   /* and no cancellation */
};

static int compare_refs(const void *x, const void *y)
{
    const struct ref *a = x, *b = y;
    int c = strcmp(a->source, b->source);

    return c ? c : strcmp(a->id, b->id);
}

/* Looks the references up in one round trip; whose: the column that says it. */
static enum err find_refs(struct call *call, const struct db_stmt *stmt, const struct sbuf *sources,
                          const struct sbuf *ids, const char *whose, struct ref **refs_out,
                          size_t *n_out)
{
    const char *params[] = { call_tenant_text(call), sources->data, ids->data };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (sources->bad || ids->bad)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, stmt, params, &res);
    if (e)
        return e;
    size_t n = (size_t)PQntuples(res);
    struct ref *refs = arena_array(call->arena, n, sizeof(*refs));
    if (!refs)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++) {
        struct db_row row = { .res = res, .row = (int)i };
        refs[i].source = arena_strdup(call->arena, db_row_text(&row, "ref_source"));
        refs[i].id = arena_strdup(call->arena, db_row_text(&row, "ref_id"));
        refs[i].row_id = arena_strdup(call->arena, db_row_text(&row, "id"));
        refs[i].whose = db_row_id(&row, whose);
        const char *kind = db_row_text(&row, "kind");
        if (row.bad || !kind)
            return ERR_INTERNAL;
        refs[i].is_order = strcmp(kind, "order") == 0;
        if (!refs[i].source || !refs[i].id || !refs[i].row_id)
            return ERR_RESOURCE_EXHAUSTED;
    }
    qsort(refs, n, sizeof(*refs), compare_refs);
    *refs_out = refs;
    *n_out = n;
    return ERR_OK;
}

static const struct ref *lookup(const struct ref *refs, size_t n, const struct ref *key)
{
    return n ? bsearch(key, refs, n, sizeof(*refs), compare_refs) : NULL;
}

struct batch {
    const Daybook__Customers__V1__BatchRecordOrdersRequest *req;
    Daybook__Customers__V1__BatchRecordOrdersResponse *reply;
    struct ref *customers, *orders;
    size_t ncustomers, norders;
    PbOrder **fresh; /* to be written */
    size_t nfresh;
};

static void add_pair(struct sbuf *sources, struct sbuf *ids, const char *source, const char *id)
{
    bool first = sources->len == 1;

    if (!first) {
        sbuf_add_char(sources, ',');
        sbuf_add_char(ids, ',');
    }
    sbuf_add_pg_element(sources, source);
    sbuf_add_pg_element(ids, id);
}

/* What is no reference is refused with its row and not looked for. */
static void add_ref(struct sbuf *sources, struct sbuf *ids,
                    const Daybook__Common__V1__ExternalRef *ref)
{
    if (ref && customer_rules_ref_ok(ref))
        add_pair(sources, ids, ref->source, ref->id);
}

/* How a row names its customer: by id (the empty source), else by reference. False: not at all. */
static bool customer_key(const PbOrderRow *row, char id_buf[static ID_TEXT_MAX],
                         struct ref *key_out)
{
    const Daybook__Common__V1__ExternalRef *ref = row->customer_external_ref;
    struct id id;

    if (row->order && *row->order->customer_id) {
        if (!id_parse(row->order->customer_id, &id))
            return false;
        *key_out = (struct ref){ .source = "", .id = id_text(id, id_buf) };
        return true;
    }
    if (!ref || !customer_rules_ref_ok(ref))
        return false;
    *key_out = (struct ref){ .source = ref->source, .id = ref->id };
    return true;
}

/* How a cancellation names its order, in the same way. */
static bool cancelled_key(const PbOrderRow *row, char id_buf[static ID_TEXT_MAX],
                          struct ref *key_out)
{
    const Daybook__Common__V1__ExternalRef *ref = row->cancels_external_ref;
    const char *field;
    struct id id;

    if (cancel_fault(row, &field))
        return false;
    if (*row->order->cancels_order_id) {
        if (!id_parse(row->order->cancels_order_id, &id))
            return false;
        *key_out = (struct ref){ .source = "", .id = id_text(id, id_buf) };
        return true;
    }
    if (ref)
        *key_out = (struct ref){ .source = ref->source, .id = ref->id };
    return ref != NULL;
}

/* Which of the rows' customers and orders are there: two round trips for the batch. */
static enum err look_up_batch(struct call *call, struct batch *b)
{
    CLEANUP(sbuf_fini) struct sbuf csources, cids, osources, oids;
    struct sbuf *all[] = { &csources, &cids, &osources, &oids };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        sbuf_init(all[i], ARRAYS_LIMIT);
        sbuf_add_char(all[i], '{');
    }
    for (size_t i = 0; i < b->req->n_rows; i++) {
        char id_buf[ID_TEXT_MAX];
        struct ref key;
        if (customer_key(b->req->rows[i], id_buf, &key))
            add_pair(&csources, &cids, key.source, key.id);
        if (b->req->rows[i]->order)
            add_ref(&osources, &oids, b->req->rows[i]->order->external_ref);
        if (b->req->rows[i]->order && cancelled_key(b->req->rows[i], id_buf, &key))
            add_pair(&osources, &oids, key.source, key.id);
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        sbuf_add_char(all[i], '}');
    enum err e = find_refs(call, &sql_order_customers, &csources, &cids, "owner_id", &b->customers,
                           &b->ncustomers);
    if (!e)
        e = find_refs(call, &sql_orders_by_refs, &osources, &oids, "customer_id", &b->orders,
                      &b->norders);
    sbuf_fini(&cids);
    sbuf_fini(&osources);
    sbuf_fini(&oids);
    return e;
}

static enum err refuse(struct call *call, PbImportResult *result, const char *field,
                       const char *message)
{
    result->outcome = OUTCOME(INVALID);
    result->field = arena_strdup(call->arena, field);
    result->message = arena_strdup(call->arena, message);
    return result->field && result->message ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static bool is_of(const struct ref *order, const struct ref *customer)
{
    struct id id;

    return id_parse(customer->row_id, &id) && id_equal(id, order->whose);
}

/* The order that a row takes back: one that is there, or of an earlier row. NULL: the customer has
 * none such. */
static const char *cancelled_of(const struct batch *b, const struct ref *key,
                                const struct ref *customer)
{
    const struct ref *there = lookup(b->orders, b->norders, key);

    if (there)
        return there->is_order && is_of(there, customer) ? there->row_id : NULL;
    for (size_t i = 0; i < b->nfresh; i++) {
        const Daybook__Common__V1__ExternalRef *ref = b->fresh[i]->external_ref;
        if (ref && strcmp(ref->id, key->id) == 0 && strcmp(ref->source, key->source) == 0)
            return b->fresh[i]->kind == KIND_ORDER &&
                           same_id(b->fresh[i]->customer_id, customer->row_id)
                       ? b->fresh[i]->id
                       : NULL;
    }
    return NULL;
}

/* Judges one row; a good new one goes into b->fresh. */
static enum err judge_row(struct call *call, struct batch *b, size_t index, PbImportResult *result)
{
    const PbOrderRow *row = b->req->rows[index];
    char id_buf[ID_TEXT_MAX];
    struct ref key;
    const struct ref *customer =
        customer_key(row, id_buf, &key) ? lookup(b->customers, b->ncustomers, &key) : NULL;
    const struct ref *known = NULL;
    const char *field, *fault;

    if (!row->order)
        return refuse(call, result, "order", "is missing");
    fault = order_fault(call, row->order, &field);
    if (!fault)
        fault = cancel_fault(row, &field);
    if (fault)
        return refuse(call, result, field, fault);
    if (!customer || !authority_sees(call, customer->whose))
        return refuse(call, result,
                      *row->order->customer_id ? "order.customer_id" : "customer_external_ref",
                      "there is no such customer");
    if (row->order->external_ref) {
        key = (struct ref){ .source = row->order->external_ref->source,
                            .id = row->order->external_ref->id };
        known = lookup(b->orders, b->norders, &key);
    }
    if (known && !is_of(known, customer))
        return refuse(call, result, "order.external_ref", REF_TAKEN);
    if (known) {
        result->outcome = OUTCOME(UNCHANGED);
        result->id = (char *)(uintptr_t)known->row_id;
        return ERR_OK;
    }
    PbOrder *order = wire_clone(&row->order->base, call->arena);
    if (!order)
        return ERR_RESOURCE_EXHAUSTED;
    if (cancelled_key(row, id_buf, &key)) {
        order->cancels_order_id = (char *)(uintptr_t)cancelled_of(b, &key, customer);
        if (!order->cancels_order_id)
            return refuse(call, result, field, "the customer has no such order");
    }
    order->id = customers_new_id(call);
    order->customer_id = (char *)(uintptr_t)customer->row_id;
    result->outcome = OUTCOME(INSERTED);
    if (!b->req->dry_run) /* nobody would find what is not written */
        result->id = order->id;
    b->fresh[b->nfresh++] = order;
    return order->id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* Two rows of one batch with the same reference: the first counts. */
static bool repeats(const struct batch *b, size_t index)
{
    const PbOrder *mine = b->req->rows[index]->order;

    if (!mine || !mine->external_ref)
        return false;
    for (size_t i = 0; i < b->nfresh; i++) {
        const Daybook__Common__V1__ExternalRef *ref = b->fresh[i]->external_ref;
        if (ref && strcmp(ref->id, mine->external_ref->id) == 0 &&
            strcmp(ref->source, mine->external_ref->source) == 0)
            return true;
    }
    return false;
}

static enum err judge_batch(struct call *call, struct batch *b)
{
    size_t n = b->req->n_rows;

    b->reply->results = arena_array(call->arena, n, sizeof(*b->reply->results));
    b->fresh = arena_array(call->arena, n, sizeof(*b->fresh));
    if (!b->reply->results || !b->fresh)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++) {
        PbImportResult *result = call_new(call, &daybook__customers__v1__import_result__descriptor);
        if (!result)
            return ERR_RESOURCE_EXHAUSTED;
        result->index = (int32_t)i;
        b->reply->results[b->reply->n_results++] = result;
        enum err e = repeats(b, i) ? refuse(call, result, "order.external_ref",
                                            "stands in this batch twice; the first row counts")
                                   : judge_row(call, b, i, result);
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err write_batch(struct call *call, const struct batch *b)
{
    Daybook__Customers__V1__OrdersImported event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__orders_imported__descriptor),
        .orders = b->fresh,
        .n_orders = b->nfresh,
        .imported_at = wire_time(call->arena, call->now_us),
    };
    char batch_id[ID_TEXT_MAX];

    for (size_t i = 0; i < b->nfresh; i++) {
        enum err e = store_queue(call, &sql_order_insert, &b->fresh[i]->base, NULL, 0);
        if (e)
            return e;
    }
    enum err e = db_flush(call->db);
    if (e == ERR_ALREADY_EXISTS) /* another import took one of them meanwhile: judge anew */
        return ERR_ABORTED;
    if (e)
        return e;
    return call_emit(call, "order_batches", id_text(id_new(), batch_id), 1, &event.base);
}

enum err deal_batch_record_orders(struct call *call, const ProtobufCMessage *in,
                                  ProtobufCMessage **reply_out)
{
    struct batch b = {
        .req = (const void *)in,
        .reply = call_new(call, &daybook__customers__v1__batch_record_orders_response__descriptor),
    };

    if (!b.reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &b.reply->base;
    enum err e = customers_need_importer(call, "import orders");
    if (!e)
        e = look_up_batch(call, &b);
    if (!e)
        e = judge_batch(call, &b);
    if (e || b.req->dry_run || b.nfresh == 0)
        return e;
    return write_batch(call, &b);
}
