/*
 * Daily lists with a Redis that is flushed, hung, killed or holds rubbish (F27 to F31, REM-10).
 */
#include "tests/integration/reminders_lists_fixture.h"

/* --- the list itself ------------------------------------------------------------------------- */

static void lists_duties_and_visits_of_the_day_in_order(void **state)
{
    (void)state;
    reset();
    rig_hear(rig, &reminders_consumer, false, CUSTOMERS "CustomerCreated", "2026-11-01T00:00:00Z",
             "{\"customer\":{\"id\":\"" CUSTOMER "\",\"name\":\"Corner Shop\",\"ownerId\":\"" REP
             "\"}}");
    a_question_for_today(0x11);
    ask_question(0x12, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z"); /* due tomorrow */
    ask_question(0x13, "2026-11-14T07:00:00Z", "2026-11-14T07:00:00Z"); /* due yesterday */
    ask_question(0x14, "2026-11-15T08:00:00Z", "2026-11-15T08:00:00Z");
    answer_question(0x14, "2026-11-16T00:30:00Z"); /* done today */
    ask_question(0x15, "2026-11-14T08:00:00Z", "2026-11-14T08:00:00Z");
    answer_question(0x15, "2026-11-15T15:59:00Z"); /* done yesterday */
    rig_hear(
        rig, &reminders_consumer, false, VISITS "VisitApproved", "2026-11-15T00:00:00Z",
        "{\"visit\":{\"id\":\"08000000-0000-7000-8000-000000000021\",\"customerId\":\"" CUSTOMER
        "\",\"visitorId\":\"" REP
        "\",\"startsAt\":\"2026-11-16T06:00:00Z\",\"goal\":\"Show samples\","
        "\"state\":\"VISIT_STATE_APPROVED\"}}");
    rig_hear(rig, &reminders_consumer, false, VISITS "VisitRequested", "2026-11-15T00:00:00Z",
             "{\"visit\":{\"id\":\"08000000-0000-7000-8000-000000000022\",\"visitorId\":\"" REP
             "\",\"startsAt\":\"2026-11-16T07:00:00Z\",\"state\":\"VISIT_STATE_REQUESTED\"}}");
    assert_string_equal(today(), "!TMR-01 13, ovisit 21, oTMR-01 11, xTMR-01 14 / DATABASE");
    assert_string_equal(today(), "!TMR-01 13, ovisit 21, oTMR-01 11, xTMR-01 14 / CACHE");
    assert_string_equal(list_text("rep", "2026-11-17"),
                        "!TMR-01 13, oTMR-01 11, oTMR-01 12 / DATABASE");
    assert_string_equal(list_text("rep", "2026-11-15"), "!TMR-01 13, xTMR-01 15 / DATABASE");

    json_t *got = rig_ok(rig, "rep", TASKS, "GetDailyTasks", "{}");
    assert_string_equal(rig_text(got, "list.tasks.0.customerName"), "Corner Shop");
    assert_string_equal(rig_text(got, "list.tasks.1.title"), "Show samples");
    assert_string_equal(rig_text(got, "list.date"), "2026-11-16");
    json_decref(got);
}

static void who_may_see_a_list(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    assert_string_equal(list_text("lead", ""), "oTMR-01 11 / DATABASE");
    assert_string_equal(list_text("service", ""), "oTMR-01 11 / CACHE");
    rig_fails(rig, "rep2", TASKS, "GetDailyTasks", ERR_NOT_FOUND, "", "{\"employee\":\"rep\"}");
    rig_fails(rig, "rep", TASKS, "GetDailyTasks", ERR_NOT_FOUND, "", "{\"employee\":\"nobody\"}");
    rig_fails(rig, "service", TASKS, "GetDailyTasks", ERR_INVALID_ARGUMENT, "", "{}");
    rig_fails(rig, "rep", TASKS, "GetDailyTasks", ERR_INVALID_ARGUMENT, "",
              "{\"date\":\"2026-02-30\"}");
    rig_fails(rig, "other", TASKS, "GetDailyTasks", ERR_NOT_FOUND, "", "{\"employee\":\"%s\"}",
              REP);
}

static void time_alone_makes_a_task_overdue(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    rig_time(rig, "2026-11-16T07:00:00Z");
    assert_string_equal(today(), "!TMR-01 11 / DATABASE");
    assert_string_equal(today(), "!TMR-01 11 / CACHE");
}

/* A thousand done ones stand before it, so that it is not in the list until it goes to its top. */
static void what_a_full_list_left_out_shows_when_it_is_overdue(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    assert_int_equal(
        db_script(rig->admin,
                  "INSERT INTO reminders.obligation SELECT (jsonb_populate_record(o,"
                  " jsonb_build_object('id', gen_random_uuid(), 'subject', 'questions/' || n,"
                  " 'state', 'done', 'closed_at', '2026-11-16T00:30:00Z', 'next_us', null,"
                  " 'next_step', null, 'due_at', o.due_at - interval '1 hour'))).*"
                  " FROM reminders.obligation o, generate_series(1, 1000) n",
                  clock_monotonic_us() + WAIT_US),
        ERR_OK);
    forget();
    for (int i = 0; i < 2; i++) { /* from the database, from the cache */
        json_t *full = rig_ok(rig, "rep", TASKS, "GetDailyTasks", "{}");
        const json_t *tasks = json_object_get(json_object_get(full, "list"), "tasks");
        assert_int_equal(json_array_size(tasks), 1000);
        assert_string_equal(rig_text(full, "list.tasks.0.done"), "true");
        json_decref(full);
    }
    rig_time(rig, "2026-11-16T07:00:00Z");
    json_t *got = rig_ok(rig, "rep", TASKS, "GetDailyTasks", "{}");
    assert_string_equal(rig_text(got, "list.tasks.0.overdue"), "true");
    json_decref(got);
}

/* --- never wrong ----------------------------------------------------------------------------- */

static void a_change_shows_at_once_in_the_process_that_made_it(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
    answer_question(0x11, "2026-11-16T00:59:00Z");
    assert_string_equal(today(), "xTMR-01 11 / DATABASE");
    assert_string_equal(today(), "xTMR-01 11 / CACHE");
}

/* A commit of another process whose cache write never came: the version tells, within a second
 * (F31). */
static void a_lost_invalidation_is_noticed_within_a_second(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    (void)today();
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
    assert_int_equal(db_script(rig->admin,
                               "UPDATE reminders.obligation SET title = 'another';"
                               "UPDATE reminders.list_version SET version = version + 1",
                               clock_monotonic_us() + WAIT_US),
                     ERR_OK);
    WAIT_UNTIL(strcmp(today(), "oTMR-01 11 / CACHE") != 0, 1200 * MSEC_US);
    json_t *got = rig_ok(rig, "rep", TASKS, "GetDailyTasks", "{}");
    assert_string_equal(rig_text(got, "list.tasks.0.title"), "another");
    json_decref(got);
}

static void the_refresher_builds_what_changed_before_anybody_asks(void **state)
{
    (void)state;

    reset();
    WAIT_UNTIL(refresh(rig->cache) == 0, WAIT_US); /* what tests before left to be built */
    a_question_for_today(0x11);
    WAIT_UNTIL(refresh(rig->cache) > 0, WAIT_US); /* not again within a second */
    int64_t built_us = clock_monotonic_us();
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
    answer_question(0x11, "2026-11-16T00:59:00Z");
    assert_int_equal(refresh(rig->cache), 0);
    WAIT_UNTIL(refresh(rig->cache) > 0, WAIT_US);
    assert_true(clock_monotonic_us() - built_us > 900 * MSEC_US);
    assert_string_equal(today(), "xTMR-01 11 / CACHE");
    assert_int_equal(refresh(rig->cache), 0);
}

static bool is_cached(struct id tenant, struct id employee)
{
    struct list_key key = { .tenant = tenant, .employee = employee };
    char text[LIST_KEY_MAX];
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    int64_t version;
    uint8_t *data;
    size_t len;

    assert_true(date_parse("2026-11-16", &key.day));
    return cache_get_versioned(rig->cache, list_key_text(&key, text), a, &version, &data, &len) ==
           ERR_OK;
}

/* A thousand changes of one company do not hold up another's. */
static void companies_take_turns_in_being_refreshed(void **state)
{
    (void)state;
    CLEANUP(db_freep) struct db *db = db_new(conninfo, "refresher");
    struct task_lists *lists = task_lists_new(true);
    struct id person = rig_employee("rep");
    const struct directory *dir = directory_acquire();

    reset();
    for (int i = 0; i < 1000; i++) {
        person.b[1] = (uint8_t)(i >> 8);
        person.b[2] = (uint8_t)i;
        task_lists_forget(lists, rig_tenant, person);
    }
    task_lists_forget(lists, rig_other_tenant, rig_employee("other"));
    assert_false(is_cached(rig_other_tenant, rig_employee("other")));
    assert_int_equal(lists_refresh(lists, db, rig->cache, dir, 4), 4);
    assert_true(is_cached(rig_other_tenant, rig_employee("other")));
    directory_release(dir);
    task_lists_free(lists);
}

static double lists_that_wait(void)
{
    struct sbuf page;
    double n = -1;

    sbuf_init(&page, MIB);
    metrics_write(&page);
    const char *line = strstr(page.data, "\ndaybook_task_lists_waiting ");
    if (line)
        n = strtod(line + strlen("\ndaybook_task_lists_waiting "), NULL);
    sbuf_fini(&page);
    return n;
}

/* Nobody would build it, and the gauge would never fall. */
static void where_no_cache_is_configured_no_list_waits(void **state)
{
    (void)state;
    struct task_lists *without = task_lists_new(false);
    task_lists_forget(without, rig_tenant, rig_employee("rep"));
    assert_true(lists_that_wait() == 0);
    task_lists_free(without);
    struct task_lists *with = task_lists_new(true);
    task_lists_forget(with, rig_tenant, rig_employee("rep"));
    assert_true(lists_that_wait() == 1);
    task_lists_free(with);
}

/* A slow writer comes with an old list after a newer one was stored (F31). */
static void an_older_list_does_not_replace_a_newer_one(void **state)
{
    (void)state;
    struct list_key key = key_of("2026-11-16");
    char text[LIST_KEY_MAX];
    uint8_t *data;
    size_t len;
    int64_t version;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    reset();
    a_question_for_today(0x11);
    (void)today();
    assert_int_equal(
        cache_get_versioned(rig->cache, list_key_text(&key, text), a, &version, &data, &len),
        ERR_OK);
    answer_question(0x11, "2026-11-16T00:59:00Z");
    (void)today();
    assert_int_equal(cache_set_versioned(rig->cache, text, version, data, len, 60000), ERR_ABORTED);
    /* Put there by force, it is recognised all the same. */
    assert_int_equal(cache_delete(rig->cache, text), ERR_OK);
    assert_int_equal(cache_set_versioned(rig->cache, text, version, data, len, 60000), ERR_OK);
    assert_string_equal(today(), "xTMR-01 11 / DATABASE");
    assert_string_equal(today(), "xTMR-01 11 / CACHE");
}

static void a_version_from_a_future_that_never_was_is_thrown_out(void **state)
{
    (void)state;
    struct list_key key = key_of("2026-11-16");
    PbDailyTaskList list = DAYBOOK__REMINDERS__V1__DAILY_TASK_LIST__INIT;
    char text[LIST_KEY_MAX], rep[] = REP, day[] = "2026-11-16";
    uint8_t *data;
    size_t len;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    reset();
    a_question_for_today(0x11);
    list.employee_id = rep;
    list.date = day;
    list.version =
        4102444800000000; /* PostgreSQL was restored from a backup, Redis was not (F58) */
    assert_int_equal(list_encode(&key, &list, a, &data, &len), ERR_OK);
    assert_int_equal(
        cache_set_versioned(rig->cache, list_key_text(&key, text), list.version, data, len, 60000),
        ERR_OK);
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
}

/* --- rubbish in the cache (F30) -------------------------------------------------------------- */

static void what_is_not_that_list_is_never_shown(void **state)
{
    (void)state;
    struct list_key key = key_of("2026-11-16"), foreign = key;
    char text[LIST_KEY_MAX];
    uint8_t *data, *other;
    size_t len, other_len;
    int64_t version;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);

    reset();
    a_question_for_today(0x11);
    (void)today();
    list_key_text(&key, text);
    assert_int_equal(cache_get_versioned(rig->cache, text, a, &version, &data, &len), ERR_OK);
    PbDailyTaskList *list;
    assert_int_equal(list_decode(&key, version, data, len, a, &list), ERR_OK);
    foreign.tenant = rig_other_tenant;
    assert_int_equal(list_encode(&foreign, list, a, &other, &other_len), ERR_OK);

    const struct {
        const char *label;
        const uint8_t *data;
        size_t len;
    } cases[] = {
        { "cut", data, len - 1 },
        { "cut to nothing", data, 3 },
        { "another company's", other, other_len },
        { "text", (const uint8_t *)"hello", 5 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(cache_delete(rig->cache, text), ERR_OK);
        assert_int_equal(
            cache_set_versioned(rig->cache, text, version, cases[i].data, cases[i].len, 60000),
            ERR_OK);
        assert_string_equal(today(), "oTMR-01 11 / DATABASE");
        assert_string_equal(today(), "oTMR-01 11 / CACHE");
    }
    for (size_t i = 0; i < len; i += 7) { /* a flipped bit anywhere */
        uint8_t *bad = arena_memdup(a, data, len);
        bad[i] ^= 0x10;
        assert_int_equal(list_decode(&key, version, bad, len, a, &list), ERR_DATA_LOSS);
    }
    assert_int_equal(list_decode(&key, version + 1, data, len, a, &list), ERR_DATA_LOSS);
}

static void redis_command(const char *command)
{
    char line[600];

    snprintf(line, sizeof(line), "redis-cli -s '%s' %s >/dev/null",
             servers_redis_path(rig->servers), command);
    assert_int_equal(system(line), 0);
}

static void a_wrong_type_and_a_flush_are_ordinary_misses(void **state)
{
    (void)state;
    struct list_key key = key_of("2026-11-16");
    char text[LIST_KEY_MAX], command[200];

    reset();
    a_question_for_today(0x11);
    (void)today();
    redis_command("FLUSHALL");
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
    redis_command("FLUSHALL");
    snprintf(command, sizeof(command), "LPUSH '%s' a b c", list_key_text(&key, text));
    redis_command(command);
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    redis_command("FLUSHALL");
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    assert_string_equal(today(), "oTMR-01 11 / CACHE");
}

/* --- Redis away (F27, F28) ------------------------------------------------------------------- */

static void wait_for_cache(void)
{
    WAIT_UNTIL(!cache_delete(rig->cache, "none") && strstr(today(), "CACHE"), WAIT_US);
}

/* Whether from memory or built anew. */
static void expect_tasks(const char *tasks)
{
    const char *got = today();
    size_t len = strlen(tasks);
    if (strncmp(got, tasks, len) != 0 || strncmp(got + len, " / ", 3) != 0)
        fail_msg("got %s, want %s", got, tasks);
}

static void without_redis_lists_come_from_postgresql_and_changes_are_not_lost(void **state)
{
    (void)state;
    reset();
    a_question_for_today(0x11);
    wait_for_cache();
    servers_pause_redis(rig->servers); /* hung */
    int64_t from_us = clock_monotonic_us();
    assert_string_equal(today(), "oTMR-01 11 / DATABASE");
    assert_true(clock_monotonic_us() - from_us < 500 * MSEC_US); /* 50 ms a call */
    answer_question(0x11, "2026-11-16T00:59:00Z");
    assert_string_equal(today(), "xTMR-01 11 / DATABASE");
    assert_int_equal(refresh(rig->cache), 0);
    servers_resume_redis(rig->servers); /* and it still has the old list */
    expect_tasks("xTMR-01 11");
    wait_for_cache();
    assert_string_equal(today(), "xTMR-01 11 / CACHE");

    servers_stop_redis(rig->servers);
    expect_tasks("xTMR-01 11");
    a_question_for_today(0x12);
    assert_string_equal(today(), "xTMR-01 11, oTMR-01 12 / DATABASE");
    servers_start_redis(rig->servers);
    wait_for_cache();
    assert_string_equal(today(), "xTMR-01 11, oTMR-01 12 / CACHE");
}

#define READERS 8

struct reader {
    pthread_t thread;
    pthread_barrier_t *start;
    Daybook__Reminders__V1__ListSource source;
    size_t ntasks;
};

static void *read_list(void *arg)
{
    struct reader *r = arg;
    struct db *db = db_new(conninfo, "reader");
    struct arena *a = arena_new(MIB);
    const struct list_key key = { rig_tenant, rig_employee("rep"), { 2026, 11, 16 } };
    PbDailyTaskList *list = NULL;

    enum err e = db_begin(db, &rig_tenant, clock_monotonic_us() + WAIT_US);
    if (!e)
        e = db_flush(db);
    pthread_barrier_wait(r->start);
    if (!e)
        e = list_get(self.lists, db, NULL, &key, tz_find("Asia/Shanghai"), clock_now_us(),
                     clock_monotonic_us() + WAIT_US, a, &list, &r->source);
    r->ntasks = e ? SIZE_MAX : list->n_tasks;
    db_rollback(db);
    db_free(db);
    arena_free(a);
    return NULL;
}

/* Without a cache: one builds it, the others take it from memory; a change shows at once. */
static void while_the_cache_is_away_a_list_is_built_once_for_many_F27(void **state)
{
    (void)state;
    for (int round = 1; round <= 2; round++) {
        struct reader readers[READERS] = { 0 };
        pthread_barrier_t barrier;
        int built = 0;
        if (round == 1)
            reset();
        a_question_for_today(0x50 + round);
        pthread_barrier_init(&barrier, NULL, READERS);
        for (int i = 0; i < READERS; i++) {
            readers[i].start = &barrier;
            assert_int_equal(pthread_create(&readers[i].thread, NULL, read_list, &readers[i]), 0);
        }
        for (int i = 0; i < READERS; i++) {
            pthread_join(readers[i].thread, NULL);
            assert_int_equal(readers[i].ntasks, round);
            bool from_database =
                readers[i].source == DAYBOOK__REMINDERS__V1__LIST_SOURCE__LIST_SOURCE_DATABASE;
            built += from_database;
            if (!from_database)
                assert_int_equal(readers[i].source,
                                 DAYBOOK__REMINDERS__V1__LIST_SOURCE__LIST_SOURCE_MEMORY);
        }
        assert_int_equal(built, 1);
        pthread_barrier_destroy(&barrier);
    }
}

/* A kept list that gets old by time alone, and the readers after the one who builds it anew. */
static void expect_aging(void)
{
    reset_rows();
    a_question_for_today(0x11);
    expect_tasks("oTMR-01 11");
    assert_string_equal(today(), "oTMR-01 11 / MEMORY");
    rig_time(rig, "2026-11-16T07:00:00Z");
    assert_string_equal(today(), "!TMR-01 11 / DATABASE");
    int64_t from_us = clock_monotonic_us();
    assert_string_equal(today(), "!TMR-01 11 / MEMORY");
    assert_true(clock_monotonic_us() - from_us < SECOND_US); /* nobody builds it any more */
}

static void a_list_in_memory_gets_old_too_F27(void **state)
{
    (void)state;
    struct cache *cache = rig->cache;

    rig->cache = NULL; /* none is configured */
    expect_aging();
    rig->cache = cache;
    servers_stop_redis(rig->servers);
    expect_aging();
    servers_start_redis(rig->servers);
    wait_for_cache();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_duties_and_visits_of_the_day_in_order),
        cmocka_unit_test(who_may_see_a_list),
        cmocka_unit_test(time_alone_makes_a_task_overdue),
        cmocka_unit_test(what_a_full_list_left_out_shows_when_it_is_overdue),
        cmocka_unit_test(a_change_shows_at_once_in_the_process_that_made_it),
        cmocka_unit_test(a_lost_invalidation_is_noticed_within_a_second),
        cmocka_unit_test(the_refresher_builds_what_changed_before_anybody_asks),
        cmocka_unit_test(companies_take_turns_in_being_refreshed),
        cmocka_unit_test(where_no_cache_is_configured_no_list_waits),
        cmocka_unit_test(an_older_list_does_not_replace_a_newer_one),
        cmocka_unit_test(a_version_from_a_future_that_never_was_is_thrown_out),
        cmocka_unit_test(what_is_not_that_list_is_never_shown),
        cmocka_unit_test(a_wrong_type_and_a_flush_are_ordinary_misses),
        cmocka_unit_test(without_redis_lists_come_from_postgresql_and_changes_are_not_lost),
        cmocka_unit_test(while_the_cache_is_away_a_list_is_built_once_for_many_F27),
        cmocka_unit_test(a_list_in_memory_gets_old_too_F27),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
