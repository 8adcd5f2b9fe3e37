/*
 * credential_rules.h - what a proof of identity may look like, and what may be given to it. Pure.
 */
#ifndef DAYBOOK_DIRECTORY_CREDENTIAL_RULES_H
#define DAYBOOK_DIRECTORY_CREDENTIAL_RULES_H

#include "services/directory/service.h"

#define CREDENTIAL_SCOPES_MAX 32
#define CREDENTIAL_NETWORKS_MAX 16
#define CREDENTIAL_USES_MAX 500
/* What the gateway says of itself; authority_scope_ok() lets nobody else have it. */
#define CREDENTIAL_SCOPE_EDGE "edge"

/* 32 bytes in Z85 (ZeroMQ RFC 32), not all zero. */
bool credential_rules_z85_ok(const char *text);

/*
 * Nobody gives away more than he has: whether each scope is one of the giver's. System accounts and
 * persons with the right to manage credentials give any, but of persons only the general manager
 * gives tenant.all: who acts for everybody could give its maker what he has not.
 * *scope_out: the first that is not.
 */
NODISCARD bool credential_rules_may_grant(const PbPrincipal *giver, char *const *scopes, size_t n,
                                          const char **scope_out);

/*
 * The bus admits a key as the employee that it names, with the roles that he has: scopes narrow its
 * methods, not its sight. So only a service account with tenant.all makes keys of employees; of
 * those whose roles may do everything only the general manager does, and each his own; and who
 * himself acts by a key with scopes, as each service account does, makes none without.
 * actor: NULL unless the giver is an employee. *text_out: why not.
 */
NODISCARD bool credential_rules_may_stand_for(const PbPrincipal *giver,
                                              const struct dir_employee *actor,
                                              const PbEmployee *holder, size_t nscopes,
                                              const char **text_out);

#endif
