"""Who somebody is comes from his key and from nothing that he says (F61, operations 8)."""

import uuid

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

import mdp
from company import BUS, CUSTOMERS, DIRECTORY, REMINDERS, SECONDS
from stack import wait_until

LIST = CUSTOMERS + "CustomerService/List"
GET = CUSTOMERS + "CustomerService/Get"
CREATE = CUSTOMERS + "CustomerService/Create"


def denied(client, method, request, **options):
    with pytest.raises(mdp.CallError) as error:
        client.call(method, request, **options)
    return error.value.code


def test_a_registered_key_acts_as_its_employee(company):
    made = company.rep.command(CREATE, {"customer": {"name": "Key Shop"}}).customer
    assert made.owner_id == company.ids["rep"]


def test_f61_forged_tenant_actor_and_kind_are_ignored(company, other):
    theirs = other.rep.command(CREATE, {"customer": {"name": "Theirs"}}).customer
    liar = company.stack.client(company.keys["rep"], principal={
        "tenantId": other.tenant, "actorId": other.ids["gm"], "kind": "ACTOR_KIND_SYSTEM",
        "roles": ["general_manager"], "scopes": ["tenant.all"]})

    assert denied(liar, GET, {"id": theirs.id}) == "NOT_FOUND"
    assert denied(liar, DIRECTORY + "DirectoryService/CreateTenant", {"tenant": {"name": "X"}},
                  key="x") in ("PERMISSION_DENIED", "UNAUTHENTICATED")
    mine = liar.command(CREATE, {"customer": {"name": "Liar's"}}).customer
    assert mine.owner_id == company.ids["rep"]
    assert mine.id not in [c.id for c in other.gm.call(LIST).customers]
    assert mine.id in [c.id for c in company.rep.call(LIST).customers]


def test_f61_an_owner_of_another_company_is_refused(company, other):
    code = denied(company.gm, CREATE, {"customer": {"name": "Smuggled", "ownerId": other.ids["rep"]}},
                  key="smuggled")
    assert code in ("INVALID_ARGUMENT", "NOT_FOUND")


def test_f35_an_unregistered_key_is_refused_at_the_handshake(company):
    public, secret = (k.decode() for k in zmq.curve_keypair())
    client = company.stack.client(mdp.Keys(company.stack.env["DAYBOOK_BUS_SERVER_KEY"], public, secret))
    monitor = client.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH |
                                               zmq.EVENT_HANDSHAKE_SUCCEEDED)
    client.socket.connect(company.stack.env["DAYBOOK_BUS_ENDPOINT"])
    assert monitor.poll(SECONDS * 1000)
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    with pytest.raises(mdp.NoAnswer):
        client.call(BUS + "EventService/GetHead", timeout=0.3)


def test_a_client_without_a_key_is_refused(company):
    client = company.stack.client()
    bare = mdp.Client(company.stack.env["DAYBOOK_BUS_ENDPOINT"])
    with pytest.raises(mdp.NoAnswer):
        bare.call(BUS + "EventService/GetHead", timeout=0.3)
    bare.close()
    client.call(BUS + "EventService/GetHead", principal={"kind": "ACTOR_KIND_SYSTEM"})


def test_f56_a_revoked_key_is_refused_on_a_standing_connection(company):
    keys = company.register_key(employeeId=company.ids["rep2"], label="lost phone")
    client = company.stack.client(keys)
    wait_until(lambda: answers(client), SECONDS, "the new key was admitted")
    mine = [c for c in company.system.call(DIRECTORY + "CredentialService/List", {"pageSize": 1000})
            .credentials if c.curve_public_key == keys.public.decode()]
    company.system.command(DIRECTORY + "CredentialService/RevokeCurveKey", {"id": mine[0].id})
    wait_until(lambda: not answers(client), SECONDS, "the revoked key was refused")


def answers(client):
    try:
        client.call(LIST, {"pageSize": 1}, timeout=1)
        return True
    except mdp.NoAnswer:
        return False
    except mdp.CallError as error:
        if error.code not in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise
        return False


def test_a_rep_sees_what_is_his_a_lead_his_teams(company):
    mine = company.customer("rep")
    assert company.lead.call(GET, {"id": mine.id}).customer.id == mine.id
    assert company.gm.call(GET, {"id": mine.id}).customer.id == mine.id
    for stranger in ("rep2", "rep3", "lead2"):
        assert denied(getattr(company, stranger), GET, {"id": mine.id}) == "NOT_FOUND"
        assert mine.id not in [c.id for c in getattr(company, stranger).call(
            LIST, {"pageSize": 1000}).customers]
    assert denied(company.rep2, REMINDERS + "TaskService/GetDailyTasks",
                  {"employee": company.ids["rep"]}) in ("NOT_FOUND", "PERMISSION_DENIED")


def test_a_service_account_may_do_what_its_scopes_say(company):
    mine = company.customer("rep")
    keys = company.register_key(label="BI export", scopes=["customers.read", "tenant.all"])
    reader = company.stack.client(keys)
    wait_until(lambda: answers(reader), SECONDS, "the account was admitted")
    assert reader.call(GET, {"id": mine.id}).customer.id == mine.id

    narrow = company.stack.client(company.register_key(label="phone system", scopes=["customers.read"]))
    wait_until(lambda: answers(narrow), SECONDS, "the account was admitted")
    assert denied(narrow, CUSTOMERS + "InteractionService/RegisterEnded",
                  {"customerId": mine.id, "employeeId": company.ids["rep"], "channel": "CHANNEL_PHONE"},
                  key=str(uuid.uuid4())) == "PERMISSION_DENIED"


def test_nobody_but_a_daemon_serves(company):
    """A person's key cannot register as a worker and be sent others' requests."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    company.keys["rep"].put_on(socket)
    socket.connect(company.stack.env["DAYBOOK_BUS_ENDPOINT"])
    service = b"daybook.customers.v1.CustomerService"
    socket.send_multipart([b"MDPW02", b"\x01", service])
    for _ in range(20):
        assert company.lead.call(LIST, {"pageSize": 1})
    while socket.poll(0):
        frames = socket.recv_multipart()
        assert frames[:2] != [b"MDPW02", b"\x02"], "a person was handed a request"
    socket.close()
