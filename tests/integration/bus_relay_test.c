/*
 * The relay on a real PostgreSQL: order, contiguity and latency; two at once; a leader that is
 * killed, frozen, fenced or cut off; a backlog; a log whose history went back
 * (protocols F.3; F03, F08, F11, F15, F37, F59).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "common/migrate.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "services/bus/broker.h"
#include "services/bus/relay.h"
#include "services/bus/sql.h"
#include "services/bus/stats.h"
#include "tests/support/admin_db.h"
#include "tests/support/servers.h"
#include "tests/support/slack.h"

#define TENANT_A "01900000-0000-7000-8000-00000000000a"
#define TENANT_B "01900000-0000-7000-8000-00000000000b"
#define EVENT_TYPE "daybook.bus.v1.GetHeadRequest" /* any message will do */
#define LOCK "28254671641472875"
#define WRITERS 8
#define EVENTS_EACH 120
#define WAIT_US (10 * SECOND_US)

static struct servers *servers;
static char *bus_conninfo;

/* --- the database --------------------------------------------------------------------------- */

static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_us() + ms * MSEC_US;
}

static void run(const char *sql)
{
    must(db_script(admin, sql, in_ms(30000)));
}

static void clean_log(void)
{
    run("TRUNCATE bus.outbox, bus.log, bus.tenant_head; UPDATE bus.head SET last_seq = 0");
}

/* One statement, one transaction. */
static const char hand_in[] =
    "INSERT INTO bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at,"
    " payload) SELECT gen_random_uuid(), '%s', '" EVENT_TYPE
    "', 'things/' || %d, g, '2026-01-01', ''"
    " FROM generate_series(1, %d) g";

static void emit(const char *tenant, int thing, int n)
{
    char sql[512];
    snprintf(sql, sizeof(sql), hand_in, tenant, thing, n);
    run(sql);
}

/* What must hold of any log, whatever happened (promise 1). */
static void check_log(int64_t want)
{
    assert_int_equal(number("SELECT count(*) AS n FROM bus.log"), want);
    assert_int_equal(number("SELECT last_seq AS n FROM bus.head"), want);
    assert_int_equal(
        number("SELECT count(*) AS n FROM (SELECT seq, row_number() OVER (ORDER BY seq)"
               " AS r FROM bus.log) x WHERE seq <> r"),
        0);
    assert_int_equal(number("SELECT count(*) AS n FROM (SELECT prev_seq, coalesce(lag(seq) OVER"
                            " (PARTITION BY tenant_id ORDER BY seq), 0) AS p FROM bus.log) x"
                            " WHERE prev_seq <> p"),
                     0);
    assert_int_equal(number("SELECT count(*) AS n FROM (SELECT aggregate_version <= lag"
                            " (aggregate_version) OVER (PARTITION BY aggregate ORDER BY seq) AS bad"
                            " FROM bus.log) x WHERE bad"),
                     0);
}

/* --- a relay and who listens to it ---------------------------------------------------------- */

struct station {
    void *zmq, *pull, *wake;
    struct relay *relay;
    pthread_t thread;
    atomic_bool stop;
};

static bool stopping(void *arg)
{
    struct station *s = arg;
    return atomic_load(&s->stop);
}

static void *relay_main(void *arg)
{
    struct station *s = arg;
    relay_run(s->relay, stopping, s);
    return NULL;
}

