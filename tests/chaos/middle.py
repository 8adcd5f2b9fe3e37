"""A man in the middle that speaks the bus protocol (F34): he has the bus's key, so everybody takes him for it, and
the keys of all others, so the bus takes him for each of them.

TCP loses, doubles and mixes up nothing within a connection, and CURVE lets nobody play a message again; he does all
that, to whole messages, each way: commands, answers, beats, credit, registrations, and published events. While he is
at it every message draws its lot, one in ten for each of

    dropped     never arrives
    doubled     arrives twice
    replayed    arrives, and after it an old one of the same way once more
    delayed     up to a second
    reordered   after the next one of the same way

Otherwise all passes as it comes, as long as it is read: what a socket has no room for is lost. And neither side hears
from him that the other has ended its connection.
"""

import collections
import contextlib
import heapq
import itertools
import random
import threading
import time

import zmq
import zmq.auth
import zmq.auth.thread

HARM = ("dropped", "doubled", "replayed", "delayed", "reordered")
SHARE = 0.1     # of all messages, for each of these
LATEST = 1.0    # seconds that a message is kept at most
REMEMBERED = 50  # messages of a way that may be replayed
FORGOTTEN = 30  # seconds after which a peer that says nothing has gone, or comes anew
SOCKETS = 8192  # one for each peer that came within these


class Way:
    """From a peer to its bus, or from a bus to one of its peers; head: frames that the socket needs before each
    message."""

    def __init__(self, socket, *head):
        self.socket, self.head = socket, head
        self.behind = []  # what is to arrive after the next one
        self.old = collections.deque(maxlen=REMEMBERED)

    def send(self, frames):
        with contextlib.suppress(zmq.Again):  # who does not read for so long has lost it
            self.socket.send_multipart([*self.head, *frames], zmq.DONTWAIT)

    def send_behind(self):
        while self.behind:
            self.send(self.behind.pop(0))


class Peer:
    """One connection of somebody, and the one that is made in his name."""

    def __init__(self, socket, to_bus, to_peer):
        self.socket, self.to_bus, self.to_peer = socket, to_bus, to_peer
        self.heard = time.monotonic()


