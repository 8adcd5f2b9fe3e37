/*
 * scoring.h - private interface of the scoring daemon.
 */
#ifndef DAYBOOK_SERVICES_SCORING_SCORING_H
#define DAYBOOK_SERVICES_SCORING_SCORING_H

#include "common/call.h"
#include "common/consumer.h"
#include "daybook/scoring/v1/events.pb-c.h"
#include "daybook/scoring/v1/scoring.pb-c.h"

typedef Daybook__Scoring__V1__CustomerScore PbCustomerScore;

#define SCORE_SERVICE "daybook.scoring.v1.CustomerScoreService"

extern const struct method scoring_methods[];
extern const size_t scoring_methods_len;
extern const struct consumer_def scoring_consumer;

call_handler score_get, score_list, score_recompute;

/* Takes a company-wide setting of the model; others are none of scoring's business. */
NODISCARD enum err score_take_policy(struct reaction *r, const char *key, int64_t effective_from_us,
                                     const char *value);

/*
 * Counts the scores of these customers for the moment at_us (never before the moment that a score
 * already holds for), writes them and emits CustomerTierChanged where the tier differs. ids: a
 * uuid[] literal. One round trip to read; the writes are queued.
 */
NODISCARD enum err score_customers(struct reaction *r, const char *ids, int64_t at_us);

#endif
