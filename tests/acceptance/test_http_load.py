"""The gateway when too much is asked of it, by one or by all, and whatever is written into its texts (F09, F51, F52,
F60, F62). What counts here is that everybody is answered; how fast, `make bench` says."""

import concurrent.futures
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
import uuid

import pytest

from company import CUSTOMERS, SECONDS, Company
from stack import metrics_at, wait_until
from web import LIST, Answer, Caller, Gateway, gateway, new_key

CREATE = CUSTOMERS + "CustomerService/Create"
GET = CUSTOMERS + "CustomerService/Get"
ANSWERS = {200, 429, 503}  # done, or told when to come again


@pytest.fixture(scope="module")
def rep_key(company):
    return new_key(company, employeeId=company.ids["rep"]).api_key


def at_once(stack, key, n, each, method=LIST, request=None):
    """n clients of their own, each asks so often in a row; all answers."""
    def ask(_):
        caller = Caller(stack, key)
        try:
            return [caller.post(method, request or {"pageSize": 50}) for _ in range(each)]
        finally:
            caller.connection.close()
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return [answer for answers in pool.map(ask, range(n)) for answer in answers]


def test_f51_overload_is_answered_and_passes(company, rep_key):
    """More than the house can do; nobody waits in vain, and afterwards all is as before."""
    with gateway(company, HTTP_RATE=0) as door:
        answers = at_once(door, rep_key, 200, 5)
        assert len(answers) == 1000 and {a.status for a in answers} <= ANSWERS
        done = sum(a.status == 200 for a in answers)
        assert done >= 200, "hardly anything was done"
        for refused in (a for a in answers if a.status != 200):
            assert int(refused.headers["Retry-After"]) >= 1
        caller = Caller(door, rep_key)
        assert all(caller.post(LIST).status == 200 for _ in range(20))


def test_one_that_floods_is_refused_and_others_are_not(company, rep_key):
    """F52: the rate is of a key."""
    other = new_key(company, employeeId=company.ids["lead"]).api_key
    with gateway(company, HTTP_RATE=20) as door:
        stop, seen = threading.Event(), []

        def flood():
            caller = Caller(door, rep_key)
            while not stop.is_set():
                seen.append(caller.post(LIST, {"pageSize": 1}).status)
        threads = [threading.Thread(target=flood) for _ in range(4)]
        for t in threads:
            t.start()
        try:
            wait_until(lambda: seen.count(429) > 50, SECONDS, "the flood was refused")
            calm = Caller(door, other)
            assert [calm.post(LIST).status for _ in range(20)] == [200] * 20
        finally:
            stop.set()
            for t in threads:
                t.join()
        assert set(seen) == {200, 429}


def test_a_body_that_comes_slowly_counts_once(company, rep_key):
    """Its caller is proven again when it has come; with two requests at once and one a second two pass, however slow."""
    with gateway(company, HTTP_RATE=1) as door:
        slow = [Caller(door, rep_key) for _ in range(2)]
        for caller in slow:
            caller.connection.putrequest("POST", f"/{LIST}")
            for name, value in caller.headers({"Content_Type": "application/json", "Content_Length": "2"}).items():
                caller.connection.putheader(name, value)
            caller.connection.endheaders()
        time.sleep(1.2)  # no condition: that it takes more than a second is what is tested
        for caller in slow:
            caller.connection.send(b"{}")
        assert [caller.connection.getresponse().status for caller in slow] == [200, 200]


def test_one_command_by_many_at_once_is_done_once(company, rep_key):
    """F60."""
    key, name = str(uuid.uuid4()), f"Twins {uuid.uuid4()}"
    answers = []

    def ask():
        caller = Caller(company.stack, rep_key)
        answers.append(caller.post(CREATE, {"customer": {"name": name}}, Idempotency_Key=key))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    done = [a for a in answers if a.status == 200]
    assert {a.status for a in answers} <= {200, 409} and done
    assert len({a.json["customer"]["id"] for a in done}) == 1
    assert company.stack.value(f"select count(*) from customers.customer where name = '{name}'") == 1
    again = Caller(company.stack, rep_key).post(CREATE, {"customer": {"name": name}}, Idempotency_Key=key)
    assert again.json["customer"]["id"] == done[0].json["customer"]["id"]


