"""What holds for every call: repeats, errors with fields, deadlines, and what a broken or hostile
client gets (protocols A and H; F35, F60)."""

import os
import random
import re
import socket
import threading
import time
import uuid

import mdp
import pytest
from company import BUS, CUSTOMERS, SECONDS
from google.protobuf import json_format
from stack import wait_until

CREATE = CUSTOMERS + "CustomerService/Create"
GET = CUSTOMERS + "CustomerService/Get"
RECORD = CUSTOMERS + "InteractionService/RecordInteraction"


def refused(client, method, request, **options):
    with pytest.raises(mdp.CallError) as error:
        client.call(method, request, **options)
    return error.value


# --- idempotency ------------------------------------------------------------------------------------

def test_f60_a_repeated_command_gets_the_first_answer(company):
    request, key = {"customer": {"name": f"Once {uuid.uuid4()}"}}, str(uuid.uuid4())
    first = company.rep.call(CREATE, request, key=key)
    assert "idempotent-replayed" not in company.rep.metadata
    again = company.rep.call(CREATE, request, key=key)
    assert company.rep.metadata["idempotent-replayed"] == "true"
    assert again == first
    assert company.stack.value(
        f"select count(*) from customers.customer where name = '{request['customer']['name']}'") == 1


def test_f60_a_key_is_not_for_another_request(company):
    key = str(uuid.uuid4())
    company.rep.call(CREATE, {"customer": {"name": f"A {key}"}}, key=key)
    error = refused(company.rep, CREATE, {"customer": {"name": f"B {key}"}}, key=key)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED")
    # Of another actor and for another method it is another key.
    company.rep2.call(CREATE, {"customer": {"name": f"C {key}"}}, key=key)


def test_f60_a_failed_command_is_not_remembered(company):
    key = str(uuid.uuid4())
    assert refused(company.rep, CREATE, {"customer": {"name": ""}}, key=key).code == "INVALID_ARGUMENT"
    assert company.rep.call(CREATE, {"customer": {"name": f"Now right {key}"}}, key=key).customer.id


