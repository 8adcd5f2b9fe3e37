/*
 * The service of a daemon's consumer on its tables: of whom the events are that are told and marked,
 * and how many at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/consumer_service.h"
#include "tests/support/rig.h"

#define SERVICE "daybook.scoring.v1.ConsumerService"

static const struct method methods[] = { CONSUMER_SERVICE_METHODS("daybook.scoring.v1") };
static struct rig *rig;

static void sql(const char *text)
{
    assert_int_equal(db_script(rig->admin, text, clock_monotonic_us() + 10 * SECOND_US), ERR_OK);
}

/* Events from..to of a company, put aside. */
static void park(struct id tenant, int from, int to, const char *consumer, const char *status)
{
    char text[600], tenant_text[ID_TEXT_MAX];

    snprintf(text, sizeof text,
             "INSERT INTO scoring.parked_event (consumer, seq, tenant_id, type, aggregate, event,"
             " attempts, reason, parked_at, state)"
             " SELECT '%s', n, '%s', 'daybook.test.v1.Nothing', 'things/' || n, '', 5, 'made up',"
             " '2026-11-16T01:00:00Z', '%s' FROM generate_series(%d, %d) n",
             consumer, id_text(tenant, tenant_text), status, from, to);
    sql(text);
}

static int set_up(void **state)
{
    (void)state;
    rig = rig_start("scoring", NULL, 0, methods, ARRAY_LEN(methods));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(rig);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    sql("DELETE FROM scoring.parked_event; DELETE FROM scoring.consumer_cursor;"
        " UPDATE bus.head SET last_seq = 70");
    return 0;
}

/* Numbers of our 64 bits are texts in JSON. */
static int64_t number(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? strtoll(text, NULL, 10) : 0;
}

/* The seqs of an answer's events are from..to, all of them. */
static void assert_seqs(const json_t *answer, int64_t from, int64_t to)
{
    const json_t *events = json_object_get(answer, "events");

    assert_int_equal(json_array_size(events), to - from + 1);
    for (size_t i = 0; i < json_array_size(events); i++)
        assert_int_equal(number(json_array_get(events, i), "seq"), from + (int64_t)i);
}

static bool says_more(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "more"));
}

static void one_that_has_never_run_has_not_started(void **state)
{
    (void)state;
    json_t *answer = rig_ok(rig, "gm", SERVICE, "Get", "{}");
    const json_t *c = json_object_get(answer, "consumer");

    assert_string_equal(json_string_value(json_object_get(c, "name")), "scoring");
    assert_false(json_is_true(json_object_get(c, "started")));
    assert_int_equal(number(c, "headSeq"), 70);
    json_decref(answer);
}

static void it_tells_its_position_and_how_many_of_the_company_are_parked(void **state)
{
    (void)state;
    sql("INSERT INTO scoring.consumer_cursor (consumer, seq, replay_until)"
        " VALUES ('scoring', 60, 65)");
    park(rig_tenant, 1, 3, "scoring", "parked");
    park(rig_tenant, 4, 4, "scoring", "replay");
    park(rig_tenant, 5, 9, "scoring", "done");
    park(rig_tenant, 10, 10, "another", "parked");
    park(rig_other_tenant, 11, 30, "scoring", "parked");
    json_t *answer = rig_ok(rig, "gm", SERVICE, "Get", "{}");
    const json_t *c = json_object_get(answer, "consumer");

    assert_true(json_is_true(json_object_get(c, "started")));
    assert_int_equal(number(c, "seq"), 60);
    assert_int_equal(number(c, "replayUntilSeq"), 65);
    assert_int_equal(number(c, "parked"), 4);
    json_decref(answer);
}

static void a_list_is_of_the_company_and_goes_on_behind_its_last(void **state)
{
    (void)state;
    park(rig_other_tenant, 1, 5, "scoring", "parked");
    park(rig_tenant, 6, 125, "scoring", "parked");
    json_t *answer = rig_ok(rig, "gm", SERVICE, "ListParked", "{}");
    assert_seqs(answer, 6, 105);
    assert_true(says_more(answer));
    json_decref(answer);

    answer = rig_ok(rig, "gm", SERVICE, "ListParked", "{\"afterSeq\": 105, \"limit\": 20}");
    assert_seqs(answer, 106, 125);
    assert_false(says_more(answer));
    json_decref(answer);
}

static void all_of_the_company_are_marked_piece_by_piece(void **state)
{
    (void)state;
    park(rig_tenant, 1, 160, "scoring", "parked");
    park(rig_other_tenant, 161, 170, "scoring", "parked");
    json_t *answer = rig_ok(rig, "gm", SERVICE, "ReplayParked", "{\"all\": true}");
    assert_seqs(answer, 1, 150);
    assert_true(says_more(answer));
    json_decref(answer);

    answer = rig_ok(rig, "gm", SERVICE, "ReplayParked", "{\"all\": true, \"afterSeq\": 150}");
    assert_seqs(answer, 151, 160);
    assert_false(says_more(answer));
    json_decref(answer);

    answer = rig_ok(rig, "gm", SERVICE, "ReplayParked", "{\"all\": true}");
    assert_null(json_object_get(answer, "events")); /* the other company's are left alone */
    json_decref(answer);
}

static void one_is_marked_once_and_only_where_it_was_given_up(void **state)
{
    (void)state;
    park(rig_tenant, 1, 1, "scoring", "parked");
    park(rig_tenant, 2, 2, "scoring", "done");
    park(rig_other_tenant, 3, 3, "scoring", "parked");
    json_t *answer = rig_ok(rig, "gm", SERVICE, "ReplayParked", "{\"seq\": 1}");
    assert_seqs(answer, 1, 1);
    json_decref(answer);
    for (int seq = 1; seq <= 4; seq++)
        rig_fails(rig, "gm", SERVICE, "ReplayParked", ERR_NOT_FOUND, "is not parked",
                  "{\"seq\": %d}", seq);
}

static void only_managers_and_keys_with_the_scope_may(void **state)
{
    (void)state;
    static const char *const calls[] = { "Get", "ListParked", "ReplayParked" };

    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        const char *request = i == 2 ? "{\"all\": true}" : "{}";
        rig_fails(rig, "lead", SERVICE, calls[i], ERR_PERMISSION_DENIED, "", "%s", request);
        rig_fails(rig, "service", SERVICE, calls[i], ERR_PERMISSION_DENIED, "", "%s", request);
        json_decref(rig_ok(rig, "system", SERVICE, calls[i], "%s", request));
    }
}

#define TEST(f) cmocka_unit_test_setup(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_has_never_run_has_not_started),
        TEST(it_tells_its_position_and_how_many_of_the_company_are_parked),
        TEST(a_list_is_of_the_company_and_goes_on_behind_its_last),
        TEST(all_of_the_company_are_marked_piece_by_piece),
        TEST(one_is_marked_once_and_only_where_it_was_given_up),
        TEST(only_managers_and_keys_with_the_scope_may),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
