"""Three members of PostgreSQL under Patroni and etcd, two of Redis under three sentinels, two buses and one of
each other daemon, with the files of deploy/ha as they are; all in the network that enter.sh made.

HaStack is to the clients and checks of the other tests what a local stack is (tests/acceptance/stack.py).
"""

import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

from local_stack import ROOT, children_of, is_alive, read_env, run, wait_until
from stack import Stack

DEPLOY = ROOT / "deploy/ha"
MEMBERS = {"db1": "127.0.1.1", "db2": "127.0.1.2", "db3": "127.0.1.3"}
REDIS = {"redis1": "127.0.2.1", "redis2": "127.0.2.2"}
BUSES = ("bus1", "bus2")
DAEMONS = ("directory", "customers", "visits", "reminders", "scoring", "gateway")
PROXY = "host=127.0.0.1 port=5000"
PATRONI = "/mnt/bin/python3"  # where enter.sh put its environment
PGBIN = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
# Tables that the checks look for in one place are seen by the superuser only, past the walls between companies.
SUPERUSER = "postgres"


def get_json(url):
    """None when nobody answers; Patroni tells its state with other codes than 200, too."""
    try:
        with urllib.request.urlopen(url, timeout=2) as page:
            return json.load(page)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except (OSError, ValueError):
        return None


