"""A call centre beside Daybook, on the bus itself: it logs calls with the questions that stayed open, and keeps
a list of those questions by following the event log. An example to copy, and a test of what it promises.

    call_centre.py log FILE < CALLS      a call a line: {"id": "C-17", "customerId": ..., "employeeId": ...,
                                         "content": "Wants an offer.", "questions": ["Price of 20 cases?"]}
    call_centre.py follow FILE           keeps the list of questions up to date, until it is stopped

FILE is a database of SQLite: calls are in it before they are sent, and events together with the position up to
which they were heard. So the program may be killed at any moment: nothing is lost, nothing is done twice.

Settings: DAYBOOK_BUS_ENDPOINT, DAYBOOK_BUS_EVENTS, DAYBOOK_BUS_SERVER_KEY, DAYBOOK_TENANT, DAYBOOK_KEY (a pair of
`daybook keygen`: its path without .key), DAYBOOK_GEN (the classes of proto/). docs/connect.md makes all of these.
"""

import importlib
import json
import os
import pathlib
import random
import signal
import sqlite3
import sys
import time
import uuid

import zmq
from google.protobuf import duration_pb2, json_format

sys.path.insert(0, os.environ["DAYBOOK_GEN"])
for file in pathlib.Path(os.environ["DAYBOOK_GEN"]).rglob("*_pb2.py"):  # all, for the types of the events
    importlib.import_module(".".join(file.relative_to(os.environ["DAYBOOK_GEN"]).with_suffix("").parts))
from daybook.bus.v1 import bus_pb2  # noqa: E402
from daybook.common.v1 import call_pb2  # noqa: E402
from daybook.customers.v1 import customers_pb2, events_pb2  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402

INTERACTIONS, EVENTS = "daybook.customers.v1.InteractionService", "daybook.bus.v1.EventService"
OK, ALREADY_EXISTS = 0, 6  # codes of google.rpc.Status
# DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE: the same is sent again, under the same key.
PASSES = (4, 8, 10, 14)
TRIES, BASE_S, CAP_S, DEADLINE_S = 4, 0.05, 5.0, 3.0
QUIET_S = 5.0  # a log that lives says its head every second

TABLES = """
create table if not exists call (id text primary key, said text not null, ended_key text not null,
    record_key text not null, interaction_id text, refused text);
create table if not exists position (one integer primary key check (one = 1), log_id text, seq integer not null);
insert or ignore into position values (1, null, 0);
create table if not exists heard (number integer primary key, seq integer not null unique,
    event_id text not null unique, type text not null, aggregate text not null);
create table if not exists question (id text primary key, text text not null, asked_at text not null,
    open integer not null);
"""


class Refused(Exception):
    """The service's last word (a google.rpc.Status): it takes another request, not another try."""


class NoAnswer(Exception):
    """Nobody knows whether it was done."""


def connect(kind, endpoint):
    socket = zmq.Context.instance().socket(kind)
    socket.linger = 0
    socket.tcp_keepalive, socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 1, 5, 5, 2
    socket.reconnect_ivl_max = 1000
    pair = os.environ["DAYBOOK_KEY"]
    socket.curve_serverkey = os.environ["DAYBOOK_BUS_SERVER_KEY"].encode()
    socket.curve_publickey = open(pair + ".pub", "rb").readline().strip()
    socket.curve_secretkey = open(pair + ".key", "rb").readline().strip()
    if kind == zmq.SUB:  # before connecting: nothing is missed between the two
        socket.subscribe(os.environ["DAYBOOK_TENANT"] + "/daybook.")
        socket.subscribe("~head")
    socket.connect(endpoint)
    return socket


class Bus:
    """Majordomo 0.2: MDPC02, 01, service, method, context, request; back: MDPC02, 03, service, result, response."""

    def __init__(self):
        self.socket = connect(zmq.DEALER, os.environ["DAYBOOK_BUS_ENDPOINT"])

    def once(self, service, method, request, answer, key):
        context = call_pb2.CallContext(request_id=str(uuid.uuid4()), idempotency_key=key,
                                       deadline_ms=int(DEADLINE_S * 1000))
        frames = [service.encode(), method.encode(), context.SerializeToString(), request.SerializeToString()]
        try:
            self.socket.send_multipart([b"MDPC02", b"\x01", *frames], zmq.DONTWAIT)
        except zmq.Again:  # the bus is away, or refused the key; after that a socket does not try again
            self.socket.close()
            self.__init__()
            raise NoAnswer("no connection") from None
        until = time.monotonic() + DEADLINE_S + 1
        while (left := until - time.monotonic()) > 0 and self.socket.poll(left * 1000):
            *_, head, body = self.socket.recv_multipart()
            result = call_pb2.CallResult.FromString(head)
            if result.request_id == context.request_id:  # else a late one, of a try that was given up
                return result.status, answer.FromString(body)
        raise NoAnswer("nothing came")

    def call(self, service, method, request, answer, key=""):
        """Tries a few times, with growing random pauses between them."""
        for attempt in range(TRIES):
            pause = random.uniform(0, min(CAP_S, BASE_S * 2 ** attempt))
            try:
                status, got = self.once(service, method, request, answer, key)
                if status.code == OK:
                    return got
                if status.code not in PASSES:
                    raise Refused(status)
                reason, pause = status.message, max(pause, retry_delay(status))
            except NoAnswer as error:
                reason = error
            print(f"again: {method}: {reason}", flush=True)
            time.sleep(pause)
        raise NoAnswer(f"{method}: {reason}")

    def insist(self, *what, **options):
        """For a program that has nothing better to do: until there is an answer, whenever that is."""
        while True:
            try:
                return self.call(*what, **options)
            except NoAnswer:
                time.sleep(random.uniform(0, CAP_S))


