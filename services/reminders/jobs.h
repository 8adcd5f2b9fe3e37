/*
 * jobs.h - what events ask of the chores, since there may be many duties to it: to hand duties over
 * and to count deadlines anew. A job is a row of reminders.recalculation (chores.h works it off).
 *
 * Called in a batch of the consumer; errors are those of a reaction.
 */
#ifndef DAYBOOK_REMINDERS_JOBS_H
#define DAYBOOK_REMINDERS_JOBS_H

#include "common/consumer.h"
#include "daybook/customers/v1/events.pb-c.h"

#define JOBS_HANDOVER_REASON "owner of the customer"

/* REM-18: the duties towards a customer go to his new owner; without one they wait for the next. */
NODISCARD enum err jobs_ask_handover(struct reaction *r, const PbEvent *event,
                                     const Daybook__Customers__V1__Customer *customer);

/* REM-09, F43: reactions to PolicySet and CalendarImported. */
enum err jobs_on_policy_set(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data);
enum err jobs_on_calendar_imported(struct reaction *r, const PbEvent *event,
                                   const ProtobufCMessage *data);

#endif
