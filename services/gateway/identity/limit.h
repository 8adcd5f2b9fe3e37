/*
 * limit.h - how many requests a key may send, or failures an address may have: a steady rate with a burst (GCRA, the leaky bucket of
 * ITU-T I.371 as a meter), one moment a key.
 *
 * Thread-safe; the loops share one. It knows 8,192 keys at a time: one that was not heard of for its
 * burst counts as new, and when more are at work than fit, the one that has asked for least is
 * forgotten.
 */
#ifndef DAYBOOK_GATEWAY_LIMIT_H
#define DAYBOOK_GATEWAY_LIMIT_H

#include "common/base.h"
#include "common/id.h"

struct limit;

/* n in so many microseconds; 0: no limit. burst: requests at once after a rest, at least 1. NULL: no
 * memory. */
struct limit *limit_new(int64_t n, int64_t in_us, int64_t burst);
void limit_free(struct limit *l);
/* Counts a request. 0: it may pass; else microseconds until one may. */
int64_t limit_take(struct limit *l, struct id key, int64_t monotonic_us);

/* Values of RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10) for who is to wait:
 * all that may be sent at once, and in how many seconds it has come back; when there is one again. */
#define LIMIT_TEXT_MAX 96
void limit_tell(const struct limit *l, int64_t wait_us, char policy[static LIMIT_TEXT_MAX],
                char state[static LIMIT_TEXT_MAX]);

#endif
