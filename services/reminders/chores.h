/*
 * chores.h - slow work in the background: recalculations after a change of the rule book or
 * calendar (REM-09, F43), duties handed over with their customer (REM-18), and the end of old
 * tombstones and hand-overs.
 *
 * A recalculation is a row that a reaction wrote. It is done in steps of a few hundred duties, each
 * a transaction that also moves the row's cursor, so a crash repeats nothing. Companies take turns,
 * and a replica leaves out what another has in hand. Only pending duties are counted anew; of a
 * rule that is switched off all open ones end, since a rule that is off tells nobody (REM-20). Each
 * change is an event with its reason.
 *
 * A step that met a deadlock is done again at once; any other failure puts its job off for half a
 * minute, by its row, so that no number of failing jobs holds up the others.
 */
#ifndef DAYBOOK_REMINDERS_CHORES_H
#define DAYBOOK_REMINDERS_CHORES_H

#include "common/db.h"
#include "common/directory.h"
#include "services/reminders/engine.h"

/* A recalculation starts that long after it was asked for (real time): by then every replica reads
 * the rule book anew, so none opens a duty by the old one behind the cursor. Its row has the
 * directory's revision besides, and a replica with an older snapshot leaves it alone. */
#define CHORES_DELAY_US (2500 * MSEC_US)

struct chores;
struct task_lists;

struct chores *chores_new(struct engine *engine, struct task_lists *lists, const char *conninfo);
void chores_free(struct chores *c);
void chores_ring(struct chores *c); /* thread-safe */

/* Body of a thread; returns when the host is stopping. */
void chores_run(struct chores *c, const struct engine_host *host);

/* One step of the earliest job that is in force, of the company whose turn it is; more_out: there
 * may be another step. A job that failed is put off and no error. */
NODISCARD enum err chores_recalculate(struct chores *c, bool *more_out);

#endif
