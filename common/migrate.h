/*
 * migrate.h - brings a schema to the version that the program knows.
 *
 * Each schema has a table schema_version(component, version, name, applied_at). Migrations are
 * numbered from 0001 in file order and applied one transaction each under an advisory lock. For a
 * table they wait 200 ms and come again, after a pause in which others go on; every eighth time
 * 200 ms longer than deadlock_timeout, 1.8 s at most, which ends an autovacuum. Two migrators at once, and one killed half-way, do no harm.
 * `${schema}` in the text stands for the schema's name, `${role}` for the daemon's database role.
 * The tables that every daemon has (idempotency, consumer_cursor, parked_event) come from
 * common/migrations and are applied first, counted by themselves as component "common".
 *
 * The role daybook_<schema> is made when missing, a member of daybook_daemon, with timeouts of its
 * own; it may use the schema, but owns nothing: migrations grant what it needs of each table.
 */
#ifndef DAYBOOK_COMMON_MIGRATE_H
#define DAYBOOK_COMMON_MIGRATE_H

#include "common/db.h"

struct migration {
    const char *name; /* "0001_visits" */
    const char *sql;
};

/*
 * db: connected as the role that owns the schemas. Makes schema and role when missing.
 * applied_out: how many migrations ran. Prints nothing; logs one line a migration.
 */
NODISCARD enum err migrate_run(struct db *db, const char *schema, const struct migration *list,
                               size_t n, int *applied_out);

/* Version that is there, and whether it is one that this program can work with: all of `list`
 * applied; more is allowed (N-1 on N). ERR_FAILED_PRECONDITION: too old (version_out says how far
 * it is, 0 = not there). */
NODISCARD enum err migrate_check(struct db *db, const char *schema, size_t n, int64_t deadline_us,
                                 int *version_out);

#endif
