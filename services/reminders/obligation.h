/*
 * obligation.h - one duty in memory, its ids, and its way into rows and events.
 *
 * Ids are made from what they stand for, so that the same thing has the same id whoever makes it:
 *
 *   duty     first half: the subject's id (a UUIDv7, so duties lie in the order of their subjects);
 *            second half: hash of rule, subject and occurrence. One primary key is thus also "one
 * per rule, subject and occurrence" (REM-07). The last byte gives the shard. notice   first 10
 * bytes: the duty's; then the step and a hash of round, recipient and channel. A second notice for
 * the same violates the primary key, and the notices of a duty are a range of it. It is the
 * webhook-id of every attempt (F04).
 */
#ifndef DAYBOOK_REMINDERS_OBLIGATION_H
#define DAYBOOK_REMINDERS_OBLIGATION_H

#include "common/columns.h"
#include "services/reminders/plan.h"
#include "services/reminders/reminders.h"
#include "services/reminders/schedule.h"

#define SUBJECT_MAX 80     /* "<collection>/<uuid>" */
#define TITLE_TOPIC_MAX 60 /* code points of the topic in a title */

struct id obligation_id(const char *rule, const char *subject, const char *occurrence);
struct id notification_id(struct id obligation, int round, int step, struct id recipient,
                          const char *channel);
/* Where the notices of a duty begin and end in the order of ids; they may have others among them.
 */
void notification_range(struct id obligation, struct id *first_out, struct id *last_out);
int obligation_shard(struct id obligation);
int delivery_lane(struct id recipient);

/* A duty being written: its message and what is not part of that. */
struct duty {
    struct id id;
    struct id assignee;
    PbReminder *pb;
    int64_t due_us;
    int64_t known_us;
    int64_t named_due_us;
    size_t nsteps;
    int64_t at_us[PLAN_STEPS_MAX];
    char *tells;
    int round;
    int next_step; /* with next_us; -1 = nothing will happen */
    int64_t next_us;
    int64_t version;
};

/* Facts of a reading: policies and calendar that hold for a unit at a moment. */
struct rule_book {
    const struct directory *dir;
    struct id tenant;
    struct id unit;
    int64_t at_us;
};
struct policy_value rule_book_policy(void *arg, const char *key); /* for plan_input */

/* Whether the rule is switched on (REM-20). */
bool rule_is_enabled(const struct rule *rule, struct rule_book *book);

/*
 * Makes the duty that an opening event asks for, open, in the arena. known_us: when the event
 * happened; now_us: when it is heard. Its time is counted as the record's (deadline_of()), so that
 * one heard after a change of the rules, whose recalculation has run, is as it would have left it.
 * ERR_NOT_FOUND: the rule's condition is not met or it is switched off.
 * ERR_INVALID_ARGUMENT: the event lacks what the rule needs.
 */
NODISCARD enum err duty_open(const struct rule *rule, const ProtobufCMessage *event,
                             const struct directory *dir, struct id tenant, int64_t known_us,
                             int64_t now_us, struct arena *a, struct duty *out);

/* Counts the due time and the steps of a pending duty anew by the rule book of a later moment. No
 * step that was told is planned again, none that waits to be told is lost. False in changed_out:
 * they are as before. */
NODISCARD enum err duty_replan(struct duty *duty, const struct rule *rule,
                               const struct directory *dir, struct id tenant, int64_t at_us,
                               int64_t now_us, struct arena *a, bool *changed_out);

/*
 * Gives an open duty to somebody else (REM-18), whose superiors are told from then on. Its time is
 * counted by the rules of the unit that it has, as the record of its subject is judged (CON-10). A
 * pending one is planned anew: the other's snooze is over. Steps that were told are not told again.
 */
NODISCARD enum err duty_hand_over(struct duty *duty, const struct rule *rule,
                                  const struct directory *dir, struct id tenant, struct id to,
                                  int64_t now_us, struct arena *a);

/* Silence for the assignee of a pending duty until then (snooze.h). Leaves the version alone. */
NODISCARD enum err duty_snooze(struct duty *duty, int64_t until_us, struct arena *a);

/* Fulfilled or cancelled at a moment: state, lateness, no timer any more (not yet in the table). */
NODISCARD enum err duty_close(struct duty *duty, bool cancelled, int64_t closed_us,
                              struct arena *a);

/* "YYYY..." when a fulfilment comes after the due time: whole seconds, at least 1; 0 in time. */
int64_t duty_late_by_s(int64_t due_us, int64_t closed_us);

/* A row of a statement that returns the columns of sql/obligation columns (see sql/fire.sql). */
NODISCARD enum err duty_read(const PGresult *res, int row, struct arena *a, struct duty *out);

/* The duty's next timer; false: there is none. */
bool duty_timer(const struct duty *duty, struct id tenant, struct timer *out);

#define DUTY_COLUMNS 22
/* Adds the row for sql_duties_insert to binary columns, and the moments of its plan. */
NODISCARD enum err duty_columns(const struct duty *duty, struct columns *k,
                                struct db_array *moments, struct arena *a);

/* policies as JSON, explanation as lines, plan as an array literal; NULL when the arena is full. */
NODISCARD char *duty_policies_text(const PbReminder *pb, struct arena *a);
NODISCARD char *duty_explanation_text(const PbReminder *pb, struct arena *a);
NODISCARD char *duty_plan_text(const struct duty *duty, struct arena *a);

#endif
