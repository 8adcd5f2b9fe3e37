/* Who sees whose rows, and who may decide (ORG-01, ORG-02, ORG-05), in a small company. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/authority.h"
#include "common/call_state.h"
#include "common/directory_build.h"

enum {
    COMPANY = 1,
    OTHER,
    HQ = 10,
    EAST,
    TEAM_A,
    TEAM_B,
    GM = 20,
    MANAGER,
    SUPERVISOR,
    LEAD_A,
    REP_A,
    REP_A2,
    LEAD_B,
    REP_B,
    CLERK,
    STRANGER,
    NOBODY = 99
};

static struct id id_of(unsigned n)
{
    return (struct id){ .b = { 1, [6] = 0x70, [8] = 0x80, [15] = (uint8_t)n } };
}

static struct arena *arena;
static const struct directory *dir;

static const struct {
    unsigned id, parent;
} units[] = {
    { HQ, 0 },
    { EAST, HQ },
    { TEAM_A, EAST },
    { TEAM_B, EAST },
};

static const struct {
    unsigned id, unit, superior;
    const char *roles;
} people[] = {
    { GM, HQ, 0, "general_manager" },
    { MANAGER, HQ, GM, "sales_manager" },
    { SUPERVISOR, EAST, MANAGER, "supervisor" },
    { LEAD_A, TEAM_A, SUPERVISOR, "team_lead,rep" },
    { REP_A, TEAM_A, LEAD_A, "rep" },
    { REP_A2, TEAM_A, SUPERVISOR, "senior_rep" }, /* of the team, but not below the lead */
    { LEAD_B, TEAM_B, SUPERVISOR, "team_lead" },
    { REP_B, TEAM_B, LEAD_B, "rep" },
    { CLERK, EAST, MANAGER, "sales_assistant" },
};

static const struct directory *build(void)
{
    struct directory_builder *b = directory_builder_new();
    struct id company = id_of(COMPANY), other = id_of(OTHER);

    directory_builder_add_tenant(b, company, "Shop", NULL, NULL);
    directory_builder_add_tenant(b, other, "Other", NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        directory_builder_add_unit(
            b, company,
            &(struct directory_unit_in){ .id = id_of(units[i].id),
                                         .code = "U",
                                         .name = "U",
                                         .parent = units[i].parent ? id_of(units[i].parent)
                                                                   : (struct id){ { 0 } } });
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        char no[8];
        snprintf(no, sizeof no, "E%u", people[i].id);
        directory_builder_add_employee(
            b, company,
            &(struct directory_employee_in){ .id = id_of(people[i].id),
                                             .unit = id_of(people[i].unit),
                                             .employee_no = no,
                                             .name = no,
                                             .roles = people[i].roles,
                                             .superior = people[i].superior
                                                             ? id_of(people[i].superior)
                                                             : (struct id){ { 0 } } });
    }
    directory_builder_add_employee(
        b, other,
        &(struct directory_employee_in){
            .id = id_of(STRANGER), .employee_no = "S1", .name = "S", .roles = "rep" });
    return directory_builder_finish(b);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(MIB);
    dir = build();
    return arena && dir ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    directory_release(dir);
    arena_free(arena);
    return 0;
}

static PbPrincipal principal;
static PbCallContext context;

static struct call as(int kind, unsigned actor, char **scopes, size_t nscopes)
{
    struct call call = {
        .tenant = id_of(COMPANY), .actor = id_of(actor), .dir = dir, .context = &context
    };

    principal = (PbPrincipal)DAYBOOK__COMMON__V1__PRINCIPAL__INIT;
    principal.kind = (Daybook__Common__V1__ActorKind)kind;
    principal.scopes = scopes;
    principal.n_scopes = nscopes;
    context = (PbCallContext)DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    context.principal = &principal;
    if (kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE)
        call.employee = directory_employee(dir, call.tenant, call.actor);
    arena_reset(arena);
    assert_int_equal(call_open(&call, arena), ERR_OK);
    return call;
}

static struct call as_employee(unsigned actor)
{
    return as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE, actor, NULL, 0);
}

