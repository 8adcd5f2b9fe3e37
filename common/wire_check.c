/*
 * wire_check.c - the walk over the bytes of a message before protobuf-c sees them.
 *
 * One frame of the walk is one message; frames are linked so that a fault can name its path, and
 * nothing is written down on the way for that. How often each field occurred is counted in a pool
 * on the stack, from which each frame takes one counter a field and gives them back: that finds
 * singular sub-messages that come twice, which protobuf-c would merge wrongly, and bounds repeated
 * fields. What passes here, protobuf-c can read; what it would read differently from others
 * (strings cut at NUL) does not pass.
 */
#include "common/wire.h"

#include "common/utf8.h"

#define DEPTH_HARD 100    /* whatever the limits say */
#define COUNTERS_MAX 8192 /* 32 KiB of stack; 64 nested messages of 128 fields */
#define FIELD_NUMBER_MAX ((UINT32_C(1) << 29) - 1)

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

struct frame {
    const struct frame *up;
    const ProtobufCMessageDescriptor *type;
    const ProtobufCFieldDescriptor *field; /* being looked at; NULL: none, or unknown */
    uint32_t index;                        /* its element, when it is repeated */
    int depth;                             /* 1 for the whole message */
};

struct check {
    const struct wire_limits *limits;
    struct wire_fault *fault;
    uint32_t *counters;
    size_t ncounters; /* taken */
};

struct cursor {
    const uint8_t *p, *end;
};

static size_t left(const struct cursor *c)
{
    return (size_t)(c->end - c->p);
}

/* --- faults --------------------------------------------------------------------------------- */

