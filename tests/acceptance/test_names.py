"""Buses by names whose lookups hang, or that lead elsewhere after a while (F65). A library that is loaded
before libc says what names lead to (slow_dns.c), to libzmq's own lookups too."""

import contextlib
import os
import pathlib
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
from company import CUSTOMERS, SECONDS
from stack import wait_until

GET = CUSTOMERS + "CustomerService/Get"
SOURCE = pathlib.Path(__file__).with_name("slow_dns.c")
FAILOVER = 30  # seconds


class Names:
    """What names lead to, for processes with the settings."""

    def __init__(self, folder):
        self.file, library = folder / "names", folder / "slow_dns.so"
        subprocess.run([os.environ.get("CC", "cc"), "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
                       check=True)
        self.settings = {"LD_PRELOAD": str(library), "SLOW_DNS": str(self.file),
                         "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"}

    def lead(self, **addresses):
        new = self.file.with_suffix(".new")
        new.write_text("".join(f"{name}.test {address}\n" for name, address in addresses.items()))
        new.replace(self.file)


@pytest.fixture
def names(tmp_path):
    return Names(tmp_path)


def endpoints(stack, *hosts):
    """The addresses of the bus, by these names."""
    return {key: ",".join(f"tcp://{host}.test:{urllib.parse.urlsplit(stack.env[key]).port}" for host in hosts)
            for key in ("DAYBOOK_BUS_ENDPOINT", "DAYBOOK_BUS_EVENTS")}


class Relay:
    """Another address of the bus: passes bytes from there to it, until it is gone."""

    def __init__(self, host, port):
        self.port, self.sockets, self.lock = port, [], threading.Lock()
        self.listener = self.keep(socket.create_server((host, port)))
        threading.Thread(target=self.accept, daemon=True).start()

    def keep(self, s):
        with self.lock:
            self.sockets.append(s)
        return s

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.keep(self.listener.accept()[0])
                far = self.keep(socket.create_connection(("127.0.0.1", self.port)))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        with self.lock:
            for s in self.sockets:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
                s.close()


def test_f65_a_bus_whose_name_hangs_holds_up_nobody(company, stack, names):
    shop = company.customer("rep")
    names.lead(gone="hang", here="127.0.0.1")
    settings = {**names.settings, **endpoints(stack, "gone", "here")}
    with stack.changed_settings("customers", **settings):
        for _ in range(50):
            company.rep.call(GET, {"id": shop.id}, timeout=SECONDS)
        for _ in range(3):  # a process that has just begun to look for both
            started = time.monotonic()
            done = stack.daybook("events", "read", "--limit", "1", env=settings)
            assert done.returncode == 0, done.stderr
            assert time.monotonic() - started < SECONDS / 3


def test_f65_no_bus_is_known_by_name_and_the_command_says_so_soon(stack, names):
    names.lead(gone="hang")
    started = time.monotonic()
    done = stack.daybook("events", "read", env={**names.settings, **endpoints(stack, "gone")})
    assert done.returncode != 0 and "UNAVAILABLE" in done.stderr.upper()
    assert time.monotonic() - started < SECONDS / 3


def test_f65_a_bus_that_has_another_address_is_found(company, stack, names):
    shop = company.customer("rep")
    ports = [urllib.parse.urlsplit(stack.env[key]).port for key in ("DAYBOOK_BUS_ENDPOINT", "DAYBOOK_BUS_EVENTS")]
    names.lead(bus="127.0.0.2")
    relays = [Relay("127.0.0.2", port) for port in ports]
    try:
        with stack.changed_settings("customers", **names.settings, **endpoints(stack, "bus")):
            company.rep.call(GET, {"id": shop.id}, timeout=SECONDS)
            for relay in relays:
                relay.close()
            names.lead(bus="127.0.0.1")

            def works():
                with contextlib.suppress(Exception):
                    return company.rep.call(GET, {"id": shop.id}, timeout=1)
            wait_until(works, FAILOVER, "the bus was found at its new address")
    finally:
        for relay in relays:
            relay.close()
