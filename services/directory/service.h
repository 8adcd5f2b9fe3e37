/*
 * service.h - private interface of the directory daemon: short names, and what its use cases share.
 *
 * Every command takes the lock of its company's row first and raises the revision last. So commands
 * of one company run one after another, which is what makes "no cycle in the reporting line" and
 * "one state a revision" true; they are rare, and reads take no lock.
 */
#ifndef DAYBOOK_DIRECTORY_SERVICE_H
#define DAYBOOK_DIRECTORY_SERVICE_H

#include "common/authority.h"
#include "common/call.h"
#include "common/consumer.h"
#include "daybook/directory/v1/directory.pb-c.h"
#include "daybook/directory/v1/events.pb-c.h"

typedef Daybook__Directory__V1__Tenant PbTenant;
typedef Daybook__Directory__V1__Unit PbUnit;
typedef Daybook__Directory__V1__Employee PbEmployee;
typedef Daybook__Directory__V1__PolicySetting PbPolicySetting;
typedef Daybook__Directory__V1__PolicyKey PbPolicyKey;
typedef Daybook__Directory__V1__CalendarDay PbCalendarDay;
typedef Daybook__Directory__V1__DayVerdict PbDayVerdict;
typedef Daybook__Directory__V1__Credential PbCredential;

/* Makes the audit trail. */
extern const struct consumer_def directory_consumer;
extern const struct method directory_methods[];
extern const size_t directory_methods_len;

/* --- use cases, one a method ------------------------------------------------------------------ */

call_handler tenant_create;
call_handler unit_create;
call_handler unit_list;
call_handler employee_create;
call_handler employee_get;
call_handler employee_update;
call_handler employee_list;
call_handler rulebook_get;
call_handler rulebook_set;
call_handler rulebook_list;
call_handler rulebook_history;
call_handler workdays_import;
call_handler workdays_add;
call_handler workdays_list;
call_handler credential_create_api_key;
call_handler credential_register_curve_key;
call_handler credential_revoke_api_key;
call_handler credential_revoke_curve_key;
call_handler credential_create_calendar_feed;
call_handler credential_revoke_calendar_feed;
call_handler credential_list;
call_handler credential_note_use;
call_handler audit_list_entries;
call_handler audit_verify;

/* --- shared ----------------------------------------------------------------------------------- */

/* What an employee must be to do something; service accounts were judged by scope before. */
enum directory_right {
    RIGHT_PEOPLE, /* units, employees */
    RIGHT_POLICIES,
    RIGHT_CALENDAR,
    RIGHT_CREDENTIALS,
    RIGHT_AUDIT,
};
NODISCARD enum err directory_need_right(struct call *call, enum directory_right right);
bool directory_has_right(const struct call *call, enum directory_right right);
bool directory_is_employee(const struct call *call); /* the caller is a person */

/* Locks the company's row. ERR_NOT_FOUND with words: there is no such company. */
NODISCARD enum err directory_lock(struct call *call);
/* Ends a command: raises the revision (queued), and has our own snapshot refreshed after the
 * commit. */
NODISCARD enum err directory_changed(struct call *call);
/* ERR_NOT_FOUND with words, unless the unit is there or the text is empty. */
NODISCARD enum err directory_need_unit(struct call *call, const char *unit_id, const char *field);

/* What a violated constraint means to the caller. Ended by a NULL constraint. */
struct constraint_words {
    const char *constraint;
    enum err code;
    const char *field;
    const char *text;
};
/* The failure e of the last statement in words, where `words` has them; e else. */
enum err directory_explain(struct call *call, enum err e, const struct constraint_words *words);

/* The given id text in lower case, or a new one when it is empty; NULL: the arena is full. */
char *directory_id(struct call *call, const char *given);
/* An id that the caller sent, in the form that the database gives back (lower case). */
NODISCARD enum err directory_normalise(struct call *call, char **id);
/* The row version after a first insert, as etag. */
char *directory_etag(struct call *call, int64_t version);

#endif
