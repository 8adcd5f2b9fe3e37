/*
 * wire_nul.h - NUL inside strings, which protobuf has and C has not; private to wire and protojson.
 *
 * In a message a NUL inside a string is the two bytes C0 80, as in Java's class files ("modified
 * UTF-8"). UTF-8 has no such bytes, so nothing else can mean it: bytes from outside that hold them
 * are refused as not UTF-8. protobuf-c takes strings as they are, so that packed bytes are brought
 * from one form to the other: strings of the message and of the messages in it, but neither bytes,
 * among them the content of an Any, nor unknown fields.
 */
#ifndef DAYBOOK_COMMON_WIRE_NUL_H
#define DAYBOOK_COMMON_WIRE_NUL_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"
#include "common/err.h"

#define WIRE_NUL "\xc0\x80"
#define WIRE_NUL_LEN 2

/* The first such pair of bytes; NULL: none. */
const char *wire_nul_find(const void *data, size_t len);
/* Bytes of a string on the wire. */
size_t wire_nul_length(const char *text, size_t len);

/*
 * From memory to the wire, in place: it becomes shorter or stays as it is. data was packed by
 * protobuf-c. ERR_INVALID_ARGUMENT: nested too deeply, or its unknown fields are not well-formed;
 * data is of no use then.
 */
NODISCARD enum err wire_nul_to_wire(const ProtobufCMessageDescriptor *type, uint8_t *data,
                                    size_t *len);

/*
 * From the wire to memory, for protobuf-c to unpack. data has passed wire_check() and may become
 * twice as long. ERR_RESOURCE_EXHAUSTED: the allocator gave nothing.
 */
NODISCARD enum err wire_nul_to_memory(const ProtobufCMessageDescriptor *type, const void *data,
                                      size_t len, ProtobufCAllocator *allocator, uint8_t **data_out,
                                      size_t *len_out);

#endif
