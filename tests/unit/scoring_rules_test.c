/*
 * scoring_rules_test.c - value score and tier from facts (requirements 5.1, SCO-02 to SCO-05).
 */
#include "services/scoring/score_rules.h"

#include <setjmp.h>
#include <cmocka.h>

#define NOW (INT64_C(1763000000) * SECOND_US)

static const struct score_model model = {
    .weights = { 0, 0.30, 0.40, 0.30 },
    .frequency_reference = 12,
    .money_reference_minor = 60000000,
    .thresholds = { 80, 60, 40 },
    .hysteresis = 3,
    .window_months = 12,
    .recency_days = 365,
};

static void value_follows_the_formula_of_5_1(void **state)
{
    static const struct {
        const char *label;
        struct score_facts facts;
        double value;
        int tier;
        int32_t recency;
    } cases[] = {
        { "never ordered, no potential", { NOW, 0, 0, 0, 0, 0 }, 0, 4, -1 },
        { "potential alone", { NOW, 0, 0, 0, 100, 0 }, 30, 4, -1 },
        { "half of everything", { NOW, 6, 30000000, NOW - DAY_US, 50, 0 }, 50, 3, 1 },
        { "at the references", { NOW, 12, 60000000, NOW, 100, 0 }, 100, 1, 0 },
        { "beyond the references", { NOW, 99, 999999999, NOW, 100, 0 }, 100, 1, 0 },
        { "more cancelled than ordered", { NOW, -3, -500, NOW - 400 * DAY_US, 40, 0 }, 12, 4, 400 },
        { "an order after the moment counts as today",
          { NOW, 1, 100, NOW + DAY_US, 0, 0 },
          2.5,
          4,
          0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct score_result r;
        score_rules_judge(&cases[i].facts, &model, &r);
        if (r.value != cases[i].value || r.tier != cases[i].tier ||
            r.recency_days != cases[i].recency)
            fail_msg("%s: value %f tier %d recency %d", cases[i].label, r.value, r.tier,
                     r.recency_days);
    }
}

static void weights_are_made_to_sum_to_one(void **state)
{
    struct score_model heavy = model;
    struct score_facts facts = { NOW, 12, 60000000, NOW, 100, 0 };
    struct score_result r;

    (void)state;
    for (int i = 0; i < SCORE_PARTS; i++)
        heavy.weights[i] = 5;
    score_rules_judge(&facts, &heavy, &r);
    for (int i = 0; i < SCORE_PARTS; i++)
        assert_true(r.weights[i] == 0.25);
    assert_true(r.value == 100);
}

static void recency_falls_to_nothing_in_a_year(void **state)
{
    struct score_facts facts = { NOW, 1, 1, NOW - 365 * DAY_US, 0, 0 };
    struct score_result r;

    (void)state;
    score_rules_judge(&facts, &model, &r);
    assert_true(r.ratings[SCORE_RECENCY] == 0);
    facts.last_order_us = NOW;
    score_rules_judge(&facts, &model, &r);
    assert_true(r.ratings[SCORE_RECENCY] == 100);
}

static void a_border_must_be_passed_by_the_margin_SCO_05(void **state)
{
    static const struct {
        const char *label;
        double value;
        int old_tier, want;
    } cases[] = {
        { "first score on the border", 80, 0, 1 },
        { "just over, was B", 82.99, 2, 2 },
        { "over by the margin, was B", 83, 2, 1 },
        { "just under, was A", 77, 1, 1 },
        { "under by more than the margin, was A", 76.99, 1, 2 },
        { "fell through two tiers", 20, 1, 4 },
        { "rose through two tiers, top border not passed", 81, 4, 2 },
        { "rose through all", 90, 4, 1 },
        { "between: B border passed by little, was D", 61, 4, 3 },
        { "unknown old tier", 61, 9, 2 },
        { "unchanged", 50, 3, 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (score_rules_tier(cases[i].value, cases[i].old_tier, &model) != cases[i].want)
            fail_msg("%s: got %d", cases[i].label,
                     score_rules_tier(cases[i].value, cases[i].old_tier, &model));
}

static void a_value_that_wavers_around_a_border_does_not_flap(void **state)
{
    int tier = 2, changes = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        int next = score_rules_tier(i % 2 ? 81.5 : 78.5, tier, &model);
        changes += next != tier;
        tier = next;
    }
    assert_int_equal(changes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_follows_the_formula_of_5_1),
        cmocka_unit_test(weights_are_made_to_sum_to_one),
        cmocka_unit_test(recency_falls_to_nothing_in_a_year),
        cmocka_unit_test(a_border_must_be_passed_by_the_margin_SCO_05),
        cmocka_unit_test(a_value_that_wavers_around_a_border_does_not_flap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
