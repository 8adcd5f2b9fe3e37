/*
 * import_batch.h - rows of a file that are asked as one command, and what came of each line of it.
 *
 * A batch has memory of its own, up to 32 MiB, in which all of it stands until it is opened again. Of
 * one thread.
 */
#ifndef DAYBOOK_COMMON_IMPORT_BATCH_H
#define DAYBOOK_COMMON_IMPORT_BATCH_H

#include <stdio.h>

#include "common/import_rows.h"

struct import_line {
    size_t line; /* of the file */
    const char *external_id;
    int outcome; /* of ImportOutcome; 0: not known yet, or in the end: not taken */
    const char *id, *field, *message;
};

struct import_batch {
    struct arena *arena; /* own; NULL: was never opened */
    const struct import_kind *kind;
    int64_t number;
    struct import_line *lines; /* of all rows, also those that are not asked */
    size_t nlines;
    ProtobufCMessage **rows;
    size_t *line_of; /* by row: its line */
    size_t nrows;
    /* private */
    size_t rows_max, bytes, weight;
};

/* Empties it, for up to rows_max rows (at least 1). False: no memory. */
NODISCARD bool import_batch_open(struct import_batch *b, const struct import_kind *kind,
                                 size_t rows_max, int64_t number);
void import_batch_fini(struct import_batch *b);

/* Whether one more line, of whatever size, fits. */
bool import_batch_has_room(const struct import_batch *b);
/* The next line; of a longer external_id than a good one has, the beginning. NULL: no memory. */
NODISCARD struct import_line *import_batch_line(struct import_batch *b, size_t line,
                                                const char *external_id);
/* The line is faulty. Copies. False: no memory. */
NODISCARD bool import_batch_refuse(struct import_batch *b, struct import_line *l, const char *field,
                                   const char *message);
/* The last line is to be asked, unless there is too much in it. row stays the caller's, in the batch's
 * arena. False: no memory. */
NODISCARD bool import_batch_row(struct import_batch *b, struct import_line *l,
                                ProtobufCMessage *row);

/* The outcomes of the rows that were asked. False: the answer does not fit them, or no memory. */
NODISCARD bool import_batch_take(struct import_batch *b, const ProtobufCMessage *answer);

#define IMPORT_RESULT_HEADER "line,external_id,outcome,id,field,message"
/* As CSV under that header; end: of the line. */
void import_line_write(FILE *out, const struct import_line *l, const char *end);

#endif
