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

/*
 * Runs the statement for the company of --tenant, or (all, or without --tenant) for each, in the
 * order of the engine's locks; its parameters are the company and, where it has a second, ids. Row
 * level security hides all rows but theirs. Inside a transaction, whose tenant it changes.
 */
NODISCARD enum err timers_for_companies(struct cli *c, struct db *db, bool all,
                                        const struct db_stmt *stmt, const char *ids,
                                        db_check_fn *take, void *ctx);

#endif
