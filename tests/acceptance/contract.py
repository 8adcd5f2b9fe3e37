"""Makes the Python classes of the contract (proto/) with the official protoc, and imports them."""

import fcntl
import importlib
import os
import pathlib
import sys


PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def files():
    return sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))


def load():
    """Into the folder DAYBOOK_GEN; several processes may do it at once."""
    out = pathlib.Path(os.environ["DAYBOOK_GEN"])
    out.mkdir(parents=True, exist_ok=True)
    newest = max((PROTO / f).stat().st_mtime for f in files())
    done = out / ".done"
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.stat().st_mtime < newest:
            compile_all(out)
            done.touch()
    sys.path.insert(0, str(out))
    for name in files():
        importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")


def methods():
    """"package.Service/Method" of all services, without the streams, which are no single request."""
    from google.protobuf import descriptor_pool
    for name in files():
        for service in descriptor_pool.Default().FindFileByName(name).services_by_name.values():
            yield from (f"{service.full_name}/{m.name}" for m in service.methods if not m.server_streaming)


def compile_all(out):
    from grpc_tools import protoc
    builtin = pathlib.Path(protoc.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{builtin}", f"--python_out={out}", *files()]) != 0:
        raise RuntimeError("protoc failed")
