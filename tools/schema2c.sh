#!/bin/bash
# Writes the C source of the schema: the descriptor set as bytes, and the tables of all message and
# enum descriptors that protoc-c generated. Usage: schema2c.sh GENERATED_DIR DESCRIPTOR_SET
set -euo pipefail
dir=$1 set=$2
headers=$(cd "$dir" && find . -name '*.pb-c.h' | sed 's|^\./||' | LC_ALL=C sort)
echo '/* made by tools/schema2c.sh */'
echo '#include "common/schema_data.h"'
for h in $headers; do echo "#include \"$h\""; done
symbols() { (cd "$dir" && printf '%s\n' $headers | xargs sed -nE "s/^extern const $1[ ]+([A-Za-z0-9_]+);.*/    \&\1,/p"); }
echo 'const ProtobufCMessageDescriptor *const schema_messages[] = {'; symbols ProtobufCMessageDescriptor; echo '    NULL };'
echo 'const ProtobufCEnumDescriptor *const schema_enums[] = {'; symbols ProtobufCEnumDescriptor; echo '    NULL };'
echo "const size_t schema_set_size = $(stat -c %s "$set");"
echo 'const unsigned char schema_set[] = {'
od -An -v -tx1 "$set" | sed -E 's/ ([0-9a-f]{2})/0x\1,/g'
echo '};'
