"""Orders make scores, scores make tiers, with reasons (SCO-02 to SCO-06, requirements 5.1)."""

import mdp
import pytest
from company import BUS, CUSTOMERS, SCORING, SECONDS
from stack import wait_until

GET = SCORING + "CustomerScoreService/Get"
A, B, C, D = 1, 2, 3, 4


def order(company, shop, amount, currency="CNY", **fields):
    return company.rep.command(CUSTOMERS + "DealService/RecordOrder", {"order": {
        "customerId": shop.id, "kind": "ORDER_KIND_ORDER", "orderedAt": company.at(),
        "amount": {"currencyCode": currency, "minorUnits": str(amount)}, **fields}}).order


def score(company, shop, condition, what):
    def ask():
        got = company.rep.call(GET, {"customerId": shop.id})
        return got if condition(got.score) else None
    return wait_until(ask, SECONDS, what)


def test_orders_lift_the_tier_and_every_number_is_explained(company):
    shop = company.customer("rep", potentialRating=90)
    got = score(company, shop, lambda s: s.tier == D, "a customer without orders was D")
    assert got.score.recency_days == -1 and got.score.orders_12m == 0

    # 0.30 F + 0.40 M + 0.30 P: 12 orders and CNY 600,000 a year give full marks.
    for n in range(12):
        order(company, shop, 5_000_000)
    got = score(company, shop, lambda s: s.orders_12m == 12, "all orders counted")
    s = got.score
    assert s.tier == A and s.amount_12m.minor_units == 60_000_000
    parts = {p.name: p for p in s.parts}
    assert parts["frequency"].rating == 100 and parts["money"].rating == 100
    assert parts["potential"].rating == 90
    assert sum(p.weight for p in s.parts) == pytest.approx(1)
    assert s.value_score == pytest.approx(sum(p.points for p in s.parts), abs=0.01) == 97
    assert all(p.explanation for p in s.parts) and s.reasons
    assert {"score_weight_money", "tier_threshold_a"} <= {p.key for p in s.policies}
    assert [h.new_tier for h in got.history][0] == A and got.history[-1].new_tier == D

    def file_shows_it():
        return company.rep.call(CUSTOMERS + "CustomerService/Get", {"id": shop.id}).customer.tier == A
    wait_until(file_shows_it, SECONDS, "the customer file showed the tier")
    changed = company.system.call(BUS + "EventService/ReadEvents", {
        "aggregate": f"customer_scores/{shop.id}", "types": [SCORING + "CustomerTierChanged"]}).events
    assert [e.aggregate_version for e in changed] == list(range(1, len(changed) + 1))


def test_a_cancellation_takes_the_order_back(company):
    shop = company.customer("rep", potentialRating=50)
    order(company, shop, 40_000_000)
    before = score(company, shop, lambda s: s.orders_12m == 1, "the order counted").score.value_score
    order(company, shop, -40_000_000, kind="ORDER_KIND_CANCELLATION")
    after = score(company, shop, lambda s: s.amount_12m.minor_units == 0, "it was taken back").score
    assert after.value_score < before


def test_sco03_hysteresis_keeps_a_tier_at_the_border(company):
    """Just below the threshold a customer who has the tier keeps it; one who has not does not get it."""
    shop = company.customer("rep", potentialRating=100)
    for _ in range(12):
        order(company, shop, 2_500_000)          # F 100, M 50, P 100: 80 points
    got = score(company, shop, lambda s: s.orders_12m == 12, "all orders counted").score
    assert (got.value_score, got.raw_tier) == (80, A)
    assert got.tier == B, "from below, A is reached at 80 + 3"
    order(company, shop, 6_000_000)              # M 60: 84 points
    got = score(company, shop, lambda s: s.orders_12m == 13, "the next counted").score
    assert got.tier == A
    order(company, shop, -9_000_000, kind="ORDER_KIND_CANCELLATION")  # 78 points: below 80, above 77
    got = score(company, shop, lambda s: s.value_score < 80, "the cancellation counted").score
    assert (got.tier, got.raw_tier) == (A, B)
    assert got.reasons


def test_an_order_with_a_reference_is_taken_once(company):
    shop = company.customer("rep")
    ref = {"source": "erp", "id": f"SO-{shop.id}"}
    first = order(company, shop, 100_000, externalRef=ref)
    again = order(company, shop, 100_000, externalRef=ref)
    assert again.id == first.id
    company.stack.settle()
    assert score(company, shop, lambda s: True, "").score.orders_12m == 1


def test_another_currency_is_refused_by_field(company):
    with pytest.raises(mdp.CallError) as error:
        order(company, company.customer("rep"), 1, currency="USD")
    assert error.value.code == "INVALID_ARGUMENT" and error.value.fields[0].startswith("order.amount")


def test_tmr78_recompute_is_for_superiors(company):
    shop = company.customer("rep")
    with pytest.raises(mdp.CallError) as error:
        company.rep.call(SCORING + "CustomerScoreService/Recompute", {"customerId": shop.id}, key="no")
    assert error.value.code == "PERMISSION_DENIED"
    company.clock.add(days=1)
    company.manager.command(SCORING + "CustomerScoreService/Recompute", {"customerId": shop.id})
    score(company, shop, lambda s: s.scored_at.ToJsonString() >= company.at()[:19], "it was scored anew")
