"""Files in and out over HTTP (CUS-31, SEC-01, SEC-02, SEC-10, EXT-13, F63): imports and exports as a program
and as people do them, with what goes wrong."""

import base64
import csv
import gzip
import hashlib
import io
import json
import signal
import socket
import time
import uuid
from datetime import datetime, timedelta

import pytest

import mdp
from company import BUS, CUSTOMERS, DIRECTORY, SECONDS, Company
from stack import SLACK, wait_until
from web import Caller, Gateway, new_key

IMPORTS = "daybook.gateway.v1.ImportService/"
EXPORTS = "daybook.gateway.v1.ExportService/"
HEADER = "external_id,name,owner_no,contact_name,contact_phone\r\n"
ENDS = ("TRANSFER_STATE_DONE", "TRANSFER_STATE_FAILED", "TRANSFER_STATE_CANCELLED")
LONG = 60 * SLACK


@pytest.fixture(scope="module")
def erp(company):
    """Another system, as a service account."""
    scopes = ["customers.read", "customers.write", "customers.export", "tenant.all"]
    return Caller(company.stack, new_key(company, scopes=scopes).api_key)


@pytest.fixture(scope="module")
def people(company):
    """Callers of the company's people, each with a key of his own."""
    return {who: Caller(company.stack, new_key(company, employeeId=company.ids[who]).api_key)
            for who in ("gm", "manager", "rep", "rep3")}


def rows(n, tag=None, start=0):
    tag = tag or uuid.uuid4().hex[:8]
    return [f"{tag}-{i},Firm {tag} {i:06d},E006,,\r\n" for i in range(start, start + n)]


def upload(caller, body, query="", collection="customers", **headers):
    answer = caller.send("POST", f"/imports/{collection}?source=erp{query}", body, **headers)
    return answer


def ended(caller, import_id, kind="imports", limit=LONG):
    def look():
        answer = caller.send("GET", f"/{kind}/{import_id}")
        assert answer.status == 200, answer.body
        return answer.json if answer.json["state"] in ENDS else None
    return wait_until(look, limit, f"{kind}/{import_id} has ended")


def imported(caller, body, query="", **headers):
    answer = upload(caller, body, query, **headers)
    assert answer.status == 202, (answer.status, answer.body)
    assert answer.headers["Location"] == f"/imports/{answer.json['id']}"
    return ended(caller, answer.json["id"])


def result(caller, import_id, **headers):
    answer = caller.send("GET", f"/imports/{import_id}/result", **headers)
    assert answer.status == 200, (answer.status, answer.body)
    return list(csv.DictReader(io.StringIO(answer.body.decode())))


def count(company, tag):
    return company.stack.value(f"select count(*) from customers.customer where tenant_id = '{company.tenant}' "
                               f"and ref_id like '{tag}-%'")


# --- imports ------------------------------------------------------------------------------------------


def test_a_file_is_imported_and_once_more_changes_nothing(company, erp):
    tag = uuid.uuid4().hex[:8]
    body = HEADER + "".join(rows(1203, tag))
    first = imported(erp, body)
    assert first["state"] == "TRANSFER_STATE_DONE", first
    assert (first["rows"], first["inserted"]) == ("1203", "1203")
    assert first["fileBytes"] == str(len(body.encode()))
    assert count(company, tag) == 1203
    lines = result(erp, first["id"])
    assert len(lines) == 1203 and {r["outcome"] for r in lines} == {"inserted"}
    assert lines[0]["line"] == "2" and lines[0]["external_id"] == f"{tag}-0" and lines[0]["id"]
    again = imported(erp, body)
    assert (again["rows"], again["unchanged"]) == ("1203", "1203") and again["id"] != first["id"]
    assert count(company, tag) == 1203


def test_a_dry_run_changes_nothing(company, erp):
    tag = uuid.uuid4().hex[:8]
    done = imported(erp, HEADER + "".join(rows(20, tag)), "&dry_run=true")
    assert done["dryRun"] and (done["rows"], done["inserted"]) == ("20", "20")
    assert count(company, tag) == 0
    assert {r["id"] for r in result(erp, done["id"])} == {""}


def test_faulty_rows_are_told_with_their_reason(company, erp):
    tag = uuid.uuid4().hex[:8]
    body = (HEADER + "".join(rows(2, tag)) + f"{tag}-x,,E006,,\r\n" + f"{tag}-y,Firm Y{tag},E999,,\r\n"
            + 'bad "quote,Firm\r\n' + f"{tag}-z,Firm Z{tag},E006,,\r\n" + f"{tag}-a,Firm Z{tag},E006,,\r\n")
    done = imported(erp, body)
    assert (done["inserted"], done["invalid"], done["duplicates"]) == ("3", "3", "1")
    by = {r["external_id"]: r for r in result(erp, done["id"])}
    assert (by[f"{tag}-x"]["field"], by[f"{tag}-x"]["message"]) == ("name", "is empty")
    assert by[f"{tag}-y"]["field"] == "owner_no"
    assert "line 6, column" in by[""]["message"] and by[""]["line"] == "6"
    assert by[f"{tag}-a"]["outcome"] == "duplicate"
    assert count(company, tag) == 3


