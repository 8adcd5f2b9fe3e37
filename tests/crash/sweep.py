"""A plugin of pytest: while the acceptance tests ask the services, each allocation of a request fails once (F47).

The first times that a method is called, the first allocation of our own code in the daemon that answers fails, then
the second, and so on until the request needs no more of them. Each time the caller must be told that he may repeat
it, and at last has his answer: the tests go on with that and notice nothing.
`make allocations` fails when a daemon ended, a caller was told anything else, or a method was never tried.
"""

import contextlib
import http.client
import threading
import time
import uuid

import contract
import mdp
import pytest
import stack as stack_module
import web
from google.protobuf import descriptor_pb2, descriptor_pool
from scarcity import make_scarce

TIMES = 3  # that a method is swept, in each daemon
AGAIN = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "429", "503")  # what says that the request may be repeated
SECONDS = 5
NO_SIDE_EFFECTS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


def is_query(method):
    service, name = method.split("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name.get(name)
    return bool(found) and found.GetOptions().idempotency_level == NO_SIDE_EFFECTS


def is_same(one, other):
    """Where there was no memory for its body, a refusal is its HTTP status."""
    return one.startswith(other) or other.startswith(one)


class Sweep:
    """Of one stack, that of the session."""

    def __init__(self):
        self.stack, self.scarcity = None, {}
        self.lock = threading.Lock()
        self.times, self.failed, self.hit_at = {}, {}, 0.0
        self.at = {}  # where the next call of a command goes on
        self.ended, self.wrong = [], []

    @contextlib.contextmanager
    def turn(self, daemon, method):
        """Within the block the method may be swept, if that is what it gives."""
        due = self.stack and self.times.get((daemon, method), 0) < TIMES and self.lock.acquire(blocking=False)
        try:
            yield due
        finally:
            if due:
                self.lock.release()

    def repeat(self, daemon, method, ask):
        """What ask() gives when no allocation fails in it. ask: gives an answer, and what the caller was told."""
        before, scarce = self.stack.pid(daemon), self.scarcity[daemon]
        until, n, odd, doubted = time.monotonic() + SECONDS, self.at.get((daemon, method), 1), "", 0
        while True:
            failed = scarce.failed
            scarce.fail_in(0 if odd else n)
            try:
                answer, told = ask()
            finally:
                scarce.fail_in(0)
            hit = scarce.failed > failed
            self.hit_at = time.monotonic() if hit else self.hit_at
            self.failed[daemon, method] = self.failed.get((daemon, method), 0) + hit
            if self.stack.pid(daemon) != before:
                self.ended.append(f"{daemon} ended at allocation {n} of {method}")
                return answer
            if told.endswith(AGAIN) and time.monotonic() < until:  # without a hit: what is left of the last one
                n += hit
                time.sleep(0 if hit else 0.02)
            elif hit and told != "OK":
                odd = told  # is it so in any case? Then it is no fault
            elif odd and not is_same(odd, told) and doubted != n and (told != "OK" or is_query(method)):
                doubted, odd = n, ""  # what it asks for may just have come; once more
            else:
                if odd and not is_same(odd, told):
                    self.wrong.append(f"{daemon}, allocation {n} of {method}: {odd}, not {told}")
                ended = not hit and not odd
                n, odd = n + 1, ""
                if ended or told == "OK" and not is_query(method):  # what is done is done: on with the next call
                    self.at[daemon, method] = 1 if ended else n
                    self.times[daemon, method] = self.times.get((daemon, method), 0) + ended
                    return answer

    def patiently(self, ask):
        """A daemon that could not keep its session with PostgreSQL opens another one soon."""
        while True:
            answer, told = ask()
            if not told.endswith(AGAIN) or time.monotonic() > self.hit_at + SECONDS:
                return answer
            time.sleep(0.02)


sweep = Sweep()


# --- what the tests use ----------------------------------------------------------------------------


def up(stack, real=stack_module.Stack.up):
    real(stack)
    if not sweep.stack:
        sweep.scarcity = make_scarce(stack, stack.folder / "scarce")
        sweep.stack = stack


def down(stack, real=stack_module.Stack.down):
    if sweep.stack is stack:
        sweep.stack = None
    real(stack)


def call(client, method, request=None, key="", timeout=None, real=mdp.Client.call, **context):
    daemon = method.split(".")[1]
    ours = sweep.stack and client.buses == [sweep.stack.env["DAYBOOK_BUS_ENDPOINT"]]
    with sweep.turn(daemon, method) as due:
        if due and ours:
            key = key or ("" if is_query(method) else str(uuid.uuid4()))

        def ask():
            try:
                return (real(client, method, request, key, timeout, **context), None), "OK"
            except mdp.CallError as error:
                return (None, error), error.code
            except mdp.NoAnswer as error:
                return (None, error), "nothing"

        answer, error = sweep.repeat(daemon, method, ask) if due and ours else sweep.patiently(ask)
        if error:
            raise error
        return answer


def post(caller, method, request=None, real=web.Caller.post, **headers):
    with sweep.turn("gateway", method) as due:
        due = due and caller.stack is sweep.stack and "/" in method
        if due and not is_query(method):
            headers.setdefault("Idempotency_Key", str(uuid.uuid4()))

        def ask():
            try:
                answer = real(caller, method, request, **headers)
            except (http.client.HTTPException, ConnectionError) as error:
                caller.connection.close()
                return error, "UNAVAILABLE"  # the connection is closed when there is none for an answer
            if answer.status == 200 and answer.headers["Content-Type"] == "application/proto":
                return answer, "OK"
            try:
                message = answer.json
                return answer, "OK" if answer.status == 200 else f"{answer.status} {message['code'].upper()}"
            except (ValueError, KeyError):
                return answer, f"{answer.status}"

        answer = sweep.repeat("gateway", method, ask) if due else sweep.patiently(ask)
        if isinstance(answer, Exception):
            raise answer
        return answer


# --- pytest ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def swept():
    stack_module.Stack.up, stack_module.Stack.down = up, down
    mdp.Client.call, web.Caller.post = call, post
    yield


def never_tried():
    return sorted(set(contract.methods()) - {method for _, method in sweep.times})


def unharmed():
    """Daemons in which no allocation failed: the allocator was not there."""
    return sorted({daemon for daemon, _ in sweep.times} - {daemon for (daemon, _), n in sweep.failed.items() if n})


def pytest_sessionfinish(session):
    if sweep.ended or sweep.wrong or never_tried() or unharmed() or not sweep.failed:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    write = terminalreporter.write_line
    write(f"allocations that failed: {sum(sweep.failed.values())}, in requests of "
          f"{len({method for _, method in sweep.times})} methods")
    for title, lines in (("daemons that ended", sweep.ended), ("callers that were told something else", sweep.wrong),
                         ("methods that were never tried to their end", never_tried()),
                         ("daemons without a failed allocation", unharmed())):
        write(f"{title}: {len(lines)}")
        for line in lines:
            write(f"  {line}")
