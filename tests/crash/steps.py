"""Daemons that are killed at a step of their work: what killat.c, which is preloaded, reads and writes; and the stack
in which that happens to a command, which is repeated until it is answered.
"""

import http.client
import itertools
import json
import pathlib
import select
import struct
import sys
import time
import uuid

import psycopg
from google.protobuf import json_format

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import mdp  # noqa: E402
from company import CUSTOMERS, DIRECTORY, Company  # noqa: E402
from load import AGAIN, WebClient  # noqa: E402
from local_stack import CONSUMERS  # noqa: E402
from preloaded import Control, preload  # noqa: E402
from receiver import Receiver  # noqa: E402
from stack import SLACK, Stack, wait_until  # noqa: E402

PID, AT, AFTER, STEPS, KILLED, COUNTED = 0, 8, 16, 24, 32, 40  # where they stand in the file
NAME_SIZE = 16
LONGEST = 60 * SLACK  # seconds until a command and what follows from it are through
MISSES = 2  # steps in a row that the command does not come to; a thread that prepares its statements has more of them
MOST = 200  # steps of a command; a daemon that never rests has no last one


class Steps(Control):
    def __init__(self, path):
        super().__init__(path, COUNTED + NAME_SIZE)

    def arm(self, pid, thread, step, after):
        """The process ends at that step of its threads of that name from now on, before or after it."""
        self.disarm()
        struct.pack_into(f"{NAME_SIZE}s", self.bytes, COUNTED, thread.encode())
        for at, number in ((STEPS, 0), (KILLED, 0), (AFTER, after), (AT, step), (PID, pid)):
            self.put(at, number)

    def disarm(self):
        self.put(AT, 0)
        self.put(PID, 0)

    @property
    def killed(self):
        """The step at which it ended; 0: it has not."""
        return self.get(KILLED)


def count_steps(stack, folder):
    return preload(stack, folder, "killat", Steps)


# --- first tries ----------------------------------------------------------------------------------


class FirstTry:
    """A command that was sent and is not waited for: its answer may never come."""

    def __init__(self, client, method, request, key):
        self.client, (service, name) = client, method.split("/")
        context = client.context(key)
        self.request_id, self.answer = context.request_id, None
        message = json_format.ParseDict(request, mdp.method_classes(method)[0]())
        self.reply = mdp.method_classes(method)[1]
        client.send(service, name.encode(), context.SerializeToString(), message.SerializeToString())

    def is_answered(self):
        """With OK; other than that it may only be told that nobody knows."""
        while not self.answer and self.client.socket.poll(0):
            try:
                result, body = self.client.receive(self.request_id, time.monotonic() + 1)
            except mdp.NoAnswer:
                break  # it was another's
            if result.HasField("status"):
                check_unknown(mdp.error_of(result.status).code)
                break
            self.answer = self.reply.FromString(body)
        return self.answer is not None


class FirstTryOverHttp:
    def __init__(self, client, method, request, key):
        self.connection, self.answer = client.caller.connection, None
        self.reply, self.ended = mdp.method_classes(method)[1], False
        self.connection.request("POST", f"/{method}", json.dumps(request), client.caller.headers(
            {"Content_Type": "application/json", "Idempotency_Key": key}))

    def is_answered(self):
        if not self.ended and select.select([self.connection.sock], [], [], 0)[0]:
            self.ended = True
            self.read()
        return self.answer is not None

    def read(self):
        try:
            response = self.connection.getresponse()
            body = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException):  # it was killed, before or in the midst of its answer
            return
        if response.status == 200:
            self.answer = json_format.ParseDict(body, self.reply())
        else:
            check_unknown(body["code"].upper())


def check_unknown(code):
    assert code in AGAIN, f"the first try was answered {code}"


# --- the stack ------------------------------------------------------------------------------------