@pytest.mark.parametrize("text", [
    "'; drop table customers.customer; --", "\" or \"\"=\"", "$1", "%s%n%p", "{{7*7}}${7*7}<%= 7*7 %>", "../../etc/passwd",
    "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "a\\nb\\r\\nSet-Cookie: x=1", "\u202eright to left\u202c", "\ufeffmark",
    "emoji \U0001f600 and \u4e2d\u6587", "{\"json\":[1,2]}", "\\x41\\u0041\\", "${jndi:ldap://127.0.0.1/x}"])
def test_texts_are_texts(company, rep_key, text):
    """F62: stored as they were written, and shown so; nothing of them is run."""
    caller = Caller(company.stack, rep_key)
    name = f"{text} {uuid.uuid4()}"
    made = caller.post(CREATE, {"customer": {"name": name, "industry": text, "address": text}})
    assert made.status == 200, made.body
    got = caller.post(GET, {"id": made.json["customer"]["id"]}).json["customer"]
    assert (got["name"], got["industry"], got["address"]) == (name, text, text)


@pytest.mark.parametrize("raw", [b'"a\\u0000b"', b'"\\ud800"', b'"\xff\xfe"', b'"\xc0\xaf"'])
def test_what_is_no_text_is_refused(company, rep_key, raw):
    caller = Caller(company.stack, rep_key)
    refused = caller.post(CREATE, b'{"customer":{"name":' + raw + b"}}")
    assert refused.fault == (400, "invalid_argument")


def test_line_ends_in_header_fields_go_nowhere(company, rep_key):
    caller = Caller(company.stack, rep_key)
    for name, value in (("Idempotency_Key", "a\tb"), ("Traceparent", "00-x\ty")):
        answer = caller.post(LIST, {"pageSize": 1}, **{name: value})
        assert answer.status in (200, 400) and "\t" not in str(answer.headers)


def test_a_gateway_that_stops_is_left_in_peace(company, rep_key):
    """F09: readiness says no at once, requests are taken for DRAIN_DELAY, and none fails."""
    one = Gateway(company.stack, DRAIN_DELAY="2s", HTTP_RATE=0)
    caller = Caller(one, rep_key)
    stop, seen = threading.Event(), []

    def ask():
        while not stop.is_set():
            seen.append(caller.post(LIST, {"pageSize": 1}).status)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_until(lambda: len(seen) > 20, SECONDS, "calls are under way")
        one.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_ready(one), SECONDS, "it said that it is not ready")
        before = len(seen)
        fresh = Caller(one, rep_key)  # a load balancer that has not looked yet
        assert fresh.post(LIST, {"pageSize": 1}).status == 200
        wait_until(lambda: len(seen) > before + 5, SECONDS, "calls go on")
    finally:
        stop.set()
        thread.join()
        assert one.process.wait(timeout=2 * SECONDS) == 0
    assert set(seen) == {200}


def is_ready(one):
    return subprocess.run([one.stack.bin / "daybook-gateway", "--health"], env=one.env,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def test_a_company_does_not_see_another_ones_webhooks(company):
    """F61: ids of another company are not there."""
    scopes = ["webhooks.read", "webhooks.write", "events.read"]
    mine = Caller(company.stack, new_key(company, scopes=scopes).api_key)
    other_company = Company(company.stack, calendar=False)
    other = Caller(company.stack, new_key(other_company, scopes=scopes).api_key)
    webhooks = "daybook.gateway.v1.WebhookService/"
    made = mine.post(webhooks + "CreateEndpoint", {"endpoint": {"url": "http://127.0.0.1:1/"}}).json["endpoint"]
    try:
        for method, request in (("GetEndpoint", {"id": made["id"]}), ("DeleteEndpoint", {"id": made["id"]}),
                                ("RotateSecret", {"id": made["id"]}), ("Ping", {"id": made["id"]}),
                                ("ListDeliveries", {"endpointId": made["id"]})):
            assert other.post(webhooks + method, request).fault == (404, "not_found"), method
        assert json.loads(other.post(webhooks + "ListEndpoints").body) == {}
    finally:
        mine.post(webhooks + "DeleteEndpoint", {"id": made["id"]})


def test_one_address_has_its_share_of_connections(company, rep_key):
    """F50: more are let go at once; those of a trusted proxy are not counted."""
    with gateway(company, HTTP_ADDRESS_CONNECTIONS=5) as door, \
            gateway(company, HTTP_ADDRESS_CONNECTIONS=5, HTTP_TRUSTED_PROXIES="127.0.0.1") as behind_proxy:
        for one, most in ((door, 10), (behind_proxy, 40)):  # two loops
            address = Caller(one).address
            held = [socket.create_connection(address, timeout=SECONDS) for _ in range(40)]
            try:
                n = count_served(held)
                assert 5 <= n <= most if most < 40 else n == 40
            finally:
                for s in held:
                    s.close()


def test_f48_a_gateway_that_had_no_descriptor_left_hears_again(company, rep_key):
    """Though no connection that it has ends: the library beneath listens no more until one does."""
    with gateway(company) as door:
        held = [Caller(door, rep_key) for _ in range(12)]  # of both loops, and each goes on
        assert all(one.post(LIST, {"pageSize": 1}).status == 200 for one in held)
        pid = door.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))
        waiting = [socket.create_connection(held[0].address) for _ in range(12)]  # the kernel's, so far
        try:
            assert all(one.post(LIST, {"pageSize": 1}).status == 200 for one in held)
            with pytest.raises(TimeoutError):
                waiting[0].settimeout(1)
                waiting[0].recv(1)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for one in waiting:
            one.settimeout(SECONDS)
            one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(one.recv(12) == b"HTTP/1.1 200" for one in waiting)
        assert all(one.post(LIST, {"pageSize": 1}).status == 200 for one in held)
        for one in waiting:
            one.close()


