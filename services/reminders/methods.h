/*
 * methods.h - the handlers of reminders, and the table of its methods (methods.c).
 */
#ifndef DAYBOOK_REMINDERS_METHODS_H
#define DAYBOOK_REMINDERS_METHODS_H

#include "services/reminders/reminders.h"

extern const struct method reminders_methods[];
extern const size_t reminders_methods_len;

/* Acting for somebody: oneself, or a system or service account that sees all. A superior sees his
 * people's reminders but cannot say for them that they have seen one. ERR_PERMISSION_DENIED. */
NODISCARD enum err need_to_be(struct call *call, struct id person, const char *what);

/* reminder.c */
call_handler reminder_acknowledge, reminder_snooze, reminder_get, reminder_list,
    reminder_list_rules;
/* task.c */
call_handler task_get_daily;
/* channel.c */
call_handler channel_set, channel_list_deliveries, channel_mark_read;
/* timer.c */
#define TIMERS_REPLAY_MAX 100 /* reminders a call */
call_handler timer_list_parked, timer_replay;

#endif
