/*
 * companies.h - a statement for one company after the other: row level security hides all rows but one's, from the
 * owner of the schemas too.
 */
#ifndef DAYBOOK_CLI_COMPANIES_H
#define DAYBOOK_CLI_COMPANIES_H

#include "cli/cli.h"

/*
 * Runs the statement for the company of --tenant, or (all, or without --tenant) for each, in the
 * order of the engine's locks; its parameters are the company and, where it has a second, ids. Row
 * level security hides all rows but theirs. Inside a transaction, whose tenant it changes.
 */
NODISCARD enum err companies_each(struct cli *c, struct db *db, bool all,
                                  const struct db_stmt *stmt, const char *ids, db_check_fn *take,
                                  void *ctx);

#endif