def test_json_lines(company, erp):
    tag = uuid.uuid4().hex[:8]
    good = [{"customer": {"externalRef": {"id": f"{tag}-{i}"}, "name": f"Json {tag} {i}"}, "ownerNo": "E006"}
            for i in range(3)]
    crowd = {"customer": {"externalRef": {"id": f"{tag}-c"}, "name": f"Crowd {tag}"}, "ownerNo": "E006",
             "contacts": [{"name": f"Mx {i}"} for i in range(21)]}
    lines = [json.dumps(g) for g in good] + ["", "{not json}", json.dumps({"customer": {"nmae": "x"}}),
                                             json.dumps(crowd), json.dumps({"ownerNo": "E006"})]
    done = imported(erp, "\ufeff".encode() + "\r\n".join(lines).encode(), "&format=jsonl")
    assert (done["inserted"], done["invalid"]) == ("3", "4"), done
    told = {r["line"]: r for r in result(erp, done["id"])}
    assert told["5"]["outcome"] == "invalid" and "nmae" in told["6"]["field"] + told["6"]["message"]
    assert told["7"]["field"] == "contacts" and told["7"]["external_id"] == f"{tag}-c"
    assert told["8"]["field"] == "customer"
    assert company.stack.value("select ref_source from customers.customer where "
                               f"tenant_id = '{company.tenant}' and ref_id = '{tag}-1'") == "erp"


@pytest.mark.parametrize("body, why", [
    (b"", "empty"),
    (b"id;name\r\n1;x\r\n", "no column external_id"),
    ("external_id,name\r\n".encode("utf-16"), "UTF-16"),
    (HEADER.encode() + b'x,"never closed ' + b"y" * 300000, "262144 bytes"),
], ids=["empty", "semicolons", "utf-16", "endless"])
def test_what_is_no_such_file_fails_and_changes_nothing(company, erp, body, why):
    before = company.stack.value("select count(*) from customers.customer")
    done = imported(erp, body)
    assert done["state"] == "TRANSFER_STATE_FAILED" and why in done["error"]["message"], done
    assert company.stack.value("select count(*) from customers.customer") == before


def test_wrong_encoding_is_told_row_by_row(erp):
    tag = uuid.uuid4().hex[:8]
    body = b"\xef\xbb\xbf" + HEADER.encode() + f"{tag}-1,Müller {tag},E006,,\n".encode("latin-1")
    body += f"{tag}-2,Müller {tag},E006,,".encode()  # no line end at the end
    done = imported(erp, body)
    assert (done["inserted"], done["invalid"]) == ("1", "1")
    assert "UTF-8" in result(erp, done["id"])[0]["message"]


def test_a_line_of_json_that_is_too_long_is_passed_over(erp):
    tag = uuid.uuid4().hex[:8]
    good = json.dumps({"customer": {"externalRef": {"id": f"{tag}-1"}, "name": f"Long {tag}"}, "ownerNo": "E006"})
    done = imported(erp, '{"ownerNo":"' + "x" * 400000 + '"}\n' + good, "&format=jsonl")
    assert (done["inserted"], done["invalid"]) == ("1", "1")
    assert result(erp, done["id"])[0]["message"] == "the line is over 262144 bytes"


def test_faulty_rows_that_fill_the_memory_do_not_end_the_file(erp):
    tag = uuid.uuid4().hex[:8]
    crowd = json.dumps({"customer": {"externalRef": {"id": f"{tag}-c"}, "name": "Crowd"}, "contacts": [{}] * 10000})
    good = {"customer": {"externalRef": {"id": f"{tag}-g"}, "name": f"Good {tag}"}, "ownerNo": "E006"}
    done = imported(erp, "\n".join([crowd] * 40 + [json.dumps(good)]), "&format=jsonl")
    assert done["state"] == "TRANSFER_STATE_DONE", done
    assert (done["inserted"], done["invalid"]) == ("1", "40"), done
    told = {r["message"] for r in result(erp, done["id"])[:40]}
    assert told == {"has too many contacts"}, told


def test_a_file_of_faulty_rows_ends_before_its_result_fills_the_disk(company, erp):
    tag = uuid.uuid4().hex[:8]
    good = json.dumps({"customer": {"externalRef": {"id": f"{tag}-1"}, "name": f"Good {tag}"}, "ownerNo": "E006"})
    done = imported(erp, good + "\n" + "x\n" * 150_000, "&format=jsonl")
    assert done["state"] == "TRANSFER_STATE_FAILED", done
    assert "more than 100000 rows are faulty" in done["error"]["message"], done
    assert 100_000 < int(done["invalid"]) < 110_000 and done["inserted"] == "1", done
    assert len(result(erp, done["id"])) == int(done["rows"])
    assert count(company, tag) == 1, "what was written stays"
    nothing_left(company)


def test_as_many_faulty_rows_as_may_be_end_no_file(erp):
    done = imported(erp, "x\n" * 100_000, "&format=jsonl")
    assert (done["state"], done["invalid"]) == ("TRANSFER_STATE_DONE", "100000"), done
    one_more = imported(erp, "x\n" * 100_001, "&format=jsonl")
    assert (one_more["state"], one_more["invalid"]) == ("TRANSFER_STATE_FAILED", "100001"), one_more


