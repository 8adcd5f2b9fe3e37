"""Webhooks (EXT-16, protocols D, F05, F44, F45): events reach other systems signed, in order, once under each
id, whatever the receivers do."""

import json
import time
import uuid

import cloudevents.http
import jsonschema
import pytest
import svix.webhooks
from standardwebhooks import Webhook, WebhookVerificationError

from company import BUS, CUSTOMERS, SECONDS
from stack import SLACK, wait_until
from receiver import Receiver
from web import Caller, new_key

WEBHOOKS = "daybook.gateway.v1.WebhookService/"
CREATE = CUSTOMERS + "CustomerService/Create"
UPDATE = CUSTOMERS + "CustomerService/Update"
READ_EVENTS = BUS + "EventService/ReadEvents"
CREATED = "daybook.customers.v1.CustomerCreated"
UPDATED = "daybook.customers.v1.CustomerUpdated"
DISABLED = "daybook.gateway.v1.EndpointDisabled"


@pytest.fixture(scope="module")
def erp(company):
    """Another system, as a service account."""
    scopes = ["webhooks.read", "webhooks.write", "events.read", "customers.read", "customers.write", "tenant.all"]
    caller = Caller(company.stack, new_key(company, scopes=scopes).api_key)
    caller.tenant, caller.owner = company.tenant, company.ids["rep"]
    return caller


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


class Endpoint:
    def __init__(self, caller, url, *types, **fields):
        made = caller.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": url, "types": types, **fields}})
        assert made.status == 200, made.body
        self.caller, self.id, self.secret = caller, made.json["endpoint"]["id"], made.json["secret"]

    def call(self, method, **request):
        answer = self.caller.post(WEBHOOKS + method, request, Connect_Timeout_Ms="30000")
        assert answer.status == 200, answer.body
        return answer.json

    def deliveries(self, **request):
        return self.call("ListDeliveries", endpointId=self.id, **request).get("deliveries", [])

    def delete(self):
        self.call("DeleteEndpoint", id=self.id)


@pytest.fixture
def endpoint(erp, receiver):
    e = Endpoint(erp, receiver.url + "/hook", CREATED, UPDATED)
    yield e
    e.delete()


def make_customer(caller, name=None):
    made = caller.post(CREATE, {"customer": {"name": name or f"Hooked {uuid.uuid4()}", "ownerId": caller.owner}})
    assert made.status == 200, made.body
    return made.json["customer"]


def rename(caller, customer, name):
    made = caller.post(UPDATE, {"customer": {"id": customer["id"], "name": name}, "updateMask": "name"})
    assert made.status == 200, made.body


# --- what arrives -------------------------------------------------------------------------------------


def test_an_event_arrives_signed_as_a_cloudevent(erp, receiver, endpoint):
    customer = make_customer(erp)
    headers, body = receiver.wait(1)[0]
    event = Webhook(endpoint.secret).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert event["specversion"] == "1.0" and event["id"] == headers["webhook-id"]
    assert (event["type"], event["subject"]) == (CREATED, f"customers/{customer['id']}")
    assert event["partitionkey"] == event["subject"] and len(event["sequence"]) == 20
    assert event["data"]["customer"]["name"] == customer["name"]
    assert event["source"].endswith(f"/tenants/{erp.tenant}")
    assert event["dataschema"].endswith("/schemas/" + CREATED)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)
    wait_until(lambda: endpoint.deliveries()[0]["state"] == "DELIVERY_STATE_DELIVERED", SECONDS, "it was written down")
    shown = endpoint.call("GetDelivery", endpointId=endpoint.id, eventId=event["id"])
    assert shown["body"].encode() == body and shown["delivery"]["attempts"] == 1
    assert shown["delivery"]["lastStatus"] == 200


def test_other_libraries_read_it_too(erp, receiver, endpoint):
    """svix verifies with code of its own, and the SDK of CloudEvents knows what it sees."""
    customer = make_customer(erp)
    headers, body = receiver.wait(1)[0]
    svix.webhooks.Webhook(endpoint.secret).verify(body, headers)
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        svix.webhooks.Webhook(endpoint.secret).verify(body + b" ", headers)
    event = cloudevents.http.from_http(headers, body)
    assert (event["id"], event["type"], event["specversion"]) == (headers["webhook-id"], CREATED, "1.0")
    assert event.data["customer"]["id"] == customer["id"] and event["partitionkey"] == event["subject"]


