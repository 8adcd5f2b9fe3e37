"""The fault proxy does what it says: else a chaos run proves nothing."""

import contextlib
import socket
import threading
import time

import pytest
from proxy import Proxy


class Echo:
    """Sends back what it gets, and knows which of its connections are open."""

    def __init__(self, path=None):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        self.listener.listen()
        self.address = path or self.listener.getsockname()
        self.open, self.got = 0, b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.echo, args=[self.listener.accept()[0]], daemon=True).start()

    def echo(self, s):
        self.open += 1
        with s, contextlib.suppress(OSError):
            while data := s.recv(65536):
                self.got += data
                s.sendall(data)
        self.open -= 1


@pytest.fixture(params=["tcp", "unix"])
def line(request, tmp_path):
    """A proxy with one link to an echo, and how to connect to it."""
    unix = request.param == "unix"
    echo, proxy = Echo(tmp_path / "e" if unix else None), Proxy()
    address = proxy.add("line", echo.address, tmp_path / "p" if unix else ("127.0.0.1", 0))

    def connect():
        s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        s.settimeout(10)
        s.connect(str(address) if unix else address)
        return s
    yield proxy, echo, connect
    proxy.close()
    echo.listener.close()


def says(s, data=b"hello"):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        piece = s.recv(65536)
        assert piece, "it ended"
        got += piece
    return got == data


def hears_nothing(s, seconds=0.3):
    """The one wait for something not to happen."""
    s.settimeout(seconds)
    try:
        s.recv(1)
    except TimeoutError:
        return True
    finally:
        s.settimeout(10)
    return False


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_passes_everything_on(line):
    _, echo, connect = line
    with connect() as s:
        assert says(s, bytes(range(256)) * 4096)
    until(lambda: echo.open == 0)


def test_f64_a_delay_is_one(line):
    proxy, _, connect = line
    with connect() as s, proxy.faulty("line", "delay", 0.2):
        began = time.monotonic()
        assert says(s) and time.monotonic() - began >= 0.4, "there and back"


def test_f64_a_slow_link_is_slow_until_its_end(line):
    proxy, _, connect = line
    with connect() as s:
        with proxy.faulty("line", "slow", 10240):
            began = time.monotonic()
            assert says(s, bytes(4096)) and time.monotonic() - began >= 0.4
            s.sendall(bytes(1 << 17))  # would take 12 s there and as long back
        got = 0
        while got < 1 << 17:
            got += len(s.recv(65536))


def test_f26_a_hole_holds_everything_and_loses_nothing(line):
    proxy, echo, connect = line
    with connect() as s:
        assert says(s)
        with proxy.faulty("line", "hole"):
            s.sendall(b"later")
            assert hears_nothing(s) and echo.got == b"hello"
            with connect() as new:
                new.sendall(b"x")
                assert hears_nothing(new)
        assert s.recv(5) == b"later"


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_f26_what_is_cut_or_reset_ends(line, fault):
    proxy, echo, connect = line
    with connect() as s:
        assert says(s)
        with proxy.faulty("line", fault):
            with pytest.raises((AssertionError, ConnectionError)):
                says(s)
            until(lambda: echo.open == 0)
            with connect() as new:
                if fault == "cut":
                    with pytest.raises((AssertionError, ConnectionError)):
                        says(new)
                else:
                    assert says(new)
        with connect() as new:
            assert says(new)


def test_f26_a_half_open_client_is_never_told(line):
    proxy, echo, connect = line
    with connect() as s:
        assert says(s)
        with proxy.faulty("line", "half_open_client"):
            until(lambda: echo.open == 0)
            s.sendall(b"nobody hears this")
            assert hears_nothing(s)
            with connect() as new:
                assert says(new)
        s.sendall(b"nor this")
        assert hears_nothing(s) and b"this" not in echo.got


def test_f26_a_half_open_server_is_never_told(line):
    proxy, echo, connect = line
    with connect() as s:
        assert says(s)
        with proxy.faulty("line", "half_open_server"):
            assert s.recv(1) == b""
        with connect() as new:
            assert says(new) and echo.open == 2


def test_nobody_at_the_target_is_an_end(tmp_path):
    proxy = Proxy()
    try:
        address = proxy.add("nowhere", tmp_path / "nobody")
        with socket.create_connection(address) as s:
            assert s.recv(1) == b""
    finally:
        proxy.close()
