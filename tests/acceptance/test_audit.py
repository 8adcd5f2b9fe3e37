"""The audit trail: who, what, when, from where, which fields, and what came of it (SEC-01, SEC-10, F61, F70).
The chain is recomputed here by hashlib, from what ListEntries gives out."""

import contextlib
import hashlib
import itertools
import signal
import uuid

import pytest

import mdp
from company import CUSTOMERS, DIRECTORY, REMINDERS, SCORING, SECONDS, VISITS
from stack import Failed, wait_until
from web import Caller, Gateway, new_key

AUDIT = DIRECTORY + "AuditService/"
ENTRIES, VERIFY = AUDIT + "ListEntries", AUDIT + "Verify"
CREATE, UPDATE, LIST, GET = (CUSTOMERS + "CustomerService/" + m for m in ("Create", "Update", "List", "Get"))
CHANGED, READ, REFUSED = (f"ACCESS_OUTCOME_{o}" for o in ("CHANGED", "READ", "REFUSED"))
ACCESS = DIRECTORY + "AccessRecorded"
WEBHOOKS = "daybook.gateway.v1.WebhookService/"
IMPORTS, EXPORTS = (f"daybook.gateway.v1.{s}/" for s in ("ImportService", "ExportService"))


def entries(company, **filters):
    """All of them, oldest first."""
    found, token = [], ""
    while True:
        page = company.gm.call(ENTRIES, {"pageSize": 500, "pageToken": token, **filters})
        found += page.entries
        token = page.next_page_token
        if not token:
            return found[::-1]


def entry(company, **filters):
    """The only one of that kind, when it has come."""
    wait_until(lambda: entries(company, **filters), SECONDS, f"the trail had {filters}")
    found = entries(company, **filters)
    assert len(found) == 1, found
    return found[0]


def outcome(e):
    return e.DESCRIPTOR.fields_by_name["outcome"].enum_type.values_by_number[e.outcome].name


def refused(company, client, method, request=None, **options):
    """The code, and the entry of this refusal."""
    request_id = str(uuid.uuid4())
    with pytest.raises(mdp.CallError) as error:
        client.call(method, request, requestId=request_id, **options)
    mine = {}

    def written():
        mine["found"] = [e for e in entries(company, outcome=REFUSED) if e.request_id == request_id]
        return mine["found"]
    wait_until(written, SECONDS, f"the trail had the refused {method}")
    assert len(mine["found"]) == 1
    return error.value, mine["found"][0]


def logged(company, until=None):
    """The company's events, as the log has them."""
    more = f" and seq <= {until}" if until else ""
    return company.stack.sql("select seq, event_id, actor_id, request_id, type, aggregate from bus.log "
                             f"where tenant_id = '{company.tenant}'{more} order by seq")


def assert_whole(company):
    """Every event of the log is there once, in order, and the chain is what the entries say."""
    company.stack.settle()
    trail = entries(company)
    want = logged(company, until=trail[-1].seq)
    assert [e.event_id for e in trail] == [row["event_id"] for row in want]
    assert [e.number for e in trail] == list(range(1, len(trail) + 1))
    last = bytes(32)
    for e in trail:
        bare = type(e)()
        bare.CopyFrom(e)
        bare.ClearField("hash")
        last = hashlib.blake2b(last + bare.SerializeToString(deterministic=True), digest_size=32).digest()
        assert e.hash == last, e
    return trail


def test_a_change_has_one_entry_with_who_what_when_and_from_where(company):
    customer = company.rep.command(CREATE, {"customer": {"name": "Audited"}}).customer
    e = entry(company, aggregate=f"customers/{customer.id}")
    assert (e.actor_id, e.type, e.method, outcome(e)) == \
        (company.ids["rep"], CUSTOMERS + "CustomerCreated", CREATE, CHANGED)
    assert e.request_id and e.aggregate_version == 1 and not e.fields
    assert e.occurred_at.ToDatetime() == customer.created_at.ToDatetime()
    assert e.remote_address == "127.0.0.1"


def test_an_update_names_the_fields_and_not_their_values(company):
    customer = company.rep.command(CREATE, {"customer": {"name": "Before"}}).customer
    company.rep.command(UPDATE, {"customer": {"id": customer.id, "name": "After", "etag": customer.etag},
                                 "updateMask": "name"})
    wait_until(lambda: len(entries(company, aggregate=f"customers/{customer.id}")) == 2, SECONDS, "both had come")
    e = entries(company, aggregate=f"customers/{customer.id}")[1]
    assert list(e.fields) == ["name"] and e.method == UPDATE
    assert b"After" not in e.SerializeToString()


