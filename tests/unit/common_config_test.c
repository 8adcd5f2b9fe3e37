/* Settings: types, ranges, files, secrets, and all faults in one pass. */
#include "common/base.h"

#include <setjmp.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/config.h"
#include "tests/support/folder.h"

static struct setting settings[] = {
    { .key = "NAME", .type = SETTING_TEXT, .default_value = "daybook", .help = "A name." },
    { .key = "OPTIONAL", .type = SETTING_TEXT, .help = "May be unset." },
    { .key = "WORKERS",
      .type = SETTING_INT,
      .default_value = "4",
      .min = 1,
      .max = 64,
      .help = "Threads." },
    { .key = "VERBOSE", .type = SETTING_BOOL, .default_value = "off", .help = "Talk." },
    { .key = "TIMEOUT",
      .type = SETTING_DURATION,
      .default_value = "5s",
      .min = 1,
      .max = 30 * SECOND_US,
      .help = "Time." },
    { .key = "BODY", .type = SETTING_SIZE, .default_value = "1MiB", .help = "Bytes." },
    { .key = "TOKEN", .type = SETTING_TEXT, .secret = true, .help = "A secret." },
    { 0 },
};
static struct setting strict[] = {
    { .key = "MUST", .type = SETTING_TEXT, .required = true, .help = "Needed." },
    { 0 },
};
static struct setting *const tables[] = { settings };
static struct setting *const both[] = { settings, strict };

static char folder[FOLDER_MAX], file_path[FOLDER_MAX + 8];
static char said[8192]; /* what the last load() wrote on stderr */

static void forget_environment(void)
{
    for (char **e = environ; *e;) {
        char name[128];
        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
        if (strncmp(name, "DAYBOOK_", strlen("DAYBOOK_")) == 0 && unsetenv(name) == 0)
            e = environ; /* it has moved */
        else
            e++;
    }
}

static void env(const char *key, const char *value)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "DAYBOOK_%s", key);
    assert_int_equal(setenv(name, value, 1), 0);
}

static void write_file(const void *content, size_t size)
{
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static bool load_tables(struct setting *const *which, size_t n)
{
    FILE *out = tmpfile();
    int saved = dup(STDERR_FILENO);
    (void)fflush(stderr);
    if (!out || saved < 0 || dup2(fileno(out), STDERR_FILENO) < 0)
        abort();
    bool ok = config_load(which, n);
    (void)fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(out);
    said[fread(said, 1, sizeof(said) - 1, out)] = '\0';
    (void)fclose(out);
    return ok;
}

static bool load(void)
{
    return load_tables(tables, 1);
}

static int setup(void **state)
{
    (void)state;
    forget_environment();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_free(both, 2);
    forget_environment();
    return 0;
}

static void defaults_hold_when_nothing_is_set(void **state)
{
    (void)state;
    assert_true(load());
    assert_string_equal(said, "");
    assert_string_equal(config_get(settings, "NAME")->text, "daybook");
    assert_null(config_get(settings, "OPTIONAL")->text);
    assert_int_equal(config_get(settings, "WORKERS")->i64, 4);
    assert_int_equal(config_get(settings, "VERBOSE")->i64, 0);
    assert_int_equal(config_get(settings, "TIMEOUT")->i64, 5 * SECOND_US);
    assert_int_equal(config_get(settings, "BODY")->i64, MIB);
    assert_null(config_get(settings, "TOKEN")->text);
}

static void values_are_judged_by_type_and_range(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        bool ok;
        int64_t want;
    } cases[] = {
        { "WORKERS", "1", true, 1 },
        { "WORKERS", "64", true, 64 },
        { "WORKERS", "0", false, 0 },
        { "WORKERS", "65", false, 0 },
        { "WORKERS", "four", false, 0 },
        { "WORKERS", " 4", false, 0 },
        { "WORKERS", "", true, 4 },
        { "VERBOSE", "yes", true, 1 },
        { "VERBOSE", "1", true, 1 },
        { "VERBOSE", "true", true, 1 },
        { "VERBOSE", "off", true, 0 },
        { "VERBOSE", "2", false, 0 },
        { "VERBOSE", "TRUE", false, 0 },
        { "TIMEOUT", "250ms", true, 250 * MSEC_US },
        { "TIMEOUT", "30s", true, 30 * SECOND_US },
        { "TIMEOUT", "31s", false, 0 },
        { "TIMEOUT", "5", false, 0 },
        { "TIMEOUT", "0", false, 0 },
        { "BODY", "64KiB", true, 65536 },
        { "BODY", "17179869183GiB", false, 0 },
        { "BODY", "1KB", false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        forget_environment();
        env(cases[i].key, cases[i].value);
        bool ok = load();
        if (ok != cases[i].ok)
            fail_msg("%s=%s: %d", cases[i].key, cases[i].value, ok);
        if (ok)
            assert_int_equal(config_get(settings, cases[i].key)->i64, cases[i].want);
        else if (!strstr(said, cases[i].key))
            fail_msg("the fault of %s is not named: %s", cases[i].key, said);
    }
}

static void an_empty_text_is_a_value(void **state)
{
    (void)state;
    env("NAME", "");
    assert_true(load());
    assert_string_equal(config_get(settings, "NAME")->text, "");
}

static void all_faults_are_told_at_once(void **state)
{
    (void)state;
    env("WORKERS", "x");
    env("TIMEOUT", "y");
    env("VERBOSE", "z");
    assert_false(load_tables(both, 2));
    assert_non_null(strstr(said, "DAYBOOK_WORKERS"));
    assert_non_null(strstr(said, "DAYBOOK_TIMEOUT"));
    assert_non_null(strstr(said, "DAYBOOK_VERBOSE"));
    assert_non_null(strstr(said, "DAYBOOK_MUST"));
}

static void what_is_required_must_be_there_and_not_empty(void **state)
{
    (void)state;
    assert_false(load_tables(both, 2));
    env("MUST", "");
    assert_false(load_tables(both, 2));
    env("MUST", "x");
    assert_true(load_tables(both, 2));
}

static void a_file_gives_its_content_less_one_newline(void **state)
{
    (void)state;
    static const struct {
        const char *content, *want;
    } cases[] = { { "value\n", "value" },
                  { "value", "value" },
                  { "value\n\n", "value\n" },
                  { "", "" },
                  { "a b \n", "a b " } };
    env("NAME_FILE", file_path);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_file(cases[i].content, strlen(cases[i].content));
        assert_true(load());
        assert_string_equal(config_get(settings, "NAME")->text, cases[i].want);
    }
    env("WORKERS_FILE", file_path);
    write_file("12\n", 3);
    assert_true(load());
    assert_int_equal(config_get(settings, "WORKERS")->i64, 12);
}

