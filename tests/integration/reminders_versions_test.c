/*
 * What a process knows of the versions of lists: one person's in a quiet company, everybody's in a
 * busy one, for a second (F31).
 */
#include "tests/integration/reminders_fixture.h"

#include <poll.h>

#include "services/reminders/list_versions.h"

static struct list_versions *versions;
static struct db *db;

static struct id id_of(const char *text)
{
    struct id id;
    assert_true(id_parse(text, &id));
    return id;
}

static void set_up_lists(void)
{
    enum err e = db_script(rig->admin,
                           "DELETE FROM reminders.list_version;"
                           "INSERT INTO reminders.list_version (tenant_id, employee_id, version) "
                           "SELECT '01000000-0000-7000-8000-00000000000a', "
                           "('04000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 1000 + i "
                           "FROM generate_series(1, 150) i",
                           clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
    list_versions_free(versions);
    versions = list_versions_new();
    assert_non_null(versions);
}

static struct id person(int n)
{
    char text[64];

    snprintf(text, sizeof(text), "04000000-0000-7000-8000-%012d", n);
    return id_of(text);
}

static int64_t ask(int n)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    int64_t version = -1;
    struct id tenant = rig_tenant;

    assert_int_equal(db_begin(db, &tenant, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(list_versions_ask(versions, db, tenant, person(n), a, &version), ERR_OK);
    assert_int_equal(db_commit(db), ERR_OK);
    return version;
}

static bool knows(int n, int64_t *version_out)
{
    return list_versions_recall(versions, rig_tenant, person(n), version_out);
}

static void a_quiet_company_is_asked_for_one_person(void **state)
{
    (void)state;
    int64_t version;

    set_up_lists();
    assert_int_equal(ask(3), 1003);
    assert_true(knows(3, &version));
    assert_int_equal(version, 1003);
    assert_false(knows(4, &version));
    assert_int_equal(ask(999), 0); /* nobody with a list */
}

static void a_busy_company_is_learnt_whole_by_one_question(void **state)
{
    (void)state;
    int64_t version;

    set_up_lists();
    assert_int_equal(ask(1), 1001);
    assert_int_equal(ask(2), 1002);
    assert_true(knows(150, &version));
    assert_int_equal(version, 1150);
    list_versions_forget(versions, rig_tenant, person(150));
    assert_false(knows(150, &version));
    assert_int_equal(ask(150), 1150); /* one question again: 150 rows are worth two */
    list_versions_forget(versions, rig_tenant, person(5));
    assert_int_equal(ask(151), 0);
    assert_true(knows(5, &version));
}

static void what_was_learnt_holds_for_a_second(void **state)
{
    (void)state;
    int64_t version, from_us;

    set_up_lists();
    from_us = clock_monotonic_us();
    assert_int_equal(ask(7), 1007);
    do { /* the clock is the condition */
        assert_true(clock_monotonic_us() - from_us < 5 * SECOND_US);
        poll(NULL, 0, 1);
    } while (knows(7, &version));
    assert_true(clock_monotonic_us() - from_us >= SECOND_US);
}

static void an_older_answer_does_not_replace_a_newer_one(void **state)
{
    (void)state;
    int64_t version, now_us = clock_monotonic_us();

    set_up_lists();
    list_versions_note(versions, rig_tenant, person(1), 8, now_us);
    list_versions_note(versions, rig_tenant, person(1), 7, now_us - 1);
    assert_true(knows(1, &version));
    assert_int_equal(version, 8);
}

static void all_are_asked_for_when_that_is_cheaper(void **state)
{
    (void)state;
    assert_false(list_versions_worth_all(1, -1)); /* a single reader */
    assert_true(list_versions_worth_all(2, -1));  /* to learn how many there are */
    assert_false(list_versions_worth_all(5, 500));
    assert_true(list_versions_worth_all(6, 500));
    assert_true(list_versions_worth_all(41, 4096));
    assert_false(list_versions_worth_all(1000000, 4097)); /* more than are remembered */
}

static int start(void **state)
{
    (void)state;
    if (fixture_start_with(false))
        return -1;
    db = db_new(conninfo, "versions");
    return db ? 0 : -1;
}

static int stop(void **state)
{
    list_versions_free(versions);
    db_free(db);
    return fixture_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_company_is_asked_for_one_person),
        cmocka_unit_test(a_busy_company_is_learnt_whole_by_one_question),
        cmocka_unit_test(what_was_learnt_holds_for_a_second),
        cmocka_unit_test(an_older_answer_does_not_replace_a_newer_one),
        cmocka_unit_test(all_are_asked_for_when_that_is_cheaper),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
