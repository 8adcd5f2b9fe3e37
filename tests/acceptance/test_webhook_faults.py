"""Webhooks before receivers that do everything wrong, certificates of all kinds, and two gateways (F05, F33, F44,
F45)."""

import collections
import contextlib
import datetime as dt
import ipaddress
import json
import signal
import socket
import ssl
import threading
import urllib.request
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from company import SECONDS
from receiver import Receiver
from stack import SLACK, wait_until
from test_webhooks import CREATED, UPDATED, Endpoint, make_customer, rename, seen_customers
from web import Caller, Gateway, free_port, new_key

SCOPES = ["webhooks.read", "webhooks.write", "events.read", "customers.read", "customers.write", "directory.read",
          "tenant.all"]


@pytest.fixture(scope="module")
def key(company):
    return new_key(company, scopes=SCOPES).api_key


@pytest.fixture
def erp(company, key):
    caller = Caller(company.stack, key)
    caller.tenant, caller.owner = company.tenant, company.ids["rep"]
    return caller


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


@pytest.fixture
def endpoints(erp):
    """Makes endpoints, and removes them when the test is over."""
    made = []

    def make(url, *types):
        made.append(Endpoint(erp, url, *(types or (CREATED, UPDATED))))
        return made[-1]
    yield make
    for e in made:
        e.delete()


def tried(endpoint, **which):
    """The delivery with the fate of its first attempt, as soon as there was one."""
    def look():
        return [d for d in endpoint.deliveries(**which) if d.get("attempts", 0) >= 1]
    return wait_until(look, SECONDS + 20 * SLACK, "it was tried")[0]


# --- receivers that do everything wrong (F44) ---------------------------------------------------------


class Rude:
    """A server that reads a request and then does what `behave(connection)` does."""

    def __init__(self, behave):
        self.behave, self.listener = behave, socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.over = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=[connection], daemon=True).start()

    def answer(self, connection):
        with connection, contextlib.suppress(OSError):  # the sender has had enough
            connection.recv(65536)
            self.behave(self, connection)

    def close(self):
        self.over.set()
        self.listener.close()


def says_nothing(rude, connection):
    rude.over.wait()


def hangs_up(rude, connection):
    pass


def talks_for_ever(status):
    def behave(rude, connection):
        connection.sendall(b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        while not rude.over.is_set():
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    return behave


def has_huge_headers(rude, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(64)))
    connection.sendall(b"Content-Length: 0\r\n\r\n")


def speaks_another_language(rude, connection):
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


# What the log says of it: a status, or words.
RUDE = {says_nothing: (0, "DEADLINE|timed out"), hangs_up: (0, "empty reply"), talks_for_ever(500): (500, "xxx"),
        has_huge_headers: (0, ""), speaks_another_language: (0, "")}


def test_f44_rude_receivers_delay_nobody(erp, receiver, endpoints):
    rude = {Rude(behave): want for behave, want in RUDE.items()}
    talker = Rude(talks_for_ever(200))
    try:
        ends = [(endpoints(r.url), want) for r, want in rude.items()]
        ends.append((endpoints("http://127.0.0.1:1/"), (0, "connect")))
        taken = endpoints(talker.url)
        endpoints(receiver.url)
        ids = {make_customer(erp)["id"] for _ in range(10)}
        wait_until(lambda: seen_customers(receiver) >= ids, SECONDS, "the polite one had them all")
        for end, (status, words) in ends:
            got = tried(end)
            assert got.get("lastStatus", 0) == status, (end.caller, got)
            assert got["state"] == "DELIVERY_STATE_PENDING" and got["nextAttemptAt"], got
            assert any(w.lower() in got["lastResult"].lower() for w in words.split("|")), got
        assert tried(taken)["state"] == "DELIVERY_STATE_DELIVERED", "200 was said; the rest is of no interest"
    finally:
        for r in (*rude, talker):
            r.close()


