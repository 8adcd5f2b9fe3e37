/*
 * protojson_text.h - the texts inside JSON values: numbers, base64, times, durations, field masks.
 *
 * Pure functions over (text, length); private to protojson. Parsers take the whole text or none of
 * it and set their results on success only.
 */
#ifndef DAYBOOK_COMMON_PROTOJSON_TEXT_H
#define DAYBOOK_COMMON_PROTOJSON_TEXT_H

#include "common/base.h"
#include "common/sbuf.h"

#define PJ_SECONDS_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define PJ_SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define PJ_DURATION_MAX INT64_C(315576000000)

/* Bytes of the JSON number at p, 0 when there is none. */
size_t pj_number_length(const char *p, const char *end);

enum pj_integer { PJ_INTEGER_OK, PJ_INTEGER_SYNTAX, PJ_INTEGER_FRACTION, PJ_INTEGER_RANGE };

/* A number by JSON's grammar whose value is whole: "1", "-20", "1e3", "1.50e1". Exact. */
enum pj_integer pj_integer_parse(const char *s, size_t n, bool *negative_out,
                                 uint64_t *magnitude_out);

/* Shortest text that reads back as the same number; v is finite. */
void pj_double_write(struct sbuf *out, double v);
void pj_float_write(struct sbuf *out, float v);

/* Either alphabet, padded or not. out has room for n / 4 * 3 + 3 bytes. */
NODISCARD bool pj_base64_parse(const char *s, size_t n, uint8_t *out, size_t *len_out);
void pj_base64_write(struct sbuf *out, const uint8_t *data, size_t n); /* standard, padded */

NODISCARD bool pj_timestamp_parse(const char *s, size_t n, int64_t *seconds_out,
                                  int32_t *nanos_out);
/* False: out of range. */
NODISCARD bool pj_timestamp_write(struct sbuf *out, int64_t seconds, int32_t nanos);

NODISCARD bool pj_duration_parse(const char *s, size_t n, int64_t *seconds_out, int32_t *nanos_out);
NODISCARD bool pj_duration_write(struct sbuf *out, int64_t seconds, int32_t nanos);

/* One path: lowerCamelCase to snake_case; out has room for 2 * n + 1 bytes. */
NODISCARD bool pj_path_parse(const char *s, size_t n, char *out);
/* snake_case to lowerCamelCase; false when the way back would give another path. */
NODISCARD bool pj_path_write(struct sbuf *out, const char *path);

#endif
