/*
 * scoring_test.c - tiers from events on a real PostgreSQL: facts in, scores explained, hysteresis,
 * and a replay of the same events that ends in the same rows (SCO-02 to SCO-05).
 */
#include "common/sbuf.h"
#include "services/scoring/scoring.h"
#include "services/scoring/sql.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>

#define CUSTOMER "05000000-0000-7000-8000-000000000001"
#define OTHER "05000000-0000-7000-8000-000000000002"
#define EVENTS "daybook.customers.v1."

static struct rig *rig;

static int start(void **state)
{
    (void)state;
    rig = rig_start("scoring", scoring_migrations, scoring_migrations_len, scoring_methods,
                    scoring_methods_len);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

static void customer(bool replaying, const char *id, int potential)
{
    rig_hear(rig, &scoring_consumer, replaying, EVENTS "CustomerCreated", "2025-01-01T00:00:00Z",
             "{\"customer\":{\"id\":\"%s\",\"ownerId\":\"%s\",\"potentialRating\":%d}}", id,
             rig_employee_text("rep"), potential);
}

static void order(bool replaying, const char *customer_id, const char *at, long amount)
{
    char id[ID_TEXT_MAX];

    rig_hear(rig, &scoring_consumer, replaying, EVENTS "OrderRecorded", at,
             "{\"order\":{\"id\":\"%s\",\"customerId\":\"%s\",\"kind\":\"%s\",\"orderedAt\":\"%s\","
             "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"%ld\"}}}",
             id_text(id_derived(customer_id, at, NULL), id), customer_id,
             amount > 0 ? "ORDER_KIND_ORDER" : "ORDER_KIND_CANCELLATION", at, amount);
}

/* A cancellation that names the order of that moment. */
static void cancel(bool replaying, const char *customer_id, const char *order_at, const char *at,
                   long amount)
{
    char id[ID_TEXT_MAX], order_id[ID_TEXT_MAX];

    rig_hear(rig, &scoring_consumer, replaying, EVENTS "OrderRecorded", at,
             "{\"order\":{\"id\":\"%s\",\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_CANCELLATION\","
             "\"orderedAt\":\"%s\",\"cancelsOrderId\":\"%s\","
             "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"%ld\"}}}",
             id_text(id_derived(customer_id, at, NULL), id), customer_id, at,
             id_text(id_derived(customer_id, order_at, NULL), order_id), amount);
}

static void policy(bool replaying, const char *key, const char *from, const char *value)
{
    rig_hear(rig, &scoring_consumer, replaying, "daybook.directory.v1.PolicySet",
             "2025-01-01T00:00:00Z",
             "{\"setting\":{\"key\":\"%s\",\"value\":\"%s\",\"effectiveFrom\":\"%s\"}}", key, value,
             from);
}

/* The same story, live and in a rebuild. */
static void tell(bool replaying)
{
    policy(replaying, "tier_threshold_c", "2030-01-01T00:00:00Z", "95"); /* not yet in force */
    customer(replaying, CUSTOMER, 90);
    customer(replaying, OTHER, 0);
    order(replaying, CUSTOMER, "2026-01-10T00:00:00Z", 30000000); /* M 50, F 8.3: 49.5, C */
    order(replaying, CUSTOMER, "2026-02-10T00:00:00Z", 30000000); /* M 100, F 16.7: 72, B */
    cancel(replaying, CUSTOMER, "2026-02-10T00:00:00Z", "2026-02-11T00:00:00Z",
           -30000000); /* back to 47, C */
    order(replaying, CUSTOMER, "2026-03-10T00:00:00Z", 60000000);
    rig_hear(rig, &scoring_consumer, replaying, "daybook.scoring.v1.RecomputeRequested",
             "2027-03-11T00:00:00Z", "{\"customerIds\":[\"" CUSTOMER "\"]}");
    policy(replaying, "score_frequency_reference", "2028-01-01T00:00:00Z", "24");
    order(replaying, CUSTOMER, "2026-04-01T00:00:00Z",
          100); /* late event: the score stays at 2027 */
}

#define DUMP                                                                                       \
    "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM ("                                   \
    "SELECT 's', to_jsonb(s) FROM scoring.score s UNION ALL SELECT 'h', to_jsonb(h) FROM "         \
    "scoring.tier_change h UNION ALL SELECT 'c', to_jsonb(c) FROM scoring.customer c UNION ALL "   \
    "SELECT 'p', to_jsonb(p) FROM scoring.policy p UNION ALL SELECT 'o', to_jsonb(o) FROM "        \
    "scoring.order_fact o) t"

static void tiers_follow_orders_and_are_explained_SCO_02(void **state)
{
    (void)state;
    (void)rig_events(rig);
    tell(false);
    assert_string_equal(rig_value(rig, "SELECT string_agg(coalesce(old_tier, '-') || new_tier, ' ' "
                                       "ORDER BY tier_version) FROM scoring.tier_change "
                                       "WHERE customer_id = '" CUSTOMER "'"),
                        "-d dc cb bc cb bd");
    assert_string_equal(
        rig_events(rig),
        "CustomerTierChanged CustomerTierChanged CustomerTierChanged "
        "CustomerTierChanged CustomerTierChanged CustomerTierChanged CustomerTierChanged");
    json_t *got = rig_ok(rig, "rep", SCORE_SERVICE, "Get", "{\"customerId\":\"" CUSTOMER "\"}");
    assert_string_equal(rig_text(got, "score.tier"), "TIER_D");
    assert_string_equal(rig_text(got, "score.valueScore"),
                        "29.5"); /* potential 27, one order 2.5 */
    assert_string_equal(rig_text(got, "score.scoredAt"), "2027-03-11T00:00:00Z");
    assert_string_equal(rig_text(got, "score.parts.3.points"), "27");
    assert_string_equal(rig_text(got, "score.policies.2.key"), "score_weight_money");
    assert_string_equal(rig_text(got, "score.policies.2.provenance"), "default");
    assert_string_equal(rig_text(got, "history.0.newTier"), "TIER_D");
    json_decref(got);
}

/* 5.1 F: an order stays one as long as something is left of it; what is taken back of an order
 * outside the window takes nothing off the orders inside. */
static void an_order_counts_until_nothing_is_left_of_it_5_1(void **state)
{
    static const char who[] = "01900000-0000-7000-8000-0000000000aa";
    static const char first[] = "2026-01-10T00:00:00Z", second[] = "2026-05-10T00:00:00Z";
    static const struct {
        const char *label, *cancelled, *at;
        long amount;
        const char *want; /* orders, amount */
    } steps[] = {
        { "a part of the first", first, "2026-06-01T00:00:00Z", -400, "2 1600" },
        { "the rest of it", first, "2026-06-02T00:00:00Z", -600, "1 1000" },
        { "a credit note of no order", NULL, "2026-06-03T00:00:00Z", -100, "1 900" },
        { "of one outside of the window", first, "2027-02-01T00:00:00Z", -50, "1 -150" },
    };

    (void)state;
    customer(false, who, 50);
    order(false, who, first, 1000);
    order(false, who, second, 1000);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (steps[i].cancelled)
            cancel(false, who, steps[i].cancelled, steps[i].at, steps[i].amount);
        else
            order(false, who, steps[i].at, steps[i].amount);
        const char *got = rig_value(rig, "SELECT orders_12m || ' ' || amount_minor FROM "
                                         "scoring.score WHERE customer_id = "
                                         "'01900000-0000-7000-8000-0000000000aa'");
        if (strcmp(got, steps[i].want) != 0)
            fail_msg("%s: %s", steps[i].label, got);
    }
}

