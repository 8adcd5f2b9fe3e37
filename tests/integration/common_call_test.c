/*
 * Commands against a real PostgreSQL: one effect and one answer a key, whatever is repeated or
 * raced (F20, F60, F61 of operations 9).
 */
#include "tests/integration/common_call_fixture.h"

static void a_simple_command_costs_two_round_trips(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "k1", "first");
    struct reply r = go(&a); /* connects */
    reply_id(&r);

    a.question.key = "k2";
    uint64_t before = db_round_trips(a.db);
    r = go(&a);
    reply_id(&r);
    assert_int_equal(db_round_trips(a.db) - before, 2);
    assert_false(is_replayed(&r));
    assert_true(a.env.wake_relay);
    assert_string_equal(a.env.wakes->channel, "visits.changed");
    assert_int_equal(plan.hooks, 2);
    assert_int_equal(items(), 2);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE"
                            " type = 'daybook.visits.v1.VisitCancelled' AND aggregate ~ '^visits/'"
                            " AND aggregate_version = 1 AND request_id <> ''"),
                     2);

    a.question.method = "Get";
    before = db_round_trips(a.db);
    go(&a); /* the same handler, as a method without side effects: no look-up, no record */
    assert_int_equal(records(), 2);
    assert_int_equal(db_round_trips(a.db) - before, 2);
    asker_close(&a);
}

static void a_repeated_command_gets_the_first_answer(void **state)
{
    (void)state;
    struct asker a;
    char first[ID_TEXT_MAX];

    asker_open(&a, "again", "note");
    struct reply r = go(&a);
    snprintf(first, sizeof first, "%s", reply_id(&r));
    for (int json = 0; json <= 1; json++) { /* both forms are the same request */
        a.question.json = json;
        r = go(&a);
        assert_string_equal(reply_id(&r), first);
        assert_true(is_replayed(&r));
        assert_false(a.env.wake_relay);
    }
    assert_int_equal(items(), 1);
    assert_int_equal(plan.hooks, 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 1);
    asker_close(&a);
}

static void a_request_id_serves_as_key(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, NULL, "note");
    a.question.request_id = "req-7";
    struct reply r = go(&a);
    reply_id(&r);
    r = go(&a);
    assert_true(is_replayed(&r));
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void a_key_with_another_body_is_refused_F60(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "reused", "one");
    struct reply r = go(&a);
    reply_id(&r);
    snprintf(a.reason, sizeof a.reason, "two");
    r = go(&a);
    expect(&r, ERR_INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED");
    assert_string_equal(reply_violations(&r, a.arena), "idempotency_key=IDEMPOTENCY_KEY_REUSED");
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void a_key_belongs_to_tenant_and_actor_F61(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "mine", "note");
    struct reply r = go(&a);
    reply_id(&r);
    a.question.actor = actor_2;
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    a.question.tenant = tenant_b;
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    assert_int_equal(items(), 3);
    asker_close(&a);
}

static void ask_twins(call_handler *handler, struct asker pair[2])
{
    pthread_barrier_t meet;

    pthread_barrier_init(&meet, NULL, 2);
    plan.run = handler;
    plan.meet = &meet;
    for (int i = 0; i < 2; i++)
        asker_open(&pair[i], "twin", "note");
    for (int i = 0; i < 2; i++)
        start(&pair[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(pair[i].thread, NULL);
    pthread_barrier_destroy(&meet);
    char first[ID_TEXT_MAX];
    snprintf(first, sizeof first, "%s", reply_id(&pair[0].reply));
    assert_string_equal(reply_id(&pair[1].reply), first);
    assert_int_equal(is_replayed(&pair[0].reply) + is_replayed(&pair[1].reply), 1);
    assert_int_equal(records(), 1);
    for (int i = 0; i < 2; i++)
        asker_close(&pair[i]);
}

static void twins_have_one_effect_and_one_answer_F60(void **state)
{
    (void)state;
    struct asker pair[2];
    ask_twins(meet_then_note, pair);
    assert_int_equal(items(), 1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 1);
}

static void a_twin_is_not_refused_for_what_the_other_did_F60(void **state)
{
    (void)state;
    struct asker pair[2];
    ask_twins(meet_then_take, pair);
    assert_int_equal(number("SELECT count(*) AS n FROM calls.single"), 1);
}

static void a_key_in_work_is_aborted(void **state) /* H.1 */
{
    (void)state;
    struct asker a, other;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    asker_open(&other, "busy", "note");
    struct reply r = go(&other);
    reply_id(&r);
    /* A record whose transaction is open, under the key that is asked for next. */
    must(db_begin(admin, NULL, clock_monotonic_us() + LIMIT_US));
    must(db_exec(admin,
                 &(struct db_stmt){ "busy",
                                    "INSERT INTO calls.idempotency SELECT tenant_id,"
                                    " actor_id, method, 'busy2', fingerprint, reply_type,"
                                    " reply, created_at FROM calls.idempotency",
                                    0, NULL },
                 NULL, &res));
    asker_open(&a, "busy2", "note");
    r = go(&a);
    db_rollback(admin);
    expect(&r, ERR_ABORTED, "IDEMPOTENCY_KEY_IN_USE");
    assert_non_null(reply_detail(&r, &google__rpc__retry_info__descriptor, a.arena));
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    asker_close(&a);
    asker_close(&other);
}

static void events_go_out_for_the_company_they_are_of_F61(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "other", "note");
    plan.run = act_for_another;
    plan.failures = 1;
    struct reply r = go(&a);
    reply_id(&r);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000b' AND aggregate_version = 1"),
                     1);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000a' AND aggregate_version = 2"),
                     1);
    assert_int_equal(number("SELECT count(*) AS n FROM calls.idempotency WHERE tenant_id ="
                            " '01000000-0000-7000-8000-00000000000a'"),
                     1);
    r = go(&a);
    assert_true(is_replayed(&r));
    asker_close(&a);
}

