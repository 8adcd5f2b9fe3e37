/*
 * score.c - counts scores: figures from the rows, judgement from the rules, the explanation beside
 * every number.
 *
 * It runs inside a reaction only, one event after the other: hysteresis depends on the tier before,
 * so the order of the log is part of the result, and a rebuild ends in the same tiers.
 */
#include "common/money.h"
#include "services/scoring/score_rules.h"
#include "services/scoring/scoring.h"
#include "services/scoring/sql.h"

/* Policy keys in the order in which they go into the score's list of policies. */
static const char *const keys[] = {
    "score_weight_recency",   "score_weight_frequency",    "score_weight_money",
    "score_weight_potential", "score_frequency_reference", "score_money_reference_minor",
    "tier_threshold_a",       "tier_threshold_b",          "tier_threshold_c",
    "tier_hysteresis_points", "score_window_months",       "score_recency_days",
};

struct model_use {
    struct score_model model;
    Daybook__Common__V1__PolicyUse *uses[ARRAY_LEN(keys)];
};

enum err score_take_policy(struct reaction *r, const char *key, int64_t effective_from_us,
                           const char *value)
{
    const char *params[] = { db_text_id(r->arena, r->tenant), key,
                             db_text_time(r->arena, effective_from_us), value };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(keys[i], key) == 0)
            return db_queue(r->db, &sql_policy_put, params);
    return ERR_OK;
}

/* The company's settings at a moment as the log has told them so far, over the defaults. */
static enum err load_values(struct reaction *r, int64_t at_us, struct policy_value *values)
{
    const char *params[] = { db_text_id(r->arena, r->tenant), db_text_time(r->arena, at_us) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct policy_def *def = policy_find(keys[i]);
        values[i] =
            (struct policy_value){ .def = def, .text = def->default_value, .from_default = true };
    }
    enum err e = db_exec(r->db, &sql_policies, params, &res);
    for (int n = 0; !e && n < PQntuples(res); n++) {
        struct db_row row = { .res = res, .row = n };
        const char *key = db_row_text(&row, "key");
        for (size_t i = 0; key && i < ARRAY_LEN(keys); i++)
            if (strcmp(keys[i], key) == 0) {
                values[i].from_default = false;
                values[i].text = arena_strdup(r->arena, db_row_text(&row, "value"));
                if (!values[i].text)
                    return ERR_RESOURCE_EXHAUSTED;
            }
        if (row.bad)
            return ERR_INTERNAL;
    }
    return e;
}

/* The model in force at a moment, with where each number came from. */
static enum err load_model(struct reaction *r, int64_t at_us, struct model_use *out)
{
    struct policy_value values[ARRAY_LEN(keys)];
    double v[ARRAY_LEN(keys)];

    enum err e = load_values(r, at_us, values);
    if (e)
        return e;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct policy_value value = values[i];
        Daybook__Common__V1__PolicyUse *use =
            wire_new(&daybook__common__v1__policy_use__descriptor, r->arena);
        char provenance[64];

        if (!use)
            return ERR_RESOURCE_EXHAUSTED;
        use->key = (char *)(uintptr_t)keys[i];
        use->value = arena_strdup(r->arena, value.text);
        use->provenance =
            arena_strdup(r->arena, policy_provenance(value, provenance, sizeof(provenance)));
        if (!use->value || !use->provenance)
            return ERR_RESOURCE_EXHAUSTED;
        out->uses[i] = use;
        v[i] = policy_number(value);
    }
    out->model = (struct score_model){
        .weights = { v[0], v[1], v[2], v[3] },
        .frequency_reference = v[4],
        .money_reference_minor = v[5],
        .thresholds = { v[6], v[7], v[8] },
        .hysteresis = v[9],
        .window_months = v[10],
        .recency_days = v[11],
    };
    return ERR_OK;
}

static char *explain_part(struct reaction *r, enum score_part part, const struct score_facts *facts,
                          const struct score_model *model, const struct score_result *result,
                          const char *currency)
{
    switch (part) {
    case SCORE_RECENCY:
        if (result->recency_days < 0)
            return arena_strdup(r->arena, "no order that stands");
        return arena_printf(r->arena, "last order %d days ago, 0 points from %.15g on",
                            (int)result->recency_days, model->recency_days);
    case SCORE_FREQUENCY:
        return arena_printf(r->arena, "%d orders that stand in %.15g months, reference %.15g",
                            (int)facts->orders, model->window_months, model->frequency_reference);
    case SCORE_MONEY:
        return arena_printf(r->arena, "%s in %.15g months, reference %s",
                            money_text(r->arena, currency, facts->amount_minor),
                            model->window_months,
                            money_text(r->arena, currency, (int64_t)model->money_reference_minor));
    case SCORE_POTENTIAL:
        return arena_strdup(r->arena, "as rated by rep or supervisor");
    case SCORE_PARTS:
        break;
    }
    return NULL;
}