static void bad_files_are_refused_by_name(void **state)
{
    (void)state;
    static char huge[70000];
    memset(huge, 'x', sizeof(huge));
    env("NAME_FILE", "/nonexistent/secret");
    assert_false(load());
    assert_non_null(strstr(said, "/nonexistent/secret"));

    env("NAME_FILE", folder);
    assert_false(load());
    env("NAME_FILE", file_path);
    write_file("a\0b", 3);
    assert_false(load());
    assert_non_null(strstr(said, file_path));
    write_file(huge, sizeof(huge));
    assert_false(load());

    write_file("ok", 2);
    env("NAME", "as well");
    assert_false(load()); /* both forms */
    assert_non_null(strstr(said, "DAYBOOK_NAME"));
}

static void secrets_come_by_file_and_never_show(void **state)
{
    (void)state;
    env("TOKEN", "hunter2");
    assert_false(load());
    assert_null(strstr(said, "hunter2"));
    env("INSECURE_ENV_SECRETS", "1");
    assert_true(load());
    assert_string_equal(config_get(settings, "TOKEN")->text, "hunter2");

    forget_environment();
    env("TOKEN_FILE", file_path);
    write_file("hunter3\n", 8);
    assert_true(load());
    assert_string_equal(config_get(settings, "TOKEN")->text, "hunter3");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print_effective(tables, 1, out);
    (void)fclose(out);
    assert_null(strstr(text, "hunter"));
    assert_non_null(strstr(text, "DAYBOOK_TOKEN=***\n"));
    assert_non_null(strstr(text, "DAYBOOK_WORKERS=4\n"));
    free(text);

    write_file("\n", 1); /* an empty secret is a mistake (F57) */
    assert_false(load());
    assert_non_null(strstr(said, file_path));
}

static void passwords_within_connection_strings_are_not_printed(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        { "host=x password=hunter2 dbname=d", "host=x password=*** dbname=d" },
        { "password='hunter 2' host=x sslpassword=hunter3", "password=*** host=x sslpassword=***" },
        { "password = 'hun\\'ter 2' user=password host=x", "password = *** user=password host=x" },
        { "postgres://me:hunter2@h/d?connect_timeout=1&password=hunter4&port=2",
          "postgres://me:***@h/d?connect_timeout=1&password=***&port=2" },
        { "host=h password=hun ter2", "***" }, /* no conninfo: all of it may be the password */
        { "postgres://me:hunter2@[h/d", "***" },
        { "postgres://h/d", "postgres://h/d" },
        { "tcp://127.0.0.1:5", "tcp://127.0.0.1:5" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = NULL, want[200];
        size_t size = 0;
        env("NAME", cases[i].text);
        assert_true(load());
        FILE *out = open_memstream(&text, &size);
        config_print_effective(tables, 1, out);
        (void)fclose(out);
        snprintf(want, sizeof want, "DAYBOOK_NAME=%s\n", cases[i].shown);
        if (strstr(text, want) == NULL)
            fail_msg("want %s in %s", want, text);
        free(text);
    }
}

static void unknown_names_are_only_warned_of(void **state)
{
    (void)state;
    env("STRANGE", "1");
    env("NAME", "x");
    assert_true(load());
    assert_non_null(strstr(said, "DAYBOOK_STRANGE"));
    assert_null(strstr(said, "DAYBOOK_NAME"));
}

static void the_help_names_every_setting(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print_help(both, 2, out);
    (void)fclose(out);
    for (const struct setting *s = settings; s->key; s++)
        if (!strstr(text, s->key) || !strstr(text, s->help))
            fail_msg("%s is not in the help", s->key);
    assert_non_null(strstr(text, "DAYBOOK_TOKEN_FILE (text, secret)"));
    assert_non_null(strstr(text, "DAYBOOK_MUST (text, required)"));
    assert_non_null(strstr(text, "DAYBOOK_TIMEOUT (duration, default 5s)"));
    free(text);
}

static int make_folder(void **state)
{
    (void)state;
    folder_make(folder, "daybook-config");
    (void)snprintf(file_path, sizeof(file_path), "%s/value", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(defaults_hold_when_nothing_is_set),
        CASE(values_are_judged_by_type_and_range),
        CASE(an_empty_text_is_a_value),
        CASE(all_faults_are_told_at_once),
        CASE(what_is_required_must_be_there_and_not_empty),
        CASE(a_file_gives_its_content_less_one_newline),
        CASE(bad_files_are_refused_by_name),
        CASE(secrets_come_by_file_and_never_show),
        CASE(passwords_within_connection_strings_are_not_printed),
        CASE(unknown_names_are_only_warned_of),
        CASE(the_help_names_every_setting),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
