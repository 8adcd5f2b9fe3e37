/* Ids, snoozing, leases, wake messages, retries and quiet hours: the pure parts of the daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/reminders/delivery.h"
#include "services/reminders/engine.h"
#include "services/reminders/obligation.h"
#include "services/reminders/snooze.h"

#define QUESTION "questions/01933a00-1234-7000-8001-00000000abcd"

static void a_duty_has_one_id_by_rule_subject_and_occurrence(void **state)
{
    (void)state;
    struct id a = obligation_id("TMR-01", QUESTION, "");
    char text[ID_TEXT_MAX];

    assert_true(id_equal(a, obligation_id("TMR-01", QUESTION, "")));
    assert_false(id_equal(a, obligation_id("TMR-02", QUESTION, "")));
    assert_false(id_equal(a, obligation_id("TMR-01", QUESTION, "2026-11")));
    assert_false(
        id_equal(a, obligation_id("TMR-01", "questions/01933a00-1234-7000-8001-00000000abce", "")));
    id_text(a, text);
    assert_memory_equal(text, "01933a00-1234-8000-", 19); /* lies where its subject lies */
    assert_true((a.b[8] & 0xc0) == 0x80);
    /* A subject that is no UUID has an id too. */
    assert_false(id_equal(obligation_id("TMR-01", "x/1", ""), obligation_id("TMR-01", "x/2", "")));
}

static void a_notice_has_one_id_by_duty_round_step_recipient_and_channel(void **state)
{
    (void)state;
    struct id duty = obligation_id("TMR-01", QUESTION, ""), first, last;
    struct id who = { { 1 } }, other = { { 2 } };
    struct id ids[] = {
        notification_id(duty, 0, 0, who, "in_app"),
        notification_id(duty, 1, 0, who, "in_app"),
        notification_id(duty, 0, 1, who, "in_app"),
        notification_id(duty, 0, 0, other, "in_app"),
        notification_id(duty, 0, 0, who, "http"),
        notification_id(obligation_id("TMR-02", QUESTION, ""), 0, 0, who, "in_app"),
    };

    assert_true(id_equal(ids[0], notification_id(duty, 0, 0, who, "in_app")));
    notification_range(duty, &first, &last);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        for (size_t k = 0; k < i; k++)
            assert_false(id_equal(ids[i], ids[k]));
        if (i < 5)
            assert_true(id_compare(first, ids[i]) <= 0 && id_compare(ids[i], last) <= 0);
    }
}

static void shards_are_used_evenly(void **state)
{
    (void)state;
    int count[SHARDS] = { 0 };
    char subject[SUBJECT_MAX], id[ID_TEXT_MAX];

    for (int i = 0; i < 6400; i++) {
        snprintf(subject, sizeof(subject), "questions/%s", id_text(id_new(), id));
        count[obligation_shard(obligation_id("TMR-01", subject, ""))]++;
    }
    for (int i = 0; i < SHARDS; i++)
        assert_in_range(count[i], 50, 160);
}

/* --- snooze ---------------------------------------------------------------------------------- */

/* "60 owner; 100 owner+superior" */
static void write_steps(const struct plan *plan, char out[static 200])
{
    size_t len = 0;

    for (size_t i = 0; i < plan->nsteps; i++)
        len += (size_t)snprintf(out + len, 200 - len, "%s%" PRId64 " %s", i ? "; " : "",
                                plan->steps[i].at_us, plan->steps[i].tells);
}

