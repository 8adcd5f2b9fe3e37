/*
 * retry.h - how often calls are repeated, and that it does not get out of hand.
 *
 * A service in trouble must not get all its calls twice. So repeats are paid for from a budget: a
 * call that succeeds at once puts a tenth of a repeat in, up to RETRY_BUDGET_MOST; one repeat a
 * second is free, for a process that asks little. It is the process's, as a metric is: whoever asks
 * draws on the same. Lock-free. Thread-safe.
 *
 * Two kinds of repeats are counted without being paid for, as nothing was done and another one will
 * do it: those of a request that a bus or replica that stops has refused (F09), and those of one
 * that no bus took.
 */
#ifndef DAYBOOK_COMMON_RETRY_H
#define DAYBOOK_COMMON_RETRY_H

#include <stdatomic.h>

#include "common/base.h"

#define RETRY_BUDGET_MOST 50 /* repeats; what a process begins with */

/* Reasons that are no code. */
#define RETRY_DRAINING "draining"   /* refused by who stops */
#define RETRY_NOT_TAKEN "not_taken" /* there was no bus */
#define RETRY_BUS_LOST "bus_lost"   /* it had taken it, and is gone or says nothing: paid for */

/* Zeroed: full. */
struct retry_budget {
    _Atomic int64_t spent;   /* tenths of a repeat, that are missing */
    _Atomic int64_t free_us; /* monotonic; when the last free one was, 0: none yet */
};

/* A call has succeeded at its first try. */
void retry_budget_earn(struct retry_budget *b);
/* Pays for one repeat. False: there is nothing left; what was answered goes to who asked, or is asked
 * again much later. now_us: monotonic. */
NODISCARD bool retry_budget_take(struct retry_budget *b, int64_t now_us);

/* The process's. */
struct retry_budget *retry_budget(void);

/* A call is repeated: daybook_rpc_client_retries_total. reason: one of the above or err_name(). */
void retry_count(const char *reason);

#endif