def test_data_is_what_its_schema_says(erp, receiver, endpoint):
    rename(erp, make_customer(erp), "Renamed")
    for _, body in receiver.wait(2):
        event = json.loads(body)
        path = event["dataschema"][event["dataschema"].index("/schemas/"):]
        judge = jsonschema.Draft202012Validator(erp.send("GET", path).json, format_checker=jsonschema.FormatChecker())
        judge.validate(event["data"])
        with pytest.raises(jsonschema.ValidationError):
            judge.validate({**event["data"], "customer": {"name": 1}})


def test_types_choose_and_others_hear_nothing(erp, receiver, endpoint):
    customer = make_customer(erp)
    rename(erp, customer, "Renamed")
    other = Endpoint(erp, receiver.url + "/other", "daybook.directory.v1.")
    try:
        wait_until(lambda: len(receiver.got) >= 2, SECONDS, "both came")
        assert [json.loads(b)["type"] for _, b in receiver.got] == [CREATED, UPDATED]
        assert set(receiver.paths) == {"/hook"}
    finally:
        other.delete()


def test_f40_clocks_that_differ_keep_nothing_back(stack, erp, receiver, endpoint):
    """Which events an endpoint gets is a matter of their place in the log, and not of what a clock said of them."""
    stack.psql(f"update gateway.endpoint set created_at = created_at + interval '1 day' where id = '{endpoint.id}'")
    customer = make_customer(erp)
    (headers, body), = receiver.wait(1)
    assert json.loads(body)["subject"] == f"customers/{customer['id']}"


@pytest.mark.parametrize("place", ["since_seq = since_seq + 1000000", "since_seq = 0, created_at = now() + '1 day'"])
def test_what_is_from_before_an_endpoint_is_not_for_it(stack, erp, receiver, endpoint, place):
    """A consumer that lags comes to it later; and endpoints of versions before go by the time."""
    stack.psql(f"update gateway.endpoint set {place} where id = '{endpoint.id}'")
    make_customer(erp)
    stack.settle()
    endpoint.call("Ping", id=endpoint.id)  # comes in any case, behind what was not for it
    (headers, body), = receiver.wait(1)
    assert json.loads(body)["type"] == "daybook.gateway.v1.EndpointPinged"


def test_a_ping_goes_the_whole_way(erp, receiver, endpoint):
    ping_id = endpoint.call("Ping", id=endpoint.id)["pingId"]
    headers, body = receiver.wait(1)[0]
    event = Webhook(endpoint.secret).verify(body, headers)
    assert event["type"] == "daybook.gateway.v1.EndpointPinged"
    assert event["data"] == {"endpointId": endpoint.id, "pingId": ping_id}


def test_what_is_about_one_thing_comes_in_order(erp, receiver, endpoint):
    receiver.refuses_first = True  # each first attempt fails, so retries and later events could overtake
    customer = make_customer(erp)
    for i in range(3):
        rename(erp, customer, f"Version {i}")
    wait_until(lambda: len(taken(receiver)) == 4, 60 * SLACK, "all were taken")
    names = [json.loads(body)["data"]["customer"]["name"] for body in taken(receiver)]
    assert names == [customer["name"], "Version 0", "Version 1", "Version 2"]
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(set(ids)) == 4 and len({b for _, b in receiver.got}) == 4, "the same bytes on every attempt"


def taken(receiver):
    """Bodies that were answered by 200, in order."""
    return [body for body, status in receiver.answered if status == 200]


# --- secrets ------------------------------------------------------------------------------------------


