/*
 * reminders.h - short names for the generated types, and what all files of the daemon share.
 *
 * Three things, three records: an obligation is one duty with its clock (PbReminder and its row), a
 * timer is the next moment at which something happens to it, a notification is what somebody was
 * told (PbDelivery and its row, the ledger).
 */
#ifndef DAYBOOK_REMINDERS_REMINDERS_H
#define DAYBOOK_REMINDERS_REMINDERS_H

#include "common/base.h"
#include "common/call.h"
#include "common/consumer.h"
#include "common/daemon.h"
#include "daybook/reminders/v1/events.pb-c.h"
#include "daybook/reminders/v1/reminders.pb-c.h"
#include "common/lease.h"
#include "services/reminders/bell.h"

typedef Daybook__Reminders__V1__Reminder PbReminder;
typedef Daybook__Reminders__V1__Delivery PbDelivery;
typedef Daybook__Reminders__V1__ParkedTimer PbParkedTimer;
typedef Daybook__Reminders__V1__Rule PbRule;
typedef Daybook__Reminders__V1__RuleStep PbRuleStep;
typedef Daybook__Reminders__V1__DailyTask PbDailyTask;
typedef Daybook__Reminders__V1__DailyTaskList PbDailyTaskList;
typedef Daybook__Common__V1__PolicyUse PbPolicyUse;

#define reminder_descriptor daybook__reminders__v1__reminder__descriptor
#define delivery_descriptor daybook__reminders__v1__delivery__descriptor

#define STATE_PENDING DAYBOOK__REMINDERS__V1__REMINDER_STATE__REMINDER_STATE_PENDING
#define STATE_DONE DAYBOOK__REMINDERS__V1__REMINDER_STATE__REMINDER_STATE_DONE
#define STATE_DONE_LATE DAYBOOK__REMINDERS__V1__REMINDER_STATE__REMINDER_STATE_DONE_LATE
#define STATE_CANCELLED DAYBOOK__REMINDERS__V1__REMINDER_STATE__REMINDER_STATE_CANCELLED

#define STEP_WARNING DAYBOOK__REMINDERS__V1__STEP_KIND__STEP_KIND_WARNING

/* Shards of timers, then lanes of delivery: all are owned by lease (lease.h). */
#define SHARDS 64
#define LANES 8
#define LEASES (SHARDS + LANES)
extern const struct lease_plan reminders_lease_plan;

#define DELIVERY_THREADS 2

/* Told to every replica after timers were armed that are due soon; data: see engine_pack(). */
#define WAKE_TIMERS "reminders.timers"

struct engine;
struct task_lists;
struct chores;

/* daemon_data: made by the start hook, shared by all threads. */
struct reminders {
    struct engine *engine;
    struct task_lists *lists;
    struct chores *chores;
    struct bell posts[DELIVERY_THREADS]; /* rung when notices wait to be posted */
    const char *post_allow; /* networks that channels may lead into besides public ones */
    bool post_plain;        /* http channels too */
};

#endif
