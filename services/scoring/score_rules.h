/*
 * score_rules.h - from the facts of a customer to value score and tier (requirements 5.1, SCO-02 to
 * SCO-05). Pure: no I/O, no clock; the same input always gives the same output.
 */
#ifndef DAYBOOK_SERVICES_SCORING_SCORE_RULES_H
#define DAYBOOK_SERVICES_SCORING_SCORE_RULES_H

#include "common/base.h"

enum score_part { SCORE_RECENCY, SCORE_FREQUENCY, SCORE_MONEY, SCORE_POTENTIAL, SCORE_PARTS };

/* Tiers as in customers.v1.Tier: 1 = A (best) to 4 = D; 0 = never scored. */
struct score_facts {
    int64_t at_us;         /* the moment that the score is for */
    int32_t orders;        /* of the window, less cancellations */
    int64_t amount_minor;  /* of the window, less cancellations */
    int64_t last_order_us; /* of those that stand; 0 = none */
    int32_t potential;     /* 0 to 100 */
    int old_tier;
};

struct score_model {
    double weights[SCORE_PARTS];  /* need not sum to 1; not all 0 */
    double window_months;         /* whose orders count for frequency and money */
    double recency_days;          /* without an order, after which recency is 0 */
    double frequency_reference;   /* orders in the window that make 100 points */
    double money_reference_minor; /* amount that makes 100 points */
    double thresholds[3];         /* A, B, C: lowest value score, falling */
    double hysteresis;            /* points by which a border must be passed */
};

struct score_result {
    double ratings[SCORE_PARTS]; /* 0 to 100 */
    double weights[SCORE_PARTS]; /* made to sum to 1 */
    double value;                /* 0 to 100, rounded to 0.01 so that texts and rows agree */
    int raw_tier;
    int tier;
    int32_t recency_days; /* -1 = no order that stands */
};

void score_rules_judge(const struct score_facts *facts, const struct score_model *model,
                       struct score_result *out);

/* Tier of a value alone. */
int score_rules_raw_tier(double value, const struct score_model *model);

/*
 * Hysteresis (SCO-05): a tier is left only when the value is past its border by the model's points;
 * so a value that wavers around a border does not flap. old_tier 0: the raw tier.
 */
int score_rules_tier(double value, int old_tier, const struct score_model *model);

const char *score_rules_part_name(enum score_part part);
char score_rules_tier_letter(int tier); /* 'A' to 'D', '-' for none */

#endif
