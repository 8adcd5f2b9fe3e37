/*
 * wire_merge.c - a message written anew with every singular sub-message once.
 *
 * A singular sub-message that occurs several times means the merge of them all, and that is what
 * their contents say one behind the other. protobuf-c fails there or replaces, so this is done for
 * it. In a oneof only what stands behind the last other member counts. The message is gone through
 * twice: the first time counts occurrences, the second copies, gathers their contents and writes
 * them at the last one, inner messages alike. What is written is never longer than what was read.
 */
#include "common/wire_scan.h"

#define LENGTH_MOST 5 /* bytes of a length */

/* Of one singular sub-message in the message at hand. */
struct occurrences {
    const uint8_t *first; /* of those that count */
    size_t n;             /* of them, not yet passed in the second round */
    size_t total;         /* bytes of content */
    uint8_t *gathered;    /* NULL: nothing yet */
    size_t ngathered;
};

struct merge {
    ProtobufCAllocator *allocator;
    struct occurrences *pool; /* each message takes one a field and gives them back */
    size_t taken;
    struct wire_writer out; /* with room for all that was read */
};

static enum err merge_message(struct merge *m, const ProtobufCMessageDescriptor *type,
                              struct wire_cursor in);

static bool is_sub_message(const struct wire_part *part)
{
    return part->field && part->field->type == PROTOBUF_C_TYPE_MESSAGE;
}

/* Another member of its oneof makes an earlier one forgotten. */
static void forget_others(const ProtobufCMessageDescriptor *type,
                          const ProtobufCFieldDescriptor *field, struct occurrences *of)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &type->fields[i];
        if (other != field && (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            other->quantifier_offset == field->quantifier_offset)
            of[i] = (struct occurrences){ .first = NULL };
    }
}

static void count_occurrences(const ProtobufCMessageDescriptor *type, struct wire_cursor in,
                              struct occurrences *of)
{
    struct wire_part part = { .field = NULL };
    while (wire_next_part(type, &in, &part)) {
        if (!part.field)
            continue;
        if (part.field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            forget_others(type, part.field, of);
        if (!is_sub_message(&part))
            continue;
        struct occurrences *o = &of[part.field - type->fields];
        if (o->n++ == 0)
            o->first = part.head.p;
        o->total += wire_left(&part.content);
    }
}

static enum err put_sub_message(struct merge *m, const struct wire_part *part,
                                struct wire_cursor content)
{
    uint8_t *at = NULL;
    enum err e = wire_put(&m->out, part->head.p, part->head.end);
    if (!e)
        e = wire_open_length(&m->out, LENGTH_MOST, &at);
    if (!e)
        e = merge_message(m, part->field->descriptor, content);
    return e ? e : wire_close_length(&m->out, LENGTH_MOST, at);
}

static enum err put_occurrence(struct merge *m, struct occurrences *o, const struct wire_part *part)
{
    size_t n = wire_left(&part->content);
    if (!o->first || part->head.p < o->first)
        return ERR_OK;
    if (o->n-- == 1 && !o->gathered)
        return put_sub_message(m, part, part->content);
    if (!o->gathered)
        o->gathered = m->allocator->alloc(m->allocator->allocator_data, o->total);
    if (!o->gathered)
        return ERR_RESOURCE_EXHAUSTED;
    memcpy(o->gathered + o->ngathered, part->content.p, n);
    o->ngathered += n;
    if (o->n > 0)
        return ERR_OK;
    return put_sub_message(m, part,
                           (struct wire_cursor){ o->gathered, o->gathered + o->ngathered });
}

static enum err merge_message(struct merge *m, const ProtobufCMessageDescriptor *type,
                              struct wire_cursor in)
{
    struct occurrences *of = m->pool + m->taken;
    struct wire_part part = { .field = NULL };
    enum err e = ERR_OK;

    if (type->n_fields > WIRE_FIELDS_MAX - m->taken)
        return ERR_RESOURCE_EXHAUSTED; /* does not happen: the check has the same bound */
    memset(of, 0, type->n_fields * sizeof(*of));
    m->taken += type->n_fields;
    count_occurrences(type, in, of);
    while (!e && wire_next_part(type, &in, &part)) {
        if (!is_sub_message(&part))
            e = wire_put(&m->out, part.head.p, part.content.end);
        else if (part.field->label == PROTOBUF_C_LABEL_REPEATED)
            e = put_sub_message(m, &part, part.content);
        else
            e = put_occurrence(m, &of[part.field - type->fields], &part);
    }
    m->taken -= type->n_fields;
    return e;
}

enum err wire_merge(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
                    ProtobufCAllocator *allocator, uint8_t **data_out, size_t *len_out)
{
    size_t room = len + (size_t)WIRE_DEPTH_HARD * LENGTH_MOST; /* lengths that are not known yet */
    uint8_t *out = allocator->alloc(allocator->allocator_data, room);
    struct merge m = {
        .allocator = allocator,
        .pool = allocator->alloc(allocator->allocator_data, WIRE_FIELDS_MAX * sizeof(*m.pool)),
        .out = { out, out ? out + room : NULL },
    };
    if (!out || !m.pool)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = merge_message(&m, type, (struct wire_cursor){ data, (const uint8_t *)data + len });
    *data_out = out;
    *len_out = (size_t)(m.out.p - out);
    return e;
}
