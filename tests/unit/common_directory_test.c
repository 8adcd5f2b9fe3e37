/*
 * A snapshot built by hand: who stands above whom, which policy and which calendar holds where and
 * when, and that companies stay apart (F61).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/directory_build.h"

#define T0 (INT64_C(1767225600) * SECOND_US) /* 2026-01-01 UTC */

static struct id id_of(unsigned n)
{
    return (struct id){
        .b = { 1, [6] = 0x70, [8] = 0x80, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n }
    };
}

/* 0 is nil: no superior, no parent, the company. */
static struct id id_or_nil(unsigned n)
{
    struct id nil = { .b = { 0 } };
    return n ? id_of(n) : nil;
}

enum {
    COMPANY = 1,
    OTHER = 2,
    HQ = 10,
    EAST = 11,
    TEAM = 12,
    NORTH = 13,
    GM = 20,
    MANAGER = 21,
    LEAD = 22,
    REP = 23,
    LONER = 24,
    API_KEY = 30,
    FEED = 31,
};

static void add_people(struct directory_builder *b)
{
    static const struct {
        unsigned id, unit, superior;
        const char *no, *roles;
    } people[] = {
        /* on purpose from the bottom up: the order must not matter */
        { REP, TEAM, LEAD, "E4", "senior_rep,rep" },
        { LEAD, TEAM, MANAGER, "E3", "team_lead" },
        { MANAGER, EAST, GM, "E2", "sales_manager,regional_manager" },
        { GM, HQ, 0, "E1", "general_manager" },
    };
    for (size_t i = 0; i < ARRAY_LEN(people); i++)
        directory_builder_add_employee(
            b, id_of(COMPANY),
            &(struct directory_employee_in){ .id = id_of(people[i].id),
                                             .unit = id_of(people[i].unit),
                                             .superior = id_or_nil(people[i].superior),
                                             .employee_no = people[i].no,
                                             .name = people[i].no,
                                             .roles = people[i].roles,
                                             .home_city_code = "310100" });
}

static void add_units(struct directory_builder *b)
{
    static const unsigned units[][2] = { { TEAM, EAST }, { EAST, HQ }, { NORTH, HQ }, { HQ, 0 } };
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        directory_builder_add_unit(b, id_of(COMPANY),
                                   &(struct directory_unit_in){ .id = id_of(units[i][0]),
                                                                .parent = id_or_nil(units[i][1]),
                                                                .code = "U",
                                                                .name = "unit" });
}

static void set(struct directory_builder *b, const char *key, unsigned unit, int64_t from_us,
                const char *text)
{
    struct policy_setting setting = { key, id_or_nil(unit), from_us, text };
    directory_builder_set_policy(b, id_of(COMPANY), &setting);
}

static const struct directory *sample(void)
{
    struct directory_builder *b = directory_builder_new();
    assert_non_null(b);
    directory_builder_set_revision(b, 7);
    directory_builder_add_tenant(b, id_of(COMPANY), "Company", "Asia/Shanghai", "CNY");
    directory_builder_add_tenant(b, id_of(OTHER), "Other", "Europe/Berlin", "EUR");
    add_units(b);
    add_people(b);
    /* The other company uses the same ids and numbers. */
    directory_builder_add_unit(b, id_of(OTHER), &(struct directory_unit_in){ .id = id_of(HQ) });
    directory_builder_add_employee(b, id_of(OTHER),
                                   &(struct directory_employee_in){ .id = id_of(LONER),
                                                                    .unit = id_of(HQ),
                                                                    .employee_no = "E1",
                                                                    .roles = "rep",
                                                                    .inactive = true });
    set(b, "question_feedback_hours", 0, T0, "20");
    set(b, "question_feedback_hours", EAST, T0 + 10 * DAY_US, "12");
    set(b, "question_feedback_hours", EAST, T0 + 10 * DAY_US, "13"); /* said later: this holds */
    set(b, "question_feedback_hours", EAST, T0 + 20 * DAY_US, "8");
    set(b, "question_feedback_hours", NORTH, T0 + 30 * DAY_US, "6");
    set(b, "a_key_of_a_newer_version", 0, T0, "1");
    set(b, "workday_end", EAST, T0 + 10 * DAY_US, "17:00");
    set(b, "working_week", 0, T0 + 40 * DAY_US, "Mon,Tue,Wed,Thu,Fri,Sat");
    static const struct calendar_day days_2026[] = { { { 2026, 1, 2 }, true, "New Year" },
                                                     { { 2025, 12, 31 }, true, "from the next" } };
    static const struct calendar_day days_2025[] = { { { 2025, 12, 31 }, false, "from its own" } };
    directory_builder_add_days(b, id_of(COMPANY), 2026, days_2026, 2);
    directory_builder_add_days(b, id_of(COMPANY), 2025, days_2025, 1);
    directory_builder_add_key(
        b,
        &(struct dir_key){ .public_key = "0123456789012345678901234567890123456789",
                           .tenant = id_of(COMPANY),
                           .actor = id_of(REP),
                           .is_employee = true },
        "customers.read,customers.write");
    directory_builder_add_key(b,
                              &(struct dir_key){ .credential = id_of(API_KEY),
                                                 .tenant = id_of(COMPANY),
                                                 .secret_hash = "h1" },
                              "customers.read");
    directory_builder_add_key(b,
                              &(struct dir_key){ .credential = id_of(FEED),
                                                 .tenant = id_of(COMPANY),
                                                 .secret_hash = "h2",
                                                 .is_feed = true },
                              "visits.read");
    return directory_builder_finish(b);
}

