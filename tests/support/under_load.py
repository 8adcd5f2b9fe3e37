"""A private stack with companies whose people command all the time (load.py), and what proves that it works.

The crash and the chaos tests do something to it and judge afterwards (judge.py).
"""

import bisect
import collections
import http.client
import json
import pathlib
import random
import subprocess
import sys
import time

ACCEPTANCE = pathlib.Path(__file__).resolve().parents[1] / "acceptance"
sys.path.insert(0, str(ACCEPTANCE))
import contract  # noqa: E402

contract.load()
import mdp  # noqa: E402
from company import CUSTOMERS, DIRECTORY, REMINDERS, SCORING, Company  # noqa: E402
from judge import Judge  # noqa: E402
from load import Door  # noqa: E402
from stack import SLACK, Stack, wait_until  # noqa: E402
from web import Caller, new_key  # noqa: E402

# One read of each daemon that proves that it works again, bus and PostgreSQL included.
PROBES = {
    "bus": ("daybook.bus.v1.EventService/GetHead", {}),
    "directory": (DIRECTORY + "DirectoryService/ListUnits", {}),
    "customers": (CUSTOMERS + "CustomerService/List", {"pageSize": 1}),
    "visits": ("daybook.visits.v1.VisitService/List", {"pageSize": 1}),
    "reminders": (REMINDERS + "ReminderService/List", {"pageSize": 1}),
    "scoring": (SCORING + "CustomerScoreService/List", {"pageSize": 1}),
}
REPS = ("rep", "rep2", "rep3")
SHOPS = 10  # customers of each rep that are there before the load


class Seen:
    """What the clients of a load saw, by its ledger (load.py)."""

    def __init__(self, entries):
        entries = [e for e in entries if "at" in e and "error" not in e]
        self.at = sorted(e["at"] for e in entries)
        self.bothered = [e for e in entries if e["failed"] and e["tries"]]

    def during(self, spans):
        """Of each of these (began, ended), one after the other: the longest time without an acknowledged command; how
        many there were; and how many tries came to nothing, by why. A command counts where it was bothered first."""
        failed = [collections.Counter() for _ in spans]
        for entry in self.bothered:
            met = next((at for at, (began, ended) in enumerate(spans) if began <= entry["at"] and
                        entry["began"] <= ended), None)
            if met is not None:
                failed[met].update(entry["failed"])
        return [(*self.acknowledged(*span), why) for span, why in zip(spans, failed)]

    def acknowledged(self, began, ended):
        low, high = bisect.bisect_left(self.at, began), bisect.bisect_right(self.at, ended)
        at = self.at[max(0, low - 1):high + 1]
        return max((b - a for a, b in zip(at, at[1:])), default=ended - began), high - low

    @staticmethod
    def unknown(failed):
        """Of those, how many left it open what became of the command; the others were refused."""
        return sum(n for why, n in failed.items() if why.startswith(("no answer", "DEADLINE_EXCEEDED")))


