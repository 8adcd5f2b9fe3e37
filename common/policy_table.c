/*
 * policy_table.c - every key of the rule book with its type, default and range.
 *
 * Sources: requirements section 2 (conflicts), 4.1 (global keys), 4.2 (timed rules), 5.1 (scores).
 * To add a rule's number, add a row; nothing else knows the keys but the rule that reads it. A key
 * stands here only when something reads it: who sets it expects an effect
 * (tools/check-policies.sh).
 */
#include "common/policy_table.h"

#define INT POLICY_TYPE_INT
#define HOURS POLICY_TYPE_HOURS
#define MINUTES POLICY_TYPE_MINUTES
#define DAYS POLICY_TYPE_DAYS
#define DECIMAL POLICY_TYPE_DECIMAL
#define BOOL POLICY_TYPE_BOOL
#define TIME POLICY_TYPE_TIME
#define OFFSETS POLICY_TYPE_OFFSETS
#define TEXT POLICY_TYPE_TEXT
#define LIST POLICY_TYPE_LIST

/* Every timer can be switched off per scope (requirements 4.1): one key a rule of 4.2. */
#define ENABLED(nn)                                                                                \
    {                                                                                              \
        "reminder_enabled_tmr_" #nn, BOOL, "true", 0, 0,                                           \
            "Whether timer TMR-" #nn " runs (REM-20).", NULL                                       \
    }

