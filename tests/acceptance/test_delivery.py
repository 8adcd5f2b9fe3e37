"""Notices reach another system by signed HTTP (Standard Webhooks), once each, whatever that system
answers at first (REM-10, REM-11, F04, F44, F45)."""

import base64
import hashlib
import hmac
import json
import time

import mdp
import pytest
from company import REMINDERS, SECONDS
from receiver import Receiver
from stack import wait_until

CHANNEL = REMINDERS + "ChannelService/"
DELIVERED, SKIPPED = 2, 4


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def is_signed(headers, body, secret):
    """As any Standard Webhooks library verifies it."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    good = any(hmac.compare_digest(s, f"v1,{expected}") for s in headers["webhook-signature"].split())
    return good and abs(time.time() - int(headers["webhook-timestamp"])) < 300


def due_question(company, who="rep"):
    """A question whose first warning is told at once, in working hours."""
    company.clock.turn(company.clock.next(1, "14:00"))
    question = company.ask(company.customer(who), who=who)
    company.reminder("TMR-01", f"questions/{question.id}")
    company.clock.add(hours=20)
    return f"questions/{question.id}"


def http_notice(company, subject):
    return [d for d in company.reminder("TMR-01", subject).deliveries if d.channel == 2]


def test_a_notice_is_posted_and_signed(company, receiver):
    secret = company.rep.command(CHANNEL + "Set", {"employeeId": company.ids["rep"], "url": receiver.url}).secret
    subject = due_question(company)
    (headers, body), = receiver.wait(1)
    assert is_signed(headers, body, secret)
    assert not is_signed(headers, body + b" ", secret) and not is_signed(headers, body, "whsec_" + "A" * 32)
    notice = http_notice(company, subject)[0]
    assert headers["webhook-id"] == notice.id
    assert json.loads(body), "the body is JSON"
    assert subject.split("/")[1] in body.decode()
    wait_until(lambda: http_notice(company, subject)[0].state == DELIVERED, SECONDS, "the ledger shows it")
    assert http_notice(company, subject)[0].HasField("delivered_at")


def test_f44_a_refused_notice_is_repeated_under_the_same_id(company, receiver):
    """Refused, then taken: two attempts, one id, one body."""
    secret = company.rep2.command(CHANNEL + "Set", {"employeeId": company.ids["rep2"], "url": receiver.url}).secret
    receiver.refuses_first = True
    subject = due_question(company, "rep2")

    def attempts():
        """Of this question's notice: others of the same person may come by the way."""
        return [(headers, body) for headers, body in receiver.got if subject.split("/")[1] in body.decode()]
    wait_until(lambda: len(attempts()) >= 2, 20 + SECONDS, "it was tried again")
    got = attempts()
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    assert len({body for _, body in got}) == 1, "a body is made once"
    assert all(is_signed(headers, body, secret) for headers, body in got)
    wait_until(lambda: http_notice(company, subject)[0].state == DELIVERED, SECONDS, "delivered in the end")
    assert http_notice(company, subject)[0].attempts == 2


def test_f44_a_redirect_is_not_followed(company, receiver):
    company.rep3.command(CHANNEL + "Set", {"employeeId": company.ids["rep3"], "url": receiver.url + "/first"})
    receiver.answers = [302]
    subject = due_question(company, "rep3")
    wait_until(lambda: [d.state for d in http_notice(company, subject)] == [DELIVERED], 20 + SECONDS,
               "it was tried again")
    assert http_notice(company, subject)[0].attempts == 2
    assert set(receiver.paths) == {"/first"}


@pytest.mark.parametrize("url", [
    "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/hook", "http://[::1]:80/", "http://0.0.0.0/",
    "ftp://example.com/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/", "javascript:alert(1)", "nonsense"])
def test_f45_an_address_inside_the_house_is_refused(company, url):
    """This stack allows 127.0.0.0/8 and plain http for the tests, nothing else."""
    with pytest.raises(mdp.CallError) as error:
        company.lead.call(CHANNEL + "Set", {"employeeId": company.ids["lead"], "url": url}, key=url)
    assert error.value.code == "INVALID_ARGUMENT" and error.value.fields == ["url"]


def test_rem10_in_app_notices_are_listed_and_marked_read(company):
    company.rep.command(CHANNEL + "Set", {"employeeId": company.ids["rep"], "url": ""})
    subject = due_question(company)
    company.told("TMR-01", subject, 1)
    unread = company.rep.call(CHANNEL + "ListDeliveries", {
        "recipientId": company.ids["rep"], "unreadOnly": True, "pageSize": 100}).deliveries
    reminder = company.reminder("TMR-01", subject).reminder
    mine = [d for d in unread if d.reminder_id == reminder.id]
    assert len(mine) == 1 and mine[0].text and mine[0].state == DELIVERED
    company.rep.command(CHANNEL + "MarkRead", {"deliveryId": mine[0].id})
    left = company.rep.call(CHANNEL + "ListDeliveries", {
        "recipientId": company.ids["rep"], "unreadOnly": True, "pageSize": 100}).deliveries
    assert mine[0].id not in [d.id for d in left]


def test_nobody_reads_anothers_notices(company):
    with pytest.raises(mdp.CallError) as error:
        company.rep2.call(CHANNEL + "ListDeliveries", {"recipientId": company.ids["rep"]})
    assert error.value.code in ("NOT_FOUND", "PERMISSION_DENIED")
