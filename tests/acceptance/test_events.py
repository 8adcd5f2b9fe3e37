"""The event log and its live stream: all of one's own, in order, without a gap, and nothing of anybody
else (protocols F)."""

import mdp
import pytest
from company import BUS, CUSTOMERS, SECONDS
from stack import wait_until

READ = BUS + "EventService/ReadEvents"
HEAD = BUS + "EventService/GetHead"


def collect(subscriber, until, seconds=SECONDS):
    """Events until the condition on what was collected holds."""
    events = []

    def more():
        got = subscriber.next(0.05)
        if got and got[2] is not None:
            events.append(got)
        return until(events)
    wait_until(more, seconds, f"the events came; so far {[e[2].type for e in events]}")
    return events


def subscribed(company, *prefixes, who="gm"):
    """A subscription that is known to have arrived: the bus publishes its head every second at least."""
    subscriber = company.stack.subscriber(company.keys[who], "~head", *prefixes)
    wait_until(lambda: subscriber.next(1), SECONDS, "the subscription was live")
    return subscriber


def test_events_come_live_and_in_an_unbroken_chain(company):
    subscriber = subscribed(company, f"{company.tenant}/daybook.")
    question = company.ask(company.customer("rep"))
    company.answer(question)
    events = collect(subscriber, lambda got: any(e.type.endswith("QuestionAnswered") for _, _, e in got))
    seqs = [seq for _, seq, _ in events]
    assert seqs == sorted(set(seqs))
    for (topic, seq, event), (_, last, _) in zip(events[1:], events):
        assert event.prev_seq == last, "prev_seq names the event of this company before it"
        assert event.seq == seq and event.tenant_id == company.tenant
        assert topic == f"{company.tenant}/{event.type}"
    names = [e.type.rsplit(".", 1)[1] for _, _, e in events]
    assert [n for n in names if n.startswith("Question")] == ["QuestionOpened", "QuestionAnswered"]
    asked = next(e for _, _, e in events if e.type.endswith("InteractionRecorded"))
    assert asked.actor_id == company.ids["rep"] and asked.request_id


def test_a_type_prefix_brings_those_only(company):
    subscriber = subscribed(company, f"{company.tenant}/daybook.customers.v1.Question")
    company.answer(company.ask(company.customer("rep")))
    events = collect(subscriber, lambda got: len(got) >= 2)
    assert [e.type.rsplit(".", 1)[1] for _, _, e in events] == ["QuestionOpened", "QuestionAnswered"]


def test_f61_another_companys_events_are_not_heard(company, other):
    """Neither by its prefix nor by an empty one, and not by ReadEvents."""
    spy = company.stack.subscriber(company.keys["gm"], f"{other.tenant}/", "", "0", "daybook.")
    fair = subscribed(company, f"{company.tenant}/daybook.")
    other.customer("rep", name="Secret")
    company.customer("rep", name="Ours")
    collect(fair, lambda got: len(got) >= 1)
    heard = []
    while (got := spy.next(0.2)) is not None:
        heard.append(got)
    assert not [e for _, _, e in heard if e is not None and e.tenant_id != company.tenant]

    head = company.system.call(HEAD).head_seq
    after = 0
    while after < head:
        page = company.gm.call(READ, {"afterSeq": str(after), "limit": 1000})
        assert all(e.tenant_id == company.tenant for e in page.events)
        after = page.events[-1].seq if page.events else head


def test_what_was_missed_is_read_from_the_log(company):
    """A consumer that was away sees a gap by prev_seq and fills it by ReadEvents."""
    subscriber = subscribed(company, f"{company.tenant}/daybook.")
    shop = company.customer("rep")
    seen = [e.seq for _, _, e in collect(subscriber, lambda got: len(got) >= 1)]
    company.stack.settle()
    while (got := subscriber.next(0.1)) is not None:
        if got[2] is not None:
            seen.append(got[1])
    subscriber.close()

    for n in range(5):  # while nobody listens
        company.ask(shop, text=f"Missed {n}?")
    company.stack.settle()

    subscriber = subscribed(company, f"{company.tenant}/daybook.")
    company.ask(shop, text="Heard again?")
    live = collect(subscriber, lambda got: len(got) >= 1)[0][2]
    assert live.prev_seq != seen[-1], "this is the gap"
    while seen[-1] < live.prev_seq:
        missed = company.gm.call(READ, {"afterSeq": str(seen[-1]), "limit": 4}).events
        for event in missed:
            if event.seq <= live.prev_seq:
                assert event.prev_seq == seen[-1]
                seen.append(event.seq)
    assert seen[-1] == live.prev_seq


def test_the_log_can_be_read_by_type_and_aggregate(company):
    question = company.ask(company.customer("rep"))
    company.stack.settle()
    got = company.gm.call(READ, {"aggregate": f"questions/{question.id}"}).events
    assert [e.type for e in got] == [CUSTOMERS + "QuestionOpened"]
    data = mdp.message_class(CUSTOMERS + "QuestionOpened")()
    assert got[0].data.Unpack(data) and data.question.id == question.id
    assert data.question.text == question.text

    only = company.gm.call(READ, {"types": [CUSTOMERS + "QuestionOpened"], "limit": 1000}).events
    assert only and {e.type for e in only} == {CUSTOMERS + "QuestionOpened"}
    prefix = company.gm.call(READ, {"types": ["daybook.directory."], "limit": 1000}).events
    assert prefix and all(e.type.startswith("daybook.directory.v1.") for e in prefix)


def test_the_head_tells_how_much_there_is(company):
    head = company.gm.call(HEAD)
    assert head.log_id and head.head_seq > 0
    counts = [t.count for t in head.types]
    assert counts == sorted(counts, reverse=True)
    assert all(t.type.startswith("daybook.") for t in head.types)


@pytest.mark.parametrize("request_", [{"limit": -1}, {"afterSeq": "-1"}])
def test_a_faulty_read_is_refused(company, request_):
    with pytest.raises(mdp.CallError) as error:
        company.gm.call(READ, request_)
    assert error.value.code == "INVALID_ARGUMENT"
