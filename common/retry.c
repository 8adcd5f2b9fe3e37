/*
 * retry.c - see retry.h.
 */
#include "common/retry.h"

#include "common/clock.h"
#include "common/metrics.h"

#define TENTHS 10
#define FREE_EVERY_US SECOND_US

static struct metric retries_total = {
    .name = "daybook_rpc_client_retries_total",
    .type = METRIC_COUNTER,
    .help =
        "Calls that were asked once more, by the code of the answer before; draining: refused by "
        "who stops, not_taken: by no bus.",
    .labels = { "reason" },
};

struct retry_budget *retry_budget(void)
{
    static struct retry_budget ours;
    return &ours;
}

void retry_budget_earn(struct retry_budget *b)
{
    int64_t spent = atomic_load_explicit(&b->spent, memory_order_relaxed);

    while (spent > 0 && !atomic_compare_exchange_weak(&b->spent, &spent, spent - 1))
        ;
}

bool retry_budget_take(struct retry_budget *b, int64_t now_us)
{
    int64_t spent = atomic_load(&b->spent);

    while (spent <= (RETRY_BUDGET_MOST - 1) * TENTHS)
        if (atomic_compare_exchange_weak(&b->spent, &spent, spent + TENTHS))
            return true;
    int64_t free_us = atomic_load(&b->free_us);
    return (free_us == 0 || now_us - free_us >= FREE_EVERY_US) &&
           atomic_compare_exchange_strong(&b->free_us, &free_us, now_us);
}

void retry_count(const char *reason)
{
    metric_add(&retries_total, 1, (const char *const[]){ reason });
}
