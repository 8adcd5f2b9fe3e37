"""Secrets and personal data stay where they belong (operations 3, 7 and 8): a stack whose secrets are all known, at log
level debug, is asked right and wrong; then none of them is in a log, in what `ps` shows, on a page of a daemon, in
an answer that refuses, or in a dump of the database, which a backup is.
"""

import base64
import contextlib
import csv
import io
import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request
import uuid

import pytest

import mdp
from company import CUSTOMERS, DIRECTORY, REMINDERS, SECONDS, Company
from conftest import START
from receiver import Receiver
from stack import DAEMONS, Clock, Stack, wait_until
from test_http_identity import AUDIENCE, ISSUER, Key, key_set
from web import LIST, Caller, new_key

CREDENTIAL = DIRECTORY + "CredentialService/"
WEBHOOKS = "daybook.gateway.v1.WebhookService/"
CREATE = CUSTOMERS + "CustomerService/Create"
CONTACT = CUSTOMERS + "ContactService/Create"
PAGES = ("/", "/openapi.json", "/asyncapi.json", "/docs", "/nowhere")
ADMIN_PAGES = ("/startupz", "/livez", "/readyz?verbose", "/metrics", "/version", "/nowhere")


class Known:
    """What must not be found, by name, in every form in which it could be written."""

    def __init__(self):
        self.secrets = {}

    def add(self, name, text):
        text = text.decode() if isinstance(text, bytes) else text
        assert len(text) >= 8, name
        self.secrets[name] = text
        return text

    def forms(self, only=lambda name: True):
        for name, text in self.secrets.items():
            if only(name):
                raw = text.encode()
                yield name, raw
                yield f"{name}, hex", raw.hex().encode()
                yield f"{name}, base64", base64.b64encode(raw)[:-4 if len(raw) % 3 else None]
                yield f"{name}, in JSON", json.dumps(text)[1:-1].encode()

    def found_in(self, data, **which):
        return {name for name, form in self.forms(**which) if form in data}


