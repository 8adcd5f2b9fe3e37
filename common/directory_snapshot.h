/*
 * directory_snapshot.h - how a snapshot lies in memory; private to directory*.c.
 *
 * Everything stands in one arena, so that a snapshot is freed at one stroke. Each company has its
 * own tables: nothing of another company can be found through an id that both use.
 */
#ifndef DAYBOOK_COMMON_DIRECTORY_SNAPSHOT_H
#define DAYBOOK_COMMON_DIRECTORY_SNAPSHOT_H

#include <stdatomic.h>

#include "common/directory.h"

/* Open addressing, at most half full; item NULL = empty. */
struct id_table {
    struct id_slot {
        struct id id;
        const void *item;
    } * slots;
    size_t mask;
};

struct text_table {
    struct text_slot {
        const char *text;
        const void *item;
    } * slots;
    size_t mask;
};

/* A calendar that holds from a moment on, since working hours are policies with dates. */
struct calendar_span {
    int64_t from_us;
    struct calendar calendar;
};

struct calendar_spans {
    const struct calendar_span *list; /* by from_us; the first is INT64_MIN */
    size_t n;
};

/* The public part comes first, so that a pointer to it is a pointer to the whole. */
struct snapshot_unit {
    struct dir_unit unit;
    struct calendar_spans calendars;
};

struct snapshot_tenant {
    struct dir_tenant tenant;
    const char *time_zone;
    struct id_table units;
    struct id_table employees;
    struct text_table numbers;
    /* By key, then date, then order of setting; those of key i are [first[i], first[i + 1]). */
    const struct policy_setting *settings;
    const uint32_t *first;           /* NULL: no settings at all */
    struct calendar_spans calendars; /* of the company */
};

struct directory {
    atomic_int shares;
    struct arena *arena;
    int64_t revision;
    int64_t next_change_us; /* first later moment at which dir_tenant.calendar changes */
    const struct dir_tenant *const *tenants;
    size_t ntenants;
    struct id_table tenant_table;
    struct text_table keys;
    struct id_table api_keys, feeds;
    struct calendar_spans fallback; /* calendar of the defaults */
};

const void *id_table_find(const struct id_table *t, struct id id);
const void *text_table_find(const struct text_table *t, const char *text);
uint64_t text_hash(const char *text);

/* As directory_policy(), before the unit's tables are complete. unit NULL = company. */
struct policy_value snapshot_policy(const struct snapshot_tenant *t, const struct dir_unit *unit,
                                    const struct policy_def *def, int64_t at_us);

/* Takes over the caller's share; wakes those who wait for a revision. */
void directory_publish(const struct directory *d);

#endif
