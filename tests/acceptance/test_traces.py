"""Traces (operations 7, protocols I, F53): one trace from a call over HTTP to its webhook, told to a collector in
OTLP, and a collector in trouble is nobody else's.
"""

import contextlib
import json
import os
import signal
import subprocess
import urllib.request
import uuid

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import stack as stack_module
from collector import Collector
from company import CUSTOMERS, SECONDS, Company
from receiver import Receiver
from stack import is_alive, wait_until
from web import LIST, Caller, Gateway, free_port, new_key

CREATE = CUSTOMERS + "CustomerService/Create"
GET = CUSTOMERS + "CustomerService/Get"
CREATED = "daybook.customers.v1.CustomerCreated"
WEBHOOKS = "daybook.gateway.v1.WebhookService/"


@pytest.fixture(scope="module")
def collector():
    c = Collector()
    yield c
    c.close()
    assert not c.faults, c.faults[0]


@pytest.fixture(scope="module")
def company(tmp_path_factory, collector):
    """On a stack of its own, which is traced."""
    private = stack_module.Stack(tmp_path_factory.mktemp("traced"), OTEL_EXPORTER_OTLP_ENDPOINT=collector.url + "/")
    try:
        private.up()
        yield Company(private, calendar=False)
        collector.open.set()
        private.down()
        assert not private.sanitizer_reports(), "\n".join(private.sanitizer_reports())
    finally:
        private.remove()


@pytest.fixture(scope="module")
def caller(company):
    scopes = ["webhooks.read", "webhooks.write", "events.read", "customers.read", "customers.write", "tenant.all"]
    return Caller(company.stack, new_key(company, scopes=scopes).api_key)


def new_trace(flags="01"):
    """As a client begins one: (traceparent, trace, span)."""
    trace, span = uuid.uuid4().hex, uuid.uuid4().hex[:16]
    return f"00-{trace}-{span}-{flags}", trace, span


def make_customer(company, caller, **headers):
    made = caller.post(CREATE, {"customer": {"name": f"Traced {uuid.uuid4()}", "ownerId": company.ids["rep"]}}, **headers)
    assert made.status == 200, made.body
    return made.json["customer"]


def assert_within(outer, inner):
    """A millisecond off at most: the moments are of several readings of the clock."""
    assert outer.began - 1e6 <= inner.began <= inner.ended <= outer.ended + 1e6, (outer, inner)


def traceparent_of(company, customer):
    query = f"select traceparent from bus.log where aggregate = 'customers/{customer['id']}' and type = '{CREATED}'"
    wait_until(lambda: company.stack.sql(query), SECONDS, "the event was in the log")
    return company.stack.value(query)


def dropped(stack, daemon):
    """What a daemon's metrics say of lost spans."""
    address = stack.env_of(daemon)["DAYBOOK_ADMIN_LISTEN"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as page:
        lines = page.read().decode().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("daybook_trace_dropped_total ")))


