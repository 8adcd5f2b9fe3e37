/*
 * sql_schema.h - statements on tables that every daemon has in its own schema.
 *
 * Their .sql files say ${schema}, as migrations do. The text for a schema is made once in a process
 * and kept for ever, like a statement that was built in. Thread-safe.
 */
#ifndef DAYBOOK_COMMON_SQL_SCHEMA_H
#define DAYBOOK_COMMON_SQL_SCHEMA_H

#include "common/db.h"

/*
 * stmt: static; schema: a name of our own code ([a-z_]+; anything else aborts). Takes no memory but
 * what the program has from its start, unless many schemas are asked for; then it aborts when there
 * is none.
 */
const struct db_stmt *sql_for_schema(const struct db_stmt *stmt, const char *schema);

#endif
