/*
 * The directory on a real PostgreSQL, asked as the bus would ask it: the sample company, who may do
 * what, rules of the reporting line, rule book, calendar, credentials, and that companies do not
 * see each other (F61). Every test has a company of its own.
 */
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
static int64_t number_of(const char *fmt, ...) PRINTF(1, 2);
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

static struct reply say_with(struct call_env *e, const char *key, struct who who,
                             const char *service, const char *method, const char *fmt, va_list ap)
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
static struct reply say(struct who who, const char *service, const char *method, const char *fmt,
                        ...) PRINTF(4, 5);
static struct reply say(struct who who, const char *service, const char *method, const char *fmt,
                        ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct reply r = say_with(&env, NULL, who, service, method, fmt, ap);
    va_end(ap);
    return r;
}

static struct reply say_again(const char *key, struct who who, const char *service,
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

static void expect(const char *label, struct reply r, enum err want, const char *violations)
{
    const char *got = reply_violations(&r, env.arena);
    if (r.code != want || (violations && !strstr(got, violations)))
        fail_msg("%s: %s (%s) %s", label, err_name(r.code), r.text, got);
}

static const void *fine(struct reply r)
{
    if (r.code)
        fail_msg("%s: %s", err_name(r.code), r.text);
    return r.message;
}

/* --- companies -------------------------------------------------------------------------------- */

/* Ids by number, so that tests can write them; each test takes a new company. */
static struct id tenant_of(unsigned n)
{
    return (struct id){
        { 1, [6] = 0x70, [7] = 1, [8] = 0x80, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n }
    };
}

static struct id person_of(unsigned n)
{
    return (struct id){ { 1, [6] = 0x70, [7] = 2, [8] = 0x80, [15] = (uint8_t)n } };
}

static const char *text_of(struct id id)
{
    char *text = db_text_id(env.arena, id);
    assert_non_null(text);
    return text;
}

static struct who system_of(struct id tenant)
{
    return (struct who){ .tenant = tenant, .actor = person_of(200) };
}

static struct who employee_of(struct id tenant, struct id employee)
{
    return (struct who){ .kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE,
                         .tenant = tenant,
                         .actor = employee };
}

static struct who service_of(struct id tenant, const char *const *scopes)
{
    return (struct who){ .kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE,
                         .tenant = tenant,
                         .actor = person_of(201),
                         .scopes = scopes };
}

static struct id new_company(void)
{
    static unsigned last;
    struct id id = tenant_of(++last);
    fine(say((struct who){ .actor = person_of(200) }, DIRECTORY, "CreateTenant",
             "{\"tenant\":{\"id\":\"%s\",\"name\":\"Company %u\"}}", text_of(id), last));
    return id;
}

static struct reply add_unit(struct id tenant, unsigned n, unsigned parent, const char *code)
{
    return say(system_of(tenant), DIRECTORY, "CreateUnit",
               "{\"unit\":{\"id\":\"%s\",\"code\":\"%s\",\"name\":\"%s\",\"parentId\":\"%s\"}}",
               text_of(person_of(n)), code, code, parent ? text_of(person_of(parent)) : "");
}

/* superior 0 = none. */
static struct reply add_person(struct id tenant, unsigned n, unsigned superior, const char *role)
{
    return say(system_of(tenant), DIRECTORY, "CreateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"employeeNo\":\"P%u\",\"name\":\"P%u\","
               "\"unitId\":\"%s\",\"roles\":[\"%s\"],\"superiorId\":\"%s\"}}",
               text_of(person_of(n)), n, n, text_of(person_of(100)), role,
               superior ? text_of(person_of(superior)) : "");
}

enum { GM = 1, MANAGER = 2, LEAD = 3, REP = 4, REP2 = 5 };

/* A unit HQ (100) with TEAM (101) below it, and a line of five people. */
static struct id small_company(void)
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
static int64_t wait_for_snapshot(bool (*is_so)(const struct directory *d, struct id tenant,
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

/* --- tests: companies and people -------------------------------------------------------------- */

static void companies_are_made_by_system_accounts_only(void **state)
{
    (void)state;
    static const char *const all[] = { "tenant.all", NULL };
    struct who system = { .actor = person_of(200) };
    struct id t = tenant_of(900);
    struct reply r = say(service_of(tenant_of(901), all), DIRECTORY, "CreateTenant",
                         "{\"tenant\":{\"name\":\"Mine\"}}");
    expect("a service", r, ERR_PERMISSION_DENIED, NULL);
    expect("no zone",
           say(system, DIRECTORY, "CreateTenant",
               "{\"tenant\":{\"name\":\"X\",\"timeZone\":\"Mars/Olympus\"}}"),
           ERR_INVALID_ARGUMENT, "tenant.time_zone");
    expect("no name", say(system, DIRECTORY, "CreateTenant", "{\"tenant\":{}}"),
           ERR_INVALID_ARGUMENT, "tenant.name");

    const Daybook__Directory__V1__CreateTenantResponse *made =
        fine(say(system, DIRECTORY, "CreateTenant",
                 "{\"tenant\":{\"id\":\"%s\",\"name\":\"X\",\"timeZone\":\"Europe/Berlin\","
                 "\"currencyCode\":\"EUR\"}}",
                 text_of(t)));
    assert_string_equal(made->tenant->time_zone, "Europe/Berlin");
    assert_string_equal(made->tenant->etag, "1");
    /* The event belongs to the new company although the caller has none. */
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id = '%s' AND type ="
                  " 'daybook.directory.v1.TenantCreated' AND aggregate = 'tenants/%s'",
                  text_of(t), text_of(t)),
        1);
    expect("twice",
           say(system, DIRECTORY, "CreateTenant", "{\"tenant\":{\"id\":\"%s\",\"name\":\"Y\"}}",
               text_of(t)),
           ERR_ALREADY_EXISTS, NULL);
    expect("no company", say(system, DIRECTORY, "ListUnits", "{}"), ERR_PERMISSION_DENIED, NULL);
    expect("an unknown company", add_unit(tenant_of(999), 100, 0, "HQ"), ERR_NOT_FOUND, NULL);
}

static const char *get(json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

/* Id of the element of the list whose `key` is that text; "" when the text is. */
static const char *id_where(json_t *list, const char *key, const char *text)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) if (strcmp(get(o, key), text) == 0) return get(o, "id");
    return "";
}

