"""The limit of a command: pgbench running the same statements, pipelined the same way.

The statements are taken from the files that the daemons are built from, so they cannot drift apart; a
parameter that this module does not know is an error.
"""

import pathlib
import re
import subprocess
import tempfile

from stack import ROOT, Failed


def statement(path, values):
    """The SQL of a file with its parameters replaced by pgbench's variables or expressions."""
    text = (ROOT / path).read_text()
    names = re.match(r"-- params:(.*)\n", text)
    body = text[names.end():].strip().rstrip(";").replace("${schema}", "customers")
    for i, name in reversed(list(enumerate(names.group(1).split(), 1))):
        if name not in values:
            raise Failed(f"{path}: the bench does not know the parameter '{name}'")
        body = re.sub(rf"\${i}(?=::)", lambda _: values[name], body)
    if "$" in body:
        raise Failed(f"{path}: a parameter is left")
    return " ".join(body.split()) + ";"


def script(tenant):
    """RecordInteraction: two pipelines, as the daemon sends them (common/db.c, interaction.c)."""
    uuid = "lpad(:{}::text, 32, '0')".format
    interaction = {
        "tenant_id": ":tenant", "id": uuid("n"), "customer_id": uuid("c"), "contact_id": "NULL",
        "employee_id": ":actor", "unit_id": "NULL", "visit_id": "NULL",
        "channel": ":channel", "direction": ":direction", "ended_at": ":at",
        "content": ":content", "needs": ":needs", "result": ":result", "next_step": "''",
        "next_contact_at": "NULL", "satisfaction": ":zero", "state": ":state", "recorded_at": ":at",
        "late": ":no", "external_ref.source": "NULL", "external_ref.id": "NULL",
    }
    command = {
        "tenant_id": ":tenant", "actor_id": ":actor", "method": ":method", "key": ":n",
        "fingerprint": ":fingerprint", "reply_type": ":reply_type", "reply": ":reply", "created_at": ":at",
    }
    event = {
        "event_id": uuid("n"), "tenant_id": ":tenant", "type": ":type", "aggregate": "('interactions/' || :n)",
        "aggregate_version": ":one", "occurred_at": ":at", "actor_id": ":actor", "request_id": ":n",
        "traceparent": "''", "method": "null", "remote_address": "null", "fields": "null", "payload": ":payload",
    }
    lines = [
        "\\set i :i + 1",
        "\\set n :base + :i * 1000 + :client_id",
        "\\set c random(1, :customers)",
        "\\startpipeline",
        "BEGIN;",
        f"SET LOCAL daybook.tenant = '{tenant}';",
        statement("common/sql/idempotency_find.sql", command),
        statement("services/customers/sql/customer_owner.sql", {"tenant_id": ":tenant", "id": uuid("c")}),
        "\\endpipeline",
        "\\startpipeline",
        statement("services/customers/sql/interaction_insert.sql", interaction),
        statement("services/customers/sql/customer_contacted.sql",
                  {"tenant_id": ":tenant", "customer_id": uuid("c"), "ended_at": ":at", "questions": ":zero"}),
        statement("common/sql/outbox_insert.sql", event),
        statement("common/sql/idempotency_insert.sql", command),
        "COMMIT;",
        "\\endpipeline",
    ]
    return "\n".join(lines) + "\n"


class Record:
    """Runs of that script; payload and answer are those of a command that went before."""

    def __init__(self, stack, tenant, customers):
        self.stack, self.runs = stack, 0
        reply, fingerprint = stack.sql("select reply, fingerprint from customers.idempotency "
                                       "where reply_type like '%.RecordInteractionResponse' limit 1")[0]
        payload = stack.value("select payload from bus.log where type like '%.InteractionRecorded' "
                              "order by seq desc limit 1")
        self.variables = {
            "tenant": tenant, "actor": "00000000-0000-7000-8000-000000000002", "customers": customers,
            "channel": "phone", "direction": "outbound", "at": stack.value("select clock_timestamp()"),
            "content": "x" * 256, "needs": "more of the same", "result": "will order next week",
            "zero": 0, "one": 1, "no": "f", "state": "recorded", "i": 0,
            "method": "daybook.customers.v1.InteractionService/RecordInteraction",
            "fingerprint": fingerprint, "reply_type": "daybook.customers.v1.RecordInteractionResponse",
            "reply": reply, "type": "daybook.customers.v1.InteractionRecorded", "payload": payload,
        }
        self.script = stack.folder / "record.pgbench"
        self.script.write_text(script(tenant))

    def __call__(self, clients, seconds):
        self.runs += 1
        with tempfile.TemporaryDirectory(dir=self.stack.folder) as where:
            args = ["pgbench", "-n", "-M", "prepared", "-f", self.script, "-c", clients, "-j", min(2, clients),
                    "-T", seconds, "-l", "--log-prefix", f"{where}/t", "-D", f"base={self.runs * 10**13}"]
            for name, value in self.variables.items():
                args += ["-D", f"{name}={value}"]
            done = subprocess.run([str(a) for a in [*args, self.stack.conninfo("daybook_customers")]], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
            if done.returncode != 0 or (failed and failed.group(1) != "0"):
                raise Failed(f"pgbench: {done.stdout[-800:]} {done.stderr[-800:]}")
            times = []
            for file in pathlib.Path(where).glob("t.*"):
                times += [int(line.split()[2]) for line in file.read_text().splitlines()]
        times.sort()
        rate = float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))
        return {"rate": rate, "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100],
                "count": len(times)}
