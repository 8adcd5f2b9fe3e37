"""An HTTP client for the gateway, of Python's own library: one connection that stands, as a client's pool keeps
it, and streams of the Connect protocol.
"""

import contextlib
import gzip
import http.client
import itertools
import json
import os
import subprocess

from company import CUSTOMERS, DIRECTORY, SECONDS
from stack import Replica, free_port, wait_until

__all__ = ["END", "LIST", "Answer", "Caller", "Gateway", "Stream", "calls_of", "elsewhere", "free_port", "gateway",
           "new_key"]

LIST = CUSTOMERS + "CustomerService/List"
END = 2  # the flag of a stream's last envelope


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        if self.headers.get("Content-Encoding") == "gzip":
            self.body = gzip.decompress(self.body)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def fault(self):
        """Status and code of a Connect error."""
        assert self.headers["Content-Type"] == "application/json"
        return self.status, self.json["code"]


class Caller:
    def __init__(self, stack, key=None, timeout=SECONDS):
        host, _, port = stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"].rpartition(":")
        self.address = (host, int(port))
        self.connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        self.stack, self.key = stack, key

    def headers(self, named):
        headers = {name.replace("_", "-"): value for name, value in named.items()}
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        return headers

    def send(self, verb, path, body=None, **headers):
        self.connection.request(verb, path, body, self.headers(headers))
        return Answer(self.connection.getresponse())

    def post(self, method, request=None, **headers):
        headers.setdefault("Content_Type", "application/json")
        body = request if isinstance(request, (bytes, str)) else json.dumps(request or {})
        return self.send("POST", f"/{method}", body, **headers)

    def get(self, method, query, **headers):
        return self.send("GET", f"/{method}?{query}", **headers)

    def stream(self, method, request=None, **headers):
        return Stream(self, method, {} if request is None else request, headers)


class Stream:
    """A server stream in JSON, on a connection of its own. Iterating gives its messages; `end` is the last one."""

    def __init__(self, caller, method, request, headers):
        self.connection = http.client.HTTPConnection(*caller.address, timeout=SECONDS)
        headers.setdefault("Content_Type", "application/connect+json")
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.connection.request("POST", f"/{method}", bytes(1) + len(body).to_bytes(4, "big") + body,
                                caller.headers(headers))
        self.response = self.connection.getresponse()
        self.end = None

    def envelope(self):
        """Flags and bytes of the next one."""
        head = self.response.read(5)
        assert len(head) == 5, "the stream broke off"
        return head[0], self.response.read(int.from_bytes(head[1:], "big"))

    def __iter__(self):
        return self

    def __next__(self):
        if self.end is not None:
            raise StopIteration
        flags, data = self.envelope()
        if flags & END:
            self.end = json.loads(data)
            assert self.response.read() == b"", "something came after the end"
            raise StopIteration
        return json.loads(data)

    def close(self):
        self.connection.close()


def new_key(company, **request):
    """An API key that the gateway knows."""
    made = company.system.command(DIRECTORY + "CredentialService/CreateApiKey", {"label": "a program", **request})
    caller = Caller(company.stack, made.api_key)
    wait_until(lambda: caller.post(LIST).status != 401, SECONDS, "the gateway knew the key")
    return made


def elsewhere(company, *words, env=None, stdin=None, **how):
    """The command-line tool as it runs on a machine that has nothing of the installation but what it is given."""
    return subprocess.run([company.stack.bin / "daybook", *map(str, words)], text=True, input=stdin,
                          env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(env or {})},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **how)


def calls_of(stack, code):
    """How many calls the gateway has answered with that code."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in stack.metrics("gateway").splitlines()
               if line.startswith("daybook_gateway_requests_total") and f'code="{code}"' in line)


class Gateway(Replica):
    """One more gateway of a stack, with settings of its own; Caller takes it for the stack."""

    numbers = itertools.count(1)

    def __init__(self, stack, variables=None, stdout=None, **settings):
        super().__init__(stack, "gateway", stack.folder / f"log/gateway-{next(self.numbers)}.log", variables=variables,
                         stdout=stdout, **settings)
        self.stack = stack
        self.until_ready(SECONDS)

    def stop(self):
        """True: it has drained."""
        return self.drain(2 * SECONDS) == 0


@contextlib.contextmanager
def gateway(company, **settings):
    """One within the block, at whose end it drains."""
    one = Gateway(company.stack, **settings)
    try:
        yield one
        assert one.stop(), one.log.read_text()
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
