/*
 * customer_store.h - rows <-> customers, contacts and the rest; the statements stand in sql/.
 */
#ifndef DAYBOOK_SERVICES_CUSTOMERS_CUSTOMER_STORE_H
#define DAYBOOK_SERVICES_CUSTOMERS_CUSTOMER_STORE_H

#include "services/customers/customers.h"
#include "services/customers/sql.h"

/* A message into a statement, with tenant_id added; extras may be NULL. Queued. */
NODISCARD enum err store_queue(struct call *call, const struct db_stmt *stmt,
                               const ProtobufCMessage *message, const struct record_extra *extras,
                               size_t nextras);
/* The same, sent at once, for those whose constraint may say no. */
NODISCARD enum err store_exec(struct call *call, const struct db_stmt *stmt,
                              const ProtobufCMessage *message, const struct record_extra *extras,
                              size_t nextras);

/* ERR_NOT_FOUND with words for `field`: no such customer, or the actor may not see him. */
NODISCARD enum err customer_store_need(struct call *call, const char *id, const char *field);
NODISCARD enum err customer_store_load(struct call *call, const struct db_stmt *stmt,
                                       const char *id, const char *field,
                                       PbCustomer **customer_out);

/* CON-02: says of a customer that was read whether his tier makes him a key account. */
void customer_store_mark(const struct call *call, PbCustomer *customer);

/* With the version, also in customer->etag, that ncontacts new contacts of his leave him with. */
NODISCARD enum err customer_store_insert(struct call *call, PbCustomer *customer, size_t ncontacts);
/* Raises the version, also in customer->etag. */
NODISCARD enum err customer_store_update(struct call *call, PbCustomer *customer);
int64_t customer_store_version(const PbCustomer *customer);

/* Inserts a contact (personal fields sealed) and masks it in place for answers and events. */
NODISCARD enum err contact_store_insert(struct call *call, PbContact *contact);

/* For a change of the master key. */
extern const struct reseal_table contact_sealed;

/* One question of "is this a duplicate?" */
struct duplicate_query {
    const char *name_key;
    const char *city_code;
    const char *credit_code;
    const char *phone;     /* "" = none */
    const char *except_id; /* NULL = none */
};
struct duplicate_hit {
    const char *id; /* NULL = no duplicate */
    int reason;     /* DuplicateReason */
};
/* hits_out: n of them, in the order of the queries. One round trip. */
NODISCARD enum err customer_store_duplicates(struct call *call,
                                             const struct duplicate_query *queries, size_t n,
                                             struct duplicate_hit *hits_out);

#endif
