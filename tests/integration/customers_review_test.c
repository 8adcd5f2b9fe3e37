/*
 * customers_review_test.c - what the customers daemon must not do: show or change what is somebody
 * else's, believe output fields of a request, lose contacts, or run out of memory on a full batch.
 */
#include "services/customers/customers.h"
#include "services/customers/sql.h"
#include "common/sbuf.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>

#define REQUEST_MEMORY (8 * MIB) /* default of ARENA_BYTES; the rig itself gives more */

static struct rig *rig;

static int start(void **state)
{
    (void)state;
    rig = rig_start("customers", customers_migrations, customers_migrations_len, customers_methods,
                    customers_methods_len);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

static const char *customer_of(const char *owner, const char *name)
{
    static char ids[8][ID_TEXT_MAX];
    static unsigned next;
    char *id = ids[next++ % ARRAY_LEN(ids)];
    json_t *reply = rig_ok(
        rig, owner, CUSTOMER_SERVICE, "Create",
        "{\"customer\":{\"name\":\"%s\",\"externalRef\":{\"source\":\"erp\",\"id\":\"%s\"}}}", name,
        name);

    snprintf(id, ID_TEXT_MAX, "%s", rig_text(reply, "customer.id"));
    json_decref(reply);
    return id;
}

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

static void orders_of_a_batch_may_name_the_customer_by_id(void **state)
{
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", customer_of("rep2", "by id"));

    (void)state;
    json_t *reply =
        rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders",
               "{\"rows\":[{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
               "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\","
               "\"minorUnits\":\"5\"}}},"
               "{\"order\":{\"customerId\":\"nonsense\",\"kind\":\"ORDER_KIND_ORDER\","
               "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\","
               "\"minorUnits\":\"5\"}}}]}",
               id);
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INSERTED");
    assert_string_equal(rig_text(reply, "results.1.outcome"), "IMPORT_OUTCOME_INVALID");
    json_decref(reply);
    assert_string_equal(
        rig_value(rig, "SELECT count(*)::text FROM customers.sales_order o JOIN customers.customer "
                       "c ON c.id = o.customer_id WHERE c.name = 'by id'"),
        "1");
}

/* One bad row must not spoil the batch, however bad. */
static void a_row_with_impossible_values_is_refused_alone(void **state)
{
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", customer_of("rep", "bad rows"));

    (void)state;
    json_t *reply = rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders",
                           "{\"rows\":[{\"customerExternalRef\":{\"source\":\"erp\",\"id\":\"bad "
                           "rows\"},\"order\":{\"kind\":\"ORDER_KIND_ORDER\","
                           "\"orderedAt\":\"0001-01-01T00:00:00Z\",\"amount\":{\"currencyCode\":"
                           "\"CNY\",\"minorUnits\":\"5\"}}},"
                           "{\"customerExternalRef\":{\"source\":\"erp\",\"id\":\"bad "
                           "rows\"},\"order\":{\"kind\":\"ORDER_KIND_ORDER\","
                           "\"externalRef\":{\"source\":\"BAD SOURCE\",\"id\":\"x\"},"
                           "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":"
                           "\"CNY\",\"minorUnits\":\"5\"}}},"
                           "{\"customerExternalRef\":{\"source\":\"erp\",\"id\":\"bad "
                           "rows\"},\"order\":{\"kind\":\"ORDER_KIND_ORDER\","
                           "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":"
                           "\"CNY\",\"minorUnits\":\"5\"}}}]}");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INVALID");
    assert_string_equal(rig_text(reply, "results.1.outcome"), "IMPORT_OUTCOME_INVALID");
    assert_string_equal(rig_text(reply, "results.2.outcome"), "IMPORT_OUTCOME_INSERTED");
    json_decref(reply);
    reply = rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport",
                   "{\"rows\":[{\"ownerNo\":\"rep\",\"customer\":{\"externalRef\":{\"source\":"
                   "\"import\",\"id\":\"e1\"},\"name\":\"enum\",\"relationType\":77}},"
                   "{\"ownerNo\":\"rep\",\"customer\":{\"externalRef\":{\"source\":\"import\","
                   "\"id\":\"e2\"},\"name\":\"enum2\",\"openQuestions\":9,"
                   "\"lastContactAt\":\"2026-11-01T00:00:00Z\"}}]}");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INVALID");
    assert_string_equal(rig_text(reply, "results.1.outcome"), "IMPORT_OUTCOME_INSERTED");
    json_decref(reply);
}

