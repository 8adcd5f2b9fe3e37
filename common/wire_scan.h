/*
 * wire_scan.h - the pieces of the binary format, and how the files of wire share the work; private
 * to wire. wire_unpack() checks, merges where that is needed, checks again, and then unpacks.
 */
#ifndef DAYBOOK_COMMON_WIRE_SCAN_H
#define DAYBOOK_COMMON_WIRE_SCAN_H

#include "common/base.h"
#include "common/wire.h"

#define WIRE_DEPTH_HARD 100 /* whatever the limits say */
/* Of all messages around a field together; 64 nested messages of 128 fields. */
#define WIRE_FIELDS_MAX 8192

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

struct wire_cursor {
    const uint8_t *p, *end;
};

/* As wire_check(), but singular sub-messages may occur twice: *twice_out. */
NODISCARD enum err wire_check_mergeable(const ProtobufCMessageDescriptor *type, const void *data,
                                        size_t len, const struct wire_limits *limits,
                                        bool *twice_out, struct wire_fault *fault_out);

/*
 * The same message with every singular sub-message once; never longer. data has passed
 * wire_check_mergeable(). ERR_RESOURCE_EXHAUSTED: the allocator gave nothing.
 */
NODISCARD enum err wire_merge(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                              ProtobufCAllocator *allocator, uint8_t **data_out, size_t *len_out);

static inline size_t wire_left(const struct wire_cursor *c)
{
    return (size_t)(c->end - c->p);
}

static inline bool wire_read_varint(struct wire_cursor *c, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && c->p < c->end; shift += 7) {
        uint8_t b = *c->p++;
        v |= shift < 64 ? (uint64_t)(b & 0x7f) << shift : 0;
        if (b < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* A tag takes five bytes at most: protobuf-c reads no further. */
static inline bool wire_read_tag(struct wire_cursor *c, uint32_t *number_out, unsigned *type_out)
{
    struct wire_cursor tag = { c->p, c->p + MIN(wire_left(c), 5) };
    uint64_t v;
    if (!wire_read_varint(&tag, &v) || v > UINT32_MAX)
        return false;
    c->p = tag.p;
    *number_out = (uint32_t)(v >> 3);
    *type_out = (unsigned)(v & 7);
    return true;
}

static inline bool wire_skip(struct wire_cursor *c, size_t n)
{
    if (wire_left(c) < n)
        return false;
    c->p += n;
    return true;
}

/* protobuf-c reads a length from five bytes at most, too. */
static inline bool wire_read_length(struct wire_cursor *c, struct wire_cursor *content_out)
{
    struct wire_cursor length = { c->p, c->p + MIN(wire_left(c), 5) };
    uint64_t n;
    if (!wire_read_varint(&length, &n) || n > (size_t)(c->end - length.p))
        return false;
    *content_out = (struct wire_cursor){ length.p, length.p + n };
    c->p = length.p + n;
    return true;
}

static inline unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    default:
        return WIRE_VARINT;
    }
}

/* A value that has no length of its own in front. */
static inline bool wire_skip_scalar(struct wire_cursor *c, unsigned wire_type)
{
    uint64_t ignored;
    switch (wire_type) {
    case WIRE_VARINT:
        return wire_read_varint(c, &ignored);
    case WIRE_64:
        return wire_skip(c, 8);
    case WIRE_32:
        return wire_skip(c, 4);
    default:
        return false;
    }
}

/* Fields come in the order of their numbers as a rule, so the last one or the next is tried first.
 */
static inline const ProtobufCFieldDescriptor *
wire_find_field(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *last,
                uint32_t number)
{
    if (type->n_fields == 0)
        return NULL;
    if (last && last->id == number)
        return last;
    const ProtobufCFieldDescriptor *next = last ? last + 1 : type->fields;
    if (next < type->fields + type->n_fields && next->id == number)
        return next;
    return protobuf_c_message_descriptor_get_field(type, number);
}

#endif