static enum err add_parts(struct reaction *r, PbCustomerScore *score,
                          const struct score_facts *facts, const struct score_model *model,
                          const struct score_result *result)
{
    score->parts = arena_array(r->arena, SCORE_PARTS, sizeof(*score->parts));
    if (!score->parts)
        return ERR_RESOURCE_EXHAUSTED;
    for (int i = 0; i < SCORE_PARTS; i++) {
        Daybook__Scoring__V1__ScorePart *part =
            wire_new(&daybook__scoring__v1__score_part__descriptor, r->arena);
        if (!part)
            return ERR_RESOURCE_EXHAUSTED;
        part->name = (char *)(uintptr_t)score_rules_part_name((enum score_part)i);
        part->rating = result->ratings[i];
        part->weight = result->weights[i];
        part->points = result->ratings[i] * result->weights[i];
        part->explanation = explain_part(r, (enum score_part)i, facts, model, result,
                                         score->amount_12m->currency_code);
        if (!part->explanation)
            return ERR_RESOURCE_EXHAUSTED;
        score->parts[score->n_parts++] = part;
    }
    return ERR_OK;
}

static enum err add_reasons(struct reaction *r, PbCustomerScore *score,
                            const struct score_facts *facts, const struct score_model *model,
                            const struct score_result *result)
{
    score->reasons = arena_array(r->arena, 2, sizeof(*score->reasons));
    if (!score->reasons)
        return ERR_RESOURCE_EXHAUSTED;
    score->reasons[score->n_reasons++] = arena_printf(
        r->arena, "value score %.2f lies in tier %c (A from %.15g, B from %.15g, C from %.15g)",
        result->value, score_rules_tier_letter(result->raw_tier), model->thresholds[0],
        model->thresholds[1], model->thresholds[2]);
    if (result->tier != result->raw_tier)
        score->reasons[score->n_reasons++] =
            arena_printf(r->arena, "stays in tier %c until the border is passed by %.15g points",
                         score_rules_tier_letter(result->tier), model->hysteresis);
    else if (facts->old_tier && facts->old_tier != result->tier)
        score->reasons[score->n_reasons++] =
            arena_printf(r->arena, "moved from tier %c, its border passed by %.15g points or more",
                         score_rules_tier_letter(facts->old_tier), model->hysteresis);
    for (size_t i = 0; i < score->n_reasons; i++)
        if (!score->reasons[i])
            return ERR_RESOURCE_EXHAUSTED;
    return ERR_OK;
}

static enum err add_amount(struct reaction *r, PbCustomerScore *score, int64_t minor)
{
    const struct dir_tenant *tenant = directory_tenant(r->dir, r->tenant);
    Daybook__Common__V1__Money *amount =
        wire_new(&daybook__common__v1__money__descriptor, r->arena);

