"""Customer files: made once, changed with care, listed in pages, with all that happened (CUS, INT-22)."""

import uuid

import pytest

import mdp
from company import BUS, CUSTOMERS, SECONDS, VISITS, when
from stack import wait_until

SERVICE = CUSTOMERS + "CustomerService/"


def refused(client, method, request, **options):
    with pytest.raises(mdp.CallError) as error:
        client.call(method, request, **options)
    return error.value


@pytest.fixture(scope="module")
def shop(company):
    return company.customer("rep", name="上海海棠路便利商行", cityCode="310100", address="海棠路12号")


def test_a_file_is_made_and_read_back(company, shop):
    got = company.rep.call(SERVICE + "Get", {"id": shop.id}).customer
    assert (got.name, got.city_code, got.owner_id) == (shop.name, "310100", company.ids["rep"])
    assert when(got.created_at) == company.clock.now


def test_cus07_a_likely_duplicate_is_refused_and_named(company, shop):
    twin = {"customer": {"name": "上海海棠路 便利商行", "cityCode": "310100"}}
    error = refused(company.rep, SERVICE + "Create", twin, key="twin")
    assert error.code == "ALREADY_EXISTS" and error.reason == "DUPLICATE_CUSTOMER"
    assert error.details["ResourceInfo"].resource_name == shop.id

    found = company.rep2.call(SERVICE + "FindDuplicates", {"name": shop.name, "cityCode": "310100"})
    assert [c.customer_id for c in found.candidates] == [shop.id]

    confirmed = company.rep.command(SERVICE + "Create", {**twin, "allowDuplicate": True}).customer
    assert confirmed.id != shop.id


def test_cus07_a_contacts_phone_finds_the_duplicate_too(company):
    phone = f"199{uuid.uuid4().int % 10**8:08d}"
    made = company.rep.command(SERVICE + "Create", {
        "customer": {"name": "Phone Shop"}, "contacts": [{"name": "Wang", "phone": phone}]})
    assert phone not in made.contacts[0].phone, "personal data is masked"
    error = refused(company.rep, SERVICE + "Create", {
        "customer": {"name": "Quite Another"}, "contacts": [{"name": "Li", "phone": phone}]}, key=phone)
    assert error.code == "ALREADY_EXISTS"


def test_an_update_touches_what_its_mask_names(company):
    shop = company.customer("rep", industry="grocery", address="Old Street 1")
    changed = company.rep.command(SERVICE + "Update", {
        "customer": {"id": shop.id, "address": "New Street 2", "industry": "books"},
        "updateMask": "address"}).customer
    assert (changed.address, changed.industry) == ("New Street 2", "grocery")

    cleared = company.rep.command(SERVICE + "Update", {"customer": {"id": shop.id},
                                                       "updateMask": "industry"}).customer
    assert cleared.industry == "" and cleared.address == "New Street 2"

    error = refused(company.rep, SERVICE + "Update", {"customer": {"id": shop.id},
                                                      "updateMask": "nameOfDog"}, key="dog")
    assert error.code == "INVALID_ARGUMENT"


def test_an_update_with_a_stale_etag_is_refused(company):
    shop = company.customer("rep")
    etag = company.rep.call(SERVICE + "Get", {"id": shop.id}).customer.etag
    first = {"customer": {"id": shop.id, "address": "First", "etag": etag}, "updateMask": "address"}
    second = {"customer": {"id": shop.id, "address": "Second", "etag": etag}, "updateMask": "address"}
    assert company.rep.command(SERVICE + "Update", first).customer.etag != etag
    assert refused(company.rep, SERVICE + "Update", second, key="stale").code == "ABORTED"
    assert company.rep.call(SERVICE + "Get", {"id": shop.id}).customer.address == "First"


def test_versions_of_a_file_rise_with_the_contacts_that_come_with_it(company):
    """What a listener takes for the newest state of a file is the newest."""
    made = company.rep.command(SERVICE + "Create", {
        "customer": {"name": f"Versions {uuid.uuid4()}"}, "contacts": [{"name": "Mx Li"}, {"name": "Mx Wu"}]})
    row = {"customer": {"name": f"Import {uuid.uuid4()}",
                        "externalRef": {"source": "versions", "id": uuid.uuid4().hex}},
           "ownerNo": "E006", "contacts": [{"name": "Mx Li"}, {"name": "Mx Wu"}]}
    imported = company.gm.command(SERVICE + "BatchImport", {"rows": [row]})
    company.stack.settle()
    for id_ in made.customer.id, imported.results[0].id:
        events = company.gm.call(BUS + "EventService/ReadEvents", {"aggregate": f"customers/{id_}"}).events
        assert [(e.type.rsplit(".", 1)[1], e.aggregate_version) for e in events] == [
            ("CustomerCreated", 1), ("ContactCreated", 2), ("ContactCreated", 3)]
        assert company.rep.call(SERVICE + "Get", {"id": id_}).customer.etag == "3"


