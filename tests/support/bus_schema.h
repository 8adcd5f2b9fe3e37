/*
 * bus_schema.h - the tables of the bus (outbox, log) for tests of other areas, whose programs do
 * not link the bus: its migrations are read from the source tree, the directory that tests run in.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_BUS_SCHEMA_H
#define DAYBOOK_TESTS_SUPPORT_BUS_SCHEMA_H

#include "common/db.h"

/* db: of an owner of the database, e.g. servers_conninfo(). Aborts when it cannot. */
void bus_schema_make(struct db *db);

#endif
