/*
 * The file of a customer, its contacts, orders and payments: what must not be shown or changed, and
 * whose account it is.
 */
#include "tests/integration/customers_fixture.h"

static void an_order_of_somebody_else_is_not_shown_by_its_reference_F61(void **state)
{
    const char *theirs = customer_of("rep2", "order theirs"),
               *mine = customer_of("rep", "order mine");

    (void)state;
    json_decref(rig_ok(rig, "rep2", DEAL_SERVICE, "RecordOrder",
                       "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
                       "\"orderedAt\":\"2026-11-01T00:00:00Z\","
                       "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"777\"},"
                       "\"externalRef\":{\"source\":\"erp\",\"id\":\"O\"}}}",
                       theirs));
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordOrder", ERR_ALREADY_EXISTS, "reference",
              "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":"
              "\"2026-11-01T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"1\"},\"externalRef\":{"
              "\"source\":\"erp\",\"id\":\"O\"}}}",
              mine);
    json_t *paid = rig_ok(rig, "rep2", DEAL_SERVICE, "RecordPayment",
                          "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-01T00:00:00Z\","
                          "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"5\"},"
                          "\"externalRef\":{\"source\":\"erp\",\"id\":\"P\"}}}",
                          theirs);
    json_decref(paid);
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordPayment", ERR_ALREADY_EXISTS, "reference",
              "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-01T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"1\"},\"externalRef\":{"
              "\"source\":\"erp\",\"id\":\"P\"}}}",
              mine);
}

static void a_payment_pays_an_order_of_the_same_customer(void **state)
{
    const char *theirs = customer_of("rep2", "pay theirs"), *mine = customer_of("rep", "pay mine");

    (void)state;
    json_t *order = rig_ok(rig, "rep2", DEAL_SERVICE, "RecordOrder",
                           "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
                           "\"orderedAt\":\"2026-11-01T00:00:00Z\","
                           "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"777\"}}}",
                           theirs);
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordPayment", ERR_NOT_FOUND, "order",
              "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-01T00:00:00Z\",\"orderId\":"
              "\"%s\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"1\"}}}",
              mine, rig_text(order, "order.id"));
    json_decref(order);
}

/* Sums of a year must stay within 64 bits, or scoring could never score that customer again. */
static void an_amount_has_an_upper_bound(void **state)
{
    const char *id = customer_of("rep", "too much");

    (void)state;
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordOrder", ERR_INVALID_ARGUMENT, "order.amount",
              "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":"
              "\"2026-11-01T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"9223372036854775807\"}}}",
              id);
    rig_fails(rig, "rep", DEAL_SERVICE, "RecordPayment", ERR_INVALID_ARGUMENT, "payment.amount",
              "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-01T00:00:00Z\","
              "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"9223372036854775807\"}}}",
              id);
}

static void a_mask_of_a_field_that_cannot_change_is_refused(void **state)
{
    const char *id = customer_of("rep", "mask");

    (void)state;
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Update", ERR_INVALID_ARGUMENT, "tier",
              "{\"customer\":{\"id\":\"%s\",\"tier\":\"TIER_A\"},\"updateMask\":\"tier\"}", id);
}

static void the_owner_of_a_key_account_changes_by_a_supervisor_CUS_14(void **state)
{
    const char *id = customer_of("rep", "key account");

    (void)state;
    json_decref(rig_ok(rig, "rep", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"keyAccount\":true}}", id));
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "Update", ERR_NOT_FOUND, "employee",
              "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id, rig_employee_text("rep2"));
    rig_fails(rig, "lead", CUSTOMER_SERVICE, "Update", ERR_PERMISSION_DENIED, "supervisor",
              "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id, rig_employee_text("rep2"));
    /* nor by taking the mark away in the same breath */
    rig_fails(
        rig, "lead", CUSTOMER_SERVICE, "Update", ERR_PERMISSION_DENIED, "supervisor",
        "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"},\"updateMask\":\"ownerId,keyAccount\"}",
        id, rig_employee_text("rep2"));
    /* nor in the breath before */
    rig_fails(rig, "lead", CUSTOMER_SERVICE, "Update", ERR_PERMISSION_DENIED, "supervisor",
              "{\"customer\":{\"id\":\"%s\"},\"updateMask\":\"keyAccount\"}", id);
    json_decref(rig_ok(rig, "sup", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id,
                       rig_employee_text("rep2")));
    json_decref(rig_ok(rig, "sup", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\"},\"updateMask\":\"keyAccount\"}", id));
    json_decref(rig_ok(rig, "lead", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id,
                       rig_employee_text("rep")));
}