def test_long_ids_of_faulty_rows_do_not_swell_the_result(erp):
    long = "\u00e4" * 4000
    done = imported(erp, (HEADER + f"{long},,E006,,\r\n" * 300).encode())
    assert done["state"] == "TRANSFER_STATE_DONE" and done["invalid"] == "300", done
    assert {r["external_id"] for r in result(erp, done["id"])} == {"\u00e4" * 256}


def test_formulas_are_defused_in_the_result(erp):
    done = imported(erp, HEADER + "=cmd|' /C calc'!A0,,E006,,\r\n@x,,E006,,\r\n")
    assert [r["external_id"] for r in result(erp, done["id"])] == ["'=cmd|' /C calc'!A0", "'@x"]


def test_zipped_and_in_chunks(company, erp):
    tag = uuid.uuid4().hex[:8]
    text = (HEADER + "".join(rows(3000, tag))).encode()
    zipped = gzip.compress(text[:1000]) + gzip.compress(text[1000:])  # members may follow each other
    pieces = (zipped[i:i + 700] for i in range(0, len(zipped), 700))
    done = imported(erp, pieces, Content_Encoding="gzip")
    assert (done["inserted"], done["fileBytes"]) == ("3000", str(len(text)))


@pytest.mark.parametrize("body, status, why", [
    (gzip.compress(bytes(64 << 20)), 413, "200 times"),
    (gzip.compress(b"x" * 1000)[:-5], 400, "cut short"),
    (b"plain", 400, "not gzip"),
], ids=["bomb", "cut", "plain"])
def test_zipped_bodies_that_are_none(company, erp, body, status, why):
    answer = upload(erp, body, Content_Encoding="gzip")
    assert answer.status == status and why in answer.json["message"], answer.body
    info = answer.json["details"][0]["debug"]
    assert (info["reason"], info["domain"]) == (answer.json["code"].upper(), "daybook")
    nothing_left(company)


def nothing_left(company):
    wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work") == 0
               and company.stack.value("select count(*) from gateway.transfer_chunk where kind = 'upload'") == 0,
               LONG, "nothing is left of uploads")


@pytest.mark.parametrize("query, headers", [
    ("&format=xml", {}), ("&source=a b", {}), ("&dry_run=perhaps", {}), ("&nonsense=1", {}),
    ("", {"Content_Encoding": "br"}), ("", {"Idempotency_Key": ""}),
])
def test_parameters_are_judged(erp, query, headers):
    answer = upload(erp, HEADER, query.replace(" ", "%20"), **headers)
    assert answer.status == 400 and answer.json["code"] == "invalid_argument", answer.body


def test_a_repeated_request_gives_the_same_import(erp):
    body, key = HEADER + "".join(rows(10)), uuid.uuid4().hex
    first = upload(erp, body, Idempotency_Key=key)
    again = upload(erp, body, Idempotency_Key=key)
    assert first.status == again.status == 202 and first.json["id"] == again.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = upload(erp, body + "x", Idempotency_Key=key)
    assert other.status == 400 and "Idempotency-Key" in other.json["message"]
    assert upload(erp, body, "&dry_run=true", Idempotency_Key=key).status == 400
    assert ended(erp, first.json["id"])["inserted"] == "10"


def test_who_may_import_and_who_sees_it(company, people, other, erp):
    body = HEADER + "".join(rows(3))
    assert upload(people["rep"], body).fault == (403, "permission_denied")
    stranger = Caller(company.stack, "dbk_" + str(uuid.uuid4()) + "_x")
    assert upload(stranger, body).status == 401
    weak = Caller(company.stack, new_key(company, scopes=["customers.read", "tenant.all"]).api_key)
    assert upload(weak, body).fault == (403, "permission_denied")
    done = imported(people["manager"], body)
    assert done["inserted"] == "3" and done["createdBy"] == company.ids["manager"]
    assert people["gm"].send("GET", f"/imports/{done['id']}").status == 200
    for who in (people["rep"], Caller(company.stack, new_key(other, scopes=["customers.read", "tenant.all"]).api_key)):
        for path in ("", "/result"):
            assert who.send("GET", f"/imports/{done['id']}{path}").status == 404
    listed = people["manager"].post(IMPORTS + "ListImports", {}).json["imports"]
    assert [i["id"] for i in listed] == [done["id"]]
    everything = erp.post(IMPORTS + "ListImports", {"pageSize": 2}).json
    assert everything["imports"][0]["id"] == done["id"] and everything["nextPageToken"]
    assert people["manager"].send("DELETE", f"/imports/{done['id']}").status == 405
    assert people["manager"].send("GET", "/imports/nonsense").status == 404
    assert upload(erp, body, collection="visits").status == 404


def test_a_body_that_nobody_wants_is_not_kept(company):
    stranger = Caller(company.stack, "dbk_nobody")
    for path in ("/imports/x", "/exports/x"):
        answer = fresh(stranger).send("POST", path, b"x" * ((4 << 20) + 1))
        assert answer.status == 404 and "what is imported is" in answer.json["message"], "kept, it would be too large"


