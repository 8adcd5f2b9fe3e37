/*
 * tasks.c - a person's list of the day, in the company's time zone.
 */
#include "cli/cli.h"
#include "common/tz.h"
#include "daybook/directory/v1/directory.pb-c.h"
#include "daybook/reminders/v1/reminders.pb-c.h"

#define TASK_SERVICE "daybook.reminders.v1.TaskService"
#define POLICY_SERVICE "daybook.directory.v1.PolicyService"

typedef Daybook__Reminders__V1__GetDailyTasksRequest Request;
typedef Daybook__Reminders__V1__GetDailyTasksResponse Response;
typedef Daybook__Reminders__V1__DailyTask Task;

/* The enum value's name without its prefix, in lower case; "" for unspecified. */
static const char *short_name(struct arena *a, const ProtobufCEnumDescriptor *e, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(e, value);
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(e, 0);
    if (!v || v->value == 0 || !zero)
        return "";
    size_t prefix = strlen(zero->name) - strlen("UNSPECIFIED");
    char *name = arena_strdup(a, v->name + prefix);
    for (char *p = name; p && *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p == '_' ? ' ' : *p;
    return name ? name : "";
}

/* As the directory says it; NULL: it does not, and that is said. */
static const struct tz *company_zone(struct cli *c)
{
    Daybook__Directory__V1__GetPolicyRequest *ask =
        wire_new(&daybook__directory__v1__get_policy_request__descriptor, c->arena);
    struct bus_answer answer;
    if (!ask)
        return NULL;
    ask->key = arena_strdup(c->arena, "timezone");
    enum err e = cli_ask(c, POLICY_SERVICE, "Get", &ask->base, &answer);
    const Daybook__Directory__V1__GetPolicyResponse *got = e ? NULL : (const void *)answer.message;
    const struct tz *tz = got && got->policy ? tz_find(got->policy->value) : NULL;
    if (!tz)
        (void)fprintf(stderr, "the company's time zone is not known here (%s): times are UTC\n",
                      e                    ? err_name(e)
                      : got && got->policy ? got->policy->value
                                           : "-");
    return tz;
}

/* With the offset from UTC, since the terminal may be elsewhere. */
static char *local_time(struct arena *a, const struct tz *tz, const void *timestamp)
{
    if (!timestamp)
        return arena_strdup(a, "-");
    int64_t us = wire_time_us(timestamp);
    struct date d = tz_date(tz, us);
    int minute = tz_minute_of_day(tz, us), offset = tz_offset_s(tz, us) / 60;
    int ahead = offset < 0 ? -offset : offset;
    return arena_printf(a, "%02d-%02d %02d:%02d %c%02d%02d", d.month, d.day, minute / 60,
                        minute % 60, offset < 0 ? '-' : '+', ahead / 60, ahead % 60);
}

static bool add_task(struct cli *c, const struct tz *tz, struct table *t, const Task *task)
{
    const char *kind =
        short_name(c->arena, &daybook__reminders__v1__task_kind__descriptor, (int)task->kind);
    const char *cells[] = { task->done      ? "done"
                            : task->overdue ? "OVERDUE"
                                            : "",
                            local_time(c->arena, tz, task->due_at), *task->rule ? task->rule : kind,
                            task->title, task->customer_name };
    return table_add(t, cells);
}

static int show(struct cli *c, const Response *r)
{
    static const char *const headers[] = { "", "DUE", "RULE", "TASK", "CUSTOMER", NULL };
    struct table *t = table_new(c->arena, headers);
    const Daybook__Reminders__V1__DailyTaskList *list = r->list;
    const struct tz *tz = list && list->n_tasks ? company_zone(c) : NULL;
    size_t open = 0;

    if (!tz)
        tz = tz_find("UTC");
    for (size_t i = 0; t && list && i < list->n_tasks; i++) {
        open += !list->tasks[i]->done;
        if (!add_task(c, tz, t, list->tasks[i]))
            t = NULL;
    }
    if (!t || !list)
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "the list cannot be shown");
    (void)printf("%s: %zu tasks, %zu open (from the %s)\n", list->date, list->n_tasks, open,
                 short_name(c->arena, &daybook__reminders__v1__list_source__descriptor, r->source));
    if (list->n_tasks)
        table_print(t, stdout);
    return 0;
}

int cmd_tasks(struct cli *c)
{
    const char *date = args_value(&c->args, "date");
    struct date day;
    int status = err_exit_code(ERR_RESOURCE_EXHAUSTED);
    Request *request =
        wire_new(&daybook__reminders__v1__get_daily_tasks_request__descriptor, c->arena);
    if (date && !date_parse(date, &day))
        return cli_usage(c, "--date is a day such as 2026-11-17, not %.40s", date);
    if (!*c->tenant && !c->over_http)
        return cli_usage(c, "which company? --tenant ID or DAYBOOK_TENANT");
    if (!request)
        return status;
    request->employee = arena_strdup(c->arena, c->args.words[0]);
    if (date)
        request->date = arena_strdup(c->arena, date);
    if (!request->employee || !request->date)
        return status;

    const ProtobufCMessage *answer =
        cli_must_ask(c, TASK_SERVICE, "GetDailyTasks", &request->base, &status);
    if (!answer)
        return status;
    return c->json ? cli_print_message(c, answer, 0)
                   : show(c, (const Response *)(const void *)answer);
}
