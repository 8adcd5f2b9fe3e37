/*
 * pb_access.h - the members of a protobuf-c struct through its field descriptor.
 *
 * For modules that handle messages of any type (wire, protojson, record). A repeated field is a
 * count and a pointer to an array; the members of one oneof share a union and a case, which holds
 * the number of the field that is set.
 */
#ifndef DAYBOOK_COMMON_PB_ACCESS_H
#define DAYBOOK_COMMON_PB_ACCESS_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"

/* Fields of generated messages are char *, though packing does not write to them. NULL gives "". */
static inline char *pb_borrow(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = { .in = text ? text : "" };
    return u.out;
}

/* Bytes of one value of the type inside a struct or an array. */
static inline size_t pb_sizeof(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    default:
        return 4;
    }
}

static inline const void *pb_member(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (const char *)m + f->offset;
}

static inline void *pb_member_mut(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)m + f->offset;
}

/* The count of a repeated field. */
static inline size_t pb_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    size_t n;
    memcpy(&n, (const char *)m + f->quantifier_offset, sizeof(n));
    return n;
}

static inline void pb_set_array(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                                void *elements, size_t n)
{
    memcpy((char *)m + f->quantifier_offset, &n, sizeof(n));
    memcpy((char *)m + f->offset, &elements, sizeof(elements));
}

/* Element i of a repeated field. */
static inline const void *pb_element(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                                     size_t i)
{
    const char *array;
    memcpy(&array, pb_member(m, f), sizeof(array));
    return array + i * pb_sizeof(f->type);
}

/* The number of the member that is set, of the oneof to which f belongs; 0 for none. */
static inline uint32_t pb_oneof_case(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    uint32_t number;
    memcpy(&number, (const char *)m + f->quantifier_offset, sizeof(number));
    return number;
}

static inline const ProtobufCMessage *pb_message(const void *value)
{
    const ProtobufCMessage *m;
    memcpy(&m, value, sizeof(m));
    return m;
}

/* NULL counts as the empty text. */
static inline const char *pb_text(const void *value)
{
    const char *s;
    memcpy(&s, value, sizeof(s));
    return s ? s : "";
}

/* Whether a singular field tells "not set" from its zero value. */
static inline bool pb_has_presence(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || f->type == PROTOBUF_C_TYPE_MESSAGE ||
           f->label == PROTOBUF_C_LABEL_OPTIONAL || f->label == PROTOBUF_C_LABEL_REQUIRED;
}

/* Whether a singular field with presence is set. */
static inline bool pb_is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && pb_oneof_case(m, f) != f->id)
        return false;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return pb_message(pb_member(m, f)) != NULL;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF || f->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    if (f->type == PROTOBUF_C_TYPE_STRING) { /* proto2: the pointer is the presence */
        const char *s;
        memcpy(&s, pb_member(m, f), sizeof(s));
        return s && s != f->default_value;
    }
    protobuf_c_boolean has;
    memcpy(&has, (const char *)m + f->quantifier_offset, sizeof(has));
    return has;
}

/* --- maps: repeated messages of two fields, key and value ----------------------------------- */

struct pb_entry {
    const ProtobufCMessage *message;
    size_t index; /* in the map as it came */
};

/* Orders the entries of one map by key, equal keys in the order in which they came. */
void pb_sort_entries(struct pb_entry *entries, size_t n);
bool pb_same_key(const ProtobufCMessage *x, const ProtobufCMessage *y);

#endif