class Played:
    """A company's day, in which everybody gives his secrets, and somebody gives wrong ones."""

    def __init__(self, folder):
        self.known, self.refusals = Known(), []
        self.stack = Stack(folder, DAYBOOK_LOG_LEVEL="debug", DAYBOOK_STACK_CLOCK="steered")
        self.stack.clock = Clock(self.stack, START)
        self.receiver = Receiver()

    def start(self, stopping):
        """With passwords at the database, in files."""
        stopping.callback(self.stack.remove)
        stopping.callback(self.receiver.close)
        self.stack.up()
        hba = f"{self.stack.value('select current_setting($$data_directory$$) as d')}/pg_hba.conf"
        for name in DAEMONS:
            password = self.known.add(f"database password of {name}", f"pw-{name}-{uuid.uuid4().hex}")
            self.stack.psql(f"alter role daybook_{name} password '{password}'")
        self.stack.psql(f"copy (values ('local all daybook_owner trust'), ('local all all scram-sha-256')) to '{hba}'; "
                        "select pg_reload_conf()")
        self.idp = Key("k1")
        (self.stack.folder / "jwks.json").write_text(key_set(self.idp))
        for name in DAEMONS:
            url = self.stack.folder / f"keys/{name}.url"
            url.write_text(f"{self.stack.conninfo(f'daybook_{name}')} "
                           f"password={self.known.secrets[f'database password of {name}']}\n")
            self.stack.change_settings(name, DAYBOOK_DB_URL=None, DAYBOOK_DB_URL_FILE=str(url), **({
                "DAYBOOK_JWT_JWKS": str(self.stack.folder / "jwks.json"), "DAYBOOK_JWT_ISSUER": ISSUER,
                "DAYBOOK_JWT_AUDIENCE": AUDIENCE} if name == "gateway" else {}))
            self.known.add(f"CURVE key of {name}", (self.stack.folder / f"keys/{name}.key").read_text().split()[0])
        self.known.add("CURVE key of the operator", self.stack.keys().secret)
        self.known.add("master key", (self.stack.folder / "keys/master.key").read_text().strip())

    def refused(self, answer):
        assert answer.status >= 400, answer.body
        self.refusals.append((answer.status, answer.body + str(answer.headers).encode()))

    def fails(self, client, method, request):
        with pytest.raises(mdp.CallError) as failure:
            client.command(method, request)
        self.refusals.append((method, f"{failure.value} {failure.value.__dict__}".encode()))

    def play(self):
        self.company = Company(self.stack, self.stack.clock)
        for who, keys in self.company.keys.items():
            self.known.add(f"CURVE key of {who}", keys.secret)
        self.play_people()
        self.play_keys()
        self.play_webhooks()
        self.play_feed()
        self.play_restart()
        self.stack.settle()

    def play_people(self):
        rep = self.company.rep
        phone, email = self.known.add("phone", "13987654321"), self.known.add("e-mail", "hidden.person@example.com")
        person = self.known.add("person", "Mx Ouyang-Verborgen")
        customer = self.company.customer()
        rep.command(CONTACT, {"contact": {"customerId": customer.id, "name": person, "phone": phone, "email": email}})
        self.fails(rep, CONTACT, {"contact": {"customerId": str(uuid.uuid4()), "name": person, "phone": phone}})
        self.fails(rep, CONTACT, {"contact": {"customerId": customer.id, "name": person, "phone": f"{phone}x"}})
        self.fails(rep, CONTACT, {"contact": {"customerId": "none", "name": person, "email": email}})
        self.fails(rep, CUSTOMERS + "ContactService/List", {"customerId": email})
        rep.call(CUSTOMERS + "CustomerService/FindDuplicates", {"name": "Shop", "phone": phone})
        note = self.known.add("note", "told me about her divorce")
        self.company.ask(customer, text=note)

    def play_keys(self):
        company = self.company
        scopes = ["webhooks.read", "webhooks.write", "events.read", "customers.read", "customers.write", "tenant.all"]
        self.key = self.known.add("API key", new_key(company, scopes=scopes).api_key)
        self.known.add("API key's secret", self.key.split("_", 2)[2])
        self.program = Caller(self.stack, self.key)
        assert self.program.post(CREATE, {"customer": {"name": "Posted", "ownerId": company.ids["rep"]}}).status == 200
        guess = self.known.add("guessed API key", self.key[:-4] + "AAAA")
        self.refused(Caller(self.stack, guess).post(LIST))
        self.refused(Caller(self.stack, self.known.add("no API key", "hunter2hunter2")).post(LIST))
        self.refused(self.program.post(CREATE, f'{{"customer": {{"name": "{self.known.add("cut body", "half-a-nam")}'))
        self.refused(self.program.post(CREATE, {"customer": {self.known.add("field", "unheardoffield"): 1}}))
        self.refused(self.program.send("GET", "/nowhere?key=" + self.key, Cookie=f"session={self.key}"))
        token = self.known.add("token", self.idp.token(company, company.ids["rep"]))
        assert Caller(self.stack, token).post(LIST).status == 200
        self.refused(Caller(self.stack, self.known.add("stale token", self.idp.token(
            company, company.ids["rep"], exp=1))).post(LIST))
        self.refused(Caller(self.stack, self.known.add("forged token", Key("k1").token(
            company, company.ids["rep"]))).post(LIST))
        file = self.stack.folder / "keys/api.key"
        file.write_text(self.key)
        url = "http://" + self.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"]
        for word in ("{}", '{"id": "wrong"}'):
            done = self.stack.daybook("call", CUSTOMERS + "CustomerService/Get", word, "--url", url, "--api-key",
                                      f"@{file}")
            assert done.returncode != 0
            self.refusals.append(("daybook call", (done.stdout + done.stderr).encode()))
        text, person = io.StringIO(), self.known.secrets["person"]
        csv.writer(text).writerows([
            ["external_id", "name", "owner_id", "contact_name", "contact_phone"],
            ["1", "Imported", company.ids["rep"], person, self.known.add("imported phone", "13811112222")],
            ["2", "Not imported", company.ids["rep"], person, "x" + self.known.secrets["phone"]]])
        (self.stack.folder / "customers.csv").write_text(text.getvalue())
        done = self.stack.daybook("import", "customers", self.stack.folder / "customers.csv", "--tenant", company.tenant)
        assert "invalid           1" in done.stdout and "duplicate" not in done.stdout, done.stdout + done.stderr

    def play_webhooks(self):
        token = self.known.add("token in a webhook's address", f"hooktoken-{uuid.uuid4().hex}")
        for path in ("/hook", "/other"):
            made = self.program.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {
                "url": f"{self.receiver.url}{path}?token={token}", "types": ["daybook.customers.v1.CustomerCreated"]}})
            assert made.status == 200, made.body
            self.known.add(f"webhook secret of {path}", made.json["secret"])
        self.receiver.answers = [500, 301, 200]
        closed = f"http://127.0.0.1:9/?token={token}"  # nobody listens there
        assert self.program.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {
            "url": closed, "types": ["daybook.customers.v1.CustomerCreated"]}}).status == 200
        self.refused(self.program.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": f"ftp://h/?token={token}"}}))
        self.refused(self.program.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {
            "url": f"http://169.254.1.1/?token={token}", "types": ["daybook.customers.v1.CustomerCreated"]}}))
        rep = self.company.rep
        made = rep.command(REMINDERS + "ChannelService/Set", {
            "employeeId": self.company.ids["rep"], "url": f"{self.receiver.url}/notices?token={token}"})
        self.known.add("channel's secret", made.secret)
        self.company.customer()
        self.receiver.wait(3)

    def play_feed(self):
        made = self.company.rep.command(CREDENTIAL + "CreateCalendarFeed", {"label": "phone"})
        self.known.add("calendar's address", made.path.removeprefix(f"/calendars/{made.credential.id}_")
                       .removesuffix(".ics"))
        caller = Caller(self.stack)
        wait_until(lambda: caller.send("GET", made.path).status == 200, SECONDS, "the feed was there")
        self.refused(caller.send("GET", made.path + "x"))
        self.refused(caller.send("POST", made.path))

    def play_restart(self):
        """The database goes away and comes back: what is logged then is of connections."""
        self.stack.kill("postgres")
        wait_until(lambda: not self.stack.healthy("customers"), SECONDS, "customers noticed")
        self.stack.start("postgres")
        for name in DAEMONS:
            wait_until(lambda: self.stack.healthy(name), SECONDS, f"{name} was back")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with contextlib.ExitStack() as stopping:
        day = Played(tmp_path_factory.mktemp("secrets"))
        day.start(stopping)
        day.play()
        yield day


