/*
 * credential_rules.h - what a proof of identity may look like, and what may be given to it. Pure.
 */
#ifndef DAYBOOK_DIRECTORY_CREDENTIAL_RULES_H
#define DAYBOOK_DIRECTORY_CREDENTIAL_RULES_H

#include "services/directory/service.h"

#define CREDENTIAL_SCOPES_MAX 32

/* 32 bytes in Z85 (ZeroMQ RFC 32), not all zero. */
bool credential_rules_z85_ok(const char *text);
/* "<area>.<verb>" of lower-case letters and _, at most 64 characters. */
bool credential_rules_scope_ok(const char *scope);

/*
 * Nobody gives away more than he has: whether each scope is one of the giver's. Persons with the
 * right to manage credentials and system accounts give any.
 * *scope_out: the first that is not.
 */
NODISCARD bool credential_rules_may_grant(const PbPrincipal *giver, char *const *scopes, size_t n,
                                          const char **scope_out);

#endif
