/*
 * rules.h - the timed rules (requirements 4.2 and 4.3) as one table: what opens, fulfils and
 * cancels a duty, where its facts stand in those events, how its due time is counted, whom it tells
 * when.
 *
 * Adding a rule is adding a row. Facts are named by field paths of the event ("question.asked_at"),
 * so one small reader serves every event. Pure.
 */
#ifndef DAYBOOK_REMINDERS_RULES_H
#define DAYBOOK_REMINDERS_RULES_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"

enum due_type {
    DUE_HOURS,      /* policy hours after the start, nights and holidays included (CON-10) */
    DUE_DAYS,       /* policy x 24 hours */
    DUE_WORKDAYS,   /* end of the n-th working day after the day of the start */
    DUE_END_OF_DAY, /* end of the working day, or the time of day that the policy names */
    DUE_AT,         /* the moment that the event names */
};

/* Warnings before the due time. */
enum lead_type {
    LEAD_NONE,
    LEAD_24H,     /* policy lead_offsets_24h */
    LEAD_PROMISE, /* the rule's lead_key in hours before, and 09:00 of the due day (TMR-42) */
};

#define RULE_EVENTS_MAX 3

/* How an event touches a duty. NULL path: not there. */
struct rule_event {
    const char *type;
    const char *subject; /* path of the id */
    const char *at;      /* path of the moment; NULL: the event's occurred_at */
};

struct rule {
    const char *id;
    const char *description; /* what must be done, in one sentence */
    const char *title;       /* for people, in the company's language */
    const char *collection;  /* of the subject */
    struct rule_event opened_by;
    /* Whether this event opens the rule at all; NULL: always. */
    bool (*applies)(const ProtobufCMessage *event);
    const char *assignee; /* paths in the opening event */
    const char *unit;
    const char *customer;
    const char *topic; /* text that is added to the title */
    /* Only who was there can do it: it stays with him when the customer gets another owner. */
    bool is_personal;
    const char *due; /* DUE_AT only */
    enum due_type due_type;
    const char *policy_key; /* of the number */
    const char *limit_key;  /* DUE_END_OF_DAY: never later than this many days; NULL: no limit */
    enum lead_type lead;
    const char *lead_key; /* LEAD_PROMISE */
    const char *profile;  /* "ESC-A"; the steps are the policy escalation_esc_a */
    const char *profile_key;
    const char *enabled_key;                         /* REM-20 */
    struct rule_event fulfilled_by[RULE_EVENTS_MAX]; /* ended by a NULL type */
    struct rule_event cancelled_by[RULE_EVENTS_MAX];
};

extern const struct rule rules[];
extern const size_t rules_len;

const struct rule *rule_find(const char *id); /* NULL: no such rule */

enum rule_role { RULE_OPENS, RULE_FULFILS, RULE_CANCELS };

/* What one event type means to one rule. */
struct rule_match {
    const struct rule *rule;
    enum rule_role role;
    const struct rule_event *event;
};

#define RULE_MATCHES_MAX 8

/* All that an event of that type may do; returns how many. Conditions are not judged here. */
size_t rules_match(const char *type, struct rule_match out[static RULE_MATCHES_MAX]);

const char *rule_due_type_name(enum due_type type); /* as in the contract's Rule.due_type */

/* Whether the due time or a step of the rule depends on that policy key, or ("" = the calendar) on
 * the working calendar. */
bool rule_depends_on(const struct rule *rule, const char *policy_key);

/*
 * Reads a field by its path. Text: NULL when absent or empty. Time: 0 when absent. A path that the
 * message does not have is our bug and aborts.
 */
const char *rule_text(const ProtobufCMessage *event, const char *path);
int64_t rule_time_us(const ProtobufCMessage *event, const char *path);

#endif
