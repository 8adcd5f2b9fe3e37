"""StreamEvents over HTTP: the log from a position on, to its end and further (protocols B.4, F03, F33, F56)."""

import json
import signal
import uuid

import pytest

from company import BUS, CUSTOMERS, DIRECTORY, SECONDS
from stack import wait_until
from web import Caller, calls_of, new_key

STREAM = BUS + "EventService/StreamEvents"
CREATE = CUSTOMERS + "CustomerService/Create"
CREATED = "daybook.customers.v1.CustomerCreated"


@pytest.fixture(scope="module")
def reader(company):
    """A program that may read the log."""
    return Caller(company.stack, new_key(company, scopes=["events.read"]).api_key)


def head_of(company):
    return company.system.call(BUS + "EventService/GetHead", {}).head_seq


def create(company):
    return company.rep.command(CREATE, {"customer": {"name": f"Streamed {uuid.uuid4()}"}}).customer.id


def take_until(stream, wanted):
    """The events up to the one whose aggregate is that customer; positions must not go back."""
    events, seq = [], -1
    for message in stream:
        if "position" in message:
            assert int(message["position"].get("seq", 0)) >= seq
            seq = int(message["position"].get("seq", 0))
            continue
        event = message["event"]
        assert int(event["seq"]) > seq
        seq = int(event["seq"])
        events.append(event)
        if event["aggregate"] == f"customers/{wanted}" and event["type"] == CREATED:
            return events
    raise AssertionError(f"the stream ended: {stream.end}")


def test_what_was_and_what_comes(company, reader):
    first = create(company)
    stream = reader.stream(STREAM)
    assert stream.response.headers["Content-Type"] == "application/connect+json"
    position = next(stream)["position"]
    assert uuid.UUID(position["logId"])
    past = take_until(stream, first)
    read = company.system.call(BUS + "EventService/ReadEvents", {"limit": 1000})
    assert [e["eventId"] for e in past] == [e.event_id for e in read.events][:len(past)]
    assert past[-1]["data"]["@type"].endswith(CREATED)
    for _ in range(3):
        assert take_until(stream, create(company))
    stream.close()


def test_from_a_position_and_of_some_types(company, reader):
    head = head_of(company)
    made = create(company)
    company.ask(company.customer())
    stream = reader.stream(STREAM, {"afterSeq": str(head), "types": [CREATED]})
    log_id = next(stream)["position"]["logId"]
    events = take_until(stream, made)
    assert {e["type"] for e in events} == {CREATED}
    assert all(int(e["seq"]) > head for e in events)
    stream.close()
    again = reader.stream(STREAM, {"afterSeq": events[-1]["seq"], "types": ["daybook.customers.v1."],
                                   "logId": log_id.upper()})
    later = create(company)
    assert take_until(again, later)[-1]["aggregate"] == f"customers/{later}"
    again.close()
    other_log = reader.stream(STREAM, {"logId": str(uuid.uuid4())})
    assert list(other_log) == [] and other_log.end["error"]["code"] == "aborted"
    assert other_log.end["error"]["details"][0]["debug"]["reason"] == "LOG_CHANGED"


def test_who_may_not_read_the_log_gets_no_event(company, other, reader):
    rep = Caller(company.stack, new_key(company, employeeId=company.ids["rep"]).api_key)
    denied = rep.stream(STREAM)
    assert list(denied) == [] and denied.end["error"]["code"] == "permission_denied"
    nobody = Caller(company.stack).stream(STREAM)
    assert list(nobody) == [] and nobody.end["error"]["code"] == "unauthenticated"
    head = head_of(company)
    stream = reader.stream(STREAM, {"afterSeq": str(head)})
    theirs = other.rep.command(CREATE, {"customer": {"name": "Theirs"}}).customer.id
    events = take_until(stream, create(company))
    assert {e["tenantId"] for e in events} == {company.tenant}
    assert theirs not in json.dumps(events)
    stream.close()


def test_wrong_requests_end_the_stream_with_words(company, reader):
    counted = calls_of(company.stack, "invalid_argument")
    for request in ({"afterSeq": "-1"}, {"types": [""]}, {"logId": "x"}, b"{", b""):
        stream = reader.stream(STREAM, request)
        assert list(stream) == [] and stream.end["error"]["code"] == "invalid_argument", request
    assert calls_of(company.stack, "invalid_argument") == counted + 5
    assert reader.post(STREAM, {}).status == 415


def test_f56_a_stream_ends_with_its_key(company):
    made = new_key(company, scopes=["events.read"])
    stream = Caller(company.stack, made.api_key).stream(STREAM, {"afterSeq": str(head_of(company))})
    assert "position" in next(stream)
    company.system.command(DIRECTORY + "CredentialService/RevokeApiKey", {"id": made.credential.id})
    for message in stream:
        assert "position" in message or message
    assert stream.end["error"]["code"] == "unauthenticated"


def test_f03_nothing_is_missed_while_the_bus_is_started_anew(company, reader):
    stream = reader.stream(STREAM, {"afterSeq": str(head_of(company)), "types": [CREATED]})
    assert "position" in next(stream)
    before = [create(company) for _ in range(3)]
    company.stack.kill("bus")
    company.stack.start("bus")
    wait_until(lambda: company.stack.healthy("bus"), SECONDS, "the bus is back")
    after = [create(company) for _ in range(3)]
    got = [e["aggregate"].split("/")[1] for e in take_until(stream, after[-1])]
    assert got == before + after
    stream.close()


def test_f33_a_client_that_does_not_read_holds_up_no_other(company, reader):
    head = head_of(company)
    lazy = [reader.stream(STREAM, {"afterSeq": "0"}) for _ in range(20)]
    stream = reader.stream(STREAM, {"afterSeq": str(head)})
    assert take_until(stream, create(company))
    for one in lazy:
        one.close()
    stream.close()


def test_a_stopping_gateway_tells_its_streams(company, reader):
    stream = reader.stream(STREAM, {"afterSeq": str(head_of(company))})
    assert "position" in next(stream)
    company.stack.kill("gateway", signal.SIGTERM, 40)
    for _ in stream:
        pass
    assert stream.end["error"]["code"] == "unavailable"
    company.stack.start("gateway")
    wait_until(lambda: company.stack.healthy("gateway"), SECONDS, "the gateway is back")