static void station_prepare_with(struct station *s, bool listens, size_t arena_bytes)
{
    int linger = 0, wait = 10000;
    memset(s, 0, sizeof(*s));
    s->zmq = zmq_ctx_new();
    s->pull = zmq_socket(s->zmq, ZMQ_PULL);
    s->wake = zmq_socket(s->zmq, ZMQ_PUSH);
    zmq_setsockopt(s->wake, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(s->pull, ZMQ_RCVTIMEO, &wait, sizeof(wait));
    zmq_setsockopt(s->pull, ZMQ_RCVHWM, &(int){ 100000 }, sizeof(int));
    if (listens)
        assert_int_equal(zmq_bind(s->pull, BROKER_PUBLISH), 0);
    s->relay = relay_new(&(struct relay_config){ .conninfo = bus_conninfo,
                                                 .application_name = "relay-test",
                                                 .zmq_context = s->zmq,
                                                 .arena_bytes = arena_bytes });
    assert_non_null(s->relay);
    assert_int_equal(zmq_connect(s->wake, BROKER_RELAY_WAKE), 0);
}

static void station_prepare(struct station *s, bool listens)
{
    station_prepare_with(s, listens, 0);
}

static void station_open(struct station *s)
{
    station_prepare(s, true);
    assert_int_equal(pthread_create(&s->thread, NULL, relay_main, s), 0);
}

static void station_close(struct station *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    relay_free(s->relay);
    zmq_close(s->pull);
    zmq_close(s->wake);
    zmq_ctx_term(s->zmq);
}

static void wake(struct station *s)
{
    zmq_send(s->wake, "", 0, ZMQ_DONTWAIT);
}

struct heard {
    char topic[256];
    uint8_t log_id[16];
    int64_t seq;
    uint8_t event[1024];
    size_t event_len;
};

/* Next message; heads are taken only when they are wanted. False: nothing for 10 s. */
static bool hear(struct station *s, bool heads, struct heard *h)
{
    for (;;) {
        uint8_t seq[8];
        int n = zmq_recv(s->pull, h->topic, sizeof(h->topic) - 1, 0);
        if (n < 0)
            return false;
        h->topic[n] = 0;
        assert_int_equal(zmq_recv(s->pull, h->log_id, 16, 0), 16);
        assert_int_equal(zmq_recv(s->pull, seq, 8, 0), 8);
        n = zmq_recv(s->pull, h->event, sizeof(h->event), 0);
        assert_true(n >= 0);
        h->event_len = (size_t)n;
        h->seq = 0;
        for (int i = 0; i < 8; i++)
            h->seq = h->seq << 8 | seq[i];
        if ((strcmp(h->topic, BUS_TOPIC_HEAD) == 0) == heads)
            return true;
    }
}

static void wait_for_leader(void)
{
    int64_t until = clock_monotonic_us() + WAIT_US;
    while (!stats_is_leader())
        if (clock_monotonic_us() > until)
            fail_msg("nobody leads");
}

/* --- tests ---------------------------------------------------------------------------------- */

/* First, while this process has one thread: a relay is killed that has committed and published
 * half. Its publisher is not there, so it is stuck where a queue of 10 000 messages is full. */
static void a_relay_killed_between_commit_and_publish_leaves_nothing_out_F03(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    clean_log();
    emit(TENANT_A, 1, 12000);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        station_prepare(&s, false);
        relay_run(s.relay, stopping, &s);
        _exit(0);
    }
    wait_for_number("SELECT count(*) AS n FROM bus.log",
                    10000); /* a head and 9 999 events found room */
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);

    int64_t start = clock_monotonic_us();
    station_open(&s);
    assert_true(hear(&s, true, &h)); /* the head tells of what was not published */
    assert_int_equal(h.seq, 10000);
    assert_true(clock_monotonic_us() - start < 5 * SECOND_US);
    for (int64_t seq = 10001; seq <= 12000; seq++) {
        assert_true(hear(&s, false, &h));
        assert_int_equal(h.seq, seq);
    }
    check_log(12000);
    station_close(&s);
}

static void an_event_comes_out_at_once_in_the_frames_of_the_contract(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    struct wire_fault f;
    struct arena *a = arena_new(MIB);
    ProtobufCMessage *m = NULL;
    int64_t took[20];
    clean_log();
    station_open(&s);
    assert_true(hear(&s, true, &h));
    assert_int_equal(h.seq, 0);
    for (size_t i = 0; i < ARRAY_LEN(took); i++) {
        emit(i % 2 ? TENANT_B : TENANT_A, (int)i, 1);
        int64_t committed = clock_monotonic_us();
        wake(&s);
        assert_true(hear(&s, false, &h));
        took[i] = clock_monotonic_us() - committed;
        assert_int_equal(h.seq, i + 1);
        assert_string_equal(h.topic, i % 2 ? TENANT_B "/" EVENT_TYPE : TENANT_A "/" EVENT_TYPE);
        must(wire_unpack(&daybook__bus__v1__event__descriptor, h.event, h.event_len,
                         &wire_limits_internal, a, &m, &f));
        const Daybook__Bus__V1__Event *e = (const void *)m;
        assert_int_equal(e->seq, i + 1);
        assert_int_equal(e->prev_seq, i < 2 ? 0 : i - 1);
        assert_string_equal(e->type, EVENT_TYPE);
        assert_int_equal(strlen(e->event_id), 36);
        assert_string_equal(e->data->type_url, "type.googleapis.com/" EVENT_TYPE);
        assert_int_equal(wire_time_us(e->occurred_at), 1767225600 * SECOND_US);
    }
    int64_t fastest = took[0], sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(took); i++) {
        fastest = MIN(fastest, took[i]);
        sum += took[i];
    }
    print_message("commit to publish: mean %" PRId64 " us, best %" PRId64 " us\n",
                  sum / (int64_t)ARRAY_LEN(took), fastest);
    assert_true(fastest < slack(50 * MSEC_US)); /* by the wake, not by the poll */

    emit(TENANT_A, 99, 1); /* nobody says so: found by itself */
    assert_true(hear(&s, false, &h));
    assert_true(hear(&s, true, &h)); /* and the head when it is quiet */
    assert_int_equal(h.seq, 21);
    arena_free(a);
    station_close(&s);
}

