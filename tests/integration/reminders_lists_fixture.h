/*
 * reminders_lists_fixture.h - the daily list of the rep, as tests look at it.
 */
#ifndef DAYBOOK_TESTS_REMINDERS_LISTS_FIXTURE_H
#define DAYBOOK_TESTS_REMINDERS_LISTS_FIXTURE_H

#include "tests/integration/reminders_fixture.h"

#include "services/reminders/task_list.h"

UNUSED static int start(void **state)
{
    (void)state;
    return fixture_start_with(true);
}

/* "[xo!]rule subject-end" of each task, and the source, of the rep's list. */
UNUSED static const char *list_text(const char *actor, const char *date)
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

UNUSED static const char *today(void)
{
    return list_text("rep", "");
}

UNUSED static void a_question_for_today(int n)
{
    ask_question(n, "2026-11-15T07:00:00Z",
                 "2026-11-15T07:00:00Z"); /* due 2026-11-16 15:00 local */
}

/* Until the refresher's work is done: what it does is done here, by one pass after another. */
UNUSED static size_t refresh(struct cache *cache)
{
    struct db *db = db_new(conninfo, "refresher");
    const struct directory *dir = directory_acquire();
    size_t n = lists_refresh(self.lists, db, cache, dir, 100);

    directory_release(dir);
    db_free(db);
    return n;
}

UNUSED static void forget(void)
{
    task_lists_forget(self.lists, rig_tenant, rig_employee("rep"));
}

UNUSED static struct list_key key_of(const char *day)
{
    struct list_key key = { .tenant = rig_tenant, .employee = rig_employee("rep") };
    assert_true(date_parse(day, &key.day));
    return key;
}

UNUSED static void reset_rows(void)
{
    fresh("2026-11-16T01:00:00Z");
    forget();
}

UNUSED static void reset(void)
{
    char text[LIST_KEY_MAX];
    struct list_key key = key_of("2026-11-16");

    reset_rows();
    assert_int_equal(cache_delete(rig->cache, list_key_text(&key, text)), ERR_OK);
}

#endif
