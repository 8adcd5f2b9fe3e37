"""The gateway from outside: Connect over HTTP/1.1, in JSON and proto, by API key (protocols B, operations 8)."""

import base64
import datetime as dt
import gzip
import json
import socket
import uuid

import pytest

import mdp
from company import BUS, CUSTOMERS, DIRECTORY, SECONDS
from stack import SLACK, UTC, wait_until
from web import LIST, Caller, calls_of, gateway, new_key

CREATE = CUSTOMERS + "CustomerService/Create"
GET = CUSTOMERS + "CustomerService/Get"


@pytest.fixture(scope="module")
def rep(company):
    """The rep, by an API key of his own."""
    return Caller(company.stack, new_key(company, employeeId=company.ids["rep"]).api_key)


# --- calls --------------------------------------------------------------------------------------------


def test_a_command_in_json_is_the_same_as_one_by_the_bus(company, rep):
    made = rep.post(CREATE, {"customer": {"name": "Web Shop", "unknownField": 1}})
    assert made.status == 200, made.body
    assert made.headers["Content-Type"] == "application/json"
    assert uuid.UUID(made.headers["X-Request-Id"])
    customer = made.json["customer"]
    assert customer["ownerId"] == company.ids["rep"]
    assert company.rep.call(GET, {"id": customer["id"]}).customer.name == "Web Shop"


def test_proto_is_spoken_too(company, rep):
    takes, gives = mdp.method_classes(LIST)
    request = takes(page_size=3)
    answer = rep.post(LIST, request.SerializeToString(), Content_Type="application/proto")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/proto")
    got = gives.FromString(answer.body)
    assert got.customers and got.customers[0].id


def test_a_repeated_command_is_done_once(rep):
    key, request = str(uuid.uuid4()), {"customer": {"name": f"Once {uuid.uuid4()}"}}
    first = rep.post(CREATE, request, Idempotency_Key=key)
    again = rep.post(CREATE, request, Idempotency_Key=key)
    assert first.json == again.json
    assert first.headers.get("Idempotent-Replayed") is None
    assert again.headers["Idempotent-Replayed"] == "true"
    other = rep.post(CREATE, {"customer": {"name": "Another"}}, Idempotency_Key=key)
    assert other.fault == (400, "invalid_argument"), "one key, two requests (F60)"
    assert rep.post(CREATE, request, Idempotency_Key=f'"{key}"').json == first.json, "quotes are no part of it"
    for bad in ("schl\u00fcssel", "x" * 256):
        assert rep.post(CREATE, request, Idempotency_Key=bad).fault == (400, "invalid_argument")


def test_reads_by_get_are_known_by_their_etag(rep):
    customer = rep.post(CREATE, {"customer": {"name": f"Tag {uuid.uuid4()}"}}).json["customer"]
    rep.stack.settle()  # its tier comes by an event
    plain = f"connect=v1&encoding=json&message=%7B%22id%22%3A%22{customer['id']}%22%7D"
    first = rep.get(GET, plain)
    assert (first.status, first.json["customer"]["id"]) == (200, customer["id"])
    assert "Accept-Encoding" in first.headers["Vary"]
    assert rep.get(GET, plain, If_None_Match=first.headers["ETag"]).status == 304
    packed = base64.urlsafe_b64encode(json.dumps({"id": customer["id"]}).encode()).decode().rstrip("=")
    assert rep.get(GET, f"base64=1&encoding=json&message={packed}").json == first.json
    assert rep.get(GET, plain.replace("v1", "v2")).fault == (400, "invalid_argument")
    changed = rep.post(CUSTOMERS + "CustomerService/Update", {
        "customer": {"id": customer["id"], "name": "Tag, renamed", "etag": customer["etag"]}, "updateMask": "name"})
    assert changed.status == 200, changed.body
    assert rep.get(GET, plain, If_None_Match=first.headers["ETag"]).status == 200


def test_gzip_both_ways(rep):
    body = gzip.compress(json.dumps({"customer": {"name": f"Zipped {uuid.uuid4()}"}}).encode())
    assert rep.post(CREATE, body, Content_Encoding="gzip").status == 200
    for _ in range(4):
        rep.post(CREATE, {"customer": {"name": f"Filler {uuid.uuid4()}"}})
    listed = rep.post(LIST, {"pageSize": 50}, Accept_Encoding="br, gzip")
    assert listed.headers["Content-Encoding"] == "gzip"
    assert len(listed.json["customers"]) > 4
    assert rep.post(LIST, {}, Content_Encoding="br").fault == (501, "unimplemented")
    assert rep.post(LIST, b"not gzip", Content_Encoding="gzip").fault == (400, "invalid_argument")


# --- what is wrong ------------------------------------------------------------------------------------


