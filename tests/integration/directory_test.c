/*
 * Companies and their people: the sample company, who may do what, rules of the reporting line, the
 * snapshot, and that companies do not see each other (F61). Every test has a company of its own.
 */
#include "tests/integration/directory_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, start, stop);
}