/* SCO-02: a customer whose orders were all taken back has not bought lately. */
static void the_last_order_is_one_of_which_something_is_left_SCO_02(void **state)
{
    static const char who[] = "01900000-0000-7000-8000-0000000000ab";
    static const char first[] = "2026-01-10T00:00:00Z", second[] = "2026-05-10T00:00:00Z";
    static const struct {
        const char *label, *cancelled, *at;
        long amount;
        const char *want; /* days since the last one */
    } steps[] = {
        { "a part of the second", second, "2026-05-20T00:00:00Z", -400, "10" },
        { "the rest of it", second, "2026-05-21T00:00:00Z", -600, "131" },
        { "the first, over a year later", first, "2027-01-20T00:00:00Z", -1000, "-1" },
    };

    (void)state;
    customer(false, who, 50);
    order(false, who, first, 1000);
    order(false, who, second, 1000);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        cancel(false, who, steps[i].cancelled, steps[i].at, steps[i].amount);
        const char *got = rig_value(rig, "SELECT recency_days FROM scoring.score WHERE customer_id "
                                         "= '01900000-0000-7000-8000-0000000000ab'");
        if (strcmp(got, steps[i].want) != 0)
            fail_msg("%s: %s", steps[i].label, got);
    }
}

static void a_replay_of_the_log_ends_in_the_same_rows(void **state)
{
    static char live[32768];

    (void)state;
    (void)rig_events(rig);
    snprintf(live, sizeof(live), "%s", rig_value(rig, DUMP));
    assert_true(strlen(live) > 1000);
    (void)rig_value(
        rig, "WITH a AS (DELETE FROM scoring.score), b AS (DELETE FROM scoring.tier_change), "
             "c AS (DELETE FROM scoring.order_fact), d AS (DELETE FROM scoring.policy) DELETE FROM "
             "scoring.customer RETURNING 'x'");
    tell(true);
    assert_string_equal(rig_value(rig, DUMP), live);
    assert_string_equal(rig_events(rig), ""); /* nothing is said twice */
}

