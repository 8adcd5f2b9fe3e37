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
    if number % 4:
        with_real_ids(case.body, case.path.split("/")[1].rsplit(".", 1)[1])


def with_real_ids(value, service):
    if isinstance(value, list):
        for element in value:
            with_real_ids(element, service)
    elif isinstance(value, dict):
        for name, content in value.items():
            real = IDS.get(f"{service}.{name}") or IDS.get(name)
            if real and isinstance(content, str):
                value[name] = real
            else:
                with_real_ids(content, service)


@schemathesis.check
def no_fault_of_ours(ctx, response, case):
    """5xx: none but 501 for a compression that is not there."""
    if response.status_code >= 500:
        asked = ((case.query or {}).get("compression"), (case.headers or {}).get("Content-Encoding"))
        assert response.status_code == 501 and any(name not in COMPRESSIONS for name in asked), response.text
