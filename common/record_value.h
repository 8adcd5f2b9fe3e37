/*
 * record_value.h - one field <-> one text of PostgreSQL, by the field's descriptor. Private to
 * record.c, which finds fields and columns.
 */
#ifndef DAYBOOK_COMMON_RECORD_VALUE_H
#define DAYBOOK_COMMON_RECORD_VALUE_H

#include <libpq-fe.h>
#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/err.h"

/* What a parameter is cast to in the SQL, as far as it matters to us. */
enum record_cast {
    RECORD_CAST_TEXT,   /* none, or a type of which the empty string is a value */
    RECORD_CAST_NUMBER, /* integers: enums go as numbers */
    RECORD_CAST_JSON,
    RECORD_CAST_OTHER, /* uuid, timestamptz, date...: the empty string is NULL */
};

/* Sets `field` of `message` from a column's text. column_type: its OID.
 * ERR_INTERNAL: does not fit. ERR_RESOURCE_EXHAUSTED: the arena is full. */
NODISCARD enum err record_value_read(const ProtobufCFieldDescriptor *field, Oid column_type,
                                     const char *text, struct arena *a, ProtobufCMessage *message);

/* The field's value as a parameter; *text_out NULL = SQL NULL. Codes as above. */
NODISCARD enum err record_value_write(const ProtobufCFieldDescriptor *field,
                                      const ProtobufCMessage *message, enum record_cast cast,
                                      struct arena *a, const char **text_out);

/* The sub-message behind a singular message field; NULL when absent. */
ProtobufCMessage *record_value_sub(const ProtobufCFieldDescriptor *field,
                                   const ProtobufCMessage *message);
/* Puts a new one there. NULL: the arena is full. */
NODISCARD ProtobufCMessage *record_value_make_sub(const ProtobufCFieldDescriptor *field,
                                                  ProtobufCMessage *message, struct arena *a);

#endif
