/*
 * audit.h - what the two sides of the audit trail share: audit.c makes it from events, audit_service.c
 * shows and verifies it.
 */
#ifndef DAYBOOK_DIRECTORY_AUDIT_H
#define DAYBOOK_DIRECTORY_AUDIT_H

#include "services/directory/audit_chain.h"
#include "services/directory/service.h"

#define AUDIT_NUMBER_MAX 1e15 /* of an entry */
#define AUDIT_TEXT_MAX 200    /* characters of a filter */
#define AUDIT_VERIFY_MAX 5000 /* entries a call */

/* The newest entry of the company; zero when it has none. */
NODISCARD enum err audit_read_head(struct db *db, struct arena *a, struct id tenant,
                                   struct audit_link *head_out);

#endif
