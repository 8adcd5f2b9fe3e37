"""What faults need of the machine, where it has it: a small disk, control groups, libfaketime."""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

from local_stack import run

CGROUP = pathlib.Path("/sys/fs/cgroup")
SLACK_BYTES = 64 << 10  # what a full disk still has
DISK_SIZE = "8g"


CAP_SYS_ADMIN = 21  # linux/capability.h


def faketime():
    """The library, or None. Not beside a sanitizer, which wants to be the first library."""
    found = sorted(pathlib.Path("/usr/lib").glob(f"{platform.machine()}-linux-gnu*/faketime/libfaketimeMT.so.1"))
    return found[0] if found and not sanitized() else None


def sanitized():
    return "/address/" in os.environ["DAYBOOK_BIN"]


def own_mounts():
    """Root, in a mount namespace of our own (run.sh): what is mounted ends with us."""
    return os.geteuid() == 0 and os.environ.get("CHAOS_OWN_MOUNTS") == "1"


def may_mount():
    """What run.sh needs for that; root of a container often may not."""
    status = pathlib.Path("/proc/self/status").read_text()
    return bool(int(re.search(r"^CapEff:\s*(\w+)", status, re.M)[1], 16) >> CAP_SYS_ADMIN & 1)


def excuses():
    """Faults that a run may leave out on this machine, and why. What deps.sh installs is no excuse."""
    told = {name: "no control groups can be made" for name in ("throttle", "memory")}
    if not may_mount():
        told |= {name: "this user may not mount" for name in ("disk_data", "disk_wal")}
    if sanitized():
        told["clock_step"] = "the sanitizer wants to be the first library"
    return told


class Disk:
    """Data and WAL of PostgreSQL on a small memory disk each, which can be filled by making it smaller."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-chaos-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.mounts = {name: self.folder / name for name in ("data", "wal")}
        for mount in self.mounts.values():
            mount.mkdir()
            run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=755", "daybook-chaos", mount])
            (mount / "pg").mkdir(mode=0o700)
            shutil.chown(mount / "pg", "postgres", "postgres")

    def put_data(self, stack_folder):
        """Before the cluster is made: the stack takes a link for the folder."""
        stack_folder.mkdir(parents=True)
        (stack_folder / "pg").symlink_to(self.mounts["data"] / "pg")

    def put_wal(self):
        """While PostgreSQL is down."""
        here, there = self.mounts["data"] / "pg/pg_wal", self.mounts["wal"] / "pg"
        run(["cp", "-a", f"{here}/.", there])
        shutil.rmtree(here)
        here.symlink_to(there)

    @contextlib.contextmanager
    def full(self, name):
        mount = self.mounts[name]
        stat = os.statvfs(mount)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        run(["mount", "-o", f"remount,size={used + SLACK_BYTES}", mount])
        try:
            yield
        finally:
            run(["mount", "-o", f"remount,size={DISK_SIZE}", mount])

    def remove(self):
        for mount in self.mounts.values():
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Group:
    """A control group of our own, of version 1 or 2, with one daemon in it."""

    def __init__(self, controller):
        self.controller = controller
        self.parent = self.where(controller)
        self.v2 = (CGROUP / "cgroup.controllers").exists()
        self.path = self.parent / f"daybook-chaos-{os.getpid()}"

    @staticmethod
    def where(controller):
        """A folder in which groups with that controller can be made, or None."""
        v1 = CGROUP / controller
        if (v1 / "cgroup.procs").exists():
            return v1
        subtree = CGROUP / "cgroup.subtree_control"
        if subtree.exists() and controller in subtree.read_text().split():
            return CGROUP
        return None

    @staticmethod
    def there_are(controller):
        where = Group.where(controller)
        return bool(where) and os.geteuid() == 0 and os.access(where, os.W_OK)

    def __enter__(self):
        self.path.mkdir()
        return self

    def __exit__(self, *_):
        self.path.rmdir()

    def limit_memory(self, size):
        self.write("memory.max" if self.v2 else "memory.limit_in_bytes", size)

    def limit_cpu(self, percent):
        period = 100_000
        if self.v2:
            return self.write("cpu.max", f"{period * percent // 100} {period}")
        self.write("cpu.cfs_period_us", period)
        return self.write("cpu.cfs_quota_us", period * percent // 100)

    def write(self, name, value):
        (self.path / name).write_text(f"{value}\n")

    def enter_words(self):
        """What a shell runs to be in it."""
        return f"echo $$ > {self.path / 'cgroup.procs'}"

    @contextlib.contextmanager
    def holding(self, pid):
        text = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
        pattern = r"^0::(.*)$" if self.v2 else rf"^\d+:[^:]*\b{self.controller}\b[^:]*:(.*)$"
        before = (CGROUP if self.v2 else self.parent) / re.search(pattern, text, re.M)[1].lstrip("/")
        self.write("cgroup.procs", pid)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                (before / "cgroup.procs").write_text(f"{pid}\n")