def test_both_secrets_sign_for_a_day(erp, receiver, endpoint):
    new = endpoint.call("RotateSecret", id=endpoint.id)
    assert new["endpoint"]["oldSecretUntil"]
    make_customer(erp)
    headers, body = receiver.wait(1)[0]
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (endpoint.secret, new["secret"]):
        Webhook(secret).verify(body, headers)
    last = endpoint.call("RotateSecret", id=endpoint.id, revokeNow=True)
    make_customer(erp)
    headers, body = receiver.wait(2)[1]
    Webhook(last["secret"]).verify(body, headers)
    for secret in (endpoint.secret, new["secret"]):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_a_secret_is_shown_once(erp, receiver):
    key, request = str(uuid.uuid4()), {"endpoint": {"url": receiver.url}}
    first = erp.post(WEBHOOKS + "CreateEndpoint", request, Idempotency_Key=key)
    again = erp.post(WEBHOOKS + "CreateEndpoint", request, Idempotency_Key=key)
    assert first.json["secret"].startswith("whsec_")
    assert again.json == {} and again.headers["Idempotent-Reply"] == "withheld"
    listed = erp.post(WEBHOOKS + "ListEndpoints").body
    assert first.json["secret"].encode() not in listed
    erp.post(WEBHOOKS + "DeleteEndpoint", {"id": first.json["endpoint"]["id"]})


# --- receivers in trouble -----------------------------------------------------------------------------


def test_one_that_is_gone_is_disabled_and_loses_nothing(erp, receiver, endpoint):
    receiver.answers = [410]
    make_customer(erp, "While it was gone")
    shown = wait_for_state(endpoint, "ENDPOINT_STATE_DISABLED")
    assert "410" in shown["disabledReason"]
    make_customer(erp, "While it was disabled")
    endpoint.call("ResumeEndpoint", id=endpoint.id)
    wait_until(lambda: len(taken(receiver)) == 2, 30 * SLACK, "what waited came")
    names = {json.loads(b)["data"]["customer"]["name"] for b in taken(receiver)}
    assert names == {"While it was gone", "While it was disabled"}


def wait_for_state(endpoint, state):
    def shown():
        return endpoint.call("GetEndpoint", id=endpoint.id)["endpoint"]
    wait_until(lambda: shown()["state"] == state, SECONDS, f"it was {state}")
    return shown()


def look_again(endpoint):
    """Whoever changes an endpoint has looked at it: all that waits for it is read from the database anew."""
    endpoint.call("UpdateEndpoint", endpoint={"id": endpoint.id, "description": str(uuid.uuid4())}, updateMask="description")


def test_what_fails_for_75_hours_is_parked_and_its_endpoint_disabled(company, erp, receiver, endpoint):
    """The hours pass in the database: the gateway counts them by the moments that it has written there."""
    sql = company.stack.psql
    receiver.answers = [500] * 100
    customer, other = make_customer(erp, "0"), make_customer(erp, "other")
    for name in "12":
        rename(erp, customer, name)
    # Two attempts of each customer's first event; what is behind one of them waits. The third is 5 minutes away.
    wait_until(lambda: sorted(d.get("attempts", 0) for d in endpoint.deliveries()) == [0, 0, 2, 2], SECONDS + 20 * SLACK,
               "the first ones were tried twice")
    sql(f"""update gateway.outgoing set attempts = 8, next_us = 0, tried_us = {past('25 h')}, first_failed_us = {past('76 h')}
             where endpoint_id = '{endpoint.id}'""")
    look_again(endpoint)
    wait_until(lambda: len(endpoint.deliveries(state="DELIVERY_STATE_PARKED")) == 4, SECONDS, "they were given up")
    for shown in endpoint.deliveries(state="DELIVERY_STATE_PARKED"):
        assert shown["attempts"] == 9 and shown["lastStatus"] == 500 and "nextAttemptAt" not in shown
    assert len(receiver.got) == 8
    counts = endpoint.call("GetEndpoint", id=endpoint.id)
    assert counts["parked"] == 4 and "pending" not in counts
    assert counts["endpoint"]["state"] == "ENDPOINT_STATE_ACTIVE", "there may be others that it takes"

    # It has taken none for as long.
    sql(f"update gateway.endpoint set failing_since = now() - interval '76 h' where id = '{endpoint.id}'")
    look_again(endpoint)
    last = make_customer(erp, "last")
    assert "75 hours" in wait_for_state(endpoint, "ENDPOINT_STATE_DISABLED")["disabledReason"]
    told = wait_until(lambda: erp.post(READ_EVENTS, {"types": [DISABLED], "aggregate": f"webhook-endpoints/{endpoint.id}"})
                      .json.get("events"), SECONDS, "it was told")
    assert [e["data"]["endpoint"]["disabledReason"] for e in told] == ["no attempt has succeeded for 75 hours"]
    assert [d["attempts"] for d in endpoint.deliveries(state="DELIVERY_STATE_PENDING")] == [2], "two failures end it; it waits"

    # Mended: what waits comes at once, and what was given up when it is asked for.
    receiver.answers = []
    shown = endpoint.call("ResumeEndpoint", id=endpoint.id)["endpoint"]
    assert shown["state"] == "ENDPOINT_STATE_ACTIVE" and "failingSince" not in shown and not shown.get("disabledReason")
    wait_until(lambda: taken_names(receiver) == [(last["id"], "last")], SECONDS, "what waited came")
    parked = sorted(d["eventId"] for d in endpoint.deliveries(state="DELIVERY_STATE_PARKED"))
    again = endpoint.call("Redeliver", endpointId=endpoint.id, parked=True)
    assert again == {"redelivered": 4, "lastEventId": parked[-1]}
    wait_until(lambda: endpoint.call("GetEndpoint", id=endpoint.id).keys() == {"endpoint"}, SECONDS, "none is owed")
    names = taken_names(receiver)
    assert [name for of, name in names if of == customer["id"]] == ["0", "1", "2"]
    assert sorted(names) == sorted([(last["id"], "last"), (other["id"], "other"), *((customer["id"], n) for n in "012")])
    assert {d["state"] for d in endpoint.deliveries()} == {"DELIVERY_STATE_DELIVERED"}


