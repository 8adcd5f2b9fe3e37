"""daybook-setup killed anywhere leaves nothing that the next run would keep. The database is not what is tried here:
psql and `daybook migrate` do nothing.
"""

import os
import pathlib
import re
import signal
import subprocess

import pytest
import zmq

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETUP = ROOT / "deploy/debian/daybook-setup"
NAMES = ("bus", "directory", "customers", "visits", "reminders", "scoring", "gateway", "operator")
PSQL = "#!/bin/sh\ncat >/dev/null\necho 1\n"
DAYBOOK = '#!/bin/sh\n[ "$1" = migrate ] || exec "{real}" "$@"\n'

# In the shell of the script, before it runs a command: its text is written down, or all are killed there.
TRACE = r"""
set -T
before() {
    if [ -n "${TRACE:-}" ]; then printf '%s\0' "$1" >>"$TRACE"; fi
    if [ "$1" = "${KILL_BEFORE:-}" ]; then kill -KILL 0; fi
}
trap 'before "$BASH_COMMAND"' DEBUG
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="daybook-setup is for root")


class Host:
    def __init__(self, folder):
        self.folder, self.etc = folder, folder / "etc"
        (folder / "bin").mkdir()
        real = pathlib.Path(os.environ["DAYBOOK_BIN"]) / "daybook"
        for name, text in ("psql", PSQL), ("daybook", DAYBOOK.format(real=real)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        (folder / "trace.sh").write_text(TRACE)

    def run(self, *words, **env):
        if env:
            env["BASH_ENV"] = self.folder / "trace.sh"
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "DAYBOOK_ETC": self.etc,
               "DAYBOOK_SHARE": ROOT / "deploy", **env}
        return subprocess.run([*words, SETUP, "--database", "dbname=none"], start_new_session=True, capture_output=True,
                              text=True, env={k: str(v) for k, v in env.items()})

    def settings(self, name):
        """As a shell reads them."""
        lines = (self.etc / name).read_text().splitlines()
        return dict(re.fullmatch(r"(\w+)='(.*)'", line).groups() for line in lines if line and line[0] != "#")

    def assert_complete(self):
        done = self.run()
        assert done.returncode == 0, done.stderr
        for name in NAMES:
            secret = (self.etc / "secrets" / f"{name}.key").read_text().strip()
            public = (self.etc / "secrets" / f"{name}.pub").read_text()
            kind = {"operator": "system", "gateway": "edge"}.get(name, "daemon")
            assert public == f"{zmq.curve_public(secret.encode()).decode()}\nkind={kind}\n"
            assert (self.etc / "admitted" / f"{name}.pub").read_text() == public
            assert (self.etc / "secrets" / f"{name}.key").stat().st_mode & 0o777 == 0o400
            assert self.settings(f"{name}.env")["DAYBOOK_BUS_PUBLIC_KEY"] == public.split()[0]
            line = (self.etc / "secrets" / f"{name.replace('operator', 'owner')}.pgpass").read_text()
            assert re.fullmatch(r"\*:\*:daybook:daybook_\w+:[0-9a-f]{48}\n", line)
        assert re.fullmatch("[0-9a-f]{64}", (self.etc / "secrets/master.key").read_text())
        assert self.settings("reminders.env")["DAYBOOK_REDIS_URL"] == "127.0.0.1:6379"
        assert len(self.settings("operator.env")) == 5 and len(self.settings("migrate.env")) == 1
        assert not list(self.etc.rglob("*.new*")), "nothing half is left behind"


def contents(host):
    return {p: p.read_bytes() for p in host.etc.rglob("*") if p.is_file()}


def changes(folder):
    """Commands of the script that write a file, each once."""
    host = Host(folder)
    assert host.run(TRACE=folder / "ran").returncode == 0
    ran = dict.fromkeys((folder / "ran").read_text().split("\0"))
    return [c for c in ran if re.match("(mv|cp|rm|install|sync|daybook keygen) ", c) or re.search(r">\s*\"", c)]


def test_killed_before_any_command_the_next_run_makes_it_whole(tmp_path_factory):
    tried = changes(tmp_path_factory.mktemp("traced"))
    assert sum("keygen" in c for c in tried) == 2 and len(tried) > 10
    for command in tried:
        host = Host(tmp_path_factory.mktemp("killed"))
        assert host.run(KILL_BEFORE=command).returncode == -signal.SIGKILL, command
        host.assert_complete()


def test_a_run_on_what_is_whole_changes_nothing(tmp_path):
    host = Host(tmp_path)
    host.assert_complete()
    before = contents(host)
    host.assert_complete()
    assert contents(host) == before


def test_a_setting_that_cannot_be_written_whole_is_not_there(tmp_path):
    """The file may have 1 KiB, and the next setting goes over it."""
    host = Host(tmp_path)
    host.etc.mkdir()
    by_hand = "#" * 999 + "\n"
    (host.etc / "bus.env").write_text(by_hand)
    assert host.run("bash", "-c", 'ulimit -f 1; exec bash "$0" "$@"').returncode != 0
    assert (host.etc / "bus.env").read_text() == by_hand
    host.assert_complete()
    assert host.settings("bus.env")["DAYBOOK_DB_URL"] == "host=127.0.0.1 dbname=daybook user=daybook_bus"


def test_what_was_set_by_hand_stays(tmp_path):
    host = Host(tmp_path)
    host.etc.mkdir()
    elsewhere = tmp_path / "visits.env"
    elsewhere.write_text("DAYBOOK_DB_URL='host=mine'")  # its line has no end
    elsewhere.chmod(0o640)
    (host.etc / "visits.env").symlink_to(elsewhere)
    host.assert_complete()
    assert (host.etc / "visits.env").is_symlink() and elsewhere.stat().st_mode & 0o777 == 0o640
    assert host.settings("visits.env")["DAYBOOK_DB_URL"] == "host=mine"


def test_a_public_key_is_made_from_its_secret(tmp_path):
    """As keygen leaves it when it is killed between the two, and as somebody may."""
    host = Host(tmp_path)
    host.assert_complete()
    before = contents(host)
    for half in "", None:
        (host.etc / "secrets/visits.pub").unlink()
        (host.etc / "admitted/visits.pub").unlink()
        if half is not None:
            (host.etc / "secrets/visits.pub").write_text(half)
        host.assert_complete()
        assert contents(host) == before


def test_a_public_key_without_its_secret_is_not_replaced(tmp_path):
    host = Host(tmp_path)
    host.assert_complete()
    secret = host.etc / "secrets/visits.key"
    secret.rename(tmp_path / "away")
    before = contents(host)
    done = host.run()
    assert done.returncode == 70 and "visits.pub is there without its .key" in done.stderr
    assert contents(host) == before


def remove(host, place):
    """A file, or a setting as it is told."""
    name, _, path = place.rpartition(" in ")
    path = pathlib.Path(path)
    if not name:
        path.unlink()
    else:
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(f"{name}=")))


@pytest.mark.parametrize(("name", "settings"), [
    ("visits", [("visits.env", "DAYBOOK_BUS_PUBLIC_KEY")]),
    ("operator", [("operator.env", "DAYBOOK_BUS_PUBLIC_KEY")]),
    ("bus", [("bus.env", "DAYBOOK_BUS_PUBLIC_KEY"), ("daybook.env", "DAYBOOK_BUS_SERVER_KEY"),
             ("operator.env", "DAYBOOK_BUS_SERVER_KEY")])])
def test_whatever_holds_the_old_key_is_told_when_a_new_pair_was_made(tmp_path, name, settings):
    host = Host(tmp_path)
    host.assert_complete()
    for part in "key", "pub":
        (host.etc / f"secrets/{name}.{part}").unlink()
    before = contents(host)
    places = [f"{host.etc}/admitted/{name}.pub", *(f"{setting} in {host.etc}/{file}" for file, setting in settings)]
    while places:
        done = host.run()
        assert done.returncode == 70 and sorted(done.stderr.strip().split(": ")[-1].split(", ")) == sorted(places)
        assert before.items() <= contents(host).items(), "that is left to whoever moved the key away"
        remove(host, places.pop())
        before = contents(host)
    host.assert_complete()
    public = (host.etc / f"secrets/{name}.pub").read_text().split()[0]
    assert all(host.settings(file)[setting] == public for file, setting in settings)


def test_a_key_is_the_same_however_it_is_written(tmp_path):
    host = Host(tmp_path)
    host.assert_complete()
    for mark, name in ("", "visits"), ('"', "scoring"):
        path = host.etc / f"{name}.env"
        path.write_text(path.read_text().replace("'", mark) + "\n")
    done = host.run()
    assert done.returncode == 0, done.stderr


def test_the_key_of_a_bus_elsewhere_stays(tmp_path):
    host = Host(tmp_path)
    host.etc.mkdir()
    by_hand = {"DAYBOOK_BUS_ENDPOINT": "tcp://bus.example:5555", "DAYBOOK_BUS_SERVER_KEY": "k" * 40}
    (host.etc / "daybook.env").write_text("".join(f"{name}='{value}'\n" for name, value in by_hand.items()))
    host.assert_complete()
    host.assert_complete()
    assert host.settings("daybook.env") == by_hand
