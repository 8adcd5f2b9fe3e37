"""The bench's private stack: deploy/local/stack in a directory of its own, SQL, daemons, metrics."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAEMONS = ["bus", "directory", "customers", "visits", "reminders", "scoring"]


class Failed(Exception):
    pass


def run(args, env=None, **kw):
    done = subprocess.run([str(a) for a in args], env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **kw)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))[:300]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_until(condition, seconds, what, pause=0.02):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(pause)


class Stack:
    def __init__(self, bin_dir):
        self.bin = bin_dir
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="daybook-bench-"))
        os.chmod(self.dir, 0o755)
        self.env = dict(os.environ, DAYBOOK_STACK_DIR=str(self.dir), DAYBOOK_STACK_BIN=str(self.bin))
        self.own = {}  # daemons started by start()

    def command(self, *args):
        return run([ROOT / "deploy/local/stack", *args], env=self.env)

    def up(self):
        self.command("up")
        self.sockets = pathlib.Path(self.env_of("operator")["DAYBOOK_MIGRATE_URL"]
                                    .split("host=")[1].split()[0])
        self.run_dir = self.sockets.parent
        self.redis = self.run_dir / "redis.sock"

    def remove(self):
        for name in list(self.own):
            self.end(name)
        try:
            self.command("remove")
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def env_of(self, name):
        """Environment of a daemon or of the operator."""
        out = subprocess.run(["bash", "-c", f"set -a; . '{self.dir}/env/{name}.env'; env -0"],
                             stdout=subprocess.PIPE, check=True).stdout.decode()
        return dict(line.split("=", 1) for line in out.split("\0") if "=" in line)

    # --- SQL -------------------------------------------------------------------------------------

    def conninfo(self, user="daybook_owner", database="daybook"):
        return f"host={self.sockets} dbname={database} user={user}"

    def sql(self, text, database="daybook"):
        """Runs statements as the owner, who sees all companies; rows as lists of text."""
        out = run(["psql", "-X", "-q", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d",
                   self.conninfo(database=database)], input=text)
        return [line.split("\t") for line in out.splitlines()]

    def value(self, text, database="daybook"):
        return self.sql(text, database)[0][0]

    def settle(self, seconds=120):
        """Until every event is in the log and every consumer has taken it."""
        behind = " + ".join(f"(select count(*) from {s}.consumer_cursor c, bus.head h where c.seq < h.last_seq)"
                            for s in DAEMONS[2:])
        wait_until(lambda: self.value(f"select (select count(*) from bus.outbox) + {behind}") == "0",
                   seconds, "the consumers catch up", 0.1)

    # --- daemons ---------------------------------------------------------------------------------

    def pid(self, name):
        if name in self.own:
            return self.own[name].pid
        return int((self.run_dir / f"{name}.pid").read_text().split()[0])

    def rss_mb(self, name):
        for line in pathlib.Path(f"/proc/{self.pid(name)}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise Failed(f"no RSS of {name}")

    def cpu_s(self, pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
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
        pid = self.pid(name)
        os.kill(pid, 15)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists() or
                   pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z",
                   45, f"{name} ends")
        (self.run_dir / f"{name}.pid").unlink(missing_ok=True)

    def start(self, name):
        """Starts a daemon that was ended; milliseconds until it said that it is ready."""
        address, log = self.admin(name), open(self.dir / "log" / f"{name}.log", "ab")
        env = self.env_of(name)
        began = time.monotonic()
        self.own[name] = subprocess.Popen([self.bin / f"daybook-{name}"], env=env, stdout=log, stderr=log)
        wait_until(lambda: self.get(address, "/readyz")[0] == 200, 30, f"{name} becomes ready", 0.001)
        return (time.monotonic() - began) * 1000
