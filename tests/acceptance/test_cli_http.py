"""The command-line tool over HTTP: what it says there is what it says over the bus, and where no gateway answers
it says what came instead (issue 3)."""

import csv
import http.server
import json
import re
import signal
import socket
import subprocess
import threading
import uuid

import pytest

import mdp
from company import BUS, CUSTOMERS, SECONDS, Company
from web import elsewhere, new_key

CREATE, GET = CUSTOMERS + "CustomerService/Create", CUSTOMERS + "CustomerService/Get"
SCOPES = ["tenant.all", "directory.read", "customers.read", "customers.write", "scoring.read", "scoring.write",
          "reminders.read", "events.read"]


@pytest.fixture(scope="module")
def company(stack, clock):
    return Company(stack, clock)


@pytest.fixture(scope="module")
def url(stack):
    return "http://" + stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"]


@pytest.fixture(scope="module")
def keys(company, tmp_path_factory):
    """Files with API keys: of the rep, of the general manager, of a program."""
    folder = tmp_path_factory.mktemp("keys")
    for name, request in (("rep", {"employeeId": company.ids["rep"]}), ("gm", {"employeeId": company.ids["gm"]}),
                          ("program", {"scopes": SCOPES})):
        (folder / name).write_text(new_key(company, **request).api_key + "\n")
    return folder


@pytest.fixture
def bus(company):
    """As the tool runs on a machine of the installation."""
    def run(*words, env=None, **options):
        ours = {"DAYBOOK_TENANT": company.tenant, "DAYBOOK_BUS_PLAIN_ENDPOINT": None, **(env or {})}
        env = {name: value for name, value in {**company.stack.env, **ours}.items() if value is not None}
        return elsewhere(company, *words, env=env, **options)
    return run


@pytest.fixture
def web(company, url, keys):
    def run(*words, who="rep", **options):
        return elsewhere(company, *words, "--url", url, "--api-key", f"@{keys / who}", **options)
    return run


def without_chance(text):
    return re.sub(r'(request |"requestId":")[0-9a-f-]{36}', r"\1ID", text)


# --- the same as over the bus -------------------------------------------------------------------------

def test_call_gives_the_same_answer(company, bus, web):
    shop = company.customer("rep", name="Both ways")
    company.stack.settle()
    words = ("call", GET, json.dumps({"id": shop.id}))
    for more in ((), ("--json",), ("--defaults",)):
        over_bus, over_http = bus(*words, *more, "--as", "E006"), web(*words, *more)
        assert over_http.returncode == 0, over_http.stderr
        assert over_http.stdout == over_bus.stdout and "Both ways" in over_http.stdout


def test_a_large_answer_is_whole(company, bus, web):
    """It comes compressed."""
    words = ("call", "daybook.directory.v1.PolicyService/List", "--json")
    over_bus, over_http = bus(*words, "--as", "E006"), web(*words)
    assert over_http.returncode == over_bus.returncode == 0, over_http.stderr
    assert len(over_http.stdout) > 2000 and json.loads(over_http.stdout) == json.loads(over_bus.stdout)


@pytest.mark.parametrize("method, request_, status", [
    (GET, {"id": str(uuid.uuid4())}, 66),
    (GET, {"id": "x"}, 64),
    (CREATE, {"customer": {"name": "", "cityCode": "no number"}}, 64),
    (CUSTOMERS + "CustomerService/Update", {"customer": {"id": str(uuid.uuid4()), "name": "x", "etag": "1"},
                                            "updateMask": "name"}, None),
    (BUS + "BusService/GetStats", {}, 77),
    (BUS + "EventService/GetHead", {}, 77),
])
def test_errors_are_told_the_same(company, web, tmp_path, method, request_, status):
    key = company.keys["rep"]
    (tmp_path / "key").write_text(key.secret.decode())
    env = {"DAYBOOK_BUS_ENDPOINT": company.stack.env["DAYBOOK_BUS_ENDPOINT"],
           "DAYBOOK_BUS_SERVER_KEY": company.stack.env["DAYBOOK_BUS_SERVER_KEY"],
           "DAYBOOK_BUS_PUBLIC_KEY": key.public.decode(), "DAYBOOK_BUS_SECRET_KEY_FILE": str(tmp_path / "key")}
    for more in ((), ("--json",)):
        words = ("call", method, json.dumps(request_), *more)
        over_bus, over_http = elsewhere(company, *words, env=env), web(*words)
        assert over_http.returncode == over_bus.returncode != 0, over_http.stderr
        assert status in (None, over_http.returncode), over_http.stderr
        assert without_chance(over_http.stderr) == without_chance(over_bus.stderr)
        assert over_http.stdout == ""