class Middle:
    """bus: keys of the bus, others: of those who speak to it; listener: of who may hear all events."""

    def __init__(self, bus, others, listener):
        self.bus, self.listener = bus, listener
        self.keys = {}
        self.know(others)
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, SOCKETS)
        self.authenticator = zmq.auth.thread.ThreadAuthenticator(self.context)  # says whose key it is
        self.authenticator.start()
        self.authenticator.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
        self.poller = zmq.Poller()
        self.readers = {}  # by socket: what is done with a message of it
        self.fronts = {}   # by address of a bus: where he stands instead
        self.peers = {}    # by (front, routing id)
        self.late = []     # a heap of (when, number, way, frames)
        self.numbers = itertools.count()
        self.rng = None    # while he is at it
        self.counts = collections.Counter()
        self.over, self.failure, self.looked_at = threading.Event(), None, 0
        self.thread = threading.Thread(target=self.work, daemon=True)

    def know(self, keys):
        self.keys.update((k.public.decode(), k) for k in keys)

    # --- where he stands ----------------------------------------------------------------------------

    def before(self, address, events=False):
        """The address to speak to instead. Before start() only."""
        if address not in self.fronts:
            self.fronts[address] = self.stand_before_events(address) if events else self.stand_before_bus(address)
        return self.fronts[address]

    def front(self, kind):
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.curve_server = True
        socket.curve_secretkey = self.bus.secret
        socket.zap_domain = b"global"
        return socket, f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"

    def back(self, kind, keys, address):
        socket = self.context.socket(kind)
        socket.linger = 0
        keys.put_on(socket)
        socket.connect(address)
        return socket

    def read(self, socket, reader):
        self.readers[socket] = reader
        self.poller.register(socket, zmq.POLLIN)

    def stand_before_bus(self, address):
        front, here = self.front(zmq.ROUTER)
        self.read(front, lambda: self.from_peer(front, address))
        return here

    def stand_before_events(self, address):
        front, here = self.front(zmq.XPUB)
        front.setsockopt(zmq.XPUB_VERBOSER, 1)  # the bus greets each who subscribes
        back = self.back(zmq.XSUB, self.listener, address)
        way = Way(front)
        self.read(back, lambda: self.passes(way, back.recv_multipart(zmq.DONTWAIT)))
        self.read(front, lambda: back.send_multipart(front.recv_multipart(zmq.DONTWAIT)))
        return here

    # --- what passes --------------------------------------------------------------------------------

    def from_peer(self, front, address):
        routing_id, *frames = front.recv_multipart(zmq.DONTWAIT, copy=False)
        at, who = (front, routing_id.bytes), frames[-1].get("User-Id")
        peer = self.peers.get(at) or self.peers.setdefault(at, self.new_peer(*at, address, self.keys[who]))
        peer.heard = time.monotonic()
        self.passes(peer.to_bus, [f.bytes for f in frames])

    def new_peer(self, front, routing_id, address, keys):
        back = self.back(zmq.DEALER, keys, address)
        peer = Peer(back, Way(back), Way(front, routing_id))
        self.read(back, lambda: self.passes(peer.to_peer, back.recv_multipart(zmq.DONTWAIT)))
        return peer

    def passes(self, way, frames):
        rng = self.rng  # it may end in between
        harm = self.draw(rng)
        self.counts[harm or "unharmed"] += 1
        if harm == "delayed":
            self.keep(way, frames, rng.uniform(0, LATEST))
        elif harm == "reordered":
            way.behind.append(frames)
            self.keep(way, None, LATEST)  # there may be no next one
        elif harm != "dropped":
            way.send(frames)
            if harm == "doubled":
                way.send(frames)
            elif harm == "replayed":
                way.send(rng.choice(way.old or [frames]))
            way.send_behind()
        way.old.append(frames)

    @staticmethod
    def draw(rng):
        lot = int(rng.random() / SHARE) if rng else len(HARM)
        return HARM[lot] if lot < len(HARM) else None

    def keep(self, way, frames, seconds):
        heapq.heappush(self.late, (time.monotonic() + seconds, next(self.numbers), way, frames))

    def send_late(self):
        while self.late and (self.rng is None or self.late[0][0] <= time.monotonic()):
            _, _, way, frames = heapq.heappop(self.late)
            if frames is None:
                way.send_behind()
            else:
                way.send(frames)

    def forget(self):
        now = time.monotonic()
        if now - self.looked_at < 1:
            return
        self.looked_at = now
        for at, peer in list(self.peers.items()):
            if now - peer.heard > FORGOTTEN:
                del self.peers[at], self.readers[peer.socket]
                self.poller.unregister(peer.socket)
                peer.socket.close()

    def work(self):
        try:
            while not self.over.is_set():
                self.turn()
        except Exception as failure:  # whoever waits for him is told
            self.failure = failure

    def turn(self):
        for socket, _ in self.poller.poll(10 if self.late else 100):
            with contextlib.suppress(zmq.Again):  # there is nothing more to read
                while True:
                    self.readers[socket]()
        self.send_late()
        self.forget()

    # --- from outside -------------------------------------------------------------------------------

    def start(self):
        self.thread.start()

    @contextlib.contextmanager
    def at_it(self, seed):
        self.rng = random.Random(seed)
        try:
            yield
        finally:
            self.rng = None
        self.check()

    def check(self):
        assert self.failure is None, f"the man in the middle has failed: {self.failure!r}"

    def close(self):
        self.over.set()
        if self.thread.ident:
            self.thread.join()
        self.authenticator.stop()
        self.context.destroy(linger=0)
