"""What the gateway says about itself: OpenAPI, AsyncAPI and the reference, held against tools of others and against
what it really answers."""

import base64
import hashlib
import html.parser
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import pytest
from google.protobuf import descriptor_pool
from openapi_spec_validator import OpenAPIV31SpecValidator

from company import BUS, CUSTOMERS, SECONDS
from stack import ROOT, wait_until
from test_http import CREATE, GET, LIST, Caller, new_key

HERE = pathlib.Path(__file__).resolve().parent
NODE_MODULES = pathlib.Path(os.environ["DAYBOOK_GEN"]).resolve().parent / "node" / "node_modules"
PAGES = {"/openapi.json": "application/json", "/asyncapi.json": "application/json",
         "/docs": "text/html; charset=utf-8",
         "/schemas/daybook.customers.v1.CustomerCreated": "application/schema+json"}
READ_EVENTS = BUS + "EventService/ReadEvents"


@pytest.fixture
def anybody(stack):
    return Caller(stack)


@pytest.fixture(scope="module")
def rep(company):
    return Caller(company.stack, new_key(company, employeeId=company.ids["rep"]).api_key)


@pytest.fixture(scope="module")
def openapi(stack):
    return Caller(stack).send("GET", "/openapi.json").json


@pytest.fixture(scope="module")
def asyncapi(stack):
    return Caller(stack).send("GET", "/asyncapi.json").json


@pytest.fixture(scope="module")
def page(stack):
    return Caller(stack).send("GET", "/docs")


def services():
    """All services of the contract, as the protobuf runtime has them."""
    pool = descriptor_pool.Default()
    for path in sorted((ROOT / "proto").rglob("*.proto")):
        yield from pool.FindFileByName(str(path.relative_to(ROOT / "proto"))).services_by_name.values()


def events():
    pool = descriptor_pool.Default()
    for path in sorted((ROOT / "proto/daybook").rglob("events.proto")):
        yield from pool.FindFileByName(str(path.relative_to(ROOT / "proto"))).message_types_by_name.values()


def faults(document, schema, instance):
    """Of an instance by one schema of a document, whose references go to the document's components."""
    judge = jsonschema.Draft202012Validator({**schema, "components": document["components"]},
                                            format_checker=jsonschema.FormatChecker())
    return [f"{e.json_path}: {e.message}" for e in judge.iter_errors(instance)]


