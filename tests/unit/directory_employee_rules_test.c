/*
 * What an employee may be: roles, the one superior, no ring in the reporting line (ORG-01, ORG-02).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/directory/employee_rules.h"

static char unit_text[] = "u1";
static char *texts(const char *s) /* protobuf-c's strings are not const; these are never written */
{
    union {
        const char *given;
        char *own;
    } u = { .given = s };
    return u.own;
}

static PbEmployee employee(const char *id, char **roles, size_t n, const char *superior)
{
    PbEmployee e = DAYBOOK__DIRECTORY__V1__EMPLOYEE__INIT;
    e.id = texts(id);
    e.name = texts("name");
    e.unit_id = unit_text;
    e.roles = roles;
    e.n_roles = n;
    e.superior_id = texts(superior);
    return e;
}

static void roles_are_those_of_the_catalogue_and_the_companys_own(void **state)
{
    (void)state;
    static const struct {
        const char *role, *extra;
        bool want;
    } cases[] = {
        { "rep", "", true },
        { "general_manager", "", true },
        { "finance", "", true },
        { "management_office", "", true },
        { "system", "", false },
        { "Rep", "", false },
        { "", "", false },
        { "", "a,,b", false },
        { "trainer", "", false },
        { "trainer", "coach,trainer", true },
        { "coach", "coach,trainer", true },
        { "train", "coach,trainer", false },
        { "trainer,", "coach,trainer", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (policy_role_is_known(cases[i].role, cases[i].extra) != cases[i].want)
            fail_msg("role '%s' with '%s'", cases[i].role, cases[i].extra);
}

static void a_record_is_judged_field_by_field(void **state)
{
    (void)state;
    char *rep[] = { texts("rep"), texts("senior_rep") };
    char *gm[] = { texts("general_manager") };
    char *twice[] = { texts("rep"), texts("rep") };
    char *unknown[] = { texts("rep"), texts("wizard") };
    char *many[] = { texts("rep"),        texts("legal"),     texts("tech"),
                     texts("hr"),         texts("finance"),   texts("marketing"),
                     texts("production"), texts("logistics"), texts("supervisor") };
    const struct {
        PbEmployee e;
        const char *field; /* NULL: fine */
    } cases[] = {
        { employee("a", rep, 2, "b"), NULL },
        { employee("a", gm, 1, ""), NULL },
        { employee("a", gm, 1, "b"), "employee.superior_id" },
        { employee("a", rep, 1, ""), "employee.superior_id" },
        { employee("a", twice, 2, "b"), "employee.roles" },
        { employee("a", unknown, 2, "b"), "employee.roles" },
        { employee("a", many, 9, "b"), "employee.roles" },
        { employee("a", many, 8, "b"), NULL },
        { employee("a", NULL, 0, "b"), "employee.roles" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *field = NULL, *text = NULL;
        bool ok = employee_rules_ok(&cases[i].e, "", &field, &text);
        if (ok != !cases[i].field || (!ok && strcmp(field, cases[i].field) != 0))
            fail_msg("case %zu: %s", i, field ? field : "accepted");
    }
    PbEmployee e = employee("a", rep, 1, "b");
    const char *field, *text;
    e.home_city_code = texts("31010");
    assert_false(employee_rules_ok(&e, "", &field, &text));
    e.home_city_code = texts("310100");
    assert_true(employee_rules_ok(&e, "", &field, &text));
    e.home_city_code = texts("31010x");
    assert_false(employee_rules_ok(&e, "", &field, &text));
}

/* --- rings ------------------------------------------------------------------------------------ */

enum { PEOPLE = 6 };

static const char *const names[PEOPLE] = { "p0", "p1", "p2", "p3", "p4", "p5" };

/* The line above and with `superior`, as the store loads it. */
static struct employee_line line_of(const int *superior_of, int superior)
{
    struct employee_line line = { .n = 0 };
    for (int s = superior; s >= 0; s = superior_of[s]) {
        line.ids[line.n] = names[s];
        line.active[line.n] = true;
        line.n++;
    }
    return line;
}

/* Whether setting e's superior makes a ring, found without the rule: set it and walk. */
static bool makes_ring(const int *superior_of, int e, int superior)
{
    int changed[PEOPLE];
    memcpy(changed, superior_of, sizeof(changed));
    changed[e] = superior;
    int at = e;
    for (int steps = 0; steps <= PEOPLE; steps++) {
        at = changed[at];
        if (at < 0)
            return false;
    }
    return true;
}

/* Every forest of up to 6 people in which nobody's superior has a higher number (which, up to
 * names, are all), and in each every pair of employee and new superior. */
static void every_change_of_superior_that_closes_a_ring_is_refused(void **state)
{
    (void)state;
    int superior_of[PEOPLE] = { -1, -1, -1, -1, -1, -1 };
    int rings = 0, allowed = 0;
    for (;;) {
        for (int e = 0; e < PEOPLE; e++)
            for (int s = 0; s < PEOPLE; s++) {
                struct employee_line line = line_of(superior_of, s);
                const char *text;
                bool ring = makes_ring(superior_of, e, s);
                if (employee_rules_line_ok(names[e], &line, &text) == ring)
                    fail_msg("%s below %s: ring %d", names[e], names[s], ring);
                rings += ring;
                allowed += !ring;
            }
        int at = PEOPLE - 1; /* the next forest: superior_of[i] runs from -1 to i - 1 */
        while (at > 0 && ++superior_of[at] == at)
            superior_of[at--] = -1;
        if (at == 0)
            break;
    }
    assert_true(rings > 1000 && allowed > 1000);
}

static void the_superior_must_be_there_and_active_and_the_line_short(void **state)
{
    (void)state;
    struct employee_line line = { .n = 0 };
    const char *text;
    assert_false(employee_rules_line_ok("x", &line, &text)); /* nobody has that id */
    line.n = 2;
    line.ids[0] = "a";
    line.ids[1] = "b";
    line.active[1] = true;
    assert_false(employee_rules_line_ok("x", &line, &text));
    line.active[0] = true;
    line.active[1] = false; /* who stands further up is not this change's matter */
    assert_true(employee_rules_line_ok("x", &line, &text));
    for (size_t i = 0; i < ARRAY_LEN(line.ids); i++)
        line.ids[i] = "y";
    line.n = EMPLOYEE_LINE_MAX;
    assert_true(employee_rules_line_ok("x", &line, &text));
    line.n = EMPLOYEE_LINE_MAX + 1;
    assert_false(employee_rules_line_ok("x", &line, &text));
}

/* --- masks (protocols H.5) -------------------------------------------------------------------- */

static void a_mask_says_what_changes(void **state)
{
    (void)state;
    char *rep[] = { texts("rep") };
    char *lead[] = { texts("team_lead") };
    PbEmployee before = employee("a", rep, 1, "b");
    before.active = true;
    before.home_city_code = texts("310100");
    PbEmployee change = employee("a", lead, 1, "");
    change.name = texts("new");
    change.unit_id = texts("");
    const char *path = NULL;

    PbEmployee e = before; /* no mask: what is set */
    assert_true(employee_rules_merge(&e, &change, NULL, &path));
    assert_string_equal(e.name, "new");
    assert_string_equal(e.roles[0], "team_lead");
    assert_string_equal(e.unit_id, "u1");
    assert_string_equal(e.superior_id, "b");
    assert_true(e.active);

    Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
    char *clear[] = { texts("superior_id"), texts("active"), texts("etag") };
    mask.paths = clear;
    mask.n_paths = 3;
    e = before; /* only by a mask can something be cleared */
    assert_true(employee_rules_merge(&e, &change, &mask, &path));
    assert_string_equal(e.superior_id, "");
    assert_false(e.active);
    assert_string_equal(e.name, "name");

    char *all[] = { texts("*") };
    mask.paths = all;
    mask.n_paths = 1;
    e = before;
    assert_true(employee_rules_merge(&e, &change, &mask, &path));
    assert_string_equal(e.unit_id, "");
    assert_string_equal(e.home_city_code, "");

    char *wrong[] = { texts("name"), texts("employee_no") };
    mask.paths = wrong;
    mask.n_paths = 2;
    e = before;
    assert_false(employee_rules_merge(&e, &change, &mask, &path));
    assert_string_equal(path, "employee_no");
}

/* --- who may ---------------------------------------------------------------------------------- */

static void nobody_raises_himself(void **state)
{
    (void)state;
    struct id me;
    assert_true(id_parse("01933a00-0000-7000-8002-00000000000c", &me));
    static const char mine[] = "01933a00-0000-7000-8002-00000000000c";
    char *manager[] = { texts("sales_manager") };
    char *gm[] = { texts("general_manager") };
    char *rep[] = { texts("rep") };
    char *office[] = { texts("admin_office"), texts("rep") };
    const struct dir_employee as_manager = { .id = me, .roles = { "sales_manager" } };
    const struct dir_employee as_gm = { .id = me, .roles = { "general_manager" } };
    PbEmployee own = employee(mine, manager, 1, "b"), own_gm = employee(mine, gm, 1, "");
    PbEmployee renamed = own, moved = own, other = employee("x", rep, 1, "b");
    PbEmployee other_office = employee("x", office, 2, "b");
    renamed.name = texts("new name");
    moved.superior_id = texts("c");

    const struct {
        const char *label;
        const struct dir_employee *actor;
        const PbEmployee *before, *after;
        bool want;
    } cases[] = {
        { "own name", &as_manager, &own, &renamed, true },
        { "own roles", &as_manager, &own, &own_gm, false },
        { "own superior", &as_manager, &own, &moved, false },
        { "a new rep", &as_manager, NULL, &other, true },
        { "a new office", &as_manager, NULL, &other_office, false },
        { "gives the office", &as_manager, &other, &other_office, false },
        { "takes the office", &as_manager, &other_office, &other, false },
        { "gives the office as general manager", &as_gm, &other, &other_office, true },
        { "renames one of the office", &as_manager, &other_office, &other_office, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *text;
        if (employee_rules_may_change(cases[i].actor, cases[i].before, cases[i].after, &text) !=
            cases[i].want)
            fail_msg("%s", cases[i].label);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_those_of_the_catalogue_and_the_companys_own),
        cmocka_unit_test(a_record_is_judged_field_by_field),
        cmocka_unit_test(every_change_of_superior_that_closes_a_ring_is_refused),
        cmocka_unit_test(the_superior_must_be_there_and_active_and_the_line_short),
        cmocka_unit_test(a_mask_says_what_changes),
        cmocka_unit_test(nobody_raises_himself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
