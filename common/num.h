/*
 * num.h - strict parsing of numbers, durations and sizes: the whole text, within a range, no
 * locale, no leading or trailing space. Out parameters are set on success only.
 */
#ifndef DAYBOOK_COMMON_NUM_H
#define DAYBOOK_COMMON_NUM_H

#include "common/base.h"

NODISCARD bool num_i64(const char *text, int64_t min, int64_t max, int64_t *out);
NODISCARD bool num_i64_n(const char *text, size_t len, int64_t min, int64_t max, int64_t *out);
NODISCARD bool num_u64(const char *text, uint64_t max, uint64_t *out);
NODISCARD bool num_double(const char *text, double *out); /* finite decimal numbers only */

/* "250ms", "5s", "10m", "24h", "2d"; "0" needs no unit. Never negative. */
NODISCARD bool num_duration_us(const char *text, int64_t *us_out);
/* "512", "64KiB", "1MiB", "2GiB". */
NODISCARD bool num_size(const char *text, uint64_t *bytes_out);

#endif
