"""`daybook webhook listen`, before a sender that is not ours: the Standard Webhooks library of the specification's
authors signs, the listener judges."""

import base64
import datetime as dt
import http.client
import json
import secrets
import signal
import socket
import subprocess
import uuid

import pytest
from standardwebhooks import Webhook

from company import REMINDERS, SECONDS, Company
from stack import wait_until

BODY = json.dumps({"type": "daybook.visits.v1.VisitReported", "subject": "visits/7", "data": {"note": "a\x1b[2Jb"}})


def new_secret():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Listener:
    def __init__(self, stack, *words, env=None, text=False):
        self.process = subprocess.Popen([stack.bin / "daybook", "webhook", "listen", "--listen", "127.0.0.1:0", *words,
                                         *(() if text else ("--json",))], text=True, env={"LANG": "C.UTF-8", **(env or {})},
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.first = self.process.stdout.readline()
        assert self.first, self.process.stderr.read()
        url = self.first.split()[2].rstrip(";") if text else json.loads(self.first)["listening"]
        self.host = url.removeprefix("http://").rstrip("/")

    def send(self, headers, body=BODY, verb="POST"):
        connection = http.client.HTTPConnection(self.host, timeout=SECONDS)
        connection.request(verb, "/hook", body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def shown(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Exit status and the rest of both outputs."""
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


@pytest.fixture
def listen(stack):
    started = []

    def listen(*words, **options):
        started.append(Listener(stack, *words, **options))
        return started[-1]
    yield listen
    for listener in started:
        if listener.process.poll() is None:
            listener.process.kill()
            listener.process.communicate()


def signed(secret, id_=None, body=BODY, ago=0):
    id_ = id_ or f"msg_{uuid.uuid4().hex}"
    at = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=ago)
    return {"webhook-id": id_, "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(id_, at, body)}


def test_what_the_reference_signs_is_verified(listen):
    secret = new_secret()
    listener = listen("--secret", secret, "--count", "2", "--body")
    assert json.loads(listener.first)["verifies"] is True
    headers = signed(secret)
    assert listener.send(headers) == 204
    got = listener.shown()
    assert got["verified"] is True and got["repeated"] is False and got["id"] == headers["webhook-id"]
    assert (got["type"], got["subject"]) == ("daybook.visits.v1.VisitReported", "visits/7")
    assert got["body"] == json.loads(BODY)
    assert listener.send(headers) == 204, "a repetition is taken"
    assert listener.shown()["repeated"] is True
    assert listener.send(signed(secret)) == 204, "and is not counted"
    status, out, err = listener.end()
    assert status == 0 and not err and len(out.splitlines()) == 1


@pytest.mark.parametrize("spoil, reason", [
    (lambda secret, h: {**h, **signed(new_secret(), h["webhook-id"])}, "no signature is by this secret"),
    (lambda secret, h: signed(secret, body=BODY + " "), "no signature is by this secret"),
    (lambda secret, h: signed(secret, ago=600), "more than 5 minutes off"),
    (lambda secret, h: signed(secret, ago=-600), "more than 5 minutes off"),
    (lambda secret, h: {**h, "webhook-timestamp": "soon"}, "not Unix seconds"),
    (lambda secret, h: {k: v for k, v in h.items() if k != "webhook-id"}, "webhook-id is missing"),
    (lambda secret, h: {k: v for k, v in h.items() if k != "webhook-timestamp"}, "webhook-timestamp is missing"),
    (lambda secret, h: {k: v for k, v in h.items() if k != "webhook-signature"}, "webhook-signature is missing"),
])
def test_what_is_not_genuine_is_refused_with_a_reason(listen, spoil, reason):
    secret = new_secret()
    listener = listen("--secret", secret, "--count", "1")
    good = signed(secret)
    assert listener.send(spoil(secret, good)) == 401
    got = listener.shown()
    assert got["verified"] is False and reason in got["reason"]
    assert listener.send(good) == 204 and listener.shown()["repeated"] is False, "what was refused is not remembered"
    assert listener.end()[0] == 0


def test_both_secrets_are_good_while_one_is_changed(listen, tmp_path):
    new, old, other = new_secret(), new_secret(), new_secret()
    (tmp_path / "new").write_text(new + "\n")
    (tmp_path / "both").write_text(f"{new} {old}\n")
    for words, env in ((("--secret", f"@{tmp_path / 'new'}", "--secret", old), {}),
                       ((), {"DAYBOOK_WEBHOOK_SECRET_FILE": str(tmp_path / "both")})):
        listener = listen(*words, "--count", "3", env=env)
        assert [listener.send(signed(s)) for s in (new, old, other)] == [204, 204, 401]
        headers = signed(other)
        headers["webhook-signature"] += " " + signed(old, headers["webhook-id"])["webhook-signature"] + " v1a,AAAA"
        assert listener.send(headers) == 204
        assert listener.end()[0] == 0


def test_without_a_secret_it_says_that_nothing_is_verified(listen):
    listener = listen("--count", "2", "--body")
    assert json.loads(listener.first)["verifies"] is False
    assert listener.send({}, "no JSON") == 204
    got = listener.shown()
    assert got["verified"] is None and got["type"] == "" and got["body"] == "no JSON"
    assert listener.send({"webhook-id": "1"}, b"\xff") == 204
    assert listener.shown()["body"] is None
    assert listener.end()[0] == 0


def test_for_people_it_is_a_line_with_the_body_below(listen):
    secret = new_secret()
    listener = listen("--secret", secret, "--count", "1", "--body", text=True)
    assert listener.send(signed(new_secret(), "first")) == 401
    assert listener.send(signed(secret, "second")) == 204
    status, out, _ = listener.end()
    assert status == 0 and "\x1b" not in out
    assert "REFUSED  daybook.visits.v1.VisitReported  visits/7  first: no signature" in out
    assert "verified  daybook.visits.v1.VisitReported  visits/7  second\n" in out
    assert '\n    {\n      "type": "daybook.visits.v1.VisitReported",\n' in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(listen, number):
    listener = listen("--count", "5")
    listener.process.send_signal(number)
    assert listener.end() == (0, "", "")


def test_time_that_is_up_is_a_failure_where_something_was_counted_on(listen):
    assert listen("--for", "100ms").end() == (0, "", "")
    listener = listen("--for", "100ms", "--count", "1")
    status, out, err = listener.end()
    assert status == 1 and json.loads(err)["message"] == "0 of 1 deliveries came in 100ms"


def test_what_is_no_delivery_is_not_taken(listen):
    listener = listen("--count", "1")
    assert listener.send({}, "", verb="GET") == 405
    assert listener.send({}, "x" * (1 << 20 | 1)) == 413
    assert listener.send({}) == 204
    status, out, _ = listener.end()
    assert status == 0 and len(out.splitlines()) == 1


@pytest.mark.parametrize("words, status, said", [
    (("listen", "--secret", "whsec_short"), 64, "base64 of 24 to 64 bytes"),
    (("listen", "--secret", "@/nowhere/secret"), 64, "No such file"),
    (("listen", "--secret", "A", "--secret", "B", "--secret", "C"), 64, "at most two"),
    (("listen", "--listen", "nowhere"), 64, "host:port"),
    (("listen", "--listen", "unix:/tmp/hook"), 64, "host:port"),
    (("listen", "--for", "soon"), 64, "duration"),
    (("listen", "--count", "0"), 64, "--count"),
    (("send",), 64, "usage"),
])
def test_mistakes_are_told(stack, words, status, said):
    given = {letter: new_secret() for letter in "ABC"}
    done = subprocess.run([stack.bin / "daybook", "webhook", *(given.get(w, w) for w in words), "--json"], text=True,
                          env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == status and said in json.loads(done.stderr)["message"], done.stderr
    assert "whsec_short" not in done.stderr and not any(secret in done.stderr for secret in given.values())


def test_a_port_is_one_listeners(stack, listen):
    listener = listen()
    done = subprocess.run([stack.bin / "daybook", "webhook", "listen", "--listen", listener.host], env={}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == 75 and "cannot listen" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_it_takes_what_daybook_sends(stack, clock, listen):
    """From our own sender: a notice for the rep's channel."""
    company = Company(stack, clock)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    secret = company.rep.command(REMINDERS + "ChannelService/Set",
                                 {"employeeId": company.ids["rep"], "url": f"http://{address}/hook"}).secret
    listener = listen("--secret", secret, "--listen", address, "--count", "1")
    company.clock.turn(company.clock.next(1, "14:00"))
    question = company.ask(company.customer("rep"), who="rep")
    company.reminder("TMR-01", f"questions/{question.id}")
    company.clock.add(hours=20)
    wait_until(lambda: listener.process.poll() is not None, SECONDS, "a notice came")
    status, out, _ = listener.end()
    got = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [d["verified"] for d in got if "verified" in d] == [True], out
    assert got[-1]["type"] == "daybook.reminders.v1.Delivery" and uuid.UUID(got[-1]["id"])
