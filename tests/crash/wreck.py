"""A stack under load whose processes are killed, and what must be true of it afterwards.

Used by test_crash.py, which says in what order things happen.
"""

import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

ACCEPTANCE = pathlib.Path(__file__).resolve().parents[1] / "acceptance"
sys.path.insert(0, str(ACCEPTANCE))
import contract  # noqa: E402

contract.load()
import mdp  # noqa: E402
from company import CUSTOMERS, DIRECTORY, REMINDERS, SCORING, Company  # noqa: E402
from stack import DAEMONS, SLACK, Stack, wait_until  # noqa: E402
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
# Seconds until it must work again after the process was started (operations 9).
RECOVERY = {"bus": 3, "postgres": 5, "power": 5}
RECOVERY_DAEMON = 2
CACHE = 1  # where a list came from
LIST_MAX = 1000  # lines of a daily list
# Tables that a rebuild makes anew, by daemon.
READ_MODELS = {
    "customers": ("customers.customer_tier", "customers.foreign_event"),
    "visits": ("visits.customer", "visits.contact"),
    "scoring": ("scoring.customer", "scoring.order_fact", "scoring.score", "scoring.tier_change",
                "scoring.policy"),
    "reminders": ("reminders.customer_ref", "reminders.former_owner", "reminders.visit_ref"),
}


