/*
 * example.h - an example of a request, made from its descriptor.
 */
#ifndef DAYBOOK_GATEWAY_EXAMPLE_H
#define DAYBOOK_GATEWAY_EXAMPLE_H

#include "common/arena.h"
#include "common/sbuf.h"
#include "common/schema.h"

/* Appends JSON that reads as the message; flags as for protojson_write(). Output-only fields, and
 * those that nobody can invent, are left out. */
void example_write(struct sbuf *out, const ProtobufCMessageDescriptor *type, int flags,
                   struct arena *a);

#endif