def test_f44_too_many_requests_leave_it_alone(erp, receiver, endpoints):
    busy = Receiver()
    busy.answers, busy.headers = [429], {"Retry-After": "3600"}
    try:
        end = endpoints(busy.url)
        endpoints(receiver.url)
        first = make_customer(erp)
        got = tried(end)
        assert got["lastStatus"] == 429
        pause = dt.datetime.fromisoformat(got["nextAttemptAt"]) - dt.datetime.fromisoformat(got["attemptedAt"])
        assert pause >= dt.timedelta(seconds=3600)
        second = make_customer(erp)
        wait_until(lambda: seen_customers(receiver) >= {first["id"], second["id"]}, SECONDS, "others have it")
        assert seen_customers(busy) == {first["id"]}, "it asked for an hour"
        end.call("UpdateEndpoint", endpoint={"id": end.id, "description": "is well again"}, updateMask="description")
        wait_until(lambda: second["id"] in seen_customers(busy), SECONDS, "somebody had looked at it")
    finally:
        busy.close()


def test_f44_an_event_that_is_refused_holds_up_no_other(erp, endpoints):
    """It says no to this event, not: I am unwell."""
    picky = Receiver()
    picky.answers = [422] * 8
    try:
        end = endpoints(picky.url, CREATED)
        refused = {make_customer(erp)["id"] for _ in range(8)}
        wait_until(lambda: seen_customers(picky) == refused, SECONDS, "each was tried, though eight in a row failed")
        picky.answers = []
        wanted = make_customer(erp)
        wait_until(lambda: wanted["id"] in seen_customers(picky), SECONDS, "the next one came at once")
        assert "failingSince" not in end.call("GetEndpoint", id=end.id)["endpoint"]
    finally:
        picky.close()


def test_what_is_sent_again_comes_though_a_later_one_is_held_back(erp, receiver, endpoints):
    end = endpoints(receiver.url)
    customer = make_customer(erp)
    receiver.wait(1)
    wait_until(lambda: end.deliveries(state="DELIVERY_STATE_DELIVERED"), SECONDS, "it was written down")
    receiver.answers = [500] * 3  # 5 s, then 5 min
    rename(erp, customer, f"Renamed {customer['id']}")
    wait_until(lambda: len(receiver.got) == 3 and end.deliveries()[0].get("attempts") == 2, SECONDS, "it is held back")
    first = receiver.got[0][0]["webhook-id"]
    receiver.answers = []
    assert end.call("Redeliver", endpointId=end.id, eventId=first)["redelivered"] == 1
    wait_until(lambda: [h["webhook-id"] for h, _ in receiver.got].count(first) == 2, SECONDS, "it came again")
    assert len(end.deliveries(state="DELIVERY_STATE_PENDING")) == 1


def test_a_secret_that_cannot_be_opened_stops_no_other(company, erp, receiver, endpoints):
    broken = endpoints(receiver.url + "/broken")
    endpoints(receiver.url + "/whole")
    company.stack.psql(f"update gateway.endpoint set secret = 'x' where id = '{broken.id}'")
    broken.call("UpdateEndpoint", endpoint={"id": broken.id, "description": "changed"}, updateMask="description")
    customer = make_customer(erp)
    wait_until(lambda: customer["id"] in seen_customers(receiver), SECONDS, "the whole one has it")
    log = (company.stack.folder / "log/gateway.log").read_text()
    assert any('"webhook.secret"' in line and broken.id in line for line in log.splitlines())
    broken.call("RotateSecret", id=broken.id, revokeNow=True)
    wait_until(lambda: set(receiver.paths) == {"/whole", "/broken"}, SECONDS, "with a new secret it goes on")


