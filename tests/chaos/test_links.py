"""Connections that only one side believes in, links that are slow or gone, a PostgreSQL without a connection left, and a
daemon that leaves: one by one, on a stack behind the fault proxy, without load (F09, F18, F26, F28, F32, F64)."""

import contextlib
import json
import os
import pathlib
import re
import signal
import threading
import uuid

import pytest

import mdp
from chaos import Chaos
from company import CUSTOMERS, SECONDS
from faults import take_connections
from local_stack import children_of
from stack import Replica, wait_until
from web import LIST, Caller, new_key

CREATE = CUSTOMERS + "CustomerService/Create"
VISITS_LIST = "daybook.visits.v1.VisitService/List"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    chaos = Chaos(tmp_path_factory.mktemp("links"), 1, 1, soon=10, companies=1, threads=1)
    try:
        chaos.up()
        yield chaos
        chaos.wait_until_ready()
        assert not chaos.stack.sanitizer_reports()
    finally:
        chaos.remove()


@pytest.fixture(scope="module")
def web(quiet):
    return Caller(quiet.stack, new_key(quiet.company, scopes=["customers.read"]).api_key)


def test_f32_a_consumer_asks_by_a_new_connection_when_nobody_answers(quiet):
    """What it misses of the published events it must read, by a connection that is dead."""
    with quiet.proxy.faulty("visits - bus", "half_open_client"), quiet.proxy.faulty("visits - events", "cut"):
        quiet.company.customer("rep")  # waits until visits has heard of it


@pytest.mark.parametrize("name", ["visits", "reminders"])
@pytest.mark.parametrize("fault", ["half_open_client", "half_open_server", "reset"])
def test_f26_f32_what_only_one_side_believes_in_is_found_out(quiet, name, fault):
    for link in ("bus", "events", "postgres"):
        quiet.proxy.set(f"{name} - {link}", fault)
        quiet.proxy.set(f"{name} - {link}", None)
    quiet.recovered()
    quiet.stack.settle()


def test_f32_the_gateway_finds_out_that_nobody_answers(quiet, web):
    assert web.post(LIST).status == 200
    with quiet.proxy.faulty("gateway - bus", "half_open_client"):
        wait_until(lambda: web.post(LIST, {}, Connect_Timeout_Ms="1000").status == 200, 2 * SECONDS,
                   "calls were answered again")


@pytest.mark.parametrize("link", ["customers - postgres", "customers - bus", "gateway - bus"])
def test_f26_behind_a_hole_everybody_is_answered_in_time(quiet, web, link):
    """By a refusal, never by silence; and at the end of it all is well."""
    with quiet.proxy.faulty(link, "hole"):
        answer = web.post(LIST, {}, Connect_Timeout_Ms="1000")
        assert answer.status in (503, 504), "in time, or the client would have had enough"
    wait_until(lambda: web.post(LIST).status == 200, 2 * SECONDS, "calls were answered again")


@pytest.mark.parametrize("link", ["customers - postgres", "customers - bus", "load - bus"])
def test_f64_slow_links_give_right_answers(quiet, link):
    with mdp.Client(quiet.addresses()["endpoint"], quiet.company.keys["rep"]) as rep:
        with quiet.proxy.faulty(link, "slow", 20_000):
            token = f"Slow {uuid.uuid4()}"
            made = rep.command(CREATE, {"customer": {"name": token}}).customer
        assert [r["id"] for r in quiet.stack.sql(
            f"select id from customers.customer where name = '{token}'")] == [made.id]


def test_f28_a_redis_behind_a_hole_costs_nobody_his_list(quiet):
    with quiet.proxy.faulty("reminders - redis", "hole"):
        assert quiet.company.tasks().source == 2, "it came from PostgreSQL"
    wait_until(lambda: quiet.company.tasks().source == 1, SECONDS, "lists were cached again")


def test_f18_that_no_connection_is_left_is_counted_and_logged_by_its_code(quiet):
    """The alert DaybookDatabaseFull goes by the one, whoever is called by the other."""
    log, held = quiet.stack.folder / "log/visits.log", []
    begin = log.stat().st_size

    def counted():
        found = re.search(r'^daybook_db_errors_total\{sqlstate_class="53"\} (\d+)$', quiet.stack.metrics("visits"), re.M)
        return int(found[1]) if found else 0

    def told():
        lines = log.read_bytes()[begin:].splitlines()
        return [line for line in map(json.loads, lines[:-1]) if line["event"] == "db.connect_failed"
                and line.get("sqlstate") == "53300" and "FATAL:" in line["msg"]]

    def take_theirs():
        """What a daemon has to let go it may get again: whoever is faster."""
        for pid in children_of(quiet.stack.pid("postgres")):
            with contextlib.suppress(OSError):
                if b"daybook_visits" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGTERM)
        take_connections(quiet.stack, held, 20)
        return counted() > before and told()

    before = counted()
    try:
        take_connections(quiet.stack, held, 200)
        wait_until(take_theirs, 2 * SECONDS, "a connection was refused", pause=0.5)
    finally:
        for s in held:
            s.close()
    quiet.recovered()
    quiet.stack.settle()


def test_f09_of_two_replicas_one_leaves_and_no_request_fails(quiet):
    """Nobody repeats anything here."""
    keys, failed, done, over = quiet.company.keys["rep"], [], [], threading.Event()

    def work():
        with mdp.Client(quiet.stack.env["DAYBOOK_BUS_ENDPOINT"], keys) as client:
            while not over.is_set():
                try:
                    client.call(VISITS_LIST, {"pageSize": 1}, timeout=10)
                    done.append(1)
                except (mdp.CallError, mdp.NoAnswer) as error:
                    failed.append(repr(error))
    threads = [threading.Thread(target=work) for _ in range(6)]
    second = Replica(quiet.stack, "visits", quiet.stack.folder / "log/visits-2.log")
    try:
        second.until_ready(SECONDS)
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(done) > 100, SECONDS, "requests were under way")
            assert second.drain() == 0
            before = len(done)
            wait_until(lambda: len(done) > before + 100, SECONDS, "the other one went on")
        finally:
            over.set()
            for thread in threads:
                thread.join()
    finally:
        second.end()
    assert not failed, failed[:3]
