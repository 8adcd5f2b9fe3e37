/*
 * http_budget.c - see http_budget.h.
 */
#include "services/gateway/http/http_budget.h"

#include <assert.h>
#include <stdatomic.h>

struct http_budget {
    size_t max;
    atomic_size_t held; /* never more than max, not even for a moment */
};

struct http_budget *http_budget_new(size_t max_bytes)
{
    struct http_budget *b = calloc(1, sizeof(*b));

    if (b)
        b->max = max_bytes;
    return b;
}

void http_budget_free(struct http_budget *b)
{
    free(b);
}

bool http_budget_take(struct http_budget *b, size_t bytes)
{
    if (!b)
        return true;
    size_t held = atomic_load_explicit(&b->held, memory_order_relaxed);
    do {
        if (bytes > b->max - held)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->held, &held, held + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void http_budget_give(struct http_budget *b, size_t bytes)
{
    if (!b || !bytes)
        return;
    size_t held = atomic_fetch_sub_explicit(&b->held, bytes, memory_order_relaxed);
    assert(held >= bytes);
    (void)held;
}

bool http_budget_fits(const struct http_budget *b, uint64_t bytes)
{
    return !b || bytes <= b->max - http_budget_held(b);
}

size_t http_budget_held(const struct http_budget *b)
{
    return b ? atomic_load_explicit(&b->held, memory_order_relaxed) : 0;
}
