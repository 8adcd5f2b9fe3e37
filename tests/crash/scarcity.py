"""Allocations that fail, in the daemons of a stack: what failmalloc.c, which is preloaded, reads and writes."""

from preloaded import Control, preload

EVERY, FAILED, IN, ASKED = 0, 8, 16, 24  # where they stand in the file


class Scarcity(Control):
    def __init__(self, path):
        super().__init__(path, 32)

    def set(self, every):
        """Of so many allocations one fails; of 0, none."""
        self.put(EVERY, every)

    def fail_in(self, n):
        """The n-th allocation from now on fails, once; 0: none."""
        self.put(IN, n)

    @property
    def failed(self):
        """How many have failed."""
        return self.get(FAILED)

    @property
    def asked(self):
        """How many have been asked for."""
        return self.get(ASKED)


def make_scarce(stack, folder):
    return preload(stack, folder, "failmalloc", Scarcity)