def past(span):
    """A moment so long ago, as the work list has it."""
    return f"(extract(epoch from now() - interval '{span}') * 1000000)::bigint"


def taken_names(receiver):
    customers = [json.loads(body)["data"]["customer"] for body in taken(receiver)]
    return [(c["id"], c["name"]) for c in customers]


def test_parked_ones_are_sent_again_so_many_at_a_time(company, erp, endpoint):
    rows, most = 10_003, 10_000
    endpoint.call("PauseEndpoint", id=endpoint.id)
    company.stack.psql(f"""
        insert into gateway.delivery (tenant_id, endpoint_id, event_id, seq, lane, key, state)
            select '{company.tenant}', '{endpoint.id}',
                   (lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '70008000'
                    || lpad(to_hex(i), 12, '0'))::uuid, i, i % 16, i, 'parked'
              from generate_series(1, {rows}) i""")
    first = endpoint.call("Redeliver", endpointId=endpoint.id, parked=True)
    assert first["redelivered"] == most and first["more"]
    assert int(first["lastEventId"][-12:], 16) == most, "the oldest ones"
    second = endpoint.call("Redeliver", endpointId=endpoint.id, parked=True, afterEventId=first["lastEventId"])
    assert second["redelivered"] == rows - most and "more" not in second
    assert int(second["lastEventId"][-12:], 16) == rows
    assert "parked" not in endpoint.call("GetEndpoint", id=endpoint.id)
    assert company.stack.value(f"select count(*) from gateway.outgoing where endpoint_id = '{endpoint.id}'") == rows


def test_redirects_and_errors_are_failures_and_are_tried_again(erp, receiver, endpoint):
    receiver.answers = [302, 500]
    make_customer(erp)
    wait_until(lambda: endpoint.deliveries() and endpoint.deliveries()[0].get("attempts", 0) >= 1, SECONDS, "tried")
    shown = endpoint.deliveries()[0]
    assert shown["lastStatus"] == 302 and shown["nextAttemptAt"]
    assert receiver.paths == ["/hook"], "it was not followed"
    attempts = endpoint.call("GetDelivery", endpointId=endpoint.id, eventId=shown["eventId"])["attempts"]
    assert [a["status"] for a in attempts] == [302]


def test_a_dead_receiver_delays_no_other(erp, receiver, endpoint):
    """One that takes its time, and one that is not there at all."""
    slow = Receiver(delay=10)
    ends = [Endpoint(erp, slow.url, CREATED), Endpoint(erp, "http://127.0.0.1:1/", CREATED)]
    try:
        for _ in range(30):
            make_customer(erp)
        begun = time.monotonic()
        receiver.wait(30)
        assert time.monotonic() - begun < 8 * SLACK, "it waited for a slow one"
    finally:
        for e in ends:
            e.delete()
        slow.close()


