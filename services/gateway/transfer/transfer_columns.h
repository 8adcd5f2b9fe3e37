/*
 * transfer_columns.h - the columns of exported customers: names as an import has them (where it has
 * them), so that a file that was exported can be imported. Pure.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_COLUMNS_H
#define DAYBOOK_GATEWAY_TRANSFER_COLUMNS_H

#include "common/record.h"
#include "common/sbuf.h"

#define TRANSFER_COLUMNS_MAX 40

/* Which columns a file has. */
struct transfer_columns {
    size_t n;
    const char *names[TRANSFER_COLUMNS_MAX];
    const char *fields[TRANSFER_COLUMNS_MAX + 1]; /* paths in the message; ended by NULL */
    bool is_bool[TRANSFER_COLUMNS_MAX];
    struct db_stmt cells; /* how record.h is asked for them */
};

/* names: none = all. False: *bad_out is no column, or stands there twice. */
NODISCARD bool transfer_columns_choose(const char *const *names, size_t n,
                                       struct transfer_columns *out, size_t *bad_out);
/* mark: stands in every row, so that a leaked file tells where it came from. */
void transfer_columns_write_header(const struct transfer_columns *c, FILE *out);
NODISCARD enum err transfer_columns_write_csv(const struct transfer_columns *c,
                                              const ProtobufCMessage *row, const char *mark,
                                              struct arena *a, FILE *out);
/* A line of JSON: the message less what was not chosen. `row` is changed. */
NODISCARD enum err transfer_columns_write_json(const struct transfer_columns *c,
                                               ProtobufCMessage *row, const char *mark, FILE *out);

#endif