/* The assignee's snooze silences his own warnings only: never the deadline, never his superior. */
static void snoozing_makes_one_warning_of_several_and_leaves_all_others_REM_13(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        size_t next;
        int64_t until_us;
        const char *superior; /* who is told at 80 besides the owner's warnings at 60 and 90 */
        const char *want;
    } cases[] = {
        { "nothing comes before", 0, 50, NULL, "60 owner; 90 owner; 100 owner; 124 superior" },
        { "exactly at the next", 0, 60, NULL, "60 owner; 90 owner; 100 owner; 124 superior" },
        { "the first warning moves", 0, 70, NULL, "70 owner; 90 owner; 100 owner; 124 superior" },
        { "two warnings become one", 0, 95, NULL, "95 owner; 100 owner; 124 superior" },
        { "the second one alone", 0, 90, NULL, "90 owner; 100 owner; 124 superior" },
        { "one was told already", 1, 95, NULL, "60 owner; 95 owner; 100 owner; 124 superior" },
        { "until the deadline", 0, 100, NULL, "100 owner; 124 superior" },
        { "the deadline is next", 2, 100, NULL, "60 owner; 90 owner; 100 owner; 124 superior" },
        { "the superior's stays", 0, 95, "superior",
          "80 superior; 95 owner; 100 owner; 124 superior" },
        { "also when it is shared", 0, 95, "owner+superior",
          "80 owner+superior; 95 owner; 100 owner; 124 superior" },
        { "also until the deadline", 0, 100, "superior", "80 superior; 100 owner; 124 superior" },
        { "together with the superior's", 0, 80, "superior",
          "80 superior+owner; 90 owner; 100 owner; 124 superior" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char got[200];
        struct plan plan = { .due_us = 100 };
        plan_add_step(&plan, 60, "owner");
        if (cases[i].superior)
            plan_add_step(&plan, 80, cases[i].superior);
        plan_add_step(&plan, 90, "owner");
        plan_add_step(&plan, 100, "owner");
        plan_add_step(&plan, 124, "superior");
        snooze_plan(&plan, cases[i].next, cases[i].until_us);
        write_steps(&plan, got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].label, got);
    }
}

/* One warning goes, and the one of the snooze has its place. */
static void a_full_plan_has_room_for_the_snooze(void **state)
{
    (void)state;
    struct plan plan = { .due_us = 100 };

    plan_add_step(&plan, 100, "owner");
    for (size_t i = 1; i < PLAN_STEPS_MAX; i++)
        plan_add_step(&plan, i == 1 ? 90 : 100 + (int64_t)i, i == 1 ? "owner" : "superior");
    assert_int_equal(plan.nsteps, PLAN_STEPS_MAX);
    snooze_plan(&plan, 0, 95);
    assert_int_equal(plan.nsteps, PLAN_STEPS_MAX);
    assert_int_equal(plan.steps[0].at_us, 95);
    assert_string_equal(plan.steps[0].tells, "owner");
}

/* --- leases ---------------------------------------------------------------------------------- */

static void leases_are_spread_evenly_and_few_move(void **state)
{
    (void)state;
    static const char *const members[] = { "host-a/1", "host-b/7", "host-c/3", "host-d/9",
                                           "host-e/2" };
    int before[LEASES_MAX], after[LEASES_MAX];

    for (size_t n = 1; n <= ARRAY_LEN(members); n++) {
        int shards[5] = { 0 }, lanes[5] = { 0 };
        lease_spread(&reminders_lease_plan, members, n, after);
        for (int i = 0; i < LEASES; i++)
            (i < SHARDS ? shards : lanes)[after[i]]++;
        for (size_t m = 0; m < n; m++) {
            assert_true(shards[m] <= (SHARDS + (int)n - 1) / (int)n);
            assert_true(lanes[m] <= (LANES + (int)n - 1) / (int)n);
        }
        lease_spread(&reminders_lease_plan, members, n, before);
        assert_memory_equal(before, after,
                            LEASES * sizeof(*after)); /* everybody computes the same */
    }
    /* One of five goes: of the others' 51 shards most stay where they are. */
    lease_spread(&reminders_lease_plan, members, 5, before);
    lease_spread(&reminders_lease_plan, members, 4, after);
    int moved = 0;
    for (int i = 0; i < SHARDS; i++)
        moved += before[i] != 4 && before[i] != after[i];
    assert_true(moved < 20);
}

/* --- wake messages --------------------------------------------------------------------------- */