def test_a_command_with_a_key_takes_effect_once(company, web):
    name, key = f"Once {uuid.uuid4()}", str(uuid.uuid4())
    words = ("call", CREATE, json.dumps({"customer": {"name": name}}), "--key", key, "--json")
    first = web(*words)
    assert first.returncode == 0, first.stderr
    assert web(*words).stdout == first.stdout
    assert company.stack.value(f"select count(*) from customers.customer where name = '{name}'") == 1


def test_tasks_are_the_same(company, bus, web):
    question = company.ask(company.customer("rep", name="Tasks by HTTP"))
    company.reminder("TMR-01", f"questions/{question.id}")
    company.stack.settle()
    words = ("tasks", "E006", "--date", company.at(days=1)[:10])
    over_bus, over_http = bus(*words, "--as", "E006"), web(*words)
    assert over_http.returncode == 0 and "Tasks by HTTP" in over_http.stdout, over_http.stderr
    assert over_http.stdout.split("(from")[1].splitlines()[1:] == over_bus.stdout.split("(from")[1].splitlines()[1:]
    assert over_http.stderr == over_bus.stderr == ""
    lists = [json.loads(run(*words, "--json").stdout)["list"] for run in (web, bus)]
    assert lists[0]["tasks"] == lists[1]["tasks"]
    company.answer(question)


def imported(run, tmp_path, file, *options, **how):
    result = tmp_path / f"{uuid.uuid4()}.csv"
    done = run("import", "customers", file, "--json", "--result", result, *options, **how)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    with open(result, encoding="utf-8-sig", newline="") as f:
        rows = [{k: v for k, v in row.items() if k not in ("id", "external_id")} for row in csv.DictReader(f)]
    return {k: report[k] for k in ("rows", "counts", "batches") if k in report}, rows


def test_import_is_the_same(company, bus, web, tmp_path):
    def file(way):
        path = tmp_path / f"{way}.csv"
        path.write_text("external_id,name,owner_no\n" + "".join(
            f"H-{i},{'' if i % 7 == 5 else f'Shop {way} {i}'},E006\n" for i in range(60)))
        return path
    over_bus = imported(bus, tmp_path, file("bus"), "--batch", "4", "--source", "bus")
    over_http = imported(web, tmp_path, file("web"), "--batch", "4", "--source", "web", who="program")
    assert over_http == over_bus
    assert over_http[0]["counts"]["inserted"] == 52 and over_http[0]["counts"]["invalid"] == 8
    again, _ = imported(web, tmp_path, file("web"), "--batch", "4", "--source", "web", who="program")
    assert again["counts"].get("inserted", 0) == 0 and again["counts"]["unchanged"] == 52


def test_events_are_read_the_same(company, bus, web):
    shop = company.customer("rep")
    company.stack.settle()
    for words in (("--aggregate", f"customers/{shop.id}"), ("--types", CUSTOMERS + "CustomerCreated", "--limit", "3")):
        over_bus, over_http = bus("events", "read", *words), web("events", "read", *words, who="gm")
        assert over_http.returncode == 0, over_http.stderr
        assert over_http.stdout == over_bus.stdout != ""
        assert web("events", "read", *words, "--json", who="gm").stdout == bus("events", "read", *words, "--json").stdout