def test_lists_come_in_pages(company):
    names = {f"Page shop {n:02d}" for n in range(7)}
    for name in names:
        company.rep3.command(SERVICE + "Create", {"customer": {"name": name}})
    seen, token, pages = [], "", 0
    while True:
        page = company.rep3.call(SERVICE + "List", {"pageSize": 3, "pageToken": token})
        seen += [c.name for c in page.customers]
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    assert pages >= 3 and len(seen) == len(set(seen)) and names <= set(seen)
    assert seen == sorted(seen)


def test_a_page_token_is_good_for_its_own_list_only(company):
    for n in range(2):
        company.rep3.command(SERVICE + "Create", {"customer": {"name": f"Token shop {n}"}})
    token = company.rep3.call(SERVICE + "List", {"pageSize": 1}).next_page_token
    assert token
    for client, request in (
            (company.rep3, {"pageToken": token, "tier": "TIER_A"}),         # another filter
            (company.rep, {"pageToken": token}),                             # another caller
            (company.rep3, {"pageToken": token[:-2] + ("AA" if token[-2:] != "AA" else "BA")}),  # altered
            (company.rep3, {"pageToken": "nonsense"}),
            (company.rep3, {"pageSize": -1})):
        error = refused(client, SERVICE + "List", request)
        assert error.code == "INVALID_ARGUMENT", request


def test_int22_the_timeline_tells_what_happened_newest_first(company):
    shop = company.customer("rep")
    company.clock.add(minutes=1)
    question = company.ask(shop, text="How much?")
    company.clock.add(minutes=1)
    company.answer(question)
    company.clock.add(minutes=1)
    company.rep.command(CUSTOMERS + "DealService/RecordOrder", {"order": {
        "customerId": shop.id, "kind": "ORDER_KIND_ORDER", "orderedAt": company.at(),
        "amount": {"currencyCode": "CNY", "minorUnits": "120000"}}})
    company.clock.add(minutes=1)
    company.rep.command(VISITS + "VisitService/CheckIn", {"customerId": shop.id})

    def kinds():
        entries = company.rep.call(SERVICE + "GetTimeline", {"customerId": shop.id, "pageSize": 100}).entries
        times = [e.happened_at.ToNanoseconds() for e in entries]
        assert times == sorted(times, reverse=True)
        names = [type_name(e) for e in entries]
        return names if "VISIT" in names and "TIER" in names else None
    got = wait_until(kinds, SECONDS, "visit and tier reached the timeline")
    assert got[0] == "VISIT"
    assert {"ORDER", "ANSWER", "QUESTION", "INTERACTION", "VISIT", "TIER"} <= set(got)

    # In pages it is the same timeline.
    seen, token = [], ""
    while True:
        page = company.rep.call(SERVICE + "GetTimeline",
                                {"customerId": shop.id, "pageSize": 2, "pageToken": token})
        seen += [type_name(e) for e in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert seen == got


def type_name(entry):
    kind = type(entry).DESCRIPTOR.fields_by_name["kind"].enum_type
    return kind.values_by_number[entry.kind].name.removeprefix("TIMELINE_KIND_")


def test_f62_text_is_kept_as_it_was_written(company):
    nasty = "Robert'); DROP TABLE customer;-- \\ \" {,} \n =cmd|' /C calc'!A0 😀 <script>"
    shop = company.customer("rep", name=nasty.replace("\n", " "))
    assert company.rep.call(SERVICE + "Get", {"id": shop.id}).customer.name == nasty.replace("\n", " ")
    company.rep.command(CUSTOMERS + "InteractionService/RecordInteraction", {"interaction": {
        "customerId": shop.id, "channel": "CHANNEL_EMAIL", "content": nasty}})
    kept = company.rep.call(CUSTOMERS + "InteractionService/List", {"customerId": shop.id}).interactions
    assert kept[0].content == nasty