def test_a_result_in_parts(erp):
    done = imported(erp, HEADER + "".join(rows(700)))
    path = f"/imports/{done['id']}/result"
    whole = erp.send("GET", path)
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(whole.body).digest()).decode() + ":"
    assert whole.headers["Content-Digest"] == digest and whole.headers["Accept-Ranges"] == "bytes"
    assert int(whole.headers["Content-Length"]) == len(whole.body) == int(done["resultBytes"])
    part = erp.send("GET", path, Range="bytes=100-40999")
    assert part.status == 206 and part.body == whole.body[100:41000]
    assert part.headers["Content-Range"] == f"bytes 100-40999/{len(whole.body)}"
    assert part.headers["Repr-Digest"] == digest
    assert erp.send("GET", path, Range="bytes=-7").body == whole.body[-7:]
    assert erp.send("GET", path, Range=f"bytes={len(whole.body) - 3}-").body == whole.body[-3:]
    assert erp.send("GET", path, Range=f"bytes={len(whole.body)}-").status == 416
    assert erp.send("GET", path, Range="bytes=5-9", If_Range='"other"').body == whole.body
    assert erp.send("GET", path, If_None_Match=whole.headers["ETag"]).status == 304
    zipped = erp.send("GET", path, Accept_Encoding="gzip")
    assert zipped.headers["Content-Encoding"] == "gzip" and zipped.body == whole.body
    head = erp.send("HEAD", path)
    assert head.status == 200 and head.headers["Content-Length"] == str(len(whole.body)) and not head.body


def test_orders_go_the_same_way(company, erp):
    tag = uuid.uuid4().hex[:8]
    imported(erp, HEADER + "".join(rows(2, tag)))
    head = "external_id,customer_external_id,ordered_at,amount_minor,currency\r\n"
    body = head + "".join(f"{tag}-o{i},{tag}-{i},2026-01-05T10:00:00+08:00,{100 + i},CNY\r\n" for i in range(3))
    answer = upload(erp, body, collection="orders")
    assert answer.status == 202, answer.body
    done = ended(erp, answer.json["id"])
    assert (done["collection"], done["inserted"], done["invalid"]) == ("orders", "2", "1")


def test_an_import_is_cancelled(company, erp):
    tag = uuid.uuid4().hex[:8]
    with company.stack.stopped("customers"):
        begun = upload(erp, HEADER + "".join(rows(5000, tag))).json
        wait_until(lambda: erp.post(IMPORTS + "CancelImport", {"id": begun["id"]}).status == 200, SECONDS, "cancelled")
    done = ended(erp, begun["id"])
    assert done["state"] == "TRANSFER_STATE_CANCELLED" and done["cancelRequested"]
    assert int(done.get("rows", 0)) < 5000
    assert len(result(erp, begun["id"])) == int(done.get("rows", 0))
    assert erp.post(IMPORTS + "CancelImport", {"id": begun["id"]}).json["import"]["state"] == done["state"]
    nothing_left(company)


def test_an_import_is_cancelled_while_the_customers_are_away(company, erp):
    with company.stack.stopped("customers"):
        begun = upload(erp, HEADER + "".join(rows(5000))).json
        wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work where kind = 'import' "
                                               "and claimed_until > now()") == 1, SECONDS, "it is under way")
        assert erp.post(IMPORTS + "CancelImport", {"id": begun["id"]}).status == 200
        done = ended(erp, begun["id"])
        assert done["state"] == "TRANSFER_STATE_CANCELLED", done
        assert {r["outcome"] for r in result(erp, begun["id"])} == {"not_taken"}, "of what was asked nobody answered"


@pytest.mark.parametrize("whose", ["program", "manager"])
def test_a_key_that_was_ended_imports_no_more(company, whose):
    of = ({"employeeId": company.ids[whose]} if whose in company.ids else
          {"scopes": ["customers.read", "customers.write", "tenant.all"]})
    made = new_key(company, **of)
    caller, tag = Caller(company.stack, made.api_key), uuid.uuid4().hex[:8]
    with company.stack.stopped("customers"):
        begun = upload(caller, HEADER + "".join(rows(3000, tag))).json
        company.system.command(DIRECTORY + "CredentialService/RevokeApiKey", {"id": made.credential.id})
        wait_until(lambda: caller.send("GET", f"/imports/{begun['id']}").status == 401, SECONDS, "the key is ended")
    left = Caller(company.stack, new_key(company, scopes=["customers.read", "tenant.all"]).api_key)
    done = ended(left, begun["id"])
    assert done["state"] == "TRANSFER_STATE_FAILED" and "API key" in done["error"]["message"], done
    assert count(company, tag) == int(done.get("inserted", 0)) < 3000


def test_a_key_that_was_ended_while_the_file_came(company):
    made, tag = new_key(company, employeeId=company.ids["manager"]), uuid.uuid4().hex[:8]
    caller = Caller(company.stack, made.api_key)
    body = (HEADER + "".join(rows(3, tag))).encode()
    with socket.create_connection(caller.address) as s:
        s.sendall(b"POST /imports/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + caller.key.encode()
                  + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
        wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work where kind = 'upload'") == 1,
                   LONG, "it has begun")
        company.system.command(DIRECTORY + "CredentialService/RevokeApiKey", {"id": made.credential.id})
        wait_until(lambda: fresh(caller).post(IMPORTS + "ListImports", {}).status == 401, SECONDS, "the key is ended")
        s.sendall(body[-1:])
        assert s.recv(20).startswith(b"HTTP/1.1 401"), "its holder is proven again at the end"
    nothing_left(company)
    assert count(company, tag) == 0


