"""Clients of the Daybook bus in Python: a worked example for integrators, and what the tests use.

Needed are pyzmq and the official protobuf runtime; the message classes are made from proto/ by
protoc (see conftest.py). Nothing here shares code with the daemons.

    client = Client(endpoint, Keys(server, public, secret))
    made = client.call("daybook.customers.v1.CustomerService/Create", {"customer": {"name": "Shop"}},
                       key="import-17-row-4")
    print(made.customer.id)

A request is the frames MDPC02, 01, service, method, CallContext, request message; the answer is
MDPC02, 03, service, CallResult, response message (ZeroMQ RFC 18). Four things matter to a client:

* Each request has an id, which comes back in CallResult; an answer with another id is a late one,
  of a request that was given up, and is dropped.
* Commands carry an idempotency key. After a timeout or UNAVAILABLE nobody knows whether the command
  was done: send it again with the same key, and it takes effect once.
* Of two buses, use one. When it stops, it refuses what it has not begun, with the reason DRAINING, and
  ends the connection soon after: go to the other one, and send it again there. So too when it answers
  UNAVAILABLE for another reason: whoever serves may be cut off from this one only.
* A DEALER socket never gets stuck after a lost answer, as a REQ socket does.
"""

import json
import random
import time
import uuid

import zmq
from google.protobuf import descriptor_pool, json_format, message_factory

CLIENT_01, CLIENT_02 = b"MDPC01", b"MDPC02"
REQUEST, PARTIAL, FINAL = b"\x01", b"\x02", b"\x03"

CODES = ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
         "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
         "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
         "UNAUTHENTICATED")


class CallError(Exception):
    """The service's refusal: a google.rpc.Status with its details as messages by short type name."""

    def __init__(self, code, message, details=None):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.details = code, message, details or {}

    @property
    def reason(self):
        info = self.details.get("ErrorInfo")
        return info.reason if info else ""

    @property
    def fields(self):
        """Paths of the faulty fields of the request."""
        bad = self.details.get("BadRequest")
        return [v.field for v in bad.field_violations] if bad else []


class NoAnswer(Exception):
    """Nothing came in time: for a command, repeat it with the same key."""


class Keys:
    """A CURVE identity: the bus's public key, and this client's pair, all in Z85."""

    def __init__(self, server, public, secret):
        self.server, self.public, self.secret = server.encode(), public.encode(), secret.encode()

    def put_on(self, socket):
        socket.curve_serverkey = self.server
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret


def message_class(full_name):
    return message_factory.GetMessageClass(
        descriptor_pool.Default().FindMessageTypeByName(full_name))


def method_classes(method):
    """Request and response class of "package.Service/Method"."""
    service, name = method.split("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return (message_factory.GetMessageClass(found.input_type),
            message_factory.GetMessageClass(found.output_type))


def error_of(status):
    details = {}
    for packed in status.details:
        name = packed.TypeName()
        detail = message_class(name)()
        packed.Unpack(detail)
        details[name.rsplit(".", 1)[1]] = detail
    return CallError(CODES[status.code], status.message, details)


def repeat(call, patience, *words, failed=None, **named):
    """What the call gives, however often it must be made, with growing random pauses. failed: gets why, of the
    tries that came to nothing."""
    failed = [] if failed is None else failed
    until, pause = time.monotonic() + patience, 0.05
    while True:
        try:
            return call(*words, **named)
        except NoAnswer:
            failed.append("no answer")
            if time.monotonic() > until:
                raise
        except CallError as error:
            failed.append(f"{error.code} {error.reason}".strip())
            if error.code not in ("UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED",
                                  "RESOURCE_EXHAUSTED") or time.monotonic() > until:
                raise
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, 0.5)