static void import_company(json_t *company, struct who who)
{
    json_t *units = json_object_get(company, "units"), *o;
    json_t *people = json_object_get(company, "employees");
    size_t i;
    json_array_foreach(units, i, o)
        fine(say(who, DIRECTORY, "CreateUnit",
                 "{\"unit\":{\"id\":\"%s\",\"code\":\"%s\",\"name\":\"%s\",\"parentId\":\"%s\","
                 "\"cityCode\":\"%s\"}}",
                 get(o, "id"), get(o, "code"), get(o, "name"),
                 id_where(units, "code", get(o, "parent_code")), get(o, "city_code")));
    json_array_foreach(people, i, o)
    {
        char *roles = json_dumps(json_object_get(o, "roles"), 0);
        fine(say(who, DIRECTORY, "CreateEmployee",
                 "{\"employee\":{\"id\":\"%s\",\"employeeNo\":\"%s\",\"name\":\"%s\","
                 "\"unitId\":\"%s\",\"roles\":%s,\"superiorId\":\"%s\",\"homeCityCode\":\"%s\"}}",
                 get(o, "id"), get(o, "employee_no"), get(o, "name"),
                 id_where(units, "code", get(o, "unit_code")), roles,
                 id_where(people, "employee_no", get(o, "superior_no")), get(o, "home_city_code")));
        free(roles);
    }
}

static bool has_last_employee(const struct directory *d, struct id tenant, const void *arg)
{
    (void)arg;
    return directory_employee_no(d, tenant, "E024") != NULL;
}

static void the_sample_company_comes_in_whole(void **state)
{
    (void)state;
    json_error_t fault;
    json_t *company = json_load_file("tests/data/sample/company.json", 0, &fault);
    if (!company)
        fail_msg("company.json: %s (run from the project's root)", fault.text);
    json_t *tenant = json_object_get(company, "tenant");
    struct id t;
    assert_true(id_parse(get(tenant, "id"), &t));
    int64_t revision = number_of("SELECT revision AS n FROM directory.revision");
    fine(say(
        (struct who){ .actor = person_of(200) }, DIRECTORY, "CreateTenant",
        "{\"tenant\":{\"id\":\"%s\",\"name\":\"%s\",\"timeZone\":\"%s\",\"currencyCode\":\"%s\"}}",
        get(tenant, "id"), get(tenant, "name"), get(tenant, "time_zone"), get(tenant, "currency")));
    import_company(company, system_of(t));
    json_decref(company);

    /* 1 company, 4 units, 24 employees: as many revisions and events. */
    assert_int_equal(number_of("SELECT revision AS n FROM directory.revision") - revision, 29);
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id = '%s'", text_of(t)), 29);
    assert_true(wait_for_snapshot(has_last_employee, t, NULL) < slack(2 * SECOND_US));

    CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
    const struct dir_employee *rep = directory_employee_no(d, t, "E006");
    static const char *const managers[] = { "sales_manager", NULL };
    assert_string_equal(rep->superior->employee_no, "E004");
    assert_string_equal(dir_superior_with_role(rep, managers)->employee_no, "E002");
    assert_string_equal(rep->unit->code, "EAST");
    assert_string_equal(rep->unit->parent->code, "HQ");
    assert_true(dir_employee_has_role(rep, "senior_rep") && dir_employee_has_role(rep, "rep"));
    assert_string_equal(directory_tenant(d, t)->currency_code, "CNY");

    /* In pages by number, all and those of a unit. */
    const Daybook__Directory__V1__ListEmployeesResponse *page;
    const char *token = "";
    unsigned seen = 0;
    do {
        page = fine(say(system_of(t), DIRECTORY, "ListEmployees",
                        "{\"pageSize\":10,\"pageToken\":\"%s\"}", token));
        for (size_t i = 0; i < page->n_employees; i++) {
            char no[8];
            snprintf(no, sizeof(no), "E%03u", ++seen);
            assert_string_equal(page->employees[i]->employee_no, no);
        }
        token = page->next_page_token;
    } while (*token);
    assert_int_equal(seen, 24);
    page = fine(say(system_of(t), DIRECTORY, "ListEmployees", "{\"unitId\":\"%s\"}",
                    text_of(rep->unit->id)));
    assert_int_equal(page->n_employees, 10);
    page = fine(say(system_of(t), DIRECTORY, "ListEmployees", "{\"unitId\":\"%s\"}",
                    text_of(rep->unit->parent->id)));
    assert_int_equal(page->n_employees, 24);
    const Daybook__Directory__V1__GetEmployeeResponse *one =
        fine(say(employee_of(t, rep->id), DIRECTORY, "GetEmployee", "{\"employeeNo\":\"E012\"}"));
    assert_string_equal(one->employee->name, "韩北辰");
    assert_int_equal(one->employee->n_roles, 2);
    assert_true(one->employee->active);
    const Daybook__Directory__V1__ListUnitsResponse *units =
        fine(say(employee_of(t, rep->id), DIRECTORY, "ListUnits", "{}"));
    assert_int_equal(units->n_units, 4);
    assert_string_equal(units->units[0]->code, "EAST");
    assert_string_equal(units->units[0]->city_code, "310100");
}

