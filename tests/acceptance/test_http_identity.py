"""Who somebody is over HTTP: tokens of an identity provider, where a key is used from, and guessing (operations 8
and 5). Tokens are made by PyJWT and cryptography; time is the wall clock, however a test turns the other.
"""

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import ipaddress
import json
import os
import ssl
import threading
import time
import uuid

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from company import BUS, CUSTOMERS, DIRECTORY, SECONDS
from stack import UTC, wait_until
import web
from web import LIST, Caller, new_key

CREATE = CUSTOMERS + "CustomerService/Create"
GET = CUSTOMERS + "CustomerService/Get"
READ = BUS + "EventService/ReadEvents"
STREAM = BUS + "EventService/StreamEvents"
ISSUER, AUDIENCE = "https://idp.example/realms/sales", "daybook"
OUTSIDE = "203.0.113.7"

KINDS = {
    "RS256": (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), jwt.algorithms.RSAAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, jwt.algorithms.OKPAlgorithm),
}


class Key:
    def __init__(self, kid, alg="EdDSA"):
        make, self.tool = KINDS[alg]
        self.kid, self.alg, self.private = kid, alg, make()

    @property
    def jwk(self):
        return {**json.loads(self.tool.to_jwk(self.private.public_key())), "kid": self.kid, "use": "sig"}

    def token(self, company, subject, header=None, **claims):
        now = int(time.time())
        said = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "nbf": now, "tenant": company.tenant, "sub": subject,
                **claims}
        head = {"kid": self.kid, **(header or {})}
        return jwt.encode({k: v for k, v in said.items() if v is not None}, self.private, self.alg,
                          {k: v for k, v in head.items() if v is not None})


def key_set(*keys):
    return json.dumps({"keys": [key.jwk for key in keys]})


class Publisher:
    """An identity provider's address of keys, on loopback."""

    def __init__(self, *keys):
        self.body, self.status, self.asked = key_set(*keys), 200, 0
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.asked += 1
                self.send_response(publisher.status)
                self.send_header("Content-Type", "application/jwk-set+json")
                self.end_headers()
                self.wfile.write(publisher.body.encode())

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def gateway(company, **settings):
    return web.gateway(company, JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE, **settings)


@pytest.fixture(scope="module")
def keys():
    return {alg: Key(f"key of {alg}", alg) for alg in KINDS}


@pytest.fixture(scope="module")
def door(company, keys, tmp_path_factory):
    """A gateway that takes tokens by a file of keys, behind a proxy on loopback."""
    path = tmp_path_factory.mktemp("jwks") / "keys.json"
    path.write_text(key_set(*keys.values()))
    with gateway(company, JWT_JWKS=path, HTTP_TRUSTED_PROXIES="127.0.0.0/8") as one:
        wait_until(lambda: Caller(one, keys["EdDSA"].token(company, "E006")).post(LIST).status == 200, SECONDS,
                   "the people are known")
        yield one


def asks(door, token, method=LIST, request=None, **headers):
    answer = Caller(door, token).post(method, request, **headers)
    return (200, None) if answer.status == 200 else answer.fault


# --- tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", KINDS)
def test_a_token_acts_as_its_employee(company, door, keys, alg):
    for subject in ("E006", company.ids["rep"]):
        caller = Caller(door, keys[alg].token(company, subject))
        made = caller.post(CREATE, {"customer": {"name": f"By token {uuid.uuid4()}"}})
        assert made.status == 200, made.body
        assert made.json["customer"]["ownerId"] == company.ids["rep"]
        assert caller.post(GET, {"id": made.json["customer"]["id"]}).status == 200
    assert asks(door, keys[alg].token(company, "E007"), GET, {"id": made.json["customer"]["id"]}) == (404, "not_found")


