"""Row 10: files in and out."""

import http.client
import itertools
import json
import time

from rows_bus import TENANT
from stack import Failed, run, wait_until
from table import interleave, median

OWNER = "00000000-0000-7000-8000-000000000001"
ENDS = ("TRANSFER_STATE_DONE", "TRANSFER_STATE_FAILED", "TRANSFER_STATE_CANCELLED")


class Client:
    """A service account at the gateway."""

    def __init__(self, bench):
        self.env = bench.stack.env_of("gateway")
        made = run([bench.build / "release/bin/daybook", "call", "daybook.directory.v1.CredentialService/CreateApiKey",
                    json.dumps({"label": "bench", "scopes": ["customers.read", "customers.write", "customers.export",
                                                             "tenant.all"]})],
                   env=bench.stack.env_of("operator") | {"DAYBOOK_TENANT": TENANT})
        self.key = json.loads(made)["apiKey"]
        wait_until(lambda: self.send("GET", "/imports/" + TENANT)[0] != 401, 20, "the gateway knew the key")

    def send(self, verb, path, body=None, kind="application/octet-stream"):
        connection = http.client.HTTPConnection(self.env["DAYBOOK_HTTP_LISTEN"], timeout=60)
        connection.request(verb, path, body, {"Authorization": "Bearer " + self.key, "Content-Type": kind})
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
        connection.close()
        return status, text

    def ended(self, path):
        def look():
            got = json.loads(self.send("GET", path)[1])
            return got if got.get("state") in ENDS else None
        return wait_until(look, 600, f"{path} has ended", 0.05)


def files(bench):
    """(10) An import over HTTP beside COPY of the same rows into an equal table, and an export."""
    bench.note("row 10: import and export")
    client, numbers = Client(bench), itertools.count()
    n = 5000 if bench.quick else 20000
    bench.stack.sql("create table customers.copied (like customers.customer including all)")
    rows = bench.stack.folder / "rows.copy"

    def import_file():
        bench.stack.settle()
        tag = next(numbers)
        body = "external_id,name,city_code,owner_id\n" + "".join(
            f"bench{tag}-{i},Imported {tag} number {i},310000,{OWNER}\n" for i in range(n))
        begun = time.monotonic()
        status, text = client.send("POST", "/imports/customers?source=bench", body)
        if status != 202:
            raise Failed(f"upload: {status} {text}")
        done = client.ended("/imports/" + json.loads(text)["id"])
        if done.get("inserted") != str(n):
            raise Failed(f"import: {done}")
        return {"rate": n / (time.monotonic() - begun), "gateway_mb": bench.stack.rss_mb("gateway")}

    def copy():
        bench.stack.settle()
        bench.stack.psql(f"\\copy (select * from customers.customer where ref_source = 'bench' order by id desc "
                         f"limit {n}) to '{rows}'\n")
        begun = time.monotonic()
        bench.stack.psql(f"\\copy customers.copied from '{rows}'\n")
        took = time.monotonic() - begun
        bench.stack.sql("truncate customers.copied")
        return {"rate": n / took}

    def export_file():
        bench.stack.settle()
        begun = time.monotonic()
        status, text = client.send("POST", "/daybook.gateway.v1.ExportService/CreateExport", json.dumps(
            {"export": {"collection": "customers", "reason": "the bench"}}), "application/json")
        if status != 200:
            raise Failed(f"export: {status} {text}")
        done = client.ended("/exports/" + json.loads(text)["export"]["id"])
        return {"rate": int(done["rows"]) / (time.monotonic() - begun)}

    got = interleave(bench.runs, {"import": import_file, "copy": copy, "export": export_file})
    bench.table.keep("10", got)
    rate, limit = median(got["import"], "rate"), median(got["copy"], "rate")
    bench.table.add("10", f"import of {n} customers, consumers at work: rate", rate, "rows/s", limit,
                    "COPY into an equal table", ">= 25 % of COPY", rate >= 0.25 * limit)
    bench.table.add("10", "export of all customers: rate", median(got["export"], "rate"), "rows/s", limit,
                    "COPY into an equal table")
    bench.table.add("10", "gateway after an import: resident", median(got["import"], "gateway_mb"), "MB")