static void the_reporting_line_has_one_top_and_no_ring(void **state)
{
    (void)state;
    struct id t = small_company();
    const struct who system = system_of(t);
    const char *manager = text_of(person_of(MANAGER));
    int64_t events = number_of("SELECT count(*) AS n FROM bus.outbox");

    expect("no superior", add_person(t, 20, 0, "rep"), ERR_INVALID_ARGUMENT,
           "employee.superior_id");
    expect("two tops", add_person(t, 20, GM, "general_manager"), ERR_INVALID_ARGUMENT,
           "employee.superior_id");
    expect("an unknown role", add_person(t, 20, GM, "wizard"), ERR_INVALID_ARGUMENT,
           "employee.roles");
    expect("an unknown superior", add_person(t, 20, 77, "rep"), ERR_FAILED_PRECONDITION, NULL);
    expect("his own superior", add_person(t, 20, 20, "rep"), ERR_FAILED_PRECONDITION, NULL);
    expect("the number twice",
           say(system, DIRECTORY, "CreateEmployee",
               "{\"employee\":{\"employeeNo\":\"P4\",\"name\":\"x\",\"unitId\":\"%s\","
               "\"roles\":[\"rep\"],\"superiorId\":\"%s\"}}",
               text_of(person_of(100)), manager),
           ERR_ALREADY_EXISTS, NULL);
    expect("an unknown unit",
           say(system, DIRECTORY, "CreateEmployee",
               "{\"employee\":{\"employeeNo\":\"P9\",\"name\":\"x\",\"unitId\":\"%s\","
               "\"roles\":[\"rep\"],\"superiorId\":\"%s\"}}",
               text_of(person_of(55)), manager),
           ERR_FAILED_PRECONDITION, NULL);
    /* The manager below his rep, his lead, himself (ORG-02). */
    for (unsigned below = MANAGER; below <= REP; below++)
        expect("a ring",
               say(system, DIRECTORY, "UpdateEmployee",
                   "{\"employee\":{\"id\":\"%s\",\"superiorId\":\"%s\"}}", manager,
                   text_of(person_of(below))),
               ERR_FAILED_PRECONDITION, NULL);
    expect("a code twice", add_unit(t, 102, 100, "TEAM"), ERR_ALREADY_EXISTS, NULL);
    expect("an unknown parent", add_unit(t, 102, 88, "X"), ERR_FAILED_PRECONDITION, NULL);
    expect("its own parent", add_unit(t, 102, 102, "X"), ERR_FAILED_PRECONDITION, NULL);
    expect("a bad code", add_unit(t, 102, 100, "lower"), ERR_INVALID_ARGUMENT, "unit.code");
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events);
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.employee WHERE tenant_id = '%s'",
                  text_of(t)),
        5);
}

static void updates_take_masks_and_etags(void **state)
{
    (void)state;
    struct id t = small_company();
    const struct who system = system_of(t);
    const char *rep = text_of(person_of(REP)), *lead = text_of(person_of(LEAD));
    const Daybook__Directory__V1__UpdateEmployeeResponse *r;

    r = fine(say(
        system, DIRECTORY, "UpdateEmployee",
        "{\"employee\":{\"id\":\"%s\",\"name\":\"New\",\"etag\":\"1\"},\"updateMask\":\"name\"}",
        rep));
    assert_string_equal(r->employee->name, "New");
    assert_string_equal(r->employee->etag, "2");
    assert_string_equal(r->employee->superior_id, lead);
    assert_true(r->employee->active);
    expect("an old etag",
           say(system, DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"name\":\"Late\",\"etag\":\"1\"}}", rep),
           ERR_ABORTED, NULL);
    expect("an unknown field",
           say(system, DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"employeeNo\"}", rep),
           ERR_INVALID_ARGUMENT, "update_mask");
    /* The same once more is no change: no version, no event. */
    int64_t events = number_of("SELECT count(*) AS n FROM bus.outbox");
    r = fine(say(system, DIRECTORY, "UpdateEmployee",
                 "{\"employee\":{\"id\":\"%s\",\"name\":\"New\"}}", rep));
    assert_string_equal(r->employee->etag, "2");
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events);

    expect("leaving with people",
           say(system, DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"active\"}", lead),
           ERR_FAILED_PRECONDITION, NULL);
    for (unsigned n = REP; n <= REP2; n++)
        fine(say(system, DIRECTORY, "UpdateEmployee",
                 "{\"employee\":{\"id\":\"%s\",\"superiorId\":\"%s\"}}", text_of(person_of(n)),
                 text_of(person_of(MANAGER))));
    r = fine(say(system, DIRECTORY, "UpdateEmployee",
                 "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"active\"}", lead));
    assert_false(r->employee->active);
    expect("below one who left",
           say(system, DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"superiorId\":\"%s\"}}", rep, lead),
           ERR_FAILED_PRECONDITION, NULL);
    /* Versions in the log of an employee rise one by one. */
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM (SELECT aggregate_version AS v, row_number()"
                  " OVER (ORDER BY id) AS r FROM bus.outbox WHERE tenant_id = '%s' AND"
                  " aggregate = 'employees/%s') AS x WHERE v <> r",
                  text_of(t), rep),
        0);
}

static bool knows_rep(const struct directory *d, struct id tenant, const void *arg)
{
    const unsigned *n = arg;
    return directory_employee(d, tenant, person_of(*n)) != NULL;
}

static void people_do_what_their_roles_allow(void **state)
{
    (void)state;
    struct id t = small_company();
    unsigned last = REP2;
    wait_for_snapshot(knows_rep, t, &last);
    static const char new_unit[] =
        "{\"unit\":{\"code\":\"%s\",\"name\":\"n\",\"parentId\":\"%s\"}}";
    static const char *const read[] = { "directory.read", NULL };
    static const char *const write[] = { "directory.write", NULL };
    const char *hq = text_of(person_of(100));

    fine(say(employee_of(t, person_of(MANAGER)), DIRECTORY, "CreateUnit", new_unit, "U1", hq));
    expect("a rep",
           say(employee_of(t, person_of(REP)), DIRECTORY, "CreateUnit", new_unit, "U2", hq),
           ERR_PERMISSION_DENIED, NULL);
    expect("a reader", say(service_of(t, read), DIRECTORY, "CreateUnit", new_unit, "U2", hq),
           ERR_PERMISSION_DENIED, NULL);
    fine(say(service_of(t, write), DIRECTORY, "CreateUnit", new_unit, "U2", hq));
    fine(say(service_of(t, read), DIRECTORY, "ListUnits", "{}"));
    expect("a writer who may not read", say(service_of(t, write), DIRECTORY, "ListUnits", "{}"),
           ERR_PERMISSION_DENIED, NULL);

    expect("raises himself",
           say(employee_of(t, person_of(MANAGER)), DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"roles\":[\"admin_office\"]}}",
               text_of(person_of(MANAGER))),
           ERR_PERMISSION_DENIED, NULL);
    expect("gives the office",
           say(employee_of(t, person_of(MANAGER)), DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"roles\":[\"admin_office\"]}}",
               text_of(person_of(REP))),
           ERR_PERMISSION_DENIED, NULL);
    fine(say(employee_of(t, person_of(GM)), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\",\"roles\":[\"admin_office\"]}}",
             text_of(person_of(REP))));
    fine(say(employee_of(t, person_of(MANAGER)), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\",\"roles\":[\"rep\",\"senior_rep\"]}}",
             text_of(person_of(REP2))));
}

