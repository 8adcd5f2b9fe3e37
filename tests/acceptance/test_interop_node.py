"""Clients of other people's making: connect-node, as the ERP of tests/interop/node, and buf curl."""

import json
import os
import pathlib
import urllib.error
import urllib.request
import uuid

import pytest

from company import BUS, CUSTOMERS, SECONDS
from program import Program
from stack import ROOT, wait_until
from web import LIST, Caller, new_key

NODE = pathlib.Path(os.environ.get("DAYBOOK_NODE", ROOT / "build/interop/node"))
CREATE = CUSTOMERS + "CustomerService/Create"
CREATED = CUSTOMERS + "CustomerCreated"
SCOPES = ["tenant.all", "customers.read", "customers.write", "directory.read", "events.read", "webhooks.read",
          "webhooks.write"]
WEBHOOKS = "daybook.gateway.v1.WebhookService/"


@pytest.fixture(scope="module")
def erp(company):
    """Environment of a program with an API key of its own."""
    key = new_key(company, label="erp", scopes=SCOPES).api_key
    host, port = Caller(company.stack).address
    return {**os.environ, "DAYBOOK_URL": f"http://{host}:{port}", "DAYBOOK_API_KEY": key}


def node(erp, *words):
    return Program(erp, "node", "erp.mjs", *words, cwd=NODE)


def create(company):
    return company.rep.command(CREATE, {"customer": {"name": f"Followed {uuid.uuid4()}"}}).customer.id


# --- connect-node -------------------------------------------------------------------------------------


def test_f61_calls_and_streams_in_both_codecs(erp):
    with node(erp, "check", "E006") as program:
        assert program.end() == 0, "\n".join(program.said)
        assert program.said == ["calls in proto: ok", "events in proto: ok", "calls in json: ok", "events in json: ok"]


def test_f17_an_order_is_taken_once_though_the_service_stood_still(company, erp):
    before = company.stack.value(f"select count(*) from customers.customer where tenant_id = '{company.tenant}'")
    with node(erp, "order", "E006") as program:
        with company.stack.stopped("customers"):
            program.until("^again: DeadlineExceeded$")
            program.until("^again: ")
        customer = program.until(r"^customer (\S+) etag 1$")[1]
        order = program.until(r"^order (\S+) of 1250000 CNY$")[1]
        assert program.end() == 0, "\n".join(program.said)
    assert company.rep.call(CUSTOMERS + "CustomerService/Get", {"id": customer}).customer.owner_id == company.ids["rep"]
    after = company.stack.value(f"select count(*) from customers.customer where tenant_id = '{company.tenant}'")
    assert after == before + 1
    events = company.system.call(BUS + "EventService/ReadEvents", {
        "limit": 1000, "aggregate": f"customers/{customer}"}).events
    assert [e.type for e in events].count(CREATED) == 1
    assert company.stack.value(f"select count(*) from customers.sales_order where id = '{order}'") == 1


def test_f03_a_follower_misses_nothing_of_a_gateway_and_a_life_that_end(company, erp, tmp_path):
    stack, cursor, got = company.stack, tmp_path / "cursor.json", []

    def take(program, wanted):
        """Reads on to the creation of that customer."""
        while True:
            line = program.until(r"^event (\d+) (\S+) (\S+) (\S+) known$")
            if line[3] == CREATED:
                got.append((int(line[1]), line[2], line[4].removeprefix("customers/")))
                if got[-1][2] == wanted:
                    return

    start = company.system.call(BUS + "EventService/GetHead", {"omitTypes": True})
    cursor.write_text(json.dumps({"seq": str(start.head_seq), "logId": start.log_id}))
    made = [create(company) for _ in range(3)]
    with node(erp, "follow", cursor) as program:  # at whose end it is killed
        take(program, made[-1])
        stack.kill("gateway")
        made += [create(company) for _ in range(3)]
        stack.start("gateway")
        program.until("^reconnect after ")
        take(program, made[-1])
        # One that says goodbye.
        stack.send_signal("gateway", 15)
        program.until("^reconnect after .*: Unavailable$")
        wait_until(lambda: stack.pid("gateway") is None, SECONDS, "the gateway has stopped")
        made += [create(company)]
        stack.start("gateway")
        take(program, made[-1])
        wait_until(lambda: int(json.loads(cursor.read_text())["seq"]) >= got[-1][0], SECONDS, "it kept its position")
    made += [create(company) for _ in range(2)]
    with node(erp, "follow", cursor) as program:
        take(program, made[-1])
        program.process.terminate()
        program.until("^stopped at ")
        assert program.end() == 0
    assert [customer for _, _, customer in got] == made
    assert [seq for seq, _, _ in got] == sorted({seq for seq, _, _ in got})
    assert len({event_id for _, event_id, _ in got}) == len(got)