class Stage:
    """A private stack with one company, at rest but for one command, and another system that is posted to."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.stack = Stack(self.folder / "stack")
        self.receiver = Receiver()
        self.tokens = (f"step-{n}" for n in itertools.count(1))
        self.scenes, self.swept, self.expected_head = {}, [], None
        self.replica = None  # another one of the daemon, which answers before that is started again

    def up(self):
        self.stack.up()
        self.steps = count_steps(self.stack, self.folder / "steps")
        self.db = psycopg.connect(self.stack.conninfo(), autocommit=True)
        self.company = Company(self.stack)
        self.shop = self.company.customer("rep")
        # At night, too, notices are to be posted at once (REM-12).
        self.company.system.command(DIRECTORY + "PolicyService/Set", {
            "key": "quiet_hours", "value": "00:00-00:00", "reason": "test"})

    def remove(self):
        self.receiver.close()
        self.stack.remove()

    # --- what is there ----------------------------------------------------------------------------

    def rows(self, query, **parameters):
        return self.db.execute(query, parameters).fetchall()

    def value(self, query, **parameters):
        (value,), = self.rows(query, **parameters)
        return value

    def head(self):
        return self.value("select last_seq from bus.head")

    def scene(self, kind):
        """The one of that kind, its connections and whatever it needs."""
        self.expected_head = None
        if kind not in self.scenes:
            self.scenes[kind] = kind(self)
        return self.scenes[kind]

    # --- one command ------------------------------------------------------------------------------

    def rest(self, scene):
        """Until nothing goes on but what always does."""
        if scene.daemon == "bus":
            self.stack.settle(LONGEST)  # all have found it again
        wait_until(self.is_leased, LONGEST, "each lease has its owner")
        scene.warm_up()
        head = self.head()
        assert self.expected_head in (None, head), f"events came late: {self.events(self.expected_head)}"
        return head

    def is_leased(self):
        return all(self.value(f"select bool_and(expires_at > clock_timestamp()) from {schema}.shard_lease")
                   for schema in ("reminders", "gateway"))

    def play(self, scene, thread, step, after):
        """The command, at a step of which the daemon is killed, if it comes to that. Returns whether it did."""
        token, key = next(self.tokens), str(uuid.uuid4())
        method, request = scene.command(token)
        head, steps = self.rest(scene), self.steps[scene.daemon]
        steps.arm(self.stack.pid(scene.daemon), thread, step, after)
        first = scene.send(method, request, key)
        self.until(scene, head, lambda: steps.killed or first.is_answered() and self.is_through(scene, token, head))
        steps.disarm()
        if steps.killed and not self.replica:
            self.start_again(scene)
        answer = scene.repeat(method, request, key)
        if steps.killed:
            scene.left_done.add(scene.is_replayed())
        if steps.killed and self.replica:
            self.start_again(scene)
        assert not first.is_answered() or first.answer == answer, "it was told something else before"
        self.until(scene, head, lambda: self.is_through(scene, token, head))
        assert scene.repeat(method, request, key) == answer
        assert scene.is_replayed(), "an answer that was given is kept"
        scene.check(token, answer)
        self.expected_head = head + sum(map(len, scene.events.values()))
        return bool(steps.killed)

    def until(self, scene, head, condition):
        try:
            wait_until(condition, LONGEST, "it was through", pause=0.005)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; of {scene.events} there is {self.events(head)}") from None

    def start_again(self, scene):
        wait_until(lambda: not self.stack.pid(scene.daemon), LONGEST, f"{scene.daemon} was gone")
        if scene.has_leases:
            self.end_leases(scene.daemon)
        self.stack.start(scene.daemon)

    def end_leases(self, schema):
        """As if 4 s had passed, which reminders_failover_test.c lets pass: whoever is dead does not come back."""
        self.rows(f"with held as (select shard from {schema}.shard_lease for update) update {schema}.shard_lease l"
                  " set owner = null, version = version + 1, expires_at = '-infinity' from held"
                  " where l.shard = held.shard returning 1")
        self.db.execute(f"delete from {schema}.member")

    # --- what followed ----------------------------------------------------------------------------

    def events(self, head):
        """Types since then in the order of the log, by emitter."""
        found = {}
        rows = self.rows("select seq, type from bus.log where seq > %(head)s order by seq", head=head)
        assert [seq for seq, _ in rows] == list(range(head + 1, head + 1 + len(rows)))
        for _, type_ in rows:
            _, emitter, _, name = type_.split(".")
            found.setdefault(emitter, []).append(name)
        return found

    def is_through(self, scene, token, head):
        """All events of the scene are there, once and in their order, every daemon has taken them, and what the
        scene has besides."""
        found = self.events(head)
        for emitter, names in found.items():
            assert names == scene.events.get(emitter, [])[:len(names)], f"{emitter} emitted {names}"
        return found == scene.events and self.is_heard() and scene.is_done(token)

    def is_heard(self):
        cursors = " union all ".join(f"select seq from {schema}.consumer_cursor" for schema in CONSUMERS)
        return self.value(f"select min(seq) = (select last_seq from bus.head) from ({cursors}) c") and \
            not self.value("select count(*) from bus.outbox")


def sweep(stage, scene, thread, after):
    """Each step of those threads is once the last one of the daemon. Returns how many there were."""
    killed = []
    for step in range(1, MOST):
        try:
            killed.append(stage.play(scene, thread, step, after))
        except (AssertionError, mdp.CallError, mdp.NoAnswer) as failure:
            raise AssertionError(f"{scene.daemon}, killed {'after' if after else 'before'} step {step} of {thread}:"
                                 f" {failure}") from failure
        if killed[-MISSES:] == [False] * MISSES:
            return sum(killed)
    raise AssertionError(f"{scene.daemon} does not come to rest")


class Scene:
    """A command, and what must have come of it when the daemon is killed meanwhile.

    threads: of the daemon, whose steps are counted, as their names begin; fewer steps than are said here are a
    fault of the test. events: what must be in the log, by emitter. rows: finds the ids of what was made by the token.
    """

    threads = {"worker": 3, "consumer": 2, "ZMQbg": 1}
    has_leases = False
    on_its_way = True  # the command's, which may be lost with the daemon
    who = "rep"

    def __init__(self, stage):
        self.stage, self.left_done = stage, set()
        self.first, self.second = self.client(), self.client()

    def client(self):
        return self.stage.stack.client(self.stage.company.keys[self.who])

    def warm_up(self):
        """Connections stand."""
        shop = {"id": self.stage.shop.id}
        for client in (self.first, self.second):
            client.command(CUSTOMERS + "CustomerService/Get", shop, key="warm-up", patience=LONGEST)

    def send(self, method, request, key):
        return FirstTry(self.first, method, request, key)

    def repeat(self, method, request, key):
        """By another connection, so that a late answer to the first try is seen by that."""
        return self.second.command(method, request, key=key, patience=LONGEST)

    def is_replayed(self):
        return "idempotent-replayed" in self.second.metadata

    def is_done(self, token):
        return True

    def check(self, token, answer):
        found = [str(i) for i, in self.stage.rows(self.rows, token=token)]
        assert sorted(found) == sorted(self.ids(answer)), f"there is {found}, told was {self.ids(answer)}"


class WebScene(Scene):
    """Over HTTP, by a service account."""

    def __init__(self, stage, api_key):
        self.api_key = api_key
        super().__init__(stage)

    def client(self):
        return WebClient(self.stage.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"], self.api_key)

    def send(self, method, request, key):
        return FirstTryOverHttp(self.first, method, request, key)