def test_tail_is_the_same(company, bus, web):
    head = json.loads(bus("call", BUS + "EventService/GetHead", "--json").stdout)["headSeq"]
    shops = [company.customer("rep").id for _ in range(3)]
    company.stack.settle()
    for words in (("--types", CUSTOMERS + "CustomerCreated", "--limit", "3"), ("--limit", "2", "--json"),
                  ("--aggregate", f"customers/{shops[1]}", "--limit", "1")):
        over_bus = bus("events", "tail", "--after", head, *words)
        over_http = web("events", "tail", "--after", head, *words, who="gm")
        assert over_http.returncode == 0, over_http.stderr
        assert over_http.stdout == over_bus.stdout != ""


@pytest.fixture
def tail(company, url, keys):
    started = []

    def start(*words):
        process = subprocess.Popen([company.stack.bin / "daybook", "events", "tail", *words, "--json"], text=True,
                                   env={"DAYBOOK_URL": url, "DAYBOOK_API_KEY_FILE": str(keys / "gm")},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_tail_goes_on_when_the_gateway_is_back(company, bus, tail):
    """Without a gap, and without an event twice."""
    head = json.loads(bus("call", BUS + "EventService/GetHead", "--json").stdout)["headSeq"]
    process = tail("--after", head, "--types", CUSTOMERS + "CustomerCreated", "--limit", "3")
    shops = [company.customer("rep").id]
    seen = [json.loads(process.stdout.readline())["aggregate"]]
    company.stack.send_signal("gateway", signal.SIGKILL)
    said = json.loads(process.stderr.readline())
    assert said["code"] == "unavailable" and said["what"] == "StreamEvents"
    shops.append(company.customer("rep").id)
    company.stack.start("gateway")
    shops.append(company.customer("rep").id)
    out, _ = process.communicate(timeout=SECONDS * 3)
    seen += [json.loads(line)["aggregate"] for line in out.splitlines()]
    assert process.returncode == 0 and seen == [f"customers/{shop}" for shop in shops]


def test_tail_ends_well_when_it_is_interrupted(company, bus, tail):
    head = json.loads(bus("call", BUS + "EventService/GetHead", "--json").stdout)["headSeq"]
    process = tail("--after", head)
    company.customer("rep")
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


# --- keys and addresses -------------------------------------------------------------------------------

def test_settings_and_options_say_the_same(company, url, keys):
    words = ("call", CUSTOMERS + "CustomerService/List", '{"pageSize": 1}', "--json")
    key = (keys / "rep").read_text().strip()
    for more, env in (((), {"DAYBOOK_URL": url + "/", "DAYBOOK_API_KEY_FILE": str(keys / "rep")}),
                      (("--api-key", key), {"DAYBOOK_URL": url}),
                      (("--url", url), {"DAYBOOK_URL": "http://127.0.0.1:1", "DAYBOOK_API_KEY_FILE": str(keys / "rep")})):
        done = elsewhere(company, *words, *more, env=env)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words, status, said", [
    (("--api-key", "dbk_" + str(uuid.uuid4()) + "_nonsense"), 77, "unauthenticated"),
    (("--api-key", "nonsense"), 64, "begins with dbk_"),
    (("--api-key", "@/nowhere/key"), 64, "/nowhere/key: No such file"),
    (("--api-key", "@/dev/null"), 64, "empty"),
    ((), 78, "DAYBOOK_API_KEY_FILE"),
])
def test_a_wrong_key_is_told(company, url, words, status, said):
    done = elsewhere(company, "call", "CustomerService/List", "--url", url, *words)
    assert done.returncode == status and said in done.stderr, done.stderr
    assert "nonsense" not in done.stderr and not done.stdout