def test_a_token_that_is_not_for_us_or_not_now_is_refused(company, door, keys):
    key, now, refused = keys["ES256"], int(time.time()), (401, "unauthenticated")
    assert asks(door, key.token(company, "E006", exp=now - 30, nbf=now - 600)) == (200, None), "a minute of leeway"
    assert asks(door, key.token(company, "E006", aud=["other", AUDIENCE])) == (200, None)
    for claims in ({"aud": "other"}, {"aud": None}, {"iss": "https://evil.example"}, {"iss": None}, {"exp": now - 90},
                   {"exp": None}, {"exp": str(now + 300)}, {"nbf": now + 90}, {"sub": "E999"}, {"sub": None},
                   {"tenant": None}, {"tenant": str(uuid.uuid4())}):
        assert asks(door, key.token(company, "E006", **claims)) == refused, claims
    for header in ({"kid": None}, {"crit": ["exp"]}, {"typ": "logout+jwt"}):
        assert asks(door, key.token(company, "E006", header)) == refused, header
    answer = Caller(door, key.token(company, "E006", exp=now - 90)).post(LIST)
    assert "expired" in answer.json["message"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=")


def test_a_token_that_pretends_is_refused(company, door, keys):
    refused = (401, "unauthenticated")
    real = keys["RS256"].token(company, "E006")
    head, claims, signature = real.encode().split(b".")
    boss = b64({**jwt.decode(real, options={"verify_signature": False}), "sub": "E001"})
    assert asks(door, b".".join((head, boss, signature)).decode()) == refused, "other claims"
    for alg in ("none", "None", "nOnE"):
        header = b64({"alg": alg, "kid": keys["RS256"].kid})
        assert asks(door, (header + b"." + boss + b".").decode()) == refused, alg
    # The public key, which everybody has, as the secret of an HMAC.
    public = keys["RS256"].private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = b64({"alg": "HS256", "kid": keys["RS256"].kid})
    for secret in (public, public.strip(), json.dumps(keys["RS256"].jwk).encode()):
        mac = hmac.new(secret, header + b"." + boss, hashlib.sha256).digest()
        assert asks(door, b".".join((header, boss, b64(mac))).decode()) == refused
    # Signed by a key of one's own that goes by a known name, or is brought along.
    mine = Key(keys["EdDSA"].kid)
    assert asks(door, mine.token(company, "E001")) == refused
    assert asks(door, mine.token(company, "E001", {"jwk": mine.jwk})) == refused
    other = Key(keys["EdDSA"].kid, "ES256")
    assert asks(door, other.token(company, "E001")) == refused, "another algorithm under that name"
    der = keys["ES256"].token(company, "E006").split(".")
    assert asks(door, ".".join(der[:2] + [der[2] + "="])) == refused, "padding"
    assert asks(door, "A" * 9000 + ".A.A") == refused
    assert asks(company.stack, real) == refused, "a gateway without keys of tokens"


def test_f61_a_token_of_one_company_is_nobody_in_another(company, other, door, keys):
    theirs = other.rep.command(CREATE, {"customer": {"name": "Theirs"}}).customer
    key = keys["EdDSA"]
    assert asks(door, key.token(company, "E001"), GET, {"id": theirs.id}) == (404, "not_found")
    wait_until(lambda: asks(door, key.token(other, "E006"), GET, {"id": theirs.id}) == (200, None), SECONDS,
               "the gateway knows the other company")
    assert asks(door, key.token(other, company.ids["rep"])) == (401, "unauthenticated")
    # What the message says of companies is not believed.
    made = Caller(door, key.token(company, "E006")).post(CREATE, {
        "customer": {"name": "Forged", "tenantId": other.tenant}, "tenantId": other.tenant},
        X_Tenant=other.tenant, Daybook_Tenant=other.tenant)
    assert made.status == 200, made.body
    assert made.json["customer"]["id"] not in [c.id for c in other.gm.call(LIST, {"pageSize": 1000}).customers]


def test_scopes_of_a_token_narrow_it(company, door, keys):
    key = keys["EdDSA"]
    reader = Caller(door, key.token(company, "E006", scope="openid customers.read"))
    assert reader.post(LIST).status == 200
    assert reader.post(CREATE, {"customer": {"name": "No"}}).fault == (403, "permission_denied")
    assert asks(door, key.token(company, "E006", scope="openid profile")) == (403, "permission_denied")
    assert asks(door, key.token(company, "E006", scope=["customers.read"])) == (200, None)
    # Nobody can take the scope that the gateway has at the directory.
    use = {"uses": [{"credentialId": str(uuid.uuid4()), "usedAt": "2026-03-02T08:00:00Z"}]}
    for scope in ("edge", "edge credentials.write tenant.all", None):
        assert asks(door, key.token(company, "E001", scope=scope), DIRECTORY + "CredentialService/NoteUse",
                    use) == (403, "permission_denied")


def employ(company, role, **fields):
    return company.system.command(DIRECTORY + "DirectoryService/CreateEmployee", {"employee": {
        "employeeNo": f"N{uuid.uuid4().hex[:8]}", "name": "Mx New", "unitId": company.units["HQ"], "roles": [role],
        **fields}}).employee


def change(company, employee, mask, **fields):
    company.system.command(DIRECTORY + "DirectoryService/UpdateEmployee", {
        "employee": {"id": employee.id, **fields}, "updateMask": mask})


def test_f61_a_role_that_is_lowered_counts_in_mid_session(company, door, keys):
    boss = employ(company, "general_manager")
    caller = Caller(door, keys["EdDSA"].token(company, boss.employee_no))
    wait_until(lambda: caller.post(READ).status == 200, SECONDS, "the new manager may read the log")
    stream = caller.stream(STREAM)
    assert "position" in next(stream)
    change(company, boss, "roles,superiorId", roles=["sales_assistant"], superiorId=company.ids["gm"])
    wait_until(lambda: caller.post(READ).status == 403, 10, "the same token may not any more")
    for _ in stream:
        pass
    assert stream.end["error"]["code"] == "permission_denied"
    assert caller.post(LIST).status == 200, "he is still there"
    change(company, boss, "active", active=False)
    wait_until(lambda: caller.post(LIST).status == 401, 10, "who has left is refused")


def test_a_stream_ends_with_its_token(company, door, keys):
    token = keys["ES256"].token(company, "E001", exp=int(time.time()) - 55)  # a minute of leeway
    stream = Caller(door, token).stream(STREAM)
    for _ in stream:
        pass
    assert stream.end["error"]["code"] == "unauthenticated"
    assert "expired" in stream.end["error"]["message"]


# --- keys of tokens -----------------------------------------------------------------------------------


def test_f56_keys_in_a_file_change_without_a_restart(company, tmp_path):
    old, new, path = Key("old"), Key("new", "RS256"), tmp_path / "keys.json"

    def publish(text):
        (tmp_path / "next").write_text(text)
        os.replace(tmp_path / "next", path)
    publish(key_set(old))
    with gateway(company, JWT_JWKS=path) as door:
        wait_until(lambda: asks(door, old.token(company, "E006")) == (200, None), SECONDS, "the old key proves")
        assert asks(door, new.token(company, "E006"))[0] in (401, 503)
        publish("nonsense")
        publish(key_set(old, new))
        wait_until(lambda: asks(door, new.token(company, "E006")) == (200, None), 10, "the new key proves")
        assert asks(door, old.token(company, "E006")) == (200, None)
        publish(key_set(new))
        wait_until(lambda: asks(door, old.token(company, "E006"))[0] == 401, 10, "the old key is refused")
        path.unlink()
        assert asks(door, new.token(company, "E006")) == (200, None), "the keys at hand stay"


class Load(threading.Thread):
    """Calls with the token of the moment, as a client does: what is unavailable is asked again."""

    def __init__(self, door, token_of):
        super().__init__(daemon=True)
        self.door, self.token_of = door, token_of
        self.calls, self.faults, self.ending = 0, [], threading.Event()

    def run(self):
        try:
            caller = Caller(self.door)
            while not self.ending.is_set():
                caller.key = self.token_of()
                answer = caller.post(LIST, {"pageSize": 1})
                if answer.status == 503 and answer.headers["Retry-After"]:
                    self.ending.wait(0.05)
                    continue
                if answer.status != 200:
                    self.faults.append(answer.fault)
                self.calls += 1
        except Exception as error:  # told by the test
            self.faults.append(repr(error))


def test_f56_keys_are_rotated_under_load_by_their_names(company):
    rotation = [Key("2026-01"), Key("2026-02", "ES256"), Key("2026-03", "RS256")]
    publisher, current = Publisher(rotation[0]), rotation[0]
    with gateway(company, JWT_JWKS=publisher.url, JWT_JWKS_REFRESH="2s", HTTP_RATE=0) as door:
        wait_until(lambda: asks(door, current.token(company, "E006")) == (200, None), SECONDS, "the keys are there")
        tokens = {key.kid: key.token(company, "E006") for key in rotation}
        load = [Load(door, lambda: tokens[current.kid]) for _ in range(4)]
        for one in load:
            one.start()

        def more(calls):
            before = sum(one.calls for one in load)
            wait_until(lambda: sum(one.calls for one in load) >= before + calls or any(one.faults for one in load),
                       SECONDS, "the load goes on")
        for following in rotation[1:]:
            more(50)
            publisher.body = key_set(current, following)
            if following is not rotation[1]:  # the first one is signed with before anybody has asked for it
                asked = publisher.asked
                wait_until(lambda: publisher.asked >= asked + 2, SECONDS, "it is asked for the keys")
            previous, current = current, following
            more(50)
            publisher.body = key_set(current)
            wait_until(lambda: asks(door, tokens[previous.kid])[0] == 401, 10, "the key that went is refused")
            more(50)
        publisher.status = 500
        asked = publisher.asked
        wait_until(lambda: publisher.asked > asked, SECONDS, "it is asked for the keys")
        more(50)
        publisher.stop()
        more(50)
        for one in load:
            one.ending.set()
            one.join(SECONDS)
        assert [one.faults for one in load] == [[]] * len(load)


def test_an_unknown_name_has_the_keys_looked_for_once_a_minute(company):
    known, strange = Key("known"), Key("strange")
    publisher = Publisher(known)
    with gateway(company, JWT_JWKS=publisher.url, JWT_JWKS_REFRESH="1h") as door:
        wait_until(lambda: asks(door, known.token(company, "E006")) == (200, None), SECONDS, "the keys are there")
        asked = publisher.asked
        late = Key("late")
        publisher.body = key_set(known, late)
        assert wait_until(lambda: (got := asks(door, late.token(company, "E006")))[0] != 503 and got, SECONDS,
                          "the key was looked for") == (200, None)
        assert publisher.asked == asked + 1
        for _ in range(50):
            assert asks(door, strange.token(company, "E006")) == (401, "unauthenticated")
        assert publisher.asked == asked + 1
    publisher.stop()


def self_signed(folder):
    """A certificate for 127.0.0.1 that nobody has vouched for, with its key, in one file."""
    private, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
            .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(private, hashes.SHA256()))
    path = folder / "cert.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def test_keys_of_a_server_that_proves_nothing_are_not_taken(company, tmp_path):
    key = Key("any")
    publisher = Publisher(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    publisher.server.socket = context.wrap_socket(publisher.server.socket, server_side=True)
    with gateway(company, JWT_JWKS=publisher.url.replace("http:", "https:")) as door:
        wait_until(lambda: "certificate" in door.log.read_text(), SECONDS, "the certificate was refused")
        assert asks(door, key.token(company, "E006")) == (503, "unavailable")
    assert publisher.asked == 0
    publisher.stop()


# --- where from, how often, when ------------------------------------------------------------------------


def test_a_key_is_taken_from_its_networks_only(company, door):
    office = new_key(company, scopes=["customers.read"], allowedNetworks=["203.0.113.0/24", "2001:db8::/32"])
    key = office.api_key
    assert list(office.credential.allowed_networks) == ["203.0.113.0/24", "2001:db8::/32"]
    wait_until(lambda: asks(door, key)[0] != 401, SECONDS, "the gateway knows the key")
    denied = (403, "permission_denied")
    for client, want in ((OUTSIDE, (200, None)), ("2001:db8::5", (200, None)), ("198.51.100.1", denied), (None, denied),
                         (f"{OUTSIDE}, 198.51.100.1", denied), (f"198.51.100.1, {OUTSIDE}", (200, None)),
                         (f"{OUTSIDE}, 127.0.0.9", (200, None)), (f"{OUTSIDE}:443", denied), ("", denied),
                         (f"{'x' * 8000}, {OUTSIDE}", (200, None))):  # what the client himself wrote hides nobody
        headers = {} if client is None else {"X_Forwarded_For": client}
        assert asks(door, key, **headers) == want, client
    for clients, want in (((OUTSIDE, "198.51.100.1"), 403), (("198.51.100.1", OUTSIDE), 200)):  # one list in two fields
        caller = Caller(door, key)
        caller.connection.putrequest("POST", f"/{LIST}")
        for name, value in [("Content-Type", "application/json"), ("Content-Length", "2"),
                            ("Authorization", f"Bearer {key}"), *(("X-Forwarded-For", c) for c in clients)]:
            caller.connection.putheader(name, value)
        caller.connection.endheaders(b"{}")
        assert caller.connection.getresponse().status == want, clients
    assert "allowed_networks" in Caller(door, key).post(LIST).json["message"]
    # A gateway that trusts nobody believes nobody.
    assert asks(company.stack, key, X_Forwarded_For=OUTSIDE) == denied


def test_a_key_tells_when_it_was_last_used(company):
    made = company.system.command(DIRECTORY + "CredentialService/CreateApiKey", {
        "label": "used or not", "scopes": ["customers.read"]})

    def credential():
        found = [c for c in company.system.call(DIRECTORY + "CredentialService/List", {"pageSize": 1000}).credentials
                 if c.id == made.credential.id]
        return found[0]
    assert not credential().HasField("last_used_at")
    revision = company.stack.value("select revision from directory.revision")
    caller = Caller(company.stack, made.api_key)
    wait_until(lambda: caller.post(LIST).status == 200, SECONDS, "the gateway knows the key")
    used = wait_until(lambda: (c := credential()).HasField("last_used_at") and c, SECONDS, "its use was told")
    assert used.last_used_at.ToDatetime(tzinfo=company.clock.now.tzinfo) == company.clock.now
    assert company.stack.value("select revision from directory.revision") == revision


def test_what_was_used_is_told_before_the_end(company, keys, tmp_path):
    """A use within the minute after one that was told is told when the gateway stops."""
    made = new_key(company, scopes=["customers.read"])
    path = tmp_path / "keys.json"
    path.write_text(key_set(keys["EdDSA"]))

    def last_use():
        return company.stack.value(f"select last_used_at from directory.credential where id = '{made.credential.id}'")
    with gateway(company, JWT_JWKS=path) as door:
        wait_until(lambda: asks(door, made.api_key) == (200, None), SECONDS, "the gateway knows the key")
        wait_until(last_use, SECONDS, "its first use was told")
        first = last_use()
        company.clock.add(seconds=30)
        assert asks(door, made.api_key) == (200, None)
    assert last_use() > first


def test_an_address_that_guesses_is_told_to_wait(company, keys, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(key_set(keys["EdDSA"]))
    good = new_key(company, scopes=["customers.read"]).api_key
    with gateway(company, JWT_JWKS=path, HTTP_TRUSTED_PROXIES="127.0.0.1", HTTP_AUTH_FAILURES=3) as door:
        wait_until(lambda: asks(door, keys["EdDSA"].token(company, "E006"), X_Forwarded_For=OUTSIDE) == (200, None),
                   SECONDS, "the people are known")
        for _ in range(20):
            assert asks(door, good, X_Forwarded_For=OUTSIDE) == (200, None)
            assert asks(door, keys["EdDSA"].token(company, "E006", exp=1), X_Forwarded_For=OUTSIDE)[0] == 401
        guesses = [good[:-1] + ("A" if good[-1] != "A" else "B"), Key(keys["EdDSA"].kid).token(company, "E001"), "x"]
        for guess in guesses:
            assert asks(door, guess, X_Forwarded_For=OUTSIDE) == (401, "unauthenticated")
        answer = Caller(door, guesses[0]).post(LIST, X_Forwarded_For=OUTSIDE)
        assert answer.fault == (429, "resource_exhausted")
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        assert asks(door, good, X_Forwarded_For=OUTSIDE) == (200, None), "his neighbours notice nothing"
        assert asks(door, guesses[0], X_Forwarded_For="203.0.113.8")[0] == 401, "nor do others"
        assert asks(door, good) == (200, None), "nor the proxy itself"


def test_a_stranger_cannot_have_a_large_body_kept(company):
    """He is refused by his header: one who asks first sends nothing."""
    caller = Caller(company.stack, "dbk_nobody")
    caller.connection.putrequest("POST", f"/{CREATE}")
    for name, value in {"Content-Type": "application/json", "Content-Length": str(4 << 20), "Expect": "100-continue",
                        "Authorization": "Bearer dbk_nobody"}.items():
        caller.connection.putheader(name, value)
    caller.connection.endheaders()
    assert caller.connection.getresponse().status == 401
    answer = Caller(company.stack, "dbk_nobody").post(CREATE, b"x" * (4 << 20))
    assert answer.fault == (401, "unauthenticated"), "and one who sends it gets his answer"
