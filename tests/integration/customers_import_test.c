/*
 * Files and orders in bulk: each row is judged by itself, no contact is lost, and a full batch fits
 * the memory of a request (CUS-31).
 */
#include "tests/integration/customers_fixture.h"

#define REQUEST_MEMORY (8 * MIB) /* default of ARENA_BYTES; the rig itself gives more */

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
        cmocka_unit_test(orders_of_a_batch_may_name_the_customer_by_id),
        cmocka_unit_test(a_row_with_impossible_values_is_refused_alone),
        cmocka_unit_test(a_reference_of_another_customer_is_refused_in_a_batch_too),
        cmocka_unit_test(orders_in_bulk_are_taken_from_managers_CUS_31),
        cmocka_unit_test(an_import_looks_at_every_contact),
        cmocka_unit_test(an_import_tells_who_is_a_key_account_by_tier_CON_02),
        cmocka_unit_test(an_old_file_hands_nobody_back_CUS_31),
        cmocka_unit_test(a_phone_twice_in_a_batch_is_a_duplicate_CUS_07),
        cmocka_unit_test(versions_of_a_file_rise_with_each_contact),
        cmocka_unit_test(a_full_import_fits_the_memory_of_a_request),
        cmocka_unit_test(an_import_of_too_many_contacts_is_refused_with_their_number),
        cmocka_unit_test(a_full_batch_of_orders_fits_memory_and_one_event),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