class Client:
    """One connection, to one of several buses (endpoint "a,b"). Not for several threads at once: make
    one each."""

    def __init__(self, endpoint, keys=None, principal=None, timeout=10.0, beats=True):
        self.timeout = timeout
        self.principal = principal or {}  # heard only from keys that may speak for others
        self.beats = beats                # notices a bus that is gone without a word, or stands still
        self.metadata = {}                # of the last answer
        self.late = 0                     # answers that were dropped
        self.calls = 0                    # made, repeated ones each time
        self.failed = []                  # why, of the last command's tries that came to nothing
        self.buses, self.keys = endpoint.split(","), keys
        random.shuffle(self.buses)
        self.open()

    def open(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        if self.beats and len(self.buses) == 1:  # of several, who does not answer is left
            self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
            self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        if self.keys:
            self.keys.put_on(self.socket)
        self.socket.immediate = len(self.buses) > 1  # one that is away gets nothing
        self.socket.connect(self.buses[0])

    def go_on(self):
        """To the next bus, if there are several."""
        if len(self.buses) > 1:
            self.buses.append(self.buses.pop(0))
            self.close()
            self.open()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def context(self, key="", timeout=None, **fields):
        context = message_class("daybook.common.v1.CallContext")(
            request_id=str(uuid.uuid4()), idempotency_key=key,
            deadline_ms=int((timeout or self.timeout) * 1000))
        json_format.ParseDict({"principal": self.principal, **fields}, context)
        return context

    def call(self, method, request=None, key="", timeout=None, **context_fields):
        """Calls and waits. request: a message, or a dict in the JSON mapping. Raises CallError, or
        NoAnswer when nothing came in time."""
        timeout = timeout or self.timeout
        self.calls += 1
        request_class, response_class = method_classes(method)
        if request is None or isinstance(request, dict):
            request = json_format.ParseDict(request or {}, request_class())
        context = self.context(key, timeout, **context_fields)
        service, name = method.split("/")
        self.send(service, name.encode(), context.SerializeToString(), request.SerializeToString())
        try:
            result, body = self.receive(context.request_id, time.monotonic() + timeout + 1)
        except NoAnswer:
            self.go_on()
            raise
        self.metadata = dict(result.metadata)
        if result.HasField("status"):
            error = error_of(result.status)
            if error.code == "UNAVAILABLE":
                self.go_on()
            raise error
        return response_class.FromString(body)

    def command(self, method, request=None, key=None, patience=30.0, **context_fields):
        """A call that is repeated with its key until it is known what became of it."""
        self.failed = []
        return repeat(self.call, patience, method, request, failed=self.failed, key=key or str(uuid.uuid4()),
                      **context_fields)

    def send(self, service, *body):
        """The body frames as they are, so that tests can send what no client should. A connection
        whose key was refused does not try again by itself, and takes nothing: then a new one is
        opened."""
        if self.socket.immediate and not self.socket.poll(1000, zmq.POLLOUT):
            self.go_on()
        try:
            self.socket.send_multipart([CLIENT_02, REQUEST, service.encode(), *body], zmq.DONTWAIT)
        except zmq.Again:
            self.close()
            self.open()
            raise NoAnswer("the bus takes nothing from this key; it may not be known yet") from None

    def receive(self, request_id, until):
        while True:
            left = until - time.monotonic()
            if left <= 0 or not self.socket.poll(left * 1000):
                raise NoAnswer(request_id)
            frames = self.socket.recv_multipart()
            header, command, _service, *body = frames
            assert header == CLIENT_02 and command == FINAL, frames
            result = message_class("daybook.common.v1.CallResult").FromString(body[0])
            if result.request_id == request_id:
                return result, body[1]
            self.late += 1

    def is_served(self, service, timeout=5.0):
        """mmi.service (RFC 8)."""
        self.send("mmi.service", service.encode())
        if not self.socket.poll(timeout * 1000):
            raise NoAnswer("mmi.service")
        return self.socket.recv_multipart()[-1] == b"200"


class PlainClient:
    """A plain Majordomo 0.1 client, as there is one in every language: a REQ socket, no protobuf, no
    keys. The suffix +json makes all frames JSON."""

    def __init__(self, endpoint, timeout=10.0):
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(timeout * 1000)
        self.socket.connect(endpoint)

    def close(self):
        self.socket.close()

    def call(self, method, request, context=None):
        """Returns the result and the message, both as dicts."""
        service, name = method.split("/")
        self.socket.send_multipart([CLIENT_01, service.encode(), name.encode() + b"+json",
                                    json.dumps(context).encode() if context else b"",
                                    json.dumps(request).encode()])
        header, answered, result, message = self.socket.recv_multipart()
        assert header == CLIENT_01 and answered == service.encode()
        return json.loads(result or b"{}"), json.loads(message or b"{}")


class Subscriber:
    """Events as they happen: SUB frames are topic, log id, seq (8 bytes, big-endian), Event."""

    def __init__(self, endpoint, keys, *prefixes):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        keys.put_on(self.socket)
        for prefix in prefixes:
            self.socket.subscribe(prefix)
        self.socket.connect(endpoint)

    def close(self):
        self.socket.close()

    def next(self, timeout):
        """(topic, seq, Event or None for a head message), or None when nothing came in time."""
        if not self.socket.poll(timeout * 1000):
            return None
        topic, _log_id, seq, body = self.socket.recv_multipart()
        event = message_class("daybook.bus.v1.Event").FromString(body) if body else None
        return topic.decode(), int.from_bytes(seq, "big"), event