/* F61: the same request as somebody of another company, and the wall behind it. */
static void companies_do_not_see_each_other_f61(void **state)
{
    (void)state;
    struct id a = small_company(), b = small_company();
    struct id c = new_company();
    const char *rep = text_of(person_of(REP));
    /* b has people of the same ids and numbers: each sees its own. */
    fine(say(system_of(b), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\",\"name\":\"Of b\"}}", rep));
    const Daybook__Directory__V1__GetEmployeeResponse *r =
        fine(say(system_of(a), DIRECTORY, "GetEmployee", "{\"id\":\"%s\"}", rep));
    assert_string_equal(r->employee->name, "P4");
    expect("nobody there", say(system_of(c), DIRECTORY, "GetEmployee", "{\"id\":\"%s\"}", rep),
           ERR_NOT_FOUND, NULL);
    expect("not to be changed",
           say(system_of(c), DIRECTORY, "UpdateEmployee",
               "{\"employee\":{\"id\":\"%s\",\"name\":\"x\"}}", rep),
           ERR_NOT_FOUND, NULL);
    const Daybook__Directory__V1__ListEmployeesResponse *list =
        fine(say(system_of(c), DIRECTORY, "ListEmployees", "{}"));
    assert_int_equal(list->n_employees, 0);
    expect("a unit of another",
           say(system_of(c), POLICY, "Get", "{\"key\":\"timezone\",\"unitId\":\"%s\"}",
               text_of(person_of(101))),
           ERR_NOT_FOUND, NULL);
    expect("a page of another's list",
           say(system_of(b), DIRECTORY, "ListEmployees", "{\"pageToken\":\"%s\"}",
               ((const Daybook__Directory__V1__ListEmployeesResponse *)fine(
                    say(system_of(a), DIRECTORY, "ListEmployees", "{\"pageSize\":1}")))
                   ->next_page_token),
           ERR_INVALID_ARGUMENT, NULL);
    /* An employee of a in the company c. */
    expect("a stranger", say(employee_of(c, person_of(GM)), DIRECTORY, "ListUnits", "{}"),
           ERR_PERMISSION_DENIED, NULL);

    /* The second wall: a statement without a company in its WHERE. */
    static const struct db_stmt all = { "all", "SELECT count(*) AS n FROM directory.employee", 0,
                                        NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    must(db_begin(env.db, &c, clock_monotonic_us() + LIMIT_US));
    must(db_exec(env.db, &all, NULL, &res));
    struct db_row row = { .res = res };
    assert_int_equal(db_row_i64(&row, "n"), 0);
    db_rollback(env.db);
    /* And the daemon's role cannot put a row into another company. */
    static const struct db_stmt forge = {
        "forge", "INSERT INTO directory.tenant VALUES (gen_random_uuid(), 'x', 'UTC', 'CNY', 1)", 0,
        NULL
    };
    CLEANUP(db_result_clear) PGresult *none = NULL;
    must(db_begin(env.db, &c, clock_monotonic_us() + LIMIT_US));
    assert_int_not_equal(db_exec(env.db, &forge, NULL, &none), ERR_OK);
    db_rollback(env.db);
}

static void a_repeated_command_has_one_effect_f60(void **state)
{
    (void)state;
    struct id t = small_company();
    static const char request[] = "{\"unit\":{\"code\":\"%s\",\"name\":\"n\",\"parentId\":\"%s\"}}";
    const char *hq = text_of(person_of(100));
    struct reply first =
        say_again("once", system_of(t), DIRECTORY, "CreateUnit", request, "ONE", hq);
    struct reply second =
        say_again("once", system_of(t), DIRECTORY, "CreateUnit", request, "ONE", hq);
    const Daybook__Directory__V1__CreateUnitResponse *x = fine(first), *y = fine(second);
    assert_string_equal(x->unit->id, y->unit->id);
    assert_null(reply_metadata(&first, "idempotent-replayed"));
    assert_string_equal(reply_metadata(&second, "idempotent-replayed"), "true");
    struct reply other =
        say_again("once", system_of(t), DIRECTORY, "CreateUnit", request, "TWO", hq);
    assert_int_equal(other.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(other.reason, "IDEMPOTENCY_KEY_REUSED");
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'units/%s'", x->unit->id),
        1);
    /* A company too, whose maker has none. */
    struct who system = { .actor = person_of(200) };
    struct reply made = say_again("company", system, DIRECTORY, "CreateTenant",
                                  "{\"tenant\":{\"name\":\"Again\"}}");
    struct reply again = say_again("company", system, DIRECTORY, "CreateTenant",
                                   "{\"tenant\":{\"name\":\"Again\"}}");
    const Daybook__Directory__V1__CreateTenantResponse *p = fine(made), *q = fine(again);
    assert_string_equal(p->tenant->id, q->tenant->id);
    assert_string_equal(reply_metadata(&again, "idempotent-replayed"), "true");
}

/* --- tests: races ----------------------------------------------------------------------------- */

struct racer {
    struct id tenant;
    unsigned who, below;
    pthread_barrier_t *start;
    enum err code;
};

static struct call_env own_env(void)
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

static struct reply say_on(struct call_env *e, struct who who, const char *fmt, ...) PRINTF(3, 4);
static struct reply say_on(struct call_env *e, struct who who, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct reply r = say_with(e, NULL, who, DIRECTORY, "UpdateEmployee", fmt, ap);
    va_end(ap);
    return r;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct call_env e = own_env();
    char who[ID_TEXT_MAX], below[ID_TEXT_MAX];
    must(db_ping(e.db, clock_monotonic_us() + LIMIT_US));
    pthread_barrier_wait(r->start);
    r->code =
        say_on(&e, system_of(r->tenant), "{\"employee\":{\"id\":\"%s\",\"superiorId\":\"%s\"}}",
               id_text(person_of(r->who), who), id_text(person_of(r->below), below))
            .code;
    db_free(e.db);
    arena_free(e.arena);
    return NULL;
}

/* Each change is fine alone; together they would close a ring (ORG-02). Each goes below a report of
 * the other one, so that no row is locked by both and only the company's lock keeps them apart. */
static void two_changes_at_once_cannot_close_a_ring(void **state)
{
    (void)state;
    enum { BELOW_REP = 6, BELOW_REP2 = 7 };
    for (int round = 0; round < 10; round++) {
        struct id t = small_company();
        fine(add_person(t, BELOW_REP, REP, "rep"));
        fine(add_person(t, BELOW_REP2, REP2, "rep"));
        pthread_barrier_t start;
        assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
        struct racer r[2] = { { t, REP, BELOW_REP2, &start, ERR_OK },
                              { t, REP2, BELOW_REP, &start, ERR_OK } };
        pthread_t thread[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, race, &r[i]), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&start);
        assert_int_equal(r[0].code + r[1].code,
                         ERR_FAILED_PRECONDITION); /* exactly one was refused */
        assert_true(r[0].code == ERR_OK || r[1].code == ERR_OK);
    }
}

