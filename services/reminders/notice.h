/*
 * notice.h - rows of the ledger: what people are told of a duty, by the timer engine when one of
 * its steps comes (fire.c) and when it goes to somebody else (handover.c).
 */
#ifndef DAYBOOK_REMINDERS_NOTICE_H
#define DAYBOOK_REMINDERS_NOTICE_H

#include "common/columns.h"
#include "services/reminders/obligation.h"

struct notice {
    const struct duty *duty;
    int step;         /* of its plan; NOTICE_NO_STEP: none asked for it */
    const char *kind; /* warning, due, escalation, handover */
    struct id recipient;
    int64_t due_us; /* when it was to be told */
    bool late;
    bool skipped; /* recorded, not told */
    const char *text;
};

#define NOTICE_NO_STEP (-1)

/* Rows of one company; zeroed, then notices_init(). */
struct notices {
    struct columns k;
    bool posts; /* somebody of the company may want them posted */
};

void notices_init(struct notices *n, bool posts);
void notices_fini(struct notices *n); /* for CLEANUP; declare with = { 0 } */
void notices_add(struct notices *n, const struct notice *notice);

/* Queues their insert, and of what is to be posted; nothing without rows. */
NODISCARD enum err notices_queue(struct notices *n, struct db *db, struct id tenant,
                                 int64_t told_us);

#endif