def test_addresses_inside_are_refused(company, erp):
    """F45. The stack allows 127.0.0.0/8 only."""
    for url in ("http://10.0.0.1/", "https://192.168.1.1/x", "http://169.254.169.254/latest", "http://[::1]/",
                "https://user:pw@example.com/", "ftp://example.com/", "http://0x0a000001/", "not an address"):
        made = erp.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": url}})
        assert made.fault == (400, "invalid_argument"), url
        assert "endpoint.url" in made.json["details"][1]["debug"]["fieldViolations"][0]["field"]


# --- the log ------------------------------------------------------------------------------------------


def test_deliveries_are_sent_again_when_asked(erp, receiver, endpoint):
    for _ in range(3):
        make_customer(erp)
    receiver.wait(3)
    wait_until(lambda: [d["state"] for d in endpoint.deliveries()] == ["DELIVERY_STATE_DELIVERED"] * 3, SECONDS, "all done")
    listed = endpoint.deliveries(state="DELIVERY_STATE_DELIVERED")
    one = endpoint.call("Redeliver", endpointId=endpoint.id, eventId=listed[0]["eventId"])
    assert one["redelivered"] == 1
    headers, _ = receiver.wait(4)[3]
    assert headers["webhook-id"] == listed[0]["eventId"]
    wait_until(lambda: not endpoint.deliveries(state="DELIVERY_STATE_PENDING"), SECONDS, "it was done")
    since = endpoint.call("Redeliver", endpointId=endpoint.id, since=min(d["occurredAt"] for d in listed))
    assert since["redelivered"] == 3
    assert len({h["webhook-id"] for h, _ in receiver.wait(7)}) == 3
    assert endpoint.call("Redeliver", endpointId=endpoint.id, parked=True).get("redelivered", 0) == 0
    neither = erp.post(WEBHOOKS + "Redeliver", {"endpointId": endpoint.id})
    assert neither.fault == (400, "invalid_argument")


def test_pages_of_the_log(erp, receiver, endpoint):
    for _ in range(5):
        make_customer(erp)
    receiver.wait(5)
    first = endpoint.call("ListDeliveries", endpointId=endpoint.id, pageSize=3)
    rest = endpoint.call("ListDeliveries", endpointId=endpoint.id, pageSize=3, pageToken=first["nextPageToken"])
    ids = [d["eventId"] for d in first["deliveries"] + rest["deliveries"]]
    assert len(ids) == 5 and ids == sorted(ids, reverse=True) and "nextPageToken" not in rest


# --- who may ------------------------------------------------------------------------------------------


def test_webhooks_are_for_those_who_may_read_all_events(company, receiver):
    rep = Caller(company.stack, new_key(company, employeeId=company.ids["rep"]).api_key)
    assert rep.post(WEBHOOKS + "ListEndpoints").fault == (403, "permission_denied")
    half = Caller(company.stack, new_key(company, scopes=["webhooks.write"]).api_key)
    made = half.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": receiver.url}})
    assert made.fault == (403, "permission_denied")


def test_faults_of_a_request_are_named(erp, receiver):
    wrong = erp.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": receiver.url, "types": ["daybook.no.such"]}})
    assert wrong.fault == (400, "invalid_argument") and b"endpoint.types[0]" in wrong.body
    assert erp.post(WEBHOOKS + "GetEndpoint", {"id": str(uuid.uuid4())}).fault == (404, "not_found")


# --- crashes ------------------------------------------------------------------------------------------


def test_nothing_is_lost_when_the_gateway_is_killed(company, erp, receiver, endpoint):
    """F05: in the midst of posts; what was under way is posted again under the same id."""
    ids = set()
    receiver.delay = 0.02
    for i in range(40):
        ids.add(make_customer(erp)["id"])
        if i == 20:
            company.stack.kill("gateway")
            erp.connection.close()
            company.stack.start("gateway")
            wait_until(lambda: company.stack.healthy("gateway"), SECONDS, "the gateway was back")
    wait_until(lambda: seen_customers(receiver) >= ids, 60 * SLACK, "all customers came")
    by_id = {}
    for headers, body in receiver.got:
        assert by_id.setdefault(headers["webhook-id"], body) == body


def seen_customers(receiver):
    return {json.loads(body)["data"]["customer"]["id"] for _, body in receiver.got}
