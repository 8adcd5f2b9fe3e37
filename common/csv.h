/*
 * csv.h - reads CSV (RFC 4180) row by row, bounded, from anything that gives bytes.
 *
 * UTF-8 only, with or without a byte order mark; rows end with LF or CRLF; fields may be quoted and
 * then hold commas, line ends and doubled quotes. Empty lines are passed over. What RFC 4180 does
 * not allow (a quote inside an unquoted field, text after a closing quote, a bare CR), malformed
 * UTF-8 and NUL make a row bad: it is told with line and column, skipped to the end of its line,
 * and reading goes on. Only a row over the limits, a read error and UTF-16 end it. One thread at a
 * time.
 */
#ifndef DAYBOOK_COMMON_CSV_H
#define DAYBOOK_COMMON_CSV_H

#include "common/base.h"

struct csv_limits {
    size_t row_bytes; /* of one row, quotes and line end included */
    size_t fields;    /* of one row */
};
extern const struct csv_limits csv_limits_default; /* 256 KiB, 256 */

/* Reads up to `size` bytes; 0 at the end, -1 on error (errno). */
typedef ptrdiff_t csv_read_fn(void *arg, void *buf, size_t size);

enum csv_result {
    CSV_ROW, /* a good row */
    CSV_BAD, /* a bad one; reading may go on */
    CSV_END,
    CSV_FAILED, /* reading cannot go on */
};

struct csv_row {
    size_t line; /* on which it begins, from 1 */
    size_t n;
    const char *const *fields; /* NUL-terminated; valid until the next call */
};

/* Where and what; for CSV_BAD and CSV_FAILED. */
struct csv_fault {
    size_t row_line;     /* of the row's beginning, from 1 */
    size_t line, column; /* of the fault; column in characters, from 1 */
    char reason[120];
};

struct csv;

struct csv *csv_new(const struct csv_limits *limits, csv_read_fn *read,
                    void *arg); /* NULL: no memory */
void csv_free(struct csv *c);

enum csv_result csv_next(struct csv *c, struct csv_row *row_out, struct csv_fault *fault_out);

/* Bytes read so far, for a progress bar. */
uint64_t csv_bytes(const struct csv *c);

/*
 * Writes one cell and quotes it where that is needed. A text that a spreadsheet would take for a
 * formula (= + - @ TAB CR first) gets a ' in front (F62).
 */
void csv_write_cell(FILE *out, const char *text);

#endif
