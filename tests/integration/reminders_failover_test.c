/*
 * Several replicas, one of which dies, sleeps or is cut off: every timer fires once, within five
 * seconds (F04, F08, F11), and a stale owner is refused.
 */
#include "tests/integration/reminders_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAKEOVER_US (5 * SECOND_US)

static PGconn *locker; /* of the owner, for locks that others run into */

static int start(void **state)
{
    (void)state;
    fixture_start_with(false);
    locker = PQconnectdb(servers_conninfo(rig->servers));
    return PQstatus(locker) == CONNECTION_OK ? 0 : -1;
}

static int stop(void **state)
{
    PQfinish(locker);
    return fixture_stop(state);
}

/* --- a replica in a process of its own -------------------------------------------------------- */

static pid_t fork_replica(const char *instance)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    static struct runner runner;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    self.lists = NULL;
    runner_start(&runner, instance);
    for (;;)
        pause();
}

static void end_replica(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static const char *const held_sql = "SELECT string_agg(owner || ' ' || n, ', ' ORDER BY owner) "
                                    "FROM (SELECT owner, count(*) AS n FROM "
                                    "reminders.shard_lease WHERE shard < 64 AND expires_at > "
                                    "clock_timestamp() GROUP BY owner) AS x";

static int64_t wait_and_time(const char *sql, const char *wanted)
{
    int64_t from_us = clock_monotonic_us();
    wait_for(sql, wanted);
    return clock_monotonic_us() - from_us;
}

static void nothing_was_told_twice(int duties)
{
    char wanted[16];

    snprintf(wanted, sizeof(wanted), "%d", duties);
    assert_string_equal(
        rig_value(rig, "SELECT count(DISTINCT obligation_id) FROM reminders.notification"), wanted);
    assert_string_equal(
        rig_value(rig, "SELECT count(*) FROM (SELECT obligation_id, step, recipient_id "
                       "FROM reminders.notification GROUP BY 1, 2, 3 HAVING count(*) > 1) x"),
        "0");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM bus.outbox WHERE type LIKE '%Fired'"),
                        wanted);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void replicas_share_evenly_and_a_stopped_one_hands_over_at_once(void **state)
{
    (void)state;
    static struct runner a, b;

    fresh("2026-11-16T02:00:00Z");
    runner_start(&a, "replica-a");
    wait_for(held_sql, "replica-a 64");
    runner_start(&b, "replica-b");
    wait_for(held_sql, "replica-a 32, replica-b 32");
    runner_stop(&a);
    assert_true(wait_and_time(held_sql, "replica-b 64") < 2 * SECOND_US);
    runner_stop(&b);
    wait_for("SELECT count(*) FROM reminders.shard_lease WHERE owner IS NOT NULL", "0");
}

static void when_a_replica_is_killed_others_fire_its_timers_F04(void **state)
{
    (void)state;
    static struct runner survivor;

    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    pid_t victim = fork_replica("victim");
    wait_for(held_sql, "victim 64");
    runner_start(&survivor, "survivor");
    wait_for(held_sql, "survivor 32, victim 32");
    ask_questions(2000, 2000, "2026-11-16T02:00:00Z");
    end_replica(victim);
    int64_t from_us = clock_monotonic_us();
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for("SELECT count(*) FROM reminders.notification", "4000");
    int64_t took_us = clock_monotonic_us() - from_us;
    if (took_us > TAKEOVER_US + SECOND_US)
        fail_msg("took %.1f s", (double)took_us / 1e6);
    nothing_was_told_twice(2000);
    runner_stop(&survivor);
}

static void when_a_replica_is_killed_in_the_middle_of_firing_nothing_is_told_twice_F04(void **state)
{
    (void)state;
    static struct runner survivor;

    for (int round = 0; round < 3; round++) {
        fresh("2026-11-16T02:00:00Z");
        rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
        ask_questions(5000, 4000, "2026-11-16T02:00:00Z");
        pid_t victim = fork_replica("victim");
        wait_for(held_sql, "victim 64");
        rig_time(rig, "2026-11-17T02:00:00Z");
        char some[160];
        snprintf(some, sizeof(some), "SELECT (count(*) > %d)::text FROM reminders.notification",
                 round * 1500);
        wait_for(some, "true");
        end_replica(victim);
        runner_start(&survivor, "survivor");
        wait_for("SELECT count(*) FROM reminders.notification", "8000");
        nothing_was_told_twice(4000);
        runner_stop(&survivor);
    }
}

/* F08: it sleeps through its lease, and wakes up believing that it owns what it owned. */
static void a_replica_that_sleeps_through_its_lease_is_refused(void **state)
{
    (void)state;
    static struct runner survivor;

    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    pid_t sleeper = fork_replica("sleeper");
    wait_for(held_sql, "sleeper 64");
    ask_questions(3000, 1000, "2026-11-16T02:00:00Z");
    kill(sleeper, SIGSTOP);
    int64_t from_us = clock_monotonic_us();
    runner_start(&survivor, "survivor");
    rig_time(rig, "2026-11-17T02:00:00Z");
    kill(sleeper, SIGCONT); /* awake again, but the clock and perhaps the leases have moved on */
    kill(sleeper, SIGSTOP);
    wait_for("SELECT count(*) FROM reminders.notification", "2000");
    assert_true(clock_monotonic_us() - from_us < TAKEOVER_US + 2 * SECOND_US);
    ask_questions(4500, 500, "2026-11-16T02:00:01Z");
    kill(sleeper, SIGCONT);
    rig_time(rig, "2026-11-17T02:00:01Z");
    wait_for("SELECT count(*) FROM reminders.notification", "3000");
    nothing_was_told_twice(1500);
    wait_for(held_sql, "sleeper 32, survivor 32"); /* and it takes part again */
    end_replica(sleeper);
    runner_stop(&survivor);
}

/* --- frozen in the middle of a firing --------------------------------------------------------- */

static void lock(const char *sql)
{
    PGresult *res = PQexec(locker, sql);
    assert_int_equal(PQresultStatus(res), PGRES_COMMAND_OK);
    PQclear(res);
}

/*
 * Freezes the replica between the two round trips of a firing: its session then holds the rows of
 * its leases and waits for a client that does not come. The first round trip looks into a table
 * that is locked, and so waits for us; a replica stopped while it waits sends nothing after.
 */
static void freeze_in_a_firing(pid_t sleeper, const char *due)
{
#define ITS_SESSION                                                                                \
    "SELECT (count(*) > 0)::text FROM pg_stat_activity WHERE application_name = "                  \
    "'daybook-reminders/timers@sleeper' AND "
    static const char waits[] = ITS_SESSION "wait_event_type = 'Lock'";

    lock("BEGIN; LOCK TABLE reminders.channel IN ACCESS EXCLUSIVE MODE");
    rig_time(rig, due);
    for (bool is_caught = false; !is_caught;) {
        wait_for(waits, "true");
        kill(sleeper, SIGSTOP);
        is_caught = strcmp(rig_value(rig, waits), "true") == 0;
        if (!is_caught) /* it had just given up and was about to try again */
            kill(sleeper, SIGCONT);
    }
    lock("ROLLBACK");
    wait_for(ITS_SESSION "state = 'idle in transaction'", "true");
}

/* F08: what it holds, it must not hold on to; the others go on renewing and take its leases. */
static void a_replica_that_freezes_while_it_fires_stops_nobody(void **state)
{
    (void)state;
    static struct runner survivor;

    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    pid_t sleeper = fork_replica("sleeper");
    wait_for(held_sql, "sleeper 64");
    runner_start(&survivor, "survivor");
    wait_for(held_sql, "sleeper 32, survivor 32");
    ask_questions(7000, 500, "2026-11-16T02:00:00Z");
    ask_questions(7500, 500, "2026-11-16T02:00:01Z");
    freeze_in_a_firing(sleeper, "2026-11-17T02:00:00Z");
    int64_t from_us = clock_monotonic_us();
    rig_time(rig, "2026-11-17T02:00:01Z");
    wait_for("SELECT count(*) FROM reminders.notification", "2000");
    int64_t took_us = clock_monotonic_us() - from_us;
    if (took_us > TAKEOVER_US + SECOND_US)
        fail_msg("took %.1f s", (double)took_us / 1e6);
    kill(sleeper, SIGCONT);
    wait_for(held_sql, "sleeper 32, survivor 32");
    nothing_was_told_twice(1000);
    end_replica(sleeper);
    runner_stop(&survivor);
}

/* A session that is not idle but cannot end either (its client does not read) is ended by others.
 */
static void the_sessions_of_an_owner_whose_lease_is_over_are_ended(void **state)
{
    (void)state;
    struct leases *l = leases_new(&reminders_lease_plan, "next", NULL);
    char name[LEASE_NAME_MAX], own[256];
    static const char owner[] = "a-pod-with-a-name-that-is-longer-than-postgresql-keeps-it:17";

    fresh("2026-11-16T02:00:00Z");
    struct db *db =
        db_new(conninfo, lease_session_name(&reminders_lease_plan, "leases", "next", name));
    snprintf(own, sizeof(own), "%s application_name='%s'", conninfo,
             lease_session_name(&reminders_lease_plan, "timers", owner, name));
    assert_int_equal(strlen(name), 61);
    PGconn *frozen = PQconnectdb(own);
    snprintf(own, sizeof(own),
             "UPDATE reminders.shard_lease SET owner = CASE WHEN shard = 5 THEN '%s' END, "
             "expires_at = '-infinity'; DELETE FROM reminders.member",
             owner);
    assert_int_equal(db_script(rig->admin, own, clock_monotonic_us() + WAIT_US), ERR_OK);
    PQclear(
        PQexec(frozen, "BEGIN; SELECT FROM reminders.shard_lease WHERE shard = 5 FOR KEY SHARE"));
    assert_int_equal(PQtransactionStatus(frozen), PQTRANS_INTRANS);

    assert_int_equal(leases_tick(l, db, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_true(leases_held(l, 4, NULL) && leases_held(l, 6, NULL)); /* one holds up no other */
    assert_false(leases_held(l, 5, NULL));
    while (!leases_held(l, 5, NULL)) /* the session is gone in a moment */
        assert_int_equal(leases_tick(l, db, clock_monotonic_us() + WAIT_US), ERR_OK);
    PQclear(PQexec(frozen, "SELECT 1"));
    assert_int_equal(PQstatus(frozen), CONNECTION_BAD);
    PQfinish(frozen);
    leases_leave(l, db);
    db_free(db);
    leases_free(l);
}

static void a_lease_of_an_older_version_proves_nothing(void **state)
{
    (void)state;
    struct leases *l = leases_new(&reminders_lease_plan, "fenced", NULL);
    struct db *db = db_new(conninfo, "test");
    const int list[] = { 3, 17 };

    fresh("2026-11-16T02:00:00Z");
    assert_int_equal(db_script(rig->admin,
                               "UPDATE reminders.shard_lease SET owner = NULL, expires_at = "
                               "'-infinity'; DELETE FROM reminders.member",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    assert_int_equal(leases_queue_fence(l, db, list, 2), ERR_CANCELED); /* not held at all */
    assert_int_equal(leases_tick(l, db, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_true(leases_held(l, 3, NULL) && leases_held(l, 17, NULL) && leases_held(l, 71, NULL));

    assert_int_equal(db_begin(db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(leases_queue_fence(l, db, list, 2), ERR_OK);
    assert_int_equal(db_commit(db), ERR_OK);

    /* Renewed, it still holds. */
    assert_int_equal(leases_tick(l, db, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_begin(db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(leases_queue_fence(l, db, list, 2), ERR_OK);
    assert_int_equal(db_flush(db), ERR_OK);
    /* While it is proven, nobody can take it, but it can be renewed. */
    assert_int_equal(db_script(rig->admin,
                               "SET lock_timeout = '50ms'; UPDATE reminders.shard_lease SET "
                               "expires_at = clock_timestamp() + interval '4 s' WHERE shard = 3",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    assert_int_equal(db_script(rig->admin,
                               "UPDATE reminders.shard_lease SET version = version + 1, "
                               "owner = 'thief' WHERE shard = 3",
                               clock_monotonic_us() + WAIT_US),
                     ERR_UNAVAILABLE);
    assert_int_equal(db_commit(db), ERR_OK);

    assert_int_equal(db_script(rig->admin,
                               "UPDATE reminders.shard_lease SET version = version + 1, "
                               "owner = 'thief' WHERE shard = 17",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    assert_int_equal(db_begin(db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(leases_queue_fence(l, db, list, 2), ERR_OK);
    assert_int_equal(db_commit(db), ERR_CANCELED);
    db_rollback(db);
    assert_int_equal(db_begin(db, NULL, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(leases_queue_fence(l, db, list, 1), ERR_OK); /* the other one is still good */
    assert_int_equal(db_commit(db), ERR_OK);
    leases_leave(l, db);
    db_free(db);
    leases_free(l);
}

static void when_postgresql_is_killed_timers_fire_once_after_its_return_F11(void **state)
{
    (void)state;
    static struct runner only;

    fresh("2026-11-16T02:00:00Z");
    rig_set_policy("lead_offsets_24h", "0", "2026-01-01T00:00:00Z");
    ask_questions(6000, 4000, "2026-11-16T02:00:00Z");
    runner_start(&only, "only");
    wait_for(held_sql, "only 64");
    rig_time(rig, "2026-11-17T02:00:00Z");
    wait_for("SELECT (count(*) > 0)::text FROM reminders.notification", "true");
    servers_stop_postgres(rig->servers, SERVERS_IMMEDIATE);
    servers_start_postgres(rig->servers);
    assert_int_equal(db_ping(rig->admin, clock_monotonic_us() + WAIT_US), ERR_OK);
    assert_int_equal(db_ping(rig->db, clock_monotonic_us() + WAIT_US), ERR_OK);
    wait_for("SELECT count(*) FROM reminders.notification", "8000");
    nothing_was_told_twice(4000);
    runner_stop(&only);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_share_evenly_and_a_stopped_one_hands_over_at_once),
        cmocka_unit_test(when_a_replica_is_killed_others_fire_its_timers_F04),
        cmocka_unit_test(
            when_a_replica_is_killed_in_the_middle_of_firing_nothing_is_told_twice_F04),
        cmocka_unit_test(a_replica_that_sleeps_through_its_lease_is_refused),
        cmocka_unit_test(a_replica_that_freezes_while_it_fires_stops_nobody),
        cmocka_unit_test(the_sessions_of_an_owner_whose_lease_is_over_are_ended),
        cmocka_unit_test(a_lease_of_an_older_version_proves_nothing),
        cmocka_unit_test(when_postgresql_is_killed_timers_fire_once_after_its_return_F11),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start, stop);
}