def body_bytes(door):
    [line] = [line for line in metrics_at(door.env["DAYBOOK_ADMIN_LISTEN"]).splitlines()
              if line.startswith("daybook_gateway_body_bytes ")]
    return float(line.rsplit(" ", 1)[1])


def refused_for_memory(door):
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics_at(door.env["DAYBOOK_ADMIN_LISTEN"]).splitlines()
               if line.startswith("daybook_gateway_requests_total") and 'code="resource_exhausted"' in line)


def test_bodies_hold_so_much_in_all_and_no_more(company, rep_key):
    """F50, F51: slow clients with valid keys hold what there is for bodies; who finds no room is told when to come
    again, and when they have gone everything is as before."""
    large = b"{" + b" " * (400 * 1024) + b"}"
    with gateway(company, HTTP_RATE=0, HTTP_BODY_TOTAL="4MiB") as door:
        slow = [Caller(door, rep_key) for _ in range(8)]
        for caller in slow:
            caller.connection.putrequest("POST", f"/{LIST}")
            for name, value in caller.headers({"Content_Type": "application/json",
                                               "Content_Length": str(500 * 1024)}).items():
                caller.connection.putheader(name, value)
            caller.connection.endheaders()
            caller.connection.send(b"{" + b" " * (500 * 1024 - 2))
        held = 8 * (500 * 1024 - 1)
        wait_until(lambda: body_bytes(door) == held, SECONDS, "all that is slow has come")
        other = Caller(door, rep_key)
        for chunks in (False, True):  # by what it announces, and by what comes
            refused = other.post(LIST, large) if not chunks else by_chunks(other, large)
            assert refused.fault == (429, "resource_exhausted")
            assert refused.headers["Retry-After"] == "1" and b"NO_ROOM" in refused.body
        assert refused_for_memory(door) == 2
        assert other.post(LIST, {"pageSize": 1}).status == 200, "a small one finds room"
        slow[0].connection.send(b"}")  # those that have room go on
        assert slow[0].connection.getresponse().status == 200
        assert other.post(LIST, large).status == 200, "there is room again"
        for caller in slow:
            caller.connection.close()
        wait_until(lambda: body_bytes(door) == 0, SECONDS, "all was given back")
        assert [other.post(LIST, large).status for _ in range(20)] == [200] * 20
        wait_until(lambda: body_bytes(door) == 0, SECONDS, "all was given back again")


def by_chunks(caller, body):
    caller.connection.request("POST", f"/{LIST}", iter([body[:1000], body[1000:]]),
                              caller.headers({"Content_Type": "application/json"}), encode_chunked=True)
    return Answer(caller.connection.getresponse())


def count_served(sockets):
    n = 0
    for s in sockets:
        with contextlib.suppress(ConnectionError):
            s.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
            n += s.recv(15).startswith(b"HTTP/1.1 200")
    return n
