/*
 * audit_chain.h - how entries of the audit trail hang together (audit.proto): the hash of an entry is
 * over the hash before it and the entry itself, so nobody can change, insert or remove one without
 * changing all that follow. Pure.
 */
#ifndef DAYBOOK_DIRECTORY_AUDIT_CHAIN_H
#define DAYBOOK_DIRECTORY_AUDIT_CHAIN_H

#include "common/base.h"
#include "daybook/directory/v1/audit.pb-c.h"

#define AUDIT_HASH_BYTES 32

typedef Daybook__Directory__V1__AuditEntry PbAuditEntry;

/* The last entry of a chain; all zero before the first. */
struct audit_link {
    int64_t number;
    uint8_t hash[AUDIT_HASH_BYTES];
};

/* Appends: gives the entry its number and writes the hash into the link, which is then the entry's.
 * The entry's own hash field is neither read nor set. */
void audit_chain_add(struct audit_link *last, PbAuditEntry *entry);

/* NULL: entry follows `last`, which is moved on to it. Else a static text that says what is wrong, and
 * `last` stays. */
const char *audit_chain_check(struct audit_link *last, const PbAuditEntry *entry);

/* Whether text can be the name of a field, and so stand in AuditEntry.fields. */
bool audit_field_ok(const char *text);

#endif