static const struct {
    unsigned actor;
    unsigned sees[12];
} sights[] = {
    { REP_A, { REP_A } },
    { CLERK, { CLERK } },
    { LEAD_A, { LEAD_A, REP_A, REP_A2 } },
    { LEAD_B, { LEAD_B, REP_B } },
    { SUPERVISOR, { SUPERVISOR, LEAD_A, REP_A, REP_A2, LEAD_B, REP_B, CLERK } },
    { MANAGER, { MANAGER, SUPERVISOR, LEAD_A, REP_A, REP_A2, LEAD_B, REP_B, CLERK } },
    { GM,
      { GM, MANAGER, SUPERVISOR, LEAD_A, REP_A, REP_A2, LEAD_B, REP_B, CLERK, NOBODY, STRANGER } },
};

static bool listed(const unsigned *list, unsigned n)
{
    for (; *list; list++)
        if (*list == n)
            return true;
    return false;
}

static void each_sees_his_own_and_those_below(void **state)
{
    (void)state;
    static const unsigned all[] = { GM,     MANAGER, SUPERVISOR, LEAD_A,   REP_A, REP_A2,
                                    LEAD_B, REP_B,   CLERK,      STRANGER, NOBODY };

    for (size_t i = 0; i < ARRAY_LEN(sights); i++) {
        struct call call = as_employee(sights[i].actor);
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            if (authority_sees(&call, id_of(all[k])) != listed(sights[i].sees, all[k]))
                fail_msg("%u sees %u: want %d", sights[i].actor, all[k],
                         listed(sights[i].sees, all[k]));
    }
}

/* The list for queries and the judgement of one row must never part. */
static void lists_exactly_those_it_sees(void **state)
{
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(sights); i++) {
        struct call call = as_employee(sights[i].actor);
        const char *owners = authority_visible_owners(&call);
        if (sights[i].actor == GM) {
            assert_null(owners);
            continue;
        }
        size_t want_len = 1;
        for (size_t k = 0; sights[i].sees[k]; k++) {
            char buf[ID_TEXT_MAX];
            want_len += ID_TEXT_MAX; /* an id and what parts it from the next, or the brace */
            assert_non_null(strstr(owners, id_text(id_of(sights[i].sees[k]), buf)));
        }
        assert_int_equal(strlen(owners), want_len);
    }
}

static void sees_nothing_of_an_unknown_actor(void **state)
{
    (void)state;
    struct call call = as_employee(STRANGER); /* an employee of another company */
    char buf[ID_TEXT_MAX], want[ID_TEXT_MAX + 2];

    assert_null(call.employee);
    assert_false(authority_sees(&call, id_of(REP_A)));
    snprintf(want, sizeof want, "{%s}", id_text(id_of(STRANGER), buf));
    assert_string_equal(authority_visible_owners(&call), want);
    assert_int_equal(authority_need_sight(&call, id_of(REP_A), "customer"), ERR_NOT_FOUND);
    assert_string_equal(call.state->failure.message, "there is no such customer");
}

static void a_pool_row_has_no_owner_to_be_below(void **state)
{
    (void)state;
    struct call rep = as_employee(REP_A);
    rep.actor = (struct id){ { 0 } };
    assert_false(authority_sees(&rep, (struct id){ { 0 } }));
}

static void service_accounts_go_by_scope(void **state)
{
    (void)state;
    char write[] = "customers.write", all[] = "tenant.all";
    char *one[] = { write }, *two[] = { write, all };
    struct call erp = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE, NOBODY, one, 1);

    assert_true(authority_has_scope(&erp, "customers.write"));
    assert_false(authority_has_scope(&erp, "customers.export"));
    assert_false(authority_sees(&erp, id_of(REP_A)));
    assert_int_equal(authority_need_role(&erp, (const char *const[]){ "rep", NULL }, "sell"),
                     ERR_PERMISSION_DENIED);

    erp = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE, NOBODY, two, 2);
    assert_true(authority_sees(&erp, id_of(REP_A)));
    assert_null(authority_visible_owners(&erp));
    assert_false(authority_has_scope(&erp, "customers.export")); /* a scope of its own */
    assert_int_equal(authority_need_role(&erp, (const char *const[]){ "rep", NULL }, "sell"),
                     ERR_OK);
}

