"""F56: secrets are changed while calls come in; none fails, and what was taken away is refused within ten seconds.
Tokens' keys: tests/acceptance/test_http_identity.py. Webhooks' secrets: tests/acceptance/test_webhooks.py."""

import hashlib
import json
import pathlib
import secrets
import subprocess
import time

import mdp
import pytest
from company import CUSTOMERS, DIRECTORY, REMINDERS
from local_stack import CONSUMERS
from stack import wait_until
from web import Caller, new_key

LIST = CUSTOMERS + "CustomerService/List"
REFUSED = 10  # seconds until what was taken away is refused


@pytest.fixture(scope="module")
def load(pair):
    load = pair.start_load()
    yield load
    load.stop()


def restart_both(pair, name):
    """With what their files and settings say now: a third one first, so that there are always two."""
    pair.start_second(name, place="third").until_ready()
    pair.drain_second(name)
    pair.start_second(name).until_ready()
    pair.drain_first(name)
    pair.stack.start(name)
    wait_until(lambda: pair.stack.healthy(name), 20, f"{name} was ready")
    pair.drop(name, "third")


# --- the password of a database role ------------------------------------------------------------------


class Password:
    """PostgreSQL asks one role for its password from now on; the daemon's libpq reads it from a file for each
    connection. The socket is enough: it asks as TCP does."""

    def __init__(self, pair, role):
        self.stack, self.role = pair.stack, role
        self.file = pair.stack.folder / f"keys/{role}.pgpass"
        self.conninfo = pair.stack.folder / f"keys/{role}.conninfo"
        self.now = None

    def change(self, password):
        """The role first: connections that stand go on, and new ones are tried again until the file is there too."""
        self.stack.psql(f"alter role {self.role} password '{password}'")
        self.write(password)

    def write(self, password):
        new = self.file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(f"*:*:*:{self.role}:{password}\n")
        new.rename(self.file)
        self.now = password

    def put_into_conninfo(self, url, password):
        """The other way: the file holds all of the setting."""
        new = self.conninfo.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(f"{url} password={password}\n")
        new.rename(self.conninfo)

    def demand(self):
        hba = (self.stack.folder / "pg").resolve() / "pg_hba.conf"
        hba.write_text(f"local all {self.role} scram-sha-256\n{hba.read_text()}")
        self.stack.psql("select pg_reload_conf()")
        wait_until(lambda: not self.opens("wrong"), REFUSED, "PostgreSQL asked for the password")

    def opens(self, password):
        psql = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]
        return subprocess.run([psql, "-X", "-w", "-Atc", "select 1", "-d", self.stack.conninfo(self.role)],
                              env={"PGPASSWORD": password}, capture_output=True).returncode == 0

    def close_connections(self):
        """What stands is ended, one after the other, so that all are made with the new password."""
        for row in self.stack.sql(f"select pid from pg_stat_activity where usename = '{self.role}' and state = 'idle'"):
            self.stack.psql(f"select pg_terminate_backend({row['pid']})")
            time.sleep(0.02)  # not all at once


def test_f56_the_password_of_a_daemon_s_role(pair, load):
    password = Password(pair, "daybook_customers")
    password.change("first")
    url = pair.stack.env_of("customers")["DAYBOOK_DB_URL"]
    pair.stack.write_settings("customers", DAYBOOK_DB_URL=f"{url} passfile={password.file}")
    restart_both(pair, "customers")
    password.demand()
    load.goes_on(200)
    password.change("second")
    assert password.opens("second") and not password.opens("first")
    load.goes_on(200)
    since = pair.stack.value("select now()::text")
    restart_both(pair, "customers")
    assert not pair.stack.sql("select pid from pg_stat_activity where usename = 'daybook_customers'"
                              f" and backend_start < '{since}'"), "all connections are of the new password"
    load.goes_on(200)
    load.check()


