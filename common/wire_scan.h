/*
 * wire_scan.h - the pieces of the binary format, and how the files of wire share the work; private
 * to wire. wire_unpack() checks, merges where that is needed, checks again, brings NULs in strings
 * to their form in memory, and then unpacks.
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

/* What protobuf-c cannot read as it stands. */
struct wire_seen {
    bool twice; /* a singular sub-message more than once */
    bool nul;   /* a string with a NUL */
};

/* As wire_check(), but singular sub-messages may occur twice: *seen_out. */
NODISCARD enum err wire_check_mergeable(const ProtobufCMessageDescriptor *type, const void *data,
                                        size_t len, const struct wire_limits *limits,
                                        struct wire_seen *seen_out, struct wire_fault *fault_out);

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

/* --- writing a message anew ----------------------------------------------------------------- */

/* One field as it stands in the bytes. */
struct wire_part {
    const ProtobufCFieldDescriptor *field; /* NULL: unknown, or none yet */
    unsigned wire_type;
    struct wire_cursor head, content; /* content: without its length, if it has one */
};

/* False at the end, and where it is not well-formed. */
static inline bool wire_next_part(const ProtobufCMessageDescriptor *type, struct wire_cursor *in,
                                  struct wire_part *part)
{
    uint32_t number;
    const uint8_t *start = in->p;
    if (start == in->end || !wire_read_tag(in, &number, &part->wire_type))
        return false;
    part->field = wire_find_field(type, part->field, number);
    part->head = (struct wire_cursor){ start, in->p };
    part->content.p = in->p;
    if (part->wire_type == WIRE_LENGTH)
        return wire_read_length(in, &part->content);
    if (!wire_skip_scalar(in, part->wire_type))
        return false;
    part->content.end = in->p;
    return true;
}

struct wire_writer {
    uint8_t *p, *end;
};

/* What is put may overlap what was written, as when a message becomes shorter in its place. */
static inline enum err wire_put(struct wire_writer *w, const uint8_t *p, const uint8_t *end)
{
    size_t n = (size_t)(end - p);
    if (n > (size_t)(w->end - w->p))
        return ERR_RESOURCE_EXHAUSTED;
    memmove(w->p, p, n);
    w->p += n;
    return ERR_OK;
}

/* A length that is known behind its content only: room for it, and later where it starts. */
static inline enum err wire_open_length(struct wire_writer *w, size_t room, uint8_t **at_out)
{
    if (room > (size_t)(w->end - w->p))
        return ERR_RESOURCE_EXHAUSTED;
    *at_out = w->p;
    w->p += room;
    return ERR_OK;
}

/* Writes the length; the content moves up to it. */
static inline enum err wire_close_length(struct wire_writer *w, size_t room, uint8_t *at)
{
    uint8_t length[10];
    const uint8_t *content = at + room;
    size_t n = (size_t)(w->p - content), took = wire_put_varint(length, n);
    if (took > room)
        return ERR_INTERNAL;
    memmove(at + took, content, n);
    memcpy(at, length, took);
    w->p = at + took + n;
    return ERR_OK;
}

#endif
