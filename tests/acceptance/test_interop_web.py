"""A page of another origin in Chromium: the bundle of tests/interop/web, which is connect-web's."""

import functools
import http.server
import os
import pathlib
import threading
import urllib.parse

import pytest

from company import BUS, CUSTOMERS, SECONDS
from program import Program
from stack import ROOT, wait_until
from web import Caller, new_key

WEB = pathlib.Path(os.environ.get("DAYBOOK_WEB", ROOT / "build/interop/web"))
BROWSER = "chromium-headless-shell"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def pages():
    """Two origins that serve the page: the one whose scripts may call, and another."""
    handler = functools.partial(Quiet, directory=WEB / "page")
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ["http://127.0.0.1:%d" % server.server_port for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def gateway(company, pages):
    with company.stack.changed_settings("gateway", DAYBOOK_HTTP_CORS_ORIGINS=f"https://other.example, {pages[0]}"):
        yield "http://%s:%d" % Caller(company.stack).address


@pytest.fixture
def browse(gateway, tmp_path):
    def browse(page, key):
        url = f"{page}/?{urllib.parse.urlencode({'gateway': gateway})}#{key}"
        return Program(os.environ, "node", WEB / "browser.mjs", BROWSER, tmp_path / "profile", url)
    return browse


def streams(company):
    [line] = [line for line in company.stack.metrics("gateway").splitlines()
              if line.startswith("daybook_gateway_streams ")]
    return int(line.split()[1])


def test_f61_connect_web_in_a_browser(company, pages, gateway, browse):
    key = new_key(company, employeeId=company.ids["gm"]).api_key
    before = streams(company)
    with browse(pages[0], key) as program:
        program.until("^page: without a key: Unauthenticated$")
        assert f"net: GET {gateway}/{CUSTOMERS}CustomerService/Get" in program.said
        assert not any("OPTIONS" in line for line in program.said), "a bare GET asks nobody whether it may"
        for codec in ("json", "proto"):
            program.until(f"^page: calls in {codec}: ok$")
            program.until("^page: event has come$")
            assert streams(company) == before + 1
            program.tell("goOn()")  # the page leaves the stream
            program.until(f"^page: events in {codec}: ok$")
            wait_until(lambda: streams(company) == before, SECONDS, "the gateway saw that the client had gone")
        program.until("^page: done$")
        assert program.end() == 0
    for method in ("CustomerService/Create", "CustomerService/Get"):
        assert f"net: OPTIONS {gateway}/{CUSTOMERS}{method}" in program.said
    assert f"net: POST {gateway}/{CUSTOMERS}CustomerService/Create" in program.said
    assert f"net: POST {gateway}/{BUS}EventService/StreamEvents" in program.said


def test_f61_a_page_of_another_origin_gets_and_does_nothing(company, pages, gateway, browse):
    customers = f"select count(*) from customers.customer where tenant_id = '{company.tenant}'"
    before = company.stack.value(customers)
    with browse(pages[1], new_key(company, employeeId=company.ids["gm"]).api_key) as program:
        program.until("^page: without a key: Unknown$")  # fetch tells no more
        program.until("^page: failed: .*Failed to fetch")
        assert program.end() == 0
    assert f"net: OPTIONS {gateway}/{CUSTOMERS}CustomerService/Create" in program.said
    assert company.stack.value(customers) == before
