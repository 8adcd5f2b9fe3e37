/*
 * Daily lists with a Redis that is flushed, hung, killed or holds rubbish (F27 to F31), and the
 * methods of reminders with who may use them (REM-10, REM-13, REM-14).
 */
#include "tests/integration/reminders_fixture.h"

#include "services/reminders/task_list.h"

static int start(void **state)
{
    (void)state;
    return fixture_start_with(true);
}

/* "[xo!]rule subject-end" of each task, and the source, of the rep's list. */
static const char *list_text(const char *actor, const char *date)
{
    static char text[2048];
    json_t *got =
        rig_ok(rig, actor, TASKS, "GetDailyTasks", "{\"employee\":\"rep\",\"date\":\"%s\"}", date);
    json_t *tasks = json_object_get(json_object_get(got, "list"), "tasks");
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *t = json_array_get(tasks, i);
        const char *subject = rig_text(t, "subject");
        const char *mark = strcmp(rig_text(t, "done"), "true") == 0      ? "x"
                           : strcmp(rig_text(t, "overdue"), "true") == 0 ? "!"
                                                                         : "o";
        const char *rule = rig_text(t, "rule");
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s %s", i ? ", " : "", mark,
                                *rule ? rule : "visit", subject + strlen(subject) - 2);
    }
    snprintf(text + len, sizeof(text) - len, " / %s",
             rig_text(got, "source") + strlen("LIST_SOURCE_"));
    json_decref(got);
    return text;
}

static const char *today(void)
{
    return list_text("rep", "");
}

static void a_question_for_today(int n)
{
    ask_question(n, "2026-11-15T07:00:00Z",
                 "2026-11-15T07:00:00Z"); /* due 2026-11-16 15:00 local */
}

/* Until the refresher's work is done: what it does is done here, by one pass after another. */
static size_t refresh(struct cache *cache)
{
    struct db *db = db_new(conninfo, "refresher");
    const struct directory *dir = directory_acquire();
    size_t n = lists_refresh(self.lists, db, cache, dir, 100);

    directory_release(dir);
    db_free(db);
    return n;
}

static void forget(void)
{
    task_lists_forget(self.lists, rig_tenant, rig_employee("rep"));
}

static struct list_key key_of(const char *day)
{
    struct list_key key = { .tenant = rig_tenant, .employee = rig_employee("rep") };
    assert_true(date_parse(day, &key.day));
    return key;
}

static void reset_rows(void)
{
    fresh("2026-11-16T01:00:00Z");
    forget();
}

static void reset(void)
{
    char text[LIST_KEY_MAX];
    struct list_key key = key_of("2026-11-16");

    reset_rows();
    assert_int_equal(cache_delete(rig->cache, list_key_text(&key, text)), ERR_OK);
}

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

/* --- acknowledge and snooze (REM-13) --------------------------------------------------------- */

static const char *id_of(int n)
{
    static char text[ID_TEXT_MAX];
    return id_text(obligation_id("TMR-01", question_subject(n), ""), text);
}

