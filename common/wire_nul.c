/*
 * wire_nul.c - packed messages with the NULs of their strings in the other form.
 *
 * A message is gone through field by field, and only strings that hold the form at hand are
 * changed, with the lengths around them. Each length gets as much room as the old one had, and a
 * byte more when strings grow: doubling a content adds at most one. So what becomes shorter never
 * overtakes its input in the same memory, and what becomes longer is at most twice its input, for a
 * field that has a length has a tag too, which pays for the byte.
 */
#include "common/wire_nul.h"

#include "common/wire_scan.h"

struct form {
    const char *bytes;
    size_t len;
};

static const struct form in_memory = { WIRE_NUL, WIRE_NUL_LEN }, on_wire = { "", 1 };

struct rewrite {
    struct form from, to;
    struct wire_writer out;
};

static enum err rewrite_message(struct rewrite *w, const ProtobufCMessageDescriptor *type,
                                struct wire_cursor in, int depth);

const char *wire_nul_find(const void *data, size_t len)
{
    const char *p = data, *end = p + len;
    /* memchr() is many times faster than memmem() for a short needle, and C0 is rare. */
    for (; p < end && (p = memchr(p, (unsigned char)WIRE_NUL[0], (size_t)(end - p))); p++)
        if (end - p >= WIRE_NUL_LEN && p[1] == WIRE_NUL[1])
            return p;
    return NULL;
}

size_t wire_nul_length(const char *text, size_t len)
{
    const char *end = text + len;
    size_t n = len;
    while ((text = wire_nul_find(text, (size_t)(end - text)))) {
        text += WIRE_NUL_LEN;
        n -= WIRE_NUL_LEN - 1;
    }
    return n;
}

static const uint8_t *find(const struct form *form, struct wire_cursor in)
{
    return in.p < in.end ? memmem(in.p, wire_left(&in), form->bytes, form->len) : NULL;
}

static enum err rewrite_string(struct rewrite *w, struct wire_cursor in)
{
    const uint8_t *to = (const uint8_t *)w->to.bytes, *at;
    enum err e = ERR_OK;
    while (!e && (at = find(&w->from, in))) {
        e = wire_put(&w->out, in.p, at);
        if (!e)
            e = wire_put(&w->out, to, to + w->to.len);
        in.p = at + w->from.len;
    }
    return e ? e : wire_put(&w->out, in.p, in.end);
}

static enum err rewrite_part(struct rewrite *w, const struct wire_part *part, int depth)
{
    bool grows = w->to.len > w->from.len;
    size_t room = (size_t)(part->content.p - part->head.end) + grows;
    uint8_t *at;
    enum err e = wire_put(&w->out, part->head.p, part->head.end);
    if (!e)
        e = wire_open_length(&w->out, room, &at);
    if (e)
        return e;
    if (part->field->type == PROTOBUF_C_TYPE_STRING)
        e = rewrite_string(w, part->content);
    else
        e = rewrite_message(w, part->field->descriptor, part->content, depth + 1);
    return e ? e : wire_close_length(&w->out, room, at);
}

static bool concerns(const struct rewrite *w, const struct wire_part *part)
{
    if (!part->field || part->wire_type != WIRE_LENGTH)
        return false;
    return part->field->type == PROTOBUF_C_TYPE_MESSAGE ||
           (part->field->type == PROTOBUF_C_TYPE_STRING && find(&w->from, part->content));
}

static enum err rewrite_message(struct rewrite *w, const ProtobufCMessageDescriptor *type,
                                struct wire_cursor in, int depth)
{
    struct wire_part part = { .field = NULL };
    enum err e = ERR_OK;
    if (depth > WIRE_DEPTH_HARD)
        return ERR_INVALID_ARGUMENT;
    while (!e && in.p < in.end) {
        if (!wire_next_part(type, &in, &part))
            return ERR_INVALID_ARGUMENT;
        if (concerns(w, &part))
            e = rewrite_part(w, &part, depth);
        else
            e = wire_put(&w->out, part.head.p, part.content.end);
    }
    return e;
}

enum err wire_nul_to_wire(const ProtobufCMessageDescriptor *type, uint8_t *data, size_t *len)
{
    struct rewrite w = { in_memory, on_wire, { data, data + *len } };
    if (!wire_nul_find(data,
                       *len)) /* bytes and numbers may hold them by chance: that does no harm */
        return ERR_OK;
    enum err e = rewrite_message(&w, type, (struct wire_cursor){ data, data + *len }, 1);
    if (!e)
        *len = (size_t)(w.out.p - data);
    return e;
}

enum err wire_nul_to_memory(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                            ProtobufCAllocator *allocator, uint8_t **data_out, size_t *len_out)
{
    size_t room;
    if (__builtin_mul_overflow(len, 2, &room))
        return ERR_RESOURCE_EXHAUSTED;
    uint8_t *out = allocator->alloc(allocator->allocator_data, room);
    if (!out)
        return ERR_RESOURCE_EXHAUSTED;
    struct rewrite w = { on_wire, in_memory, { out, out + room } };
    enum err e =
        rewrite_message(&w, type, (struct wire_cursor){ data, (const uint8_t *)data + len }, 1);
    if (e)
        return e;
    *data_out = out;
    *len_out = (size_t)(w.out.p - out);
    return ERR_OK;
}
