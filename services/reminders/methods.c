/*
 * methods.c - which method is answered by whom, and what its request must look like.
 */
#include "services/reminders/methods.h"

#include "common/authority.h"
#include "common/consumer_service.h"

enum err need_to_be(struct call *call, struct id person, const char *what)
{
    if (id_equal(call->actor, person) || (!call->employee && authority_sees(call, person)))
        return ERR_OK;
    return call_fail(call, ERR_PERMISSION_DENIED, "",
                     "only the person concerned may do that with a %s", what);
}

static const struct check acknowledge_checks[] = {
    { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "note", CHECK_LENGTH, 0, 500 },
    { NULL, 0, 0, 0 },
};
static const struct check snooze_checks[] = {
    { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "until", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "reason", CHECK_REQUIRED | CHECK_LENGTH, 1, 500 },
    { NULL, 0, 0, 0 },
};
static const struct check get_checks[] = {
    { "id", CHECK_ID, 0, 0 },
    { "rule", CHECK_CODE | CHECK_LENGTH, 0, 32 },
    { "subject", CHECK_LENGTH, 0, 100 },
    { NULL, 0, 0, 0 },
};
static const struct check list_checks[] = {
    { "assignee_id", CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check daily_checks[] = {
    { "employee", CHECK_LENGTH, 0, 36 },
    { "date", CHECK_DATE, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check channel_checks[] = {
    { "employee_id", CHECK_ID, 0, 0 },
    { "url", CHECK_LENGTH, 0, 2000 },
    { NULL, 0, 0, 0 },
};
static const struct check deliveries_checks[] = {
    { "recipient_id", CHECK_ID, 0, 0 },
    { "reminder_id", CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check read_checks[] = {
    { "delivery_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check replay_checks[] = {
    { "reminder_ids", CHECK_COUNT, 0, TIMERS_REPLAY_MAX },
    { "reminder_ids[]", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};

#define REMINDER_SERVICE "daybook.reminders.v1.ReminderService"
#define TASK_SERVICE "daybook.reminders.v1.TaskService"
#define CHANNEL_SERVICE "daybook.reminders.v1.ChannelService"
#define TIMER_SERVICE "daybook.reminders.v1.TimerService"
#define READ "reminders.read"
#define WRITE "reminders.write"

const struct method reminders_methods[] = {
    { REMINDER_SERVICE, "Acknowledge", reminder_acknowledge, WRITE, acknowledge_checks, false },
    { REMINDER_SERVICE, "Snooze", reminder_snooze, WRITE, snooze_checks, false },
    { REMINDER_SERVICE, "Get", reminder_get, READ, get_checks, false },
    { REMINDER_SERVICE, "List", reminder_list, READ, list_checks, false },
    { REMINDER_SERVICE, "ListRules", reminder_list_rules, READ, NULL, false },
    { TASK_SERVICE, "GetDailyTasks", task_get_daily, READ, daily_checks, false },
    { CHANNEL_SERVICE, "Set", channel_set, WRITE, channel_checks, false },
    { CHANNEL_SERVICE, "ListDeliveries", channel_list_deliveries, READ, deliveries_checks, false },
    { CHANNEL_SERVICE, "MarkRead", channel_mark_read, WRITE, read_checks, false },
    { TIMER_SERVICE, "ListParked", timer_list_parked, "timers.read", NULL, false },
    { TIMER_SERVICE, "Replay", timer_replay, "timers.write", replay_checks, false },
    CONSUMER_SERVICE_METHODS("daybook.reminders.v1"),
};
const size_t reminders_methods_len = ARRAY_LEN(reminders_methods);