def test_over_http_the_key_acts_and_the_address_is_the_clients(company):
    made = new_key(company, scopes=["customers.write", "customers.read", "tenant.all"], label="shop system")
    answer = Caller(company.stack, made.api_key).post(
        CREATE, {"customer": {"name": "By HTTP", "ownerId": company.ids["rep"]}})
    assert answer.status == 200, answer.json
    customer = answer.json["customer"]
    e = entry(company, aggregate=f"customers/{customer['id']}")
    assert (e.actor_id, e.method, e.remote_address) == (made.credential.actor_id, CREATE, "127.0.0.1")


def test_behind_a_proxy_the_address_is_the_clients_and_not_the_proxys(company):
    made = new_key(company, scopes=["customers.read"], label="behind a proxy")
    door = Gateway(company.stack, HTTP_TRUSTED_PROXIES="127.0.0.1")
    try:
        caller = Caller(door, made.api_key)
        wait_until(lambda: caller.post(LIST, {}, X_Forwarded_For="203.0.113.7").status == 200, SECONDS,
                   "the gateway knew the key")
        wait_until(lambda: [e for e in entries(company, outcome=READ, actorId=made.credential.actor_id)
                            if e.remote_address == "203.0.113.7"], SECONDS, "it was written down")
    finally:
        assert door.stop()


def test_what_daemons_do_by_themselves_has_no_actor(company):
    customer = company.customer()
    wait_until(lambda: company.stack.sql(f"select 1 from bus.log where tenant_id = '{company.tenant}' "
                                         "and actor_id is null"), SECONDS, "a daemon did something")
    company.stack.settle()
    own = [e for e in entries(company) if not e.actor_id and not e.request_id]
    assert own and all(not e.method and not e.remote_address for e in own)
    assert customer.id


@pytest.mark.parametrize("method, request_, fields", [
    (LIST, {"pageSize": 5}, []),
    (LIST, {"ownerId": "rep"}, ["owner_id"]),
    (CUSTOMERS + "CustomerService/FindDuplicates", {"name": "Twin"}, ["name"]),
    (VISITS + "VisitService/List", {"pageSize": 3}, []),
    (DIRECTORY + "DirectoryService/ListEmployees", {}, []),
])
def test_a_bulk_read_has_an_entry_with_its_rows(company, method, request_, fields):
    company.rep.command(CREATE, {"customer": {"name": "Twin"}, "allowDuplicate": True})
    request_id = str(uuid.uuid4())
    if "ownerId" in request_:
        request_ = {"ownerId": company.ids["rep"]}
    reply = company.rep.call(method, request_, requestId=request_id)
    company.stack.settle()
    e, = [e for e in entries(company, outcome=READ, method=method) if e.request_id == request_id]
    rows = sum(len(v) for f, v in reply.ListFields() if f.message_type and f.label == f.LABEL_REPEATED)
    assert (e.actor_id, e.rows, list(e.fields), e.type) == (company.ids["rep"], rows, fields, ACCESS)
    assert b"Twin" not in e.SerializeToString()


# --- what was put aside and is tried again ----------------------------------------------------------

PLACES = itertools.count(9_100_000, 1000)  # in the log, far behind its end


def park_events(company, n):
    """Of a kind that nobody reacts to, so that they are through at once."""
    first = next(PLACES)
    company.stack.psql(
        "insert into scoring.parked_event (consumer, seq, tenant_id, type, aggregate, event, attempts, reason, "
        "parked_at, state) select 'scoring', seq, '{0}', 'daybook.test.v1.Nothing', 'things/' || seq, "
        r"convert_to(E'\x12$' || '{0}' || E'\x1a\x17daybook.test.v1.Nothing', 'UTF8'), 5, 'made up', now(), 'parked' "
        "from generate_series({1}, {2}) seq".format(company.tenant, first, first + n - 1))
    return SCORING + "ConsumerService/ReplayParked", {"all": True}, ["all"]


def park_timers(company, n):
    """Of duties that are no more."""
    ids = [str(uuid.uuid4()) for _ in range(n)]
    rows = ", ".join(f"('{company.tenant}', '{i}', 0, 1, 'made up')" for i in ids)
    company.stack.psql("insert into reminders.timer_parked (tenant_id, obligation_id, step, due_us, reason) "
                       f"values {rows}")
    return REMINDERS + "TimerService/Replay", {"reminderIds": ids}, ["reminder_ids"]


