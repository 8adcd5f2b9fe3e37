/*
 * json_schema.h - JSON schemas of messages by the proto3 JSON mapping, good for OpenAPI 3.1 (draft
 * 2020-12) and AsyncAPI (draft 07).
 *
 * A schema says what is written: what is also read (numbers for int64, enum numbers, proto names,
 * null) is left out. Messages and enums are referred to as "#/components/schemas/<full name>".
 */
#ifndef DAYBOOK_GATEWAY_JSON_SCHEMA_H
#define DAYBOOK_GATEWAY_JSON_SCHEMA_H

#include "common/arena.h"
#include "common/sbuf.h"
#include "common/schema.h"

#define JSON_SCHEMA_REF "#/components/schemas/"

struct json_type {
    const char *name;
    const struct schema_message *message; /* NULL: an enum */
    const ProtobufCEnumDescriptor *enumeration;
};

/* The types that something refers to, each once. */
struct json_types {
    struct json_type *types;
    size_t n, max;
};

/* False: no memory. The set and its members are in the arena. */
NODISCARD bool json_types_init(struct json_types *t, struct arena *a);
/* Adds a message and all that its fields refer to, but for messages with a JSON form of their own. */
void json_types_add(struct json_types *t, const struct schema_message *m);
void json_types_sort(struct json_types *t); /* by name */

/* Member `key` of the document, NULL: an element. */
void json_schema_field(struct sbuf *b, const char *key, const struct schema_field *f);
void json_schema_message(struct sbuf *b, const char *key, const struct schema_message *m);
void json_schema_enum(struct sbuf *b, const char *key, const ProtobufCEnumDescriptor *e);
/* All of the set, as members of the object that is open. */
void json_schema_types(struct sbuf *b, const struct json_types *t);

#endif
