"""A TCP proxy that misbehaves when told to: what stands between two processes of the stack.

Each Link listens (at a loopback port, or at a unix socket) and passes what comes on to its target, both
ways. Its fault is one of

    delay    everything arrives so much later (seconds)
    slow     so many bytes a second get through, each way
    hole     nothing gets through and nothing is lost: what was sent arrives when the fault has ended, as
             TCP would send it again. New connections are taken and hear nothing either
    cut      connections end, new ones are ended at once
    reset    connections end by RST; new ones are good
    half_open_client, half_open_server
             the connections that stand are closed on the other side only; this side is never told, and what it
             sends goes nowhere. New ones are good

All links live in one thread with an event loop of its own.
"""

import asyncio
import contextlib
import os
import pathlib
import socket
import struct
import threading

CHUNK = 64 * 1024
SLICE = 512  # of a slow link
KEEPALIVE = 15  # seconds after which a server would find out by TCP, which a unix socket has not
FAULTS = ("delay", "slow", "hole", "cut", "reset", "half_open_client", "half_open_server")
RST = struct.pack("ii", 1, 0)  # SO_LINGER: what is unsent is dropped, the other side gets a reset


class Connection:
    """The two sides of one connection; each is a reader and a writer."""

    def __init__(self, link, client, server):
        self.link, self.client, self.server = link, client, server
        self.deaf = None  # the side that is never told that the other has gone

    async def run(self):
        pumps = [asyncio.ensure_future(self.pump(self.client, self.server)),
                 asyncio.ensure_future(self.pump(self.server, self.client))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await self.stop(pumps)
            if self.deaf:
                await self.swallow()
        finally:
            await self.stop(pumps)
            self.end()

    @staticmethod
    async def stop(pumps):
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def pump(self, here, there):
        reader, writer = here[0], there[1]
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self.link.passes(data, writer)
                self.link.carried += len(data)

    async def swallow(self):
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(KEEPALIVE if self.deaf is self.server else None):
                while await self.deaf[0].read(CHUNK):
                    pass

    def end(self, abruptly=False):
        for _, writer in (self.client, self.server):
            close(writer, abruptly)

    def half_open(self, deaf, gone):
        self.deaf = deaf
        close(gone[1], abruptly=False)


def close(writer, abruptly):
    s = writer.get_extra_info("socket")
    if abruptly and s is not None and s.family == socket.AF_INET and not writer.is_closing():
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    writer.transport.abort() if abruptly else writer.close()


class Link:
    """listen, target: (host, port) or a path."""

    def __init__(self, name, listen, target):
        self.name, self.listen, self.target = name, listen, target
        self.fault, self.amount = None, 0.0
        self.changed = asyncio.Event()  # set and replaced at each change
        self.connections = set()
        self.carried = self.accepted = 0

    async def start(self):
        if isinstance(self.listen, tuple):
            self.server = await asyncio.start_server(self.accept, *self.listen)
            self.listen = self.server.sockets[0].getsockname()[:2]
        else:
            pathlib.Path(self.listen).unlink(missing_ok=True)
            self.server = await asyncio.start_unix_server(self.accept, str(self.listen))
            os.chmod(self.listen, 0o777)

    async def accept(self, reader, writer):
        self.accepted += 1
        connection = None
        try:
            await self.opened()
            if self.fault == "cut":
                return
            server = await self.connect()
            connection = Connection(self, (reader, writer), server)
            self.connections.add(connection)
            await connection.run()
        except OSError:  # nobody at the target: the client hears that its connection ends
            pass
        finally:
            self.connections.discard(connection)
            close(writer, abruptly=False)

    async def connect(self):
        if isinstance(self.target, tuple):
            return await asyncio.open_connection(*self.target)
        return await asyncio.open_unix_connection(str(self.target))

    async def opened(self):
        while self.fault == "hole":
            await self.changed.wait()

    async def passes(self, data, writer):
        await self.opened()
        if self.fault == "slow":
            return await self.trickle(data, writer)
        if self.fault == "delay":
            await asyncio.sleep(self.amount)
            await self.opened()
        writer.write(data)
        await writer.drain()

    async def trickle(self, data, writer):
        """At the full rate again as soon as the fault has ended."""
        for at in range(0, len(data), SLICE):
            await self.opened()
            if self.fault == "slow":
                await asyncio.sleep(SLICE / self.amount)
            writer.write(data[at:at + SLICE])
            await writer.drain()

    async def set(self, fault, amount):
        assert fault is None or fault in FAULTS, fault
        self.fault, self.amount = fault, amount
        self.changed.set()
        self.changed = asyncio.Event()
        for connection in list(self.connections):
            if fault in ("cut", "reset"):
                connection.end(abruptly=fault == "reset")
            elif fault == "half_open_client":
                connection.half_open(connection.client, connection.server)
            elif fault == "half_open_server":
                connection.half_open(connection.server, connection.client)


class Proxy:
    """Links by name, and the thread in which they live."""

    def __init__(self):
        self.links = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def add(self, name, target, listen=("127.0.0.1", 0)):
        """Returns where it listens."""
        async def start():
            self.links[name] = link = Link(name, listen, target)
            await link.start()
            return link.listen
        return self.run(start())

    def set(self, name, fault, amount=0.0):
        self.run(self.links[name].set(fault, amount))

    @contextlib.contextmanager
    def faulty(self, name, fault, amount=0.0):
        self.set(name, fault, amount)
        try:
            yield
        finally:
            self.set(name, None)

    def close(self):
        async def end():
            for link in self.links.values():
                link.server.close()
                for connection in list(link.connections):
                    connection.end()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