def park_deliveries(company, n):
    made = company.gm.command(WEBHOOKS + "CreateEndpoint", {"endpoint": {"url": "http://127.0.0.1:9/"}}).endpoint
    company.gm.command(WEBHOOKS + "PauseEndpoint", {"id": made.id})
    company.stack.psql("insert into gateway.delivery (tenant_id, endpoint_id, event_id, seq, lane, key, state) "
                       f"select '{company.tenant}', '{made.id}', "
                       "(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid, i, i % 16, i, 'parked' "
                       f"from generate_series(1, {n}) i")
    return WEBHOOKS + "Redeliver", {"endpointId": made.id, "parked": True}, ["endpoint_id", "parked"]


PARKED = pytest.mark.parametrize("park", [park_events, park_timers, park_deliveries])


def of_request(company, method, request_id):
    company.stack.settle()
    return [e for e in entries(company, method=method) if e.request_id == request_id]


@PARKED
def test_a_replay_has_an_entry_with_who_and_how_many(company, park):
    """It changes no record whose event would tell."""
    method, request, fields = park(company, 3)
    request_id, again = str(uuid.uuid4()), str(uuid.uuid4())
    company.gm.command(method, request, requestId=request_id)
    e, = of_request(company, method, request_id)
    assert (e.actor_id, outcome(e), e.rows, list(e.fields)) == (company.ids["gm"], CHANGED, 3, fields)
    assert e.remote_address == "127.0.0.1" and not e.aggregate and e.type == ACCESS
    company.gm.command(method, request, requestId=again)
    assert of_request(company, method, again) == [], "there was nothing left to be tried again"


@PARKED
def test_f70_a_replay_that_cannot_be_written_down_is_none(company, park):
    method, request, _ = park(company, 2)
    with no_access(company):
        with pytest.raises(mdp.CallError):
            company.gm.call(method, request, key=str(uuid.uuid4()))
    request_id = str(uuid.uuid4())
    company.gm.command(method, request, requestId=request_id)
    e, = of_request(company, method, request_id)
    assert e.rows == 2, "both were still parked"


# --- refusals ---------------------------------------------------------------------------------------

def test_f61_a_missing_role_is_refused_and_audited(company):
    error, e = refused(company, company.rep, DIRECTORY + "PolicyService/Set",
                       {"key": "question.answer_hours", "value": "1", "reason": "mine"}, key=str(uuid.uuid4()))
    assert error.code == "PERMISSION_DENIED"
    assert (e.actor_id, e.method, e.reason) == (company.ids["rep"], DIRECTORY + "PolicyService/Set", error.reason)


def test_f61_a_missing_scope_is_refused_and_audited(company):
    made = new_key(company, scopes=["visits.read", "customers.read"], label="reads only")
    answer = Caller(company.stack, made.api_key).post(CREATE, {"customer": {"name": "No"}})
    assert answer.status == 403
    wait_until(lambda: entries(company, outcome=REFUSED, actorId=made.credential.actor_id), SECONDS, "it was audited")
    e, = entries(company, outcome=REFUSED, actorId=made.credential.actor_id)
    assert (e.reason, e.method, e.remote_address) == ("SCOPE_REQUIRED", CREATE, "127.0.0.1")


def test_f61_a_key_from_another_network_is_audited_where_it_was_used(company):
    made = company.system.command(DIRECTORY + "CredentialService/CreateApiKey", {
        "label": "of the office", "scopes": ["customers.read"], "allowedNetworks": ["203.0.113.0/24"]})
    caller = Caller(company.stack, made.api_key)
    wait_until(lambda: caller.post(LIST).status == 403, SECONDS, "the key was known")
    for _ in range(5):
        assert caller.post(LIST).status == 403

    def told():
        return sum(1 + e.unwritten for e in entries(company, outcome=REFUSED, actorId=made.credential.actor_id))
    wait_until(lambda: told() >= 6, SECONDS, "all were audited")
    assert told() == 6
    e = entries(company, outcome=REFUSED, actorId=made.credential.actor_id)[0]
    assert (e.reason, e.remote_address) == ("KEY_OUTSIDE_NETWORKS", "127.0.0.1")
    listed = [c for c in company.gm.call(DIRECTORY + "CredentialService/List", {"pageSize": 500}).credentials
              if c.id == made.credential.id]
    assert not listed[0].HasField("last_used_at")


