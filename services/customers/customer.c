/*
 * customer.c - the handlers of CustomerService for single files: make, read, change, list, and the
 * question whether a file is a duplicate (CUS-01, CUS-07, CUS-18).
 *
 * The duplicate check is a look before the write and may miss a twin that is being made at the same
 * moment; what must be unique (external_ref) is a constraint.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/deadline.h"
#include "services/customers/customer_rules.h"
#include "services/customers/customer_store.h"

#define FAULTS_MAX 24
#define CREATE_CONTACTS_MAX 20

char *customers_new_id(struct call *call)
{
    char id[ID_TEXT_MAX];

    return arena_strdup(call->arena, id_text(id_new(), id));
}

static const struct dir_employee *employee_of(struct call *call, const char *employee_id)
{
    struct id id;

    if (!call->dir || !id_parse(employee_id, &id))
        return NULL;
    return directory_employee(call->dir, call->tenant, id);
}

char *customers_unit_of(struct call *call, const char *employee_id)
{
    const struct dir_employee *e = employee_of(call, employee_id);
    char *text =
        e && e->unit ? db_text_id(call->arena, e->unit->id) : arena_strdup(call->arena, "");

    return text;
}

int64_t customers_deadline(struct call *call, const char *unit, const char *key, int64_t start_us)
{
    struct id id = { 0 };

    if (unit && *unit && !id_parse(unit, &id))
        id = (struct id){ 0 };
    return deadline_of(call->dir, call->tenant, id, key, start_us, call->now_us);
}

enum err customers_need_employee(struct call *call, const char *employee_id, const char *field)
{
    const struct dir_employee *e = employee_of(call, employee_id);

    if (e && e->active)
        return ERR_OK;
    return call_fail(call, ERR_INVALID_ARGUMENT, field, "there is no such active employee");
}

/* All faults of the file and its contacts as field violations. */
static enum err check_all(struct call *call, const PbCustomer *customer, PbContact *const *contacts,
                          size_t ncontacts)
{
    struct customer_fault faults[FAULTS_MAX];
    size_t n = MIN(customer_rules_check(customer, faults, FAULTS_MAX), FAULTS_MAX);
    char field[96];

    for (size_t i = 0; i < n; i++) {
        snprintf(field, sizeof(field), "customer.%s", faults[i].field);
        call_violation(call, field, "%s", faults[i].message);
    }
    for (size_t k = 0; k < ncontacts; k++) {
        n = MIN(customer_rules_check_contact(contacts[k], faults, FAULTS_MAX), FAULTS_MAX);
        for (size_t i = 0; i < n; i++) {
            snprintf(field, sizeof(field), "contacts[%zu].%s", k, faults[i].field);
            call_violation(call, field, "%s", faults[i].message);
        }
    }
    return call_violations(call);
}

static enum err resolve_owner(struct call *call, PbCustomer *customer)
{
    struct id owner;

    if (!*customer->owner_id) {
        if (!call->employee)
            return call_fail(call, ERR_INVALID_ARGUMENT, "customer.owner_id",
                             "name the owner; the caller is not an employee");
        customer->owner_id = db_text_id(call->arena, call->actor);
        return customer->owner_id ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    enum err e = customers_need_employee(call, customer->owner_id, "customer.owner_id");
    if (e)
        return e;
    if (!id_parse(customer->owner_id, &owner))
        return ERR_INTERNAL;
    customer->owner_id = db_text_id(call->arena, owner); /* as everybody else writes it */
    if (!customer->owner_id)
        return ERR_RESOURCE_EXHAUSTED;
    return authority_need_sight(call, owner, "employee");
}

/* CUS-14: the counterpart of a key account changes by a supervisor's word only, and so does the
 * mark go: else one took it away first and handed the customer over then. */
static enum err guard_key_account(struct call *call, PbCustomer *customer, const PbCustomer *before)
{
    static const char *const roles[] = { "supervisor", "sales_manager", "regional_manager",
                                         "general_manager", NULL };
    bool moves = strcmp(before->owner_id, customer->owner_id) != 0;
    bool was_key = before->key_account || before->key_account_by_tier;
    enum err e = moves ? resolve_owner(call, customer) : ERR_OK;

    if (!e && moves && was_key)
        return authority_need_role(call, roles, "change the owner of a key account");
    if (!e && before->key_account && !customer->key_account)
        return authority_need_role(call, roles, "take the mark of a key account away");
    return e;
}

static enum err refuse_duplicate(struct call *call, const struct duplicate_hit *hit)
{
    static const char *const why[] = { "", "its credit code", "its name in the same region",
                                       "a contact's phone number" };

