"""schemathesis makes requests of /openapi.json, right and wrong ones, and holds the answers against it."""

import datetime as dt
import json
import os
import pathlib
import subprocess

import pytest

from company import SECONDS, VISITS
from stack import ROOT, stamp
from web import Caller, calls_of, new_key

SCHEMATHESIS = pathlib.Path(os.environ.get("DAYBOOK_SCHEMATHESIS", ROOT / "build/interop/schemathesis"))
CHECKS = ("no_fault_of_ours", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance")


@pytest.fixture(scope="module")
def unhurried(company):
    """The gateway takes as many requests as one key sends."""
    with company.stack.changed_settings("gateway", DAYBOOK_HTTP_RATE="0"):
        yield Caller(company.stack)


@pytest.fixture(scope="module")
def key(company, unhurried):
    return new_key(company, employeeId=company.ids["gm"]).api_key


@pytest.fixture(scope="module")
def ids(company, key):
    """Something of each kind, for requests that find what they ask for."""
    shop = company.customer("rep")
    question = company.ask(shop)
    contact = company.contact(shop)
    starts = company.clock.next(3, "10:00", ahead=72)
    visit = company.rep.command(VISITS + "VisitService/Request", {"visit": {
        "customerId": shop.id, "contactId": contact.id, "purposes": ["VISIT_PURPOSE_NEEDS_SURVEY"], "goal": "To see.",
        "place": "There.", "startsAt": stamp(starts), "endsAt": stamp(starts + dt.timedelta(hours=1))}}).visit
    endpoint = Caller(company.stack, key).post("daybook.gateway.v1.WebhookService/CreateEndpoint", {
        "endpoint": {"url": "http://127.0.0.1:1/", "types": ["daybook.visits.v1."]}}).json["endpoint"]
    company.stack.settle()
    return {"customerId": shop.id, "CustomerService.id": shop.id, "questionId": question.id, "visitId": visit.id,
            "VisitService.id": visit.id, "contactId": contact.id, "employeeId": company.ids["rep"],
            "ownerId": company.ids["rep"], "unitId": company.units["EAST"], "endpointId": endpoint["id"]}


def test_no_answer_of_any_method_is_against_the_document(company, unhurried, key, ids, tmp_path):
    host, port = unhurried.address
    before = calls_of(company.stack, "ok")
    done = subprocess.run(
        [SCHEMATHESIS / "bin/schemathesis", "run", f"http://{host}:{port}/openapi.json", "--no-color",
         "-H", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
         "--generation-deterministic", "--seed", "20260302", "--max-examples", "5", "--continue-on-failure",
         # One thread: ast.parse of CPython 3.11 does not bear two that go deep at once.
         "--workers", "1", "--warnings", "off", "--request-timeout", str(2 * SECONDS)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={
            **os.environ, "SCHEMATHESIS_HOOKS": "daybook_hooks", "DAYBOOK_IDS": json.dumps(ids),
            "PYTHONPATH": str(ROOT / "tests/interop/schemathesis")})
    assert done.returncode == 0 and "No issues found" in done.stdout, done.stdout[-20000:]
    assert calls_of(company.stack, "ok") > before + 500, "hardly a request was taken:\n" + done.stdout
    company.stack.settle()