# --- how they are served ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_for_everybody_and_kept_for_a_while(anybody, path):
    plain = anybody.send("GET", path)
    assert (plain.status, plain.headers["Content-Type"]) == (200, PAGES[path])
    assert plain.headers["Cache-Control"] == "public, max-age=300"
    assert plain.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["X-Content-Type-Options"] == "nosniff"
    zipped = anybody.send("GET", path, Accept_Encoding="gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) < len(plain.body) / 2
    assert zipped.body == plain.body
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    for answer, encoding in ((plain, "identity"), (zipped, "gzip")):
        known = anybody.send("GET", path, If_None_Match=answer.headers["ETag"], Accept_Encoding=encoding)
        assert (known.status, known.body, known.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    head = anybody.send("HEAD", path)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", plain.headers["ETag"])
    assert int(head.headers["Content-Length"]) == len(plain.body)
    refused = anybody.send("POST", path, "{}")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert anybody.send("GET", path + "/").status == 404


def test_every_event_has_a_schema_of_its_own(anybody):
    for event in events():
        schema = anybody.send("GET", "/schemas/" + event.full_name).json
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["title"] == event.full_name
    assert anybody.send("GET", "/schemas/daybook.customers.v1.Customer").status == 404, "no event"
    assert anybody.send("GET", "/schemas/").status == 404


# --- OpenAPI ------------------------------------------------------------------------------------------


def test_openapi_is_valid_and_complete(openapi):
    assert not [f"{list(e.absolute_path)}: {e.message}" for e in OpenAPIV31SpecValidator(openapi).iter_errors()]
    assert openapi["info"]["version"] == (ROOT / "VERSION").read_text().strip()
    want = {f"/{s.full_name}/{m.name}": s.full_name for s in services() for m in s.methods if not m.server_streaming}
    assert {path: verbs["post"]["tags"][0] for path, verbs in openapi["paths"].items()} == want
    assert {tag["name"] for tag in openapi["tags"]} == set(want.values()) | {s.full_name for s in services()}
    for service in services():
        for method in service.methods:
            if method.server_streaming:
                continue
            verbs = openapi["paths"][f"/{service.full_name}/{method.name}"]
            level = method.GetOptions().idempotency_level
            assert ("get" in verbs) == (level == 1), method.full_name
            keyed = {"$ref": "#/components/parameters/Idempotency-Key"} in verbs["post"]["parameters"]
            assert keyed == (level != 1), method.full_name


def test_examples_match_their_schemas(openapi):
    for path, verbs in openapi["paths"].items():
        content = verbs["post"]["requestBody"]["content"]["application/json"]
        assert not faults(openapi, content["schema"], content["example"]), path


def response_schema(openapi, method, verb="post"):
    return openapi["paths"][f"/{method}"][verb]["responses"]["200"]["content"]["application/json"]["schema"]


def test_answers_match_their_schemas(company, openapi, rep):
    manager = Caller(company.stack, new_key(company, employeeId=company.ids["gm"]).api_key)
    made = rep.post(CREATE, {"customer": {"name": "As described", "location": {"latitude": 31.2, "longitude": 121.5}},
                             "contacts": [{"name": "Wang"}]})
    given = {CREATE: made.json, LIST: rep.post(LIST).json}
    customer = made.json["customer"]
    given[GET] = rep.post(GET, {"id": customer["id"]}).json
    given[CUSTOMERS + "ContactService/List"] = rep.post(
        CUSTOMERS + "ContactService/List", {"customerId": customer["id"]}).json
    given[READ_EVENTS] = manager.post(READ_EVENTS).json
    given[BUS + "EventService/GetHead"] = manager.post(BUS + "EventService/GetHead").json
    for method, answer in given.items():
        assert answer, method
        assert not faults(openapi, response_schema(openapi, method), answer), method
    assert given[READ_EVENTS]["events"][0]["seq"].isdigit()


def test_wrong_answers_do_not_match(openapi, rep):
    answer = rep.post(LIST).json
    schema = response_schema(openapi, LIST)
    for field, wrong in (("name", 5), ("relationType", "RELATION_TYPE_FRIEND"), ("createdAt", "yesterday"),
                         ("location", "here")):
        bad = json.loads(json.dumps(answer))
        bad["customers"][0][field] = wrong
        assert faults(openapi, schema, bad), field
    assert faults(openapi, response_schema(openapi, BUS + "EventService/GetHead"), {"headSeq": 5})


def test_errors_match_the_default_response(openapi, rep):
    answer = rep.post(CREATE, {"customer": {"name": 5}})
    response = openapi["paths"][f"/{CREATE}"]["post"]["responses"]["default"]
    assert response == {"$ref": "#/components/responses/Error"}
    error = openapi["components"]["responses"]["Error"]
    schema = error["content"]["application/json"]["schema"]
    assert answer.status == 400 and not faults(openapi, schema, answer.json)
    assert "invalid_argument 400" in error["description"]
    assert faults(openapi, schema, {"code": "no_such_code"})


def test_get_is_as_described(openapi, rep):
    operation = openapi["paths"][f"/{LIST}"]["get"]
    names = [p.get("name") or p["$ref"].rsplit("/", 1)[1] for p in operation["parameters"]]
    assert set(names) >= {"message", "encoding", "connect", "base64"}
    answer = rep.get(LIST, "connect=v1&encoding=json&message=%7B%7D")
    assert answer.status == 200 and answer.headers["ETag"]
    assert not faults(openapi, response_schema(openapi, LIST, "get"), answer.json)


# --- AsyncAPI -----------------------------------------------------------------------------------------


def parsed(document):
    """What the official parser says."""
    ran = subprocess.run(["node", HERE / "asyncapi_check.mjs"], input=json.dumps(document), text=True, check=True,
                         capture_output=True, env={**os.environ, "NODE_MODULES": str(NODE_MODULES)})
    return json.loads(ran.stdout)


def test_asyncapi_is_valid_and_complete(asyncapi):
    told = parsed(asyncapi)
    assert told["faults"] == []
    types = {event.full_name for event in events()}
    assert set(told["channels"]) == types | {"log"}
    assert set(asyncapi["components"]["messages"]) == types
    assert asyncapi["channels"]["log"]["address"].startswith(f"/{BUS}EventService/")
    for name in types:
        assert asyncapi["channels"][name]["address"] == "{tenant}/" + name
    assert parsed({**asyncapi, "info": {}})["faults"], "and the parser would say so"


def test_events_match_their_messages(company, asyncapi):
    manager = Caller(company.stack, new_key(company, employeeId=company.ids["gm"]).api_key)

    def read():
        return manager.post(READ_EVENTS, {"limit": 1000}).json.get("events", [])
    wait_until(lambda: any(e["type"].startswith(CUSTOMERS) for e in read()), SECONDS, "customers' events were logged")
    log = read()
    for event in log:
        payload = asyncapi["components"]["messages"][event["type"]]["payload"]
        assert not faults(asyncapi, payload, event), event["type"]
    first, other = log[0], next(e for e in log if e["type"] != log[0]["type"])
    assert faults(asyncapi, asyncapi["components"]["messages"][other["type"]]["payload"], first)


# --- the reference ------------------------------------------------------------------------------------


class Reader(html.parser.HTMLParser):
    """Anchors, links, the texts of style, script and examples, and whether the elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.open = [], [], []
        self.texts = {"style": [], "script": [], "pre": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        assert not [name for name in named if name == "style" or name.startswith("on")], named
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src", "action", "srcset") if name in named]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page.body.decode())


def test_the_reference_has_an_anchor_for_everything(reader):
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    want = {m.full_name for s in services() for m in s.methods} | {s.full_name for s in services()}
    want |= {t.full_name for s in services() for m in s.methods for t in (m.input_type, m.output_type)}
    want |= {event.full_name for event in events()}
    assert want <= set(reader.ids)


def test_the_reference_needs_nothing_from_elsewhere(page, reader):
    inner = {link[1:] for link in reader.links if link.startswith("#")}
    assert inner <= set(reader.ids), "links lead somewhere"
    assert {link for link in reader.links if not link.startswith("#")} == {"/openapi.json", "/asyncapi.json"}
    assert not re.search(r"url\(|@import|https?://", reader.texts["style"][0] + reader.texts["script"][0])
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for tag in ("style", "script"):
        (text,) = reader.texts[tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


def test_the_examples_of_the_reference_are_those_of_openapi(openapi, reader):
    shown = {}
    for text in reader.texts["pre"]:
        path, body = re.search(r'\$DAYBOOK_URL(/[\w./]+)".* -d \'(.*)\'$', text, re.S).groups()
        shown[path] = json.loads(body)
    assert shown == {path: verbs["post"]["requestBody"]["content"]["application/json"]["example"]
                     for path, verbs in openapi["paths"].items()}
