"""Rows 7 to 9: the gateway. Unary calls over HTTP, streams of events, webhooks."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from rows_bus import INTERACTION, TENANT
from rows_house import fill_lists
from stack import Failed, wait_until
from table import interleave, median

MANAGER = "00000000-0000-7000-8000-000000000000"
TASKS = "daybook.reminders.v1.TaskService/GetDailyTasks"
WEBHOOKS = "daybook.gateway.v1.WebhookService/"
STREAMS = 1000

SCRIPT = """
local bodies, n = { %s }, 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/%s"
wrk.headers["Authorization"] = "Bearer %s"
function request()
    n = n %% #bodies + 1
    return wrk.format(nil, nil, nil, bodies[n])
end
"""
REPORT = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('{"count":%d,"rate":%f,"p50_us":%f,"p99_us":%f,"faults":%d}\\n', summary.requests,
        summary.requests * 1e6 / summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def http_port(bench):
    return int(bench.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"].rsplit(":", 1)[1])


def call(bench, method, request, tenant=TENANT):
    """As the operator, by the bus."""
    p = subprocess.run([bench.stack.bin / "daybook", "call", method, json.dumps(request), "--tenant", tenant],
                       env=bench.stack.env_of("operator"), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        raise Failed(f"{method}: {p.stderr}")
    return json.loads(p.stdout)


def api_key(bench, **request):
    key = call(bench, "daybook.directory.v1.CredentialService/CreateApiKey", {"label": "bench", **request})["apiKey"]

    def known():
        p = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {key}",
                            "-H", "Content-Type: application/json", "-d", "{}",
                            f"http://127.0.0.1:{http_port(bench)}/{WEBHOOKS}ListEndpoints"],
                           text=True, stdout=subprocess.PIPE)
        return p.stdout not in ("401", "000")
    wait_until(known, 10, "the gateway knows the key")
    return key


def without_limits(bench):
    """The gateway as the bench wants it: no rate of a key, and all connections from here."""
    file = bench.stack.folder / "env/gateway.env"
    if "DAYBOOK_HTTP_RATE=" not in file.read_text():
        with open(file, "a") as f:
            f.write("DAYBOOK_HTTP_RATE=0\nDAYBOOK_HTTP_ADDRESS_CONNECTIONS=0\n")
        bench.stack.end("gateway")
        bench.stack.start("gateway")


# --- unary ------------------------------------------------------------------------------------------------


def wrk(bench, url, connections, script):
    path = bench.stack.folder / "wrk.lua"
    path.write_text(script + REPORT)
    p = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{bench.seconds}s", "-s", path, url], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode or not p.stdout:
        raise Failed(f"wrk {url}: {p.stderr}")
    got = json.loads(p.stdout.strip().splitlines()[-1])
    if got["faults"] or not got["count"]:
        raise Failed(f"wrk {url}: {got}")
    return got


def script_for(bench, key, codec):
    bodies = []
    for n in range(1, bench.employees + 1):
        employee = f"00000000-0000-7000-8000-{n:012d}"
        body = json.dumps({"employee": employee}) if codec == "json" else f"\x0a\x24{employee}"
        bodies.append('"' + "".join(f"\\{ord(c):03d}" for c in body) + '"')
    return SCRIPT % (", ".join(bodies), codec, key)


@contextlib.contextmanager
def nginx(bench, size):
    """Answers any request with as many bytes, from memory; two workers."""
    folder = bench.stack.folder / "nginx"
    folder.mkdir(exist_ok=True)
    port = http_port(bench) + 1
    binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not binary:
        raise Failed("nginx is not installed: apt install nginx-light")
    (folder / "nginx.conf").write_text(f"""
        daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; keepalive_requests 1000000000; default_type application/json;
               client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
               uwsgi_temp_path {folder}; scgi_temp_path {folder};
               server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{'x' * size}"; }} }} }}""")
    p = subprocess.Popen([binary, "-e", folder / "error.log", "-c", folder / "nginx.conf"])
    try:
        wait_until(lambda: bench.stack.get(("127.0.0.1", port), "/")[0] == 200, 10, "nginx answers")
        yield f"http://127.0.0.1:{port}/"
    finally:
        p.terminate()
        p.wait()