def test_f56_a_password_is_read_anew_without_a_restart(pair, load):
    """Connections that end, as a server's restart ends them, are made again with what the file says."""
    password = Password(pair, "daybook_customers")
    password.change("third")
    password.close_connections()
    load.goes_on(400)
    assert pair.stack.healthy("customers") and pair.replicas["customers"].is_ready()
    load.check()


def test_f56_a_conninfo_is_read_anew_without_a_restart(pair, load):
    """As Compose and Kubernetes have it: the password stands in the file of DAYBOOK_DB_URL_FILE."""
    password = Password(pair, "daybook_visits")
    password.change("first")
    url = pair.stack.env_of("visits")["DAYBOOK_DB_URL"]
    password.put_into_conninfo(url, "first")
    pair.stack.write_settings("visits", DAYBOOK_DB_URL=None, DAYBOOK_DB_URL_FILE=password.conninfo)
    restart_both(pair, "visits")
    password.demand()
    load.goes_on(200)
    pair.stack.psql("alter role daybook_visits password 'second'")
    password.put_into_conninfo(url, "second")
    password.close_connections()
    assert password.opens("second") and not password.opens("first")
    load.goes_on(400)
    assert pair.stack.healthy("visits") and pair.replicas["visits"].is_ready()
    load.check()


# --- keys ---------------------------------------------------------------------------------------------


def admitted(stack, keys):
    client = mdp.Client(stack.env["DAYBOOK_BUS_ENDPOINT"], keys, timeout=1)
    try:
        return client.is_served("daybook.customers.v1.CustomerService", timeout=1)
    except mdp.NoAnswer:
        return False
    finally:
        client.close()


def test_f56_the_curve_key_of_a_daemon(pair, load):
    stack = pair.stack
    old = stack.keys("visits")
    subprocess.run([stack.bin / "daybook", "keygen", stack.folder / "keys/visits-new", "--kind", "daemon"], check=True,
                   stdout=subprocess.DEVNULL)
    new = stack.keys("visits-new")
    (stack.folder / "keys/admitted/visits-new.pub").write_text((stack.folder / "keys/visits-new.pub").read_text())
    wait_until(lambda: admitted(stack, new), REFUSED, "the new key was admitted")
    assert admitted(stack, old)
    stack.write_settings("visits", DAYBOOK_BUS_PUBLIC_KEY=new.public.decode(),
                         DAYBOOK_BUS_SECRET_KEY_FILE=str(stack.folder / "keys/visits-new.key"))
    restart_both(pair, "visits")
    load.goes_on(200)
    (stack.folder / "keys/admitted/visits.pub").unlink()
    wait_until(lambda: not admitted(stack, old), REFUSED, "the old key was refused")
    load.goes_on(200)
    load.check()


def test_f56_an_api_key(pair, load):
    company = pair.company
    old = load.api_key
    new = new_key(company, scopes=pair.scopes, employeeId=company.ids["gm"]).api_key
    other = Caller(pair.replicas["gateway"], new)
    wait_until(lambda: other.post(LIST).status == 200, REFUSED, "the other gateway knew the new key too")
    load.api_key = new
    load.goes_on(200)  # what was asked with the old one is answered
    caller = Caller(pair.stack, old)
    assert caller.post(LIST).status == 200, "both hold"
    company.system.command(DIRECTORY + "CredentialService/RevokeApiKey", {"id": pair.key_id})
    wait_until(lambda: caller.post(LIST).status == 401, REFUSED, "the old key was refused")
    load.goes_on(200)
    load.check()


# --- the master key -----------------------------------------------------------------------------------

SEALED = """select distinct substr(sealed, 4, 8) as key from (
    select phone_sealed as sealed from customers.contact union all select email_sealed from customers.contact
    union all select secret from gateway.endpoint union all select secret from reminders.channel) s where sealed <> ''"""


def restart_all(pair, **settings):
    for name in CONSUMERS:
        pair.stack.write_settings(name, **settings)
        restart_both(pair, name)


def sealed_under(stack):
    return {row["key"] for row in stack.sql(SEALED)}