/* --- tests: snapshot -------------------------------------------------------------------------- */

static bool name_is(const struct directory *d, struct id tenant, const void *name)
{
    const struct dir_employee *e = directory_employee(d, tenant, person_of(REP));
    return e && strcmp(e->name, name) == 0;
}

static bool reads_revision(const struct directory *d, struct id tenant, const void *arg)
{
    (void)tenant;
    const int64_t *revision = arg;
    return directory_revision(d) >= *revision;
}

/* What another process committed is seen by the refresher's own look, without being told. */
static void the_snapshot_follows_within_a_second(void **state)
{
    (void)state;
    struct id t = small_company();
    int64_t revision = number_of("SELECT revision AS n FROM directory.revision");
    wait_for_snapshot(reads_revision, t, &revision);
    script("BEGIN; UPDATE directory.employee SET name = 'Elsewhere' WHERE employee_no = 'P4';"
           " UPDATE directory.revision SET revision = revision + 1; COMMIT");
    int64_t start_us = clock_monotonic_us();
    for (;;) { /* without directory_wait(), which would ask for a look */
        CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
        if (name_is(d, t, "Elsewhere"))
            break;
        assert_true(clock_monotonic_us() - start_us < 5 * SECOND_US);
        number_of("SELECT 1 AS n"); /* waits a round trip instead of spinning */
    }
    assert_true(clock_monotonic_us() - start_us <=
                slack(2 * SECOND_US)); /* one, and a busy machine */
    assert_int_equal(directory_wait(INT64_MAX, clock_monotonic_us() + 10 * MSEC_US),
                     ERR_DEADLINE_EXCEEDED);
}

/* --- tests: rule book ------------------------------------------------------------------------- */

static void expect_policy(struct id t, const char *unit, const char *at, const char *value,
                          const char *provenance)
{
    const Daybook__Directory__V1__GetPolicyResponse *r =
        fine(say(system_of(t), POLICY, "Get",
                 "{\"key\":\"question_feedback_hours\",\"unitId\":\"%s\"%s%s%s}", unit,
                 at ? ",\"at\":\"" : "", at ? at : "", at ? "\"" : ""));
    assert_string_equal(r->policy->value, value);
    assert_string_equal(r->policy->provenance, provenance);
}

static bool feedback_is(const struct directory *d, struct id tenant, const void *want)
{
    struct policy_value v =
        directory_policy(d, tenant, person_of(101), "question_feedback_hours", clock_now_us());
    return strcmp(v.text, want) == 0;
}

