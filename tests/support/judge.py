"""What must be true of a stack after a load with a ledger (load.py), whatever was done to it meanwhile.

Used by the crash and the chaos tests, when the load has ended and everything has come to rest. Each
check_* fails with what is wrong, and gives how much it has looked at.
"""

import collections

import mdp
from company import CUSTOMERS, REMINDERS
from stack import SLACK, wait_until

LIST_MAX = 1000  # lines of a daily list
CACHE, DATABASE = 1, 2  # ListSource
REBUILD = 3600  # seconds that one may take: after an hour of load the log has half a million events
# Tables that a rebuild makes anew, by daemon.
READ_MODELS = {
    "customers": ("customers.customer_tier", "customers.foreign_event"),
    "visits": ("visits.customer", "visits.contact"),
    "scoring": ("scoring.customer", "scoring.order_fact", "scoring.score", "scoring.tier_change",
                "scoring.policy"),
    "reminders": ("reminders.customer_ref", "reminders.former_owner", "reminders.visit_ref"),
}


class Judge:
    def __init__(self, stack, run, entries, companies=(), sql=None):
        """run: what all tokens of the load begin with; entries: the ledger; companies: whose daily lists are
        looked at; sql: asks another database than the stack's own."""
        self.stack, self.run, self.companies = stack, run, companies
        self.sql = sql or stack.sql
        self.ledger = collections.defaultdict(list)
        for entry in entries:
            self.ledger[entry["kind"]].append(entry)
        unknown = self.ledger["unknown"]
        self.in_doubt = {t for e in unknown for t in (e["token"], *e["also"])}

    def value(self, query):
        return next(iter(self.sql(query)[0].values()))

    def check_nothing_missing_nothing_twice(self):
        for wrong in ("refused", "differs"):
            assert not self.ledger[wrong], f"{wrong}: {self.ledger[wrong][:5]}"
        rows = {
            "talk": f"select content as token, id from customers.interaction where content like '{self.run}%'",
            "customer": f"select name as token, id from customers.customer where name like '{self.run}%'",
            "order": "select amount_minor::text as token, id from customers.sales_order",
            "payment": "select amount_minor::text as token, id from customers.payment",
            "promise": f"select text as token, id from visits.commitment where text like '{self.run}%'",
        }
        for kind, query in rows.items():
            self.compare(kind, self.ledger[kind], self.sql(query))
        visits = [e for e in self.ledger["visit"] if e["step"] == "requested"]
        self.compare("visit", visits, self.sql(
            f"select goal as token, id from visits.visit where goal like '{self.run}%'"))
        self.check_answers(self.ledger["answer"])
        self.check_visit_states(self.ledger["visit"])
        self.check_kept(self.ledger["keep"])
        self.check_moves(self.ledger["move"])
        return sum(map(len, self.ledger.values()))

    def compare(self, kind, entries, rows):
        """Each acknowledged command has one row, the one that the answer named, and no row has another
        origin: every command was repeated until it was acknowledged, or is in doubt."""
        found = collections.defaultdict(list)
        for row in rows:
            found[row["token"]].append(row["id"])
        for entry in entries:
            assert entry["token"] in found, f"{kind}: acknowledged, but missing: {entry}"
            assert found[entry["token"]] == [entry["id"]], f"{kind}: not once: {entry}, {found[entry['token']]}"
            del found[entry["token"]]
        found = {token: ids for token, ids in found.items() if token not in self.in_doubt or len(ids) > 1}
        assert not found, f"{kind}: rows that nobody was told of: {list(found.items())[:5]}"
        assert entries, f"the load made no {kind}"

    def same(self, what, told, found):
        """Ids with how often; of what is in doubt, once or never."""
        missing = {i: n for i, n in told.items() if found.get(i, 0) < n}
        assert not missing, f"{what}: acknowledged, but missing: {list(missing.items())[:5]}"
        more = {i: n for i, n in found.items() if n > told.get(i, 0) + (i in self.in_doubt)}
        assert not more, f"{what}: nobody was told of it: {list(more.items())[:5]}"

    def events(self, type_):
        """How often each aggregate had it, by id."""
        return {e["aggregate"].partition("/")[2]: e["n"] for e in self.sql(
            f"select aggregate, count(*) as n from bus.log where type = '{type_}' group by 1")}

    def check_answers(self, entries):
        answered = {r["id"]: 1 for r in self.sql("select id from customers.question where state = 'answered'")}
        self.same("answers", {e["id"]: 1 for e in entries}, answered)
        assert self.events(CUSTOMERS + "QuestionAnswered") == answered, "each answer is one event"

    def check_visit_states(self, entries):
        doubtful = self.doubtful_visits()
        entries = [e for e in entries if e["id"] not in doubtful]
        last = {e["id"]: e["step"] for e in entries}
        state = {r["id"]: r["state"] for r in self.sql("select id, state from visits.visit")}
        wrong = {i: (state.get(i), s) for i, s in last.items() if state.get(i) != s}
        assert not wrong, f"visits: found, acknowledged: {list(wrong.items())[:5]}"
        types = {"requested": "VisitRequested", "approved": "VisitApproved", "checked_in": "VisitCheckedIn",
                 "ended": "VisitEnded", "reported": "VisitReported", "closed": "VisitReportReviewed"}
        told = collections.Counter((e["id"], f"daybook.visits.v1.{types[e['step']]}") for e in entries)
        logged = {(e["id"], e["type"]): e["n"] for e in self.sql(
            "select split_part(aggregate, '/', 2) as id, type, count(*) as n from bus.log where aggregate like"
            " 'visits/%' group by 1, 2") if e["id"] not in doubtful}
        differing = set(logged.items()) ^ set(told.items())
        assert not differing, f"each step is one event: {list(differing)[:5]}"

    def doubtful_visits(self):
        return {r["id"] for r in self.sql("select id, goal from visits.visit") if r["goal"] in self.in_doubt}

    def check_kept(self, entries):
        kept = {r["id"]: 1 for r in self.sql("select id from visits.commitment where state like 'fulfilled%'")}
        self.same("promises that were kept", {e["id"]: 1 for e in entries}, kept)

    def check_moves(self, entries):
        """The last address, and an event each time."""
        told = collections.Counter(e["id"] for e in entries)
        self.same("moves", told, self.events(CUSTOMERS + "CustomerUpdated"))
        last = {e["id"]: e["address"] for e in entries if e["id"] not in self.in_doubt}
        found = {r["id"]: r["address"] for r in self.sql("select id, address from customers.customer")}
        wrong = {i: (found.get(i), a) for i, a in last.items() if found.get(i) != a}
        assert not wrong, f"addresses: found, acknowledged: {list(wrong.items())[:5]}"

    def check_log(self):
        """seq contiguous from 1, prev_seq the tenant's last, versions rising, outbox empty."""
        assert self.value("select count(*) from bus.outbox") == 0
        n = self.sql("select count(*) as n, min(seq) as low, max(seq) as high, (select last_seq from bus.head)"
                     " as head from bus.log")[0]
        assert n["low"] == 1 and n["high"] == n["n"] == n["head"], n
        assert not self.sql("select seq from (select seq, prev_seq, lag(seq, 1, 0::bigint) over (partition by"
                            " tenant_id order by seq) as expected from bus.log) q where prev_seq <> expected limit 5")
        assert not self.sql("select aggregate, seq from (select aggregate, seq, aggregate_version as v, lag("
                            "aggregate_version) over (partition by tenant_id, aggregate order by seq) as before from bus.log)"
                            " q where before >= v limit 5"), "aggregate_version rises with seq"
        assert not self.sql("select event_id from bus.log group by 1 having count(*) > 1 limit 5")
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
        differing = self.sql(f"with r as ({rows}), e as (select aggregate as a from bus.log where type ="
                             f" '{type_}') (select a, 'no event' as what from r except all select a, 'no"
                             " event' from e) union all (select a, 'no row' from e except all select a,"
                             " 'no row' from r) limit 5")
        assert not differing, f"{type_}: {differing}"

    def check_timers(self):
        """Each obligation past its due time was told of it once; none twice, none never."""
        doubled = self.sql("select obligation_id, step, recipient_id, channel, count(*) as n from"
                           " reminders.notification group by 1, 2, 3, 4 having count(*) > 1 limit 5")
        assert not doubled, doubled
        assert not self.sql("select * from reminders.timer_parked limit 5")
        never = self.sql(
            "select o.id, o.rule, o.state, o.due_at from reminders.obligation o where o.closed_at is null and"
            " o.due_at < clock_timestamp() - interval '2 s' and (o.state <> 'overdue' or not exists (select from"
            " reminders.notification n where n.tenant_id = o.tenant_id and n.obligation_id = o.id and n.recipient_id"
            " = o.assignee_id and n.channel = 'in_app' and n.step_kind = 'due')) limit 5")
        assert not never, f"due, but nobody was told: {never}"
        # One ReminderFired for each step of an obligation that is in the ledger, and none besides.
        fired = mdp.message_class(REMINDERS + "ReminderFired")
        seen = collections.Counter()
        for row in self.sql("select aggregate, encode(payload, 'hex') as p from bus.log where type ="
                            f" '{REMINDERS}ReminderFired'"):
            event = fired.FromString(bytes.fromhex(row["p"]))
            seen[row["aggregate"], event.step] += 1
        assert all(n == 1 for n in seen.values()), [k for k, n in seen.items() if n > 1][:5]
        ledger = {(f"reminders/{r['obligation_id']}", r["step"]) for r in self.sql(
            "select distinct obligation_id, step from reminders.notification where state <> 'skipped'")}
        assert ledger == set(seen)
        opened = self.value("select count(*) from reminders.obligation where rule in ('TMR-01', 'TMR-42', 'TMR-43')")
        should = self.value("select (select count(*) from customers.question) + (select count(*) from visits.commitment)")
        # What was closed before it was opened leaves a tombstone instead.
        buried = self.value("select count(*) from reminders.tombstone t where not exists (select from"
                         " reminders.obligation o where o.id = t.obligation_id)")
        assert opened <= should <= opened + buried
        return len(seen)

    def check_lists(self):
        """What the cache shows is what PostgreSQL says."""
        return sum(self.check_list(company, who) for company in self.companies
                   for who in ("rep", "rep2", "rep3", "supervisor"))

    def check_list(self, company, who):
        def first_from(source):  # on a busy machine a daemon does without Redis now and then
            if source == DATABASE:
                self.stack.redis("flushall")
            answer = company.tasks(who)
            return answer if answer.source == source else None

        cached, fresh = (wait_until(lambda: first_from(source), 10 * SLACK, f"{who}'s list came from {source}")
                         for source in (CACHE, DATABASE))
        assert list(cached.list.tasks) == list(fresh.list.tasks), who
        shown = {t.subject for t in fresh.list.tasks if t.kind == 1 and not t.done}
        owed = {r["subject"] for r in self.sql(
            "select subject from reminders.obligation where closed_at is null and assignee_id ="
            f" '{company.ids[who]}' and (due_at at time zone 'Asia/Shanghai')::date <="
            " (clock_timestamp() at time zone 'Asia/Shanghai')::date")}
        room = LIST_MAX - (len(fresh.list.tasks) - len(shown))
        assert shown <= owed, (who, list(shown - owed)[:5])
        assert len(shown) == min(len(owed), room), (who, list(owed - shown)[:5])
        return len(fresh.list.tasks)

    def dump(self, tables):
        return {t: self.stack.psql(f"select t::text from {t} t order by 1") for t in tables}

    def check_rebuilds(self):
        """`daybook rebuild` gives the same read models as the live ones."""
        rows = 0
        for daemon, tables in READ_MODELS.items():
            live = self.dump(tables)
            done = self.stack.daybook("rebuild", daemon, timeout=REBUILD)
            assert done.returncode == 0, done.stderr
            self.stack.settle(REBUILD)
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
            assert not self.sql(f"select * from {schema}.parked_event where {which} limit 3")
            behind = self.value(f"select min(seq) from {schema}.consumer_cursor")
            assert behind == self.value("select last_seq from bus.head"), schema
        return len(READ_MODELS)


def difference(a, b):
    a, b = set(a.splitlines()), set(b.splitlines())
    return f"only live {list(a - b)[:2]}, only rebuilt {list(b - a)[:2]}"
