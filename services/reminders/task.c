/*
 * task.c - the handler of TaskService: whose list, of which day.
 */
#include "common/authority.h"
#include "services/reminders/methods.h"
#include "services/reminders/task_list.h"

static enum err find_person(struct call *call, const char *wanted, struct id *out)
{
    const struct dir_employee *employee = NULL;

    if (!*wanted) {
        if (!call->employee)
            return call_fail(call, ERR_INVALID_ARGUMENT, "employee",
                             "name an employee; the caller is none");
        *out = call->employee->id;
        return ERR_OK;
    }
    if (id_parse(wanted, out))
        employee = directory_employee(call->dir, call->tenant, *out);
    else
        employee = directory_employee_no(call->dir, call->tenant, wanted);
    if (!employee)
        return call_fail(call, ERR_NOT_FOUND, "employee", "there is no employee %s", wanted);
    *out = employee->id;
    return authority_need_sight(call, employee->id, "employee");
}

enum err task_get_daily(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__GetDailyTasksRequest *req = (const void *)in;
    Daybook__Reminders__V1__GetDailyTasksResponse *reply =
        call_new(call, &daybook__reminders__v1__get_daily_tasks_response__descriptor);
    const struct reminders *self = call->daemon_data;
    struct list_key key = { .tenant = call->tenant };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    const struct dir_tenant *tenant = call->dir ? directory_tenant(call->dir, call->tenant) : NULL;
    if (!tenant)
        return call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");
    enum err e = find_person(call, req->employee, &key.employee);
    if (e)
        return e;
    const struct tz *tz = tenant->calendar->tz;
    if (!*req->date)
        key.day = tz_date(tz, call->now_us);
    else if (!date_parse(req->date, &key.day))
        return call_fail(call, ERR_INVALID_ARGUMENT, "date", "must be a day as YYYY-MM-DD");
    e = list_get(self->lists, call->db, call->cache, &key, tz, call->now_us, call->deadline_us,
                 call->arena, &reply->list, &reply->source);
    *reply_out = &reply->base;
    return e;
}
