/*
 * EventService on a real PostgreSQL: pieces of the log, filters, the head, and who may read what
 * (F61; protocols F).
 */
#include "services/bus/event_service.h"
#include "services/bus/sql.h"
#include "tests/support/asking.h"
#include "tests/support/rig.h"

#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>

#include "common/clock.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define SERVICE "daybook.bus.v1.EventService"

static struct rig *rig;

/* Twelve events: odd seq of the rig's company, even seq of the other; two types, two aggregates. */
static int start(void **state)
{
    char sql[1024];
    (void)state;
    rig = rig_start("bus", bus_migrations, bus_migrations_len, event_service_methods,
                    event_service_methods_len);
    char tenants[2][ID_TEXT_MAX];
    id_text(rig_tenant, tenants[0]);
    id_text(rig_other_tenant, tenants[1]);
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO bus.log SELECT g, greatest(g - 2, 0), gen_random_uuid(),"
        " (ARRAY['%s','%s'])[1 + (g + 1) %% 2]::uuid,"
        " CASE WHEN g > 8 THEN 'daybook.bus.v1.GetStatsRequest' ELSE"
        " 'daybook.bus.v1.GetHeadRequest' END, 'things/' || g %% 4, g, '2026-01-01', NULL, '',"
        " '', '', '2026-01-01' FROM generate_series(1, 12) g; UPDATE bus.head SET last_seq = 12",
        tenants[0], tenants[1]);
    return db_script(rig->admin, sql, clock_monotonic_us() + 5 * SECOND_US) ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

static const char *seqs(const json_t *reply)
{
    static char text[256];
    size_t n = 0, i;
    json_t *event;
    text[0] = 0;
    json_array_foreach(json_object_get(reply, "events"), i, event) n +=
        (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", rig_text(event, "seq"));
    return text;
}

static void expect(const char *actor, const char *request, const char *want)
{
    json_t *reply = rig_ok(rig, actor, SERVICE, "ReadEvents", "%s", request);
    if (strcmp(seqs(reply), want))
        fail_msg("%s: want %s, got %s", request, want, seqs(reply));
    assert_string_equal(rig_text(reply, "headSeq"), "12");
    assert_int_equal(strlen(rig_text(reply, "logId")), 36);
    json_decref(reply);
}

static struct reply ask_system(const char *method, const ProtobufCMessage *message)
{
    struct call_env env = { .arena = rig->arena,
                            .db = rig->db,
                            .methods = event_service_methods,
                            .nmethods = event_service_methods_len,
                            .schema = "bus" };
    arena_reset(rig->arena);
    return ask(&env,
               &(struct question){ .service = SERVICE, .method = method, .message = message });
}

static void a_company_reads_its_own_events_only_F61(void **state)
{
    (void)state;
    expect("gm", "{}", "1 3 5 7 9 11");
    expect("gm", "{\"afterSeq\":\"5\"}", "7 9 11");
    expect("gm", "{\"afterSeq\":\"5\",\"limit\":1}", "7");
    expect("gm", "{\"afterSeq\":\"12\"}", "");
    expect("gm", "{\"afterSeq\":\"99\"}", "");
    expect("gm", "{\"aggregate\":\"things/2\"}", ""); /* the other company's */
    expect("gm", "{\"aggregate\":\"things/1\"}", "1 5 9");
    expect("system", "{}", "1 3 5 7 9 11"); /* speaking for one company */
}

static void types_are_full_names_or_prefixes_ending_in_a_dot(void **state)
{
    (void)state;
    expect("gm", "{\"types\":[\"daybook.bus.v1.GetStatsRequest\"]}", "9 11");
    expect("gm", "{\"types\":[\"daybook.bus.v1.\"]}", "1 3 5 7 9 11");
    expect("gm", "{\"types\":[\"daybook.bus.v1.GetStats\"]}", "");
    expect("gm", "{\"types\":[\"daybook.visits.\",\"daybook.bus.v1.GetHeadRequest\"]}", "1 3 5 7");
    expect("gm", "{\"types\":[\"x', 'y\",\"{}\",\"\\\"\"]}", ""); /* F62 */
}

static void an_event_is_whole(void **state)
{
    (void)state;
    json_t *reply = rig_ok(rig, "gm", SERVICE, "ReadEvents", "{\"afterSeq\":\"10\"}");
    assert_string_equal(rig_text(reply, "events.0.prevSeq"), "9");
    assert_string_equal(rig_text(reply, "events.0.aggregate"), "things/3");
    assert_string_equal(rig_text(reply, "events.0.aggregateVersion"), "11");
    assert_string_equal(rig_text(reply, "events.0.occurredAt"), "2026-01-01T00:00:00Z");
    assert_string_equal(rig_text(reply, "events.0.data.@type"),
                        "type.googleapis.com/daybook.bus.v1.GetStatsRequest");
    json_decref(reply);
}

static void the_bus_itself_reads_everything(void **state)
{
    (void)state;
    Daybook__Bus__V1__ReadEventsRequest all = DAYBOOK__BUS__V1__READ_EVENTS_REQUEST__INIT;
    struct reply r = ask_system("ReadEvents", &all.base);
    assert_int_equal(r.code, ERR_OK);
    const Daybook__Bus__V1__ReadEventsResponse *events = (const void *)r.message;
    assert_int_equal(events->n_events, 12);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(events->events[i]->seq, i + 1);
    char log_id[ID_TEXT_MAX];
    snprintf(log_id, sizeof(log_id), "%s", events->log_id);

    Daybook__Bus__V1__GetHeadRequest head = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    r = ask_system("GetHead", &head.base);
    assert_int_equal(r.code, ERR_OK);
    const Daybook__Bus__V1__GetHeadResponse *h = (const void *)r.message;
    assert_int_equal(h->head_seq, 12);
    assert_string_equal(h->log_id, log_id);
    assert_int_equal(h->n_types, 2);
    assert_int_equal(h->types[0]->count, 8);

    head.omit_types = true; /* what consumers ask: must not cost more the longer the log is */
    r = ask_system("GetHead", &head.base);
    assert_int_equal(r.code, ERR_OK);
    h = (const void *)r.message;
    assert_int_equal(h->head_seq, 12);
    assert_int_equal(h->n_types, 0);
}

static void counts_are_those_of_the_callers_view(void **state)
{
    (void)state;
    json_t *reply = rig_ok(rig, "gm", SERVICE, "GetHead", "{}");
    assert_string_equal(rig_text(reply, "headSeq"), "12");
    assert_string_equal(rig_text(reply, "types.0.type"), "daybook.bus.v1.GetHeadRequest");
    assert_string_equal(rig_text(reply, "types.0.count"), "4");
    assert_string_equal(rig_text(reply, "types.1.count"), "2");
    json_decref(reply);
}

static void counts_are_the_same_however_far_the_relay_has_counted_F38(void **state)
{
    static const char *const limits[] = { "0", "5", "5", "100", "100" };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        CLEANUP(db_result_clear) PGresult *res = NULL;
        assert_int_equal(db_begin(rig->admin, NULL, clock_monotonic_us() + 5 * SECOND_US), ERR_OK);
        assert_int_equal(db_exec(rig->admin, &sql_relay_count, &limits[i], &res), ERR_OK);
        assert_int_equal(db_commit(rig->admin), ERR_OK);
        counts_are_those_of_the_callers_view(state);
    }
}

