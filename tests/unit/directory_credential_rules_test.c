/*
 * Keys and scopes: their form, and that nobody gives away more than he has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/directory/credential_rules.h"

static char *text(const char *s) /* never written */
{
    union {
        const char *given;
        char *own;
    } u = { .given = s };
    return u.own;
}

static void a_curve_key_is_32_bytes_in_z85(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool want;
    } cases[] = {
        /* the server's key of ZeroMQ's documentation */
        { "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", true },
        { "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf", false },
        { "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf77", false },
        { "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\"", false },
        { "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf ", false },
        { "0000000000000000000000000000000000000000", false }, /* all zero */
        { "0000000000000000000000000000000000000001", true },
        { "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", true },  /* 2^32 - 1 in each group */
        { "%nSc1%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", false }, /* one more does not fit */
        { "#####%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", false },
        { "", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (credential_rules_z85_ok(cases[i].key) != cases[i].want)
            fail_msg("%s", cases[i].key);
}

static void a_scope_is_an_area_and_a_verb(void **state)
{
    (void)state;
    static const struct {
        const char *scope;
        bool want;
    } cases[] = {
        { "customers.write", true },
        { "tenant.all", true },
        { "a_b.c_d", true },
        { "customers", false },
        { "customers.", false },
        { ".write", false },
        { "Customers.write", false },
        { "customers.*", false },
        { "customers.write.x", false },
        { "customers.write ", false },
        { "", false },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (authority_scope_ok(cases[i].scope) != cases[i].want)
            fail_msg("'%s'", cases[i].scope);
}

static void nobody_gives_away_more_than_he_has(void **state)
{
    (void)state;
    enum {
        EMPLOYEE = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE,
        SERVICE = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE,
        SYSTEM = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM,
    };
    char *some[] = { text("customers.read"), text("credentials.write") };
    char *all[] = { text("tenant.all") };
    char *wish[] = { text("customers.read"), text("visits.read") };
    const struct {
        const char *label;
        int kind;
        char **has;
        size_t nhas, nwish;
        bool want;
    } cases[] = {
        { "system", SYSTEM, NULL, 0, 2, true },
        { "a person as himself", EMPLOYEE, NULL, 0, 2, true },
        { "a person with a key", EMPLOYEE, some, 2, 2, false },
        { "a service, what it has", SERVICE, some, 2, 1, true },
        { "a service, more", SERVICE, some, 2, 2, false },
        { "a service that sees all rows, other rights", SERVICE, all, 1, 2, false },
        { "a service without scopes", SERVICE, NULL, 0, 1, false },
        { "no scopes to give", SERVICE, NULL, 0, 0, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PbPrincipal p = DAYBOOK__COMMON__V1__PRINCIPAL__INIT;
        p.kind = (Daybook__Common__V1__ActorKind)cases[i].kind;
        p.scopes = cases[i].has;
        p.n_scopes = cases[i].nhas;
        const char *scope = NULL;
        bool got = credential_rules_may_grant(&p, wish, cases[i].nwish, &scope);
        if (got != cases[i].want || (!got && !scope))
            fail_msg("%s", cases[i].label);
    }
}

/* An account that acts for everybody could give its maker what he has not. */
static void only_the_top_gives_the_whole_company_away(void **state)
{
    (void)state;
    char *wish[] = { text("customers.read"), text("tenant.all") };
    static const struct {
        const char *role;
        bool want;
    } cases[] = { { "general_manager", true }, { "admin_office", false }, { "rep", false } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PbPrincipal p = DAYBOOK__COMMON__V1__PRINCIPAL__INIT;
        char *roles[] = { text(cases[i].role) };
        const char *scope = NULL;
        p.kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
        p.roles = roles;
        p.n_roles = 1;
        assert_true(credential_rules_may_grant(&p, wish, 1, &scope));
        assert_int_equal(credential_rules_may_grant(&p, wish, 2, &scope), cases[i].want);
        p.scopes = wish; /* what his token names does not make him more than he is */
        p.n_scopes = 2;
        assert_true(credential_rules_may_grant(&p, wish, 1, &scope));
        assert_int_equal(credential_rules_may_grant(&p, wish, 2, &scope), cases[i].want);
    }
}

/* A key names the employee as whom the bus lets its holder act (SEC-11). */
static void who_may_let_somebody_act_as_an_employee(void **state)
{
    (void)state;
    enum {
        EMPLOYEE = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE,
        SERVICE = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE,
        SYSTEM = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM,
    };
    char *some[] = { text("credentials.write"), text("visits.write"), text("customers.read") };
    char *all[] = { text("credentials.write"), text("tenant.all") };
    const struct {
        const char *label;
        int kind;
        const char *role; /* of the giver, an employee */
        char **has;
        size_t nhas;
        const char *holder_role;
        bool self;
        size_t nwish;
        bool want;
    } cases[] = {
        { "system", SYSTEM, NULL, NULL, 0, "general_manager", false, 0, true },
        { "a service, scopes for the top", SERVICE, NULL, some, 3, "general_manager", false, 3,
          false },
        { "a service, scopes for a rep", SERVICE, NULL, some, 3, "rep", false, 3, false },
        { "a service, a rep's roles", SERVICE, NULL, some, 3, "rep", false, 0, false },
        { "a service for all rows", SERVICE, NULL, all, 2, "rep", false, 1, true },
        { "... without scopes", SERVICE, NULL, all, 2, "rep", false, 0, false },
        { "... for the top", SERVICE, NULL, all, 2, "general_manager", false, 1, false },
        { "... for the top, without scopes", SERVICE, NULL, all, 2, "general_manager", false, 0,
          false },
        { "... for the office", SERVICE, NULL, all, 2, "admin_office", false, 1, false },
        { "the office for a rep", EMPLOYEE, "admin_office", NULL, 0, "rep", false, 0, true },
        { "the office for itself", EMPLOYEE, "admin_office", NULL, 0, "admin_office", true, 0,
          true },
        { "the office for its twin", EMPLOYEE, "admin_office", NULL, 0, "admin_office", false, 1,
          false },
        { "the office for the top", EMPLOYEE, "admin_office", NULL, 0, "general_manager", false, 0,
          false },
        { "... with scopes", EMPLOYEE, "admin_office", NULL, 0, "general_manager", false, 1,
          false },
        { "the top for the office", EMPLOYEE, "general_manager", NULL, 0, "admin_office", false, 0,
          true },
        { "a limited key of the top, unlimited", EMPLOYEE, "general_manager", some, 3,
          "general_manager", true, 0, false },
        { "a limited key of the top, limited", EMPLOYEE, "general_manager", some, 3,
          "general_manager", true, 1, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dir_employee actor = { .id = { { 1 } }, .roles = { cases[i].role } };
        struct id holder_id = { { cases[i].self ? 1 : 2 } };
        char own[ID_TEXT_MAX], *role = text(cases[i].holder_role);
        PbEmployee holder = DAYBOOK__DIRECTORY__V1__EMPLOYEE__INIT;
        holder.id = text(id_text(holder_id, own));
        holder.roles = &role;
        holder.n_roles = 1;
        PbPrincipal p = DAYBOOK__COMMON__V1__PRINCIPAL__INIT;
        p.kind = (Daybook__Common__V1__ActorKind)cases[i].kind;
        p.scopes = cases[i].has;
        p.n_scopes = cases[i].nhas;
        const char *why = NULL;
        bool got = credential_rules_may_stand_for(&p, cases[i].role ? &actor : NULL, &holder,
                                                  cases[i].nwish, &why);
        if (got != cases[i].want || (!got && !why))
            fail_msg("%s", cases[i].label);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_curve_key_is_32_bytes_in_z85),
        cmocka_unit_test(a_scope_is_an_area_and_a_verb),
        cmocka_unit_test(nobody_gives_away_more_than_he_has),
        cmocka_unit_test(only_the_top_gives_the_whole_company_away),
        cmocka_unit_test(who_may_let_somebody_act_as_an_employee),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