static atomic_int writers_left;

/* Commands as daemons make them: the aggregate's row first, then the event; some fail. */
static void *write_events(void *arg)
{
    int no = (int)(uintptr_t)arg;
    struct db *db = db_new(servers_conninfo(servers), "writer");
    char bump[256], event[600];
    snprintf(bump, sizeof(bump), "UPDATE counter SET version = version + 1 WHERE id = %d", no % 3);
    snprintf(event, sizeof(event),
             "INSERT INTO bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version,"
             " occurred_at, payload) SELECT gen_random_uuid(), '%s', '" EVENT_TYPE "',"
             " 'counters/' || id, version, '2026-01-01', '' FROM counter WHERE id = %d",
             no % 2 ? TENANT_A : TENANT_B, no % 3);
    struct db_stmt first = { "bump", bump, 0, NULL }, then = { "event", event, 0, NULL };
    struct db_stmt save = { "save", "SAVEPOINT s", 0, NULL };
    struct db_stmt back = { "back", "ROLLBACK TO s", 0, NULL };
    for (int i = 0; i < EVENTS_EACH; i++) {
        must(db_begin(db, NULL, in_ms(30000)));
        must(db_queue(db, &first, NULL));
        if (i % 5 == 4) {
            must(db_queue(db, &save, NULL));
            must(db_queue(db, &then, NULL));
            must(db_queue(db, &back, NULL));
        }
        must(db_queue(db, &then, NULL));
        must(db_flush(db));
        if (i % 6 == 5)
            db_rollback(db);
        else
            must(db_commit(db));
    }
    db_free(db);
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

/* Two relays, the leader stopped half-way, eight writers, and a transaction that stays open. */
static void nothing_is_lost_or_reordered_whoever_leads(void **state)
{
    (void)state;
    struct station s, t;
    pthread_t writers[WRITERS];
    struct db *sleeper = db_new(servers_conninfo(servers), "sleeper");
    struct db_stmt touch = { "touch", "UPDATE counter SET version = version WHERE id = 9", 0,
                             NULL };
    clean_log();
    run("DROP TABLE IF EXISTS counter; CREATE TABLE counter (id int PRIMARY KEY, version bigint);"
        "INSERT INTO counter SELECT g, 0 FROM generate_series(0, 9) g");
    must(db_begin(sleeper, NULL, in_ms(60000)));
    must(db_queue(sleeper, &touch, NULL));
    must(db_flush(sleeper)); /* a writing transaction, open all the time: must stall nobody */

    station_open(&s);
    wait_for_leader();
    station_open(&t);
    atomic_store(&writers_left, WRITERS);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_events, (void *)(uintptr_t)i), 0);
    int64_t half = WRITERS * EVENTS_EACH / 3;
    while (number("SELECT last_seq AS n FROM bus.head") < half)
        wake(&s);
    station_close(&s); /* gives the lead back */
    while (atomic_load(&writers_left) > 0)
        wake(&t);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);

    int64_t want = WRITERS * (EVENTS_EACH - EVENTS_EACH / 6);
    wait_for_number("SELECT count(*) AS n FROM bus.outbox", 0);
    check_log(want);
    assert_int_equal(number("SELECT term AS n FROM bus.head") >= 2, 1);
    db_rollback(sleeper);
    db_free(sleeper);
    station_close(&t);
}