/* What concerns a whole company: people by their role, accounts by the scope of the method alone. */
static void what_is_for_managers_is_not_for_others(void **state)
{
    (void)state;
    struct call call = as_employee(GM);
    assert_int_equal(authority_need_manager(&call, "mend"), ERR_OK);
    call = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE, NOBODY, NULL, 0);
    assert_int_equal(authority_need_manager(&call, "mend"), ERR_OK);
    call = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM, NOBODY, NULL, 0);
    assert_int_equal(authority_need_manager(&call, "mend"), ERR_OK);
    call = as_employee(MANAGER);
    assert_int_equal(authority_need_manager(&call, "mend"), ERR_PERMISSION_DENIED);
    assert_string_equal(call.state->failure.reason, "ROLE_REQUIRED");
}

static void a_key_of_an_employee_is_bound_by_its_scopes(void **state)
{
    (void)state;
    char read[] = "customers.read", all[] = "tenant.all";
    char *scopes[] = { read, all };
    struct call call = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE, REP_A, scopes, 2);

    assert_true(authority_has_scope(&call, "customers.read"));
    assert_false(authority_has_scope(&call, "customers.write"));
    assert_false(authority_sees(&call, id_of(REP_B))); /* the scope does not make him a manager */

    call = as_employee(REP_A);
    assert_true(authority_has_scope(&call, "customers.write"));
}

static void approvers_stand_above_with_the_role(void **state)
{
    (void)state;
    static const char *const roles[] = { "supervisor", "sales_manager", NULL };
    static const struct {
        unsigned actor, submitter;
        bool may;
    } cases[] = {
        { SUPERVISOR, REP_A, true },   { MANAGER, REP_A, true },
        { LEAD_A, REP_A, false }, /* above, but not in an approving role */
        { GM, REP_A, false },          { SUPERVISOR, SUPERVISOR, false }, /* one's own */
        { SUPERVISOR, CLERK, false }, /* of his unit, but not below him */
        { MANAGER, SUPERVISOR, true }, { SUPERVISOR, NOBODY, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call call = as_employee(cases[i].actor);
        enum err want = cases[i].may ? ERR_OK : ERR_PERMISSION_DENIED;
        if (authority_need_approver(&call, id_of(cases[i].submitter), roles, "approve a plan") !=
            want)
            fail_msg("%u approves %u: want %d", cases[i].actor, cases[i].submitter, cases[i].may);
    }
    struct call own = as_employee(MANAGER);
    assert_int_equal(authority_need_approver(&own, id_of(MANAGER), roles, "approve a plan"),
                     ERR_PERMISSION_DENIED);
    assert_string_equal(own.state->failure.reason, "OWN_SUBMISSION");
}

static void without_a_directory_people_are_asked_to_come_back(void **state)
{
    (void)state;
    static const char *const roles[] = { "supervisor", NULL };
    struct call call = as_employee(SUPERVISOR);
    call.dir = NULL;
    call.employee = NULL;

    assert_int_equal(authority_need_sight(&call, id_of(REP_A), "visit"), ERR_UNAVAILABLE);
    assert_int_equal(authority_need_role(&call, roles, "plan"), ERR_UNAVAILABLE);
    assert_int_equal(authority_need_approver(&call, id_of(REP_A), roles, "plan"), ERR_UNAVAILABLE);
    struct call system = as(DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM, NOBODY, NULL, 0);
    system.dir = NULL;
    assert_int_equal(authority_need_sight(&system, id_of(REP_A), "visit"), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sees_his_own_and_those_below),
        cmocka_unit_test(lists_exactly_those_it_sees),
        cmocka_unit_test(sees_nothing_of_an_unknown_actor),
        cmocka_unit_test(a_pool_row_has_no_owner_to_be_below),
        cmocka_unit_test(service_accounts_go_by_scope),
        cmocka_unit_test(what_is_for_managers_is_not_for_others),
        cmocka_unit_test(a_key_of_an_employee_is_bound_by_its_scopes),
        cmocka_unit_test(approvers_stand_above_with_the_role),
        cmocka_unit_test(without_a_directory_people_are_asked_to_come_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
