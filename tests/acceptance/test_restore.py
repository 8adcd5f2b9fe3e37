"""A backup is taken, the database goes back to a moment before it was broken, and all of it fits together again
(F15, F58). By the script and the commands that docs/operate.md names.
"""

import datetime as dt
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from company import BUS, CUSTOMERS, SECONDS
from conftest import START
from google.protobuf import json_format
from receiver import Receiver
from stack import DAEMONS, ROOT, Clock, Stack, wait_until
from web import Caller, new_key

WEBHOOKS = "daybook.gateway.v1.WebhookService/"
CREATE = CUSTOMERS + "CustomerService/Create"
CACHE = 1
AS_POSTGRES = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


class Backup:
    """deploy/backup/backup.sh, as the user of the server, who may not be able to enter our folders."""

    def __init__(self, stack):
        self.stack = stack
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-backup-", dir="/var/tmp"))
        shutil.copy(ROOT / "deploy/backup/backup.sh", self.folder)
        if AS_POSTGRES:
            shutil.chown(self.folder, "postgres")
        self.folder.chmod(0o755)

    def run(self, *words):
        command = ["env", f"PGHOST={self.stack.sockets}", "PGUSER=daybook_owner", self.folder / "backup.sh", *words]
        return subprocess.run([*AS_POSTGRES, *map(str, command)], text=True, capture_output=True, cwd="/")

    def must(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def data(self):
        return pathlib.Path(os.path.realpath(self.stack.folder / "pg"))

    def turn_on(self):
        self.stack.psql("alter system set archive_mode = 'on'")
        self.stack.psql(f"alter system set archive_command = '{self.folder}/backup.sh archive {self.folder} %p %f'")
        self.restart()

    def restart(self):
        self.stack.kill("postgres", signal.SIGINT)
        self.stack.start("postgres")

    def archived(self):
        """Until what has happened is in the archive."""
        last = self.stack.psql("select pg_walfile_name(pg_switch_wal())").strip()
        wait_until(lambda: (self.folder / "wal" / last).exists(), SECONDS, "the WAL was archived")

    def restore(self, moment):
        """As an operator does it: the broken data is put aside, what comes back gets its place."""
        self.stack.kill("postgres", signal.SIGINT)
        aside = self.folder / "broken"
        subprocess.run([*AS_POSTGRES, "mkdir", aside], check=True, cwd="/")
        subprocess.run([*AS_POSTGRES, "bash", "-c", f"mv '{self.data}'/* '{aside}'"], check=True, cwd="/")
        said = self.must("restore", self.folder, self.data, moment)
        self.stack.start("postgres")
        wait_until(lambda: self.stack.psql("select pg_is_in_recovery()").strip() == "f", SECONDS, "recovery ended")
        return said


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack of its own, whose PostgreSQL archives."""
    private = Stack(tmp_path_factory.mktemp("restored"), DAYBOOK_STACK_CLOCK="steered")
    private.clock = Clock(private, START)
    private.up()
    backup = private.backup = Backup(private)
    try:
        backup.turn_on()
        yield private
        private.down()
        assert not private.sanitizer_reports(), "\n".join(private.sanitizer_reports())
    finally:
        private.remove()
        shutil.rmtree(backup.folder)


@pytest.fixture(scope="module")
def clock(stack):
    return stack.clock


def moment_of(stack):
    """Now, by the server, and not that of any commit before or after."""
    time.sleep(0.01)
    now = stack.psql("select clock_timestamp()").strip()
    time.sleep(0.01)
    return now


def doctor(stack, *words):
    done = stack.daybook("doctor", *words, "--json")
    return done.returncode, {c["check"]: c for c in json.loads(done.stdout)["checks"]}


def names_of(company):
    listed = company.rep.call(CUSTOMERS + "CustomerService/List", {"pageSize": 100}).customers
    return {c.name for c in listed}


def tomorrow(company):
    return company.tasks(date=(company.clock.now + dt.timedelta(days=1)).strftime("%Y-%m-%d"))


def tasks_of(company):
    return [json_format.MessageToDict(t) for t in tomorrow(company).list.tasks]


def test_f58_back_to_a_moment(company, stack):
    backup = stack.backup
    reader = Caller(stack, new_key(company, scopes=["events.read"]).api_key)
    kept = company.customer(name="Kept")
    company.ask(kept)
    stack.settle()
    base = pathlib.Path(backup.must("base", backup.folder).strip())
    assert (base / "backup_manifest").exists() and "daybook_backup_end" in (backup.folder / "daybook_backup.prom").read_text()

    late = company.customer(name="After the backup")
    stack.settle()
    tasks = tasks_of(company)
    head = company.system.call(BUS + "EventService/GetHead", {})
    moment = moment_of(stack)
    company.customer(name="Lost")
    company.ask(late)
    stack.settle()
    wait_until(lambda: tomorrow(company).source == CACHE, SECONDS, "the list with what gets lost was cached")
    assert tasks_of(company) != tasks
    ahead = company.system.call(BUS + "EventService/GetHead", {})
    assert ahead.head_seq > head.head_seq and ahead.log_id == head.log_id
    backup.archived()

    for name in DAEMONS:
        stack.kill(name, signal.SIGTERM)
    backup.restore(moment)
    status, checks = doctor(stack, "--after-restore")
    assert status == 0, checks
    assert checks["log id"]["result"] == checks["daily lists"]["result"] == "mended"
    for name in DAEMONS:
        stack.start(name)
    stack.settle()

    now = company.system.call(BUS + "EventService/GetHead", {})
    assert now.head_seq == head.head_seq and now.log_id not in (head.log_id, "")

    # What was there is there, and nothing of what came later; the list in Redis was newer and is not believed.
    assert names_of(company) == {"Kept", "After the backup"}
    assert tasks_of(company) == tasks

    # Numbers are given out a second time, so who kept a position must hear that it is of another log.
    again = company.customer(name="New")
    stack.settle()
    stream = reader.stream(BUS + "EventService/StreamEvents", {"afterSeq": str(ahead.head_seq), "logId": ahead.log_id})
    assert list(stream) == [] and stream.end["error"]["details"][0]["debug"]["reason"] == "LOG_CHANGED"
    events = company.system.call(BUS + "EventService/ReadEvents", {"aggregate": f"customers/{again.id}"})
    assert events.log_id == now.log_id and events.events[0].seq <= ahead.head_seq
    status, checks = doctor(stack)
    assert status == 0, checks
    assert all(c["result"] == "ok" for name, c in checks.items() if name != "roles"), checks
    done = stack.daybook("rebuild", "scoring")
    assert done.returncode == 0, done.stderr


def test_a_new_log_id_is_taken_up_by_what_runs(company, stack):
    before = company.system.call(BUS + "EventService/GetHead", {}).log_id
    status, checks = doctor(stack, "--after-restore")
    assert status == 0 and before not in checks["log id"]["detail"]
    company.customer(name="Under the new id")
    stack.settle()
    after = company.system.call(BUS + "EventService/GetHead", {}).log_id
    assert after != before and after in checks["log id"]["detail"]
    assert doctor(stack)[0] == 0


def test_f15_endpoints_ahead_of_the_log_are_brought_back(company, stack):
    """As the schema of the bus leaves them when it alone is restored: silent until the log passes them."""
    receiver = Receiver()
    try:
        ahead, other = [company.gm.command(WEBHOOKS + "CreateEndpoint", {
            "endpoint": {"url": receiver.url, "types": [CUSTOMERS + "CustomerCreated"]}}).endpoint.id for _ in range(2)]
        head = int(stack.psql("select last_seq from bus.head"))
        stack.psql(f"update gateway.endpoint set since_seq = {head + 100} where id = '{ahead}'")
        status, checks = doctor(stack)
        assert status == 65 and checks["webhooks"]["result"] == "fail"
        assert "1 endpoints" in checks["webhooks"]["detail"] and "--after-restore" in checks["webhooks"]["detail"]
        place = f"select since_seq from gateway.endpoint where id = '{other}'"
        before = stack.psql(place)
        done = stack.daybook("doctor", "--after-restore")
        assert done.returncode == 0 and "1 endpoints were ahead" in done.stdout, done.stdout
        assert stack.psql(place) == before, "the other one keeps its place"
        assert doctor(stack)[1]["webhooks"]["result"] == "ok"
        customer = company.customer(name="Heard again")
        receiver.wait(2)
        told = [json.loads(body)["subject"] for _, body in receiver.got]
        assert told == [f"customers/{customer.id}"] * 2, "both endpoints heard of it"
        for endpoint in (ahead, other):
            company.gm.command(WEBHOOKS + "DeleteEndpoint", {"id": endpoint})
    finally:
        receiver.close()


def test_doctor_names_what_is_broken(company, stack):
    last = int(stack.psql("select last_seq from bus.head"))
    stack.psql(f"update visits.consumer_cursor set seq = {last + 100}")
    stack.psql("update bus.log set event_id = gen_random_uuid() where seq = (select seq from scoring.consumer_cursor)")
    stack.psql("delete from bus.log where seq = 2")
    status, checks = doctor(stack)
    assert status == 65
    assert f"has come to {last + 100}" in checks["consumer visits"]["detail"]
    assert "daybook rebuild visits" in checks["consumer visits"]["detail"]
    assert "another in the log" in checks["consumer scoring"]["detail"]
    assert checks["log"]["result"] == "fail" and "1 events are missing" in checks["log"]["detail"]
    done = stack.daybook("doctor")
    assert done.returncode == 65 and "faults" in done.stderr


def test_doctor_over_an_older_schema(stack):
    stack.psql("delete from gateway.schema_version v where component <> 'common' and version = "
               "(select max(version) from gateway.schema_version o where o.component = v.component)")
    status, checks = doctor(stack)
    assert status == 65 and "daybook migrate" in checks["schemas"]["detail"]
    assert "log" not in checks, "what needs the schemas was not asked"


def test_a_backup_that_would_do_harm_is_refused(stack):
    backup = stack.backup
    assert backup.run("restore", backup.folder, backup.data).returncode == 1, "into a folder that is not empty"
    empty = backup.folder / "empty"
    too_early = backup.run("restore", backup.folder, empty, "2020-01-01 00:00:00+00")
    assert too_early.returncode == 1 and "no base backup" in too_early.stderr and not empty.exists()
    wal = next(p for p in (backup.folder / "wal").iterdir() if p.stat().st_size > 1000)
    other = backup.folder / "other"
    subprocess.run([*AS_POSTGRES, "bash", "-c", f"echo x > '{other}'"], check=True, cwd="/")
    assert backup.run("archive", backup.folder, other, wal.name).returncode == 1, "another file of that name"
    assert backup.run("archive", backup.folder, wal, wal.name).returncode == 0, "the same again"
    for _ in range(2):
        backup.must("base", backup.folder, "1")
    assert len(list((backup.folder / "base").iterdir())) == 1
    for keep in ("0", "-1", "some"):
        assert "KEEP" in backup.run("base", backup.folder, keep).stderr
    assert len(list((backup.folder / "base").iterdir())) == 1, "none was thrown away"
    unreadable = backup.run("restore", backup.folder, empty, "yesteryear")
    assert unreadable.returncode == 1 and "TIME" in unreadable.stderr and not empty.exists()
    assert backup.run("what").returncode == 64