def test_f61_what_one_may_not_see_is_audited_as_such(company):
    customer = company.customer(who="rep3")
    error, e = refused(company, company.rep, GET, {"id": customer.id})
    assert error.code == "NOT_FOUND"
    assert e.reason == "OUT_OF_SIGHT" and e.actor_id == company.ids["rep"]


def key_of(company, who):
    return Caller(company.stack, new_key(company, employeeId=company.ids[who]).api_key)


def audited(company, actor, reason):
    """The only refusal of that actor for that reason, when it has come."""
    def mine():
        return [e for e in entries(company, outcome=REFUSED, actorId=actor) if e.reason == reason]
    wait_until(mine, SECONDS, f"{reason} was audited")
    e, = mine()
    return e


def asked_export(company, caller):
    """An export that waits for approval, and its address."""
    asked = caller.post(EXPORTS + "CreateExport", {"export": {"collection": "customers", "reason": "of my own"}})
    assert asked.status == 200, asked.json
    return asked.json["export"]["id"]


def test_f61_an_export_or_import_that_one_may_not_see_is_audited_as_such(company):
    export = asked_export(company, key_of(company, "rep"))
    assert key_of(company, "rep3").send("GET", f"/exports/{export}").status == 404
    e = audited(company, company.ids["rep3"], "OUT_OF_SIGHT")
    assert (e.method, e.remote_address) == (EXPORTS + "GetExport", "127.0.0.1")
    made = key_of(company, "manager").send("POST", "/imports/customers", b"external_id,name\n")
    assert made.status == 202, made.body
    assert key_of(company, "lead2").send("GET", f"/imports/{made.json['id']}/result").status == 404
    assert audited(company, company.ids["lead2"], "OUT_OF_SIGHT").method == IMPORTS + "GetImport"


def test_f61_who_may_not_import_is_audited(company):
    reader = new_key(company, scopes=["customers.read", "tenant.all"])
    for caller, actor, reason in ((key_of(company, "lead"), company.ids["lead"], "ROLE_REQUIRED"),
                                  (Caller(company.stack, reader.api_key), reader.credential.actor_id, "SCOPE_REQUIRED")):
        assert caller.send("POST", "/imports/customers", b"external_id,name\n").status == 403
        assert audited(company, actor, reason).remote_address == "127.0.0.1"


def test_f61_who_fetches_a_file_that_another_asked_for_is_audited(company):
    rep, gm = (key_of(company, who) for who in ("rep", "gm"))
    export = asked_export(company, rep)
    assert gm.post(EXPORTS + "ApproveExport", {"id": export}).status == 200
    assert gm.send("GET", f"/exports/{export}/file").status == 403
    assert audited(company, company.ids["gm"], "NOT_REQUESTER").remote_address == "127.0.0.1"


def test_f61_one_refusal_does_not_hide_another(company):
    """They are told once a second."""
    export, who = asked_export(company, key_of(company, "rep")), company.ids["manager"]
    key = new_key(company, employeeId=who, scopes=["customers.read", "customers.export"])
    caller = Caller(company.stack, key.api_key)
    assert caller.send("GET", f"/exports/{export}/file").status == 403
    assert caller.send("POST", "/imports/customers", b"external_id,name\n").status == 403
    for reason in ("SCOPE_REQUIRED", "NOT_REQUESTER"):
        assert audited(company, who, reason).remote_address == "127.0.0.1"


def test_f61_a_forged_tenant_leaves_its_entry_with_the_forger(company, other):
    liar = company.stack.client(company.keys["rep"], principal={
        "tenantId": other.tenant, "actorId": other.ids["gm"], "kind": "ACTOR_KIND_SYSTEM",
        "roles": ["general_manager"], "scopes": ["tenant.all"]})
    _, e = refused(company, liar, ENTRIES)
    assert e.actor_id == company.ids["rep"]
    forged = str(uuid.uuid4())
    made = liar.command(CREATE, {"customer": {"name": "Liar's"}}, requestId=forged, remoteAddress="192.0.2.1").customer
    assert entry(company, aggregate=f"customers/{made.id}").remote_address == "127.0.0.1"
    assert not [e for e in entries(other) if e.request_id == forged]