/* Who names another customer learns nothing of the order, and a rehearsal names nothing. */
static void a_reference_of_another_customer_is_refused_in_a_batch_too(void **state)
{
    static const char row[] =
        "{\"rows\":[{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
        "\"externalRef\":{\"source\":\"erp\",\"id\":\"only-one\"},"
        "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\","
        "\"minorUnits\":\"5\"}}}]%s}";
    char mine[ID_TEXT_MAX], other[ID_TEXT_MAX];
    snprintf(mine, sizeof(mine), "%s", customer_of("rep", "has the order"));
    snprintf(other, sizeof(other), "%s", customer_of("rep2", "has it not"));

    (void)state;
    json_t *reply =
        rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", row, mine, ",\"dryRun\":true");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INSERTED");
    assert_string_equal(rig_text(reply, "results.0.id"), "");
    json_decref(reply);
    json_decref(rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", row, mine, ""));
    reply = rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", row, mine, "");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_UNCHANGED");
    json_decref(reply);
    reply = rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", row, other, "");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_INVALID");
    assert_string_equal(rig_text(reply, "results.0.field"), "order.external_ref");
    assert_string_equal(rig_text(reply, "results.0.id"), "");
    json_decref(reply);
}

static void orders_in_bulk_are_taken_from_managers_CUS_31(void **state)
{
    (void)state;
    rig_fails(rig, "rep", DEAL_SERVICE, "BatchRecordOrders", ERR_PERMISSION_DENIED, "sales_manager",
              "{\"rows\":[{\"customerExternalRef\":{\"source\":\"erp\",\"id\":\"x\"}}]}");
}

/* A phone number that anybody of the row has, not only the first (CUS-07). */
static void an_import_looks_at_every_contact(void **state)
{
    const char *id = customer_of("rep", "known by phone");

    (void)state;
    json_decref(rig_ok(
        rig, "rep", CONTACT_SERVICE, "Create",
        "{\"contact\":{\"customerId\":\"%s\",\"name\":\"a\",\"phone\":\"13700001111\"}}", id));
    json_t *reply =
        rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport",
               "{\"rows\":[{\"ownerNo\":\"rep\",\"customer\":{\"externalRef\":{\"source\":"
               "\"import\",\"id\":\"ph\"},\"name\":\"never heard of\"},"
               "\"contacts\":[{\"name\":\"x\"},{\"name\":\"y\",\"phone\":\"137 0000 1111\"}]}]}");
    assert_string_equal(rig_text(reply, "results.0.outcome"), "IMPORT_OUTCOME_DUPLICATE");
    assert_string_equal(rig_text(reply, "results.0.id"), id);
    json_decref(reply);
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

/* An import reads files without that mark; its event has the whole file all the same (CON-02). */
static void an_import_tells_who_is_a_key_account_by_tier_CON_02(void **state)
{
#define BY_TIER "position('\\xa80101'::bytea IN payload) > 0" /* field 21, true */
    (void)state;
    rig_hear(rig, &customers_consumer, false, "daybook.scoring.v1.CustomerTierChanged",
             "2026-11-15T01:00:00Z", "{\"customerId\":\"%s\",\"newTier\":\"TIER_A\"}",
             customer_of("rep", "large and imported"));
    (void)rig_events(rig);
    json_decref(rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport",
                       "{\"rows\":[{\"customer\":{\"name\":\"large and imported\",\"industry\":"
                       "\"x\",\"externalRef\":{\"source\":\"erp\",\"id\":\"large and "
                       "imported\"}}}]}"));
    assert_string_equal(rig_value(rig, "SELECT (" BY_TIER ")::text FROM bus.outbox"), "true");
    assert_string_equal(rig_events(rig), "CustomerUpdated");
}

/* The file is older than the handing over, or its owner has left: neither undoes anything. */
static void an_old_file_hands_nobody_back_CUS_31(void **state)
{
    (void)state;
    json_decref(rig_ok(rig, "lead", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\"}}",
                       customer_of("rep", "handed over"), rig_employee_text("rep2")));
    static const struct {
        const char *named, *more, *outcome, *owner;
    } cases[] = {
        { ",\"ownerNo\":\"rep\"", "", "UPDATED", "rep2" },
        { ",\"ownerNo\":\"gone\"", "", "UPDATED", "rep2" },
        { "", "", "UPDATED", "rep2" },
        { "", ",\"updateOwner\":true", "UPDATED", "rep2" },
        { ",\"ownerNo\":\"gone\"", ",\"updateOwner\":true", "INVALID", "rep2" },
        { ",\"ownerNo\":\"rep\"", ",\"updateOwner\":true", "UPDATED", "rep" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char industry[8], want[48];
        snprintf(industry, sizeof(industry), "no %zu", i);
        snprintf(want, sizeof(want), "IMPORT_OUTCOME_%s", cases[i].outcome);
        json_t *reply =
            rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport",
                   "{\"rows\":[{\"customer\":{\"name\":\"handed over\",\"industry\":"
                   "\"%s\",\"externalRef\":{\"source\":\"erp\",\"id\":\"handed over\"}}%s}]%s}",
                   industry, cases[i].named, cases[i].more);
        const char *owner = rig_value(rig, "SELECT owner_id::text FROM customers.customer WHERE "
                                           "ref_id = 'handed over'");
        if (strcmp(rig_text(reply, "results.0.outcome"), want) != 0 ||
            strcmp(owner, rig_employee_text(cases[i].owner)) != 0)
            fail_msg("case %zu: %s, of %s", i, rig_text(reply, "results.0.outcome"), owner);
        json_decref(reply);
    }
}