static size_t path_write(const struct frame *f, char *buf, size_t size)
{
    size_t n = f->up ? path_write(f->up, buf, size) : 0;
    if (!f->field || n >= size)
        return n;
    int wrote = snprintf(buf + n, size - n, "%s%s", n ? "." : "", f->field->name);
    n += wrote > 0 ? (size_t)wrote : 0;
    if (f->field->label == PROTOBUF_C_LABEL_REPEATED && n < size) {
        wrote = snprintf(buf + n, size - n, "[%u]", (unsigned)f->index);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    return n;
}

static PRINTF(3, 4) enum err fault(struct check *c, const struct frame *f, const char *fmt, ...)
{
    va_list ap;
    c->fault->field[0] = 0;
    path_write(f, c->fault->field, sizeof(c->fault->field));
    va_start(ap, fmt);
    vsnprintf(c->fault->reason, sizeof(c->fault->reason), fmt, ap);
    va_end(ap);
    return ERR_INVALID_ARGUMENT;
}

/* --- the pieces of the format --------------------------------------------------------------- */

static bool read_varint(struct cursor *c, uint64_t *out)
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
static bool read_tag(struct cursor *c, uint32_t *number_out, unsigned *type_out)
{
    struct cursor tag = { c->p, c->p + MIN(left(c), 5) };
    uint64_t v;
    if (!read_varint(&tag, &v) || v > UINT32_MAX)
        return false;
    c->p = tag.p;
    *number_out = (uint32_t)(v >> 3);
    *type_out = (unsigned)(v & 7);
    return true;
}

static bool skip(struct cursor *c, size_t n)
{
    if (left(c) < n)
        return false;
    c->p += n;
    return true;
}

/* protobuf-c reads a length from five bytes at most, too. */
static bool read_length(struct cursor *c, struct cursor *content_out)
{
    struct cursor length = { c->p, c->p + MIN(left(c), 5) };
    uint64_t n;
    if (!read_varint(&length, &n) || n > (size_t)(c->end - length.p))
        return false;
    *content_out = (struct cursor){ length.p, length.p + n };
    c->p = length.p + n;
    return true;
}

static unsigned wire_type_of(ProtobufCType type)
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
static bool skip_scalar(struct cursor *c, unsigned wire_type)
{
    uint64_t ignored;
    switch (wire_type) {
    case WIRE_VARINT:
        return read_varint(c, &ignored);
    case WIRE_64:
        return skip(c, 8);
    case WIRE_32:
        return skip(c, 4);
    default:
        return false;
    }
}

/* --- the walk ------------------------------------------------------------------------------- */

static enum err check_message(struct check *c, struct frame *f, struct cursor in);

static enum err check_string(struct check *c, const struct frame *f, struct cursor s)
{
    if (left(&s) > c->limits->max_string)
        return fault(c, f, "longer than %zu bytes", c->limits->max_string);
    if (left(&s) > 0 && memchr(s.p, 0, left(&s)))
        return fault(c, f, "holds a NUL character");
    if (!utf8_is_valid(s.p, left(&s)))
        return fault(c, f, "is not valid UTF-8");
    return ERR_OK;
}

static enum err check_sub_message(struct check *c, struct frame *f, struct cursor content)
{
    struct frame sub = { .up = f, .type = f->field->descriptor, .depth = f->depth + 1 };
    if (sub.depth > c->limits->max_depth || sub.depth > DEPTH_HARD)
        return fault(c, f, "nested more than %d deep", MIN(c->limits->max_depth, DEPTH_HARD));
    return check_message(c, &sub, content);
}

static enum err check_packed(struct check *c, struct frame *f, uint32_t *counter,
                             struct cursor content)
{
    unsigned wire_type = wire_type_of(f->field->type);
    while (content.p < content.end) {
        if (*counter >= c->limits->max_repeated)
            return fault(c, f, "more than %zu elements", c->limits->max_repeated);
        f->index = (*counter)++;
        if (!skip_scalar(&content, wire_type))
            return fault(c, f, "a packed element is cut short");
    }
    return ERR_OK;
}

static enum err check_length_field(struct check *c, struct frame *f, struct cursor content)
{
    switch (f->field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return check_string(c, f, content);
    case PROTOBUF_C_TYPE_BYTES:
        if (left(&content) > c->limits->max_bytes_field)
            return fault(c, f, "longer than %zu bytes", c->limits->max_bytes_field);
        return ERR_OK;
    default:
        return check_sub_message(c, f, content);
    }
}

/* One occurrence of a field that the type has. */
static enum err check_field(struct check *c, struct frame *f, uint32_t *counter, unsigned wire_type,
                            struct cursor *in)
{
    const ProtobufCFieldDescriptor *field = f->field;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    unsigned wanted = wire_type_of(field->type);

    f->index = *counter;
    if (repeated && wanted != WIRE_LENGTH && wire_type == WIRE_LENGTH) {
        struct cursor content;
        if (!read_length(in, &content))
            return fault(c, f, "is cut short");
        return check_packed(c, f, counter, content);
    }
    if (wire_type != wanted)
        return fault(c, f, "has wire type %u instead of %u", wire_type, wanted);
    if (repeated && *counter >= c->limits->max_repeated)
        return fault(c, f, "more than %zu elements", c->limits->max_repeated);
    if (!repeated && field->type == PROTOBUF_C_TYPE_MESSAGE && *counter > 0)
        return fault(c, f, "occurs twice");
    *counter += 1;

    if (wanted == WIRE_LENGTH) {
        struct cursor content;
        if (!read_length(in, &content))
            return fault(c, f, "is cut short");
        return check_length_field(c, f, content);
    }
    return skip_scalar(in, wire_type) ? ERR_OK : fault(c, f, "is cut short");
}

static enum err check_unknown(struct check *c, const struct frame *f, uint32_t *counter,
                              unsigned wire_type, struct cursor *in)
{
    struct cursor content;
    if (wire_type == 3 || wire_type == 4)
        return fault(c, f, "groups are not supported");
    if (wire_type > WIRE_32)
        return fault(c, f, "wire type %u does not exist", wire_type);
    if (*counter >= c->limits->max_repeated)
        return fault(c, f, "more than %zu unknown fields", c->limits->max_repeated);
    *counter += 1;
    if (wire_type == WIRE_LENGTH ? read_length(in, &content) : skip_scalar(in, wire_type))
        return ERR_OK;
    return fault(c, f, "an unknown field is cut short");
}

/* Fields come in the order of their numbers as a rule, so the last one or the next is tried first.
 */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const ProtobufCFieldDescriptor *last,
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

static enum err check_fields(struct check *c, struct frame *f, uint32_t *counters, struct cursor in)
{
    const ProtobufCMessageDescriptor *type = f->type;
    const ProtobufCFieldDescriptor *last = NULL;

    while (in.p < in.end) {
        uint32_t number;
        unsigned wire_type;
        f->field = NULL;
        if (!read_tag(&in, &number, &wire_type))
            return fault(c, f, "a field's tag is cut short or too long");
        if (number == 0 || number > FIELD_NUMBER_MAX)
            return fault(c, f, "field number %u does not exist", (unsigned)number);
        f->field = find_field(type, last, number);
        enum err e;
        if (f->field) {
            last = f->field;
            e = check_field(c, f, &counters[f->field - type->fields], wire_type, &in);
        } else {
            e = check_unknown(c, f, &counters[type->n_fields], wire_type, &in);
        }
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err check_message(struct check *c, struct frame *f, struct cursor in)
{
    size_t n = (size_t)f->type->n_fields + 1; /* the last counts unknown fields */
    if (n > COUNTERS_MAX - c->ncounters) {
        f->field = NULL;
        return fault(c, f, "nested too deeply");
    }
    uint32_t *counters = &c->counters[c->ncounters];
    memset(counters, 0, n * sizeof(*counters));
    c->ncounters += n;
    enum err e = check_fields(c, f, counters, in);
    c->ncounters -= n;
    return e;
}

enum err wire_check(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                    const struct wire_limits *limits, struct wire_fault *fault_out)
{
    uint32_t counters[COUNTERS_MAX];
    struct check c = { .limits = limits, .fault = fault_out, .counters = counters };
    struct frame whole = { .type = type, .depth = 1 };

    if (len > limits->max_bytes)
        return fault(&c, &whole, "%zu bytes, at most %zu are allowed", len, limits->max_bytes);
    if (len == 0)
        return ERR_OK;
    return check_message(&c, &whole, (struct cursor){ data, (const uint8_t *)data + len });
}