@pytest.mark.parametrize("which", ["min", "max"])
def test_a_file_that_has_lost_a_piece_is_no_import(company, erp, which):
    """A PostgreSQL that dies takes back what it was not asked to have on disk yet."""
    of = "from gateway.transfer_chunk where kind = 'upload'"
    body, before = (HEADER + "".join(rows(30000))).encode(), company.stack.value("select count(*) from gateway.import")
    with socket.create_connection(erp.address) as s:
        s.sendall(b"POST /imports/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + erp.key.encode()
                  + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:600_000])
        wait_until(lambda: company.stack.value(f"select count(*) {of}") == 2, LONG, "two pieces are there")
        company.stack.psql(f"delete {of} and at = (select {which}(at) {of})")
        s.sendall(body[600_000:])
        answer = s.recv(4000).decode()
    assert answer.startswith("HTTP/1.1 409") and "send it again" in answer, answer
    assert company.stack.value("select count(*) from gateway.import") == before, "and nothing is begun"
    nothing_left(company)


def test_an_end_is_an_event(company, erp):
    done = imported(erp, HEADER + "".join(rows(1)))
    wait_until(lambda: company.stack.value(
        "select count(*) from bus.log where type = 'daybook.gateway.v1.ImportFinished' "
        f"and aggregate = 'imports/{done['id']}'") == 1, SECONDS, "the event is in the log")


def test_what_never_comes_on_is_given_up(company, erp):
    with company.stack.stopped("customers"):
        begun = upload(erp, HEADER + "".join(rows(3))).json
        company.stack.psql("update gateway.transfer_work set attempts = 20, claimed_until = '-infinity', "
                           f"version = version + 1 where transfer_id = '{begun['id']}'")
        done = ended(erp, begun["id"])
    assert done["state"] == "TRANSFER_STATE_FAILED" and "did not come on" in done["error"]["message"], done
    assert erp.send("GET", f"/imports/{begun['id']}/result").status == 200
    nothing_left(company)


def test_a_large_file_is_deleted_in_pieces(company):
    dead = uuid.uuid4()
    company.stack.psql(
        f"insert into gateway.transfer_chunk select '{company.tenant}', '{dead}', 'upload', n, 'x' "
        f"from generate_series(1, 200) n; insert into gateway.transfer_work (tenant_id, transfer_id, kind) "
        f"values ('{company.tenant}', '{dead}', 'dead')")
    nothing_left(company)


# --- crashes ------------------------------------------------------------------------------------------


def kill(company):
    company.stack.kill("gateway")
    company.stack.start("gateway")
    wait_until(lambda: company.stack.healthy("gateway"), LONG, "the gateway is back")


def fresh(caller):
    """The same on a new connection."""
    return Caller(caller.stack, caller.key)


def test_killed_in_the_middle_of_an_upload_nothing_is_left(company, erp):
    tag = uuid.uuid4().hex[:8]
    with socket.create_connection(erp.address) as s:
        body = (HEADER + "".join(rows(30000, tag))).encode()
        s.sendall(b"POST /imports/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + erp.key.encode()
                  + b"\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        wait_until(lambda: company.stack.value(
            "select count(*) from gateway.transfer_chunk where kind = 'upload'") >= 4, LONG, "a part is there")
        kill(company)
    # It is nobody's after two minutes; the test does not wait for them.
    company.stack.psql("update gateway.transfer_work set claimed_until = '-infinity' where kind = 'upload'")
    nothing_left(company)
    assert count(company, tag) == 0


def test_a_client_that_breaks_off_leaves_nothing(company, erp):
    with socket.create_connection(erp.address) as s:
        body = (HEADER + "".join(rows(30000))).encode()
        s.sendall(b"POST /imports/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + erp.key.encode()
                  + b"\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        wait_until(lambda: company.stack.value(
            "select count(*) from gateway.transfer_chunk where kind = 'upload'") >= 4, LONG, "a part is there")
    nothing_left(company)


def test_killed_in_the_middle_of_the_work_nothing_is_done_twice(company, erp):
    erp, tag = fresh(erp), uuid.uuid4().hex[:8]
    begun = upload(erp, HEADER + "".join(rows(12000, tag))).json

    def is_under_way():
        got = erp.send("GET", f"/imports/{begun['id']}").json
        return 500 <= int(got.get("rows", 0)) and got
    seen = wait_until(is_under_way, LONG, "it is under way")
    kill(company)
    assert seen["state"] == "TRANSFER_STATE_RUNNING", "it was too quick for the test"
    done = ended(fresh(erp), begun["id"], limit=2 * LONG)
    assert done["state"] == "TRANSFER_STATE_DONE"
    assert (done["rows"], done["inserted"]) == ("12000", "12000"), "each row was new once"
    assert count(company, tag) == 12000
    lines = result(fresh(erp), begun["id"])
    assert [r["line"] for r in lines] == [str(i) for i in range(2, 12002)]
    assert company.stack.value("select count(*) from bus.log where type = 'daybook.gateway.v1.ImportFinished' "
                               f"and aggregate = 'imports/{begun['id']}'") <= 1