static void the_rule_book_has_scopes_dates_and_a_history(void **state)
{
    (void)state;
    struct id t = small_company();
    const struct who system = system_of(t);
    const char *hq = text_of(person_of(100)), *team = text_of(person_of(101));
    char team_scope[48];
    snprintf(team_scope, sizeof(team_scope), "unit:%s", team);
#define SET "{\"key\":\"%s\",\"value\":\"%s\",\"unitId\":\"%s\",\"reason\":\"%s\"}"
    expect_policy(t, "", NULL, "24", "default");
    fine(say(system, POLICY, "Set", SET, "question_feedback_hours", "20", "", "trial"));
    expect_policy(t, team, NULL, "20", "company");
    fine(say(system, POLICY, "Set", SET, "question_feedback_hours", "12", team, "pilot"));
    expect_policy(t, team, NULL, "12", team_scope);
    expect_policy(t, hq, NULL, "20", "company");
    expect_policy(t, "", "2020-01-01T00:00:00Z", "24", "default");
    fine(say(system, POLICY, "Set",
             "{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"unitId\":\"%s\","
             "\"effectiveFrom\":\"2190-01-01T00:00:00Z\",\"reason\":\"later\"}",
             hq));
    expect_policy(t, hq, NULL, "20", "company");
    expect_policy(t, team, "2190-01-01T00:00:00Z", "12", team_scope);
    char hq_scope[48];
    snprintf(hq_scope, sizeof(hq_scope), "unit:%s", hq);
    expect_policy(t, hq, "2190-01-01T00:00:00Z", "8", hq_scope);
    assert_true(wait_for_snapshot(feedback_is, t, "12") < slack(2 * SECOND_US));

    const Daybook__Directory__V1__PolicyHistoryResponse *h =
        fine(say(system, POLICY, "History", "{\"key\":\"question_feedback_hours\"}"));
    assert_int_equal(h->n_settings, 3);
    assert_string_equal(h->settings[0]->reason, "later");
    assert_string_equal(h->settings[2]->value, "20");
    assert_string_equal(h->settings[2]->set_by, text_of(system.actor));
    const Daybook__Directory__V1__ListPoliciesResponse *list =
        fine(say(system, POLICY, "List", "{\"unitId\":\"%s\"}", team));
    size_t n;
    policy_all(&n);
    assert_int_equal(list->n_policies, n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list->policies[i]->key, "question_feedback_hours") == 0) {
            assert_string_equal(list->policies[i]->value, "12");
            assert_string_equal(list->policies[i]->default_value, "24");
            assert_string_equal(list->policies[i]->type, "hours");
            assert_string_equal(list->policies[i]->minimum, "0.01");
            assert_string_equal(list->policies[i]->maximum, "720");
        }

    expect("no number", say(system, POLICY, "Set", SET, "question_feedback_hours", "soon", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("out of range",
           say(system, POLICY, "Set", SET, "question_feedback_hours", "1000", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("a role that nobody has (REM-05)",
           say(system, POLICY, "Set", SET, "escalation_esc_a", "0:owner,24h:suprvisor", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("no such key", say(system, POLICY, "Set", SET, "no_such_key", "1", "", "r"),
           ERR_NOT_FOUND, NULL);
    expect("no such unit",
           say(system, POLICY, "Set", SET, "question_feedback_hours", "1", text_of(person_of(99)),
               "r"),
           ERR_NOT_FOUND, NULL);
    expect("no reason", say(system, POLICY, "Set", SET, "question_feedback_hours", "1", "", ""),
           ERR_INVALID_ARGUMENT, "reason");
    expect("the past",
           say(system, POLICY, "Set",
               "{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"reason\":\"r\","
               "\"effectiveFrom\":\"2020-01-01T00:00:00Z\"}"),
           ERR_FAILED_PRECONDITION, NULL);
    unsigned rep = REP;
    wait_for_snapshot(knows_rep, t, &rep);
    expect("a rep",
           say(employee_of(t, person_of(REP)), POLICY, "Set", SET, "question_feedback_hours", "1",
               "", "r"),
           ERR_PERMISSION_DENIED, NULL);
    fine(say(employee_of(t, person_of(REP)), POLICY, "Get", "{\"key\":\"timezone\"}"));
    fine(say(employee_of(t, person_of(MANAGER)), POLICY, "Set", SET, "question_feedback_hours",
             "16", "", "r"));
    assert_int_equal(
        number_of("SELECT max(aggregate_version) AS n FROM bus.outbox WHERE tenant_id = '%s'"
                  " AND aggregate = 'policies/question_feedback_hours'",
                  text_of(t)),
        4);
}

/* --- tests: calendar -------------------------------------------------------------------------- */

static const Daybook__Directory__V1__ImportDaysResponse *import_year(struct id t, int year)
{
    char path[64];
    json_error_t fault;
    snprintf(path, sizeof(path), "tests/data/calendar/cn-%d.json", year);
    json_t *file = json_load_file(path, 0, &fault);
    if (!file)
        fail_msg("%s: %s", path, fault.text);
    char *days = json_dumps(json_object_get(file, "days"), 0);
    const Daybook__Directory__V1__ImportDaysResponse *r =
        fine(say(system_of(t), CALENDAR, "ImportDays", "{\"year\":%d,\"days\":%s}", year, days));
    assert_int_equal(r->stored, json_array_size(json_object_get(file, "days")));
    free(days);
    json_decref(file);
    return r;
}

static void expect_due(struct id t, const char *from, int workdays, const char *want)
{
    const Daybook__Directory__V1__AddWorkingDaysResponse *r =
        fine(say(system_of(t), CALENDAR, "AddWorkingDays", "{\"from\":\"%s\",\"workdays\":%d}",
                 from, workdays));
    int64_t due_us;
    assert_true(time_parse(want, &due_us));
    if (wire_time_us(r->due_at) != due_us) {
        char text[TIME_TEXT_MAX];
        fail_msg("%s + %d: %s", from, workdays, time_format(wire_time_us(r->due_at), text));
    }
    int counted = 0;
    for (size_t i = 0; i < r->n_explanation; i++)
        counted += r->explanation[i]->is_working_day;
    assert_int_equal(counted, workdays);
}

static bool knows_spring_festival(const struct directory *d, struct id tenant, const void *arg)
{
    (void)arg;
    const struct dir_tenant *t = directory_tenant(d, tenant);
    return t && !calendar_is_working(t->calendar, (struct date){ 2026, 2, 16 });
}

/* The vectors of conventions 3. */
static void imported_years_count_and_explain(void **state)
{
    (void)state;
    struct id t = new_company();
    expect_due(t, "2026-02-13T10:00:00+08:00", 3, "2026-02-18T18:00:00+08:00"); /* plain weeks */
    import_year(t, 2025);
    const Daybook__Directory__V1__ImportDaysResponse *im = import_year(t, 2026);
    assert_int_equal(im->changed, im->stored);
    expect_due(t, "2026-02-13T10:00:00+08:00", 3, "2026-02-25T18:00:00+08:00");
    expect_due(t, "2026-05-06T10:00:00+08:00", 5, "2026-05-12T18:00:00+08:00");
    expect_due(t, "2026-05-08T10:00:00+08:00", 1, "2026-05-09T18:00:00+08:00");
    expect_due(t, "2026-09-30T10:00:00+08:00", 3, "2026-10-10T18:00:00+08:00");
    expect_due(t, "2025-12-31T10:00:00+08:00", 5, "2026-01-08T18:00:00+08:00");
    assert_true(wait_for_snapshot(knows_spring_festival, t, NULL) < slack(2 * SECOND_US));

    const Daybook__Directory__V1__ListDaysResponse *days = fine(
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2026-02-14\",\"to\":\"2026-02-15\"}"));
    assert_int_equal(days->n_days, 2);
    assert_true(days->days[0]->is_working_day);
    assert_string_equal(days->days[0]->reason, "make-up day: 春节");
    assert_string_equal(days->days[1]->reason, "春节");
    days = fine(
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2027-02-15\",\"to\":\"2027-02-15\"}"));
    assert_string_equal(days->days[0]->reason, "weekday (calendar of that year not loaded)");

    /* Again: nothing changes, nobody is told. */
    int64_t events = number_of("SELECT count(*) AS n FROM bus.outbox");
    assert_int_equal(import_year(t, 2026)->changed, 0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events);
    /* Replaced by one day: the others are gone. */
    im = fine(
        say(system_of(t), CALENDAR, "ImportDays",
            "{\"year\":2026,\"days\":[{\"date\":\"2026-01-01\",\"name\":\"元旦\","
            "\"isOffDay\":true},{\"date\":\"2025-12-31\",\"name\":\"x\",\"isOffDay\":true}]}"));
    assert_int_equal(im->stored, 2);
    assert_int_equal(im->changed, 1);
    expect_due(t, "2025-12-30T10:00:00+08:00", 1, "2026-01-02T18:00:00+08:00");
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events + 1);

    /* Working hours and days are policies. */
    expect("a working day without hours",
           say(system_of(t), POLICY, "Set", SET, "workday_end", "06:00", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    fine(say(system_of(t), POLICY, "Set", SET, "workday_end", "17:30", "", "r"));
    fine(say(system_of(t), POLICY, "Set", SET, "working_week", "Mon,Tue,Wed,Thu,Fri,Sat", "", "r"));
    expect_due(t, "2026-03-13T10:00:00+08:00", 1, "2026-03-14T17:30:00+08:00");

    expect("another year",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2027-01-01\"}]}"),
           ERR_INVALID_ARGUMENT, "days[0].date");
    expect("a day twice",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2026-01-01\"},"
               "{\"date\":\"2026-01-01\"}]}"),
           ERR_INVALID_ARGUMENT, "days");
    expect("no date",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2026-02-30\"}]}"),
           ERR_INVALID_ARGUMENT, "days[0].date");
    expect(
        "too far",
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2026-01-01\",\"to\":\"2028-01-01\"}"),
        ERR_INVALID_ARGUMENT, "to");
    expect("too many",
           say(system_of(t), CALENDAR, "AddWorkingDays",
               "{\"from\":\"2026-01-01T00:00:00Z\",\"workdays\":401}"),
           ERR_INVALID_ARGUMENT, "workdays");
}

