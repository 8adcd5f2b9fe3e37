/*
 * rows.h - rows of a query, or messages of an answer, as JSON objects for programs and as a table for
 * people: one list of columns says it all, so that none tells less than the other.
 */
#ifndef DAYBOOK_CLI_ROWS_H
#define DAYBOOK_CLI_ROWS_H

#include <jansson.h>

#include "cli/cli.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_BOOL,
    COLUMN_TIME, /* timestamptz; Timestamp */
};

struct column {
    const char *header; /* NULL: not in the table */
    const char *key;    /* of the JSON object */
    const char *column; /* of the result; the field of a message */
    enum column_kind kind;
};

/* columns: ended by a NULL key. False: a column is missing or bad, or memory ran out. */
NODISCARD bool rows_add(json_t *list, const PGresult *res, const struct column *columns);
/* The same of messages; a column that they do not have is left out. */
NODISCARD bool rows_add_messages(struct cli *c, json_t *list, size_t n, const void *messages,
                                 const struct column *columns);
/* False: the arena is full. */
NODISCARD bool rows_print(struct cli *c, const json_t *list, const struct column *columns);
/* One JSON document and a newline to stdout; takes root. The exit status. */
int rows_print_json(const struct cli *c, json_t *root);

#endif