def test_stopped_in_the_middle_another_replica_goes_on(company, erp):
    erp, tag = fresh(erp), uuid.uuid4().hex[:8]
    begun = upload(erp, HEADER + "".join(rows(6000, tag))).json
    wait_until(lambda: int(erp.send("GET", f"/imports/{begun['id']}").json.get("rows", 0)) >= 500, LONG, "it is under way")
    replica = Gateway(company.stack)
    try:
        company.stack.kill("gateway", signal.SIGTERM)
        done = ended(Caller(replica, erp.key), begun["id"])
        assert (done["state"], done["inserted"]) == ("TRANSFER_STATE_DONE", "6000"), done
        assert len(result(Caller(replica, erp.key), begun["id"])) == 6000
    finally:
        company.stack.start("gateway")
        wait_until(lambda: company.stack.healthy("gateway"), LONG, "the gateway is back")
        assert replica.stop(), "it drains"


def test_a_small_file_does_not_wait_for_the_large_ones_of_others(company, other, erp):
    """A replica does two things at once."""
    third, n = Company(company.stack, company.clock, calendar=False), 15000
    scopes = ["customers.read", "customers.write", "tenant.all"]
    with company.stack.changed_settings("gateway", DAYBOOK_TRANSFER_TURN="1s"):
        large = [fresh(erp), Caller(company.stack, new_key(other, scopes=scopes).api_key)]
        small = Caller(company.stack, new_key(third, scopes=scopes).api_key)
        begun = [upload(caller, HEADER + "".join(rows(n))).json["id"] for caller in large]
        wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work where kind = 'import' "
                                               "and claimed_until > now()") == 2, LONG, "both are under way")
        assert imported(small, HEADER + "".join(rows(3)))["inserted"] == "3"
        states = [caller.send("GET", f"/imports/{id_}").json["state"] for caller, id_ in zip(large, begun)]
        assert states == ["TRANSFER_STATE_RUNNING"] * 2, "it came between them"
        for caller, id_ in zip(large, begun):
            assert ended(caller, id_)["inserted"] == str(n), "and nothing is lost or done twice"


def asked_for(stack, method):
    return sum(float(line.rsplit(" ", 1)[1]) for line in stack.metrics("customers").splitlines()
               if line.startswith("daybook_rpc_server_handled_total") and f'method="{method}"' in line)


def test_what_was_asked_when_a_turn_ends_is_not_asked_twice(company, other, erp):
    """Four batches of orders are under way at a time."""
    third, tag, batches = Company(company.stack, company.clock, calendar=False), uuid.uuid4().hex[:8], 80
    scopes = ["customers.read", "customers.write", "tenant.all"]
    imported(fresh(erp), HEADER + "".join(rows(1, tag)))
    body = "external_id,customer_external_id,ordered_at,amount_minor,currency\r\n" + "".join(
        f"{tag}-{i},{tag}-{0 if i % 10 == 0 else 'nobody'},2026-01-05T10:00:00+08:00,100,CNY\r\n"
        for i in range(batches * 1000))
    before = asked_for(company.stack, "BatchRecordOrders")
    with company.stack.changed_settings("gateway", DAYBOOK_TRANSFER_TURN="1s"):
        small = Caller(company.stack, new_key(third, scopes=scopes).api_key)
        mine = fresh(erp)
        large = upload(Caller(company.stack, new_key(other, scopes=scopes).api_key), HEADER + "".join(rows(15000)))
        begun = upload(mine, body, collection="orders").json["id"]
        wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work where kind = 'import' "
                                               "and claimed_until > now()") == 2, LONG, "both are under way")
        assert large.status == 202 and imported(small, HEADER + "".join(rows(3)))["inserted"] == "3"
        done = ended(mine, begun)
        assert (done["state"], done["inserted"]) == ("TRANSFER_STATE_DONE", str(batches * 100)), done
        assert asked_for(company.stack, "BatchRecordOrders") - before == batches


@pytest.mark.parametrize("kind", ["imports", "exports"])
def test_a_bus_that_was_away_uses_up_no_patience(company, erp, kind):
    """The first refusal when the bus is back, by a service that is not, ends nothing."""
    stack, patience = company.stack, 5 * SLACK
    with stack.changed_settings("gateway", DAYBOOK_TRANSFER_PATIENCE=f"{patience * 1000:.0f}ms"):
        with stack.stopped("customers"):
            begun = (create(fresh(erp)).json["export"] if kind == "exports"
                     else upload(fresh(erp), HEADER + "".join(rows(600))).json)
            stack.kill("gateway", signal.SIGTERM)  # what was asked is asked anew
            stack.kill("bus")
        stack.kill("customers")
        stack.start("gateway")
        wait_until(lambda: stack.value("select claimed_until > now() as is_under_way from gateway.transfer_work "
                                       f"where transfer_id = '{begun['id']}'"), LONG, "it is under way")
        time.sleep(patience + 1)  # no condition: that this time passes is what is tested
        stack.start("bus")
        wait_until(lambda: stack.healthy("bus"), LONG, "the bus is back")
        wait_until(lambda: any("NO_WORKER" in line and "CustomerService" in line
                               for line in stack.metrics("bus").splitlines()), LONG, "it was refused")
        stack.start("customers")
        wait_until(lambda: fresh(erp).send("GET", f"/{kind}/{begun['id']}").status == 200, LONG, "the gateway is back")
        done = ended(fresh(erp), begun["id"], kind)
        assert done["state"] == "TRANSFER_STATE_DONE", done


