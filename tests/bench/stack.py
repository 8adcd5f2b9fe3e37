"""The bench's private stack: deploy/local/stack in a directory of its own, SQL, daemons, metrics."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from local_stack import (CONSUMERS, DAEMONS, ROOT, Failed, LocalStack, Replica, process_fields, run,  # noqa: E402
                         wait_until)

__all__ = ["DAEMONS", "ROOT", "Failed", "Replica", "Stack", "run", "wait_until"]


class Stack(LocalStack):
    """The stack of the bench: what is measured of its daemons, and daemons that are its own children."""

    def __init__(self, bin_dir):
        super().__init__(tempfile.mkdtemp(prefix="daybook-bench-"), bin_dir)
        os.chmod(self.folder, 0o755)
        self.own = {}  # daemons started by start()

    def up(self):
        super().up()
        self.redis = self.run_dir / "redis.sock"

    def remove(self):
        for name in list(self.own):
            self.end(name)
        try:
            super().remove()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def env_of(self, name):
        """All that a daemon or the operator has in its environment."""
        return {**os.environ, **super().env_of(name)}

    # --- SQL -------------------------------------------------------------------------------------

    def sql(self, text, database="daybook"):
        """Rows as lists of text."""
        return [line.split("\t") for line in self.psql(text, "-F", "\t", database=database).splitlines()]

    def value(self, text, database="daybook"):
        return self.sql(text, database)[0][0]

    def settle(self, seconds=120):
        """Until every event is in the log and every consumer has taken it."""
        behind = " + ".join(f"(select count(*) from {s}.consumer_cursor c, bus.head h where c.seq < h.last_seq)"
                            for s in CONSUMERS)
        wait_until(lambda: self.value(f"select (select count(*) from bus.outbox) + {behind}") == "0",
                   seconds, "the consumers caught up", 0.1)

    # --- daemons ---------------------------------------------------------------------------------

    def pid(self, name):
        if name in self.own:
            return self.own[name].pid
        return super().pid(name)

    def rss_mb(self, name):
        for line in pathlib.Path(f"/proc/{self.pid(name)}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise Failed(f"no RSS of {name}")

    def cpu_s(self, pid):
        fields = process_fields(pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def backends(self, user):
        return [int(r[0]) for r in self.sql(f"select pid from pg_stat_activity where usename = '{user}'")]

    def admin(self, name):
        host, port = self.env_of(name)["DAYBOOK_ADMIN_LISTEN"].rsplit(":", 1)
        return host, int(port)

    @staticmethod
    def get(address, path):
        """Status and body; status 0 when nobody listens."""
        try:
            with socket.create_connection(address, timeout=2) as s:
                s.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                data = b""
                while piece := s.recv(65536):
                    data += piece
        except OSError:
            return 0, ""
        head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
        return int(head.split()[1]) if head else 0, body

    def metric(self, name, metric):
        """Sum over the labels."""
        _, body = self.get(self.admin(name), "/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in body.splitlines()
                   if line.startswith((metric + "{", metric + " ")))

    def end(self, name):
        if name in self.own:
            process = self.own.pop(name)
            process.terminate()
            process.wait(timeout=45)
            return
        self.kill(name, signal.SIGTERM, 45)
        (self.run_dir / f"{name}.pid").unlink(missing_ok=True)

    def start(self, name):
        """Starts a daemon that was ended; milliseconds until it said that it is ready."""
        address, log = self.admin(name), open(self.folder / "log" / f"{name}.log", "ab")
        env = self.env_of(name)
        began = time.monotonic()
        self.own[name] = subprocess.Popen([self.bin / f"daybook-{name}"], env=env, stdout=log, stderr=log)
        wait_until(lambda: self.get(address, "/readyz")[0] == 200, 30, f"{name} became ready", 0.001)
        return (time.monotonic() - began) * 1000
