/*
 * pb_access.c - the order of map entries.
 */
#include "common/pb_access.h"

#define COMPARE(x, y) (((x) > (y)) - ((x) < (y)))

/* Any order will do, as long as it is total over the values of one type: integers by their bits. */
static int compare_keys(const ProtobufCMessage *x, const ProtobufCMessage *y)
{
    const ProtobufCFieldDescriptor *key = &x->descriptor->fields[0];
    const void *a = pb_member(x, key), *b = pb_member(y, key);
    if (key->type == PROTOBUF_C_TYPE_STRING)
        return strcmp(pb_text(a), pb_text(b));
    if (pb_sizeof(key->type) == 8) {
        uint64_t u, v;
        memcpy(&u, a, sizeof(u));
        memcpy(&v, b, sizeof(v));
        return COMPARE(u, v);
    }
    uint32_t u, v;
    memcpy(&u, a, sizeof(u));
    memcpy(&v, b, sizeof(v));
    return COMPARE(u, v);
}

static int compare_entries(const void *a, const void *b)
{
    const struct pb_entry *x = a, *y = b;
    int c = compare_keys(x->message, y->message);
    return c ? c : COMPARE(x->index, y->index);
}

void pb_sort_entries(struct pb_entry *entries, size_t n)
{
    qsort(entries, n, sizeof(*entries), compare_entries);
}

bool pb_same_key(const ProtobufCMessage *x, const ProtobufCMessage *y)
{
    return compare_keys(x, y) == 0;
}