/* clang-format off */
const struct policy_def policy_table[] = {
    /* --- global keys (requirements 4.1) */
    { "timezone", TEXT, "Asia/Shanghai", 0, 0,
      "Time zone of days and working hours (ORG-12).", "zone" },
    { "workday_start", TIME, "09:00", 0, 0,
      "Start of the working day (ORG-12, A-26).", NULL },
    { "workday_end", TIME, "18:00", 0, 0,
      "End of the working day; due time of rules in working days (ORG-12, A-26).", NULL },
    { "working_week", LIST, "Mon,Tue,Wed,Thu,Fri", 0, 0,
      "Weekdays worked, before holidays and make-up days (ORG-12).", "weekdays" },
    { "hour_clock", TEXT, "absolute", 0, 0,
      "Whether hours run day and night or in working time only (CON-10).", "=absolute|business" },
    { "lead_offsets_24h", OFFSETS, "-4h,-1h,0", 0, 0,
      "When the 24-hour family reminds, measured from the due time (REM-02).", NULL },
    { "quiet_hours", TEXT, "21:00-08:00", 0, 0,
      "Local time in which messages wait unless urgent; the clock never waits (REM-12).", "span" },
    { "money_currency", TEXT, "CNY", 0, 0,
      "Currency of the company's amounts, ISO 4217.", "currency" },
    { "escalation_esc_a", LIST, "0:owner,0:superior,24h:supervisor,48h:sales_manager", 0, 0,
      "Escalation of customer-facing duties (ESC-A).", "steps" },
    { "escalation_esc_b", LIST, "0:owner,2h:superior,1wd:supervisor!list", 0, 0,
      "Escalation of internal duties (ESC-B).", "steps" },
    { "escalation_esc_0", LIST, "0:owner", 0, 0,
      "Advice only, nobody else is told (ESC-0).", "steps" },
    /* --- organisation and rules */
    { "extra_roles", LIST, "", 0, 0,
      "Role codes of the company besides those of requirements 0.4 (ORG-01).", NULL },
    { "key_account_from_tier", TEXT, "A", 0, 0,
      "Customers of this tier and above are key accounts, marked or not (CON-02, CUS-14).",
      "=A|B|C|D|none" },
    /* --- the 24-hour family */
    { "question_feedback_hours", HOURS, "24", 0.01, 720,
      "Hours until a customer's open question must have a preliminary answer (TMR-01, INT-04, CON-22).",
      NULL },
    { "interaction_update_hours", HOURS, "24", 0.01, 720,
      "Hours after a communication until the customer file must be updated (TMR-02, CUS-16, CON-10).",
      NULL },
    { "visit_report_due_hours", HOURS, "24", 0.01, 720,
      "Hours after a visit until the report must be submitted (TMR-03, VIS-51, CON-01).", NULL },
    { "visit_record_soft_due", TIME, "end_of_working_day", 0, 0,
      "Soft reminder for the visit record form on the day of the visit (TMR-04, VIS-51, CON-01).",
      NULL },
    { "visit_report_final_days", DAYS, "2", 1, 60,
      "Days of 24 hours after a visit, after which its report counts as missing (TMR-05, A-13, CON-01).",
      NULL },
    { "commitment_default_due_hours", HOURS, "24", 0.01, 720,
      "Hours until a promise without a date is due (TMR-43, VIS-57, CON-26).", NULL },
    { "commitment_warn_hours", HOURS, "24", 0, 720,
      "Hours before a promised time at which its owner is warned (TMR-42, VIS-57).", NULL },
    /* --- visits */
    { "approver_roles_plan", LIST, "supervisor,sales_manager", 0, 0,
      "Roles that may approve plans and visit requests (ORG-05, CON-05).", "roles" },
    { "approver_roles_report", LIST, "supervisor,sales_manager", 0, 0,
      "Roles that may review visit reports (ORG-05, CON-05).", "roles" },
    { "approver_manager_visit", LIST, "general_manager", 0, 0,
      "Roles that may approve the visits of managers (VIS-23, CON-05).", "roles" },
    { "visit_request_lead", HOURS, "0", 0, 720,
      "Hours before its start by which a visit must be requested; 0 = until it begins (VIS-20, VIS-21).", NULL },
    { "unregistered_visit_is_absence", BOOL, "true", 0, 0,
      "An unregistered visit counts as absence at once (TMR-14, VIS-22, CON-11).", NULL },
    { "checkin_window_before_minutes", MINUTES, "180", 0, 1440,
      "Minutes before its start from which on a check-in is for that visit, also on the day before (CON-23).",
      NULL },
    { "visit_invite_days_before", DAYS, "1", 0, 30,
      "Days before a visit of its calendar reminder, on a working day; 0: shortly before it (TMR-08, VIS-30, A-12).",
      NULL },
    { "departure_buffer_minutes", MINUTES, "30", 0, 1440,
      "Minutes to leave early for a visit, besides the way (TMR-09, VIS-30, A-11).", NULL },
    { "checkin_far_m", INT, "500", 10, 100000,
      "Metres from the customer's place beyond which a check-in is flagged as far away (VIS-40).",
      NULL },
    /* --- daily, weekly and team duties */
    { "reminder_snooze_max_hours", HOURS, "24", 0, 720,
      "Longest postponement of a reminder; never moves the deadline (REM-13).", NULL },
    { "reminder_snooze_max_count", INT, "3", 0, 100,
      "How often a reminder may be postponed (REM-13).", NULL },
    /* --- scores and tiers (requirements 5.1) */
    { "score_window_months", INT, "12", 1, 120,
      "Months of orders that count for frequency and money (SCO-02).", NULL },
    { "score_weight_recency", DECIMAL, "0", 0, 1,
      "Weight of recency in the value score (SCO-02).", NULL },
    { "score_weight_frequency", DECIMAL, "0.30", 0, 1,
      "Weight of purchase frequency in the value score (SCO-02).", NULL },
    { "score_weight_money", DECIMAL, "0.40", 0, 1,
      "Weight of purchase amount in the value score (SCO-02).", NULL },
    { "score_weight_potential", DECIMAL, "0.30", 0, 1,
      "Weight of potential in the value score (SCO-02).", NULL },
    { "score_recency_days", DAYS, "365", 1, 3650,
      "Days without an order after which recency is 0 (SCO-02).", NULL },
    { "score_frequency_reference", INT, "12", 1, 100000,
      "Orders in the window that give full points for frequency (SCO-02).", NULL },
    { "score_money_reference_minor", INT, "60000000", 1, 9e15,
      "Amount in the window, in minor units, that gives full points for money and potential (SCO-02).",
      NULL },
    { "tier_threshold_a", DECIMAL, "80", 0, 100,
      "Value score from which a customer is tier A (SCO-03).", NULL },
    { "tier_threshold_b", DECIMAL, "60", 0, 100,
      "Value score from which a customer is tier B (SCO-03).", NULL },
    { "tier_threshold_c", DECIMAL, "40", 0, 100,
      "Value score from which a customer is tier C (SCO-03).", NULL },
    { "tier_hysteresis_points", DECIMAL, "3", 0, 50,
      "Points below a threshold down to which a customer keeps his tier (SCO-03).", NULL },
    /* --- timers (4.2): one a rule of services/reminders/rules.c */
    ENABLED(01), ENABLED(02), ENABLED(03), ENABLED(04), ENABLED(05), ENABLED(42), ENABLED(43),
};
/* clang-format on */
const size_t policy_table_len = ARRAY_LEN(policy_table);
