/*
 * reminders_duty_fixture.h - what the tests of duties share: an engine that runs or does not,
 * events of visits, and changes of the rule book that are worked off.
 */
#ifndef DAYBOOK_TESTS_REMINDERS_DUTY_FIXTURE_H
#define DAYBOOK_TESTS_REMINDERS_DUTY_FIXTURE_H

#include "tests/integration/reminders_fixture.h"

static struct runner main_runner;

UNUSED static int start(void **state)
{
    (void)state;
    return fixture_start_with(false);
}

UNUSED static void with_engine(void)
{
    runner_start(&main_runner, "main");
    runner_adopt(&main_runner);
}

UNUSED static void without_engine(void)
{
    runner_leave();
    runner_stop(&main_runner);
}

UNUSED static json_t *get(const char *rule, const char *subject)
{
    return rig_ok(rig, "rep", SERVICE, "Get", "{\"rule\":\"%s\",\"subject\":\"%s\"}", rule,
                  subject);
}

UNUSED static void expect_state(const char *rule, const char *subject, const char *state,
                                const char *late)
{
    json_t *got = get(rule, subject);
    assert_string_equal(rig_text(got, "reminder.state"), state);
    assert_string_equal(rig_text(got, "reminder.lateByS"), late);
    json_decref(got);
}

UNUSED static void admin(const char *sql)
{
    assert_int_equal(db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US), ERR_OK);
}

#define VISIT_ID "08000000-0000-7000-8000-000000000001"

UNUSED static void visit_event(const char *type, const char *at, const char *state,
                               const char *more)
{
    rig_hear(rig, &reminders_consumer, false, type, at,
             "{\"visit\":{\"id\":\"" VISIT_ID "\",\"customerId\":\"" CUSTOMER
             "\",\"visitorId\":\"" REP "\",\"mode\":\"VISIT_MODE_IN_PERSON\",\"startsAt\":\"2026-"
             "11-16T06:00:00Z\",\"goal\":\"Show "
             "samples\",\"state\":\"VISIT_STATE_%s\"%s}}",
             state, more);
}

/* As if the time in which replicas read the rule book anew had passed. */
UNUSED static void start_recalculations(void)
{
    admin("UPDATE reminders.recalculation SET start_at = '-infinity'");
}

UNUSED static void work_off(void)
{
    bool more;

    do
        assert_int_equal(chores_recalculate(idle_chores, &more), ERR_OK);
    while (more);
}

/* That of the snapshot, as in the transaction of a change. */
UNUSED static void set_revision(void)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    char sql[100];

    snprintf(sql, sizeof(sql), "UPDATE directory_api.revision SET revision = %" PRId64,
             directory_revision(dir));
    admin(sql);
}

UNUSED static void set_policy(const char *key, const char *value, const char *at)
{
    rig_set_policy(key, value, at);
    set_revision(); /* else a step that began before would be done on the rule book of before */
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.PolicySet", at,
             "{\"setting\":{\"key\":\"%s\",\"value\":\"%s\",\"effectiveFrom\":\"%s\"}}", key, value,
             at);
    start_recalculations();
}

UNUSED static void change_calendar(void)
{
    rig_hear(rig, &reminders_consumer, false, "daybook.directory.v1.CalendarImported",
             "2026-11-16T02:00:00Z", "{\"year\":2026,\"changedDates\":[\"2026-11-18\"]}");
}

#define DUES                                                                                       \
    "SELECT string_agg(to_char(due_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), '; ' ORDER BY "        \
    "subject) FROM reminders.obligation"

/* Parks the timer of the duty whose subject ends so. */
UNUSED static void park_timer(const char *end)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "WITH t AS (DELETE FROM reminders.timer WHERE obligation_id = (SELECT id FROM "
             "reminders.obligation WHERE subject LIKE '%%%s') RETURNING *) INSERT INTO "
             "reminders.timer_parked SELECT tenant_id, obligation_id, step, due_us, 'test' FROM t",
             end);
    admin(sql);
}

#endif