static int64_t number(struct db *db, const char *sql)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db_stmt stmt = { "number", sql, 0, NULL };
    assert_int_equal(db_exec(db, &stmt, NULL, &res), ERR_OK);
    struct db_row row = { .res = res };
    return db_row_i64(&row, "n");
}

static void *count_all(void *arg)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct db *db = arg;
    const char *limit = "100";
    bool ok = !db_begin(db, NULL, clock_monotonic_us() + 20 * SECOND_US) &&
              !db_exec(db, &sql_relay_count, &limit, &res) && !db_commit(db);
    return ok ? db : NULL;
}

/* It waited for the row, and knows of the head as it was before. */
static void a_leader_whose_time_is_over_takes_no_count_back_F59(void **state)
{
    (void)state;
    static const struct db_stmt advance = { "advance", "UPDATE bus.counted SET seq = 20", 0, NULL };
    struct db *late = db_new(servers_conninfo(rig->servers), "late");
    pthread_t thread;
    void *counted;
    int64_t until_us = clock_monotonic_us() + 10 * SECOND_US;
    assert_non_null(late);
    int64_t before = number(rig->admin, "SELECT sum(n)::bigint AS n FROM bus.type_count");
    assert_int_equal(db_begin(rig->admin, NULL, until_us), ERR_OK);
    assert_int_equal(db_queue(rig->admin, &advance, NULL), ERR_OK);
    assert_int_equal(db_flush(rig->admin), ERR_OK);
    assert_int_equal(pthread_create(&thread, NULL, count_all, late), 0);
    while (number(rig->admin, "SELECT count(*) AS n FROM pg_locks WHERE NOT granted") == 0)
        assert_true(clock_monotonic_us() < until_us);
    assert_int_equal(db_commit(rig->admin), ERR_OK);
    pthread_join(thread, &counted);
    assert_ptr_equal(counted, late);
    assert_int_equal(number(rig->admin, "SELECT seq AS n FROM bus.counted"), 20);
    assert_int_equal(number(rig->admin, "SELECT sum(n)::bigint AS n FROM bus.type_count"), before);
    db_free(late);
}

