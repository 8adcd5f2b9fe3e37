/*
 * delivery.h - posts notices to the HTTP channels of people and companies (REM-11, F04, F44).
 *
 * Works from the ledger, lane by lane, each lane under a lease of its own, with many posts under
 * way at once, in turns between companies and channels: a receiver that is slow or does not answer
 * (endpoints.h), or a company's flood, holds up neither timers nor others. Signed by Standard
 * Webhooks, for a day after a change of secret by both; webhook-id is the delivery's id on every
 * attempt, so an attempt whose outcome was lost in a crash is repeated harmlessly. Tried by a
 * schedule of 75 hours; every attempt is written into the ledger. In quiet hours nothing is posted,
 * and what has become pointless by then never (REM-12).
 */
#ifndef DAYBOOK_REMINDERS_DELIVERY_H
#define DAYBOOK_REMINDERS_DELIVERY_H

#include "services/reminders/bell.h"
#include "services/reminders/engine.h"
#include "services/reminders/reminders.h"

struct delivery;

struct delivery_config {
    const char *conninfo;
    struct leases *leases;
    struct bell *bell; /* rung when notices wait to be posted; without a ring they wait a second */
    const char *allow; /* see http_out.h */
    bool allow_plain;
};

/* One a thread. index: 0 to DELIVERY_THREADS - 1. NULL: no memory, or allow is malformed. */
struct delivery *delivery_new(const struct delivery_config *config, int index);
void delivery_free(struct delivery *d);

/* Body of the thread; returns when the host is stopping. */
void delivery_run(struct delivery *d, const struct engine_host *host);

/* Tries what is due now, at most 100, to the end; for tests. done_out: how many rows were dealt
 * with. */
NODISCARD enum err delivery_turn(struct delivery *d, size_t *done_out);

/* Pause before the try after `attempts` failed ones, without jitter; 0 = no further try. Pure. */
int64_t delivery_pause_us(int attempts);

/* Microseconds of domain time until the quiet hours end; 0 when it is none. span: "21:00-08:00".
 * Pure. */
int64_t delivery_quiet_us(const char *span, const struct tz *tz, int64_t now_us);

/* Under what name a channel's secret is sealed. */
NODISCARD char *delivery_secret_name(struct arena *a, struct id owner);
/* For a change of the master key. */
extern const struct reseal_table channel_sealed;
NODISCARD char *delivery_seal_secret(struct arena *a, struct id tenant, struct id owner,
                                     const char *secret);

#endif