/* Two rows of a file with one contact are one customer (CUS-07). */
static void a_phone_twice_in_a_batch_is_a_duplicate_CUS_07(void **state)
{
#define CALLED(n, name, phone)                                                                     \
    "{\"customer\":{\"name\":\"" name "\",\"externalRef\":{\"source\":\"twin\",\"id\":\"" n        \
    "\"}},\"ownerNo\":\"rep\",\"contacts\":[{\"name\":\"a\",\"phone\":\"" phone                    \
    "\"},{\"name\":\"b\",\"phone\":\"" phone "\"}]}"
    static const char *const want[] = { "INSERTED", "DUPLICATE", "INSERTED", "DUPLICATE" };

    (void)state;
    (void)rig_events(rig);
    json_t *reply =
        rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport",
               "{\"rows\":[" CALLED("1", "first twin", "13812345678") "," CALLED(
                   "2", "second twin",
                   "138 1234-5678") "," CALLED("3", "no twin",
                                               "13812345679") "," CALLED("4", "third twin",
                                                                         "13812345678") "]}");
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        char path[32], outcome[48];
        snprintf(path, sizeof(path), "results.%zu.outcome", i);
        snprintf(outcome, sizeof(outcome), "IMPORT_OUTCOME_%s", want[i]);
        assert_string_equal(rig_text(reply, path), outcome);
    }
    json_decref(reply);
    assert_string_equal(rig_events(rig), "CustomerCreated ContactCreated ContactCreated "
                                         "CustomerCreated ContactCreated ContactCreated");
}

static void nobody_records_in_the_name_of_one_he_does_not_see_INT_01(void **state)
{
    const char *id = customer_of("rep", "in whose name");

    (void)state;
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "employee",
              "{\"interaction\":{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_"
              "PHONE\",\"content\":\"x\"}}",
              id, rig_employee_text("rep2"));
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", ERR_NOT_FOUND, "employee",
              "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_PHONE\"}", id,
              rig_employee_text("rep2"));
}

/* A call centre registers a call of rep2 with a customer of rep: the 24 hours run for rep2. */
static void who_must_write_the_record_may_write_it_TMR_02(void **state)
{
    const char *id = customer_of("rep", "colleague helps");

    (void)state;
    json_t *ended =
        rig_ok(rig, "system", INTERACTION_SERVICE, "RegisterEnded",
               "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_PHONE\"}", id,
               rig_employee_text("rep2"));
    json_decref(rig_ok(rig, "rep2", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"id\":\"%s\",\"content\":\"done\"}}",
                       rig_text(ended, "interaction.id")));
    json_decref(ended);
}

/* The versions that the log shows of a customer's file, in order; and that of the file itself. */
static const char *versions_of(const char *name)
{
    char query[512];

    snprintf(query, sizeof(query),
             "SELECT string_agg(o.aggregate_version::text, ' ' ORDER BY o.id) || ', at ' || "
             "max(c.row_version) FROM customers.customer c JOIN bus.outbox o ON o.aggregate = "
             "'customers/' || c.id WHERE c.name = '%s'",
             name);
    return rig_value(rig, query);
}

/* Contacts that come with a file raise its version as those that come later do (bus.proto). */
static void versions_of_a_file_rise_with_each_contact(void **state)
{
    (void)state;
    json_t *made = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Create",
                          "{\"customer\":{\"name\":\"three at once\"},\"contacts\":[{\"name\":"
                          "\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}");
    assert_string_equal(rig_text(made, "customer.etag"), "4");
    json_decref(rig_ok(rig, "rep", CONTACT_SERVICE, "Create",
                       "{\"contact\":{\"customerId\":\"%s\",\"name\":\"d\"}}",
                       rig_text(made, "customer.id")));
    json_decref(rig_ok(rig, "rep", CUSTOMER_SERVICE, "Update",
                       "{\"customer\":{\"id\":\"%s\",\"industry\":\"x\",\"etag\":\"5\"}}",
                       rig_text(made, "customer.id")));
    json_decref(made);
    assert_string_equal(versions_of("three at once"), "1 2 3 4 5 6, at 6");
