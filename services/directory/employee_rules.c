/*
 * employee_rules.c - see employee_rules.h.
 */
#include "services/directory/employee_rules.h"

#include "common/policy.h"

/* Roles whose holders can give themselves all others. */
static const char *const powerful[] = { "general_manager", "admin_office" };

bool employee_rules_city_ok(const char *code)
{
    size_t len = strlen(code);
    return len == 0 || (len == 6 && strspn(code, "0123456789") == 6);
}

bool employee_rules_has_role(const PbEmployee *e, const char *role)
{
    for (size_t i = 0; i < e->n_roles; i++)
        if (strcmp(e->roles[i], role) == 0)
            return true;
    return false;
}

bool employee_rules_is_powerful(const PbEmployee *e)
{
    for (size_t i = 0; i < ARRAY_LEN(powerful); i++)
        if (employee_rules_has_role(e, powerful[i]))
            return true;
    return false;
}

static bool has_twice(const PbEmployee *e)
{
    for (size_t i = 0; i < e->n_roles; i++)
        for (size_t k = i + 1; k < e->n_roles; k++)
            if (strcmp(e->roles[i], e->roles[k]) == 0)
                return true;
    return false;
}

static bool wrong(const char **field_out, const char *field, const char **text_out,
                  const char *text)
{
    *field_out = field;
    *text_out = text;
    return false;
}

bool employee_rules_ok(const PbEmployee *e, const char *extra_roles, const char **field_out,
                       const char **text_out)
{
    bool top = employee_rules_has_role(e, "general_manager");

    if (!*e->name)
        return wrong(field_out, "employee.name", text_out, "must not be empty");
    if (!*e->unit_id)
        return wrong(field_out, "employee.unit_id", text_out, "must not be empty");
    if (e->n_roles == 0 || e->n_roles > DIR_ROLES_MAX)
        return wrong(field_out, "employee.roles", text_out, "1 to 8 roles");
    for (size_t i = 0; i < e->n_roles; i++)
        if (!policy_role_is_known(e->roles[i], extra_roles))
            return wrong(field_out, "employee.roles", text_out,
                         "a role that is in no catalogue (ORG-01)");
    if (has_twice(e))
        return wrong(field_out, "employee.roles", text_out, "the same role twice");
    if (top && *e->superior_id)
        return wrong(field_out, "employee.superior_id", text_out,
                     "a general manager has no superior (ORG-02)");
    if (!top && !*e->superior_id)
        return wrong(field_out, "employee.superior_id", text_out,
                     "everybody but the general manager has one superior (ORG-02)");
    if (!employee_rules_city_ok(e->home_city_code))
        return wrong(field_out, "employee.home_city_code", text_out, "6 digits or empty");
    return true;
}

bool employee_rules_line_ok(const char *employee_id, const struct employee_line *line,
                            const char **text_out)
{
    for (size_t i = 0; i < line->n; i++)
        if (strcmp(line->ids[i], employee_id) == 0) {
            *text_out = "this superior stands below the employee; a reporting line must not close "
                        "into a ring (ORG-02)";
            return false;
        }
    if (line->n > EMPLOYEE_LINE_MAX) {
        *text_out = "the reporting line above is longer than 32";
        return false;
    }
    if (line->n == 0 || !line->active[0]) {
        *text_out = "there is no such active employee";
        return false;
    }
    return true;
}

/* --- merging ---------------------------------------------------------------------------------- */

static bool name_set(const PbEmployee *e)
{
    return *e->name;
}
static void name_put(PbEmployee *into, const PbEmployee *change)
{
    into->name = change->name;
}
static bool unit_set(const PbEmployee *e)
{
    return *e->unit_id;
}
static void unit_put(PbEmployee *into, const PbEmployee *change)
{
    into->unit_id = change->unit_id;
}
static bool roles_set(const PbEmployee *e)
{
    return e->n_roles > 0;
}
static void roles_put(PbEmployee *into, const PbEmployee *change)
{
    into->n_roles = change->n_roles;
    into->roles = change->roles;
}
static bool superior_set(const PbEmployee *e)
{
    return *e->superior_id;
}
static void superior_put(PbEmployee *into, const PbEmployee *change)
{
    into->superior_id = change->superior_id;
}
static bool city_set(const PbEmployee *e)
{
    return *e->home_city_code;
}
static void city_put(PbEmployee *into, const PbEmployee *change)
{
    into->home_city_code = change->home_city_code;
}
static bool active_set(const PbEmployee *e)
{
    return e->active;
}
static void active_put(PbEmployee *into, const PbEmployee *change)
{
    into->active = change->active;
}

/* active has no "unset": without a mask only true counts as set. */
static const struct field {
    const char *path;
    bool (*is_set)(const PbEmployee *e);
    void (*put)(PbEmployee *into, const PbEmployee *change);
} fields[] = {
    { "name", name_set, name_put },           { "unit_id", unit_set, unit_put },
    { "roles", roles_set, roles_put },        { "superior_id", superior_set, superior_put },
    { "home_city_code", city_set, city_put }, { "active", active_set, active_put },
};

/* Named by the caller, but given out only (H.5): ignored. */
static bool is_output_only(const char *path)
{
    return strcmp(path, "id") == 0 || strcmp(path, "etag") == 0;
}

static bool merge_path(PbEmployee *into, const PbEmployee *change, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].path, path) == 0) {
            fields[i].put(into, change);
            return true;
        }
    return is_output_only(path);
}

bool employee_rules_merge(PbEmployee *into, const PbEmployee *change,
                          const Google__Protobuf__FieldMask *mask, const char **path_out)
{
    bool all = mask && mask->n_paths == 1 && strcmp(mask->paths[0], "*") == 0;

    if (all || !mask || mask->n_paths == 0) {
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (all || fields[i].is_set(change))
                fields[i].put(into, change);
        return true;
    }
    for (size_t i = 0; i < mask->n_paths; i++)
        if (!merge_path(into, change, mask->paths[i])) {
            *path_out = mask->paths[i];
            return false;
        }
    return true;
}

/* --- who may ---------------------------------------------------------------------------------- */

static bool same_roles(const PbEmployee *x, const PbEmployee *y)
{
    if (x->n_roles != y->n_roles)
        return false;
    for (size_t i = 0; i < x->n_roles; i++)
        if (!employee_rules_has_role(y, x->roles[i]))
            return false;
    return true;
}

static bool same_place(const PbEmployee *x, const PbEmployee *y)
{
    return same_roles(x, y) && strcmp(x->superior_id, y->superior_id) == 0 &&
           strcmp(x->unit_id, y->unit_id) == 0 && x->active == y->active;
}

bool employee_rules_may_change(const struct dir_employee *actor, const PbEmployee *before,
                               const PbEmployee *after, const char **text_out)
{
    char own[ID_TEXT_MAX];

    if (dir_employee_has_role(actor, "general_manager"))
        return true;
    if (strcmp(id_text(actor->id, own), after->id) == 0 && before && !same_place(before, after)) {
        *text_out = "nobody changes his own roles, unit or superior";
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(powerful); i++)
        if (employee_rules_has_role(after, powerful[i]) !=
            (before && employee_rules_has_role(before, powerful[i]))) {
            *text_out = "only the general manager gives or takes this role";
            return false;
        }
    return true;
}
