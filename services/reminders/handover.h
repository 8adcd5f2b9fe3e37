/*
 * handover.h - duties that go to somebody else with their customer (REM-18): their rows, the notice
 * to the new assignee with the time that is left, and the end of what was still to be posted to the
 * one before.
 */
#ifndef DAYBOOK_REMINDERS_HANDOVER_H
#define DAYBOOK_REMINDERS_HANDOVER_H

#include "services/reminders/notice.h"
#include "services/reminders/obligation.h"

/* Rows for the statements of one step; zeroed, then handover_init(). */
struct handover {
    const struct directory *dir;
    struct id tenant;
    int64_t now_us;
    struct columns moved, withdrawn;
    struct notices told;
};

void handover_init(struct handover *h, const struct directory *dir, struct id tenant,
                   int64_t now_us);
void handover_fini(struct handover *h);

/* Gives the open duty to another assignee (duty_hand_over()) and adds what is to be written. */
NODISCARD enum err handover_add(struct handover *h, struct duty *duty, const struct rule *rule,
                                struct id to, struct arena *a);

/* Queues it all; nothing without rows. */
NODISCARD enum err handover_queue(struct handover *h, struct db *db);

#endif