def test_f61_a_role_that_was_lowered_is_refused_in_mid_session(stack, clock):
    from company import Company
    firm = Company(stack, clock, calendar=False)
    firm.manager.call(LIST)
    changed = firm.system.command(DIRECTORY + "DirectoryService/GetEmployee", {"id": firm.ids["manager"]}).employee
    firm.system.command(DIRECTORY + "DirectoryService/UpdateEmployee", {
        "employee": {"id": changed.id, "roles": ["rep"], "etag": changed.etag}, "updateMask": "roles"})

    def denied():
        with pytest.raises(mdp.CallError) as error:
            firm.manager.call(DIRECTORY + "PolicyService/Set", {"key": "no.such", "value": "1", "reason": "x"},
                              key=str(uuid.uuid4()))
        return error.value.code == "PERMISSION_DENIED"
    wait_until(denied, SECONDS, "the role was lowered")
    wait_until(lambda: entries(firm, outcome=REFUSED, actorId=firm.ids["manager"]), SECONDS, "it was audited")
    e, = entries(firm, aggregate=f"employees/{changed.id}", method=DIRECTORY + "DirectoryService/UpdateEmployee")
    assert list(e.fields) == ["roles"]


def test_too_many_refusals_are_counted_in_the_next(company):
    for _ in range(60):
        with pytest.raises(mdp.CallError):
            company.rep2.call(ENTRIES)

    def next_one_tells():
        with pytest.raises(mdp.CallError):
            company.rep2.call(ENTRIES)
        found = entries(company, outcome=REFUSED, actorId=company.ids["rep2"])
        tried["n"] += 1
        return sum(1 + e.unwritten for e in found) >= 60
    tried = {"n": 60}
    wait_until(next_one_tells, SECONDS, "the rest was counted")


def test_the_trail_is_for_the_office_and_for_the_scope(company):
    for who in ("rep", "lead", "manager"):
        _, e = refused(company, getattr(company, who), ENTRIES)
        assert e.actor_id == company.ids[who]
    assert refused(company, company.rep, VERIFY)[0].code == "PERMISSION_DENIED"
    reader = company.stack.client(company.register_key(label="siem", scopes=["audit.read"]))
    wait_until(lambda: reader.call(ENTRIES, {"pageSize": 1}).entries, SECONDS, "the key was known")
    other = company.stack.client(company.register_key(label="shop", scopes=["customers.read"]))
    wait_until(lambda: other.is_served(CUSTOMERS + "CustomerService"), SECONDS, "the key was known")
    with pytest.raises(mdp.CallError) as error:
        other.call(ENTRIES)
    assert error.value.reason == "SCOPE_REQUIRED"


def test_filters_and_pages(company):
    customer = company.rep.command(CREATE, {"customer": {"name": "Paged"}}).customer
    entry(company, aggregate=f"customers/{customer.id}")
    everything = entries(company)
    cut = everything[-1].number // 2
    when = everything[cut].occurred_at
    assert all(e.type.startswith(CUSTOMERS) for e in entries(company, type=CUSTOMERS))
    assert all(e.method.startswith(DIRECTORY) for e in entries(company, method=DIRECTORY))
    assert entries(company, type="daybook.no.") == []
    for e in entries(company, to=when.ToJsonString()):
        assert e.occurred_at.ToDatetime() < when.ToDatetime()
    pages, token = [], ""
    while True:
        page = company.gm.call(ENTRIES, {"pageSize": 7, "pageToken": token, "method": DIRECTORY, "outcome": CHANGED})
        pages += page.entries
        token = page.next_page_token
        if not token:
            break
    assert [e.number for e in pages] == [e.number for e in entries(company, method=DIRECTORY, outcome=CHANGED)][::-1]
    with pytest.raises(mdp.CallError) as error:
        company.gm.call(VERIFY, {"afterNumber": "1", "hash": "AAAA"})
    assert error.value.fields == ["hash"]


def test_nobody_reads_another_companys_trail(company, other):
    mine = {e.event_id for e in entries(company)}
    assert mine.isdisjoint({e.event_id for e in entries(other)})


def test_the_trail_is_whole_and_an_independent_client_recomputes_it(company):
    trail = assert_whole(company)
    reply = company.gm.call(VERIFY, {"limit": 5000})
    assert reply.intact and reply.number == reply.head_number >= trail[-1].number
    assert {outcome(e) for e in trail} == {CHANGED, READ, REFUSED}


def test_an_event_of_a_newer_program_is_an_entry_too(stack, clock):
    from company import Company
    firm = Company(stack, clock, calendar=False)
    stack.psql("insert into bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, payload) "
               f"values (gen_random_uuid(), '{firm.tenant}', 'daybook.future.v9.ThingHappened', 'things/1', 1, now(), "
               "'\\xff')")
    assert entry(firm, type="daybook.future.").aggregate == "things/1"
    assert_whole(firm)