#define TWO_IMPORTED(industry)                                                                     \
    "{\"rows\":[{\"ownerNo\":\"rep\",\"customer\":{\"name\":\"two imported\",\"industry\":"        \
    "\"" industry "\",\"externalRef\":{\"source\":\"import\",\"id\":\"two\"}},\"contacts\":["      \
    "{\"name\":\"a\"},{\"name\":\"b\"}]}]}"
    json_decref(rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", TWO_IMPORTED("one")));
    json_decref(rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", TWO_IMPORTED("two")));
    assert_string_equal(versions_of("two imported"), "1 2 3 4, at 4");
}

static void the_contact_of_a_communication_is_the_customers(void **state)
{
    char mine[ID_TEXT_MAX], theirs[ID_TEXT_MAX];
    snprintf(mine, sizeof(mine), "%s", customer_of("rep", "contact mine"));
    snprintf(theirs, sizeof(theirs), "%s", customer_of("rep2", "contact theirs"));

    (void)state;
    json_t *c = rig_ok(rig, "rep2", CONTACT_SERVICE, "Create",
                       "{\"contact\":{\"customerId\":\"%s\",\"name\":\"a\"}}", theirs);
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "contact",
              "{\"interaction\":{\"customerId\":\"%s\",\"contactId\":\"%s\",\"channel\":\"CHANNEL_"
              "PHONE\",\"content\":\"x\"}}",
              mine, rig_text(c, "contact.id"));
    json_decref(c);
    c = rig_ok(rig, "rep", CONTACT_SERVICE, "Create",
               "{\"contact\":{\"customerId\":\"%s\",\"name\":\"b\"}}", mine);
    json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"customerId\":\"%s\",\"contactId\":\"%s\",\"channel\":"
                       "\"CHANNEL_PHONE\",\"content\":\"x\"}}",
                       mine, rig_text(c, "contact.id")));
    json_decref(c);
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

/* More entries of one moment and kind than a page with all its slack. */
static void a_timeline_with_many_entries_of_one_moment_is_whole_INT_22(void **state)
{
    char token[4096] = "", id[ID_TEXT_MAX];
    size_t seen = 0, pages = 0;

    (void)state;
    snprintf(id, sizeof(id), "%s", customer_of("rep", "one moment"));
    (void)rig_value(rig, "WITH c AS (SELECT * FROM customers.customer WHERE name = 'one moment'), "
                         "i AS (INSERT INTO customers.sales_order SELECT c.tenant_id, "
                         "gen_random_uuid(), c.id, NULL, NULL, 'order', "
                         "'2026-11-01', 5, 'CNY' FROM c, generate_series(1, 130)) SELECT ''");
    do {
        json_t *page =
            rig_ok(rig, "rep", CUSTOMER_SERVICE, "GetTimeline",
                   "{\"customerId\":\"%s\",\"pageSize\":10,\"pageToken\":\"%s\"}", id, token);
        seen += json_array_size(json_object_get(page, "entries"));
        const json_t *next = json_object_get(page, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(page);
    } while (*token && ++pages < 40);
    assert_int_equal(seen, 131);
}

/* A question of that customer, asked at the rig's time; the id lives until the next call. */
static const char *question_of(const char *actor, const char *customer, const char *assignee)
{
    static char id[ID_TEXT_MAX];
    json_t *reply = rig_ok(rig, actor, INTERACTION_SERVICE, "RecordInteraction",
                           "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
                           "\"content\":\"asked\",\"employeeId\":\"%s\","
                           "\"questions\":[{\"text\":\"when?\",\"assigneeId\":\"%s\"}]}}",
                           customer, rig_employee_text(actor), rig_employee_text(assignee));

    snprintf(id, sizeof(id), "%s", rig_text(reply, "interaction.questions.0.id"));
    json_decref(reply);
    return id;
}

/* The mark on the record and the reminder count alike: working hours where the rule book says so,
 * and by the rule that holds while the time runs (CON-10, REM-09). */
static void lateness_is_counted_as_the_reminder_counts_CON_10(void **state)
{
    static const struct {
        const char *label, *clock, *change, *answered_at;
        bool late;
    } cases[] = {
        { "Friday 16:00 + 24 h", "absolute", NULL, "2026-11-21T08:00:00Z", false },
        { "a second more", "absolute", NULL, "2026-11-21T08:00:01Z", true },
        { "working time: 2 h on Friday, 9 on Monday and Tuesday, 4 on Wednesday", "business", NULL,
          "2026-11-25T05:00:00Z", false },
        { "a second more", "business", NULL, "2026-11-25T05:00:01Z", true },
        { "shortened while it runs", "absolute", "8", "2026-11-20T17:00:00Z", true },
        { "prolonged while it runs", "absolute", "48", "2026-11-22T08:00:00Z", false },
    };
    const char *customer = customer_of("rep", "counted");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_set_policy("hour_clock", cases[i].clock, "2026-01-01T00:00:00Z");
        rig_time(rig, "2026-11-20T08:00:00Z"); /* Friday 16:00 in Shanghai */
        char id[ID_TEXT_MAX];
        snprintf(id, sizeof(id), "%s", question_of("rep", customer, "rep"));
        if (cases[i].change) {
            rig_set_policy("question_feedback_hours", cases[i].change, "2026-11-20T10:00:00Z");
            rig_set_policy("interaction_update_hours", cases[i].change, "2026-11-20T10:00:00Z");
        }
        char ref[16];
        snprintf(ref, sizeof(ref), "call-%zu", i);
        json_decref(rig_ok(rig, "service", INTERACTION_SERVICE, "RegisterEnded",
                           "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":"
                           "\"CHANNEL_PHONE\",\"externalRef\":{\"source\":\"pbx\",\"id\":"
                           "\"%s\"}}",
                           customer, rig_employee_text("rep"), ref));
        rig_time(rig, cases[i].answered_at);
        json_t *answered = rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion",
                                  "{\"questionId\":\"%s\",\"answer\":\"soon\",\"final\":true}", id);
        json_t *recorded =
            rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                   "{\"interaction\":{\"externalRef\":{\"source\":\"pbx\",\"id\":\"%s\"},"
                   "\"content\":\"talked\"}}",
                   ref);
        const char *want = cases[i].late ? "true" : "";
        if (strcmp(rig_text(answered, "question.late"), want) != 0 ||
            strcmp(rig_text(recorded, "interaction.late"), want) != 0)
            fail_msg("%s, %s: question '%s', record '%s'", cases[i].label, cases[i].answered_at,
                     rig_text(answered, "question.late"), rig_text(recorded, "interaction.late"));
        json_decref(answered);
        json_decref(recorded);
        rig_clear_policies();
    }
    /* by the rules of the unit that the events named, wherever the person is now */
    assert_string_equal(rig_value(rig, "SELECT (bool_and(q.unit_id IS NOT NULL) AND "
                                       "bool_and(q.unit_id = i.unit_id))::text FROM "
                                       "customers.question q, customers.interaction i"),
                        "true");
    rig_time(rig, "2026-11-16T01:00:00Z");
}

