/*
 * import_rows.h - rows of a CSV file as messages: which columns there are, and what a cell means.
 * Pure.
 */
#ifndef DAYBOOK_COMMON_IMPORT_ROWS_H
#define DAYBOOK_COMMON_IMPORT_ROWS_H

#include "common/arena.h"
#include "common/csv.h"
#include "daybook/customers/v1/customers.pb-c.h"

#define IMPORT_COLUMNS_MAX 40

typedef Daybook__Customers__V1__ImportResult ImportResult;

struct import_column;

/* What the user wants of the service besides the rows. */
struct import_wish {
    bool dry_run;
    bool update_owner; /* customers only */
};

struct import_kind {
    const char *name; /* "customers" */
    const char *service;
    const char *method;
    const struct import_column *columns; /* ended by a NULL name */
    const ProtobufCMessageDescriptor *row_type;
    const ProtobufCMessageDescriptor *answer_type;
    size_t batch;  /* rows a request has at most */
    size_t window; /* requests on their way at once */
    /* The request of n rows; NULL: the arena is full. */
    ProtobufCMessage *(*request)(struct arena *a, ProtobufCMessage **rows, size_t n,
                                 struct import_wish wish);
    ImportResult *const *(*results)(const ProtobufCMessage *answer, size_t *n_out);
    /* Where a row has its external reference; NULL: the message around it is missing. */
    Daybook__Common__V1__ExternalRef **(*ref)(ProtobufCMessage *row);
    /* What a request may have of besides rows (contacts); NULL: nothing. One row, a request at most. */
    size_t (*weight)(const ProtobufCMessage *row);
    size_t weight_one, weight_max;
    /* private */
    bool (*begin)(void *parts[], struct arena *a, const char *source);
    const char *(*finish)(void *parts[], const bool *used);
};

const struct import_kind *import_kind(const char *name); /* NULL: there is none */

/* Who may import; ended by NULL (SEC-02). */
extern const char *const import_roles[];
/* Of external references: 1 to 32 of a-z, 0-9, _ and -. */
bool import_is_source(const char *text);

struct import_map {
    const struct import_kind *kind;
    size_t n;                                                    /* fields of the header */
    const struct import_column *columns[IMPORT_COLUMNS_MAX * 4]; /* by field; NULL: left out */
    char ignored[256];                                           /* names of those, for people */
    char why[200];                                               /* the fault */
};

/* False: a column is missing, stands twice, or there are too many; map->why. */
NODISCARD bool import_map_header(const struct import_kind *kind, const struct csv_row *header,
                                 struct import_map *map);

struct import_fault {
    char field[64]; /* column */
    char message[160];
};

/*
 * A good row as a message in the arena. NULL: fault_out says what is wrong with it, with an empty
 * message when the arena is full.
 */
NODISCARD ProtobufCMessage *import_row(const struct import_map *map, const struct csv_row *row,
                                       const char *source, struct arena *a,
                                       struct import_fault *fault_out);

/* "" when the row has no such cell. */
const char *import_cell(const struct import_map *map, const struct csv_row *row,
                        const char *column);

#define IMPORT_OUTCOMES 6                                  /* with unspecified */
extern const char *const import_outcomes[IMPORT_OUTCOMES]; /* "inserted" and so on, by number */

#endif