class Process:
    """A program that is started, killed, and started again."""

    def __init__(self, name, args, log, env=None, user=None):
        self.name, self.args, self.log, self.user = name, [str(a) for a in args], log, user
        self.env = {**os.environ, **(env or {})}
        self.child = None

    def start(self):
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with open(self.log, "a", encoding="utf-8") as log:
            self.child = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                          start_new_session=True, **identity)

    def send(self, number):
        self.child.send_signal(number)

    def end(self, number=signal.SIGKILL, seconds=60):
        if self.child and self.child.poll() is None:
            self.send(number)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class HaStack(Stack):
    def __init__(self, folder):
        super().__init__(folder)
        for name in ("log", "keys/admitted", "env", "run"):
            (self.folder / name).mkdir(parents=True)
        self.run_dir = self.folder / "run"
        self.passwords = {name: secrets.token_hex(12) for name in ("postgres", "replicator", "rewind", "daybook")}
        self.patroni_config = self.folder / "patroni.yml"
        self.processes = {}

    # --- up and down ------------------------------------------------------------------------------

    def add(self, name, args, **options):
        self.processes[name] = Process(name, args, self.folder / f"log/{name}.log", **options)
        self.processes[name].start()

    def up(self):
        self.write_passwords()
        self.start_etcd()
        self.start_patroni()
        self.start_redis()
        self.add("haproxy", ["haproxy", "-db", "-f", DEPLOY / "haproxy.cfg"])
        self.make_database()
        self.start_daemons()

    def down(self):
        for client in self.clients:
            client.close()
        for name in (*reversed(DAEMONS), *BUSES):
            self.processes[name].end(signal.SIGTERM)

    def remove(self):
        for name in MEMBERS:
            if name in self.processes:
                self.signal_member(name, signal.SIGCONT)
        for process in reversed(self.processes.values()):
            process.end(signal.SIGTERM)
        shutil.rmtree(self.folder)

    def write_passwords(self):
        """One file of passwords for all programs here, which libpq reads."""
        users = {SUPERUSER: "postgres", "daybook_owner": "daybook"} | {f"daybook_{d}": "daybook"
                                                                       for d in ("bus", *DAEMONS)}
        file = self.folder / "pgpass"
        file.write_text("".join(f"*:*:*:{user}:{self.passwords[name]}\n" for user, name in users.items()))
        file.chmod(0o600)
        self.settings["PGPASSFILE"] = os.environ["PGPASSFILE"] = str(file)

    def start_etcd(self):
        settings = read_env(DEPLOY / "etcd.env")
        for name, address in MEMBERS.items():
            own = {"ETCD_NAME": name, "ETCD_LISTEN_PEER_URLS": f"http://{address}:2380",
                   "ETCD_LISTEN_CLIENT_URLS": f"http://{address}:2379",
                   "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://{name}:2380",
                   "ETCD_ADVERTISE_CLIENT_URLS": f"http://{name}:2379",
                   "ETCD_DATA_DIR": str(self.folder / f"etcd-{name}")}
            self.add(f"etcd-{name}", ["etcd"], env={**settings, **own})

    def start_patroni(self):
        shutil.copy(DEPLOY / "patroni.yml", self.patroni_config)
        postgres = pwd.getpwnam("postgres")
        for name, address in MEMBERS.items():
            data = self.folder / name
            data.mkdir(mode=0o700)
            os.chown(data, postgres.pw_uid, postgres.pw_gid)
            env = {"PATRONI_NAME": name, "PATRONI_RESTAPI_LISTEN": f"{address}:8008",
                   "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{name}:8008",
                   "PATRONI_POSTGRESQL_LISTEN": f"{address}:5432",
                   "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{name}:5432",
                   "PATRONI_POSTGRESQL_DATA_DIR": str(data / "data"), "PATRONI_POSTGRESQL_BIN_DIR": str(PGBIN),
                   "PATRONI_POSTGRESQL_PGPASS": str(data / "pgpass"), "HOME": str(data)}
            for role, user in (("SUPERUSER", SUPERUSER), ("REPLICATION", "replicator"), ("REWIND", "rewind")):
                env |= {f"PATRONI_{role}_USERNAME": user,
                        f"PATRONI_{role}_PASSWORD": self.passwords["rewind" if role == "REWIND" else user]}
            # Each member has the folder of its sockets to itself, as on a host of its own.
            self.add(name, ["unshare", "--mount", "bash", "-c",
                            "mkdir -p /run/postgresql && mount -t tmpfs -o mode=1777 tmpfs /run/postgresql &&"
                            " exec setpriv --reuid=postgres --regid=postgres --init-groups \"$@\"", "member",
                            PATRONI, "-m", "patroni", self.patroni_config], env=env)
        wait_until(self.is_whole, 90, "PostgreSQL had a leader and two standbys", 0.2)

    def start_redis(self):
        for name, address in REDIS.items():
            more = ["--replicaof", "redis1", "6379"] if name == "redis2" else []
            folder = self.folder / name
            folder.mkdir()
            shutil.copy(DEPLOY / "redis.conf", folder)  # sentinels have it rewritten
            self.add(name, ["redis-server", folder / "redis.conf", "--bind", address, "--dir", folder,
                            "--replica-announce-ip", name, *more])
        for n in (1, 2, 3):
            config = self.folder / f"sentinel{n}.conf"
            shutil.copy(DEPLOY / "sentinel.conf", config)
            own = f"127.0.4.{n}"
            config.write_text(f"bind {own}\nsentinel announce-ip {own}\n" + config.read_text())
            self.add(f"sentinel{n}", ["redis-sentinel", config])
        wait_until(lambda: self.redis_masters() == ["redis1"] and self.sentinels_agree(), 30, "Redis was watched", 0.1)

    def make_database(self):
        wait_until(self.proxy_knows, 30, "HAProxy led to the leader", 0.1)
        self.psql("create database daybook", database="postgres")
        self.psql((ROOT / "deploy/roles.sql").read_text())
        self.psql(f"alter role daybook_owner password '{self.passwords['daybook']}'")
        env = {**os.environ, "DAYBOOK_MIGRATE_URL": f"{PROXY} dbname=daybook user=daybook_owner"}
        run([self.bin / "daybook", "migrate"], env=env)
        for name in ("bus", *DAEMONS):
            self.psql(f"alter role daybook_{name} password '{self.passwords['daybook']}'")

    def proxy_knows(self):
        """HAProxy takes all for leaders until it has asked them."""
        log = (self.folder / "log/haproxy.log").read_text()
        return len(set(re.findall(r"Server (\w+/\w+) is DOWN", log))) == 3  # two of PostgreSQL, one of Redis

    def start_daemons(self):
        self.make_keys()
        for name in (*BUSES, *DAEMONS):
            self.write_env(name, self.daemon_env(name))
        self.env = {**self.common_env("operator"), "DAYBOOK_MIGRATE_URL": f"{PROXY} dbname=daybook user=daybook_owner",
                    "DAYBOOK_STATUS": " ".join(f"{n}={self.admin(n)}" for n in (*BUSES, *DAEMONS))}
        self.write_env("operator", self.env)
        for name in (*BUSES, *DAEMONS):
            program = "bus" if name in BUSES else name
            self.add(name, [self.bin / f"daybook-{program}"], env=self.env_of(name))
        for name in (*BUSES, *DAEMONS):
            wait_until(lambda: self.is_ready(name), 30, f"{name} was ready", 0.1)

    def make_keys(self):
        keys = self.folder / "keys"
        (keys / "master.key").write_text(secrets.token_hex(32))
        (keys / "master.key").chmod(0o600)
        for name in ("bus", *DAEMONS, "operator"):
            kind = {"operator": "system", "gateway": "edge"}.get(name, "daemon")
            run([self.bin / "daybook", "keygen", keys / name, "--kind", kind])
            shutil.copy(keys / f"{name}.pub", keys / "admitted")

    @staticmethod
    def admin(name):
        return f"127.0.5.1:{9001 + (*BUSES, *DAEMONS).index(name)}"

    def common_env(self, name):
        """Both buses have one pair of keys: clients know one public key."""
        role = "bus" if name in BUSES else name
        keys = self.folder / "keys"
        return {"DAYBOOK_DB_URL": f"{PROXY} dbname=daybook user=daybook_{role}",
                "DAYBOOK_BUS_ENDPOINT": ",".join(f"tcp://{bus}:7000" for bus in BUSES),
                "DAYBOOK_BUS_EVENTS": ",".join(f"tcp://{bus}:7001" for bus in BUSES),
                "DAYBOOK_BUS_SERVER_KEY": (keys / "bus.pub").read_text().splitlines()[0],
                "DAYBOOK_BUS_PUBLIC_KEY": (keys / f"{role}.pub").read_text().splitlines()[0],
                "DAYBOOK_BUS_SECRET_KEY_FILE": str(keys / f"{role}.key"),
                "DAYBOOK_MASTER_KEY_FILE": str(keys / "master.key")}

    def daemon_env(self, name):
        env = {**self.common_env(name), "DAYBOOK_ADMIN_LISTEN": self.admin(name)}
        if name in BUSES:
            address = f"127.0.3.{1 + BUSES.index(name)}"
            env |= {"DAYBOOK_BUS_KEYS": str(self.folder / "keys/admitted"),
                    "DAYBOOK_BUS_LISTEN": f"tcp://{address}:7000",
                    "DAYBOOK_BUS_EVENTS_LISTEN": f"tcp://{address}:7001"}
        elif name == "reminders":
            env["DAYBOOK_REDIS_URL"] = "127.0.0.1:6380"
        elif name == "gateway":
            env |= {"DAYBOOK_HTTP_LISTEN": "127.0.5.1:8080", "DAYBOOK_DRAIN_DELAY": "0s"}
        return env

    def write_env(self, name, env):
        (self.folder / f"env/{name}.env").write_text("".join(f"{k}='{v}'\n" for k, v in env.items()))

    def is_ready(self, name):
        done = subprocess.run([self.bin / "daybook-visits", "--health"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env={**os.environ, **self.env_of(name)})
        return done.returncode == 0

    # --- PostgreSQL -------------------------------------------------------------------------------

    def conninfo(self, user=SUPERUSER, database="daybook"):
        return f"{PROXY} dbname={database} user={SUPERUSER}"

    def psql(self, text, *words, database="daybook"):
        return run([PGBIN / "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d",
                    self.conninfo(database=database), *words], input=text)

    def members(self):
        """name -> what Patroni says of it, as any of them knows it."""
        for name in MEMBERS:
            told = get_json(f"http://{name}:8008/cluster")
            if told:
                return {m["name"]: m for m in told["members"]}
        return {}

    def role(self, wanted):
        return next((n for n, m in self.members().items() if m["role"] == wanted), None)

    def leader(self):
        """Who says of itself that it leads."""
        for name in MEMBERS:
            told = get_json(f"http://{name}:8008/patroni")
            if told and told.get("role") in ("primary", "master") and told.get("state") == "running":
                return name
        return None

    def is_whole(self):
        """One leads, two follow on its timeline, one of them synchronously."""
        members = self.members().values()
        return sorted(m["role"] for m in members) == ["leader", "replica", "sync_standby"] and \
            all(m["state"] in ("running", "streaming") for m in members) and \
            len({m.get("timeline") for m in members}) == 1

    def switch_over(self):
        """Planned: the synchronous standby takes over, with the command that operators use."""
        run([PATRONI, "/mnt/bin/patronictl", "-c", self.patroni_config, "switchover", "daybook", "--leader", self.role("leader"), "--candidate",
             self.role("sync_standby"), "--force"])

    def postmaster(self, name):
        try:
            pid = int((self.folder / name / "data/postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if is_alive(pid) else None

    def signal_member(self, name, number):
        """To all of a member's processes: Patroni first, so that it does not see PostgreSQL end."""
        pid = self.postmaster(name)
        family = [p for p in [pid, *(children_of(pid) if pid else [])] if p]
        if self.processes[name].child.poll() is None:
            self.processes[name].send(number)
        for p in family:
            try:
                os.kill(p, number)
            except ProcessLookupError:
                pass
        return family

    def kill_member(self, name):
        family = self.signal_member(name, signal.SIGKILL)
        self.processes[name].end()
        wait_until(lambda: not any(map(is_alive, family)), 30, f"PostgreSQL of {name} was gone")

    @staticmethod
    def etcd_leader():
        for name in MEMBERS:
            with urllib.request.urlopen(f"http://{name}:2379/metrics") as page:
                if b"\netcd_server_is_leader 1\n" in page.read():
                    return name
        raise AssertionError("etcd has no leader")

    def log_id(self):
        return self.value("select log_id from bus.head")

    # --- Redis ------------------------------------------------------------------------------------

    def redis(self, *words):
        return run(["redis-cli", "-p", "6380", *words]).strip()

    def redis_masters(self):
        found = []
        for name in REDIS:
            done = subprocess.run(["redis-cli", "-h", name, "role"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True)
            if done.stdout.startswith("master"):
                found.append(name)
        return found

    def sentinels_agree(self):
        """All three know each other and the replica, so that two can decide."""
        told = [subprocess.run(["redis-cli", "-h", f"127.0.4.{n}", "-p", "26379", "info", "sentinel"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout for n in (1, 2, 3)]
        return all(re.search(r"status=ok,.*slaves=1,sentinels=3", t) for t in told)