def key_file(stack, name, text):
    file = stack.folder / f"keys/{name}.key"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def phone_of(caller, shop):
    answer = caller.post(CUSTOMERS + "ContactService/List", {"customerId": shop})
    assert answer.status == 200, answer.body
    return answer.json["contacts"][0]["phone"]


def test_f56_the_master_key(pair, load):
    """In three rounds. What was sealed stays readable all the while and is sealed anew, a number is found again, an API
    key goes on, and so does a list by its token."""
    stack, company = pair.stack, pair.company
    new = key_file(stack, "master-new", secrets.token_hex(32))
    old = key_file(stack, "master-old",
                   pathlib.Path(stack.env_of("customers")["DAYBOOK_MASTER_KEY_FILE"]).read_text())
    made = new_key(company, scopes=["customers.read", "customers.personal", "tenant.all", "events.read",
                                       "webhooks.write"])
    caller = Caller(stack, made.api_key)
    shop = company.customer("rep").id
    company.rep.command(CUSTOMERS + "ContactService/Create", {"contact": {
        "customerId": shop, "name": "Mx Li", "position": "Owner", "phone": "13800138000", "email": "li@example.com"}})
    company.system.command(REMINDERS + "ChannelService/Set", {"url": "http://127.0.0.1:9/notices"})
    hook = caller.post("daybook.gateway.v1.WebhookService/CreateEndpoint", {"endpoint": {"url": "http://127.0.0.1:9/hook"}})
    assert hook.status == 200, hook.body
    first = sealed_under(stack)
    page = caller.post(LIST, {"pageSize": 1}).json["nextPageToken"]

    def all_is_there():
        fresh = Caller(stack, made.api_key)  # the gateway was started anew
        assert phone_of(fresh, shop) == "13800138000"
        found = company.rep.call(CUSTOMERS + "CustomerService/FindDuplicates", {"phone": "138 0013 8000"})
        assert [c.customer_id for c in found.candidates] == [shop]
        assert fresh.post(LIST, {"pageSize": 1, "pageToken": page}).status == 200

    restart_all(pair, DAYBOOK_MASTER_KEY_NEXT_FILE=new)
    assert sealed_under(stack) == first
    all_is_there()
    restart_all(pair, DAYBOOK_MASTER_KEY_NEXT_FILE=None, DAYBOOK_MASTER_KEY_FILE=new, DAYBOOK_MASTER_KEY_OLD_FILE=old)
    all_is_there()
    wait_until(lambda: not sealed_under(stack) & first, 90, "nothing was sealed under the old key")
    checks = json.loads(stack.daybook("doctor", "--json").stdout)["checks"]
    sealed = next(c for c in checks if c["check"] == "sealed")
    assert sealed["result"] == "ok" and f"under the master key {sealed_under(stack).pop()} (" in sealed["detail"]
    wait_until(lambda: stack.value(f"select secret_hash from directory.credential where id = '{made.credential.id}'")
               == hash_under(new, made.api_key), 90, "the key's hash was made anew")
    restart_all(pair, DAYBOOK_MASTER_KEY_OLD_FILE=None)
    page = Caller(stack, made.api_key).post(LIST, {"pageSize": 1}).json["nextPageToken"]
    all_is_there()
    assert "webhook.secret" not in "".join(log.read_text() for log in stack.folder.glob("log/gateway*.log"))
    load.goes_on(200)
    load.check()


def hash_under(master, api_key):
    """As common/secret.h says: BLAKE2b under a key that is BLAKE2b of its purpose under the master key."""
    derived = hashlib.blake2b(b"token\0" + bytes(16), key=bytes.fromhex(master.read_text()), digest_size=32).digest()
    return hashlib.blake2b(api_key.split("_", 2)[2].encode(), key=derived, digest_size=32).hexdigest()


def test_f56_what_was_acknowledged_is_there_once(pair, load, tell):
    load.stop()
    load.check()
    pair.stack.settle()
    commands = load.check_ledger()
    tell(f"{load.summary()}, {commands} commands acknowledged")