/* A customer of tier A is a key account without being marked (CON-02). */
static void a_tier_makes_a_key_account_CON_02(void **state)
{
    const char *id = customer_of("rep", "large by tier");

    (void)state;
    rig_hear(rig, &customers_consumer, false, "daybook.scoring.v1.CustomerTierChanged",
             "2026-11-15T01:00:00Z", "{\"customerId\":\"%s\",\"newTier\":\"TIER_B\"}", id);
    json_t *got = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "customer.keyAccountByTier"), "");
    json_decref(got);
    rig_hear(rig, &customers_consumer, false, "daybook.scoring.v1.CustomerTierChanged",
             "2026-11-15T02:00:00Z", "{\"customerId\":\"%s\",\"newTier\":\"TIER_A\"}", id);
    got = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "customer.keyAccountByTier"), "true");
    assert_string_equal(rig_text(got, "customer.keyAccount"), "");
    json_decref(got);
    rig_fails(rig, "lead", CUSTOMER_SERVICE, "Update", ERR_PERMISSION_DENIED, "supervisor",
              "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id, rig_employee_text("rep2"));
    rig_set_policy("key_account_from_tier", "none", "2026-01-01T00:00:00Z");
    json_decref(rig_ok(rig, "lead", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}", id,
                       rig_employee_text("rep2")));
    rig_clear_policies();
}

static void a_customer_has_at_most_100_contacts_CUS_02(void **state)
{
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", customer_of("rep", "many contacts"));

    (void)state;
    for (int i = 0; i < CONTACTS_MAX; i++)
        json_decref(rig_ok(rig, "rep", CONTACT_SERVICE, "Create",
                           "{\"contact\":{\"customerId\":\"%s\",\"name\":\"c%d\"}}", id, i));
    rig_fails(rig, "rep", CONTACT_SERVICE, "Create", ERR_FAILED_PRECONDITION, "100",
              "{\"contact\":{\"customerId\":\"%s\",\"name\":\"one more\"}}", id);
}

/* The log is for ever, a person must be erasable: no name and no birthday in it (architecture 3).
 */
static void events_hold_no_personal_data(void **state)
{
    const char *id = customer_of("rep", "private");

    (void)state;
    (void)rig_events(rig);
    json_decref(rig_ok(
        rig, "rep", CONTACT_SERVICE, "Create",
        "{\"contact\":{\"customerId\":\"%s\",\"name\":\"Wang Xiaoming\",\"phone\":\"13812345678\","
        "\"email\":\"wangxm@example.com\",\"birthday\":\"02-29\"}}",
        id));
    assert_string_equal(rig_value(rig, "SELECT count(*)::text FROM bus.outbox WHERE "
                                       "position('Wang Xiaoming'::bytea IN payload) > 0 OR "
                                       "position('02-29'::bytea IN payload) > 0 "
                                       "OR position('12345678'::bytea IN payload) > 0 OR "
                                       "position('wangxm'::bytea IN payload) > 0"),
                        "0");
    assert_string_equal(rig_events(rig), "ContactCreated");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_of_somebody_else_is_not_shown_by_its_reference_F61),
        cmocka_unit_test(a_payment_pays_an_order_of_the_same_customer),
        cmocka_unit_test(an_amount_has_an_upper_bound),
        cmocka_unit_test(a_mask_of_a_field_that_cannot_change_is_refused),
        cmocka_unit_test(the_owner_of_a_key_account_changes_by_a_supervisor_CUS_14),
        cmocka_unit_test(a_tier_makes_a_key_account_CON_02),
        cmocka_unit_test(a_customer_has_at_most_100_contacts_CUS_02),
        cmocka_unit_test(events_hold_no_personal_data),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
