/*
 * wire.h - outside bytes to messages and back.
 *
 * protobuf-c has no recursion limit, no UTF-8 check, no memory bound and cuts strings at NUL. So
 * wire_unpack() first walks the bytes by descriptor without allocating and refuses what is not
 * well-formed, then unpacks into the arena under a budget of 24 x size + 1 MiB (at most 96 MiB).
 *
 * Strings with a NUL are refused, unless the limits keep them: then a NUL is the bytes C0 80 in the
 * message (wire_nul.h), and wire_pack() makes it a NUL again.
 */
#ifndef DAYBOOK_COMMON_WIRE_H
#define DAYBOOK_COMMON_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"

struct wire_limits {
    size_t max_bytes; /* whole message */
    int max_depth;
    size_t max_repeated; /* elements of one repeated field */
    size_t max_string;   /* bytes of one string */
    size_t max_bytes_field;
    bool keep_nul; /* NUL in strings is no fault */
};

/* Requests: 4 MiB, 32, 10 000, 64 KiB, 256 KiB, no NUL. */
extern const struct wire_limits wire_limits_default;
/* Events, imports and answers of our own daemons: 4 MiB, 64, 100 000, 1 MiB, 4 MiB, no NUL. */
extern const struct wire_limits wire_limits_internal;

/* What is wrong, and where. */
struct wire_fault {
    char field[128];  /* path, "questions[3].text"; "" = the message itself */
    char reason[128]; /* in words for the caller */
};

/*
 * ERR_OK: well-formed within limits. ERR_INVALID_ARGUMENT: fault_out says what. Allocates nothing,
 * uses bounded stack. Unknown fields are allowed (and bounded); groups, singular sub-messages that
 * occur twice, bad UTF-8, NUL in strings (but for keep_nul) are not.
 */
NODISCARD enum err wire_check(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                              const struct wire_limits *limits, struct wire_fault *fault_out);

/* Check, then unpack; other than for wire_check(), sub-messages that occur twice are merged.
 * ERR_RESOURCE_EXHAUSTED: over the budget. message_out: in the arena. */
NODISCARD enum err wire_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                               const struct wire_limits *limits, struct arena *a,
                               ProtobufCMessage **message_out, struct wire_fault *fault_out);

/* A varint of the wire format; how many bytes it took. */
size_t wire_put_varint(uint8_t out[static 10], uint64_t v);

/* Packs into the arena; NULL data_out for a NULL message (length 0). ERR_INVALID_ARGUMENT: a NUL
 * may be in a string of a message that is nested more than 100 deep. */
NODISCARD enum err wire_pack(const ProtobufCMessage *message, struct arena *a, uint8_t **data_out,
                             size_t *len_out);

/* A new message with default values in the arena; NULL when full. */
NODISCARD void *wire_new(const ProtobufCMessageDescriptor *type, struct arena *a);

/* A deep copy in the arena. */
NODISCARD void *wire_clone(const ProtobufCMessage *message, struct arena *a);

/* Whether two messages of a type pack to the same bytes, maps sorted and unknown fields left out.
 * False also when scratch is full. */
bool wire_equal(const ProtobufCMessage *x, const ProtobufCMessage *y, struct arena *scratch);

/* BLAKE2b-256 of method name and request, packed anew with maps sorted and unknown fields left out,
 * so that the JSON and the binary form of one request agree. */
NODISCARD enum err wire_fingerprint(const char *service, const char *method,
                                    const ProtobufCMessage *request, struct arena *a,
                                    uint8_t out[static 32]);

/* "2026-…" helpers for the well-known types, in the arena. */
/* Timestamp message; NULL = 0. Nanoseconds are cut off; out of range: INT64_MIN or INT64_MAX. */
int64_t wire_time_us(const void *timestamp);
NODISCARD void *wire_time(struct arena *a, int64_t us); /* a new Timestamp message */
/* Any holding a message ("type.googleapis.com/<full name>"). */
NODISCARD void *wire_any(struct arena *a, const ProtobufCMessage *message);

#endif