/* A setting counts from its place in the log on, for what happens from its date on: neither earlier
 * because a snapshot ran ahead, nor later because it lagged. */
static void a_setting_counts_from_its_place_in_the_log(void **state)
{
    static const char third[] = "05000000-0000-7000-8000-000000000003";

    (void)state;
    customer(false, third, 0);
    order(false, third, "2029-01-07T00:00:00Z", 60000000);
    order(false, third, "2029-01-08T00:00:00Z", 60000000);
    order(false, third, "2029-01-09T00:00:00Z", 60000000);
    order(false, third, "2029-01-10T00:00:00Z", 60000000); /* M 100, F 4 of 24: 45, C */
    assert_string_equal(rig_value(rig, "SELECT value_score || tier FROM scoring.score WHERE "
                                       "customer_id = '05000000-0000-7000-8000-000000000003'"),
                        "45c");
    policy(false, "tier_threshold_c", "2029-01-11T00:00:00Z", "45.5");
    policy(false, "tier_hysteresis_points", "2029-01-11T00:00:00Z", "0");
    rig_hear(rig, &scoring_consumer, false, "daybook.scoring.v1.RecomputeRequested",
             "2029-01-12T00:00:00Z", "{\"customerIds\":[\"%s\"]}", third);
    json_t *got = rig_ok(rig, "rep", SCORE_SERVICE, "Get", "{\"customerId\":\"%s\"}", third);
    assert_string_equal(rig_text(got, "score.tier"), "TIER_D");
    assert_string_equal(rig_text(got, "score.policies.8.value"), "45.5");
    assert_string_equal(rig_text(got, "score.policies.8.provenance"), "company");
    json_decref(got);
    (void)rig_value(rig, "WITH a AS (DELETE FROM scoring.score WHERE customer_id::text LIKE '%3'), "
                         "b AS (DELETE FROM scoring.tier_change "
                         "WHERE customer_id::text LIKE '%3') DELETE FROM scoring.customer WHERE "
                         "id::text LIKE '%3' RETURNING ''");
}

/* More than 64 bits together: clamped, and never a poison for the customer's later events. */
static void sums_beyond_64_bits_do_not_stop_scoring(void **state)
{
    static const char fourth[] = "05000000-0000-7000-8000-000000000004";

    (void)state;
    customer(false, fourth, 0);
    order(false, fourth, "2026-01-10T00:00:00Z", INT64_MAX);
    order(false, fourth, "2026-01-11T00:00:00Z", INT64_MAX);
    assert_string_equal(rig_value(rig, "SELECT orders_12m || tier FROM scoring.score WHERE "
                                       "customer_id = '05000000-0000-7000-8000-000000000004'"),
                        "2c");
    (void)rig_value(rig, "WITH a AS (DELETE FROM scoring.score WHERE customer_id::text LIKE '%4'), "
                         "b AS (DELETE FROM scoring.tier_change "
                         "WHERE customer_id::text LIKE '%4') DELETE FROM scoring.customer WHERE "
                         "id::text LIKE '%4' RETURNING ''");
}

static void scores_are_listed_best_first_and_seen_by_whom_they_concern(void **state)
{
    (void)state;
    json_t *list = rig_ok(rig, "rep", SCORE_SERVICE, "List", "{\"pageSize\":1}");
    assert_string_equal(rig_text(list, "scores.0.customerId"), CUSTOMER);
    char token[2048];
    snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(list, "nextPageToken")));
    json_decref(list);
    list =
        rig_ok(rig, "rep", SCORE_SERVICE, "List", "{\"pageSize\":1,\"pageToken\":\"%s\"}", token);
    assert_string_equal(rig_text(list, "scores.0.customerId"), OTHER);
    assert_string_equal(rig_text(list, "nextPageToken"), "");
    json_decref(list);
    list = rig_ok(rig, "gm", SCORE_SERVICE, "List", "{\"tier\":\"TIER_D\"}"); /* of the company */
    assert_int_equal(json_array_size(json_object_get(list, "scores")), 2);
    json_decref(list);
    list = rig_ok(rig, "rep2", SCORE_SERVICE, "List", "{}");
    assert_int_equal(json_array_size(json_object_get(list, "scores")), 0);
    json_decref(list);
    rig_fails(rig, "rep2", SCORE_SERVICE, "Get", ERR_NOT_FOUND, "",
              "{\"customerId\":\"" CUSTOMER "\"}");
    rig_fails(rig, "other", SCORE_SERVICE, "Get", ERR_NOT_FOUND, "",
              "{\"customerId\":\"" CUSTOMER "\"}");
}