def test_one_trace_goes_from_the_call_to_the_webhook(company, caller, collector):
    receiver = Receiver()
    made = caller.post(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": receiver.url + "/hook", "types": [CREATED]}})
    assert made.status == 200, made.body
    given, trace, client = new_trace()
    try:
        customer = make_customer(company, caller, Traceparent=given, Tracestate="vendor=x")
        headers, body = receiver.wait(1)[0]
    finally:
        caller.post(WEBHOOKS + "DeleteEndpoint", {"id": made.json["endpoint"]["id"]})
        receiver.close()

    server = collector.one(trace=trace, service="daybook-gateway", kind="SERVER")
    hop = collector.one(trace=trace, service="daybook-gateway", name=CREATE, kind="CLIENT")
    handler = collector.one(trace=trace, service="daybook-customers", kind="SERVER")
    queue = collector.one(trace=trace, name="queue")
    transaction = collector.one(trace=trace, name="transaction")
    commit = collector.one(trace=trace, name="commit")
    post = collector.one(trace=trace, name="webhook")
    assert (server.name, handler.name) == (CREATE, CREATE)
    assert (server.parent, hop.parent, handler.parent) == (client, server.id, hop.id)
    assert (queue.parent, transaction.parent, commit.parent) == (hop.id, handler.id, transaction.id)
    for outer, inner in ((server, hop), (hop, queue), (hop, handler), (handler, transaction), (transaction, commit)):
        assert_within(outer, inner)
    assert handler.attributes["rpc.service"] == CUSTOMERS + "CustomerService"
    assert handler.attributes["daybook.request_id"] == server.attributes["daybook.request_id"]

    event = traceparent_of(company, customer)
    assert event == f"00-{trace}-{handler.id}-01", "the event has the handler's span"
    assert json.loads(body)["traceparent"] == event and headers["traceparent"] == f"00-{trace}-{post.id}-01"
    assert (post.parent, post.kind) == (handler.id, "CLIENT")
    assert post.attributes["http.response.status_code"] == 200 and not post.failed


def test_a_reaction_begins_a_trace_that_links_to_its_event(company, caller, collector):
    given, trace, _ = new_trace()
    customer = make_customer(company, caller, Traceparent=given)
    event = traceparent_of(company, customer)
    links = [(trace, event[36:52])]
    for service in ("daybook-visits", "daybook-reminders", "daybook-scoring", "daybook-gateway"):
        span = collector.wait(1, links=links, service=service)[0]
        assert (span.kind, span.parent) == ("CONSUMER", "") and span.trace != trace
        assert span.attributes["daybook.event.type"] == CREATED


def test_without_a_trace_one_begins_and_who_asks_may_want_none(company, caller, collector):
    customer = make_customer(company, caller)
    begun = traceparent_of(company, customer)
    server = collector.one(trace=begun[3:35], service="daybook-gateway", kind="SERVER")
    assert server.parent == "" and begun.endswith("-01")

    given, trace, client = new_trace("00")
    customer = make_customer(company, caller, Traceparent=given)
    event = traceparent_of(company, customer)
    assert event.startswith(f"00-{trace}-") and event.endswith("-00") and event[36:52] != client
    later = make_customer(company, caller)
    collector.wait(1, trace=traceparent_of(company, later)[3:35], service="daybook-customers", kind="SERVER")
    assert not [s for s in collector.spans if s.trace == trace]


def test_a_stranger_is_not_traced(company, caller, collector):
    given, trace, _ = new_trace()
    assert Caller(company.stack, "dbk_unknown").post(LIST, Traceparent=given).status == 401
    later, known, _ = new_trace()
    assert caller.post(LIST, Traceparent=later).status == 200
    collector.wait(1, trace=known, service="daybook-gateway", kind="SERVER")
    assert not [s for s in collector.spans if s.trace == trace]


def test_a_trace_of_a_later_version_is_understood(company, caller):
    given, trace, _ = new_trace()
    customer = make_customer(company, caller, Traceparent="01" + given[2:] + "-more")
    assert traceparent_of(company, customer).startswith(f"00-{trace}-")


def test_a_failed_request_is_found_by_its_log_line(company, caller, collector):
    given, trace, _ = new_trace()
    assert caller.post(GET, {"id": str(uuid.uuid4())}, Traceparent=given).status == 404
    handler = collector.one(trace=trace, service="daybook-customers", kind="SERVER")
    assert handler.attributes["error.type"] == "not_found" and not handler.failed, "not the server's fault"
    assert collector.one(trace=trace, name=GET, kind="CLIENT").failed
    log = company.stack.folder / "log/customers.log"

    def told():
        lines = [json.loads(line) for line in log.read_text().splitlines() if trace in line]
        return [line for line in lines if line["event"] == "rpc.failed"]
    line = wait_until(told, SECONDS, "the log told of it")[0]
    assert (line["trace"], line["span"]) == (trace, handler.id)


def test_openmetrics_names_the_trace_of_a_slow_bucket(company, caller, collector):
    given, trace, _ = new_trace()
    assert caller.post(LIST, Traceparent=given).status == 200
    for daemon, name in (("customers", "daybook_rpc_server_duration_seconds"),
                         ("gateway", "daybook_gateway_request_duration_seconds")):
        address = company.stack.env_of(daemon)["DAYBOOK_ADMIN_LISTEN"]
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
        request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=SECONDS) as page:
            assert page.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            families = {f.name: f for f in text_string_to_metric_families(page.read().decode())}
        assert families["daybook_trace_dropped"].type == "counter" and "process_cpu_seconds" in families
        exemplars = [s.exemplar for s in families[name].samples if s.exemplar]
        ours = [e for e in exemplars if e.labels["trace_id"] == trace]
        assert len(ours) == 1 and ours[0].value > 0
        assert collector.one(trace=trace, id=ours[0].labels["span_id"]).kind == "SERVER"


