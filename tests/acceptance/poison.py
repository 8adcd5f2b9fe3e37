"""What cannot be taken or fired: events and timers that the daemons put aside."""

import contextlib
import datetime as dt

from company import SECONDS, when
from stack import wait_until


@contextlib.contextmanager
def poisoned(stack, table, condition):
    """Within the block the database refuses new rows of that kind, for good: an ordinary poison."""
    stack.psql(f"alter table {table} add constraint poison check ({condition}) not valid")
    try:
        yield
    finally:
        stack.psql(f"alter table {table} drop constraint poison")


def poison_timer(company, text):
    """A question whose next timer cannot fire; (question, duty, parked row), with the poison gone.

    Given up after five tries in 15 s, and only when others fire beside it: so there are some.
    """
    customer = company.customer("rep")
    question = company.ask(customer, text=text)
    for n in range(12):
        company.ask(customer, text=f"Beside it, {n}?")
    duty = company.reminder("TMR-01", f"questions/{question.id}").reminder
    with poisoned(company.stack, "reminders.notification", f"obligation_id <> '{duty.id}'"):
        company.clock.turn(max(company.clock.now, when(duty.next_at) + dt.timedelta(seconds=1)))
        def find():
            rows = company.stack.daybook_json("timers", "parked", "--tenant", company.tenant)["parked"]
            return [row for row in rows if row["id"] == duty.id]
        row, = wait_until(find, 3 * SECONDS, "the timer was parked")
    return question, duty, row
