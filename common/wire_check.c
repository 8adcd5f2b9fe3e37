/*
 * wire_check.c - the walk over the bytes of a message before protobuf-c sees them.
 *
 * One frame of the walk is one message; frames are linked so that a fault can name its path, and
 * nothing is written down on the way for that. How often each field occurred is counted in a pool
 * on the stack, from which each frame takes one counter a field and gives them back: that finds
 * singular sub-messages that come twice, which protobuf-c would merge wrongly, and bounds repeated
 * fields. What passes here, protobuf-c can read; what it would read differently from others
 * (strings cut at NUL) does not pass, unless it is noted for wire_unpack() to write anew.
 */
#include "common/wire.h"

#include "common/utf8.h"
#include "common/wire_scan.h"

#define FIELD_NUMBER_MAX ((UINT32_C(1) << 29) - 1)

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
    struct wire_seen *seen; /* NULL: singular sub-messages that come twice are a fault */
    uint32_t *counters;
    size_t ncounters; /* taken */
};

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

/* --- the walk ------------------------------------------------------------------------------- */

static enum err check_message(struct check *c, struct frame *f, struct wire_cursor in);

static enum err check_string(struct check *c, const struct frame *f, struct wire_cursor s)
{
    if (wire_left(&s) > c->limits->max_string)
        return fault(c, f, "longer than %zu bytes", c->limits->max_string);
    bool nul = wire_left(&s) > 0 && memchr(s.p, 0, wire_left(&s));
    if (nul && !c->limits->keep_nul)
        return fault(c, f, "holds a NUL character");
    if (nul && c->seen)
        c->seen->nul = true;
    if (!utf8_is_valid(s.p, wire_left(&s)))
        return fault(c, f, "is not valid UTF-8");
    return ERR_OK;
}

static enum err check_sub_message(struct check *c, struct frame *f, struct wire_cursor content)
{
    struct frame sub = { .up = f, .type = f->field->descriptor, .depth = f->depth + 1 };
    if (sub.depth > c->limits->max_depth || sub.depth > WIRE_DEPTH_HARD)
        return fault(c, f, "nested more than %d deep", MIN(c->limits->max_depth, WIRE_DEPTH_HARD));
    return check_message(c, &sub, content);
}

static enum err check_packed(struct check *c, struct frame *f, uint32_t *counter,
                             struct wire_cursor content)
{
    unsigned wire_type = wire_type_of(f->field->type);
    while (content.p < content.end) {
        if (*counter >= c->limits->max_repeated)
            return fault(c, f, "more than %zu elements", c->limits->max_repeated);
        f->index = (*counter)++;
        if (!wire_skip_scalar(&content, wire_type))
            return fault(c, f, "a packed element is cut short");
    }
    return ERR_OK;
}

static enum err check_length_field(struct check *c, struct frame *f, struct wire_cursor content)
{
    switch (f->field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return check_string(c, f, content);
    case PROTOBUF_C_TYPE_BYTES:
        if (wire_left(&content) > c->limits->max_bytes_field)
            return fault(c, f, "longer than %zu bytes", c->limits->max_bytes_field);
        return ERR_OK;
    default:
        return check_sub_message(c, f, content);
    }
}

/* One occurrence of a field that the type has. */
static enum err check_field(struct check *c, struct frame *f, uint32_t *counter, unsigned wire_type,
                            struct wire_cursor *in)
{
    const ProtobufCFieldDescriptor *field = f->field;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    unsigned wanted = wire_type_of(field->type);

    f->index = *counter;
    if (repeated && wanted != WIRE_LENGTH && wire_type == WIRE_LENGTH) {
        struct wire_cursor content;
        if (!wire_read_length(in, &content))
            return fault(c, f, "is cut short");
        return check_packed(c, f, counter, content);
    }
    if (wire_type != wanted)
        return fault(c, f, "has wire type %u instead of %u", wire_type, wanted);
    if (repeated && *counter >= c->limits->max_repeated)
        return fault(c, f, "more than %zu elements", c->limits->max_repeated);
    if (!repeated && field->type == PROTOBUF_C_TYPE_MESSAGE && *counter > 0) {
        if (!c->seen)
            return fault(c, f, "occurs twice");
        c->seen->twice = true;
    }
    *counter += 1;

    if (wanted == WIRE_LENGTH) {
        struct wire_cursor content;
        if (!wire_read_length(in, &content))
            return fault(c, f, "is cut short");
        return check_length_field(c, f, content);
    }
    return wire_skip_scalar(in, wire_type) ? ERR_OK : fault(c, f, "is cut short");
}

static enum err check_unknown(struct check *c, const struct frame *f, uint32_t *counter,
                              unsigned wire_type, struct wire_cursor *in)
{
    struct wire_cursor content;
    if (wire_type == 3 || wire_type == 4)
        return fault(c, f, "groups are not supported");
    if (wire_type > WIRE_32)
        return fault(c, f, "wire type %u does not exist", wire_type);
    if (*counter >= c->limits->max_repeated)
        return fault(c, f, "more than %zu unknown fields", c->limits->max_repeated);
    *counter += 1;
    if (wire_type == WIRE_LENGTH ? wire_read_length(in, &content) : wire_skip_scalar(in, wire_type))
        return ERR_OK;
    return fault(c, f, "an unknown field is cut short");
}

static enum err check_fields(struct check *c, struct frame *f, uint32_t *counters,
                             struct wire_cursor in)
{
    const ProtobufCMessageDescriptor *type = f->type;
    const ProtobufCFieldDescriptor *last = NULL;

    while (in.p < in.end) {
        uint32_t number;
        unsigned wire_type;
        f->field = NULL;
        if (!wire_read_tag(&in, &number, &wire_type))
            return fault(c, f, "a field's tag is cut short or too long");
        if (number == 0 || number > FIELD_NUMBER_MAX)
            return fault(c, f, "field number %u does not exist", (unsigned)number);
        f->field = wire_find_field(type, last, number);
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

static enum err check_message(struct check *c, struct frame *f, struct wire_cursor in)
{
    size_t n = (size_t)f->type->n_fields + 1; /* the last counts unknown fields */
    if (n > WIRE_FIELDS_MAX - c->ncounters) {
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

static enum err check_whole(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                            const struct wire_limits *limits, struct wire_seen *seen,
                            struct wire_fault *fault_out)
{
    uint32_t counters[WIRE_FIELDS_MAX];
    struct check c = { .limits = limits, .fault = fault_out, .seen = seen, .counters = counters };
    struct frame whole = { .type = type, .depth = 1 };

    if (len > limits->max_bytes)
        return fault(&c, &whole, "%zu bytes, at most %zu are allowed", len, limits->max_bytes);
    if (len == 0)
        return ERR_OK;
    return check_message(&c, &whole, (struct wire_cursor){ data, (const uint8_t *)data + len });
}

enum err wire_check(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                    const struct wire_limits *limits, struct wire_fault *fault_out)
{
    return check_whole(type, data, len, limits, NULL, fault_out);
}

enum err wire_check_mergeable(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                              const struct wire_limits *limits, struct wire_seen *seen_out,
                              struct wire_fault *fault_out)
{
    *seen_out = (struct wire_seen){ false, false };
    return check_whole(type, data, len, limits, seen_out, fault_out);
}
