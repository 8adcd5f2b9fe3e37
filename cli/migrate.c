/*
 * migrate.c - brings the schemas of all areas up to date, without any daemon.
 */
#include "cli/rows.h"
#include "common/clock.h"
#include "common/log.h"

#define CHECK_TIMEOUT_US (5 * SECOND_US)

static bool is_wanted(const struct cli *c, const char *name)
{
    for (size_t i = 0; i < c->args.nwords; i++)
        if (strcmp(c->args.words[i], name) == 0)
            return true;
    return c->args.nwords == 0;
}

static int migrate_one(struct cli *c, struct db *db, const struct area *area, json_t *list)
{
    int applied = 0, version = 0;
    enum err e = migrate_run(db, area->name, area->migrations, *area->nmigrations, &applied);
    if (!e)
        e = migrate_check(db, area->name, *area->nmigrations,
                          clock_monotonic_us() + CHECK_TIMEOUT_US, &version);
    if (e)
        return cli_fail(c, e, "schema %s: not brought up to date%s%s", area->name,
                        *db_last_error(db)->sqlstate ? ", SQLSTATE " : "",
                        db_last_error(db)->sqlstate);
    if (c->json)
        json_array_append_new(list, json_pack("{s:s,s:i,s:i}", "schema", area->name, "version",
                                              version, "applied", applied));
    else
        (void)printf("schema %-10s  version %04d, %d migrations applied\n", area->name, version,
                     applied);
    return 0;
}

int cmd_migrate(struct cli *c)
{
    int status = 0;
    for (size_t i = 0; i < c->args.nwords; i++)
        if (!area_find(c->args.words[i]))
            return cli_usage(c, "there is no area %.40s", c->args.words[i]);
    struct db *db = cli_db(c, &status);
    if (!db)
        return status;
    if (!c->json)
        log_set_level(LOG_LEVEL_INFO); /* one line a migration */
    json_t *list = json_array();
    for (const struct area *a = areas; a->name && status == 0; a++)
        if (is_wanted(c, a->name))
            status = migrate_one(c, db, a, list);
    json_t *root = json_pack("{s:o}", "schemas", list);
    if (c->json && status == 0)
        return rows_print_json(c, root);
    json_decref(root);
    return status;
}