def test_faults_say_where_they_are(rep):
    answer = rep.post(CREATE, {"customer": {"name": 5}})
    assert answer.fault == (400, "invalid_argument")
    assert "customer.name" in answer.json["message"]
    info, detail = answer.json["details"]
    assert info["debug"] == {"reason": "INVALID_ARGUMENT", "domain": "daybook"}
    assert detail["type"] == "google.rpc.BadRequest"
    assert detail["debug"]["fieldViolations"][0]["field"] == "customer.name"
    assert base64.b64decode(detail["value"] + "==").find(b"customer.name") >= 0
    missing = rep.post(GET, {"id": str(uuid.uuid4())})
    assert missing.fault == (404, "not_found")
    assert [d["type"] for d in missing.json["details"]][0] == "google.rpc.ErrorInfo"


def test_every_error_has_a_reason_for_programs_and_is_counted(company, rep):
    """One ErrorInfo each, who ever says it: the gateway as a service would (protocols H.3, operations 7)."""
    stranger = Caller(company.stack, "dbk_" + "x" * 40)
    errors = {"invalid_argument": (
                  lambda: rep.post(LIST, "{"), lambda: rep.post(LIST, {}, Connect_Protocol_Version="2"),
                  lambda: rep.post(LIST, b"not gzip", Content_Encoding="gzip"),
                  lambda: rep.post(LIST, {}, Idempotency_Key="\x7f")),
              "unimplemented": (lambda: rep.post(LIST, b"{}", Content_Encoding="br"),),
              "unauthenticated": (lambda: stranger.post(LIST), lambda: stranger.post(LIST, "{")),
              "not_found": (lambda: rep.post(GET, {"id": str(uuid.uuid4())}),)}
    for code, calls in errors.items():
        for call in calls:
            before = calls_of(company.stack, code)
            answer = call()
            assert answer.json["code"] == code
            infos = [d["debug"] for d in answer.json["details"] if d["type"] == "google.rpc.ErrorInfo"]
            assert [(i["reason"], i["domain"]) for i in infos] == [(code.upper(), "daybook")]
            assert calls_of(company.stack, code) == before + 1


def test_what_is_no_call_gets_its_http_status(rep):
    assert rep.send("POST", "/daybook.customers.v1.CustomerService/Nothing", "{}").status == 404
    assert rep.send("POST", "/", "{}").status == 404
    wrong = rep.send("PUT", f"/{GET}", "{}", Content_Type="application/json")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, POST")
    assert rep.get(CREATE, "encoding=json&message=%7B%7D").headers["Allow"] == "POST"
    text = rep.send("POST", f"/{GET}", "{}", Content_Type="text/plain")
    assert (text.status, text.headers["Accept-Post"]) == (415, "application/json, application/proto")
    assert rep.post(GET, "").fault == (400, "invalid_argument")
    assert rep.post(LIST, {}, Connect_Protocol_Version="2").fault == (400, "invalid_argument")
    assert rep.post(LIST, {}, Connect_Timeout_Ms="12345678901").fault == (400, "invalid_argument")
    assert rep.send("GET", f"/{GET}?" + "x" * 20000).status in (414, 431)
    assert rep.post(LIST).status == 200, "and the connection, or the next one, is as good as before"


def test_more_than_four_mebibytes_are_refused(rep):
    assert rep.post(CREATE, '{"customer":{"name":"' + "x" * (5 << 20) + '"}}').fault == (429, "resource_exhausted")
    bomb = gzip.compress(b" " * (6 << 20))
    assert rep.post(CREATE, bomb, Content_Encoding="gzip").fault == (429, "resource_exhausted")


# --- who asks -----------------------------------------------------------------------------------------


def test_f56_f61_only_a_key_that_holds_is_believed(company, rep):
    stack = company.stack
    assert Caller(stack).post(LIST).fault == (401, "unauthenticated")
    assert Caller(stack).post(LIST).headers["WWW-Authenticate"].startswith("Bearer")
    good = rep.key
    for bad in (good[:-1] + ("A" if good[-1] != "A" else "B"), good[:-1], "dbk_", f"dbk_{uuid.uuid4()}_x", "x"):
        assert Caller(stack, bad).post(LIST).fault == (401, "unauthenticated"), bad
    made = new_key(company, scopes=["customers.read"])
    reader = Caller(stack, made.api_key)
    assert reader.post(LIST).status == 200
    assert reader.post(CREATE, {"customer": {"name": "No"}}).fault == (403, "permission_denied")
    company.system.command(DIRECTORY + "CredentialService/RevokeApiKey", {"id": made.credential.id})
    wait_until(lambda: reader.post(LIST).status == 401, 10, "the revoked key was refused")
    assert rep.post(LIST).status == 200


