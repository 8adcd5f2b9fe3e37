/*
 * transfer_work.h - what an import and an export under way have in common.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_WORK_H
#define DAYBOOK_GATEWAY_TRANSFER_WORK_H

#include <sodium.h>

#include "common/bus_client.h"
#include "services/gateway/transfer/transfer_store.h"

#define TRANSFER_ASK_US (30 * SECOND_US) /* one request */
#define TRANSFER_HEX 65                  /* of a hash, with its NUL */

/* A thread that does the work, and its belongings. */
struct transfer_worker {
    struct transfer_store store;
    struct bus_client *bus;
    int64_t patience_us; /* with one request that is refused again and again */
    int64_t kept_us;     /* when the claim was moved on last */
    int64_t turn_us;     /* a job's, when other companies wait */
    int64_t
        turn_until_us; /* from its first step on: before, a long file is read again; 0: none yet */
    bool turn_over;    /* others wait: it is given back */
    bool (*stopping)(void *arg);
    void (*emitted)(void *arg); /* events were committed */
    void (*rest)(void *arg, int64_t us);
    void *arg;
};

/* Begins or goes on with a claimed job until it has ended. ERR_CANCELED: it is another's now, or the
 * worker stops; any other code: the database is in trouble, and the job is claimed again later. */
NODISCARD enum err transfer_import_run(struct transfer_worker *w, const struct transfer_job *job);
NODISCARD enum err transfer_export_run(struct transfer_worker *w, const struct transfer_job *job);

/* Ends a job as failed that was taken up too often and did not come on. */
NODISCARD enum err transfer_give_up(struct transfer_worker *w, const struct transfer_job *job);

/* Moves the claim on when it is time to. ERR_CANCELED: stop. cancel: set when somebody wants it to end. */
NODISCARD enum err transfer_stay(struct transfer_worker *w, const struct transfer_job *job,
                                 bool *cancel);
/* After each step: one that does not come on is not passed round, patience ends it. ERR_CANCELED: stop, it
 * is another company's turn. */
NODISCARD enum err transfer_pass_on(struct transfer_worker *w, const struct transfer_job *job);

/* How long one request has been refused, but for the times when no bus took it. */
struct transfer_refusals {
    int64_t last_us; /* 0: none since no bus took it */
    int64_t total_us;
};
/* It was refused, or not answered. False: asking again cannot help, or patience is at its end. */
bool transfer_may_ask_again(const struct transfer_worker *w, struct transfer_refusals *r,
                            enum err e);
/* Why it is asked again (retry.h). result: NULL, nobody has answered. */
const char *transfer_why_again(enum err e, const PbCallResult *result, struct arena *a);
/* It is asked once more: counts that, and says after how long, when it was asked `tries` times. */
int64_t transfer_again_us(int tries, const char *why);
/* The file so far into the hash, and its end as hex. */
NODISCARD enum err transfer_rehash(struct transfer_worker *w, const struct transfer_job *job,
                                   const char *kind, int64_t len, crypto_hash_sha256_state *hash);
void transfer_hash_text(const crypto_hash_sha256_state *hash, char out[static TRANSFER_HEX]);
/* Ends a job, with its event. state: of TransferState; message: of an error. */
NODISCARD enum err transfer_end(struct transfer_worker *w, const struct transfer_job *job,
                                int state, const crypto_hash_sha256_state *hash, enum err code,
                                const char *message);

#endif