# --- standardwebhooks and cloudevents ------------------------------------------------------------------


def order_of_a_new_customer(erp):
    with node(erp, "order", "E006") as program:
        customer = program.until(r"^customer (\S+) etag 1$")[1]
        assert program.end() == 0, "\n".join(program.said)
    return customer


def test_f05_tiers_reach_the_erp_once_though_it_is_killed(company, erp, tmp_path):
    """A customer's first tier comes of his first scoring; then orders lift it."""
    inbox = tmp_path / "inbox.jsonl"
    caller = Caller(company.stack, erp["DAYBOOK_API_KEY"])
    with node(erp, "tiers", inbox) as program:
        endpoint = program.until(r"^endpoint (\S+)$")[1]
        first = order_of_a_new_customer(erp)
        program.until(f"^tier {first} UNSPECIFIED -> [A-D]$")
        done = inbox.with_suffix(".jsonl.done")  # killed before that, it would handle it again
        wait_until(lambda: done.exists() and done.read_text() == "1", SECONDS, "it was marked as done")
    # It was killed: what happens meanwhile waits for it, and what it has had does not come to pass twice.
    second = order_of_a_new_customer(erp)
    with node(erp, "tiers", inbox) as program:
        program.until(f"^endpoint {endpoint}$")
        program.until(f"^tier {second} UNSPECIFIED -> ")
        wait_until(lambda: [d["state"] for d in caller.post(WEBHOOKS + "ListDeliveries", {"endpointId": endpoint})
                            .json["deliveries"]].count("DELIVERY_STATE_DELIVERED") >= 2, SECONDS, "its answers were seen")
        since = json.loads(inbox.read_text().splitlines()[0])["time"]
        again = caller.post(WEBHOOKS + "Redeliver", {"endpointId": endpoint, "since": since})
        assert again.json["redelivered"] >= 2, again.body
        had = {json.loads(line)["id"] for line in inbox.read_text().splitlines()[:2]}
        while had:  # of different customers: in any order
            had.discard(program.until(r"^again (\S+)$")[1])
        url = caller.post(WEBHOOKS + "GetEndpoint", {"id": endpoint}).json["endpoint"]["url"]
        with pytest.raises(urllib.error.HTTPError, match="401"):  # of somebody else
            urllib.request.urlopen(urllib.request.Request(url, b"{}", {"webhook-id": "1", "webhook-timestamp": "1"}))
        program.until("^refused: ")
        program.process.terminate()
        assert program.end() == 0, "\n".join(program.said)
    assert not [line for line in program.said if first in line], "the first one was handled again"
    ids = [json.loads(line)["id"] for line in inbox.read_text().splitlines()]
    assert len(ids) == len(set(ids))
    caller.post(WEBHOOKS + "DeleteEndpoint", {"id": endpoint})


# --- buf curl (connect-go) ----------------------------------------------------------------------------


def buf_curl(erp, method, request):
    return Program(erp, NODE / "node_modules/.bin/buf", "curl", "--protocol", "connect", "--schema", ROOT / "proto",
                   "--header", f"Authorization: Bearer {erp['DAYBOOK_API_KEY']}", "--data", json.dumps(request),
                   f"{erp['DAYBOOK_URL']}/{method}", cwd=NODE)


def test_buf_curl_calls(erp):
    with buf_curl(erp, LIST, {"pageSize": 2}) as program:
        assert program.end() == 0, "\n".join(program.said)
        assert len(json.loads("".join(program.said))["customers"]) == 2
    with buf_curl(erp, CUSTOMERS + "CustomerService/Get", {"id": str(uuid.uuid4())}) as program:
        assert program.end() != 0
        assert '"not_found"' in "".join(program.said)


def test_buf_curl_streams(company, erp):
    head = company.system.call(BUS + "EventService/GetHead", {"omitTypes": True}).head_seq
    with buf_curl(erp, BUS + "EventService/StreamEvents", {"afterSeq": str(head), "types": [CREATED]}) as program:
        program.until('"position"')
        made = create(company)
        program.until(f'"customers/{made}"')