static void a_read_says_how_far_it_looked(void **state)
{
    static const struct {
        const char *request, *upto;
    } cases[] = {
        { "{}", "12" },
        { "{\"limit\":2}", "3" },
        { "{\"types\":[\"daybook.nothing.\"]}", "12" },
        { "{\"types\":[\"daybook.bus.\"],\"afterSeq\":\"5\"}", "12" },
        { "{\"types\":[\"daybook.bus.\"],\"limit\":1}", "1" },
        { "{\"afterSeq\":\"12\"}", "12" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *reply = rig_ok(rig, "gm", SERVICE, "ReadEvents", "%s", cases[i].request);
        if (strcmp(rig_text(reply, "readUptoSeq"), cases[i].upto))
            fail_msg("%s: %s", cases[i].request, rig_text(reply, "readUptoSeq"));
        json_decref(reply);
    }
}

static void who_does_not_see_the_company_does_not_read_its_log(void **state)
{
    (void)state;
    rig_fails(rig, "rep", SERVICE, "ReadEvents", ERR_PERMISSION_DENIED, "", "{}");
    rig_fails(rig, "lead", SERVICE, "GetHead", ERR_PERMISSION_DENIED, "", "{}");
    rig_fails(rig, "service", SERVICE, "ReadEvents", ERR_PERMISSION_DENIED, "events.read", "{}");
}

static void faulty_requests_are_named(void **state)
{
    (void)state;
    rig_fails(rig, "gm", SERVICE, "ReadEvents", ERR_INVALID_ARGUMENT, "after_seq",
              "{\"afterSeq\":\"-1\"}");
    rig_fails(rig, "gm", SERVICE, "ReadEvents", ERR_INVALID_ARGUMENT, "after_seq",
              "{\"afterSeq\":\"9223372036854775807\",\"types\":[\"daybook.\"]}");
    rig_fails(rig, "gm", SERVICE, "ReadEvents", ERR_INVALID_ARGUMENT, "limit", "{\"limit\":-1}");
    rig_fails(rig, "gm", SERVICE, "ReadEvents", ERR_INVALID_ARGUMENT, "types",
              "{\"types\":[\"\"]}");
    expect("gm", "{\"limit\":100000}", "1 3 5 7 9 11"); /* lowered, no error */
}

/*
 * Ten events of 200 KiB, more than an answer holds: who reads on from read_upto_seq comes to each of
 * them, once, with types and without. The last of the tests, for the log is longer after it.
 */
static void an_answer_stops_where_it_would_be_too_long(void **state)
{
    char type[] = "daybook.bus.v1.GetStatsRequest", *types[] = { type };
    Daybook__Bus__V1__ReadEventsRequest request = DAYBOOK__BUS__V1__READ_EVENTS_REQUEST__INIT;
    (void)state;
    assert_int_equal(
        db_script(
            rig->admin,
            "INSERT INTO bus.log SELECT g, g - 1, gen_random_uuid(), gen_random_uuid(),"
            " 'daybook.bus.v1.GetStatsRequest', 'things/' || g, 1, '2026-01-01', NULL, '', '',"
            " convert_to(repeat('x', 200 * 1024), 'UTF8'), '2026-01-01'"
            " FROM generate_series(13, 22) g; UPDATE bus.head SET last_seq = 22",
            clock_monotonic_us() + 5 * SECOND_US),
        ERR_OK);
    request.limit = 1000;
    request.types = types;
    for (request.n_types = 0; request.n_types <= 1; request.n_types++) {
        request.after_seq = 12;
        for (int64_t seq = 13; seq <= 22;) {
            struct reply r = ask_system("ReadEvents", &request.base);
            assert_int_equal(r.code, ERR_OK);
            assert_in_range(r.frame_len, 1, MIB);
            const Daybook__Bus__V1__ReadEventsResponse *got = (const void *)r.message;
            assert_int_equal(got->n_events, 5); /* as many as fit */
            for (size_t i = 0; i < got->n_events; i++)
                assert_int_equal(got->events[i]->seq, seq++);
            assert_int_equal(got->read_upto_seq, seq - 1);
            request.after_seq = got->read_upto_seq;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_company_reads_its_own_events_only_F61),
        cmocka_unit_test(types_are_full_names_or_prefixes_ending_in_a_dot),
        cmocka_unit_test(an_event_is_whole),
        cmocka_unit_test(the_bus_itself_reads_everything),
        cmocka_unit_test(counts_are_those_of_the_callers_view),
        cmocka_unit_test(counts_are_the_same_however_far_the_relay_has_counted_F38),
        cmocka_unit_test(a_leader_whose_time_is_over_takes_no_count_back_F59),
        cmocka_unit_test(a_read_says_how_far_it_looked),
        cmocka_unit_test(who_does_not_see_the_company_does_not_read_its_log),
        cmocka_unit_test(faulty_requests_are_named),
        cmocka_unit_test(an_answer_stops_where_it_would_be_too_long),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
