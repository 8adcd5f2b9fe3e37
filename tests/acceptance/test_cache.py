"""Daily lists stay right whatever becomes of Redis (F27 to F31)."""

import datetime as dt
import random

import pytest
from company import SECONDS
from google.protobuf import json_format
from redis_bytes import RawRedis
from stack import SLACK, wait_until

CACHE = 1


@pytest.fixture
def day(company):
    return (company.clock.now + dt.timedelta(days=1)).strftime("%Y-%m-%d")


def content(answer):
    """What people see, without when and from what it was built."""
    return [json_format.MessageToDict(t) for t in answer.list.tasks]


@pytest.fixture
def filled(company, day):
    """A list with something on it, in the cache."""
    question = company.ask(company.customer("rep"))
    company.reminder("TMR-01", f"questions/{question.id}")
    company.stack.settle()
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "the list came from the cache")
    assert shows(company, day, question)
    return content(company.tasks(date=day))


def shows(company, day, question):
    return any(t.subject == f"questions/{question.id}" for t in company.tasks(date=day).list.tasks)


def test_f27_redis_is_gone_and_comes_back(company, stack, day, filled):
    shop = company.customer("rep")
    stack.kill("redis")
    try:
        first = company.tasks(date=day)
        assert first.source != CACHE and content(first) == filled
        again = company.tasks(date=day)
        assert again.source != CACHE and content(again) == filled, "from memory for 2 s"
        question = company.ask(shop)
        wait_until(lambda: shows(company, day, question), 5 * SLACK, "the list was right without Redis")
    finally:
        stack.start("redis")
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "lists were cached again")
    assert shows(company, day, question)


def test_f28_redis_hangs(company, stack, day, filled):
    with stack.stopped("redis"):
        assert content(company.tasks(date=day, )) == filled
        question = company.ask(company.customer("rep"))
        wait_until(lambda: shows(company, day, question), 5 * SLACK, "the list was right without Redis")
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "lists were cached again")


def test_f28_without_redis_the_services_settle_all_the_same(company, stack, day, filled):
    """Lists that no cache can take are nothing to wait for. Now and then none waits, as one is being tried."""
    def settled_while_lists_wait():
        status = stack.status()
        return status["listsWaiting"] > 0 and status["settled"]

    with stack.stopped("redis"):
        company.ask(company.customer("rep"))
        wait_until(settled_while_lists_wait, SECONDS, "the services settled while lists waited")


def test_f28_where_no_redis_is_configured_the_services_settle_too(company, stack, day, filled):
    """Nobody builds lists ahead there, so none waits to be built."""
    with stack.changed_settings("reminders", DAYBOOK_REDIS_URL=None):
        question = company.ask(company.customer("rep"))
        stack.settle()
        assert shows(company, day, question)
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "lists were cached again")


def test_f29_redis_is_flushed(company, stack, day, filled):
    stack.redis("flushall")
    assert content(company.tasks(date=day)) == filled
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "the list was cached again")
    assert content(company.tasks(date=day)) == filled


def test_f29_redis_is_full(company, stack, day, filled):
    before = stack.redis("config", "get", "maxmemory").split()[-1]
    policy = stack.redis("config", "get", "maxmemory-policy").split()[-1]
    stack.redis("config", "set", "maxmemory-policy", "noeviction")
    stack.redis("config", "set", "maxmemory", "1")
    try:
        question = company.ask(company.customer("rep"))
        wait_until(lambda: shows(company, day, question), 5 * SLACK, "the list was right with a full Redis")
    finally:
        stack.redis("config", "set", "maxmemory", before)
        stack.redis("config", "set", "maxmemory-policy", policy)


POISON = {
    "cut": lambda value: value[:len(value) // 2],
    "empty": lambda value: b"",
    "altered": lambda value: value[:(n := len(value) // 2)] + bytes([value[n] ^ 1]) + value[n + 1:],
    "noise": lambda value: random.Random(30).randbytes(len(value)),
}


@pytest.mark.parametrize("kind", POISON)
def test_f30_a_poisoned_value_is_never_shown(company, stack, day, filled, kind):
    with RawRedis(stack.run_dir / "redis.sock") as redis:
        for key in redis("KEYS", "*"):
            value = redis("GET", key)
            if isinstance(value, bytes) and value:  # not what another kind has emptied
                redis("SET", key, POISON[kind](value))
    assert content(company.tasks(date=day)) == filled
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "the list was made anew")
    assert content(company.tasks(date=day)) == filled


def test_f30_a_wrong_type_is_never_shown(company, stack, day, filled):
    with RawRedis(stack.run_dir / "redis.sock") as redis:
        for key in redis("KEYS", "*"):
            redis("DEL", key)
            redis("LPUSH", key, "surprise")
    assert content(company.tasks(date=day)) == filled
    wait_until(lambda: company.tasks(date=day).source == CACHE, SECONDS, "the list was made anew")


def test_f30_another_persons_list_is_never_shown(company, stack, day, filled):
    """Values are exchanged between keys: each list knows whose it is."""
    company.tasks("rep2", date=day)
    wait_until(lambda: company.tasks("rep2", date=day).source == CACHE, SECONDS, "both lists were cached")
    theirs = content(company.tasks("rep2", date=day))
    with RawRedis(stack.run_dir / "redis.sock") as redis:
        strings = [k for k in redis("KEYS", "*") if isinstance(redis("GET", k), bytes)]
        values = [redis("GET", k) for k in strings]
        for key, value in zip(strings, values[1:] + values[:1]):
            redis("SET", key, value)
    assert content(company.tasks(date=day)) == filled
    assert content(company.tasks("rep2", date=day)) == theirs


def test_f31_an_old_value_that_comes_back_is_not_believed(company, stack, day, filled):
    with RawRedis(stack.run_dir / "redis.sock") as redis:
        old = {key: redis("GET", key) for key in redis("KEYS", "*")}
    question = company.ask(company.customer("rep"))
    wait_until(lambda: shows(company, day, question), SECONDS, "the list had the question")
    with RawRedis(stack.run_dir / "redis.sock") as redis:
        for key, value in old.items():
            if isinstance(value, bytes):
                redis("SET", key, value)
    wait_until(lambda: shows(company, day, question), 5 * SLACK, "the newer list won")
