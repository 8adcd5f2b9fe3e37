"""Is the judge able to find anything? After a run that was good, a copy of its database is damaged in one way
after the other, and the judge must see each; what only a living stack can tell is damaged there.
"""

import json

from local_stack import Failed

COPY = "daybook_tampered"

# What is done to the copy; which check of the judge must fail then.
ROWS = "check_nothing_missing_nothing_twice"
DAMAGE = {
    "an order is missing": (ROWS, "delete from customers.sales_order where id = (select min(id::text)::uuid from"
                                  " customers.sales_order)"),
    "an order is there twice": (ROWS, "create temp table t as select * from customers.sales_order limit 1;"
                                      "update t set id = gen_random_uuid();"
                                      "insert into customers.sales_order select * from t"),
    "a visit went back": (ROWS, "update visits.visit set state = 'requested' where id = (select min(id::text)::uuid"
                                " from visits.visit where state <> 'requested')"),
    "an answer is forgotten": (ROWS, "update customers.question set state = 'open' where id = (select"
                                     " min(id::text)::uuid from customers.question where state = 'answered')"),
    "an address is an older one": (ROWS, "update customers.customer set address = 'old' where address <> ''"),
    "an event has no row": ("check_events_complete", "delete from visits.commitment where id = (select"
                                                     " min(id::text)::uuid from visits.commitment)"),
    "the log has a hole": ("check_log", "delete from bus.log where seq = (select max(seq) / 2 from bus.log)"),
    "the end of the log is cut off": ("check_log", "delete from bus.log where seq = (select max(seq) from bus.log)"),
    "an event is in the log twice": ("check_log", "drop index bus.log_event_id; create temp table t as select * from"
                                                  " bus.log order by seq desc limit 1; update t set seq = seq + 1,"
                                                  " prev_seq = seq; insert into bus.log select * from t; update"
                                                  " bus.head set last_seq = last_seq + 1"),
    "an aggregate goes back": ("check_log", "update bus.log set aggregate_version = 0 where seq = (select max(seq)"
                                            " from bus.log where aggregate_version > 1)"),
    "an event was not sequenced": ("check_log", "insert into bus.outbox (event_id, tenant_id, type, aggregate,"
                                                " aggregate_version, occurred_at, payload) select gen_random_uuid(),"
                                                " tenant_id, type, aggregate, 9, occurred_at, payload from bus.log"
                                                " limit 1"),
    "a consumer is behind": ("check_consumers", "update scoring.consumer_cursor set seq = seq - 1"),
    "a timer did not fire": ("check_timers", "delete from reminders.notification where step_kind = 'due'"),
    "a timer fired twice": ("check_timers", "create temp table t as select * from bus.log where type like"
                                            " '%.ReminderFired' limit 1; update t set event_id = gen_random_uuid(),"
                                            " seq = (select max(seq) + 1 from bus.log), prev_seq = 0;"
                                            "insert into bus.log select * from t"),
}


def in_copy(chaos):
    """Each damage in a transaction of its own that is rolled back, together with the question."""
    chaos.stack.psql("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'daybook'",
                     database="postgres")  # those of half-open connections, that were never told
    chaos.stack.psql(f"create database {COPY} template daybook", database="postgres")
    for name, (check, damage) in DAMAGE.items():
        def sql(query, damage=damage):
            text = chaos.stack.psql(f"begin; {damage}; select coalesce(json_agg(q), '[]') from ({query}) q; rollback;",
                                    database=COPY)
            return json.loads(text)
        judge = chaos.judge(sql=sql)
        yield name, getattr(judge, check)


def alive(chaos):
    """What needs the daemons."""
    def audit():
        chaos.stack.psql("update directory.audit_entry set method = 'x' where number = 2")
        chaos.check_audit()

    def rebuild():
        chaos.stack.psql("update scoring.customer set owner_id = gen_random_uuid() where ctid in"
                         " (select ctid from scoring.customer limit 1)")
        chaos.judge().check_rebuilds()

    posts = [(i, f"a{n % 2}") for n, i in enumerate("abcdef")]
    return {"an audit entry was changed": audit, "a read model differs": rebuild,
            "a notice did not come": lambda: chaos.compare_posts(posts, posts[:-1]),
            "notices about one thing change places": lambda: chaos.compare_posts(posts, [*posts[2:], *posts[:2]]),
            "a daemon ended": lambda: chaos.check_pids(dict.fromkeys(chaos.stack.daemons, 1), {"fault": "none"}) or
            chaos.check_broken()}


def all(chaos, say):
    """[{name, found}]"""
    told = []

    def must_fail(name, look):
        try:
            look()
            found = ""
        except Failed:
            raise  # of the tools, not of the judge
        except AssertionError as failure:
            found = str(failure) or "yes"
        told.append({"name": name, "found": bool(found), "as": found[:300]})
        say(f"{'found' if found else 'NOT FOUND':9} {name}")
    for name, look in alive(chaos).items():
        must_fail(name, look)
    for name in reversed(chaos.stack.pids()):
        if name not in ("postgres", "redis"):
            chaos.stack.kill(name)
    for name, look in in_copy(chaos):
        must_fail(name, look)
    return told
