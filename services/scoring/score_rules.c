/*
 * score_rules.c - see score_rules.h.
 *
 *   F = min(orders of the window / reference, 1) x 100
 *   M = min(amount of the window / reference, 1) x 100
 *   P = potential as judged by rep or supervisor
 *   R = 100 on the day of an order, falling by a straight line to 0 (by default after 365 days)
 *   value = sum of weight x rating; by default 0.30 F + 0.40 M + 0.30 P, R only shown
 */
#include "services/scoring/score_rules.h"

#include <math.h>

static const char *const part_names[SCORE_PARTS] = { "recency", "frequency", "money", "potential" };

static double share_of(double value, double reference)
{
    if (value <= 0 || reference <= 0)
        return 0;
    return MIN(value / reference, 1.0) * 100;
}

static int32_t recency_days(const struct score_facts *facts)
{
    if (!facts->last_order_us)
        return -1;
    return facts->at_us <= facts->last_order_us
               ? 0
               : (int32_t)((facts->at_us - facts->last_order_us) / DAY_US);
}

static void normalise(const double *in, double *out)
{
    double sum = 0;

    for (int i = 0; i < SCORE_PARTS; i++)
        sum += MAX(in[i], 0.0);
    for (int i = 0; i < SCORE_PARTS; i++)
        out[i] = sum > 0 ? MAX(in[i], 0.0) / sum : 0;
}

void score_rules_judge(const struct score_facts *facts, const struct score_model *model,
                       struct score_result *out)
{
    struct score_result r = { .recency_days = recency_days(facts) };

    if (r.recency_days >= 0 && model->recency_days > 0)
        r.ratings[SCORE_RECENCY] = MAX(0.0, 1.0 - r.recency_days / model->recency_days) * 100;
    r.ratings[SCORE_FREQUENCY] = share_of(facts->orders, model->frequency_reference);
    r.ratings[SCORE_MONEY] = share_of((double)facts->amount_minor, model->money_reference_minor);
    r.ratings[SCORE_POTENTIAL] = MIN(MAX(facts->potential, 0), 100);
    normalise(model->weights, r.weights);
    for (int i = 0; i < SCORE_PARTS; i++)
        r.value += r.ratings[i] * r.weights[i];
    r.value = round(r.value * 100) / 100;
    r.raw_tier = score_rules_raw_tier(r.value, model);
    r.tier = score_rules_tier(r.value, facts->old_tier, model);
    *out = r;
}

int score_rules_raw_tier(double value, const struct score_model *model)
{
    for (int tier = 1; tier <= 3; tier++)
        if (value >= model->thresholds[tier - 1])
            return tier;
    return 4;
}

int score_rules_tier(double value, int old_tier, const struct score_model *model)
{
    int raw = score_rules_raw_tier(value, model);

    if (old_tier < 1 || old_tier > 4 || raw == old_tier)
        return raw;
    if (raw > old_tier) /* worse: past the lower border of the old tier by the margin? */
        return value < model->thresholds[old_tier - 1] - model->hysteresis ? raw : old_tier;
    for (int tier = raw; tier < old_tier; tier++) /* better: the best whose border is well passed */
        if (value >= model->thresholds[tier - 1] + model->hysteresis)
            return tier;
    return old_tier;
}

const char *score_rules_part_name(enum score_part part)
{
    return part_names[part];
}

char score_rules_tier_letter(int tier)
{
    return tier >= 1 && tier <= 4 ? (char)('A' + tier - 1) : '-';
}
