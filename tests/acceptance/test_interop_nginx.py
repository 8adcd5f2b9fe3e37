"""TLS and HTTP/2 by nginx, as deploy/nginx/daybook.conf says, before two gateways; asked by connect-node."""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

import pytest

from company import SECONDS
from program import Program
from stack import ROOT, metrics_at, run, wait_until
from web import LIST, Caller, Gateway, free_port, new_key

NGINX = pathlib.Path(os.environ.get("DAYBOOK_DEBIAN", ROOT / "build/debian")) / "nginx"
NODE = pathlib.Path(os.environ.get("DAYBOOK_NODE", ROOT / "build/interop/node"))
NOBODY = 65534
SCOPES = ["tenant.all", "customers.read", "customers.write", "directory.read", "events.read"]
AROUND = """
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format protocol "$server_protocol $request_method $status";
    access_log {folder}/access.log protocol;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/daybook.conf;
}}
"""


@pytest.fixture(scope="module")
def folder():
    """Of an ordinary user, who need not see the others of the tests."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="nginx-"))
    shutil.copy(NGINX, made / "nginx")
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", made / "key.pem",
         "-out", made / "cert.pem"])
    if os.getuid() == 0:
        for path in (made, *made.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


@contextlib.contextmanager
def nginx(folder, upstreams):
    """Runs before those addresses; gives its own port."""
    port = free_port()
    conf = (ROOT / "deploy/nginx/daybook.conf").read_text()
    upstreams = iter(upstreams)
    for pattern, text, times in (
            (r"(?<=\n    server )127\.0\.0\.1:\d+(?= )", lambda _: next(upstreams), 2),
            (r"(?<=listen )443(?= )", f"127.0.0.1:{port}", 1), (r"daybook\.example\.com", "localhost", 1),
            (r"/etc/nginx/daybook/fullchain\.pem", f"{folder}/cert.pem", 1),
            (r"/etc/nginx/daybook/key\.pem", f"{folder}/key.pem", 1),
            (r"conf\.d/daybook-server\.inc", f"{folder}/daybook-server.inc", 1)):
        conf, found = re.subn(pattern, text, conf)
        assert found == times, pattern
    (folder / "daybook.conf").write_text(conf)
    shutil.copy(ROOT / "deploy/nginx/daybook-server.inc", folder)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    (folder / "access.log").unlink(missing_ok=True)
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
    words = [*as_nobody, folder / "nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
    process = subprocess.Popen(list(map(str, words)))
    try:
        wait_until(lambda: process.poll() is not None or listens(port), SECONDS, "nginx listens")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait()


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def second(company):
    """Another gateway of the same stack. Both believe the proxy."""
    trusted = {"HTTP_TRUSTED_PROXIES": "127.0.0.1"}
    with company.stack.changed_settings("gateway", **{f"DAYBOOK_{name}": text for name, text in trusted.items()}):
        gateway = Gateway(company.stack, **trusted)
        yield gateway
        assert gateway.stop()


@pytest.fixture(scope="module")
def proxy(company, folder, second):
    upstreams = [gateway.env_of("gateway")["DAYBOOK_HTTP_LISTEN"] for gateway in (company.stack, second)]
    with nginx(folder, upstreams) as port:
        yield port


def known_to_both(company, second, **request):
    key = new_key(company, **request).api_key
    other = Caller(second, key)
    wait_until(lambda: other.post(LIST).status != 401, SECONDS, "the other gateway knew the key")
    return key


@pytest.fixture(scope="module")
def erp(company, folder, proxy, second):
    key = known_to_both(company, second, label="erp", scopes=SCOPES)
    return {**os.environ, "DAYBOOK_URL": f"https://localhost:{proxy}", "DAYBOOK_HTTP_VERSION": "2",
            "DAYBOOK_API_KEY": key, "NODE_EXTRA_CA_CERTS": str(folder / "cert.pem")}


def node(erp, *words):
    return Program(erp, "node", "erp.mjs", *words, cwd=NODE)


def secure(folder, port):
    context = ssl.create_default_context(cafile=folder / "cert.pem")
    return http.client.HTTPSConnection("localhost", port, timeout=SECONDS, context=context)


def test_f61_calls_and_streams_over_http_2(company, erp, folder):
    with node(erp, "check", "E006") as program:
        assert program.end() == 0, "\n".join(program.said)
    asked = (folder / "access.log").read_text().splitlines()
    assert {line.split()[0] for line in asked} == {"HTTP/2.0"}
    assert {"GET", "POST"} == {line.split()[1] for line in asked}


@pytest.mark.parametrize("mebibytes, words", [
    (3.9, "InvalidArgument: .*"),  # it was read, and the name is too long
    (4.5, "ResourceExhausted: the message is larger than this server takes"),  # by the gateway
    (6, "ResourceExhausted: the message is larger than 4 MiB; send less at once"),  # by nginx
])
def test_f52_a_large_message_is_refused_in_words(erp, mebibytes, words):
    with node(erp, "large", mebibytes) as program:
        program.until(f"^refused: ({words})$")
        assert program.end() == 0


def streams(company, second):
    pages = company.stack.metrics("gateway"), metrics_at(second.env["DAYBOOK_ADMIN_LISTEN"])
    return sum(int(n) for n in re.findall(r"^daybook_gateway_streams (\d+)$", "\n".join(pages), re.MULTILINE))


def test_f33_a_client_that_leaves_leaves_the_gateway_too(company, erp, second, tmp_path):
    company.customer()
    wait_until(lambda: streams(company, second) == 0, SECONDS, "no stream is left of others")
    with node(erp, "follow", tmp_path / "cursor.json") as program:
        program.until("^event ")
        assert streams(company, second) == 1
        program.kill()
        wait_until(lambda: streams(company, second) == 0, SECONDS, "the gateway saw it")


def test_f05_one_gateway_dies_and_nobody_notices(company, erp, folder, proxy):
    """What comes when it is gone; a call that it had is the client's to repeat, and it may still have one: nginx
    hears that a connection which stood is gone just after it was used once more."""
    connection = secure(folder, proxy)
    headers = {"Authorization": f"Bearer {erp['DAYBOOK_API_KEY']}", "Content-Type": "application/json"}

    def call():
        connection.request("POST", f"/{LIST}", "{}", headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    company.stack.kill("gateway")
    try:
        # The process is gone when its first thread is, its sockets with the last one.
        wait_until(lambda: not listens(Caller(company.stack).address[1]), SECONDS, "its port is closed")
        answers = [call() for _ in range(20)]
        assert set(answers) <= {200, 503} and answers.count(503) <= 1, answers
        with node(erp, "check", "E006") as program:
            assert program.end() == 0, "\n".join(program.said)
    finally:
        company.stack.start("gateway")
        wait_until(lambda: company.stack.healthy("gateway"), SECONDS, "it is back")


def test_f05_a_stream_goes_on_at_the_other_gateway(company, erp, tmp_path):
    def until(made):
        program.until(f"^event .* customers/{made.id} known$")

    with node(erp, "follow", tmp_path / "cursor.json") as program:
        until(company.customer())
        company.stack.kill("gateway")
        try:
            until(company.customer())
        finally:
            company.stack.start("gateway")
            wait_until(lambda: company.stack.healthy("gateway"), SECONDS, "it is back")
        until(company.customer())


def test_f61_a_key_of_some_networks_is_not_had_by_a_forged_address(company, folder, proxy, second):
    office = known_to_both(company, second, scopes=["customers.read"], allowedNetworks=["192.0.2.0/24"])
    here = known_to_both(company, second, scopes=["customers.read"], allowedNetworks=["127.0.0.1"])

    def call(key):
        connection = secure(folder, proxy)
        connection.request("POST", f"/{LIST}", "{}", {
            "Authorization": f"Bearer {key}", "Content-Type": "application/json", "X-Forwarded-For": "192.0.2.1",
            "Forwarded": "for=192.0.2.1"})
        return connection.getresponse().status

    assert (call(here), call(office)) == (200, 403)


class Echo(http.server.BaseHTTPRequestHandler):
    """Tells what it was asked with."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps([[name, value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_f61_what_a_client_says_of_its_address_goes_no_further(folder):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = "127.0.0.1:%d" % server.server_port
        with nginx(folder, (address, address)) as port:
            connection = secure(folder, port)
            connection.request("POST", f"/{LIST}", "{}", {
                "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "Forwarded": "for=192.0.2.1"})
            seen = {name.lower(): value for name, value in json.loads(connection.getresponse().read())}
        server.shutdown()
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
    assert "forwarded" not in seen and "connection" not in seen


def test_f05_where_no_gateway_is_the_answer_is_unavailable(folder):
    with nginx(folder, ("127.0.0.1:1", "127.0.0.1:1")) as port:
        connection = secure(folder, port)
        connection.request("POST", f"/{LIST}", "{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"], json.loads(answer.read())["code"]) == (
            503, "1", "unavailable")
