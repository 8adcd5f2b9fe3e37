/*
 * directory_fixture.h - what the tests of the directory share: the daemon's methods on a real
 * PostgreSQL, asked as the bus would ask them, and a small company for each test.
 */
#ifndef DAYBOOK_TESTS_DIRECTORY_FIXTURE_H
#define DAYBOOK_TESTS_DIRECTORY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/migrate.h"
#include "common/page.h"
#include "common/schema.h"
#include "common/secret.h"
#include "services/directory/service.h"
#include "services/directory/sql.h"
#include "tests/support/admin_db.h"
#include "tests/support/asking.h"
#include "tests/support/bus_schema.h"
#include "tests/support/servers.h"
#include "tests/support/slack.h"

#define DIRECTORY "daybook.directory.v1.DirectoryService"
#define POLICY "daybook.directory.v1.PolicyService"
#define CALENDAR "daybook.directory.v1.CalendarService"
#define CREDENTIAL "daybook.directory.v1.CredentialService"
#define LIMIT_US (20 * SECOND_US)
#define REQUEST_MAX (256 * 1024)

static struct servers *servers;
static char *conninfo; /* of the daemon's role */
static struct call_env env;

/* The one number that a query names n. */
UNUSED static int64_t number_of(const char *fmt, ...) PRINTF(1, 2);
static int64_t number_of(const char *fmt, ...)
{
    char sql[1000];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(sql, sizeof(sql), fmt, ap);
    va_end(ap);
    return number(sql);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Who asks. */
struct who {
    int kind; /* 0 = system */
    struct id tenant, actor;
    const char *const *scopes;
};

UNUSED static struct reply say_with(struct call_env *e, const char *key, struct who who,
                                    const char *service, const char *method, const char *fmt,
                                    va_list ap)
{
    char *text = malloc(REQUEST_MAX);
    assert_non_null(text);
    assert_in_range(vsnprintf(text, REQUEST_MAX, fmt, ap), 0, REQUEST_MAX - 1);
    struct question q = { .service = service,
                          .method = method,
                          .raw = text,
                          .raw_len = strlen(text),
                          .json = true,
                          .kind = who.kind,
                          .tenant = who.tenant,
                          .actor = who.actor,
                          .scopes = who.scopes,
                          .key = key };
    struct reply r = ask(e, &q);
    free(text);
    return r;
}

/* Asks in JSON. */
UNUSED static struct reply say(struct who who, const char *service, const char *method,
                               const char *fmt, ...) PRINTF(4, 5);
static struct reply say(struct who who, const char *service, const char *method, const char *fmt,
                        ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct reply r = say_with(&env, NULL, who, service, method, fmt, ap);
    va_end(ap);
    return r;
}

UNUSED static struct reply say_again(const char *key, struct who who, const char *service,
                                     const char *method, const char *fmt, ...) PRINTF(5, 6);
static struct reply say_again(const char *key, struct who who, const char *service,
                              const char *method, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct reply r = say_with(&env, key, who, service, method, fmt, ap);
    va_end(ap);
    return r;
}

UNUSED static void expect(const char *label, struct reply r, enum err want, const char *violations)
{
    const char *got = reply_violations(&r, env.arena);
    if (r.code != want || (violations && !strstr(got, violations)))
        fail_msg("%s: %s (%s) %s", label, err_name(r.code), r.text, got);
}

UNUSED static const void *fine(struct reply r)
{
    if (r.code)
        fail_msg("%s: %s", err_name(r.code), r.text);
    return r.message;
}

/* --- companies -------------------------------------------------------------------------------- */

/* Ids by number, so that tests can write them; each test takes a new company. */
UNUSED static struct id tenant_of(unsigned n)
{
    return (struct id){
        { 1, [6] = 0x70, [7] = 1, [8] = 0x80, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n }
    };
}

UNUSED static struct id person_of(unsigned n)
{
    return (struct id){ { 1, [6] = 0x70, [7] = 2, [8] = 0x80, [15] = (uint8_t)n } };
}

UNUSED static const char *text_of(struct id id)
{
    char *text = db_text_id(env.arena, id);
    assert_non_null(text);
    return text;
}

UNUSED static struct who system_of(struct id tenant)
{
    return (struct who){ .tenant = tenant, .actor = person_of(200) };
}

UNUSED static struct who employee_of(struct id tenant, struct id employee)
{
    return (struct who){ .kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE,
                         .tenant = tenant,
                         .actor = employee };
}

UNUSED static struct who service_of(struct id tenant, const char *const *scopes)
{
    return (struct who){ .kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE,
                         .tenant = tenant,
                         .actor = person_of(201),
                         .scopes = scopes };
}

UNUSED static struct id new_company(void)
{
    static unsigned last;
    struct id id = tenant_of(++last);
    fine(say((struct who){ .actor = person_of(200) }, DIRECTORY, "CreateTenant",
             "{\"tenant\":{\"id\":\"%s\",\"name\":\"Company %u\"}}", text_of(id), last));
    return id;
}

UNUSED static struct reply add_unit(struct id tenant, unsigned n, unsigned parent, const char *code)
{
    return say(system_of(tenant), DIRECTORY, "CreateUnit",
               "{\"unit\":{\"id\":\"%s\",\"code\":\"%s\",\"name\":\"%s\",\"parentId\":\"%s\"}}",
               text_of(person_of(n)), code, code, parent ? text_of(person_of(parent)) : "");
}

/* superior 0 = none. */
UNUSED static struct reply add_person(struct id tenant, unsigned n, unsigned superior,
                                      const char *role)
{
    return say(system_of(tenant), DIRECTORY, "CreateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"employeeNo\":\"P%u\",\"name\":\"P%u\","
               "\"unitId\":\"%s\",\"roles\":[\"%s\"],\"superiorId\":\"%s\"}}",
               text_of(person_of(n)), n, n, text_of(person_of(100)), role,
               superior ? text_of(person_of(superior)) : "");
}

enum { GM = 1, MANAGER = 2, LEAD = 3, REP = 4, REP2 = 5 };

/* A unit HQ (100) with TEAM (101) below it, and a line of five people. */
UNUSED static struct id small_company(void)
{
    struct id t = new_company();
    fine(add_unit(t, 100, 0, "HQ"));
    fine(add_unit(t, 101, 100, "TEAM"));
    fine(add_person(t, GM, 0, "general_manager"));
    fine(add_person(t, MANAGER, GM, "sales_manager"));
    fine(add_person(t, LEAD, MANAGER, "team_lead"));
    fine(add_person(t, REP, LEAD, "rep"));
    fine(add_person(t, REP2, LEAD, "rep"));
    return t;
}

/* Waits until the snapshot satisfies the condition; how long it took. */
UNUSED static int64_t wait_for_snapshot(bool (*is_so)(const struct directory *d, struct id tenant,
                                                      const void *arg),
                                        struct id tenant, const void *arg)
{
    int64_t start_us = clock_monotonic_us();
    for (;;) {
        CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
        if (d && is_so(d, tenant, arg))
            return clock_monotonic_us() - start_us;
        if (clock_monotonic_us() - start_us > LIMIT_US)
            fail_msg("the snapshot never came");
        /* wakes up when a newer snapshot is there; the time only bounds a miss */
        enum err e =
            directory_wait(d ? directory_revision(d) + 1 : 0, clock_monotonic_us() + 50 * MSEC_US);
        (void)e;
    }
}

UNUSED static bool knows_rep(const struct directory *d, struct id tenant, const void *arg)
{
    const unsigned *n = arg;
    return directory_employee(d, tenant, person_of(*n)) != NULL;
}

UNUSED static struct call_env own_env(void)
{
    struct call_env e = { .arena = arena_new(16 * MIB),
                          .db = db_new(conninfo, "racer"),
                          .methods = directory_methods,
                          .nmethods = directory_methods_len,
                          .schema = "directory" };
    assert_non_null(e.arena);
    assert_non_null(e.db);
    return e;
}

/* --- frame ------------------------------------------------------------------------------------ */

UNUSED static int start(void **state)
{
    (void)state;
    static const uint8_t page_key[32] = { 1 };
    int applied = 0;
    servers = servers_start(false);
    schema_init();
    page_set_key(page_key);
    assert_true(secret_init("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
    admin_open(servers_conninfo(servers));
    bus_schema_make(admin);
    must(migrate_run(admin, "directory", directory_migrations, directory_migrations_len, &applied));
    conninfo = servers_conninfo_of(servers, "daybook_directory");
    assert_non_null(conninfo);
    env = own_env();
    must(directory_start(conninfo, false));
    must(directory_wait(0, clock_monotonic_us() + LIMIT_US));
    return 0;
}

UNUSED static int stop(void **state)
{
    (void)state;
    directory_stop();
    db_free(env.db);
    arena_free(env.arena);
    admin_close();
    free(conninfo);
    schema_fini();
    servers_stop(servers);
    return 0;
}

UNUSED static int before_each(void **state)
{
    (void)state;
    arena_reset(env.arena);
    return 0;
}

#endif