class Wreck:
    def __init__(self, folder, seed, rate=500, soon=10, processes=2, threads=48):
        self.folder, self.seed = pathlib.Path(folder), seed
        self.soon = soon  # seconds within which the short deadlines of the load lie
        self.rng = random.Random(seed)
        self.rate, self.processes, self.threads = rate, processes, threads
        self.stack = Stack(self.folder / "stack")
        self.ledger = self.folder / "ledger"
        self.ledger.mkdir(parents=True)
        self.load, self.faults = [], []
        self.loaded_s = 0.0

    # --- up, load, down ---------------------------------------------------------------------------

    def up(self):
        self.stack.up()
        self.company = Company(self.stack)
        shops = {who: [self.company.customer(who, potentialRating=10 * n) for n in range(10)]
                 for who in ("rep", "rep2", "rep3")}
        self.contacts = {shop.id: self.company.contact(shop, who).id for who in shops for shop in shops[who]}
        self.shops = {who: [shop.id for shop in shops[who]] for who in shops}
        self.probe_client = self.stack.client(principal=self.company.system.principal)
        self.api_key = new_key(self.company, scopes=["events.read"]).api_key

    def start_load(self):
        def identity(who):
            keys = self.company.keys[who]
            return {"public": keys.public.decode(), "secret": keys.secret.decode()}
        settings = {
            "endpoint": self.stack.env["DAYBOOK_BUS_ENDPOINT"], "ledger": str(self.ledger),
            "server_key": self.stack.env["DAYBOOK_BUS_SERVER_KEY"], "seed": self.seed, "rate": self.rate,
            "run": f"crash{self.seed}", "soon": self.soon, "boss": identity("supervisor"), "threads": self.threads,
            "contacts": self.contacts,
            "reps": [{**identity(who), "customers": shops} for who, shops in self.shops.items()]}
        each = self.threads // self.processes
        for n in range(self.processes):
            process = subprocess.Popen([sys.executable, str(pathlib.Path(__file__).with_name("load.py"))],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process.stdin.write(json.dumps({**settings, "first": n * each, "own": each}) + "\n")
            process.stdin.flush()
            self.load.append(process)
        for process in self.load:
            assert process.stdout.readline() == "ready\n", "the load did not start"
        self.load_began = time.monotonic()

    def stop_load(self):
        """All clients finish what they have begun: afterwards nothing is in doubt."""
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
        if os.environ.get("CRASH_KEEP_LOGS"):
            shutil.copytree(self.stack.folder / "log", os.environ["CRASH_KEEP_LOGS"], dirs_exist_ok=True)
        self.stack.remove()

    def entries(self):
        for file in sorted(self.ledger.glob("*.jsonl")):
            with open(file, encoding="utf-8") as lines:
                yield from map(json.loads, lines)

    def acknowledged(self):
        return sum(f.read_bytes().count(b"\n") for f in self.ledger.glob("*.jsonl"))

    # --- faults -----------------------------------------------------------------------------------

    def at_random(self, low=0.2, high=1.2):
        """Lets the load go on for a random while."""
        before, until = self.acknowledged(), time.monotonic() + self.rng.uniform(low, high)
        while time.monotonic() < until or self.acknowledged() == before:
            assert time.monotonic() < until + 60 * SLACK, "no command is acknowledged any more"
            time.sleep(0.01)

    def gateway_works(self):
        caller = Caller(self.stack, self.api_key)
        try:
            return caller.post("daybook.bus.v1.EventService/GetHead", {}, Connect_Timeout_Ms="500").status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            caller.connection.close()

    def works(self, name):
        if name == "gateway":
            return self.gateway_works()
        method, request = PROBES[name]
        try:
            self.probe_client.call(method, request, timeout=0.5)
            return True
        except mdp.NoAnswer:
            return False
        except mdp.CallError as error:
            assert error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"), error
            return False

    def recovered(self, fault, names, limit):
        started = time.monotonic()
        wait_until(lambda: all(map(self.works, names)), limit * SLACK + 1, f"{fault}: {names} worked again")
        self.faults.append((fault, time.monotonic() - started))
        return time.monotonic() - started

    def kill_daemon(self, name):
        """F01 to F04, F06: kill -9 at a random moment, start again a little later."""
        self.at_random()
        self.stack.kill(name)
        time.sleep(self.rng.uniform(0, 0.3))  # part of the fault: how long it is away
        self.stack.start(name)
        return self.recovered(f"kill {name}", [name], RECOVERY.get(name, RECOVERY_DAEMON))

    def cut_power(self):
        """F07: all daemons at once, and PostgreSQL and Redis too."""
        self.at_random()
        self.stack.cut_power()
        self.stack.restore_power(self.rng.sample(DAEMONS, len(DAEMONS)))  # in any order (F10)
        return self.recovered("power cut", [*PROBES, "gateway"], RECOVERY["power"])

    def restart_postgres(self, how):
        """F11: fast, immediate, or kill -9."""
        self.at_random()
        pids = {name: self.stack.pid(name) for name in DAEMONS}
        self.stack.kill("postgres", {"fast": signal.SIGINT, "immediate": signal.SIGQUIT,
                                     "kill": signal.SIGKILL}[how])
        self.stack.start("postgres")
        took = self.recovered(f"postgres {how}", list(PROBES), RECOVERY["postgres"])
        assert {name: self.stack.pid(name) for name in DAEMONS} == pids, "a daemon ended because of it"
        return took

    def kill_redis(self):
        """F27: lists come from PostgreSQL meanwhile."""
        self.at_random()
        self.stack.kill("redis")
        try:
            sources = {who: self.company.tasks(who).source for who in self.shops}
        finally:
            self.stack.start("redis")
        assert CACHE not in sources.values(), "a list came from Redis while that was away"

    def flush_redis(self):
        self.at_random()
        self.stack.redis("flushall")
        for who in self.shops:
            self.company.tasks(who)

    def summary(self):
        times = collections.defaultdict(list)
        for fault, took in self.faults:
            times[fault].append(took)
        lines = [f"seed {self.seed}: {self.acknowledged()} commands acknowledged in {self.loaded_s:.0f} s under "
                 f"faults, {self.rate_reached():.0f} a second",
                 f"{'fault':24} {'times':>5}  working again after: median, worst"]
        lines += [f"{fault:24} {len(took):5}  {sorted(took)[len(took) // 2]:6.2f} s {max(took):6.2f} s"
                  for fault, took in sorted(times.items())]
        return "\n".join(lines)

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

    def check_nothing_missing_nothing_twice(self):
        by_kind = collections.defaultdict(list)
        for entry in self.entries():
            by_kind[entry["kind"]].append(entry)
        assert not by_kind["refused"], by_kind["refused"][:5]
        run = f"crash{self.seed}-"
        rows = {
            "talk": f"select content as token, id from customers.interaction where content like '{run}%'",
            "order": "select amount_minor::text as token, id from customers.sales_order",
            "payment": "select amount_minor::text as token, id from customers.payment",
            "promise": f"select text as token, id from visits.commitment where text like '{run}%'",
        }
        for kind, query in rows.items():
            self.compare(kind, by_kind[kind], self.stack.sql(query))
        visits = [e for e in by_kind["visit"] if e["step"] == "requested"]
        self.compare("visit", visits, self.stack.sql(
            f"select goal as token, id from visits.visit where goal like '{run}%'"))
        self.check_answers(by_kind["answer"])
        self.check_visit_states(by_kind["visit"])
        self.check_kept(by_kind["keep"])
        return {kind: len(entries) for kind, entries in by_kind.items()}

    @staticmethod
    def compare(kind, entries, rows):
        """Each acknowledged command has one row, the one that the answer named, and no row has another
        origin: every command was repeated until it was acknowledged."""
        found = collections.defaultdict(list)
        for row in rows:
            found[row["token"]].append(row["id"])
        for entry in entries:
            token = str(entry.get("amount", entry["token"]))
            assert token in found, f"{kind}: acknowledged, but missing: {entry}"
            assert found[token] == [entry["id"]], f"{kind}: not once: {entry}, {found[token]}"
            del found[token]
        assert not found, f"{kind}: rows that nobody was told of: {list(found.items())[:5]}"
        assert entries, f"the load made no {kind}"

    def check_answers(self, entries):
        state = {r["id"]: r["state"] for r in self.stack.sql("select id, state from customers.question")}
        answered = {e["id"] for e in entries}
        assert answered == {i for i, s in state.items() if s == "answered"}
        events = self.stack.sql("select aggregate, count(*) as n from bus.log where type ="
                                f" '{CUSTOMERS}QuestionAnswered' group by 1")
        assert {e["aggregate"]: e["n"] for e in events} == {f"questions/{i}": 1 for i in answered}

    def check_visit_states(self, entries):
        last = {e["id"]: e["step"] for e in entries}
        state = {r["id"]: r["state"] for r in self.stack.sql("select id, state from visits.visit")}
        wrong = {i: (state.get(i), s) for i, s in last.items() if state.get(i) != s}
        assert not wrong, f"visits: found, acknowledged: {list(wrong.items())[:5]}"
        types = {"requested": "VisitRequested", "approved": "VisitApproved", "checked_in": "VisitCheckedIn",
                 "ended": "VisitEnded", "reported": "VisitReported", "closed": "VisitReportReviewed"}
        told = collections.Counter((f"visits/{e['id']}", f"daybook.visits.v1.{types[e['step']]}")
                                   for e in entries)
        logged = {(e["aggregate"], e["type"]): e["n"] for e in self.stack.sql(
            "select aggregate, type, count(*) as n from bus.log where aggregate like 'visits/%' group by 1, 2")}
        assert logged == dict(told), "each step is one event"

    def check_kept(self, entries):
        kept = {r["id"] for r in self.stack.sql("select id from visits.commitment where state like 'fulfilled%'")}
        assert kept == {e["id"] for e in entries}

    def check_log(self):
        """seq contiguous from 1, prev_seq the tenant's last, versions rising, outbox empty."""
        s = self.stack
        assert s.value("select count(*) from bus.outbox") == 0
        n = s.sql("select count(*) as n, min(seq) as low, max(seq) as high, (select last_seq from bus.head)"
                  " as head from bus.log")[0]
        assert n["low"] == 1 and n["high"] == n["n"] == n["head"], n
        assert not s.sql("select seq from (select seq, prev_seq, lag(seq, 1, 0::bigint) over (partition by"
                         " tenant_id order by seq) as expected from bus.log) q where prev_seq <> expected limit 5")
        assert not s.sql("select aggregate, seq from (select aggregate, seq, aggregate_version as v, lag("
                         "aggregate_version) over (partition by aggregate order by seq) as before from bus.log)"
                         " q where before >= v limit 5"), "aggregate_version rises with seq"
        assert not s.sql("select event_id from bus.log group by 1 having count(*) > 1 limit 5")
        return n["n"]

    def check_events_complete(self):
        """Rows and events tell the same: neither is there without the other."""
        for table, type_, aggregate in (
                ("customers.interaction", "InteractionRecorded", "interactions"),
                ("customers.question", "QuestionOpened", "questions"),
                ("customers.sales_order", "OrderRecorded", "orders"),
                ("customers.payment", "PaymentRecorded", "payments"),
                ("customers.customer", "CustomerCreated", "customers")):
            self.same_ids(f"select '{aggregate}/' || id as a from {table}", f"{CUSTOMERS}{type_}")
        self.same_ids("select 'commitments/' || id as a from visits.commitment", "daybook.visits.v1.CommitmentMade")

    def same_ids(self, rows, type_):
        differing = self.stack.sql(f"with r as ({rows}), e as (select aggregate as a from bus.log where type ="
                                   f" '{type_}') (select a, 'no event' as what from r except all select a, 'no"
                                   " event' from e) union all (select a, 'no row' from e except all select a,"
                                   " 'no row' from r) limit 5")
        assert not differing, f"{type_}: {differing}"

    def check_timers(self):
        """Each obligation past its due time was told of it once; none twice, none never."""
        s = self.stack
        doubled = s.sql("select obligation_id, step, recipient_id, channel, count(*) as n from"
                        " reminders.notification group by 1, 2, 3, 4 having count(*) > 1 limit 5")
        assert not doubled, doubled
        assert not s.sql("select * from reminders.timer_parked limit 5")
        never = s.sql(
            "select o.id, o.rule, o.state, o.due_at from reminders.obligation o where o.closed_at is null and"
            " o.due_at < clock_timestamp() - interval '2 s' and (o.state <> 'overdue' or not exists (select from"
            " reminders.notification n where n.tenant_id = o.tenant_id and n.obligation_id = o.id and n.recipient_id"
            " = o.assignee_id and n.channel = 'in_app' and n.step_kind = 'due')) limit 5")
        assert not never, f"due, but nobody was told: {never}"
        # One ReminderFired for each step of an obligation that is in the ledger, and none besides.
        fired = mdp.message_class(REMINDERS + "ReminderFired")
        seen = collections.Counter()
        for row in s.sql("select aggregate, encode(payload, 'hex') as p from bus.log where type ="
                         f" '{REMINDERS}ReminderFired'"):
            event = fired.FromString(bytes.fromhex(row["p"]))
            seen[row["aggregate"], event.step] += 1
        assert all(n == 1 for n in seen.values()), [k for k, n in seen.items() if n > 1][:5]
        ledger = {(f"reminders/{r['obligation_id']}", r["step"]) for r in s.sql(
            "select distinct obligation_id, step from reminders.notification where state <> 'skipped'")}
        assert ledger == set(seen)
        opened = s.value("select count(*) from reminders.obligation where rule in ('TMR-01', 'TMR-42', 'TMR-43')")
        should = s.value("select (select count(*) from customers.question) + (select count(*) from visits.commitment)")
        # What was closed before it was opened leaves a tombstone instead.
        buried = s.value("select count(*) from reminders.tombstone t where not exists (select from"
                         " reminders.obligation o where o.id = t.obligation_id)")
        assert opened <= should <= opened + buried
        return len(seen)

    def check_lists(self):
        """What the cache shows is what PostgreSQL says."""
        for who in (*self.shops, "supervisor"):
            wait_until(lambda: self.company.tasks(who).source == 1, 10 * SLACK, f"{who}'s list was cached")
            cached = self.company.tasks(who)
            assert cached.source == 1
            self.stack.redis("flushall")
            fresh = self.company.tasks(who)
            assert fresh.source == 2
            assert list(cached.list.tasks) == list(fresh.list.tasks), who
            shown = {t.subject for t in fresh.list.tasks if t.kind == 1 and not t.done}
            owed = {r["subject"] for r in self.stack.sql(
                "select subject from reminders.obligation where closed_at is null and assignee_id ="
                f" '{self.company.ids[who]}' and (due_at at time zone 'Asia/Shanghai')::date <="
                " (clock_timestamp() at time zone 'Asia/Shanghai')::date")}
            room = LIST_MAX - (len(fresh.list.tasks) - len(shown))
            assert shown <= owed, (who, list(shown - owed)[:5])
            assert len(shown) == min(len(owed), room), (who, list(owed - shown)[:5])

    def dump(self, tables):
        return {t: self.stack.psql(f"select t::text from {t} t order by 1") for t in tables}

    def check_rebuilds(self):
        """`daybook rebuild` gives the same read models as the live ones."""
        rows = 0
        for daemon, tables in READ_MODELS.items():
            live = self.dump(tables)
            done = self.stack.daybook("rebuild", daemon)
            assert done.returncode == 0, done.stderr
            self.stack.settle(120 * SLACK)
            rebuilt = self.dump(tables)
            for table in tables:
                assert live[table] == rebuilt[table], f"{table} differs after a rebuild: " + difference(
                    live[table], rebuilt[table])
                rows += live[table].count("\n")
        return rows

    def check_consumers(self, set_aside=False):
        """Nothing parked, nor (unless that is allowed) ever set aside; no cursor behind."""
        which = "state <> 'done'" if set_aside else "true"
        for schema in READ_MODELS:
            assert not self.stack.sql(f"select * from {schema}.parked_event where {which} limit 3")
            behind = self.stack.value(f"select min(seq) from {schema}.consumer_cursor")
            assert behind == self.stack.value("select last_seq from bus.head"), schema

    def rate_reached(self):
        return self.acknowledged() / self.loaded_s


def difference(a, b):
    a, b = set(a.splitlines()), set(b.splitlines())
    return f"only live {list(a - b)[:2]}, only rebuilt {list(b - a)[:2]}"
