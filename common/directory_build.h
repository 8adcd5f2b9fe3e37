/*
 * directory_build.h - makes a directory snapshot piece by piece: for the loader, and for tests that
 * need people without a database.
 *
 *     struct directory_builder *b = directory_builder_new();
 *     directory_builder_add_tenant(b, tenant, "Shop", "Asia/Shanghai", "CNY");
 *     directory_builder_add_unit(b, tenant, &(struct directory_unit_in){ .id = unit, .code = "HQ"
 * });
 *     ...
 *     directory_set_for_tests(directory_builder_finish(b));
 *
 * Units and employees may name ones that are added later. Texts are copied. Memory that runs out
 * shows at the end: finish gives NULL. One thread at a time.
 */
#ifndef DAYBOOK_COMMON_DIRECTORY_BUILD_H
#define DAYBOOK_COMMON_DIRECTORY_BUILD_H

#include "common/directory.h"

struct directory_builder;

struct directory_builder *directory_builder_new(void);    /* NULL when out of memory */
void directory_builder_free(struct directory_builder *b); /* gives up; NULL is allowed */
void directory_builder_set_revision(struct directory_builder *b, int64_t revision);

/* Before anything of that company. time_zone and currency: NULL = the policies' defaults. */
void directory_builder_add_tenant(struct directory_builder *b, struct id tenant, const char *name,
                                  const char *time_zone, const char *currency_code);

struct directory_unit_in {
    struct id id;
    struct id parent; /* nil = root */
    const char *code;
    const char *name;
};
void directory_builder_add_unit(struct directory_builder *b, struct id tenant,
                                const struct directory_unit_in *unit);

struct directory_employee_in {
    struct id id;
    struct id unit;
    struct id superior; /* nil = none */
    const char *employee_no;
    const char *name;
    const char *roles; /* parted by commas; at most DIR_ROLES_MAX count */
    const char *home_city_code;
    bool inactive;
};
void directory_builder_add_employee(struct directory_builder *b, struct id tenant,
                                    const struct directory_employee_in *employee);

/* Of two settings of the same key, unit and date the one set later holds. Unknown keys are
 * ignored, so that an older daemon works beside a newer directory. */
void directory_builder_set_policy(struct directory_builder *b, struct id tenant,
                                  const struct policy_setting *setting);

/* Exceptions of the calendar of `year`, 0 or more; marks that year as loaded. Where two years
 * name the same day the later one holds. */
void directory_builder_add_days(struct directory_builder *b, struct id tenant, int16_t year,
                                const struct calendar_day *days, size_t ndays);

/* scopes: parted by commas; the key's own `scopes` is ignored. */
void directory_builder_add_key(struct directory_builder *b, const struct dir_key *key,
                               const char *scopes);

/* Ends the builder; the caller holds one share of the snapshot. NULL when memory ran out. */
const struct directory *directory_builder_finish(struct directory_builder *b);

/* Makes it the process's snapshot, as the refresher does, and takes over the caller's share.
 * NULL: there is none any more. */
void directory_set_for_tests(const struct directory *d);

#endif