static void to_recompute_is_asked_through_the_log(void **state)
{
    (void)state;
    (void)rig_events(rig);
    rig_fails(rig, "rep", SCORE_SERVICE, "Recompute", ERR_PERMISSION_DENIED, "", "{}");
    json_t *asked = rig_ok(rig, "gm", SCORE_SERVICE, "Recompute", "{\"pageSize\":1}");
    assert_string_equal(rig_text(asked, "requested"), "1");
    assert_true(*rig_text(asked, "nextPageToken"));
    json_decref(asked);
    assert_string_equal(rig_events(rig), "AccessRecorded RecomputeRequested");
}

static void many_orders_of_one_event_are_one_step(void **state)
{
    (void)state;
    (void)rig_events(rig);
    rig_hear(rig, &scoring_consumer, false, EVENTS "OrdersImported", "2026-11-16T00:00:00Z",
             "{\"orders\":[{\"id\":\"06000000-0000-7000-8000-000000000001\",\"customerId\":\"" OTHER
             "\","
             "\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{"
             "\"currencyCode\":\"CNY\",\"minorUnits\":\"60000000\"}},"
             "{\"id\":\"06000000-0000-7000-8000-000000000002\",\"customerId\":\"" OTHER "\","
             "\"kind\":\"ORDER_KIND_ORDER\",\"orderedAt\":\"2026-11-02T00:00:00Z\",\"amount\":{"
             "\"currencyCode\":\"CNY\",\"minorUnits\":\"1\"}}]}");
    assert_string_equal(
        rig_value(rig,
                  "SELECT tier || ' ' || orders_12m FROM scoring.score WHERE customer_id = '" OTHER
                  "'"),
        "c 2");
    assert_string_equal(rig_events(rig), "CustomerTierChanged");
}

/* The largest import is one event: its thousand customers are scored in one transaction. */
static void a_thousand_customers_of_one_event_fit_the_memory_of_a_batch(void **state)
{
    struct sbuf orders;

    (void)state;
    (void)rig_events(rig);
    sbuf_init(&orders, 4 * MIB);
    for (int i = 0; i < 1000; i++) {
        char id[ID_TEXT_MAX];
        snprintf(id, sizeof(id), "07000000-0000-7000-8000-%012d", i);
        customer(true, id, 90);
        sbuf_addf(&orders,
                  "%s{\"id\":\"08000000-0000-7000-8000-%012d\",\"customerId\":\"%s\",\"kind\":"
                  "\"ORDER_KIND_ORDER\","
                  "\"orderedAt\":\"2026-11-01T00:00:00Z\",\"amount\":{\"currencyCode\":\"CNY\","
                  "\"minorUnits\":\"90000000\"}}",
                  i ? "," : "", i, id);
    }
    rig_hear(rig, &scoring_consumer, false, EVENTS "OrdersImported", "2026-11-16T00:00:00Z",
             "{\"orders\":[%s]}", orders.data);
    sbuf_fini(&orders);
    assert_string_equal(rig_value(rig, "SELECT count(*)::text FROM bus.outbox"), "1000");
    assert_string_equal(
        rig_value(rig,
                  "SELECT count(*)::text FROM scoring.score WHERE tier = 'b' AND orders_12m = 1"),
        "1000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiers_follow_orders_and_are_explained_SCO_02),
        cmocka_unit_test(a_replay_of_the_log_ends_in_the_same_rows),
        cmocka_unit_test(a_setting_counts_from_its_place_in_the_log),
        cmocka_unit_test(sums_beyond_64_bits_do_not_stop_scoring),
        cmocka_unit_test(scores_are_listed_best_first_and_seen_by_whom_they_concern),
        cmocka_unit_test(to_recompute_is_asked_through_the_log),
        cmocka_unit_test(many_orders_of_one_event_are_one_step),
        cmocka_unit_test(a_thousand_customers_of_one_event_fit_the_memory_of_a_batch),
        cmocka_unit_test(an_order_counts_until_nothing_is_left_of_it_5_1),
        cmocka_unit_test(the_last_order_is_one_of_which_something_is_left_SCO_02),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
