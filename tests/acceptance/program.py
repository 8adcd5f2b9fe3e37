"""Another program beside the stack: what it says, line by line, as a test waits for it."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading

from company import SECONDS


class Program:
    """A program that runs; its lines, as they come."""

    def __init__(self, env, *words, cwd=None):
        # In a group of its own: buf of npm is a program that starts another one.
        self.process = subprocess.Popen(list(map(str, words)), env=env, cwd=cwd, text=True, start_new_session=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said, self.lines = [], queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def until(self, pattern):
        """The match of the first line that fits."""
        while True:
            try:
                line = self.lines.get(timeout=2 * SECONDS)
            except queue.Empty:
                line = None
            assert line is not None, f"never {pattern!r} in:\n" + "\n".join(self.said)
            self.said.append(line)
            if found := re.search(pattern, line):
                return found

    def tell(self, line):
        """A line on its standard input; what it cannot hear any more is lost, as it is in life."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        """Its exit status; its standard input ends here."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(timeout=2 * SECONDS)
        while (line := self.lines.get(timeout=SECONDS)) is not None:
            self.said.append(line)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
