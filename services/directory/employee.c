/*
 * employee.c - the people of a company (ORG-01 to ORG-03, ORG-11).
 *
 * The reporting line is judged under the company's lock: two changes, each harmless alone, could
 * otherwise close a ring together.
 */
#include "services/directory/service.h"

#include "common/call_page.h"
#include "common/num.h"
#include "services/directory/employee_rules.h"
#include "services/directory/sql.h"

#define LINE_LIMIT "33" /* EMPLOYEE_LINE_MAX and one */
_Static_assert(EMPLOYEE_LINE_MAX == 32, "LINE_LIMIT follows it");

static const struct constraint_words words[] = {
    { "employee_pkey", ERR_ALREADY_EXISTS, "employee.id", "an employee with this id exists" },
    { "employee_number", ERR_ALREADY_EXISTS, "employee.employee_no",
      "another employee has this number" },
    { "employee_unit", ERR_FAILED_PRECONDITION, "employee.unit_id", "there is no such unit" },
    { NULL, ERR_OK, NULL, NULL },
};

/* --- rows ------------------------------------------------------------------------------------- */

static enum err store(struct call *call, const struct db_stmt *stmt, const PbEmployee *employee)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) } };
    const char *const *params;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e =
        record_bind(stmt, &employee->base, extras, ARRAY_LEN(extras), call->arena, &params);
    if (e)
        return e;
    e = db_exec(call->db, stmt, params, &res);
    return e ? directory_explain(call, e, words) : ERR_OK;
}

static enum err load_line(struct call *call, const char *superior_id, struct employee_line *line)
{
    const char *params[] = { call_tenant_text(call), superior_id, LINE_LIMIT };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_employee_line, params, &res);
    if (e)
        return e;
    int n = MIN(PQntuples(res), EMPLOYEE_LINE_MAX + 1);
    for (int i = 0; i < n; i++) {
        struct db_row row = { .res = res, .row = i };
        line->ids[i] = arena_strdup(call->arena, db_row_text(&row, "id"));
        line->active[i] = db_row_bool(&row, "active");
        if (row.bad)
            return ERR_INTERNAL;
        if (!line->ids[i])
            return ERR_RESOURCE_EXHAUSTED;
    }
    line->n = (size_t)n;
    return ERR_OK;
}

