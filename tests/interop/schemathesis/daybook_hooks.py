"""What schemathesis must know of Daybook besides its OpenAPI document (SCHEMATHESIS_HOOKS).

DAYBOOK_IDS: JSON, ids that exist by the name of the field ("customerId"), or by service and field
("CustomerService.id").
"""

import itertools
import json
import os
import re
import threading

import schemathesis

IDS = json.loads(os.environ["DAYBOOK_IDS"])
NOBODY = "http://127.0.0.1:1/"
COMPRESSIONS = (None, "", "gzip", "identity")
calls, lock = itertools.count(), threading.Lock()


@schemathesis.hook
def before_call(context, case, kwargs):
    """What is generated for a field whose pattern says little would be refused before anything is looked at: no
    time to answer, one idempotency key for all commands, ids of nothing. Wrong values stay as they are."""
    with lock:
        number = next(calls)
    if case.headers:
        if re.fullmatch("[0-9]{1,10}", str(case.headers.get("Connect-Timeout-Ms", ""))):
            case.headers["Connect-Timeout-Ms"] = "30000"
        if re.fullmatch("[!-~]{1,200}", str(case.headers.get("Idempotency-Key", ""))):
            case.headers["Idempotency-Key"] += f".{number}"
    service = case.path.split("/")[1].rsplit(".", 1)[1]
    stay_here(case.body)
    if number % 4:
        replace(case.body, lambda name, text: IDS.get(f"{service}.{name}") or IDS.get(name, text))


def stay_here(body):
    """Webhooks and channels are posted to: on this machine, where nobody listens, and nowhere else."""
    replace(body, lambda name, text: NOBODY if name == "url" and text.lower().startswith("http") else text)


def replace(value, by):
    """Each text in it, by what the function makes of the field's name and the text."""
    if isinstance(value, list):
        for element in value:
            replace(element, by)
    elif isinstance(value, dict):
        for name, content in value.items():
            if isinstance(content, str):
                value[name] = by(name, content)
            else:
                replace(content, by)


@schemathesis.check
def no_fault_of_ours(ctx, response, case):
    """5xx: none but 501 for a compression that is not there."""
    if response.status_code >= 500:
        asked = ((case.query or {}).get("compression"), (case.headers or {}).get("Content-Encoding"))
        assert response.status_code == 501 and any(name not in COMPRESSIONS for name in asked), response.text