class UnderLoad:
    """run: what the tokens of this load begin with; rate: commands a second that are offered, by so many
    processes of so many threads for each company; soon: seconds within which the short deadlines lie;
    web: some of the commands come over HTTP."""

    def __init__(self, folder, run, seed, rate, soon, companies=1, processes=2, threads=48, web=False, repeats=0,
                 stack=None):
        self.folder, self.run, self.seed = pathlib.Path(folder), run, seed
        self.rng = random.Random(seed)
        self.rate, self.soon, self.repeats = rate, soon, repeats
        self.count, self.processes, self.threads, self.web = companies, processes, threads, web
        self.stack = stack or Stack(self.folder / "stack")
        self.ledger = self.folder / "ledger"
        self.ledger.mkdir(parents=True)
        self.load, self.loaded_s = [], 0.0

    # --- up, load, down ---------------------------------------------------------------------------

    def up(self):
        self.stack.up()
        self.make_companies()

    def make_companies(self):
        self.companies = [Company(self.stack) for _ in range(self.count)]
        for company in self.companies:
            shops = {who: [company.customer(who, potentialRating=10 * n) for n in range(SHOPS)] for who in REPS}
            company.contacts = {shop.id: company.contact(shop, who).id for who in shops for shop in shops[who]}
            company.shops = {who: [shop.id for shop in shops[who]] for who in shops}
            company.api_keys = {who: new_key(company, employeeId=company.ids[who]).api_key
                                for who in (*REPS, "supervisor")} if self.web else {}
        self.company = self.companies[0]
        self.probe_client = self.stack.client(principal=self.company.system.principal)
        self.probe_key = new_key(self.company, scopes=["events.read"]).api_key

    def addresses(self):
        """Where the load finds the stack."""
        return {"endpoint": self.stack.env["DAYBOOK_BUS_ENDPOINT"],
                "gateway": self.stack.env_of("gateway")["DAYBOOK_HTTP_LISTEN"] if self.web else None}

    def identity(self, company, who):
        keys = company.keys[who]
        return {"public": keys.public.decode(), "secret": keys.secret.decode(),
                "api_key": company.api_keys.get(who), "customers": company.shops.get(who, [])}

    def load_settings(self, first=0):
        """Of the workers from the first-th on (load.py), all of one company."""
        company = self.companies[first // self.threads]
        return {**self.addresses(), "ledger": str(self.ledger), "server_key": self.stack.env["DAYBOOK_BUS_SERVER_KEY"],
                "seed": self.seed, "rate": self.rate, "run": self.run, "soon": self.soon,
                "threads": self.threads * self.count, "own": self.threads // self.processes, "repeats": self.repeats,
                "first": first, "boss": self.identity(company, "supervisor"), "contacts": company.contacts,
                "reps": [self.identity(company, who) for who in REPS]}

    def start_load(self):
        for first in range(0, self.threads * self.count, self.threads // self.processes):
            process = subprocess.Popen([sys.executable, str(pathlib.Path(__file__).with_name("load.py"))],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.load.append(process)
            process.stdin.write(json.dumps(self.load_settings(first)) + "\n")
            process.stdin.flush()
        for process in self.load:
            assert process.stdout.readline() == "ready\n", "the load did not start"
        self.load_began = time.monotonic()

    def stop_load(self):
        """All clients finish what they have begun."""
        for process in self.load:
            process.stdin.close()
        self.loaded_s = time.monotonic() - self.load_began
        for process in self.load:
            assert process.wait(timeout=240) == 0, "a load process failed"
        self.load = []

    def remove(self):
        for process in self.load:
            process.kill()
            process.wait()
        self.stack.remove()

    def entries(self):
        for file in sorted(self.ledger.glob("*.jsonl")):
            with open(file, encoding="utf-8") as lines:
                yield from map(json.loads, lines)

    def acknowledged(self):
        return sum(f.read_bytes().count(b"\n") for f in self.ledger.glob("*.jsonl"))

    def rate_reached(self):
        return self.acknowledged() / self.loaded_s

    def judge(self, **options):
        return Judge(self.stack, f"{self.run}-", self.entries(), self.companies, **options)

    # --- does it work? ----------------------------------------------------------------------------

    def at_random(self, low=0.2, high=1.2):
        """Lets the load go on for a random while."""
        before, until = self.acknowledged(), time.monotonic() + self.rng.uniform(low, high)
        while time.monotonic() < until or self.acknowledged() == before:
            assert time.monotonic() < until + 60 * SLACK, "no command is acknowledged any more"
            time.sleep(0.01)

    def gateway_works(self, name="gateway"):
        caller = Caller(Door(self.stack.env_of(name)["DAYBOOK_HTTP_LISTEN"]), self.probe_key)
        try:
            return caller.post(*PROBES["bus"], Connect_Timeout_Ms="500").status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            caller.connection.close()

    def works(self, name, client=None):
        if name == "gateway":
            return self.gateway_works()
        method, request = PROBES[name]
        try:
            (client or self.probe_client).call(method, request, timeout=0.5)
            return True
        except mdp.NoAnswer:
            return False
        except mdp.CallError as error:
            assert error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"), error
            return False

    # --- afterwards -------------------------------------------------------------------------------

    def settle(self):
        """All events taken, and every timer that the load has armed within seconds fired."""
        self.stack.settle(120 * SLACK)
        wait_until(lambda: not self.overdue_timers(), 60 * SLACK, "every timer that is due fired")
        wait_until(lambda: not self.soon_due(), 120, "the last short deadlines passed")
        self.stack.settle(60 * SLACK)

    def overdue_timers(self):
        """Timers that should have fired: none may stay; half a second is for the look back."""
        return self.stack.value("select count(*) from reminders.timer"
                                " where due_us < extract(epoch from clock_timestamp()) * 1000000 - 1500000")

    def soon_due(self):
        return self.stack.value("select count(*) from reminders.timer where due_us <"
                                f" (extract(epoch from clock_timestamp()) + {self.soon + 5}) * 1000000")