def test_the_secrets_were_really_used(played):
    """Else finding none would prove nothing."""
    assert len(played.known.secrets) > 30 and len(played.refusals) > 15
    for name in DAEMONS:
        log = (played.stack.folder / f"log/{name}.log").read_text()
        assert '"level":"debug"' in log or name == "bus", name
    with pytest.raises(AssertionError, match="password"):
        played.stack.psql("select 1", "-d", played.stack.conninfo("daybook_visits"), "-w")
    assert played.known.found_in(f"x {played.key} x".encode()) >= {"API key", "API key's secret"}


def test_none_is_in_a_log(played):
    logs = list(played.stack.folder.glob("log/*"))
    assert len(logs) >= len(DAEMONS) + 2
    for log in logs:
        assert not played.known.found_in(log.read_bytes()), log


def test_none_is_shown_by_ps(played):
    seen = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            assert not played.known.found_in((process / "cmdline").read_bytes().replace(b"\0", b" ")), process
            seen += 1
    assert seen > len(DAEMONS)
    for name in DAEMONS:  # an environment is for the same user only, but is handed on
        environment = pathlib.Path(f"/proc/{played.stack.pid(name)}/environ").read_bytes()
        assert b"DAYBOOK_DB_URL_FILE=" in environment and not played.known.found_in(environment), name


