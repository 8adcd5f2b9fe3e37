/*
 * hist.h - latencies in nanoseconds, in buckets of at most 1.6 % width (HDR style): constant
 * memory, exact count, minimum and maximum.
 */
#ifndef DAYBOOK_BENCH_HIST_H
#define DAYBOOK_BENCH_HIST_H

#include "common/base.h"

#define HIST_SUB_BITS 6
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
    uint64_t count;
    int64_t max_ns;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, int64_t ns); /* below 0 counts as 0 */
/* Upper end of the bucket that holds the q-th part of all, in microseconds; 0 when empty. */
double hist_us(const struct hist *h, double q);
/* Prints "p50_us":…,"p99_us":…,"p999_us":…,"max_us":… with the prefix before each name. */
void hist_print(const struct hist *h, const char *prefix);

#endif
