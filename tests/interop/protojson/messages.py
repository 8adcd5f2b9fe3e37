"""Random messages of any type, by its descriptor: what our limits allow (not too deep), with a taste for
edges. The same seed gives the same messages.
"""

import math
import random
import struct

from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

DEPTH = 4  # of sub-messages
WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
# What an Any holds: plain messages, and such with a form of their own in JSON.
IN_ANY = ("daybook.customers.v1.CustomerCreated", "google.rpc.ErrorInfo", "google.protobuf.Timestamp",
          "google.protobuf.Struct", "google.protobuf.Int64Value", "google.protobuf.Empty", "google.protobuf.Any")
LETTERS = 'abcXYZ019 _-./"\\\n\t\0\x01\x1f\x7fé中\u2028\uffff\U0001f600\U0010ffff'


def message_class(name):
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.special = {"google.protobuf." + name: make for name, make in {
            "Timestamp": self.timestamp, "Duration": self.duration, "FieldMask": self.mask, "Any": self.any,
            "Value": self.value}.items()}

    def message(self, name, depth=DEPTH):
        made = message_class(name)()
        self.fill(made, depth)
        return made

    def fill(self, message, depth):
        make = self.special.get(message.DESCRIPTOR.full_name)
        if make:
            make(message, depth)
            return
        chance = self.rng.choice((0.1, 0.5, 0.9)) * min(1, 25 / max(1, len(message.DESCRIPTOR.fields)))
        for field in message.DESCRIPTOR.fields:
            deep = field.message_type and not is_map(field)
            if self.rng.random() < chance and not unreadable(field) and (depth > 0 or not deep):
                self.set(message, field, depth - 1)

    def set(self, message, field, depth):
        if is_map(field):
            self.set_map(getattr(message, field.name), field.message_type.fields_by_name, depth)
        elif field.label == F.LABEL_REPEATED:
            for _ in range(self.rng.randrange(4)):
                if field.message_type:
                    self.fill(getattr(message, field.name).add(), depth)
                else:
                    getattr(message, field.name).append(self.scalar(field))
        elif field.message_type:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, depth)
        else:
            setattr(message, field.name, self.scalar(field))

    def set_map(self, entries, fields, depth):
        for _ in range(self.rng.randrange(4)):
            key = self.scalar(fields["key"])
            if not fields["value"].message_type:
                entries[key] = self.scalar(fields["value"])
            elif depth >= 0:
                self.fill(entries[key], depth)

    # --- scalars -------------------------------------------------------------------------------------

    def scalar(self, field):
        return {
            F.CPPTYPE_INT32: lambda: self.whole(-2**31, 2**31 - 1),
            F.CPPTYPE_INT64: lambda: self.whole(-2**63, 2**63 - 1),
            F.CPPTYPE_UINT32: lambda: self.whole(0, 2**32 - 1),
            F.CPPTYPE_UINT64: lambda: self.whole(0, 2**64 - 1),
            F.CPPTYPE_DOUBLE: lambda: self.real("<d", 8),
            F.CPPTYPE_FLOAT: lambda: self.real("<f", 4),
            F.CPPTYPE_BOOL: lambda: self.rng.random() < 0.5,
            F.CPPTYPE_ENUM: lambda: self.number_of(field.enum_type),
            F.CPPTYPE_STRING: lambda: self.bytes() if field.type == F.TYPE_BYTES else self.text(),
        }[field.cpp_type]()

    def whole(self, low, high):
        return self.rng.choice((low, high, 0, 1, max(low, -1), self.rng.randint(low, high),
                                min(high, 2**53 + 1), self.rng.randrange(1000)))

    def real(self, form, size):
        bits = struct.unpack(form, self.rng.randbytes(size))[0]
        return self.rng.choice((bits, 0.0, 1.5, -2.0**-20, 0.1 if size == 8 else bits, math.inf, -math.inf, math.nan))

    def number_of(self, enum):
        if enum.full_name == "google.protobuf.NullValue":
            return 0
        return self.rng.choice((*(value.number for value in enum.values), 2**31 - 1, 4711))

    def text(self):
        return "".join(self.rng.choices(LETTERS, k=self.rng.choice((0, 1, 3, 12, 40))))

    def bytes(self):
        return self.rng.randbytes(self.rng.choice((0, 1, 2, 3, 16, 100)))

    # --- messages that are not an object of their fields ----------------------------------------------

    def nanos(self):
        return self.rng.choice((0, 500_000_000, 123_000_000, 123_456_000, 999_999_999, 1, self.rng.randrange(10**9)))

    def timestamp(self, message, _depth):
        low, high = -62135596800, 253402300799
        message.seconds, message.nanos = self.rng.choice((low, high, 0, -1, self.rng.randint(low, high))), self.nanos()

    def duration(self, message, _depth):
        seconds = self.rng.choice((0, 1, 315576000000 - 1, self.rng.randrange(10**11)))
        sign = self.rng.choice((1, -1))
        message.seconds, message.nanos = sign * seconds, sign * self.nanos()

    def mask(self, message, _depth):
        for _ in range(self.rng.randrange(4)):
            message.paths.append(self.rng.choice(("name", "owner_id", "address.city_name", "a_b_c.d_e", "x")))

    def any(self, message, depth):
        if depth > 0:
            message.CopyFrom(any_pb2.Any())
            inner = self.message(self.rng.choice(IN_ANY), depth - 1)
            if isinstance(inner, any_pb2.Any) and not inner.type_url:
                inner = self.message("google.protobuf.Int64Value")  # an empty one has no type that JSON could name
            message.Pack(inner, deterministic=True)

    def value(self, message, depth):
        kind = self.rng.randrange(6 if depth > 0 else 4)
        if kind == 0:
            message.null_value = 0
        elif kind == 1:
            message.number_value = self.rng.choice((0.0, -1.5, 1e300, 0.1, self.rng.uniform(-1e6, 1e6), 2.0**53))
        elif kind == 2:
            message.string_value = self.text()
        elif kind == 3:
            message.bool_value = self.rng.random() < 0.5
        elif kind == 4:
            message.struct_value.SetInParent()
            self.fill(message.struct_value, depth - 1)
        else:
            message.list_value.SetInParent()
            self.fill(message.list_value, depth - 1)


def unreadable(field):
    """Python writes lists and maps of NullValue, and does not read them again."""
    value = field.message_type.fields_by_name["value"] if is_map(field) else field
    nulls = value.enum_type and value.enum_type.full_name == "google.protobuf.NullValue"
    return nulls and field.label == F.LABEL_REPEATED


def is_map(field):
    return bool(field.message_type) and field.message_type.GetOptions().map_entry
