"""The image without Docker: its Dockerfile, and its files as deploy/image/gather.sh lays them out, run in them alone."""

import hashlib
import os
import re
import subprocess

import pytest

from files import BIN, DAEMONS, DEPLOY, ROOT, run

MEGABYTES = 30
SECONDS = 1_700_000_000


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    def gather(name):
        out = tmp_path_factory.mktemp(name)
        out.chmod(0o755)
        run(DEPLOY / "image/gather.sh", BIN, out, SECONDS, cwd=ROOT)
        return out

    return gather("one"), gather("two")


def listing(root):
    """What would be in a layer: kind, mode, date and contents of each file."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        what = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (oct(info.st_mode), int(info.st_mtime), what)
    return found


def test_the_last_stage_is_empty_but_for_what_is_gathered():
    text = (DEPLOY / "image/Dockerfile").read_text()
    stages = re.split(r"(?m)^FROM ", text)
    last = stages[-1]
    assert len(stages) == 3 and last.startswith("scratch\n")
    assert re.findall(r"(?m)^(?:COPY|ADD|RUN) .*", last) == ["COPY --from=build /out/ /"]
    assert "\nUSER 65532:65532\n" in last and "\nHEALTHCHECK " in last and "\nSTOPSIGNAL SIGTERM\n" in last
    for label in ("version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last
    assert not re.search(r"(?m)^(ARG BASE=|FROM )\S*:latest", text)
    assert re.search(r"(?m)^ARG BASE=\S+:\S+$", text)


def test_the_same_programs_make_the_same_files(gathered):
    """That the same sources make the same programs, `make reproducible` shows."""
    one, two = gathered
    assert listing(one) == listing(two)
    assert {date for _, date, _ in listing(one).values()} == {SECONDS}


def test_it_is_small_and_holds_no_tools(gathered):
    files = [path for path in gathered[0].rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 1e6
    programs = {path.name for path in (gathered[0] / "usr/bin").iterdir()}
    assert programs == {"daybook", "daybookd"} | {f"daybook-{name}" for name in DAEMONS}
    assert not [path for path in files if path.stat().st_mode & 0o6000], "set-uid"
    assert not [path for path in files if path.name in ("sh", "bash", "dash", "busybox")]


@pytest.mark.skipif(os.getuid() != 0, reason="chroot is root's")
@pytest.mark.parametrize("name", DAEMONS)
def test_each_daemon_runs_with_no_other_files(gathered, name):
    told = subprocess.run(["chroot", "--userspec=65532:65532", gathered[0], f"/usr/bin/daybook-{name}", "--help-settings"],
                          text=True, capture_output=True)
    assert told.returncode == 0, told.stderr
    own = run(BIN / f"daybook-{name}", "--help-settings")
    assert told.stdout == own
    # What is wrong with its settings it can say, too, so all its libraries are there.
    refused = subprocess.run(["chroot", "--userspec=65532:65532", gathered[0], f"/usr/bin/daybook-{name}"], text=True,
                             capture_output=True, env={"PATH": os.environ["PATH"], "DAYBOOK_DB_URL": ""})
    assert refused.returncode == 78, refused.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="chroot is root's")
def test_the_command_runs_with_no_other_files(gathered):
    told = run("chroot", "--userspec=65532:65532", gathered[0], "/usr/bin/daybook", "version")
    assert (ROOT / "VERSION").read_text().strip() in told
