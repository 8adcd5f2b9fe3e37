/*
 * attempt.h - one notice on its way to an HTTP channel: read what is to be said and to where, post
 * it, write down what came of it.
 *
 * Reading and writing are transactions that prove the lane's lease; the post lies between them, and
 * dying there repeats it under the same id. How many are under way, and which, is delivery.c's.
 */
#ifndef DAYBOOK_REMINDERS_ATTEMPT_H
#define DAYBOOK_REMINDERS_ATTEMPT_H

#include "common/db.h"
#include "common/directory.h"
#include "common/http_out.h"
#include "common/lease.h"
#include "services/reminders/reminders.h"

enum outcome { OUTCOME_DELIVERED, OUTCOME_FAILED, OUTCOME_SKIPPED, OUTCOME_LATER, OUTCOME_RETRY };

struct verdict {
    enum outcome outcome;
    int64_t pause_us;   /* LATER, RETRY */
    const char *result; /* for the ledger; NULL = leave what is there */
    bool was_tried;
    bool is_gone; /* the receiver wants nothing any more (410) */
};

struct attempt {
    /* given */
    struct db *db;
    struct arena *arena;
    struct leases *leases;
    struct id tenant, id;
    int lane;
    /* as read */
    PbDelivery *notice;
    const char *state, *subject, *url, *secret, *old_secret;
    struct id unit, owner; /* of the duty; of the channel */
    int attempts;
    bool closed;
    int64_t due_us;
    struct verdict verdict;
};

/* Reads the notice. ERR_CANCELED: the lane is not ours. Anything else than ERR_OK: not now. */
NODISCARD enum err attempt_load(struct attempt *t);
/* What there is to do with it. True: post it; else the verdict stands. */
bool attempt_judge(struct attempt *t, const struct directory *dir, int64_t now_us);
/* Makes the request of it, signed. */
NODISCARD enum err attempt_request(struct attempt *t, struct http_request *out);
/* Judges how that ended; reason: words for the ledger when there was no answer. */
void attempt_conclude(struct attempt *t, enum err result, const struct http_answer *answer,
                      const char *reason);
/* Writes the verdict down. */
NODISCARD enum err attempt_write(struct attempt *t);

extern struct metric attempt_sends_total; /* by channel and outcome */

#endif
