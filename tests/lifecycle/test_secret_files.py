"""F57: a file that a setting is to be read from is missing, empty, cut, unreadable or a directory: the daemon does
not start, with 78 and the name of what is wrong, and shows nothing of the content. The settings are those that each
daemon tells of, so that a new one is tried too. What is read again while it runs keeps what it had: JWKS files
(tests/acceptance/test_http_identity.py), the bus's folder of keys and the database's password (below)."""

import os
import re
import signal
import subprocess

import pytest
import zmq
from stack import DAEMONS, SLACK, Replica, Stack, wait_until

BIN = os.environ["DAYBOOK_BIN"]
SETTING = re.compile(r"^DAYBOOK_(\w+) \(([^)]*)\)$", re.M)


def settings_of(name):
    """Each as (key without _FILE, its traits)."""
    told = subprocess.run([f"{BIN}/daybook-{name}", "--help-settings"], text=True, capture_output=True, check=True)
    return [(key.removesuffix("_FILE") if "secret" in traits else key, traits)
            for key, traits in SETTING.findall(told.stdout)]


def refusal(name, **env):
    """What it says; it must have ended with 78."""
    # Else all is well, but for PostgreSQL and a bus, which a start does not need.
    public, secret = (key.decode() for key in zmq.curve_keypair())
    well = {"DB_URL": "host=/nowhere", "MASTER_KEY": "ab" * 32, "BUS_SERVER_KEY": public, "BUS_PUBLIC_KEY": public,
            "BUS_SECRET_KEY": secret, "ADMIN_LISTEN": "127.0.0.1:0", "HTTP_LISTEN": "127.0.0.1:0",
            "BUS_ENDPOINT": "ipc:///tmp/nobody", "BUS_EVENTS": "ipc:///tmp/nobody2", "INSECURE_ENV_SECRETS": "1"}
    known = {key for key, _ in settings_of(name)}
    given = {key.removesuffix("_FILE") for key in env} if "WEBHOOK_CA_FILE" not in env else set(env)
    settings = {key: value for key, value in well.items()
                if (key in known or key == "INSECURE_ENV_SECRETS") and key not in given}
    settings.update(env)
    done = subprocess.run([f"{BIN}/daybook-{name}"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={"PATH": os.environ["PATH"], **{f"DAYBOOK_{k}": str(v) for k, v in settings.items()}},
                          timeout=20 * SLACK)
    assert done.returncode == 78, f"ended with {done.returncode}: {done.stdout}"
    return done.stdout


@pytest.mark.parametrize("name", DAEMONS)
def test_f57_a_setting_whose_file_is_missing(name, tmp_path):
    settings = settings_of(name)
    assert len(settings) > 10
    for key, _ in settings:
        said = refusal(name, **{f"{key}_FILE": tmp_path / "missing"})
        assert f"DAYBOOK_{key}_FILE" in said and str(tmp_path / "missing") in said, said


@pytest.mark.parametrize("name", DAEMONS)
def test_f57_a_secret_that_cannot_be_read_or_is_none(name, tmp_path):
    secrets = [key for key, traits in settings_of(name) if "secret" in traits]
    assert "BUS_SECRET_KEY" in secrets
    (tmp_path / "empty").touch()
    (tmp_path / "line").write_text("\n")
    (tmp_path / "nul").write_bytes(b"a\0b")
    (tmp_path / "long").write_text("s3cret" * 100000)
    (tmp_path / "folder").mkdir()
    faulty = ["empty", "line", "nul", "long", "folder"]
    if os.getuid() != 0:  # root may read it
        (tmp_path / "closed").write_text("s3cret")
        (tmp_path / "closed").chmod(0)
        faulty.append("closed")
    for key in secrets:
        for what in faulty:
            said = refusal(name, **{f"{key}_FILE": tmp_path / what})
            assert f"DAYBOOK_{key}_FILE" in said and str(tmp_path / what) in said, said
            assert "s3cret" not in said


@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize("key", ["MASTER_KEY", "BUS_SECRET_KEY"])
def test_f57_a_key_of_the_wrong_length(name, key, tmp_path):
    """As a file is that is still being written."""
    whole = "cd" * 32 if key == "MASTER_KEY" else zmq.curve_keypair()[1].decode()
    path = tmp_path / "key"
    for text in (whole[:-1], whole + whole[:1], whole[:20], "\u00e4" * len(whole)):
        path.write_text(text)
        said = refusal(name, **{f"{key}_FILE": path})
        assert key in said and text not in said, said


def test_f57_certificate_authorities_that_are_none(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no certificate")
    for what in ("missing", "empty", "text"):
        assert "WEBHOOK_CA_FILE" in refusal("gateway", WEBHOOK_CA_FILE=tmp_path / what)


def test_f57_a_daemon_keeps_a_password_whose_file_is_gone_and_reads_its_log_level(tmp_path):
    """DB_URL_FILE is read for each connection, LOG_LEVEL_FILE at SIGHUP."""
    stack = Stack(tmp_path / "stack")
    conninfo, level, log = tmp_path / "conninfo", tmp_path / "level", tmp_path / "log"
    try:
        stack.up()
        conninfo.write_text(stack.env_of("visits")["DAYBOOK_DB_URL"] + " password=s3cret")
        level.write_text("info\n")
        log.write_text("")
        stack.write_settings("visits", DAYBOOK_DB_URL=None, DAYBOOK_DB_URL_FILE=conninfo, DAYBOOK_LOG_LEVEL_FILE=level)
        replica = Replica(stack, "visits", log).until_ready(20 * SLACK)
        for text in ("", "no conninfo"):
            conninfo.write_text(text)
            stack.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'daybook_visits'")
            wait_until(lambda: '"setting.kept"' in log.read_text(), 20 * SLACK, "it told of the file")
            wait_until(replica.is_ready, 20 * SLACK, "it was ready with what it had")
        assert log.read_text().count('"setting.kept"') == 1 and "s3cret" not in log.read_text()
        for text, holds in (("debug", True), ("nonsense", True), ("info", False)):
            level.write_text(text)
            before = log.read_text().count('"daemon.reload"')
            replica.process.send_signal(signal.SIGHUP)
            wait_until(lambda before=before: log.read_text().count('"daemon.reload"') > before, 20 * SLACK, "it read it")
            last = [line for line in log.read_text().splitlines() if '"daemon.reload"' in line][-1]
            assert ('"log_level":"debug"' in last) is holds, last
        assert replica.drain() == 0
        stack.down()
    finally:
        stack.remove()


def test_f57_the_bus_keeps_a_key_whose_file_is_being_written(tmp_path):
    """Its folder of keys is looked at while it runs; a file that is cut ends no key, and it says so."""
    stack = Stack(tmp_path / "stack")
    try:
        stack.up()
        admitted = stack.folder / "keys/admitted/customers.pub"
        whole = admitted.read_text()
        admitted.write_text(whole[:17])
        log = stack.folder / "log/bus.log"
        wait_until(lambda: "customers.pub" in log.read_text(), 20 * SLACK, "the bus told of the file")
        warned = [line for line in log.read_text().splitlines() if "customers.pub" in line]
        assert '"level":"warn"' in warned[0] and whole[:17] not in warned[0]
        client = stack.client()
        assert client.is_served("daybook.customers.v1.CustomerService"), "the daemon is still registered"
        # One that comes anew with the key is admitted too.
        replica = Replica(stack, "customers", stack.folder / "log/customers-2.log").until_ready(20 * SLACK)
        assert replica.drain() == 0
        admitted.unlink()  # taken away, it is refused within ten seconds
        wait_until(lambda: not client.is_served("daybook.customers.v1.CustomerService"), 10 * SLACK, "it was refused")
        admitted.write_text(whole)
        stack.kill("customers", signal.SIGTERM)
        stack.start("customers")
        wait_until(lambda: stack.healthy("customers"), 20 * SLACK, "it was admitted again")
        stack.down()
    finally:
        stack.remove()
