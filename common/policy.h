/*
 * policy.h - the rule book: every number of the rules is a typed policy with a default, settable
 * for the company or a unit from a date on (GOV-01, REM-20; requirements sections 2 and 4).
 *
 * The keys stand in one table in policy_table.c. Values travel and are stored as text and are
 * judged by type when set and when read. Pure; thread-safe.
 */
#ifndef DAYBOOK_COMMON_POLICY_H
#define DAYBOOK_COMMON_POLICY_H

#include "common/base.h"
#include "common/id.h"

enum policy_type {
    POLICY_TYPE_INT,
    POLICY_TYPE_HOURS, /* whole or fractional hours */
    POLICY_TYPE_MINUTES,
    POLICY_TYPE_DAYS, /* of 24 hours */
    POLICY_TYPE_WORKDAYS,
    POLICY_TYPE_PERCENT,
    POLICY_TYPE_DECIMAL,
    POLICY_TYPE_BOOL,
    POLICY_TYPE_TIME,    /* HH:MM, or "workday_start", "workday_end", "end_of_working_day" */
    POLICY_TYPE_OFFSETS, /* "-4h,-1h,0" */
    POLICY_TYPE_TEXT,
    POLICY_TYPE_LIST, /* words parted by commas */
};

struct policy_def {
    const char *key;
    enum policy_type type;
    const char *default_value;
    double min, max;         /* both 0 = no bound */
    const char *description; /* one sentence with rule ids */
    /* What texts and lists must look like, judged by policy_accepts(); NULL = any. A name of a form
     * in policy.c, or "=a|b|c": each word is one of these. */
    const char *form;
};

const char *policy_type_name(enum policy_type type); /* "int", "hours", ... */

const struct policy_def *policy_find(const char *key); /* NULL: no such key */
const struct policy_def *policy_all(size_t *n_out);

/* Whether a text is a value of that key; reason_out (static) says what is expected. */
bool policy_accepts(const struct policy_def *def, const char *value, const char **reason_out);

/* One of the roles of requirements 0.4, or of `extra` (the policy extra_roles, ORG-01). */
bool policy_role_is_known(const char *role, const char *extra);
/* False: an accepted value names that role, which is neither known nor "owner" or "superior" where
 * those can be meant. Nobody would ever be told, or approve. */
#define POLICY_WORD_MAX 64
NODISCARD bool policy_roles_are_known(const struct policy_def *def, const char *value,
                                      const char *extra, char unknown_out[static POLICY_WORD_MAX]);

/* One setting, as stored. */
struct policy_setting {
    const char *key;
    struct id unit; /* nil = company */
    int64_t effective_from_us;
    const char *value;
};

/* A value with where it came from. Texts live as long as the directory snapshot. */
struct policy_value {
    const struct policy_def *def;
    const char *text;
    bool from_default;
    struct id unit; /* nil: company or default */
};

double policy_number(struct policy_value v); /* int, hours, days ... as written */
int64_t policy_us(struct policy_value v);    /* hours, minutes, days as microseconds */
bool policy_bool(struct policy_value v);
/* Offsets as microseconds; returns how many (at most max). */
size_t policy_offsets_us(struct policy_value v, int64_t *out, size_t max);
/* Minute of the local day; the words stand for the two minutes given. */
int policy_minute(struct policy_value v, int workday_start_minute, int workday_end_minute);
/* "Mon,Tue,Wed" as bits, 0 for Monday (calendar.h). False: not a list of weekdays, or empty. */
NODISCARD bool policy_week_mask(const char *text, uint8_t *mask_out);
/* "21:00-08:00" as minutes of the day; the end may lie before the start. */
NODISCARD bool policy_span(const char *text, int *from_minute_out, int *to_minute_out);

/*
 * A step of an escalation profile (requirements 4.1), e.g. "-1h:owner", "24h:supervisor",
 * "1wd:sales_manager!list", "75%:superior". One of the three places is used: a part of the time
 * before due, working days after due, or microseconds from due. "!list": the duty goes into the
 * list of whoever it is, without a message to him.
 */
#define POLICY_LIST_MARK "!list"
struct policy_step {
    int percent;
    int workdays;
    int64_t offset_us;
    char recipient[40]; /* "owner", "superior" or a role code, with the mark */
};
size_t policy_steps(struct policy_value v, struct policy_step *out, size_t max);

/* "default", "company" or "unit:<id>". buf of at least 48 bytes. */
const char *policy_provenance(struct policy_value v, char *buf, size_t size);

#endif
