/*
 * plan.c - due times, steps and recipients. Everything that a number comes from is a policy; this
 * file only knows how the kinds of numbers are counted (requirements 4.1).
 */
#include "services/reminders/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "common/deadline.h"

#define PROMISE_MINUTE (9 * 60) /* "09:00 of the day" (TMR-42) */

/* --- due times ------------------------------------------------------------------------------- */

static struct policy_value use_policy(const struct plan_input *in, struct plan *plan,
                                      const char *key)
{
    struct policy_value value = in->policy(in->policy_arg, key);

    if (plan->npolicies < PLAN_POLICIES_MAX)
        plan->policies[plan->npolicies++] = value;
    return value;
}

/* Local "2026-01-02 15:04". */
static const char *local_text(const struct plan_input *in, int64_t us, char buf[static 24])
{
    char day[DATE_TEXT_MAX];
    int minute = tz_minute_of_day(in->calendar->tz, us);

    snprintf(buf, 24, "%s %02d:%02d", date_format(tz_date(in->calendar->tz, us), day), minute / 60,
             minute % 60);
    return buf;
}

static int64_t due_in_hours(const struct plan_input *in, struct plan *plan)
{
    struct policy_value hours = use_policy(in, plan, in->rule->policy_key);
    struct policy_value clock = use_policy(in, plan, "hour_clock");

    bool is_business = strcmp(clock.text, "business") == 0 && calendar_has_hours(in->calendar);
    explain_add(in->explain,
                is_business ? "plus %s working hours, nights and days off not counted"
                            : "plus %s hours, nights and days off included",
                hours.text);
    return deadline_add(in->calendar, is_business, in->start_us, policy_us(hours));
}

static int64_t due_on_day(const struct plan_input *in, struct plan *plan)
{
    const struct calendar *c = in->calendar;
    struct policy_value time = use_policy(in, plan, in->rule->policy_key);
    int minute = policy_minute(time, c->workday_start_minute, c->workday_end_minute);
    int64_t due_us = calendar_end_of_day(c, in->start_us, NULL);

    if (minute == c->workday_end_minute) {
        due_us = calendar_end_of_day(c, in->start_us, in->explain);
    } else {
        /* Another time of the day: today if it is a working day and still to come, else the next.
         */
        struct date day = tz_date(c->tz, in->start_us);
        if (!calendar_is_working(c, day) || tz_instant(c->tz, day, minute) < in->start_us)
            do
                day = date_add(day, 1);
            while (!calendar_is_working(c, day));
        due_us = tz_instant(c->tz, day, minute);
        explain_add(in->explain, "at %s of a working day", time.text);
    }
    if (in->rule->limit_key) {
        int64_t limit_us = in->start_us + policy_us(use_policy(in, plan, in->rule->limit_key));
        if (limit_us < due_us) {
            explain_add(in->explain, "not later than the final limit");
            due_us = limit_us;
        }
    }
    return due_us;
}

static enum err find_due(const struct plan_input *in, struct plan *plan)
{
    char text[24];

    explain_add(in->explain, "started %s", local_text(in, in->start_us, text));
    switch (in->rule->due_type) {
    case DUE_HOURS:
        plan->due_us = due_in_hours(in, plan);
        break;
    case DUE_DAYS: {
        struct policy_value days = use_policy(in, plan, in->rule->policy_key);
        explain_add(in->explain, "plus %s days of 24 hours", days.text);
        plan->due_us = in->start_us + policy_us(days);
        break;
    }
    case DUE_WORKDAYS: {
        struct policy_value days = use_policy(in, plan, in->rule->policy_key);
        plan->due_us = calendar_add_workdays(in->calendar, in->start_us, (int)policy_number(days),
                                             in->explain);
        break;
    }
    case DUE_END_OF_DAY:
        plan->due_us = due_on_day(in, plan);
        break;
    case DUE_AT:
        if (!in->named_due_us)
            return ERR_INVALID_ARGUMENT;
        explain_add(in->explain, "the moment that was promised");
        plan->due_us = in->named_due_us;
        break;
    }
    explain_add(in->explain, "due %s", local_text(in, plan->due_us, text));
    return ERR_OK;
}

/* --- steps ----------------------------------------------------------------------------------- */

/* False: there is no room. */
static bool add_word(struct plan_step *step, const char *who)
{
    size_t len = strlen(step->tells), n = strlen(who);
    const char *there = strstr(step->tells, who);

    if (there && (there == step->tells || there[-1] == '+') &&
        (there[n] == '\0' || there[n] == '+'))
        return true;
    if (len + 1 + n >= sizeof(step->tells))
        return false;
    snprintf(step->tells + len, sizeof(step->tells) - len, "+%s", who);
    return true;
}

static bool has_due_step(const struct plan *plan)
{
    for (size_t i = 0; i < plan->nsteps; i++)
        if (plan->steps[i].at_us == plan->due_us)
            return true;
    return false;
}

