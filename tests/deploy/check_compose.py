"""The whole of deploy/compose.yaml, run: `make compose-check`, by hand, since it needs a Docker daemon and the image. What it
measures is printed at the end."""

import datetime as dt
import json
import pathlib
import threading
import time

import pytest

from compose import DAEMONS, Project, docker, resident_kib, wait_until

DIRECTORY = "daybook.directory.v1."
SCOPES = ["tenant.all", "customers.read", "customers.write", "directory.read", "visits.read"]
LIST = "daybook.customers.v1.CustomerService/List"
CREATE = "daybook.customers.v1.CustomerService/Create"
IMAGE_BYTES = 30e6
RESIDENT_BYTES = 32e6


@pytest.fixture(scope="module")
def seen():
    """What was measured."""
    lines = []
    yield lines
    print("\n" + "\n".join(lines))


@pytest.fixture(scope="module")
def project(tmp_path_factory, seen):
    made = Project(tmp_path_factory.mktemp("secrets"))
    try:
        made.make_secrets()
        # The daemons before all that they need: they wait for it, and none gives up.
        made.compose("up", "--detach", "--no-deps", *DAEMONS)
        for service in DAEMONS:
            wait_until(lambda s=service: made.inspect(s)[0]["State"]["Health"]["Log"], 30, f"health of {service}")
            state, = made.inspect(service)
            assert state["State"]["Running"] and state["RestartCount"] == 0, f"{service} gave up"
            assert state["State"]["Health"]["Status"] != "healthy", f"{service} is ready without anything"
        made.up()
        made.compose("down", "--volumes", "--timeout", "45")
        seen.append(f"from nothing to all healthy: {made.up():.1f} s")
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def tenant(project):
    return project.call(DIRECTORY + "DirectoryService/CreateTenant", {"tenant": {
        "name": "A company", "timeZone": "Asia/Shanghai", "currencyCode": "CNY"}})["tenant"]["id"]


@pytest.fixture(scope="module")
def key(project, tenant):
    made = project.call(DIRECTORY + "CredentialService/CreateApiKey", {"label": "check", "scopes": SCOPES}, tenant)
    wait_until(lambda: project.ask(LIST, {}, made["apiKey"])[0] == 200, 15, "the gateway knows the key")
    return made["apiKey"]


@pytest.fixture(scope="module")
def owner(project, tenant):
    """A rep, known to the customers' daemon."""
    unit = project.call(DIRECTORY + "DirectoryService/CreateUnit", {"unit": {"code": "N", "name": "North"}}, tenant)
    superior = ""
    for number, role in (("E1", "general_manager"), ("E2", "rep")):
        superior = project.call(DIRECTORY + "DirectoryService/CreateEmployee", {"employee": {
            "employeeNo": number, "name": f"Mx {role}", "unitId": unit["unit"]["id"], "roles": [role],
            "superiorId": superior, "active": True}}, tenant)["employee"]["id"]
    return superior


def seconds_to_ready(project, service):
    """From the last start of its one container to the log's line that says so."""
    def lines():
        one, = project.inspect(service)
        began = one["State"]["StartedAt"]
        text = docker("logs", "--since", began, one["Id"])
        return [(began, line) for line in map(json.loads, text.splitlines()) if line["event"] == "daemon.registered"]

    began, line = wait_until(lines, 20, f"{service} is registered")[0]
    return (dt.datetime.fromisoformat(line["ts"]) - dt.datetime.fromisoformat(began[:26] + "+00:00")).total_seconds()


def test_nothing_has_more_rights_than_it_needs(project):
    for service in DAEMONS + ["postgres", "redis", "nginx", "prometheus"]:
        for one in project.inspect(service):
            host = one["HostConfig"]
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert host["Memory"] and host["PidsLimit"] and host["LogConfig"]["Config"]["max-size"], service
            assert one["Config"]["User"] not in ("", "0", "root"), service
            status = pathlib.Path(f"/proc/{one['State']['Pid']}/status").read_text()
            assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status, service
            assert not [word for word in one["Config"]["Env"] if "password=" in word.lower()], service


def test_only_the_proxy_is_open_to_others(project):
    for service in DAEMONS + ["postgres", "redis"]:
        for one in project.inspect(service):
            assert not any(one["NetworkSettings"]["Ports"].values()), service


