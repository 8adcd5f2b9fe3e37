"""Every method of the contract is there, and asked with too little says what it lacks; those that list, list."""

import datetime as dt
import uuid

import contract
import mdp
import pytest

from company import BUS, CUSTOMERS, DIRECTORY, REMINDERS, SCORING, VISITS

GATEWAY = "daybook.gateway.v1."
PLAIN = ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ALREADY_EXISTS")


@pytest.mark.parametrize("method", sorted(contract.methods()))
def test_an_empty_request_is_answered_or_plainly_refused(company, method):
    for client in (company.gm, company.system):
        try:
            client.call(method, key=str(uuid.uuid4()))
        except mdp.CallError as error:
            assert error.code in PLAIN, error
            assert error.code != "INVALID_ARGUMENT" or error.fields, "it says which field"


@pytest.fixture(scope="module")
def shop(company):
    shop = company.customer("rep")
    company.contact(shop)
    return shop


def test_what_lists(company, shop):
    day = company.clock.now.date()
    assert len(company.rep.call(CUSTOMERS + "ContactService/List", {"customerId": shop.id}).contacts) == 1
    for method, request in (
            (VISITS + "CommitmentService/List", {"customerId": shop.id}),
            (VISITS + "VisitService/ListCalendar", {
                "employeeId": company.ids["rep"], "from": company.at(), "to": company.at(days=1)}),
            (REMINDERS + "ReminderService/List", {}), (SCORING + "CustomerScoreService/List", {}),
            (DIRECTORY + "CalendarService/ListDays", {
                "from": str(day), "to": str(day + dt.timedelta(days=30))}),
            (DIRECTORY + "DirectoryService/ListUnits", {}),
            (DIRECTORY + "AuditService/ListEntries", {}), (DIRECTORY + "AuditService/Verify", {})):
        company.gm.call(method, request)
    company.system.call(GATEWAY + "ExportService/ListExports")


def test_the_bus_tells_of_itself(company):
    services = company.stack.client().call(BUS + "BusService/ListServices").services
    assert "daybook.customers.v1.CustomerService" in {s.name for s in services}
    assert company.stack.client().call(BUS + "BusService/GetStats")


def test_orders_and_payments(company, shop):
    amount = {"currencyCode": "CNY", "minorUnits": "120000"}
    order = {"customerId": shop.id, "kind": "ORDER_KIND_ORDER", "orderedAt": company.at(), "amount": amount}
    batch = company.manager.command(CUSTOMERS + "DealService/BatchRecordOrders", {"rows": [{"order": order}]})
    assert len(batch.results) == 1
    paid = company.rep.command(CUSTOMERS + "DealService/RecordPayment", {"payment": {
        "customerId": shop.id, "paidAt": company.at(), "amount": amount}})
    assert paid.payment.id


def test_a_visit_is_read(company, shop):
    visit = company.rep.command(VISITS + "VisitService/CheckIn", {"customerId": shop.id}).visit
    assert company.rep.call(VISITS + "VisitService/Get", {"id": visit.id}).visit.id == visit.id
