"""deploy/compose.yaml really run, by whichever of docker-compose and Compose v2 there is: a project of its own with
loopback ports, of which nothing is left behind."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy/compose.yaml"
DAEMONS = ["bus", "directory", "customers", "visits", "reminders", "scoring", "gateway"]


def wait_until(ask, seconds, what):
    """What `ask` says as soon as it says something; it may fail until then."""
    until = time.monotonic() + seconds
    while True:
        try:
            got = ask()
        except (AssertionError, OSError, KeyError, IndexError, subprocess.CalledProcessError) as error:
            got, why = None, error
        else:
            why = got
        if got:
            return got
        assert time.monotonic() < until, f"{what}: not within {seconds} s; last: {why}"
        time.sleep(0.1)


def free_port():
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def docker(*words):
    return subprocess.run(["docker", *words], check=True, text=True, capture_output=True).stdout.strip()


def compose_command():
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if v2.returncode == 0 else ["docker-compose"]


class Project:
    def __init__(self, folder):
        self.secrets = folder
        self.name = f"daybookcheck{os.getpid()}"
        self.https, self.prometheus = free_port(), free_port()
        self.env = dict(os.environ, COMPOSE_PROJECT_NAME=self.name, DAYBOOK_SECRETS=str(folder),
                        DAYBOOK_HTTPS=f"127.0.0.1:{self.https}", DAYBOOK_PROMETHEUS=str(self.prometheus),
                        DAYBOOK_FRONT="172.31.252.0/24")
        self.tls = None

    def compose(self, *words):
        made = subprocess.run([*compose_command(), "-f", FILE, *words], env=self.env, text=True, capture_output=True)
        assert made.returncode == 0, f"{words}: {made.stdout}\n{made.stderr}"
        return made.stdout

    def make_secrets(self):
        subprocess.run([ROOT / "deploy/compose/secrets.sh", self.secrets], env=self.env, check=True)
        self.tls = ssl.create_default_context(cafile=self.secrets / "fullchain.pem")

    def up(self, *words):
        """Returns when all is healthy, with the seconds that it took."""
        began = time.monotonic()
        made = subprocess.run([ROOT / "deploy/compose/up.sh", *words], env=self.env, text=True, capture_output=True)
        assert made.returncode == 0, f"{made.stdout}\n{made.stderr}"
        return time.monotonic() - began

    def containers_image(self, service):
        return docker("inspect", "--format", "{{.Config.Image}}", self.containers(service)[0])

    def remove(self):
        self.compose("down", "--volumes", "--timeout", "45")

    def containers(self, service):
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, service):
        return json.loads(docker("inspect", *self.containers(service)))

    def cli(self, *words):
        return self.compose("run", "--rm", "-T", "cli", *words)

    def call(self, method, request, tenant=None):
        """By the operator's command, over the bus."""
        words = ["call", method, json.dumps(request), *(["--tenant", tenant] if tenant else [])]
        return json.loads(self.cli(*words))

    def ask(self, method, request, key, timeout=10):
        """Through the proxy, by TLS whose certificate is verified; status and answer."""
        request = urllib.request.Request(f"https://localhost:{self.https}/{method}", json.dumps(request).encode(), {
            "Content-Type": "application/json", "Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.tls) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def query(self, expression):
        """The first value that Prometheus has for it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus}/api/v1/query?query="
                                    + urllib.parse.quote(expression), timeout=5) as answer:
            return float(json.load(answer)["data"]["result"][0]["value"][1])


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
