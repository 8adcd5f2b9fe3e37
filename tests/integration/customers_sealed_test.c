/*
 * customers_sealed_test.c - contacts while one master key takes the place of another: they are sealed anew, found
 * by their number all the while, and nobody's change is undone (F56).
 */
#include "tests/integration/customers_fixture.h"

#include "common/reseal.h"
#include "common/secret.h"
#include "services/customers/customer_store.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" /* the rig's */
#define KEY_B "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f"

static char id_a[9], id_b[9];

static void before_the_change(void)
{
    assert_true(secret_init(KEY_A));
    assert_true(secret_init_other(KEY_B, false));
    snprintf(id_a, sizeof(id_a), "%s", secret_key_id());
}

static void after_the_change(void)
{
    assert_true(secret_init(KEY_B));
    assert_true(secret_init_other(KEY_A, true));
    snprintf(id_b, sizeof(id_b), "%s", secret_key_id());
}

/* No contact but this one, made before the change. */
static int one_contact(void **state)
{
    static unsigned n;
    char name[40];

    (void)state;
    before_the_change();
    (void)rig_value(rig, "DELETE FROM customers.contact RETURNING id::text");
    snprintf(name, sizeof(name), "Shop %u", ++n);
    json_decref(rig_ok(rig, "rep", CUSTOMER_SERVICE, "Create",
                       "{\"customer\":{\"name\":\"%s\"},\"contacts\":[{\"name\":\"Li\","
                       "\"phone\":\"19900000001\",\"email\":\"li@example.com\"}]}",
                       name));
    after_the_change();
    return 0;
}

static int64_t seal_anew(struct id tenant, const struct reseal_table *table)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    struct id after = { { 0 } };
    int64_t changed;
    bool left;

    assert_int_equal(reseal_batch(rig->db, a, tenant, table, &after, &changed, &left), ERR_OK);
    assert_false(left);
    return changed;
}

static const char *value_of(const char *column)
{
    char sql[200];
    snprintf(sql, sizeof(sql), "SELECT %s FROM customers.contact", column);
    return rig_value(rig, sql);
}

/* Under which key that column is sealed. */
static void expect_key(const char *column, const char *key)
{
    assert_memory_equal(value_of(column), "v1:", 3);
    assert_memory_equal(value_of(column) + 3, key, 8);
}

static void expect_clear(const char *phone, const char *email)
{
    json_t *list = rig_ok(rig, "rep", CONTACT_SERVICE, "List", "{\"customerId\":\"%s\"}",
                          value_of("customer_id::text"));
    assert_string_equal(rig_text(list, "contacts.0.phone"), phone);
    assert_string_equal(rig_text(list, "contacts.0.email"), email);
    json_decref(list);
}

static void expect_found(void)
{
    json_t *found =
        rig_ok(rig, "rep", CUSTOMER_SERVICE, "FindDuplicates", "{\"phone\":\"+86 199 0000 0001\"}");
    assert_string_equal(rig_text(found, "candidates.0.reason"), "DUPLICATE_REASON_CONTACT_PHONE");
    assert_string_equal(rig_text(found, "candidates.1.reason"), ""); /* once, under two keys */
    json_decref(found);
}

static void a_contact_is_sealed_anew_and_found_all_the_while(void **state)
{
    (void)state;
    char index[BLIND_INDEX_TEXT];

    expect_key("phone_sealed", id_a);
    expect_clear("19900000001", "li@example.com");
    expect_found();
    snprintf(index, sizeof(index), "%s", value_of("phone_index"));
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 1);
    expect_key("phone_sealed", id_b);
    expect_key("email_sealed", id_b);
    assert_string_not_equal(value_of("phone_index"), index);
    expect_clear("19900000001", "li@example.com");
    expect_found();
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 0); /* and once only */

    before_the_change(); /* a daemon that is not started anew yet */
    expect_clear("19900000001", "li@example.com");
    expect_found();
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 0); /* turns nothing back */
}

static void what_one_column_has_lost_the_other_keeps(void **state)
{
    (void)state;
    char index[BLIND_INDEX_TEXT];

    snprintf(index, sizeof(index), "%s", value_of("phone_index"));
    (void)rig_value(rig, "UPDATE customers.contact SET phone_sealed = left(phone_sealed, -4) "
                         "|| 'AAAA' RETURNING ''");
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 1);
    expect_key("phone_sealed", id_a);
    assert_string_equal(value_of("phone_index"), index);
    expect_key("email_sealed", id_b);
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 0);
}

/* Stands between the reading of the row and its writing. */
static char *change_meanwhile(struct arena *a, struct id tenant, const char *clear)
{
    (void)rig_value(rig, "UPDATE customers.contact SET email_sealed = '' RETURNING ''");
    return contact_sealed.index_of(a, tenant, clear);
}

static void a_row_that_somebody_changed_meanwhile_is_left_to_the_next_time(void **state)
{
    (void)state;
    struct reseal_table meddled = contact_sealed;

    meddled.index_of = change_meanwhile;
    assert_int_equal(seal_anew(rig_tenant, &meddled), 0);
    expect_key("phone_sealed", id_a);
    assert_string_equal(value_of("email_sealed"), "");
    assert_int_equal(seal_anew(rig_tenant, &contact_sealed), 1);
    expect_clear("19900000001", "");
}

static void another_company_s_rows_are_not_touched(void **state)
{
    (void)state;
    assert_int_equal(seal_anew(rig_other_tenant, &contact_sealed), 0);
    expect_key("phone_sealed", id_a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_contact_is_sealed_anew_and_found_all_the_while, one_contact),
        cmocka_unit_test_setup(what_one_column_has_lost_the_other_keeps, one_contact),
        cmocka_unit_test_setup(a_row_that_somebody_changed_meanwhile_is_left_to_the_next_time,
                               one_contact),
        cmocka_unit_test_setup(another_company_s_rows_are_not_touched, one_contact),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