def test_f60_many_at_once_with_one_key_have_one_effect(company):
    name, key, answers = f"Race {uuid.uuid4()}", str(uuid.uuid4()), []

    def race():
        with mdp.Client(company.stack.env["DAYBOOK_BUS_ENDPOINT"], company.keys["rep"]) as client:
            answers.append(client.command(CREATE, {"customer": {"name": name}}, key=key).customer.id)
    threads = [threading.Thread(target=race) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 8 and len(set(answers)) == 1
    assert company.stack.value(f"select count(*) from customers.customer where name = '{name}'") == 1


# --- errors -----------------------------------------------------------------------------------------

def test_errors_name_all_faulty_fields(company):
    error = refused(company.rep, RECORD, {"interaction": {
        "customerId": "not-an-id", "channel": 99, "content": "", "satisfaction": 7,
        "questions": [{"text": "ok"}, {"text": ""}]}}, key="faulty")
    assert error.code == "INVALID_ARGUMENT"
    assert set(error.fields) == {"interaction.customer_id", "interaction.channel", "interaction.content",
                                 "interaction.satisfaction", "interaction.questions[1].text"}
    info = error.details["ErrorInfo"]
    assert info.domain == "daybook" and info.reason
    assert all(v.description for v in error.details["BadRequest"].field_violations)


def test_an_unknown_method_is_unimplemented(company):
    client = company.rep
    client.send("daybook.customers.v1.CustomerService", b"Explode", b"", b"")
    result, _ = receive_any(client)
    assert mdp.CODES[result.status.code] == "UNIMPLEMENTED"


def test_a_service_without_workers_is_unavailable(company):
    client = company.rep
    context = client.context(timeout=SECONDS)
    client.send("daybook.nobody.v1.NobodyService", b"Get", context.SerializeToString(), b"")
    result, _ = client.receive(context.request_id, time.monotonic() + SECONDS)
    error = mdp.error_of(result.status)
    assert (error.code, error.reason) == ("UNAVAILABLE", "NO_WORKER")


def test_a_deadline_that_has_passed_is_said(company):
    error = refused(company.rep, GET, {"id": str(uuid.uuid4())}, timeout=0.001)
    assert error.code == "DEADLINE_EXCEEDED"


def test_f08_a_frozen_daemon_holds_up_nobody_beyond_the_deadline(company, stack):
    shop = company.customer("rep")
    with stack.stopped("visits"):
        started = time.monotonic()
        with pytest.raises(mdp.CallError) as error:
            company.rep.call("daybook.visits.v1.VisitService/List", timeout=0.5)
        assert error.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        assert time.monotonic() - started < 0.5 + SECONDS / 10
        company.rep.call(GET, {"id": shop.id})  # others are not held up
    wait_until(lambda: works(company.rep, "daybook.visits.v1.VisitService/List"), SECONDS, "visits was back")


def links_lost(stack, name):
    return sum(float(n) for n in re.findall(r"^daybook_bus_link_lost_total\{.* (\S+)$", stack.metrics(name), re.M))


def test_f08_after_a_standstill_of_the_bus_all_is_served_by_the_workers_that_it_had(company, stack):
    client = company.stack.client(company.keys["rep"], beats=False)
    client.call("daybook.customers.v1.CustomerService/List")
    lost = links_lost(stack, "customers")
    with stack.stopped("bus"):
        for _ in range(30):
            client.send("daybook.customers.v1.CustomerService", b"List",
                        client.context(timeout=2 * SECONDS).SerializeToString(), b"")
        time.sleep(4)  # longer than a worker may wait to be heard, which is what is tried
    assert {receive_any(client)[0].status.code for _ in range(30)} == {0}
    assert links_lost(stack, "customers") == lost


def works(client, method):
    try:
        client.call(method, timeout=2)
        return True
    except (mdp.NoAnswer, mdp.CallError):
        return False


def test_a_late_answer_is_not_taken_for_the_next_one(company):
    client = company.stack.client(company.keys["rep"])
    shop = company.customer("rep")
    for _ in range(50):
        context = client.context()
        client.send("daybook.customers.v1.CustomerService", b"List", context.SerializeToString(), b"")
        assert client.call(GET, {"id": shop.id}).customer.id == shop.id
    wait_until(lambda: client.call(GET, {"id": shop.id}) and client.late == 50, SECONDS,
               "all late answers were dropped")


def receive_any(client):
    assert client.socket.poll(SECONDS * 1000), "no answer"
    frames = client.socket.recv_multipart()
    return mdp.message_class("daybook.common.v1.CallResult").FromString(frames[3]), frames[4]


# --- Majordomo --------------------------------------------------------------------------------------

def test_mmi_tells_which_services_there_are(company):
    assert company.rep.is_served("daybook.visits.v1.VisitService")
    assert not company.rep.is_served("daybook.nobody.v1.NobodyService")
    company.rep.send("mmi.nonsense", b"x")
    assert company.rep.socket.poll(SECONDS * 1000)
    assert company.rep.socket.recv_multipart()[-1] == b"501"


def test_the_envelope_of_a_chained_or_correlated_client_comes_back(company):
    """REQ with REQ_CORRELATE puts a request id in front, a chained ROUTER more (protocols A.5)."""
    client = company.rep
    stack = [os.urandom(4), os.urandom(5)]
    client.socket.send_multipart([*stack, b"", b"MDPC02", b"\x01", b"mmi.service",
                                  b"daybook.visits.v1.VisitService"])
    assert client.socket.poll(SECONDS * 1000)
    assert client.socket.recv_multipart() == [*stack, b"", b"MDPC02", b"\x03", b"mmi.service", b"200"]


@pytest.fixture(scope="module")
def plain_company(stack, clock):
    """The company as which the plain endpoint acts; it was named before the stack started."""
    from company import Company
    from conftest import PLAIN_TENANT
    return Company(stack, clock, tenant=PLAIN_TENANT, calendar=False)


def test_a_plain_client_without_protobuf_works_by_json(plain_company):
    """Majordomo 0.1 over a REQ socket: what any language has (README, Connect a system)."""
    client = mdp.PlainClient(plain_company.stack.env["DAYBOOK_BUS_PLAIN_ENDPOINT"])
    context = {"requestId": str(uuid.uuid4()), "idempotencyKey": str(uuid.uuid4())}
    request = {"customer": {"name": "Plain Shop", "ownerId": plain_company.ids["rep"], "cityCode": "310100"}}
    result, made = client.call(CREATE, request, context)
    assert "status" not in result and result["requestId"] == context["requestId"]
    customer = made["customer"]
    assert customer["name"] == "Plain Shop" and customer["relationType"] == "RELATION_TYPE_PROSPECT"

    result, again = client.call(CREATE, request, {**context, "requestId": "second"})
    assert result["metadata"]["idempotent-replayed"] == "true" and again == made

    result, _ = client.call(CREATE, {"customer": {"name": ""}})
    assert result["status"]["code"] == 3
    fields = [v["field"] for d in result["status"]["details"] if d["@type"].endswith("BadRequest")
              for v in d["fieldViolations"]]
    assert "customer.name" in fields

    result, _ = client.call(CREATE, {"customer": {"nam": "typo"}})
    assert result["status"]["code"] == 3, "unknown keys are faults, not silence"
    client.close()

    same = plain_company.rep.call(GET, {"id": customer["id"]}).customer
    assert json_format.MessageToDict(same)["name"] == "Plain Shop"


# --- F35: what nobody should send -------------------------------------------------------------------

def broken_messages(seed):
    rng = random.Random(seed)
    service = b"daybook.customers.v1.CustomerService"
    context = mdp.message_class("daybook.common.v1.CallContext")(request_id="x" * 64).SerializeToString()

    def noise(n):
        return rng.randbytes(rng.randrange(n))
    fixed = [
        [b""], [b"", b""], [b"MDPC02"], [b"MDPC02", b"\x01"], [b"MDPC02", b"\x01", service],
        [b"MDPC02", b"\x09", service, b"List", context, b""], [b"MDPC99", b"\x01", service, b"List"],
        [b"", b"MDPC01", service], [b"MDPW02", b"\x04", b"0" * 16, b"", b"x"], [b"MDPW02", b"\x06"],
        [b"MDPW01", b"\x03", b"addr", b""], [b"MDPC02", b"\x01", b"mmi.service"],
        [b"MDPC02", b"\x01", service, b"", context, b""],
        [b"MDPC02", b"\x01", service, b"List", b"\xff\xff\xff\xff", b""],
        [b"MDPC02", b"\x01", service, b"List", context, b"\x08"],                   # cut varint
        [b"MDPC02", b"\x01", service, b"List", context, b"\x12\xff\xff\xff\xff\x0f"],  # length beyond the end
        [b"MDPC02", b"\x01", service, b"List+json", b"", b"{"],
        [b"MDPC02", b"\x01", service, b"List+json", b"", b'{"pageSize": 1e99}'],
        [b"MDPC02", b"\x01", service, b"List+json", b"", b"[" * 100_000],
        [b"MDPC02", b"\x01", service, b"Create", context, b"\x0a" * 50_000],          # nested without end
        [b"MDPC02", b"\x01", b"s" * 5000, b"List", context, b""],
        [b"MDPC02", b"\x01", service, b"m" * 5000, context, b""],
        [b"MDPC02", b"\x01", service, *[b"x"] * 200],
        [*[os.urandom(5)] * 20, b"", b"MDPC02", b"\x01", service, b"List", context, b""],
        [b"MDPC02", b"\x01", service, b"Create", context, b"\0" * 8_000_000],
        [b"AA\xa4", b"zeromq/majordomo"], [b"C", b"REQUEST"], [b"MDPC03"] + [b"x"] * 8,
    ]
    for message in fixed:
        yield message
    for _ in range(300):
        head = rng.choice([[b"MDPC02", b"\x01", service, b"Create"], [b"", b"MDPC01", service, b"Create"],
                           [b"MDPC02", b"\x01", service], [b"MDPW02", b"\x01"], []])
        yield head + [noise(200) for _ in range(rng.randrange(1, 6))]


def test_f35_broken_messages_harm_nobody(company, stack):
    before, pids = log_bytes(stack), stack.pids()
    hostile = stack.client(company.keys["rep2"])
    for message in broken_messages(seed=35):
        hostile.socket.send_multipart(message)
        while hostile.socket.poll(0):
            hostile.socket.recv_multipart()
    assert company.rep.call(CUSTOMERS + "CustomerService/List", {"pageSize": 1})
    sane = stack.client(company.keys["rep2"])
    sane.call(CUSTOMERS + "CustomerService/List", {"pageSize": 1})
    assert stack.pids() == pids, "nobody died of it"
    assert log_bytes(stack) - before < 256 * 1024, "no log flood"


def test_f35_raw_bytes_at_the_ports_harm_nobody(company, stack):
    pids = stack.pids()
    rng = random.Random(35)
    for endpoint in (stack.env["DAYBOOK_BUS_ENDPOINT"], stack.env["DAYBOOK_BUS_EVENTS"]):
        host, port = endpoint.removeprefix("tcp://").split(":")
        for n in range(30):
            with socket.create_connection((host, int(port)), timeout=SECONDS) as s:
                greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + b"\0" * 32
                s.sendall(rng.randbytes(rng.randrange(1, 500)) if n % 2 else greeting + rng.randbytes(300))
    assert works(company.rep, CUSTOMERS + "CustomerService/List")
    assert works(company.gm, BUS + "EventService/GetHead")
    assert stack.pids() == pids


def log_bytes(stack):
    return sum(p.stat().st_size for p in stack.folder.glob("log/*.log"))