@pytest.mark.parametrize("by_file", [True, False])
def test_an_api_key_may_be_given_as_key(company, url, keys, by_file):
    """It is the API key then, and no idempotency key, whatever the setting names."""
    key = f"@{keys / 'rep'}" if by_file else (keys / "rep").read_text().strip()
    done = elsewhere(company, "call", CREATE, json.dumps({"customer": {"name": f"By key {uuid.uuid4()}"}}), "--json",
                     "--url", url, "--key", key, env={"DAYBOOK_API_KEY_FILE": str(keys / "program")})
    assert done.returncode == 0, done.stderr
    stored = company.stack.sql("select key, actor_id from customers.idempotency order by created_at desc limit 1")[0]
    assert uuid.UUID(stored["key"]) and stored["actor_id"] == company.ids["rep"]


def test_a_file_without_an_api_key_is_no_api_key(company, web, tmp_path):
    """An idempotency key may begin with @ as with anything else."""
    (tmp_path / "file").write_text("something\n")
    key = f"@{tmp_path / 'file'}"
    words = ("call", CREATE, json.dumps({"customer": {"name": f"At {uuid.uuid4()}"}}), "--json", "--key", key)
    first = web(*words)
    assert first.returncode == 0 and web(*words).stdout == first.stdout
    assert company.stack.value(f"select count(*) from customers.idempotency where key = '{key}'") == 1


def test_the_two_keys_are_not_taken_for_each_other(company, url, keys):
    """An API key is stored nowhere: where it cannot be one, it is no idempotency key either."""
    secret, file = (keys / "rep").read_text().strip(), f"@{keys / 'rep'}"
    for key in (secret, file):
        for more in ((), ("--url", url, "--api-key", file)):
            done = elsewhere(company, "call", "CustomerService/List", "--key", key, *more)
            assert done.returncode == 64 and "--api-key" in done.stderr and secret not in done.stderr


def test_an_api_key_without_an_address_is_told(company, keys):
    done = elsewhere(company, "call", "CustomerService/List", "--api-key", f"@{keys / 'rep'}")
    assert done.returncode == 64 and "--api-key goes with --url" in done.stderr


@pytest.mark.parametrize("address, said", [
    ("gateway", "no address"),
    ("ftp://127.0.0.1/", "must begin with https://"),
    ("http://me:pw@127.0.0.1/", "user or password"),
    ("http://127.0.0.1/?a=b", "must end before"),
])
def test_a_malformed_address_is_told(company, keys, address, said):
    done = elsewhere(company, "call", "CustomerService/List", "--url", address, "--api-key", f"@{keys / 'rep'}")
    assert done.returncode == 64 and said in done.stderr, done.stderr