static void finds_people_and_their_line(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    assert_non_null(d);
    assert_int_equal(directory_revision(d), 7);
    const struct dir_employee *rep = directory_employee(d, id_of(COMPANY), id_of(REP));
    const struct dir_employee *gm = directory_employee_no(d, id_of(COMPANY), "E1");
    assert_non_null(rep);
    assert_non_null(gm);
    assert_true(id_equal(gm->id, id_of(GM)) && gm->active && !gm->superior);
    assert_true(dir_employee_has_role(rep, "rep") && dir_employee_has_role(rep, "senior_rep"));
    assert_false(dir_employee_has_role(rep, "team_lead"));
    assert_true(id_equal(rep->superior->id, id_of(LEAD)));
    assert_true(dir_is_superior(gm, rep) && dir_is_superior(rep->superior, rep));
    assert_false(dir_is_superior(rep, gm));
    assert_false(dir_is_superior(rep, rep));

    /* ORG-05: nearest superior with an approving role; levels may be absent. */
    static const char *const approvers[] = { "supervisor", "sales_manager", NULL };
    static const char *const nobody[] = { "legal", NULL };
    assert_true(id_equal(dir_superior_with_role(rep, approvers)->id, id_of(MANAGER)));
    assert_null(dir_superior_with_role(rep, nobody));
    assert_null(dir_superior_with_role(gm, approvers));

    assert_true(dir_unit_is_below(rep->unit, directory_unit(d, id_of(COMPANY), id_of(HQ))));
    assert_true(dir_unit_is_below(rep->unit, rep->unit));
    assert_false(dir_unit_is_below(rep->unit, directory_unit(d, id_of(COMPANY), id_of(NORTH))));
}

static void keeps_companies_apart_f61(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    assert_null(directory_employee(d, id_of(OTHER), id_of(REP)));
    assert_null(directory_employee(d, id_of(COMPANY), id_of(LONER)));
    assert_true(id_equal(directory_employee_no(d, id_of(OTHER), "E1")->id, id_of(LONER)));
    assert_false(directory_employee(d, id_of(OTHER), id_of(LONER))->active);
    assert_null(directory_unit(d, id_of(OTHER), id_of(EAST)));
    assert_string_equal(
        directory_policy(d, id_of(OTHER), id_of(EAST), "question_feedback_hours", T0 + DAY_US).text,
        "24");
    assert_null(directory_tenant(d, id_of(99)));
    const struct dir_tenant *const *list;
    assert_int_equal(directory_tenants(d, &list), 2);
}

static void a_policy_comes_from_the_nearest_unit_and_the_latest_date(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    static const struct {
        unsigned unit;
        int day;
        const char *want, *provenance;
    } cases[] = {
        { 0, -1, "24", "default" },
        { 0, 0, "20", "company" },
        { TEAM, 0, "20", "company" },
        { TEAM, 10, "13", "unit:01000000-0000-7000-8000-00000000000b" },
        { EAST, 19, "13", "unit:01000000-0000-7000-8000-00000000000b" },
        { TEAM, 20, "8", "unit:01000000-0000-7000-8000-00000000000b" },
        { NORTH, 20, "20", "company" },
        { NORTH, 30, "6", "unit:01000000-0000-7000-8000-00000000000d" },
        { HQ, 30, "20", "company" },
        { 77, 30, "20", "company" }, /* a unit that nobody knows */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy_value v =
            directory_policy(d, id_of(COMPANY), id_or_nil(cases[i].unit), "question_feedback_hours",
                             T0 + cases[i].day * DAY_US);
        char buf[48];
        if (strcmp(v.text, cases[i].want) != 0 ||
            strcmp(policy_provenance(v, buf, sizeof(buf)), cases[i].provenance) != 0)
            fail_msg("case %zu: got %s from %s", i, v.text, buf);
    }
    assert_string_equal(directory_policy(d, id_of(OTHER), id_or_nil(0), "timezone", T0).text,
                        "Europe/Berlin");
    assert_string_equal(directory_policy(d, id_of(OTHER), id_or_nil(0), "money_currency", T0).text,
                        "EUR");
}

