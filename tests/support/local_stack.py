"""deploy/local/stack in a folder of its own: what the tests and the bench have in common."""

import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONSUMERS = ("directory", "customers", "visits", "reminders", "scoring", "gateway")  # of the log
DAEMONS = ("bus", *CONSUMERS)
OWNER = "daybook_owner"  # of the schemas; passes the walls between companies


class Failed(AssertionError):
    """Of the stack, or of a program beside it."""


def run(args, **options):
    """What the program prints; all of it when it fails."""
    done = subprocess.run([str(a) for a in args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))[:300]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_until(condition, seconds, what, pause=0.02):
    """Polls until the condition is true, and returns its value."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed(f"in {seconds} s it did not happen that {what}")
        time.sleep(pause)


def read_env(path):
    """The settings in a file that a shell would source."""
    pairs = (line.removeprefix("export ").split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    env = {name: "".join(shlex.split(value)) for name, value in pairs}
    if "PATH" in env:
        env["PATH"] = os.path.expandvars(env["PATH"])
    return env


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def process_fields(pid):
    """Of /proc/PID/stat from the state on; None when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def has_ended(fields):
    """Nothing of the process is left but its exit status. A first thread that has ended ("Z") while others
    still end is not enough: those hold its sockets, and who follows can not bind to their addresses."""
    return not fields or (fields[0] == "Z" and fields[17] in ("0", "1"))


def is_alive(pid):
    return not has_ended(process_fields(pid))


def children_of(pid):
    fields = {p.name: process_fields(p.name) for p in pathlib.Path("/proc").glob("[0-9]*")}
    return [int(child) for child, f in fields.items() if f and f[1] == str(pid)]


class LocalStack:
    """settings: what deploy/local/stack reads besides the folders, e.g. DAYBOOK_STACK_CLOCK."""

    def __init__(self, folder, binaries, **settings):
        self.folder, self.bin = pathlib.Path(folder), pathlib.Path(binaries)
        self.settings = {**os.environ, "DAYBOOK_STACK_DIR": str(self.folder),
                         "DAYBOOK_STACK_BIN": str(self.bin), **settings}

    def control(self, *words):
        return run([ROOT / "deploy/local/stack", *words], env=self.settings)

    def up(self):
        self.control("up")
        self.sockets = pathlib.Path(self.env_of("operator")["DAYBOOK_MIGRATE_URL"].split("host=")[1].split()[0])
        self.run_dir = self.sockets.parent

    def remove(self):
        self.control("remove")

    def env_of(self, name):
        """Settings of a daemon or of the operator."""
        return read_env(self.env_file(name))

    def env_file(self, name):
        return self.folder / f"env/{name}.env"

    # --- data -------------------------------------------------------------------------------------

    def conninfo(self, user=OWNER, database="daybook"):
        return f"host={self.sockets} dbname={database} user={user}"

    def psql(self, text, *words, database="daybook"):
        """Runs statements as the owner of the schemas."""
        binary = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]
        return run([binary, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database=database),
                    *words], input=text)

    # --- processes --------------------------------------------------------------------------------

    def pid(self, name):
        """None when it does not run, or is not the process that the stack started."""
        try:
            pid, start = (self.run_dir / f"{name}.pid").read_text().split()
        except (OSError, ValueError):
            return None
        fields = process_fields(pid)
        return int(pid) if not has_ended(fields) and fields[19] == start else None

    def kill(self, name, number=signal.SIGKILL, seconds=60):
        """Ends the process and returns when it is gone, children (of PostgreSQL) included."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        family = [pid, *children_of(pid)]
        os.kill(pid, number)
        wait_until(lambda: not any(map(is_alive, family)), seconds, f"{name} was gone")


class Replica:
    """One more process of a daemon of a stack: with its settings and keys, but those given here."""

    def __init__(self, stack, name, log, binaries=None, variables=None, stdout=None, **settings):
        """variables: those with names of their own; stdout: a descriptor, else the log."""
        self.name, self.log = name, log
        self.program = pathlib.Path(binaries or stack.bin) / f"daybook-{name}"
        own = {"ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
        if name == "gateway":
            own["HTTP_LISTEN"] = f"127.0.0.1:{free_port()}"
        self.env = {**stack.settings, **stack.env_of(name), **(variables or {}),
                    **{f"DAYBOOK_{key}": str(value) for key, value in {**own, **settings}.items()}}
        with self.log.open("a") as file:
            self.process = subprocess.Popen([self.program], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=file if stdout is None else stdout, stderr=file)

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return subprocess.run([self.program, "--health"], env=self.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def until_ready(self, seconds=20):
        wait_until(self.is_ready, seconds, f"{self.program} was ready")
        return self

    def env_of(self, name):
        assert name == self.name
        return self.env

    def drain(self, seconds=40):
        """SIGTERM, and its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=seconds)

    def end(self):
        """Whatever it does."""
        self.process.kill()
        self.process.wait()