void plan_add_step(struct plan *plan, int64_t at_us, const char *who)
{
    size_t i = 0;

    while (i < plan->nsteps && plan->steps[i].at_us < at_us)
        i++;
    if (i < plan->nsteps && plan->steps[i].at_us == at_us) {
        (void)add_word(&plan->steps[i], who);
        return;
    }
    size_t room = PLAN_STEPS_MAX - (at_us != plan->due_us && !has_due_step(plan));
    if (plan->nsteps >= room || strlen(who) >= sizeof(plan->steps[0].tells))
        return;
    memmove(&plan->steps[i + 1], &plan->steps[i], (plan->nsteps - i) * sizeof(plan->steps[0]));
    plan->nsteps++;
    plan->steps[i].at_us = at_us;
    snprintf(plan->steps[i].tells, sizeof(plan->steps[i].tells), "%s", who);
}

static void add_leads(const struct plan_input *in, struct plan *plan)
{
    if (in->rule->lead == LEAD_PROMISE) {
        struct policy_value ahead = in->policy(in->policy_arg, in->rule->lead_key);
        int64_t morning_us = calendar_at(in->calendar, plan->due_us, PROMISE_MINUTE);
        if (policy_us(ahead) > 0)
            plan_add_step(plan, plan->due_us - policy_us(ahead), "owner");
        if (morning_us < plan->due_us)
            plan_add_step(plan, morning_us, "owner");
        return;
    }
    if (in->rule->lead == LEAD_NONE)
        return;

    int64_t offsets[PLAN_STEPS_MAX];
    size_t n =
        policy_offsets_us(in->policy(in->policy_arg, "lead_offsets_24h"), offsets, PLAN_STEPS_MAX);
    for (size_t i = 0; i < n; i++)
        plan_add_step(plan, plan->due_us + offsets[i], "owner");
}

static int64_t step_time(const struct plan_input *in, const struct plan *plan,
                         const struct policy_step *step)
{
    if (step->percent)
        return in->start_us + (plan->due_us - in->start_us) / 100 * step->percent;
    if (step->workdays)
        return calendar_add_workdays(in->calendar, plan->due_us, step->workdays, NULL);
    return plan->due_us + step->offset_us;
}

static void add_profile(const struct plan_input *in, struct plan *plan)
{
    struct policy_step steps[PLAN_STEPS_MAX];
    size_t n =
        policy_steps(in->policy(in->policy_arg, in->rule->profile_key), steps, PLAN_STEPS_MAX);

    for (size_t i = 0; i < n; i++)
        plan_add_step(plan, step_time(in, plan, &steps[i]), steps[i].recipient);
    /* Every duty has its due step, by which it becomes overdue, whatever the profile says. */
    if (!has_due_step(plan))
        plan_add_step(plan, plan->due_us, "owner");
}

/* Makes two steps of one moment one, which tells each person once; false: there is no room. */
static bool join_steps(struct plan_step *into, const struct plan_step *step)
{
    struct plan_step joined = *into;
    char words[PLAN_WORDS_MAX], *rest = words;

    memcpy(words, step->tells, sizeof(words));
    for (const char *word; (word = strsep(&rest, "+"));)
        if (!add_word(&joined, word))
            return false;
    *into = joined;
    return true;
}

/* Warnings of the time before anybody knew of the duty are pointless; what is due since then is due
 * at once, as one step (REM-08). */
static void start_from(struct plan *plan, int64_t known_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < plan->nsteps; i++) {
        struct plan_step *step = &plan->steps[i];
        if (step->at_us < known_us) {
            if (step->at_us < plan->due_us)
                continue;
            step->at_us = known_us;
        }
        if (kept > 0 && plan->steps[kept - 1].at_us == step->at_us &&
            join_steps(&plan->steps[kept - 1], step))
            continue;
        plan->steps[kept++] = *step;
    }
    plan->nsteps = kept;
}

enum err plan_make(const struct plan_input *in, struct plan *out)
{
    struct plan plan = { 0 };

    enum err e = find_due(in, &plan);
    if (e)
        return e;
    add_leads(in, &plan);
    add_profile(in, &plan);
    start_from(&plan, in->known_us);
    *out = plan;
    return ERR_OK;
}

/* --- outline --------------------------------------------------------------------------------- */

void plan_outline(const struct rule *rule,
                  struct policy_value (*policy)(void *arg, const char *key), void *policy_arg,
                  struct plan *out)
{
    /* A calendar in which every day is worked from midnight to midnight: offsets come out plain. */
    const struct calendar plain = { .tz = tz_find("UTC"),
                                    .workday_end_minute = 24 * 60,
                                    .week_mask = 0x7f };
    const int64_t due_us = 1000 * DAY_US;
    struct plan_input in = { .rule = rule,
                             .start_us = due_us - DAY_US,
                             .calendar = &plain,
                             .policy = policy,
                             .policy_arg = policy_arg };
    struct plan plan = { .due_us = due_us };