static void a_calendar_follows_unit_and_date(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    const struct calendar *company =
        directory_calendar_at(d, id_of(COMPANY), id_or_nil(0), T0 + 15 * DAY_US);
    const struct calendar *early = directory_calendar_at(d, id_of(COMPANY), id_of(TEAM), T0);
    const struct calendar *team =
        directory_calendar_at(d, id_of(COMPANY), id_of(TEAM), T0 + 15 * DAY_US);
    const struct calendar *later =
        directory_calendar_at(d, id_of(COMPANY), id_of(TEAM), T0 + 40 * DAY_US);
    assert_int_equal(company->workday_end_minute, 1080);
    assert_int_equal(early->workday_end_minute, 1080);
    assert_int_equal(team->workday_end_minute, 1020);
    assert_int_equal(team->week_mask, 0x1f);
    assert_int_equal(later->week_mask, 0x3f);
    assert_false(calendar_is_working(company, (struct date){ 2026, 1, 2 }));
    assert_int_equal(company->nyears, 2);
    /* The notice of a year may fix days of the December before. */
    assert_false(calendar_is_working(company, (struct date){ 2025, 12, 31 }));
    /* A company without exceptions, and one that is unknown. */
    const struct calendar *other = directory_calendar_at(d, id_of(OTHER), id_of(HQ), T0);
    assert_ptr_equal(other->tz, tz_find("Europe/Berlin"));
    assert_int_equal(other->ndays, 0);
    assert_int_equal(directory_calendar_at(d, id_of(99), id_or_nil(0), T0)->workday_end_minute,
                     1080);
    assert_non_null(directory_tenant(d, id_of(COMPANY))->calendar);
}

static void finds_bus_keys_with_their_scopes(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    const struct dir_key *k = directory_key(d, "0123456789012345678901234567890123456789");
    assert_non_null(k);
    assert_true(id_equal(k->actor, id_of(REP)) && k->is_employee);
    assert_string_equal(k->scopes[0], "customers.read");
    assert_string_equal(k->scopes[1], "customers.write");
    assert_null(k->scopes[2]);
    assert_null(directory_key(d, "0123456789012345678901234567890123456788"));
    assert_null(directory_key(d, NULL));
}

static void a_feed_is_no_api_key_nor_the_other_way_round(void **state)
{
    (void)state;
    CLEANUP(directory_releasep) const struct directory *d = sample();
    assert_string_equal(directory_api_key(d, id_of(API_KEY))->secret_hash, "h1");
    assert_string_equal(directory_calendar_feed(d, id_of(FEED))->secret_hash, "h2");
    assert_string_equal(directory_calendar_feed(d, id_of(FEED))->scopes[0], "visits.read");
    assert_null(directory_api_key(d, id_of(FEED)));
    assert_null(directory_calendar_feed(d, id_of(API_KEY)));
    assert_null(directory_calendar_feed(NULL, id_of(FEED)));
}

static void holders_keep_the_old_snapshot(void **state)
{
    (void)state;
    assert_null(directory_acquire());
    directory_set_for_tests(sample());
    const struct directory *held = directory_acquire();
    directory_set_for_tests(sample());
    CLEANUP(directory_releasep) const struct directory *fresh = directory_acquire();
    assert_ptr_not_equal(held, fresh);
    assert_non_null(directory_employee(held, id_of(COMPANY), id_of(REP)));
    directory_release(held);
    directory_set_for_tests(NULL);
    assert_null(directory_acquire());
    assert_non_null(directory_employee(fresh, id_of(COMPANY), id_of(REP)));
}

static void an_unknown_company_is_a_fault_of_the_builder(void **state)
{
    (void)state;
    struct directory_builder *b = directory_builder_new();
    directory_builder_add_unit(b, id_of(COMPANY), &(struct directory_unit_in){ .id = id_of(HQ) });
    assert_null(directory_builder_finish(b));
    directory_builder_free(directory_builder_new());
    b = directory_builder_new();
    CLEANUP(directory_releasep) const struct directory *empty = directory_builder_finish(b);
    assert_non_null(empty);
    assert_null(directory_tenant(empty, id_of(COMPANY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_people_and_their_line),
        cmocka_unit_test(keeps_companies_apart_f61),
        cmocka_unit_test(a_policy_comes_from_the_nearest_unit_and_the_latest_date),
        cmocka_unit_test(a_calendar_follows_unit_and_date),
        cmocka_unit_test(finds_bus_keys_with_their_scopes),
        cmocka_unit_test(a_feed_is_no_api_key_nor_the_other_way_round),
        cmocka_unit_test(holders_keep_the_old_snapshot),
        cmocka_unit_test(an_unknown_company_is_a_fault_of_the_builder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