static void acknowledging_is_for_the_assignee_and_stops_no_clock(void **state)
{
    (void)state;
    reset();
    ask_question(0x21, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z");
    (void)rig_events(rig);
    rig_fails(rig, "lead", SERVICE, "Acknowledge", ERR_PERMISSION_DENIED, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    rig_fails(rig, "rep2", SERVICE, "Acknowledge", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    rig_fails(rig, "other", SERVICE, "Acknowledge", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}",
              id_of(0x21));
    json_t *got = rig_ok(rig, "rep", SERVICE, "Acknowledge", "{\"id\":\"%s\",\"note\":\"seen\"}",
                         id_of(0x21));
    assert_string_equal(rig_text(got, "reminder.acknowledgedAt"), "2026-11-16T01:00:00Z");
    assert_string_equal(rig_text(got, "reminder.nextAt"), "2026-11-16T21:00:00Z");
    assert_string_equal(rig_text(got, "reminder.etag"), "2");
    json_decref(got);
    assert_string_equal(rig_events(rig), "ReminderAcknowledged");
    answer_question(0x21, "2026-11-16T02:00:00Z");
    rig_fails(rig, "rep", SERVICE, "Acknowledge", ERR_FAILED_PRECONDITION, "closed",
              "{\"id\":\"%s\"}", id_of(0x21));
}

static void snooze(int n, const char *until, enum err code, const char *words)
{
    if (code)
        rig_fails(rig, "rep", SERVICE, "Snooze", code, words,
                  "{\"id\":\"%s\",\"until\":\"%s\",\"reason\":\"at the customer's\"}", id_of(n),
                  until);
    else
        json_decref(rig_ok(rig, "rep", SERVICE, "Snooze",
                           "{\"id\":\"%s\",\"until\":\"%s\",\"reason\":\"at the customer's\"}",
                           id_of(n), until));
}

static const char *next_of(int n)
{
    static char sql[512];
    snprintf(sql, sizeof(sql),
             "SELECT to_char(reminders.at(t.due_us) AT TIME ZONE 'UTC', 'DD HH24:MI') || ' ' "
             "|| t.step || ' ' || (o.next_us = t.due_us AND o.next_step = t.step) || ' ' || "
             "to_char(o.due_at AT TIME ZONE 'UTC', 'DD HH24:MI') FROM reminders.timer t JOIN "
             "reminders.obligation o ON o.id = t.obligation_id WHERE t.obligation_id = '%s'",
             id_of(n));
    return rig_value(rig, sql);
}

static void snoozing_moves_the_next_notice_never_the_deadline(void **state)
{
    (void)state;
    reset();
    ask_question(0x22, "2026-11-16T01:00:00Z",
                 "2026-11-16T01:00:00Z"); /* 17th 01:00; warns 21:00, 00:00 */
    (void)rig_events(rig);
    assert_string_equal(next_of(0x22), "16 21:00 0 true 17 01:00");
    snooze(0x22, "2026-11-16T00:59:00Z", ERR_INVALID_ARGUMENT, "future");
    snooze(0x22, "2026-11-17T01:00:01Z", ERR_INVALID_ARGUMENT, "deadline");
    snooze(0x22, "2026-11-16T22:00:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x22), "16 22:00 0 true 17 01:00");
    snooze(0x22, "2026-11-17T00:30:00Z", ERR_OK, ""); /* past both warnings: one of them is left */
    assert_string_equal(next_of(0x22), "17 00:30 0 true 17 01:00");
    snooze(0x22, "2026-11-17T01:00:00Z", ERR_OK, ""); /* until the deadline itself */
    assert_string_equal(next_of(0x22), "17 01:00 0 true 17 01:00");
    snooze(0x22, "2026-11-17T00:45:00Z", ERR_FAILED_PRECONDITION, "3 times");
    assert_string_equal(rig_events(rig), "ReminderSnoozed ReminderSnoozed ReminderSnoozed");
    rig_time(rig, "2026-11-17T01:00:00Z");
    snooze(0x22, "2026-11-17T02:00:00Z", ERR_FAILED_PRECONDITION, "due time has passed");
}

static void snoozing_does_not_silence_the_superior_REM_13(void **state)
{
    (void)state;
    reset();
    rig_set_policy("escalation_esc_a", "-2h:superior,0:owner", "2026-01-01T00:00:00Z");
    ask_question(0x23, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z"); /* 21:00, 23:00, 00:00 */
    snooze(0x23, "2026-11-17T00:30:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x23), "16 23:00 0 true 17 01:00");
    assert_string_equal(
        rig_value(rig, "SELECT tells || ' ' || cardinality(plan) FROM reminders.obligation"),
        "superior;owner;owner 3");
}

/* Its timer could not be fired and was put aside; the duty is open all the same. */
static void snoozing_arms_a_parked_timer_again(void **state)
{
    (void)state;
    reset();
    ask_question(0x24, "2026-11-16T01:00:00Z", "2026-11-16T01:00:00Z");
    enum err e = db_script(rig->admin,
                           "WITH p AS (DELETE FROM reminders.timer RETURNING *)"
                           " INSERT INTO reminders.timer_parked"
                           " SELECT tenant_id, obligation_id, step, due_us, 'x' FROM p",
                           clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
    snooze(0x24, "2026-11-16T22:00:00Z", ERR_OK, "");
    assert_string_equal(next_of(0x24), "16 22:00 0 true 17 01:00");
    assert_string_equal(rig_value(rig, "SELECT count(*) FROM reminders.timer_parked"), "0");
    assert_string_equal(
        rig_value(rig, "SELECT bool_and(t.shard = get_byte(uuid_send(t.obligation_id), 15) & 63)"
                       "::text FROM reminders.timer t"),
        "true");
}

/* --- lists of reminders, rules and deliveries ------------------------------------------------ */

static size_t page(const char *actor, const char *filter, int size, char ids[][ID_TEXT_MAX],
                   size_t max)
{
    char token[2048] = "";
    size_t n = 0;

    do {
        json_t *got = rig_ok(rig, actor, SERVICE, "List",
                             "{\"pageSize\":%d,\"pageToken\":\"%s\"%s}", size, token, filter);
        json_t *list = json_object_get(got, "reminders");
        for (size_t i = 0; i < json_array_size(list); i++) {
            assert_true(n < max);
            snprintf(ids[n++], ID_TEXT_MAX, "%s", rig_text(json_array_get(list, i), "id"));
        }
        const json_t *next = json_object_get(got, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(got);
    } while (*token);
    return n;
}

static void reminders_are_listed_by_their_next_moment_then_the_rest(void **state)
{
    (void)state;
    static char ids[32][ID_TEXT_MAX];
    char at[32];

    reset();
    for (int i = 0; i < 12; i++) { /* asked in reverse */
        snprintf(at, sizeof(at), "2026-11-16T00:%02d:00Z", 50 - i);
        ask_question(0x30 + i, at, at);
    }
    for (int i = 0; i < 4; i++)
        answer_question(0x30 + i, "2026-11-16T01:00:00Z");
    for (int size = 1; size <= 13; size += 3) {
        static const char *const actors[] = { "rep", "system" }; /* by assignee, by company */
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(page(actors[k], "", size, ids, 32), 12);
            for (int i = 0; i < 8; i++)
                assert_string_equal(ids[i], id_of(0x30 + 11 - i));
            for (int i = 9; i < 12; i++)
                assert_true(strcmp(ids[i - 1], ids[i]) > 0);
            assert_int_equal(page(actors[k], ",\"openOnly\":true", size, ids, 32), 8);
        }
    }
    /* Two timers were parked; one of these duties was snoozed since. Some are overdue for good. */
    enum err e = db_script(
        rig->admin,
        "WITH p AS (DELETE FROM reminders.timer WHERE obligation_id IN (SELECT obligation_id FROM"
        "           reminders.timer ORDER BY due_us LIMIT 2) RETURNING *)"
        " INSERT INTO reminders.timer_parked SELECT tenant_id, obligation_id, step, due_us - 1, 'x'"
        "   FROM p;"
        "UPDATE reminders.obligation SET next_us = NULL, next_step = NULL, state = 'overdue',"
        " due_at = starts_at"
        " WHERE id = (SELECT obligation_id FROM reminders.timer ORDER BY due_us DESC LIMIT 1);"
        "DELETE FROM reminders.timer WHERE obligation_id = (SELECT obligation_id FROM"
        " reminders.timer ORDER BY due_us DESC LIMIT 1)",
        clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
    for (int size = 1; size <= 13; size += 3) {
        static const char *const actors[] = { "rep", "system" };
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(page(actors[k], "", size, ids, 32), 12);
            for (int i = 0; i < 7; i++)
                assert_string_equal(ids[i], id_of(0x30 + 11 - i));
            assert_int_equal(page(actors[k], ",\"openOnly\":true", size, ids, 32), 8);
            assert_string_equal(ids[7], id_of(0x34));
        }
    }
    assert_int_equal(page("rep2", "", 5, ids, 32), 0);
    assert_int_equal(page("lead", ",\"assigneeId\":\"" REP "\"", 5, ids, 32), 12);
    assert_int_equal(page("lead", ",\"assigneeId\":\"" EMPLOYEE(5) "\"", 5, ids, 32), 0);
    rig_fails(rig, "rep2", SERVICE, "List", ERR_NOT_FOUND, "", "{\"assigneeId\":\"" REP "\"}");
    rig_fails(rig, "rep", SERVICE, "List", ERR_INVALID_ARGUMENT, "", "{\"pageToken\":\"x\"}");
    rig_fails(rig, "rep", SERVICE, "Get", ERR_INVALID_ARGUMENT, "", "{\"rule\":\"TMR-01\"}");
    rig_fails(rig, "rep", SERVICE, "Get", ERR_NOT_FOUND, "",
              "{\"rule\":\"TMR-01\",\"subject\":\"questions/none\"}");
}

static void the_rules_in_force_are_listed(void **state)
{
    (void)state;
    reset();
    rig_set_policy("question_feedback_hours", "8", "2026-01-01T00:00:00Z");
    rig_set_policy("reminder_enabled_tmr_02", "false", "2026-01-01T00:00:00Z");
    json_t *got = rig_ok(rig, "rep", SERVICE, "ListRules", "{}");
    assert_int_equal(json_array_size(json_object_get(got, "rules")), 7);
    assert_string_equal(rig_text(got, "rules.0.id"), "TMR-01");
    assert_string_equal(rig_text(got, "rules.0.policyValue"), "8");
    assert_string_equal(rig_text(got, "rules.0.dueType"), "hours");
    assert_string_equal(rig_text(got, "rules.0.enabled"), "true");
    assert_string_equal(rig_text(got, "rules.0.fulfilledBy.1"),
                        "daybook.customers.v1.QuestionAnswered");
    assert_string_equal(rig_text(got, "rules.0.steps.2.kind"), "STEP_KIND_DUE");
    assert_string_equal(rig_text(got, "rules.0.steps.2.recipients.0"), "assignee");
    assert_string_equal(rig_text(got, "rules.0.steps.2.recipients.1"), "superior");
    assert_string_equal(rig_text(got, "rules.0.steps.3.offsetMinutes"), "1440");
    assert_string_equal(rig_text(got, "rules.1.enabled"), "");
    json_decref(got);
}

static void the_ledger_shows_everybody_his_own(void **state)
{
    (void)state;
    static struct runner engine;
    char token[2048], id[ID_TEXT_MAX];

    reset();
    runner_start(&engine, "engine");
    runner_adopt(&engine); /* it hears of timers that were due long ago */
    ask_question(0x41, "2026-11-15T01:00:00Z", "2026-11-15T01:00:00Z"); /* due now: rep and lead */
    ask_question(0x42, "2026-11-15T00:59:00Z", "2026-11-15T00:59:00Z");
    wait_for_notices("TMR-01", 8); /* two warnings each are pointless, due tells two each */
    json_t *got =
        rig_ok(rig, "rep", CHANNELS, "ListDeliveries", "{\"pageSize\":1,\"unreadOnly\":true}");
    assert_string_equal(rig_text(got, "deliveries.0.recipientId"), REP);
    assert_string_equal(rig_text(got, "deliveries.0.state"), "DELIVERY_STATE_DELIVERED");
    snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(got, "nextPageToken")));
    snprintf(id, sizeof(id), "%s", rig_text(got, "deliveries.0.id"));
    json_decref(got);
    got = rig_ok(rig, "rep", CHANNELS, "ListDeliveries",
                 "{\"pageSize\":1,\"unreadOnly\":true,\"pageToken\":\"%s\"}", token);
    assert_int_equal(json_array_size(json_object_get(got, "deliveries")), 1);
    json_decref(got);

    rig_fails(rig, "lead", CHANNELS, "MarkRead", ERR_PERMISSION_DENIED, "",
              "{\"deliveryId\":\"%s\"}", id);
    rig_fails(rig, "rep2", CHANNELS, "MarkRead", ERR_NOT_FOUND, "", "{\"deliveryId\":\"%s\"}", id);
    rig_time(rig, "2026-11-16T01:02:03Z");
    got = rig_ok(rig, "rep", CHANNELS, "MarkRead", "{\"deliveryId\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "delivery.readAt"), "2026-11-16T01:02:03Z");
    json_decref(got);

    static const struct {
        const char *actor, *filter;
        size_t n;
    } cases[] = {
        { "rep", "", 6 },
        { "rep", "\"unreadOnly\":true", 1 },
        { "lead", "", 8 },
        { "system", "", 8 },
        { "lead", "\"recipientId\":\"" EMPLOYEE(3) "\"", 2 },
        { "rep2", "", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        got = rig_ok(rig, cases[i].actor, CHANNELS, "ListDeliveries", "{%s}", cases[i].filter);
        assert_int_equal(json_array_size(json_object_get(got, "deliveries")), cases[i].n);
        json_decref(got);
    }
    got = rig_ok(rig, "system", CHANNELS, "ListDeliveries", "{\"reminderId\":\"%s\"}", id_of(0x41));
    assert_int_equal(json_array_size(json_object_get(got, "deliveries")), 4);
    json_decref(got);
    runner_leave();
    runner_stop(&engine);
}

/* --- cost of lists --------------------------------------------------------------------------- */

/* What a statement of the daemon reads, as its role and without statistics: the most rows that a
 * node of its plan returned or threw away. */
static long most_rows(const struct db_stmt *stmt, const char *const *params)
{
    PGconn *conn = PQconnectdb(conninfo);
    char tenant[ID_TEXT_MAX], set[100];
    char *sql = NULL;
    long most = 0;

    snprintf(set, sizeof(set), "SET daybook.tenant = '%s'", id_text(rig_tenant, tenant));
    PQclear(PQexec(conn, set));
    assert_true(asprintf(&sql, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) %s", stmt->text) > 0);
    PGresult *res = PQexecParams(conn, sql, stmt->nparams, NULL, params, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(conn));
    for (int i = 0; i < PQntuples(res); i++) {
        static const char *const marks[] = { "rows=", "Removed by Filter: " };
        const char *line = PQgetvalue(res, i, 0);
        for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
            const char *at = strstr(line, marks[m]);
            long n = at ? strtol(at + strlen(marks[m]), NULL, 10) : 0;
            most = n > most ? n : most;
        }
    }
    PQclear(res);
    PQfinish(conn);
    free(sql);
    return most;
}

#define TENANT "01000000-0000-7000-8000-00000000000a" /* rig_tenant */
#define MANY_DUTIES                                                                                \
    "INSERT INTO reminders.obligation (tenant_id, id, rule, subject, assignee_id, title, "         \
    "starts_at, due_at, known_us, state, plan, tells, closed_at, row_version) SELECT '" TENANT     \
    "', "                                                                                          \
    "gen_random_uuid(), 'TMR-01', 'questions/' || i, CASE WHEN i % 2 = 0 THEN '" REP               \
    "'::uuid ELSE '" EMPLOYEE(                                                                     \
        5) "' END, 't', now(), now(), 0, 'done', '{0}', 'owner', "                                 \
           "timestamptz '2026-01-01' + i * interval '1 s', 1 FROM generate_series(1, 100000) i"
#define MANY_NOTICES                                                                               \
    "INSERT INTO reminders.notification (tenant_id, id, obligation_id, rule, step_kind, step, "    \
    "recipient_id, channel, due_at, fired_at, late, state, text) SELECT '" TENANT "', "            \
    "gen_random_uuid(), gen_random_uuid(), 'TMR-01', 'due', 0, CASE WHEN i % 2 = 0 THEN '" REP     \
    "'::uuid ELSE '" EMPLOYEE(                                                                     \
        5) "' END, 'in_app', now(), timestamptz '2026-01-01' + i * "                               \
           "interval '1 s', false, 'delivered', 't' FROM generate_series(1, 100000) i"

static void fill(const char *sql)
{
    enum err e = db_script(rig->admin, sql, clock_monotonic_us() + WAIT_US);
    assert_int_equal(e, ERR_OK);
}

/* 10^5 rows that nobody has analyzed: a page costs what it shows. */
static void a_page_of_a_long_history_reads_no_more_than_it_shows(void **state)
{
    (void)state;
    char tenant[ID_TEXT_MAX];
    const char *const people[] = { NULL, "{" REP "," EMPLOYEE(5) "}" };

    reset();
    id_text(rig_tenant, tenant);
    fill(MANY_DUTIES);
    fill(MANY_NOTICES);
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        const char *first[] = { tenant, people[i], NULL, "f", NULL, NULL, "51" };
        const char *later[] = { tenant, people[i], NULL, "f", "2026-01-01T12:00:00Z", REP, "51" };
        assert_in_range(most_rows(&sql_notices_list, first), 51, 200);
        assert_in_range(most_rows(&sql_notices_list, later), 51, 200);
        const char *closed[] = { tenant, people[i], NULL, NULL, "51" };
        const char *before[] = { tenant, people[i], "2026-01-01T12:00:00Z", REP, "51" };
        const char *rest[] = { tenant, people[i], "2027-01-01T00:00:00Z", REP, "51" };
        assert_in_range(most_rows(&sql_duties_closed, closed), 51, 200);
        assert_in_range(most_rows(&sql_duties_closed, before), 51, 200);
        assert_in_range(most_rows(&sql_duties_rest, rest), 1, 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_duties_and_visits_of_the_day_in_order),
        cmocka_unit_test(who_may_see_a_list),
        cmocka_unit_test(time_alone_makes_a_task_overdue),
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
        cmocka_unit_test(acknowledging_is_for_the_assignee_and_stops_no_clock),
        cmocka_unit_test(snoozing_moves_the_next_notice_never_the_deadline),
        cmocka_unit_test(snoozing_does_not_silence_the_superior_REM_13),
        cmocka_unit_test(snoozing_arms_a_parked_timer_again),
        cmocka_unit_test(reminders_are_listed_by_their_next_moment_then_the_rest),
        cmocka_unit_test(the_rules_in_force_are_listed),
        cmocka_unit_test(the_ledger_shows_everybody_his_own),
        cmocka_unit_test(a_page_of_a_long_history_reads_no_more_than_it_shows),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
