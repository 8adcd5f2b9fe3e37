"""The local stack of somebody who is not root: PostgreSQL, Redis and the daemons all run as he."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest
from stack import DAEMONS, ROOT, is_alive

PARTS = ("postgres", "redis", *DAEMONS)


class User:
    """Whoever runs the tests, or nobody where that is root, and a checkout of his with what is built."""

    def __init__(self, folder):
        self.folder, self.var = folder, folder / "var"
        self.uid, self.prefix = os.getuid(), []
        shutil.copytree(ROOT / "deploy/local", folder / "deploy/local")
        (folder / "bin").mkdir()
        for name in ("daybook", *(f"daybook-{daemon}" for daemon in DAEMONS)):
            shutil.copy(pathlib.Path(os.environ["DAYBOOK_BIN"]) / name, folder / "bin")
        if self.uid == 0:
            nobody = pwd.getpwnam("nobody")
            self.uid = nobody.pw_uid
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self.prefix = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]

    def stack(self, *words):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DAYBOOK_STACK_DIR": str(self.var),
               "DAYBOOK_STACK_BIN": str(self.folder / "bin")}
        done = subprocess.run([*self.prefix, self.folder / "deploy/local/stack", *words], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        assert done.returncode == 0, f"{words}:\n{done.stdout}"
        return done.stdout

    def running(self):
        return {name: int(pid) for name, pid in re.findall(r"^(\S+) running \(pid (\d+)\)$", self.stack("status"), re.M)}


@pytest.fixture
def user():
    # Not in pytest's own folder, which only its owner may enter.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-user-"))
    try:
        user = User(folder)
        try:
            yield user
        finally:
            user.stack("remove")
    finally:
        shutil.rmtree(folder)


def test_his_stack_comes_up_twice_and_goes_down(user):
    user.stack("up")
    running = user.running()
    assert sorted(running) == sorted(PARTS)
    for name, pid in running.items():
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        assert re.search(rf"^Uid:\s+{user.uid}\s", status, re.M), f"{name}: {status}"
    user.stack("up")  # what runs goes on
    assert user.running() == running
    user.stack("down")
    assert not user.running()
    assert not any(is_alive(pid) for pid in running.values())
    user.stack("up")
    assert sorted(user.running()) == sorted(PARTS)
