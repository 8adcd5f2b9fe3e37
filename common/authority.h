/*
 * authority.h - who may see and do what (architecture 3): a rep what is his, a lead his team's, a
 * manager his unit subtree's; service accounts by scope; system accounts everything.
 *
 * What one may not see is ERR_NOT_FOUND, what one may see but not do ERR_PERMISSION_DENIED.
 */
#ifndef DAYBOOK_COMMON_AUTHORITY_H
#define DAYBOOK_COMMON_AUTHORITY_H

#include "common/call.h"

/* Own, below in the reporting line, or in the unit subtree of a manager. System and service
 * accounts with "tenant.all": always. */
bool authority_sees(const struct call *call, struct id owner);
bool authority_is_system(const struct call *call);
bool authority_has_scope(const struct call *call, const char *scope);
/* What a scope must look like that somebody is given: "<area>.<verb>" of lower-case letters and _,
 * at most 64 characters. */
bool authority_scope_ok(const char *scope);

/* ERR_NOT_FOUND with words when not; `what`: "customer". */
NODISCARD enum err authority_need_sight(struct call *call, struct id owner, const char *what);

/* The actor must be one of the roles (NULL-ended), or a system or "tenant.all" service account. */
NODISCARD enum err authority_need_role(struct call *call, const char *const *roles,
                                       const char *what);

/* People must be general_manager; of system and service accounts the scope was checked with the
 * method. For what concerns the whole company and nobody's own rows. */
NODISCARD enum err authority_need_manager(struct call *call, const char *what);

/* ORG-05: the actor may decide on a submission of `submitter`: a superior of his with one of
 * the roles; never oneself. */
NODISCARD enum err authority_need_approver(struct call *call, struct id submitter,
                                           const char *const *roles, const char *what);

/*
 * The owners whose rows the actor may list: NULL = all of the tenant; else a PostgreSQL uuid[]
 * literal in the arena ("{...}").
 */
const char *authority_visible_owners(struct call *call);

#endif
