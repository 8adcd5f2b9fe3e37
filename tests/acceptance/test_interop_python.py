"""The call centre of tests/interop/python: pyzmq and the official protobuf, on the bus itself."""

import contextlib
import json
import os
import sqlite3
import sys

import pytest

from company import BUS, SECONDS
from mdp import NoAnswer
from program import Program
from stack import DAEMONS, ROOT, wait_until

SCOPES = ["tenant.all", "customers.read", "customers.write", "events.read"]
CALLS = 40


def is_admitted(company, keys):
    try:  # a socket that was refused does not try again
        company.stack.client(keys).call(BUS + "EventService/GetHead", {}, timeout=1)
        return True
    except NoAnswer:
        return False


@pytest.fixture
def desk(company, tmp_path):
    """Settings of the program, with a key of its own."""
    keys = company.register_key(label="call centre", scopes=SCOPES)
    wait_until(lambda: is_admitted(company, keys), SECONDS, "the bus knew the key")
    (tmp_path / "centre.pub").write_bytes(keys.public + b"\n")
    (tmp_path / "centre.key").write_bytes(keys.secret + b"\n")
    return {**os.environ, "DAYBOOK_TENANT": company.tenant, "DAYBOOK_KEY": str(tmp_path / "centre"),
            **{name: company.stack.env[name] for name in
               ("DAYBOOK_BUS_ENDPOINT", "DAYBOOK_BUS_EVENTS", "DAYBOOK_BUS_SERVER_KEY")}}


def centre(desk, *words):
    return Program(desk, sys.executable, ROOT / "tests/interop/python/call_centre.py", *words)


def rows(file, query):
    with contextlib.closing(sqlite3.connect(file)) as db:
        return db.execute(query).fetchall()


def heard(file):
    """The events that it has handled, in the order in which it did; none before it has made its tables."""
    try:
        return rows(file, "select seq, event_id, type, aggregate from heard order by number")
    except sqlite3.OperationalError:
        return []


def log_of(company):
    return [(r["seq"], r["event_id"], r["type"], r["aggregate"]) for r in company.stack.sql(
        f"select seq, event_id, type, aggregate from bus.log where tenant_id = '{company.tenant}' order by seq")]


def test_f01_f03_f07_a_call_centre_outlives_a_power_cut_and_its_own_death(company, desk, tmp_path):
    stack, file, shop = company.stack, tmp_path / "centre.db", company.customer()
    calls = {f"CALL-{n}": {"id": f"CALL-{n}", "customerId": shop.id, "employeeId": company.ids["rep"],
                           "content": f"Call {n}.", "questions": [f"{n}.{k}?" for k in range(n % 3)]}
             for n in range(1, CALLS + 1)}
    logged = {}

    def tell(program, numbers):
        """Hands over those that are not acknowledged yet, as a telephone system does that starts anew."""
        for number in numbers:
            if number not in logged:
                program.tell(json.dumps(calls[number]))

    def note(line):
        assert line[1] == "logged", line[0]
        assert line[2] not in logged, "acknowledged twice"
        logged[line[2]] = line[3]

    def acknowledge(program, count):
        while len(logged) < count:
            note(program.until(r"^(logged|refused) (\S+) (.*)$"))

    def trouble(program):
        """Until it must ask again; until then it may have gone on, and tells of no call twice."""
        while (line := program.until(r"^(?:(logged|refused) (\S+) (.*)|again: .*)$"))[1]:
            note(line)

    with centre(desk, "follow", file) as follower, centre(desk, "log", file) as logger:
        wait_until(lambda: heard(file), SECONDS, "the follower heard something")
        tell(logger, list(calls)[:CALLS // 2])
        acknowledge(logger, 10)
        stack.cut_power()
        tell(logger, list(calls)[CALLS // 2:])  # however far it has come, there is something left
        trouble(logger)
        logger.kill()
        follower.until("^again: ")
    with centre(desk, "follow", file) as follower, centre(desk, "log", file) as logger:
        trouble(logger)  # while nothing is there
        stack.restore_power()
        tell(logger, calls)
        acknowledge(logger, 30)
        stack.cut_power()
        stack.restore_power()
        acknowledge(logger, CALLS)
        assert logger.end() == 0
        wait_until(lambda: all(map(stack.healthy, DAEMONS)), 2 * SECONDS, "all work again")
        answered = company.system.call("daybook.customers.v1.InteractionService/List", {"customerId": shop.id})
        question = next(i.questions[0].id for i in answered.interactions if i.questions)
        company.rep.command("daybook.customers.v1.InteractionService/AnswerQuestion",
                            {"questionId": question, "answer": "Yes.", "final": True})
        stack.settle()
        wait_until(lambda: len(heard(file)) >= len(log_of(company)), SECONDS, "the follower was at the end")
        follower.process.terminate()
        assert follower.end() == 0

    # Every call that was acknowledged is there once, and no other one.
    stored = stack.sql("select i.ref_id as number, i.id, (select coalesce(json_agg(q.text order by q.text),"
                       " '[]') from customers.question q where q.interaction_id = i.id) as questions from"
                       f" customers.interaction i where tenant_id = '{company.tenant}'")
    assert sorted((r["number"], r["id"]) for r in stored) == sorted(logged.items())
    assert {r["number"]: r["questions"] for r in stored} == {n: c["questions"] for n, c in calls.items()}
    # Every event was handled once, in order, and made the list of open questions.
    assert heard(file) == log_of(company)
    texts = {text for c in calls.values() for text in c["questions"]}
    assert {text for text, in rows(file, "select text from question")} == texts
    assert rows(file, "select id from question where not open") == [(question,)]


def test_f15_f58_a_log_that_was_restored_stops_the_follower(company, desk, tmp_path):
    file = tmp_path / "centre.db"
    with centre(desk, "follow", file) as follower:
        wait_until(lambda: heard(file), SECONDS, "it began")
        follower.process.terminate()
        assert follower.end() == 0
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("update position set log_id = '01933a00-0000-7000-8000-00000000dead'")
    before = heard(file)
    log_id = company.system.call(BUS + "EventService/GetHead", {"omitTypes": True}).log_id
    with centre(desk, "follow", file) as follower:
        follower.until(f"^the log is {log_id}, not .*-00000000dead: it was restored from a backup")
        assert follower.end() == 1
    assert heard(file) == before