    if (!amount)
        return ERR_RESOURCE_EXHAUSTED;
    /* Not known here yet: try again, the directory will be. */
    if (!tenant)
        return ERR_UNAVAILABLE;
    amount->currency_code = arena_strdup(r->arena, tenant->currency_code);
    amount->minor_units = minor;
    score->amount_12m = amount;
    return amount->currency_code ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* The whole message of a score from what was judged. */
static enum err describe(struct reaction *r, const char *customer_id,
                         const struct score_facts *facts, struct model_use *use,
                         const struct score_result *result, int64_t tier_since_us,
                         PbCustomerScore **score_out)
{
    PbCustomerScore *score = wire_new(&daybook__scoring__v1__customer_score__descriptor, r->arena);

    if (!score)
        return ERR_RESOURCE_EXHAUSTED;
    score->customer_id = arena_strdup(r->arena, customer_id);
    score->value_score = result->value;
    score->tier = (Daybook__Customers__V1__Tier)result->tier;
    score->raw_tier = (Daybook__Customers__V1__Tier)result->raw_tier;
    score->orders_12m = facts->orders;
    score->recency_days = result->recency_days;
    if (facts->last_order_us)
        score->last_order_at = wire_time(r->arena, facts->last_order_us);
    score->scored_at = wire_time(r->arena, facts->at_us);
    score->tier_since = wire_time(r->arena, tier_since_us);
    score->policies = arena_memdup(r->arena, use->uses, sizeof(use->uses));
    score->n_policies = ARRAY_LEN(keys);
    if (!score->customer_id || !score->scored_at || !score->tier_since || !score->policies)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = add_amount(r, score, facts->amount_minor);
    if (!e)
        e = add_parts(r, score, facts, &use->model, result);
    if (!e)
        e = add_reasons(r, score, facts, &use->model, result);
    if (e)
        return e;
    *score_out = score;
    return ERR_OK;
}

static enum err queue_row(struct reaction *r, const struct db_stmt *stmt,
                          const PbCustomerScore *score, const char *version, const char *old_tier)
{
    const struct record_extra extras[] = {
        { "tenant_id", db_text_id(r->arena, r->tenant) },
        { "tier_version", version },
        { "old_tier", old_tier },
    };
    const char *const *params;
    enum err e = record_bind(stmt, &score->base, extras, ARRAY_LEN(extras), r->arena, &params);

    return e ? e : db_queue(r->db, stmt, params);
}

/* Writes one score; a changed tier goes into the history and out as an event. */
static enum err write_score(struct reaction *r, const PbCustomerScore *score, int old_tier,
                            int64_t old_version)
{
    bool changed = old_tier != (int)score->tier;
    int64_t version = old_version + changed;
    char *version_text = db_text_i64(r->arena, version);
    const char letter[2] = { old_tier ? (char)(score_rules_tier_letter(old_tier) - 'A' + 'a') : 0,
                             0 };

    if (!version_text)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = queue_row(r, &sql_score_put, score, version_text, NULL);
    if (e || !changed)
        return e;
    e = queue_row(r, &sql_tier_change_add, score, version_text,
                  old_tier ? arena_strdup(r->arena, letter) : NULL);
    if (e)
        return e;
    Daybook__Scoring__V1__CustomerTierChanged event = {
        .base = PROTOBUF_C_MESSAGE_INIT(&daybook__scoring__v1__customer_tier_changed__descriptor),
        .customer_id = score->customer_id,
        .old_tier = (Daybook__Customers__V1__Tier)old_tier,
        .new_tier = score->tier,
        .score = (PbCustomerScore *)(uintptr_t)score,
    };
    return reaction_emit(r, "customer_scores", score->customer_id, version, &event.base);
}

static int tier_of_text(const char *text)
{
    return text && text[0] >= 'a' && text[0] <= 'd' ? text[0] - 'a' + 1 : 0;
}

static enum err score_row(struct reaction *r, struct db_row *row, struct model_use *use)
{
    struct score_facts facts = {
        .at_us = db_row_time(row, "scored_at"),
        .orders = db_row_i32(row, "orders"),
        .amount_minor = db_row_i64(row, "amount_minor"),
        .last_order_us =
            db_row_is_null(row, "last_order_at") ? 0 : db_row_time(row, "last_order_at"),
        .potential = db_row_i32(row, "potential_rating"),
        .old_tier = tier_of_text(db_row_text(row, "tier")),
    };
    int64_t old_since = facts.old_tier ? db_row_time(row, "tier_since") : 0;
    int64_t old_version = facts.old_tier ? db_row_i64(row, "tier_version") : 0;
    const char *customer_id = db_row_text(row, "id");
    struct score_result result;
    PbCustomerScore *score;

    if (row->bad || !customer_id)
        return ERR_INTERNAL;
    score_rules_judge(&facts, &use->model, &result);
    int64_t since = result.tier == facts.old_tier ? old_since : facts.at_us;
    enum err e = describe(r, customer_id, &facts, use, &result, since, &score);
    return e ? e : write_score(r, score, facts.old_tier, old_version);
}

enum err score_customers(struct reaction *r, const char *ids, int64_t at_us)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct model_use use;

    enum err e = load_model(r, at_us, &use);
    if (e)
        return e;
    const char *params[] = { db_text_id(r->arena, r->tenant), ids, db_text_time(r->arena, at_us),
                             db_text_i64(r->arena, (int64_t)use.model.window_months) };
    if (!params[0] || !params[2] || !params[3])
        return ERR_RESOURCE_EXHAUSTED;
    e = db_exec(r->db, &sql_figures, params, &res);
    for (int i = 0; !e && i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        e = score_row(r, &row, &use);
    }
    return e;
}
