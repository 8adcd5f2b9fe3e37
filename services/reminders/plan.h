/*
 * plan.h - from a rule and a start to the plan of a duty: when it is due, which steps follow each
 * other before and after, whom each step tells, and why (REM-02 to REM-05). Pure.
 *
 * A plan is pinned when the duty opens; a later change of policy or calendar changes it only by an
 * explicit recalculation (REM-09). Who stands behind "superior" or "supervisor" is looked up when a
 * step fires, by the people of that moment.
 */
#ifndef DAYBOOK_REMINDERS_PLAN_H
#define DAYBOOK_REMINDERS_PLAN_H

#include "common/calendar.h"
#include "common/directory.h"
#include "common/err.h"
#include "services/reminders/rules.h"

#define PLAN_STEPS_MAX 16
#define PLAN_WORDS_MAX 64 /* bytes of what one step tells */
#define PLAN_POLICIES_MAX 6
#define PLAN_TELLS_MAX (PLAN_STEPS_MAX * PLAN_WORDS_MAX) /* bytes of the tells text */
#define PLAN_RECIPIENTS_MAX 8

struct plan_step {
    int64_t at_us;
    char tells[PLAN_WORDS_MAX]; /* words parted by "+": owner, superior, or a role code; "!list"
                                   (policy.h) */
};

struct plan {
    int64_t due_us;
    size_t nsteps; /* by at_us; the first one not before due_us is the due step */
    struct plan_step steps[PLAN_STEPS_MAX];
    size_t npolicies;
    struct policy_value policies[PLAN_POLICIES_MAX]; /* that made the due time */
};

struct plan_input {
    const struct rule *rule;
    int64_t start_us;
    int64_t named_due_us; /* DUE_AT */
    /* When it became known: warnings before that moment are dropped, later steps not due earlier.
     */
    int64_t known_us;
    const struct calendar *calendar;
    struct policy_value (*policy)(void *arg, const char *key);
    void *policy_arg;
    struct explain *explain; /* NULL: nobody asks */
};

/* ERR_INVALID_ARGUMENT: DUE_AT without a named moment. */
NODISCARD enum err plan_make(const struct plan_input *in, struct plan *out);

/* Steps in profile and lead offsets, without a start: for ListRules. Offsets in minutes from due;
 * percent and working-day steps are given as they would be for a due time of 24 hours and plain
 * days. */
void plan_outline(const struct rule *rule,
                  struct policy_value (*policy)(void *arg, const char *key), void *policy_arg,
                  struct plan *out);

/*
 * Adds "who" at a time; a step that is already there at that time tells both. What a company's
 * settings ask for beyond the bounds is left out: a duty without its seventeenth reminder is better
 * than none. The due step always has its place.
 */
void plan_add_step(struct plan *plan, int64_t at_us, const char *who);

enum plan_kind { PLAN_WARNING = 1, PLAN_DUE = 2, PLAN_ESCALATION = 3 }; /* as StepKind */

/* Kind of a step by the times alone; at_us(i) rises. */
enum plan_kind plan_kind_of(const int64_t *at_us, size_t nsteps, size_t step, int64_t due_us);

/*
 * The people that `tells` means for a duty of `assignee`: each once. "superior": the direct one; a
 * role: the nearest superior with it or, where that level is absent, with the next one above. In
 * place of somebody who has left, the next one up the line.
 * employee: the assignee, NULL when the directory does not know him (then only "owner" is found).
 */
size_t plan_recipients(const char *tells, struct id assignee, const struct dir_employee *employee,
                       struct id out[static PLAN_RECIPIENTS_MAX]);

/* Those into whose list the duty goes without a message ("!list"). */
size_t plan_listed(const char *tells, struct id assignee, const struct dir_employee *employee,
                   struct id out[static PLAN_RECIPIENTS_MAX]);

/* tells of all steps as one text, parted by ";", and back: the step's part, false when too few. */
void plan_tells_write(const struct plan *plan, char out[static PLAN_TELLS_MAX]);
NODISCARD bool plan_tells_read(const char *text, size_t step, char out[static PLAN_WORDS_MAX]);

#endif
