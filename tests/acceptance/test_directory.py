"""A company is set up: people, lines, calendar (ORG-01, ORG-02, ORG-12)."""

import pytest

import mdp
from company import DIRECTORY

PEOPLE = DIRECTORY + "DirectoryService/"
CALENDAR = DIRECTORY + "CalendarService/"


def test_people_are_found_by_number_and_listed_in_pages(company):
    found = company.system.call(PEOPLE + "GetEmployee", {"employeeNo": "E006"}).employee
    assert found.id == company.ids["rep"] and found.superior_id == company.ids["lead"]

    numbers, token = [], ""
    while True:
        page = company.system.call(PEOPLE + "ListEmployees", {"pageSize": 3, "pageToken": token})
        assert len(page.employees) <= 3
        numbers += [e.employee_no for e in page.employees]
        token = page.next_page_token
        if not token:
            break
    assert numbers == ["E001", "E002", "E003", "E004", "E005", "E006", "E007", "E009"]


def test_org02_a_line_that_bites_its_tail_is_refused(company):
    with pytest.raises(mdp.CallError) as error:
        company.system.call(PEOPLE + "UpdateEmployee", {
            "employee": {"id": company.ids["lead"], "superiorId": company.ids["rep"]},
            "updateMask": "superiorId"}, key="cycle")
    assert error.value.code == "FAILED_PRECONDITION"
    lead = company.system.call(PEOPLE + "GetEmployee", {"id": company.ids["lead"]}).employee
    assert lead.superior_id == company.ids["supervisor"]


@pytest.mark.parametrize("start, workdays, due, passed", [
    # The day of receipt does not count; 18:00 local is the end of the day.
    ("2026-02-13T01:00:00Z", 3, "2026-02-25T10:00:00Z", "春节"),    # the Spring Festival lies between
    ("2026-05-08T01:00:00Z", 1, "2026-05-09T10:00:00Z", "make-up"),  # a Saturday that is worked
])
def test_org12_working_days_are_counted_and_explained(company, start, workdays, due, passed):
    got = company.system.call(CALENDAR + "AddWorkingDays", {"from": start, "workdays": workdays})
    assert got.due_at.ToJsonString() == due
    assert any(passed in day.reason for day in got.explanation)


def test_only_a_system_account_makes_companies(company):
    with pytest.raises(mdp.CallError) as error:
        company.gm.call(PEOPLE + "CreateTenant", {"tenant": {"name": "Mine"}}, key="mine")
    assert error.value.code == "PERMISSION_DENIED"
