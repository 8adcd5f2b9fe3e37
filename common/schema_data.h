/* schema_data.h - what tools/schema2c.sh makes of the contract; used by schema.c only. */
#ifndef DAYBOOK_COMMON_SCHEMA_DATA_H
#define DAYBOOK_COMMON_SCHEMA_DATA_H

#include <protobuf-c/protobuf-c.h>

extern const ProtobufCMessageDescriptor *const schema_messages[]; /* ended by NULL */
extern const ProtobufCEnumDescriptor *const schema_enums[];       /* ended by NULL */
extern const unsigned char schema_set[]; /* a serialised google.protobuf.FileDescriptorSet */
extern const size_t schema_set_size;

#endif