static enum err count_reports(struct call *call, const char *id, int64_t *n_out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_employee_reports, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *n_out = db_row_i64(&row, "n");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

/* --- judging ---------------------------------------------------------------------------------- */

/* Roles of the company's own stand in a policy (ORG-01). */
static const char *extra_roles(const struct call *call)
{
    static const struct id company;
    return call->dir
               ? directory_policy(call->dir, call->tenant, company, "extra_roles", call->now_us)
                     .text
               : "";
}

static enum err check_record(struct call *call, const PbEmployee *employee)
{
    const char *field, *text;

    if (!employee_rules_ok(employee, extra_roles(call), &field, &text))
        call_violation(call, field, "%s", text);
    return call_violations(call);
}

static enum err check_actor(struct call *call, const PbEmployee *before, const PbEmployee *after)
{
    const char *text;

    if (!directory_is_employee(call) || !call->employee ||
        employee_rules_may_change(call->employee, before, after, &text))
        return ERR_OK;
    return call_fail(call, ERR_PERMISSION_DENIED, "employee", "%s", text);
}

/* Under the company's lock. */
static enum err check_line(struct call *call, const PbEmployee *employee)
{
    struct employee_line line = { .n = 0 };
    const char *text;

    if (!*employee->superior_id)
        return ERR_OK;
    enum err e = load_line(call, employee->superior_id, &line);
    if (e)
        return e;
    if (!employee_rules_line_ok(employee->id, &line, &text))
        return call_fail(call, ERR_FAILED_PRECONDITION, "employee.superior_id", "%s", text);
    return ERR_OK;
}

static enum err normalise(struct call *call, PbEmployee *employee)
{
    enum err e = directory_normalise(call, &employee->unit_id);
    return e ? e : directory_normalise(call, &employee->superior_id);
}

/* --- making ----------------------------------------------------------------------------------- */

static enum err emit_created(struct call *call, PbEmployee *employee)
{
    Daybook__Directory__V1__EmployeeCreated event = DAYBOOK__DIRECTORY__V1__EMPLOYEE_CREATED__INIT;

    event.employee = employee;
    return call_emit(call, "employees", employee->id, 1, &event.base);
}

static enum err create(struct call *call, PbEmployee *employee)
{
    enum err e = directory_lock(call);
    if (!e)
        e = check_line(call, employee);
    if (!e)
        e = store(call, &sql_employee_insert, employee);
    if (!e)
        e = emit_created(call, employee);
    return e ? e : directory_changed(call);
}

enum err employee_create(struct call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__CreateEmployeeRequest *req = (const void *)request;
    Daybook__Directory__V1__CreateEmployeeResponse *reply =
        call_new(call, &daybook__directory__v1__create_employee_response__descriptor);
    PbEmployee *employee = wire_clone(&req->employee->base, call->arena);

    enum err e = directory_need_right(call, RIGHT_PEOPLE);
    if (e)
        return e;
    if (!reply || !employee)
        return ERR_RESOURCE_EXHAUSTED;
    employee->id = directory_id(call, employee->id);
    employee->etag = directory_etag(call, 1);
    employee->active = true;
    if (!employee->id || !employee->etag)
        return ERR_RESOURCE_EXHAUSTED;
    e = normalise(call, employee);
    if (!e)
        e = check_record(call, employee);
    if (!e)
        e = check_actor(call, NULL, employee);
    if (!e)
        e = create(call, employee);
    if (e)
        return e;
    reply->employee = employee;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* --- changing --------------------------------------------------------------------------------- */

static enum err lock_current(struct call *call, const PbEmployee *change, PbEmployee **current_out)
{
    const char *params[] = { call_tenant_text(call), change->id };

    enum err e =
        record_find(call->db, &sql_employee_lock, params,
                    &daybook__directory__v1__employee__descriptor, call->arena, current_out);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "employee.id", "there is no such employee");
    if (e)
        return e;
    if (*change->etag && strcmp(change->etag, (*current_out)->etag) != 0)
        return call_fail(call, ERR_ABORTED, "employee.etag",
                         "the employee was changed meanwhile; read it again");
    return ERR_OK;
}

static enum err merge(struct call *call, PbEmployee *into,
                      const Daybook__Directory__V1__UpdateEmployeeRequest *req)
{
    const char *path = NULL;

    if (!employee_rules_merge(into, req->employee, req->update_mask, &path))
        return call_fail(call, ERR_INVALID_ARGUMENT, "update_mask",
                         "%s is not a field that can be changed", path);
    return normalise(call, into);
}

/* Who leaves must not leave people without a superior behind (ORG-02, ORG-16). */
static enum err check_leaving(struct call *call, const PbEmployee *before, const PbEmployee *after)
{
    int64_t reports = 0;

    if (!before->active || after->active)
        return ERR_OK;
    enum err e = count_reports(call, after->id, &reports);
    if (e)
        return e;
    if (reports > 0)
        return call_fail(call, ERR_FAILED_PRECONDITION, "employee.active",
                         "%" PRId64 " active employees report to this one; give them another "
                         "superior first",
                         reports);
    return ERR_OK;
}

static enum err write_change(struct call *call, PbEmployee *employee)
{
    Daybook__Directory__V1__EmployeeUpdated event = DAYBOOK__DIRECTORY__V1__EMPLOYEE_UPDATED__INIT;
    int64_t version;

    if (!num_i64(employee->etag, 1, INT64_MAX - 1, &version))
        return ERR_INTERNAL;
    enum err e = store(call, &sql_employee_update, employee);
    if (e)
        return e;
    employee->etag = directory_etag(call, version + 1);
    if (!employee->etag)
        return ERR_RESOURCE_EXHAUSTED;
    event.employee = employee;
    e = call_emit(call, "employees", employee->id, version + 1, &event.base);
    return e ? e : directory_changed(call);
}

static enum err check_change(struct call *call, const PbEmployee *before, const PbEmployee *after)
{
    enum err e = check_record(call, after);
    if (!e)
        e = check_actor(call, before, after);
    /* A line that is not touched is not judged again: it was, and the superior may have left. */
    if (!e && (strcmp(before->superior_id, after->superior_id) != 0 ||
               (after->active && !before->active)))
        e = check_line(call, after);
    return e ? e : check_leaving(call, before, after);
}

static enum err update(struct call *call, const Daybook__Directory__V1__UpdateEmployeeRequest *req,
                       PbEmployee **after_out)
{
    PbEmployee *before, *after;

    enum err e = directory_lock(call);
    if (!e)
        e = lock_current(call, req->employee, &before);
    if (e)
        return e;
    after = wire_clone(&before->base, call->arena);
    if (!after)
        return ERR_RESOURCE_EXHAUSTED;
    e = merge(call, after, req);
    if (!e)
        e = check_change(call, before, after);
    /* What changes nothing is no change: no event, no new version. */
    if (!e && !wire_equal(&before->base, &after->base, call->arena))
        e = write_change(call, after);
    *after_out = after;
    return e;
}

enum err employee_update(struct call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__UpdateEmployeeRequest *req = (const void *)request;
    Daybook__Directory__V1__UpdateEmployeeResponse *reply =
        call_new(call, &daybook__directory__v1__update_employee_response__descriptor);

    enum err e = directory_need_right(call, RIGHT_PEOPLE);
    if (e)
        return e;
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    e = update(call, req, &reply->employee);
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

enum err employee_get(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__GetEmployeeRequest *req = (const void *)request;
    Daybook__Directory__V1__GetEmployeeResponse *reply =
        call_new(call, &daybook__directory__v1__get_employee_response__descriptor);
    const char *params[] = { call_tenant_text(call), *req->id ? req->id : NULL,
                             *req->employee_no ? req->employee_no : NULL };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    if (!*req->id == !*req->employee_no)
        return call_fail(call, ERR_INVALID_ARGUMENT, "id", "give either id or employee_no");
    enum err e =
        record_find(call->db, &sql_employee_find, params,
                    &daybook__directory__v1__employee__descriptor, call->arena, &reply->employee);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, *req->id ? "id" : "employee_no", "there is no such employee");
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err employee_list(struct call *call, const ProtobufCMessage *request,
                       ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__ListEmployeesRequest *req = (const void *)request;
    Daybook__Directory__V1__ListEmployeesResponse *reply =
        call_new(call, &daybook__directory__v1__list_employees_response__descriptor);
    struct call_page page = { .filter = arena_printf(call->arena, "employees/%s/%s",
                                                     call_tenant_text(call), req->unit_id) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call), *req->unit_id ? req->unit_id : NULL,
                             page.keys[0], page.limit };
    e = db_exec(call->db, &sql_employee_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__directory__v1__employee__descriptor, call->arena,
                            &reply->n_employees, &reply->employees);
    if (e)
        return e;
    reply->n_employees = call_page_rows(&page, reply->n_employees);
    if (page.more) {
        const char *keys[] = { reply->employees[reply->n_employees - 1]->employee_no, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}
