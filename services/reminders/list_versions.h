/*
 * list_versions.h - what a process knows of the versions of people's lists (see task_list.h).
 *
 * What was learnt holds for a second. One question costs about as much as a hundred more rows of an
 * answer, so when a company is read more than a few times a second, one question learns of all its
 * people: readers of a busy company hardly ever wait for PostgreSQL, those of a quiet one ask for
 * one row. Thread-safe; monotonic time.
 */
#ifndef DAYBOOK_REMINDERS_LIST_VERSIONS_H
#define DAYBOOK_REMINDERS_LIST_VERSIONS_H

#include "common/db.h"

struct list_versions;

struct list_versions *list_versions_new(void);
void list_versions_free(struct list_versions *v);

/* The person's version as read by a statement that began at asked_us. What is newer stays. */
void list_versions_note(struct list_versions *v, struct id tenant, struct id employee,
                        int64_t version, int64_t asked_us);
void list_versions_forget(struct list_versions *v, struct id tenant, struct id employee);
/* False: nothing is known that still holds. */
bool list_versions_recall(struct list_versions *v, struct id tenant, struct id employee,
                          int64_t *version_out);

/* Asks PostgreSQL, in the caller's transaction, and notes what it says; 0: no list yet. */
NODISCARD enum err list_versions_ask(struct list_versions *v, struct db *db, struct id tenant,
                                     struct id employee, struct arena *a, int64_t *version_out);

/*
 * Pure: does the next question of a company with so many lists go for all of them, when `asked` were
 * put within this second? lists: as of the last such answer, -1 before the first.
 */
bool list_versions_worth_all(int64_t asked, int64_t lists);

#endif
