/*
 * directory.h - a snapshot in memory of what every daemon may know of the directory: companies,
 * units, employees, roles, superiors, policies, calendars, bus keys.
 *
 * It is read from the views directory_api.* and shared read-only between threads. A refresher
 * thread looks at directory_api.revision once a second, and at once when told (a reaction heard a
 * directory event), and swaps in a new snapshot; holders of the old one keep it until they release
 * it. Lookups are hashed and do no I/O.
 */
#ifndef DAYBOOK_COMMON_DIRECTORY_H
#define DAYBOOK_COMMON_DIRECTORY_H

#include "common/base.h"
#include "common/calendar.h"
#include "common/err.h"
#include "common/id.h"
#include "common/policy.h"

struct dir_tenant {
    struct id id;
    const char *name;
    const char *currency_code;
    const struct calendar *calendar; /* of the company */
};

struct dir_unit {
    struct id id;
    const char *code;
    const char *name;
    const struct dir_unit *parent; /* NULL at the root */
};

#define DIR_ROLES_MAX 8

struct dir_employee {
    struct id id;
    const char *employee_no;
    const char *name;
    const struct dir_unit *unit;
    const struct dir_employee *superior; /* NULL at the top */
    const char *roles[DIR_ROLES_MAX];    /* NULL-filled */
    const char *home_city_code;
    bool active;
};

/* What proves somebody: a CURVE key at the bus; an API key or the address of a calendar at an edge. */
struct dir_key {
    char public_key[41];     /* Z85; "" of the others */
    const char *secret_hash; /* of the others: see secret_hash_token(); else NULL */
    bool is_feed;            /* a calendar's address */
    struct id credential;
    struct id tenant;
    struct id actor;
    bool is_employee;
    const char *const *scopes; /* ended by NULL */
    const char *networks;      /* that it may be used from, parted by commas; NULL, "": all */
    int64_t expires_at_us;     /* 0 = never */
};

struct directory; /* one snapshot */

/* Process-wide: starts the refresher thread. conninfo of the daemon's role. with_api_keys: of an
 * edge, whose role may read them and calendar feeds. */
NODISCARD enum err directory_start(const char *conninfo, bool with_api_keys);
void directory_stop(void);
/* Asks for a look now; returns at once. Thread-safe. */
void directory_refresh(void);
/* Waits until a snapshot of at least that revision is held. ERR_DEADLINE_EXCEEDED. */
NODISCARD enum err directory_wait(int64_t revision, int64_t deadline_us);

/* The present snapshot, counted; NULL when none was loaded yet. */
const struct directory *directory_acquire(void);
void directory_release(const struct directory *d);
void directory_releasep(const struct directory **d); /* for CLEANUP */
int64_t directory_revision(const struct directory *d);

const struct dir_tenant *directory_tenant(const struct directory *d, struct id tenant);
size_t directory_tenants(const struct directory *d, const struct dir_tenant *const **list_out);
const struct dir_unit *directory_unit(const struct directory *d, struct id tenant, struct id unit);
const struct dir_employee *directory_employee(const struct directory *d, struct id tenant,
                                              struct id employee);
const struct dir_employee *directory_employee_no(const struct directory *d, struct id tenant,
                                                 const char *employee_no);
bool dir_employee_has_role(const struct dir_employee *e, const char *role);
/* Nearest superior above e with one of the roles (NULL-ended); NULL when there is none. */
const struct dir_employee *dir_superior_with_role(const struct dir_employee *e,
                                                  const char *const *roles);
/* Whether `boss` stands above `e` in the reporting line. */
bool dir_is_superior(const struct dir_employee *boss, const struct dir_employee *e);
bool dir_unit_is_below(const struct dir_unit *unit, const struct dir_unit *top); /* or equal */

/*
 * The value in force at an instant: nearest unit upwards, then company, then default; of several,
 * the one with the latest effective_from not after at_us. Aborts for an unknown key (our bug).
 */
struct policy_value directory_policy(const struct directory *d, struct id tenant, struct id unit,
                                     const char *key, int64_t at_us);

/* The first moment after that one from which the key may have another value in some unit, or from
 * which some calendar of the company may be another one; INT64_MAX: there is none. */
int64_t directory_policy_change(const struct directory *d, struct id tenant, const char *key,
                                int64_t after_us);
int64_t directory_calendar_change(const struct directory *d, struct id tenant, int64_t after_us);

/* The admitted bus key with that public key; NULL when unknown, revoked. Expiry is the caller's. */
const struct dir_key *directory_key(const struct directory *d, const char *z85);

/* The API key of that id; NULL when unknown, revoked, or not loaded. Expiry is the caller's. */
const struct dir_key *directory_api_key(const struct directory *d, struct id credential);
/* The same for the calendar feed of that id. */
const struct dir_key *directory_calendar_feed(const struct directory *d, struct id credential);

/* The calendar that holds for a unit: the company's with the unit's policy values (workday_start,
 * workday_end, working_week), which have dates. An unknown unit has the company's calendar, an
 * unknown company that of the defaults; never NULL. */
const struct calendar *directory_calendar_at(const struct directory *d, struct id tenant,
                                             struct id unit, int64_t at_us);

/* Hands every employee of a company to fn, in no order, until it returns false. */
void directory_each_employee(const struct directory *d, struct id tenant,
                             bool (*fn)(void *ctx, const struct dir_employee *e), void *ctx);

#endif
