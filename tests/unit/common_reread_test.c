/* common/reread: what a file says now, and what holds while it says nothing of use (F56, F57). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/reread.h"
#include "tests/support/folder.h"

static char folder[FOLDER_MAX], path[FOLDER_MAX + 16];

static const char loaded[] = "p1";

static void put_into(const char *file, const char *text)
{
    char fresh[FOLDER_MAX + 24];
    snprintf(fresh, sizeof fresh, "%s.new", file);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(fresh, file), 0);
}

static void put(const char *text)
{
    put_into(path, text);
}

static bool begins_with_p(const char *text)
{
    return *text == 'p';
}

static void is_now(const char *text, const char *wanted)
{
    char *now = reread(reread_of(text), text, begins_with_p);
    assert_non_null(now);
    assert_string_equal(now, wanted);
    reread_free(now);
}

static int set_up(void **state)
{
    (void)state;
    folder_make(folder, "daybook-reread");
    snprintf(path, sizeof path, "%s/secret", folder);
    put("p1\n");
    reread_watch("DB_URL", loaded, path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reread_stop();
    folder_remove(folder);
    return 0;
}

static void what_is_written_holds_at_once_F56(void **state)
{
    (void)state;
    is_now(loaded, "p1");
    put("p2\n");
    is_now(loaded, "p2");
    put("p1");
    is_now(loaded, "p1");
}

static void what_was_good_last_holds_while_the_file_is_not_F57(void **state)
{
    (void)state;
    put("p2");
    is_now(loaded, "p2");
    put("");
    is_now(loaded, "p2");
    put("half"); /* not good */
    is_now(loaded, "p2");
    assert_int_equal(unlink(path), 0);
    is_now(loaded, "p2");
    put("p3");
    is_now(loaded, "p3");
}

static void a_text_that_no_file_holds_is_itself(void **state)
{
    (void)state;
    is_now("other", "other");
    reread_watch("UNSET", NULL, path);
    reread_watch("BY_ENVIRONMENT", "plain", NULL);
    is_now("plain", "plain");
}

static void equal_texts_of_two_settings_have_each_its_file(void **state)
{
    (void)state;
    const char direct[] = "p1";
    char other[FOLDER_MAX + 16];

    snprintf(other, sizeof other, "%s/direct", folder);
    put_into(other, "p1");
    reread_watch("DB_DIRECT_URL", direct, other);
    put("p2");
    is_now(loaded, "p2");
    is_now(direct, "p1");
    put_into(other, "p3");
    is_now(loaded, "p2");
    is_now(direct, "p3");
}

static void *read_often(void *arg)
{
    for (int i = 0; i < 300; i++) {
        char *now = reread(reread_of(loaded), loaded, begins_with_p);
        if (!now || now[0] != 'p' || strlen(now) != 2)
            return arg;
        reread_free(now);
    }
    return NULL;
}

static void many_may_ask_while_it_changes(void **state)
{
    (void)state;
    pthread_t threads[3];
    void *failed = NULL;

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, threads), 0);
    for (int i = 0; i < 100; i++)
        put(i % 3 == 0 ? "p2" : i % 3 == 1 ? "" : "p3");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_holds_at_once_F56),
        CASE(what_was_good_last_holds_while_the_file_is_not_F57),
        CASE(a_text_that_no_file_holds_is_itself),
        CASE(equal_texts_of_two_settings_have_each_its_file),
        CASE(many_may_ask_while_it_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
