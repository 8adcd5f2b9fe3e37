/*
 * customers_rules_test.c - what a customer file may hold, and when two names are the same (CUS-07,
 * CUS-18).
 */
#include "services/customers/customer_rules.h"

#include <setjmp.h>
#include <cmocka.h>

static void names_are_compared_without_form_width_and_case_CUS_07(void **state)
{
    static const struct {
        const char *x, *y;
        bool same;
    } cases[] = {
        { "海棠路便利商行", "海棠路便利商行", true },
        { "海棠路商贸有限公司", "海棠路商贸", true },
        { "海棠路商贸有限责任公司", "海棠路商贸有限公司", true },
        { "Ａｂｃ（上海）贸易", "abc(上海)贸易", true },
        { "Acme Trading Co., Ltd.", "ACME  trading", true },
        { "Acme Trading Inc", "Acme Trading LLC", true },
        { "海棠路商贸", "海棠路贸易", false },
        { "有限公司", "有限责任公司", false }, /* nothing but a form stays as it is */
        { "一号店", "二号店", false },
    };
    struct arena *a = arena_new(MIB);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *x = customer_rules_name_key(a, cases[i].x);
        const char *y = customer_rules_name_key(a, cases[i].y);
        if ((strcmp(x, y) == 0) != cases[i].same)
            fail_msg("'%s' gives '%s', '%s' gives '%s'", cases[i].x, x, cases[i].y, y);
    }
    arena_free(a);
}

static bool has_fault(const PbCustomer *c, const char *field)
{
    struct customer_fault faults[16];
    size_t n = MIN(customer_rules_check(c, faults, ARRAY_LEN(faults)), ARRAY_LEN(faults));

    for (size_t i = 0; i < n; i++)
        if (strcmp(faults[i].field, field) == 0)
            return true;
    return false;
}

static void each_faulty_field_of_a_file_is_named_CUS_18(void **state)
{
    PbCustomer c = DAYBOOK__CUSTOMERS__V1__CUSTOMER__INIT;
    Daybook__Common__V1__LatLng place = DAYBOOK__COMMON__V1__LAT_LNG__INIT;
    Daybook__Common__V1__ExternalRef ref = DAYBOOK__COMMON__V1__EXTERNAL_REF__INIT;
    char good[] = "海棠路便利商行", city[] = "31010", code[] = "91310000MA1FL0000I";
    char source[] = "ERP", id[] = "";

    (void)state;
    assert_true(has_fault(&c, "name"));
    c.name = good;
    assert_false(has_fault(&c, "name"));
    c.city_code = city;
    c.credit_code = code; /* I is not a letter of that code */
    c.potential_rating = 101;
    place.latitude = 91;
    c.location = &place;
    ref.source = source;
    ref.id = id;
    c.external_ref = &ref;
    assert_true(has_fault(&c, "city_code"));
    assert_true(has_fault(&c, "credit_code"));
    assert_true(has_fault(&c, "potential_rating"));
    assert_true(has_fault(&c, "location"));
    assert_true(has_fault(&c, "external_ref.source"));
    assert_true(has_fault(&c, "external_ref.id"));
}

static void contacts_need_usable_addresses(void **state)
{
    static const struct {
        const char *field, *value;
        bool good;
    } cases[] = {
        { "phone", "199 0000 0001", true },
        { "phone", "+86-21-12345678", true },
        { "phone", "12", false },
        { "phone", "call me", false },
        { "email", "a@example.com", true },
        { "email", "a@b@example.com", false },
        { "email", "@example.com", false },
        { "email", "a b@example.com", false },
        { "email", "a@localhost", false },
        { "birthday", "02-29", true },
        { "birthday", "02-30", false },
        { "birthday", "2-9", false },
        { "birthday", "1990-02-02", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PbContact c = DAYBOOK__CUSTOMERS__V1__CONTACT__INIT;
        struct customer_fault faults[8];
        char name[] = "张若水", value[64];
        c.name = name;
        snprintf(value, sizeof(value), "%s", cases[i].value);
        if (strcmp(cases[i].field, "phone") == 0)
            c.phone = value;
        else if (strcmp(cases[i].field, "email") == 0)
            c.email = value;
        else
            c.birthday = value;
        size_t n = customer_rules_check_contact(&c, faults, ARRAY_LEN(faults));
        if ((n == 0) != cases[i].good || (n && strcmp(faults[0].field, cases[i].field) != 0))
            fail_msg("%s '%s': %zu faults", cases[i].field, cases[i].value, n);
    }
}

static void a_mask_says_what_changes_and_no_mask_means_what_is_set(void **state)
{
    PbCustomer into = DAYBOOK__CUSTOMERS__V1__CUSTOMER__INIT, from = into;
    char old_name[] = "old", new_name[] = "new", industry[] = "grocery";
    char p_industry[] = "industry", p_all[] = "*", p_wrong[] = "tier_x";
    char *only_industry[] = { p_industry }, *all[] = { p_all }, *wrong[] = { p_wrong };
    const char *changed[16];
    size_t n;

    (void)state;
    into.name = old_name;
    into.industry = industry;
    into.potential_rating = 7;
    from.name = new_name;
    assert_null(customer_rules_apply(&into, &from, NULL, 0, changed, 16, &n));
    assert_int_equal(n, 1);
    assert_string_equal(changed[0], "name");
    assert_string_equal(into.industry, "grocery"); /* unset in from: left alone */
    assert_null(customer_rules_apply(&into, &from, only_industry, 1, changed, 16, &n));
    assert_int_equal(n, 1);
    assert_string_equal(into.industry, ""); /* named: cleared */
    assert_null(customer_rules_apply(&into, &from, all, 1, changed, 16, &n));
    assert_int_equal(into.potential_rating, 0);
    assert_string_equal(customer_rules_apply(&into, &from, wrong, 1, changed, 16, &n), "tier_x");
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_compared_without_form_width_and_case_CUS_07),
        cmocka_unit_test(each_faulty_field_of_a_file_is_named_CUS_18),
        cmocka_unit_test(contacts_need_usable_addresses),
        cmocka_unit_test(a_mask_says_what_changes_and_no_mask_means_what_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