# --- exports ------------------------------------------------------------------------------------------


def create(caller, **export):
    return caller.post(EXPORTS + "CreateExport",
                       {"export": {"collection": "customers", "reason": "quarterly review", **export}})


def exported(caller, **export):
    made = create(caller, **export)
    assert made.status == 200, made.body
    done = ended(caller, made.json["export"]["id"], "exports")
    assert done["state"] == "TRANSFER_STATE_DONE", done
    return done


def events_of(company, export_id):
    return [r["type"].rpartition(".")[2] for r in company.stack.sql(
        f"select type from bus.log where aggregate = 'exports/{export_id}' order by seq")]


def test_a_program_exports_all(company, erp):
    erp = fresh(erp)
    tag = uuid.uuid4().hex[:8]
    imported(erp, HEADER + "".join(rows(1100, tag)) + f"{tag}-f,=1+1 {tag},E006,,\r\n")
    done = exported(erp)
    answer = erp.send("GET", f"/exports/{done['id']}/file")
    assert answer.headers["X-Daybook-Export"] == done["id"]
    assert answer.headers["Content-Digest"] == \
        "sha-256=:" + base64.b64encode(hashlib.sha256(answer.body).digest()).decode() + ":"
    table = list(csv.DictReader(io.StringIO(answer.body.decode())))
    total = company.stack.value(f"select count(*) from customers.customer where tenant_id = '{company.tenant}'")
    assert len(table) == total == int(done["rows"]) and len({r["id"] for r in table}) == total
    mine = {r["external_id"]: r for r in table if r["external_id"].startswith(tag)}
    assert len(mine) == 1101 and {r["export_id"] for r in table} == {done["id"]}
    assert mine[f"{tag}-f"]["name"] == f"'=1+1 {tag}" and mine[f"{tag}-0"]["key_account"] == "false"
    part = erp.send("GET", f"/exports/{done['id']}/file", Range="bytes=1000-")
    assert part.status == 206 and part.body == answer.body[1000:]
    wait_until(lambda: events_of(company, done["id"]) == ["ExportRequested", "ExportFinished", "ExportDownloaded",
                                                          "ExportDownloaded"], SECONDS, "all is in the log")


def test_an_export_is_cancelled_while_the_customers_are_away(company, erp):
    with company.stack.stopped("customers"):
        begun = create(fresh(erp)).json["export"]
        wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_work where kind = 'export' "
                                               "and claimed_until > now()") == 1, SECONDS, "it is under way")
        assert fresh(erp).post(EXPORTS + "CancelExport", {"id": begun["id"]}).status == 200
        done = ended(fresh(erp), begun["id"], "exports")
        assert done["state"] == "TRANSFER_STATE_CANCELLED", done
        wait_until(lambda: company.stack.value("select count(*) from bus.log where type like '%.ExportFinished' and "
                                               f"aggregate = 'exports/{begun['id']}'") == 1, SECONDS, "its end is told")


def test_columns_and_json_lines(erp):
    done = exported(fresh(erp), format="TRANSFER_FORMAT_JSONL", fields=["name", "external_id"])
    body = fresh(erp).send("GET", f"/exports/{done['id']}/file").body.decode()
    lines = [json.loads(line) for line in body.splitlines()]
    assert len(lines) == int(done["rows"]) and all(row["exportId"] == done["id"] for row in lines)
    assert {key for row in lines for key in row} <= {"name", "externalRef", "exportId"}
    done = exported(fresh(erp), fields=["name", "external_id"])
    body = fresh(erp).send("GET", f"/exports/{done['id']}/file").body.decode()
    assert body.startswith("name,external_id,export_id\r\n")


@pytest.mark.parametrize("wrong, field", [
    ({"collection": "secrets"}, "export.collection"), ({"reason": "why"}, "export.reason"),
    ({"fields": ["name", "name"]}, "export.fields[1]"), ({"fields": ["password"]}, "export.fields[0]"),
    ({"filter": {"tier": 9}}, "export.filter.tier"),
])
def test_requests_are_judged(erp, wrong, field):
    answer = create(fresh(erp), **wrong)
    assert answer.status == 400 and field in json.dumps(answer.json), answer.body