def unary(bench):
    """(7) A daily list from the cache over HTTP, beside the same by the bus and a static answer of nginx."""
    if not shutil.which("wrk"):
        raise Failed("wrk is not installed: apt install wrk")
    without_limits(bench)
    fill_lists(bench)
    bench.stack.settle()
    key = api_key(bench, employeeId=MANAGER)
    url = f"http://127.0.0.1:{http_port(bench)}/{TASKS}"
    bench.load("list", seconds=1)
    size = bench.load("list", seconds=0.5)["answer_bytes"]
    with nginx(bench, size) as static:
        for width in (1, 64):
            bench.note(f"row 7: HTTP, {width} connections")
            got = interleave(bench.runs, {
                "json": lambda: wrk(bench, url, width, script_for(bench, key, "json")),
                "proto": lambda: wrk(bench, url, width, script_for(bench, key, "proto")),
                "bus": lambda: bench.load("list", clients=width),
                "nginx": lambda: wrk(bench, static, width, script_for(bench, key, "json")),
            })
            bench.table.keep("7", {f"{width}_connections": got})
            unary_rows(bench, width, size, got)


def unary_rows(bench, width, size, got):
    for codec in ("proto", "json"):
        what = f"daily list, {size} bytes, over HTTP in {codec}, {width} connection{'s' if width > 1 else ''}"
        rate, bus = median(got[codec], "rate"), median(got["bus"], "rate")
        p50, bus_p50 = median(got[codec], "p50_us"), median(got["bus"], "p50_us")
        bench.table.add("7", f"{what}: rate", rate, "/s", bus, "the same by the bus", ">= 60 % of the bus",
                        rate >= 0.6 * bus)
        bench.table.add("7", f"{what}: p50", p50, "us", bus_p50, "the same by the bus",
                        "<= bus + 150 us" if width == 1 else "", p50 <= bus_p50 + 150 if width == 1 else None)
        bench.table.add("7", f"{what}: p99", median(got[codec], "p99_us"), "us", median(got["bus"], "p99_us"),
                        "the same by the bus")
        bench.table.add("7", f"{what}: rate beside nginx", rate, "/s", median(got["nginx"], "rate"),
                        "static answer of nginx")


# --- streams ----------------------------------------------------------------------------------------------


def fan_out(bench, key, rate):
    bench.stack.settle()
    head = bench.stack.value("select last_seq from bus.head")
    seconds = bench.seconds + 2
    p = subprocess.Popen([bench.tools / "streams", "--port", str(http_port(bench)), "--streams", str(STREAMS), "--after",
                          head, "--type", INTERACTION, "--seconds", str(seconds)], text=True, stdout=subprocess.PIPE,
                         env={**os.environ, "DAYBOOK_BENCH_KEY": key})
    try:
        if p.stdout.readline() != "ready\n":
            raise Failed("streams did not begin")
        sent = bench.load("record", rate=rate, clients=4, seconds=bench.seconds, warmup=0)
        out = p.communicate(timeout=60)[0]
    finally:
        p.kill()
        p.wait()
    got = json.loads(out)
    if got["count"] != sent["count"] * STREAMS:
        raise Failed(f"{got['count']} messages of {sent['count']} x {STREAMS}")
    return got


def streams(bench):
    """(8) Events to a thousand streams."""
    without_limits(bench)
    key = api_key(bench, scopes=["events.read"])
    for rate in (20, 100):
        bench.note(f"row 8: {STREAMS} streams, {rate} events/s")
        got = interleave(bench.runs, {"streams": lambda: fan_out(bench, key, rate)})["streams"]
        bench.table.keep("8", {f"{rate}_events": got})
        what = f"{STREAMS} streams, {rate} events/s"
        bench.table.add("8", f"{what}: messages", median(got, "rate"), "/s", rate * STREAMS, "asked for")
        for field in ("p50_us", "p99_us"):
            bench.table.add("8", f"{what}: request -> subscriber, {field.removesuffix('_us')}",
                            median(got, field) / 1000, "ms")