    enum err e = call_fail(call, ERR_ALREADY_EXISTS, "customer",
                           "looks the same as customer %s by %s; use that one, or confirm with "
                           "allow_duplicate",
                           hit->id, why[hit->reason]);
    call_resource(call, "daybook.customers.v1.Customer", hit->id, "likely duplicate");
    return call_reason(call, e, "DUPLICATE_CUSTOMER");
}

static enum err check_duplicate(struct call *call, const PbCustomer *customer,
                                PbContact *const *contacts, size_t ncontacts)
{
    struct duplicate_query queries[CREATE_CONTACTS_MAX + 1];
    struct duplicate_hit hits[CREATE_CONTACTS_MAX + 1];
    size_t n = 0;
    char *key = customer_rules_name_key(call->arena, customer->name);

    if (!key)
        return ERR_RESOURCE_EXHAUSTED;
    queries[n++] =
        (struct duplicate_query){ key, customer->city_code, customer->credit_code, "", NULL };
    for (size_t i = 0; i < ncontacts && i < CREATE_CONTACTS_MAX; i++)
        if (*contacts[i]->phone)
            queries[n++] = (struct duplicate_query){ "", "", "", contacts[i]->phone, NULL };
    enum err e = customer_store_duplicates(call, queries, n, hits);
    for (size_t i = 0; !e && i < n; i++)
        if (hits[i].id)
            return refuse_duplicate(call, &hits[i]);
    return e;
}

static enum err insert_contacts(struct call *call, const PbCustomer *customer,
                                Daybook__Customers__V1__CreateCustomerResponse *reply,
                                PbContact *const *contacts, size_t n)
{
    reply->contacts = arena_array(call->arena, n, sizeof(*reply->contacts));
    if (!reply->contacts)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < n; i++) {
        PbContact *contact = wire_clone(&contacts[i]->base, call->arena);
        if (!contact)
            return ERR_RESOURCE_EXHAUSTED;
        contact->id = customers_new_id(call);
        contact->customer_id = customer->id;
        if (!contact->id)
            return ERR_RESOURCE_EXHAUSTED;
        enum err e = contact_store_insert(call, contact);
        if (e)
            return e;
        reply->contacts[reply->n_contacts++] = contact;
    }
    return ERR_OK;
}

enum err customer_create(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__CreateCustomerRequest *req = (const void *)in;
    Daybook__Customers__V1__CreateCustomerResponse *reply =
        call_new(call, &daybook__customers__v1__create_customer_response__descriptor);
    PbCustomer *customer = wire_clone(&req->customer->base, call->arena);

    if (!reply || !customer)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = check_all(call, customer, req->contacts, req->n_contacts);
    if (!e)
        e = resolve_owner(call, customer);
    if (!e && !req->allow_duplicate)
        e = check_duplicate(call, customer, req->contacts, req->n_contacts);
    if (e)
        return e;
    customer->id = customers_new_id(call);
    customer->created_at = wire_time(call->arena, call->now_us);
    customer->tier = DAYBOOK__CUSTOMERS__V1__TIER__TIER_UNSPECIFIED;
    customer->key_account_by_tier = false;
    customer->last_contact_at = NULL;
    customer->open_questions = 0;
    if (!customer->id || !customer->created_at)
        return ERR_RESOURCE_EXHAUSTED;
    customer_rules_fill(customer);
    e = customer_store_insert(call, customer, req->n_contacts);
    if (!e)
        e = db_flush(call->db);
    if (e == ERR_ALREADY_EXISTS)
        return call_fail(call, e, "customer.external_ref", "another customer has this reference");
    if (!e)
        e = insert_contacts(call, customer, reply, req->contacts, req->n_contacts);
    if (e)
        return e;
    Daybook__Customers__V1__CustomerCreated event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__customer_created__descriptor),
        .customer = customer,
    };
    reply->customer = customer;
    *reply_out = &reply->base;
    e = call_emit(call, "customers", customer->id, 1, &event.base);
    for (size_t i = 0; !e && i < reply->n_contacts; i++)
        e = contact_emit_created(call, reply->contacts[i], 2 + (int64_t)i);
    return e;
}

enum err customer_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__GetCustomerRequest *req = (const void *)in;
    Daybook__Customers__V1__GetCustomerResponse *reply =
        call_new(call, &daybook__customers__v1__get_customer_response__descriptor);
    struct id owner;
    enum err e;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    if (*req->id)
        return customer_store_load(call, &sql_customer_load, req->id, "id", &reply->customer);
    if (!req->external_ref)
        return call_fail(call, ERR_INVALID_ARGUMENT, "id", "give id or external_ref");
    const char *params[] = { call_tenant_text(call), req->external_ref->source,
                             req->external_ref->id };
    e = record_find(call->db, &sql_customer_by_ref, params,
                    &daybook__customers__v1__customer__descriptor, call->arena, &reply->customer);
    bool hidden =
        !e && (!id_parse(reply->customer->owner_id, &owner) || !authority_sees(call, owner));
    if (hidden)
        call_out_of_sight(call);
    if (hidden || e == ERR_NOT_FOUND)
        return call_fail(call, ERR_NOT_FOUND, "external_ref", "there is no such customer");
    if (!e)
        customer_store_mark(call, reply->customer);
    return e;
}