/* An event of a visit, as visits tell it. */
static void hear_visit(const char *event, const char *visit, const char *customer,
                       const char *visitor, const char *mode)
{
    char type[64];

    snprintf(type, sizeof(type), "daybook.visits.v1.%s", event);
    rig_hear(rig, &customers_consumer, false, type, "2026-11-14T00:00:00Z",
             "{\"visit\":{\"id\":\"%s\",\"customerId\":\"%s\",\"visitorId\":\"%s\",\"mode\":"
             "\"VISIT_MODE_%s\"}}",
             visit, customer, rig_employee_text(visitor), mode);
}

/* Only a visit is free of the 24 hours, not every talk in person (TMR-02, INT-03, CON-10). */
static void a_talk_in_person_is_late_unless_it_was_a_visit_CON_10(void **state)
{
    static const char visit[] = "01900000-0000-7000-8000-0000000000c1";
    const char *customer = customer_of("rep", "visited"), *rep = rig_employee_text("rep");

    (void)state;
    hear_visit("VisitCheckedIn", visit, customer, "rep", "IN_PERSON");
#define TALK "\"customerId\":\"%s\",\"employeeId\":\"%s\",\"endedAt\":\"2026-11-14T00:00:00Z\","
#define RECORD "{\"interaction\":{" TALK "\"content\":\"x\",\"channel\":\"%s\"%s%s%s}}"
    json_t *reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD, customer,
                           rep, "CHANNEL_IN_PERSON", "", "", "");
    assert_string_equal(rig_text(reply, "interaction.late"), "true");
    json_decref(reply);
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD, customer, rep,
                   "CHANNEL_IN_PERSON", ",\"visitId\":\"", visit, "\"");
    assert_string_equal(rig_text(reply, "interaction.late"), "");
    assert_string_equal(rig_text(reply, "interaction.visitId"), visit);
    json_decref(reply);
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_INVALID_ARGUMENT,
              "in person", RECORD, customer, rep, "CHANNEL_PHONE", ",\"visitId\":\"", visit, "\"");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "no visit",
              RECORD, customer, rep, "CHANNEL_IN_PERSON", ",\"visitId\":\"", customer, "\"");
    /* What was registered stands: who did not name a visit then has the clock running. */
    for (int with = 0; with < 2; with++) {
        reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RegisterEnded",
                       "{" TALK "\"channel\":\"CHANNEL_IN_PERSON\"%s%s%s}", customer, rep,
                       with ? ",\"visitId\":\"" : "", with ? visit : "", with ? "\"" : "");
        char id[ID_TEXT_MAX];
        snprintf(id, sizeof(id), "%s", rig_text(reply, "interaction.id"));
        json_decref(reply);
        reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"id\":\"%s\",\"content\":\"x\",\"visitId\":\"%s\"}}", id,
                       visit);
        assert_string_equal(rig_text(reply, "interaction.late"), with ? "" : "true");
        assert_string_equal(rig_text(reply, "interaction.visitId"), with ? visit : "");
        json_decref(reply);
    }
}