class Stranger:
    """A web server that is no gateway, or says what one rarely does: status, headers, body; the last for ever."""

    def __init__(self, *answers):
        self.seen, left = [], list(answers)
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                stranger.seen.append((self.path, dict(self.headers.items())))
                status, headers, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("status, headers, body, exit_, said", [
    (404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>", 69, "answers 404 with text/html: no gateway is there"),
    (200, {"Content-Type": "text/html"}, b"<h1>Hello</h1>", 69, "no gateway is there"),
    (200, {"Content-Type": "application/proto"}, b"\xff\xff", 70, "cannot be read"),
    (301, {"Location": "https://daybook.example.com/"}, b"", 65, "moved to https://daybook.example.com/"),
    (302, {"Location": "/\x1b[2J"}, b"", 65, "moved to /?[2J"),
    (401, {}, b"", 77, "not as a gateway does"),
    (502, {}, b"", 75, "try again when it is back"),
    (500, {"Content-Type": "application/json"}, b'{"error": "no Connect error"}', 69, "no gateway is there"),
    (429, {"Content-Type": "application/json", "Retry-After": "2"},
     b'{"code": "resource_exhausted", "message": "slowly"}', 75, "try again in 2.0 s"),
    (409, {"Content-Type": "application/json"},
     b'{"code": "already_exists", "message": "is there", "details": [{"type": "no.such.Type", "value": "AA"}]}', 73,
     "already_exists: is there"),
])
def test_what_is_no_gateway_is_told(company, keys, status, headers, body, exit_, said):
    with Stranger((status, headers, body)) as server:
        words = ("call", CREATE, "{}", "--key", "k-1", "--url", server.url + "/below", "--api-key", f"@{keys / 'rep'}")
        done = elsewhere(company, *words, "--timeout", "3s")
        assert done.returncode == exit_ and said in done.stderr, done.stderr
        failure = json.loads(elsewhere(company, *words, "--json").stderr)
        assert failure["message"] and failure["what"]
    path, sent = server.seen[0]
    assert path == f"/below/{CREATE}"
    assert sent["Idempotency-Key"] == "k-1" and int(sent["Connect-Timeout-Ms"]) <= 3000
    assert "dbk_" not in done.stderr


def test_import_sends_again_what_the_gateway_put_off(company, keys, tmp_path):
    """Too much at once, or a proxy without a gateway behind it: the same batch under the same key."""
    _, gives = mdp.method_classes(CUSTOMERS + "CustomerService/BatchImport")
    taken = gives(results=[{"index": 0, "outcome": 1, "id": str(uuid.uuid4())}]).SerializeToString()
    (tmp_path / "shop.csv").write_text("external_id,name,owner_no\nA-1,Again,E006\n")
    busy = b'{"code": "resource_exhausted", "message": "slowly"}'
    with Stranger((429, {"Content-Type": "application/json", "Retry-After": "1"}, busy), (502, {}, b""),
                  (200, {"Content-Type": "application/proto"}, taken)) as server:
        done = elsewhere(company, "import", "customers", tmp_path / "shop.csv", "--json", "--url", server.url,
                         "--api-key", f"@{keys / 'program'}")
    assert done.returncode == 0 and json.loads(done.stdout)["counts"]["inserted"] == 1, done.stderr
    assert len(server.seen) == 3 and len({sent["Idempotency-Key"] for _, sent in server.seen}) == 1


def test_where_nobody_is_it_says_so_at_once(company, keys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for words in (("call", "CustomerService/List"), ("events", "tail"), ("tasks", "E006")):
            done = elsewhere(company, *words, "--url", address, "--api-key", f"@{keys / 'rep'}")
            assert done.returncode == 75 and "no gateway answers" in done.stderr and address in done.stderr, done.stderr


def test_https_is_not_spoken_with_those_who_do_not(company, url, keys):
    done = elsewhere(company, "call", "CustomerService/List", "--url", url.replace("http:", "https:"),
                     "--api-key", f"@{keys / 'rep'}")
    assert done.returncode == 75 and "no gateway answers" in done.stderr


def test_a_gateway_that_stands_still_costs_the_timeout(company, web):
    with company.stack.stopped("gateway"):
        done = web("call", "CustomerService/List", "--timeout", "500ms")
    assert done.returncode == 75 and "deadline_exceeded" in done.stderr, done.stderr


# --- what does not go there ---------------------------------------------------------------------------

@pytest.mark.parametrize("words", [("migrate",), ("rebuild", "scoring"), ("keygen", "/nowhere/key"),
                                   ("clock", "/nowhere/clock", "2026-11-16T01:00:00Z")])
def test_what_is_for_the_installation_says_so(web, words):
    done = web(*words)
    assert done.returncode == 64 and f"{words[0]} does not work over HTTP" in done.stderr
    assert "the installation as a whole" in done.stderr and not done.stdout


def test_what_calls_no_service_says_so(web):
    done = web("webhook", "listen")
    assert done.returncode == 64 and "it calls no service" in done.stderr


def test_the_setting_does_not_keep_from_working_what_needs_no_services(bus, url):
    """They are for when services are down: only --url leads them elsewhere."""
    for words in (("status",), ("events", "parked"), ("timers", "parked")):
        done = bus(*words, "--json", env={"DAYBOOK_URL": url})
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words, env", [(("--as", "E006"), {}), ((), {"DAYBOOK_AS": "E006"}),
                                        (("--tenant", str(uuid.uuid4())), {})])
def test_only_the_key_says_who_asks(web, words, env):
    done = web("call", "CustomerService/List", *words, env=env)
    assert done.returncode == 64 and "does not go over HTTP" in done.stderr