/* --- tests: credentials ----------------------------------------------------------------------- */

static const char z85_one[] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
static const char z85_two[] = "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0";

static bool admits(const struct directory *d, struct id tenant, const void *z85)
{
    const struct dir_key *k = directory_key(d, z85);
    return k && id_equal(k->tenant, tenant);
}

static bool refuses(const struct directory *d, struct id tenant, const void *z85)
{
    return !admits(d, tenant, z85);
}

static void an_api_key_is_shown_once_and_kept_as_a_hash(void **state)
{
    (void)state;
    struct id t = small_company();
    static const char request[] = "{\"label\":\"ERP\",\"scopes\":[\"customers.read\"]}";
    struct reply first = say_again("key", system_of(t), CREDENTIAL, "CreateApiKey", request);
    const Daybook__Directory__V1__CreateApiKeyResponse *r = fine(first);
    char prefix[64], hash[65];
    int n = snprintf(prefix, sizeof(prefix), "dbk_%s_", r->credential->id);
    assert_memory_equal(r->api_key, prefix, (size_t)n);
    const char *secret = r->api_key + n;
    assert_int_equal(strlen(secret), 43); /* 32 bytes */
    assert_true(secret_hash_token(secret, hash));
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.credential WHERE secret_hash = '%s'", hash),
        1);
    /* Nowhere else: not in the record of the command, not in the event. */
    assert_int_equal(number_of("SELECT count(*) AS n FROM directory.idempotency"
                               " WHERE position('%s'::bytea IN reply) > 0",
                               secret),
                     0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"
                               " WHERE position('%s'::bytea IN payload) > 0",
                               secret),
                     0);
    struct reply again = say_again("key", system_of(t), CREDENTIAL, "CreateApiKey", request);
    const Daybook__Directory__V1__CreateApiKeyResponse *empty = fine(again);
    assert_string_equal(empty->api_key, "");
    assert_string_equal(reply_metadata(&again, "idempotent-reply"), "withheld");
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM directory.credential WHERE tenant_id = '%s'",
                  text_of(t)),
        1);

    expect("by the method for CURVE keys",
           say(system_of(t), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id),
           ERR_NOT_FOUND, NULL);
    const Daybook__Directory__V1__RevokeApiKeyResponse *revoked =
        fine(say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", r->credential->id));
    assert_non_null(revoked->credential->revoked_at);
}

