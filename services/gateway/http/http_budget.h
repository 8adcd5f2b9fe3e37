/*
 * http_budget.h - how many bytes the bodies of requests may hold in all, over all loops of a process.
 *
 * A body takes what has come of it and not what its head announces, which costs nobody anything to
 * send; at the head it is only asked whether it would fit (DECISIONS.md).
 *
 * Thread-safe and without a lock; whoever made it frees it after the last loop. NULL stands for a
 * budget without an end, which counts nothing.
 */
#ifndef DAYBOOK_GATEWAY_HTTP_BUDGET_H
#define DAYBOOK_GATEWAY_HTTP_BUDGET_H

#include "common/base.h"

struct http_budget;

struct http_budget *http_budget_new(size_t max_bytes); /* NULL: no memory */
void http_budget_free(struct http_budget *b);          /* NULL is allowed */

/* False: they do not fit, and nothing was taken. */
NODISCARD bool http_budget_take(struct http_budget *b, size_t bytes);
void http_budget_give(struct http_budget *b, size_t bytes); /* back: no more than was taken */
/* Whether so many would fit at this moment; promises nothing. */
bool http_budget_fits(const struct http_budget *b, uint64_t bytes);
size_t http_budget_held(const struct http_budget *b); /* bytes */

#endif
