"""Each allocation that the code under a unit test asks for fails once (F47): what the test then says does not matter,
but no program may be ended by a signal, nor hang.

    unit_sweep.py OBJECT ... -- BINARY OBJECT ...

OBJECT is the test's own, whose allocations do not fail, nor do those of the objects before --. Of programs that ask often, UNIT_SWEEP (100) allocations fail,
evenly spread.
"""

import concurrent.futures
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

from scarcity import Scarcity

MOST = int(os.environ.get("UNIT_SWEEP", "100"))
SECONDS = 60
TEST, CODE = 98, 99  # exit statuses of failmalloc.c


def functions(file, *options):
    """(name, from, to) of those that nm knows."""
    done = subprocess.run(["nm", "--defined-only", "--print-size", *options, file], text=True, check=True,
                          stdout=subprocess.PIPE)
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tT":
            yield fields[3], int(fields[0], 16), int(fields[0], 16) + int(fields[1], 16)


class Program:
    def __init__(self, binary, test_object, spared, folder):
        self.binary, self.folder = pathlib.Path(binary), pathlib.Path(folder) / pathlib.Path(binary).name
        self.folder.mkdir()
        own = {name for file in (test_object, *spared) for name, _, _ in functions(file)}
        (self.folder / "not").write_bytes(b"".join(struct.pack("=QQ", start, end)
                                                   for name, start, end in functions(binary)
                                                   if name in own))
        self.faults, self.spoilt, self.asked = [], 0, 0

    def run(self, number):
        """Its exit status while that allocation fails (0: none does), and how many it asked for."""
        scarce = Scarcity(self.folder / "scarce")
        scarce.fail_in(number)
        env = {**os.environ, "LD_PRELOAD": os.environ["DAYBOOK_FAILMALLOC"],
               "FAILMALLOC_FILE": str(scarce.path), "FAILMALLOC_NOT": str(self.folder / "not")}
        try:
            done = subprocess.run([self.binary], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return "it hangs", scarce.asked
        return done.returncode, scarce.asked

    def sweep(self):
        status, asked = self.run(0)
        assert status == 0, f"{self.binary}: {status}"
        self.asked = asked
        numbers = range(1, asked + 1, max(1, -(-asked // MOST)))
        for number in numbers:
            status, _ = self.run(number)
            self.spoilt += status == TEST
            if not isinstance(status, int) or status < 0 or status == CODE:
                self.faults.append(f"{self.binary.name}, allocation {number} of {asked}: {status}")
        return len(numbers)


def main():
    split = sys.argv.index("--")
    spared, rest = sys.argv[1:split], sys.argv[split + 1:]
    with tempfile.TemporaryDirectory(prefix="daybook-sweep-") as folder:
        programs = [Program(binary, own, spared, folder) for binary, own in zip(rest[::2], rest[1::2], strict=True)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = sum(pool.map(Program.sweep, programs))
    silent = [p.binary.name for p in programs if p.asked == 0]
    print(f"without an allocation of ours: {' '.join(silent) or 'none'}")
    assert len(silent) < len(programs) / 2, "the allocator is not there"
    faults = [fault for program in programs for fault in program.faults]
    print(f"unit tests: {failed} allocations failed, in {len(programs)} programs; "
          f"{sum(p.spoilt for p in programs)} times the test went on without what it was not given; faults: {len(faults)}")
    print("".join(f"  {fault}\n" for fault in faults), end="")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