/* Of other visits no report is owed, and the talk would be rid of every clock (TMR-02, CON-10). */
static void a_talk_was_a_visit_that_its_visitor_made_in_person_CON_10(void **state)
{
    static const char rebuilding[] =
        "INSERT INTO customers.consumer_cursor (consumer, seq, replay_until) VALUES "
        "('customers', 0, 9) ON CONFLICT (consumer) DO UPDATE SET replay_until = 9 RETURNING ''";
    static const struct {
        const char *label, *events[3], *visitor, *mode;
        enum err want, want_in_rebuild;
        const char *words;
    } cases[] = {
        { "not heard of", { 0 }, "rep", "IN_PERSON", ERR_NOT_FOUND, ERR_UNAVAILABLE, "no visit" },
        { "only asked for",
          { "VisitRequested" },
          "rep",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_UNAVAILABLE,
          "check in first" },
        { "called off",
          { "VisitRequested", "VisitApproved", "VisitCancelled" },
          "rep",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_UNAVAILABLE,
          "check in first" },
        { "of somebody else",
          { "VisitRequested", "VisitCheckedIn" },
          "rep2",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_INVALID_ARGUMENT,
          "employee_id" },
        { "by phone",
          { "VisitCheckedIn", "VisitEnded" },
          "rep",
          "PHONE",
          ERR_INVALID_ARGUMENT,
          ERR_INVALID_ARGUMENT,
          "by phone" },
        { "checked in", { "VisitApproved", "VisitCheckedIn" }, "rep", "IN_PERSON", 0, 0, "" },
        { "ended", { "VisitEnded" }, "rep", "IN_PERSON", 0, 0, "" },
        { "reported", { "VisitReported" }, "rep", "IN_PERSON", 0, 0, "" },
    };
    char customer[ID_TEXT_MAX], visit[ID_TEXT_MAX];

    (void)state;
    snprintf(customer, sizeof(customer), "%s", customer_of("rep", "kinds of visits"));
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        size_t k = i % ARRAY_LEN(cases);
        bool rebuild = i >= ARRAY_LEN(cases);
        enum err want = rebuild ? cases[k].want_in_rebuild : cases[k].want;
        snprintf(visit, sizeof(visit), "01900000-0000-7000-8000-0000000001%02zx", k);
        for (size_t n = 0; !rebuild && n < ARRAY_LEN(cases[k].events) && cases[k].events[n]; n++)
            hear_visit(cases[k].events[n], visit, customer, cases[k].visitor, cases[k].mode);
        if (i == ARRAY_LEN(cases)) /* the second half of the rounds is told in a rebuild */
            (void)rig_value(rig, rebuilding);
        print_message("%s%s\n", cases[k].label, rebuild ? ", in a rebuild" : "");
        if (want)
            rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", want,
                      want == ERR_UNAVAILABLE ? "heard anew" : cases[k].words, RECORD, customer,
                      rig_employee_text("rep"), "CHANNEL_IN_PERSON", ",\"visitId\":\"", visit,
                      "\"");
        else
            json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD,
                               customer, rig_employee_text("rep"), "CHANNEL_IN_PERSON",
                               ",\"visitId\":\"", visit, "\""));
    }
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", ERR_INVALID_ARGUMENT, "visit_id",
              "{" TALK "\"channel\":\"CHANNEL_IN_PERSON\",\"visitId\":\"%s\"}", customer,
              rig_employee_text("rep"), "01900000-0000-7000-8000-000000000104");
    (void)rig_value(rig, "UPDATE customers.consumer_cursor SET replay_until = 0 RETURNING ''");
}

static void a_preliminary_answer_promises_the_final_one_INT_04(void **state)
{
    const char *id = question_of("rep", customer_of("rep", "promised"), "rep");

    (void)state;
#define ANSWER "{\"questionId\":\"%s\",\"answer\":\"x\",\"final\":%s%s}"
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "when the final answer comes", ANSWER, id, "false", "");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "must lie ahead", ANSWER, id, "false",
              ",\"finalPromisedAt\":\"2026-11-16T01:00:00Z\"");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "preliminary", ANSWER, id, "true", ",\"finalPromisedAt\":\"2026-11-18T01:00:00Z\"");
}

/* Nobody gives work to whom he does not see; who owns the customer may answer in his stead. */
static void a_question_is_given_to_whom_one_sees_VIS_48(void **state)
{
    char mine[ID_TEXT_MAX];

    (void)state;
    snprintf(mine, sizeof(mine), "%s", customer_of("rep", "asked of another"));
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "employee",
              "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\",\"content\":"
              "\"x\",\"questions\":[{\"text\":\"a?\",\"assigneeId\":\"%s\"}]}}",
              mine, rig_employee_text("rep2"));
    json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ANSWER,
                       question_of("lead", mine, "rep2"), "true", ""));
    json_decref(rig_ok(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ANSWER,
                       question_of("lead", mine, "rep2"), "true", ""));
    rig_fails(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ERR_NOT_FOUND, "question", ANSWER,
              question_of("lead", mine, "rep"), "true", "");
}

