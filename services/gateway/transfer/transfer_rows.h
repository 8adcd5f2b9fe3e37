/*
 * transfer_rows.h - the rows of a file that is imported, one by one, from CSV or JSON Lines, from
 * anything that gives bytes. Pure; memory does not grow with the file. One thread at a time.
 *
 * CSV is csv.h's, columns are import_rows.h's. A line of JSON Lines is a row's message in the protobuf
 * JSON mapping; a mark of UTF-8 in front, CRLF and empty lines are passed over. A faulty row is told
 * and reading goes on; what ends it is a file that is no such file at all.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_ROWS_H
#define DAYBOOK_GATEWAY_TRANSFER_ROWS_H

#include "common/csv.h"
#include "common/import_rows.h"

#define TRANSFER_LINE_MAX (256 * KIB)

struct transfer_rows;

enum transfer_rows_result {
    TRANSFER_ROW,
    TRANSFER_BAD_ROW,
    TRANSFER_END,
    TRANSFER_FAILED, /* reading cannot go on, `reason` says why */
    TRANSFER_FULL,   /* the arena is */
};

struct transfer_row {
    size_t line;               /* of the file, where it begins, from 1 */
    const char *external_id;   /* in the arena; "" = not known */
    ProtobufCMessage *message; /* in the arena; of a good row */
    char field[128];           /* at fault */
    char reason[200];
};

/* source: of external references that name none; borrowed. read: as for csv.h. NULL: no memory. */
struct transfer_rows *transfer_rows_new(const struct import_kind *kind, bool jsonl,
                                        const char *source, csv_read_fn *read, void *arg);
void transfer_rows_free(struct transfer_rows *r);
enum transfer_rows_result transfer_rows_next(struct transfer_rows *r, struct arena *a,
                                             struct transfer_row *row_out);

#endif