def test_f56_an_expired_key_is_refused(company):
    ends = dt.datetime.now(UTC) + dt.timedelta(seconds=4 * SLACK)  # by the wall clock, however a test turns the other
    made = new_key(company, scopes=["customers.read"], expiresAt=ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    reader = Caller(company.stack, made.api_key)
    refused = wait_until(lambda: (a := reader.post(LIST)).status == 401 and a, SECONDS, "the key expired")
    assert "expired" in refused.json["message"] and dt.datetime.now(UTC) >= ends - dt.timedelta(seconds=1)


def test_a_trace_goes_into_the_event_and_a_false_one_nowhere(company, rep):
    def trace_of(customer):
        company.stack.settle()
        return company.stack.value(f"select traceparent from bus.log where aggregate = 'customers/{customer}' "
                                   "and type like '%.CustomerCreated'")
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = rep.post(CREATE, {"customer": {"name": f"Traced {uuid.uuid4()}"}}, Traceparent=good, Tracestate="a=b,c=d")
    assert made.status == 200 and trace_of(made.json["customer"]["id"]) == good, "as it came, since nothing is traced"
    for bad, state in ((good, "schl\u00fcssel=1"), ("00-" + "-" * 52, ""), (good.replace("0af7", "0AF7"), ""),
                       ("00-" + "0" * 32 + good[35:], "")):
        made = rep.post(CREATE, {"customer": {"name": f"Traced {uuid.uuid4()}"}}, Traceparent=bad, Tracestate=state)
        assert made.status == 200, "a fault of the trace is none of the call"
        assert bad == good or trace_of(made.json["customer"]["id"])[3:35] != bad[3:35]


def test_f61_the_state_of_the_bus_is_for_operators(company, rep):
    nothing = Caller(company.stack, new_key(company).api_key)
    for method in ("GetStats", "ListServices"):
        assert nothing.post(BUS + "BusService/" + method).fault == (403, "permission_denied")
        assert rep.post(BUS + "BusService/" + method).fault == (403, "permission_denied")


def test_f61_a_company_sees_nothing_of_another(company, other, rep):
    theirs = other.rep.command(CREATE, {"customer": {"name": "Theirs"}}).customer
    assert rep.post(GET, {"id": theirs.id}).fault == (404, "not_found")
    forged = rep.post(GET, {"id": theirs.id}, Daybook_Tenant=other.tenant, X_Tenant_Id=other.tenant)
    assert forged.fault == (404, "not_found")


# --- time ---------------------------------------------------------------------------------------------


def taken_by_the_bus(stack):
    """Asked of the bus alone: the daemon that is stopped would keep us until it is given up."""
    [service] = [s for s in stack.client().call(BUS + "BusService/ListServices").services
                 if s.name == CUSTOMERS + "CustomerService"]
    return service.requests


def test_f17_a_deadline_is_kept_whatever_the_service_does(company, rep):
    stack = company.stack
    canceled = calls_of(stack, "canceled")
    with stack.stopped("customers"):
        late = rep.post(LIST, {}, Connect_Timeout_Ms="300")
        assert late.fault == (504, "deadline_exceeded")
        taken = taken_by_the_bus(stack)
        with socket.create_connection(rep.address) as s:
            s.sendall(f"POST /{LIST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rep.key}\r\n"
                      "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode())
            wait_until(lambda: taken_by_the_bus(stack) > taken, SECONDS, "the bus had the request")
        wait_until(lambda: calls_of(stack, "canceled") > canceled, SECONDS, "a client that went was noticed")
    wait_until(lambda: rep.post(LIST).status == 200, SECONDS, "the service answers again")


def test_f02_a_bus_that_is_started_anew_is_found_again(company, rep):
    company.stack.kill("bus")

    def refused():  # what is sent before the end of the connection is seen may be lost: 504, in doubt
        answer = rep.post(BUS + "EventService/GetHead", {}, Connect_Timeout_Ms="2000")
        return answer if answer.status == 503 else None
    gone = wait_until(refused, SECONDS, "the gateway saw that there is no bus")
    assert gone.fault == (503, "unavailable")
    assert gone.headers["Retry-After"]
    company.stack.start("bus")
    wait_until(lambda: rep.post(LIST).status == 200, SECONDS, "the bus is found again")


def test_f52_a_key_that_floods_is_told_when_to_come_again(company):
    with gateway(company, HTTP_RATE=1) as door:  # two at once, one a second
        flood, other = (Caller(door, new_key(company, scopes=["customers.read"]).api_key) for _ in range(2))
        wait_until(lambda: other.post(LIST).status == 200, SECONDS, "its key was known")

        def flooded():
            answer = flood.post(LIST, "{")
            return answer if answer.status == 429 else None
        refused = wait_until(flooded, SECONDS, "it was refused")
        assert other.post(LIST).status == 200, "others notice nothing"
        assert refused.fault == (429, "resource_exhausted")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["RateLimit-Policy"] == '"requests";q=2;w=2'
        assert refused.headers["RateLimit"] == '"requests";r=0;t=1'
        info, retry = (d["debug"] for d in refused.json["details"])
        assert info["reason"] == "RATE_LIMITED"
        assert 0 < float(retry["retryDelay"].rstrip("s")) <= int(refused.headers["Retry-After"])


def test_the_state_of_the_bus_is_for_keys_with_its_scope(company, rep):
    services = BUS + "BusService/ListServices"
    assert rep.post(services).fault == (403, "permission_denied")
    watcher = Caller(company.stack, new_key(company, scopes=["bus.read"]).api_key)
    wait_until(lambda: "daybook.gateway.v1.WebhookService" in {s["name"] for s in watcher.post(services).json["services"]},
               SECONDS, "the gateway serves what is its own")
