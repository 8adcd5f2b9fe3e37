/*
 * record.h - rows <-> messages by descriptor, so that nobody copies field by field.
 *
 * A result column fills the field of the same name. A name with dots goes into sub-messages
 * ("amount.minor_units", as a quoted column alias), making them as needed; a sub-message all of
 * whose columns are NULL stays absent. A column without a field is an error in debug builds' tests,
 * not silently dropped: name only what the message has (columns beginning with "_" are the store's
 * own and skipped). Mapping is worked out once per result.
 *
 *   field                                   column
 *   string, and ids                         text, varchar, uuid, date (YYYY-MM-DD), numeric
 *   bytes                                   bytea
 *   bool, int32, int64, float, double       boolean, integers, numeric, float8
 *   google.protobuf.Timestamp               timestamptz
 *   google.protobuf.Duration                bigint microseconds
 *   enum                                    text: the value's name without the type's prefix, lower
 *                                           case ("QUESTION_STATE_OPEN" <-> 'open'); or integer
 *   repeated string / enum / number         array of the same
 *   message, repeated message, map          json or jsonb in the protobuf JSON mapping
 *
 * SQL NULL is an unset field; an unset field, the empty string of a uuid, timestamptz or date
 * parameter, and an unspecified enum are SQL NULL.
 */
#ifndef DAYBOOK_COMMON_RECORD_H
#define DAYBOOK_COMMON_RECORD_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/db.h"

/* Row `row` of res as a new message in the arena. ERR_INTERNAL: a column does not fit (logged);
 * ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err record_read(const PGresult *res, int row, const ProtobufCMessageDescriptor *type,
                               struct arena *a, void *message_out /* T ** */);

/* All rows, as the array of pointers that a repeated field wants. */
NODISCARD enum err record_read_all(const PGresult *res, const ProtobufCMessageDescriptor *type,
                                   struct arena *a, size_t *n_out, void *array_out /* T *** */);

/* A parameter that is not a field of the message, or overrides it. */
struct record_extra {
    const char *name;
    const char *value; /* NULL = SQL NULL */
};

/*
 * The parameters of a statement, by the names in its first line: an extra of that name, else the
 * message's field (dots as above). Array of stmt->nparams texts in the arena. ERR_INTERNAL: a name
 * is neither (logged).
 */
NODISCARD enum err record_bind(const struct db_stmt *stmt, const ProtobufCMessage *message,
                               const struct record_extra *extras, size_t nextras, struct arena *a,
                               const char *const **params_out);

/* Runs a statement that finds at most one row. ERR_NOT_FOUND: none. */
NODISCARD enum err record_find(struct db *db, const struct db_stmt *stmt, const char *const *params,
                               const ProtobufCMessageDescriptor *type, struct arena *a,
                               void *message_out /* T ** */);

/* "open" for QUESTION_STATE_OPEN; "" for the zero value; NULL for an unknown number. Arena text. */
NODISCARD const char *record_enum_text(const ProtobufCEnumDescriptor *type, int value,
                                       struct arena *a);

#endif
