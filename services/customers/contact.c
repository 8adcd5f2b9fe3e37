/*
 * contact.c - the people at a customer (CUS-02). Phone and e-mail are sealed in the database and
 * masked in answers; the owner, his superiors and holders of the scope see them in clear.
 */
#include "common/authority.h"
#include "common/secret.h"
#include "services/customers/customer_rules.h"
#include "services/customers/customer_store.h"

#define FAULTS_MAX 8
#define SCOPE_PERSONAL "customers.personal"

/* Under the customer's lock. */
static enum err need_room(struct call *call, const char *customer_id)
{
    const char *params[] = { call_tenant_text(call), customer_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_contact_count, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    int64_t n = db_row_i64(&row, "n");
    if (row.bad)
        return ERR_INTERNAL;
    return n < CONTACTS_MAX ? ERR_OK
                            : call_fail(call, ERR_FAILED_PRECONDITION, "contact.customer_id",
                                        "a customer has at most %d contacts", CONTACTS_MAX);
}

/* The log is for ever and a person must be erasable, so the event names nobody. */
enum err contact_emit_created(struct call *call, const PbContact *contact, int64_t version)
{
    PbContact shown = *contact;

    shown.name = shown.birthday = (char *)(uintptr_t) "";
    Daybook__Customers__V1__ContactCreated event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__customers__v1__contact_created__descriptor),
        .contact = &shown,
    };
    return call_emit(call, "customers", contact->customer_id, version, &event.base);
}

enum err contact_create(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__CreateContactRequest *req = (const void *)in;
    Daybook__Customers__V1__CreateContactResponse *reply =
        call_new(call, &daybook__customers__v1__create_contact_response__descriptor);
    PbContact *contact = wire_clone(&req->contact->base, call->arena);
    struct customer_fault faults[FAULTS_MAX];
    PbCustomer *customer;
    char field[64];

    if (!reply || !contact)
        return ERR_RESOURCE_EXHAUSTED;
    size_t n = MIN(customer_rules_check_contact(contact, faults, FAULTS_MAX), FAULTS_MAX);
    for (size_t i = 0; i < n; i++) {
        snprintf(field, sizeof(field), "contact.%s", faults[i].field);
        call_violation(call, field, "%s", faults[i].message);
    }
    enum err e = call_violations(call);
    if (e)
        return e;
    /* Locked: the event belongs to the customer's file and takes its next version. */
    e = customer_store_load(call, &sql_customer_lock, contact->customer_id, "contact.customer_id",
                            &customer);
    if (e)
        return e;
    contact->id = customers_new_id(call);
    contact->customer_id = customer->id;
    if (!contact->id)
        return ERR_RESOURCE_EXHAUSTED;
    e = need_room(call, customer->id);
    if (!e)
        e = contact_store_insert(call, contact);
    if (!e)
        e = customer_store_update(call, customer);
    if (e)
        return e;
    reply->contact = contact;
    *reply_out = &reply->base;
    return contact_emit_created(call, contact, customer_store_version(customer));
}

/* The clear text of a sealed field. */
static enum err open_field(struct call *call, const char *what, const char *id, const char *sealed,
                           char **out)
{
    char *record = arena_printf(call->arena, "contact.%s:%s", what, id);

    return record ? secret_open(call->arena, call->tenant, record, sealed, out)
                  : ERR_RESOURCE_EXHAUSTED;
}

static enum err reveal(struct call *call, const PGresult *res, PbContact *const *contacts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct db_row row = { .res = res, .row = (int)i };
        const char *phone = db_row_text(&row, "_phone_sealed");
        const char *email = db_row_text(&row, "_email_sealed");
        if (row.bad)
            return ERR_INTERNAL;
        enum err e = open_field(call, "phone", contacts[i]->id, phone, &contacts[i]->phone);
        if (!e)
            e = open_field(call, "email", contacts[i]->id, email, &contacts[i]->email);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err contact_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Customers__V1__ListContactsRequest *req = (const void *)in;
    Daybook__Customers__V1__ListContactsResponse *reply =
        call_new(call, &daybook__customers__v1__list_contacts_response__descriptor);
    const char *params[] = { call_tenant_text(call), req->customer_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    enum err e = customer_store_need(call, req->customer_id, "customer_id");
    if (!e)
        e = db_exec(call->db, &sql_contact_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__customers__v1__contact__descriptor, call->arena,
                            &reply->n_contacts, &reply->contacts);
    if (e)
        return e;
    bool may_see =
        call->employee || authority_is_system(call) || authority_has_scope(call, SCOPE_PERSONAL);
    return may_see ? reveal(call, res, reply->contacts, reply->n_contacts) : ERR_OK;
}