    if (rule->lead == LEAD_PROMISE)
        plan_add_step(&plan, due_us - policy_us(policy(policy_arg, rule->lead_key)), "owner");
    else
        add_leads(&in, &plan);
    add_profile(&in, &plan);
    *out = plan;
}

enum plan_kind plan_kind_of(const int64_t *at_us, size_t nsteps, size_t step, int64_t due_us)
{
    assert(step < nsteps);
    if (at_us[step] < due_us)
        return PLAN_WARNING;
    return step == 0 || at_us[step - 1] < due_us ? PLAN_DUE : PLAN_ESCALATION;
}

/* --- recipients ------------------------------------------------------------------------------ */

/* Levels of the reporting line, upwards (A-31: the regional manager stands above the sales
 * manager). */
static const char *const ladder[] = { "team_lead", "supervisor", "sales_manager",
                                      "regional_manager", "general_manager" };

/* Who has left is told nothing more: the next one up the line is. */
static const struct dir_employee *active_from(const struct dir_employee *e)
{
    while (e && !e->active)
        e = e->superior; /* a line has no cycles (ORG-02) */
    return e;
}

static const struct dir_employee *superior_with(const struct dir_employee *e, const char *role)
{
    const char *const roles[] = { role, NULL };

    do
        e = dir_superior_with_role(e, roles);
    while (e && !e->active);
    return e;
}

static const struct dir_employee *find_role(const struct dir_employee *e, const char *role)
{
    const struct dir_employee *found = NULL;
    size_t level = 0;

    while (level < ARRAY_LEN(ladder) && strcmp(ladder[level], role) != 0)
        level++;
    if (level == ARRAY_LEN(ladder)) /* a role beside the line, e.g. "legal" */
        return superior_with(e, role);
    for (; level < ARRAY_LEN(ladder) && !found; level++)
        found = superior_with(e, ladder[level]);
    return found;
}

static size_t add_recipient(struct id *out, size_t n, struct id id)
{
    for (size_t i = 0; i < n; i++)
        if (id_equal(out[i], id))
            return n;
    if (n == PLAN_RECIPIENTS_MAX)
        return n;
    out[n] = id;
    return n + 1;
}

static const struct dir_employee *find_person(const char *word, const struct dir_employee *employee)
{
    if (strcmp(word, "owner") == 0)
        return active_from(employee);
    if (strcmp(word, "superior") == 0)
        return active_from(employee->superior);
    return find_role(employee, word);
}

/* Of the words with the mark, or of those without. */
static size_t find_people(const char *tells, bool marked, struct id assignee,
                          const struct dir_employee *employee, struct id *out)
{
    size_t n = 0;

    for (const char *at = tells; *at;) {
        char word[64];
        size_t len = MIN(strcspn(at, "+"), sizeof(word) - 1);
        memcpy(word, at, len);
        word[len] = '\0';
        at += len;
        at += *at == '+';

        char *mark = strstr(word, POLICY_LIST_MARK);
        if ((mark != NULL) != marked)
            continue;
        if (mark)
            *mark = '\0';
        if (!employee) {
            if (strcmp(word, "owner") == 0)
                n = add_recipient(out, n, assignee);
            continue;
        }
        const struct dir_employee *found = find_person(word, employee);
        if (found)
            n = add_recipient(out, n, found->id);
    }
    return n;
}

size_t plan_recipients(const char *tells, struct id assignee, const struct dir_employee *employee,
                       struct id out[static PLAN_RECIPIENTS_MAX])
{
    return find_people(tells, false, assignee, employee, out);
}

size_t plan_listed(const char *tells, struct id assignee, const struct dir_employee *employee,
                   struct id out[static PLAN_RECIPIENTS_MAX])
{
    return strstr(tells, POLICY_LIST_MARK) ? find_people(tells, true, assignee, employee, out) : 0;
}

/* --- tells as one text ----------------------------------------------------------------------- */

void plan_tells_write(const struct plan *plan, char out[static PLAN_TELLS_MAX])
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < plan->nsteps; i++) {
        int n =
            snprintf(out + len, PLAN_TELLS_MAX - len, "%s%s", i ? ";" : "", plan->steps[i].tells);
        assert(n >= 0 && (size_t)n < PLAN_TELLS_MAX - len);
        len += (size_t)n;
    }
}

bool plan_tells_read(const char *text, size_t step, char out[static PLAN_WORDS_MAX])
{
    for (; step > 0; step--) {
        text += strcspn(text, ";");
        if (!*text)
            return false;
        text++;
    }
    size_t len = strcspn(text, ";");
    if (len == 0 || len >= PLAN_WORDS_MAX)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}
