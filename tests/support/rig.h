/*
 * rig.h - a service's handlers on a private PostgreSQL, without bus and daemons: the tables of one
 * area and of the bus, a small company in the directory snapshot, a steered clock, and calls in
 * JSON through call_answer(), which is what a worker runs.
 *
 * The company: unit HQ with general manager "gm"; unit EAST below it with supervisor "sup", team
 * lead "lead", reps "rep" and "rep2", and "gone", a rep who has left; and another company with rep
 * "other". Everything aborts the test with words when it cannot.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_RIG_H
#define DAYBOOK_TESTS_SUPPORT_RIG_H

#include <jansson.h>

#include "common/call.h"
#include "common/consumer.h"
#include "common/migrate.h"
#include "tests/support/servers.h"

struct rig {
    struct servers *servers;
    struct db *db;    /* as the daemon's role */
    struct db *admin; /* as the owner of everything */
    struct arena *arena;
    const char *schema;
    const struct method *methods;
    size_t nmethods;
    int64_t round_trips; /* of the last call */
    void *daemon_data;   /* for handlers and reactions; set by the test */
    struct cache *cache; /* the same */
    char clock_path[128];
};

extern const struct id rig_tenant, rig_other_tenant;

struct rig *rig_start(const char *schema, const struct migration *migrations, size_t nmigrations,
                      const struct method *methods, size_t nmethods);
/* The same with servers of one's own choice. */
struct rig *rig_start_with(const struct servers_options *options, const char *schema,
                           const struct migration *migrations, size_t nmigrations,
                           const struct method *methods, size_t nmethods);
void rig_stop(struct rig *r);
/* What the area's migrations need of other schemas: SQL that the next rigs run before. Static. */
void rig_prepare(const char *sql);

/* Sets a policy of the company from that moment on, in the directory snapshot. At most 16; they
 * stay until rig_clear_policies(). */
void rig_set_policy(const char *key, const char *value, const char *from_rfc3339);
/* The same for a unit, "HQ" or "EAST". */
void rig_set_unit_policy(const char *unit, const char *key, const char *value,
                         const char *from_rfc3339);
/* Puts an employee into another unit of the company, until rig_clear_policies(). */
void rig_move(const char *employee, const char *unit);
void rig_clear_policies(void);

/* Id of an employee by the names above. */
struct id rig_employee(const char *name);
const char *rig_employee_text(const char *name);

/* Turns domain time; it stands still between. */
void rig_time(struct rig *r, const char *rfc3339);

/*
 * Calls as that employee, "system" or "service". Request and answer are JSON; the answer is the
 * message, or the result's status when it failed. key: NULL = a new one.
 */
json_t *rig_call(struct rig *r, const char *actor, const char *service, const char *method,
                 const char *key, const char *request_fmt, ...) PRINTF(6, 7);
/* The same, and must succeed or fail with that code. */
json_t *rig_ok(struct rig *r, const char *actor, const char *service, const char *method,
               const char *request_fmt, ...) PRINTF(5, 6);
void rig_fails(struct rig *r, const char *actor, const char *service, const char *method,
               enum err code, const char *message_part, const char *request_fmt, ...) PRINTF(7, 8);

/* Text at a path of object keys and array indexes ("visit.state", "results.0.outcome"); "" when it
 * is not there. */
const char *rig_text(const json_t *json, const char *path);

/* One value of one row, as text that lives until the next call of this; "" for NULL or no row. */
const char *rig_value(struct rig *r, const char *sql);
/* Types of the events in the outbox since the last call, in order, parted by spaces, without the
 * package; then empties it. */
const char *rig_events(struct rig *r);

/*
 * Runs an event's reaction in a transaction of its own, as the consumer would, with the JSON of its
 * message. Events that it emits go to the outbox; with replaying they are dropped and only
 * reactions of a rebuild run.
 */
void rig_hear(struct rig *r, const struct consumer_def *consumer, bool replaying, const char *type,
              const char *occurred_at, const char *data_fmt, ...) PRINTF(6, 7);

#endif
