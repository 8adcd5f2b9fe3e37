"""Allocations that fail, in the daemons of a stack: what failmalloc.c, which is preloaded, reads and writes."""

import mmap
import os
import pathlib
import shutil
import signal
import struct

from stack import DAEMONS, SLACK, wait_until

EVERY, FAILED, IN, ASKED = 0, 8, 16, 24  # where they stand in the file


class Scarcity:
    """The control file of a daemon."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.write_bytes(bytes(32))
        with open(self.path, "r+b") as file:
            self.numbers = mmap.mmap(file.fileno(), 32)

    def put(self, at, number):
        struct.pack_into("=Q", self.numbers, at, number)

    def set(self, every):
        """Of so many allocations one fails; of 0, none."""
        self.put(EVERY, every)

    def fail_in(self, n):
        """The n-th allocation from now on fails, once; 0: none."""
        self.put(IN, n)

    def get(self, at):
        return struct.unpack_from("=Q", self.numbers, at)[0]

    @property
    def failed(self):
        """How many have failed."""
        return self.get(FAILED)

    @property
    def asked(self):
        """How many have been asked for."""
        return self.get(ASKED)


def make_scarce(stack, folder):
    """Every daemon is started anew with the library that refuses. Returns what controls them, by name."""
    folder.mkdir()
    library = shutil.copy(os.environ["DAYBOOK_FAILMALLOC"], stack.run_dir)  # no space or colon in its path
    scarcity = {name: Scarcity(folder / name) for name in DAEMONS}
    for name in DAEMONS:
        stack.kill(name, signal.SIGTERM)
        stack.write_settings(name, FAILMALLOC_FILE=folder / name, LD_PRELOAD=library)
        stack.start(name)
    for name in DAEMONS:
        wait_until(lambda name=name: stack.healthy(name), 60 * SLACK, f"{name} is ready")
    return scarcity
