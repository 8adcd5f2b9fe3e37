/*
 * customers.h - private interface of the customers daemon: short names for the generated types, and
 * what its files share.
 */
#ifndef DAYBOOK_SERVICES_CUSTOMERS_CUSTOMERS_H
#define DAYBOOK_SERVICES_CUSTOMERS_CUSTOMERS_H

#include "common/call.h"
#include "common/consumer.h"
#include "daybook/customers/v1/customers.pb-c.h"
#include "daybook/customers/v1/events.pb-c.h"

typedef Daybook__Customers__V1__Customer PbCustomer;
typedef Daybook__Customers__V1__Contact PbContact;
typedef Daybook__Customers__V1__Interaction PbInteraction;
typedef Daybook__Customers__V1__Question PbQuestion;
typedef Daybook__Customers__V1__Order PbOrder;
typedef Daybook__Customers__V1__Payment PbPayment;
typedef Daybook__Customers__V1__ImportResult PbImportResult;

#define CUSTOMER_SERVICE "daybook.customers.v1.CustomerService"
#define CONTACT_SERVICE "daybook.customers.v1.ContactService"
#define INTERACTION_SERVICE "daybook.customers.v1.InteractionService"
#define DEAL_SERVICE "daybook.customers.v1.DealService"

#define CONTACTS_MAX 100         /* of one customer */
#define IMPORT_CONTACTS_MAX 2500 /* of one batch: what fits the memory of a request */

extern const struct method customers_methods[];
extern const size_t customers_methods_len;
extern const struct consumer_def customers_consumer;

/* customer.c */
call_handler customer_create, customer_get, customer_update, customer_list;
call_handler customer_find_duplicates;
/* customer_import.c */
call_handler customer_batch_import;
/* contact.c */
call_handler contact_create, contact_list;
/* interaction.c, question.c */
call_handler interaction_register_ended, interaction_record, interaction_list, question_answer;
/* deal.c */
call_handler deal_record_order, deal_batch_record_orders, deal_record_payment;
/* timeline.c */
call_handler timeline_get;

/* Unit of an employee as text; "" when not known. */
char *customers_unit_of(struct call *call, const char *employee_id);
/* Until when the rule `key` (hours) lets what began at start_us wait, by the rule book as it stands
 * now; unit: as in the event that opened the duty, "" or NULL for the company's. */
int64_t customers_deadline(struct call *call, const char *unit, const char *key, int64_t start_us);
/* ERR_INVALID_ARGUMENT naming the field: not an active employee of the tenant. */
NODISCARD enum err customers_need_employee(struct call *call, const char *employee_id,
                                           const char *field);
/* CUS-31: bulk import is for managers. */
NODISCARD enum err customers_need_importer(struct call *call, const char *what);
/* Tells of a contact that was stored, and masked by that; version: the customer's. */
NODISCARD enum err contact_emit_created(struct call *call, const PbContact *contact,
                                        int64_t version);
/* A new id as arena text; NULL when the arena is full. */
char *customers_new_id(struct call *call);

#endif
