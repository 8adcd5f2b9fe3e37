/*
 * timers.h - timers that the engine of reminders put aside because they could not be fired.
 */
#ifndef DAYBOOK_CLI_TIMERS_H
#define DAYBOOK_CLI_TIMERS_H

#include "cli/cli.h"

/*
 * Duties that wait for a timer which is parked, over all companies. Inside a transaction, whose
 * tenant it changes.
 */
NODISCARD enum err timers_waiting(struct cli *c, struct db *db, int64_t *n_out);

#endif