def retry_delay(status):  # seconds
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration())
    for detail in status.details:
        detail.Unpack(info)
    return info.retry_delay.ToTimedelta().total_seconds()


def log_calls(db):
    bus = Bus()
    send_all(db, bus)  # what an earlier life has left
    for line in sys.stdin:
        call = json.loads(line)
        with db:  # the keys are kept before the first try: a program that starts anew uses the same ones
            db.execute("insert or ignore into call values (?, ?, ?, ?, null, null)",
                       (call["id"], line, str(uuid.uuid4()), str(uuid.uuid4())))
        send_all(db, bus)


def send_all(db, bus):
    pending = "select id, said, ended_key, record_key from call where interaction_id is null and refused is null"
    for number, said, ended_key, record_key in db.execute(pending + " order by rowid").fetchall():
        try:
            made, refused = log_call(bus, json.loads(said), ended_key, record_key), None
        except Refused as error:
            made, refused = None, error.args[0].message  # for a person to look at; the next call goes on
        with db:
            db.execute("update call set interaction_id = ?, refused = ? where id = ?", (made, refused, number))
        print("logged" if made else "refused", number, made or refused, flush=True)


def log_call(bus, call, ended_key, record_key):
    """First that it ended, which starts the clock of 24 hours for its record; then the record."""
    ref = {"source": "call-centre", "id": call["id"]}
    ended = json_format.ParseDict({
        "customerId": call["customerId"], "employeeId": call["employeeId"], "channel": "CHANNEL_PHONE",
        "direction": "DIRECTION_INBOUND", "externalRef": ref}, customers_pb2.RegisterEndedRequest())
    try:
        bus.insist(INTERACTIONS, "RegisterEnded", ended, customers_pb2.RegisterEndedResponse, ended_key)
    except Refused as error:
        if error.args[0].code != ALREADY_EXISTS:  # more than 48 hours ago, when keys are forgotten
            raise
    record = json_format.ParseDict({"interaction": {
        "externalRef": ref, "content": call["content"],
        "questions": [{"text": text} for text in call["questions"]]}}, customers_pb2.RecordInteractionRequest())
    made = bus.insist(INTERACTIONS, "RecordInteraction", record, customers_pb2.RecordInteractionResponse, record_key)
    return made.interaction.id


class Follower:
    """Published events for speed, the log for what was missed; each is handled once, in order."""

    def __init__(self, db):
        self.db, self.bus = db, Bus()
        self.log_id, self.seq = db.execute("select log_id, seq from position").fetchone()

    def run(self):
        events = connect(zmq.SUB, os.environ["DAYBOOK_BUS_EVENTS"])
        self.catch_up()
        while True:
            if events.poll(QUIET_S * 1000):
                _topic, log_id, seq, body = events.recv_multipart()
                self.published(str(uuid.UUID(bytes=log_id)), int.from_bytes(seq, "big"), body)
            else:  # the bus is away, or did not know the key yet: then a socket does not try again by itself
                events.close()
                events = connect(zmq.SUB, os.environ["DAYBOOK_BUS_EVENTS"])
                self.catch_up()

    def published(self, log_id, seq, body):
        self.check(log_id)
        event = bus_pb2.Event.FromString(body) if body else None  # none: only how far the log is
        if seq > self.seq and (event is None or event.prev_seq > self.seq):  # something was missed
            self.catch_up(seq - 1 if event else seq)
        if event and seq > self.seq:
            self.keep(log_id, [event], seq)

    def catch_up(self, upto=0):
        """Reads the log to its end, and at least up to there."""
        while True:
            request = bus_pb2.ReadEventsRequest(after_seq=self.seq, limit=500)
            got = self.bus.insist(EVENTS, "ReadEvents", request, bus_pb2.ReadEventsResponse)
            last = got.events[-1].seq if len(got.events) == request.limit else got.read_upto_seq
            self.keep(got.log_id, got.events, max(last, self.seq))
            if self.seq >= max(upto, got.head_seq):
                return

    def check(self, log_id):
        if log_id != (self.log_id or log_id):
            raise SystemExit(f"the log is {log_id}, not {self.log_id}: it was restored from a backup."
                             f" Compare your data from seq {self.seq} on before you go on")

    def keep(self, log_id, events, seq):
        self.check(log_id)
        with self.db:  # what follows from the events, and the position, in one transaction
            for event in events:
                self.handle(event)
            self.db.execute("update position set log_id = ?, seq = ?", (log_id, seq))
        self.log_id, self.seq = log_id, seq

    def handle(self, event):
        """What an event changes here. Fails for one that was handled before."""
        self.db.execute("insert into heard values (null, ?, ?, ?, ?)",
                        (event.seq, event.event_id, event.type, event.aggregate))
        opened, answered = events_pb2.QuestionOpened(), events_pb2.QuestionAnswered()
        if event.data.Unpack(opened):
            q = opened.question
            self.db.execute("insert into question values (?, ?, ?, 1)", (q.id, q.text, q.asked_at.ToJsonString()))
        elif event.data.Unpack(answered):
            self.db.execute("update question set open = 0 where id = ?", (answered.question.id,))


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("log", "follow"):
        raise SystemExit("usage: call_centre.py log|follow FILE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    db = sqlite3.connect(sys.argv[2], timeout=30)
    db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + TABLES)
    log_calls(db) if sys.argv[1] == "log" else Follower(db).run()


if __name__ == "__main__":
    main()
