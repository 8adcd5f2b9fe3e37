"""Makes the Python classes of the contract (proto/) with the official protoc, and imports them."""

import fcntl
import importlib
import os
import pathlib
import sys


def load():
    """Into the folder DAYBOOK_GEN; several processes may do it at once."""
    proto = pathlib.Path(__file__).resolve().parents[2] / "proto"
    out = pathlib.Path(os.environ["DAYBOOK_GEN"])
    out.mkdir(parents=True, exist_ok=True)
    files = sorted(str(p.relative_to(proto)) for p in proto.rglob("*.proto"))
    newest = max((proto / f).stat().st_mtime for f in files)
    done = out / ".done"
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.stat().st_mtime < newest:
            compile_all(proto, out, files)
            done.touch()
    sys.path.insert(0, str(out))
    for name in files:
        importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")


def compile_all(proto, out, files):
    from grpc_tools import protoc
    builtin = pathlib.Path(protoc.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{proto}", f"-I{builtin}", f"--python_out={out}", *files]) != 0:
        raise RuntimeError("protoc failed")