/* Kinds and a half-open period; a page goes on in the same (INT-22). */
static void a_timeline_shows_what_is_asked_for_INT_22(void **state)
{
    static const struct {
        const char *more;
        const char *want;
    } cases[] = {
        { "\"kinds\":[\"TIMELINE_KIND_ORDER\"]", "order of CNY 0.07 order of CNY 10.00 " },
        { "\"kinds\":[\"TIMELINE_KIND_ORDER\",\"TIMELINE_KIND_PAYMENT\"]",
          "payment of CNY 0.05 order of CNY 0.07 order of CNY 10.00 " },
        { "\"from\":\"2026-11-01T00:00:00Z\",\"to\":\"2026-11-02T00:00:00Z\"",
          "order of CNY 10.00 " },
        { "\"from\":\"2026-11-02T00:00:00Z\",\"to\":\"2026-11-16T00:00:00Z\"",
          "payment of CNY 0.05 order of CNY 0.07 " },
        { "\"kinds\":[\"TIMELINE_KIND_VISIT\"]", "visit ended visit ended " },
    };
    char id[ID_TEXT_MAX], token[2048];

    (void)state;
    snprintf(id, sizeof(id), "%s", customer_of("rep", "filtered"));
    for (int i = 0; i < 2; i++)
        json_decref(rig_ok(rig, "rep", DEAL_SERVICE, "RecordOrder",
                           "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
                           "\"orderedAt\":\"2026-11-0%dT00:00:00Z\",\"amount\":{\"currencyCode\":"
                           "\"CNY\",\"minorUnits\":\"%d\"}}}",
                           id, i + 1, i ? 7 : 1000));
    json_decref(rig_ok(rig, "rep", DEAL_SERVICE, "RecordPayment",
                       "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-03T00:00:00Z\","
                       "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"5\"}}}",
                       id));
    static const char *const visits[] = { "2026-12-01T00:00:00Z", "2026-10-01T00:00:00Z" };
    for (size_t i = 0; i < ARRAY_LEN(visits); i++) /* the latest contact stays (4.3) */
        rig_hear(
            rig, &customers_consumer, false, "daybook.visits.v1.VisitEnded", visits[i],
            "{\"visit\":{\"id\":\"01900000-0000-7000-8000-0000000000c2\",\"customerId\":\"%s\","
            "\"checkedOutAt\":\"%s\"}}",
            id, visits[i]);
    json_t *got = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "customer.lastContactAt"), "2026-12-01T00:00:00Z");
    json_decref(got);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char seen[512] = "";
        token[0] = '\0';
        do {
            json_t *page = rig_ok(rig, "rep", CUSTOMER_SERVICE, "GetTimeline",
                                  "{\"customerId\":\"%s\",\"pageSize\":1,\"pageToken\":\"%s\",%s}",
                                  id, token, cases[i].more);
            size_t len = strlen(seen);
            if (*rig_text(page, "entries.0.summary"))
                snprintf(seen + len, sizeof(seen) - len, "%s ",
                         rig_text(page, "entries.0.summary"));
            snprintf(token, sizeof(token), "%s", rig_text(page, "nextPageToken"));
            json_decref(page);
        } while (*token);
        if (strncmp(seen, cases[i].want, sizeof(seen)) != 0)
            fail_msg("%s: '%s'", cases[i].more, seen);
    }
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "GetTimeline", ERR_INVALID_ARGUMENT, "before from",
              "{\"customerId\":\"%s\",\"from\":\"2026-11-02T00:00:00Z\",\"to\":"
              "\"2026-11-01T00:00:00Z\"}",
              id);
}

/* --- full batches (CUS-31) -------------------------------------------------------------------- */

/* 500 rows of a file, each with so many contacts and, as far as they go, one of the more. */
static void fill_import(struct sbuf *rows, const char *source, int each, int more)
{
    sbuf_init(rows, 4 * MIB);
    for (int i = 0; i < 500; i++) {
        sbuf_addf(rows,
                  "%s{\"ownerNo\":\"rep\",\"customer\":{\"externalRef\":{\"source\":\"%s\","
                  "\"id\":\"%d\"},"
                  "\"name\":\"第%d家%s便利店有限公司\",\"address\":\"上海市浦东新区某某路%"
                  "d号一楼临街商铺\",\"industry\":\"grocery\","
                  "\"cityCode\":\"310100\",\"location\":{\"latitude\":31.2,\"longitude\":121.4}},"
                  "\"contacts\":[",
                  i ? "," : "", source, i, i, source, i);
        for (int k = 0; k < each + (i < more); k++)
            sbuf_addf(rows,
                      "%s{\"name\":\"联系人\",\"position\":\"店长\",\"phone\":\"139%04d%04d\","
                      "\"email\":\"c%d.%d@example.com\"}",
                      k ? "," : "", i, k, i, k);
        sbuf_add_text(rows, "]}");
    }
    assert_false(rows->bad);
}

/* The rig keeps its own copies of the request in the same memory, so a daemon has room to spare. */
static void a_full_import_fits_the_memory_of_a_request(void **state)
{
    struct sbuf rows;

    (void)state;
    (void)rig_events(rig);
    fill_import(&rows, "full", IMPORT_CONTACTS_MAX / 500, IMPORT_CONTACTS_MAX % 500);
    json_t *reply =
        rig_ok(rig, "gm", CUSTOMER_SERVICE, "BatchImport", "{\"rows\":[%s]}", rows.data);
    print_message(
        "500 customers with %d contacts: request %zu bytes, arena %zu bytes, %d round trips\n",
        IMPORT_CONTACTS_MAX, rows.len, arena_used(rig->arena), (int)rig->round_trips);
    assert_true(arena_used(rig->arena) < REQUEST_MEMORY);
    assert_string_equal(rig_text(reply, "results.499.outcome"), "IMPORT_OUTCOME_INSERTED");
    json_decref(reply);
    sbuf_fini(&rows);
    char want[16];
    snprintf(want, sizeof(want), "%d", 500 + IMPORT_CONTACTS_MAX);
    assert_string_equal(rig_value(rig, "SELECT count(*)::text FROM bus.outbox"), want);
}

