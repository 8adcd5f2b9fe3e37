/*
 * schema.h - what protobuf-c leaves out of its descriptors, read once from the embedded descriptor
 * set: names to descriptors, JSON names, oneof names, map entries, methods with their options,
 * comments.
 *
 * schema_init() at start; everything after is immutable and thread-safe.
 */
#ifndef DAYBOOK_COMMON_SCHEMA_H
#define DAYBOOK_COMMON_SCHEMA_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"

struct schema_message;

/* Messages whose JSON form is not an object of their fields. Empty is an ordinary message. */
enum schema_known {
    SCHEMA_PLAIN,
    SCHEMA_ANY,
    SCHEMA_TIMESTAMP,
    SCHEMA_DURATION,
    SCHEMA_FIELD_MASK,
    SCHEMA_STRUCT,
    SCHEMA_VALUE,
    SCHEMA_LIST_VALUE,
    SCHEMA_WRAPPER, /* of one field, `value` */
};

struct schema_file {
    const char *name; /* "daybook/visits/v1/events.proto" */
    const char *package;
    const char *comment; /* above `syntax`, NULL when none */
};

struct schema_field {
    const ProtobufCFieldDescriptor *field;
    const char *json_name;
    const char *oneof;                    /* name of its oneof, NULL outside one */
    const struct schema_message *message; /* of a field of message type, else NULL */
    bool is_map;
    bool is_null_value;  /* of type google.protobuf.NullValue */
    const char *comment; /* leading comment, NULL when none */
};

struct schema_message {
    const ProtobufCMessageDescriptor *type;
    const struct schema_field *fields; /* in the order of type->fields */
    enum schema_known known;
    bool is_map_entry;
    bool is_recursive; /* can contain itself */
    const struct schema_file *file;
    const char *comment;
};

struct schema_method {
    const char *service; /* full name */
    const char *name;
    const ProtobufCMessageDescriptor *input;
    const ProtobufCMessageDescriptor *output;
    bool no_side_effects; /* idempotency_level = NO_SIDE_EFFECTS */
    bool idempotent;      /* IDEMPOTENT or NO_SIDE_EFFECTS */
    bool server_stream;
    bool client_stream;
    const char *comment;
};

struct schema_service {
    const char *name; /* full name */
    const struct schema_method *methods;
    size_t nmethods;
    const struct schema_file *file;
    const char *comment;
};

/* Aborts when the embedded set is not readable: a broken build. Idempotent. */
void schema_init(void);
void schema_fini(void); /* for leak-clean exits */

/* NULL when there is none. Names without a leading dot. */
const struct schema_message *schema_find_message(const char *full_name);
const struct schema_message *schema_of(const ProtobufCMessageDescriptor *type); /* never NULL */
const ProtobufCEnumDescriptor *schema_find_enum(const char *full_name);
const struct schema_service *schema_find_service(const char *full_name);
const struct schema_method *schema_find_method(const char *service, const char *method);
const struct schema_service *schema_services(size_t *n_out); /* all, by name */
const struct schema_message *schema_all_messages(size_t *n_out);
/* Whether it is an event: a message of a package's events.proto. */
bool schema_is_event(const struct schema_message *m);

/* The field of that JSON name or proto name; NULL when there is none. */
const struct schema_field *schema_find_field(const struct schema_message *m, const char *name,
                                             size_t name_len);
const char *schema_enum_comment(const ProtobufCEnumDescriptor *e);
/* "int32", "string" and so on, as in .proto files; "?" for messages and enums. */
const char *schema_scalar_name(ProtobufCType type);
const char *schema_enum_value_comment(const ProtobufCEnumDescriptor *e, int value);

/* The serialised FileDescriptorSet. */
const uint8_t *schema_descriptor_set(size_t *len_out);

#endif