static void a_leader_whose_term_is_over_moves_nothing_F59(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    clean_log();
    int64_t fenced = stat_get(STAT_FENCED);
    station_open(&s);
    wait_for_leader();
    assert_true(hear(&s, true, &h));
    int64_t term = number("SELECT term AS n FROM bus.head");
    /* somebody else leads now, and this one has not heard of it; the event is there too */
    char event[512], sql[700];
    snprintf(event, sizeof(event), hand_in, TENANT_A, 1, 3);
    snprintf(sql, sizeof(sql), "BEGIN; UPDATE bus.head SET term = term + 1; %s; COMMIT", event);
    run(sql);
    wake(&s);
    for (int64_t seq = 1; seq <= 3; seq++) { /* it takes the lead anew, with a term of its own */
        assert_true(hear(&s, false, &h));
        assert_int_equal(h.seq, seq);
    }
    assert_int_equal(stat_get(STAT_FENCED), fenced + 1);
    assert_int_equal(number("SELECT term AS n FROM bus.head"), term + 2);
    check_log(3);
    station_close(&s);
}

static void a_leader_whose_session_is_ended_is_back_within_5_s_F23(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    clean_log();
    station_open(&s);
    wait_for_leader();
    for (int64_t round = 1; round <= 3; round++) {
        int64_t start = clock_monotonic_us();
        assert_true(number("SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
                           " WHERE application_name LIKE 'relay-test%'") > 0);
        emit(TENANT_A, (int)round, 1);
        assert_true(hear(&s, false, &h));
        assert_int_equal(h.seq, round);
        assert_true(clock_monotonic_us() - start < 5 * SECOND_US);
    }
    check_log(3);
    station_close(&s);
}

