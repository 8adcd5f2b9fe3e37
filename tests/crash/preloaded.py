"""A library that is preloaded into the daemons of a stack, and the numbers by which each is told what to do."""

import mmap
import os
import pathlib
import shutil
import signal
import struct

from stack import DAEMONS, SLACK, wait_until


class Control:
    """64-bit numbers in the machine's order, in a file that the library has mapped too."""

    def __init__(self, path, size):
        self.path = pathlib.Path(path)
        self.path.write_bytes(bytes(size))
        with open(self.path, "r+b") as file:
            self.bytes = mmap.mmap(file.fileno(), 0)

    def put(self, at, number):
        struct.pack_into("=Q", self.bytes, at, number)

    def get(self, at):
        return struct.unpack_from("=Q", self.bytes, at)[0]


def preload(stack, folder, name_of_library, kind):
    """Every daemon is started anew with that library (failmalloc). Returns its controls of that kind, by daemon."""
    folder.mkdir()
    named = name_of_library.upper()
    library = shutil.copy(os.environ[f"DAYBOOK_{named}"], stack.run_dir)  # no space or colon in its path
    controls = {name: kind(folder / name) for name in DAEMONS}
    for name in DAEMONS:
        stack.kill(name, signal.SIGTERM)
        stack.write_settings(name, **{f"{named}_FILE": folder / name, "LD_PRELOAD": library})
        stack.start(name)
    for name in DAEMONS:
        wait_until(lambda name=name: stack.healthy(name), 60 * SLACK, f"{name} is ready")
    return controls
