/*
 * db_refusal.h - what a failed connection says: libpq gives no result of it, only a text for people.
 *
 * The text is that of a connection whose verbosity is PQERRORS_VERBOSE, in which the server's
 * SQLSTATE stands behind the severity: "FATAL:  53300: sorry, too many clients already". Where libpq
 * tried several addresses, or one with and without TLS, it says so of each, one below the other.
 * Pure; any thread.
 */
#ifndef DAYBOOK_COMMON_DB_REFUSAL_H
#define DAYBOOK_COMMON_DB_REFUSAL_H

#include "common/base.h"

#define DB_SQLSTATE_SIZE 6

/* Without a code, "08001": no server has answered. */
void db_refusal_sqlstate(const char *verbose, char sqlstate_out[static DB_SQLSTATE_SIZE]);
/* As it would be without being verbose: no code, no place in the server's source. On the heap, the
 * caller's; NULL: out of memory. */
char *db_refusal_plain(const char *verbose);

#endif
