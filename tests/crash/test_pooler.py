"""PgBouncer in transaction mode between the daemons and PostgreSQL (F24): few sessions are shared by many
connections, names of prepared statements get lost or are taken, and the pooler itself is killed, restarted and frozen
while clients command. What was acknowledged is there once.
"""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from stack import DAEMONS, SLACK, wait_until
from wreck import RECOVERY, Wreck

SEED = int(os.environ.get("CRASH_SEED", "20260302"))
SESSIONS = 2  # of each daemon, with PostgreSQL
PORT = 6432
# It loses prepared statements: half of the daemons are told so, the others find out.
TOLD = ("directory", "visits")
FIND_OUT = ("customers", "scoring", "gateway")
BEHIND = (*TOLD, *FIND_OUT)
PGBOUNCER = "/usr/sbin/pgbouncer"
PSQL = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]


class Pooler:
    def __init__(self, stack):
        self.folder = stack.run_dir / "pooler"
        self.folder.mkdir()
        self.folder.chmod(0o777)  # it does not run as root
        (self.folder / "users").write_text("".join(f'"daybook_{name}" ""\n' for name in DAEMONS))
        told = subprocess.run([PGBOUNCER, "--version"], text=True, check=True, stdout=subprocess.PIPE).stdout
        version = tuple(map(int, re.search(r"(\d+)\.(\d+)", told).groups()))
        forgets = "max_prepared_statements = 0\n" if version >= (1, 21) else ""  # as those before always do
        (self.folder / "ini").write_text(f"""[databases]
daybook = host={stack.sockets} dbname=daybook
[pgbouncer]
listen_addr =
listen_port = {PORT}
unix_socket_dir = {self.folder}
unix_socket_mode = 0777
auth_type = trust
auth_file = {self.folder}/users
stats_users = daybook_bus
pool_mode = transaction
default_pool_size = {SESSIONS}
max_client_conn = 500
server_login_retry = 1
{forgets}""")
        self.process = None

    def conninfo(self, name):
        return f"host={self.folder} port={PORT} dbname=daybook user=daybook_{name}"

    def start(self):
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen([*user, PGBOUNCER, "-q", self.folder / "ini"], stdout=log,
                                            stderr=log, cwd="/")
        wait_until(lambda: (self.folder / f".s.PGSQL.{PORT}").exists(), 10 * SLACK, "the pooler was there")

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(timeout=30 * SLACK)

    def restart(self, number):
        """Sockets that it leaves behind would be taken for it."""
        self.end(number)
        (self.folder / f".s.PGSQL.{PORT}").unlink(missing_ok=True)
        self.start()


def put_between(stack, pooler):
    for name in (*BEHIND, "bus"):
        stack.kill(name, signal.SIGTERM)
        direct = stack.env_of(name)["DAYBOOK_DB_URL"]
        stack.write_settings(name, DAYBOOK_DB_URL=pooler.conninfo(name),
                             DAYBOOK_DB_PREPARE="auto" if name in FIND_OUT else "off",
                             DAYBOOK_DB_DIRECT_URL=direct if name == "bus" else None)
        stack.start(name)
    for name in DAEMONS:
        wait_until(lambda name=name: stack.healthy(name), 60 * SLACK, f"{name} is ready")


@pytest.fixture(scope="module")
def wreck(tmp_path_factory):
    wreck = Wreck(tmp_path_factory.mktemp("pooler"), SEED, rate=200, soon=10)
    try:
        wreck.stack.up()
        wreck.pooler = Pooler(wreck.stack)
        wreck.pooler.start()
        put_between(wreck.stack, wreck.pooler)
        wreck.make_companies()
        wreck.start_load()
        yield wreck
        wreck.stack.down()
        assert not wreck.stack.sanitizer_reports(), "\n".join(wreck.stack.sanitizer_reports())
    finally:
        if hasattr(wreck, "pooler") and wreck.pooler.process:
            wreck.pooler.end(signal.SIGKILL)
        wreck.remove()


def pools(wreck):
    """By daemon: connections to the pooler, sessions with the server."""
    clients = subprocess.run([PSQL, "-X", "-At", "-d", wreck.pooler.conninfo("bus").replace(
        "dbname=daybook", "dbname=pgbouncer"), "-c", "show pools"], check=True, text=True, stdout=subprocess.PIPE).stdout
    rows = (line.split("|") for line in clients.splitlines())
    at_pooler = {user.removeprefix("daybook_"): int(active) + int(waiting)
                 for database, user, active, waiting, *_ in rows if database == "daybook"}
    at_server = {row["usename"].removeprefix("daybook_"): row["n"] for row in wreck.stack.sql(
        "select usename, count(*) n from pg_stat_activity where usename like 'daybook\\_%' group by 1")}
    return {name: (at_pooler[name], at_server.get(name, 0)) for name in BEHIND}


def test_f24_connections_share_sessions(wreck):
    wreck.at_random()
    found = pools(wreck)
    assert all(clients > SESSIONS >= servers for clients, servers in found.values()), found


def get_over(wreck):
    """Nobody ended; all works again."""
    wreck.recovered("pooler", [*BEHIND, "bus", "reminders"], RECOVERY["postgres"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_f24_the_pooler_is_restarted(wreck, number):
    pids = {name: wreck.stack.pid(name) for name in DAEMONS}
    wreck.at_random()
    wreck.pooler.restart(number)
    get_over(wreck)
    assert {name: wreck.stack.pid(name) for name in DAEMONS} == pids


def test_f24_the_pooler_hangs(wreck):
    wreck.at_random()
    os.kill(wreck.pooler.process.pid, signal.SIGSTOP)
    time.sleep(3)  # the fault itself
    os.kill(wreck.pooler.process.pid, signal.SIGCONT)
    get_over(wreck)


def test_f24_nothing_acknowledged_is_missing_or_done_twice(wreck):
    wreck.judge_all()


def test_f24_those_who_were_not_told_gave_up_preparing(wreck):
    for name in FIND_OUT:
        log = (wreck.stack.folder / f"log/{name}.log").read_text()
        assert "db.prepare_given_up" in log, name
    for name in TOLD:
        log = (wreck.stack.folder / f"log/{name}.log").read_text()
        assert "db.prepare_given_up" not in log, name
        assert faults(wreck, name) == 0
    assert sum(faults(wreck, name) for name in FIND_OUT) > 0


def faults(wreck, name):
    """Names that the daemon has found lost or taken."""
    return sum(float(count) for count in re.findall(
        r'^daybook_db_errors_total\{sqlstate_class="(?:26|42)"\} (\S+)', wreck.stack.metrics(name), re.M))
