/*
 * visit_life.h - the steps that all handlers of a visit share: lock and see, advance the state,
 * save with an event, and read rows.
 */
#ifndef DAYBOOK_SERVICES_VISITS_VISIT_LIFE_H
#define DAYBOOK_SERVICES_VISITS_VISIT_LIFE_H

#include "common/call_page.h"
#include "services/visits/sql.h"
#include "services/visits/visit_rules.h"
#include "services/visits/visits.h"

const struct dir_employee *visit_employee(struct call *call, const char *employee_id); /* or NULL */
struct id visit_unit_id(struct call *call, const char *employee_id); /* nil when not known */
const struct calendar *visit_calendar(struct call *call, const PbVisit *visit); /* the visitor's */
/* ERR_INVALID_ARGUMENT on the field: not an active employee; ERR_NOT_FOUND: none that the actor
 * sees. What is written in somebody's name is held against him, so not everybody may. */
NODISCARD enum err visit_need_employee(struct call *call, const char *employee_id,
                                       const char *field);

/* Locks the visit. ERR_NOT_FOUND with words: no such visit, or the actor may not see it.
 * aside_out: NULL when nobody asks. */
NODISCARD enum err visit_begin(struct call *call, const char *id, PbVisit **visit_out,
                               struct visit_aside *aside_out);
/* Takes out of an answer what tells where the customer is, unless the actor sees him: distances
 * from three positions would. After the row and the event are made, which keep it. */
void visit_hide_place(const struct call *call, PbVisit *visit, struct id customer_owner);
/* Moves the state on. ERR_FAILED_PRECONDITION names both states. */
NODISCARD enum err visit_advance(struct call *call, PbVisit *visit, enum visit_action action);
/* Queues the row and the event. */
NODISCARD enum err visit_save(struct call *call, PbVisit *visit, const ProtobufCMessage *event);
/* ERR_PERMISSION_DENIED: the actor is not the visitor. */
NODISCARD enum err visit_need_visitor(struct call *call, const PbVisit *visit);
/* ORG-05: the actor is a superior of the visitor with a role that the policy lists. */
NODISCARD enum err visit_need_approver(struct call *call, const PbVisit *visit,
                                       const char *policy_key, const char *what);

/* Whether nobody stands above the visitor, who then needs nobody's approval (ORG-02, ORG-05). */
bool visit_is_of_the_top(struct call *call, const PbVisit *visit);
/* What stands where an approver's words would. */
#define VISIT_TOP_COMMENT "approved by rule: nobody stands above the visitor"

/* Runs a list statement and reads its rows. */
NODISCARD enum err visit_read_rows(struct call *call, const struct db_stmt *stmt,
                                   const char *const *params,
                                   const ProtobufCMessageDescriptor *type, size_t *n_out,
                                   void *array_out);

#endif
