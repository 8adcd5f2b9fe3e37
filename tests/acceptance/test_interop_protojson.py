"""Our JSON mapping and that of the official protobuf, both ways, on random messages of every type; the seed is the
name of the type. tests/interop/protojson has the messages and our side of it.
"""

import importlib
import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest
from google.protobuf import any_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2, json_format
from google.protobuf import struct_pb2, timestamp_pb2, wrappers_pb2

from stack import ROOT

sys.path.insert(0, str(ROOT / "tests/interop/protojson"))
from messages import Maker, message_class  # noqa: E402

PIPE = pathlib.Path(os.environ["DAYBOOK_BIN"]).parent / "tests/interop/json_pipe"
TIMES = int(os.environ.get("DAYBOOK_JSON_MESSAGES", "200"))
KNOWN = (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)


@pytest.fixture(scope="module", autouse=True)
def testdata(tmp_path_factory):
    """The class with a field of every kind."""
    from grpc_tools import protoc
    out = tmp_path_factory.mktemp("testdata")
    builtin = pathlib.Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{ROOT}/tests/proto", f"-I{builtin}", f"--python_out={out}", "testdata.proto"]) == 0
    sys.path.insert(0, str(out))
    importlib.import_module("testdata_pb2")


def types_of(files):
    return sorted(name for file in files for name in names_in(file.message_types_by_name.values()))


def names_in(messages):
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message.full_name
            yield from names_in(message.nested_types)


def daybook_files():
    proto = ROOT / "proto"
    return [descriptor_pool.Default().FindFileByName(str(path.relative_to(proto)))
            for path in sorted(proto.rglob("*.proto"))]


class Pipe:
    def __init__(self):
        self.process = subprocess.Popen([PIPE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, op, name, data):
        name = name.encode()
        self.process.stdin.write(op + struct.pack("<II", len(name), len(data)) + name + data)
        self.process.stdin.flush()
        refused, length = struct.unpack("<BI", self.process.stdout.read(5))
        answer = self.process.stdout.read(length)
        assert not refused, f"{name.decode()}: {answer.decode()}: {data[:2000]}"
        return answer

    def to_json(self, name, data):
        return self.ask(b"J", name, data).decode()

    def to_bytes(self, name, text):
        return self.ask(b"B", name, text.encode())


@pytest.fixture(scope="module")
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.process.stdin.close()
    assert pipe.process.wait() == 0


def same(x, y):
    """Of messages: NaN is like NaN, and what is packed in an Any may stand there in another order."""
    return (x.SerializeToString(deterministic=True) == y.SerializeToString(deterministic=True)
            or json_format.MessageToDict(x) == json_format.MessageToDict(y))


@pytest.mark.parametrize("name", [*types_of(daybook_files()), *types_of([m.DESCRIPTOR for m in KNOWN]),
                                  "daybook.testdata.v1.Everything"])
def test_both_make_the_same_of_a_message(pipe, name):
    maker, cls = Maker(name), message_class(name)
    for _ in range(TIMES):
        message = maker.message(name)
        packed = message.SerializeToString(deterministic=True)
        theirs = json_format.MessageToJson(message, indent=None, ensure_ascii=False)
        ours = pipe.to_json(name, packed)
        assert json.loads(ours) == json.loads(theirs)
        assert same(json_format.Parse(ours, cls()), message), ours
        # Back again: from theirs, also with the names of the proto file, and from ours, byte by byte.
        by_proto_names = json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True)
        for text in (theirs, by_proto_names):
            data = pipe.to_bytes(name, text)
            assert data == packed or same(cls.FromString(data), message), text
        data = pipe.to_bytes(name, ours)
        assert data == packed or same(cls.FromString(data), message), ours
        assert pipe.to_json(name, data) == ours