static void curve_keys_are_admitted_and_refused_at_once(void **state)
{
    (void)state;
    struct id t = small_company(), other = small_company();
#define REGISTER                                                                                   \
    "{\"employeeId\":\"%s\",\"label\":\"laptop\",\"scopes\":[\"%s\"],\"curvePublicKey\":\"%s\"}"
    const char *rep = text_of(person_of(REP));
    const Daybook__Directory__V1__RegisterCurveKeyResponse *r = fine(say(
        system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, rep, "customers.read", z85_one));
    assert_string_equal(r->credential->actor_id, rep);
    assert_true(wait_for_snapshot(admits, t, z85_one) < slack(2 * SECOND_US));
    CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
    const struct dir_key *key = directory_key(d, z85_one);
    assert_true(key->is_employee && id_equal(key->actor, person_of(REP)));
    assert_string_equal(key->scopes[0], "customers.read");

    expect("a second time, elsewhere",
           say(system_of(other), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "customers.read",
               z85_one),
           ERR_ALREADY_EXISTS, NULL);
    expect("no key",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "a.b", "short"),
           ERR_INVALID_ARGUMENT, "curve_public_key");
    expect("no scope",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "All", z85_two),
           ERR_INVALID_ARGUMENT, "scopes[0]");
    expect("nobody",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, text_of(person_of(77)),
               "a.b", z85_two),
           ERR_NOT_FOUND, NULL);
    expect("expired",
           say(system_of(t), CREDENTIAL, "RegisterCurveKey",
               "{\"label\":\"x\",\"curvePublicKey\":\"%s\","
               "\"expiresAt\":\"2020-01-01T00:00:00Z\"}",
               z85_two),
           ERR_FAILED_PRECONDITION, NULL);
    static const char *const limited[] = { "credentials.write", "customers.read", NULL };
    expect("more than it has",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "tenant.all",
               z85_two),
           ERR_PERMISSION_DENIED, NULL);

    expect("a person's roles",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey",
               "{\"employeeId\":\"%s\",\"label\":\"x\",\"curvePublicKey\":\"%s\"}",
               text_of(person_of(1)), z85_two),
           ERR_PERMISSION_DENIED, NULL);
    expect("a person's sight, by scopes that it has",
           say(service_of(t, limited), CREDENTIAL, "RegisterCurveKey", REGISTER,
               text_of(person_of(GM)), "customers.read", z85_two),
           ERR_PERMISSION_DENIED, NULL);
    expect("the same by an API key",
           say(service_of(t, limited), CREDENTIAL, "CreateApiKey",
               "{\"employeeId\":\"%s\",\"label\":\"x\",\"scopes\":[\"customers.read\"]}",
               text_of(person_of(GM))),
           ERR_PERMISSION_DENIED, NULL);

    expect(
        "of another company",
        say(system_of(other), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id),
        ERR_NOT_FOUND, NULL);
    expect("by the method for API keys",
           say(system_of(t), CREDENTIAL, "RevokeApiKey", "{\"id\":\"%s\"}", r->credential->id),
           ERR_NOT_FOUND, NULL);
    for (int i = 0; i < 2; i++) { /* ended once, told the same twice */
        const Daybook__Directory__V1__RevokeCurveKeyResponse *revoked = fine(
            say(system_of(t), CREDENTIAL, "RevokeCurveKey", "{\"id\":\"%s\"}", r->credential->id));
        assert_non_null(revoked->credential->revoked_at);
    }
    assert_int_equal(
        number_of("SELECT count(*) AS n FROM bus.outbox WHERE aggregate = 'credentials/%s'",
                  r->credential->id),
        2);
    assert_true(wait_for_snapshot(refuses, t, z85_one) < slack(2 * SECOND_US));
    /* A key that was ended may be registered anew, here by another company. */
    fine(say(system_of(other), CREDENTIAL, "RegisterCurveKey", REGISTER, "", "customers.read",
             z85_one));
    assert_true(wait_for_snapshot(admits, other, z85_one) < slack(2 * SECOND_US));
    /* Who leaves is refused, whatever keys he has. */
    fine(say(system_of(t), CREDENTIAL, "RegisterCurveKey", REGISTER, rep, "customers.read",
             z85_two));
    wait_for_snapshot(admits, t, z85_two);
    fine(say(system_of(t), DIRECTORY, "UpdateEmployee",
             "{\"employee\":{\"id\":\"%s\"},\"updateMask\":\"active\"}", rep));
    assert_true(wait_for_snapshot(refuses, t, z85_two) < slack(2 * SECOND_US));
}

static void credentials_are_listed_without_secrets(void **state)
{
    (void)state;
    struct id t = small_company();
    unsigned last = REP2;
    for (int i = 0; i < 3; i++)
        fine(say(system_of(t), CREDENTIAL, "CreateApiKey",
                 "{\"label\":\"k%d\",\"employeeId\":\"%s\"}", i,
                 i == 1 ? text_of(person_of(REP)) : ""));
    wait_for_snapshot(knows_rep, t, &last);
    const Daybook__Directory__V1__ListCredentialsResponse *list =
        fine(say(system_of(t), CREDENTIAL, "List", "{\"pageSize\":2}"));
    assert_int_equal(list->n_credentials, 2);
    assert_string_equal(list->credentials[0]->label, "k0");
    assert_int_equal(list->credentials[0]->kind,
                     DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_API_KEY);
    list = fine(say(system_of(t), CREDENTIAL, "List", "{\"pageSize\":2,\"pageToken\":\"%s\"}",
                    list->next_page_token));
    assert_int_equal(list->n_credentials, 1);
    assert_string_equal(list->credentials[0]->label, "k2");
    assert_string_equal(list->next_page_token, "");
    /* A rep sees his own. */
    list = fine(say(employee_of(t, person_of(REP)), CREDENTIAL, "List", "{}"));
    assert_int_equal(list->n_credentials, 1);
    assert_string_equal(list->credentials[0]->label, "k1");
    list = fine(say(employee_of(t, person_of(GM)), CREDENTIAL, "List", "{}"));
    assert_int_equal(list->n_credentials, 3);
    expect("a manager makes keys",
           say(employee_of(t, person_of(MANAGER)), CREDENTIAL, "CreateApiKey", "{\"label\":\"x\"}"),
           ERR_PERMISSION_DENIED, NULL);
}

/* --- frame ------------------------------------------------------------------------------------ */

static int start(void **state)
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
    must(directory_start(conninfo));
    must(directory_wait(0, clock_monotonic_us() + LIMIT_US));
    return 0;
}

static int stop(void **state)
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

static int before_each(void **state)
{
    (void)state;
    arena_reset(env.arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(companies_are_made_by_system_accounts_only, before_each),
        cmocka_unit_test_setup(the_sample_company_comes_in_whole, before_each),
        cmocka_unit_test_setup(the_reporting_line_has_one_top_and_no_ring, before_each),
        cmocka_unit_test_setup(updates_take_masks_and_etags, before_each),
        cmocka_unit_test_setup(people_do_what_their_roles_allow, before_each),
        cmocka_unit_test_setup(companies_do_not_see_each_other_f61, before_each),
        cmocka_unit_test_setup(a_repeated_command_has_one_effect_f60, before_each),
        cmocka_unit_test_setup(two_changes_at_once_cannot_close_a_ring, before_each),
        cmocka_unit_test_setup(the_snapshot_follows_within_a_second, before_each),
        cmocka_unit_test_setup(the_rule_book_has_scopes_dates_and_a_history, before_each),
        cmocka_unit_test_setup(imported_years_count_and_explain, before_each),
        cmocka_unit_test_setup(an_api_key_is_shown_once_and_kept_as_a_hash, before_each),
        cmocka_unit_test_setup(curve_keys_are_admitted_and_refused_at_once, before_each),
        cmocka_unit_test_setup(credentials_are_listed_without_secrets, before_each),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
