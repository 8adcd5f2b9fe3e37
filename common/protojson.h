/*
 * protojson.h - messages <-> JSON by descriptor: the proto3 JSON mapping, complete with the
 * well-known types (protocols C.1). Limits as for the wire: size, depth 64, UTF-8, no NUL but with
 * its flag.
 */
#ifndef DAYBOOK_COMMON_PROTOJSON_H
#define DAYBOOK_COMMON_PROTOJSON_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/sbuf.h"
#include "common/wire.h"

enum protojson_flags {
    PROTOJSON_STRICT = 1,   /* unknown keys are errors; else ignored */
    PROTOJSON_PRETTY = 2,   /* two spaces, one key a line */
    PROTOJSON_DEFAULTS = 4, /* write fields that have their default value too */
    PROTOJSON_REQUEST = 8,  /* read under the limits of a request, not those of our own texts */
    /* \u0000 in strings is no fault, read or written; in the message it is as wire_nul.h says. */
    PROTOJSON_KEEP_NUL = 16,
};

/* Appends the message. ERR_INVALID_ARGUMENT: an Any of unknown type, a Value with NaN, a time out
 * of range; ERR_RESOURCE_EXHAUSTED: out is full. */
NODISCARD enum err protojson_write(const ProtobufCMessage *message, int flags, struct sbuf *out);

/* Reads one document. fault_out as for the wire; the path uses proto names. */
NODISCARD enum err protojson_read(const ProtobufCMessageDescriptor *type, const char *text,
                                  size_t len, int flags, struct arena *a,
                                  ProtobufCMessage **message_out, struct wire_fault *fault_out);

#endif