static void failures_are_not_remembered(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "fails", "bad");
    struct reply r = go(&a);
    expect(&r, ERR_FAILED_PRECONDITION, "FAILED_PRECONDITION");
    assert_int_equal(records(), 0);
    assert_int_equal(number("SELECT count(*) AS n FROM bus.outbox"), 0);
    assert_int_equal(plan.hooks, 0);
    assert_null(a.env.wakes);
    assert_false(a.env.wake_relay);

    snprintf(a.reason, sizeof a.reason, "good"); /* the key is still free */
    r = go(&a);
    reply_id(&r);
    assert_false(is_replayed(&r));
    asker_close(&a);
}

/* The first answer stands, even where the handler now refuses before it asks the database. */
static void an_answered_command_is_answered_again_in_another_state(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "state", "note");
    struct reply r = go(&a);
    reply_id(&r);
    plan.run = refuse_early;
    r = go(&a);
    reply_id(&r);
    assert_true(is_replayed(&r));
    plan.run = refuse_as_invalid;
    r = go(&a);
    reply_id(&r);
    assert_true(is_replayed(&r));
    a.question.key = "fresh";
    r = go(&a);
    expect(&r, ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT");
    plan.run = refuse_early;
    r = go(&a);
    expect(&r, ERR_FAILED_PRECONDITION, "FAILED_PRECONDITION");
    asker_close(&a);
}

static void a_large_answer_is_not_kept(void **state)
{
    (void)state;
    struct asker a;
    asker_open(&a, "large", "note");
    plan.reply_size = 65 * KIB;
    struct reply r = go(&a);
    reply_id(&r);
    for (int json = 0; json <= 1; json++) {
        a.question.json = json;
        r = go(&a);
        assert_int_equal(r.code, ERR_OK);
        assert_true(is_replayed(&r));
        assert_string_equal(reply_metadata(&r, "idempotent-reply"), "too_large");
        assert_null(((const Response *)r.message)->visit);
    }
    assert_int_equal(items(), 1);
    asker_close(&a);
}

static void old_records_are_swept(void **state)
{
    (void)state;
    struct asker a;
    int64_t deleted = -1;

    struct directory_builder *b = directory_builder_new();
    directory_builder_add_tenant(b, tenant_a, "A", NULL, NULL);
    directory_builder_add_tenant(b, tenant_b, "B", NULL, NULL);
    directory_set_for_tests(directory_builder_finish(b));
    asker_open(&a, "young", "note");
    struct reply r = go(&a);
    reply_id(&r);
    script("INSERT INTO calls.idempotency SELECT t, '00000000-0000-0000-0000-000000000000', 'm',"
           " n::text, '', '', '', now() - interval '49 hours' FROM generate_series(1, 1500) n,"
           " unnest('{01000000-0000-7000-8000-00000000000a,01000000-0000-7000-8000-00000000000b,"
           "00000000-0000-0000-0000-000000000000}'::uuid[]) t");
    must(call_sweep_idempotency(a.db, "calls", clock_monotonic_us() + LIMIT_US, &deleted));
    directory_set_for_tests(NULL);
    assert_int_equal(deleted, 4500);
    assert_int_equal(records(), 1);
    asker_close(&a);
}

/* A daemon that has just begun: nobody is judged without knowing the company. */
static void no_company_is_served_before_the_directory_is_loaded(void **state)
{
    (void)state;
    struct asker a;

    asker_open(&a, "early", "note");
    a.env.needs_directory = true;
    struct reply r = go(&a);
    assert_int_equal(r.code, ERR_UNAVAILABLE);
    assert_string_equal(r.reason, "DIRECTORY_NOT_LOADED");
    assert_int_equal(records(), 0);
    a.env.needs_directory = false;
    assert_int_equal(go(&a).code, ERR_OK);
    asker_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_simple_command_costs_two_round_trips, set_up),
        cmocka_unit_test_setup(a_repeated_command_gets_the_first_answer, set_up),
        cmocka_unit_test_setup(a_request_id_serves_as_key, set_up),
        cmocka_unit_test_setup(a_key_with_another_body_is_refused_F60, set_up),
        cmocka_unit_test_setup(a_key_belongs_to_tenant_and_actor_F61, set_up),
        cmocka_unit_test_setup(twins_have_one_effect_and_one_answer_F60, set_up),
        cmocka_unit_test_setup(a_twin_is_not_refused_for_what_the_other_did_F60, set_up),
        cmocka_unit_test_setup(a_key_in_work_is_aborted, set_up),
        cmocka_unit_test_setup(events_go_out_for_the_company_they_are_of_F61, set_up),
        cmocka_unit_test_setup(failures_are_not_remembered, set_up),
        cmocka_unit_test_setup(an_answered_command_is_answered_again_in_another_state, set_up),
        cmocka_unit_test_setup(a_large_answer_is_not_kept, set_up),
        cmocka_unit_test_setup(old_records_are_swept, set_up),
        cmocka_unit_test_setup(no_company_is_served_before_the_directory_is_loaded, set_up),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
