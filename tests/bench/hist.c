/*
 * hist.c - see hist.h. A value below 64 has a bucket of its own; above, the six bits under the top
 * one choose among 64 buckets of each power of two.
 */
#include "tests/bench/hist.h"

static size_t bucket_of(uint64_t v)
{
    if (v < (UINT64_C(1) << HIST_SUB_BITS))
        return (size_t)v;
    unsigned shift = 63u - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
    return ((size_t)(shift + 1) << HIST_SUB_BITS) +
           (size_t)((v >> shift) & ((UINT64_C(1) << HIST_SUB_BITS) - 1));
}

static uint64_t upper_end(size_t bucket)
{
    size_t power = bucket >> HIST_SUB_BITS;
    uint64_t sub = bucket & ((UINT64_C(1) << HIST_SUB_BITS) - 1);
    if (power == 0)
        return sub;
    return ((sub + 1 + (UINT64_C(1) << HIST_SUB_BITS)) << (power - 1)) - 1;
}

void hist_add(struct hist *h, int64_t ns)
{
    int64_t v = MAX(ns, 0);
    h->count++;
    h->max_ns = MAX(h->max_ns, v);
    h->bucket[bucket_of((uint64_t)v)]++;
}

double hist_us(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count), seen = 0;
    if (want >= h->count)
        return (double)h->max_ns / 1e3;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > want)
            return (double)MIN(upper_end(i), (uint64_t)h->max_ns) / 1e3;
    }
    return 0;
}

void hist_print(const struct hist *h, const char *prefix)
{
    printf("\"%sp50_us\":%.1f,\"%sp99_us\":%.1f,\"%sp999_us\":%.1f,\"%smax_us\":%.1f", prefix,
           hist_us(h, 0.5), prefix, hist_us(h, 0.99), prefix, hist_us(h, 0.999), prefix,
           (double)h->max_ns / 1e3);
}