/* Said before anything is done: that memory is short would come late, and after every retry. */
static void an_import_of_too_many_contacts_is_refused_with_their_number(void **state)
{
    struct sbuf rows;

    (void)state;
    fill_import(&rows, "overfull", IMPORT_CONTACTS_MAX / 500, IMPORT_CONTACTS_MAX % 500 + 1);
    rig_fails(rig, "gm", CUSTOMER_SERVICE, "BatchImport", ERR_INVALID_ARGUMENT,
              "send fewer rows at once", "{\"rows\":[%s]}", rows.data);
    sbuf_fini(&rows);
}

static void a_full_batch_of_orders_fits_memory_and_one_event(void **state)
{
    struct sbuf rows;

    (void)state;
    (void)rig_events(rig);
    sbuf_init(&rows, 4 * MIB);
    for (int i = 0; i < 1000; i++)
        sbuf_addf(&rows,
                  "%s{\"customerExternalRef\":{\"source\":\"full\",\"id\":\"%d\"},\"order\":{"
                  "\"kind\":\"ORDER_KIND_ORDER\","
                  "\"orderedAt\":\"2026-10-01T00:00:00Z\",\"externalRef\":{\"source\":\"full\","
                  "\"id\":\"order-of-a-longer-name-%d\"},"
                  "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"123456\"}}}",
                  i ? "," : "", i % 500, i);
    json_t *reply =
        rig_ok(rig, "gm", DEAL_SERVICE, "BatchRecordOrders", "{\"rows\":[%s]}", rows.data);
    print_message("1 000 orders: request %zu bytes, arena %zu bytes, event %s bytes\n", rows.len,
                  arena_used(rig->arena),
                  rig_value(rig, "SELECT max(length(payload))::text FROM bus.outbox"));
    assert_true(arena_used(rig->arena) < REQUEST_MEMORY);
    assert_string_equal(rig_text(reply, "results.999.outcome"), "IMPORT_OUTCOME_INSERTED");
    json_decref(reply);
    sbuf_fini(&rows);
    assert_string_equal(rig_events(rig), "OrdersImported");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_of_somebody_else_is_not_shown_by_its_reference_F61),
        cmocka_unit_test(a_payment_pays_an_order_of_the_same_customer),
        cmocka_unit_test(an_amount_has_an_upper_bound),
        cmocka_unit_test(orders_of_a_batch_may_name_the_customer_by_id),
        cmocka_unit_test(a_row_with_impossible_values_is_refused_alone),
        cmocka_unit_test(a_reference_of_another_customer_is_refused_in_a_batch_too),
        cmocka_unit_test(orders_in_bulk_are_taken_from_managers_CUS_31),
        cmocka_unit_test(an_import_looks_at_every_contact),
        cmocka_unit_test(lateness_is_counted_as_the_reminder_counts_CON_10),
        cmocka_unit_test(a_talk_in_person_is_late_unless_it_was_a_visit_CON_10),
        cmocka_unit_test(a_talk_was_a_visit_that_its_visitor_made_in_person_CON_10),
        cmocka_unit_test(a_preliminary_answer_promises_the_final_one_INT_04),
        cmocka_unit_test(a_question_is_given_to_whom_one_sees_VIS_48),
        cmocka_unit_test(a_mask_of_a_field_that_cannot_change_is_refused),
        cmocka_unit_test(the_owner_of_a_key_account_changes_by_a_supervisor_CUS_14),
        cmocka_unit_test(a_timeline_shows_what_is_asked_for_INT_22),
        cmocka_unit_test(a_tier_makes_a_key_account_CON_02),
        cmocka_unit_test(an_import_tells_who_is_a_key_account_by_tier_CON_02),
        cmocka_unit_test(an_old_file_hands_nobody_back_CUS_31),
        cmocka_unit_test(a_phone_twice_in_a_batch_is_a_duplicate_CUS_07),
        cmocka_unit_test(nobody_records_in_the_name_of_one_he_does_not_see_INT_01),
        cmocka_unit_test(who_must_write_the_record_may_write_it_TMR_02),
        cmocka_unit_test(versions_of_a_file_rise_with_each_contact),
        cmocka_unit_test(the_contact_of_a_communication_is_the_customers),
        cmocka_unit_test(a_customer_has_at_most_100_contacts_CUS_02),
        cmocka_unit_test(events_hold_no_personal_data),
        cmocka_unit_test(a_timeline_with_many_entries_of_one_moment_is_whole_INT_22),
        cmocka_unit_test(a_full_import_fits_the_memory_of_a_request),
        cmocka_unit_test(an_import_of_too_many_contacts_is_refused_with_their_number),
        cmocka_unit_test(a_full_batch_of_orders_fits_memory_and_one_event),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