static void timers_travel_in_wake_messages(void **state)
{
    (void)state;
    struct timer in[3] = { { .due_us = INT64_C(1790000000123456), .step = 2, .shard = 63 },
                           { .due_us = -5, .step = 0, .shard = 0 },
                           { .due_us = INT64_MAX, .step = 15, .shard = 7 } };
    struct timer out[3];
    uint8_t bytes[3 * ENGINE_PACKED_SIZE];

    for (int i = 0; i < 3; i++) {
        in[i].tenant = id_new();
        in[i].obligation = id_new();
    }
    size_t len = engine_pack(in, 3, bytes);
    assert_int_equal(len, sizeof(bytes));
    assert_int_equal(engine_unpack(bytes, len, out, 3), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(id_equal(in[i].tenant, out[i].tenant));
        assert_true(id_equal(in[i].obligation, out[i].obligation));
        assert_true(in[i].due_us == out[i].due_us);
        assert_int_equal(in[i].step, out[i].step);
        assert_int_equal(in[i].shard, out[i].shard);
    }
    assert_int_equal(engine_unpack(bytes, len - 1, out, 3), 0);
    assert_int_equal(engine_unpack(bytes, len, out, 2), 0);
    assert_int_equal(engine_unpack(bytes, 0, out, 3), 0);
    bytes[43] = 64; /* no such shard */
    assert_int_equal(engine_unpack(bytes, len, out, 3), 0);
}

/* --- delivery -------------------------------------------------------------------------------- */

static void retries_follow_the_schedule_of_75_hours(void **state)
{
    (void)state;
    int64_t sum_us = 0;
    int tries = 1;

    for (; delivery_pause_us(tries); tries++) {
        assert_true(tries == 1 || delivery_pause_us(tries) > delivery_pause_us(tries - 1));
        sum_us += delivery_pause_us(tries);
    }
    assert_int_equal(tries, 10);
    assert_int_equal(delivery_pause_us(1), 5 * SECOND_US);
    assert_in_range(sum_us / HOUR_US, 75, 76);
    assert_int_equal(delivery_pause_us(0), 0);
}

static void quiet_hours_end_at_their_local_time(void **state)
{
    (void)state;
    static const struct {
        const char *span, *now;
        int64_t want_minutes;
    } cases[] = {
        { "21:00-08:00", "2026-01-05T20:59:00+08:00", 0 },
        { "21:00-08:00", "2026-01-05T21:00:00+08:00", 11 * 60 },
        { "21:00-08:00", "2026-01-06T07:30:00+08:00", 30 },
        { "21:00-08:00", "2026-01-06T08:00:00+08:00", 0 },
        { "12:00-13:00", "2026-01-06T12:15:00+08:00", 45 },
        { "12:00-13:00", "2026-01-06T11:59:00+08:00", 0 },
        { "08:00-08:00", "2026-01-06T12:15:00+08:00", 0 },
        { "nonsense", "2026-01-06T12:15:00+08:00", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t now_us;
        assert_true(time_parse(cases[i].now, &now_us));
        int64_t got = delivery_quiet_us(cases[i].span, tz_find("Asia/Shanghai"), now_us);
        if (got != cases[i].want_minutes * MINUTE_US)
            fail_msg("%s at %s: %" PRId64, cases[i].span, cases[i].now, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duty_has_one_id_by_rule_subject_and_occurrence),
        cmocka_unit_test(a_notice_has_one_id_by_duty_round_step_recipient_and_channel),
        cmocka_unit_test(shards_are_used_evenly),
        cmocka_unit_test(snoozing_makes_one_warning_of_several_and_leaves_all_others_REM_13),
        cmocka_unit_test(a_full_plan_has_room_for_the_snooze),
        cmocka_unit_test(leases_are_spread_evenly_and_few_move),
        cmocka_unit_test(timers_travel_in_wake_messages),
        cmocka_unit_test(retries_follow_the_schedule_of_75_hours),
        cmocka_unit_test(quiet_hours_end_at_their_local_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
