/*
 * methods.c - which method is answered by whom, and what its request must look like.
 */
#include "services/directory/service.h"

#include "common/consumer_service.h"
#include "services/directory/audit.h"
#include "services/directory/credential_rules.h"
#include "services/directory/workdays_rules.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

static const struct check create_tenant_checks[] = {
    { "tenant", CHECK_REQUIRED, 0, 0 },
    { "tenant.id", CHECK_ID, 0, 0 },
    { "tenant.name", CHECK_REQUIRED | CHECK_LENGTH, 1, 200 },
    { "tenant.time_zone", CHECK_LENGTH, 0, 64 },
    { "tenant.currency_code", CHECK_CURRENCY, 0, 0 },
    END,
};
static const struct check create_unit_checks[] = {
    { "unit", CHECK_REQUIRED, 0, 0 },      { "unit.id", CHECK_ID, 0, 0 },
    { "unit.code", CHECK_REQUIRED, 0, 0 }, { "unit.name", CHECK_REQUIRED | CHECK_LENGTH, 1, 200 },
    { "unit.parent_id", CHECK_ID, 0, 0 },  END,
};
static const struct check create_employee_checks[] = {
    { "employee", CHECK_REQUIRED, 0, 0 },
    { "employee.id", CHECK_ID, 0, 0 },
    { "employee.employee_no", CHECK_REQUIRED | CHECK_LENGTH, 1, 32 },
    { "employee.name", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "employee.unit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "employee.roles", CHECK_REQUIRED | CHECK_COUNT, 1, DIR_ROLES_MAX },
    { "employee.superior_id", CHECK_ID, 0, 0 },
    END,
};
static const struct check get_employee_checks[] = {
    { "id", CHECK_ID, 0, 0 },
    { "employee_no", CHECK_LENGTH, 0, 32 },
    END,
};
static const struct check update_employee_checks[] = {
    { "employee", CHECK_REQUIRED, 0, 0 },
    { "employee.id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "employee.name", CHECK_LENGTH, 0, 100 },
    { "employee.unit_id", CHECK_ID, 0, 0 },
    { "employee.roles", CHECK_COUNT, 0, DIR_ROLES_MAX },
    { "employee.superior_id", CHECK_ID, 0, 0 },
    { "update_mask.paths", CHECK_COUNT, 0, 16 },
    END,
};
static const struct check list_employees_checks[] = {
    { "unit_id", CHECK_ID, 0, 0 },
    END,
};
static const struct check get_policy_checks[] = {
    { "key", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "unit_id", CHECK_ID, 0, 0 },
    { "at", CHECK_TIME, 0, 0 },
    END,
};
static const struct check set_policy_checks[] = {
    { "key", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "value", CHECK_LENGTH, 0, 1000 },
    { "unit_id", CHECK_ID, 0, 0 },
    { "effective_from", CHECK_TIME, 0, 0 },
    { "reason", CHECK_REQUIRED | CHECK_LENGTH, 1, 500 },
    END,
};
static const struct check list_policies_checks[] = {
    { "unit_id", CHECK_ID, 0, 0 },
    END,
};
static const struct check policy_history_checks[] = {
    { "key", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    END,
};
static const struct check import_days_checks[] = {
    { "year", CHECK_RANGE, WORKDAYS_YEAR_MIN, WORKDAYS_YEAR_MAX },
    { "days", CHECK_COUNT, 0, 366 },
    { "days[].date", CHECK_REQUIRED | CHECK_DATE, 0, 0 },
    { "days[].name", CHECK_LENGTH, 0, 100 },
    END,
};
static const struct check add_working_days_checks[] = {
    { "from", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "workdays", CHECK_RANGE, 1, 400 },
    END,
};
static const struct check list_days_checks[] = {
    { "from", CHECK_REQUIRED | CHECK_DATE, 0, 0 },
    { "to", CHECK_REQUIRED | CHECK_DATE, 0, 0 },
    END,
};
static const struct check create_api_key_checks[] = {
    { "employee_id", CHECK_ID, 0, 0 },
    { "label", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "scopes", CHECK_COUNT, 0, CREDENTIAL_SCOPES_MAX },
    { "expires_at", CHECK_TIME, 0, 0 },
    { "allowed_networks", CHECK_COUNT, 0, CREDENTIAL_NETWORKS_MAX },
    END,
};
static const struct check register_curve_key_checks[] = {
    { "employee_id", CHECK_ID, 0, 0 },
    { "label", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "scopes", CHECK_COUNT, 0, CREDENTIAL_SCOPES_MAX },
    { "curve_public_key", CHECK_REQUIRED, 0, 0 },
    { "expires_at", CHECK_TIME, 0, 0 },
    END,
};
static const struct check create_calendar_feed_checks[] = {
    { "employee_id", CHECK_ID, 0, 0 },
    { "label", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "expires_at", CHECK_TIME, 0, 0 },
    END,
};
static const struct check revoke_checks[] = {
    { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    END,
};
static const struct check note_use_checks[] = {
    { "uses", CHECK_REQUIRED | CHECK_COUNT, 1, CREDENTIAL_USES_MAX },
    { "uses[].credential_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "uses[].used_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "uses[].refused", CHECK_LENGTH | CHECK_CODE, 0, 64 },
    { "uses[].remote_address", CHECK_LENGTH, 0, 45 },
    { "uses[].secret_hash", CHECK_LENGTH | CHECK_CODE, 0, 64 },
    END,
};

static const struct check list_entries_checks[] = {
    { "actor_id", CHECK_ID, 0, 0 },
    { "aggregate", CHECK_LENGTH, 0, AUDIT_TEXT_MAX },
    { "type", CHECK_LENGTH, 0, AUDIT_TEXT_MAX },
    { "method", CHECK_LENGTH, 0, AUDIT_TEXT_MAX },
    { "outcome", CHECK_ENUM, 0, 0 },
    { "from", CHECK_TIME, 0, 0 },
    { "to", CHECK_TIME, 0, 0 },
    END,
};
static const struct check verify_checks[] = {
    { "after_number", CHECK_RANGE, 0, AUDIT_NUMBER_MAX },
    { "limit", CHECK_RANGE, 0, AUDIT_VERIFY_MAX },
    END,
};

#define DIRECTORY "daybook.directory.v1.DirectoryService"
#define POLICY "daybook.directory.v1.PolicyService"
#define CALENDAR "daybook.directory.v1.CalendarService"
#define AUDIT "daybook.directory.v1.AuditService"
#define CREDENTIAL "daybook.directory.v1.CredentialService"

const struct method directory_methods[] = {
    { DIRECTORY, "CreateTenant", tenant_create, NULL, create_tenant_checks, METHOD_TENANTLESS },
    { DIRECTORY, "CreateUnit", unit_create, "directory.write", create_unit_checks, false },
    { DIRECTORY, "ListUnits", unit_list, "directory.read", NULL, false },
    { DIRECTORY, "CreateEmployee", employee_create, "directory.write", create_employee_checks,
      false },
    { DIRECTORY, "GetEmployee", employee_get, "directory.read", get_employee_checks, false },
    { DIRECTORY, "UpdateEmployee", employee_update, "directory.write", update_employee_checks,
      false },
    { DIRECTORY, "ListEmployees", employee_list, "directory.read", list_employees_checks,
      METHOD_BULK_READ },
    { POLICY, "Get", rulebook_get, "directory.read", get_policy_checks, false },
    { POLICY, "Set", rulebook_set, "policies.write", set_policy_checks, false },
    { POLICY, "List", rulebook_list, "directory.read", list_policies_checks, false },
    { POLICY, "History", rulebook_history, "directory.read", policy_history_checks, false },
    { CALENDAR, "ImportDays", workdays_import, "calendar.write", import_days_checks, false },
    { CALENDAR, "AddWorkingDays", workdays_add, "directory.read", add_working_days_checks, false },
    { CALENDAR, "ListDays", workdays_list, "directory.read", list_days_checks, false },
    { CREDENTIAL, "CreateApiKey", credential_create_api_key, "credentials.write",
      create_api_key_checks, false },
    { CREDENTIAL, "RegisterCurveKey", credential_register_curve_key, "credentials.write",
      register_curve_key_checks, false },
    { CREDENTIAL, "RevokeApiKey", credential_revoke_api_key, "credentials.write", revoke_checks,
      false },
    { CREDENTIAL, "RevokeCurveKey", credential_revoke_curve_key, "credentials.write", revoke_checks,
      false },
    { CREDENTIAL, "CreateCalendarFeed", credential_create_calendar_feed, "credentials.write",
      create_calendar_feed_checks, false },
    { CREDENTIAL, "RevokeCalendarFeed", credential_revoke_calendar_feed, "credentials.write",
      revoke_checks, false },
    { CREDENTIAL, "List", credential_list, "credentials.write", NULL, METHOD_BULK_READ },
    { CREDENTIAL, "NoteUse", credential_note_use, NULL, note_use_checks, false },
    { AUDIT, "ListEntries", audit_list_entries, "audit.read", list_entries_checks,
      METHOD_BULK_READ },
    { AUDIT, "Verify", audit_verify, "audit.read", verify_checks, false },
    CONSUMER_SERVICE_METHODS("daybook.directory.v1"),
};
const size_t directory_methods_len = ARRAY_LEN(directory_methods);