def page_of(address, path, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", headers=headers)) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def test_none_is_on_a_page(played):
    for name in DAEMONS:
        for path in ADMIN_PAGES:
            page = page_of(played.stack.env_of(name)["DAYBOOK_ADMIN_LISTEN"], path,
                           Accept="application/openmetrics-text; version=1.0.0")
            assert page and not played.known.found_in(page), (name, path)
    for path in PAGES:
        assert not played.known.found_in(page_of(played.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"], path)), path


def test_none_is_in_an_answer_that_refuses(played):
    for what, text in played.refusals:
        # He may be told which field or value of his own is wrong; never a secret.
        assert not played.known.found_in(text, only=lambda name: name != "field"), (what, text)


def test_none_is_in_a_dump_of_the_database(played):
    """Who has a backup but not the master key has no secret, and cannot reach or name a contact's phone."""
    dump = subprocess.run([sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1] / "pg_dump", "-d",
                           played.stack.conninfo()], capture_output=True, timeout=120)
    assert dump.returncode == 0 and b"COPY customers.contact" in dump.stdout
    in_clear = {"person", "note", "token in a webhook's address"}  # business data, and where a webhook goes
    assert not played.known.found_in(dump.stdout, only=lambda name: name not in in_clear)


@pytest.mark.parametrize("change", [
    {"DAYBOOK_DB_URL_FILE": "host=h password=se cretword dbname=d"},
    {"DAYBOOK_DB_URL_FILE": "postgresql://u:secretword@h:notaport/d"},
    {"DAYBOOK_DB_URL_FILE": "postgresql://u:p@[secretword/d"},
    {"DAYBOOK_MASTER_KEY_FILE": "secretword"},
    {"DAYBOOK_BUS_SECRET_KEY_FILE": "secretword"},
    {"DAYBOOK_MASTER_KEY_FILE": "zzsecretword" + "0" * 52},
])
def test_a_wrong_secret_is_not_quoted(played, change, tmp_path):
    env = {**os.environ, **played.stack.env_of("customers"), "DAYBOOK_ADMIN_LISTEN": "127.0.0.1:0",
           "DAYBOOK_LOG_LEVEL": "debug"}
    for name, text in change.items():
        (tmp_path / name).write_text(text)
        env[name] = str(tmp_path / name)
    log = tmp_path / "log"
    for words in (["--check-config"], []):
        with log.open("w") as out:
            process = subprocess.Popen([played.stack.bin / "daybook-customers", *words], env=env, stdout=out,
                                       stderr=subprocess.STDOUT)
            try:
                # Either it ends and says why, or it says why it is not connected and tries for ever.
                wait_until(lambda: process.poll() is not None or '"warn"' in log.read_text(), SECONDS, "it complained")
            finally:
                process.terminate()
                process.wait(60)
        assert log.read_text() and "cretword" not in log.read_text(), words
        assert "secretword" not in log.read_text()


def test_a_secret_in_the_environment_is_refused(played):
    env = {k: v for k, v in {**os.environ, **played.stack.env_of("customers")}.items()
           if k not in ("DAYBOOK_MASTER_KEY_FILE", "DAYBOOK_INSECURE_ENV_SECRETS")}
    done = subprocess.run([played.stack.bin / "daybook-customers", "--check-config"], text=True, capture_output=True,
                          env={**env, "DAYBOOK_MASTER_KEY": played.known.secrets["master key"]}, timeout=60)
    assert done.returncode == 78 and "DAYBOOK_MASTER_KEY" in done.stdout + done.stderr
    assert not played.known.found_in((done.stdout + done.stderr).encode())