# --- webhooks ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def receiver(bench, place):
    port = http_port(bench) + 2 + place
    log = open(bench.stack.folder / "log/hooks.log", "ab")
    p = subprocess.Popen([bench.tools / "hooks", str(port)], stdout=log, stderr=log)

    def stats():
        return json.loads(bench.stack.get(("127.0.0.1", port), "/stats")[1])
    try:
        wait_until(lambda: bench.stack.get(("127.0.0.1", port), "/stats")[0] == 200, 10, "the receiver listens")
        yield f"http://127.0.0.1:{port}/", stats
        if p.poll() is not None:
            raise Failed("a receiver ended\n" + pathlib.Path(log.name).read_text()[-500:])
    finally:
        p.terminate()
        p.wait()


def waiting(bench):
    return int(bench.stack.value("select count(*) from gateway.outgoing"))


def backlog(bench, ids, stats):
    """Events pile up while the endpoint is paused; then they go out at once."""
    for i in ids:
        call(bench, WEBHOOKS + "PauseEndpoint", {"id": i})
    bench.load("record", clients=16, seconds=bench.seconds)
    bench.stack.settle()
    owed = waiting(bench)
    for s in stats:
        s()
    began = time.monotonic()
    for i in ids:
        call(bench, WEBHOOKS + "ResumeEndpoint", {"id": i})
    wait_until(lambda: waiting(bench) == 0, 120, "all were delivered", 0.05)
    got = [s() for s in stats]
    if sum(g["count"] for g in got) != owed:
        raise Failed(f"{got} are not the {owed} deliveries that waited")
    return {"rate": owed / max(g["seconds"] for g in got), "count": owed, "seconds": time.monotonic() - began}


def paced(bench, stats, rate):
    bench.stack.settle()
    stats()
    sent = bench.load("record", rate=rate, clients=4, seconds=bench.seconds, warmup=0)
    bench.stack.settle()
    wait_until(lambda: waiting(bench) == 0, 30, "all were delivered", 0.05)
    got = stats()
    if got["count"] != sent["count"]:
        raise Failed(f"{got} are not the {sent['count']} events")
    return got


def webhooks(bench):
    """(9) Deliveries to healthy receivers on this machine."""
    ids = []
    with contextlib.ExitStack() as ends:
        places = [ends.enter_context(receiver(bench, place)) for place in range(2)]
        for url, _ in places:
            made = call(bench, WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": url, "types": [INTERACTION]}})
            ids.append(made["endpoint"]["id"])
        bench.note("row 9: webhooks, a backlog")
        runs = interleave(bench.runs, {"backlog": lambda: backlog(bench, ids, [s for _, s in places])})["backlog"]
        bench.table.keep("9", {"backlog": runs})
        bench.table.add("9", "webhooks that waited, two receivers: delivered", median(runs, "rate"), "/s", None, "",
                        ">= 2,000/s", median(runs, "rate") >= 2000)
        call(bench, WEBHOOKS + "DeleteEndpoint", {"id": ids.pop()})
        for rate in (20, 200):
            bench.note(f"row 9: webhooks, {rate} events/s")
            runs = interleave(bench.runs, {"paced": lambda: paced(bench, places[0][1], rate)})["paced"]
            bench.table.keep("9", {f"paced_{rate}": runs})
            for field in ("p50_us", "p99_us"):
                value = median(runs, field) / 1000
                judged = field == "p50_us"
                bench.table.add("9", f"request -> receiver at {rate} events/s: {field.removesuffix('_us')}", value, "ms",
                                None, "", "<= 30 ms" if judged else "", value <= 30 if judged else None)
        for i in ids:
            call(bench, WEBHOOKS + "DeleteEndpoint", {"id": i})