def test_a_person_needs_the_approval_of_another(company, people):
    rep, gm, rep3 = (fresh(people[who]) for who in ("rep", "gm", "rep3"))
    mine, _ = (getattr(company, who).command(CUSTOMERS + "CustomerService/Create", {
        "customer": {"name": f"Shop {uuid.uuid4()}"}}).customer for who in ("rep", "rep3"))
    asked = create(rep).json["export"]
    assert asked["state"] == "TRANSFER_STATE_AWAITING_APPROVAL"
    assert rep.send("GET", f"/exports/{asked['id']}/file").status == 409
    assert rep.post(EXPORTS + "ApproveExport", {"id": asked["id"]}).status == 403
    assert rep3.post(EXPORTS + "ApproveExport", {"id": asked["id"]}).status == 404
    own = create(gm).json["export"]
    assert gm.post(EXPORTS + "ApproveExport", {"id": own["id"]}).fault == (403, "permission_denied")
    assert gm.post(EXPORTS + "CancelExport", {"id": own["id"]}).json["export"]["state"] == "TRANSFER_STATE_CANCELLED"
    approved = gm.post(EXPORTS + "ApproveExport", {"id": asked["id"]}).json["export"]
    assert approved["approvedBy"] == company.ids["gm"]
    assert gm.post(EXPORTS + "ApproveExport", {"id": asked["id"]}).status == 400
    done = ended(rep, asked["id"], "exports")
    assert done["state"] == "TRANSFER_STATE_DONE"
    table = list(csv.DictReader(io.StringIO(rep.send("GET", f"/exports/{asked['id']}/file").body.decode())))
    assert {r["owner_id"] for r in table} == {company.ids["rep"]} and mine.id in {r["id"] for r in table}
    assert rep3.send("GET", f"/exports/{asked['id']}/file").status == 404
    assert gm.send("GET", f"/exports/{asked['id']}").status == 200
    assert gm.send("GET", f"/exports/{asked['id']}/file").fault == (403, "permission_denied"), "it is not for him"
    wait_until(lambda: events_of(company, asked["id"]) == ["ExportRequested", "ExportApproved", "ExportFinished",
                                                           "ExportDownloaded"], SECONDS, "all is in the log")
    fetched = company.stack.sql("select method, remote_address, actor_id, request_id from bus.log where aggregate = "
                                f"'exports/{asked['id']}' and type like '%.ExportDownloaded'")[0]
    assert (fetched["method"], fetched["remote_address"]) == ("GET /exports/{id}/file", "127.0.0.1")
    assert fetched["actor_id"] == company.ids["rep"] and fetched["request_id"]


def test_without_the_scope_there_is_no_export(company):
    weak = Caller(company.stack, new_key(company, scopes=["customers.read", "tenant.all"]).api_key)
    assert create(weak).fault == (403, "permission_denied")


def test_another_company_has_no_such_export(company, people, other, erp):
    strangers = [Caller(company.stack, new_key(other, **of).api_key) for of in (
        {"scopes": ["customers.read", "customers.export", "tenant.all"]}, {"employeeId": other.ids["gm"]})]
    waits, done = create(fresh(people["rep"])).json["export"], exported(fresh(erp))
    for stranger, export in ((s, e) for s in strangers for e in (waits, done)):
        for path in ("", "/file"):
            assert fresh(stranger).send("GET", f"/exports/{export['id']}{path}").fault == (404, "not_found")
        for method in ("GetExport", "ApproveExport", "CancelExport"):
            assert fresh(stranger).post(EXPORTS + method, {"id": export["id"]}).fault == (404, "not_found"), method
    for export in (waits, done):
        after = fresh(people["gm"]).send("GET", f"/exports/{export['id']}").json
        assert (after["state"], after["etag"]) == (export["state"], export["etag"]), "and nothing of it has changed"


def test_an_approved_export_is_kept_from_its_approval_on(company, people, clock):
    asked = create(fresh(people["rep"])).json["export"]
    clock.add(days=6)
    approved = fresh(people["gm"]).post(EXPORTS + "ApproveExport", {"id": asked["id"]}).json["export"]
    ended(fresh(people["rep"]), asked["id"], "exports")
    kept = datetime.fromisoformat(approved["expiresAt"]) - datetime.fromisoformat(approved["approvedAt"])
    assert kept == timedelta(days=7), approved


def test_what_nobody_approves_ends_with_its_event(company, people, clock):
    asked = create(fresh(people["rep"])).json["export"]
    clock.add(days=7, seconds=1)
    wait_until(lambda: fresh(people["rep"]).send("GET", f"/exports/{asked['id']}").status == 404, LONG, "it is gone")
    wait_until(lambda: events_of(company, asked["id"]) == ["ExportRequested", "ExportFinished"], SECONDS, "it is told")
    last = company.system.call(BUS + "EventService/ReadEvents", {"aggregate": f"exports/{asked['id']}"}).events[-1]
    told = mdp.message_class("daybook.gateway.v1.ExportFinished")()
    assert last.data.Unpack(told) and not told.export.cancel_requested
    assert told.export.state == 6 and told.export.finished_at.seconds >= told.export.expires_at.seconds, "cancelled"
    assert fresh(people["gm"]).post(EXPORTS + "ApproveExport", {"id": asked["id"]}).status == 404


def test_what_has_expired_is_deleted(company, erp, clock):
    begun = imported(fresh(erp), HEADER + "".join(rows(2)))
    clock.add(days=7, seconds=1)
    wait_until(lambda: fresh(erp).send("GET", f"/imports/{begun['id']}").status == 404, LONG, "it is gone")
    wait_until(lambda: company.stack.value("select count(*) from gateway.transfer_chunk where transfer_id = "
                                           f"'{begun['id']}'") == 0, SECONDS, "with its file")
