/*
 * admin_db.h - the connection by which a test looks from outside and breaks things. Whatever fails
 * on it fails the test.
 *
 * One a program, for the thread that runs the tests; the others take a `struct db` of their own.
 */
#ifndef DAYBOOK_TESTS_ADMIN_DB_H
#define DAYBOOK_TESTS_ADMIN_DB_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

extern struct db *admin;

/* Opens and closes it. */
void admin_open(const char *conninfo);
void admin_close(void);

void must(enum err e);

/* Statements without parameters, in a transaction of their own. */
void script(const char *sql);

/* The column n of the first row; -1 without one. */
int64_t number(const char *sql);
int64_t number_in(struct db *db, const char *sql);

/* Until number() is what is wanted, or, of wait_for(), not 0; at most 20 s, more with sanitizers. */
void wait_for(const char *sql);
void wait_for_number(const char *sql, int64_t want);

#endif