def test_the_daemon_may_add_and_nothing_else(company):
    for statement in ("update directory.audit_entry set reason = ''", "delete from directory.audit_entry",
                      "truncate directory.audit_entry", "delete from directory.audit_head"):
        with pytest.raises(Failed) as failure:
            company.stack.psql(f"begin; set local role daybook_directory; set local daybook.tenant = "
                               f"'{company.tenant}'; {statement}; commit")
        assert "permission denied" in str(failure.value)


@contextlib.contextmanager
def no_access(company):
    """Reads and replays cannot be written down."""
    stack = company.stack
    stack.psql("create function bus.no_access() returns trigger language plpgsql as $$ begin "
               "raise exception 'no' using errcode = '53100'; end $$; "
               f"create trigger no_access before insert on bus.outbox for each row "
               f"when (new.type = '{ACCESS}' and new.tenant_id = '{company.tenant}') execute function bus.no_access()")
    try:
        yield
    finally:
        stack.psql("drop trigger no_access on bus.outbox; drop function bus.no_access()")


def test_f70_a_read_that_cannot_be_written_down_fails(company):
    with no_access(company):
        with pytest.raises(mdp.CallError):
            company.rep.call(LIST)
        company.rep.call(CUSTOMERS + "CustomerService/Get", {"id": company.rep.command(
            CREATE, {"customer": {"name": "Still made"}}).customer.id})
    company.rep.call(LIST)


def test_killed_in_the_middle_nothing_is_missing_or_twice(company):
    stack = company.stack
    for round_ in range(4):
        for n in range(40):
            company.rep.command(CREATE, {"customer": {"name": f"Killed {round_}.{n}"}})
            if n == 20:
                stack.send_signal("directory", signal.SIGKILL)
        stack.start("directory")
    assert_whole(company)


def test_a_rebuild_leaves_the_trail_as_it_is(company):
    before = assert_whole(company)
    done = company.stack.daybook("rebuild", "directory")
    assert done.returncode == 64
    after = assert_whole(company)
    assert [e.event_id for e in after[:len(before)]] == [e.event_id for e in before]


def verified(company, *words):
    return company.stack.daybook("audit", "verify", "--tenant", company.tenant, *words)


@pytest.mark.parametrize("change, says", [
    ("set actor_id = '00000000-0000-7000-8000-000000000001' where number = {n}", "not as it was written"),
    ("set fields = 'name' where number = {n}", "not as it was written"),
    ("set occurred_at = occurred_at + interval '1 us' where number = {n}", "not as it was written"),
    (None, "missing"),
])
def test_tampering_shows_where_it_was(stack, clock, change, says):
    from company import Company
    firm = Company(stack, clock, calendar=False)
    assert_whole(firm)
    good = verified(firm)
    assert good.returncode == 0, good.stderr
    number = 5
    mine = f"tenant_id = '{firm.tenant}'"
    if change:
        stack.psql(f"update directory.audit_entry {change.format(n=number)} and {mine}")
    else:
        stack.psql(f"delete from directory.audit_entry where number = {number} and {mine}")
    bad = verified(firm)
    assert bad.returncode == 70 and f"behind entry {number - 1} " in bad.stderr and says in bad.stderr, bad.stderr
    reply = firm.gm.call(VERIFY)
    assert not reply.intact and reply.number == number - 1 and says in reply.fault


def test_a_chain_that_was_made_anew_shows_by_a_hash_that_was_kept(stack, clock):
    """Who can write the whole database can make the chain fit; not to what is known elsewhere."""
    from company import Company
    firm = Company(stack, clock, calendar=False)
    trail = assert_whole(firm)
    kept = firm.gm.call(VERIFY)
    assert kept.intact
    mine = f"tenant_id = '{firm.tenant}'"
    # The newest entries are cut off and the head is set back: in itself this is a whole chain.
    cut = trail[len(trail) // 2]
    stack.psql(f"delete from directory.audit_entry where number > {cut.number} and {mine}; "
               f"update directory.audit_head set number = {cut.number}, hash = '\\x{cut.hash.hex()}' where {mine}")
    assert verified(firm).returncode == 0
    late = verified(firm, "--after", f"{kept.number}:{kept.hash.hex()}")
    assert late.returncode == 70 and "missing" in late.stderr
    other = verified(firm, "--after", f"{cut.number}:{kept.hash.hex()}")
    assert other.returncode == 70 and "another hash" in other.stderr
    assert verified(firm, "--after", "12:zz").returncode == 64