# --- certificates -------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ours")])
        self.file = folder / "ca.pem"
        made = self.builder(self.name, self.key, 30).add_extension(x509.BasicConstraints(True, None), True)
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def builder(self, subject, key, days, issuer=None):
        now = dt.datetime.now(dt.timezone.utc)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=60))
                .not_valid_after(now + dt.timedelta(days=days)))

    def context(self, names=("127.0.0.1",), days=30, itself=False):
        """Of a server with a certificate of ours, or, `itself`, one that nobody stands for."""
        key, file = ec.generate_private_key(ec.SECP256R1()), self.folder / f"{uuid.uuid4()}.pem"
        nobody = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a receiver")])
        builder = self.builder(nobody, key, days, nobody if itself else self.name)
        made = builder.add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(name)) for name in names]), True)
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption())
            + made.sign(key if itself else self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@contextlib.contextmanager
def other_gateway(stack, **settings):
    """In place of the stack's own, at its address."""
    stack.kill("gateway", signal.SIGTERM)
    gateway = None
    try:
        gateway = Gateway(stack, HTTP_LISTEN=stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"], **settings)
        yield gateway
    finally:
        if gateway:
            gateway.stop()
        stack.start("gateway")
        wait_until(lambda: stack.healthy("gateway"), SECONDS, "the gateway was back")


def test_certificates_are_checked_and_ones_own_authority_can_be_named(company, key, tmp_path):
    authority = Authority(tmp_path)
    good = Receiver(tls=authority.context())
    bad = [Receiver(tls=authority.context(days=-1)), Receiver(tls=authority.context(names=["127.0.0.2"])),
           Receiver(tls=authority.context(itself=True))]
    try:
        with other_gateway(company.stack, WEBHOOK_CA_FILE=authority.file) as gateway:
            erp = Caller(gateway, key)
            erp.tenant, erp.owner = company.tenant, company.ids["rep"]
            ends = [Endpoint(erp, r.url, CREATED) for r in bad]
            right = Endpoint(erp, good.url, CREATED)
            customer = make_customer(erp)
            wait_until(lambda: seen_customers(good) == {customer["id"]}, SECONDS, "the good one got it")
            for end, words in zip(ends, ("expired", "127.0.0.1", "self-signed")):
                got = tried(end)
                assert words in got["lastResult"] and got.get("lastStatus", 0) == 0, got
            for end in ends:
                end.delete()
            assert not any(r.got for r in bad)
        # Without that setting it is a stranger.
        erp.connection.close()
        make_customer(erp)
        got = tried(right, state="DELIVERY_STATE_PENDING")
        assert "certificate" in got["lastResult"], got
        right.delete()
    finally:
        for r in (good, *bad):
            r.close()


# --- a receiver that was away (F33) -------------------------------------------------------------------


def test_f33_thousands_of_events_wait_for_a_receiver_that_is_down(company, erp, key, endpoints, tmp_path):
    shops, rounds, port = 1000, 6, free_port()
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    end = endpoints(f"http://127.0.0.1:{port}/")
    source = f"s-{uuid.uuid4().hex[:8]}"
    for n in range(rounds):
        (tmp_path / "shops.csv").write_text("external_id,name,owner_no\n" + "".join(
            f"S-{i},{n} of shop {i},E006\n" for i in range(shops)))
        company.stack.daybook_json("import", "customers", tmp_path / "shops.csv", "--source", source, "--url",
                                   f"http://{erp.address[0]}:{erp.address[1]}", "--api-key", f"@{tmp_path / 'key'}")
    company.stack.settle()
    waiting = f"select count(*) from gateway.outgoing where endpoint_id = '{end.id}'"
    assert company.stack.value(waiting) == shops * rounds
    newest = ids_of_pages(end, 3, state="DELIVERY_STATE_PENDING", pageSize=50)
    assert newest == ids_of_pages(end, 1, pageSize=150) == sorted(set(newest), reverse=True)
    receiver = Receiver(port=port)
    try:
        wait_until(lambda: len(receiver.got) >= shops * rounds, 240 * SLACK, "all came", pause=0.2)
        wait_until(lambda: company.stack.value(waiting) == 0, SECONDS, "all was written down")
        names = in_order(receiver)
        assert len(names) == shops and all([n[0] for n in of] == list("012345") for of in names.values())
        shown = end.call("GetEndpoint", id=end.id)["endpoint"]
        assert shown["state"] == "ENDPOINT_STATE_ACTIVE" and "failingSince" not in shown
    finally:
        receiver.close()


def ids_of_pages(end, pages, **request):
    ids, token = [], ""
    for _ in range(pages):
        page = end.call("ListDeliveries", endpointId=end.id, pageToken=token, **request)
        ids, token = ids + [d["eventId"] for d in page["deliveries"]], page["nextPageToken"]
    return ids


def in_order(*receivers):
    """Names of each customer, as they came; what came again under its id is counted once."""
    seen, names = {}, collections.defaultdict(list)
    for receiver in receivers:
        for headers, body in receiver.got:
            if seen.setdefault(headers["webhook-id"], body) is body:
                customer = json.loads(body)["data"]["customer"]
                names[customer["id"]].append(customer["name"])
            assert seen[headers["webhook-id"]] == body
    return names


def test_what_is_older_than_thirty_days_is_deleted(company, erp, receiver, endpoints):
    """More than is deleted at one time; also what nobody has taken by then."""
    stack, end, rows = company.stack, endpoints(receiver.url), 12_000
    end.call("PauseEndpoint", id=end.id)
    kept = make_customer(erp)
    wait_until(lambda: end.deliveries(), SECONDS, "one is new")
    stack.psql(f"""
        create temp table old as
            select (lpad(to_hex(((extract(epoch from now()) - 40 * 86400) * 1000)::bigint), 12, '0') || '70008000'
                    || lpad(to_hex(i), 12, '0'))::uuid as event, i, '{end.id}'::uuid as endpoint,
                   '{company.tenant}'::uuid as tenant
              from generate_series(1, {rows}) i;
        insert into gateway.message select tenant, event, 'x', 'customers/x', now(), '{{}}' from old;
        insert into gateway.delivery (tenant_id, endpoint_id, event_id, seq, lane, key, state)
            select tenant, endpoint, event, i, i % 16, i, 'pending' from old;
        insert into gateway.outgoing (tenant_id, endpoint_id, lane, seq, event_id, key)
            select tenant, endpoint, i % 16, i, event, i from old;
        insert into gateway.attempt select tenant, endpoint, event, now(), 500, '', 1 from old where i <= 100""")
    stack.kill("gateway")  # it looks at its start, and then every hour
    erp.connection.close()
    stack.start("gateway")
    for table in ("outgoing", "delivery", "attempt"):
        left = f"select count(*) from gateway.{table} where endpoint_id = '{end.id}'"
        wait_until(lambda left=left, want=int(table != "attempt"): stack.value(left) == want, 2 * SECONDS, "it was deleted")
    assert stack.value(f"select count(*) from gateway.message where tenant_id = '{company.tenant}' and type = 'x'") == 0
    wait_until(lambda: stack.healthy("gateway"), SECONDS, "the gateway was back")
    end.call("ResumeEndpoint", id=end.id)
    wait_until(lambda: seen_customers(receiver) == {kept["id"]}, SECONDS, "what is younger was kept")


# --- two gateways (F05) -------------------------------------------------------------------------------


def delivered(env):
    with urllib.request.urlopen(f"http://{env['DAYBOOK_ADMIN_LISTEN']}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines
               if line.startswith('daybook_webhook_attempts_total{outcome="delivered"}'))


def test_f05_two_gateways_share_the_work_and_one_takes_over(company, erp, receiver, endpoints):
    stack = company.stack
    owners = "select count(*) from (select owner from gateway.shard_lease where expires_at > now() group by owner) o"
    endpoints(receiver.url)
    second = Gateway(stack)
    try:
        wait_until(lambda: stack.value(owners) == 2, SECONDS, "both have lanes")
        before = delivered(stack.env_of("gateway"))
        shops = [make_customer(erp, f"0 {uuid.uuid4()}") for _ in range(40)]
        for n in range(1, 4):
            for shop in shops:
                rename(erp, shop, f"{n} {shop['id']}")
        receiver.wait(160)
        stack.settle()
        wait_until(lambda: delivered(second.env) + delivered(stack.env_of("gateway")) - before == 160, SECONDS,
                   "each was posted")
        assert len(receiver.got) == len({h["webhook-id"] for h, _ in receiver.got}) == 160, "once"
        assert delivered(second.env) > 0 and delivered(stack.env_of("gateway")) > before, "by both"
        # One dies in the midst of it.
        receiver.delay = 0.05
        for n in range(4, 7):
            for i, shop in enumerate(shops):
                rename(erp, shop, f"{n} {shop['id']}")
                if (n, i) == (5, 0):
                    second.process.kill()
                    second.process.wait()
        wait_until(lambda: len({h["webhook-id"] for h, _ in receiver.got}) == 280, 60 * SLACK, "nothing was lost")
        assert stack.value(owners) == 1
        names = in_order(receiver)
        assert {shop["id"] for shop in shops} == set(names)
        assert all([name[0] for name in of] == list("0123456") for of in names.values()), names
    finally:
        second.process.kill()
        second.process.wait()


def test_a_gateway_without_tokens_has_all_its_threads(stack):
    with urllib.request.urlopen(f"http://{stack.env_of('gateway')['DAYBOOK_ADMIN_LISTEN']}/livez") as page:
        assert page.status == 200