static void a_frozen_leader_is_put_out_when_there_is_work_F08(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    char *conninfo = servers_conninfo_of(servers, "daybook_bus");
    struct db *frozen = db_new(conninfo, "frozen"); /* holds the lock and does nothing */
    struct db_stmt lock = { "lock", "SELECT pg_advisory_lock(" LOCK ")", 0, NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    clean_log();
    must(db_exec(frozen, &lock, NULL, &res));
    station_open(&s);
    assert_true(hear(&s, true, &h)); /* who stands by tells the head, too */
    assert_true(hear(&s, true, &h));
    assert_true(hear(&s, true, &h));
    assert_true(hear(&s, true, &h));
    assert_true(hear(&s, true, &h)); /* 4 s without work: the lock is left alone */
    assert_false(stats_is_leader());
    int64_t start = clock_monotonic_us();
    emit(TENANT_A, 1, 1);
    assert_true(hear(&s, false, &h));
    int64_t took = clock_monotonic_us() - start;
    assert_true(took >= 2500 * MSEC_US && took < slack(5 * SECOND_US));
    check_log(1);
    db_free(frozen);
    free(conninfo);
    station_close(&s);
}

static void a_backlog_is_drained_at_5000_a_second_F37(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    clean_log();
    for (int i = 0; i < 10; i++)
        emit(i % 2 ? TENANT_A : TENANT_B, i, 2000);
    int64_t start = clock_monotonic_us();
    station_open(&s);
    for (int64_t seq = 1; seq <= 20000; seq++) {
        assert_true(hear(&s, false, &h));
        assert_int_equal(h.seq, seq);
    }
    double seconds = (double)(clock_monotonic_us() - start) / (double)SECOND_US;
    print_message("20 000 events in %.2f s: %.0f/s\n", seconds, 20000 / seconds);
#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__
    assert_true(seconds < 4);
#endif
#endif
    check_log(20000);
    station_close(&s);
}

/* A batch of large events that is more than the memory takes must not stop the log; consumers read
 * from it what could not be published. */
static void events_too_large_for_one_batch_are_left_to_readers_F37(void **state)
{
    (void)state;
    struct station s;
    struct heard h = { .seq = 0 };
    clean_log();
    run("INSERT INTO bus.outbox (event_id, tenant_id, type, aggregate, aggregate_version,"
        " occurred_at, payload) SELECT gen_random_uuid(), '" TENANT_A "', '" EVENT_TYPE "',"
        " 'things/1', g, '2026-01-01', decode(repeat('0a', 100000), 'hex')"
        " FROM generate_series(1, 60) g");
    station_prepare_with(&s, true, MIB);
    assert_int_equal(pthread_create(&s.thread, NULL, relay_main, &s), 0);
    wait_for_number("SELECT count(*) AS n FROM bus.log", 60);
    for (int i = 0; i < 80 && h.seq < 60; i++)
        assert_true(hear(&s, true, &h));
    assert_int_equal(h.seq, 60);
    station_close(&s);
    check_log(60);
}

static void a_killed_database_is_used_again_within_5_s_F11(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    clean_log();
    station_open(&s);
    wait_for_leader();
    emit(TENANT_A, 1, 1);
    assert_true(hear(&s, false, &h));
    servers_stop_postgres(servers, SERVERS_KILL);
    servers_start_postgres(servers);
    int64_t start = clock_monotonic_us();
    while (db_ping(admin, in_ms(1000)))
        assert_true(clock_monotonic_us() - start < WAIT_US);
    emit(TENANT_A, 1, 1);
    assert_true(hear(&s, false, &h));
    assert_int_equal(h.seq, 2);
    assert_true(clock_monotonic_us() - start < 5 * SECOND_US);
    station_close(&s);
}

/* A restore: the head is behind what this process has published. */
static void a_log_whose_history_went_back_gets_a_new_id_F15(void **state)
{
    (void)state;
    struct station s;
    struct heard h;
    uint8_t log_id[16];
    clean_log();
    station_open(&s);
    wait_for_leader();
    emit(TENANT_A, 1, 10);
    wake(&s);
    for (int i = 0; i < 10; i++)
        assert_true(hear(&s, false, &h));
    memcpy(log_id, h.log_id, 16);
    run("BEGIN; LOCK TABLE bus.head; DELETE FROM bus.log WHERE seq > 5; UPDATE bus.head SET "
        "last_seq"
        " = 5; UPDATE bus.tenant_head SET last_seq = 5; SELECT pg_terminate_backend(pid) FROM"
        " pg_stat_activity WHERE application_name LIKE 'relay-test%'; COMMIT");
    emit(TENANT_A, 2, 1);
    assert_true(hear(&s, false, &h));
    assert_int_equal(h.seq, 6);
    assert_memory_not_equal(h.log_id, log_id, 16);

    memcpy(log_id, h.log_id, 16); /* and one that merely lost its connection keeps it */
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'relay-test%'");
    emit(TENANT_A, 3, 1);
    assert_true(hear(&s, false, &h));
    assert_int_equal(h.seq, 7);
    assert_memory_equal(h.log_id, log_id, 16);

    run("UPDATE bus.head SET timeline = timeline + 1"); /* as after a failover */
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'relay-test%'");
    emit(TENANT_A, 4, 1);
    assert_true(hear(&s, false, &h));
    assert_int_equal(h.seq, 8);
    assert_memory_not_equal(h.log_id, log_id, 16);
    station_close(&s);
}

/* --- frame ---------------------------------------------------------------------------------- */

static int start(void **state)
{
    int applied = 0;
    (void)state;
    if (sodium_init() < 0)
        return -1;
    schema_init();
    servers = servers_start(false);
    admin_open(servers_conninfo(servers));
    enum err e = migrate_run(admin, "bus", bus_migrations, bus_migrations_len, &applied);
    bus_conninfo = servers_conninfo_of(servers, "daybook_bus");
    return e == ERR_OK && bus_conninfo ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    admin_close();
    servers_stop(servers);
    free(bus_conninfo);
    schema_fini();
    metrics_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_relay_killed_between_commit_and_publish_leaves_nothing_out_F03),
        cmocka_unit_test(an_event_comes_out_at_once_in_the_frames_of_the_contract),
        cmocka_unit_test(nothing_is_lost_or_reordered_whoever_leads),
        cmocka_unit_test(a_leader_whose_term_is_over_moves_nothing_F59),
        cmocka_unit_test(a_leader_whose_session_is_ended_is_back_within_5_s_F23),
        cmocka_unit_test(a_frozen_leader_is_put_out_when_there_is_work_F08),
        cmocka_unit_test(a_backlog_is_drained_at_5000_a_second_F37),
        cmocka_unit_test(events_too_large_for_one_batch_are_left_to_readers_F37),
        cmocka_unit_test(a_killed_database_is_used_again_within_5_s_F11),
        cmocka_unit_test(a_log_whose_history_went_back_gets_a_new_id_F15),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