def test_idle_daemons_trace_nothing(company, collector):
    """What they ask the bus for all the time would fill any collector."""
    assert not [s for s in collector.spans if "EventService/" in s.name]


def test_f53_a_collector_that_hangs_changes_nothing(company, caller, collector):
    names = ("gateway", "customers")
    before = {name: dropped(company.stack, name) for name in names}
    posts = collector.posts
    collector.open.clear()
    try:
        wait_until(lambda: caller.post(LIST).status == 200 and collector.posts > posts, SECONDS, "a post hung")
        for _ in range(100):  # calls are answered while it does
            assert caller.post(LIST).status == 200
        wait_until(lambda: all(dropped(company.stack, n) > before[n] for n in names), 2 * SECONDS, "the posts were given up")
        assert caller.post(LIST).status == 200

        pid = company.stack.send_signal("customers", signal.SIGTERM)
        wait_until(lambda: not is_alive(pid), 2 * SECONDS, "it ended with a collector that hangs")
    finally:
        collector.open.set()
    company.stack.start("customers")

    def took():
        given, trace, _ = new_trace()
        return caller.post(LIST, Traceparent=given).status == 200 and trace
    trace = wait_until(took, SECONDS, "customers answered again")
    collector.wait(1, trace=trace, service="daybook-customers", kind="SERVER")


def test_f53_a_collector_that_is_gone_changes_nothing(company, caller):
    gateway = Gateway(company.stack, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}/x"})
    try:
        calls = Caller(gateway, caller.key)
        wait_until(lambda: calls.post(LIST).status == 200 and dropped(gateway, "gateway") > 0, 2 * SECONDS,
                   "calls were answered and their spans dropped")
    finally:
        assert gateway.stop()
    told = [json.loads(line) for line in gateway.log.read_text().splitlines() if "trace.not_taken" in line]
    assert len(told) == 1 and told[0]["level"] == "warn", "once, not for each batch"


def test_f53_a_standard_output_that_nobody_reads_changes_nothing(company, caller):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    gateway = Gateway(company.stack, stdout=writer, LOG_LEVEL="debug")
    os.close(writer)
    try:
        calls = Caller(gateway, caller.key)
        for _ in range(20):
            assert calls.post(LIST).status == 200
    finally:
        assert gateway.stop(), "it drained, and gave its lines up"
        os.close(reader)


def test_what_is_open_is_posted_at_the_end(company, caller, collector):
    given, trace, _ = new_trace()
    assert caller.post(LIST, Traceparent=given).status == 200
    pid = company.stack.send_signal("customers", signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), 2 * SECONDS, "it ended")
    assert [s for s in collector.spans if s.trace == trace and s.service == "daybook-customers"]
    company.stack.start("customers")


@pytest.mark.parametrize("name, value, reason", [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317", "must be an http:// or https:// address"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://localhost", "must be an http:// or https:// address"),
    ("OTEL_TRACES_SAMPLER", "sometimes", "must be always_on"),
    ("OTEL_TRACES_SAMPLER_ARG", "2", "must be a number from 0 to 1"),
    ("OTEL_SERVICE_NAME", "x" * 64, "must have at most 63 bytes"),
])
def test_a_wrong_setting_is_named(company, name, value, reason):
    env = {**os.environ, **company.stack.env_of("customers"), "OTEL_TRACES_SAMPLER": "traceidratio", name: value}
    done = subprocess.run([company.stack.bin / "daybook-customers", "--check-config"], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 78 and f"setting {name}: {reason}" in done.stderr, done.stderr