enum err customer_update(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__UpdateCustomerRequest *req = (const void *)in;
    Daybook__Customers__V1__UpdateCustomerResponse *reply =
        call_new(call, &daybook__customers__v1__update_customer_response__descriptor);
    const char *changed[16];
    size_t nchanged;
    PbCustomer *customer;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    enum err e =
        customer_store_load(call, &sql_customer_lock, req->customer->id, "customer.id", &customer);
    if (e)
        return e;
    if (*req->customer->etag && strcmp(req->customer->etag, customer->etag) != 0)
        return call_fail(call, ERR_ABORTED, "customer.etag",
                         "the customer was changed meanwhile; read it again");
    const PbCustomer before = *customer;
    const char *unknown = customer_rules_apply(
        customer, req->customer, req->update_mask ? req->update_mask->paths : NULL,
        req->update_mask ? req->update_mask->n_paths : 0, changed, ARRAY_LEN(changed), &nchanged);
    if (unknown)
        return call_fail(call, ERR_INVALID_ARGUMENT, "update_mask",
                         "there is no field %s that can be changed", unknown);
    reply->customer = customer;
    if (nchanged == 0)
        return ERR_OK;
    customer_rules_fill(customer);
    e = check_all(call, customer, NULL, 0);
    if (!e)
        e = guard_key_account(call, customer, &before);
    if (!e)
        e = customer_store_update(call, customer);
    if (e)
        return e;
    Daybook__Customers__V1__CustomerUpdated event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__customer_updated__descriptor),
        .customer = customer,
        .n_changed_fields = nchanged,
        .changed_fields = (char **)(uintptr_t)changed,
    };
    return call_emit(call, "customers", customer->id, customer_store_version(customer),
                     &event.base);
}

enum err customer_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__ListCustomersRequest *req = (const void *)in;
    Daybook__Customers__V1__ListCustomersResponse *reply =
        call_new(call, &daybook__customers__v1__list_customers_response__descriptor);
    const char *tier =
        record_enum_text(&daybook__customers__v1__tier__descriptor, (int)req->tier, call->arena);
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    struct call_page page = {
        .filter = arena_printf(call->arena, "customers/%s/%s/%d", call_actor_text(call),
                               req->owner_id, (int)req->tier),
    };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call),
                             authority_visible_owners(call),
                             *req->owner_id ? req->owner_id : NULL,
                             tier && *tier ? tier : NULL,
                             page.keys[0],
                             page.keys[1],
                             page.limit };
    e = db_exec(call->db, &sql_customer_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__customer__descriptor, call->arena,
                            &reply->n_customers, &reply->customers);
    if (e)
        return e;
    reply->n_customers = call_page_rows(&page, reply->n_customers);
    for (size_t i = 0; i < reply->n_customers; i++)
        customer_store_mark(call, reply->customers[i]);
    if (!page.more)
        return ERR_OK;
    const PbCustomer *last = reply->customers[reply->n_customers - 1];
    const char *keys[] = { last->name, last->id, NULL };
    return call_page_end(call, &page, keys, &reply->next_page_token);
}

enum err customer_find_duplicates(struct call *call, const ProtobufCMessage *in,
                                  ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__FindDuplicatesRequest *req = (const void *)in;
    Daybook__Customers__V1__FindDuplicatesResponse *reply =
        call_new(call, &daybook__customers__v1__find_duplicates_response__descriptor);
    char *key = customer_rules_name_key(call->arena, req->name);

    if (!reply || !key)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    /* One query a criterion, so that each finds its own. */
    const struct duplicate_query queries[] = {
        { "", "", req->credit_code, "", NULL },
        { key, req->city_code, "", "", NULL },
        { "", "", "", req->phone, NULL },
    };
    struct duplicate_hit hits[ARRAY_LEN(queries)];
    enum err e = customer_store_duplicates(call, queries, ARRAY_LEN(queries), hits);
    if (e)
        return e;
    reply->candidates = arena_array(call->arena, ARRAY_LEN(queries), sizeof(*reply->candidates));
    if (!reply->candidates)
        return ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        if (!hits[i].id)
            continue;
        Daybook__Customers__V1__DuplicateCandidate *c =
            call_new(call, &daybook__customers__v1__duplicate_candidate__descriptor);
        if (!c)
            return ERR_RESOURCE_EXHAUSTED;
        c->customer_id = (char *)(uintptr_t)hits[i].id;
        c->reason = (Daybook__Customers__V1__DuplicateReason)hits[i].reason;
        reply->candidates[reply->n_candidates++] = c;
    }
    return ERR_OK;
}