def test_the_daemons_are_small_and_soon_ready(project, seen):
    for service in DAEMONS:
        one, = project.inspect(service)
        kib = resident_kib(one["State"]["Pid"])
        seen.append(f"{service}: RSS {kib / 1024:.1f} MiB")
        # Just started. Under load the gateway grows to some 50 MiB (docs/scaling.md), which is not what is judged here.
        assert kib * 1024 <= RESIDENT_BYTES
    project.compose("restart", "visits")
    seen.append(f"visits: {seconds_to_ready(project, 'visits'):.2f} s from the start of its container until the bus has it")
    image = project.inspect("bus")[0]["Image"]
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    seen.append(f"image: {size / 1e6:.1f} MB")
    assert size <= IMAGE_BYTES


def test_a_company_works_through_the_proxy(project, key, owner):
    def create():
        status, answer = project.ask(CREATE, {"customer": {"name": "Shop", "ownerId": owner}}, key)
        assert status == 200, answer
        return answer

    # The customers' daemon hears of the rep a moment later.
    made = wait_until(create, 15, "a customer is made")
    status, listed = project.ask(LIST, {"pageSize": 10}, key)
    assert status == 200
    assert made["customer"]["id"] in [one["id"] for one in listed["customers"]]
    assert project.ask(LIST, {}, "dbk_nobody")[0] == 401


def test_three_visits_share_the_work(project, key):
    project.up("--scale", "visits=3")
    assert len(project.containers("visits")) == 3
    wait_until(lambda: project.query('sum(daybook_bus_workers{service="daybook.visits.v1.VisitService"})') == 24, 60,
               "the bus has the workers of three, and Prometheus knows")
    wait_until(lambda: project.query('count(daybook_ready{job="visits"} == 1)') == 3, 60, "Prometheus watches three")
    assert project.ask("daybook.visits.v1.VisitService/List", {}, key)[0] == 200


def test_all_is_well_again_after(project, key, seen):
    """A restart of the bus, of PostgreSQL, of Redis, and new gateways at other addresses."""
    for service, words in (("bus", ["restart", "bus"]), ("postgres", ["restart", "postgres"]), ("redis", ["restart", "redis"]),
                           ("gateway", ["up", "--detach", "--no-deps", "--force-recreate", "--scale", "visits=3", "gateway"])):
        stop, lost = threading.Event(), []

        def watch():
            while not stop.is_set():
                began = time.monotonic()
                try:
                    status = project.ask(LIST, {"pageSize": 1}, key, timeout=40)[0]
                except OSError:
                    status = 0
                assert time.monotonic() - began < 36
                if status != 200:
                    lost.append(time.monotonic())
                stop.wait(0.05)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            project.compose(*words)
            wait_until(lambda: all(one["State"]["Health"]["Status"] == "healthy" for one in project.inspect(service)), 90,
                       f"{service} is healthy again")
            wait_until(lambda: project.ask(LIST, {"pageSize": 1}, key)[0] == 200, 30, f"answers after {service}")
        finally:
            stop.set()
            thread.join()
        away = lost[-1] - lost[0] if lost else 0
        seen.append(f"{service} restarted: {len(lost)} calls failed, over {away:.1f} s")
        for daemon in DAEMONS:
            assert all(one["RestartCount"] == 0 for one in project.inspect(daemon)), f"{daemon} gave up after {service}"
    project.up("--scale", "visits=3")


def test_an_upgrade_migrates_then_replaces_the_bus_then_the_others(project, key, seen):
    other = "daybook-check:upgraded"
    docker("tag", project.containers_image("bus"), other)
    before = {service: set(project.containers(service)) for service in DAEMONS}
    project.env["DAYBOOK_IMAGE"] = other
    took = project.up("--scale", "visits=3")
    began = {service: [one["State"]["StartedAt"] for one in project.inspect(service)] for service in DAEMONS}
    for service in DAEMONS:
        assert not before[service] & set(project.containers(service)), f"{service} was not replaced"
    assert all(max(began["bus"]) < min(began[service]) for service in DAEMONS[1:])
    assert len(project.containers("visits")) == 3
    assert project.ask(LIST, {"pageSize": 1}, key)[0] == 200
    seen.append(f"an upgrade of all: {took:.1f} s")


def test_all_stop_in_time(project):
    ids = {service: project.containers(service) for service in DAEMONS}
    began = time.monotonic()
    project.compose("stop")
    assert time.monotonic() - began < 50
    for service, containers in ids.items():
        for one in containers:
            assert docker("inspect", "--format", "{{.State.ExitCode}}", one) == "0", service
