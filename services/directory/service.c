/*
 * service.c - what the use cases share: rights, the lock of a company, the revision.
 */
#include "services/directory/service.h"

#include "services/directory/sql.h"

/* --- rights ----------------------------------------------------------------------------------- */

static const char *const people_roles[] = { "general_manager", "sales_manager", "admin_office",
                                            "hr", NULL };
static const char *const policy_roles[] = { "general_manager", "sales_manager", "admin_office",
                                            NULL };
static const char *const office_roles[] = { "general_manager", "admin_office", NULL };

static const struct right {
    const char *const *roles;
    const char *what;
} rights[] = {
    [RIGHT_PEOPLE] = { people_roles, "change units or employees" },     /* ORG-01 to ORG-04 */
    [RIGHT_POLICIES] = { policy_roles, "set policies" },                /* CON-17 */
    [RIGHT_CALENDAR] = { policy_roles, "change the working calendar" }, /* ORG-12 */
    [RIGHT_CREDENTIALS] = { office_roles, "manage credentials" },
    [RIGHT_AUDIT] = { office_roles, "read the audit trail" }, /* SEC-10 */
};

bool directory_is_employee(const struct call *call)
{
    const PbPrincipal *p = call->context->principal;
    return p && p->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
}

bool directory_has_right(const struct call *call, enum directory_right right)
{
    if (!directory_is_employee(call))
        return true;
    for (const char *const *r = rights[right].roles; *r; r++)
        if (call->employee && dir_employee_has_role(call->employee, *r))
            return true;
    return false;
}

enum err directory_need_right(struct call *call, enum directory_right right)
{
    if (!directory_is_employee(call))
        return ERR_OK; /* a system or service account; its scope was checked with the method */
    return authority_need_role(call, rights[right].roles, rights[right].what);
}

/* --- the frame of a command ------------------------------------------------------------------- */

enum err directory_lock(struct call *call)
{
    const char *params[] = { call_tenant_text(call) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_tenant_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return call_fail(call, ERR_NOT_FOUND, "", "there is no such company");
    return ERR_OK;
}

static void refresh_own_snapshot(struct call *call, void *arg)
{
    (void)call;
    (void)arg;
    directory_refresh();
}

enum err directory_changed(struct call *call)
{
    call_after_commit(call, refresh_own_snapshot, NULL);
    return db_queue(call->db, &sql_revision_raise, NULL);
}

enum err directory_need_unit(struct call *call, const char *unit_id, const char *field)
{
    const char *params[] = { call_tenant_text(call), unit_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!*unit_id)
        return ERR_OK;
    enum err e = db_exec(call->db, &sql_unit_exists, params, &res);
    if (e)
        return e;
    if (PQntuples(res) == 0)
        return call_fail(call, ERR_NOT_FOUND, field, "there is no such unit");
    return ERR_OK;
}

enum err directory_explain(struct call *call, enum err e, const struct constraint_words *words)
{
    const char *constraint = db_last_error(call->db)->constraint;

    for (; words->constraint; words++)
        if (strcmp(words->constraint, constraint) == 0)
            return call_fail(call, words->code, words->field, "%s", words->text);
    return e;
}

char *directory_id(struct call *call, const char *given)
{
    struct id id;

    if (!*given || !id_parse(given, &id))
        id = id_new(); /* checks let no malformed one through */
    return db_text_id(call->arena, id);
}

enum err directory_normalise(struct call *call, char **id)
{
    struct id parsed;

    if (!**id || !id_parse(*id, &parsed))
        return ERR_OK;
    char *text = db_text_id(call->arena, parsed);
    if (!text)
        return ERR_RESOURCE_EXHAUSTED;
    *id = text;
    return ERR_OK;
}

char *directory_etag(struct call *call, int64_t version)
{
    return arena_printf(call->arena, "%" PRId64, version);
}
