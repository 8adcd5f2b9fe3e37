/*
 * customer_rules.h - what a customer file may hold and when two files are the same (CUS-07,
 * CUS-18). Pure: no I/O, no clock.
 */
#ifndef DAYBOOK_SERVICES_CUSTOMERS_CUSTOMER_RULES_H
#define DAYBOOK_SERVICES_CUSTOMERS_CUSTOMER_RULES_H

#include "services/customers/customers.h"

/*
 * The name as compared for duplicates: full-width forms made half-width, letters lower-cased, white
 * space and punctuation dropped, the legal form at the end dropped (有限公司, Co., Ltd. and so on).
 * NULL when the arena is full. A name of nothing else gives "".
 */
char *customer_rules_name_key(struct arena *a, const char *name);

/* A fault of a customer or contact: field relative to it, and words. */
struct customer_fault {
    const char *field;
    const char *message;
};

/* Writes at most max faults and returns how many there are. */
size_t customer_rules_check(const PbCustomer *customer, struct customer_fault *out, size_t max);
size_t customer_rules_check_contact(const PbContact *contact, struct customer_fault *out,
                                    size_t max);

/* Defaults of a new file: prospect, status raw. */
void customer_rules_fill(PbCustomer *customer);

/*
 * Copies the fields named by the mask (all that are set when it is NULL or empty; every one for
 * "*") from `from` into `into`. Returns the first unknown path, or NULL. changed: names that differ
 * now, up to max.
 */
const char *customer_rules_apply(PbCustomer *into, const PbCustomer *from, char *const *paths,
                                 size_t npaths, const char **changed, size_t max,
                                 size_t *nchanged_out);

/* Source and id of a reference as types.proto demands them. */
bool customer_rules_ref_ok(const Daybook__Common__V1__ExternalRef *ref);

#endif
