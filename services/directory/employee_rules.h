/*
 * employee_rules.h - what an employee may be (ORG-01, ORG-02). Pure: no I/O, no clock.
 */
#ifndef DAYBOOK_DIRECTORY_EMPLOYEE_RULES_H
#define DAYBOOK_DIRECTORY_EMPLOYEE_RULES_H

#include "services/directory/service.h"

/* A chain of superiors is never longer than this; far beyond any company's. */
#define EMPLOYEE_LINE_MAX 32

bool employee_rules_city_ok(const char *code); /* six digits, or empty */
bool employee_rules_has_role(const PbEmployee *e, const char *role);
bool employee_rules_is_powerful(const PbEmployee *e); /* has a role that only the top gives */

/* The first thing wrong with the record itself; false: *field_out and *text_out say it. */
NODISCARD bool employee_rules_ok(const PbEmployee *e, const char *extra_roles,
                                 const char **field_out, const char **text_out);

/* The proposed superior and all above him, from below; ids as texts. */
struct employee_line {
    const char *ids[EMPLOYEE_LINE_MAX + 1]; /* one more than is allowed, to notice it */
    bool active[EMPLOYEE_LINE_MAX + 1];
    size_t n;
};
/* Whether `employee_id` may stand below that line: no cycle, an active superior, not too deep. */
NODISCARD bool employee_rules_line_ok(const char *employee_id, const struct employee_line *line,
                                      const char **text_out);

/* Puts the fields named by the mask from `change` into `into` (protocols H.5: none = those that are
 * set, "*" = all). False: *path_out is not a field that may be changed. */
NODISCARD bool employee_rules_merge(PbEmployee *into, const PbEmployee *change,
                                    const Google__Protobuf__FieldMask *mask, const char **path_out);

/*
 * Whether a person may make this change, beyond the right to change people at all: nobody but the
 * general manager changes his own place and roles, or gives or takes the roles that may do
 * everything. before: NULL for a new employee.
 */
NODISCARD bool employee_rules_may_change(const struct dir_employee *actor, const PbEmployee *before,
                                         const PbEmployee *after, const char **text_out);

#endif
